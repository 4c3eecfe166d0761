"""When work may be tried: rests, probes, growth, and what counts as a reason."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from relay.config import SalesforceSettings
from relay.core.errors import (
    CredentialsRefused,
    OrgPaused,
    OutcomeUnknown,
    SalesforceDown,
    SalesforceLimited,
    SalesforceUnavailable,
    StoreUnavailable,
)
from relay.core.queue import LeaseOwner
from relay.core.states import ActivityState
from relay.outbox.circuit_breaker import CircuitBreaker, pausing
from relay.salesforce.budget import Budget
from tests.fakes.shared import MemoryShared

ORG = str(SalesforceSettings().instance_url)
OWNER = LeaseOwner("here", "boot", 1, "1")
RIVAL = LeaseOwner("there", "boot", 2, "2")


class Clock:
    def __init__(self):
        self.at = datetime(2026, 3, 4, 12, 30, tzinfo=UTC)

    def now(self):
        return self.at

    def boottime_s(self):
        return self.at.timestamp()

    def pass_s(self, seconds):
        self.at += timedelta(seconds=seconds)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def shared(clock):
    return MemoryShared(clock)


@pytest.fixture
def org(clock):
    return SimpleNamespace(
        stats=SimpleNamespace(answers=0), budget=Budget(SalesforceSettings(), clock)
    )


@pytest.fixture
def gate(clock, shared, org):
    return CircuitBreaker(SalesforceSettings(), shared, org, clock, OWNER)


@pytest.fixture
def other_org(clock):
    return SimpleNamespace(
        stats=SimpleNamespace(answers=0), budget=Budget(SalesforceSettings(), clock)
    )


@pytest.fixture
def other(clock, shared, other_org):
    """Return the breaker of another relay on the same database."""
    return CircuitBreaker(SalesforceSettings(), shared, other_org, clock, RIVAL)


async def test_an_open_gate_holds_nothing_back(gate):
    """Full batches, at once."""
    assert await gate.wait_s() == 0
    assert gate.size(1000) == 1000


async def test_a_down_org_is_paused_longer_after_each_probe(gate, clock):
    """One second, then two, four … up to a minute; one mail at a time."""
    waits = []
    for _ in range(9):
        await gate.trip(SalesforceDown("no answer", code="HTTP_503"))
        waits.append(await gate.wait_s())
        clock.pass_s(waits[-1])
        assert await gate.wait_s() == 0
        assert gate.size(1000) == 1
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


@pytest.mark.parametrize(
    ("error", "wait_s", "reason"),
    [
        (CredentialsRefused("no", retry_after_s=60), 60, "credentials"),
        (SalesforceLimited("spent", retry_after_s=900), 900, "quota"),
        (SalesforceLimited("spent", retry_after_s=9000), 900, "quota"),
        (OrgPaused("no API", code="API_DISABLED_FOR_ORG"), 10, "access"),
        (SalesforceDown("maintenance", retry_after_s=120), 120, "down"),
    ],
)
async def test_each_reason_has_its_pause(gate, shared, error, wait_s, reason):
    """The wait that is known is kept, up to pause_max_s, and the store tells it."""
    await gate.trip(error)
    assert await gate.wait_s() == wait_s
    told = (await shared.pauses.get(ORG)).pause
    assert told == gate.pause
    assert told is not None
    assert told.reason == reason
    assert "paused since 2026-03-04 12:30:00Z" in told.report


async def test_spent_calls_are_asked_for_less_and_less_often(gate, clock):
    """What the error table knows is the longest rest, not the first one."""
    spent = SalesforceLimited("spent", code="REQUEST_LIMIT_EXCEEDED", retry_after_s=900)
    waits = []
    for _ in range(9):
        await gate.trip(spent)
        waits.append(await gate.wait_s())
        clock.pass_s(waits[-1])
    assert waits == [10, 20, 40, 80, 160, 320, 640, 900, 900]


async def test_an_answer_ends_the_pause_and_batches_grow(gate, org, shared, clock):
    """After a probe that got through: 10, 100, then full batches."""
    await gate.trip(SalesforceDown("no answer"))
    clock.pass_s(1)
    org.stats.answers += 2
    await gate.went_through()
    assert gate.pause is None
    assert (await shared.pauses.get(ORG)).pause is None
    sizes = []
    for _ in range(4):
        sizes.append(gate.size(1000))
        org.stats.answers += 1
        await gate.went_through()
    assert sizes == [10, 100, 1000, 1000]


async def test_a_mail_that_asks_nothing_proves_nothing(gate, clock):
    """What a rule settles says nothing about the org: the pause stays."""
    await gate.trip(SalesforceDown("no answer"))
    clock.pass_s(1)
    await gate.went_through()
    assert gate.pause is not None
    assert gate.size(1000) == 1


async def test_a_pause_begins_once(gate, clock):
    """`since` is the beginning of the trouble, whatever came of the probes."""
    await gate.trip(SalesforceDown("no answer"))
    began = clock.now()
    clock.pass_s(5)
    await gate.trip(CredentialsRefused("no"))
    assert gate.pause.since == began
    assert (gate.pause.reason, gate.pause.probes) == ("credentials", 1)


async def test_the_budget_pauses_before_the_calls_are_gone(gate, org, clock):
    """At pause_at nothing is claimed; one mail looks again after pause_max_s."""
    org.budget.report(960, 1000)
    assert await gate.wait_s() == 900
    assert gate.pause.reason == "budget"
    clock.pass_s(900)
    assert (await gate.wait_s(), gate.size(1000)) == (0, 1)
    began = gate.pause.since
    org.budget.report(970, 1000)
    org.stats.answers += 1
    await gate.went_through()
    assert gate.pause.since == began
    assert await gate.wait_s() == 900
    clock.pass_s(900)
    org.budget.report(500, 1000)
    org.stats.answers += 1
    await gate.went_through()
    assert gate.pause is None


async def test_near_the_limit_batches_keep_their_distance(gate, org, clock):
    """Half way from slow_at to pause_at: half a minute from batch to batch."""
    org.budget.report(875, 1000)
    assert await gate.wait_s() == 0
    gate.begin()
    assert await gate.wait_s() == pytest.approx(30)
    clock.pass_s(31)
    assert await gate.wait_s() == 0


async def test_a_restart_tries_at_once_and_keeps_the_count(
    gate, org, other, other_org, shared
):
    """Whoever restarts may have removed the cause; what was used stays used."""
    org.budget.report(10, 1000)
    org.budget.spent()
    await gate.trip(CredentialsRefused("no", retry_after_s=60))
    since = gate.pause.since
    await gate.stop()
    await other.start()
    assert other.pause.since == since
    assert (await other.wait_s(), other.size(1000)) == (0, 1)
    assert other_org.budget.reading().own == 1
    assert other_org.budget.reading().used == 10


async def test_a_restart_leaves_the_pause_of_another_relay(gate, other, clock):
    """What one relay has learned holds for one that starts meanwhile."""
    await gate.trip(SalesforceLimited("spent", retry_after_s=900))
    await other.start()
    assert await other.wait_s() == 900
    assert other.pause == gate.pause
    clock.pass_s(2)
    await gate.follow()
    assert gate.pause is not None


async def test_a_store_that_is_locked_does_not_matter(gate, shared, clock):
    """The pause holds without it, and is written once it answers."""
    shared.fails = True
    await gate.trip(SalesforceDown("no answer", retry_after_s=30))
    assert await gate.wait_s() == 30
    clock.pass_s(2)
    assert await gate.wait_s() == 28
    shared.fails = False
    clock.pass_s(2)
    assert await gate.wait_s() == 26
    assert (await shared.pauses.get(ORG)).pause == gate.pause


async def test_a_relay_starts_and_stops_without_the_store(gate, shared):
    """It works with the org as if it were in use, until the store answers."""
    shared.fails = True
    await gate.start()
    assert await gate.wait_s() == 0
    assert gate.size(1000) == 1000
    await gate.stop()


async def test_the_report_says_why_the_org_is_paused(gate, org, clock):
    """In use, it says how long the calls last; paused, the reason and the next try."""
    org.budget.report(100, 1000)
    ready, text = await gate.report()
    assert ready
    assert text.startswith("100 of 1000 calls used")
    await gate.trip(CredentialsRefused("no", retry_after_s=60))
    ready, text = await gate.report()
    assert not ready
    assert text == gate.pause.report


# ------------------------------------------------------------------ several relays


async def test_one_relay_probes_and_all_see_its_end(gate, org, other, clock):
    """While one probes the others wait, and then go on with small batches."""
    await gate.trip(SalesforceDown("no answer"))
    await other.follow()
    assert other.pause == gate.pause
    clock.pass_s(1)
    assert await gate.wait_s() == 0
    assert 0 < await other.wait_s() <= 1
    org.stats.answers += 1
    await gate.went_through()
    clock.pass_s(1)
    assert await other.wait_s() == 0
    assert other.pause is None
    assert other.size(1000) == 10


async def test_a_probe_in_vain_is_one_probe(gate, other, clock):
    """The next pause is longer for all relays, whoever probed."""
    await gate.trip(SalesforceDown("no answer"))
    clock.pass_s(1)
    assert await gate.wait_s() == 0
    await gate.trip(SalesforceDown("no answer"))
    assert await other.wait_s() == 2
    assert other.pause.probes == 1
    clock.pass_s(2)
    assert await other.wait_s() == 0
    assert await gate.wait_s() > 0


async def test_a_probe_that_another_relay_has_just_made_is_not_repeated(
    gate, other, shared, clock
):
    """It ended, in vain, after this relay had read the pause: the next pause holds."""
    await gate.trip(SalesforceDown("no answer"))
    clock.pass_s(1)
    take = shared.leases.take

    async def take_second(*args):
        shared.leases.take = take
        assert await other.wait_s() == 0
        await other.trip(SalesforceDown("no answer"))
        return await take(*args)

    shared.leases.take = take_second
    assert 0 < await gate.wait_s() < 1
    assert gate.pause == other.pause
    clock.pass_s(2)
    assert await other.wait_s() == 0, "the lease of the probe was given back"


async def test_a_probe_lease_that_is_not_given_back_ends_by_itself(
    gate, org, other, shared, clock
):
    """The end of the pause is known all the same; the lease runs out."""
    await gate.trip(SalesforceDown("no answer"))
    clock.pass_s(1)
    assert await gate.wait_s() == 0

    async def fails(*_):
        raise StoreUnavailable("locked")

    release, shared.leases.release = shared.leases.release, fails
    org.stats.answers += 1
    await gate.went_through()
    shared.leases.release = release
    assert await other.wait_s() == 0
    assert other.pause is None
    await other.trip(SalesforceDown("no answer"))
    clock.pass_s(1)
    assert 0 < await other.wait_s() < 1
    clock.pass_s(91)
    assert await other.wait_s() == 0


async def test_a_failure_that_two_relays_meet_counts_once(gate, other):
    """Both had a batch on its way: the pause is as long as after one failure."""
    await gate.trip(SalesforceDown("no answer"))
    await other.trip(SalesforceDown("no answer either"))
    assert other.pause == gate.pause
    assert other.pause.probes == 0
    assert other.pause.text == "no answer"


async def test_who_dies_as_it_probes_is_succeeded(gate, other, clock):
    """The lease ends, and another relay probes."""
    await gate.trip(SalesforceDown("no answer"))
    clock.pass_s(1)
    assert await gate.wait_s() == 0
    assert await other.wait_s() > 0
    clock.pass_s(91)
    assert await other.wait_s() == 0
    assert other.size(1000) == 1


async def test_an_answer_that_is_out_of_date_changes_nothing(gate, shared, clock):
    """It was read before this relay tripped, and came after."""
    read = shared.pauses.get
    old = await read(ORG)
    await gate.trip(SalesforceDown("no answer", retry_after_s=30))
    shared.pauses.get = lambda _: asyncio.sleep(0, old)
    clock.pass_s(2)
    assert await gate.wait_s() == 28
    shared.pauses.get = read
    clock.pass_s(2)
    assert await gate.wait_s() == 26


async def test_who_need_not_probe_any_more_leaves_it_to_others(
    gate, other, other_org, clock
):
    """A batch of another relay got through meanwhile; the next pause is anybody's."""
    await gate.trip(SalesforceDown("no answer"))
    clock.pass_s(1)
    assert await gate.wait_s() == 0
    await other.follow()
    other_org.stats.answers += 1
    await other.went_through()
    clock.pass_s(1)
    assert await gate.wait_s() == 0
    assert gate.pause is None
    await other.trip(SalesforceDown("no answer"))
    clock.pass_s(1)
    assert await other.wait_s() == 0


