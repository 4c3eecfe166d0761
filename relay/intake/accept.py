"""The way of one mail from its last byte to the store, the same for every door.

SMTP, LMTP, submission, HTTP and `relay import` each `begin` a mail, add its bytes, and
give it to `Intake.accept`. It is judged in this order: complete, size, header, sender,
store; the answer is `Accepted` or `Refused`. A door only translates the reason: into an
SMTP reply, an HTTP status, a line of the import. Envelope and trace are built here, and
refusals are recorded here.

Source: RFC 5321 sections 3.3 and 6.1.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from relay.core.addresses import address_key
from relay.core.authentication import Outcome
from relay.core.errors import StoreFull, StoreUnavailable
from relay.core.ids import new_message_id
from relay.core.model import Envelope, Recipient, Step
from relay.intake.address_uses import AddressUses
from relay.intake.buffer import HeaderTooLarge, MailBuffer
from relay.intake.disk_space import DiskSpace
from relay.intake.judging import Examination, Handover, MailFacts, held
from relay.intake.refusals import Occasion, RefusalRecorder, Rejection
from relay.intake.rules import (
    Addressee,
    Headers,
    LineEnds,
    Rules,
    read_headers,
    shown,
    writers,
)
from relay.sender import Author, read_author
from relay.telemetry import get_logger
from relay.telemetry.metrics import COMMIT_SECONDS, MESSAGES_ACCEPTED, MESSAGES_HELD

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from relay.config import SMTPSettings
    from relay.core.authentication import Verdict
    from relay.core.clock import Clock
    from relay.core.directory import Directory, User
    from relay.core.model import RawMail, Refusal
    from relay.intake.judging import Senders, Writers
    from relay.intake.refusals import ReplyLine
    from relay.store import Store

log = get_logger(__name__)

_THREADS: Final = 4
_CRLF: Final = LineEnds()
_NO_HEADERS: Final = Headers()
_NO_AUTHOR: Final = Author("", "")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a mail comes from, for the envelope, the refusals and the trace.

    `peer` is an IP address, or the name of a door that has none. `step` is the first
    line of the trace: by which door the mail came, and from whom. `door` is `smtp`,
    `lmtp`, `submission`, `http` or `import`; `door_detail` says more about the last
    two. `certificate` is the name in the peer's verified certificate; `login` and
    `login_id` are the user who logged in.
    """

    peer: str
    step: Step
    helo: str = ""
    tls: bool = False
    door: str = "smtp"
    door_detail: str = ""
    certificate: str = ""
    login: str = ""
    login_id: int | None = None


@dataclass(frozen=True, slots=True)
class IncomingMail:
    """A mail on its way in: its envelope, and its bytes so far.

    The door adds the bytes to `content`; then it gives the mail to `Intake.accept`, or
    abandons the content. `refused_recipients` counts those that are not among the
    addressees because they were refused before.
    """

    origin: Origin
    mail_from: str
    addressees: Sequence[Addressee]
    refused_recipients: int
    content: MailBuffer


@dataclass(frozen=True, slots=True)
class Accepted:
    """The mail is safe: a message for each of these recipients.

    `refusals` are of recipients who may not have a mail that others got.
    """

    recipients: Sequence[Recipient]
    refusals: Sequence[Refusal] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """Nobody has the mail: a refusal for each recipient, in their order.

    Refusals that a later attempt may change come first: the peer reads the first one.
    """

    refusals: Sequence[Refusal]

    @property
    def reason(self) -> str:
        """Return the reason that the first recipient was refused for."""
        return self.refusals[0].reason


