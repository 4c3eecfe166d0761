"""Mail of users who log by Email to Salesforce: a copy to each user's own address.

claim → read → judge → join → mark → send → settle. The rules that keep a mail out are
those of all mail (`relay.match.ask`); no record is looked up, and no API call is made.
A copy is the mail as it came, with relay addresses masked, sent by the smarthost of the
notices. Salesforce takes it only if its author is on the user's list of acceptable
addresses there, so that mail which others wrote is left out, unless the user forwards
it.

A copy is a row of the outbox that no look-up can prove: its row is committed as *sent*
before it leaves. Where the smarthost does not answer after the content has left, or the
process is killed before the answer is committed, nobody knows whether Salesforce has
it. It is not sent again by itself: the message ends as *dead* (`copy_unknown`), and a
person looks into Salesforce and has it tried again, or discards it.

Source: rules R7 to R14, D13, D27, D31.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import relay.mail
from relay.activity import activity_key
from relay.core.addresses import address_key, domain_key, domain_of
from relay.core.copies import (
    COPY_HEADER,
    NO_ADDRESS,
    NO_SMARTHOST,
    Copied,
    CopyDraft,
    CopyRow,
    CopyUpdate,
)
from relay.core.errors import RawUnreadable, StoreUnavailable, UnparsableMessage
from relay.core.log_by import by_bcc
from relay.core.masking import masked
from relay.core.model import Step
from relay.core.states import IN_SALESFORCE, ActivityState, Event
from relay.match import Context, MailFacts, ask, to_log
from relay.notices import Rest, Smarthost, SmarthostError
from relay.outbox.batch import BatchMail, claimed_messages
from relay.outbox.engine import OnceClient, Outbox, Result
from relay.outbox.turns import Turns
from relay.telemetry import get_logger, metrics
from relay.worker.decisions import rules
from relay.worker.reading import read_emails
from relay.worker.reminding import asked_for, with_reminder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from relay.config import Settings
    from relay.core.clock import Clock
    from relay.core.directory import Directory, User
    from relay.core.model import Email
    from relay.core.queue import LeaseOwner, Settlement
    from relay.outbox.backoff import Backoff
    from relay.outbox.batch import ClaimedMessage
    from relay.outbox.engine import Change, Found, Mark
    from relay.salesforce import WriteOutcome
    from relay.store import Store

BATCH: Final = 10
"""Copies in one session; few, so that the last is sent well within the lease."""
LEASE_S: Final = 300.0
POLL_S: Final = 1.0
WAIT_S: Final = 60.0
"""Wait for an address, or a smarthost, that is missing."""

RECEIVED: Final = "received_by_bcc"
"""The reason of received mail: Salesforce takes copies from the user alone."""
REFUSED: Final = "copy_refused"
UNKNOWN: Final = "copy_unknown"
PUT_OFF: Final = "copy_put_off"
SMARTHOST: Final = "smarthost_unusable"

_SLOT: Final = "copy"
_DROPPED: Final = frozenset(
    {b"bcc", b"return-path", b"delivered-to", b"x-original-to", b"envelope-to"}
    | {COPY_HEADER.lower().encode()}
)
"""Header fields that tell how the mail came to the relay, and are no part of a copy."""
_STORE_RETRY_S: Final = 1.0

logger = get_logger(__name__)


@dataclass(slots=True)
class _Going:
    """A message whose mail is to be copied."""

    message: ClaimedMessage
    email: Email
    forward: bool
    """The user forwarded it to the relay address alone."""
    row: CopyRow | None = None
    raw: bytes = b""


class Copies:
    """Copies the mail of users who log by BCC, until it is asked to stop."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        clock: Clock,
        owner: LeaseOwner,
        backoff: Backoff,
        *,
        directory: Callable[[], Directory],
        poll_s: float = POLL_S,
    ) -> None:
        """Put the parts together; nothing is started.

        Args:
            settings: The whole configuration; `notices` has the smarthost.
            store: The open store.
            clock: For what is stored and for leases.
            owner: This process.
            backoff: Says when a failed copy is tried again, and when no more.
            directory: Returns the present directory.
            poll_s: How often new mail is looked for.
        """
        self._settings = settings
        self._store = store
        self._clock = clock
        self._owner = replace(owner, worker="copies")
        self._backoff = backoff
        self._directory = directory
        self._rules = rules(settings)
        self._context: Context | None = None
        self._smarthost = Smarthost(settings.notices, clock)
        self._outbox = Outbox(clock)
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="copies")
        self._turns = Turns(poll_s)
        self._mails: dict[str, BatchMail] = {}
        """The mails of this turn, by message."""
        self._rest = Rest(clock)

    def start(self) -> None:
        """Begin to copy."""
        self._turns.begin(self.turn, "copies_failed")

    async def drain(self, timeout_s: float) -> None:
        """Finish the session that is open, then stop."""
        await self._turns.drain(timeout_s)
        self._executor.shutdown(wait=False, cancel_futures=True)

    # ------------------------------------------------------------ a turn

    async def turn(self) -> bool:
        """Copy what is due; say whether there was anything.

        Raises:
            StoreUnavailable: Messages may stay leased; they are tried after the lease.
        """
        if self._rest.holds:
            return False
        users = by_bcc(self._directory())
        if users is not None and not users:
            return False
        claimed = await self._store.queue.claim(self._owner, BATCH, LEASE_S, only=users)
        if not claimed:
            return False
        messages = claimed_messages(claimed, self._directory().users, self._clock)
        self._mails.clear()
        updates: list[CopyUpdate] = []
        await self._attempt(messages, updates)
        await self._settle(messages, updates)
        return True

    async def _attempt(
        self, messages: Sequence[ClaimedMessage], updates: list[CopyUpdate]
    ) -> None:
        """Give every message a settlement, whatever fails.

        Where one mail breaks the code, each is worked on by itself: the others go on.
        """
        try:
            await self._work(messages, updates)
        except StoreUnavailable as error:
            for message in messages:
                due_at = self._in(_STORE_RETRY_S)
                message.settle(Event.GIVE_BACK, "store_unavailable", str(error), due_at)
        except Exception:
            logger.exception("copies_failed")
            if len(messages) == 1:
                self._put_off(messages[0], "unexpected", "the log has the traceback")
                return
            for message in messages:
                if not message.settlement:
                    await self._attempt([message], updates)

    async def _work(
        self, messages: Sequence[ClaimedMessage], updates: list[CopyUpdate]
    ) -> None:
        """Do what it takes to settle every message; add what is to be committed."""
        going = await self._judge(messages)
        going = await self._load(await self._join(going))
        if not going:
            return
        client = _Client(self, going, updates)
        rows = [one.row for one in going if one.row]
        try:
            await self._outbox.send(client, rows)
        except SmarthostError as error:
            self._rest.begin(error)
        else:
            self._rest.end()
        for one in going:
            # Another process has the mail by now: it is told there what became of it.
            detail = "the lease of this mail ran out"
            one.message.settle(Event.GIVE_BACK, "lease_lost", detail, self._in(1))

    # ------------------------------------------------------------ read and judge

    async def _judge(self, messages: Sequence[ClaimedMessage]) -> list[_Going]:
        """Read every mail, and settle those that a rule keeps out."""
        sizes = {m.claimed.blob_id: m.claimed.size_bytes for m in messages if m.user}
        emails = await read_emails(self._store, self._executor, sizes)
        going: list[_Going] = []
        for message in messages:
            read = emails.get(message.claimed.blob_id)
            if message.claimed.user_id is None:
                message.trace("user", "none", "mail for postmaster is never logged")
                message.settle(Event.RULED_OUT, "postmaster", "kept, never logged")
            elif message.user is None:
                detail = "the user was added a moment ago"
                message.settle(Event.GIVE_BACK, "new_user", detail, self._in(1))
            elif isinstance(read, RawUnreadable):
                message.trace("parse", "unreadable", str(read))
                self._put_off(message, "RawUnreadable", str(read))
            elif read is None or isinstance(read, UnparsableMessage):
                detail = str(read) if read else "the raw mail is gone"
                message.trace("parse", "failed", detail)
                message.settle(Event.PERMANENT, "unparsable", detail)
            elif found := self._let_through(message, message.user, read):
                going.append(found)
        return going

    def _let_through(
        self, message: ClaimedMessage, user: User, email: Email
    ) -> _Going | None:
        """Return a mail that may go, or settle its message."""
        context = self._present_context()
        found = to_log(email, user, context)
        verdict = None
        for one in found:
            facts = MailFacts(
                one.email,
                "",
                message.claimed.received_at,
                (user,),
                null_sender=message.claimed.null_sender,
            )
            question = ask(facts, context)
            verdict = question.verdicts[0]
            if verdict is None:
                break
            for line in question.endings[0]:
                message.trace(*line)
        if verdict:
            message.settle(verdict.event, verdict.reason, verdict.detail)
            return None
        if found[0].email.incoming and not found[0].email.forwarded:
            detail = (
                "it was received, and Email to Salesforce takes mail from the user's "
                "own addresses alone: forward it to the relay address to have it logged"
            )
            message.trace("copy", "none", detail)
            message.settle(Event.RULED_OUT, RECEIVED, detail)
            return None
        if not self._has_all(message, user):
            return None
        message.email = email
        return _Going(message, email, bool(found[0].email.forwarded))

    def _has_all(self, message: ClaimedMessage, user: User) -> bool:
        """Say whether smarthost and address are there; else the message waits."""
        missing = ("", "")
        if self._settings.notices.smarthost is None:
            text = "copies go through a smarthost: set notices.smarthost, then restart"
            missing = (NO_SMARTHOST, text)
        elif not user.salesforce_address:
            text = (
                f"{user.email} has no address of Email to Salesforce here; name it: "
                f"relay user logging {user.email} --address ADDRESS"
            )
            missing = (NO_ADDRESS, text)
        if not missing[0]:
            return True
        message.trace("copy", "waiting", missing[1])
        message.settle(Event.GIVE_BACK, *missing, self._in(WAIT_S))
        return False

    def _present_context(self) -> Context:
        directory = self._directory()
        if self._context is None or self._context.directory is not directory:
            self._context = Context.of(directory, self._rules)
        return self._context

    # ------------------------------------------------------------ join

    async def _join(self, going: Sequence[_Going]) -> list[_Going]:
        """Lease the mails, and plan a copy of each that has none yet."""
        if not going:
            return []
        received = {one.message.claimed.id: one for one in going}
        states = await self._store.mails.join(
            self._owner,
            [
                (
                    id_,
                    *relay.mail.keys_of(one.email, one.message.claimed.received_at),
                    one.email.message_id or "",
                )
                for id_, one in received.items()
            ],
        )
        drafts: dict[int, CopyDraft] = {}
        kept: dict[int, _Going] = {}
        for id_, one in received.items():
            state, message = states.get(id_), one.message
            if state is None or not state.leased:
                detail = "another worker is busy with a copy of this mail"
                message.settle(Event.GIVE_BACK, "mail_busy", detail, self._in(1))
                continue
            self._mails[id_] = BatchMail(state, [message], {})
            if any(row.state in IN_SALESFORCE for row in state.activities):
                detail = "its records were written before, by the API"
                message.trace("copy", "none", detail)
                message.settle(Event.LOGGED)
            elif state.id in kept:
                detail = "goes with another message of the same mail"
                message.settle(Event.GIVE_BACK, "mail_busy", detail, self._in(1))
            elif message.user:
                kept[state.id] = one
                drafts[state.id] = CopyDraft(
                    activity_key(state.key, _SLOT),
                    state.id,
                    id_,
                    message.user.id,
                    message.user.salesforce_address or "",
                )
        rows = await self._store.copies.plan(list(drafts.values()))
        return [
            one for mail_id, one in kept.items() if self._is_open(one, rows[mail_id])
        ]

    def _is_open(self, one: _Going, row: CopyRow) -> bool:
        """Say whether a copy is to be sent; settle the message of one that is not."""
        message = one.message
        one.row = row
        if row.state is ActivityState.WRITTEN:
            text = f"{row.written_at:%Y-%m-%d %H:%M} UTC" if row.written_at else ""
            message.trace("copy", "known mail", f"its copy was sent {text}".strip())
            message.settle(Event.LOGGED)
            return False
        if row.state is not ActivityState.SENT:
            return True
        if not Copied(row.state, row.sent_at).in_the_way(message.claimed.asked_at):
            message.trace("copy", "again", "a person has looked, and asked for it")
            return True
        self._unknown(message, row.error or "the relay stopped before the answer")
        return False

    def _unknown(self, message: ClaimedMessage, error: str) -> None:
        detail = (
            f"its copy left and nothing says that it came ({error}): look into "
            "Salesforce; if it is not there, retry the message, else discard it"
        )
        message.trace("copy", "unknown", detail)
        message.settle(Event.PERMANENT, UNKNOWN, detail)

    async def _load(self, going: Sequence[_Going]) -> list[_Going]:
        """Read the bytes of the mails, before any copy is marked as sent."""
        wanted = {one.message.claimed.blob_id for one in going}
        raws = await self._store.messages.raws(wanted) if wanted else {}
        loaded: list[_Going] = []
        for one in going:
            raw = raws.get(one.message.claimed.blob_id)
            if isinstance(raw, bytes):
                one.raw = raw
                loaded.append(one)
            else:
                self._put_off(one.message, "RawUnreadable", str(raw or "it is gone"))
        return loaded

    # ------------------------------------------------------------ send and settle

    async def mark(self, marks: Sequence[Mark[CopyRow]]) -> Sequence[CopyRow]:
        """Commit that these copies leave now."""
        return await self._store.copies.mark_sent(
            self._owner,
            {mark.row.mail_id: mark.lookups for mark in marks},
            marks[0].sent_at,
        )

    async def send(
        self, rows: Sequence[CopyRow], going: Mapping[str, _Going]
    ) -> Sequence[WriteOutcome]:
        """Send copies in one session.

        Raises:
            SmarthostError: Nothing was sent.
        """
        mails: list[tuple[str, str, bytes]] = []
        senders: dict[str, str] = {}
        domains = self._settings.smtp.domains
        for row in rows:
            one = going[row.key]
            to = row.recipient if one.forward else ""
            raw = copy_of(one.raw, row.key, domains, to=to)
            mails.append((row.key, row.recipient, raw))
            author = one.email.from_[0].address if one.email.from_ else ""
            senders[row.key] = author or self._settings.notices.from_address or ""
        return await self._smarthost.send(
            mails,
            not_after_boottime_s=self._clock.boottime_s() + LEASE_S / 2,
            senders=senders,
        )

    def taken(self, one: _Going, change: Change[CopyRow]) -> CopyUpdate:
        """Settle a message by what became of its copy."""
        message, error = one.message, change.error
        place = (
            f"to Email to Salesforce of {message.user.email if message.user else ''}"
        )
        state = change.state
        if change.result is Result.WRITTEN:
            answer = change.outcome.id if change.outcome else ""
            message.trace("copy", "sent", f"{place}; the smarthost said: {answer}")
            message.settle(Event.LOGGED)
        elif change.result is Result.REFUSED:
            message.trace("copy", "refused", f"{place}: {error}")
            detail = f"the smarthost refuses the copy: {error}"
            message.settle(Event.PERMANENT, REFUSED, detail)
        elif change.result is Result.UNKNOWN:
            self._unknown(message, error)
        elif change.cause is not None:
            message.trace("copy", "waiting", error)
            message.settle(
                Event.GIVE_BACK, SMARTHOST, error, self._in(self._rest.next_s)
            )
        elif change.result is Result.NOT_SENT:
            message.settle(
                Event.GIVE_BACK, "copy_not_sent", "its turn came too late", self._in(1)
            )
        else:
            message.trace("copy", "put off", f"{place}: {error}")
            self._put_off(message, PUT_OFF, error)
        metrics.COPIES.labels(str(change.result)).inc()
        return CopyUpdate(change.row.key, state, error)

    def _put_off(self, message: ClaimedMessage, reason: str, detail: str) -> None:
        """Have a message tried again later, or give it up for its age."""
        claimed, now = message.claimed, self._clock.now()
        if self._backoff.too_old(now, claimed.failing_since):
            message.settle(Event.EXHAUSTED, reason, detail)
            return
        due_at = self._backoff.retry_at(now, claimed.failures + 1)
        message.settle(Event.TRANSIENT, reason, detail, due_at)

    async def _settle(
        self, messages: Sequence[ClaimedMessage], updates: Sequence[CopyUpdate]
    ) -> None:
        """Commit what the turn came to, however long the store needs.

        The smarthost has the copies already: giving up here would turn answers that we
        have into outcomes that a person must look up.
        """
        settlements = [
            self._with_reminder(message, end)
            for message in messages
            if (end := message.settlement)
        ]
        while True:
            try:
                await self._store.copies.settle(self._owner, updates, settlements)
            except StoreUnavailable as error:
                logger.warning("store_unavailable", error=str(error))
                await asyncio.sleep(_STORE_RETRY_S)
                continue
            break
        for one in settlements:
            metrics.ATTEMPTS.labels(str(one.event)).inc()
            logger.info(
                "attempt_settled",
                message_id=one.message_id,
                attempt=one.attempt,
                result=str(one.event),
                reason=one.reason,
            )

    def _with_reminder(self, message: ClaimedMessage, end: Settlement) -> Settlement:
        """Return a settlement with the reminder that the relay address asks for.

        Nobody is looked up: it is about the first address that the mail went to. Mail
        that is left out was never joined, and makes none.
        """
        mail = self._mails.get(message.claimed.id)
        zone = self._settings.notices.time_zone
        if mail is None:
            asked = asked_for(message.claimed.rcpt, end, self._clock.now(), zone)
            if asked is None:
                return end
            detail = "none for mail that is not copied to Email to Salesforce"
            step = Step(self._clock.now(), "reminder", "none", detail)
            return replace(end, trace=(*end.trace, step))
        done = with_reminder(message, end, mail, zone)
        if done.reminder is None:
            return done
        ours = {domain_key(one) for one in self._settings.smtp.domains}
        keys = (address_key(box.address) for box in (*mail.email.to, *mail.email.cc))
        person = next((one for one in keys if one and domain_of(one) not in ours), "")
        return replace(done, reminder=replace(done.reminder, person=person))

    def _in(self, seconds: float) -> datetime:
        return self._clock.now() + timedelta(seconds=seconds)


