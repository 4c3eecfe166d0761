"""Reminders: what a person is to do about somebody, and by which day.

A reminder is due on a day, not at a time: which day it is depends on the time zone of
who looks (`today`). Its life is a list of edits, each with who made it and where it
came from, so that two sides can be merged field by field and each edit be taken back.
What is removed stays as a tombstone: the other side must hear of it.

Rules: R22 (the Command Center shows today and tomorrow), R28-R36 (the fields that a
Task of Salesforce has, too), D21 (types, person, assignee).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta, tzinfo
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from relay.core.addresses import address_key
from relay.core.errors import InvalidInput
from relay.core.ids import record_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from relay.core.model import Json

LONGEST_NAME: Final = 255
"""Characters of a name: those of a Subject (R28)."""
LONGEST_DETAILS: Final = 32_000
"""Characters of details: those of Comments (R36)."""
FIRST_DAY: Final = date(1700, 1, 1)
LAST_DAY: Final = date(4000, 12, 31)
"""Salesforce keeps no other dates.

Source: Salesforce SOAP API Guide, "Primitive Data Types", date.
"""


class Priority(StrEnum):
    """How much it matters (R31)."""

    NORMAL = "Normal"
    HIGH = "High"


class Status(StrEnum):
    """Whether it is done (R29)."""

    OPEN = "Open"
    COMPLETE = "Complete"


class Kind(StrEnum):
    """What is to be done (D21); Salesforce gets no Type of it (D12)."""

    EMAIL = "Email"
    CALL = "Call"
    INMAIL = "InMail"
    CUSTOM = "Custom"


class Source(StrEnum):
    """Where an edit came from."""

    PERSON = "person"
    """A page or the command line."""
    API = "api"
    MAIL = "mail"
    SALESFORCE = "salesforce"


@dataclass(frozen=True, slots=True)
class Reminder:
    """One reminder, as of one moment.

    Attributes:
        id: 26 characters, sorted by time of making.
        owner_user_id: Who made it, or for whom it was made.
        assignee_user_id: Who is to do it; whose Command Center shows it.
        name: One line.
        details: Text; may be empty.
        due: The day in the assignee's time zone; None: no day.
        priority: How much it matters.
        status: Whether it is done.
        kind: What is to be done.
        person: The Salesforce id of a Contact or Lead, or an e-mail address; or empty.
        record: The Salesforce id of what it is about; or empty.
        message_id: The message that it was made from; or empty.
        created_at: When it was made.
        changed_at: When it was changed last, by whichever side.
        version: Counts the edits, from 1.
        removed_at: Since when it is gone; None: it is there.
    """

    id: str
    owner_user_id: int
    assignee_user_id: int
    name: str
    details: str = ""
    due: date | None = None
    priority: Priority = Priority.NORMAL
    status: Status = Status.OPEN
    kind: Kind = Kind.CUSTOM
    person: str = ""
    record: str = ""
    message_id: str = ""
    created_at: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    changed_at: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    version: int = 1
    removed_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        """Say whether it is there and still to be done."""
        return self.removed_at is None and self.status is Status.OPEN


@dataclass(frozen=True, slots=True)
class NewReminder:
    """A reminder that is to be made.

    `origin` names what made it, where that may be tried again: of one origin there is
    one reminder.
    """

    owner_user_id: int
    assignee_user_id: int
    name: str
    details: str = ""
    due: date | None = None
    priority: Priority = Priority.NORMAL
    status: Status = Status.OPEN
    kind: Kind = Kind.CUSTOM
    person: str = ""
    record: str = ""
    message_id: str = ""
    origin: str = ""


@dataclass(frozen=True, slots=True)
class By:
    """Who makes an edit, and from where; `undoes` is the version it takes back."""

    actor: str
    source: Source
    undoes: int | None = None


@dataclass(frozen=True, slots=True)
class ReminderChange:
    """One field that one edit changed.

    All fields of one edit have its `version`. Values are JSON: a day as `2026-12-01`.
    The first edit has the field `created`, with all values; the field `removed` is true
    of a tombstone.
    """

    reminder_id: str
    version: int
    at: datetime
    actor: str
    source: Source
    field: str
    before: Json
    after: Json
    undoes: int | None = None


CREATED: Final = "created"
REMOVED: Final = "removed"
FIELDS: Final = (
    "name",
    "details",
    "due",
    "priority",
    "status",
    "kind",
    "person",
    "record",
    "assignee_user_id",
)
"""What an edit may change."""


@dataclass(frozen=True, slots=True)
class ReminderFilter:
    """Which reminders are meant; empty: all that are there.

    Attributes:
        concerns: Those that this user owns or is to do.
        assignee: Those that this user is to do.
        status: With this status.
        kind: Of this type.
        due_from: Due on this day or later.
        due_until: Due before this day.
        undated: True: only those without a day. False: only those with one.
        person: About this Salesforce id or address.
        record: About this Salesforce id.
        message_id: Made from this message.
        text: With this text in name or details, whatever its case.
        changed_from: Changed then, or later.
        removed: Also tombstones.
        by_due: By day, those without one last; False: the latest made first.
        before_id: Made before this one; without `by_due` alone.
        limit: So many at most.
    """

    concerns: int | None = None
    assignee: int | None = None
    status: Status | None = None
    kind: Kind | None = None
    due_from: date | None = None
    due_until: date | None = None
    undated: bool | None = None
    person: str = ""
    record: str = ""
    message_id: str = ""
    text: str = ""
    changed_from: datetime | None = None
    removed: bool = False
    by_due: bool = False
    before_id: str = ""
    limit: int | None = None


# ------------------------------------------------------------------ values


def as_json(value: Any) -> Json:
    """Return the value of a field as history and API write it."""
    return value.isoformat() if isinstance(value, date) else value


def from_json(field: str, value: Json) -> Any:
    """Return the value of a field from what `as_json` made of it."""
    if field == "due":
        return None if value is None else date.fromisoformat(value)
    kinds: dict[str, type[StrEnum]] = {
        "priority": Priority,
        "status": Status,
        "kind": Kind,
    }
    return kinds[field](value) if field in kinds else value


def differences(before: Reminder, after: Reminder) -> dict[str, tuple[Json, Json]]:
    """Return (before, after) of each field in which two states differ.

    Removing and bringing back count as the field `removed`.
    """
    found = {
        field: (as_json(getattr(before, field)), as_json(getattr(after, field)))
        for field in FIELDS
        if getattr(before, field) != getattr(after, field)
    }
    if (before.removed_at is None) is not (after.removed_at is None):
        found[REMOVED] = (before.removed_at is not None, after.removed_at is not None)
    return found


def checked(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values of fields as they are kept: one line, whole ids, known addresses.

    Raises:
        InvalidInput: One of them does not fit; the text names it, and what fits.
    """
    return {
        field: _CHECKS[field](value) if field in _CHECKS else value
        for field, value in values.items()
    }