@dataclass(slots=True)
class _State:
    """What is known of a mail while it is judged."""

    mail: IncomingMail
    line_ends: LineEnds
    headers: Headers = _NO_HEADERS
    head: bytes = b""
    author: Author = _NO_AUTHOR
    accepted: list[tuple[Addressee, User | None]] = field(default_factory=list)
    judged: dict[str, Verdict] = field(default_factory=dict)
    """What was found about the author, by RCPT of those who may have the mail."""
    signatures: tuple[tuple[str, str], ...] = ()
    refused: list[tuple[Addressee, Rejection]] = field(default_factory=list)
    delegates: dict[str, str] = field(default_factory=dict)

    @property
    def header_from(self) -> str:
        """Return the author's address, or what stands in From instead of one."""
        return self.author.address or shown(self.headers.from_values)

    def refuse_all(self, rejection: Rejection) -> None:
        """Refuse the mail for every recipient, for one reason."""
        self.accepted = []
        self.refused = [(one, rejection) for one in self.mail.addressees]


class Intake:
    """Accepts mails for the relay; one for all doors of a process.

    Attributes:
        disk_space: What may still be written above the floor.
        recorder: Records refusals, also those that a door decides on its own.
    """

    def __init__(
        self,
        settings: SMTPSettings,
        store: Store,
        clock: Clock,
        *,
        directory: Callable[[], Directory],
        inline_bytes: int,
        min_free_bytes: int,
        reply_line: ReplyLine,
        senders: Senders,
    ) -> None:
        """Take the parts; nothing is opened yet.

        Args:
            settings: The limits, and the domains of relay addresses.
            store: Keeps mails and refusals.
            clock: For ids, times and the trace.
            directory: Gives the newest snapshot; called for each recipient and mail.
            inline_bytes: Above this a mail goes to a temporary file of the store.
            min_free_bytes: Free space into which no mail may go.
            reply_line: Gives the text of a refusal, as it is kept and shown.
            senders: Judges who sent a mail.
        """
        self._settings = settings
        self._store = store
        self._clock = clock
        self._directory = directory
        self._inline_bytes = inline_bytes
        self._rules = Rules(settings)
        self._senders = senders
        self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="intake-spool")
        self.disk_space = DiskSpace(store, min_free_bytes)
        self.recorder = RefusalRecorder(store, clock, reply_line)
        self._uses = AddressUses(store, clock, directory)

    async def close(self) -> None:
        """Store the refusals that wait, and let the threads end with their work."""
        await self.recorder.close()
        await self._uses.close()
        self._executor.shutdown(wait=False)

    # ------------------------------------------------------------ before the content

    def check_size(self, size_bytes: int) -> Rejection | None:
        """Say why no mail of that size can be accepted now; 0 stands for any size."""
        rejection = self._rules.size(size_bytes)
        if rejection is not None:
            return rejection
        try:
            self.disk_space.need(size_bytes)
        except StoreUnavailable as error:
            return _store_failure(error)
        return None

    def recipient(self, rcpt: str, local: str, domain: str) -> Addressee | Rejection:
        """Return whose relay address this is, or why it is refused (see `Rules`)."""
        answer = self._rules.recipient(rcpt, local, domain, self._directory())
        if isinstance(answer, Rejection) and answer.user_id is not None:
            self._uses.refused(f"{local}@{domain}")
        return answer

    def relay_address(self, user: User) -> Addressee:
        """Return a user who is known already as a recipient."""
        domain = next(iter(self._settings.domains), "relay")
        return Addressee(f"{user.relay_token}@{domain}", user.id)

    def begin(
        self,
        origin: Origin,
        addressees: Sequence[Addressee],
        *,
        mail_from: str = "",
        refused_recipients: int = 0,
        expected_bytes: int = 0,
    ) -> IncomingMail | Rejection:
        """Begin a mail, or say that its announced size is too large for its recipients.

        Args:
            origin: Where it comes from.
            addressees: At least one.
            mail_from: The envelope sender; empty for the null sender.
            refused_recipients: How many others were refused, for the trace.
            expected_bytes: The size that was announced (RFC 1870); 0: none.
        """
        rejection = self._rules.size(expected_bytes, addressees)
        if rejection is not None:
            return rejection
        content = MailBuffer(
            self._store,
            self._executor,
            self.disk_space,
            inline_bytes=self._inline_bytes,
            max_message_bytes=self._rules.largest(addressees),
            max_header_bytes=self._settings.max_header_bytes,
            expected_bytes=expected_bytes,
        )
        return IncomingMail(origin, mail_from, addressees, refused_recipients, content)

    def is_too_large(self, mail: IncomingMail) -> bool:
        """Say whether a mail that is still coming in is too large already."""
        return self._rules.size(mail.content.size_bytes) is not None

    # ------------------------------------------------------------ the whole mail

    async def accept(
        self, mail: IncomingMail, line_ends: LineEnds = _CRLF
    ) -> Accepted | Refused:
        """Judge a mail that has come to its end, and store it if anybody may have it.

        Never raises but on cancellation: a failure of the relay is a reason as well, so
        that the peer keeps the mail. Afterwards the content's file is the store's, or
        gone. Cancelled in the middle, the mail is stored whole or not at all.
        """
        started_s = time.monotonic()
        state = _State(mail, line_ends)
        envelope = None
        failure = None
        is_the_stores = False
        try:
            raw = await self._judge(state)
            if raw is not None and state.accepted:
                envelope = self._envelope(state, raw.size_bytes)
                is_the_stores = True
                await self._store.messages.put(envelope, raw)
                COMMIT_SECONDS.observe(time.monotonic() - started_s)
                for one in envelope.recipients:
                    self._uses.accepted(one.rcpt)
                _log_accepted(envelope, raw.size_bytes)
        except StoreUnavailable as error:
            is_the_stores = False
            state.refuse_all(_store_failure(error))
        except Exception as error:  # noqa: BLE001 - any bug is a 451: logged below
            is_the_stores = False
            failure = error
            state.refuse_all(Rejection("internal_error", type(error).__name__))
        finally:
            # Cancelled during `put`, the store may be at work on the file: it sweeps
            # files without a row. In every other case without a commit the file is
            # ours to remove.
            if not is_the_stores:
                await mail.content.abandon()
        refusals = self._refusals(state)
        if failure is not None:
            log.error(
                "smtp_internal_error",
                error_id=refusals[0].id,
                peer=mail.origin.peer,
                exc_info=failure,
            )
        if refusals:
            await self.recorder.record(refusals)
        if envelope is None or not state.accepted:
            return Refused(refusals)
        return Accepted(envelope.recipients, refusals)

    async def refuse(
        self,
        origin: Origin,
        addressees: Sequence[Addressee],
        rejection: Rejection,
        *,
        mail_from: str = "",
    ) -> Refused:
        """Refuse for everybody a mail that its door did not begin, or cannot finish."""
        refusals = [
            self._refusal(Occasion(origin.peer, mail_from, one.rcpt), one, rejection)
            for one in addressees
        ]
        await self.recorder.record(refusals)
        return Refused(refusals)

    # ------------------------------------------------------------ the steps, in order

    async def _judge(self, state: _State) -> RawMail | None:
        """Go through the steps before the store; None where one refuses for everybody.

        Raises:
            StoreUnavailable, StoreFull: The content could not be kept.
        """
        rejection = self._complete(state) or self._size(state)
        if rejection is None:
            try:
                raw, head = await state.mail.content.finish()
            except HeaderTooLarge:
                rejection = self._rules.header_too_large()
            else:
                rejection = self._header(state, head)
        if rejection is not None:
            state.refuse_all(rejection)
            return None
        await self._sender(state, raw)
        return raw

    def _complete(self, state: _State) -> Rejection | None:
        """Step 1: every line has its end, so that all readers see one mail."""
        if state.line_ends.bare_dot:
            log.warning(
                "smtp_smuggling_refused",
                peer=state.mail.origin.peer,
                mail_from=state.mail.mail_from,
                hint="a lone dot between bare line ends: SMTP smuggling attempt",
            )
        return self._rules.line_ends(state.line_ends)

    def _size(self, state: _State) -> Rejection | None:
        """Step 2: the mail is no larger than one of its recipients may have."""
        mail = state.mail
        return self._rules.size(mail.content.size_bytes, mail.addressees)

    def _header(self, state: _State, head: bytes) -> Rejection | None:
        """Step 3: the header is no loop, and has not too many fields."""
        state.head = head
        state.headers = read_headers(head)
        state.author = read_author(state.headers.from_values)
        return self._rules.header(state.headers)

    async def _sender(self, state: _State, raw: RawMail) -> None:
        """Step 4: the author may send to the recipient, judged for each of them.

        The list is asked first: a stranger costs no look-up. What must be asked of DNS
        is asked once for an author, and only where a policy wants it.
        """
        directory, mail = self._directory(), state.mail
        who = writers(state.headers, state.author, mail.mail_from)
        examination: Examination | None = None
        later: list[tuple[Addressee, User, Verdict]] = []
        for addressee in mail.addressees:
            answer = self._rules.size(raw.size_bytes, [addressee])
            found = answer or self._rules.sender(who, addressee, directory)
            if isinstance(found, Rejection):
                state.refused.append((addressee, found))
                continue
            if found is None:
                state.accepted.append((addressee, None))
                continue
            user, verdict = found.user, self._senders.by_list(found.authors)
            if verdict is None:
                examination = examination or self._examine(state, raw, who)
                verdict = await examination.verdict(user, found.authors)
            if verdict.outcome is Outcome.REFUSE:
                state.refused.append((addressee, _unproven(verdict, user)))
            elif verdict.outcome is Outcome.RETRY:
                later.append((addressee, user, verdict))
            else:
                self._take(state, addressee, user, verdict, directory)
        if examination is not None:
            state.signatures = examination.signatures
        if not state.accepted:
            # Nobody has the mail: the first reply decides that the peer comes again.
            put_off = [(one, _unproven(made, user)) for one, user, made in later]
            state.refused[:0] = put_off
            return
        # The peer reads one reply for all, and does not come again for these.
        for addressee, user, verdict in later:
            self._take(state, addressee, user, held(verdict), directory)

    def _examine(self, state: _State, raw: RawMail, who: Writers) -> Examination:
        """Begin to find out who sent a mail."""
        mail, headers, origin = state.mail, state.headers, state.mail.origin
        return self._senders.examine(
            Handover(
                origin.peer,
                origin.helo,
                mail.mail_from,
                origin.door,
                origin.door_detail,
                origin.certificate,
                origin.login,
                origin.login_id,
            ),
            raw,
            state.head,
            MailFacts(who, headers.message_id, headers.date),
        )

    def _take(
        self,
        state: _State,
        addressee: Addressee,
        user: User,
        verdict: Verdict,
        directory: Directory,
    ) -> None:
        """Note that a recipient may have the mail, by which verdict, and from whom."""
        state.accepted.append((addressee, user))
        state.judged[addressee.rcpt] = verdict
        key = address_key(verdict.address)
        if key and (delegate := directory.delegate_of(user.id, key)):
            state.delegates[addressee.rcpt] = delegate

    def _envelope(self, state: _State, size_bytes: int) -> Envelope:
        """Step 5: what the store keeps beside the bytes."""
        mail, headers = state.mail, state.headers
        now = self._clock.now()
        return Envelope(
            mail_from=mail.mail_from,
            peer=mail.origin.peer,
            helo=mail.origin.helo,
            tls=mail.origin.tls,
            received_at=now,
            recipients=tuple(
                _recipient(new_message_id(self._clock), one, state.judged.get(one.rcpt))
                for one, _ in state.accepted
            ),
            header_from=state.header_from,
            header_to=headers.to_text,
            subject=headers.subject,
            rfc_message_id=headers.message_id,
            trace=_trace(state, size_bytes, now),
            signatures=state.signatures,
        )

    # ------------------------------------------------------------ refusals

    def _refusals(self, state: _State) -> list[Refusal]:
        headers = state.headers
        return [
            self._refusal(
                Occasion(
                    peer=state.mail.origin.peer,
                    mail_from=state.mail.mail_from,
                    rcpt=addressee.rcpt,
                    header_from=state.header_from,
                    subject=headers.subject,
                    rfc_message_id=headers.message_id,
                ),
                addressee,
                rejection,
            )
            for addressee, rejection in state.refused
        ]

    def _refusal(
        self, occasion: Occasion, addressee: Addressee, rejection: Rejection
    ) -> Refusal:
        self._uses.refused(addressee.rcpt)
        if rejection.user_id is None and addressee.user_id is not None:
            rejection = replace(rejection, user_id=addressee.user_id)
        return self.recorder.make(occasion, rejection)


