"""One mail transaction: from MAIL to the reply that ends DATA.

`conclude` is the order in which a complete mail is judged: line ends, size and disk,
header, sender for each recipient, then the commit. It gives the one reply line that
SMTP has for all recipients, and the refusals that go with it.

Source: RFC 5321 sections 3.3 and 6.1.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from relay.core.addresses import fold_ascii
from relay.core.errors import StoreFull, StoreUnavailable
from relay.core.ids import new_message_id
from relay.core.model import Envelope, Recipient, Step
from relay.intake.buffer import HeaderTooLarge, TooLarge
from relay.intake.refusals import Occasion, Rejection
from relay.smtp import replies
from relay.telemetry import get_logger
from relay.telemetry.metrics import COMMIT_SECONDS, MESSAGES_ACCEPTED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from relay.core.model import RawMail, Refusal
    from relay.intake.buffer import MailBuffer
    from relay.intake.rules import Addressee, Assessment
    from relay.smtp.chunks import Decoder
    from relay.smtp.server import SMTPServer

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is on the other side of the connection, for envelope and trace."""

    address: str
    helo: str
    tls: str
    """Version of TLS, empty in the clear."""
    connected_at: datetime
    via: str = ""
    """The load balancer in between, empty where there is none."""
    certificate: str = ""
    """Whom a verified client certificate names."""
    login: str = ""
    """The user who has logged in."""
    trusted: bool = False
    """Held to no rate (see `crowd`)."""


@dataclass(slots=True)
class Transaction:
    """The envelope so far. `refused` counts RCPTs that were.

    `size_bytes` is what MAIL has told of the mail, 0 if it has not (RFC 1870).
    `accepted` are the RCPTs that were answered 250, in order, one as often as it was
    named: LMTP answers each.
    """

    mail_from: str
    utf8: bool
    addressees: list[Addressee] = field(default_factory=list)
    refused: int = 0
    accepted: list[str] = field(default_factory=list)
    size_bytes: int = 0

    def add(self, addressee: Addressee) -> None:
        """Add a recipient; one that is named again is the same, and one message."""
        rcpt = fold_ascii(addressee.rcpt)
        self.accepted.append(rcpt)
        if all(rcpt != fold_ascii(known.rcpt) for known in self.addressees):
            self.addressees.append(addressee)


@dataclass(frozen=True, slots=True)
class Conclusion:
    """The reply that ends DATA, and what is to be recorded with it.

    `lines` has a reply of its own for each recipient, by RCPT in small letters.
    """

    line: str
    taken: bool
    refusals: tuple[Refusal, ...] = ()
    lines: Mapping[str, str] = field(default_factory=dict)


def told_too_large(
    intake: SMTPServer, peer: Peer, transaction: Transaction
) -> Conclusion | None:
    """Refuse a mail whose SIZE passes what its recipients may have, before it comes.

    MAIL has been held to the limit for anybody; who the recipients are is known now
    (RFC 1870 section 6.1).
    """
    largest = intake.policy.largest(transaction.addressees)
    if transaction.size_bytes <= largest:
        return None
    refuse = _Refuser(intake, peer, transaction)
    return refuse.all(intake.policy.too_large(largest))


