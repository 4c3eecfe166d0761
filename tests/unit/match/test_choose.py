"""Which records a mail belongs to."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime
from typing import Literal

import pytest

from relay.config import MatchSettings
from relay.core.model import Found, Match, OpportunityRole, Person, Place, Related
from relay.match import choose, missing, records_of
from relay.match.choose import readable_by, with_accounts
from tests.fakes.values import contact, found, lead

ANNA = Person("anna@one.example", "Anna@one.example", "Anna", Place.TO)
BERT = Person("bert@two.example", "bert@two.example", "Bert", Place.CC)
ALL = MatchSettings()
REP = "005000000000001AAA"
OTHER_REP = "005000000000002AAA"
DEAL = "006000000000001AAA"
OTHER_DEAL = "006000000000002AAA"


def ids(match: Match) -> list[str]:
    """Return the ids of the people chosen."""
    return [chosen.id for chosen in match.who]


def test_one_record_is_chosen_by_its_email_field() -> None:
    """The only record under an address is taken, and the rule says why."""
    anna = contact(1, ANNA.key)
    match = choose([ANNA], found(anna), ALL)
    assert ids(match) == [anna.id]
    assert match.who[0].rule == "Contact.Email"
    assert match.who[0].person == ANNA


def test_people_without_a_record_are_named() -> None:
    """Nothing is silent: who was not found is part of the match."""
    match = choose([ANNA, BERT], found(contact(1, ANNA.key)), ALL)
    assert match.unknown == (BERT,)


@pytest.mark.parametrize(
    ("several", "expected"),
    [
        ("all", [0, 1, 2]),
        ("oldest", [0]),
        ("newest", [2]),
        ("most_activity", [1]),
        ("mine", [1]),
    ],
)
def test_several_records_under_one_address(
    several: Literal["all", "oldest", "newest", "most_activity", "mine"],
    expected: list[int],
) -> None:
    """All, or one by age, activities or owner; Leads and Contacts alike."""
    records = [
        contact(1, ANNA.key, activity_count=2, owner_id=OTHER_REP),
        lead(2, ANNA.key, activity_count=9, owner_id=REP),
        contact(3, ANNA.key, activity_count=None, owner_id=REP),
    ]
    rules = MatchSettings(several=several)
    match = choose([ANNA], found(*reversed(records)), rules, rep=REP)
    assert ids(match) == [records[number].id for number in expected]
    assert "3 records" in match.who[0].rule


def test_equal_activity_falls_back_to_the_oldest() -> None:
    """A tie is broken by age, never by the order of the answer."""
    older, newer = contact(1, ANNA.key), contact(2, ANNA.key)
    match = choose([ANNA], found(newer, older), MatchSettings(several="most_activity"))
    assert ids(match) == [older.id]


@pytest.mark.parametrize("rep", [REP, ""])
def test_without_a_record_of_the_rep_the_oldest_is_taken(rep: str) -> None:
    """Also where the rep is not known: nobody's record is not theirs."""
    records = [contact(n, ANNA.key, owner_id=OTHER_REP if rep else "") for n in (1, 2)]
    match = choose([ANNA], found(*records), MatchSettings(several="mine"), rep=rep)
    assert ids(match) == [records[0].id]
    assert "none of which is the rep's" in match.who[0].rule


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        ("all", [1, 2, 3, 4]),
        ("newest", [3, 4]),
        ("mine", [1, 4]),
        ("primary", [2]),
        ("none", []),
    ],
)
def test_opportunities_are_chosen_for_each_contact(
    which: Literal["all", "newest", "mine", "primary", "none"], expected: list[int]
) -> None:
    """By age, owner or primary role, so that no Contact's deal hides another's."""
    anna, bert = contact(1, ANNA.key), contact(2, BERT.key)

    def role(number: int, who: str, **more: object) -> OpportunityRole:
        made = datetime(2026, 1, number, tzinfo=UTC)
        sfid = f"00600000000000{number}AAA"
        return OpportunityRole(sfid, "Deal", who, created_at=made, **more)  # type: ignore[arg-type]

    roles = {
        anna.id: (
            role(3, anna.id),
            role(1, anna.id, owner_id=REP),
            role(2, anna.id, is_primary=True, owner_id=OTHER_REP),
        ),
        bert.id: (role(4, bert.id, owner_id=REP),),
    }
    held = replace(found(anna, bert), roles=roles)
    rules = MatchSettings(opportunities=which)
    match = choose([ANNA, BERT], held, rules, rep=REP)
    assert [int(c.id[14]) for c in match.what] == expected
    if which == "mine":
        assert choose([ANNA, BERT], held, rules).what == ()


