"""Which records a mail belongs to."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime
from typing import Literal

import pytest

from relay.config import MatchSettings
from relay.core.model import Found, Match, OpportunityRole, Person, Place
from relay.match import choose, missing
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