async def conclude(
    intake: SMTPServer,
    peer: Peer,
    transaction: Transaction,
    decoder: Decoder,
    body: MailBuffer,
) -> Conclusion:
    """Judge a mail that has arrived to its end, and store it if anybody may have it.

    Never raises but on cancellation: trouble of our own is a 4yz reply, so that the
    peer keeps the mail. Afterwards the body's file is the store's, or gone.
    """
    started_s = time.monotonic()
    refuse = _Refuser(intake, peer, transaction)
    handed_over = False
    try:
        trouble = _line_end_trouble(intake, peer, transaction, decoder)
        if trouble is not None:
            return refuse.all(trouble)
        raw, head = await body.finish()
        assessment = intake.policy.assess(
            head,
            transaction.addressees,
            intake.directory(),
            size_bytes=raw.size_bytes,
        )
        refuse.assessment = assessment
        if not assessment.taken:
            return refuse.each(assessment)
        envelope = _envelope(intake, peer, transaction, decoder, assessment, raw)
        handed_over = True
        await intake.sink.messages.put(envelope, raw)
    except TooLarge:
        largest = intake.policy.largest(transaction.addressees)
        return refuse.all(intake.policy.too_large(largest))
    except HeaderTooLarge:
        return refuse.all(intake.policy.header_too_large())
    except StoreFull as error:
        handed_over = False
        return refuse.all(Rejection("disk_full", str(error)))
    except StoreUnavailable as error:
        handed_over = False
        detail = str(error)
        return refuse.all(Rejection("store_unavailable", detail))
    except Exception as error:
        handed_over = False
        conclusion = refuse.all(Rejection("internal_error", type(error).__name__))
        ident = conclusion.refusals[0].id
        log.exception("smtp_internal_error", error_id=ident, peer=peer.address)
        return conclusion
    finally:
        # Cancelled during `put`, the store may be at work on the file: it sweeps what
        # nobody owns. In every other case without a commit the file is ours to remove.
        if not handed_over:
            await body.abandon()
    COMMIT_SECONDS.observe(time.monotonic() - started_s)
    if not peer.trusted:
        for recipient in envelope.recipients:
            intake.limits.users.count(recipient.user_id)
    return _accepted(envelope, raw, refuse.those(assessment))


def _line_end_trouble(
    intake: SMTPServer, peer: Peer, transaction: Transaction, decoder: Decoder
) -> Rejection | None:
    """Say why the line ends of a mail keep it from being taken."""
    if decoder.bare_dot:
        log.warning(
            "smtp_smuggling_refused",
            peer=peer.address,
            mail_from=transaction.mail_from,
            hint="a lone dot between bare line ends: SMTP smuggling attempt",
        )
        detail = "SMTP smuggling: a lone dot between bare line ends"
        return Rejection("bare_dot", detail)
    bare = _bare(decoder)
    if bare and intake.settings.bare_newlines == "refuse":
        return Rejection("bare_newline", bare)
    return None


def _bare(decoder: Decoder) -> str:
    """Name the line ends that are none, if there are any."""
    if not (decoder.bare_lf or decoder.bare_cr):
        return ""
    return f"{decoder.bare_lf} bare LF and {decoder.bare_cr} bare CR"


def _accepted(
    envelope: Envelope, raw: RawMail, refusals: tuple[Refusal, ...]
) -> Conclusion:
    recipients = envelope.recipients
    MESSAGES_ACCEPTED.inc(len(recipients))
    for recipient in recipients:
        log.info(
            "message_accepted",
            message_id=recipient.message_id,
            peer=envelope.peer,
            mail_from=envelope.mail_from,
            rcpt=recipient.rcpt,
            size_bytes=raw.size_bytes,
        )
    first = recipients[0].message_id
    if len(recipients) == 1:
        line = replies.TAKEN.line(id=first)
    else:
        line = replies.TAKEN_SEVERAL.line(count=len(recipients), id=first)
    lines = _lines(refusals)
    for one in recipients:
        lines[fold_ascii(one.rcpt)] = replies.TAKEN.line(id=one.message_id)
    return Conclusion(line, True, refusals, lines)


def _lines(refusals: Sequence[Refusal]) -> dict[str, str]:
    return {fold_ascii(refusal.rcpt): refusal.reply for refusal in refusals}


