"""The SMTP server: listeners, and a stop that loses nothing.

Runs in the caller's event loop. `start` opens every listener or none; `drain` closes
them, tells idle sessions to come again, and lets those that are in the middle of a mail
finish, for a while. Each connection gets a `Wire`, and on it an `SMTPSession`.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from typing import TYPE_CHECKING, Any, Final

from relay.config import HostPort, UnixPath
from relay.core.errors import ConfigError
from relay.smtp.auth import Logins
from relay.smtp.connections import Connections
from relay.smtp.limits import Rates, allow_files
from relay.smtp.listener import BACKLOG, Bound, key_of, listeners
from relay.smtp.session import Services, SMTPSession
from relay.smtp.tls import LOOK_S
from relay.smtp.wire import Wire
from relay.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.config import SMTPSettings
    from relay.core.clock import Clock
    from relay.core.directory import Directory
    from relay.intake import Intake
    from relay.smtp.listener import Listener
    from relay.store import Store

log = get_logger(__name__)

# The next process to start replaces the file of a Unix socket; another may share it.
_KEEP_FILE: Final[dict[str, Any]] = (
    {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
)


class SMTPServer:
    """The SMTP side of the relay.

    Attributes:
        connections: The sessions that are open, and their limits.
        intake: Accepts the mails.
        listeners: What is listened on, each with its certificate.
        logins: Checks passwords.
        settings: Listeners, domains, limits.
    """

    def __init__(
        self,
        settings: SMTPSettings,
        intake: Intake,
        store: Store,
        clock: Clock,
        *,
        directory: Callable[[], Directory],
        bound: Bound | None = None,
    ) -> None:
        """Take the parts; nothing is opened yet.

        Args:
            settings: Listeners, domains, limits.
            intake: Accepts the mails.
            store: Takes note of logins.
            clock: For ids and times.
            directory: Gives the newest snapshot; called for each RCPT and each mail.
            bound: Sockets that a supervisor has bound; None: bind our own.

        Raises:
            ConfigError: The certificate does not load.
        """
        self.intake = intake
        self.connections = Connections(settings)
        self.listeners = listeners(settings)
        self.logins = Logins(store)
        self.settings = settings
        self._bound = bound or Bound()
        self._services = Services(
            settings=settings,
            intake=intake,
            rates=Rates(settings),
            connections=self.connections,
            logins=self.logins,
            directory=directory,
            clock=clock,
        )
        self._servers: list[asyncio.Server] = []
        self._unix_sockets: list[UnixPath] = []
        self._certificates: asyncio.Task[None] | None = None

    @property
    def listening(self) -> list[tuple[str, int]]:
        """The ports that are open, with those that were chosen for 0."""
        return [
            listener.getsockname()[:2]
            for server in self._servers
            for listener in server.sockets
            if listener.family != socket.AF_UNIX
        ]

    @property
    def places(self) -> list[str]:
        """Everything that is listened on, as `host:port` or `unix:/path`."""
        ports = [str(HostPort(host, port)) for host, port in self.listening]
        return ports + [str(place) for place in self._unix_sockets]

    async def start(self) -> None:
        """Open the listeners, all or none.

        Raises:
            ConfigError: An address cannot be listened on.
        """
        # aiosmtpd logs commands, with addresses, in a form of its own.
        logging.getLogger("mail.log").setLevel(logging.ERROR)
        allow_files(self.settings.max_connections)
        try:
            for listener in self.listeners:
                await self._open(listener)
        except ConfigError:
            self._close_listeners()
            raise
        tls = any(listener.tls for listener in self.listeners)
        if tls:
            follow = self._follow_certificates()
            self._certificates = asyncio.get_running_loop().create_task(follow)
        log.info("smtp_listening", listen=self.places, tls=tls)

    def connection(self, listener: Listener) -> Wire:
        """Return the protocol of a new connection of a listener."""
        services = self._services

        async def run(wire: Wire) -> None:
            await SMTPSession(services, listener, wire).run()

        return Wire(
            asyncio.get_running_loop(),
            run,
            hostname=self.settings.hostname,
            tls_context=listener.tls.context if listener.tls else None,
            timeout_s=self.settings.timeout_s,
        )

    async def _open(self, listener: Listener) -> None:
        loop = asyncio.get_running_loop()
        address, mode = listener.settings.address, listener.settings.socket_mode
        key = key_of(self.settings, address)

        def connection() -> Wire:
            return self.connection(listener)

        for sock in self._bound.take(address, key=key, mode=mode):
            if isinstance(address, UnixPath):
                server = await loop.create_unix_server(
                    connection, sock=sock, backlog=BACKLOG, **_KEEP_FILE
                )
                self._unix_sockets.append(address)
            else:
                server = await loop.create_server(
                    connection, sock=sock, backlog=BACKLOG
                )
            self._servers.append(server)

    def _close_listeners(self) -> None:
        for server in self._servers:
            server.close()
        self._servers.clear()
        self._unix_sockets.clear()

    async def _follow_certificates(self) -> None:
        """Take up certificates that were renewed, for the sessions to come."""
        while True:
            await asyncio.sleep(LOOK_S)
            for tls in {listener.tls for listener in self.listeners if listener.tls}:
                try:
                    await asyncio.to_thread(tls.look)
                except Exception:
                    log.exception("smtp_certificate_not_looked_at")

    async def drain(self, timeout_s: float | None = None) -> None:
        """Stop: close the listeners, and let mails that are coming in finish.

        Idle sessions get 421 at once, others when their mail is answered. Sessions that
        have not ended after `timeout_s` (default: `smtp.drain_s`) are cut. The intake
        stays open. Safe to call twice.
        """
        if timeout_s is None:
            timeout_s = self.settings.drain_s
        self._close_listeners()
        if self._certificates is not None:
            self._certificates.cancel()
        await self.connections.drain(timeout_s)
        self.logins.close()
