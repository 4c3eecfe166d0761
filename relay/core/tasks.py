"""A reminder and its Task in Salesforce: what each field means there, and merging.

Both sides may be edited. What they agreed on last is kept (`Agreed`): the values of the
reminder, and the values of the Task as Salesforce writes them. An edit is a value that
differs from there, so that an echo of the relay's own write is none, whenever it comes.
Fields are merged one by one. Where both sides changed the same field one of them wins,
and the `Clash` keeps both values.

Rules: R25 to R36. A value that has no counterpart (R30, R32) is left alone: it changes
nothing here, and an edit of another field does not overwrite it. The Subject becomes
the name once, when a Task is imported, and never again (R34).

Values are JSON on both sides: a day is `2026-12-01`.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from relay.core.ids import record_id
from relay.core.model import EPOCH
from relay.core.reminders import Priority, Reminder, Status, as_json, one_line

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from relay.core.model import Json
    from relay.core.org import OrgSchema

FIELD_OF: Final[Mapping[str, str]] = {
    "name": "Subject",
    "details": "Description",
    "due": "ActivityDate",
    "priority": "Priority",
    "status": "Status",
}
"""The fields that are kept in step, and the field of Task that each stands for."""
OPEN: Final = "Not Started"
COMPLETE: Final = "Completed"
KEY_PREFIX: Final = "reminder-"
KEY_LENGTH: Final = 40
KEY_LINE: Final = "relay-key: "
"""Starts the last line of a Description that holds a key, as of any record."""
NO_SUBJECT: Final = "(no subject)"
OWNER: Final = "OwnerId"
"""Kept among the values of a Task: whose it was when it was seen last."""
REMOVED: Final = "removed"
"""The field of a clash between an edit and a deletion."""

_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_KEY: Final = re.compile(rf"(?:\A|\n)[ \t]*{KEY_LINE}([0-9A-Za-z:_-]{{8,128}})[ \t]*\Z")
_PEOPLE: Final = ("003", "00Q")
_LEAD: Final = "00Q"


class Left:
    """Marks a value that is to be left alone."""


LEFT: Final = Left()


class Side(StrEnum):
    """Who wins where both changed a field."""

    HERE = "here"
    SALESFORCE = "salesforce"


class Policy(StrEnum):
    """How it is decided who wins (`reminders.conflict`)."""

    LATER = "later"
    HERE = "here"
    SALESFORCE = "salesforce"


@dataclass(frozen=True, slots=True)
class Task:
    """A Task as Salesforce has it.

    Attributes:
        id: 18 characters.
        owner: Id of the user or queue that it belongs to.
        stamp: Its SystemModstamp.
        values: By field of Task, those of `FIELD_OF` that our user may see.
        is_closed: Whether its status closes it.
        is_deleted: It lies in the Recycle Bin.
        is_archived: It is closed, and too old for ordinary queries.
        created_at: When it was made.
        created_by: Id of the user who made it.
        who: Id of the Contact or Lead; or empty.
        what: Id of the record that it is about; or empty.
        key: The key that it carries, of a reminder or of a mail; or empty.
    """

    id: str
    owner: str
    stamp: datetime
    values: Mapping[str, Json]
    is_closed: bool = False
    is_deleted: bool = False
    is_archived: bool = False
    created_at: datetime = EPOCH
    created_by: str = ""
    who: str = ""
    what: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class TaskNames:
    """What this org calls the statuses, and what our user may see and set.

    Attributes:
        open: The status that stands for Open.
        complete: The status that stands for Complete.
        closed: Every status that closes a Task.
        priorities: Values of Priority that the org has; empty: not known.
        readable: Fields of Task that our user may see.
        createable: Fields that our user may set in a new Task.
        updateable: Fields that our user may change.
        length: Longest Description, in UTF-16 units.
    """

    open: str = OPEN
    complete: str = COMPLETE
    closed: frozenset[str] = frozenset({COMPLETE})
    priorities: frozenset[str] = frozenset()
    readable: frozenset[str] = frozenset(FIELD_OF.values())
    createable: frozenset[str] = frozenset(FIELD_OF.values())
    updateable: frozenset[str] = frozenset(FIELD_OF.values())
    length: int = 32_000

    @property
    def unsynced(self) -> tuple[str, ...]:
        """Return the fields of a reminder that cannot be kept in step, and stay."""
        both = self.readable & self.updateable
        return tuple(name for name, task in FIELD_OF.items() if task not in both)


def names_of(schema: OrgSchema) -> TaskNames:
    """Return what an org calls the statuses: by name, else by TaskStatus.IsClosed."""
    closed, still = schema.closed_statuses, schema.open_statuses
    fields = schema.fields.get("Task", {})
    priority = fields.get("Priority")
    return TaskNames(
        open=OPEN if OPEN in still or not still else still[0],
        complete=COMPLETE if COMPLETE in closed or not closed else closed[0],
        closed=frozenset(closed or (COMPLETE,)),
        priorities=frozenset(priority.values if priority else ()),
        readable=frozenset(fields),
        createable=frozenset(n for n, each in fields.items() if each.createable),
        updateable=frozenset(n for n, each in fields.items() if each.updateable),
        length=schema.length("Task", "Description") or 32_000,
    )


@dataclass(frozen=True, slots=True)
class Agreed:
    """What both sides agreed on last.

    Attributes:
        here: Values of the reminder, by its fields.
        there: Values of the Task as it was seen last, by its fields.
    """

    here: Mapping[str, Json]
    there: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Clash:
    """Both sides changed a field; `kept` says whose value holds."""

    field: str
    here: Json
    there: Json
    kept: Side


@dataclass(frozen=True, slots=True)
class Merged:
    """What came of a merge.

    Attributes:
        take: New values of the reminder, by its fields.
        clashes: Fields that both sides changed.
        agreed: What both sides agree on once `take` is done. What was edited here is
            not in it until it was sent (`outward`, `sent`).
    """

    take: Mapping[str, Json]
    clashes: tuple[Clash, ...]
    agreed: Agreed


# ------------------------------------------------------------------ values


def values_of(reminder: Reminder) -> dict[str, Json]:
    """Return the values of a reminder that are kept in step."""
    return {name: as_json(getattr(reminder, name)) for name in FIELD_OF}


def plain(text: Json, limit: int = 32_000) -> str:
    """Return a text as Salesforce keeps it: no space around, no control characters."""
    clean = str(text or "").replace("\r\n", "\n").replace("\r", "\n")
    clean = _CONTROL.sub("", clean).strip()
    if len(clean) * 2 <= limit:
        return clean
    units = 0
    for at, character in enumerate(clean):
        units += 2 if character > "\uffff" else 1
        if units > limit:
            return clean[:at].rstrip()
    return clean


def key_of(description: Json) -> str:
    """Return the key in the last line of a Description; or nothing."""
    found = _KEY.search(description) if isinstance(description, str) else None
    return found[1] if found else ""


def without_key(description: Json) -> str:
    """Return a Description without the line of the key."""
    text = plain(description)
    return _KEY.sub("", text).strip()


def task_key(reminder_id: str, turn: int = 1) -> str:
    """Return the key of the Task of a reminder; `turn` counts Tasks made of it."""
    digest = hashlib.sha256(f"{reminder_id}:{turn}".encode()).hexdigest()
    return (KEY_PREFIX + digest)[:KEY_LENGTH]


def is_reminder_key(key: str) -> bool:
    """Say whether a key is that of a reminder, and not of a mail."""
    return key.startswith(KEY_PREFIX)


def inward(name: str, value: Json, names: TaskNames) -> Json | Left:
    """Return what a value of a Task means here; LEFT where it means nothing (R30)."""
    if name == "details":
        return without_key(value)
    if name == "due":
        return value or None
    meaning: dict[str, Mapping[Json, Json]] = {
        "status": {names.complete: "Complete", names.open: "Open"},
        "priority": {str(each): str(each) for each in Priority},
    }
    return meaning.get(name, {}).get(value, LEFT)


def _outward(
    name: str,
    value: Json,
    there: Json,
    names: TaskNames,
    subject: str | None,
) -> Json | Left:
    """Return what an edited value of a reminder becomes in its Task."""
    if name == "name":
        return LEFT if subject is None else subject
    if name == "details":
        return plain(value, names.length) or None
    if name == "due":
        return value or None
    if name == "priority":
        unknown = names.priorities and value not in names.priorities
        return LEFT if unknown else value
    if value == Status.COMPLETE:
        return names.complete
    # A Task that is open is open, whatever its status is called (R30).
    return names.open if there in names.closed else LEFT


def _same(name: str, one: Json, other: Json) -> bool:
    if name == "details":
        return plain(one) == plain(other)
    return bool(one == other)


# ------------------------------------------------------------------ merging


def winner(policy: Policy, here_at: datetime, there_at: datetime) -> Side:
    """Return who wins; both moments by Salesforce's clock, which counts seconds."""
    if policy is not Policy.LATER:
        return Side(policy)
    return Side.HERE if here_at > there_at else Side.SALESFORCE


