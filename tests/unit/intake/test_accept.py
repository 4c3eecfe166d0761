"""The one way in: a whole mail is judged step by step, and stored or refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relay.config import SMTPSettings
from relay.core.errors import StoreFull, StoreUnavailable
from relay.core.model import Step
from relay.intake import (
    Accepted,
    Addressee,
    Intake,
    LineEnds,
    Origin,
    Refused,
    Rejection,
)
from relay.smtp.replies import outcome_line, outcome_lines, reply_line
from tests.fakes.intake import ADA, PEOPLE, START, MemorySink, SetClock, senders

HEAD = b"From: ada@corp.example\r\n\r\n"
ADAS = Addressee("log-ada@in.example", 1)
BENS = Addressee("log-ben@in.example", 2)
POSTMASTER = Addressee("postmaster", None)
ORIGIN = Origin("192.0.2.1", Step(START, "connection", "in the clear"), "me", False)


class Door:
    """Gives mails to an intake over a store in memory."""

    def __init__(self, folder):
        self.store = MemorySink(folder)
        self.people = PEOPLE
        settings = SMTPSettings(domains=("in.example",), max_received=3)
        self.settings = settings
        self.intake = Intake(
            settings,
            self.store,
            SetClock(),
            directory=lambda: self.people,
            inline_bytes=1000,
            min_free_bytes=1 << 20,
            reply_line=reply_line,
            senders=senders(self.store, lambda: self.people),
        )

    async def give(self, raw, *whom, line_ends=None):
        """Return what becomes of one mail."""
        mail = self.intake.begin(ORIGIN, whom, mail_from="m@x", refused_recipients=1)
        if mail.content.add(raw):
            await mail.content.flush()
        return await self.intake.accept(mail, line_ends or LineEnds())


@pytest.fixture
async def door(tmp_path):
    """Return a door, whose intake is closed at the end."""
    made = Door(tmp_path)
    yield made
    await made.intake.close()


def refused(outcome):
    """Return recipient and reason of each refusal."""
    return [(one.rcpt, one.reason) for one in outcome.refusals]


async def test_each_recipient_is_judged(door):
    """Some may have a mail and others not; postmaster takes it from anybody."""
    outcome = await door.give(HEAD, ADAS, BENS, POSTMASTER)
    assert isinstance(outcome, Accepted)
    assert [one.rcpt for one in outcome.recipients] == [
        "log-ada@in.example",
        "postmaster",
    ]
    assert refused(outcome) == [("log-ben@in.example", "sender_not_accepted")]
    assert door.store.refused == list(outcome.refusals)
    assert door.store.refused[0].user_id == 2
    assert outcome_line(outcome).startswith("250 2.0.0 OK 2 messages")
    replies = outcome_lines(outcome)
    assert replies["log-ben@in.example"].startswith("550 5.7.1 ")
    assert replies["postmaster"].startswith("250 ")


async def test_the_envelope_tells_what_was_checked(door):
    """The trace has a step for each check, the first one from the door."""
    await door.give(HEAD, ADAS, BENS, line_ends=LineEnds(bare_lf=2))
    ((envelope, _, content),) = door.store.stored
    assert content == HEAD
    assert (envelope.mail_from, envelope.peer, envelope.helo) == (
        "m@x",
        "192.0.2.1",
        "me",
    )
    assert [(one.step, one.result, one.detail) for one in envelope.trace] == [
        ("connection", "in the clear", ""),
        ("rcpt", "accepted", "log-ada@in.example; 2 refused"),
        ("sender", "accepted", "ada@corp.example for Ada"),
        ("size", "accepted", "26 bytes"),
        ("line_ends", "bare", "kept 2 bare LF and 0 bare CR"),
    ]


async def test_a_delegate_is_named_beside_the_user(door):
    """The trace has both as they were when the mail came; so has a wildcard's."""
    door.people = replace(
        PEOPLE, delegates={1: {"ada@corp.example": "Carol", "*@ada.example": "Office"}}
    )
    await door.give(HEAD, ADAS, POSTMASTER)
    await door.give(b"From: any@ada.example\r\n\r\n", ADAS)
    said = [
        step.detail
        for envelope, _, _ in door.store.stored
        for step in envelope.trace
        if step.step == "sender"
    ]
    assert said == [
        "ada@corp.example for Ada (sent by Carol), postmaster",
        "any@ada.example for Ada (sent by Office)",
    ]