# ---------------------------------------------------------------- further records


CASE = "500000000000001AAA"
OTHER_CASE = "500000000000002AAA"
ACCOUNT = "001000000000001AAA"


def record(sfid: str, rule: str, day: int = 1) -> Related:
    """Return a record that was created on that day."""
    sobject = {"500": "Case", "001": "Account"}[sfid[:3]]
    return Related(sfid, sobject, "R", rule, datetime(2026, 1, day, tzinfo=UTC))


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"field": "Work__c"}, "Contact.Work__c"),
        ({"person_account": True}, "Contact.Email, a person account"),
        (
            {"lead_id": "00Q000000000001EAA"},
            "Contact that the converted Lead 00Q000000000001EAA became",
        ),
    ],
)
def test_the_rule_says_how_one_record_was_found(
    changes: dict[str, object], rule: str
) -> None:
    """By which field, as what, through whom."""
    match = choose([ANNA], found(contact(1, ANNA.key, **changes)), ALL)
    assert match.who[0].rule == rule


def test_opportunities_of_the_account_count_as_well() -> None:
    """Each once; the rule says which way led there, and the choice is among all."""
    anna = contact(1, ANNA.key, account_id=ACCOUNT)
    private = contact(2, BERT.key)
    deals = tuple(
        OpportunityRole(sfid, "Deal", "", created_at=datetime(2026, 1, day, tzinfo=UTC))
        for sfid, day in ((DEAL, 1), (OTHER_DEAL, 2))
    )
    held = replace(
        found(anna, private, roles=((anna, DEAL),)),
        account_opportunities={ACCOUNT: deals},
    )
    match = choose([ANNA, BERT], held, ALL)
    assert [(c.id, c.rule, c.through) for c in match.what] == [
        (DEAL, "OpportunityContactRole on an open opportunity", (anna.id,)),
        (OTHER_DEAL, "open opportunity of the Contact's Account", (anna.id,)),
    ]
    newest = choose([ANNA], held, MatchSettings(opportunities="newest"))
    assert [(c.id, c.rule) for c in newest.what] == [
        (OTHER_DEAL, "open opportunity of the Contact's Account, the newest of 2")
    ]


def test_records_that_look_up_a_contact_or_its_account() -> None:
    """Of chosen Contacts alone, in the order of the rules, a record once."""
    older = contact(1, ANNA.key, account_id=ACCOUNT)
    younger = contact(2, ANNA.key)
    held = replace(
        found(older, younger),
        related={
            older.id: (record(CASE, "Case.ContactId"), record(CASE, "Case.Other")),
            ACCOUNT: (record(OTHER_CASE, "Case.AccountId"),),
            younger.id: (record("500000000000003AAA", "Case.ContactId"),),
        },
    )
    rules = MatchSettings(
        several="oldest", lookups=("Case.AccountId", "Case.ContactId", "Case.Other")
    )
    match = choose([ANNA], held, rules)
    assert [(c.id, c.rule, c.through) for c in match.what] == [
        (OTHER_CASE, "Case.AccountId", (older.id,)),
        (CASE, "Case.ContactId", (older.id,)),
    ]


