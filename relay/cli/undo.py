"""`relay undo`: take a logged mail out of Salesforce again."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from relay.cli.entry import (
    Failure,
    RelayCommand,
    actor,
    open_store,
    run,
    settings,
    whole_id,
)
from relay.cli.output import clean, counted, json_option, print_json, table

if TYPE_CHECKING:
    from relay.reconcile.undo import Undone


@click.command(cls=RelayCommand)
@click.argument("message_id", metavar="ID")
@click.option("--dry-run", is_flag=True, help="Only show what would be deleted.")
@click.option("--yes", is_flag=True, help="Do it without asking.")
@json_option
def undo(message_id: str, *, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Delete the records of a logged mail in Salesforce, and discard the mail.

    Only records and files that the relay has made, and that carry its key, are deleted;
    Salesforce keeps them in its Recycle Bin for 15 days. All copies of the mail are
    discarded with it. The relay never makes these records again.
    """
    loaded = settings()
    loaded.require_salesforce()
    from relay.app import lease_owner  # noqa: PLC0415 - brings every part
    from relay.core.clock import SystemClock  # noqa: PLC0415
    from relay.reconcile import undo as reconcile_undo  # noqa: PLC0415
    from relay.salesforce import Org  # noqa: PLC0415 - the HTTP library is slow

    async def job() -> Undone:
        org = Org(loaded.salesforce, SystemClock())
        await org.start()
        try:
            async with open_store(loaded) as store:
                ident, _ = await whole_id(store, message_id)
                parts = (loaded.salesforce, store, org, ident, lease_owner(), actor())
                if dry_run or not yes:
                    plan = await reconcile_undo.undo(*parts, dry_run=True)
                    if dry_run:
                        return plan
                    _ask(plan)
                return await reconcile_undo.undo(*parts)
        finally:
            await org.close()

    done = run(job())
    if as_json:
        print_json(
            one.as_json() | {"messages": [ident for ident, _ in done.messages]}
            for one in done.removals
        )
        return
    _show(done)
    ids = ", ".join(ident for ident, _ in done.messages)
    click.echo(f"{'Would be' if dry_run else 'Is'} discarded: {ids}.")


def _show(done: Undone) -> None:
    table(
        ["record", "id", "fate", "why"],
        ((one.object, one.id, one.fate.value, one.detail) for one in done.removals),
        whole=["id"],
        wrap=True,
        empty="Salesforce has no record of this mail.",
    )


def _ask(plan: Undone) -> None:
    count = sum(one.fate.value == "delete" for one in plan.removals)
    users = ", ".join(sorted({clean(user) for _, user in plan.messages}))
    of = counted(len(plan.messages), "message")
    click.echo(f"{counted(count, 'record')} of {of} ({users}):", err=True)
    for one in plan.removals:
        click.echo(f"  {one.fate.value:8} {one.object} {one.id}", err=True)
    if sys.stdin.isatty() and click.confirm("Delete them in Salesforce?", err=True):
        return
    raise Failure("nothing was deleted; --yes deletes without asking")
