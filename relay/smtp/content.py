"""The content of mails: DATA and BDAT, from the first byte to the reply that ends it.

Bytes go from the inbox through a decoder, which knows where the mail or chunk ends,
into a body, which keeps them in bounded memory; then `transaction.conclude` judges the
whole. A mail has a deadline and a least pace. What stands around it, the verbs of the
envelope and of the session, is in `session`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from relay.intake.buffer import MailBuffer
from relay.intake.refusals import Occasion, Rejection
from relay.smtp import replies
from relay.smtp.chunks import ChunkDecoder, Chunks, bdat_command
from relay.smtp.data import DataDecoder
from relay.smtp.tls import client_name
from relay.smtp.transaction import Peer, Transaction, conclude, told_too_large
from relay.smtp.wire import TooSlow, Wire
from relay.telemetry import get_logger

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from relay.smtp.chunks import Decoder
    from relay.smtp.listener import Listener
    from relay.smtp.server import SMTPServer
    from relay.smtp.transaction import Conclusion

log = get_logger(__name__)


class ContentSession(Wire):
    """A session that can take mails; the verbs before them are in the subclass."""

    def __init__(
        self, intake: SMTPServer, loop: asyncio.AbstractEventLoop, listener: Listener
    ) -> None:
        """Prepare for one connection of the intake."""
        super().__init__(intake, loop, listener)
        self._connected_at = intake.clock.now()
        self._helo = ""
        self._transaction: Transaction | None = None
        self._chunks: Chunks | None = None
        self._refused_chunks: Sequence[str] = ()
        self._login = ""
        self._trusted_by_login = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin a session, and one under TLS anew; its certificate may be trusted."""
        super().connection_made(transport)
        if self._under_tls and self._certificate:
            self._intake.trust(self)

    async def smtp_DATA(self, arg: str | None) -> None:  # noqa: N802
        """Take the mail (RFC 5321 section 4.1.1.4)."""
        transaction = self._transaction
        if self._inbox:
            # Content sent before the 354 would be read as commands wherever the answer
            # is another (RFC 2920 section 3.1: DATA is the last of its group).
            log.warning("smtp_early_data", peer=self.peer)
            self._transaction = None
            self.end(replies.EARLY_DATA, "early_data")
        elif arg:
            self.fail(replies.BAD_ARGUMENT, syntax="DATA")
        elif self._chunks is not None:
            self.fail(replies.CHUNKS_UNDER_WAY)
        elif transaction is None or not transaction.addressees:
            self._say_what_misses(transaction)
        elif (refused := self._told_too_large(transaction)) is not None:
            self._transaction = None
            self.say_line(refused.line)
            self.count_error()
        else:
            self._transaction = None
            self.say(replies.GO_AHEAD)
            await self.flush()
            decoder, body = DataDecoder(), self._new_body(transaction)
            if await self._fill(transaction, decoder, body, self.loop.time()):
                await self._conclude(transaction, decoder, body)

    def _say_what_misses(self, transaction: Transaction | None) -> None:
        """Say what must come before a mail.

        Commands out of order concern no mail. A mail whose every recipient was refused
        is one that somebody wanted to send.
        """
        if transaction is None:
            self.fail(replies.MAIL_FIRST if self._helo else replies.HELLO_FIRST)
        elif transaction.refused:
            rejection = Rejection("no_valid_recipient")
            self._refuse(rejection, mail_from=transaction.mail_from)
        else:
            self.fail(replies.RCPT_FIRST)

    async def smtp_BDAT(self, arg: str | None) -> None:  # noqa: N802
        """Take a chunk of the mail, and with the last the mail (RFC 3030 section 2)."""
        command = bdat_command(arg or "")
        if command is None:
            # How many bytes follow, and must not be read as commands, is not known.
            self.fail(replies.BAD_ARGUMENT, syntax="BDAT size [LAST]")
            self._over = True
            return
        size_bytes, last = command
        transaction = self._transaction
        if transaction is None or not transaction.addressees:
            if not await self._skip(size_bytes):
                return
            if transaction is None and self._refused_chunks:
                self._refuse_chunk(last=last)
            else:
                self._say_what_misses(transaction)
            return
        if self._chunks is None:
            refused = self._told_too_large(transaction)
            if refused is not None:
                self._transaction = None
                self._refused_chunks = self._lines(transaction, refused)
                if await self._skip(size_bytes):
                    self._refuse_chunk(last=last)
                return
            started = self.loop.time()
            self._chunks = Chunks(ChunkDecoder(), self._new_body(transaction), started)
        chunks, self._chunks = self._chunks, None
        decoder, body = chunks.decoder, chunks.body
        decoder.begin(size_bytes, last=last)
        if not await self._fill(transaction, decoder, body, chunks.started):
            self._transaction = None
        elif last:
            self._transaction = None
            await self._conclude(transaction, decoder, body)
        elif decoder.size_bytes > self._intake.settings.max_message_bytes:
            self._transaction = None
            conclusion = await self._judge(transaction, decoder, body)
            self._refused_chunks = self._lines(transaction, conclusion)
            self._refuse_chunk(last=False)
        else:
            self._chunks = chunks
            self._in_data = True
            self.say(replies.CHUNK_TAKEN, size=size_bytes)

    def _told_too_large(self, transaction: Transaction) -> Conclusion | None:
        """Refuse a mail that is told to be larger than these recipients may have."""
        refused = told_too_large(self._intake, self._about_peer(), transaction)
        if refused is not None:
            self._refusals.extend(refused.refusals)
        return refused

    def _refuse_chunk(self, *, last: bool) -> None:
        """Refuse a chunk of a mail that has been refused already.

        Only the last is answered as the mail would be (RFC 2033 section 4.2).
        """
        lines = self._refused_chunks if last else self._refused_chunks[:1]
        for line in lines:
            self.say_line(line)
        if last:
            self._refused_chunks = ()
        self.count_error()

    async def _skip(self, size_bytes: int) -> bool:
        """Read a chunk that nobody asked for; it would be taken for commands."""
        decoder = ChunkDecoder()
        decoder.begin(size_bytes, last=True)
        nobody = Transaction("", utf8=False)
        return await self._fill(nobody, decoder, self._new_body(None), self.loop.time())

    def _new_body(self, transaction: Transaction | None) -> MailBuffer:
        """Return where the bytes of a mail go; without a transaction, nowhere."""
        settings = self._intake.settings
        limit = 0
        if transaction is not None:
            limit = self._intake.policy.largest(transaction.addressees)
        return MailBuffer(
            self._intake.sink,
            self._intake.executor,
            self._intake.disk_space,
            inline_bytes=self._intake.inline_bytes,
            max_message_bytes=limit,
            max_header_bytes=settings.max_header_bytes,
            expected_bytes=0 if transaction is None else transaction.size_bytes,
        )

    async def _fill(
        self,
        transaction: Transaction,
        decoder: Decoder,
        body: MailBuffer,
        started: float,
    ) -> bool:
        """Read a mail, or a chunk, to its end; False: the session ends before it.

        Raises:
            EOFError: The connection did; nothing is to be answered.
        """
        complete = False
        self._in_data = True
        try:
            await self._receive(decoder, body, started)
            complete = True
        except TooSlow:
            detail = f"after {decoder.size_bytes} bytes"
            late = self.loop.time() >= self._slowest_end(started, decoder.size_bytes)
            reason = "too_slow" if late and decoder.size_bytes else "timeout"
            rejection = Rejection(reason, detail)
            for addressee in transaction.addressees:
                occasion = Occasion(self.peer, transaction.mail_from, addressee.rcpt)
                self._refusals.append(self._intake.recorder.make(occasion, rejection))
            self.say_line(
                replies.reply_line(
                    rejection, self._refusals[0].id if self._refusals else ""
                )
            )
            return False
        finally:
            self._in_data = False
            if not complete:
                # Where the mail would have gone on is not known any more.
                self._over = True
                await body.abandon()
        self._inbox.unread(decoder.rest)
        return True

    async def _conclude(
        self, transaction: Transaction, decoder: Decoder, body: MailBuffer
    ) -> None:
        """Judge a mail that is here as a whole, and answer."""
        conclusion = await self._judge(transaction, decoder, body)
        for line in self._lines(transaction, conclusion):
            self.say_line(line)
        if conclusion.taken:
            self.note_progress()
        else:
            self.count_error()

    async def _judge(
        self, transaction: Transaction, decoder: Decoder, body: MailBuffer
    ) -> Conclusion:
        self._refused_chunks = ()
        conclusion = await conclude(
            self._intake, self._about_peer(), transaction, decoder, body
        )
        self._refusals.extend(conclusion.refusals)
        return conclusion

    def _lines(
        self,
        transaction: Transaction,  # noqa: ARG002
        conclusion: Conclusion,
    ) -> Sequence[str]:
        """Return the replies that say what became of the mail."""
        return (conclusion.line,)

    def _slowest_end(self, started: float, size_bytes: int) -> float:
        """Return when `min_data_rate` ends a mail of which so much has come.

        The first `timeout_s` are free, so that a sender may think before it sends.
        """
        settings = self._intake.settings
        if not settings.min_data_rate:
            return math.inf
        return started + settings.timeout_s + size_bytes / settings.min_data_rate

    async def _receive(
        self, decoder: Decoder, body: MailBuffer, started: float
    ) -> None:
        """Read up to the end of the mail.

        Raises:
            EOFError: The connection ended first; nothing is to be answered.
            TooSlow: `data_timeout_s` or `transaction_timeout_s` is over, nothing came
                for `timeout_s`, or less than `min_data_rate`.
        """
        settings = self._intake.settings
        until = min(started + settings.data_timeout_s, started + self._time_left())
        while not decoder.done:
            chunk = self._inbox.take()
            if not chunk:
                if self._out:
                    # Before a chunk others may stand whose replies the peer awaits.
                    await self.flush()
                slowest = self._slowest_end(started, decoder.size_bytes)
                left = min(until, slowest) - self.loop.time()
                if left <= 0:
                    raise TooSlow
                self.set_deadline(min(left, settings.timeout_s))
                await self._inbox.wait()
            elif body.add(decoder.feed(chunk)):
                await body.flush()

    async def _drop_mail(self) -> None:
        """End the transaction, and forget what has come of its mail."""
        self._transaction = None
        self._refused_chunks = ()
        self._in_data = False
        chunks, self._chunks = self._chunks, None
        if chunks is not None:
            await chunks.body.abandon()

    # ------------------------------------------------------------------ shared

    @property
    def _certificate(self) -> str:
        """Return whom a verified client certificate names: a trusted relay."""
        if self._listener.settings.client_ca is None or self.transport is None:
            return ""
        return client_name(self.transport.get_extra_info("ssl_object"))

    @property
    def _has_no_rate(self) -> bool:
        """Say whether mail from here counts for no user's rate."""
        return self.trusted and not self._trusted_by_login

    def _about_peer(self) -> Peer:
        version = ""
        if self._under_tls and self.transport is not None:
            tls = self.transport.get_extra_info("ssl_object")
            version = (tls.version() if tls else None) or "TLS"
        return Peer(
            self.peer,
            self._helo,
            version,
            self._connected_at,
            via=self.via,
            certificate=self._certificate,
            trusted=self._has_no_rate,
            login=self._login,
        )

    def _refuse(
        self, rejection: Rejection, *, mail_from: str = "", rcpt: str = ""
    ) -> None:
        """Refuse a command: a reply with the id of its refusal."""
        occasion = Occasion(self.peer, mail_from, rcpt)
        refusal = self._intake.recorder.make(occasion, rejection)
        self._refusals.append(refusal)
        self.say_line(refusal.reply)
        if replies.reply_to(rejection).code >= 500:  # noqa: PLR2004 - permanent, RFC 5321 4.2.1
            self.count_error()
