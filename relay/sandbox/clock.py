"""The sandbox's own clock: the machine's, moved or stopped by a test.

Salesforce's clock is not the relay's, and a test proves that by setting them apart.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from relay.core.clock import SystemClock

if TYPE_CHECKING:
    from relay.core.clock import Clock


class SandboxClock:
    """A clock with an offset, which can stand still."""

    def __init__(self, inner: Clock | None = None) -> None:
        """Start in step with the clock given, or the machine's."""
        self._inner: Clock = inner or SystemClock()
        self._offset = timedelta()
        self._stopped: datetime | None = None

    def now(self) -> datetime:
        """Return the sandbox's time in UTC."""
        return self._stopped or self._inner.now() + self._offset

    def boottime_s(self) -> float:
        """Return the inner clock's seconds since boot, which nobody sets."""
        return self._inner.boottime_s()

    def set(self, moment: datetime, *, stopped: bool = False) -> None:
        """Go on from a moment, or stand still at it."""
        moment = moment.astimezone(UTC)
        self._offset = moment - self._inner.now()
        self._stopped = moment if stopped else None

    def shift(self, seconds: float) -> None:
        """Move forward, or back."""
        if self._stopped is not None:
            self._stopped += timedelta(seconds=seconds)
        self._offset += timedelta(seconds=seconds)