class _Client(OnceClient[CopyRow]):
    """The copies of one turn as rows of the outbox.

    No smarthost can be asked for a mail that it has taken, so that nothing is ever
    found; rows without an answer are not given to `recover`.
    """

    def __init__(
        self, copies: Copies, going: Sequence[_Going], updates: list[CopyUpdate]
    ) -> None:
        self._copies = copies
        self._going = {one.row.key: one for one in going if one.row}
        self._updates = updates

    async def mark_sent(self, marks: Sequence[Mark[CopyRow]]) -> Sequence[CopyRow]:
        return await self._copies.mark(marks)

    async def request(
        self, rows: Sequence[CopyRow], *, not_after_boottime_s: float
    ) -> Sequence[WriteOutcome]:
        del not_after_boottime_s  # A session of ten has until half of its lease.
        return await self._copies.send(rows, self._going)

    async def take(self, changes: Sequence[Change[CopyRow]]) -> None:
        for change in changes:
            one = self._going[change.row.key]
            self._updates.append(self._copies.taken(one, change))

    async def find(self, rows: Sequence[CopyRow]) -> Mapping[str, Found]:
        del rows
        return {}

    def longest_call(self, row: CopyRow) -> timedelta:
        del row
        return timedelta.max


def copy_of(raw: bytes, key: str, domains: Sequence[str], *, to: str = "") -> bytes:
    """Return the copy of a mail, with CRLF line ends.

    Args:
        raw: The mail as it came.
        key: Of the copy.
        domains: Of relay addresses, which are secrets: they are masked.
        to: Stands in To in the place of who is there: of a forward, for which
            Salesforce wants its own address there, and nobody else.
    """
    head, gap, body = raw.partition(b"\r\n\r\n")
    kept: list[bytes] = []
    drop = False
    for line in head.split(b"\r\n"):
        if not line.startswith((b" ", b"\t")):
            name = line.partition(b":")[0].strip().lower()
            drop = name in _DROPPED or (bool(to) and name in {b"to", b"cc"})
        if not drop:
            kept.append(line)
    first = f"{COPY_HEADER}: {key}\r\n".encode("ascii")
    if to:
        first += b"To: " + to.encode() + b"\r\n"
    whole = first + b"\r\n".join(kept) + (gap or b"\r\n\r\n") + body
    return b"".join(masked([whole], domains))
