"""The clock as a value that is passed in, so that tests can set the time."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Wall-clock time for what is stored, boot time for what must not jump."""

    def now(self) -> datetime:
        """Return the time in UTC, with its zone set."""

    def boottime_s(self) -> float:
        """Return seconds since boot; never jumps, and goes on while suspended."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Return the time in UTC."""
        return datetime.now(UTC)

    def boottime_s(self) -> float:
        """Return CLOCK_BOOTTIME where the system has it, else a monotonic clock."""
        clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
        return time.clock_gettime(clock)
