"""What charts count: by hour, state and user, on both databases, from indexes alone."""

from __future__ import annotations

from datetime import timedelta

import pytest

from relay.core.ids import new_message_id
from relay.core.model import Refusal
from relay.core.queue import Settlement
from relay.core.states import Event, State
from relay.store import figures

HOUR = timedelta(hours=1)


@pytest.fixture
def refuse(store, clock):
    async def refuse(reason, user_id=None, **more):
        clock.move(0.001)
        values = {
            "peer": "203.0.113.9",
            "mail_from": "x@evil.example",
            "rcpt": "log-none@in.example",
            "header_from": "",
            "reply": "550 5.1.1 no",
        }
        refusal = Refusal(
            id=new_message_id(clock),
            at=clock.now(),
            reason=reason,
            user_id=user_id,
            **(values | more),
        )
        await store.refusals.record([refusal])

    return refuse


async def test_mails_are_counted_in_their_hour_by_state_and_user(
    store, put, user, owner, clock, refuse
):
    since = clock.now()
    old = await put(2)
    clock.move(3700)  # Within half a minute of the edge it may count before it.
    new = await put(3)
    await store.queue.apply(Event.HOLD, old[:1], None, "test")
    await store.queue.apply(Event.DISCARD, new[:1], None, "test")
    await refuse("no_from", user.id)
    await refuse("unknown_recipient")
    found = await store.figures.mails(since, HOUR, 3)
    assert found == [
        {"held": 1, "queued": 1},
        {"queued": 2, "discarded": 1, "refused": 2},
        {},
    ]
    own = await store.figures.mails(since, HOUR, 3, user.id)
    assert own[1] == {"queued": 2, "discarded": 1, "refused": 1}
    assert await store.figures.mails(since, HOUR, 3, user.id + 1) == [{}, {}, {}]
    later = await store.figures.mails(since + HOUR / 3, HOUR / 3, 1)
    assert later == [{}]


async def test_refusals_are_counted_by_reason_the_most_frequent_first(
    store, user, clock, refuse
):
    since = clock.now()
    await refuse("no_from", user.id)
    for _ in range(2):
        await refuse("unknown_recipient")
    found = await store.figures.refusals(since)
    assert list(found.items()) == [("unknown_recipient", 2), ("no_from", 1)]
    assert await store.figures.refusals(since, user.id) == {"no_from": 1}
    clock.move(60)
    assert await store.figures.refusals(clock.now()) == {}


async def test_the_time_to_salesforce_is_that_of_the_first_logging(
    store, put, owner, clock, user
):
    since = clock.now()
    (id_,) = await put()
    received = clock.now()

    async def log_after(seconds):
        clock.move(seconds)
        (claimed,) = await store.queue.claim(owner, 1, 60)
        await store.ledger.advance(
            owner, settlements=[Settlement(id_, claimed.attempt, Event.LOGGED)]
        )

    await log_after(7)
    await store.queue.apply(Event.REQUEUE, [id_], None, "test")
    assert await store.figures.times(since) == []
    await log_after(500)
    (timed,) = await store.figures.times(since)
    assert timed.received_at == received
    assert (timed.logged_at - timed.received_at).total_seconds() == pytest.approx(7)
    assert len(await store.figures.times(since, user.id)) == 1
    assert await store.figures.times(since, user.id + 1) == []


async def test_no_more_is_read_than_the_bound(store, put, user, clock, monkeypatch):
    monkeypatch.setattr(figures, "MOST_OWN", 2)
    since = clock.now()
    await put(5)
    assert await store.figures.mails(since, HOUR, 1) == [{"queued": 5}]
    assert await store.figures.mails(since, HOUR, 1, user.id) == [{"queued": 2}]


async def test_mails_of_all_are_counted_in_an_index_alone(plan, clock):
    """However long the rows are: the index of state and id has all that is asked."""
    first, *_ = await plan(figures.of_state(State.LOGGED, clock.now()))
    assert first.startswith("SEARCH messages USING COVERING INDEX ix_messages_state_id")
