"""Has one store wait for work, and sees whether another one wakes it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from relay.store import Store

LONG_S = 3600.0
"""Longer than any test runs: whoever returns from such a wait was woken."""
SOON_S = 5.0


async def settle(store: Store) -> None:
    """Use up what rang before, and the ring that the start of listening is."""
    await store.queue.wait_for_work(0.3)
    await store.queue.wait_for_work(0.1)


async def wakes(work: Callable[[], Awaitable[Any]], *waiting: Store) -> None:
    """Have stores wait for work, do some elsewhere, and see that each is woken.

    Raises:
        TimeoutError: One of them was not woken.
    """
    waits = [
        asyncio.create_task(store.queue.wait_for_work(LONG_S)) for store in waiting
    ]
    await asyncio.sleep(0)  # They begin to wait; what rings now would end it at once.
    assert not any(wait.done() for wait in waits)
    await work()
    async with asyncio.timeout(SOON_S):
        await asyncio.gather(*waits)
