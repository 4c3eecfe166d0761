"""`relay reminder`: what people are to do, and by which day."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

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
from relay.cli.reminder_sync import sync
from relay.core.access import Caller, Scope
from relay.core.reminders import (
    Kind,
    Priority,
    ReminderFilter,
    Source,
    Status,
    read_day,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from relay.console.reminders import Desk
    from relay.core.directory import User
    from relay.core.reminders import Reminder

DAYS: Final = "today, tomorrow, 3d, 2w, monday, next week, or 2026-12-01"
ident = click.argument("ident", metavar="ID")


@asynccontextmanager
async def desk() -> AsyncIterator[Desk]:
    """Open the store for the person at this shell, who may do everything."""
    from relay.console.reminders import Desk  # noqa: PLC0415 - as `open_store`

    loaded = settings()
    who = Caller(actor(), frozenset(Scope))
    async with open_store(loaded) as store:
        yield Desk(store, loaded, who, Source.PERSON, datetime.now(UTC))


def _choice(kind: Any) -> click.Choice[str]:
    return click.Choice([one.value for one in kind], case_sensitive=False)


def _values(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options for the values of a reminder."""
    options = (
        click.option("--due", metavar="DAY", help=f"By when: {DAYS}; none: no day."),
        click.option("--details", metavar="TEXT", help="More than fits the name."),
        click.option("--priority", type=_choice(Priority), help="How much it matters."),
        click.option("--type", "type_", type=_choice(Kind), help="What is to be done."),
        click.option(
            "--person",
            metavar="ID|ADDRESS",
            help="A Contact or Lead by its Salesforce id, or an e-mail address.",
        ),
        click.option(
            "--record", metavar="ID", help="What it is about, by its Salesforce id."
        ),
        click.option("--assignee", metavar="USER", help="Who is to do it."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.group(cls=RelayGroup)
def reminder() -> None:
    """Manage reminders: what a user is to do, and by which day.

    A DAY is today, tomorrow, 3d, 2w, monday, next week, or 2026-12-01, where the user
    is. An ID may be cut short as long as no other begins so.
    """


reminder.add_command(sync)


# ------------------------------------------------------------------ making, changing


@reminder.command()
@click.argument("name", nargs=-1)
@click.option("--user", metavar="USER", default="", help="Whose it is.")
@click.option(
    "--message",
    metavar="ID",
    default="",
    help="Make it from this message: its user, subject, person and record.",
)
@_values
@json_option
def add(  # noqa: PLR0913 - the values of a reminder
    name: tuple[str, ...],
    *,
    user: str,
    message: str,
    due: str | None,
    details: str | None,
    priority: str | None,
    type_: str | None,
    person: str | None,
    record: str | None,
    assignee: str | None,
    as_json: bool,
) -> None:
    """Make a reminder.

    NAME may end with a day: `relay reminder add call Bob in 3 days`.
    """

    async def job() -> dict[str, Any]:
        from relay.console import reminders  # noqa: PLC0415 - as `desk`

        draft = reminders.Draft(
            name=" ".join(name),
            user=user,
            message=message,
            due=due,
            details=details or "",
            priority=priority or Priority.NORMAL.value,
            kind=type_ or Kind.CUSTOM.value,
            person=person or "",
            record=record or "",
            assignee=assignee or "",
        )
        async with desk() as one:
            made = await reminders.add(one, draft)
            return reminders.row(made, await one.users())

    _print_one(run(job()), as_json=as_json, told="made")


@reminder.command()
@ident
@click.option("--name", metavar="TEXT", help="One line.")
@click.option("--status", type=_choice(Status), help="Whether it is done.")
@_values
@json_option
def edit(ident: str, *, as_json: bool, **given: str | None) -> None:
    """Change what is named of a reminder; the rest stays."""
    changes = {
        key.rstrip("_"): value for key, value in given.items() if value is not None
    }
    if not changes:
        raise click.UsageError("nothing is named that is to change")
    _do("edit", ident, as_json=as_json, told="changed", changes=changes)


@reminder.command()
@ident
@json_option
def complete(ident: str, *, as_json: bool) -> None:
    """Say that it is done."""
    _do("complete", ident, as_json=as_json, told="complete")


@reminder.command()
@ident
@json_option
def reopen(ident: str, *, as_json: bool) -> None:
    """Say that it is still to be done."""
    _do("complete", ident, as_json=as_json, told="open again", done=False)


@reminder.command()
@ident
@click.argument("day", nargs=-1, required=True)
@json_option
def snooze(ident: str, day: tuple[str, ...], *, as_json: bool) -> None:
    """Put it off to a DAY, counted from today."""
    _do("snooze", ident, as_json=as_json, told="put off", until=" ".join(day))


@reminder.command()
@ident
@json_option
def remove(ident: str, *, as_json: bool) -> None:
    """Remove it; `relay reminder undo ID` brings it back."""
    _do("remove", ident, as_json=as_json, told="removed")


@reminder.command()
@ident
@click.option(
    "--version",
    type=click.IntRange(min=1),
    metavar="N",
    help="Which edit, as `relay reminder history ID` numbers them; else the latest.",
)
@json_option
def undo(ident: str, version: int | None, *, as_json: bool) -> None:
    """Take an edit back, or a removal."""
    _do("undo", ident, as_json=as_json, told="taken back", version=version)


def _do(act: str, ident: str, *, as_json: bool, told: str, **values: Any) -> None:
    async def job() -> dict[str, Any]:
        from relay.console import reminders  # noqa: PLC0415 - as `desk`

        async with desk() as one:
            whole = await reminders.whole_id(one, ident)
            changed: Reminder = await getattr(reminders, act)(one, whole, **values)
            return reminders.row(changed, await one.users())

    _print_one(run(job()), as_json=as_json, told=told)


def _print_one(one: Mapping[str, Any], *, as_json: bool, told: str) -> None:
    if as_json:
        print_json([one])
        return
    due = f", due {one['due']}" if one["due"] else ""
    click.echo(f"{told}: {clean(one['name'])}{due} ({one['id']})")


# ------------------------------------------------------------------ looking


@reminder.command("list")
@click.option("--user", metavar="USER", help="Only those this user is to do.")
@click.option(
    "--due",
    metavar="DAY|overdue|now",
    help="Only those due that day; now: today and tomorrow, as the Command Center.",
)
@click.option(
    "--status",
    type=click.Choice([*(one.value for one in Status), "all"], case_sensitive=False),
    default=Status.OPEN.value,
    show_default=True,
)
@click.option("--text", metavar="TEXT", default="", help="Only with this text.")
@click.option("--person", metavar="ID|ADDRESS", default="", help="Only about them.")
@click.option("--record", metavar="ID", default="", help="Only about this record.")
@click.option("--message", metavar="ID", default="", help="Only of this message.")
@click.option("--removed", is_flag=True, help="Also those that were removed.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="So many.")
@json_option
def list_(  # noqa: PLR0913 - the conditions
    *,
    user: str | None,
    due: str | None,
    status: str,
    text: str,
    person: str,
    record: str,
    message: str,
    limit: int | None,
    removed: bool,
    as_json: bool,
) -> None:
    """List reminders by day; those without one last."""

    async def job() -> list[dict[str, Any]]:
        from relay.console import reminders  # noqa: PLC0415 - as `desk`

        async with desk() as one:
            who = await one.store.directory.find_user(user) if user else None
            about = reminders.conditions(person=person, record=record)
            wanted = ReminderFilter(
                assignee=who.id if who else None,
                status=None if status == "all" else Status(status),
                person=about.get("person", ""),
                record=about.get("record", ""),
                text=text,
                message_id=message,
                removed=removed,
                by_due=True,
                limit=limit,
            )
            found = await reminders.find(
                one, _on(wanted, due, one, await one.meant(who))
            )
            users = await one.users()
            return [reminders.row(each, users) for each in found]

    rows = run(job())
    if as_json:
        print_json(rows)
        return
    table(
        ("due", "name", "priority", "status", "assignee", "about", "id"),
        [
            (
                row["due"] or "",
                row["name"],
                "" if row["priority"] == Priority.NORMAL else row["priority"],
                "removed" if row["removed_at"] else row["status"],
                row["assignee"],
                row["person"] or row["record"] or "",
                row["id"],
            )
            for row in rows
        ],
        whole=("due",),
        drop=("about", "priority", "status"),
        short={"id": 14},
        empty="no reminder fits",
    )


def _on(
    wanted: ReminderFilter, due: str | None, one: Desk, who: User | None
) -> ReminderFilter:
    """Restrict a filter to a day, to what is overdue, or to today and tomorrow."""
    if due is None:
        return wanted
    day = one.today(who)
    if due == "overdue":
        return replace(wanted, due_until=day)
    if due == "now":
        return replace(wanted, due_from=day, due_until=day + timedelta(days=2))
    on = read_day(due, day)
    if on is None:
        return replace(wanted, undated=True)
    return replace(wanted, due_from=on, due_until=on + timedelta(days=1))


@reminder.command()
@ident
@json_option
def show(ident: str, *, as_json: bool) -> None:
    """Show a reminder with all its values."""

    async def job() -> dict[str, Any]:
        from relay.console import reminders  # noqa: PLC0415 - as `desk`

        async with desk() as one:
            whole = await reminders.whole_id(one, ident)
            found = await reminders.get(one, whole, removed=True)
            return reminders.row(found, await one.users())

    row = run(job())
    if as_json:
        print_json([row])
        return
    times = {"created_at", "changed_at", "removed_at"}
    facts((name, moment(v) if name in times else v) for name, v in row.items())


@reminder.command()
@ident
@json_option
def history(ident: str, *, as_json: bool) -> None:
    """Show who changed what of a reminder, and from where."""

    async def job() -> list[dict[str, Any]]:
        from relay.console import reminders  # noqa: PLC0415 - as `desk`

        async with desk() as one:
            return await reminders.history(one, await reminders.whole_id(one, ident))

    rows = run(job())
    if as_json:
        print_json(rows)
        return
    table(
        ("version", "time (UTC)", "from", "who", "what", "before", "after"),
        [
            (
                row["version"],
                when(row["at"]),
                row["source"],
                row["actor"],
                row["field"] + (f" (undoes {row['undoes']})" if row["undoes"] else ""),
                _said(row["before"]),
                _said(row["after"]),
            )
            for row in rows
        ],
        whole=("version", "time (UTC)"),
        fold=("after",),
    )


def _said(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {v}" for name, v in value.items() if v)
    return "" if value is None else str(value)


@reminder.command()
@ident
@json_option
def task(ident: str, *, as_json: bool) -> None:
    """Show its Task in Salesforce: what failed, and what both sides had changed."""

    async def job() -> dict[str, Any] | None:
        from relay.console import reminders  # noqa: PLC0415 - as `desk`

        async with desk() as one:
            whole = await reminders.whole_id(one, ident)
            found = await reminders.task_of(one, whole)
            return found.as_json() if found else None

    row = run(job())
    if as_json:
        print_json([row] if row else [])
        return
    if row is None:
        click.echo("it was never kept in step with a Task")
        return
    failure = row["failure"] or {}
    facts(
        [
            ("task", row["task"]),
            ("state", row["state"]),
            *((name, failure.get(name)) for name in ("code", "message")),
            *((name, failure.get(name)) for name in ("meaning", "remedy")),
            *((name, moment(failure.get(name))) for name in ("since", "next_at")),
        ]
    )
    if row["conflicts"]:
        table(
            ("conflict", "time (UTC)", "what", "here", "Salesforce", "kept"),
            [
                (
                    one["id"],
                    when(one["at"]),
                    one["field"],
                    _said(one["here"]),
                    _said(one["salesforce"]),
                    "undone" if one["undone_at"] else one["kept"],
                )
                for one in row["conflicts"]
            ],
            whole=("conflict", "time (UTC)"),
        )


@reminder.command()
@ident
def retry(ident: str) -> None:
    """Try at once again what failed between a reminder and its Task."""

    async def job() -> bool:
        from relay.console import reminders  # noqa: PLC0415 - as `desk`

        async with desk() as one:
            return await reminders.retry(one, await reminders.whole_id(one, ident))

    click.echo("it is tried again" if run(job()) else "nothing of it has failed")


@reminder.command()
@click.argument("who", metavar="USER")
@click.option("--end", is_flag=True, help="End it: its URL works no more.")
@json_option
def feed(who: str, *, end: bool, as_json: bool) -> None:
    """Make the secret URL of a user's calendar; one from before works no more."""

    async def job() -> dict[str, Any]:
        from relay.accounts.service import console_url  # noqa: PLC0415 - as `desk`
        from relay.console import reminders  # noqa: PLC0415 - as `desk`

        async with desk() as one:
            user = await one.store.directory.find_user(who)
            if end:
                await reminders.end_feed(one, user)
                return {"user": user.email, "url": None}
            path = reminders.feed_path(await reminders.new_feed(one, user))
            web = one.settings.web
            known = web.listen is not None or web.public_url is not None
            base = console_url(one.settings) if known else ""
            return {"user": user.email, "url": f"{base}{path}"}

    row = run(job())
    if as_json:
        print_json([row])
    elif end:
        click.echo(f"the calendar of {row['user']} is ended")
    else:
        click.echo(row["url"])
        click.echo("it is shown this once; who knows it sees the reminders", err=True)
