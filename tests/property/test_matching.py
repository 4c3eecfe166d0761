"""Matching, for every mail, answer of Salesforce and setting of the rules."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from relay.activity import Mode
from relay.config import MatchSettings, SalesforceSettings
from relay.core.addresses import address_key, domain_of
from relay.core.ids import record_id
from relay.core.model import (
    Candidate,
    Found,
    Mailbox,
    NamedRecord,
    OpportunityRole,
    Related,
)
from relay.core.org import FieldInfo, OrgSchema, SalesforceUser
from relay.match import Answers, Context, MailFacts, Rules, ask, decide
from tests.fakes.values import ADA, NOON, directory, email

if TYPE_CHECKING:
    from relay.match import Decision

BEN = "005000000000002AAA"
ADDRESSES = [
    f"{name}@{domain}"
    for name in ("anna", "bert", "o'neil", "käthe")
    for domain in ("one.example", "bücher.example", "gmail.com")
]
LOOKUPS = ("Case.ContactId", "Case.AccountId: open newest")
MORE = ("Case.SuppliedEmail", "Project__c.Email__c: newest")
WAYS = ("website", "contacts", "Domain__c")
_TEXT = (True, True, True, True, False, False, False, False)


def _info(name: str) -> FieldInfo:
    return FieldInfo(name, name, "string", 32_000, *_TEXT)


_NAMES = {
    "Task": ("WhoId", "WhatId", "OwnerId", "Subject", "Description", "Status"),
    "EmailMessage": ("ToIds", "CcIds", "RelatedToId", "FromId", "MessageIdentifier"),
}
SCHEMAS = [
    OrgSchema(
        {
            sobject: {n: _info(n) for n in (*names, *more.get(sobject, ()))}
            for sobject, names in _NAMES.items()
        },
        frozenset(_NAMES),
    )
    for more in ({}, {"Task": ("TaskWhoIds",)})
]


def sfid(prefix: str, number: int) -> str:
    """Return a record id."""
    made = record_id(f"{prefix}{number:012d}")
    assert made
    return made


OWNERS = (ADA, BEN, "")


def org(chance: Random) -> Found:
    """Return what an org may hold, for people of the mail and for others.

    Hypothesis draws the seed alone: drawing each record takes it seconds.
    """

    def day() -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(chance.randrange(9))

    def few() -> range:
        return range(chance.randrange(3))

    candidates: dict[str, tuple[Candidate, ...]] = {}
    number = 0
    for address in chance.sample(ADDRESSES, chance.randrange(len(ADDRESSES))):
        key = address_key(address) or ""
        made = []
        for _ in range(chance.randrange(4)):
            number += 1
            contact = chance.random() < 0.6
            made.append(
                Candidate(
                    sfid("003" if contact else "00Q", number),
                    "Contact" if contact else "Lead",
                    key,
                    "N",
                    day(),
                    sfid("001", chance.randint(1, 3)) if contact else None,
                    chance.choice((None, 0, 1, 2)),
                    chance.choice(OWNERS),
                )
            )
        candidates[key] = tuple(made)
    contacts = [
        c.id for some in candidates.values() for c in some if c.object == "Contact"
    ]
    accounts = [sfid("001", n) for n in (1, 2, 3)]
    keys = [*candidates, *contacts, *accounts, "one.example", "xn--bcher-kva.example"]

    def role(contact: str) -> OpportunityRole:
        return OpportunityRole(
            sfid("006", chance.randint(1, 5)),
            "Deal",
            contact,
            is_primary=chance.random() < 0.5,
            owner_id=chance.choice(OWNERS),
            created_at=day(),
        )

    def related() -> Related:
        rule = chance.choice([*LOOKUPS, *MORE, *WAYS])
        prefix = "001" if rule in WAYS else "500"
        sobject = "Account" if rule in WAYS else rule.partition(".")[0]
        return Related(sfid(prefix, chance.randint(1, 5)), sobject, "R", rule, day())

    named = (("006", "Opportunity"), ("500", "Case"), ("003", "Contact"))
    records = {
        one: NamedRecord(one, name, "R", is_closed=chance.random() < 0.3)
        for prefix, name in named
        for one in (sfid(prefix, chance.randint(1, 5)) for _ in range(3))
    }
    found = Found(
        candidates,
        {c: tuple(role(c) for _ in few()) for c in contacts},
        records=records,
        account_opportunities={a: tuple(role("") for _ in few()) for a in accounts},
        related={key: tuple(related() for _ in few()) for key in keys},
    )
    if chance.random() < 0.7:
        return found
    ids = [*contacts, *(sfid(p, n) for p in ("006", "500", "001") for n in range(1, 6))]
    readable = frozenset(chance.sample(ids, len(ids) // 2))
    return replace(found, readable={ADA: readable})


def settings(chance: Random) -> MatchSettings:
    """Return any setting of the rules."""

    def some(values: tuple[str, ...]) -> list[str]:
        return chance.sample(values, chance.randint(0, len(values)))

    several = ("all", "oldest", "newest", "most_activity", "mine")
    deals = ("all", "newest", "mine", "primary", "none")
    return MatchSettings.model_validate(
        {
            "several": chance.choice(several),
            "opportunities": chance.choice(deals),
            "account_opportunities": chance.random() < 0.5,
            "accounts": some(WAYS),
            "lookups": some(LOOKUPS),
            "more_objects": some(MORE),
            "thread": chance.random() < 0.5,
        }
    )


seeds = st.integers(0, 2**32)
people = st.lists(st.sampled_from(ADDRESSES), max_size=5)
threads = st.lists(st.integers(1, 5), max_size=3)


def decided(
    to: list[Mailbox],
    cc: list[Mailbox],
    held: Found,
    match: MatchSettings,
    thread: list[int],
    *,
    mode: Mode = Mode.EMAIL_MESSAGE,
    schema: OrgSchema = SCHEMAS[0],
) -> Decision:
    """Decide a mail of Ada's."""
    rules = Rules(frozenset({"in.relay.example"}), 50, match, SalesforceSettings())
    context = Context.of(directory(), rules)
    mail = email(to=tuple(to), cc=tuple(cc), references=("<0@x>",))
    facts = MailFacts(mail, "m", NOON, (directory().users[1],))
    question = ask(facts, context)
    if question.threads:
        inherited = [sfid(p, n) for n in thread for p in ("006", "500", "003")]
        question = replace(question, inherited=tuple(sorted({*inherited})))
    user = SalesforceUser(ADA, "Ada", "ada@corp.example", True, "UTC")
    answers = Answers(held, (user,), schema, mode)
    return decide(facts, question, answers if question.asks else None, context)