def merge(
    here: Mapping[str, Json],
    task: Task,
    agreed: Agreed,
    names: TaskNames,
    wins: Side,
    subject: str | None = None,
) -> Merged:
    """Merge a reminder and its Task, field by field.

    Args:
        here: Values of the reminder (`values_of`).
        task: The Task, not deleted.
        agreed: What both agreed on last.
        names: What the org calls things.
        wins: Whose value holds where both changed a field.
        subject: The Subject that the name makes; None where it does not follow the
            name (R33).
    """
    take: dict[str, Json] = {}
    clashes: list[Clash] = []
    mine, theirs = dict(agreed.here), dict(agreed.there)
    for name, column in FIELD_OF.items():
        if column not in task.values:
            continue  # Hidden from our user: nothing is known of it.
        value, now, was = here[name], task.values[column], agreed.there.get(column)
        theirs[column] = now
        edited = not _same(name, value, agreed.here.get(name))
        moved = now != was
        meaning = inward(name, now, names)
        if name == "name":
            moved = moved and edited and subject is not None and now != subject
        elif isinstance(meaning, Left):
            moved = False
        elif moved:
            before = inward(name, was, names)
            moved = isinstance(before, Left) or not _same(name, meaning, before)
        if not moved:
            continue
        if not edited:
            mine[name] = meaning
            if not _same(name, meaning, value):
                take[name] = meaning
            continue
        if name != "name" and _same(name, meaning, value):
            mine[name] = value
            continue
        shown = now if name == "name" else meaning
        clashes.append(Clash(name, value, shown, wins))
        if wins is Side.SALESFORCE and name == "name":
            mine[name] = value  # The Subject stays as it is there, the name here (R34).
        elif wins is Side.SALESFORCE:
            mine[name] = take[name] = meaning
    return Merged(take, tuple(clashes), Agreed(mine, theirs))


