"""Batches: how they fill, and how one mail that spoils its batch is singled out."""

from __future__ import annotations

import asyncio

import pytest

from relay.config import SalesforceSettings, Settings
from relay.core.clock import SystemClock
from relay.core.directory import Directory
from relay.core.errors import SalesforceDown, SalesforceUnavailable, StoreUnavailable
from relay.core.states import Event
from relay.outbox.batch import PASSES, ClaimedMessage, SpoiltBatchError
from relay.salesforce.org import Org
from relay.worker.worker import Worker
from tests.fakes.values import NOON
from tests.worker.queued import OWNER

CLOCK = SystemClock()


class Ticking(SystemClock):
    """The machine's clock, which needs no moving."""

    def tick(self):
        """Do nothing."""


class Steps:
    """Logs every mail, but fails where a poisonous one is in the batch."""

    def __init__(self, org, poison=(), down=False, name=str):
        self.org = org
        self.name = name
        self.poison = set(poison)
        self.down = down
        self.batches = []

    def messages(self, batch):
        return [ClaimedMessage(c, None, CLOCK, NOON) for c in batch]

    async def run(self, run, items, *, isolate):
        self.batches.append(len(items))
        await self.org.ping()
        if self.down:
            for item in items:
                item.settle(Event.GIVE_BACK)
            raise SalesforceDown("no answer")
        bad = {self.name(item.claimed.id) for item in items} & self.poison
        if bad and isolate and len(items) > 1:
            raise SpoiltBatchError("500") from SalesforceUnavailable("500")
        for item in items:
            item.settle(Event.TRANSIENT if bad else Event.LOGGED)


@pytest.fixture
def clock():
    return Ticking()


@pytest.fixture
async def org(sandbox):
    """Return an org that talks to the sandbox."""
    made = Org(
        SalesforceSettings(
            instance_url=sandbox.url,
            client_id="relay-sandbox",
            client_secret="relay-sandbox-secret",
        ),
        CLOCK,
    )
    yield made
    await made.close()


@pytest.fixture
def arrive(store, queued, monkeypatch):
    """Return a function that lets mail arrive: so many before each of the next claims.

    It returns how many each claim asked for; an error is raised by that claim.
    """
    script, asked, claim = [], [], store.queue.claim

    async def claimed(owner, limit, lease_s, **more):
        asked.append(limit)
        new = script.pop(0) if script else 0
        if isinstance(new, Exception):
            raise new
        names = [f"m{len(queued) + n}" for n in range(new)]
        await asyncio.gather(*(queued.put(name) for name in names))
        return await claim(owner, limit, lease_s, **more)

    monkeypatch.setattr(store.queue, "claim", claimed)

    def arrive(*numbers):
        script[:] = numbers
        return asked

    return arrive


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


async def test_a_mail_that_comes_alone_does_not_wait(worker_for, queued, arrive, org):
    """After a quiet moment one claim is enough: nothing is gathered."""
    pipeline = Steps(org)
    asked = arrive(1, 1)
    await worker_for(pipeline)._turn(OWNER)
    assert (pipeline.batches, asked) == ([1], [1000])


async def test_a_batch_fills_while_more_keeps_arriving(worker_for, queued, arrive, org):
    """Two at once, then three more, then silence: one batch of five."""
    pipeline = Steps(org)
    asked = arrive(2, 3, 0)
    # A machine under load may take long between two claims.
    await worker_for(pipeline, gather_ms=400.0)._turn(OWNER)
    assert pipeline.batches == [5]
    assert asked == [1000, 998, 995]


async def test_a_store_that_fails_while_a_batch_fills_costs_no_mail(
    worker_for, queued, arrive, org
):
    """What was claimed before is worked on: nobody else would."""
    pipeline = Steps(org)
    arrive(2, StoreUnavailable("no answer"))
    await worker_for(pipeline)._turn(OWNER)
    assert pipeline.batches == [2]
    assert await queued.events() == {"m0": Event.LOGGED, "m1": Event.LOGGED}


async def test_gathering_ends(worker_for, queued, arrive, org):
    """However much keeps arriving, a batch leaves after gather_ms."""
    pipeline = Steps(org)
    asked = arrive(*[2] * 1000)
    await worker_for(pipeline)._turn(OWNER)
    assert len(asked) <= 6
    assert pipeline.batches[0] <= 12