async def test_no_relay_probes_while_the_store_is_silent(gate, shared, clock):
    """Whether another one probes is not known then."""
    await gate.trip(SalesforceDown("no answer"))
    clock.pass_s(1)
    shared.fails = True
    with pytest.raises(StoreUnavailable):
        await gate.wait_s()


async def test_relays_share_what_they_may_spend(gate, org, other, other_org, clock):
    """The share of the calls is that of all relays together."""
    for each in (org, other_org):
        each.budget.report(100, 1000)
        for _ in range(480):
            each.budget.spent()
    assert await gate.wait_s() == 0
    assert await other.wait_s() == 900
    assert "960 calls" in other.pause.text
    clock.pass_s(1)
    assert await gate.wait_s() == 899
    assert gate.pause == other.pause


async def test_a_newer_figure_of_another_relay_averts_the_pause(
    gate, org, other, other_org, clock
):
    """Calls have become free meanwhile, and another relay has heard of it."""
    assert await gate.wait_s() == 0
    org.budget.report(960, 1000)
    clock.pass_s(0.5)
    other_org.budget.report(100, 1000)
    assert await other.wait_s() == 0
    assert org.budget.exhausted()
    assert await gate.wait_s() == 0
    assert gate.pause is None
    assert org.budget.reading().used == 100


