"""Reading that goes along with a call which is made anyway, and costs none of its own.

Mail makes calls all day: it looks records up, and writes others. A composite call takes
25 parts, five of them queries or collections, and mail seldom fills it. Whoever has
something small to read offers it here; the next call that has room takes it along,
behind its own parts.

The call that carries must not suffer. Each part of a composite stands for itself, and
nothing is all-or-none: a part that fails leaves the others as they are, and what is
said about a record is read from its own part alone. What could still do harm ends the
rides for an hour: a call that was refused as a whole (it is made again without its
passenger, as nothing of it was done), one that was not answered, and one that took
long. What the passenger wants to know is then asked by a call of its own.

Source: REST API Developer Guide, "Composite", "allOrNone".
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from relay.telemetry import get_logger, metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from relay.core.clock import Clock

SLOW_S: Final = 5.0
"""A call that carries and takes longer than this ends the rides for a while."""
REST_S: Final = 3600.0
"""So long nothing rides after a call that carried went wrong."""

logger = get_logger(__name__)


class State(StrEnum):
    """How far a ride is."""

    OFFERED = "offered"
    ABOARD = "aboard"
    DONE = "done"
    LOST = "lost"
    """The call failed, or its answer was not about the ride."""


@dataclass(eq=False)
class Ride:
    """Something to read.

    Attributes:
        paths: Makes the paths that are read, when it leaves.
        queries: How many of them are queries.
        state: How far it is.
        left_s: Boot time when it left.
        answers: The parts of the answer, by path; None for one that it leaves out.
    """

    paths: Callable[[], Sequence[str]]
    queries: int
    state: State = State.OFFERED
    left_s: float = 0.0
    answers: list[Any] = field(default_factory=list)
    aboard: list[tuple[str, str, None]] = field(default_factory=list)


class Rides:
    """One place for one ride; safe to use from many threads."""

    def __init__(self, clock: Clock) -> None:
        """Start with nothing that waits."""
        self._clock = clock
        self._lock = threading.Lock()
        self._offered: Ride | None = None
        self._not_before_s = float("-inf")

    # ------------------------------------------------------------ who has a question

    def offer(self, ride: Ride) -> bool:
        """Let the next call take it along; it takes the place of one that waits.

        Returns:
            Whether anything rides at present.
        """
        with self._lock:
            resting = self._clock.boottime_s() < self._not_before_s
            self._offered = None if resting else ride
            return not resting

    def withdraw(self, ride: Ride) -> None:
        """Let no call take it along any more, unless one has already."""
        with self._lock:
            if self._offered is ride:
                self._offered = None

    # ------------------------------------------------------------ who makes a call

    def board(self, room: int) -> Ride | None:
        """Return what is to go along with a call that has room for so many queries."""
        with self._lock:
            ride = self._offered
            if ride is None or ride.queries > room:
                return None
            self._offered = None
            ride.state, ride.left_s = State.ABOARD, self._clock.boottime_s()
        try:
            ride.aboard = [("GET", path, None) for path in ride.paths()]
        except Exception:
            logger.exception("ride_not_made")
            self.lose(ride, "unmade")
            return None
        return ride

    def arrive(self, ride: Ride, answers: Sequence[Any]) -> None:
        """Hand the answers over; a call that took long carries nothing for a while."""
        took_s = self._clock.boottime_s() - ride.left_s
        if took_s > SLOW_S:
            self._rest("slow", took_s)
        ride.answers = list(answers)
        ride.state = State.DONE
        metrics.SALESFORCE_RIDES.labels("ok").inc()

    def lose(self, ride: Ride, why: str) -> None:
        """Take it off: the call that carried it went wrong, perhaps because of it."""
        ride.state = State.LOST
        metrics.SALESFORCE_RIDES.labels(why).inc()
        self._rest(why, self._clock.boottime_s() - ride.left_s)

    def _rest(self, why: str, took_s: float) -> None:
        logger.warning("rides_rest", reason=why, took_s=round(took_s, 1), rest_s=REST_S)
        with self._lock:
            self._not_before_s = self._clock.boottime_s() + REST_S
            self._offered = None
