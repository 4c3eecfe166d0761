"""The dialogue with one peer, a method for each verb, in the order of RFC 5321.

The way of a mail: EHLO or HELO, STARTTLS if both sides want it, MAIL, one or more RCPT,
DATA or BDAT, and behind its end the one reply (LMTP: one for each recipient) that says
what `Intake.accept` decided. A listener's protocol is a matter of two tables: `_VERBS`,
and for submission the `Login` that knows who may send what.

Below the verbs stand the `Dialogue` (lines, replies, errors) and the `Wire` (bytes,
timer, TLS). What is decided stands in `relay.intake`, what is said in `replies`.

Source: RFC 5321; RFC 2033 (LMTP); RFC 6409 and RFC 4954 (submission); RFC 3030 (BDAT).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiosmtpd.smtp import TLSSetupException

from relay.core.ids import new_message_id
from relay.core.model import Step
from relay.core.peers import peer_network
from relay.intake import Accepted, Origin, Refused, Rejection
from relay.smtp import proxy, replies
from relay.smtp.auth import Login
from relay.smtp.data import ChunkDecoder, DataDecoder, Pace, bdat_command, receive
from relay.smtp.dialogue import Dialogue
from relay.smtp.envelope import GrammarError, Transaction, mail_command, rcpt_command
from relay.smtp.listener import is_this_machine, peer_address, plain_address
from relay.smtp.tls import client_name
from relay.smtp.wire import Draining, TooSlow
from relay.telemetry import get_logger
from relay.telemetry.metrics import RECIPIENTS_DELAYED, SMTP_CONNECTIONS_TOTAL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.config import SMTPSettings
    from relay.core.clock import Clock
    from relay.core.directory import Directory
    from relay.intake import Addressee, IncomingMail, Intake
    from relay.smtp.auth import Logins
    from relay.smtp.connections import Connections
    from relay.smtp.data import Decoder
    from relay.smtp.limits import Rates
    from relay.smtp.listener import Listener
    from relay.smtp.wire import Wire

log = get_logger(__name__)

_MAX_HELO: Final = 255
"""Octets of a domain (RFC 5321 section 4.5.3.1.2)."""
_LONGEST_TYPED: Final = 400
"""Characters of a refused address in the journal; a path has 256 octets."""
_PROXY_HEADER_S: Final = 10.0
"""Time for a load balancer's PROXY header, which comes with the connection."""
_IN_THE_CLEAR: Final = frozenset(
    {"EHLO", "HELO", "LHLO", "STARTTLS", "NOOP", "RSET", "QUIT", "HELP"}
)
"""Verbs that need no TLS where it is required (RFC 3207 section 4)."""
_NOT_IMPLEMENTED: Final = frozenset(
    {"EXPN", "AUTH", "ETRN", "TURN", "SEND", "SOML", "SAML", "XCLIENT", "XFORWARD"}
)
_FOREIGN: Final = (b"GET ", b"POST ", b"PUT ", b"HEAD ", b"CONNECT ", b"OPTIONS ")
"""Other protocols that a browser or proxy can be made to send here."""


@dataclass(frozen=True, slots=True)
class Services:
    """What all sessions of a server share.

    `directory` gives the newest snapshot of users and addresses.
    """

    settings: SMTPSettings
    intake: Intake
    rates: Rates
    connections: Connections
    logins: Logins
    directory: Callable[[], Directory]
    clock: Clock


@dataclass(slots=True)
class Chunks:
    """A mail that is arriving by BDAT; `started` is the time of its first chunk."""

    mail: IncomingMail
    decoder: ChunkDecoder
    started: float


