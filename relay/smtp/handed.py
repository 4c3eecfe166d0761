"""A whole mail that is handed over for a user we know, without an SMTP dialogue.

It meets the same rules as one that came by SMTP: size, header, loops, and whether the
user may send as its author. What is refused is recorded in the same journal.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

from relay.core.ids import new_message_id
from relay.core.model import Envelope, RawMail, Recipient, Step
from relay.smtp.journal import Journal, Occasion
from relay.smtp.policy import Addressee, Policy
from relay.telemetry.metrics import MESSAGES_ACCEPTED

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.config import SMTPSettings
    from relay.core.clock import Clock
    from relay.core.model import Directory, Refusal, User
    from relay.smtp.policy import Assessment, Rejection
    from relay.smtp.sink import Sink

_BARE_LF: Final = re.compile(rb"(?<!\r)\n")


def with_crlf(raw: bytes) -> bytes:
    """Return a mail from a file as it travels: every line ends in CRLF."""
    return _BARE_LF.sub(b"\r\n", raw)


def digest(raw: bytes) -> str:
    """Return what the store knows the bytes of a mail by."""
    return hashlib.sha256(raw).hexdigest()


class Handover:
    """Takes whole mails for users; `peer` says in the journal which way they came."""

    def __init__(
        self,
        settings: SMTPSettings,
        sink: Sink,
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
        self._journal = Journal(sink, clock)

    async def take(self, user: User, raw: bytes, *, whence: str) -> str | Refusal:
        """Store a mail for a user and return its id, or record why not.

        Args:
            user: Whom it is for.
            raw: The mail with CRLF line ends.
            whence: For the trace: the file, or who handed it over.

        Raises:
            StoreUnavailable, StoreFull: Nothing was stored; try again later.
        """
        rcpt = f"{user.relay_token}@{next(iter(self._settings.domains), 'relay')}"
        addressee = Addressee(rcpt, user.id)
        limit = self._policy.largest([addressee])
        if len(raw) > limit:
            return await self._refuse(addressee, self._policy.too_large(limit))
        end = raw.find(b"\r\n\r\n")
        head = raw if end < 0 else raw[: end + 4]
        if len(head) > self._settings.max_header_bytes:
            return await self._refuse(addressee, self._policy.header_too_large())
        found = self._policy.assess(
            head, [addressee], self._directory(), size_bytes=len(raw)
        )
        if found.refused:
            return await self._refuse(addressee, found.refused[0][1], found)
        envelope = self._envelope(addressee, found, raw, whence)
        await self._sink.put(envelope, RawMail(len(raw), digest(raw), raw))
        MESSAGES_ACCEPTED.inc()
        return envelope.recipients[0].message_id

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
        refusal = self._journal.refusal(occasion, rejection)
        await self._sink.refuse([refusal])
        return refusal

    def _envelope(
        self, addressee: Addressee, found: Assessment, raw: bytes, whence: str
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
                Step(now, "mail", "complete", f"{len(raw)} bytes"),
            ),
        )
