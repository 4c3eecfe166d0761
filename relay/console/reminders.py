"""Reminders as people handle them: whose, which, and what is done to one.

A rep sees and changes the reminders that the rep made or is to do; an admin, and a
program of an admin, all. Days are counted where the one is who is to do it. `relay
reminder`, the API and the Command Center call these functions alone.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from relay.core.access import Scope
from relay.core.errors import InvalidInput, NotAllowed, NotFound
from relay.core.reminders import (
    By,
    Kind,
    NewReminder,
    Priority,
    ReminderFilter,
    Section,
    Status,
    about,
    checked,
    read_day,
    read_phrase,
    section,
    today,
    zone,
)
from relay.salesforce.errors import rule_of_reason

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date, datetime
    from zoneinfo import ZoneInfo

    from relay.config import Settings
    from relay.core.access import Caller
    from relay.core.directory import User
    from relay.core.reminders import Reminder, ReminderChange, Source
    from relay.core.syncing import KeptClash
    from relay.store import Store

DAYS_SHOWN: Final = 2
"""Today and tomorrow (R22)."""
MOST_OVERDUE: Final = 200
"""Overdue reminders that a page shows; more are counted."""
_UNNAMED: Final = "Follow up"
_TOKEN_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Desk:
    """Who asks, from where, and when: what every act on reminders needs to know.

    Attributes:
        store: The open store.
        settings: For the time zone of users whose own is not known.
        who: Who asks, and what they may.
        source: Where an edit comes from.
        now: The time.
    """

    store: Store
    settings: Settings
    who: Caller
    source: Source
    now: datetime

    @property
    def by(self) -> By:
        """Return who makes an edit."""
        return By(self.who.name, self.source)

    def need(self, scope: Scope) -> None:
        """Pass who may.

        Raises:
            NotAllowed: They may not.
        """
        if scope not in self.who.scopes:
            hint = "reminders are for representatives and admins"
            raise NotAllowed("who asks may not handle reminders", hint)

    async def users(self) -> dict[int, User]:
        """Return everybody by number; removed users, too: they may own reminders."""
        found = await self.store.directory.users(removed=True)
        return {user.id: user for user in found}

    def zone_of(self, user: User | None) -> ZoneInfo:
        """Return in which zone a user's days are counted."""
        own = None if user is None else user.time_zone
        return zone(own, self.settings.notices.time_zone)

    def today(self, user: User | None) -> date:
        """Return which day it is where a user is."""
        return today(self.now, self.zone_of(user))

    async def meant(self, user: User | None) -> User | None:
        """Return whose days are meant: a user's, those of who asks, or the only one."""
        return user or self.who.user or _only(await self.users())


# ------------------------------------------------------------------ looking


def row(one: Reminder, users: Mapping[int, User]) -> dict[str, Any]:
    """Return the stable names of a reminder."""
    return {
        "id": one.id,
        "name": one.name,
        "details": one.details,
        "due": None if one.due is None else one.due.isoformat(),
        "priority": one.priority.value,
        "status": one.status.value,
        "type": one.kind.value,
        "person": one.person or None,
        "record": one.record or None,
        "owner": _email(users, one.owner_user_id),
        "assignee": _email(users, one.assignee_user_id),
        "message": one.message_id or None,
        "created_at": one.created_at,
        "changed_at": one.changed_at,
        "version": one.version,
        "removed_at": one.removed_at,
    }


def _email(users: Mapping[int, User], number: int) -> str:
    return users[number].email if number in users else ""


def change_row(one: ReminderChange, users: Mapping[int, User]) -> dict[str, Any]:
    """Return the stable names of a field that an edit changed."""
    field, before, after = one.field, one.before, one.after
    if field == "kind":
        field = "type"
    if field == "assignee_user_id":
        field = "assignee"
        before, after = _email(users, before), _email(users, after)
    if field == "created":
        values = dict(after)
        values["type"] = values.pop("kind", None)
        values["assignee"] = _email(users, values.pop("assignee_user_id", 0))
        after = values
    return {
        "version": one.version,
        "at": one.at,
        "actor": one.actor,
        "source": one.source.value,
        "field": field,
        "before": before,
        "after": after,
        "undoes": one.undoes,
    }


