"""`relay status`: how much waits, for what, and since when."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from relay.cli.entry import RelayCommand, open_store, run, settings
from relay.cli.output import (
    clean,
    facts,
    json_option,
    print_json,
    state_style,
    table,
    when,
)


@click.command(cls=RelayCommand)
@json_option
def status(*, as_json: bool) -> None:
    """Show how many messages wait, for what, and since when.

    Salesforce is not asked: relay check does that.
    """
    from relay.console.mails import plain_reason  # noqa: PLC0415
    from relay.console.status import Status, waiting_row  # noqa: PLC0415 - imports much
    from relay.console.status import status as ask  # noqa: PLC0415

    loaded = settings()

    async def job() -> Status:
        async with open_store(loaded) as store:
            return await ask(store, loaded, datetime.now(UTC))

    found = run(job())
    if as_json:
        print_json([found.as_json()])
        return
    pause = found.pause.report if found.pause else "none"
    facts([("logging", clean(found.switch.text)), ("salesforce pause", pause)])
    click.echo()
    rows = [waiting_row(one) for one in found.waiting]
    table(
        ["state", "reason", "messages", "oldest (UTC)", "next try (UTC)"],
        (
            (
                row["state"],
                plain_reason(row["reason"]),
                row["count"],
                when(row["oldest_at"]),
                when(row["next_at"]),
            )
            for row in rows
        ),
        whole=["state", "oldest (UTC)"],
        empty="Nothing waits.",
        styles={"state": state_style},
    )