class SMTPSession:
    """One session; `run` serves it.

    Attributes:
        peer: The address of the peer, behind a load balancer if there is one.
        trusted: Held to no limit of strangers (see `connections`).
    """

    def __init__(self, services: Services, listener: Listener, wire: Wire) -> None:
        """Prepare for one connection."""
        self.wire = wire
        self.peer = wire.peer
        self._talk = Dialogue(
            wire,
            services.settings,
            services.intake.recorder,
            services.connections,
        )
        self.trusted = False
        self._services = services
        self._settings = services.settings
        self._listener = listener
        self._verbs = _VERBS[listener.settings.protocol]
        self._login = Login() if listener.submission else None
        self._connected_at = services.clock.now()
        self._peer_group = ""
        self._via = ""  # the load balancer whose PROXY header named the peer
        self._trusted_by_login = False
        self._helo = ""
        self._pipelines = False
        self._transaction: Transaction | None = None
        self._chunks: Chunks | None = None
        self._refused_chunks: Sequence[str] = ()

    # ------------------------------------------------------------------ life

    async def run(self) -> None:
        """Serve the connection from greeting to close; raises nothing of its own."""
        try:
            if not await self._read_proxy_header():
                return
            if not self._admit():
                # A peer that expects TLS would not understand us.
                if not self._listener.implicit:
                    self._talk.say(replies.TOO_MANY_CONNECTIONS)
                    await self._talk.flush()
                return
            if self._listener.implicit:
                await self.wire.begin_with_tls()
                self._begin_under_tls()
            if await self._greet():
                await self._serve()
        except TLSSetupException as error:
            log.info("smtp_tls_failed", peer=self.peer, error=str(error.__cause__))
        except (EOFError, OSError):
            log.debug("smtp_connection_lost", peer=self.peer)
        except Exception:
            log.exception("smtp_session_broken", peer=self.peer)
        finally:
            self._talk.over = True
            await self._drop_mail()

    def drain(self) -> None:
        """End when next idle, which may be now."""
        self.wire.drain()

    def abort(self) -> None:
        """Cut the connection; a commit that runs still ends, unanswered."""
        self.wire.abort()

    async def _read_proxy_header(self) -> bool:
        """Learn from a load balancer whose connection it is; False: close it."""
        if not self._listener.expects_header(self.peer):
            return True
        self.wire.set_deadline(_PROXY_HEADER_S)
        try:
            header = await proxy.receive(self.wire.inbox)
        except (proxy.BadHeader, TooSlow) as error:
            rejection = Rejection("no_proxy_header", str(error) or "none came")
            self._services.intake.recorder.count(self.peer, rejection)
            return False
        if header.client:
            self._via, self.peer = self.peer, plain_address(header.client)
            self._talk.peer = self.peer
        # A connection that the drain did not know of yet is not begun any more.
        return not self._services.connections.draining

    def _admit(self) -> bool:
        """Say whether this session may begin; it is then counted until it is gone."""
        SMTP_CONNECTIONS_TOTAL.inc()
        connections = self._services.connections
        self._peer_group = peer_network(self.peer)
        own = peer_address(self.wire.facts("sockname"))
        self.trusted = connections.limits.trusts(self.peer, via=self._via, own=own)
        reason = connections.admit(self, self.peer, trusted=self.trusted)
        if reason:
            self._services.intake.recorder.count(self.peer, Rejection(reason))
            return False
        self.wire.gone = self._leave
        return True

    def _leave(self) -> None:
        self._services.connections.release(self, self.peer, trusted=self.trusted)

    def _trust(self) -> None:
        """Hold this session to no limit of strangers any more."""
        if not self.trusted:
            self.trusted = True
            self._services.connections.limits.trust(self.peer)

    def _begin_under_tls(self) -> None:
        """Begin anew: nothing said in the clear counts (RFC 3207 section 4.2)."""
        self._forget_hello()
        if self._certificate:
            self._trust()

    async def _greet(self) -> bool:
        """Greet, unless the peer talks first: such a peer reads no replies."""
        self._talk.begin()
        wait_s = self._settings.greeting_wait_s
        if wait_s and not self._services.connections.draining:
            await self.wire.listen(wait_s)
            if self.wire.inbox:
                self._talk.end("early_talker")
                await self._talk.flush()
                return False
        self.wire.out.append(self._listener.greeting)
        return True

    async def _serve(self) -> None:
        """Obey one command after the other, until the session is over."""
        talk = self._talk
        while (line := await talk.next_command()) is not None:
            try:
                await self._obey(line)
            except (EOFError, OSError, TLSSetupException):
                raise
            except TooSlow:
                talk.end("timeout")
            except Draining:
                talk.say(replies.SHUTTING_DOWN)
                break
            except Exception:
                ident = new_message_id(self._services.clock)
                log.exception("smtp_internal_error", error_id=ident, peer=self.peer)
                talk.fail(replies.INTERNAL_ERROR, ref=ident)
        await talk.flush()

    async def _obey(self, line: bytes) -> None:
        """Do what one command line, with its LF, asks."""
        if line.startswith(_FOREIGN):
            log.info("smtp_wrong_protocol", peer=self.peer)
            self._talk.say(replies.WRONG_PROTOCOL)
            self._talk.over = True
            return
        if proxy.looks_like_header(line):
            # A second one, or one from where none is taken: an attempt to speak in the
            # name of another peer.
            log.warning("smtp_proxy_header_refused", peer=self.peer)
            self._talk.end("proxy_header")
            return
        if line[-2:] != b"\r\n" or line.count(b"\r") != 1:
            # A line that other servers end elsewhere than we do hides a command
            # (RFC 5321 section 2.3.8).
            log.info("smtp_bare_line_end", peer=self.peer)
            self._talk.fail(replies.BARE_LINE_END)
            return
        if self.wire.inbox and not self._pipelines:
            # The next command was sent before this peer could know that it may, so it
            # did not come from a mail program (RFC 2920 section 3.1).
            log.warning("smtp_early_command", peer=self.peer)
            self._talk.end("early_command")
            return
        try:
            text = line[:-2].decode("utf-8")
        except UnicodeDecodeError:
            self._talk.fail(replies.NOT_TEXT)
            return
        verb, _, argument = text.partition(" ")
        verb = verb.upper()
        method = self._verbs.get(verb)
        if method is None:
            known = verb in _NOT_IMPLEMENTED
            reply = replies.NOT_IMPLEMENTED if known else replies.UNKNOWN_COMMAND
            self._talk.fail(reply)
        elif (
            self._listener.settings.require_tls
            and not self.wire.under_tls
            and verb not in _IN_THE_CLEAR
        ):
            self._talk.refuse(Rejection("tls_required", verb))
            # The bytes of a chunk must not be read as commands.
            self._talk.over = self._talk.over or verb == "BDAT"
        else:
            await method(self, argument.strip(" "))

    # ------------------------------------------------------------------ hello, TLS

    async def ehlo(self, hostname: str) -> None:
        """Greet, and announce the extensions (RFC 5321 4.1.1.1, RFC 2033 4.1)."""
        if not _is_name(hostname):
            verb = "LHLO" if self._listener.lmtp else "EHLO"
            self._talk.fail(replies.BAD_ARGUMENT, syntax=f"{verb} hostname")
            return
        self._helo = hostname
        await self._drop_mail()
        if self.wire.inbox:
            # EHLO is the last of its group: its reply may change what is offered.
            log.warning("smtp_early_command", peer=self.peer)
            self._talk.end("early_command")
            return
        self._pipelines = True
        offers_tls = self.wire.tls_context is not None and not self.wire.under_tls
        reply = self._listener.hello(starttls=offers_tls, login=self._offers_login)
        self.wire.out.append(reply)

    async def helo(self, hostname: str) -> None:
        """Greet without extensions (RFC 5321 section 4.1.1.1)."""
        if not _is_name(hostname):
            self._talk.fail(replies.BAD_ARGUMENT, syntax="HELO hostname")
            return
        self._helo = hostname
        self._pipelines = False
        await self._drop_mail()
        self._talk.say(replies.HELO, hostname=self._settings.hostname)

    async def starttls(self, arg: str) -> None:
        """Change to TLS and begin anew (RFC 3207)."""
        if arg:
            self._talk.fail(replies.BAD_ARGUMENT, syntax="STARTTLS")
        elif self.wire.under_tls:
            self._talk.fail(replies.TLS_ALREADY)
        elif self.wire.tls_context is None:
            self._talk.fail(replies.TLS_NOT_AVAILABLE)
        else:
            discarded = self.wire.inbox.clear()
            if discarded:
                # Anybody between the peer and us could have put it there
                # (RFC 3207 section 6).
                log.warning(
                    "smtp_starttls_discarded", peer=self.peer, size_bytes=discarded
                )
            await self._drop_mail()
            await self._talk.flush()
            await self.wire.start_tls()
            self._begin_under_tls()

    def _forget_hello(self) -> None:
        """Forget what the peer said, and who logged in (RFC 3207 section 4.2)."""
        self._helo = ""
        self._pipelines = False
        self._transaction = None
        if self._login is not None:
            self._login.forget()

    # ------------------------------------------------------------------ login

    @property
    def _offers_login(self) -> bool:
        """Say whether a password may travel here: under TLS, or on this machine."""
        if self._login is None:
            return False
        return self.wire.under_tls or (not self._via and is_this_machine(self.peer))

    async def auth(self, arg: str) -> None:
        """Log in (RFC 4954 section 4)."""
        login = self._login
        if login is None:
            self._talk.fail(replies.NOT_IMPLEMENTED)
        elif not self._helo:
            self._talk.fail(replies.HELLO_FIRST)
        elif not arg:
            self._talk.fail(replies.BAD_ARGUMENT, syntax="AUTH mechanism [response]")
        elif login.user_id is not None:
            self._talk.fail(replies.LOGGED_IN_ALREADY)
        elif self._transaction is not None:
            self._talk.fail(replies.AUTH_IN_MAIL)
        elif not self._offers_login:
            self._talk.refuse(Rejection("login_in_the_clear"))
        elif not self._services.rates.logins.allows(self._peer_group):
            self._talk.refuse(Rejection("too_many_logins"))
            self._talk.over = True
        else:
            user = await login.log_in(
                arg,
                self._talk,
                self._services.logins,
                self._services.rates.logins,
                self._services.directory,
                self._peer_group,
            )
            if user is not None and not self.trusted:
                # An office behind one address is many people; each has a rate.
                self._trusted_by_login = True
                self._trust()

    # ------------------------------------------------------------------ envelope

    async def mail(self, arg: str) -> None:
        """Begin a transaction (RFC 5321 section 4.1.1.2)."""
        if not self._helo:
            self._talk.fail(replies.HELLO_FIRST)
            return
        if self._transaction is not None:
            self._talk.fail(replies.NESTED_MAIL)
            return
        try:
            command = mail_command(arg)
        except GrammarError as error:
            self._talk.complain(error, mail_from=_typed(arg))
            return
        mail_from = command.path.address
        peers = self._services.rates.peers
        rejection = self._sender_refused(mail_from)
        if rejection is None and not (self.trusted or peers.allows(self._peer_group)):
            rejection = Rejection("peer_too_fast")
            self._talk.over = True
        if rejection is None:
            rejection = self._services.intake.check_size(command.size_bytes)
        if rejection is not None:
            self._talk.refuse(rejection, mail_from=mail_from)
            return
        if not self.trusted:
            peers.count(self._peer_group)
        self._transaction = Transaction(mail_from, command.utf8, command.size_bytes)
        self._talk.say(replies.MAIL_OK)

    def _sender_refused(self, mail_from: str) -> Rejection | None:
        """Say why this peer may not begin a mail with that envelope sender here."""
        if self._login is not None:
            rejection = self._login.sender_refused(
                mail_from, self._services.directory()
            )
            if rejection is not None:
                return rejection
        if self._listener.settings.require_client_certificate and not self._certificate:
            return Rejection("client_certificate_required")
        return None

    async def rcpt(self, arg: str) -> None:
        """Add a recipient, if it is a relay address (RFC 5321 section 4.1.1.3)."""
        transaction = self._transaction
        if transaction is None:
            self._talk.fail(replies.MAIL_FIRST if self._helo else replies.HELLO_FIRST)
            return
        if self._chunks is not None:
            self._talk.fail(replies.CHUNKS_UNDER_WAY)
            return
        try:
            path = rcpt_command(arg, utf8=transaction.utf8)
        except GrammarError as error:
            transaction.refused += 1
            mail_from = transaction.mail_from
            self._talk.complain(error, mail_from=mail_from, rcpt=_typed(arg))
            return
        rcpt = path.address
        answer = self._services.intake.recipient(rcpt, path.local, path.domain)
        if not isinstance(answer, Rejection):
            answer = self._recipient_refused(transaction, answer) or answer
        if isinstance(answer, Rejection):
            transaction.refused += 1
            last = await self._slow_down(answer)
            self._talk.refuse(answer, mail_from=transaction.mail_from, rcpt=rcpt)
            if last and not self._talk.over:
                self._talk.end("too_many_unknown_recipients")
            return
        transaction.add(answer)
        self._talk.say(replies.RCPT_OK)

    async def _slow_down(self, rejection: Rejection) -> bool:
        """Let a peer wait that guesses addresses; True: this was its last guess.

        An address that was a user's once is no guess, nor is that of a disabled user:
        somebody wrote to it who knew it.
        """
        is_guess = rejection.reason == "unknown_recipient" and not rejection.user_id
        if self.trusted or not is_guess:
            return False
        rates = self._services.rates
        count = rates.guesses.count(self._peer_group)
        delay_s = rates.guesses.delay_s(count)
        if delay_s and not self._services.connections.draining:
            RECIPIENTS_DELAYED.inc()
            # What was answered before must not wait with it.
            await self._talk.flush()
            await rates.sleep(delay_s)
        return rates.guesses.is_last(count)

    def _recipient_refused(
        self, transaction: Transaction, addressee: Addressee
    ) -> Rejection | None:
        """Say why a recipient, who is known, may not be added now."""
        if self._login is not None:
            directory = self._services.directory()
            rejection = self._login.recipient_refused(addressee.user_id, directory)
            if rejection is not None:
                return rejection
        if len(transaction.addressees) >= self._settings.max_recipients:
            return Rejection("too_many_recipients")
        user_id = addressee.user_id  # None, postmaster, has a rate like everybody.
        if self._has_rate and not self._services.rates.users.allows(user_id):
            return Rejection("user_too_fast", user_id=user_id)
        return None

    async def rset(self, arg: str) -> None:
        """End the transaction (RFC 5321 section 4.1.1.5)."""
        if arg:
            self._talk.fail(replies.BAD_ARGUMENT, syntax="RSET")
            return
        await self._drop_mail()
        self._talk.say(replies.RESET)

    # ------------------------------------------------------------------ content

    async def data(self, arg: str) -> None:
        """Take the mail (RFC 5321 section 4.1.1.4)."""
        transaction = self._transaction
        if self.wire.inbox:
            # Content sent before the 354 would be read as commands wherever the answer
            # is another (RFC 2920 section 3.1: DATA is the last of its group).
            log.warning("smtp_early_data", peer=self.peer)
            self._transaction = None
            self._talk.end("early_data")
        elif arg:
            self._talk.fail(replies.BAD_ARGUMENT, syntax="DATA")
        elif self._chunks is not None:
            self._talk.fail(replies.CHUNKS_UNDER_WAY)
        elif transaction is None or not transaction.addressees:
            self._no_recipient(transaction)
        else:
            self._transaction = None
            mail = await self._begin_mail(transaction)
            if isinstance(mail, Refused):
                self._talk.say_line(mail.refusals[0].reply)
                self._talk.count_error()
                return
            self._talk.say(replies.GO_AHEAD)
            await self._talk.flush()
            decoder = DataDecoder()
            if await self._fill(mail, decoder, self.wire.loop.time()):
                self._answer(transaction, await self._accept(mail, decoder))

    def _no_recipient(self, transaction: Transaction | None) -> None:
        """Say what must come before the content of a mail.

        Commands out of order concern no mail, and are no refusal. A mail whose every
        recipient was refused is one that a person wanted to send.
        """
        if transaction is None:
            self._talk.fail(replies.MAIL_FIRST if self._helo else replies.HELLO_FIRST)
        elif transaction.refused:
            rejection = Rejection("no_valid_recipient")
            self._talk.refuse(rejection, mail_from=transaction.mail_from)
        else:
            self._talk.fail(replies.RCPT_FIRST)

    async def bdat(self, arg: str) -> None:
        """Take a chunk of the mail, and with the last the mail (RFC 3030 section 2)."""
        command = bdat_command(arg)
        if command is None:
            # How many bytes follow, and must not be read as commands, is not known.
            self._talk.fail(replies.BAD_ARGUMENT, syntax="BDAT size [LAST]")
            self._talk.over = True
            return
        size_bytes, last = command
        transaction = self._transaction
        if transaction is None or not transaction.addressees:
            if not await self._skip(size_bytes):
                return
            if transaction is None and self._refused_chunks:
                self._refuse_chunk(last=last)
            else:
                self._no_recipient(transaction)
            return
        chunks, self._chunks = self._chunks, None
        if chunks is None:
            mail = await self._begin_mail(transaction)
            if isinstance(mail, Refused):
                self._transaction = None
                self._refused_chunks = self._lines(transaction, mail)
                if await self._skip(size_bytes):
                    self._refuse_chunk(last=last)
                return
            chunks = Chunks(mail, ChunkDecoder(), self.wire.loop.time())
        mail, decoder = chunks.mail, chunks.decoder
        decoder.begin(size_bytes, last=last)
        if not await self._fill(mail, decoder, chunks.started):
            self._transaction = None
        elif last:
            self._transaction = None
            self._answer(transaction, await self._accept(mail, decoder))
        elif self._services.intake.is_too_large(mail):
            self._transaction = None
            outcome = await self._accept(mail, decoder)
            self._refused_chunks = self._lines(transaction, outcome)
            self._refuse_chunk(last=False)
        else:
            self._chunks = chunks
            self.wire.busy = True
            self._talk.say(replies.CHUNK_TAKEN, size=size_bytes)

    def _refuse_chunk(self, *, last: bool) -> None:
        """Refuse a chunk of a mail that has been refused already.

        Only the last is answered as the mail would be (RFC 2033 section 4.2).
        """
        lines = self._refused_chunks if last else self._refused_chunks[:1]
        for line in lines:
            self._talk.say_line(line)
        if last:
            self._refused_chunks = ()
        self._talk.count_error()

    async def _skip(self, size_bytes: int) -> bool:
        """Read a chunk of no mail, so that it is not taken for commands."""
        decoder = ChunkDecoder()
        decoder.begin(size_bytes, last=True)
        return await self._fill(None, decoder, self.wire.loop.time())

    async def _begin_mail(self, transaction: Transaction) -> IncomingMail | Refused:
        """Begin the content, unless MAIL announced more than the recipients may have.

        MAIL has been held to the limit for anybody; the recipients are known only now
        (RFC 1870 section 6.1).
        """
        intake, origin = self._services.intake, self._origin()
        mail = intake.begin(
            origin,
            transaction.addressees,
            mail_from=transaction.mail_from,
            refused_recipients=transaction.refused,
            expected_bytes=transaction.size_bytes,
        )
        if not isinstance(mail, Rejection):
            return mail
        return await intake.refuse(
            origin, transaction.addressees, mail, mail_from=transaction.mail_from
        )

    async def _fill(
        self, mail: IncomingMail | None, decoder: Decoder, started: float
    ) -> bool:
        """Read a mail, or a chunk, to its end; False: the session ends before it.

        Raises:
            EOFError: The connection ended; nothing is to be answered.
        """
        wire, settings = self.wire, self._settings
        until = min(
            started + settings.data_timeout_s, wire.loop.time() + self._talk.time_left()
        )
        pace = Pace(started, until, settings.timeout_s, settings.min_data_rate)
        content = None if mail is None else mail.content
        complete = False
        wire.busy = True
        try:
            await receive(wire, decoder, content, pace, self._talk.flush)
            complete = True
        except TooSlow:
            await self._too_slow(mail, decoder.size_bytes, pace)
            return False
        finally:
            wire.busy = False
            if not complete:
                # Where the next command would begin is not known any more.
                self._talk.over = True
                if content is not None:
                    await content.abandon()
        wire.inbox.unread(decoder.rest)
        return True

    async def _too_slow(
        self, mail: IncomingMail | None, size_bytes: int, pace: Pace
    ) -> None:
        """Refuse a mail that did not come to its end in time."""
        slow = size_bytes and self.wire.loop.time() >= pace.slowest_end(size_bytes)
        reason = "too_slow" if slow else "timeout"
        rejection = Rejection(reason, f"after {size_bytes} bytes")
        if mail is None:
            self._talk.say_line(replies.reply_line(rejection, ""))
            return
        refused = await self._services.intake.refuse(
            mail.origin, mail.addressees, rejection, mail_from=mail.mail_from
        )
        self._talk.say_line(refused.refusals[0].reply)

    async def _accept(self, mail: IncomingMail, decoder: Decoder) -> Accepted | Refused:
        """Give a complete mail to the intake."""
        self._refused_chunks = ()
        outcome = await self._services.intake.accept(mail, decoder.line_ends)
        if isinstance(outcome, Accepted) and self._has_rate:
            for recipient in outcome.recipients:
                self._services.rates.users.count(recipient.user_id)
        return outcome

    def _answer(self, transaction: Transaction, outcome: Accepted | Refused) -> None:
        """Say what became of a mail."""
        for line in self._lines(transaction, outcome):
            self._talk.say_line(line)
        if isinstance(outcome, Accepted):
            self._talk.made_progress()
        else:
            self._talk.count_error()

    def _lines(
        self, transaction: Transaction, outcome: Accepted | Refused
    ) -> Sequence[str]:
        """Return the reply to a mail; in LMTP one for each RCPT (RFC 2033 4.2)."""
        if not self._listener.lmtp:
            return (replies.outcome_line(outcome),)
        lines = replies.outcome_lines(outcome)
        return [lines[rcpt] for rcpt in transaction.accepted]

    async def _drop_mail(self) -> None:
        """End the transaction, and forget what has come of its mail."""
        self._transaction = None
        self._refused_chunks = ()
        self.wire.busy = False
        chunks, self._chunks = self._chunks, None
        if chunks is not None:
            await chunks.mail.content.abandon()

    # ------------------------------------------------------------------ the rest

    async def vrfy(self, arg: str) -> None:
        """Neither confirm nor deny (RFC 5321 section 3.5.3)."""
        if arg:
            self._talk.say(replies.CANNOT_VERIFY)
        else:
            self._talk.fail(replies.BAD_ARGUMENT, syntax="VRFY address")

    async def help(self, _arg: str) -> None:
        """Say what this server is for (RFC 5321 section 4.1.1.8)."""
        self._talk.say(replies.HELP)

    async def noop(self, _arg: str) -> None:
        """Do nothing (RFC 5321 section 4.1.1.9)."""
        self._talk.say(replies.NOTHING)

    async def quit(self, arg: str) -> None:
        """End the session (RFC 5321 section 4.1.1.10)."""
        if arg:
            self._talk.fail(replies.BAD_ARGUMENT, syntax="QUIT")
            return
        self._talk.say(replies.BYE)
        self._talk.over = True

    # ------------------------------------------------------------------ the peer

    @property
    def _certificate(self) -> str:
        """Return the name in a verified client certificate, or an empty text."""
        if self._listener.settings.client_ca is None:
            return ""
        return client_name(self.wire.facts("ssl_object"))

    @property
    def _has_rate(self) -> bool:
        """Say whether mail from here counts for the rate of its users."""
        return not self.trusted or self._trusted_by_login

    def _origin(self) -> Origin:
        """Return where a mail comes from, for envelope and trace."""
        version = ""
        if self.wire.under_tls:
            tls = self.wire.facts("ssl_object")
            version = (tls.version() if tls else None) or "TLS"
        words = [f"from {self.peer}, which calls itself {self._helo}"]
        if self._via:
            words.append(f"passed on by {self._via}")
        if certificate := self._certificate:
            words.append(f"with the certificate of {certificate}")
        if self._login is not None and self._login.email:
            words.append(f"logged in as {self._login.email}")
        step = Step(
            self._connected_at,
            "connection",
            version or "in the clear",
            ", ".join(words),
        )
        login = self._login
        return Origin(
            self.peer,
            step,
            self._helo,
            bool(version),
            door=self._listener.settings.protocol,
            certificate=certificate,
            login="" if login is None else login.email,
            login_id=None if login is None else login.user_id,
        )


