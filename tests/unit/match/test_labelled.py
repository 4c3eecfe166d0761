"""The labelled corpus: who is in a mail, which way it went, and what becomes of it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from relay.activity import Mode
from relay.config import MatchSettings, SalesforceSettings
from relay.core.org import FieldInfo, OrgSchema
from relay.mail import parse
from relay.match import (
    Answers,
    Context,
    Decision,
    MailFacts,
    Rules,
    ask,
    decide,
    direction,
    to_log,
)
from tests.fakes.labelled import (
    CORPUS,
    DIRECTORY,
    HARMLESS,
    USERS,
    Labelled,
    Right,
    held,
)
from tests.fakes.values import NOON

if TYPE_CHECKING:
    from relay.core.model import Email

FIELDS = {
    "Task": ("WhoId", "WhatId", "OwnerId", "Subject", "Description"),
    "EmailMessage": (
        "ToIds",
        "FromId",
        "ToAddress",
        "MessageIdentifier",
        "RelatedToId",
    ),
}
STATES = {"no_match": "unmatched", "ruled_out": "skipped"}


def field(name: str) -> FieldInfo:
    yes = (True, True, True, True, False, False, False, False)
    return FieldInfo(name, name, "string", 1000, *yes)


SCHEMA = OrgSchema(
    {sobject: {n: field(n) for n in names} for sobject, names in FIELDS.items()},
    frozenset(FIELDS),
)
CONTEXT = Context.of(
    DIRECTORY,
    Rules(frozenset({"bcc.relay.example"}), 50, MatchSettings(), SalesforceSettings()),
)


def decided(raw: bytes) -> list[tuple[Email, Decision]]:
    """Return what is logged of a mail to Ada's address, and what becomes of it."""
    found = []
    for one in to_log(parse(raw), USERS[1], CONTEXT):
        facts = MailFacts(one.email, "m", NOON, (USERS[1],))
        question = ask(facts, CONTEXT)
        answers = Answers(held(question.addresses), (), SCHEMA, Mode.EMAIL_MESSAGE)
        found.append((one.email, decide(facts, question, answers, CONTEXT)))
    return found


def people(email: Email) -> tuple[tuple[str, ...], ...]:
    return tuple(
        tuple(box.address for box in some) for some in (email.from_, email.to, email.cc)
    )


def of(email: Email, decision: Decision) -> dict[str, object]:
    """Return what the corpus says of a mail, as it was read and decided."""
    sender, to, cc = people(email)
    verdict = decision.verdict_of(0)
    event = str(verdict.event)
    chosen = (*decision.match.who, *decision.match.what)
    return {
        "sender": sender[0] if sender else "",
        "to": to,
        "cc": cc,
        "subject": email.subject,
        "direction": direction(email),
        "note": email.note,
        "state": STATES.get(event, event),
        "reason": verdict.reason,
        "records": frozenset(one.id for one in chosen),
    }


def test_the_corpus_is_large_and_its_names_are_unique() -> None:
    """At least 300 mails, over 20 languages for the five kinds of programs."""
    assert len(CORPUS) >= 300
    assert max(Counter(one.name for one in CORPUS).values()) == 1
    languages = Counter(one.program for one in CORPUS if one.program)
    assert all(
        languages[program] >= 20
        for program in (
            "Gmail",
            "Outlook",
            "Outlook on the web",
            "Outlook on a phone",
            "Apple Mail",
            "Thunderbird",
            "Yahoo",
        )
    )


@pytest.mark.parametrize("mail", CORPUS, ids=lambda mail: mail.name)
def test_a_mail_is_read_and_decided_as_it_is_labelled(mail: Labelled) -> None:
    """People by place, direction, note, text, state, reason and records are right."""
    found = decided(mail.raw)
    assert len(found) == len(mail.right)
    for (email, decision), right in zip(found, mail.right, strict=True):
        said = of(email, decision)
        assert said == {name: getattr(right, name) for name in said}
        text = " ".join(email.text.split())
        assert text.startswith(right.begins)
        assert all(piece in text for piece in right.holds)
        assert not any(piece in text for piece in right.lacks)


@pytest.mark.parametrize("change", HARMLESS)
def test_a_harmless_change_changes_nobody(change: str) -> None:
    """A footer, a banner, quote marks or another width leave all people as they are."""
    for mail in CORPUS:
        if mail.made:
            lines = HARMLESS[change](list(mail.lines))
            ((email, _),) = decided(mail.made(lines))
            right: Right = mail.right[0]
            assert people(email) == ((right.sender,), right.to, right.cc), mail.name
