"""Claims, leases, crashes, and what people do to messages."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from relay.core.errors import IllegalTransition, NotFound
from relay.core.model import LogFilter
from relay.core.queue import LeaseOwner, Settlement
from relay.core.states import Event, State
from relay.store.queue import ALONE_AFTER, LONE_CRASHES
from tests.store.conftest import PATIENT

LEASE_S = 120


async def state_of(store, message_id):
    return (await store.log.show(message_id))["state"]


async def crash(store, owner, clock, limit=100):
    """Claim, then let the lease run out."""
    claimed = await store.queue.claim(owner, limit, LEASE_S)
    clock.move(LEASE_S + 1)
    return claimed


async def test_claim_takes_due_messages_oldest_first(store, put, owner, clock):
    """A claim raises the attempt and hands out in order, up to the limit."""
    ids = await put(5)
    first = await store.queue.claim(owner, 3, LEASE_S)
    assert [(c.id, c.attempt, c.alone) for c in first] == [
        (i, 1, False) for i in ids[:3]
    ]
    assert [c.id for c in await store.queue.claim(owner, 3, LEASE_S)] == ids[3:]
    assert await store.queue.claim(owner, 3, LEASE_S) == []
    assert (await store.queue.counts())[State.CLAIMED] == 5
    assert await store.queue.oldest_queued() is None


async def test_a_claim_is_bounded_by_bytes(store, make, user, owner):
    """A claim takes what fits `max_bytes`, in order, and always one at least."""
    ids = []
    for size in (100, 100, 900, 100, 5000, 100):
        envelope, raw = make(user.id, data=b"x" * size)
        await store.messages.put(envelope, raw)
        ids.append(envelope.recipients[0].message_id)
    claims = []
    while claimed := await store.queue.claim(owner, 100, LEASE_S, max_bytes=1000):
        claims.append([ids.index(c.id) for c in claimed])
    assert claims == [[0, 1], [2, 3], [4], [5]]


async def test_what_is_not_due_is_not_claimed(store, put, owner, clock):
    """A retry waits for its time."""
    (message_id,) = await put()
    (claimed,) = await store.queue.claim(owner, 1, LEASE_S)
    later = clock.now() + timedelta(seconds=30)
    await store.ledger.advance(
        owner, settlements=[Settlement(message_id, 1, Event.TRANSIENT, retry_at=later)]
    )
    assert await store.queue.claim(owner, 1, LEASE_S) == []
    clock.move(30)
    (again,) = await store.queue.claim(owner, 1, LEASE_S)
    assert (again.attempt, again.failures) == (2, 1)
    assert claimed.failures == 0


DAY_S = 86_400.0


async def end(store, owner, clock, event, *, wait_s=60.0):
    """Claim the only message and end the attempt, with a retry; return the claim."""
    (claimed,) = await store.queue.claim(owner, 1, LEASE_S)
    later = clock.now() + timedelta(seconds=wait_s)
    settlement = Settlement(claimed.id, claimed.attempt, event, retry_at=later)
    await store.ledger.advance(owner, settlements=[settlement])
    return claimed


async def test_age_counts_the_time_in_which_somebody_tried(store, put, owner, clock):
    """From the first failure on; not what passes while it is due and nobody comes."""
    (message_id,) = await put()
    clock.move(6 * DAY_S)
    assert (await end(store, owner, clock, Event.GIVE_BACK)).failing_since is None
    clock.move(60)
    assert (await end(store, owner, clock, Event.TRANSIENT)).failing_since is None
    first = clock.now()
    clock.move(60)
    claimed = await end(store, owner, clock, Event.TRANSIENT)
    assert claimed.failing_since == first, "it was tried when it was due"

    clock.move(60 + 6 * DAY_S)
    claimed = await end(store, owner, clock, Event.TRANSIENT)
    late = timedelta(days=6)
    assert claimed.failing_since == first + late, "the relay was stopped"

    clock.move(60 + DAY_S)
    await end(store, owner, clock, Event.GIVE_BACK, wait_s=DAY_S)
    clock.move(DAY_S)
    late += timedelta(days=2, seconds=0)
    claimed = await end(store, owner, clock, Event.TRANSIENT)
    assert claimed.failing_since == first + late, "the org rested"

    clock.move(60)
    await store.queue.claim(owner, 1, LEASE_S)
    clock.move(3 * DAY_S)
    late += timedelta(days=3)
    claimed = await end(store, owner, clock, Event.TRANSIENT)
    assert claimed.failing_since == first + late, "the machine was off"

    await store.queue.apply(Event.HOLD, [message_id], None, "ada")
    await store.queue.apply(Event.RELEASE, [message_id], None, "ada")
    (claimed,) = await store.queue.claim(owner, 1, LEASE_S)
    assert claimed.failing_since is None, "a person wants it tried anew"


@pytest.mark.timeout(60)
@pytest.mark.parametrize("settings", [PATIENT], indirect=True, ids=["patient"])
async def test_eight_workers_claim_without_overlap(store, other, put, owner):
    """Each message goes to exactly one of eight concurrent workers."""
    ids = await put(200)

    async def work(number):
        mine = []
        worker = replace(owner, pid=number)
        source = (store, other)[number % 2]
        while batch := await source.queue.claim(worker, 7, LEASE_S):
            mine += [claimed.id for claimed in batch]
        return mine

    taken = await asyncio.gather(*(work(number) for number in range(8)))
    assert sorted(i for mine in taken for i in mine) == ids


async def test_an_expired_lease_counts_a_crash_and_queues_again(
    store, put, owner, rival, clock
):
    """A worker that vanishes loses the message; the trace says so."""
    (message_id,) = await put()
    await crash(store, owner, clock)
    (again,) = await store.queue.claim(rival, 1, LEASE_S)
    assert (again.id, again.attempt, again.alone) == (message_id, 2, False)
    trace = (await store.log.show(message_id))["trace"]
    assert [s["result"] for s in trace if s["step"] == "attempt"] == ["lease_expired"]


async def test_two_crashes_make_a_message_travel_alone(store, put, owner, clock):
    """After two crashes each of a batch is claimed by itself."""
    await put(2)
    for _ in range(ALONE_AFTER):
        assert len(await crash(store, owner, clock)) == 2
    (one,) = await store.queue.claim(owner, 100, LEASE_S)
    assert one.alone
    assert await store.queue.claim(replace(owner, worker="1"), 100, LEASE_S) == []
    await store.ledger.advance(owner, settlements=[Settlement(one.id, 3, Event.LOGGED)])
    (two,) = await store.queue.claim(owner, 100, LEASE_S)
    assert two.alone
    assert two.id != one.id


async def test_a_lone_message_waits_for_what_its_process_holds(
    store, put, owner, clock
):
    """Nothing is in a process's hands beside a message that travels alone."""
    (lone,) = await put(1)
    for _ in range(ALONE_AFTER):
        await crash(store, owner, clock)
    rest = await put(2)
    colleague, elsewhere = replace(owner, worker="1"), replace(owner, pid=77)
    in_hand = await store.queue.claim(owner, 100, LEASE_S)
    assert [c.id for c in in_hand] == rest
    assert await store.queue.claim(colleague, 100, LEASE_S) == []
    await store.ledger.advance(
        owner, settlements=[Settlement(c.id, 1, Event.LOGGED) for c in in_hand]
    )
    (claimed,) = await store.queue.claim(colleague, 100, LEASE_S)
    assert (claimed.id, claimed.alone) == (lone, True)
    more = await put(1)
    assert await store.queue.claim(owner, 100, LEASE_S) == []
    assert [c.id for c in await store.queue.claim(elsewhere, 100, LEASE_S)] == more


