"""`relay history`: who changed what, and taking a change back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from relay.cli.entry import (
    RelayCommand,
    actor,
    open_store,
    run,
    settings,
)
from relay.cli.filters import TIMES, time_option
from relay.cli.output import json_option, print_json, table, when
from relay.console.history import action_words, value_words
from relay.console.history import undo as take_back
from relay.core.access import at_shell

if TYPE_CHECKING:
    from datetime import datetime

_LATEST: Final = 50
_UNDO: Final = "undo"
_WORDS: Final = 2


@click.command(cls=RelayCommand)
@click.argument("words", metavar="[USER | undo ID]", nargs=-1)
@click.option(
    "--change",
    default="",
    metavar="WORD",
    help="Only this kind of change: address, user, setting, exclude, message …, or "
    "one such as address_add.",
)
@click.option("--by", default="", metavar="NAME", help="Only changes by this person.")
@time_option("--since", f"Only since then: {TIMES}.")
@time_option("--until", f"Only before then: {TIMES}; a day is included.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    help=f"Show only the latest changes; default: {_LATEST}, with --json all.",
)
@json_option
def history(
    words: tuple[str, ...],
    change: str,
    by: str,
    since: datetime | None,
    until: datetime | None,
    limit: int | None,
    *,
    as_json: bool,
) -> None:
    """List what was changed, by whom, before and after; or take a change back.

    USER lists the changes of one user, also of a removed one. 'undo ID' takes the
    change with that number back, unless what it changed was changed again since.
    """
    if words[:1] == (_UNDO,):
        if len(words) != _WORDS or not words[1].isascii() or not words[1].isdigit():
            problem = "write undo and the number of one change, as relay history lists"
            raise click.UsageError(problem)
        _undo(int(words[1]), as_json=as_json)
        return
    if len(words) > 1:
        problem = "name one user, or none for all changes"
        raise click.UsageError(problem)
    loaded = settings()

    async def job() -> list[dict[str, Any]]:
        async with open_store(loaded) as store:
            user = None
            if words:
                user = await store.directory.find_user(words[0], removed=True)
            return await store.history.find(
                user.id if user else None,
                since=since,
                until=until,
                by=by,
                change=change,
                limit=limit or (None if as_json else _LATEST),
            )

    rows = run(job())
    if as_json:
        print_json(rows)
        return
    asked = words or since or until or by or change
    table(
        ["id", "at (UTC)", "by", "change", "of", "before", "after"],
        (
            (
                row["id"],
                when(row["at"]),
                row["actor"],
                action_words(row),
                row["user"],
                value_words(row["before"]),
                value_words(row["after"]),
            )
            for row in rows
        ),
        whole=["id", "at (UTC)"],
        wrap=True,
        empty="No change fits." if asked else "Nothing was changed yet.",
    )


def _undo(number: int, *, as_json: bool) -> None:
    loaded = settings()

    async def job() -> tuple[str, dict[str, Any]]:
        async with open_store(loaded) as store:
            return await take_back(store, at_shell(actor()), number)

    said, row = run(job())
    if as_json:
        print_json([row])
    else:
        click.echo(f"Change {number} is taken back: {said}.")