async def test_postmaster_gets_small_mail_only(door):
    """Mail beyond postmaster's own limit is refused for postmaster alone."""
    raw = HEAD + b"x" * (1 << 20)
    outcome = await door.give(raw, ADAS, POSTMASTER)
    assert [one.rcpt for one in outcome.recipients] == ["log-ada@in.example"]
    assert refused(outcome) == [("postmaster", "too_large")]
    outcome = await door.give(raw, POSTMASTER)
    assert isinstance(outcome, Refused)
    assert outcome.reason == "too_large"


async def test_an_announced_size_is_believed(door):
    """What is announced as too large is refused before its first byte."""
    limit = door.settings.max_message_bytes
    assert door.intake.check_size(limit) is None
    assert door.intake.check_size(limit + 1).reason == "too_large"
    rejection = door.intake.begin(ORIGIN, [POSTMASTER], expected_bytes=2 << 20)
    assert isinstance(rejection, Rejection)
    outcome = await door.intake.refuse(ORIGIN, [POSTMASTER], rejection)
    assert outcome_line(outcome).startswith("552 5.3.4 Mail is larger than 1048576")
    assert door.store.reasons == ["too_large"]


@pytest.mark.parametrize(
    ("raw", "line_ends", "reason"),
    [
        (b"Received: x\r\n" * 4 + HEAD, LineEnds(), "loop"),
        (b"X: y\r\n" * 2000 + HEAD, LineEnds(), "too_many_header_fields"),
        (b"X: y\r\n" * 50_000 + HEAD, LineEnds(), "header_too_large"),
        (HEAD, LineEnds(bare_lf=2, bare_dot=True), "bare_dot"),
        (b"Subject: x\r\n\r\n", LineEnds(), "no_from"),
    ],
)
async def test_refused_for_everybody(raw, line_ends, reason, door, tmp_path):
    """What is wrong with a mail refuses it for every recipient, and leaves no file."""
    outcome = await door.give(raw, ADAS, BENS, line_ends=line_ends)
    assert isinstance(outcome, Refused)
    assert refused(outcome) == [(ADAS.rcpt, reason), (BENS.rcpt, reason)]
    assert [one.user_id for one in outcome.refusals] == [1, 2]
    assert door.store.stored == []
    assert list(tmp_path.iterdir()) == []


async def test_users_that_changed_since_rcpt(door):
    """Users that are gone or disabled since RCPT get nothing."""
    door.people = replace(PEOPLE, users={1: replace(ADA, active=False)})
    outcome = await door.give(HEAD, ADAS, BENS)
    assert isinstance(outcome, Refused)
    assert [one.reason for one in outcome.refusals] == ["unknown_recipient"] * 2


@pytest.mark.parametrize(
    ("error", "reason", "code"),
    [
        (StoreUnavailable("locked"), "store_unavailable", "451 4.3.0"),
        (StoreFull("1 byte free"), "disk_full", "452 4.3.1"),
        (RuntimeError("bug"), "internal_error", "451 4.3.0"),
    ],
)
@pytest.mark.parametrize("size", [0, 5000])
async def test_failures_of_the_relay(error, reason, code, size, door, tmp_path):
    """A failure of the relay is a reason to try again, and leaves no file."""
    door.store.put_error = error
    outcome = await door.give(HEAD + b"x" * size, ADAS)
    assert isinstance(outcome, Refused)
    assert outcome.reason == reason
    assert outcome_line(outcome).startswith(code)
    assert str(error) not in outcome_line(outcome)
    assert list(tmp_path.iterdir()) == []


def test_a_known_user_has_a_relay_address(tmp_path):
    """HTTP and the import name a user, who has a recipient of their own."""
    assert Door(tmp_path).intake.relay_address(ADA) == ADAS
