"""One connection: bytes in, replies out, a timer, TLS; on aiosmtpd's protocol class.

aiosmtpd gives the life of a connection and its change to TLS. What it does with bytes
is replaced here, because as it stands it loses mail (each point has a test by name):

- Its constructor looks through all attributes of itself and of its handler for each
  connection; ours sets what the class needs and nothing else.
- An end of input, even of one direction, cancels the handler in the middle of a commit.
  Here nothing is cancelled: the reader learns of the end when it next waits for bytes,
  and what was asked before is still done and answered.
- Its timer runs from command to command, so that a long DATA is cut. Ours runs whenever
  the peer is waited for; the session sets how long.
- An exception becomes `500` with its text, which bounces mail. Ours becomes `451`, with
  an id that the log has too (see `session`).

What has arrived waits in the `Inbox`, in a bounded window. Replies are gathered while
whole commands are waiting, and leave in one write (RFC 2920 section 3.2).
"""

from __future__ import annotations

import asyncio
import contextlib
from asyncio import sslproto
from typing import TYPE_CHECKING, Any, Final

from aiosmtpd.smtp import SMTP, TLSSetupException

from relay.smtp import replies
from relay.smtp.listener import peer_address
from relay.smtp.tls import give_handshake

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable

    from relay.smtp.replies import Reply

_WINDOW_BYTES: Final = 64 * 1024
"""Bytes that may wait unread; one read of the event loop may pass it once."""
_LAST_WORDS_S: Final = 30.0
"""Time for a peer to read what was said before the close, at most `timeout_s`."""
_LAST_WORDS_IN_DRAIN_S: Final = 2.0
MOST_REPLIES: Final = 100
"""Replies gathered at most before they are written."""


class TooSlow(Exception):  # noqa: N818 - what happened
    """The peer did not send in time."""


class Draining(Exception):  # noqa: N818 - what happened
    """The relay stops, and this session is idle."""


