"""The intake: listeners, who may connect, and a stop that loses nothing.

Runs in the caller's event loop. `start` opens every listener or none; `drain` closes
them, tells idle sessions to come again, and lets those that are in the middle of a mail
finish, for a while.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from relay.config import HostPort, UnixPath
from relay.core.errors import ConfigError
from relay.core.peers import peer_network
from relay.intake.disk_space import DiskSpace
from relay.intake.refusals import RefusalRecorder, Rejection
from relay.intake.rules import Policy
from relay.smtp import replies
from relay.smtp.auth import Logins
from relay.smtp.connection_limits import ConnectionLimits
from relay.smtp.limits import Limits, allow_files
from relay.smtp.listener import listeners, peer_address
from relay.smtp.lmtp import LMTPSession
from relay.smtp.session import SMTPSession
from relay.smtp.sockets import BACKLOG, Bound, key_of
from relay.smtp.submission import SubmissionSession
from relay.smtp.tls import LOOK_S
from relay.telemetry import get_logger
from relay.telemetry.metrics import SMTP_CONNECTIONS, SMTP_CONNECTIONS_TOTAL

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.config import SMTPSettings
    from relay.core.clock import Clock
    from relay.core.directory import Directory
    from relay.intake.ports import MailStore
    from relay.smtp.listener import Listener
    from relay.smtp.wire import Wire

log = get_logger(__name__)

_SESSIONS: Final[dict[str, type[SMTPSession]]] = {
    "smtp": SMTPSession,
    "lmtp": LMTPSession,
    "submission": SubmissionSession,
}
# Whoever starts next replaces the file of a Unix socket; another process may share it.
_KEEP_FILE: Final[dict[str, Any]] = (
    {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
)
_LAST_WAIT_S: Final = 5.0
"""After the connections of late sessions were cut: for their commits to end."""


class SMTPServer:
    """The SMTP side of the relay.

    Attributes:
        draining: No new mail is begun; set by `drain`.
        listeners: The ways in, each with its certificate.
        logins: Checks who logs in.
    """

    def __init__(
        self,
        settings: SMTPSettings,
        sink: MailStore,
        clock: Clock,
        *,
        directory: Callable[[], Directory],
        inline_bytes: int,
        min_free_bytes: int,
        bound: Bound | None = None,
    ) -> None:
        """Take the parts; nothing is opened yet.

        Args:
            settings: Listeners, domains, limits.
            sink: The store.
            clock: For ids, times and the trace.
            directory: Gives the newest snapshot; called for each RCPT and each mail.
            inline_bytes: Above this a mail goes to a temporary file of the store.
            min_free_bytes: Free space into which no mail may go.
            bound: Sockets that a supervisor has bound; None: bind our own.

        Raises:
            ConfigError: The certificate does not load.
        """
        self.settings = settings
        self.sink = sink
        self.clock = clock
        self.directory = directory
        self.inline_bytes = inline_bytes
        self.disk_space = DiskSpace(sink, min_free_bytes)
        self._bound = bound or Bound()
        self.policy = Policy(settings)
        self.limits = Limits(settings)
        self.connection_limits = ConnectionLimits(settings)
        self.recorder = RefusalRecorder(sink, clock, replies.reply_line)
        self.listeners = listeners(settings)
        self.logins = Logins(sink)
        self.executor = ThreadPoolExecutor(4, thread_name_prefix="smtp-spool")
        self.draining = False
        self._servers: list[asyncio.Server] = []
        self._unix_sockets: list[UnixPath] = []
        self._certificates: asyncio.Task[None] | None = None
        self._sessions: set[Wire] = set()
        self._idle = asyncio.Event()
        self._idle.set()

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
        loop = asyncio.get_running_loop()
        try:
            for listener in self.listeners:
                await self._open(listener, loop)
        except ConfigError:
            self._close_listeners()
            raise
        if any(listener.tls for listener in self.listeners):
            self._certificates = loop.create_task(self._follow_certificates())
        log.info(
            "smtp_listening",
            listen=self.places,
            tls=any(listener.tls for listener in self.listeners),
        )

    async def _open(self, listener: Listener, loop: asyncio.AbstractEventLoop) -> None:
        address, mode = listener.settings.address, listener.settings.socket_mode
        key = key_of(self.settings, address)
        kind = _SESSIONS[listener.settings.protocol]

        def session() -> SMTPSession:
            return kind(self, loop, listener)

        for sock in self._bound.take(address, key=key, mode=mode):
            if isinstance(address, UnixPath):
                server = await loop.create_unix_server(
                    session, sock=sock, backlog=BACKLOG, **_KEEP_FILE
                )
                self._unix_sockets.append(address)
            else:
                server = await loop.create_server(session, sock=sock, backlog=BACKLOG)
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

    def admit(self, session: Wire) -> bool:
        """Say whether a session may begin; if so, it must be released at its end."""
        SMTP_CONNECTIONS_TOTAL.inc()
        session.peer_group = peer_network(session.peer)
        transport = session.transport
        own = peer_address(transport.get_extra_info("sockname") if transport else None)
        session.trusted = self.connection_limits.trusts(
            session.peer, via=session.via, own=own
        )
        reason = self.connection_limits.enter(session.peer, trusted=session.trusted)
        if reason:
            rejection = Rejection(reason)
            self.recorder.count(session.peer, rejection)
            return False
        self._sessions.add(session)
        self._idle.clear()
        SMTP_CONNECTIONS.inc()
        return True

    def trust(self, session: Wire) -> None:
        """Hold a session that was admitted to no limit of strangers any more."""
        if not session.trusted:
            session.trusted = True
            self.connection_limits.trust(session.peer)

    def release(self, session: Wire) -> None:
        """Forget a session that has ended."""
        self._sessions.discard(session)
        SMTP_CONNECTIONS.dec()
        self.connection_limits.leave(session.peer, trusted=session.trusted)
        if not self._sessions:
            self._idle.set()

    async def drain(self, timeout_s: float | None = None) -> None:
        """Stop: close the listeners, and let mails in hand finish.

        Idle sessions get 421 at once, others when their mail is answered. What is not
        done after `timeout_s` (default: `smtp.drain_s`) is cut; a commit that has begun
        is still waited for a little, so that its mail is stored once and known.
        Safe to call twice.
        """
        if timeout_s is None:
            timeout_s = self.settings.drain_s
        self.draining = True
        self._close_listeners()
        if self._certificates is not None:
            self._certificates.cancel()
        for session in tuple(self._sessions):
            session.drain()
        if not await self._wait_idle(timeout_s):
            log.warning("smtp_drain_cut", sessions=len(self._sessions))
            for session in tuple(self._sessions):
                session.abort()
            await self._wait_idle(_LAST_WAIT_S)
        await self.recorder.close()
        self.executor.shutdown(wait=False)
        self.logins.close()

    async def _wait_idle(self, timeout_s: float) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True
