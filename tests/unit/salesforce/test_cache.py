"""The look-up cache: hides nothing for long, forgets when told, stays small."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from relay.config import SalesforceSettings
from relay.core.model import Candidate, Found, OpportunityRole
from relay.core.org import LookupResult, SalesforceUser
from relay.salesforce.cache import LookupCache, Question, joined

NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
KIM = Candidate("003000000000001AAA", "Contact", "kim@x.example", "Kim", NOON)
ROLE = OpportunityRole("006000000000001AAA", "Deal", KIM.id)
ADA = SalesforceUser("005000000000001AAA", "Ada", "ada@corp.example", True, "UTC")
ANSWER = LookupResult(Found({KIM.email_key: (KIM,)}, {KIM.id: (ROLE,)}), (ADA,))
ASKED = Question((KIM.email_key, "lee@x.example"), (ADA.email_key,), (ADA.id,))
NOTHING = LookupResult(Found({}, {}))


class Clock:
    def __init__(self):
        self.boot_s = 1000.0

    def now(self):
        return NOON

    def boottime_s(self):
        return self.boot_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def cache(clock):
    cache = LookupCache(SalesforceSettings(cache_s=5, cache_negative_s=2), clock)
    _, _, mark = cache.split(ASKED)
    cache.keep(ASKED, ANSWER, clock.boot_s, mark)
    return cache


def test_what_was_found_is_not_asked_again(cache):
    """People, their roles, users by address and by id come from memory."""
    known, left, _ = cache.split(ASKED)
    assert not left
    assert known == ANSWER


def test_each_kind_has_its_time(cache, clock):
    """Nobody is believed for two seconds, somebody for five."""
    clock.boot_s += 2
    known, left, _ = cache.split(ASKED)
    assert left == Question(("lee@x.example",))
    assert known == ANSWER
    clock.boot_s += 3
    known, left, _ = cache.split(ASKED)
    assert left == ASKED
    assert known == NOTHING


def test_what_is_asked_anew_is_asked(cache):
    """A person's retry is never answered from memory; its neighbours are."""
    _, left, _ = cache.split(ASKED, fresh={"lee@x.example", ADA.email_key})
    assert left == Question(("lee@x.example",), (ADA.email_key,))


def test_a_conflict_forgets_everything(cache, clock):
    """Also an answer that was on its way while the org changed is not kept."""
    _, left, mark = cache.split(Question(("max@x.example",)))
    cache.forget()
    cache.keep(left, NOTHING, clock.boot_s, mark)
    assert len(cache) == 0


def test_the_time_counts_from_the_question(cache, clock):
    """A slow answer is older than its arrival."""
    asked = Question(("max@x.example",))
    _, _, mark = cache.split(asked)
    cache.keep(asked, NOTHING, clock.boot_s - 2, mark)
    assert cache.split(asked)[1] == asked


def test_zero_seconds_is_no_cache(clock):
    """Whoever wants each mail looked up gets it."""
    cache = LookupCache(SalesforceSettings(cache_s=0, cache_negative_s=0), clock)
    _, _, mark = cache.split(ASKED)
    cache.keep(ASKED, ANSWER, clock.boot_s, mark)
    assert cache.split(ASKED)[1] == ASKED


def test_the_oldest_make_room(clock):
    """A flood of addresses cannot grow the memory."""
    cache = LookupCache(SalesforceSettings(), clock, max_entries=3)
    for number in range(10):
        asked = Question((f"{number}@x.example",))
        cache.keep(asked, NOTHING, clock.boot_s, 0)
    assert len(cache) == 3
    assert not cache.split(Question(("9@x.example",)))[1]
    assert cache.split(Question(("0@x.example",)))[1]


def test_answers_are_joined(cache):
    """What is known and what was asked make one answer."""
    lee = replace(KIM, id="003000000000002AAA", email_key="lee@x.example")
    other = LookupResult(Found({lee.email_key: (lee,)}, {}))
    both = joined(ANSWER, other)
    assert set(both.found.candidates) == {KIM.email_key, lee.email_key}
    assert both.users == (ADA,)
