"""`/metrics`, `/healthz` and `/readyz`, on a listener of their own.

* `/healthz` is 200 as long as the event loop answers; restart the process if not.
* `/readyz` is 200 while every fatal probe is well and nobody drains; else 503. Send no
  mail there then. Salesforce being down is shown and not fatal: mail is still taken.
* `/metrics` is the Prometheus text format.

The parts register their probes; this module knows none of them. A probe that raises or
hangs counts as failed. Answers name no address, no secret and no mail.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from relay.telemetry import metrics
from relay.telemetry.events import get_logger
from relay.telemetry.redaction import clean, mask_addresses
from relay.telemetry.server import EmbeddedServer

if TYPE_CHECKING:
    from starlette.requests import Request

    from relay.config import HostPort

Check = Callable[[], Awaitable[tuple[bool, str]]]
"""Answers whether a part is well, and a few words for people."""
Refresh = Callable[[], Awaitable[None]]

PROBE_TIMEOUT_S: Final = 2.0
_NO_STORE: Final = {"Cache-Control": "no-store"}

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Probe:
    """One part's answer to "are you well?"."""

    name: str
    check: Check
    fatal: bool


class Health:
    """The probes, and the answers made of them; no socket.

    By itself it serves a child, which its supervisor asks.
    """

    def __init__(self, *, timeout_s: float = PROBE_TIMEOUT_S) -> None:
        """Start without probes; `timeout_s` bounds each."""
        self._probes: dict[str, Probe] = {}
        self._refreshers: list[Refresh] = []
        self._timeout_s = timeout_s
        self._draining = False

    def add_probe(self, name: str, check: Check, *, fatal: bool = True) -> None:
        """Register a part; a second probe of the same name takes the first's place.

        Args:
            name: Fixed word, such as `store`.
            check: Called at each `/readyz`, together with the others.
            fatal: Whether its failure makes the relay not ready.
        """
        self._probes[name] = Probe(name, check, fatal)

    def add_refresh(self, refresh: Refresh) -> None:
        """Register a function that updates gauges before each `/metrics`."""
        self._refreshers.append(refresh)

    def start_draining(self) -> None:
        """Say "not ready" from now on, so that load balancers turn away."""
        self._draining = True

    @property
    def listening(self) -> tuple[str, int] | None:
        """Host and real port of a listener; None: there is none."""
        return None

    async def start(self) -> None:
        """Open the listener, where there is one."""

    async def stop(self) -> None:
        """Close it; idempotent."""

    async def exposition(self) -> bytes:
        """Return the metrics as text, brought up to date."""
        await self.refresh()
        return metrics.exposition()

    async def readiness(self) -> tuple[bool, dict[str, object]]:
        """Ask every probe; return whether the relay is ready, and the details."""
        probes = list(self._probes.values())
        answers = await asyncio.gather(*(self._ask(probe) for probe in probes))
        checks = {
            probe.name: {"ok": ok, "fatal": probe.fatal, "detail": detail}
            for probe, (ok, detail) in zip(probes, answers, strict=True)
        }
        well = all(
            ok or not probe.fatal
            for probe, (ok, _) in zip(probes, answers, strict=True)
        )
        ready = well and not self._draining
        return ready, {"ready": ready, "draining": self._draining, "checks": checks}

    async def refresh(self) -> None:
        """Update the gauges; one that fails keeps its last value."""
        for refresh in self._refreshers:
            try:
                async with asyncio.timeout(self._timeout_s):
                    await refresh()
            except Exception as error:  # noqa: BLE001 - a scrape shows what there is
                log.warning("metrics_refresh_failed", error=type(error).__name__)

    async def _ask(self, probe: Probe) -> tuple[bool, str]:
        try:
            async with asyncio.timeout(self._timeout_s):
                ok, detail = await probe.check()
        except TimeoutError:
            return False, f"no answer within {self._timeout_s:g} s"
        except Exception as error:  # noqa: BLE001 - a failing probe is an answer
            # The class alone: a foreign error's text may hold a URL with a password.
            return False, type(error).__name__
        return ok, mask_addresses(clean(detail))


class HealthServer(Health):
    """The health listener: probes, gauges, and the three pages."""

    def __init__(self, listen: HostPort, *, timeout_s: float = PROBE_TIMEOUT_S) -> None:
        """Prepare the listener at `telemetry.listen`; `start` opens it."""
        super().__init__(timeout_s=timeout_s)
        app = Starlette(
            routes=[
                Route("/healthz", self._healthz),
                Route("/readyz", self._readyz),
                Route("/metrics", self._metrics),
            ]
        )
        self._server = EmbeddedServer(app, listen, key="telemetry.listen")

    @property
    def listening(self) -> tuple[str, int] | None:
        """Host and real port; None unless started."""
        return self._server.listening

    async def start(self) -> None:
        """Return when requests are answered.

        Raises:
            ConfigError: The address cannot be listened on.
        """
        await self._server.start()

    async def stop(self) -> None:
        """Close the listener; idempotent."""
        await self._server.stop()

    async def _healthz(self, _request: Request) -> Response:
        return JSONResponse({"alive": True}, headers=_NO_STORE)

    async def _readyz(self, _request: Request) -> Response:
        ready, details = await self.readiness()
        return JSONResponse(details, 200 if ready else 503, headers=_NO_STORE)

    async def _metrics(self, _request: Request) -> Response:
        text = await self.exposition()
        return Response(text, headers=_NO_STORE, media_type=metrics.CONTENT_TYPE)
