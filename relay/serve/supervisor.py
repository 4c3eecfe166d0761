"""The supervisor: starts, watches and restarts the processes of one relay.

It binds the ports before anything else and keeps them: a child that ends and is started
again finds the connections that came meanwhile. It reads no mail and opens no store,
so that there is little in it that could fail.
"""

from __future__ import annotations

import asyncio
import signal
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from relay.core.errors import ConfigError, RelayError
from relay.serve.overview import Overview
from relay.serve.process import ChildProcess, Part, parts
from relay.smtp.listener import bind, bind_shared, close
from relay.telemetry import get_logger
from relay.telemetry.totals import SharedMetrics

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.config import Settings
    from relay.smtp.listener import Shared

RESTART_FIRST_S: Final = 0.1
"""Wait before a process is started again; it doubles up to `serve.restart_max_s`."""
HEALTHY_S: Final = 30.0
"""A process that ran as long starts again without a wait when it ends."""
PING_S: Final = 10.0
HUNG_AFTER: Final = 6
"""Pings in a row without an answer after which a process counts as hung."""
CLOSING_S: Final = 15.0
"""Beyond twice `smtp.drain_s`: what closing everything may take."""

log = get_logger(__name__)


@dataclass(slots=True, eq=False)
class _Slot:
    """One part, and the process that is it just now."""

    part: Part
    sockets: Shared = field(default_factory=dict)
    child: ChildProcess | None = None
    keeper: asyncio.Task[None] | None = None
    starting: asyncio.Lock = field(default_factory=asyncio.Lock)
    replaced: asyncio.Event = field(default_factory=asyncio.Event)


