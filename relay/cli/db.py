"""`relay db`: migrations. An empty store is made at the first start without them."""

from __future__ import annotations

import click

from relay.cli.entry import RelayGroup
from relay.cli.opening import open_store, run, settings
from relay.cli.output import json_option, print_json


@click.group(cls=RelayGroup)
def db() -> None:
    """Look after the store."""


@db.command()
@json_option
def upgrade(*, as_json: bool) -> None:
    """Bring the schema of the store to this version. Stop the relay first."""
    from relay.store import Store  # noqa: PLC0415

    loaded = settings()
    before, after = run(Store.upgrade(loaded.store))

    async def doubtful() -> int:
        async with open_store(loaded) as store:
            accepted = await store.directory.addresses()
            return sum(not one.confirmed for one in accepted)

    waiting = run(doubtful()) if before not in {None, after} else 0
    if as_json:
        print_json([{"before": before, "after": after}])
    elif before == after:
        click.echo(f"The store is at revision {after} already; nothing to do.")
    else:
        click.echo(f"Upgraded the store from {before or 'nothing'} to {after}.")
        if waiting:
            decide = "may not send until you decide: relay check names each"
            click.echo(f"Accepted addresses that {decide}: {waiting}.")
