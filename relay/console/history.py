"""The history: who changed what, what it was before, and taking it back.

A rep sees, and takes back, changes of the rep's own.
"""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from relay.console import mails
from relay.console.people import find_for
from relay.core.errors import InvalidInput, NotFound
from relay.core.filters import read_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from relay.config import Settings
    from relay.core.access import Caller
    from relay.store import Store

COLUMNS: Final = (
    "id",
    "at",
    "actor",
    "action",
    "user",
    "before",
    "after",
    "undoes",
    "undone_by",
)
"""The names of a change, as `relay history --json` and the CSV have them."""

_DIGITS: Final = 15
"""Longest number of a change; databases refuse a longer one."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Which changes are meant, as typed; empty: all.

    Attributes:
        user: Of which user: an address, a name or a number.
        by: Part of the name of who made it.
        change: The kind, such as `address`, or one such as `address_add`.
        since: From then on; as `relay.core.filters` reads a time.
        until: Before then; a day is included.
    """

    user: str = ""
    by: str = ""
    change: str = ""
    since: str = ""
    until: str = ""

    def as_json(self) -> dict[str, str]:
        """Return what is asked, without what is not."""
        every = {name: getattr(self, name) for name in self.__slots__}
        return {name: value for name, value in every.items() if value}


async def find(
    store: Store,
    settings: Settings,
    who: Caller,
    asked: Asked,
    *,
    now: datetime,
    before_id: int | None = None,
    limit: int | None = None,
) -> list[dict[str, Any]]:
    """Return the changes that fit and that the caller may see, the latest first.

    Raises:
        NotFound: There is no such user.
        NotAllowed: A rep asks for another's changes.
        InvalidInput: A time is none.
    """
    of = await find_for(store, settings, who, asked.user) if asked.user else None
    rows = await store.history.find(
        of.user.id if of else who.own_only,
        since=read_time(asked.since, now) if asked.since else None,
        until=read_time(asked.until, now, end=True) if asked.until else None,
        by=asked.by,
        change=asked.change,
        before_id=before_id,
        limit=limit,
    )
    return rows[::-1]


async def one(store: Store, who: Caller, number: int) -> dict[str, Any]:
    """Return a change that the caller may see.

    Raises:
        NotFound: There is none, or it is another's: to a rep they look the same.
    """
    rows = await store.history.find(who.own_only, only_id=number)
    if not rows:
        text = f"there is no change {number}"
        raise NotFound(text)
    return rows[0]


async def undo(store: Store, who: Caller, number: int) -> tuple[str, dict[str, Any]]:
    """Take a change back; return what holds again, in words, and the new change.

    Raises:
        NotFound: There is no such change for the caller.
        Conflict: It cannot be taken back, or what it changed was changed since.
    """
    if who.own_only is not None:
        await one(store, who, number)
    if await store.acts.find(number) is not None:
        done = await mails.take_back(store, who, number)
        return mails.taken_back_words(done), await one(store, who, done.by)
    said = await store.history.undo(number, who.name)
    (row,) = await store.history.find(limit=1)
    return said, row


# ------------------------------------------------------------------ in words


def _as_it_is(text: str) -> str:
    return text


def action_words(row: dict[str, Any], tell: Callable[[str], str] = _as_it_is) -> str:
    """Name the change, and what it took back or was taken back by.

    Args:
        row: The change.
        tell: Says each part in the reader's language.
    """
    words = [str(row["action"]).replace("_", " ")]
    if row["undoes"] is not None:
        words.append(f"(takes {row['undoes']} back)")
    if row["undone_by"] is not None:
        words.append(f"(taken back by {row['undone_by']})")
    return " ".join(map(tell, words))


def value_words(value: object, tell: Callable[[str], str] = _as_it_is) -> str:
    """Write what was, or is, as a person reads it; nothing for nothing.

    Args:
        value: As the store has it.
        tell: Says each name and word in the reader's language.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return tell(value)
    if isinstance(value, dict):
        said = {name: value_words(one, tell) for name, one in value.items()}
        return ", ".join(f"{tell(name)}: {one}" for name, one in said.items() if one)
    if isinstance(value, list):
        return ", ".join(
            f"({value_words(one, tell)})"
            if isinstance(one, dict)
            else value_words(one, tell)
            for one in value
        )
    return json.dumps(value)


def can_undo(row: dict[str, Any]) -> bool:
    """Say whether a change can still be taken back, as far as the row tells.

    Whether what it changed was changed since, only `undo` finds out.
    """
    return bool(row["undoable"])


def is_act(row: dict[str, Any]) -> bool:
    """Say whether a change is one of messages: who did it may take it back."""
    return str(row["action"]).startswith("message_")


def as_csv(rows: Iterable[dict[str, Any]]) -> str:
    """Return changes as CSV (RFC 4180), the names first.

    Text from outside is made safe for spreadsheets (`safe_cell`).
    """
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([safe_cell(value_words(row[name])) for name in COLUMNS])
    return out.getvalue()


_FORMULA: Final = frozenset("=+-@\t\uff1d\uff0b\uff0d\uff20")
"""With the wide forms, which some spreadsheets read as the plain ones."""
_NEXT_CELL: Final = re.compile(
    r"([;|\t\r\n][ \"']*)(?=[=+\-@\uff1d\uff0b\uff0d\uff20])"
)
"""Where a formula would begin for a spreadsheet that parts cells by another mark than
the comma, as it does in half of Europe: quotes in the middle of a cell do not count."""


def safe_cell(text: str) -> str:
    """Return a cell that no spreadsheet takes for a formula.

    One that begins as a formula does gets an apostrophe, which spreadsheets read as the
    mark of text. White space in front of it is passed over, as some of them do.

    Source: OWASP, "CSV Injection".
    """
    blank = len(text) - len(text.lstrip())
    text = text[:blank] + _NEXT_CELL.sub(r"\1'", text[blank:])
    return f"'{text}" if text.lstrip(" \r\n")[:1] in _FORMULA else text


def number_of(text: str) -> int:
    """Return the number of a change.

    Raises:
        InvalidInput: It is none.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS):
        raise InvalidInput(f"{text!r} is no number of a change")
    return int(text)
