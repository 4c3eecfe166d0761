"""What is kept of the synchronisation of reminders: switches, twins, clashes.

A `SyncUser` is the switch of a user, and how far Salesforce was read for that user. A
`TaskTwin` ties a reminder to its Task: it is the row of the outbox by which the Task is
made once, and it holds what both sides agreed on last.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from relay.core.states import ActivityState
from relay.core.tasks import Agreed, Side

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from relay.core.model import Json
    from relay.core.reminders import Reminder
    from relay.core.tasks import Clash


class Phase(StrEnum):
    """What the next round does for a user."""

    FIRST = "first"
    """It imports what was created or updated in the last 24 hours (R17, R20)."""
    CATCH_UP = "catch_up"
    """It reads what was changed since the sync was switched off."""
    FULL = "full"
    """It compares all Tasks: nobody can tell any more what was deleted."""
    STEADY = "steady"
    """Both sides are in step, up to the last round."""


class Stopped(StrEnum):
    """Why the sync of a user waits for a person."""

    BRAKE = "brake"
    """A round would have deleted more than can be meant."""
    EMPTY = "empty"
    """Salesforce shows none of the user's Tasks."""
    ORG = "org_changed"
    """It is another org than before."""
    OWNER = "owner_inactive"
    """The Salesforce user is inactive, or cannot be seen."""
    RELINKED = "owner_changed"
    """The relay's user has another Salesforce user by now."""


REMEDY: Final[Mapping[Stopped, str]] = {
    Stopped.BRAKE: "see whether these deletions are meant; then: relay reminder sync "
    "resume USER, or with --keep to leave both sides as they are",
    Stopped.EMPTY: "give the integration user back the right to see Tasks; then: relay "
    "reminder sync resume USER",
    Stopped.ORG: "see that salesforce.instance_url leads to the right org; then: relay "
    "reminder sync resume USER begins anew there and deletes nothing",
    Stopped.OWNER: "activate the user in Salesforce, or name another one: relay user "
    "set USER --salesforce-id ID; then: relay reminder sync resume USER",
    Stopped.RELINKED: "see that the Salesforce user is the right one; then: relay "
    "reminder sync resume USER begins anew with its Tasks and deletes nothing",
}


class Ended(StrEnum):
    """Why a twin is no more."""

    HERE = "deleted_here"
    SALESFORCE = "deleted_there"
    MOVED = "moved"
    """The Task, or the reminder, belongs to somebody else."""
    KEPT = "kept"
    """A person decided that both sides stay as they are."""


@dataclass(frozen=True, slots=True)
class SyncUser:
    """The switch of a user, and how far the sync is.

    Attributes:
        user_id: The relay's user.
        salesforce_id: The Salesforce user whose Tasks they are.
        is_on: Whether it is on.
        first_on_at: When it was switched on first: older reminders are never pushed.
        on_at: When it was switched on last.
        off_at: When it was switched off last.
        phase: What the next round does.
        since: Salesforce was read up to here, by SystemModstamp.
        after: The last id that was read of that stamp; empty: none.
        imported: Reminders made of Tasks since it was switched on last.
        pushed: Tasks made of reminders since then.
        synced_at: End of the last round that was complete.
        stopped: Why it waits for a person; None: it does not.
        stopped_text: The same for people, with the numbers.
        permit: Deletions that a person has allowed for the next round.
    """

    user_id: int
    salesforce_id: str
    is_on: bool = False
    first_on_at: datetime | None = None
    on_at: datetime | None = None
    off_at: datetime | None = None
    phase: Phase = Phase.FIRST
    since: datetime | None = None
    after: str = ""
    imported: int = 0
    pushed: int = 0
    synced_at: datetime | None = None
    stopped: Stopped | None = None
    stopped_text: str = ""
    permit: int = 0

    @property
    def runs(self) -> bool:
        """Say whether rounds are made for this user."""
        return self.is_on and self.stopped is None


@dataclass(frozen=True, slots=True)
class TaskTwin:
    """The tie between a reminder and its Task.

    Attributes:
        reminder_id: The reminder.
        user_id: Whose switch it follows: the assignee's.
        key: The key of the Task.
        turn: Counts the Tasks that were made of the reminder.
        task_id: The Task, once it is there.
        state: How far making it is; *gone*: it is no more, for the reason in `ended`.
        sent_at: When it was marked as *sent* last.
        lookups: How often its unknown outcome was looked up.
        version: The version of the reminder that was dealt with.
        agreed: What both sides agreed on last.
        stamp: SystemModstamp of the Task as it was seen last.
        ended: Why the twin is no more.
        code: Salesforce's code of the last failure; empty: none.
        error: Its text.
        failures: How often it failed, one after the other.
        failing_since: Since when.
        due_at: Not to be tried before.
    """

    reminder_id: str
    user_id: int
    key: str
    turn: int = 1
    task_id: str | None = None
    state: ActivityState = ActivityState.PLANNED
    sent_at: datetime | None = None
    lookups: int = 0
    version: int = 0
    agreed: Agreed = field(default_factory=lambda: Agreed({}, {}))
    stamp: datetime | None = None
    ended: Ended | None = None
    code: str = ""
    error: str = ""
    failures: int = 0
    failing_since: datetime | None = None
    due_at: datetime | None = None

    @property
    def lives(self) -> bool:
        """Say whether there is a Task that this twin follows."""
        return self.state is ActivityState.WRITTEN

    def well(self) -> TaskTwin:
        """Return it without a failure."""
        return replace(
            self, code="", error="", failures=0, failing_since=None, due_at=None
        )


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a reminder and its twin.

    Attributes:
        twin: The twin afterwards.
        values: New values of the reminder, by field, as Python values.
        removed: True makes a tombstone, False brings it back, None leaves that.
        clashes: What both sides changed.
    """

    twin: TaskTwin
    values: Mapping[str, Any] = field(default_factory=dict)
    removed: bool | None = None
    clashes: tuple[Clash, ...] = ()


@dataclass(frozen=True, slots=True)
class Pair:
    """A reminder and its twin; a new reminder has none yet."""

    reminder: Reminder
    twin: TaskTwin | None = None


@dataclass(frozen=True, slots=True)
class KeptClash:
    """A clash as it is kept: both values, and whose holds; it can be undone."""

    id: int
    reminder_id: str
    user_id: int
    task_id: str
    field: str
    here: Json
    there: Json
    kept: Side
    at: datetime
    undone_at: datetime | None = None
    undone_by: str = ""
