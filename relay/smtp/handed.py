"""A mail that is handed over for a user we know, without an SMTP dialogue.

It meets the same rules as one that came by SMTP: size, header, loops, and whether the
user may send as its author. What is refused is recorded in the same journal. `Handover`
takes whole mails, `Reception` those that come in pieces: they are kept as `body` says,
so that memory is set by their number and not by their size.
"""

from __future__ import annotations

import hashlib
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from relay.core.errors import StoreUnavailable
from relay.core.ids import new_message_id
from relay.core.model import Envelope, RawMail, Recipient, Step
from relay.intake.buffer import HeaderTooLarge, MailBuffer, TooLarge, header_end
from relay.intake.disk_space import DiskSpace
from relay.intake.refusals import Occasion, RefusalRecorder
from relay.intake.rules import Addressee, Policy
from relay.smtp.replies import reply_line
from relay.telemetry.metrics import MESSAGES_ACCEPTED

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.config import SMTPSettings
    from relay.core.clock import Clock
    from relay.core.directory import Directory, User
    from relay.core.model import Refusal
    from relay.intake.ports import MailStore
    from relay.intake.rules import Assessment
from relay.intake.refusals import Rejection

_THREADS: Final = 4
_BARE_LF: Final = re.compile(rb"(?<!\r)\n")


def with_crlf(raw: bytes) -> bytes:
    """Return a mail from a file as it travels: every line ends in CRLF."""
    return _BARE_LF.sub(b"\r\n", raw)


class LineEnds:
    """`with_crlf` for a mail in pieces, wherever it is cut."""

    def __init__(self) -> None:
        """Begin a mail."""
        self._before = b""

    def feed(self, piece: bytes) -> bytes:
        """Return a piece with every line end in it whole."""
        # A CR at the end of the last piece makes a first LF here no bare one.
        whole = with_crlf(self._before + piece)[len(self._before) :]
        if piece:
            self._before = b"\r" if piece.endswith(b"\r") else b""
        return whole


def digest(raw: bytes) -> str:
    """Return what the store knows the bytes of a mail by."""
    return hashlib.sha256(raw).hexdigest()


class Handover:
    """Takes whole mails for users; `peer` says in the journal which way they came."""

    def __init__(
        self,
        settings: SMTPSettings,
        sink: MailStore,
        clock: Clock,
        *,
        directory: Callable[[], Directory],
        peer: str,
    ) -> None:
        """Take the limits, the store, and the name of this way in."""
        self._settings = settings
        self._sink = sink
        self._clock = clock
        self._directory = directory
        self._peer = peer
        self._policy = Policy(settings)
        self._recorder = RefusalRecorder(sink, clock, reply_line)

    async def take(self, user: User, raw: bytes, *, whence: str) -> str | Refusal:
        """Store a mail for a user and return its id, or record why not.

        Args:
            user: Whom it is for.
            raw: The mail with CRLF line ends.
            whence: For the trace: the file, or who handed it over.

        Raises:
            StoreUnavailable, StoreFull: Nothing was stored; try again later.
        """
        if len(raw) > self._policy.largest([self._addressee(user)]):
            return await self.refuse_size(user)
        most = self._settings.max_header_bytes
        end = header_end(raw, most)
        if end < 0 and len(raw) > most:
            return await self.refuse_header(user)
        head = raw if end < 0 else raw[:end]
        mail = RawMail(len(raw), digest(raw), raw)
        return await self.put(user, mail, head, whence=whence)

    async def put(
        self, user: User, raw: RawMail, head: bytes, *, whence: str
    ) -> str | Refusal:
        """Judge a mail of a size that may be by its header, and store it.

        Raises:
            StoreUnavailable, StoreFull: As `take`; a file of `raw` is the caller's.
        """
        addressee = self._addressee(user)
        found = self._policy.assess(
            head, [addressee], self._directory(), size_bytes=raw.size_bytes
        )
        if found.refused:
            return await self._refuse(addressee, found.refused[0][1], found)
        envelope = self._envelope(addressee, found, raw.size_bytes, whence)
        await self._sink.messages.put(envelope, raw)
        MESSAGES_ACCEPTED.inc()
        return envelope.recipients[0].message_id

    async def refuse_size(self, user: User) -> Refusal:
        """Record that a mail was too large."""
        addressee = self._addressee(user)
        limit = self._policy.largest([addressee])
        return await self._refuse(addressee, self._policy.too_large(limit))

    async def refuse_header(self, user: User) -> Refusal:
        """Record that the header of a mail was too large."""
        return await self._refuse(
            self._addressee(user), self._policy.header_too_large()
        )

    def _addressee(self, user: User) -> Addressee:
        domain = next(iter(self._settings.domains), "relay")
        return Addressee(f"{user.relay_token}@{domain}", user.id)

    async def _refuse(
        self,
        addressee: Addressee,
        rejection: Rejection,
        found: Assessment | None = None,
    ) -> Refusal:
        occasion = Occasion(
            peer=self._peer,
            rcpt=addressee.rcpt,
            header_from=found.header_from if found else "",
            subject=found.headers.subject if found else "",
            rfc_message_id=found.headers.message_id if found else "",
        )
        refusal = self._recorder.make(occasion, rejection)
        await self._sink.refusals.record([refusal])
        return refusal

    def _envelope(
        self, addressee: Addressee, found: Assessment, size_bytes: int, whence: str
    ) -> Envelope:
        now = self._clock.now()
        headers = found.headers
        sender = found.header_from
        return Envelope(
            mail_from="",
            peer=self._peer,
            helo="",
            tls=False,
            received_at=now,
            recipients=(
                Recipient(
                    new_message_id(self._clock), addressee.rcpt, addressee.user_id
                ),
            ),
            header_from=sender,
            header_to=headers.to_text,
            subject=headers.subject,
            rfc_message_id=headers.message_id,
            trace=(
                Step(now, self._peer, "handed over", whence),
                Step(now, "sender", "accepted", sender),
                Step(now, "mail", "complete", f"{size_bytes} bytes"),
            ),
        )