async def find(desk: Desk, wanted: ReminderFilter) -> list[Reminder]:
    """Return the reminders that fit and that who asks may see."""
    desk.need(Scope.REMINDERS_READ)
    return await desk.store.reminders.find(_own(desk, wanted))


def _own(desk: Desk, wanted: ReminderFilter) -> ReminderFilter:
    own = desk.who.own_only
    return wanted if own is None else replace(wanted, concerns=own)


def conditions(**values: str) -> dict[str, str]:
    """Return conditions of a filter as the store keeps such values; empty ones go.

    Raises:
        InvalidInput: One of them is no such value.
    """
    return checked({name: value for name, value in values.items() if value})


def older(wanted: ReminderFilter, before_id: str) -> ReminderFilter:
    """Return a filter for what was made before a reminder: the next page."""
    return replace(wanted, before_id=before_id)


async def whole_id(desk: Desk, text: str) -> str:
    """Return the id that begins with a text.

    Raises:
        NotFound: No reminder's does, or several do.
    """
    own = desk.who.own_only
    found = await desk.store.reminders.ids(text.lower(), own, 2)
    if len(found) == 1:
        return found[0]
    if not found:
        raise _unknown(text)
    raise NotFound(f"several reminders begin with {text}; write more of the id")


async def get(desk: Desk, ident: str, *, removed: bool = False) -> Reminder:
    """Return a reminder; also a tombstone, if `removed`.

    Raises:
        NotFound: There is none, or it is another user's: to a rep they look the same.
    """
    desk.need(Scope.REMINDERS_READ)
    found = await desk.store.reminders.get(ident, removed=True)
    own = desk.who.own_only
    if own not in {None, found.owner_user_id, found.assignee_user_id}:
        raise _unknown(ident)
    if found.removed_at is not None and not removed:
        return await desk.store.reminders.get(ident)  # Says how to bring it back.
    return found


def _unknown(ident: str) -> NotFound:
    return NotFound(f"there is no reminder {ident}; `relay reminder list` lists all")


async def history(desk: Desk, ident: str) -> list[dict[str, Any]]:
    """Return every edit of a reminder, oldest first; of a tombstone, too."""
    found = await get(desk, ident, removed=True)
    users = await desk.users()
    return [
        change_row(one, users) for one in await desk.store.reminders.history(found.id)
    ]


@dataclass(frozen=True, slots=True)
class CommandCenter:
    """What is due of a user, by section (R22), and what lies beyond the rule.

    `overdue_count` counts all that is overdue, also what is not in the list.
    """

    day: date
    zone: str
    today: tuple[Reminder, ...]
    tomorrow: tuple[Reminder, ...]
    overdue: tuple[Reminder, ...]
    overdue_count: int

    def as_json(self, users: Mapping[int, User]) -> dict[str, Any]:
        """Return the stable names."""
        return {
            "day": self.day.isoformat(),
            "time_zone": self.zone,
            "today": [row(one, users) for one in self.today],
            "tomorrow": [row(one, users) for one in self.tomorrow],
            "overdue": [row(one, users) for one in self.overdue],
            "overdue_count": self.overdue_count,
        }


async def command_center(desk: Desk, user: User) -> CommandCenter:
    """Return what a user is to do today and tomorrow, as days are where the user is."""
    desk.need(Scope.REMINDERS_READ)
    where = desk.zone_of(user)
    day = today(desk.now, where)
    mine = ReminderFilter(assignee=user.id, status=Status.OPEN, by_due=True)
    until = day + timedelta(days=DAYS_SHOWN)
    reminders = desk.store.reminders
    due = await reminders.find(replace(mine, due_from=day, due_until=until))
    over = replace(mine, due_until=day)
    overdue = await reminders.find(replace(over, limit=MOST_OVERDUE))
    count = len(overdue)
    if count == MOST_OVERDUE:
        count = await reminders.count(over)
    parts: dict[Section, list[Reminder]] = {Section.TODAY: [], Section.TOMORROW: []}
    for one in due:
        parts[section(one.due, day)].append(one)
    return CommandCenter(
        day,
        where.key,
        tuple(parts[Section.TODAY]),
        tuple(parts[Section.TOMORROW]),
        tuple(overdue),
        count,
    )


# ------------------------------------------------------------------ doing