async def test_three_crashes_alone_exhaust_a_message(store, put, owner, clock):
    """A mail that stops the relay three times while alone is dead, and says why."""
    (message_id,) = await put()
    for _ in range(ALONE_AFTER + LONE_CRASHES):
        assert len(await crash(store, owner, clock)) == 1
    assert await store.queue.claim(owner, 1, LEASE_S) == []
    shown = await store.log.show(message_id)
    assert (shown["state"], shown["reason"]) == ("dead", "exhausted")
    assert "3 times" in shown["trace"][-1]["detail"]


async def test_renewed_leases_last(store, put, owner, rival, clock):
    """A renewal prolongs; what is not held any more is left out."""
    ids = await put(2)
    await store.queue.claim(owner, 2, LEASE_S)
    await store.ledger.advance(owner, settlements=[Settlement(ids[0], 1, Event.LOGGED)])
    clock.move(100)
    assert await store.queue.renew(owner, ids, LEASE_S) == {ids[1]}
    assert await store.queue.renew(rival, ids, LEASE_S) == set()
    clock.move(100)
    assert await store.queue.claim(rival, 2, LEASE_S) == []


async def test_leases_of_dead_processes_end_at_once(store, put, owner, clock):
    """A restarted relay takes back what a dead process of its host held."""
    ids = await put(3)
    alive, elsewhere = replace(owner, pid=20), replace(owner, host="far")
    for holder in (owner, alive, elsewhere):
        await store.queue.claim(holder, 1, LEASE_S)
    me = LeaseOwner("host", "boot", 30, "2")
    assert await store.queue.release_dead(me, lambda name: name == str(alive)) == 1
    assert [c.id for c in await store.queue.claim(me, 10, LEASE_S)] == ids[:1]
    assert await store.queue.release_dead(me, lambda _name: True) == 0