class Inbox:
    """What has arrived and was not read yet: fed by the event loop, read by one task.

    Commands take lines from it, DATA takes whatever is there. Reading from the socket
    is paused beyond the window, so that a peer that sends faster than it is served
    waits in its own kernel, not in our memory.
    """

    __slots__ = (
        "_at",
        "_buffer",
        "_ended",
        "_overlong",
        "_pause",
        "_paused",
        "_resume",
        "_waiter",
    )

    def __init__(self, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        """Take what stops and restarts reading from the socket."""
        self._pause = pause
        self._resume = resume
        self._buffer: bytes | bytearray = b""
        self._at = 0
        self._paused = False
        self._ended = False
        self._overlong = False
        self._waiter: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        """Return the number of unread bytes."""
        return len(self._buffer) - self._at

    @property
    def waiting(self) -> bool:
        """Say whether the reader waits for bytes."""
        return self._waiter is not None

    def feed(self, data: bytes) -> None:
        """Take bytes from the socket."""
        if not self:
            self._buffer, self._at = data, 0
        else:
            if isinstance(self._buffer, bytes):
                # Appending to a bytearray is linear in the end; to bytes it is not,
                # and a peer can send a byte at a time.
                self._buffer = bytearray(self._buffer[self._at :])
                self._at = 0
            self._buffer += data
        if len(self) > _WINDOW_BYTES and not self._paused:
            self._paused = True
            self._pause()
        self._wake(None)

    def end(self) -> None:
        """Learn that nothing more will come; what is there can still be read."""
        self._ended = True
        self._wake(None)

    def interrupt(self, reason: Exception) -> None:
        """Make the waiting reader raise `reason`; without one, do nothing."""
        self._wake(reason)

    async def wait(self) -> None:
        """Wait for more bytes.

        Raises:
            EOFError: None will come.
            Exception: What `interrupt` was given.
        """
        if self._ended:
            raise EOFError
        self._unpause()
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def line(self, limit: int) -> bytes | None:
        """Return the next line with its LF, or None if none is complete.

        Raises:
            ValueError: A line longer than `limit` bytes has come to its end; it is
                forgotten, its first part as soon as it passed the limit.
        """
        end = self._buffer.find(b"\n", self._at)
        if end < 0:
            if len(self) > limit:
                self._overlong = True
                self.take()
            return None
        start, self._at = self._at, end + 1
        if self._overlong or self._at - start > limit:
            self._overlong = False
            raise ValueError
        return bytes(self._buffer[start : self._at])

    def take(self) -> bytes:
        """Return everything that is there."""
        rest = bytes(self._buffer[self._at :] if self._at else self._buffer)
        self._buffer, self._at = b"", 0
        return rest

    def unread(self, rest: bytes) -> None:
        """Put bytes back in front."""
        if rest:
            self._buffer, self._at = rest + self.take(), 0

    def clear(self) -> int:
        """Forget everything unread, and read on; return how much it was."""
        forgotten = len(self.take())
        self._overlong = False
        self._unpause()
        return forgotten

    def _unpause(self) -> None:
        if self._paused:
            self._paused = False
            self._resume()

    def _wake(self, reason: Exception | None) -> None:
        if self._waiter is None or self._waiter.done():
            return
        if reason is None:
            self._waiter.set_result(None)
        else:
            self._waiter.set_exception(reason)


class Wire(SMTP):
    """A connection, and the coroutine that serves it.

    Attributes:
        inbox: What has arrived and was not read yet.
        out: Replies that the next `flush` writes.
        peer: The address that the socket names.
        under_tls: TLS stands.
        busy: A mail is coming in: a drain waits for it.
        gone: Called once, when the connection is closed and its last reply has left.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        run: Callable[[Wire], Awaitable[None]],
        *,
        hostname: str,
        tls_context: ssl.SSLContext | None,
        timeout_s: float,
    ) -> None:
        """Prepare for one connection.

        Args:
            loop: Where it lives.
            run: Serves it, from greeting to close; the connection is closed behind it.
            hostname: For aiosmtpd.
            tls_context: None: no TLS.
            timeout_s: How long a peer may take to send or to read.
        """
        # SMTP.__init__ is passed over on purpose (see above). The protocol class of
        # asyncio below it must be set up, and these are all the attributes that the
        # methods of SMTP still in use read; a test compares them with the original.
        asyncio.StreamReaderProtocol.__init__(
            self,
            asyncio.StreamReader(loop=loop),
            client_connected_cb=self._cb_client_connected,
            loop=loop,
        )
        self.loop = loop
        self.event_handler = None
        self.hostname = hostname
        self.enable_SMTPUTF8 = True
        self.tls_context = tls_context
        self.session = None
        self.envelope = None
        self.transport = None
        self._handle_hooks = {}
        self._tls_handshake_okay = True
        self._tls_protocol = None
        self._original_transport = None
        self._handler_coroutine = None
        self._timeout_handle = None
        self._timeout_duration = timeout_s

        self._run = run
        self.timeout_s = timeout_s
        self.inbox = Inbox(self._pause, self._go_on)
        self.out: list[bytes] = []
        self.peer = ""
        self.under_tls = False
        self.busy = False
        self.gone: Callable[[], None] | None = None
        self._deadline = 0.0
        self._alarm_at = 0.0
        self._writing = False
        self._closing = False
        self._draining = False

    # ------------------------------------------------------------------ life

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin a session; called again when TLS stands."""
        super().connection_made(transport)
        if self._original_transport is None:
            self.peer = peer_address(transport.get_extra_info("peername"))
            return
        self.under_tls = True
        # Nothing said in the clear may count once TLS stands (RFC 3207 section 4.2).
        self.inbox.clear()

    def connection_lost(self, error: Exception | None) -> None:
        """Let the session see the end of input; a commit that runs is not disturbed."""
        self.inbox.end()
        if self._original_transport is not None:
            self._original_transport.close()
        asyncio.StreamReaderProtocol.connection_lost(self, error)
        self.transport = None
        if self._closing:
            self._leave()

    def eof_received(self) -> bool:
        """Take note of the end of input; the other direction stays open if it can."""
        self.inbox.end()
        return self._tls_protocol is None

    def data_received(self, data: bytes) -> None:
        """Take bytes from the socket."""
        self.inbox.feed(data)

    def _pause(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()  # type: ignore[attr-defined]  # any that reads

    def _go_on(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()  # type: ignore[attr-defined]  # the same

    def drain(self) -> None:
        """End the session when it is next idle, which may be now."""
        self._draining = True
        if self._closing:
            self.set_deadline(_LAST_WORDS_IN_DRAIN_S)
        elif not self.busy:
            self.inbox.interrupt(Draining())

    def abort(self) -> None:
        """Cut the connection below TLS; a commit that runs still ends, unanswered."""
        transport = self._original_transport or self.transport
        if transport is not None:
            transport.abort()  # type: ignore[attr-defined]  # every socket's can

    async def _handle_client(self) -> None:
        """Serve the connection; aiosmtpd runs this in a task of its own."""
        try:
            await self._run(self)
        finally:
            self._close()

    def _close(self) -> None:
        """Close; until the last reply has left, the session counts and has a timer."""
        self._closing = True
        self._writer.close()
        in_handshake = self._tls_protocol is not None and not self.under_tls
        if self.transport is None or in_handshake:
            # The peer is gone already; asyncio does not report the end of a handshake.
            self.abort()
            self._leave()
            return
        wait_s = _LAST_WORDS_IN_DRAIN_S if self._draining else _LAST_WORDS_S
        self.set_deadline(min(wait_s, self.timeout_s))

    def _leave(self) -> None:
        """Say that the connection is gone, once."""
        if self._timeout_handle is not None:
            self._timeout_handle.cancel()
        gone, self.gone = self.gone, None
        if gone is not None:
            gone()

    # ------------------------------------------------------------------ TLS

    async def start_tls(self) -> None:
        """Say that TLS may begin, and begin it (RFC 3207).

        Raises:
            TLSSetupException: The handshake failed.
            EOFError: The connection was cut in its middle.
        """
        await super().smtp_STARTTLS("")
        if not self.under_tls:
            raise EOFError

    async def begin_with_tls(self) -> None:
        """Speak TLS from here on, as the peer does since its first byte.

        Raises:
            TLSSetupException: The handshake failed.
            EOFError: The connection was cut in its middle.
        """
        if self.tls_context is None or self.transport is None:
            raise EOFError
        # What aiosmtpd does for STARTTLS, but nothing is thrown away: the first bytes
        # of the handshake may be here already.
        plain = self.transport
        arrived = self.inbox.take()
        self.inbox.clear()
        waiter = self.loop.create_future()
        protocol = sslproto.SSLProtocol(
            self.loop, self, self.tls_context, waiter, server_side=True
        )
        self._tls_protocol = protocol
        self._original_transport = plain
        plain.set_protocol(protocol)
        self.transport = protocol._app_transport  # noqa: SLF001 - as aiosmtpd does
        protocol.connection_made(plain)
        give_handshake(protocol, arrived)
        try:
            await waiter
        except Exception as error:
            raise TLSSetupException from error
        if not self.under_tls:
            raise EOFError

    def facts(self, name: str) -> Any:
        """Return what asyncio knows of the transport, such as `sockname`, or None."""
        return None if self.transport is None else self.transport.get_extra_info(name)

    # ------------------------------------------------------------------ read

    async def listen(self, seconds: float) -> None:
        """Wait until bytes come, the time is over or the relay drains."""
        with contextlib.suppress(TimeoutError, Draining):
            async with asyncio.timeout(seconds):
                await self.inbox.wait()

    async def wait(self, seconds: float) -> None:
        """Wait for bytes, at most so long and at most `timeout_s`.

        Raises:
            TooSlow: None came in time.
            EOFError: None will come.
            Draining: The relay stops, and no mail is coming in here.
        """
        self.set_deadline(min(seconds, self.timeout_s))
        await self.inbox.wait()

    def set_deadline(self, seconds: float) -> None:
        """Give the peer that long for what is waited for next."""
        self._deadline = self.loop.time() + seconds
        if self._timeout_handle is None or self._deadline < self._alarm_at:
            self._set_alarm(seconds)

    def _set_alarm(self, seconds: float) -> None:
        if self._timeout_handle is not None:
            self._timeout_handle.cancel()
        self._alarm_at = self.loop.time() + seconds
        self._timeout_handle = self.loop.call_later(seconds, self._alarm)

    def _alarm(self) -> None:
        """End the wait for the peer if its time is up.

        The timer is not moved with each command, only looked at when it goes off: a
        timer for each of thousands of commands a second would cost more than they do.
        """
        self._timeout_handle = None  # gone off: the next wait arms one
        if (left := self._deadline - self.loop.time()) > 0:
            self._set_alarm(left)
            return
        if self._writing or self._closing:
            self.abort()
        else:
            self.inbox.interrupt(TooSlow())
        if not self._closing:
            self._set_alarm(self.timeout_s)

    def _reset_timeout(self, duration: float | None = None) -> None:
        """Stand in for aiosmtpd's timer when a connection is made."""
        self.set_deadline(duration or self.timeout_s)

    # ------------------------------------------------------------------ write

    def say(self, reply: Reply, **values: object) -> None:
        """Put a reply into the next write."""
        if values:
            self.say_line(reply.line(**values))  # type: ignore[arg-type]  # ref is text
        else:
            self.out.append(replies.encoded(reply))

    def say_line(self, line: str) -> None:
        """Put a reply line, without its CRLF, into the next write."""
        self.out.append(line.encode("ascii") + b"\r\n")

    async def flush(self) -> None:
        """Write the replies, and wait until the peer has read most of them."""
        if not self.out:
            return
        data = b"".join(self.out)
        self.out.clear()
        self._writer.write(data)
        self.set_deadline(self.timeout_s)
        self._writing = True
        try:
            await self._writer.drain()
        finally:
            self._writing = False

    async def push(self, status: str | bytes) -> None:  # noqa: ARG002 - aiosmtpd's
        """Say what aiosmtpd would say itself, which is the 220 of STARTTLS alone."""
        self.say(replies.START_TLS)
        await self.flush()
