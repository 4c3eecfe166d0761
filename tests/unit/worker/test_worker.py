"""Batches: how they fill, and how one mail that spoils its batch is singled out."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from relay.config import Settings
from relay.core.clock import SystemClock
from relay.core.directory import Directory
from relay.core.errors import SalesforceDown, SalesforceUnavailable, StoreUnavailable
from relay.core.queue import Claimed, LeaseOwner
from relay.core.states import Event
from relay.outbox.batch import PASSES, ClaimedMessage, SpoiltBatchError
from relay.salesforce.budget import Budget
from relay.worker.worker import Worker
from tests.fakes.shared import MemoryShared

NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
OWNER = LeaseOwner("host", "boot", 1, "1")
CLOCK = SystemClock()


def claimed(number):
    return Claimed(
        id=f"m{number}",
        attempt=1,
        user_id=1,
        rcpt="log-a@in.example",
        received_at=NOON,
        waiting_since=NOON,
        mail_from="ada@corp.example",
        mail_id=None,
        blob_id=f"b{number}",
        size_bytes=10,
        failures=0,
    )


class Store:
    """Hands out what the script says, and keeps how messages were settled."""

    def __init__(self):
        self.script = []
        self.claims = []
        self.settled = {}
        self.queue = self.ledger = self
        shared = MemoryShared(CLOCK)
        self.leases, self.pauses = shared.leases, shared.pauses
        self.usage = shared.usage

    async def claim(self, owner, limit, lease_s, **more):
        self.claims.append(limit)
        found = self.script.pop(0) if self.script else []
        if isinstance(found, Exception):
            raise found
        return found[:limit]

    async def advance(self, owner, *, settlements=(), **more):
        for settlement in settlements:
            self.settled[settlement.message_id] = settlement.event
        return {settlement.message_id for settlement in settlements}

    async def wait_for_work(self, timeout_s):
        pass


class Pipeline:
    """Logs every mail, but fails where a poisonous one is in the batch."""

    def __init__(self, org, poison=(), down=False):
        self.org = org
        self.poison = set(poison)
        self.down = down
        self.batches = []

    def messages(self, batch):
        return [ClaimedMessage(c, None, CLOCK, NOON) for c in batch]

    async def run(self, run, items, *, isolate):
        self.batches.append(len(items))
        self.org.stats.answers += 1
        if self.down:
            for item in items:
                item.settle(Event.GIVE_BACK)
            raise SalesforceDown("no answer")
        bad = {item.claimed.id for item in items} & self.poison
        if bad and isolate and len(items) > 1:
            raise SpoiltBatchError("500") from SalesforceUnavailable("500")
        for item in items:
            item.settle(Event.TRANSIENT if bad else Event.LOGGED)


@pytest.fixture
def org():
    return SimpleNamespace(
        stats=SimpleNamespace(answers=0),
        budget=Budget(Settings().salesforce, CLOCK),
        files=None,
    )


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def worker_for(store, org):
    """Return a function that makes a worker with a pipeline of its own."""

    def make(pipeline, **keys):
        settings = Settings(worker={"gather_ms": 40.0, **keys})
        made = Worker(
            settings,
            store,
            org,
            CLOCK,
            owner=OWNER,
            directory=lambda: Directory(0, {}, {}, {}, ()),
        )
        # The steps of a pass alone are replaced: halving and settling are real.
        made._pipeline.messages = pipeline.messages
        made._pipeline.run = pipeline.run
        return made

    return make


async def test_a_mail_that_comes_alone_does_not_wait(worker_for, store, org):
    """After a quiet moment one claim is enough: nothing is gathered."""
    pipeline = Pipeline(org)
    store.script = [[claimed(1)], [claimed(2)]]
    await worker_for(pipeline)._turn(OWNER)
    assert (pipeline.batches, store.claims) == ([1], [1000])


async def test_a_batch_fills_while_more_keeps_arriving(worker_for, store, org):
    """Two at once, then three more, then silence: one batch of five."""
    pipeline = Pipeline(org)
    store.script = [[claimed(1), claimed(2)], [claimed(n) for n in (3, 4, 5)], []]
    # A machine under load may take long between two claims.
    await worker_for(pipeline, gather_ms=400.0)._turn(OWNER)
    assert pipeline.batches == [5]
    assert store.claims == [1000, 998, 995]


async def test_a_store_that_fails_while_a_batch_fills_costs_no_mail(
    worker_for, store, org
):
    """What was claimed before is worked on: nobody else would."""
    pipeline = Pipeline(org)
    store.script = [[claimed(1), claimed(2)], StoreUnavailable("no answer")]
    await worker_for(pipeline)._turn(OWNER)
    assert pipeline.batches == [2]
    assert store.settled == {"m1": Event.LOGGED, "m2": Event.LOGGED}


async def test_gathering_ends(worker_for, store, org):
    """However much keeps arriving, a batch leaves after gather_ms."""
    pipeline = Pipeline(org)
    store.script = [[claimed(10 * n), claimed(10 * n + 1)] for n in range(1000)]
    before = CLOCK.boottime_s()
    await worker_for(pipeline)._turn(OWNER)
    assert CLOCK.boottime_s() - before < 1
    assert pipeline.batches[0] <= 12


async def test_a_full_batch_waits_for_nothing(worker_for, store, org):
    """What is full goes at once."""
    pipeline = Pipeline(org)
    store.script = [[claimed(n) for n in range(3)]]
    await worker_for(pipeline, batch=3)._turn(OWNER)
    assert (pipeline.batches, store.claims) == ([3], [3])


async def test_one_poisonous_mail_is_singled_out(worker_for, store, org):
    """Of a hundred mails 99 are logged; the bad one alone is put off."""
    pipeline = Pipeline(org, poison={"m37"})
    store.script = [[claimed(n) for n in range(100)]]
    await worker_for(pipeline, batch=100)._turn(OWNER)
    logged = {i for i, event in store.settled.items() if event is Event.LOGGED}
    assert logged == {f"m{n}" for n in range(100)} - {"m37"}
    assert store.settled["m37"] is Event.TRANSIENT
    assert len(pipeline.batches) <= 2 * 8


async def test_who_is_left_of_a_spoilt_batch_is_tried_alone(worker_for, store, org):
    """Its neighbours have their end: it gets a pass of its own before it is blamed."""
    pipeline = Pipeline(org)
    run = pipeline.run

    async def spoilt_once(run_batch, items, *, isolate):
        if len(items) > 1:
            pipeline.batches.append(len(items))
            items[0].settle(Event.NO_MATCH)
            raise SpoiltBatchError("500") from SalesforceUnavailable("500")
        await run(run_batch, items, isolate=isolate)

    pipeline.run = spoilt_once
    store.script = [[claimed(1), claimed(2)]]
    await worker_for(pipeline)._turn(OWNER)
    assert pipeline.batches == [2, 1]
    assert store.settled == {"m1": Event.NO_MATCH, "m2": Event.LOGGED}


async def test_isolating_is_bounded(worker_for, store, org):
    """Where everything fails, a batch costs a bounded number of passes."""
    everything = {f"m{n}" for n in range(1000)}
    pipeline = Pipeline(org, poison=everything)
    store.script = [[claimed(n) for n in range(1000)]]
    await worker_for(pipeline)._turn(OWNER)
    assert len(store.settled) == 1000
    assert len(pipeline.batches) <= 2 * PASSES + 1


async def test_an_org_that_rests_gets_one_mail(worker_for, store, org):
    """After a failure nothing is claimed until the rest is over, then one."""
    pipeline = Pipeline(org, down=True)
    worker = worker_for(pipeline, poll_s=0.01)
    store.script = [[claimed(1), claimed(2)], []]
    await worker._turn(OWNER)
    assert worker.pause
    assert set(store.settled.values()) == {Event.GIVE_BACK}
    claims = len(store.claims)
    await worker._turn(OWNER)
    assert len(store.claims) == claims
    worker.breaker.pause = type(worker.pause)(NOON, NOON, "down", "", "")
    pipeline.down = False
    store.script = [[claimed(n) for n in range(50)]]
    await worker._turn(OWNER)
    assert store.claims[claims] == 1
    assert worker.pause is None


async def test_an_empty_queue_ends_a_pause(worker_for, store, org):
    """Where the rest is over and no mail is due, one small call knocks, not more."""
    asked = []

    async def ping():
        asked.append(1)
        if len(asked) == 1:
            raise SalesforceDown("no answer")
        org.stats.answers += 1

    org.ping = ping
    worker = worker_for(Pipeline(org), poll_s=0.01)
    await worker.breaker.trip(SalesforceDown("no answer"))
    pause = worker.pause
    await worker._turn(OWNER)
    assert asked == [], "the rest is not over"
    for _ in range(2):
        worker.breaker.pause = type(pause)(NOON, NOON, "down", "", "")
        worker._leased["m1"] = OWNER
        await worker._turn(OWNER)
        del worker._leased["m1"]
        await worker._turn(OWNER)
    assert len(asked) == 2, "none while another mail probes"
    assert worker.pause is None


@pytest.mark.parametrize("works", [True, False])
async def test_the_first_mail_finds_everything_warm(worker_for, store, org, works):
    """Login and shape are there before a mail comes; an org that is down is no harm."""
    asked = []

    async def schema():
        asked.append(1)
        if not works:
            raise SalesforceDown("no answer")

    org.schema = SimpleNamespace(get=schema)
    worker = worker_for(Pipeline(org))
    await worker._warm_up()
    assert asked == [1]
    assert worker.pause is None