@dataclass(frozen=True, slots=True)
class Draft:
    """What a person asks for; days as typed.

    Attributes:
        name: One line; with a day at its end where `due` is None. Empty with `message`:
            the subject of the mail.
        due: A day as `read_day` takes it; None: as the name says, or none.
        user: Whose reminder it is; empty: of who asks, or of the message.
        assignee: Who is to do it; empty: the owner.
        message: The id of the message that it is made from.
    """

    name: str = ""
    details: str = ""
    due: str | None = None
    priority: str = Priority.NORMAL.value
    kind: str = Kind.CUSTOM.value
    person: str = ""
    record: str = ""
    user: str = ""
    assignee: str = ""
    message: str = ""


async def add(desk: Desk, draft: Draft) -> Reminder:
    """Make a reminder.

    One of a message is about the people and records that its mail was logged on, unless
    the draft says otherwise.

    Raises:
        InvalidInput: A value does not fit, or nobody is named whose it is to be.
        NotFound: There is no such user or message.
        NotAllowed: Who asks may not make one for this user.
    """
    desk.need(Scope.REMINDERS_WRITE)
    message: dict[str, Any] = {}
    if draft.message:
        message = await _message(desk, draft.message)
    owner = await _owner(desk, draft.user, message)
    assignee = owner
    name, due = draft.name, None
    if draft.assignee:
        assignee = await desk.store.directory.find_user(draft.assignee)
    day = desk.today(assignee)
    if draft.due is None:
        name, due = read_phrase(name, day)
    elif draft.due.strip():
        due = read_day(draft.due, day)
    if message and not name.strip():
        name = str(message["subject"] or "").strip() or _UNNAMED
    person, record = draft.person, draft.record
    if message and not (person or record):
        person, record = about(
            (), (), await desk.store.reminders.written_for(message["id"])
        )
        person = person or await _unmatched_person(desk, message["id"])
    new = NewReminder(
        owner_user_id=owner.id,
        assignee_user_id=assignee.id,
        name=name,
        details=draft.details,
        due=due,
        priority=_choice(Priority, draft.priority, "priority"),
        kind=_choice(Kind, draft.kind, "type"),
        person=person,
        record=record,
        message_id=message.get("id", ""),
    )
    _may_assign(desk, owner.id, assignee, new.person)
    return await desk.store.reminders.add(new, desk.by)


async def _message(desk: Desk, ident: str) -> dict[str, Any]:
    from relay.admin.inputs import message_id  # noqa: PLC0415 - heavy libraries

    whole, kind = await desk.store.log.find_id(message_id(ident))
    _, user_id = await desk.store.log.owner(whole)
    if kind != "message" or desk.who.own_only not in {None, user_id}:
        raise NotFound(f"there is no message {ident}; `relay log` lists them")
    return {**await desk.store.log.show(whole), "user_id": user_id}


async def _unmatched_person(desk: Desk, message_id: str) -> str:
    found = await desk.store.unmatched.get([message_id])
    return found[0].people[0].key if found and found[0].people else ""


async def _owner(desk: Desk, named: str, message: Mapping[str, Any]) -> User:
    """Return whose a new reminder is: of whom it names, who asks, or the message."""
    own = desk.who.user
    if named:
        found = await desk.store.directory.find_user(named)
        if desk.who.own_only not in {None, found.id}:
            hint = "a rep makes reminders of the rep's own; name an assignee"
            raise NotAllowed("this is another user's", hint, word="not_yours")
        return found
    users = await desk.users()
    if message.get("user_id") is not None:
        return users[message["user_id"]]
    if own is not None:
        return own
    if (only := _only(users)) is not None:
        return only
    raise InvalidInput("nobody is named whose reminder it is", "name a user")


def _only(users: Mapping[int, User]) -> User | None:
    """Return the active user, where there is one alone: nobody else can be meant."""
    active = [user for user in users.values() if user.active]
    return active[0] if len(active) == 1 else None


def _choice(kind: Any, value: str, what: str) -> Any:
    for one in kind:
        if one.value.lower() == value.strip().lower():
            return one
    known = ", ".join(one.value for one in kind)
    raise InvalidInput(f"{value!r} is no {what}", f"write one of {known}")


