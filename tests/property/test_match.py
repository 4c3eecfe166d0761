"""Matching: what never changes the records of a mail, and who is never among them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from email.header import Header
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from relay.activity import Mode
from relay.config import MatchSettings
from relay.core.addresses import address_key
from relay.core.model import Found
from relay.match import Context, direction
from tests.fakes.deciding import CONTEXT, decided
from tests.fakes.values import contact, found, lead

if TYPE_CHECKING:
    from relay.core.model import Candidate, Email
    from relay.match import Decision

CONTACTS = tuple(contact(n, f"c{n}@acme.example") for n in range(4))
LEADS = tuple(lead(n, f"l{n}@leads.example") for n in range(3))
TWINS = (
    contact(7, "twin@both.example"),
    contact(8, "twin@both.example"),
    lead(9, "twin@both.example"),
)
EVERYBODY = (*CONTACTS, *LEADS, *TWINS)
DEALS = ("006000000000001AAA", "006000000000002AAA")
HELD = found(
    *EVERYBODY,
    roles=(
        (CONTACTS[0], DEALS[0]),
        (CONTACTS[1], DEALS[0]),
        (CONTACTS[1], DEALS[1]),
        (TWINS[0], DEALS[1]),
    ),
)
STRANGERS = (
    "ben@seller.example",
    "log-a@bcc.relay.example",
    "p@press.example",
    "n@nowhere.example",
)
ADDRESSES = (*sorted({one.email_key for one in EVERYBODY}), *STRANGERS)

NAMES = st.text(
    st.characters(exclude_categories=["Cc", "Cs", "Cn", "Zl", "Zp"]), max_size=12
)
FOLDS = st.sampled_from([", ", ",", ",\r\n ", ",\r\n\t", " ,  ", ";\r\n  "])


@dataclass(frozen=True)
class Shown:
    """A recipient as one mail shows them: a name, and the case of the address."""

    address: str
    name: str
    upper: bool
    cc: bool

    def render(self) -> str:
        """Return the mailbox as a program writes it."""
        address = self.address.upper() if self.upper else self.address
        if not self.name.strip():
            return address
        if self.name.isascii():
            quoted = self.name.replace("\\", "\\\\").replace('"', '\\"')
            return f'"{quoted}" <{address}>'
        return f"{Header(self.name, 'utf-8').encode()} <{address}>"


@st.composite
def pairs(draw: st.DrawFn) -> tuple[list[Shown], list[Shown]]:
    """Return the same recipients twice, in other orders, names and cases."""
    chosen = draw(st.lists(st.sampled_from(ADDRESSES), max_size=7, unique=True))
    places = [draw(st.booleans()) for _ in chosen]
    both = []
    for _ in range(2):
        shown = [
            Shown(address, draw(NAMES), draw(st.booleans()), cc)
            for address, cc in zip(chosen, places, strict=True)
        ]
        both.append(draw(st.permutations(shown)))
    return both[0], both[1]


def mail(
    people: list[Shown],
    between: str,
    sender: str = "ada@seller.example",
    more: str = "",
) -> bytes:
    to, cc = (
        between.join(one.render() for one in people if one.cc is copied)
        for copied in (False, True)
    )
    return (
        f"From: Ada <{sender}>\r\nTo: {to}\r\nCc: {cc}\r\nSubject: Offer\r\n"
        f"Date: Wed, 25 Nov 2026 16:58:00 +0100\r\nMessage-ID: <m@x.example>\r\n{more}"
        "\r\nHello\r\n"
    ).encode()


def ends(raw: bytes, mode: Mode, where: Context) -> list[tuple[object, ...]]:
    """Return how each mail ends that is logged, and on which records."""
    return [
        (
            decision.verdict_of(0).event,
            decision.verdict_of(0).reason,
            frozenset(records(decision)),
            direction(email),
        )
        for email, decision in decided(raw, mode, lambda _: HELD, where)
    ]


def records(decision: Decision) -> list[str]:
    return [one.id for one in (*decision.match.who, *decision.match.what)]


RULES = st.builds(
    MatchSettings,
    several=st.sampled_from(["all", "oldest", "newest", "most_activity", "mine"]),
    opportunities=st.sampled_from(["all", "newest", "mine", "primary", "none"]),
).map(lambda match: Context.of(CONTEXT.directory, replace(CONTEXT.rules, match=match)))
MODES = st.sampled_from([Mode.EMAIL_MESSAGE, Mode.TASK])


@given(pairs(), FOLDS, FOLDS, MODES, RULES)
def test_order_case_names_and_folding_change_nothing(
    both: tuple[list[Shown], list[Shown]],
    fold: str,
    other_fold: str,
    mode: Mode,
    where: Context,
) -> None:
    """The same recipients give the same end and the same records."""
    one = ends(mail(both[0], fold), mode, where)
    assert one == ends(mail(both[1], other_fold), mode, where)


@given(pairs(), MODES, RULES)
def test_a_lead_never_has_a_what_id(
    both: tuple[list[Shown], list[Shown]], mode: Mode, where: Context
) -> None:
    """Neither a Task nor an EmailMessage names a Lead beside another record."""
    for _, decision in decided(mail(both[0], ", "), mode, lambda _: HELD, where):
        for draft in decision.drafts:
            fields = draft.fields
            people = [fields.get("WhoId"), fields.get("FromId")]
            for name in ("TaskWhoIds", "ToIds", "CcIds", "BccIds"):
                people += fields.get(name) or ()
            if any(str(one).startswith("00Q") for one in people):
                assert not fields.get("WhatId")
                assert not fields.get("RelatedToId")


HIDDEN = st.sampled_from(EVERYBODY)


@given(
    pairs(),
    st.lists(HIDDEN, min_size=1, max_size=4),
    st.sampled_from(["ada@seller.example", "c3@acme.example", "x@nowhere.example"]),
    MODES,
    RULES,
)
def test_nobody_outside_the_places_that_count_is_linked(
    both: tuple[list[Shown], list[Shown]],
    hidden: list[Candidate],
    sender: str,
    mode: Mode,
    where: Context,
) -> None:
    """Not from Bcc, Reply-To, names, other fields or the text; the org tells of all."""
    others = ", ".join(one.email_key for one in hidden)
    more = (
        f"Bcc: {others}\r\nReply-To: {others}\r\nSender: {hidden[0].email_key}\r\n"
        f"X-To: {others}\r\nComments: {others}\r\n\r\n"
        f"Write to {others}.\r\n-- \r\nFrom: Legal <{hidden[-1].email_key}>\r\n"
    )
    named = [replace(one, name=f"{one.name} {others}") for one in both[0]]
    for email, decision in decided(
        mail(named, ", ", sender, more), mode, lambda _: HELD, where
    ):
        there = keys_of(email)
        by_id = {one.id: one.email_key for one in EVERYBODY}
        linked = {by_id[one.id] for one in decision.match.who}
        assert linked <= there
        roles = {
            role.opportunity_id
            for one in decision.match.who
            for role in HELD.roles.get(one.id, ())
        }
        assert {one.id for one in decision.match.what} <= roles
        for draft in decision.drafts:
            assert not (set(by_id) & ids_in(dict(draft.fields))) - {
                one.id for one in decision.match.who
            }


def keys_of(email: Email) -> set[str]:
    """Return the keys of all who may be linked: To and Cc, and From of inbound mail."""
    boxes = [*email.to, *email.cc]
    if direction(email) == "inbound":
        boxes += email.from_
    return {key for box in boxes if (key := address_key(box.address))}


def ids_in(fields: object) -> set[str]:
    """Return every word of a record that could be an id."""
    values = fields.values() if isinstance(fields, dict) else ()
    found: set[str] = set()
    for value in values:
        found |= set(value) if isinstance(value, list) else {str(value)}
    return found


def test_the_org_of_these_tests_tells_of_everybody() -> None:
    """A look-up in it answers more than it was asked, so that a rule must leave it."""
    assert isinstance(HELD, Found)
    assert len(HELD.candidates) == len({one.email_key for one in EVERYBODY})
