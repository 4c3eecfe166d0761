"""Time limits that do not race the clock: CPU time of this process, and its growth."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_TRACED: bool = "coverage" in sys.modules
"""Coverage slows the code down that it looks at."""
_NOISE_S = 0.05


_RUNS = 2
"""The better of so many counts; a later one is made where the first is too slow."""


def assert_cpu_below(limit_s: float, work: Callable[[], object]) -> None:
    """Fail where work takes more CPU time than the limit; traced, five times it."""
    limit_s *= 5 if _TRACED else 1
    assert any(_once_s(work) < limit_s for _ in range(_RUNS)), limit_s


def assert_linear(work: Callable[[int], object], size: int) -> None:
    """Fail where work on `size` takes far more than four times that on a quarter.

    Linear work takes four times as long, quadratic work sixteen times.
    """
    quarter_s = min(_once_s(lambda: work(size // 4)) for _ in range(_RUNS))
    limit_s = 9 * quarter_s + _NOISE_S
    assert any(_once_s(lambda: work(size)) < limit_s for _ in range(_RUNS)), quarter_s


def _once_s(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started
