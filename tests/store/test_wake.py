"""A worker is woken by what another process put, well before it would look itself."""

from __future__ import annotations

import asyncio
import time

from relay.core.states import Event
from relay.store import Store

LONG_S = 8.0


async def woken_by(work, other) -> float:
    """Return how long `other` waited, while `work` was done by its neighbour."""
    waiting = asyncio.create_task(other.queue.wait_for_work(LONG_S))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    began = time.monotonic()
    await work()
    await waiting
    return time.monotonic() - began


async def settle_first_ring(other):
    """Let the start of listening, which rings once, pass."""
    await other.queue.wait_for_work(0.3)
    await other.queue.wait_for_work(0.1)


async def test_a_put_wakes_another_process(store, other, put):
    """A mail that one store takes is seen by another at once, again and again."""
    await settle_first_ring(other)
    for _ in range(3):
        assert await woken_by(put, other) < 1


async def test_people_wake_it_too(store, other, put):
    """What a person releases in another process is looked at at once."""
    await settle_first_ring(other)
    (message,) = await put()
    await store.queue.apply(Event.HOLD, [message], None, "test")
    await settle_first_ring(other)

    async def release():
        await store.queue.apply(Event.RELEASE, [message], None, "test")

    assert await woken_by(release, other) < 1


async def test_nobody_to_wake_is_no_failure(store, settings, clock, put):
    """Mail is taken although who listened has gone; who comes later hears again."""
    for _ in range(2):
        listener = await Store.open(settings, clock)
        await settle_first_ring(listener)
        assert await woken_by(put, listener) < 1
        await listener.close()
        assert len(await put(3)) == 3


async def test_both_of_two_listeners_hear(store, other, settings, clock, put):
    """While an old worker drains and a new one waits, the new one is woken."""
    third = await Store.open(settings, clock)
    try:
        await settle_first_ring(other)
        await settle_first_ring(third)
        first = asyncio.create_task(woken_by(put, other))
        assert await woken_by(lambda: asyncio.sleep(0), third) < 2
        assert await first < 1
    finally:
        await third.close()
