"""A user's reminders as a calendar that other programs subscribe to.

To-dos (VTODO) with a day and no alarm, or all-day events for programs that show no
to-dos of subscriptions. The same reminders give the same bytes: a program that asks
again with the ETag of what it has gets nothing.

Source: RFC 5545 (iCalendar) sections 3.6.2, 3.8.1.9, 3.8.2.3; RFC 7986 section 5.7.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from icalendar import Calendar, Event, Todo

from relay.console.reminders import digest_of
from relay.core.reminders import Priority, ReminderFilter, Status

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from relay.config import Settings
    from relay.core.reminders import Reminder
    from relay.store import Store

KEPT: Final = timedelta(days=30)
"""How long a calendar shows what is complete."""
MOST: Final = 2000
"""Reminders of a calendar: the latest made."""
_REFRESH: Final = timedelta(minutes=15)
_PRIORITIES: Final = {Priority.HIGH: 1, Priority.NORMAL: 5}


async def calendar_of(
    store: Store, settings: Settings, secret: str, now: datetime, *, events: bool
) -> bytes | None:
    """Return the calendar that a secret opens; None: it opens none.

    Args:
        store: The open store.
        settings: For links to the page of a reminder.
        secret: From the address of the feed.
        now: The time: what has been complete for long is left out.
        events: All-day events of what is open and has a day, in place of to-dos.
    """
    feed = await store.reminders.feed_of(digest_of(secret))
    if feed is None:
        return None
    users = await store.directory.users()
    user = next((one for one in users if one.id == feed.user_id), None)
    if user is None or not user.active:
        return None
    mine = ReminderFilter(assignee=user.id, status=Status.OPEN, limit=MOST)
    found = await store.reminders.find(mine)
    if not events:
        done = ReminderFilter(
            assignee=user.id,
            status=Status.COMPLETE,
            changed_from=now - KEPT,
            limit=MOST,
        )
        found += await store.reminders.find(done)
    web = settings.web
    base = f"{web.public_url}{web.base_path}" if web.public_url else ""
    return written_as(found, user.name, base, events=events)


def written_as(
    reminders: Iterable[Reminder], name: str, base: str, *, events: bool = False
) -> bytes:
    """Return reminders as a calendar.

    Args:
        reminders: In the order of the calendar.
        name: Whose they are.
        base: Address of the pages; empty: none is known.
        events: All-day events in place of to-dos.
    """
    calendar = Calendar()
    calendar.add("prodid", "-//Relay//Reminders//EN")
    calendar.add("version", "2.0")
    calendar.add("calscale", "GREGORIAN")
    title = " ".join(_clean(f"Reminders: {name}").split())  # NAME has one line.
    calendar.add("name", title)
    calendar.add("x-wr-calname", title)
    calendar.add("refresh-interval", _REFRESH, parameters={"value": "DURATION"})
    calendar.add("x-published-ttl", "PT15M")
    for one in reminders:
        if not events:
            calendar.add_component(_todo(one, base))
        elif one.due is not None:
            calendar.add_component(_event(one, base))
    written: bytes = calendar.to_ical()
    return written


def _todo(one: Reminder, base: str) -> Todo:
    todo = Todo()
    _common(todo, one, base)
    if one.due is not None:
        todo.add("due", one.due)
    todo.add("priority", _PRIORITIES[one.priority])
    if one.status is Status.COMPLETE:
        todo.add("status", "COMPLETED")
        todo.add("percent-complete", 100)
        # Of what was complete before, the last change comes nearest.
        todo.add("completed", one.changed_at.replace(microsecond=0))
    else:
        todo.add("status", "NEEDS-ACTION")
    return todo


def _event(one: Reminder, base: str) -> Event:
    event = Event()
    _common(event, one, base)
    event.add("dtstart", one.due)
    # It takes no time of the day.
    event.add("transp", "TRANSPARENT")
    event.add("priority", _PRIORITIES[one.priority])
    return event


def _common(component: Todo | Event, one: Reminder, base: str) -> None:
    component.add("uid", f"{one.id}@reminders.relay")
    component.add("dtstamp", one.changed_at.replace(microsecond=0))
    component.add("created", one.created_at.replace(microsecond=0))
    component.add("last-modified", one.changed_at.replace(microsecond=0))
    component.add("sequence", one.version - 1)
    component.add("summary", _clean(one.name))
    if one.details:
        component.add("description", _clean(one.details))
    component.add("categories", [one.kind.value])
    component.add("class", "PRIVATE")
    if base:
        component.add("url", f"{base.rstrip('/')}/reminders/{one.id}")


def _clean(text: str) -> str:
    """Return a text without the control characters that RFC 5545 has no form for."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(c for c in text if c in "\n\t" or (c >= " " and c != "\x7f"))