def _unproven(verdict: Verdict, user: User) -> Rejection:
    """Return the rejection for a mail whose author is not proven."""
    return Rejection(
        verdict.reason,
        f"for {user.name}: {verdict.cause}, by the policy {verdict.policy}",
        user.id,
        {"text": verdict.text},
        verdict.as_json(),
    )


def _recipient(ident: str, one: Addressee, verdict: Verdict | None) -> Recipient:
    if verdict is None:
        return Recipient(ident, one.rcpt, one.user_id)
    is_held = verdict.outcome is Outcome.HOLD
    return Recipient(
        ident,
        one.rcpt,
        one.user_id,
        verdict.reason if is_held else "",
        verdict.as_json(),
    )


def _store_failure(error: StoreUnavailable) -> Rejection:
    """Return the rejection for a store that cannot take a mail now."""
    reason = "disk_full" if isinstance(error, StoreFull) else "store_unavailable"
    return Rejection(reason, str(error))


def _log_accepted(envelope: Envelope, size_bytes: int) -> None:
    MESSAGES_ACCEPTED.inc(len(envelope.recipients))
    for recipient in envelope.recipients:
        if recipient.held_for:
            MESSAGES_HELD.labels(recipient.held_for).inc()
        log.info(
            "message_accepted",
            message_id=recipient.message_id,
            peer=envelope.peer,
            mail_from=envelope.mail_from,
            rcpt=recipient.rcpt,
            size_bytes=size_bytes,
            **({"held_for": recipient.held_for} if recipient.held_for else {}),
        )


