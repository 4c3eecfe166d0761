"""Work that is done turn by turn, in the background, until it is asked to stop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from relay.core.errors import StoreUnavailable
from relay.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

RETRY_TURN_S: Final = 1.0
"""Wait before the next turn after the store, or the code, has failed."""

logger = get_logger(__name__)


class Turns:
    """The kinds of work of one part, each with a loop of its own.

    A kind of work that is slow delays no other.
    """

    def __init__(
        self, idle_s: float, *, paused: Callable[[], bool] = lambda: False
    ) -> None:
        """Begin nothing.

        Args:
            idle_s: Wait after a turn that found nothing.
            paused: Says whether the org is paused; no turn is made then.
        """
        self._idle_s = idle_s
        self._paused = paused
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def stopping(self) -> bool:
        """Say whether the work is to end: a long turn looks at it in between."""
        return self._stopping.is_set()

    def begin(self, turn: Callable[[], Awaitable[bool]], failed_event: str) -> None:
        """Make turns of one kind from now on, as `keep_working` says."""
        work = keep_working(
            turn,
            stopping=self._stopping,
            paused=self._paused,
            idle_s=self._idle_s,
            failed_event=failed_event,
        )
        self._tasks.append(asyncio.get_running_loop().create_task(work))

    async def drain(self, timeout_s: float | None = None) -> None:
        """Stop; turns under way are finished, or cut off after a time. Idempotent."""
        self._stopping.set()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=timeout_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()


async def keep_working(
    turn: Callable[[], Awaitable[bool]],
    *,
    stopping: asyncio.Event,
    paused: Callable[[], bool],
    idle_s: float,
    failed_event: str,
    wake: asyncio.Event | None = None,
) -> None:
    """Work off a table of rows until it is asked to stop; a turn under way is finished.

    Args:
        turn: Takes the rows that are due and sees to them; says whether there were any.
        stopping: Ends the work.
        paused: Says whether the org is paused; no turn is made then.
        idle_s: Wait after a turn that found nothing.
        failed_event: Name of the event that is logged where a turn fails.
        wake: Ends that wait: something may be due.
    """
    while not stopping.is_set():
        try:
            busy = not paused() and await turn()
        except StoreUnavailable as error:
            logger.warning("store_unavailable", error=str(error))
            await _wait(RETRY_TURN_S, stopping)
        except Exception:
            logger.exception(failed_event)
            await _wait(RETRY_TURN_S, stopping)
        else:
            if not busy:
                await _wait(idle_s, stopping, *([wake] if wake else []))
                if wake:
                    wake.clear()


async def _wait(seconds: float, *events: asyncio.Event) -> None:
    """Wait for one of the events, at the longest for so many seconds."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    await asyncio.gather(*waits, return_exceptions=True)