async def test_people_move_messages_by_the_table(store, put, owner):
    """Hold, release, discard: each changes the state and the trace, and is audited."""
    a, b = await put(2)
    assert await store.queue.apply(Event.HOLD, [a, b], None, "eve") == [
        (a, State.QUEUED, State.HELD),
        (b, State.QUEUED, State.HELD),
    ]
    assert await store.queue.claim(owner, 2, LEASE_S) == []
    await store.queue.apply(Event.RELEASE, [a], None, "eve")
    await store.queue.apply(Event.DISCARD, [b], None, "eve")
    assert await state_of(store, b) == "discarded"
    assert [c.id for c in await store.queue.claim(owner, 2, LEASE_S)] == [a]
    last = (await store.log.show(b))["trace"][-1]
    assert (last["step"], last["result"], last["detail"]) == (
        "discard",
        "discarded",
        "by eve",
    )
    assert (await store.directory.audit(1))[0]["action"] == "message_discard"


async def test_illegal_changes_change_nothing(store, put, owner):
    """Named messages change all or none; events of the worker are not for people."""
    a, b = await put(2)
    await store.queue.apply(Event.DISCARD, [b], None, "eve")
    with pytest.raises(IllegalTransition):
        await store.queue.apply(Event.HOLD, [a, b], None, "eve")
    with pytest.raises(NotFound):
        await store.queue.apply(Event.HOLD, [a, "0" * 26], None, "eve")
    with pytest.raises(IllegalTransition):
        await store.queue.apply(Event.CLAIM, [a], None, "eve")
    assert await state_of(store, a) == "queued"
    await store.queue.claim(owner, 1, LEASE_S)
    with pytest.raises(IllegalTransition):
        await store.queue.apply(Event.DISCARD, [a], None, "eve")


async def test_by_state_only_what_can_is_changed(store, put, owner):
    """With a state and no ids, impossible events touch nothing."""
    ids = await put(3)
    assert await store.queue.apply(Event.REQUEUE, None, State.CLAIMED, "eve") == []
    assert await store.queue.apply(Event.CLAIM, None, State.QUEUED, "eve") == []
    changed = await store.queue.apply(Event.HOLD, None, State.QUEUED, "eve")
    assert [row[0] for row in changed] == ids
    assert len(await store.log.find(LogFilter(state=State.HELD))) == 3


async def test_mail_for_postmaster_is_requeued_by_its_id_alone(store, make, put):
    """All that is skipped goes again, but what is never logged rests in peace."""
    (mail,) = await put()
    letter, raw = make(None)
    await store.messages.put(letter, raw)
    (recipient,) = letter.recipients
    await store.queue.apply(Event.HOLD, [mail], None, "cli")
    assert await store.queue.apply(Event.REQUEUE, None, State.SKIPPED, "cli") == []
    assert await state_of(store, recipient.message_id) == "skipped"
    changed = await store.queue.apply(
        Event.REQUEUE, [recipient.message_id], None, "cli"
    )
    assert changed == [(recipient.message_id, State.SKIPPED, State.QUEUED)]


async def test_a_requeued_message_starts_afresh(store, put, owner, clock):
    """Requeue makes due now and forgets failures and crashes."""
    (message_id,) = await put()
    for _ in range(ALONE_AFTER):
        await crash(store, owner, clock)
    (claimed,) = await store.queue.claim(owner, 1, LEASE_S)
    await store.ledger.advance(
        owner,
        settlements=[Settlement(message_id, claimed.attempt, Event.PERMANENT, "x")],
    )
    await store.queue.apply(Event.REQUEUE, [message_id], None, "eve")
    (fresh,) = await store.queue.claim(owner, 1, LEASE_S)
    assert (fresh.alone, fresh.failures, fresh.attempt) == (False, 0, 4)


async def test_waiting_ends_when_mail_comes(store, put):
    """`wait_for_work` returns at once after a put, else when the time is over."""
    await store.queue.wait_for_work(0)
    waiter = asyncio.ensure_future(store.queue.wait_for_work(5))
    await asyncio.sleep(0)
    await put()
    await asyncio.wait_for(waiter, 1)
