"""Decides about raw mails as the worker does, in the org of the labelled corpus."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
from tests.fakes.labelled import DIRECTORY, USERS, held
from tests.fakes.values import NOON

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.core.model import Email, Found

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
    """Return a text field that may be set."""
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


def decided(
    raw: bytes,
    mode: Mode = Mode.EMAIL_MESSAGE,
    known: Callable[[list[str]], Found] = held,
    where: Context = CONTEXT,
) -> list[tuple[Email, Decision]]:
    """Return what is logged of a mail to Ada's address, and what becomes of it."""
    found = []
    for one in to_log(parse(raw), USERS[1], where):
        facts = MailFacts(one.email, "m", NOON, (USERS[1],))
        question = ask(facts, where)
        answers = Answers(known(question.addresses), (), SCHEMA, mode)
        found.append((one.email, decide(facts, question, answers, where)))
    return found


def people(email: Email) -> tuple[tuple[str, ...], ...]:
    """Return the addresses of From, To and Cc."""
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
