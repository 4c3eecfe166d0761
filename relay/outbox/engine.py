"""The transactional outbox: one engine for everything that goes to Salesforce once.

A row is one thing that Salesforce shall get: a record, a file, a link. The order is
always the same:

1. The row is committed as *sent*, then its request leaves. A request that has not left
   five seconds after the mark is dropped: a process that was paused must not wake up
   and write what another process has settled meanwhile.
2. Salesforce's answer becomes the row's next state (`NEXT`). Without a usable answer
   the row stays *sent*: its outcome is unknown.
3. A row that is *sent* at the start of an attempt is looked up by its key. A record
   that is found settles it. That a record is absent counts only after the longest time
   for which the call may still run (`OnceClient.longest_call`), and only where the
   record would be visible; then the row is planned again. Until then the look-ups wait
   2, 10, 30 … seconds.
4. Where Salesforce itself refuses a second record with the same key, the row is sent
   again without waiting: a record that is there already is refused as a duplicate.
5. Where the store is a backup, another life of it may have sent rows that are new in
   this one. They are marked as *sent* at the moment of the backup, looked up as above,
   and sent once they are proven absent (`send_unless_there`).

What differs between records, files and links is the client. A `OnceClient` says how to
send, how to look a key up, what an absent record proves, and which table holds the
rows. A new kind of row is a new client; nothing here changes.

Some requests may be made twice without harm (a new owner, a link). Theirs is a plain
`Client`: nothing is committed before the request, and an unknown outcome is simply
tried again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from relay.core.errors import TransientError
from relay.core.states import ActivityState
from relay.outbox.backoff import look_up_wait_s

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from relay.config import Settings
    from relay.core.clock import Clock
    from relay.core.queue import LeaseOwner
    from relay.outbox.backoff import Backoff
    from relay.salesforce import Org, WriteOutcome
    from relay.store import Store

SEND_WITHIN_S: Final = 5.0
"""Seconds from the mark *sent* to the first byte; a later request is dropped."""

NOT_SENT_WAIT_S: Final = 1.0
"""Wait for a row whose request was dropped."""

REPEAT_WITHIN: Final = timedelta(minutes=1)
"""So soon after the mark no person has deleted the record: no look-up is needed."""

CLOCK_SLACK: Final = timedelta(minutes=5)
"""How far Salesforce's clock, as read from its answers, may be off."""

NOT_YET: Final = "sent without an answer; not found yet"


@dataclass(frozen=True, slots=True)
class Parts:
    """What every part of the way out works with: one value for one worker."""

    settings: Settings
    store: Store
    org: Org
    clock: Clock
    owner: LeaseOwner
    backoff: Backoff


class Row(Protocol):
    """A row of some table of the store, as far as the engine reads it."""

    @property
    def key(self) -> str:
        """Return the key, which Salesforce holds too."""

    @property
    def state(self) -> ActivityState:
        """Return how far the row is."""

    @property
    def sent_at(self) -> datetime | None:
        """Return when it was marked as *sent* last."""

    @property
    def lookups(self) -> int:
        """Return how often its unknown outcome was looked up."""


class Found(Protocol):
    """A record that a look-up by key has found."""

    @property
    def is_deleted(self) -> bool:
        """Say whether it is in the recycle bin."""


R = TypeVar("R", bound=Row)


class Result(StrEnum):
    """What a request, or a look-up by key, said about one row."""

    # Of a request: the values of `WriteState`.
    WRITTEN = "written"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    """The request left and no usable answer came."""
    NOT_SENT = "not_sent"
    """The request was dropped: it was too late to send it."""
    RETRY = "retry"
    """Salesforce wrote nothing, and may take the same row later."""
    # Of a look-up by key.
    FOUND = "found"
    DELETED = "deleted"
    """Found in the recycle bin: a person has deleted the record since."""
    ABSENT = "absent"
    """Proven: no call can still write it, and it would be visible."""
    REPEATED = "repeated"
    """Absent, and sent again at once: Salesforce refuses a second one."""
    WAITING = "waiting"
    """Not found; absence is not proven yet."""


NEXT: Final[Mapping[Result, ActivityState]] = {
    Result.WRITTEN: ActivityState.WRITTEN,
    Result.REFUSED: ActivityState.REFUSED,
    Result.UNKNOWN: ActivityState.SENT,
    Result.NOT_SENT: ActivityState.PLANNED,
    Result.RETRY: ActivityState.PLANNED,
    Result.FOUND: ActivityState.WRITTEN,
    Result.DELETED: ActivityState.GONE,
    Result.ABSENT: ActivityState.PLANNED,
    Result.REPEATED: ActivityState.SENT,
    Result.WAITING: ActivityState.SENT,
}
"""The state that follows from each result; a client may know a more exact one."""


