"""What `relay check` finds, for the command line at once, for a page in the background.

A page starts it and looks again: one check runs at a time, in the process that serves
the pages, and its findings stay until the next one. It is not kept when that process
ends; a check is soon made again.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from relay.core.clock import SystemClock
from relay.diagnose.check import check_all
from relay.diagnose.finding import Finding, fail, ok
from relay.telemetry import get_logger

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from relay.config import Settings
    from relay.core.clock import Clock
    from relay.diagnose.check import Progress

logger = get_logger(__name__)
_LAST: Final = "notices"


async def check_everything(
    settings: Settings, path: Path | None, progress: Progress | None = None
) -> list[Finding]:
    """Return what is found at the relay, and whether notices can be sent."""

    def with_last(name: str, number: int, total: int) -> None:
        if progress is not None:
            progress(name, number, total + 1)

    found = await check_all(settings, path, with_last)
    if progress is not None:
        progress(_LAST, 1, 1)
    return [*found, await smarthost(settings)]


async def smarthost(settings: Settings) -> Finding:
    """Try the smarthost: connect, log in, and leave without a mail."""
    from relay.notices import Smarthost, SmarthostError  # noqa: PLC0415 - aiosmtplib

    if settings.notices.smarthost is None:
        return ok("notices", "off: notices.smarthost is not set, users get no mail")
    try:
        found = await Smarthost(settings.notices, SystemClock()).check()
    except SmarthostError as error:
        hint = error.hint or "see docs/notices.md"
        return fail("notices", f"none can be sent: {error}", hint)
    return ok("notices", found)


# ------------------------------------------------------------------ in the background


@dataclass(frozen=True, slots=True)
class Run:
    """One check, as it is now.

    Attributes:
        started_at: When it began.
        by: Who asked for it.
        step: What is looked at now.
        done: Steps that are done.
        total: Steps that there are; 0: not known yet.
        ended_at: When it was done; None: it runs.
        findings: What was found; empty while it runs.
        error: Why it was given up; empty: it was not.
    """

    started_at: datetime
    by: str
    step: str = ""
    done: int = 0
    total: int = 0
    ended_at: datetime | None = None
    findings: tuple[Finding, ...] = field(default=())
    error: str = ""

    @property
    def is_running(self) -> bool:
        """Say whether it is under way."""
        return self.ended_at is None


class Checks:
    """Makes checks in the background, one at a time."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        """Take what is checked; nothing is looked at yet."""
        self._settings = settings
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self.latest: Run | None = None

    def start(self, by: str) -> Run:
        """Begin a check, or return the one that runs."""
        if self.latest is not None and self.latest.is_running:
            return self.latest
        self.latest = Run(self._clock.now(), by)
        self._task = asyncio.get_running_loop().create_task(self._run())
        return self.latest

    async def wait(self) -> None:
        """Return when the check that runs is done."""
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        findings: list[Finding] = []
        error = ""
        try:
            findings = await check_everything(self._settings, None, self._progress)
        except asyncio.CancelledError:
            error = "the relay was stopped"
            raise
        except Exception as unexpected:
            # Whatever it is, the page must not wait for ever for a check that is over.
            logger.exception("check_failed")
            error = (
                f"the check itself failed ({type(unexpected).__name__}); see the log"
            )
        finally:
            self._change(
                ended_at=self._clock.now(), findings=tuple(findings), error=error
            )

    def _progress(self, step: str, done: int, total: int) -> None:
        self._change(step=step, done=done, total=total)

    def _change(self, **values: object) -> None:
        if self.latest is not None:
            self.latest = replace(self.latest, **values)  # type: ignore[arg-type]
