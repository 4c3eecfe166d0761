"""A worker is woken by what another process put, well before it would look itself."""

from __future__ import annotations

from relay.core.states import Event
from relay.store import Store
from tests.store.waking import settle, wakes


async def test_a_put_wakes_another_process(other, put):
    """A mail that one store takes is seen by another at once, again and again."""
    await settle(other)
    for _ in range(3):
        await wakes(put, other)


async def test_people_wake_it_too(store, other, put):
    """What a person releases in another process is looked at at once."""
    await settle(other)
    (message,) = await put()
    await store.queue.apply(Event.HOLD, [message], None, "test")
    await settle(other)

    async def release():
        await store.queue.apply(Event.RELEASE, [message], None, "test")

    await wakes(release, other)


async def test_nobody_to_wake_is_no_failure(settings, clock, put):
    """Mail is taken although who listened has gone; who comes later hears again."""
    for _ in range(2):
        listener = await Store.open(settings, clock)
        await settle(listener)
        await wakes(put, listener)
        await listener.close()
        assert len(await put(3)) == 3


async def test_both_of_two_listeners_hear(other, settings, clock, put):
    """While an old worker drains and a new one waits, the new one is woken."""
    third = await Store.open(settings, clock)
    try:
        await settle(other)
        await settle(third)
        await wakes(put, other, third)
    finally:
        await third.close()
