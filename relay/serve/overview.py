"""One health listener that answers for every process of the relay."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

from relay.telemetry.health import HealthServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from relay.config import HostPort
    from relay.serve.process import ChildProcess, Part
    from relay.telemetry.totals import SharedMetrics


class Overview(HealthServer):
    """`/readyz` and `/metrics` of all processes together.

    The relay is ready while a process takes mail and no fatal probe fails. A process
    that is being started again shows in the check `processes`.
    """

    def __init__(
        self,
        listen: HostPort,
        shared: SharedMetrics,
        *,
        wanted: Callable[[], list[Part]],
        running: Callable[[], list[ChildProcess]],
    ) -> None:
        """Prepare the listener at `telemetry.listen`.

        Args:
            listen: Where.
            shared: What the processes count.
            wanted: The parts that ought to run.
            running: The processes there are, those that drain included.
        """
        super().__init__(listen)
        self._shared = shared
        self._wanted = wanted
        self._running = running

    async def readiness(self) -> tuple[bool, dict[str, object]]:
        """Ask every process; return whether the relay is ready, and the details."""
        ready = [child for child in self._running() if child.ready]
        answers = await asyncio.gather(*(child.ask("readiness") for child in ready))
        up = {
            child.part
            for child, answer in zip(ready, answers, strict=True)
            if answer is not None
        }
        details = [answer["details"] for answer in answers if answer]
        checks = merged(found["checks"] for found in details)
        checks["processes"] = self._processes(up)
        well = all(check["ok"] or not check["fatal"] for check in checks.values())
        is_ready = well and not self._draining
        return is_ready, {
            "ready": is_ready,
            "draining": self._draining,
            "checks": checks,
        }

    def _processes(self, up: set[Part]) -> dict[str, Any]:
        """Say which processes are missing; fatal where none takes mail."""
        wanted = self._wanted()
        missing = [part.name for part in wanted if part not in up]
        takers = {part for part in wanted if part.takes_mail}
        detail = f"{len(wanted) - len(missing)} of {len(wanted)} running"
        if missing:
            detail += f"; not running: {', '.join(missing)}"
        return {
            "ok": not missing,
            "fatal": not (takers or set(wanted)) & up,
            "detail": detail,
        }

    async def exposition(self) -> bytes:
        """Return the sum of what all processes, ended ones included, have counted."""
        running = [child for child in self._running() if child.ready]
        # The queue is the same whoever counts it: one process is asked to look.
        looks = next((c for c in running if "worker" in c.part.roles), None)
        looks = looks or next(iter(running), None)
        if looks is not None:
            await looks.ask("refresh")
        alive = [child.pid for child in self._running() if not child.ended.done()]
        return self._shared.exposition([os.getpid(), *alive])


def merged(found: Iterable[Mapping[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """Return one answer for each check: of several, the first that is not well."""
    checks: dict[str, Any] = {}
    for one in found:
        for name, check in one.items():
            known = checks.get(name)
            if known is None or (known["ok"] and not check["ok"]):
                checks[name] = dict(check)
    return checks
