"""What becomes of a reminder and its twin, given what Salesforce has. It only decides.

A deletion on one side wins over an edit on the other: neither comes back by itself, and
the edit is kept as a clash that can be undone. A Task that a person takes back from the
Recycle Bin brings its reminder back.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from relay.core import tasks
from relay.core.reminders import NewReminder, Reminder, from_json
from relay.core.states import ActivityState
from relay.core.syncing import Decision, Ended, Pair
from relay.core.tasks import OWNER, REMOVED, Clash, Policy, Side, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime, timedelta

    from relay.core.syncing import TaskTwin
    from relay.core.tasks import Agreed, TaskNames


@dataclass
class Decider:
    """Decides for one round.

    Attributes:
        running: By id of their Salesforce user, the users for whom rounds are made.
        others: By id of their Salesforce user, the other users of the relay.
        names: What the org calls things.
        subject: The Subject of a reminder; None: it does not follow the name (R33).
        policy: Who wins where both changed a field.
        ahead: By how much Salesforce's clock is ahead of ours.
        me: Id of the integration user.
        doubtful: Users with a Task that was sent and never answered: one of the
            integration user's Tasks may be it.
        waiting: Of those, users who have such a Task; theirs is read again.
    """

    running: Mapping[str, int]
    others: Mapping[str, int]
    names: TaskNames
    subject: Callable[[Reminder], str] | None
    policy: Policy
    ahead: timedelta
    me: str
    doubtful: frozenset[int] = frozenset()
    waiting: set[int] = field(default_factory=set)

    # ------------------------------------------------------------ what changed there

    def __call__(self, task: Task, pair: Pair | None) -> Decision | NewReminder | None:
        """Decide about a Task that was changed in Salesforce, or is new there."""
        if pair is None or pair.twin is None:
            return self._new(task)
        twin = pair.twin
        if twin.state is not ActivityState.WRITTEN and (
            twin.state is not ActivityState.GONE
        ):
            # It was sent and not answered yet; or refused, and made all the same.
            twin = replace(twin, task_id=task.id, state=ActivityState.WRITTEN).well()
            pair = Pair(pair.reminder, twin)
        if twin.state is ActivityState.GONE:
            return self._back(task, pair.reminder, twin)
        if task.is_deleted:
            return self.gone(pair, task.stamp)
        if pair.reminder.removed_at is not None:
            return self._edited_there(task, twin)
        return self._merge(task, pair.reminder, twin)

    def _new(self, task: Task) -> NewReminder | None:
        """Return the reminder of a Task that has none (R17, R26)."""
        user = self.running.get(task.owner)
        if user is None or task.is_deleted or task.is_archived:
            return None
        if task.key and not tasks.is_reminder_key(task.key):
            return None  # It logs a mail.
        if task.created_by == self.me and user in self.doubtful:
            self.waiting.add(user)
            return None
        here, _ = tasks.imported(task, self.names)
        return NewReminder(
            owner_user_id=user,
            assignee_user_id=user,
            person=task.who,
            record=task.what,
            **_values(here),
        )

    def agreed(self, task: Task) -> Agreed:
        """Return what both sides agree on about a new reminder."""
        _, agreed = tasks.imported(task, self.names)
        return _owned(agreed, task.owner)

    def _merge(self, task: Task, reminder: Reminder, twin: TaskTwin) -> Decision:
        here_at = reminder.changed_at + self.ahead
        merged = tasks.merge(
            tasks.values_of(reminder),
            task,
            twin.agreed,
            self.names,
            tasks.winner(self.policy, here_at, task.stamp),
            self.subject(reminder) if self.subject else None,
        )
        values = _values(merged.take)
        clashes = merged.clashes
        after = replace(reminder, **values)
        was = twin.agreed.there.get(OWNER, task.owner)
        twin = replace(twin, agreed=_owned(merged.agreed, task.owner), stamp=task.stamp)
        given = reminder.assignee_user_id != twin.user_id
        if task.owner != was and given:
            # It was given to somebody else here, which is yet to be sent.
            clashes = (*clashes, self._two_owners(task, reminder))
        elif task.owner != was:
            moved = self._moved(task, after, twin)
            return replace(moved, values={**values, **moved.values}, clashes=clashes)
        if not given and not tasks.edits(tasks.values_of(after), twin.agreed):
            # An edit without an answer was made after all: nothing has failed.
            twin = replace(twin, version=reminder.version).well()
        return Decision(twin, values, clashes=clashes)

    def _two_owners(self, task: Task, reminder: Reminder) -> Clash:
        known = self.running.get(task.owner) or self.others.get(task.owner)
        name = "assignee_user_id" if known else "owner"
        return Clash(name, reminder.assignee_user_id, known or task.owner, Side.HERE)

    def _moved(self, task: Task, reminder: Reminder, twin: TaskTwin) -> Decision:
        """Decide about a Task that belongs to somebody else by now."""
        user = self.running.get(task.owner)
        if user is not None:
            values = {"assignee_user_id": user}
            return Decision(
                replace(twin, user_id=user, version=reminder.version), values
            )
        twin = replace(
            twin,
            state=ActivityState.GONE,
            ended=Ended.MOVED,
            version=reminder.version,
        )
        other = self.others.get(task.owner)
        if other is not None:
            # It is the other user's now; the sync of that user is off.
            return Decision(twin, {"assignee_user_id": other})
        return Decision(twin, removed=True)

    def _back(self, task: Task, reminder: Reminder, twin: TaskTwin) -> Decision | None:
        """Decide about a Task of a twin that has ended: it may be there again."""
        user = self.running.get(task.owner)
        if task.is_deleted or user is None or twin.ended is Ended.KEPT:
            return None
        if twin.ended is not Ended.MOVED and (
            twin.stamp is None or task.stamp <= twin.stamp
        ):
            return None  # A reading from before it was deleted.
        if twin.task_id is None:
            return None  # Another Task is made of the reminder.
        again = replace(
            twin, state=ActivityState.WRITTEN, ended=None, user_id=user, code=""
        )
        there = replace(reminder, removed_at=None, assignee_user_id=user)
        found = self._merge(task, there, again)
        return replace(
            found,
            twin=replace(found.twin, version=reminder.version),
            values={**found.values, "assignee_user_id": user},
            removed=False,
        )

    # ------------------------------------------------------------ deletions

    def gone(self, pair: Pair, at: datetime | None = None) -> Decision | None:
        """Decide about a reminder whose Task was deleted in Salesforce."""
        twin = pair.twin
        if twin is None or not twin.lives:
            return None
        ended = replace(
            twin,
            state=ActivityState.GONE,
            ended=Ended.SALESFORCE,
            version=pair.reminder.version,
            stamp=at or twin.stamp,
        )
        if pair.reminder.removed_at is not None:
            return Decision(replace(ended, ended=Ended.HERE))
        edits = tasks.edits(tasks.values_of(pair.reminder), twin.agreed)
        lost = (Clash(REMOVED, edits, {}, Side.SALESFORCE),) if edits else ()
        return Decision(ended, removed=True, clashes=lost)

    def _edited_there(self, task: Task, twin: TaskTwin) -> Decision:
        """Keep what was edited there of a reminder that was removed here."""
        meant = {
            name: value
            for name, column in tasks.FIELD_OF.items()
            if column in tasks.moves(task, twin.agreed)
            and not isinstance(
                value := tasks.inward(name, task.values[column], self.names),
                tasks.Left,
            )
        }
        agreed = replace(twin.agreed, there={**twin.agreed.there, **task.values})
        lost = (Clash(REMOVED, {REMOVED: True}, meant, Side.HERE),) if meant else ()
        return Decision(replace(twin, agreed=agreed, stamp=task.stamp), clashes=lost)


def _values(here: Mapping[str, Any]) -> dict[str, Any]:
    """Return values of a reminder as Python values."""
    return {name: from_json(name, value) for name, value in here.items()}


def _owned(agreed: Agreed, owner: str) -> Agreed:
    return replace(agreed, there={**agreed.there, OWNER: owner})