class Supervisor:
    """Runs the processes of a relay until SIGTERM or SIGINT."""

    def __init__(
        self, settings: Settings, roles: frozenset[str], load: Callable[[], Settings]
    ) -> None:
        """Take the settings; nothing is started.

        Args:
            settings: As they are now.
            roles: What the relay does.
            load: Reads the settings again, to see whether new children could.
        """
        self._settings = settings
        self._roles = roles
        self._load = load
        self._slots = [_Slot(part) for part in parts(settings, roles)]
        self._leaving: set[ChildProcess] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()
        self._renewing = asyncio.Lock()
        self._overview: Overview | None = None
        self._shared: SharedMetrics | None = None

    async def run(self) -> None:
        """Start everything, keep it running, and drain it when a signal comes.

        Raises:
            ConfigError: Refused to start; whatever was started is stopped again.
            StoreUnavailable: The same: the store cannot be opened.
        """
        self._bind()
        try:
            await self._listen()
            self._follow_signals()
            await self._start()
            await self._stop.wait()
            log.info("draining")
        finally:
            await self._drain()
        log.info("stopped")

    # ------------------------------------------------------------ start

    def _bind(self) -> None:
        takers = [slot for slot in self._slots if slot.part.takes_mail]
        if takers:
            shared = bind_shared(self._settings.smtp, len(takers))
            for slot, sockets in zip(takers, shared, strict=True):
                slot.sockets = sockets
        place = self._settings.web.listen
        for slot in self._slots:
            if "web" in slot.part.roles and place is not None:
                slot.sockets = {str(place): bind(place, key="web.listen")}

    async def _listen(self) -> None:
        place = self._settings.telemetry.listen
        if place is not None:
            try:
                self._shared = SharedMetrics()
            except OSError as error:
                text = f"telemetry.listen: no folder for metrics: {error}; set TMPDIR"
                raise ConfigError(text) from error
            overview = Overview(
                place,
                self._shared,
                wanted=lambda: [slot.part for slot in self._slots],
                running=self._running,
            )
            await overview.start()
            self._overview = overview

    def _running(self) -> list[ChildProcess]:
        now = [slot.child for slot in self._slots if slot.child is not None]
        return [*now, *self._leaving]

    def _follow_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked_to_stop)
        loop.add_signal_handler(signal.SIGHUP, self._asked_to_renew)

    def _asked_to_stop(self) -> None:
        if self._stop.is_set():  # A second signal: end at once.
            for child in self._running():
                child.kill()
        self._stop.set()

    def _asked_to_renew(self) -> None:
        task = asyncio.get_running_loop().create_task(self._renew())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _start(self) -> None:
        """Start each part once; an error of one stops all."""
        for slot in self._slots:
            slot.child = await self._start_child(slot)
        for slot in self._slots:
            if slot.child is not None:
                await self._until_ready(slot.child)
        if self._stop.is_set():
            return
        for slot in self._slots:
            slot.keeper = asyncio.create_task(self._keep(slot))
        log.info("serving", **self._listeners())

    async def _until_ready(self, child: ChildProcess) -> None:
        """Wait for a child, and for a signal as well."""
        ready = asyncio.create_task(child.until_ready())
        stopping = asyncio.create_task(self._stop.wait())
        await asyncio.wait({ready, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not ready.done():
            ready.cancel()
            return
        await ready

    async def _start_child(self, slot: _Slot) -> ChildProcess:
        shared = self._shared
        environment = {} if shared is None else shared.environment
        child = await ChildProcess.start(slot.part, slot.sockets, environment)
        if shared is not None:
            pid = child.pid
            child.ended.add_done_callback(lambda _: shared.retire(pid))
        if self._stop.is_set():  # The others have been stopped already.
            child.stop()
        return child

    def _listeners(self) -> dict[str, Any]:
        found: dict[str, Any] = {"roles": sorted(self._roles)}
        for child in self._running():
            found |= {k: v for k, v in child.listeners.items() if k != "roles"}
        if self._overview is not None and self._overview.listening is not None:
            host, port = self._overview.listening
            found["telemetry"] = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        found["processes"] = [slot.part.name for slot in self._slots]
        return found

    # ------------------------------------------------------------ keep

    async def _keep(self, slot: _Slot) -> None:
        """Start a part again whenever its process ends."""
        wait_s = RESTART_FIRST_S
        while not self._stop.is_set():
            began = time.monotonic()
            child = slot.child
            if child is None:
                child = await self._start_again(slot)
            if child is not None:
                await self._watch(slot, child)
                if slot.child is not child:
                    continue  # A new one has taken its place.
                slot.child = None
            if self._stop.is_set():
                return
            if time.monotonic() - began >= HEALTHY_S:
                wait_s = RESTART_FIRST_S
            log.warning(
                "process_ended",
                process=slot.part.name,
                status=None if child is None else child.ended.result(),
                restart_in_s=wait_s,
            )
            await self._wait(wait_s)
            wait_s = min(wait_s * 2, self._settings.serve.restart_max_s)

    async def _start_again(self, slot: _Slot) -> ChildProcess | None:
        async with slot.starting:
            if slot.child is not None:
                return slot.child  # Put there by a clean restart meanwhile.
            try:
                child = slot.child = await self._start_child(slot)
            except OSError as error:
                _log_error("process_not_started", slot, error)
                return None
        try:
            await child.until_ready()
        except (RelayError, ConfigError) as error:
            _log_error("process_failed", slot, error)
        else:
            log.info("process_started", process=slot.part.name, pid=child.pid)
        return child

    async def _watch(self, slot: _Slot, child: ChildProcess) -> None:
        """Return once it has ended or another has its slot; kill it when it hangs."""
        missed = 0
        replaced = asyncio.create_task(slot.replaced.wait())
        try:
            while slot.child is child and not child.ended.done():
                await asyncio.wait(
                    {child.ended, replaced},
                    timeout=PING_S,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if replaced.done() or child.ended.done() or not child.ready:
                    continue
                missed = 0 if await child.ask("ping") is not None else missed + 1
                if missed >= HUNG_AFTER:
                    log.error("process_hung", process=child.part.name, pid=child.pid)
                    child.kill()
        finally:
            replaced.cancel()

    async def _wait(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return

    # ------------------------------------------------------------ renew

    async def _renew(self) -> None:
        """Put new children, with the settings as they are now, in the old ones' place.

        The old ones drain only once the new ones serve; where those do not come up,
        the old ones stay.
        """
        async with self._renewing:
            if self._stop.is_set():
                return
            try:
                self._check(self._load())
            except ConfigError as error:
                log.warning("restart_refused", error=str(error))
                return
            log.info("restarting")
            for slot in self._slots:
                await self._renew_slot(slot)
            log.info("restarted")

    def _check(self, new: Settings) -> None:
        """Refuse settings that need a whole restart.

        Raises:
            ConfigError: The settings are wrong, or need a whole restart.
        """
        old = self._settings
        fixed = {
            "smtp.listen and smtp.listeners": (
                old.smtp.all_listeners() == new.smtp.all_listeners()
            ),
            "serve.processes": old.serve.processes == new.serve.processes,
            "web.listen": old.web.listen == new.web.listen,
            "telemetry.listen": old.telemetry.listen == new.telemetry.listen,
        }
        changed = [name for name, same in fixed.items() if not same]
        if changed:
            text = f"{', '.join(changed)} changed: stop the relay and start it again"
            raise ConfigError(text)
        self._settings = new

    async def _renew_slot(self, slot: _Slot) -> None:
        async with slot.starting:
            try:
                new = await self._start_child(slot)
            except OSError as error:
                _log_error("restart_failed", slot, error)
                return
            self._leaving.add(new)  # Until it has the slot; so that it is not lost.
            try:
                await self._until_ready(new)
            except (RelayError, ConfigError) as error:
                self._leaving.discard(new)
                _log_error("restart_failed", slot, error)
                return
            if self._stop.is_set():
                return
            old, slot.child = slot.child, new
            self._leaving.discard(new)
            replaced, slot.replaced = slot.replaced, asyncio.Event()
            replaced.set()
        log.info("process_started", process=slot.part.name, pid=new.pid)
        if old is not None:
            self._leaving.add(old)
            task = asyncio.create_task(self._let_go(old))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _let_go(self, child: ChildProcess) -> None:
        await self._end(child)
        self._leaving.discard(child)

    # ------------------------------------------------------------ stop

    async def _end(self, child: ChildProcess) -> None:
        """Drain a child; kill it where that takes too long."""
        child.stop()
        patience_s = 2 * self._settings.smtp.drain_s + CLOSING_S
        await asyncio.wait({child.ended}, timeout=patience_s)
        if not child.ended.done():
            log.warning("process_killed", process=child.part.name, pid=child.pid)
            child.kill()
            await asyncio.wait({child.ended})

    async def _drain(self) -> None:
        """Close the ports, drain all children, then the health listener."""
        self._stop.set()
        if self._overview is not None:
            self._overview.start_draining()
        for slot in self._slots:
            for found in slot.sockets.values():
                close(found)
        await asyncio.gather(*(self._end(child) for child in self._running()))
        keepers = [slot.keeper for slot in self._slots if slot.keeper is not None]
        await asyncio.gather(*keepers, *self._tasks, return_exceptions=True)
        # One that was just being started again when the signal came.
        await asyncio.gather(*(self._end(child) for child in self._running()))
        if self._overview is not None:
            await self._overview.stop()
        if self._shared is not None:
            self._shared.close()


def _log_error(event: str, slot: _Slot, error: Exception) -> None:
    log.error(event, process=slot.part.name, error=str(error))


def supervise(
    settings: Settings, roles: frozenset[str], load: Callable[[], Settings]
) -> None:
    """Run a relay until SIGTERM or SIGINT.

    Raises:
        ConfigError, StoreUnavailable: As `Supervisor.run`.
    """

    async def run() -> None:
        await Supervisor(settings, roles, load).run()

    asyncio.run(run())