def one_line(text: str) -> str:
    """Return a text as one line: what breaks or pads it is one space."""
    return " ".join(text.split())


def _name(text: str) -> str:
    line = one_line(text)
    if not line:
        raise InvalidInput("a reminder needs a name", "say what is to be done")
    if len(line) > LONGEST_NAME:
        raise InvalidInput(
            f"the name has {len(line)} characters",
            f"at most {LONGEST_NAME} fit a Subject; put the rest in the details",
        )
    return line


def _details(text: str) -> str:
    if len(text) > LONGEST_DETAILS:
        raise InvalidInput(
            f"the details have {len(text)} characters",
            f"at most {LONGEST_DETAILS} fit Comments",
        )
    return text


def _due(day: date | None) -> date | None:
    if day is not None and not FIRST_DAY <= day <= LAST_DAY:
        raise InvalidInput(
            f"{day} is no day that Salesforce keeps",
            f"name one from {FIRST_DAY} to {LAST_DAY}",
        )
    return day


def _record(text: str) -> str:
    if not text:
        return ""
    found = record_id(text)
    if found is None:
        raise InvalidInput(
            f"{text!r} is no Salesforce id",
            "copy the 15 or 18 characters from the address of the record's page",
        )
    return found


def _person(text: str) -> str:
    if "@" not in text:
        return _record(text)
    found = address_key(text)
    if not found:
        raise InvalidInput(
            f"{text!r} is no e-mail address",
            "name a Contact or Lead by its Salesforce id, or by its address",
        )
    return found