def test_the_newest_record_of_each_contact() -> None:
    """A rule with `newest` takes one of several."""
    anna, rule = contact(1, ANNA.key), "Case.ContactId: newest"
    related = {anna.id: (record(CASE, rule, 2), record(OTHER_CASE, rule, 1))}
    held = replace(found(anna), related=related)
    match = choose([ANNA], held, MatchSettings(lookups=(rule,)))
    assert [c.id for c in match.what] == [CASE]


def test_a_record_with_an_address_of_its_own_is_enough() -> None:
    """Although nobody has a record; the person is still told as unknown."""
    rule = "Case.SuppliedEmail: open"
    held = replace(found(), related={ANNA.key: (record(CASE, rule),)})
    match = choose([ANNA, BERT], held, MatchSettings(more_objects=(rule,)))
    assert [(c.id, c.rule) for c in match.what] == [(CASE, rule)]
    assert (match.who, match.unknown) == ((), (ANNA, BERT))


WAYS = ("Domain__c", "website")


def with_account(people: list[Person], held: Found) -> Match:
    """Return a match with the fallback to an Account."""
    match = choose(people, held, ALL, rep=REP)
    return with_accounts(match, WAYS, held, rep=REP)


OTHER_ACCOUNT = "001000000000002AAA"


def test_the_one_account_with_the_domain() -> None:
    """Where nobody has a record; the first way that finds any decides."""
    related = {
        "one.example": (record(ACCOUNT, "website"), record(OTHER_ACCOUNT, "contacts"))
    }
    match = with_account([ANNA, BERT], replace(found(), related=related))
    assert [(c.id, c.object, c.rule) for c in match.what] == [
        (ACCOUNT, "Account", "the only Account with the domain one.example (website)")
    ]
    held = replace(found(contact(1, BERT.key)), related=related)
    assert with_account([ANNA, BERT], held).what == ()
    assert with_accounts(match, (), found()) is match
    hidden = replace(found(), related=related, readable={REP: frozenset()})
    assert with_account([ANNA], hidden).what == ()


def test_of_several_accounts_none_is_chosen() -> None:
    """It would be a guess; a later way is not tried, and the trace tells it."""
    related = {
        "one.example": (
            record(ACCOUNT, "Domain__c"),
            record(OTHER_ACCOUNT, "Domain__c"),
            record(ACCOUNT, "website"),
        )
    }
    match = with_account([ANNA], replace(found(), related=related))
    assert match.what == ()
    assert match.notes == (
        (
            "ambiguous",
            "2 Accounts have the domain one.example (Domain__c): none is chosen",
        ),
    )


def test_what_the_rep_cannot_read_is_not_chosen() -> None:
    """People, Opportunities and further records; without a rep nobody is asked."""
    anna, bert = contact(1, ANNA.key), contact(2, BERT.key)
    rules = MatchSettings(lookups=("Case.ContactId",))
    held = replace(
        found(anna, bert, roles=((anna, DEAL), (anna, OTHER_DEAL))),
        related={
            anna.id: (
                record(CASE, "Case.ContactId"),
                record(OTHER_CASE, "Case.ContactId"),
            )
        },
    )
    every = records_of([ANNA, BERT], held)
    assert every == {anna.id, bert.id, DEAL, OTHER_DEAL, CASE, OTHER_CASE}
    seen = replace(held, readable={REP: frozenset({anna.id, DEAL, CASE})})
    match = choose([ANNA, BERT], seen, rules, rep=REP)
    assert ids(match) == [anna.id]
    assert [c.id for c in match.what] == [DEAL, CASE]
    assert match.unknown == (BERT,)
    assert choose([ANNA, BERT], seen, rules, rep=OTHER_REP).who == ()
    assert choose([ANNA, BERT], seen, rules) == choose([ANNA, BERT], held, rules)
    kept = readable_by([ANNA], seen, REP)
    assert {key: len(some) for key, some in kept.related.items()} == {anna.id: 1}
    assert len(kept.roles) == 1


