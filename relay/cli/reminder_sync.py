"""`relay reminder sync`: reminders in step with tasks of Salesforce, user by user."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from relay.cli.entry import RelayGroup, actor, open_store, run, settings
from relay.cli.output import (
    clean,
    facts,
    json_option,
    moment,
    print_json,
    table,
    when,
)
from relay.core.access import at_shell
from relay.core.reminders import Source

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from relay.console.reminder_sync import SyncView
    from relay.console.reminders import Desk
    from relay.core.directory import User

who_argument = click.argument("who", metavar="USER")


@click.group(cls=RelayGroup)
def sync() -> None:
    """Keep reminders in step with Salesforce tasks; off until it is switched on.

    It is switched for one user at a time. docs/reminders.md has the rules.
    """


@asynccontextmanager
async def _desk() -> AsyncIterator[Desk]:
    """Open the store for the person at this shell, who may do everything."""
    from relay.console.reminders import Desk  # noqa: PLC0415 - as `open_store`

    loaded = settings()
    who = at_shell(actor())
    async with open_store(loaded) as store:
        yield Desk(store, loaded, who, Source.PERSON, datetime.now(UTC))


@sync.command()
@who_argument
@json_option
def on(who: str, *, as_json: bool) -> None:
    """Switch it on for USER; the running relay begins at once."""
    _print_view(run(_switched(who, on=True)), as_json=as_json)


@sync.command()
@who_argument
@json_option
def off(who: str, *, as_json: bool) -> None:
    """Switch it off for USER; nothing is deleted on either side."""
    _print_view(run(_switched(who, on=False)), as_json=as_json)


async def _switched(who: str, *, on: bool) -> SyncView:
    from relay.console import reminder_sync  # noqa: PLC0415 - HTTP is slow

    async with _desk() as one:
        user = await one.store.directory.find_user(who)
        return await reminder_sync.switch(one, user, on=on)


@sync.command()
@click.argument("who", metavar="[USER]", required=False)
@json_option
def status(who: str | None, *, as_json: bool) -> None:
    """Show how far it is, of USER or of everybody."""

    async def job() -> list[SyncView]:
        from relay.console import reminder_sync  # noqa: PLC0415 - HTTP is slow

        async with _desk() as one:
            if who is None:
                return await reminder_sync.views(one)
            user = await one.store.directory.find_user(who)
            return [await reminder_sync.view(one, user)]

    views = run(job())
    if as_json:
        print_json([one.as_json() for one in views])
    elif who is not None:
        _print_view(views[0], as_json=False)
    else:
        rows = [one.as_json() for one in views]
        table(
            (
                "user",
                "state",
                "tasks",
                "waiting",
                "failing",
                "conflicts",
                "last round (UTC)",
            ),
            [
                (
                    clean(row["user"]),
                    row["state"],
                    *(row[name] for name in ("tasks", "waiting", "failing")),
                    row["conflicts"],
                    when(row["last_round"]) if row["last_round"] else "",
                )
                for row in rows
            ],
            whole=("state",),
        )
        for row in rows:
            if row["hint"]:
                click.echo(f"{row['user']}: {row['why']}; {row['hint']}", err=True)


@sync.command()
@who_argument
@click.option(
    "--keep",
    is_flag=True,
    help="After the brake: delete nothing; both sides stay as they are.",
)
@json_option
def resume(who: str, *, keep: bool, as_json: bool) -> None:
    """Go on after a stop; what `status` counted is deleted with the next round."""

    async def job() -> SyncView:
        from relay.console import reminder_sync  # noqa: PLC0415 - HTTP is slow

        async with _desk() as one:
            user = await one.store.directory.find_user(who)
            return await reminder_sync.resume(one, user, keep=keep)

    _print_view(run(job()), as_json=as_json)


def _print_view(view: SyncView, *, as_json: bool) -> None:
    row = view.as_json()
    if as_json:
        print_json([row])
        return
    facts(
        (name.replace("_", " "), moment(value) if name in _TIMES and value else value)
        for name, value in row.items()
        if name not in {"on", "stopped"} and value not in {None, ""}
    )
    if view.state == "importing":
        from relay.console.reminder_sync import FIRST_RUN  # noqa: PLC0415 - as above

        click.echo(FIRST_RUN, err=True)


_TIMES = frozenset({"since", "last_round", "at", "next_try"})


# ------------------------------------------------------------------ conflicts


@sync.command()
@click.argument("who", metavar="[USER]", required=False)
@json_option
def conflicts(who: str | None, *, as_json: bool) -> None:
    """List what both sides changed, with both values."""

    async def ask(one: Desk, user: User | None) -> list[dict[str, Any]]:
        from relay.console import reminder_sync  # noqa: PLC0415 - HTTP is slow

        return await reminder_sync.conflicts(one, user)

    rows = run(_of_user(who, ask))
    if as_json:
        print_json(rows)
        return
    table(
        ("id", "time (UTC)", "user", "reminder", "field", "here", "Salesforce", "kept"),
        [
            (
                row["id"],
                when(row["at"]),
                clean(row["user"]),
                row["reminder"],
                row["field"],
                clean(_said(row["here"])),
                clean(_said(row["salesforce"])),
                "undone" if row["undone_at"] else row["kept"],
            )
            for row in rows
        ],
        whole=("id", "time (UTC)"),
    )


@sync.command()
@click.argument("number", metavar="ID", type=click.IntRange(min=1))
@json_option
def undo(number: int, *, as_json: bool) -> None:
    """Give the value that lost in conflict ID back to its reminder."""

    async def job() -> dict[str, Any]:
        from relay.console import reminder_sync, reminders  # noqa: PLC0415 - HTTP

        async with _desk() as one:
            done = await reminder_sync.undo_conflict(one, number)
            return reminders.row(done, await one.users())

    row = run(job())
    if as_json:
        print_json([row])
    else:
        click.echo(f"conflict {number} is undone: {clean(row['name'])}")


# ------------------------------------------------------------------ failures


@sync.command()
@click.argument("who", metavar="[USER]", required=False)
@json_option
def failures(who: str | None, *, as_json: bool) -> None:
    """List what could not be kept in step, with what helps."""

    async def ask(one: Desk, user: User | None) -> list[dict[str, Any]]:
        from relay.console import reminder_sync  # noqa: PLC0415 - HTTP is slow

        return await reminder_sync.failures(one, user)

    rows = run(_of_user(who, ask))
    if as_json:
        print_json(rows)
        return
    table(
        ("reminder", "name", "user", "code", "text", "meaning", "next try (UTC)"),
        [
            (
                row["reminder"],
                clean(row["name"]),
                clean(row["user"]),
                row["code"],
                clean(row["text"]),
                row["meaning"],
                when(row["next_try"]) if row["next_try"] else "never by itself",
            )
            for row in rows
        ],
        whole=("code",),
    )


@sync.command()
@click.argument("who", metavar="[USER]", required=False)
@json_option
def retry(who: str | None, *, as_json: bool) -> None:
    """Try what failed again with the next round."""

    async def ask(one: Desk, user: User | None) -> list[dict[str, Any]]:
        from relay.console import reminder_sync  # noqa: PLC0415 - HTTP is slow

        return [{"retried": await reminder_sync.retry(one, user)}]

    (row,) = run(_of_user(who, ask))
    if as_json:
        print_json([row])
    else:
        click.echo(f"{row['retried']} will be tried again")


async def _of_user(
    who: str | None,
    ask: Callable[[Desk, User | None], Awaitable[list[dict[str, Any]]]],
) -> list[dict[str, Any]]:
    """Ask about a user, or about everybody."""
    async with _desk() as one:
        user = await one.store.directory.find_user(who) if who else None
        return await ask(one, user)


def _said(value: Any) -> str:
    if isinstance(value, dict):
        said = ", ".join(f"{name}: {one}" for name, one in value.items())
        return said or "deleted"
    return "" if value is None else str(value)