def edits(here: Mapping[str, Json], agreed: Agreed) -> dict[str, Json]:
    """Return what was edited here and not sent yet, by field of the reminder."""
    return {
        name: here[name]
        for name in FIELD_OF
        if not _same(name, here[name], agreed.here.get(name))
    }


def moves(task: Task, agreed: Agreed) -> dict[str, Json]:
    """Return what was edited in Salesforce since, by field of Task."""
    return {
        column: value
        for column, value in task.values.items()
        if value != agreed.there.get(column)
    }


def outward(
    here: Mapping[str, Json],
    agreed: Agreed,
    names: TaskNames,
    subject: str | None = None,
) -> dict[str, Json]:
    """Return the fields of the Task that follow from edits here; may be empty."""
    fields: dict[str, Json] = {}
    for name, value in edits(here, agreed).items():
        column = FIELD_OF[name]
        if column not in names.updateable & names.readable:
            continue
        there = agreed.there.get(column)
        meant = _outward(name, value, there, names, subject)
        if not isinstance(meant, Left) and meant != there:
            fields[column] = meant
    return fields


def overwritten(
    here: Mapping[str, Json],
    fields: Mapping[str, Json],
    before: Mapping[str, Json],
    agreed: Agreed,
    names: TaskNames,
) -> tuple[Clash, ...]:
    """Return what an edit of ours has written over without having seen it.

    Args:
        here: Values of the reminder, as they were sent.
        fields: What was written.
        before: Values of the Task right before.
        agreed: What both agreed on when `fields` were made.
        names: What the org calls things.
    """
    lost: list[Clash] = []
    for name, column in FIELD_OF.items():
        if column not in fields or column not in before:
            continue
        now, was = before[column], agreed.there.get(column)
        meaning = now if name == "name" else inward(name, now, names)
        old = was if name == "name" else inward(name, was, names)
        if isinstance(meaning, Left) or now == fields[column]:
            continue
        if isinstance(old, Left) or not _same(name, meaning, old):
            lost.append(Clash(name, here[name], meaning, Side.HERE))
    return tuple(lost)