_CHECKS: Final[Mapping[str, Any]] = {
    "name": _name,
    "details": _details,
    "due": _due,
    "record": _record,
    "person": _person,
}


def taken_back(
    now: Reminder, changes: Mapping[str, tuple[Json, Json]], at: datetime
) -> tuple[Reminder, str]:
    """Return a reminder without an edit, and the field that moved on since, or nothing.

    Args:
        now: The reminder as it is.
        changes: (before, after) of each field of the edit, as in its history.
        at: The time: of the tombstone, where taking back makes one.
    """
    values: dict[str, Any] = {}
    for field, (before, after) in changes.items():
        if field in {CREATED, REMOVED}:
            was_gone = field == REMOVED and bool(after)
            if (now.removed_at is not None) is not was_gone:
                return now, field
            values["removed_at"] = None if was_gone else at
        elif as_json(getattr(now, field)) != after:
            return now, field
        else:
            values[field] = from_json(field, before)
    return replace(now, **values), ""


_WHO_FIELDS: Final = ("WhoId", "TaskWhoIds", "ToIds", "CcIds")
_WHAT_FIELDS: Final = ("WhatId", "RelatedToId")
_LEAD: Final = "00Q"
_WHO_IDS: Final = ("003", _LEAD)
"""The first characters of the ids of Leads, and of Contacts and Leads.

Source: Salesforce Object Reference, "ID Field Type" (key prefixes).
"""


def about(
    whos: Iterable[str], whats: Iterable[str], rows: Iterable[Mapping[str, Json]] = ()
) -> tuple[str, str]:
    """Return the person and the record of a reminder about a mail; empty for none.

    Args:
        whos: Contacts and Leads that the mail was matched with, the best first.
        whats: Other records that it was matched with, the best first.
        rows: Fields of the records that were written for it; used where nothing was
            matched now, because all of it was written before.
    """
    kept = list(rows)
    ids = (*whos, *_ids(kept, _WHO_FIELDS))
    # Colleagues stand in the lists of an EmailMessage, too.
    person = next((one for one in ids if one.startswith(_WHO_IDS)), "")
    record = next(iter((*whats, *_ids(kept, _WHAT_FIELDS))), "")
    # A Task of a Lead may name no other record.
    return person, "" if person.startswith(_LEAD) else record


def _ids(rows: Iterable[Mapping[str, Json]], fields: Iterable[str]) -> Iterator[str]:
    for row in rows:
        for field in fields:
            value = row.get(field)
            yield from value if isinstance(value, list) else [value] if value else []


# ------------------------------------------------------------------ days


def zone(name: str | None, fallback: str = "UTC") -> ZoneInfo:
    """Return a time zone; the fallback where there is none of the name."""
    for one in (name, fallback):
        try:
            if one:
                return ZoneInfo(one)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            continue
    return ZoneInfo("UTC")


def today(now: datetime, where: tzinfo) -> date:
    """Return which day it is there."""
    return now.astimezone(where).date()


class Section(StrEnum):
    """Where a list shows an open reminder."""

    OVERDUE = "overdue"
    TODAY = "today"
    TOMORROW = "tomorrow"
    LATER = "later"
    UNDATED = "undated"


def section(due: date | None, day: date) -> Section:
    """Return the section of a reminder that is due on `due`, seen on `day` (R22)."""
    if due is None:
        return Section.UNDATED
    away = (due - day).days
    if away < 0:
        return Section.OVERDUE
    return {0: Section.TODAY, 1: Section.TOMORROW}.get(away, Section.LATER)


