"""Reminders as values: days, tags, what an edit changes, and taking it back."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.errors import InvalidInput
from relay.core.reminders import (
    CREATED,
    FIELDS,
    LONGEST_DETAILS,
    LONGEST_NAME,
    REMOVED,
    Kind,
    Priority,
    Reminder,
    Section,
    Status,
    about,
    as_json,
    checked,
    differences,
    from_json,
    read_day,
    read_phrase,
    section,
    tag_day,
    tag_of,
    taken_back,
    today,
    zone,
)

MONDAY = date(2026, 11, 30)
AT = datetime(2026, 11, 30, 9, tzinfo=UTC)
CALL = Reminder("r1", 1, 2, "Call Bob", due=MONDAY, created_at=AT, changed_at=AT)
CONTACT = "003000000000001AAA"


def away(days):
    return MONDAY + timedelta(days=days)


# ------------------------------------------------------------------ days


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("today", MONDAY),
        (" Tomorrow ", away(1)),
        ("3d", away(3)),
        ("0d", MONDAY),
        ("in 3 days", away(3)),
        ("3 days from now", away(3)),
        ("a week", away(7)),
        ("one day", away(1)),
        ("2w", away(14)),
        ("in 2 weeks", away(14)),
        ("next week", away(7)),
        ("tuesday", away(1)),
        ("Tue", away(1)),
        ("next  friday", away(4)),
        ("sun", away(6)),
        # Never today: who means today writes it.
        ("monday", away(7)),
        ("next monday", away(7)),
        ("2026-12-01", away(1)),
        ("1999-01-01", date(1999, 1, 1)),
        ("none", None),
        ("never", None),
    ],
)
def test_a_day_as_people_write_it(text, wanted):
    """Days and weeks ahead, weekdays, dates; whatever the case and the spaces."""
    assert read_day(text, MONDAY) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "yesterday",
        "week",
        "next",
        "next tomorrow",
        "-3d",
        "3m",
        "2026-02-30",
        "2026-1-1",
        "01.12.2026",
        "999999d",
        "1699-12-31",
        "4001-01-01",
        "0000-01-01",
        "٣d",
    ],
)
def test_what_is_no_day_is_refused_with_what_is(text):
    """The problem names the text, the hint the spellings or the bounds."""
    with pytest.raises(InvalidInput) as caught:
        read_day(text, MONDAY)
    assert "2026-12-01" in caught.value.hint or "1700-01-01" in caught.value.hint


@given(st.dates(date(1970, 1, 1), date(2900, 1, 1)), st.integers(0, 6))
def test_a_weekday_is_within_the_next_seven_days(day, number):
    """The first one after today, with `next` or without."""
    name = ("monday tuesday wednesday thursday friday saturday sunday").split()[number]
    found = read_day(name, day)
    assert found is not None
    assert 1 <= (found - day).days <= 7
    assert found.weekday() == number
    assert read_day(f"next {name}", day) == found


def test_what_day_it_is_depends_on_where():
    """One moment, three days: R22 goes by the zone of who looks."""
    moment = datetime(2026, 11, 30, 10, 30, tzinfo=UTC)
    assert today(moment, ZoneInfo("Pacific/Kiritimati")) == date(2026, 12, 1)
    assert today(moment, ZoneInfo("Europe/Paris")) == date(2026, 11, 30)
    assert today(moment, ZoneInfo("Pacific/Pago_Pago")) == date(2026, 11, 29)


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        # Clocks are put forward: the day of 23 hours.
        ("Europe/Paris", (2026, 3, 28, 22, 59, 59), (2026, 3, 28, 23, 0)),
        ("Europe/Paris", (2026, 3, 29, 21, 59, 59), (2026, 3, 29, 22, 0)),
        # At midnight itself: there was no 00:00 of 4 November.
        ("America/Sao_Paulo", (2018, 11, 4, 2, 59, 59), (2018, 11, 4, 3, 0)),
        # Put back: there are two midnights, and the first one counts.
        ("America/Havana", (2026, 11, 1, 3, 59, 59), (2026, 11, 1, 4, 0)),
    ],
)
def test_days_end_at_midnight_also_when_clocks_change(name, before, after):
    """The day changes at one moment, once."""
    where = ZoneInfo(name)
    first, then = (today(datetime(*one, tzinfo=UTC), where) for one in (before, after))
    assert then - first == timedelta(days=1)


def test_a_zone_that_is_not_known_falls_back():
    """Salesforce may name one that this machine has not."""
    assert zone("Europe/Paris").key == "Europe/Paris"
    assert zone("Nowhere/Else", "Asia/Tokyo").key == "Asia/Tokyo"
    assert zone(None, "Asia/Tokyo").key == "Asia/Tokyo"
    assert zone("../etc/passwd").key == "UTC"
    assert zone("Nowhere", "Nowhere").key == "UTC"


@pytest.mark.parametrize(
    ("due", "wanted"),
    [
        (None, Section.UNDATED),
        (away(-1), Section.OVERDUE),
        (away(-4000), Section.OVERDUE),
        (MONDAY, Section.TODAY),
        (away(1), Section.TOMORROW),
        (away(2), Section.LATER),
    ],
)
def test_sections(due, wanted):
    """Today and tomorrow are apart from what is over and what comes later (R22)."""
    assert section(due, MONDAY) is wanted


# ------------------------------------------------------------------ tags


@pytest.mark.parametrize(
    ("rcpt", "tag"),
    [
        ("log-1+todo-3d@in.example", "todo-3d"),
        ("log-1+TODO-Tomorrow@in.example", "todo-tomorrow"),
        ("log-1+todo@in.example", "todo"),
        ("log-1+todotomorow@in.example", "todotomorow"),
        ("log-1+003000000000001AAA@in.example", ""),
        ("log-1@in.example", ""),
        ("todo-3d@in.example", ""),
        ("log-1+todo-3d", ""),
    ],
)
def test_a_tag_that_asks_for_a_reminder(rcpt, tag):
    """Any that begins with the word: what is misspelt must be told of."""
    assert tag_of(rcpt) == tag


@pytest.mark.parametrize(
    ("tag", "wanted"),
    [
        ("todo-today", MONDAY),
        ("todo-tomorrow", away(1)),
        ("todo-3d", away(3)),
        ("todo-2w", away(14)),
        ("todo-2026-12-01", away(1)),
    ],
)
def test_the_day_of_a_tag(tag, wanted):
    """Days are counted from the day of receipt."""
    assert tag_day(tag, MONDAY) == wanted


@pytest.mark.parametrize(
    "tag",
    [
        "todo",
        "todo-",
        "todo-soon",
        "todo-monday",
        "todo-none",
        "todo-2026-13-01",
        "todo-1000d",
        "todo-4001-01-01",
        "todo3d",
    ],
)
def test_a_wrong_tag_is_refused_with_the_right_spelling(tag):
    """The hint stands in the trace of the mail."""
    with pytest.raises(InvalidInput) as caught:
        tag_day(tag, MONDAY)
    assert tag in caught.value.problem
    assert "+todo-2026-12-01" in caught.value.hint


# ------------------------------------------------------------------ values


def test_values_are_kept_in_one_form():
    """One line, whole ids, addresses as they are compared."""
    assert checked(
        {
            "name": " Call\r\n Bob\t now ",
            "details": "a\nb",
            "due": None,
            "record": "006000000000001",
            "person": "Bob@Buyer.example",
            "kind": Kind.CALL,
        }
    ) == {
        "name": "Call Bob now",
        "details": "a\nb",
        "due": None,
        "record": "006000000000001AAA",
        "person": "bob@buyer.example",
        "kind": Kind.CALL,
    }
    assert checked({"person": CONTACT, "record": "", "due": MONDAY}) == {
        "person": CONTACT,
        "record": "",
        "due": MONDAY,
    }


@pytest.mark.parametrize(
    ("field", "value", "part"),
    [
        ("name", " \n ", "what is to be done"),
        ("name", "x" * (LONGEST_NAME + 1), "255"),
        ("details", "x" * (LONGEST_DETAILS + 1), "32000"),
        ("due", date(1699, 12, 31), "1700-01-01"),
        ("due", date(4001, 1, 1), "4000-12-31"),
        ("record", "no id", "15 or 18"),
        ("record", "003000000000001AAB", "15 or 18"),
        ("person", "Bob", "15 or 18"),
        ("person", "@", "address"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_mend(field, value, part):
    """Each text names what fits."""
    with pytest.raises(InvalidInput) as caught:
        checked({field: value})
    assert part in str(caught.value)


def test_differences_are_named_by_field():
    """Nothing else of a reminder counts, and values are those of JSON."""
    later = replace(
        CALL,
        due=None,
        status=Status.COMPLETE,
        version=7,
        changed_at=AT + timedelta(days=1),
    )
    assert differences(CALL, CALL) == {}
    assert differences(CALL, later) == {
        "due": ("2026-11-30", None),
        "status": ("Open", "Complete"),
    }
    gone = replace(CALL, removed_at=AT)
    assert differences(CALL, gone) == {REMOVED: (False, True)}
    assert differences(gone, replace(gone, removed_at=AT + timedelta(1))) == {}


@pytest.mark.parametrize("field", FIELDS)
def test_values_come_back_from_json(field):
    """What history and API write can be read."""
    one = replace(CALL, priority=Priority.HIGH, kind=Kind.CALL)
    value = getattr(one, field)
    assert from_json(field, as_json(value)) == value
    assert from_json("due", None) is None


def test_an_edit_is_taken_back():
    """Its fields get the values from before; those of other edits stay."""
    edited = replace(CALL, due=away(3), priority=Priority.HIGH, name="Call Carl")
    edit = {"due": ("2026-11-30", "2026-12-03"), "priority": ("Normal", "High")}
    assert taken_back(edited, edit, AT) == (replace(CALL, name="Call Carl"), "")


def test_what_was_changed_since_is_not_taken_back():
    """An undo must never undo what came later."""
    edited = replace(CALL, due=away(5), priority=Priority.HIGH)
    edit = {"priority": ("Normal", "High"), "due": ("2026-11-30", "2026-12-03")}
    assert taken_back(edited, edit, AT) == (edited, "due")


def test_making_and_removing_are_taken_back():
    """Each way once: a reminder that is gone cannot be removed again."""
    gone = replace(CALL, removed_at=AT)
    made, removed = {CREATED: (None, {})}, {REMOVED: (False, True)}
    restored = {REMOVED: (True, False)}
    assert taken_back(CALL, made, AT) == (gone, "")
    assert taken_back(gone, made, AT) == (gone, CREATED)
    assert taken_back(gone, removed, AT) == (CALL, "")
    assert taken_back(CALL, removed, AT) == (CALL, REMOVED)
    assert taken_back(CALL, restored, AT) == (gone, "")


def test_open_is_what_is_there_and_not_done():
    """A tombstone is not to be done."""
    assert CALL.is_open
    assert not replace(CALL, status=Status.COMPLETE).is_open
    assert not replace(CALL, removed_at=AT).is_open


@pytest.mark.parametrize(
    ("text", "name", "due"),
    [
        ("follow up in 3 days", "follow up", away(3)),
        ("Call Bob, tomorrow!", "Call Bob", away(1)),
        ("send the offer by friday", "send the offer", away(4)),
        ("send it on 2026-12-24", "send it", date(2026, 12, 24)),
        ("ask again next week", "ask again", away(7)),
        ("2026-12-24 is over 2026-12-25", "2026-12-24 is over", date(2026, 12, 25)),
        # No day, or none that can be told.
        ("call Bob", "call Bob", None),
        ("go on", "go on", None),
        ("wait until soon", "wait until soon", None),
        ("look at the next one", "look at the next one", None),
        ("tomorrow", "tomorrow", None),
        ("not 2026-02-30", "not 2026-02-30", None),
    ],
)
def test_a_phrase_names_a_day_at_its_end(text, name, due):
    """What is no day stays in the name."""
    assert read_phrase(text, MONDAY) == (name, due)


LEAD, USER, DEAL = "00Q000000000001EAA", "005000000000001AAA", "006000000000001AAA"
EMAIL = {"ToIds": [USER, CONTACT], "RelatedToId": DEAL, "Subject": "x"}


@pytest.mark.parametrize(
    ("whos", "whats", "rows", "wanted"),
    [
        ([], [], [], ("", "")),
        ([CONTACT, LEAD], [DEAL], [], (CONTACT, DEAL)),
        # What was written before counts where nothing is matched now.
        ([], [], [{}, EMAIL], (CONTACT, DEAL)),
        ([], [], [{"WhoId": CONTACT, "WhatId": None}], (CONTACT, "")),
        # A Task of a Lead may name no other record.
        ([LEAD], [DEAL], [EMAIL], (LEAD, "")),
        ([], [], [{"ToIds": [USER]}], ("", "")),
    ],
)
def test_whom_a_mail_is_about(whos, whats, rows, wanted):
    """The first Contact or Lead, and the first other record."""
    assert about(whos, whats, rows) == wanted