def _trace(state: _State, size_bytes: int, now: datetime) -> tuple[Step, ...]:
    """Return what was checked, as steps of the decision trace."""
    mail = state.mail
    accepted = ", ".join(addressee.rcpt for addressee, _ in state.accepted)
    refused = mail.refused_recipients + len(state.refused)
    names = ", ".join(
        _named(state, addressee, user) for addressee, user in state.accepted
    )
    author = state.author.address or "no address in From"
    bare = str(state.line_ends)
    return (
        mail.origin.step,
        Step(now, "rcpt", "accepted", f"{accepted}; {refused} refused"),
        Step(now, "sender", "accepted", f"{author} for {names}"),
        *_proofs(state, now),
        Step(now, "size", "accepted", f"{size_bytes} bytes"),
        Step(
            now,
            "line_ends",
            "bare" if bare else "crlf",
            f"kept {bare}" if bare else "",
        ),
    )


def _named(state: _State, addressee: Addressee, user: User | None) -> str:
    """Return for whom a mail was accepted, and who sent it for them."""
    if user is None:
        return "postmaster"
    delegate = state.delegates.get(addressee.rcpt)
    return f"{user.name} (sent by {delegate})" if delegate else user.name


def _proofs(state: _State, now: datetime) -> list[Step]:
    """Return what was found about the author; nothing where no proof was asked for."""
    steps = []
    asked = (one for one in state.judged.values() if one.authentication is not None)
    for verdict in dict.fromkeys(asked):
        words = [verdict.cause, verdict.proof or verdict.text]
        steps.append(
            Step(
                now,
                f"policy {verdict.policy}",
                verdict.outcome.value,
                " ".join(word for word in words if word),
            )
        )
    return steps
