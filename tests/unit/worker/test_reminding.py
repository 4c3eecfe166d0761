"""Which endings of a mail make a reminder, and what it says."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

from relay.activity import Owner
from relay.core.directory import Role, User
from relay.core.model import Activity, Chosen, MailState, Match, Person, Place
from relay.core.queue import Claimed, Settlement
from relay.core.reminders import Kind
from relay.core.states import ActivityState, Event
from relay.mail import parse
from relay.match import Decision, Verdict
from relay.outbox.batch import BatchMail, ClaimedMessage
from relay.worker.reminding import with_reminder

NIGHT = datetime(2026, 11, 30, 23, 30, tzinfo=UTC)
"""The day is over in Paris, and has hours to go in New York."""
CONTACT, LEAD = "003000000000001AAA", "00Q000000000001EAA"
DEAL = "006000000000001AAA"
ADA = User(1, "Ada", "ada@corp.example", Role.REP, True, None, "log-a", "Europe/Paris")


class Clock:
    def now(self) -> datetime:
        return NIGHT

    def boottime_s(self) -> float:
        return 0.0


def settled(
    tag: str = "+todo-tomorrow",
    event: Event = Event.LOGGED,
    *,
    reason: str = "",
    user: User | None = ADA,
    match: Match | None = None,
    subject: str = "The offer",
    rows: tuple[dict[str, Any], ...] = (),
    zone: str | None = None,
    part: int | None = None,
    mail: bool = True,
) -> Settlement:
    """Return the settlement of a mail to a relay address."""
    claimed = Claimed(
        *("m1", 1, 1, f"log-a{tag}@in.example", NIGHT, "ada@corp.example", 7),
        *("b", 10, 0, NIGHT),
        part=part,
    )
    message = ClaimedMessage(claimed, user, Clock(), NIGHT)
    message.email = parse(f"Subject: {subject}\r\n\r\nHello\r\n".encode())
    decision = Decision(
        Verdict(event),
        owners=((ADA, Owner("005000000000001AAA", zone)),) if zone else (),
    )
    if match is not None:
        decision = replace(decision, match=match)
    made = BatchMail(
        MailState(7, "key", (), leased=True),
        [message],
        {
            str(at): Activity(
                *(str(at), 7, "task", "Task", fields, "", ActivityState.WRITTEN)
            )
            for at, fields in enumerate(rows)
        },
        decision=decision,
    )
    end = Settlement("m1", 1, event, reason)
    return with_reminder(message, end, made if mail else None, "America/New_York")


def chosen(sfid: str, sobject: str) -> Chosen:
    return Chosen(sfid, sobject, "Name", "rule")


def test_a_reminder_is_about_what_was_matched() -> None:
    """Person and record of the match, and the subject without record tags."""
    match = Match((chosen(CONTACT, "Contact"),), (chosen(DEAL, "Opportunity"),), ())
    made = settled(match=match, subject=f"The offer (ref: {DEAL})").reminder
    assert made is not None
    assert (made.name, made.person, made.record) == ("The offer", CONTACT, DEAL)
    assert (made.owner_user_id, made.assignee_user_id) == (1, 1)
    assert (made.message_id, made.kind) == ("m1", Kind.EMAIL)
    assert made.origin == "mail:7:1:todo-tomorrow"


def test_what_was_written_before_counts_too() -> None:
    """A worker that was killed behind the write matches nothing anew."""
    made = settled(rows=({"WhoId": LEAD, "WhatId": None}, {"WhatId": DEAL})).reminder
    assert made is not None
    assert (made.person, made.record) == (LEAD, "")


def test_unmatched_mail_is_about_an_address() -> None:
    """The first person that no record has."""
    bob = Person("bob@buyer.example", "Bob@buyer.example", "Bob", Place.TO)
    made = settled(event=Event.NO_MATCH, match=Match((), (), (bob,)), subject="")
    assert made.reminder is not None
    assert made.reminder.person == "bob@buyer.example"
    assert made.reminder.name == "Follow up"


def test_what_cannot_be_kept_costs_no_mail_its_end() -> None:
    """An address that is none, and an id with a wrong checksum, are left out."""
    odd = Person("no address", "no address", "", Place.TO)
    made = settled(event=Event.NO_MATCH, match=Match((), (), (odd,))).reminder
    assert made is not None
    assert made.person == ""
    match = Match((chosen("003000000000001AAB", "Contact"),), (), ())
    made = settled(match=match).reminder
    assert made is not None
    assert made.person == ""


@pytest.mark.parametrize(
    ("own", "found", "day"),
    [
        ("Europe/Paris", None, date(2026, 12, 2)),
        (None, "Asia/Tokyo", date(2026, 12, 2)),
        (None, None, date(2026, 12, 1)),
    ],
)
def test_days_are_counted_from_the_receipt_where_the_user_is(
    own: str | None, found: str | None, day: date
) -> None:
    """The user's zone, or the one found in this attempt, or that of the settings."""
    made = settled(user=replace(ADA, time_zone=own), zone=found)
    assert made.reminder is not None
    assert made.reminder.due == day
    (step,) = made.trace
    assert (step.step, step.result) == ("reminder", "made")
    assert f"due {day}" in step.detail


@pytest.mark.parametrize(
    "event",
    [Event.TRANSIENT, Event.GIVE_BACK, Event.PERMANENT, Event.EXHAUSTED],
)
def test_what_has_not_come_to_its_end_makes_none(event: Event) -> None:
    """It is made when the mail is."""
    assert settled(event=event) == Settlement("m1", 1, event)


@pytest.mark.parametrize(
    "changes",
    [{"tag": ""}, {"user": None}, {"mail": False}, {"part": 2}],
)
def test_nothing_is_asked_for(changes: dict[str, Any]) -> None:
    """No tag, nobody, nothing that was read, or another mail of the message."""
    assert settled(**changes) == Settlement("m1", 1, Event.LOGGED)


def test_the_first_of_several_mails_stands_for_the_message() -> None:
    """One message makes one reminder, however many mails it holds."""
    assert settled(part=1).reminder is not None


@pytest.mark.parametrize("reason", ["confidential", "excluded", "auto_reply"])
def test_what_is_kept_out_makes_none(reason: str) -> None:
    """The trace says so."""
    end = settled(event=Event.RULED_OUT, reason=reason)
    assert end.reminder is None
    assert [(s.step, s.result) for s in end.trace] == [("reminder", "none")]
    assert settled(event=Event.RULED_OUT, reason="internal_only").reminder is not None


def test_a_wrong_tag_is_told() -> None:
    """With the right spelling; the settlement is as it was."""
    end = settled("+todo-tomorow", Event.NO_MATCH, reason="no_record")
    assert (end.reminder, end.reason) == (None, "no_record")
    assert "+todo-tomorrow" in end.trace[0].detail