async def test_the_calls_that_pause_outlive_their_relay(
    gate, org, other, other_org, shared, clock
):
    """A relay that trips and is killed has stored what it made; others keep to it."""
    org.budget.report(100, 1000)
    assert await gate.wait_s() == 0
    for _ in range(960):
        org.budget.spent()
    assert await gate.wait_s() == 900
    assert sum((await shared.usage.get()).calls.values()) == 960
    await shared.pauses.end(ORG, (await shared.pauses.get(ORG)).version)
    await other.start()
    assert other_org.budget.reading().own == 960
    assert await other.wait_s() == 900


async def test_calls_are_added_once_the_store_answers(gate, org, shared, clock):
    """A count that could not be written is not lost, and not counted twice."""
    org.budget.spent()
    shared.fails = True
    await gate.wait_s()
    org.budget.spent()
    shared.fails = False
    clock.pass_s(6)
    await gate.wait_s()
    await gate.stop()
    assert sum((await shared.usage.get()).calls.values()) == 2
    assert org.budget.reading().own == 2


def work(state=ActivityState.PLANNED, error=None):
    return SimpleNamespace(
        error=error, of=lambda *states: [state] if state in states else []
    )


FULL = OrgPaused("storage is full", code="STORAGE_LIMIT_EXCEEDED")