class _Refuser:
    """Makes the refusals of one transaction."""

    def __init__(
        self, intake: SMTPServer, peer: Peer, transaction: Transaction
    ) -> None:
        self._intake = intake
        self._peer = peer
        self._transaction = transaction
        self.assessment: Assessment | None = None

    def all(self, rejection: Rejection) -> Conclusion:
        """Refuse the mail for everybody, for one reason."""
        whom = self._transaction.addressees
        return self._conclusion([(addressee, rejection) for addressee in whom])

    def each(self, assessment: Assessment) -> Conclusion:
        """Refuse the mail for everybody, for each for their reason.

        SMTP has one reply: it is that of the first recipient.
        """
        return self._conclusion(assessment.refused)

    def those(self, assessment: Assessment) -> tuple[Refusal, ...]:
        """Return refusals for those who may not have a mail that others got."""
        if not assessment.refused:
            return ()
        return tuple(self._refusals(assessment.refused))

    def _conclusion(self, refused: Sequence[tuple[Addressee, Rejection]]) -> Conclusion:
        refusals = self._refusals(refused)
        return Conclusion(refusals[0].reply, False, tuple(refusals), _lines(refusals))

    def _refusals(
        self, refused: Sequence[tuple[Addressee, Rejection]]
    ) -> list[Refusal]:
        headers = self.assessment.headers if self.assessment else None
        result: list[Refusal] = []
        for addressee, rejection in refused:
            occasion = Occasion(
                peer=self._peer.address,
                mail_from=self._transaction.mail_from,
                rcpt=addressee.rcpt,
                header_from=self.assessment.header_from if self.assessment else "",
                subject=headers.subject if headers else "",
                rfc_message_id=headers.message_id if headers else "",
            )
            whose = Rejection(
                rejection.reason,
                rejection.detail,
                rejection.user_id or addressee.user_id,
                rejection.values,
            )
            result.append(self._intake.recorder.make(occasion, whose))
        return result


def _whence(peer: Peer) -> str:
    """Say for the trace where a mail came from."""
    words = [f"from {peer.address}, which calls itself {peer.helo}"]
    if peer.via:
        words.append(f"passed on by {peer.via}")
    if peer.certificate:
        words.append(f"with the certificate of {peer.certificate}")
    if peer.login:
        words.append(f"logged in as {peer.login}")
    return ", ".join(words)


def _envelope(
    intake: SMTPServer,
    peer: Peer,
    transaction: Transaction,
    decoder: Decoder,
    assessment: Assessment,
    raw: RawMail,
) -> Envelope:
    headers = assessment.headers
    now = intake.clock.now()
    return Envelope(
        mail_from=transaction.mail_from,
        peer=peer.address,
        helo=peer.helo,
        tls=bool(peer.tls),
        received_at=now,
        recipients=tuple(
            Recipient(new_message_id(intake.clock), addressee.rcpt, addressee.user_id)
            for addressee, _ in assessment.taken
        ),
        header_from=assessment.header_from,
        header_to=headers.to_text,
        subject=headers.subject,
        rfc_message_id=headers.message_id,
        trace=_trace(peer, transaction, decoder, assessment, raw, now),
    )


def _trace(
    peer: Peer,
    transaction: Transaction,
    decoder: Decoder,
    assessment: Assessment,
    raw: RawMail,
    now: datetime,
) -> tuple[Step, ...]:
    """Return what the intake checked, as steps of the decision trace."""
    taken = ", ".join(addressee.rcpt for addressee, _ in assessment.taken)
    refused = transaction.refused + len(assessment.refused)
    names = ", ".join(
        user.name if user else "postmaster" for _, user in assessment.taken
    )
    bare = _bare(decoder)
    return (
        Step(
            peer.connected_at,
            "connection",
            peer.tls or "in the clear",
            _whence(peer),
        ),
        Step(now, "rcpt", "accepted", f"{taken}; {refused} refused"),
        Step(
            now,
            "sender",
            "accepted",
            f"{assessment.author.address or 'no address in From'} for {names}",
        ),
        Step(now, "size", "accepted", f"{raw.size_bytes} bytes"),
        Step(
            now,
            "line_ends",
            "bare" if bare else "crlf",
            f"kept {bare}" if bare else "",
        ),
    )