def plain(texts: list[str]) -> list[Mailbox]:
    """Return mailboxes without names."""
    return [Mailbox("", text) for text in texts]


def result(decision: Decision) -> tuple[object, ...]:
    """Return what a decision comes to, without the order of people in the mail."""
    match = decision.match
    return (
        decision.verdict_of(0).event,
        sorted((c.id, c.rule) for c in match.who),
        sorted((c.id, c.rule) for c in match.what),
        sorted(p.key for p in match.unknown),
        sorted(match.notes),
    )


def written(text: str, upper: bool, name: str) -> Mailbox:
    """Return an address in another spelling, with a display name."""
    local, _, domain = text.rpartition("@")
    if upper:
        local = "".join(c.upper() if c.isascii() else c for c in local)
        domain = domain.upper()
    return Mailbox(name, f"{local}@{domain}")


@given(people, people, seeds, threads)
def test_order_case_and_names_change_nothing(
    to: list[str], cc: list[str], seed: int, thread: list[int]
) -> None:
    """The same people are the same mail, however the header writes them."""
    chance = Random(seed)
    held, match = org(chance), settings(chance)
    first = decided(plain(to), plain(cc), held, match, thread)

    def again(texts: list[str]) -> list[Mailbox]:
        shuffled = chance.sample(texts, len(texts))
        names = ("", "Anna Lee", "Ä, <b@x>", "=?utf-8?q?x?=")
        return [
            written(text, chance.random() < 0.5, chance.choice(names))
            for text in shuffled
        ]

    other = decided(again(to), again(cc), held, match, thread)
    assert result(other) == result(first)


@given(people, people, seeds, threads)
def test_nobody_outside_is_linked_and_a_lead_stands_alone(
    to: list[str], cc: list[str], seed: int, thread: list[int]
) -> None:
    """Every person of a record has an address of the mail; no Lead has a WhatId."""
    chance = Random(seed)
    held, match = org(chance), settings(chance)
    shape = {"mode": chance.choice(list(Mode)), "schema": chance.choice(SCHEMAS)}
    decision = decided(plain(to), plain(cc), held, match, thread, **shape)
    keys = {address_key(text) for text in (*to, *cc)}
    inside = {c.id for key in keys for c in held.candidates.get(key or "", ())}
    readable = held.readable and held.readable[ADA]
    for draft in decision.drafts:
        fields = draft.fields
        who = {fields.get("WhoId"), *fields.get("TaskWhoIds", ())} - {None}
        who |= {*fields.get("ToIds", ()), *fields.get("CcIds", ())}
        who = {one for one in who if not one.startswith("005")}
        assert who <= inside
        what = fields.get("WhatId") or fields.get("RelatedToId")
        if any(one.startswith("00Q") for one in who):
            assert what is None
        assert not (what or "").startswith(("003", "00Q"))
        if readable is not None:
            assert {*who, *([what] if what else [])} <= readable
        assert what is None or _leads_to(what, keys, held, match, thread)


def _leads_to(
    what: str,
    keys: set[str | None],
    held: Found,
    match: MatchSettings,
    thread: list[int],
) -> bool:
    """Say whether anything of the mail leads to a related record."""
    leading: set[str] = set()
    for key in filter(None, keys):
        leading |= {key, domain_of(key)}
        for one in held.candidates.get(key, ()):
            leading |= {one.id, one.account_id or ""}
    tables = (held.roles, held.account_opportunities)
    deals = {
        role.opportunity_id
        for table in tables
        for key in leading
        for role in table.get(key, ())
    }
    records = {r.id for key in leading for r in held.related.get(key, ())}
    inherited = {sfid(p, n) for n in thread for p in ("006", "500")}
    return what in deals | records | (inherited if match.thread else set())