DAYS_HINT: Final = (
    "write today, tomorrow, 3d, 2w, monday, next week, 2026-12-01, or none"
)
_WEEKDAYS: Final = (
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
)
_STEPS: Final = {"d": 1, "w": 7}
_AWAY: Final = re.compile(
    r"(?:in )?([0-9]{1,5}|an?|one) ?(d|days?|w|weeks?)(?: from now)?"
)
_ONE: Final = frozenset({"a", "an", "one"})
_ISO: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def read_day(text: str, day: date) -> date | None:
    """Return the day that a person means; None for `none`.

    A weekday, with `next` before it or not, is the first one after today. `next week`
    is its Monday.

    Args:
        text: As typed, in any case.
        day: Today, where the person is.

    Raises:
        InvalidInput: It names no day; says what does.
    """
    words = one_line(text).lower()
    if words in {"none", "never"}:
        return None
    found = _read_day(words, day)
    if found is None:
        raise InvalidInput(f"{text!r} is no day", DAYS_HINT)
    return _due(found)


def _read_day(words: str, day: date) -> date | None:
    near = {"today": 0, "tomorrow": 1}
    if words in near:
        return day + timedelta(days=near[words])
    try:
        if _ISO.fullmatch(words):
            return date.fromisoformat(words)
        if away := _AWAY.fullmatch(words):
            count = 1 if away[1] in _ONE else int(away[1])
            return day + timedelta(days=count * _STEPS[away[2][0]])
    except (ValueError, OverflowError):
        return None
    name = words.removeprefix("next ")
    if name == "week" and name != words:
        name = "monday"
    matching = [at for at, one in enumerate(_WEEKDAYS) if name in {one, one[:3]}]
    if not matching:
        return None
    return day + timedelta(days=(matching[0] - day.weekday() - 1) % 7 + 1)


_PHRASE: Final = re.compile(
    r"(?P<name>.*?)[\s,;:]*\b(?:(?:on|by|until) (?P<on>\S+)|(?P<at>today|tomorrow"
    r"|in (?:[0-9]{1,5}|an?|one) ?(?:days?|weeks?)|next \w+"
    r"|[0-9]{4}-[0-9]{2}-[0-9]{2}))[.!]?",
    re.IGNORECASE,
)


def read_phrase(text: str, day: date) -> tuple[str, date | None]:
    """Return the name and the day of `follow up in 3 days`; no day: it names none.

    A text of a day alone keeps it as its name, too.

    Args:
        text: As typed, on one line.
        day: Today, where the person is.
    """
    line = one_line(text)
    found = _PHRASE.fullmatch(line)
    if not found or not found["name"]:
        return line, None
    due = _read_day((found["on"] or found["at"]).lower(), day)
    return (line, None) if due is None else (found["name"], due)


# ------------------------------------------------------------------ tags of mail

TAG: Final = "todo-"
_TAG_DAY: Final = re.compile(
    r"today|tomorrow|[0-9]{1,3}[dw]|[0-9]{4}-[0-9]{2}-[0-9]{2}"
)
TAG_HINT: Final = (
    "write +todo-today, +todo-tomorrow, +todo-3d, +todo-2w or +todo-2026-12-01"
)


def tag_of(rcpt: str) -> str:
    """Return what stands behind the plus of a relay address, if it asks for a reminder.

    Any tag that begins with `todo` does, in any case: one that is misspelt must be
    told of, and not passed over. Empty: the address asks for none.
    """
    _, plus, tail = rcpt.rpartition("@")[0].partition("+")
    tag = tail.lower()
    return tag if plus and tag.startswith(TAG[:-1]) else ""


def tag_day(tag: str, day: date) -> date:
    """Return the day that a tag names, counted from the day of receipt.

    Raises:
        InvalidInput: It names none; the hint has the right spellings.
    """
    words = tag.removeprefix(TAG)
    if tag.startswith(TAG) and _TAG_DAY.fullmatch(words):
        found = _read_day(words, day)
        if found is not None and FIRST_DAY <= found <= LAST_DAY:
            return found
    raise InvalidInput(f"+{tag} names no day", TAG_HINT)
