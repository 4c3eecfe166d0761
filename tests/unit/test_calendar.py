"""A calendar of reminders is what RFC 5545 says, whatever people write."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import icalendar
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.console.calendar import written_as
from relay.core.reminders import Kind, Priority, Reminder, Status

AT = datetime(2026, 11, 30, 9, 0, 0, 123, tzinfo=UTC)
ONE = Reminder(
    *("r1", 1, 1, "Call Bob; now, \\n"),
    details="first\r\nsecond\x07",
    due=date(2026, 12, 1),
    priority=Priority.HIGH,
    kind=Kind.CALL,
    created_at=AT,
    changed_at=AT,
    version=3,
)


def read(*reminders: Reminder, **more: bool) -> icalendar.Calendar:
    return icalendar.Calendar.from_ical(
        written_as(reminders, "Ada", "https://relay.example", **more)
    )


def test_a_reminder_is_a_to_do() -> None:
    """Day, priority, status; what a program needs to follow changes; no alarm."""
    calendar = read(ONE)
    assert (calendar["version"], calendar["x-wr-calname"]) == ("2.0", "Reminders: Ada")
    (todo,) = calendar.walk("VTODO")
    assert todo["due"].dt == date(2026, 12, 1)
    assert todo["due"].params["VALUE"] == "DATE"
    assert (todo["summary"], todo["description"]) == (ONE.name, "first\nsecond")
    assert (todo["priority"], todo["status"], todo["sequence"]) == (
        1,
        "NEEDS-ACTION",
        2,
    )
    assert todo["dtstamp"].dt == AT.replace(microsecond=0)
    assert todo["url"] == "https://relay.example/reminders/r1"
    assert "r1" in todo["uid"]
    assert todo.subcomponents == []
    # RFC 5545 section 3.6.2: once each.
    for name in ("uid", "dtstamp", "due", "status", "summary"):
        assert not isinstance(todo[name], list)


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r", "\x85", "\u2028", "\x00"])
def test_no_text_begins_a_line_of_its_own(end: str) -> None:
    """Whatever a mail, an org or an import has written into it."""
    mean = f"x{end}END:VCALENDAR{end}BEGIN:VALARM{end}ATTACH:https://evil.example"
    one = replace(ONE, name=mean, details=mean, person=mean)
    for events in (False, True):
        written = written_as([one], mean, "https://relay.example", events=events)
        lines = written.replace(b"\r\n ", b"").split(b"\r\n")
        assert not any(b"\r" in line or b"\n" in line for line in lines)
        assert not any(line.startswith((b"BEGIN:VALARM", b"ATTACH")) for line in lines)
        assert lines.count(b"END:VCALENDAR") == 1


def test_what_is_done_is_complete() -> None:
    """RFC 5545 section 3.8.2.1: COMPLETED is a time in UTC."""
    (todo,) = read(replace(ONE, status=Status.COMPLETE, due=None)).walk("VTODO")
    assert (todo["status"], todo["percent-complete"]) == ("COMPLETED", 100)
    assert todo["completed"].dt == AT.replace(microsecond=0)
    assert "due" not in todo


def test_the_same_reminders_give_the_same_bytes() -> None:
    """So that an ETag holds until something changes."""
    assert written_as([ONE], "Ada", "") == written_as([ONE], "Ada", "")
    assert b"URL" not in written_as([ONE], "Ada", "")


def test_events_are_all_day_and_take_no_time() -> None:
    """Those without a day are left out: an event needs one."""
    calendar = read(ONE, replace(ONE, id="r2", due=None), events=True)
    (event,) = calendar.walk("VEVENT")
    assert event["dtstart"].dt == date(2026, 12, 1)
    assert event["transp"] == "TRANSPARENT"
    assert calendar.walk("VTODO") == []


@pytest.mark.parametrize("events", [False, True])
@given(name=st.text(), details=st.text(max_size=300))
def test_no_text_breaks_a_calendar(name: str, details: str, *, events: bool) -> None:
    """Lines of at most 75 octets that end in CRLF; the text comes back."""
    name = name.encode("utf-8", "replace").decode()
    details = details.encode("utf-8", "replace").decode()
    raw = written_as([replace(ONE, name=name, details=details)], "A", "", events=events)
    lines = raw.split(b"\r\n")
    assert lines.pop() == b""
    assert all(len(line) <= 75 and b"\n" not in line for line in lines)
    assert all(not set(line) & set(b"\0\x07\r\x7f") for line in lines)
    (one,) = icalendar.Calendar.from_ical(raw).walk("VEVENT" if events else "VTODO")
    assert str(one["summary"]).count("BEGIN:") == name.count("BEGIN:")
