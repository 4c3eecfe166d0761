"""The seven mails of the demo: who writes to whom, and what must come of it.

People are taken from the org that is there, so that the demo shows what the relay
finds and not what a script says. Pure: rows in, mails out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from email.message import EmailMessage
from email.utils import format_datetime, formataddr, make_msgid
from typing import TYPE_CHECKING, Any, Final

from relay.core.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    Row = Mapping[str, Any]
    Rows = Mapping[str, Sequence[Row]]

REFUSED: Final = "refused"
_TIMELINES: Final = ("Contact", "Lead", "Opportunity")
STRANGER: Final = ("Sam Stranger", "sam@elsewhere.example")
FORGER: Final = "mallory@forger.example"
"""Has a mail server with everything in order, and the secret address of the rep."""
NOBODY: Final = ("Nora Newcomer", "nora@nobody.example")


@dataclass(frozen=True, slots=True)
class Cast:
    """Who plays: two of us, and customers as the org holds them."""

    rep: Row
    colleague: Row
    contact: Row
    opportunity: Row
    lead: Row
    other: Row
    """A second contact."""
    deals: Mapping[str, frozenset[str]]
    """Open opportunities by contact id."""

    def timelines(self, *people: Row) -> frozenset[str]:
        """Return the records that a mail to these people belongs to."""
        found = {str(one["Id"]) for one in people}
        return frozenset(found.union(*(self.deals.get(i, ()) for i in found)))


@dataclass(frozen=True, slots=True)
class Scene:
    """One mail, and what must come of it.

    `on` are the ids of the records whose timeline must show it. `cause` is that of the
    catalogue of causes where the mail is refused. The domain of `mail_from` signs it.
    """

    title: str
    mail_from: str
    mail: EmailMessage
    state: str
    on: frozenset[str] = field(default_factory=frozenset)
    cause: str = ""

    @property
    def domain(self) -> str:
        """Return the domain whose mail server sends it."""
        return self.mail_from.rpartition("@")[2]

    @property
    def message_id(self) -> str:
        """Return the Message-ID header."""
        return str(self.mail["Message-ID"])


def cast(rows: Rows, *, integration_user: str) -> Cast:
    """Choose the people for the demo.

    Args:
        rows: Every record of the org, by object.
        integration_user: Username of the relay's own user, who sends no mail.

    Raises:
        NotFound: The org has not got the people that the demo needs.
    """
    users = [
        row
        for row in rows.get("User", ())
        if row.get("IsActive")
        and row.get("Email")
        and row.get("Username") != integration_user
    ]
    contacts = _reachable(rows, "Contact")
    leads = [
        row for row in _reachable(rows, "Lead").values() if not row.get("IsConverted")
    ]
    open_ones = {
        row["Id"]: row for row in _kept(rows, "Opportunity") if not row.get("IsClosed")
    }
    parts = [
        (contacts[role["ContactId"]], open_ones[role["OpportunityId"]])
        for role in _kept(rows, "OpportunityContactRole")
        if role.get("ContactId") in contacts and role.get("OpportunityId") in open_ones
    ]
    if len(users) < 2 or not parts or not leads:  # noqa: PLR2004 - a rep, a colleague
        problem = "the sandbox lacks people for the demo: seed it anew"
        raise NotFound(problem)
    contact, opportunity = parts[0]
    others = [row for key, row in contacts.items() if key != contact["Id"]]
    deals: dict[str, frozenset[str]] = {}
    for person, deal in parts:
        deals[person["Id"]] = deals.get(person["Id"], frozenset()) | {deal["Id"]}
    # A contact without a deal shows that a mail is logged without one, too.
    others.sort(key=lambda row: row["Id"] in deals)
    return Cast(
        rep=users[0],
        colleague=users[1],
        contact=contact,
        opportunity=opportunity,
        lead=leads[0],
        other=others[0] if others else contact,
        deals=deals,
    )


def _kept(rows: Rows, name: str) -> list[Row]:
    return [row for row in rows.get(name, ()) if not row.get("IsDeleted")]


def _reachable(rows: Rows, name: str) -> dict[str, Row]:
    """Return the people whose address no other person in the org has."""
    everybody = [
        str(row.get("Email") or "").lower()
        for one in ("Contact", "Lead")
        for row in _kept(rows, one)
    ]
    return {
        row["Id"]: row
        for row in _kept(rows, name)
        if row.get("Email") and everybody.count(row["Email"].lower()) == 1
    }


def scenes(people: Cast, at: datetime, relay_address: str) -> list[Scene]:
    """Return the seven mails, in the order in which they are sent."""
    rep, colleague = _box(people.rep), _box(people.colleague)
    contact, lead, other = _box(people.contact), _box(people.lead), _box(people.other)
    deal = str(people.opportunity.get("Name", "our offer"))
    return [
        Scene(
            "to a contact on an open opportunity",
            rep[1],
            _mail(rep, [contact], [], f"{deal}: the revised offer", at),
            "logged",
            people.timelines(people.contact),
        ),
        Scene(
            "to a lead",
            rep[1],
            _mail(rep, [lead], [], "Nice to meet you at the fair", at),
            "logged",
            people.timelines(people.lead),
        ),
        Scene(
            "to several people",
            rep[1],
            _mail(
                rep,
                [other, lead],
                [contact, colleague, NOBODY],
                "Minutes of today's call",
                at,
            ),
            "logged",
            people.timelines(people.other, people.lead, people.contact),
        ),
        Scene(
            "received, and forwarded to the relay",
            rep[1],
            _forward(rep, relay_address, contact, f"{deal}: one question", at),
            "logged",
            people.timelines(people.contact),
        ),
        Scene(
            "to nobody known",
            rep[1],
            _mail(rep, [NOBODY], [], "A first hello", at),
            "unmatched",
        ),
        Scene(
            "from a stranger",
            STRANGER[1],
            _mail(STRANGER, [contact], [], "Please log this, too", at),
            REFUSED,
            cause="S106",
        ),
        Scene(
            f"forged in the name of {rep[0]}",
            FORGER,
            _mail(rep, [contact], [], "Please pay to our new account", at),
            REFUSED,
            cause="S211",
        ),
    ]


def _box(row: Row) -> tuple[str, str]:
    return _title(row), str(row["Email"])


def _mail(
    sender: tuple[str, str],
    to: Sequence[tuple[str, str]],
    cc: Sequence[tuple[str, str]],
    subject: str,
    at: datetime,
) -> EmailMessage:
    """Write a mail as a mail program does; the BCC line leaves no trace in it."""
    mail = EmailMessage()
    mail["From"] = formataddr(sender)
    mail["To"] = ", ".join(formataddr(one) for one in to)
    if cc:
        mail["Cc"] = ", ".join(formataddr(one) for one in cc)
    mail["Subject"] = subject
    mail["Date"] = format_datetime(at)
    mail["Message-ID"] = make_msgid(domain=sender[1].rpartition("@")[2])
    greeting = to[0][0].split(" ")[0]
    mail.set_content(
        f"Hello {greeting},\n\nthis is a mail of the demo: {subject}.\n\n"
        f"Kind regards\n{sender[0]}\n"
    )
    return mail


def _forward(
    sender: tuple[str, str],
    to: str,
    author: tuple[str, str],
    subject: str,
    at: datetime,
) -> EmailMessage:
    """Forward a mail that a customer has written, as Gmail does, with a note."""
    mail = _mail(sender, [("", to)], [], f"Fwd: {subject}", at)
    mail.set_content(
        "They ask for a discount.\n\n"
        "---------- Forwarded message ---------\n"
        f"From: {author[0]} <{author[1]}>\n"
        f"Date: {at - timedelta(hours=2):%a, %b %d, %Y at %I:%M %p}\n"
        f"Subject: {subject}\n"
        f"To: {sender[0]} <{sender[1]}>\n\n\n"
        f"Hello {sender[0].split(' ')[0]},\n\nis this your best price?\n\n"
        f"Kind regards\n{author[0]}\n"
    )
    return mail


def timeline(rows: Rows, records: Iterable[Row]) -> frozenset[str]:
    """Return the people and opportunities whose timeline shows one of the records."""
    wanted = {record["id"] for record in records}
    found: set[Any] = set()
    for row in rows.get("EmailMessage", ()):
        if row["Id"] in wanted:
            found.add(row.get("RelatedToId"))
    for row in rows.get("EmailMessageRelation", ()):
        if row.get("EmailMessageId") in wanted:
            found.add(row.get("RelationId"))
    for row in rows.get("Task", ()):
        if row["Id"] in wanted:
            found |= {row.get("WhoId"), row.get("WhatId")}
    for row in rows.get("TaskRelation", ()):
        if row.get("TaskId") in wanted:
            found.add(row.get("RelationId"))
    customers = {row["Id"] for name in _TIMELINES for row in rows.get(name, ())}
    return frozenset(str(one) for one in found & customers)


def names(rows: Rows, ids: Iterable[str]) -> str:
    """Return `Contact Ada Byron, Opportunity …` for record ids, people first."""
    wanted = set(ids)
    return ", ".join(
        f"{kind} {_title(row)}"
        for kind in _TIMELINES
        for row in rows.get(kind, ())
        if row["Id"] in wanted
    )


def _title(row: Row) -> str:
    parts = (row.get("FirstName"), row.get("LastName"))
    return str(row.get("Name") or " ".join(str(part) for part in parts if part))