def _may_assign(desk: Desk, owner: int, assignee: User, person: str) -> None:
    """Let a rep give to a colleague only what is about a shared person (D21).

    The people whom two reps share are those of Salesforce: an address alone is one
    rep's.
    """
    if desk.who.own_only is None or assignee.id in {owner, desk.who.own_only}:
        return
    if not assignee.active:
        raise InvalidInput(f"{assignee.email} is not active", "name an active user")
    if not person or "@" in person:
        hint = "name the Contact or Lead by its Salesforce id"
        text = "only a reminder about a Contact or Lead can be given to a colleague"
        raise InvalidInput(text, hint)


EDITS: Final = (
    "name",
    "details",
    "due",
    "priority",
    "status",
    "type",
    "person",
    "record",
    "assignee",
)
"""What an edit may name."""


async def edit(
    desk: Desk, ident: str, changes: Mapping[str, str], *, version: int | None = None
) -> Reminder:
    """Change what is named of a reminder, all or nothing.

    Args:
        desk: Who asks.
        ident: Which reminder.
        changes: As typed, by the names of `EDITS`; an empty `due` is none.
        version: Only if it still has this version.

    Raises:
        InvalidInput: A value does not fit.
        NotFound: There is no such reminder, or user.
        StaleVersion: Somebody was faster.
    """
    desk.need(Scope.REMINDERS_WRITE)
    found = await get(desk, ident)
    users = await desk.users()
    assignee = users.get(found.assignee_user_id)
    values: dict[str, Any] = {}
    if "assignee" in changes:
        assignee = await desk.store.directory.find_user(changes["assignee"])
        values["assignee_user_id"] = assignee.id
    for name, text in changes.items():
        if name == "due":
            day = desk.today(assignee)
            values["due"] = read_day(text, day) if text.strip() else None
        elif name in {"priority", "status", "type"}:
            values[_FIELD.get(name, name)] = _choice(_KINDS[name], text, name)
        elif name != "assignee":
            values[name] = text
    if assignee is not None and "assignee_user_id" in values:
        person = values.get("person", found.person)
        _may_assign(desk, found.owner_user_id, assignee, person)
    return await desk.store.reminders.edit(found.id, values, desk.by, version=version)


_FIELD: Final = {"type": "kind"}
_KINDS: Final = {"priority": Priority, "status": Status, "type": Kind}


async def complete(
    desk: Desk, ident: str, *, version: int | None = None, done: bool = True
) -> Reminder:
    """Say that it is done, or with `done` False that it is not."""
    status = Status.COMPLETE if done else Status.OPEN
    return await edit(desk, ident, {"status": status.value}, version=version)


async def snooze(
    desk: Desk, ident: str, until: str, *, version: int | None = None
) -> Reminder:
    """Put a reminder off to a day, counted from today.

    Raises:
        InvalidInput: It names no day, or it is done.
    """
    found = await get(desk, ident)
    if found.status is Status.COMPLETE:
        hint = f"relay reminder edit {found.id} --status open"
        raise InvalidInput("it is complete: there is nothing to put off", hint)
    if not until.strip():
        raise InvalidInput("no day is named", "name one, such as tomorrow or 3d")
    return await edit(desk, found.id, {"due": until}, version=version)


async def remove(desk: Desk, ident: str, *, version: int | None = None) -> Reminder:
    """Remove a reminder; `undo` brings it back."""
    desk.need(Scope.REMINDERS_WRITE)
    found = await get(desk, ident)
    return await desk.store.reminders.remove(found.id, desk.by, version=version)


async def undo(desk: Desk, ident: str, version: int | None = None) -> Reminder:
    """Take an edit back by the version that it made; None: the latest.

    Raises:
        Conflict: What it changed was changed since.
    """
    desk.need(Scope.REMINDERS_WRITE)
    found = await get(desk, ident, removed=True)
    return await desk.store.reminders.undo(found.id, version, desk.by)


# ------------------------------------------------------------------ its Task


