"""A batch while it is worked on: messages, the mails that they are copies of, changes.

`Batch.advance` commits what has changed since the last commit. `Isolation` answers the
question which item of a batch is at fault where the batch as a whole failed, for mails
and for files alike. (Records that Salesforce refuses inside one request are singled out
by `relay.salesforce.write`, where the answers are read.)
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from relay.core.errors import (
    LeaseLost,
    RecordLocked,
    SalesforceDown,
    SalesforceUnavailable,
    TransientError,
)
from relay.core.model import OPEN_TASK, LedgerUpdate, Step
from relay.core.queue import Settlement
from relay.core.states import SETTLED, ActivityState, Event

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from relay.core.clock import Clock
    from relay.core.directory import User
    from relay.core.files import FileDraft
    from relay.core.model import Activity, Draft, Email, MailState, Person, Unsent
    from relay.core.queue import Claimed, LeaseOwner
    from relay.match import Decision
    from relay.salesforce import WriteOutcome
    from relay.store import Store


PASSES: Final = 24
"""Further passes that a failed batch may cost."""

T = TypeVar("T")


class SpoiltBatchError(Exception):
    """Salesforce failed at the batch as a whole, perhaps for one mail in it.

    Messages without a settlement may be tried in smaller parts.
    """


def may_be_one(error: BaseException | None) -> bool:
    """Say whether one item may be why a batch failed as a whole.

    An org or a store that is down, a pause and a row lock concern all items alike.
    Anything else may be the fault of one: a look-up that Salesforce cannot answer, an
    item that breaks the code.
    """
    if isinstance(error, SalesforceUnavailable):
        return not isinstance(error, SalesforceDown | RecordLocked)
    return error is not None and not isinstance(error, TransientError)


@dataclass(slots=True)
class Isolation:
    """Finds the item that spoils a batch: the batch is halved until it is alone.

    `left` is how many failures of Salesforce may still be answered by halving: each
    costs further calls. A fault of the code costs none, and is always isolated.
    """

    left: int = PASSES

    def halves(self, items: Sequence[T], error: Exception) -> list[Sequence[T]]:
        """Return the halves to try again; empty where the error is taken for all.

        Args:
            items: What is not finished yet.
            error: Why the batch failed as a whole.
        """
        if len(items) <= 1:
            return []
        spoilt = isinstance(error, SpoiltBatchError | TransientError)
        if not may_be_one(error) or (spoilt and self.left <= 0):
            return []
        self.left -= spoilt
        middle = (len(items) + 1) // 2
        return [items[:middle], items[middle:]]


@dataclass(slots=True)
class Batch:
    """One pass over a batch.

    `pending` are ledger changes that follow from answers of Salesforce and are not
    committed yet: they go with the next commit, at the latest with the settlements.
    `mails` are the mails by id; `files` are to be committed with their settlements.
    `unsent` are rows that may be *sent* in the store although nothing has left: the
    next commit takes the marks back.
    """

    owner: LeaseOwner
    pending: list[LedgerUpdate] = field(default_factory=list)
    mails: dict[int, BatchMail] = field(default_factory=dict)
    files: list[FileDraft] = field(default_factory=list)
    unsent: list[Unsent] = field(default_factory=list)

    def update(
        self, mail: BatchMail, row: Activity, state: ActivityState, **changes: Any
    ) -> None:
        """Change a ledger row here, and with the next commit in the store."""
        changes.setdefault("error", "")
        mail.change(row, state=state, **changes)
        self.pending.append(LedgerUpdate(row.key, state, **changes))

    async def advance(
        self,
        store: Store,
        *,
        plans: Sequence[tuple[int, Sequence[Draft]]] = (),
        ledger: Sequence[LedgerUpdate] = (),
        settlements: Sequence[Settlement] = (),
    ) -> set[str]:
        """Commit what is pending and what is given, all or none.

        Mails whose lease was lost meanwhile are left out and marked as lost: another
        worker decides what becomes of them.

        Returns:
            The messages that were really settled.

        Raises:
            StoreUnavailable: What was pending still is. Nothing was committed; or,
                where the store did not answer in time, all of it may be.
        """
        waiting, files = len(self.pending), list(self.files)
        changes = [*self.pending, *ledger]
        while True:
            try:
                settled = await store.ledger.advance(
                    self.owner,
                    plans=plans,
                    ledger=changes,
                    settlements=settlements,
                    files=files,
                    unsent=self.unsent,
                )
            except LeaseLost as error:
                keys = self._drop(error.mail_ids)
                plans = [plan for plan in plans if plan[0] not in error.mail_ids]
                files = [file for file in files if file.mail_id not in error.mail_ids]
                changes = [
                    change
                    for change in changes
                    if change.key not in keys or change.state in SETTLED
                ]
            else:
                del self.pending[:waiting]
                self.files.clear()
                self.unsent.clear()
                return settled

    def _drop(self, mail_ids: frozenset[int]) -> set[str]:
        """Mark mails as lost; return the keys of their ledger rows."""
        keys: set[str] = set()
        for mail_id in mail_ids:
            mail = self.mails[mail_id]
            mail.lost = True
            mail.error = LeaseLost(mail_ids)
            keys.update(mail.rows)
        return keys


@dataclass(slots=True)
class ClaimedMessage:
    """One claimed message, what was done with it, and how it ends."""

    claimed: Claimed
    user: User | None
    clock: Clock
    started_at: datetime
    email: Email | None = None
    steps: list[Step] = field(default_factory=list)
    settlement: Settlement | None = None

    @property
    def again(self) -> bool:
        """Say whether the message was tried before, or a person has requeued it."""
        claimed = self.claimed
        return claimed.attempt > 1 or claimed.waiting_since != claimed.received_at

    def trace(self, step: str, result: str, detail: str = "") -> None:
        """Add a line to the decision trace."""
        self.steps.append(Step(self.clock.now(), step, result, detail))

    def settle(
        self,
        event: Event,
        reason: str = "",
        detail: str = "",
        retry_at: datetime | None = None,
        unknown: tuple[Person, ...] = (),
    ) -> None:
        """Decide how this attempt ends; the first decision stands."""
        if self.settlement is None:
            self.settlement = Settlement(
                self.claimed.id,
                self.claimed.attempt,
                event,
                reason=reason,
                detail=detail,
                retry_at=retry_at,
                trace=tuple(self.steps),
                started_at=self.started_at,
                unknown=unknown,
            )


def claimed_messages(
    claimed: Sequence[Claimed], users: Mapping[int, User], clock: Clock
) -> list[ClaimedMessage]:
    """Return claimed messages, each with its user as the directory has them now."""
    now = clock.now()
    return [
        ClaimedMessage(
            one,
            users.get(one.user_id) if one.user_id is not None else None,
            clock,
            now,
        )
        for one in claimed
    ]


def _farness(message: ClaimedMessage) -> int:
    """Say how far a copy is from the mail as it was sent; 0: it came itself."""
    email = message.email
    if email is None or not email.forwarded:
        return 0
    return 2 if email.is_inline else 1


@dataclass(frozen=True, slots=True)
class Ending:
    """How a mail ends once its plan is written, where it is not logged by that."""

    event: Event
    reason: str
    detail: str
    unknown: tuple[Person, ...] = ()


@dataclass(slots=True)
class BatchMail:
    """One mail in the batch, with every message of the batch that is a copy of it.

    `rows` is the mail's ledger as this worker knows it, by key.
    """

    mail: MailState
    items: list[ClaimedMessage]
    rows: dict[str, Activity]
    error: TransientError | None = None
    """Why the last write or look-up did not settle every row."""
    lost: bool = False
    """Another worker may have leased the mail: nothing is sent for it any more."""
    decision: Decision | None = None
    """What was decided about it in this attempt."""
    checked: bool = False
    """This attempt has made sure that no record is missing."""
    unplanned: bool = False
    """It was decided that records are missing, and they are not in `rows` yet."""
    ending: Ending | None = None
    """How it ends once every row is settled; None: as logged."""
    redrafted: bool = False
    """This attempt has drafted it anew because of a refusal; once is enough."""
    refusals: dict[str, WriteOutcome] = field(default_factory=dict)
    """Salesforce's answers about the rows refused in this attempt, by key."""
    left_out: frozenset[tuple[str, str]] = frozenset()
    """(object, field) that Salesforce refused although describe allows them."""
    task_owner: str = ""
    """Owner of the Tasks instead of the rep, where the rep's user cannot own them."""

    @property
    def email(self) -> Email:
        """Return the mail as read from its first copy."""
        email = self.items[0].email
        if email is None:  # pragma: no cover - only parsed items are joined
            msg = "a message without a parsed mail was joined"
            raise RuntimeError(msg)
        return email

    @property
    def received_at(self) -> datetime:
        """Return when the first copy came."""
        return min(item.claimed.received_at for item in self.items)

    @property
    def begun(self) -> bool:
        """Say whether anything that logs this mail may be in Salesforce already.

        Such a mail is never planned anew: another plan would be a double. An open Task
        of a time when it did not match logs nothing.
        """
        return any(row.slot != OPEN_TASK for row in self.sure)

    @property
    def done(self) -> bool:
        """Say whether every record that the mail needs is settled."""
        return (
            bool(self.rows)
            and not self.unplanned
            and all(row.state in SETTLED for row in self.rows.values())
        )

    @property
    def sure(self) -> list[Activity]:
        """Return the rows that are, or may be, in Salesforce, or were taken out."""
        return self.of(ActivityState.SENT, ActivityState.WRITTEN, ActivityState.GONE)

    def add(self, message: ClaimedMessage) -> None:
        """Take in a further copy: those that came themselves before forwarded ones.

        The first copy is what is drafted, and its bytes hold the files. One that was
        copied into a text comes last.
        """
        self.items.append(message)
        if len(self.items) > 1:
            self.items.sort(key=_farness)

    def change(self, row: Activity, **changes: Any) -> None:
        """Change a row in memory; `Batch.update` changes it in the store too."""
        self.rows[row.key] = replace(row, **changes)

    def of(self, *states: ActivityState) -> list[Activity]:
        """Return the rows in these states, in the order of the plan."""
        return [row for row in self.rows.values() if row.state in states]

    def trace(self, step: str, result: str, detail: str = "") -> None:
        """Add a line to the trace of every copy."""
        for item in self.items:
            item.trace(step, result, detail)

    def settle(
        self,
        event: Event,
        reason: str = "",
        detail: str = "",
        retry_at: datetime | None = None,
        unknown: tuple[Person, ...] = (),
    ) -> None:
        """Decide how the attempt ends for every copy."""
        for item in self.items:
            item.settle(event, reason, detail, retry_at, unknown)