def test_open_opportunities_of_chosen_contacts() -> None:
    """Each open opportunity is chosen once, with the contacts that led to it (R8)."""
    anna, bert = contact(1, ANNA.key), contact(2, BERT.key)
    held = found(
        anna, bert, roles=((anna, OTHER_DEAL), (anna, DEAL), (bert, DEAL), (bert, DEAL))
    )
    match = choose([ANNA, BERT], held, ALL)
    assert [(w.id, w.through) for w in match.what] == [
        (DEAL, (anna.id, bert.id)),
        (OTHER_DEAL, (anna.id,)),
    ]


def test_a_contact_not_chosen_brings_no_opportunity() -> None:
    """With `oldest`, a younger duplicate's opportunities stay out."""
    older, younger = contact(1, ANNA.key), contact(2, ANNA.key)
    held = found(older, younger, roles=((younger, DEAL),))
    assert choose([ANNA], held, MatchSettings(several="oldest")).what == ()


def test_the_order_of_answers_does_not_matter() -> None:
    """The same org gives the same match, however its answers are shuffled."""
    records = [contact(n, ANNA.key if n % 2 else BERT.key) for n in range(1, 9)]
    roles = [(record, DEAL) for record in records] + [(records[0], OTHER_DEAL)]
    first = choose([ANNA, BERT], found(*records, roles=tuple(roles)), ALL)
    chance = random.Random(7)
    for _ in range(20):
        chance.shuffle(records)
        chance.shuffle(roles)
        held = found(*records, roles=tuple(roles))
        assert choose([ANNA, BERT], held, ALL) == first


def test_what_is_done_is_not_missing() -> None:
    """By record and by address: a Lead that became a Contact has been logged."""
    anna, bert = contact(1, ANNA.key), contact(2, BERT.key)
    roles = ((anna, DEAL), (bert, OTHER_DEAL))
    match = choose([ANNA, BERT], found(anna, bert, roles=roles), ALL)
    left = missing(match, {anna.id, DEAL}, ())
    assert (ids(left), [c.id for c in left.what]) == ([bert.id], [OTHER_DEAL])
    assert ids(missing(match, (), {ANNA.key})) == [bert.id]
    assert missing(match, (), ()) == match


def test_an_address_in_another_spelling() -> None:
    """The exact spelling wins; the rule says that it was another one."""
    written, short = "mara+x@gmail.com", "mara@gmail.com"
    mara = Person(written, written, "", Place.TO, (short,))
    one, other = contact(1, written), contact(2, short)

    def chosen(held: Found) -> list[tuple[str, str]]:
        match = choose([mara], held, MatchSettings())
        return [(c.id, c.rule) for c in match.who]

    (exact,) = chosen(found(one, other))
    assert exact[0] == one.id
    assert "spelling" not in exact[1]
    (spelt,) = chosen(found(other))
    assert spelt[0] == other.id
    assert spelt[1].endswith(", in another spelling of the address")
    assert chosen(found()) == []


def test_another_spelling_of_an_address_leads_as_far() -> None:
    """To records with an address of their own, and to what the rep can read."""
    plus = replace(ANNA, key="anna+x@one.example", spellings=(ANNA.key,))
    anna, rule = contact(1, ANNA.key), "Case.SuppliedEmail"
    held = replace(found(anna), related={ANNA.key: (record(CASE, rule),)})
    assert records_of([plus], held) == {anna.id, CASE}
    held = replace(held, readable={REP: frozenset({anna.id, CASE})})
    match = choose([plus], held, MatchSettings(more_objects=(rule,)), rep=REP)
    assert ids(match) == [anna.id]
    assert "in another spelling" in match.who[0].rule
    assert [c.id for c in match.what] == [CASE]