@dataclass(frozen=True, slots=True)
class TaskOf:
    """The Task that a reminder is kept in step with, and what failed last.

    Attributes:
        task_id: Its Salesforce id; None: it is not there yet, or no more.
        state: How far making it is, or *gone*.
        code: Salesforce's code of the last failure; empty: none.
        error: What Salesforce said.
        meaning: What that means.
        remedy: What helps.
        failing_since: Since when it fails.
        next_at: When it is tried next by itself; None: not.
        clashes: Values that both sides had changed, the latest first.
    """

    task_id: str | None
    state: str
    code: str
    error: str
    meaning: str
    remedy: str
    failing_since: datetime | None
    next_at: datetime | None
    clashes: tuple[KeptClash, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the stable names."""
        failure = {
            "code": self.code,
            "message": self.error,
            "meaning": self.meaning,
            "remedy": self.remedy,
            "since": self.failing_since,
            "next_at": self.next_at,
        }
        return {
            "task": self.task_id,
            "state": self.state,
            "failure": failure if self.code else None,
            "conflicts": [
                {
                    "id": one.id,
                    "at": one.at,
                    "field": one.field,
                    "here": one.here,
                    "salesforce": one.there,
                    "kept": one.kept.value,
                    "undone_at": one.undone_at,
                    "undone_by": one.undone_by or None,
                }
                for one in self.clashes
            ],
        }


async def task_of(desk: Desk, ident: str) -> TaskOf | None:
    """Return the Task of a reminder; None: it was never kept in step with one."""
    found = await get(desk, ident, removed=True)
    twin = await desk.store.reminder_sync.twin(found.id)
    if twin is None:
        return None
    rule = rule_of_reason(twin.code, twin.error) if twin.code else None
    clashes = await desk.store.reminder_sync.clashes(reminder_id=found.id)
    return TaskOf(
        twin.task_id,
        twin.state.value,
        twin.code,
        twin.error,
        rule.meaning if rule else "",
        rule.remedy if rule else "",
        twin.failing_since,
        twin.due_at if twin.code else None,
        tuple(clashes),
    )


async def retry(desk: Desk, ident: str) -> bool:
    """Try at once again what failed of a reminder; False: nothing did."""
    desk.need(Scope.REMINDERS_WRITE)
    found = await get(desk, ident, removed=True)
    return bool(await desk.store.reminder_sync.retry(reminder_id=found.id))


async def undo_clash(desk: Desk, ident: str, number: int) -> Reminder:
    """Give the value that lost back to a reminder.

    Raises:
        NotFound: The reminder has no such conflict.
        Conflict: It was undone before.
    """
    desk.need(Scope.REMINDERS_WRITE)
    found = await get(desk, ident, removed=True)
    clashes = await desk.store.reminder_sync.clashes(reminder_id=found.id)
    if number not in {one.id for one in clashes}:
        raise NotFound(f"reminder {found.id} has no conflict {number}")
    return await desk.store.reminder_sync.undo_clash(number, desk.by)


# ------------------------------------------------------------------ the calendar


def feed_path(secret: str) -> str:
    """Return the path of a calendar feed."""
    return f"/reminders/feed/{secret}.ics"


def digest_of(secret: str) -> str:
    """Return what the store keeps of a secret; one of 256 bits needs no salt."""
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


async def new_feed(desk: Desk, user: User) -> str:
    """Give a user's calendar a new secret, and end the one before; return it once.

    Raises:
        NotAllowed: A rep asks for another's.
    """
    _own_feed(desk, user)
    secret = secrets.token_urlsafe(_TOKEN_BYTES)
    await desk.store.reminders.set_feed(user.id, digest_of(secret), desk.who.name)
    await desk.store.history.note(
        "reminder_feed_add", user.email, desk.who.name, user.id
    )
    return secret


async def end_feed(desk: Desk, user: User) -> None:
    """End the calendar of a user: its URL works no more.

    Raises:
        NotAllowed: A rep asks for another's.
        NotFound: There is none.
    """
    _own_feed(desk, user)
    if await desk.store.reminders.feed(user.id) is None:
        raise NotFound(f"{user.email} has no calendar feed")
    await desk.store.reminders.set_feed(user.id, None, desk.who.name)
    await desk.store.history.note(
        "reminder_feed_remove", user.email, desk.who.name, user.id
    )


def _own_feed(desk: Desk, user: User) -> None:
    desk.need(Scope.REMINDERS_WRITE)
    if desk.who.own_only not in {None, user.id}:
        raise NotAllowed(
            "this is another user's", "make one of your own", word="not_yours"
        )