def sent(
    here: Mapping[str, Json],
    agreed: Agreed,
    fields: Mapping[str, Json],
    names: TaskNames,
) -> Agreed:
    """Return what both agree on once `fields`, which follow from `here`, are written.

    A field that our user may not set stays open: it is merged when it can be.
    """
    settable = names.updateable & names.readable
    mine = {
        name: here[name] if FIELD_OF[name] in settable else agreed.here.get(name)
        for name in FIELD_OF
    }
    return Agreed(mine, {**agreed.there, **fields})


# ------------------------------------------------------------------ new ones


@dataclass(frozen=True, slots=True)
class NewTask:
    """What a new Task gets beside the values of its reminder.

    `key_field` is the unique field that takes the key; without one, the key is the last
    line of the Description until the Task is edited here.
    """

    owner: str
    subject: str
    key: str
    key_field: str = ""
    extra: Mapping[str, Json] = field(default_factory=dict)


def new_fields(
    reminder: Reminder, new: NewTask, names: TaskNames
) -> tuple[dict[str, Json], Agreed]:
    """Return the fields of a new Task, and what both sides agree on with it.

    It gets no Type (D12). A Lead and another record do not go together in a Task: then
    the Lead stays.
    """
    here = values_of(reminder)
    line = "" if new.key_field else f"{KEY_LINE}{new.key}"
    room = names.length - len(line) - 2
    details = plain(here["details"], room if line else names.length)
    values: dict[str, Json] = {
        "Subject": new.subject or reminder.name,
        "Description": f"{details}\n\n{line}".strip() or None,
        "ActivityDate": here["due"],
        "Priority": here["priority"],
        "Status": names.complete if reminder.status == Status.COMPLETE else names.open,
    }
    if names.priorities and here["priority"] not in names.priorities:
        del values["Priority"]
    known = {
        column: value for column, value in values.items() if column in names.createable
    }
    who, what = _links(reminder)
    links = {"OwnerId": new.owner, "WhoId": who, "WhatId": what}
    if new.key_field:
        links[new.key_field] = new.key
    fields = {**new.extra, **known}
    fields |= {
        column: value
        for column, value in links.items()
        if value and (column in names.createable or column == new.key_field)
    }
    return {n: v for n, v in fields.items() if v is not None}, Agreed(here, known)


def _links(reminder: Reminder) -> tuple[str, str]:
    """Return the ids of WhoId and WhatId; either may be empty."""
    person, record = (
        record_id(text) or "" for text in (reminder.person, reminder.record)
    )
    who = next((each for each in (person, record) if each.startswith(_PEOPLE)), "")
    what = "" if record.startswith(_PEOPLE) or who.startswith(_LEAD) else record
    return who, what


def imported(task: Task, names: TaskNames) -> tuple[dict[str, Any], Agreed]:
    """Return the values of a reminder for a Task, and what both agree on with it.

    A status or priority without a counterpart needs some value here: Complete where the
    Task is closed, and Normal. The Task keeps its own.
    """
    status = inward("status", task.values.get("Status"), names)
    if isinstance(status, Left):
        status = str(Status.COMPLETE if task.is_closed else Status.OPEN)
    priority = inward("priority", task.values.get("Priority"), names)
    here = {
        "name": one_line(str(task.values.get("Subject") or ""))[:255] or NO_SUBJECT,
        "details": without_key(task.values.get("Description")),
        "due": task.values.get("ActivityDate") or None,
        "priority": "Normal" if isinstance(priority, Left) else priority,
        "status": status,
    }
    return here, Agreed(here, dict(task.values))


# ------------------------------------------------------------------ the brake


@dataclass(frozen=True, slots=True)
class Brake:
    """How many Tasks one round may delete of one user, without asking.

    Attributes:
        count: So many.
        percent: And so much of all of them; it counts from `least` on.
    """

    count: int = 20
    percent: float = 10.0
    least: int = 5

    def holds(self, deletions: int, living: int) -> bool:
        """Say whether so many deletions are too many to be meant."""
        if deletions > self.count:
            return True
        return deletions > self.least and deletions * 100 > self.percent * living