class Reception:
    """Takes mails in pieces; `close` it at the end."""

    def __init__(
        self,
        handover: Handover,
        settings: SMTPSettings,
        sink: MailStore,
        *,
        inline_bytes: int,
        min_free_bytes: int,
    ) -> None:
        """Take who judges, the limits, and the store.

        Args:
            handover: Judges and stores.
            settings: The limits.
            sink: The store.
            inline_bytes: Above this a mail goes to a temporary file of the store.
            min_free_bytes: Free space into which no mail may go.
        """
        self._handover = handover
        self._settings = settings
        self._sink = sink
        self._inline_bytes = inline_bytes
        self._disk_space = DiskSpace(sink, min_free_bytes)
        self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="handed-spool")

    def begin(self, user: User, expected_bytes: int = 0) -> Incoming:
        """Begin a mail for a user; `expected_bytes` is what was told of it.

        Raises:
            StoreFull, StoreUnavailable: It would not be stored now.
        """
        self._disk_space.need(expected_bytes)
        body = MailBuffer(
            self._sink,
            self._executor,
            self._disk_space,
            inline_bytes=self._inline_bytes,
            max_message_bytes=self._settings.max_message_bytes,
            max_header_bytes=self._settings.max_header_bytes,
            expected_bytes=expected_bytes,
        )
        return Incoming(self._handover, user, body)

    def close(self) -> None:
        """Let the threads go; what they write is finished."""
        self._executor.shutdown(wait=False)


class Incoming:
    """One mail on its way: `add` its pieces, then `finish` it or `abandon` it."""

    def __init__(self, handover: Handover, user: User, body: MailBuffer) -> None:
        """Begin an empty one."""
        self._handover = handover
        self._user = user
        self._body = body
        self._line_ends = LineEnds()

    async def add(self, piece: bytes) -> None:
        """Take a piece, with whatever line ends; trouble is kept for `finish`."""
        if self._body.add(self._line_ends.feed(piece)):
            await self._body.flush()

    async def finish(self, whence: str) -> str | Refusal:
        """Store the mail and return its id, or record why not.

        Cancelled, it is stored whole or not at all.

        Raises:
            StoreUnavailable, StoreFull: Nothing was stored; try again later.
        """
        user, handover = self._user, self._handover
        handed_over = False
        try:
            raw, head = await self._body.finish()
            handed_over = True
            came = await handover.put(user, raw, head, whence=whence)
            handed_over = isinstance(came, str)
        except TooLarge:
            return await handover.refuse_size(user)
        except HeaderTooLarge:
            return await handover.refuse_header(user)
        except StoreUnavailable:
            handed_over = False
            raise
        finally:
            # Cancelled during `put`, the store may be at work on the file.
            if not handed_over:
                await self._body.abandon()
        return came

    async def abandon(self) -> None:
        """Forget what has come; harmless when it has been finished."""
        await self._body.abandon()