@dataclass(frozen=True, slots=True)
class Mark(Generic[R]):
    """A row that is to be committed as *sent*.

    `lookups` is 0, or, where the row is sent again with an unknown outcome, one more
    than before: the next time it is looked up first.
    """

    row: R
    sent_at: datetime
    lookups: int


@dataclass(frozen=True, slots=True)
class Change(Generic[R]):
    """What becomes of one row.

    Attributes:
        row: The row before the change.
        result: What the request or the look-up said.
        state: The state that follows.
        lookups: How often the row was looked up, this time included.
        error: Why it is not written; empty where it is.
        wait_s: Seconds until it may be tried, or looked up, again; None: not known.
        outcome: Salesforce's answer about this row, if the request gave one.
        found: The record that the look-up has found.
        cause: Why the whole request was refused; nothing of it was written.
    """

    row: R
    result: Result
    state: ActivityState
    lookups: int
    error: str = ""
    wait_s: float | None = None
    outcome: WriteOutcome | None = None
    found: Found | None = None
    cause: TransientError | None = None


class Client(ABC, Generic[R]):
    """One kind of rows: how they are sent, and the table they are in.

    A client that is no `OnceClient` makes requests that may be made twice without harm.
    """

    @abstractmethod
    async def request(
        self, rows: Sequence[R], *, not_after_boottime_s: float
    ) -> Sequence[WriteOutcome]:
        """Send rows in one call; return an outcome for each.

        Raises:
            TransientError: Nothing was written.
        """

    @abstractmethod
    async def take(self, changes: Sequence[Change[R]]) -> None:
        """Take changes over, one after the other, into the table of these rows."""


class OnceClient(Client[R]):
    """Rows that must be written once: marked before they leave, and looked up."""

    @abstractmethod
    async def mark_sent(self, marks: Sequence[Mark[R]]) -> Sequence[R]:
        """Commit that these rows leave now.

        Returns:
            The rows that may leave, as they are now: another worker has no lease on
            them.

        Raises:
            StoreUnavailable: No row may leave.
        """

    @abstractmethod
    async def find(self, rows: Sequence[R]) -> Mapping[str, Found]:
        """Return what Salesforce holds for these rows, by key, deleted records too.

        Raises:
            RelayError: Salesforce could not be asked; nothing is known.
        """

    @abstractmethod
    def longest_call(self, row: R) -> timedelta:
        """Return how long after its mark a call may still write this row."""

    def refuses_twice(self, row: R) -> bool:
        """Say whether Salesforce itself refuses a second record with this key."""
        del row
        return False

    def cannot_find(self, row: R) -> str:
        """Return why the key cannot be asked for at present; empty where it can."""
        del row
        return ""

    async def hidden(self, rows: Sequence[R]) -> Mapping[str, str]:
        """Return the rows that may be there without being visible, and why, by key.

        Asked only for rows that were not found in time.
        """
        del rows
        return {}