async def test_a_full_batch_waits_for_nothing(worker_for, queued, arrive, org):
    """What is full goes at once."""
    pipeline = Steps(org)
    asked = arrive(3)
    await worker_for(pipeline, batch=3)._turn(OWNER)
    assert (pipeline.batches, asked) == ([3], [3])


async def test_one_poisonous_mail_is_singled_out(worker_for, queued, arrive, org):
    """Of a hundred mails 99 are logged; the bad one alone is put off."""
    pipeline = Steps(org, poison={"m37"}, name=queued.name)
    arrive(100)
    await worker_for(pipeline, batch=100)._turn(OWNER)
    events = await queued.events()
    logged = {name for name, event in events.items() if event == Event.LOGGED}
    assert logged == {f"m{n}" for n in range(100)} - {"m37"}
    assert events["m37"] == Event.TRANSIENT
    assert len(pipeline.batches) <= 2 * 8


async def test_who_is_left_of_a_spoilt_batch_is_tried_alone(
    worker_for, queued, arrive, org
):
    """Its neighbours have their end: it gets a pass of its own before it is blamed."""
    pipeline = Steps(org)
    run = pipeline.run

    async def spoilt_once(run_batch, items, *, isolate):
        if len(items) > 1:
            pipeline.batches.append(len(items))
            items[0].settle(Event.NO_MATCH)
            raise SpoiltBatchError("500") from SalesforceUnavailable("500")
        await run(run_batch, items, isolate=isolate)

    pipeline.run = spoilt_once
    arrive(2)
    await worker_for(pipeline)._turn(OWNER)
    assert pipeline.batches == [2, 1]
    assert sorted((await queued.events()).values()) == [Event.LOGGED, Event.NO_MATCH]


@pytest.mark.timeout(60)  # A thousand commits.
async def test_isolating_is_bounded(worker_for, queued, arrive, org):
    """Where everything fails, a batch costs a bounded number of passes."""
    everything = {f"m{n}" for n in range(1000)}
    pipeline = Steps(org, poison=everything, name=queued.name)
    arrive(1000)
    await worker_for(pipeline)._turn(OWNER)
    assert len(await queued.events()) == 1000
    assert len(pipeline.batches) <= 2 * PASSES + 1


async def test_an_org_that_rests_gets_one_mail(worker_for, queued, arrive, org):
    """After a failure nothing is claimed until the rest is over, then one."""
    pipeline = Steps(org, down=True)
    worker = worker_for(pipeline, poll_s=0.01)
    asked = arrive(2)
    await worker._turn(OWNER)
    assert worker.pause
    assert set((await queued.events()).values()) == {Event.GIVE_BACK}
    claims = len(asked)
    await worker._turn(OWNER)
    assert len(asked) == claims
    worker.breaker.pause = type(worker.pause)(NOON, NOON, "down", "", "")
    pipeline.down = False
    arrive(50)
    await worker._turn(OWNER)
    assert asked[claims] == 1
    assert worker.pause is None


async def test_an_empty_queue_ends_a_pause(worker_for, org, sandbox):
    """Where the rest is over and no mail is due, one small call knocks, not more."""
    worker = worker_for(Steps(org), poll_s=0.01)
    await org.ping()  # Logged in.
    await worker.breaker.trip(SalesforceDown("no answer"))
    pause = worker.pause
    sandbox.faults.load([{"kind": "html", "code": 503, "count": 1}])
    sandbox.calls.clear()
    await worker._turn(OWNER)
    assert sandbox.calls.as_json() == [], "the rest is not over"
    for _ in range(2):
        worker.breaker.pause = type(pause)(NOON, NOON, "down", "", "")
        worker._leased["m1"] = OWNER
        await worker._turn(OWNER)
        del worker._leased["m1"]
        await worker._turn(OWNER)
    calls = sandbox.calls.as_json()
    assert [call["status"] for call in calls] == [503, 200], (
        "none while another mail probes"
    )
    assert worker.pause is None


@pytest.mark.parametrize("works", [True, False])
async def test_the_first_mail_finds_everything_warm(worker_for, org, works, sandbox):
    """Login and shape are there before a mail comes; an org that is down is no harm."""
    if not works:
        sandbox.faults.load([{"kind": "html", "code": 503}])
    worker = worker_for(Steps(org))
    await worker._warm_up()
    assert worker.pause is None
    asked = len(sandbox.calls.as_json())
    assert asked
    if works:
        await org.schema.get()
        assert len(sandbox.calls.as_json()) == asked
