"""One connection: aiosmtpd's protocol class with our own reading, writing and ending.

aiosmtpd gives the life of a connection and its change to TLS. What it does with bytes
is replaced here, because as it stands it loses mail (each point has a test by name):

- Its constructor looks through all attributes of itself and of its handler for each
  connection; ours sets what the class needs and nothing else.
- An end of input, even of one direction, cancels the handler in the middle of a commit.
  Here nothing is cancelled: the reader learns of the end when it next waits for bytes,
  and what was asked before is still done and answered.
- Its timer runs from command to command, so that a long DATA is cut. Ours runs whenever
  the peer is waited for, and a mail has a deadline of its own.
- An exception becomes `500` with its text, which bounces mail. Ours becomes `451`, with
  an id that the log has too.

Replies are gathered while whole commands are waiting, and leave in one write
(RFC 2920 section 3.2), behind the refusals that they tell of.
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from asyncio import sslproto
from typing import TYPE_CHECKING, Final

from aiosmtpd.smtp import SMTP, TLSSetupException

from relay.core.ids import new_message_id
from relay.intake.refusals import Rejection
from relay.smtp import proxy, replies
from relay.smtp.inbox import Inbox
from relay.smtp.listener import peer_address, plain_address
from relay.smtp.tls import hand_over
from relay.telemetry import get_logger

if TYPE_CHECKING:
    from relay.core.model import Refusal
    from relay.smtp.listener import Listener
    from relay.smtp.replies import Reply
    from relay.smtp.server import SMTPServer

log = get_logger(__name__)

MAX_COMMAND_LINE: Final = 2048
"""Octets of a command line taken: 512 of RFC 5321, and room for all parameters."""
_PROXY_HEADER_S: Final = 10.0
"""Time for a load balancer's PROXY header, which comes with the connection."""
_LAST_WORDS_S: Final = 30.0
"""Time for a peer to read what was said before the close, at most `timeout_s`."""
_LAST_WORDS_IN_DRAIN_S: Final = 2.0
_MOST_REPLIES: Final = 100
"""Replies gathered at most before they are written."""


class TooSlow(Exception):  # noqa: N818 - what happened
    """The peer did not send in time."""


class Draining(Exception):  # noqa: N818 - what happened
    """The relay stops, and this session is idle."""


