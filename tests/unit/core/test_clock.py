"""The machine's clock."""

from __future__ import annotations

import time
from datetime import UTC, timedelta
from typing import TYPE_CHECKING

from relay.core.clock import SystemClock

if TYPE_CHECKING:
    import pytest


def test_now_is_in_utc_with_its_zone_set() -> None:
    """Nobody has to guess the zone of a stored time."""
    now = SystemClock().now()
    assert now.tzinfo is UTC
    assert now.utcoffset() == timedelta(0)


def test_boot_time_never_goes_back() -> None:
    """Two readings are in order."""
    clock = SystemClock()
    first = clock.boottime_s()
    assert 0 < first <= clock.boottime_s()


def test_boot_time_without_a_boot_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system without CLOCK_BOOTTIME gives its monotonic clock."""
    monkeypatch.delattr(time, "CLOCK_BOOTTIME", raising=False)
    before = time.monotonic()
    assert before <= SystemClock().boottime_s() <= time.monotonic()
