"""The composition root: builds the parts from settings, starts and drains them.

The only place that wires. `App` is one relay process: with the role `smtp` it takes
mail in, with the role `worker` it logs it. `serve` runs one until a signal comes.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from relay.core.clock import SystemClock
from relay.core.errors import StoreUnavailable
from relay.core.model import LeaseOwner
from relay.core.states import State
from relay.salesforce import Org
from relay.smtp import Intake
from relay.store import Store
from relay.telemetry import get_logger, metrics
from relay.telemetry.health import HealthServer
from relay.worker import Worker, WriteMode
from relay.worker import explain as explain_mail

if TYPE_CHECKING:
    from relay.config import Settings
    from relay.core.clock import Clock
    from relay.core.model import Directory

ROLES: Final = frozenset({"smtp", "worker"})
_START_TIME: Final = 19
"""Index of `starttime` in /proc/PID/stat, counted after the name (proc(5))."""
REFRESH_S: Final = 0.25
"""How often the directory's revision is read: an edit holds within a second."""

logger = get_logger(__name__)


class App:
    """One relay process.

    Attributes:
        store: The open store, after `start`.
        intake: The SMTP side, or None without the role.
        worker: The draining side, or None without the role.
        org: The Salesforce org, or None without the role.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        roles: frozenset[str] = ROLES,
        clock: Clock | None = None,
    ) -> None:
        """Keep the settings; nothing is opened yet."""
        self.settings = settings
        self.roles = roles
        self.clock: Clock = clock or SystemClock()
        self.owner = lease_owner()
        self.intake: Intake | None = None
        self.worker: Worker | None = None
        self.org: Org | None = None
        self.health: HealthServer | None = None
        self._store: Store | None = None
        self._directory: Directory | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def store(self) -> Store:
        """Return the open store.

        Raises:
            RuntimeError: The app has not been started.
        """
        if self._store is None:
            msg = "the app has not been started"
            raise RuntimeError(msg)
        return self._store

    def directory(self) -> Directory:
        """Return everybody and everything an admin edits, at most a second old."""
        if self._directory is None:
            msg = "the app has not been started"
            raise RuntimeError(msg)
        return self._directory

    # ------------------------------------------------------------ start

    async def start(self) -> None:
        """Open the store, take back what a dead predecessor held, start the roles.

        Raises:
            ConfigError: Something is set wrong; whatever was started is stopped again.
            StoreUnavailable: The store cannot be opened.
        """
        try:
            await self._start()
        except BaseException:
            await self.drain()
            raise

    async def _start(self) -> None:
        settings = self.settings
        if "worker" in self.roles:
            settings.require_salesforce()
        self._store = await Store.open(settings.store, self.clock, owner=self.owner)
        self._directory = await self._store.directory()
        self._tasks.append(asyncio.create_task(self._follow_directory()))
        if settings.telemetry.listen:
            self.health = HealthServer(settings.telemetry.listen)
            self.health.add_probe("store", self._probe_store)
            self.health.add_probe("salesforce", self._probe_salesforce, fatal=False)
            await self.health.start()
            self.health.add_refresh(self._update_gauges)
        if "worker" in self.roles:
            freed = await self._store.release_dead(self.owner, is_alive)
            if freed:
                logger.info("leases_taken_back", count=freed)
            self.org = Org(settings.salesforce, self.clock)
            await self.org.start()
            self.worker = Worker(
                settings,
                self._store,
                self.org,
                self.clock,
                owner=self.owner,
                directory=self.directory,
            )
            await self.worker.start()
        if "smtp" in self.roles:
            self.intake = Intake(
                settings.smtp,
                self._store,
                self.clock,
                directory=self.directory,
                inline_bytes=settings.store.inline_bytes,
                min_free_bytes=settings.store.min_free_bytes,
            )
            await self.intake.start()
            if self.health:
                self.health.add_probe("smtp", self._probe_smtp)

    # ------------------------------------------------------------ stop

    async def drain(self) -> None:
        """Stop taking mail, finish what is in hand, close everything, in that order."""
        if self.health:
            self.health.start_draining()
        if self.intake:
            await self.intake.drain(self.settings.smtp.drain_s)
        if self.worker:
            await self.worker.drain(self.settings.smtp.drain_s)
        if self.health:
            await self.health.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        if self.org:
            await self.org.close()
        if self._store:
            await self._store.close()

    # ------------------------------------------------------------ in the background

    async def _follow_directory(self) -> None:
        """Take over what an admin edits, from whichever process."""
        while True:
            await asyncio.sleep(REFRESH_S)
            try:
                revision = await self.store.revision()
                if revision != self.directory().revision:
                    self._directory = await self.store.directory()
            except StoreUnavailable as error:
                logger.warning("directory_not_read", error=str(error))
            except Exception:
                logger.exception("directory_not_read")

    async def _update_gauges(self) -> None:
        """Bring the queue's gauges up to date, before each scrape."""
        counts = await self.store.counts()
        for state in State:
            metrics.QUEUE.labels(str(state)).set(counts.get(state, 0))
        oldest = await self.store.oldest_queued()
        age = (self.clock.now() - oldest).total_seconds() if oldest else 0.0
        metrics.QUEUE_OLDEST.set(max(0.0, age))

    # ------------------------------------------------------------ probes

    async def _probe_store(self) -> tuple[bool, str]:
        try:
            await self.store.revision()
        except StoreUnavailable as error:
            return False, str(error)
        free = self.store.free_bytes()
        if free < self.settings.store.min_free_bytes:
            return False, f"{free} bytes free, below store.min_free_bytes"
        return True, f"{free} bytes free"

    async def _probe_smtp(self) -> tuple[bool, str]:
        if self.intake is None or not self.intake.listening:
            return False, "no listener"
        return True, ", ".join(f"{h}:{p}" for h, p in self.intake.listening)

    async def _probe_salesforce(self) -> tuple[bool, str]:
        if self.worker is None:
            return True, "this process has no worker"
        return self.worker.gate.told()


