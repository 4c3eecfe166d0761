"""The dialogue with one peer, a method for each verb, in the order of RFC 5321.

The way of a mail: EHLO or HELO, STARTTLS if both sides want it, MAIL, one or more RCPT,
DATA or BDAT, and behind its end the one reply that `transaction.conclude` gives. The
verbs that take content are in `content`, what stands below a verb (bytes, timers,
replies in one write) is in `wire`, what is decided in `policy`, what is said in
`replies`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

from relay.core.errors import StoreFull, StoreUnavailable
from relay.intake.refusals import Rejection
from relay.smtp import replies
from relay.smtp.content import ContentSession
from relay.smtp.envelope import GrammarError, mail_command, rcpt_command
from relay.smtp.proxy import looks_like_header
from relay.smtp.transaction import Transaction
from relay.telemetry import get_logger

if TYPE_CHECKING:
    import asyncio

    from relay.intake.rules import Addressee
    from relay.smtp.listener import Listener
    from relay.smtp.server import SMTPServer

log = get_logger(__name__)

_MAX_HELO: Final = 255
"""Octets of a domain (RFC 5321 section 4.5.3.1.2)."""
_LONGEST_TYPED: Final = 400
"""Characters of a refused address in the journal; a path has 256 octets."""
_IN_THE_CLEAR: Final = frozenset(
    {"EHLO", "HELO", "LHLO", "STARTTLS", "NOOP", "RSET", "QUIT", "HELP"}
)
"""Verbs that need no TLS where it is required (RFC 3207 section 4)."""
_NOT_IMPLEMENTED: Final = frozenset(
    {"EXPN", "AUTH", "ETRN", "TURN", "SEND", "SOML", "SAML", "XCLIENT", "XFORWARD"}
)
_FOREIGN: Final = (b"GET ", b"POST ", b"PUT ", b"HEAD ", b"CONNECT ", b"OPTIONS ")
"""Other protocols that a browser or proxy can be made to send here."""


Verb = Callable[[Any, str | None], Awaitable[None]]
"""A method of a session for one verb; it takes the argument."""


class SMTPSession(ContentSession):
    """One SMTP session."""

    verbs: ClassVar[Mapping[str, Verb]] = {}
    """The methods of this protocol by verb; set below."""

    def __init__(
        self, intake: SMTPServer, loop: asyncio.AbstractEventLoop, listener: Listener
    ) -> None:
        """Prepare for one connection of the intake."""
        super().__init__(intake, loop, listener)
        self._pipelines = False

    async def obey(self, line: bytes) -> None:
        """Do what one command line, with its LF, asks."""
        if line.startswith(_FOREIGN):
            log.info("smtp_wrong_protocol", peer=self.peer)
            self.say(replies.WRONG_PROTOCOL)
            self._over = True
            return
        if looks_like_header(line):
            # Second in the session, or from where none is taken: somebody would speak
            # in another's name.
            log.warning("smtp_proxy_header_refused", peer=self.peer)
            self.end(replies.PROXY_HEADER, "proxy_header")
            return
        if line[-2:] != b"\r\n" or line.count(b"\r") != 1:
            # A line that others end elsewhere than we do hides a command
            # (RFC 5321 section 2.3.8).
            log.info("smtp_bare_line_end", peer=self.peer)
            self.fail(replies.BARE_LINE_END)
            return
        if self._inbox and not self._pipelines:
            # What follows was sent before this peer could know that it may, so it did
            # not come from a mail program (RFC 2920 section 3.1).
            log.warning("smtp_early_command", peer=self.peer)
            self.end(replies.EARLY_COMMAND, "early_command")
            return
        try:
            text = line[:-2].decode("utf-8")
        except UnicodeDecodeError:
            self.fail(replies.NOT_TEXT)
            return
        verb, _, argument = text.partition(" ")
        verb = verb.upper()
        method = self.verbs.get(verb)
        if method is None:
            self._no_such_verb(verb)
        elif (
            self._listener.settings.require_tls
            and not self._under_tls
            and verb not in _IN_THE_CLEAR
        ):
            rejection = Rejection("tls_required", verb)
            self._refuse(rejection)
            # The bytes of a chunk must not be read as commands.
            self._over = self._over or verb == "BDAT"
        else:
            await method(self, argument.strip(" "))

    def _no_such_verb(self, verb: str) -> None:
        if verb in _NOT_IMPLEMENTED:
            self.fail(replies.NOT_IMPLEMENTED)
        else:
            self.fail(replies.UNKNOWN_COMMAND)

    # ------------------------------------------------------------------ hello

    async def smtp_EHLO(self, hostname: str | None) -> None:  # noqa: N802
        """Greet, and announce the extensions (RFC 5321 section 4.1.1.1)."""
        await self._hello(hostname, "EHLO")

    async def _hello(self, hostname: str | None, verb: str) -> None:
        if not _is_name(hostname):
            self.fail(replies.BAD_ARGUMENT, syntax=f"{verb} hostname")
            return
        self._helo = hostname or ""
        await self._drop_mail()
        if self._inbox:
            # EHLO is the last of its group: its reply may change what is offered.
            log.warning("smtp_early_command", peer=self.peer)
            self.end(replies.EARLY_COMMAND, "early_command")
            return
        self._pipelines = True
        offers_tls = self.tls_context is not None and not self._under_tls
        reply = self._listener.hello(starttls=offers_tls, login=self._offers_login)
        self._out.append(reply)

    @property
    def _offers_login(self) -> bool:
        return False

    async def smtp_HELO(self, hostname: str | None) -> None:  # noqa: N802
        """Greet without extensions (RFC 5321 section 4.1.1.1)."""
        if not _is_name(hostname):
            self.fail(replies.BAD_ARGUMENT, syntax="HELO hostname")
            return
        self._helo = hostname or ""
        self._pipelines = False
        await self._drop_mail()
        self.say(replies.HELO, hostname=self.hostname)

    async def smtp_STARTTLS(self, arg: str | None) -> None:  # noqa: N802
        """Change to TLS and begin anew (RFC 3207)."""
        if arg:
            self.fail(replies.BAD_ARGUMENT, syntax="STARTTLS")
        elif self._under_tls:
            self.fail(replies.TLS_ALREADY)
        elif self.tls_context is None:
            self.fail(replies.TLS_NOT_AVAILABLE)
        else:
            discarded = self._inbox.clear()
            if discarded:
                # Whoever sits between could have put it there (RFC 3207 section 6).
                log.warning(
                    "smtp_starttls_discarded", peer=self.peer, size_bytes=discarded
                )
            await self._drop_mail()
            await super().smtp_STARTTLS("")
            if not self._under_tls:
                raise EOFError  # cut in the middle of the handshake

    def _forget_hello(self) -> None:
        self._helo = ""
        self._pipelines = False
        self._transaction = None

    # ------------------------------------------------------------------ envelope

    async def smtp_MAIL(self, arg: str | None) -> None:  # noqa: N802
        """Begin a transaction (RFC 5321 section 4.1.1.2)."""
        if not self._helo:
            self.fail(replies.HELLO_FIRST)
            return
        if self._transaction is not None:
            self.fail(replies.NESTED_MAIL)
            return
        try:
            command = mail_command(arg or "")
        except GrammarError as error:
            self._complain(error, mail_from=_typed(arg))
            return
        mail_from = command.path.address
        trouble = self._sender_trouble(mail_from)
        if trouble is not None:
            self._refuse(trouble, mail_from=mail_from)
            return
        limits = self._intake.limits
        if not self.trusted and not limits.peers.allows(self.peer_group):
            rejection = Rejection("peer_too_fast")
            self._refuse(rejection, mail_from=mail_from)
            self._over = True
            return
        most = self._intake.settings.max_message_bytes
        if command.size_bytes > most:
            self._refuse(self._intake.policy.too_large(most), mail_from=mail_from)
            return
        trouble = self._store_trouble(command.size_bytes)
        if trouble is not None:
            self._refuse(trouble, mail_from=mail_from)
            return
        if not self.trusted:
            limits.peers.count(self.peer_group)
        self._transaction = Transaction(
            mail_from, command.utf8, size_bytes=command.size_bytes
        )
        self.say(replies.MAIL_OK)

    def _sender_trouble(self, mail_from: str) -> Rejection | None:  # noqa: ARG002
        """Say why this peer may not begin a mail here; subclasses know more reasons."""
        if self._listener.settings.require_client_certificate and not self._certificate:
            return Rejection("client_certificate_required")
        return None

    def _recipient_trouble(self, addressee: Addressee) -> Rejection | None:  # noqa: ARG002
        """Say why a relay address may not be written to from here."""
        return None

    def _store_trouble(self, size_bytes: int) -> Rejection | None:
        """Say why a mail of that size could not be stored now."""
        try:
            self._intake.disk_space.need(size_bytes)
        except StoreFull as error:
            return Rejection("disk_full", str(error))
        except StoreUnavailable as error:
            return Rejection("store_unavailable", str(error))
        return None

    async def smtp_RCPT(self, arg: str | None) -> None:  # noqa: N802
        """Add a recipient, if it is a relay address (RFC 5321 section 4.1.1.3)."""
        transaction = self._transaction
        if transaction is None:
            self.fail(replies.MAIL_FIRST if self._helo else replies.HELLO_FIRST)
            return
        if self._chunks is not None:
            self.fail(replies.CHUNKS_UNDER_WAY)
            return
        try:
            path = rcpt_command(arg or "", utf8=transaction.utf8)
        except GrammarError as error:
            transaction.refused += 1
            mail_from = transaction.mail_from
            self._complain(error, mail_from=mail_from, rcpt=_typed(arg))
            return
        answer = self._intake.policy.recipient(
            path.address, path.local, path.domain, self._intake.directory()
        )
        if not isinstance(answer, Rejection):
            trouble = self._recipient_trouble(answer)
            answer = trouble or self._too_many(transaction, answer) or answer
        if isinstance(answer, Rejection):
            transaction.refused += 1
            self._refuse(answer, mail_from=transaction.mail_from, rcpt=path.address)
            return
        transaction.add(answer)
        self.say(replies.RCPT_OK)

    def _too_many(
        self, transaction: Transaction, addressee: Addressee
    ) -> Rejection | None:
        """Say which limit keeps a recipient, who is known, from being added now."""
        intake = self._intake
        if len(transaction.addressees) >= intake.settings.max_recipients:
            return Rejection("too_many_recipients")
        user_id = addressee.user_id  # None, postmaster, has a rate like everybody.
        if not self._has_no_rate and not intake.limits.users.allows(user_id):
            return Rejection("user_too_fast", user_id=user_id)
        return None

    async def smtp_RSET(self, arg: str | None) -> None:  # noqa: N802
        """End the transaction (RFC 5321 section 4.1.1.5)."""
        if arg:
            self.fail(replies.BAD_ARGUMENT, syntax="RSET")
            return
        await self._drop_mail()
        self.say(replies.RESET)

    # ------------------------------------------------------------------ the rest

    async def smtp_VRFY(self, arg: str | None) -> None:  # noqa: N802
        """Neither confirm nor deny (RFC 5321 section 3.5.3)."""
        if arg:
            self.say(replies.CANNOT_VERIFY)
        else:
            self.fail(replies.BAD_ARGUMENT, syntax="VRFY address")

    async def smtp_HELP(self, arg: str | None) -> None:  # noqa: ARG002, N802
        """Say what this server is for (RFC 5321 section 4.1.1.8)."""
        self.say(replies.HELP)

    async def smtp_NOOP(self, arg: str | None) -> None:  # noqa: ARG002, N802
        """Do nothing (RFC 5321 section 4.1.1.9)."""
        self.say(replies.NOTHING)

    async def smtp_QUIT(self, arg: str | None) -> None:  # noqa: N802
        """End the session (RFC 5321 section 4.1.1.10)."""
        if arg:
            self.fail(replies.BAD_ARGUMENT, syntax="QUIT")
            return
        self.say(replies.BYE)
        self._over = True

    # ------------------------------------------------------------------ shared

    def _complain(
        self, error: GrammarError, *, mail_from: str = "", rcpt: str = ""
    ) -> None:
        """Refuse an argument that the grammar does not have."""
        rejection = replies.OtherReply(
            error.reason, values=error.values, reply=error.reply
        )
        self._refuse(rejection, mail_from=mail_from, rcpt=rcpt)


def _typed(argument: str | None) -> str:
    """Return the address part of an argument as it was typed, for the journal."""
    keyword, _, rest = (argument or "").partition(":")
    return (rest or keyword).strip()[:_LONGEST_TYPED]


def _is_name(hostname: str | None) -> bool:
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


VERBS: Final[Mapping[str, Verb]] = {
    "EHLO": SMTPSession.smtp_EHLO,
    "HELO": SMTPSession.smtp_HELO,
    "STARTTLS": SMTPSession.smtp_STARTTLS,
    "MAIL": SMTPSession.smtp_MAIL,
    "RCPT": SMTPSession.smtp_RCPT,
    "DATA": SMTPSession.smtp_DATA,
    "BDAT": SMTPSession.smtp_BDAT,
    "RSET": SMTPSession.smtp_RSET,
    "NOOP": SMTPSession.smtp_NOOP,
    "QUIT": SMTPSession.smtp_QUIT,
    "VRFY": SMTPSession.smtp_VRFY,
    "HELP": SMTPSession.smtp_HELP,
}
SMTPSession.verbs = VERBS
