"""A sandbox org that is served on loopback, in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from relay.sandbox import SandboxOrg, serve

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def served() -> Iterator[SandboxOrg]:
    """Serve a new org while the block runs; `reset` makes it new again."""
    org, up = SandboxOrg(), threading.Event()
    loop, stop = asyncio.new_event_loop(), asyncio.Event()
    thread = threading.Thread(
        target=lambda: loop.run_until_complete(
            serve(org, announce=lambda _: up.set(), stop=stop)
        )
    )
    thread.start()
    assert up.wait(30)
    yield org
    loop.call_soon_threadsafe(stop.set)
    thread.join(30)
    assert not thread.is_alive()
    loop.close()
