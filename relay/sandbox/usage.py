"""What calls cost, and which were made: the daily limit, and the call log.

Source: "API Request Limits and Allocations": a rolling window of 24 hours, org-wide.
"""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from relay.core.clock import Clock

_WINDOW_HOURS: Final = 24
_KEPT_CALLS: Final = 200_000


class ApiUsage:
    """Counts calls by the hour, over the last 24."""

    def __init__(self, clock: Clock) -> None:
        """Start at nothing used."""
        self._clock = clock
        self._hours: dict[int, int] = {}

    def used(self) -> int:
        """Return the calls of the last 24 hours."""
        now = self._hour()
        self._hours = {
            hour: count
            for hour, count in self._hours.items()
            if now - _WINDOW_HOURS < hour <= now
        }
        return sum(self._hours.values())

    def add(self, calls: int) -> None:
        """Count calls."""
        hour = self._hour()
        self._hours[hour] = self._hours.get(hour, 0) + calls

    def set(self, calls: int) -> None:
        """Pretend that so many calls were made."""
        self._hours = {self._hour(): calls}

    def _hour(self) -> int:
        return int(self._clock.now().timestamp()) // 3_600


@dataclass(frozen=True, slots=True)
class LoggedCall:
    """One call as `GET /sandbox/calls` shows it.

    `status` is 0 where the connection was cut without an answer; `done` says whether
    the call was processed all the same. `subrequests` counts what a composite or batch
    held, `records` the records of collections in it; `counted` what it cost. `at` has
    milliseconds; `urls` are the addresses of subrequests.
    """

    at: str
    method: str
    path: str
    kind: str
    status: int
    subrequests: int
    records: int
    counted: int
    done: bool
    user: str
    queries: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()


class CallLog:
    """The calls, oldest first."""

    def __init__(self) -> None:
        """Start empty."""
        self._calls: deque[LoggedCall] = deque(maxlen=_KEPT_CALLS)

    def add(self, call: LoggedCall) -> None:
        """Note a call."""
        self._calls.append(call)

    def clear(self) -> None:
        """Forget all calls."""
        self._calls.clear()

    def as_json(self) -> list[dict[str, Any]]:
        """Return the calls as JSON objects."""
        return [asdict(call) for call in self._calls]
