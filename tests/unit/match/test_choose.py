"""Which records a mail belongs to."""

from __future__ import annotations

import random

import pytest

from relay.core.model import Match, Person, Place
from relay.match import Several, choose, missing
from tests.fakes.values import contact, found, lead

ANNA = Person("anna@one.example", "Anna@one.example", "Anna", Place.TO)
BERT = Person("bert@two.example", "bert@two.example", "Bert", Place.CC)
DEAL = "006000000000001AAA"
OTHER_DEAL = "006000000000002AAA"


def ids(match: Match) -> list[str]:
    """Return the ids of the people chosen."""
    return [chosen.id for chosen in match.who]


def test_one_record_is_chosen_by_its_email_field() -> None:
    """The only record under an address is taken, and the rule says why."""
    anna = contact(1, ANNA.key)
    match = choose([ANNA], found(anna), Several.ALL)
    assert ids(match) == [anna.id]
    assert match.who[0].rule == "Contact.Email"
    assert match.who[0].person == ANNA


def test_people_without_a_record_are_named() -> None:
    """Nothing is silent: who was not found is part of the match."""
    match = choose([ANNA, BERT], found(contact(1, ANNA.key)), Several.ALL)
    assert match.unknown == (BERT,)


@pytest.mark.parametrize(
    ("several", "expected"),
    [
        (Several.ALL, [0, 1, 2]),
        (Several.OLDEST, [0]),
        (Several.MOST_ACTIVITY, [1]),
    ],
)
def test_several_records_under_one_address(
    several: Several, expected: list[int]
) -> None:
    """All, the oldest, or the one with most activities, Leads and Contacts alike."""
    records = [
        contact(1, ANNA.key, activity_count=2),
        lead(2, ANNA.key, activity_count=9),
        contact(3, ANNA.key, activity_count=None),
    ]
    match = choose([ANNA], found(*reversed(records)), several)
    assert ids(match) == [records[number].id for number in expected]
    assert "3 records" in match.who[0].rule


def test_equal_activity_falls_back_to_the_oldest() -> None:
    """A tie is broken by age, never by the order of the answer."""
    older, newer = contact(1, ANNA.key), contact(2, ANNA.key)
    match = choose([ANNA], found(newer, older), Several.MOST_ACTIVITY)
    assert ids(match) == [older.id]


def test_open_opportunities_of_chosen_contacts() -> None:
    """Each open opportunity is chosen once, with the contacts that led to it (R8)."""
    anna, bert = contact(1, ANNA.key), contact(2, BERT.key)
    held = found(
        anna, bert, roles=((anna, OTHER_DEAL), (anna, DEAL), (bert, DEAL), (bert, DEAL))
    )
    match = choose([ANNA, BERT], held, Several.ALL)
    assert [(w.id, w.through) for w in match.what] == [
        (DEAL, (anna.id, bert.id)),
        (OTHER_DEAL, (anna.id,)),
    ]


def test_a_contact_not_chosen_brings_no_opportunity() -> None:
    """With `oldest`, a younger duplicate's opportunities stay out."""
    older, younger = contact(1, ANNA.key), contact(2, ANNA.key)
    held = found(older, younger, roles=((younger, DEAL),))
    assert choose([ANNA], held, Several.OLDEST).what == ()


def test_the_order_of_answers_does_not_matter() -> None:
    """The same org gives the same match, however its answers are shuffled."""
    records = [contact(n, ANNA.key if n % 2 else BERT.key) for n in range(1, 9)]
    roles = [(record, DEAL) for record in records] + [(records[0], OTHER_DEAL)]
    first = choose([ANNA, BERT], found(*records, roles=tuple(roles)), Several.ALL)
    chance = random.Random(7)
    for _ in range(20):
        chance.shuffle(records)
        chance.shuffle(roles)
        held = found(*records, roles=tuple(roles))
        assert choose([ANNA, BERT], held, Several.ALL) == first


def test_what_is_done_is_not_missing() -> None:
    """By record and by address: a Lead that became a Contact has been logged."""
    anna, bert = contact(1, ANNA.key), contact(2, BERT.key)
    roles = ((anna, DEAL), (bert, OTHER_DEAL))
    match = choose([ANNA, BERT], found(anna, bert, roles=roles), Several.ALL)
    left = missing(match, {anna.id, DEAL}, ())
    assert (ids(left), [c.id for c in left.what]) == ([bert.id], [OTHER_DEAL])
    assert ids(missing(match, (), {ANNA.key})) == [bert.id]
    assert missing(match, (), ()) == match
