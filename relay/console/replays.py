"""Re-plays of a rule change in the background, with their progress.

A re-play asks Salesforce about many mails and takes minutes, so that who starts one
comes back for its result. One runs at a time in a process; the results of the latest
few stay for an hour in its memory, and are gone when it ends. Nothing is written.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Protocol

from relay.core.errors import Conflict, NotFound, RelayError
from relay.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from datetime import datetime

    from relay.admin.rule_change import RuleChange
    from relay.core.clock import Clock
    from relay.core.past import PastFilter

log = get_logger(__name__)

MOST_KEPT: Final = 10
"""Re-plays whose results are kept."""
MOST_DIFFERENCES: Final = 2_000
"""Differences of one re-play that are kept; further ones are only counted."""
KEPT: Final = timedelta(hours=1)


Replaying = Callable[..., AbstractAsyncContextManager["Run"]]
"""What makes a re-play ready: `relay.app.replaying` with the settings of a process."""


class Shown(Protocol):
    """A value with stable names for programs."""

    def as_json(self) -> dict[str, Any]:
        """Return them."""


class Page(Protocol):
    """What some mails came to, and how far the work is with them."""

    @property
    def differences(self) -> Sequence[Shown]:
        """Return the mails that differ."""

    @property
    def summary(self) -> Shown:
        """Return how far it is."""


class Run(Protocol):
    """A re-play that is ready to begin; see `relay.worker.replay`."""

    @property
    def summary(self) -> Shown:
        """Return how far it is."""

    def pages(self) -> AsyncIterator[Page]:
        """Decide page by page."""


class Progress(StrEnum):
    """Where a re-play is."""

    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is re-played.

    Attributes:
        change: The rules to try.
        past: Which mails, by time.
        who: Only mail of this user, by address or name; None: everybody's.
        limit: Look at so many of the newest mails at most.
        dry: Only count the API calls needed.
    """

    change: RuleChange
    past: PastFilter
    who: str | None = None
    limit: int | None = None
    dry: bool = False


@dataclass(slots=True)
class ReplayJob:
    """One re-play: what was asked, how far it is, and what it found.

    Attributes:
        id: Names it.
        actor: Who started it.
        wanted: What is re-played.
        started_at: Since when.
        ended_at: When it ended; None: it runs.
        progress: Where it is.
        problem: Why it failed or stopped; else empty.
        summary: Its counts, under the names of `relay explain --rules --json`.
        differences: The mails that differ, the newest first.
    """

    id: str
    actor: str
    wanted: Wanted
    started_at: datetime
    ended_at: datetime | None = None
    progress: Progress = Progress.RUNNING
    problem: str = ""
    summary: dict[str, Any] = field(default_factory=dict)
    differences: list[dict[str, Any]] = field(default_factory=list)
    task: asyncio.Task[None] | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the stable names; the differences are asked for by themselves."""
        return {
            "id": self.id,
            "by": self.actor,
            "change": self.wanted.change.as_json(),
            "since": self.wanted.past.since,
            "until": self.wanted.past.until,
            "user": self.wanted.who,
            "dry": self.wanted.dry,
            "started_at": self.started_at,
            "ended_at": self.ended_at,
            "progress": self.progress.value,
            "problem": self.problem,
            "summary": {k: v for k, v in self.summary.items() if k != "row"} or None,
        }


class Replays:
    """The re-plays of one process."""

    def __init__(self, begin: Replaying, clock: Clock) -> None:
        """Begin with none.

        Args:
            begin: Makes a re-play ready.
            clock: The time.
        """
        self._begin = begin
        self._clock = clock
        self._jobs: dict[str, ReplayJob] = {}

    def start(self, wanted: Wanted, actor: str) -> ReplayJob:
        """Start a re-play and return it.

        Raises:
            Conflict: One runs already.
        """
        self._forget()
        running = [j for j in self._jobs.values() if j.progress is Progress.RUNNING]
        if running:
            text = f"re-play {running[0].id} of {running[0].actor} runs"
            raise Conflict(text, "wait until it ends, or cancel it")
        job = ReplayJob(secrets.token_hex(8), actor, wanted, self._clock.now())
        self._jobs[job.id] = job
        job.task = asyncio.get_running_loop().create_task(
            self._run(job), name=f"replay {job.id}"
        )
        return job

    def all(self) -> list[ReplayJob]:
        """Return those that run or are kept, the latest first."""
        self._forget()
        return list(self._jobs.values())[::-1]

    def get(self, id_: str) -> ReplayJob:
        """Return a re-play.

        Raises:
            NotFound: There is none, or it is not kept any more.
        """
        self._forget()
        if id_ not in self._jobs:
            text = (
                "there is no such re-play: a result is kept for an hour, and not over "
                "a restart of the relay"
            )
            raise NotFound(text, "start the re-play again")
        return self._jobs[id_]

    async def cancel(self, id_: str) -> None:
        """End a re-play and forget it.

        Raises:
            NotFound: There is none.
        """
        job = self.get(id_)
        await _ended(job)
        self._jobs.pop(id_, None)

    async def close(self) -> None:
        """End what runs."""
        for job in self._jobs.values():
            await _ended(job)

    async def _run(self, job: ReplayJob) -> None:
        wanted = job.wanted
        try:
            async with self._begin(
                wanted.change,
                wanted.past,
                who=wanted.who,
                limit=wanted.limit,
                dry=wanted.dry,
            ) as run:
                async for page in run.pages():
                    job.summary = page.summary.as_json()
                    left = MOST_DIFFERENCES - len(job.differences)
                    if not wanted.dry:
                        job.differences += [
                            one.as_json() for one in page.differences[:left]
                        ]
                job.summary = run.summary.as_json()
            job.problem = str(job.summary.get("stopped") or "")
            job.progress = Progress.STOPPED if job.problem else Progress.DONE
        except asyncio.CancelledError:
            job.progress = Progress.CANCELLED
            raise
        except RelayError as error:
            job.problem, job.progress = str(error), Progress.FAILED
        except Exception:
            log.exception("replay_failed", replay=job.id)
            job.problem = "the relay has a fault; its log has the details"
            job.progress = Progress.FAILED
        finally:
            job.ended_at = self._clock.now()

    def _forget(self) -> None:
        """Let old results go, and the oldest where there are many."""
        before = self._clock.now() - KEPT
        ended = [job for job in self._jobs.values() if job.ended_at is not None]
        many = len(ended) - MOST_KEPT + 1
        for number, job in enumerate(ended):
            if number < many or (job.ended_at and job.ended_at < before):
                del self._jobs[job.id]


async def _ended(job: ReplayJob) -> None:
    if job.task is not None:
        job.task.cancel()
        await asyncio.gather(job.task, return_exceptions=True)
