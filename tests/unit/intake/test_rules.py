"""Whom an envelope address names, and what a header block is worth."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relay.config import SMTPSettings
from relay.core.directory import record_in
from relay.intake.refusals import Rejection
from relay.intake.rules import Addressee, Rules, read_headers, writers
from relay.sender import read_author
from relay.smtp.envelope import Path
from relay.smtp.replies import reply_line
from tests.fakes.intake import PEOPLE, START


@pytest.fixture
def rules():
    """The rules for two domains, one of them not ASCII."""
    return Rules(
        SMTPSettings(domains=("in.example", "xn--bcher-kva.example"), max_received=3)
    )


@pytest.mark.parametrize(
    ("local", "domain", "user_id"),
    [
        ("log-ada", "in.example", 1),
        ("LOG-ADA", "IN.EXAMPLE", 1),
        ("log-ada", "bücher.example", 1),
        ("old", "in.example", 2),
        ("postmaster", "in.example", None),
        ("PostMaster", "xn--bcher-kva.example", None),
        ("postmaster", "", None),
    ],
)
def test_recipients(rules, local, domain, user_id):
    """Relay addresses name users without regard to case; postmaster names nobody."""
    path = Path(local, domain)
    assert rules.recipient(path.address, local, domain, PEOPLE) == Addressee(
        path.address, user_id
    )


ID = "006Hs00001LTtvpIAD"


@pytest.mark.parametrize("local", [f"log-ada+{ID}", f"LOG-ADA+{ID.lower()}"])
def test_a_relay_address_may_name_a_record(rules, local):
    """In any case: the id is kept with the address, its checksum holds."""
    path = Path(local, "in.example")
    answer = rules.recipient(path.address, local, "in.example", PEOPLE)
    assert answer == Addressee(path.address, 1)
    assert record_in(answer.rcpt) == ID
    assert record_in("log-ada@in.example") == ""


@pytest.mark.parametrize("tail", ["todo-3d", "TODO-Tomorrow", "todo-soon", "todo"])
def test_a_relay_address_may_ask_for_a_reminder(rules, tail):
    """One that is misspelt must not cost the mail: the trace tells of it."""
    local = f"log-ada+{tail}"
    answer = rules.recipient(f"{local}@in.example", local, "in.example", PEOPLE)
    assert answer == Addressee(f"{local}@in.example", 1)


@pytest.mark.parametrize("tail", ["", ID[:15], ID[:-1] + "X", "offer", f"{ID}+{ID}"])
def test_what_is_no_record_is_refused(rules, tail):
    """As an unknown recipient, so that a stranger learns nothing; the journal does."""
    local = f"log-ada+{tail}"
    answer = rules.recipient(f"{local}@in.example", local, "in.example", PEOPLE)
    assert (answer.reason, answer.user_id) == ("unknown_recipient", None)
    assert "no record id" in answer.detail
    guess = rules.recipient(
        f"guess+{ID}@in.example", f"guess+{ID}", "in.example", PEOPLE
    )
    assert replace(guess, detail="") == replace(answer, detail="")


@pytest.mark.parametrize(
    ("removed_at", "why"), [(None, "has another one now"), (START, "was removed")]
)
def test_an_ended_relay_address_is_refused_under_its_user(rules, removed_at, why):
    """The peer reads what everybody reads; the journal knows whose address it was."""
    ben = replace(PEOPLE.users[2], active=removed_at is None, removed_at=removed_at)
    people = replace(
        PEOPLE, users=PEOPLE.users | {2: ben}, ended_tokens={"log-leaked": 2}
    )
    answer = rules.recipient("x", "LOG-leaked", "in.example", people)
    stranger = rules.recipient("x", "log-guess", "in.example", people)
    assert (answer.reason, answer.user_id) == ("unknown_recipient", 2)
    assert why in answer.detail
    assert "Ben" in answer.detail
    assert (stranger.reason, stranger.user_id) == ("unknown_recipient", None)
    assert reply_line(answer, "x") == reply_line(stranger, "x")


@pytest.mark.parametrize(
    ("local", "domain", "user_id"),
    [
        ("nobody", "in.example", None),
        ("log-ada", "other.example", None),
        ("log-ada", "sub.in.example", None),
        ("log-ada", "[127.0.0.1]", None),
        ("log-ada+tag", "in.example", None),
        ("", "in.example", None),
        ("log-cleo", "in.example", 3),
    ],
)
def test_unknown_recipients(rules, local, domain, user_id):
    """Everybody else is unknown; only the refusal knows that a user is disabled."""
    answer = rules.recipient(Path(local, domain).address, local, domain, PEOPLE)
    assert isinstance(answer, Rejection)
    assert answer.reason == "unknown_recipient"
    assert answer.user_id == user_id
    assert reply_line(answer, "x") == "550 5.1.1 No such relay address here (ref x)"


def test_no_address_accepts_mail_while_logging_is_off(rules):
    """The reply tells the sender; the disabled stay unknown, postmaster is there."""
    off = replace(PEOPLE, settings={"active": False})
    answer = rules.recipient("log-ada@in.example", "log-ada", "in.example", off)
    assert (answer.reason, answer.user_id) == ("logging_off", 1)
    assert reply_line(answer, "x") == (
        "550 5.2.1 Your administrator has switched logging off: this mail is not "
        "logged (ref x)"
    )
    cleo = rules.recipient("log-cleo@in.example", "log-cleo", "in.example", off)
    assert cleo.reason == "unknown_recipient"
    nobody = rules.recipient("nobody@in.example", "nobody", "in.example", off)
    assert nobody.reason == "unknown_recipient"
    postmaster = rules.recipient("postmaster", "postmaster", "in.example", off)
    assert postmaster == Addressee("postmaster", None)


def test_logging_switched_off_since_rcpt(rules):
    """The whole mail is judged by the switch once more; other settings do not count."""
    headers = read_headers(b"From: ada@corp.example\r\n\r\n")
    author = writers(headers, read_author(headers.from_values), "ada@corp.example")
    ada = Addressee("log-ada@in.example", 1)
    on = replace(PEOPLE, settings={"active": True, "match.several": "all"})
    assert rules.sender(author, ada, on).user == PEOPLE.users[1]
    off = replace(PEOPLE, settings={"active": False})
    assert rules.sender(author, ada, off).reason == "logging_off"
    assert rules.sender(author, Addressee("postmaster", None), off) is None


def test_the_refusal_of_a_user_who_was_never_activated(rules):
    """The sender reads what they read for an unknown one; the journal knows more."""
    new = replace(PEOPLE.users[1], active=False, activated_at=None)
    people = replace(PEOPLE, users={1: new})
    answer = rules.recipient("log-ada@in.example", "log-ada", "in.example", people)
    assert (answer.reason, answer.detail) == (
        "unknown_recipient",
        f"{new.name} is not activated",
    )


def test_token_of_a_user_who_is_gone(rules):
    """A token without its user is unknown, not an error."""
    gone = replace(PEOPLE, users={})
    answer = rules.recipient("log-ada@in.example", "log-ada", "in.example", gone)
    assert isinstance(answer, Rejection)


def test_sizes(rules):
    """Mail for postmaster alone is kept small; other mail has the limit for anybody."""
    whom = (Addressee("log-ada@in.example", 1), Addressee("postmaster", None))
    assert rules.largest() == rules.largest(whom) == 35 << 20
    assert rules.largest(whom[1:]) == 1 << 20
    assert rules.size((1 << 20) + 1, whom) is None
    refused = rules.size((1 << 20) + 1, whom[1:])
    assert reply_line(refused, "x") == (
        "552 5.3.4 Mail is larger than 1048576 bytes (ref x)"
    )
    assert rules.size((35 << 20) + 1).reason == "too_large"


def test_headers_for_listings():
    """Texts for listings are decoded, joined and short; the first field counts."""
    headers = read_headers(
        b"Received: a\r\nFROM: =?utf-8?q?J=C3=BCrgen?= <j@corp.example>\r\n"
        b"To: a@x.example\r\nTo: b@x.example\r\nSubject: one\r\nSubject: two\r\n"
        b"Message-ID:\r\n <1@x>\r\nReceived: b\r\n\r\nFrom: no@header.example\r\n"
    )
    assert headers.received == 2
    assert len(headers.from_values) == 1
    assert headers.to_text == "a@x.example, b@x.example"
    assert headers.subject == "one"
    assert headers.message_id == "<1@x>"
    assert len(read_headers(b"Subject: " + b"x" * 9000 + b"\r\n").subject) == 1000
    assert read_headers(b"").from_values == ()


def test_listings_decode_no_more_than_they_show(monkeypatch):
    """Thousands of To fields cost no more than the first few."""
    decoded = []
    monkeypatch.setattr(
        "relay.intake.rules.decode_header", lambda v: decoded.append(v) or "x"
    )
    read_headers(b"To: someone@somewhere.example\r\n" * 2000)
    assert sum(map(len, decoded)) <= 4 * 1000 + 10
