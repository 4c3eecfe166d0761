"""`relay address`: which senders a user's relay address accepts."""

from __future__ import annotations

import click

from relay.admin.inputs import address_pattern, known_pattern
from relay.cli.entry import RelayGroup, checked
from relay.cli.opening import actor, open_store, run, settings
from relay.cli.output import json_option, print_json, table, when


@click.group(cls=RelayGroup)
def address() -> None:
    """Addresses that users may send from.

    ADDRESS is an e-mail address, or '*@domain' for everybody in that domain.
    """


@address.command()
@click.argument("who", metavar="USER")
@click.argument("pattern", metavar="ADDRESS", callback=checked(address_pattern))
def add(who: str, pattern: str) -> None:
    """Accept mail from ADDRESS for USER."""
    loaded = settings()

    async def job() -> str:
        async with open_store(loaded) as store:
            found = await store.directory.find_user(who)
            new = await store.directory.add_address(found.id, pattern, actor())
            return f"{pattern} may send for {found.email}{'' if new else ' already'}."

    click.echo(run(job()))


@address.command()
@click.argument("who", metavar="USER")
@click.argument("pattern", metavar="ADDRESS", callback=checked(known_pattern))
def remove(who: str, pattern: str) -> None:
    """Refuse mail from ADDRESS for USER from now on."""
    loaded = settings()

    async def job() -> str:
        async with open_store(loaded) as store:
            found = await store.directory.find_user(who)
            await store.directory.remove_address(found.id, pattern, actor())
            return found.email

    click.echo(f"{pattern} may no longer send for {run(job())}.")


@address.command("list")
@click.argument("who", metavar="[USER]", required=False)
@json_option
def list_(who: str | None, *, as_json: bool) -> None:
    """List accepted addresses, of one user or of all."""
    loaded = settings()

    async def job() -> list[dict[str, object]]:
        async with open_store(loaded) as store:
            found = await store.directory.find_user(who) if who else None
            users = {one.id: one.email for one in await store.directory.users()}
            accepted = await store.directory.addresses(found.id if found else None)
            return [
                {
                    "user": users.get(one.user_id, ""),
                    "address": one.address,
                    "added_at": one.added_at,
                    "added_by": one.added_by,
                    "confirmed": one.confirmed,
                }
                for one in accepted
            ]

    rows = run(job())
    if as_json:
        print_json(rows)
        return
    table(
        ["user", "address", "added (UTC)", "added by"],
        (
            (
                row["user"],
                f"{row['address']}{'' if row['confirmed'] else ' (see relay check)'}",
                when(row["added_at"]),
                row["added_by"],
            )
            for row in rows
        ),
        whole=["address"],
        drop=["added by", "added (UTC)"],
        empty="No accepted addresses: relay address add USER ADDRESS",
    )