def _typed(argument: str) -> str:
    """Return the address part of an argument as it was typed, for the journal."""
    keyword, _, rest = argument.partition(":")
    return (rest or keyword).strip()[:_LONGEST_TYPED]


def _is_name(hostname: str) -> bool:
    """Say whether EHLO's argument can be a name; that it is true is not asked.

    Clients give names with underscores, or none that resolves; RFC 5321 section 4.1.4
    forbids to refuse mail for that.
    """
    return bool(
        hostname
        and len(hostname) <= _MAX_HELO
        and hostname.isprintable()
        and " " not in hostname
    )


Verb = Callable[[SMTPSession, str], Awaitable[None]]
"""A method of a session for one verb; it takes the argument, empty if there is none."""

_SMTP: Final[Mapping[str, Verb]] = {
    "EHLO": SMTPSession.ehlo,
    "HELO": SMTPSession.helo,
    "STARTTLS": SMTPSession.starttls,
    "MAIL": SMTPSession.mail,
    "RCPT": SMTPSession.rcpt,
    "DATA": SMTPSession.data,
    "BDAT": SMTPSession.bdat,
    "RSET": SMTPSession.rset,
    "NOOP": SMTPSession.noop,
    "QUIT": SMTPSession.quit,
    "VRFY": SMTPSession.vrfy,
    "HELP": SMTPSession.help,
}
_LMTP: Final = {
    **{verb: method for verb, method in _SMTP.items() if verb not in {"EHLO", "HELO"}},
    "LHLO": SMTPSession.ehlo,
}
_VERBS: Final[Mapping[str, Mapping[str, Verb]]] = {
    "smtp": _SMTP,
    "lmtp": _LMTP,
    "submission": {**_SMTP, "AUTH": SMTPSession.auth},
}
"""The verbs of each protocol that a listener may speak."""
