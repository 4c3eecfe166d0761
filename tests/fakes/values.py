"""Values for tests of the pure packages: people, mails, records, with defaults."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from relay.core.directory import Directory, Exclusion, Role, SkipKind, User
from relay.core.model import Candidate, Email, Found, Mailbox, OpportunityRole

NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
ADA = "005000000000001AAA"


def boxes(*addresses: str) -> tuple[Mailbox, ...]:
    """Return mailboxes without names."""
    return tuple(Mailbox("", address) for address in addresses)


PLAIN = Email(
    from_=(Mailbox("Ada Rep", "ada@corp.example"),),
    to=(),
    cc=(),
    bcc=(),
    reply_to=(),
    subject="The offer",
    date=NOON,
    message_id="<1@corp.example>",
    in_reply_to=(),
    references=(),
    text="Hello",
    html=None,
    attachments=(),
    headers="",
    key1="k1",
    key2="k2",
)


def email(**changes: object) -> Email:
    """Return a mail of Ada's with some fields changed."""
    return replace(PLAIN, **changes)  # type: ignore[arg-type]


def directory(
    *exclusions: tuple[str, SkipKind], accepted: tuple[str, ...] = ("ada@corp.example",)
) -> Directory:
    """Return a directory with Ada and Ben, and org-wide exclusions."""
    ada = User(1, "Ada", "ada@corp.example", Role.REP, True, ADA, "log-a")
    ben = User(2, "Ben", "Ben@corp.example", Role.REP, True, None, "log-b")
    return Directory(
        revision=1,
        users={1: ada, 2: ben},
        by_token={"log-a": 1, "log-b": 2},
        accepted={1: frozenset(accepted), 2: frozenset()},
        exclusions=tuple(Exclusion(p, None, kind) for p, kind in exclusions),
    )


def contact(number: int, key: str, **changes: object) -> Candidate:
    """Return a Contact created on day `number`."""
    made = Candidate(
        f"0030000000000{number:02d}AAA",
        "Contact",
        key,
        f"Contact {number}",
        datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=number),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def lead(number: int, key: str, **changes: object) -> Candidate:
    """Return a Lead created on day `number`."""
    made = contact(number, key)
    return replace(made, id=f"00Q0000000000{number:02d}AAA", object="Lead", **changes)  # type: ignore[arg-type]


def found(
    *candidates: Candidate, roles: tuple[tuple[Candidate, str], ...] = ()
) -> Found:
    """Return what Salesforce holds; roles are pairs of contact and opportunity id."""
    by_key: dict[str, tuple[Candidate, ...]] = {}
    for candidate in candidates:
        key = candidate.email_key
        by_key[key] = (*by_key.get(key, ()), candidate)
    by_contact: dict[str, tuple[OpportunityRole, ...]] = {}
    for who, opportunity in roles:
        role = OpportunityRole(opportunity, f"Deal {opportunity}", who.id)
        by_contact[who.id] = (*by_contact.get(who.id, ()), role)
    return Found(by_key, by_contact)
