"""`relay notices` and `relay user notify`: mails of the relay to its users."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from relay.cli.entry import RelayCommand, RelayGroup, actor, open_store, run, settings
from relay.cli.output import clean, json_option, print_json, state_style, table, when
from relay.core.notices import NoticeLevel
from relay.core.states import ActivityState

if TYPE_CHECKING:
    from relay.core.directory import User
    from relay.core.notices import NoticeRow

_STATES = (ActivityState.PLANNED, ActivityState.WRITTEN, ActivityState.REFUSED)
_WORDS = {"planned": "waits", "written": "sent", "refused": "refused"}


@click.group(cls=RelayGroup)
def notices() -> None:
    """Show and retry the notices that the relay mails to users."""


@notices.command("list")
@click.option(
    "--state",
    type=click.Choice([state.value for state in _STATES]),
    help="Only notices in this state: planned waits, written was sent.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="Show only the latest.",
)
@json_option
def list_(state: str | None, limit: int, *, as_json: bool) -> None:
    """List notices, oldest first."""
    loaded = settings()

    async def job() -> list[NoticeRow]:
        async with open_store(loaded) as store:
            wanted = ActivityState(state) if state else None
            return await store.notices.find(wanted, limit)

    rows = [_row(one) for one in run(job())]
    if as_json:
        print_json(rows)
        return
    off = "" if loaded.notices.smarthost else " (off: set notices.smarthost)"
    table(
        ["id", "made (UTC)", "kind", "to", "about", "state", "why"],
        (
            (
                row["id"],
                when(row["created_at"]),
                row["kind"],
                row["recipient"],
                row["events"] or "",
                _WORDS[row["state"]],
                clean(row["error"]),
            )
            for row in rows
        ),
        whole=["id"],
        drop=["why", "about", "made (UTC)"],
        empty=f"No notices yet{off}.",
        styles={"state": state_style},
    )


@notices.command(cls=RelayCommand)
@click.argument("ids", metavar="[ID]...", nargs=-1, type=click.IntRange(min=1))
@json_option
def retry(ids: tuple[int, ...], *, as_json: bool) -> None:
    """Send notices that wait or were refused at once; all of them without ID."""
    loaded = settings()

    async def job() -> list[int]:
        async with open_store(loaded) as store:
            return await store.notices.retry(ids or None, actor())

    changed = run(job())
    if as_json:
        print_json({"id": one} for one in changed)
        return
    count = len(changed)
    click.echo(f"{count} {'notice is' if count == 1 else 'notices are'} due now.")


def _row(one: NoticeRow) -> dict[str, Any]:
    """Return the stable names of `relay notices list --json`; a code is not shown."""
    return {
        "id": one.id,
        "kind": one.kind.value,
        "recipient": one.recipient,
        "state": one.state.value,
        "events": one.count,
        "created_at": one.created_at,
        "due_at": one.due_at,
        "written_at": one.written_at,
        "failures": one.failures,
        "error": one.error,
        "about": [item.facts.get("id") for item in one.items],
    }


@click.command("notify", cls=RelayCommand)
@click.argument("who", metavar="USER")
@click.argument(
    "level", type=click.Choice([*(level.value for level in NoticeLevel), "default"])
)
@json_option
def notify(who: str, level: str, *, as_json: bool) -> None:
    """Set which notices a user gets: all, problems, none, or default.

    problems: mail that was refused, held, or not logged, and a digest of it. all: also
    each mail that was logged. default: as notices.level says.
    """
    loaded = settings()

    async def job() -> User:
        async with open_store(loaded) as store:
            found = await store.directory.find_user(who)
            chosen = None if level == "default" else level
            return await store.directory.set_notify(found.id, chosen, actor())

    changed = run(job())
    if as_json:
        print_json([{"email": changed.email, "notify": changed.notify}])
        return
    said = changed.notify or f"{loaded.notices.level}, as notices.level says"
    click.echo(f"{changed.name} <{changed.email}> gets notices: {said}.")
    if loaded.notices.smarthost is None:
        click.echo("relay: notices are off; set notices.smarthost", err=True)