class Outbox:
    """Sends the rows of any client, and recovers those whose outcome is unknown."""

    def __init__(self, clock: Clock) -> None:
        """Keep the clock; its boot time counts the sleep of the machine too."""
        self._clock = clock

    # ------------------------------------------------------------ send

    async def send(self, client: Client[R], rows: Sequence[R]) -> None:
        """Mark rows as *sent*, send them in one request, take each outcome.

        Rows of a client that is no `OnceClient` are not marked.

        Raises:
            StoreUnavailable: The marks may be committed; nothing has left.
            TransientError: The request was refused as a whole; its rows are planned
                again.
        """
        not_after_s = self._clock.boottime_s() + SEND_WITHIN_S
        lookups = {row.key: _lookups_when_sent(row) for row in rows}
        if isinstance(client, OnceClient):
            sent_at = self._clock.now()
            marks = [Mark(row, sent_at, lookups[row.key]) for row in rows]
            rows = await client.mark_sent(marks)
        if not rows:
            return
        try:
            outcomes = await client.request(rows, not_after_boottime_s=not_after_s)
        except TransientError as error:
            await client.take([_refused_as_a_whole(client, row, error) for row in rows])
            raise
        by_key = {outcome.key: outcome for outcome in outcomes}
        await client.take(
            [_after(client, row, by_key[row.key], lookups[row.key]) for row in rows]
        )

    async def send_unless_there(
        self, client: OnceClient[R], rows: Sequence[R], since: datetime
    ) -> None:
        """Send rows that may have been sent from `since` on by whom nobody can ask.

        A crash in between leaves them as rows whose outcome is unknown.

        Raises:
            RelayError: Salesforce or the store could not be asked, or the request was
                refused as a whole.
        """
        marked = await client.mark_sent([Mark(row, since, 1) for row in rows])
        again, absent = await self._look_up(client, marked)
        await self.send(client, [*again, *absent])

    # ------------------------------------------------------------ recover

    async def recover(self, client: OnceClient[R], rows: Sequence[R]) -> list[R]:
        """Find out what became of rows that are *sent* without an answer.

        Returns:
            The rows that may be sent again right away, although their outcome is
            unknown: Salesforce refuses a second record with their key.

        Raises:
            RelayError: Salesforce or the store could not be asked; nothing is known.
        """
        again, _ = await self._look_up(client, rows)
        return again

    async def _look_up(
        self, client: OnceClient[R], rows: Sequence[R]
    ) -> tuple[list[R], list[R]]:
        """Look rows up by key; return (to be sent again, proven absent)."""
        again: list[R] = []
        gone: list[R] = []
        sought: list[R] = []
        for row in rows:
            (again if self._needs_no_look(client, row) else sought).append(row)
        unfindable = {row.key: client.cannot_find(row) for row in sought}
        to_find = [row for row in sought if not unfindable[row.key]]
        found = await client.find(to_find) if to_find else {}
        absent = [
            row
            for row in to_find
            if row.key not in found
            and self._over(client, row)
            and not client.refuses_twice(row)
        ]
        hidden = await client.hidden(absent) if absent else {}
        changes: list[Change[R]] = []
        for row in sought:
            record = found.get(row.key)
            if record is not None:
                result = Result.DELETED if record.is_deleted else Result.FOUND
                changes.append(_change(row, result, found=record))
            elif client.refuses_twice(row):
                again.append(row)
                changes.append(_change(row, Result.REPEATED))
            elif reason := self._reason_to_wait(client, row, unfindable, hidden):
                changes.append(_waiting(row, reason))
            else:
                gone.append(row)
                changes.append(_change(row, Result.ABSENT, lookups=row.lookups + 1))
        await client.take(changes)
        return again, gone

    def _needs_no_look(self, client: OnceClient[R], row: R) -> bool:
        """Say whether the row may be sent again without a look-up."""
        if not client.refuses_twice(row) or row.lookups:
            return False
        now = self._clock.now()
        return now - (row.sent_at or now) < REPEAT_WITHIN

    def _over(self, client: OnceClient[R], row: R) -> bool:
        """Say whether no call can write the row any more."""
        now = self._clock.now()
        return now >= (row.sent_at or now) + client.longest_call(row)

    def _reason_to_wait(
        self,
        client: OnceClient[R],
        row: R,
        unfindable: Mapping[str, str],
        hidden: Mapping[str, str],
    ) -> str:
        """Return why the absence of a record proves nothing yet; empty if it does."""
        if reason := unfindable[row.key]:
            return reason
        if not self._over(client, row):
            return NOT_YET
        return hidden.get(row.key, "")


# ------------------------------------------------------------------ changes


def _lookups_when_sent(row: Row) -> int:
    return row.lookups + 1 if row.state is ActivityState.SENT else 0


def _change(
    row: R, result: Result, *, lookups: int | None = None, found: Found | None = None
) -> Change[R]:
    known = row.lookups if lookups is None else lookups
    return Change(row, result, NEXT[result], known, found=found)


def _waiting(row: R, reason: str) -> Change[R]:
    return Change(
        row,
        Result.WAITING,
        NEXT[Result.WAITING],
        row.lookups + 1,
        error=reason,
        wait_s=look_up_wait_s(row.lookups),
    )


def _after(client: Client[R], row: R, outcome: WriteOutcome, lookups: int) -> Change[R]:
    """Return the change that follows from Salesforce's answer about one row."""
    result = Result(outcome.state)
    wait_s = outcome.retry_after_s
    if result is Result.NOT_SENT:
        wait_s = NOT_SENT_WAIT_S
    elif result is Result.UNKNOWN and isinstance(client, OnceClient):
        wait_s = look_up_wait_s(lookups)
    return Change(
        row,
        result,
        _next(client, row, result),
        row.lookups,
        error=f"{outcome.code} {outcome.text}".strip(),
        wait_s=wait_s,
        outcome=outcome,
    )


def _refused_as_a_whole(client: Client[R], row: R, error: TransientError) -> Change[R]:
    return Change(
        row,
        Result.RETRY,
        _next(client, row, Result.RETRY),
        row.lookups,
        error=str(error),
        wait_s=error.retry_after_s,
        cause=error,
    )


def _next(client: Client[R], row: R, result: Result) -> ActivityState:
    """Return the next state; a row that was never marked stays where it is."""
    settles = result in {Result.WRITTEN, Result.REFUSED}
    marked = isinstance(client, OnceClient)
    return NEXT[result] if marked or settles else row.state