def test_one_bad_record_does_not_pause_its_neighbours():
    """An error of the org counts from a record only where none got through."""
    assert pausing([work(error=FULL), work(error=FULL)], None) is FULL
    assert pausing([work(error=FULL), work(ActivityState.WRITTEN)], None) is None
    assert pausing([work(error=FULL), work(ActivityState.REFUSED)], None) is None
    assert pausing([work(error=OutcomeUnknown("?"))], None) is None


def test_a_call_that_failed_says_it_for_all():
    """Down, refused, spent: whole calls pause whatever single records say."""
    down = SalesforceDown("no answer")
    assert pausing([work(ActivityState.WRITTEN)], down) is down
    assert pausing([work()], OutcomeUnknown("?")) is None


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (SalesforceDown("no answer"), "down"),
        (CredentialsRefused("no"), "credentials"),
        (SalesforceUnavailable("not JSON", code="unreadable"), "down"),
    ],
)
async def test_a_call_probes_where_no_mail_can(gate, org, clock, error, reason):
    """In vain the next rest is longer; an answer ends the pause."""
    await gate.trip(SalesforceDown("no answer"))
    clock.pass_s(1)

    async def fails():
        raise error

    async def answers():
        org.stats.answers += 1

    org.ping = fails
    await gate.probe()
    assert (gate.pause.reason, gate.pause.probes) == (reason, 1)
    assert await gate.wait_s() > 1
    org.ping = answers
    clock.pass_s(60)
    await gate.probe()
    assert gate.pause is None


async def test_a_spent_budget_outlasts_the_probe(gate, org, clock):
    """The call tells what is used: still too much means another rest."""

    async def answers():
        org.stats.answers += 1

    org.ping = answers
    org.budget.report(960, 1000)
    await gate.wait_s()
    clock.pass_s(900)
    await gate.probe()
    assert await gate.wait_s() == 900
    org.budget.report(500, 1000)
    clock.pass_s(900)
    await gate.probe()
    assert gate.pause is None