# ---------------------------------------------------------------- serve


async def serve(settings: Settings, roles: frozenset[str] = ROLES) -> None:
    """Run a relay until SIGTERM or SIGINT, then drain it.

    Raises:
        ConfigError: Refused to start.
        StoreUnavailable: The store cannot be opened.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    app = App(settings, roles=roles)
    await app.start()
    logger.info("serving", **listeners(app))
    try:
        await stop.wait()
        logger.info("draining")
    finally:
        await app.drain()
    logger.info("stopped")


def listeners(app: App) -> dict[str, Any]:
    """Return where the app listens, for the log and for people."""
    told: dict[str, Any] = {"roles": sorted(app.roles)}
    if app.intake:
        told["smtp"] = [_place(host, port) for host, port in app.intake.listening]
    if app.health and app.health.listening:
        told["telemetry"] = _place(*app.health.listening)
    return told


def _place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def explain(settings: Settings, raw: bytes, user_text: str) -> dict[str, Any]:
    """Say what would be logged for a mail, and why; write nothing.

    Raises:
        NotFound: No such user.
        UnparsableMessage, SalesforceUnavailable, OrgPaused: As `relay.worker.explain`.
    """
    settings.require_salesforce()
    clock = SystemClock()
    store = await Store.open(settings.store, clock)
    org = Org(settings.salesforce, clock)
    try:
        user = await store.user_find(user_text)
        await org.start()
        mode = WriteMode(settings.salesforce, store, clock)
        directory = await store.directory()
        return await explain_mail(
            settings,
            org,
            mode,
            directory=directory,
            user=user,
            raw=raw,
            now=clock.now(),
        )
    finally:
        await org.close()
        await store.close()


# ---------------------------------------------------------------- who we are


def lease_owner() -> LeaseOwner:
    """Return this process as the owner of leases."""
    pid = os.getpid()
    return LeaseOwner(socket.gethostname(), _boot_id(), pid, _started(pid) or "0")


def is_alive(owner: str) -> bool:
    """Say whether the process that held a lease may still run.

    A process of another host may; one of this host is looked for by boot, pid and
    start time, so that a pid used again is not taken for its predecessor.
    """
    host, boot_id, pid, started, *_ = owner.split("/")
    if host != socket.gethostname():
        return True
    if boot_id != _boot_id():
        return False
    now = _started(int(pid))
    if now is not None or Path("/proc/self/stat").exists():
        return started == now
    try:  # A system without /proc: the pid is all there is to go by.
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return "unknown"


def _started(pid: int) -> str | None:
    """Return the start time of a process in clock ticks since boot, or None."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return None
    # The name in parentheses may hold anything, spaces and parentheses too.
    fields = stat.rpartition(")")[2].split()
    return fields[_START_TIME] if len(fields) > _START_TIME else None