class Wire(SMTP, ABC):
    """A connection and its loop over command lines; verbs are in the subclass."""

    def __init__(
        self, intake: SMTPServer, loop: asyncio.AbstractEventLoop, listener: Listener
    ) -> None:
        """Prepare for one connection of a listener of the intake."""
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
        self.hostname = intake.settings.hostname
        self.enable_SMTPUTF8 = True
        self.tls_context = listener.tls.context if listener.tls else None
        self.session = None
        self.envelope = None
        self.transport = None
        self._handle_hooks = {}
        self._tls_handshake_okay = True
        self._tls_protocol = None
        self._original_transport = None
        self._handler_coroutine = None
        self._timeout_handle = None
        self._timeout_duration = intake.settings.timeout_s

        self._intake = intake
        self._listener = listener
        self._inbox = Inbox(self._pause, self._go_on)
        self._out: list[bytes] = []
        self._refusals: list[Refusal] = []
        self._deadline = 0.0
        self._alarm_at = 0.0
        self._writing = False
        self._in_data = False
        self._mails = 0
        self._errors = 0
        self._commands = 0
        self._progress_at = 0.0
        self._over = False
        self._under_tls = False
        self._admitted = False
        self._closing = False
        self.peer = ""
        self.peer_group = ""
        self.trusted = False  # see crowd
        self.via = ""  # the load balancer whose PROXY header named the peer

    # ------------------------------------------------------------------ life

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin a session; called again when TLS stands, which begins it anew."""
        super().connection_made(transport)
        if self._original_transport is None:
            self.peer = peer_address(transport.get_extra_info("peername"))
            return
        self._under_tls = True
        # Nothing said in the clear may count once TLS stands (RFC 3207 section 4.2).
        self._inbox.clear()
        self._forget_hello()

    def connection_lost(self, error: Exception | None) -> None:
        """Let the task see the end of input; a commit in hand is not disturbed."""
        self._inbox.end()
        if self._original_transport is not None:
            self._original_transport.close()
        asyncio.StreamReaderProtocol.connection_lost(self, error)
        self.transport = None
        if self._closing:
            self._leave()

    def eof_received(self) -> bool:
        """Note the end of input; the other direction stays open where it can."""
        self._inbox.end()
        return self._tls_protocol is None

    def data_received(self, data: bytes) -> None:
        """Take bytes from the socket."""
        self._inbox.feed(data)

    def _pause(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()  # type: ignore[attr-defined]

    def _go_on(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()  # type: ignore[attr-defined]

    def drain(self) -> None:
        """End the session when it is next idle, which may be now."""
        if self._closing:
            self.set_deadline(_LAST_WORDS_IN_DRAIN_S)
        elif not self._in_data:
            self._inbox.interrupt(Draining())

    def abort(self) -> None:
        """Cut the connection below TLS; a commit in hand still ends, unanswered."""
        transport = self._original_transport or self.transport
        if transport is not None:
            transport.abort()  # type: ignore[attr-defined]

    async def _handle_client(self) -> None:
        """Serve the connection from greeting to close."""
        try:
            if not await self._read_proxy_header():
                return
            self._admitted = self._intake.admit(self)
            if not self._admitted:
                # Who expects TLS would not understand us.
                if not self._listener.implicit:
                    self.say(replies.TOO_MANY_CONNECTIONS)
                    await self.flush()
                return
            if self._listener.implicit:
                await self._begin_tls()
            if await self._greet():
                await self._serve()
        except TLSSetupException as error:
            log.info("smtp_tls_failed", peer=self.peer, error=str(error.__cause__))
        except (EOFError, OSError):
            log.debug("smtp_connection_lost", peer=self.peer)
        except Exception:
            log.exception("smtp_session_broken", peer=self.peer)
        finally:
            self._over = True
            await self._drop_mail()
            self._close()

    def _close(self) -> None:
        """Close; until the last reply has left, the session counts and has a timer."""
        self._closing = True
        self._writer.close()
        in_handshake = self._tls_protocol is not None and not self._under_tls
        if self.transport is None or in_handshake:
            # It is gone already; asyncio tells nobody of the end of a handshake.
            self.abort()
            self._leave()
            return
        wait_s = _LAST_WORDS_IN_DRAIN_S if self._intake.draining else _LAST_WORDS_S
        self.set_deadline(min(wait_s, self._intake.settings.timeout_s))

    def _leave(self) -> None:
        """Be forgotten by the intake, once."""
        if self._timeout_handle is not None:
            self._timeout_handle.cancel()
        if self._admitted:
            self._admitted = False
            self._intake.release(self)

    async def _read_proxy_header(self) -> bool:
        """Learn from a load balancer whose connection it is; False: close it."""
        if not self._listener.expects_header(self.peer):
            return True
        data = b""
        self.set_deadline(_PROXY_HEADER_S)
        try:
            while (header := proxy.read(data)) is None:
                # It may have come together with the connection.
                if not self._inbox:
                    await self._inbox.wait()
                data += self._inbox.take()
        except (proxy.BadHeader, TooSlow) as error:
            detail = str(error) or "none came"
            rejection = Rejection("no_proxy_header", detail)
            self._intake.recorder.count(self.peer, rejection)
            return False
        self._inbox.unread(data[header.length :])
        if header.client:
            self.via, self.peer = self.peer, plain_address(header.client)
        # A connection that the drain did not know of yet is not begun any more.
        return not self._intake.draining

    async def _begin_tls(self) -> None:
        """Speak TLS from here on, as the peer does since its first byte.

        Raises:
            TLSSetupException: The handshake failed.
        """
        if self.tls_context is None or self.transport is None:
            raise EOFError
        # What aiosmtpd does for STARTTLS, but nothing is thrown away: the first bytes
        # of the handshake may be here already.
        plain = self.transport
        arrived = self._inbox.take()
        self._inbox.clear()
        waiter = self.loop.create_future()
        protocol = sslproto.SSLProtocol(
            self.loop, self, self.tls_context, waiter, server_side=True
        )
        self._tls_protocol = protocol
        self._original_transport = plain
        plain.set_protocol(protocol)
        self.transport = protocol._app_transport  # noqa: SLF001 - as aiosmtpd does
        protocol.connection_made(plain)
        hand_over(protocol, arrived)
        try:
            await waiter
        except Exception as error:
            raise TLSSetupException from error
        if not self._under_tls:
            raise EOFError  # cut in the middle of the handshake

    async def _greet(self) -> bool:
        """Greet, unless the peer talks first: who does reads no replies."""
        self._progress_at = self.loop.time()
        wait_s = self._intake.settings.greeting_wait_s
        if wait_s and not self._intake.draining:
            # A drain is told of in the loop over commands, behind the greeting.
            with contextlib.suppress(TimeoutError, Draining):
                async with asyncio.timeout(wait_s):
                    await self._inbox.wait()
            if self._inbox:
                self.end(replies.EARLY_TALKER, "early_talker")
                await self.flush()
                return False
        self._out.append(self._listener.greeting)
        return True

    async def _serve(self) -> None:
        while not self._over:
            try:
                line = await self._next_line()
            except TooSlow:
                if self._mails and not self._commands:
                    self.say(replies.TIMED_OUT)  # it kept its connection: no offence
                else:
                    self.end(replies.TIMED_OUT, "timeout")
                break
            except Draining:
                self.say(replies.SHUTTING_DOWN)
                break
            except ValueError:
                self.fail(replies.LINE_TOO_LONG)
                continue
            self._commands += 1
            if self._commands > self._intake.settings.max_commands:
                self.end(replies.TOO_MANY_COMMANDS, "too_many_commands")
                break
            try:
                await self.obey(line)
            except (EOFError, OSError, TLSSetupException):
                raise
            except TooSlow:
                self.end(replies.TIMED_OUT, "timeout")
            except Draining:
                self.say(replies.SHUTTING_DOWN)
                break
            except Exception:
                ident = new_message_id(self._intake.clock)
                log.exception("smtp_internal_error", error_id=ident, peer=self.peer)
                self.fail(replies.INTERNAL_ERROR, ref=ident)
        await self.flush()

    @abstractmethod
    async def obey(self, line: bytes) -> None:
        """Do what one command line asks."""

    @abstractmethod
    def _forget_hello(self) -> None:
        """Forget what the peer said since the greeting."""

    @abstractmethod
    async def _drop_mail(self) -> None:
        """Forget a mail that has come in part."""

    # ------------------------------------------------------------------ read

    async def _next_line(self, limit: int = MAX_COMMAND_LINE) -> bytes:
        while True:
            if self._intake.draining and not self._in_data:
                raise Draining
            line = self._inbox.line(limit)
            if line is not None:
                if len(self._out) >= _MOST_REPLIES:
                    await self.flush()
                return line
            await self.flush()
            left = self._time_left()
            if left <= 0:
                raise TooSlow
            self.set_deadline(min(left, self._intake.settings.timeout_s))
            await self._inbox.wait()

    def note_progress(self) -> None:
        """Note that a mail was taken: commands and time are counted anew from here."""
        self._mails += 1
        self._errors = 0
        self._commands = 0
        self._progress_at = self.loop.time()

    def _time_left(self) -> float:
        """Return the seconds left until the next mail must be here."""
        limit_s = self._intake.settings.transaction_timeout_s
        return self._progress_at + limit_s - self.loop.time()

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
            self._inbox.interrupt(TooSlow())
        if not self._over:
            self._set_alarm(self._intake.settings.timeout_s)

    def _reset_timeout(self, duration: float | None = None) -> None:
        """Stand in for aiosmtpd's timer when a connection is made."""
        self.set_deadline(duration or self._intake.settings.timeout_s)

    # ------------------------------------------------------------------ write

    def say(self, reply: Reply, **values: object) -> None:
        """Put a reply into the next write."""
        if values:
            self.say_line(reply.line(**values))  # type: ignore[arg-type]  # ref is text
        else:
            self._out.append(replies.encoded(reply))

    def say_line(self, line: str) -> None:
        """Put a reply line, without its CRLF, into the next write."""
        self._out.append(line.encode("ascii") + b"\r\n")

    def fail(self, reply: Reply, **values: object) -> None:
        """Say a reply that counts as an error; too many end the session."""
        self.say(reply, **values)
        self.count_error()

    def count_error(self) -> None:
        """Count an error of the peer."""
        self._errors += 1
        if self._errors >= self._intake.settings.max_errors and not self._over:
            self.end(replies.TOO_MANY_ERRORS, "too_many_errors")

    def end(self, reply: Reply, reason: str) -> None:
        """End the session for what its peer did, and keep a note of it."""
        self._intake.recorder.count(self.peer, replies.OtherReply(reason, reply=reply))
        self.say(reply)
        self._over = True

    async def flush(self) -> None:
        """Record the refusals, then write the replies."""
        if self._refusals:
            refusals, self._refusals = self._refusals, []
            await self._intake.recorder.record(refusals)
        if not self._out:
            return
        data = b"".join(self._out)
        self._out.clear()
        self._writer.write(data)
        self.set_deadline(self._intake.settings.timeout_s)
        self._writing = True
        try:
            await self._writer.drain()
        finally:
            self._writing = False

    async def push(self, status: str | bytes) -> None:  # noqa: ARG002 - aiosmtpd's
        """Say what aiosmtpd would say itself, which is the 220 of STARTTLS alone."""
        self.say(replies.START_TLS)
        await self.flush()
