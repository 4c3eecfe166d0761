"""What is sent to Salesforce for reminders: three clients of the outbox.

A new Task is made once: its twin is committed as *sent*, with what is sent, before the
request leaves, and an unknown outcome is looked up by its key. Edits and deletions may
be made twice without harm; one whose answer was lost is found by the next round, as an
edit to the value that is there already.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from relay.core import tasks
from relay.core.retry import Retry, Then
from relay.core.states import ActivityState
from relay.core.syncing import Ended, Pair, TaskTwin
from relay.outbox.engine import CLOCK_SLACK, NOT_YET, Client, OnceClient, Result
from relay.outbox.visibility import HINT, Visibility
from relay.salesforce import errors
from relay.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from relay.core.errors import TransientError
    from relay.core.model import Json
    from relay.core.org import OrgSchema
    from relay.core.reminders import Reminder
    from relay.core.tasks import Clash, TaskNames
    from relay.outbox.engine import Change, Mark, Parts
    from relay.salesforce import FoundRecord, WriteOutcome

GONE: Final = frozenset(
    {"ENTITY_IS_DELETED", "NOT_FOUND", "INVALID_CROSS_REFERENCE_KEY"}
)
"""What Salesforce says of a Task that is not there, or cannot be seen."""
_HIDDEN: Final = (
    "sent without an answer; not found, and none of its owner's Tasks can be read, so "
    f"it may be there: {HINT}; until then it is not written again"
)
_NO_FIELD: Final = (
    "sent without an answer; its key is in the field {name}, which is not there any "
    "more, or hidden: bring it back"
)
NO_ANSWER: Final = "no_answer"
"""Code of a Task that was sent, and is neither found nor proven to be absent."""
LOOK_UP_MAX_S: Final = 3600.0
"""Longest wait between two look-ups of such a Task; one costs some four API calls."""

logger = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Sending:
    """What the clients of one round share.

    Attributes:
        parts: The shared parts.
        names: What the org calls things.
        schema: The org.
        key_field: The unique field that takes the key; empty: there is none.
        title: The Subject of a new Task.
        subject: The Subject once the name was edited; None: it does not follow it.
        owners: Ids of the Salesforce users, by user.
    """

    parts: Parts
    names: TaskNames
    schema: OrgSchema
    key_field: str
    title: Callable[[Reminder], str]
    subject: Callable[[Reminder], str] | None
    owners: Mapping[int, str]

    async def keep(self, twins: Sequence[TaskTwin], *, pushed: bool = False) -> None:
        """Commit twins as they are now."""
        sync = self.parts.store.reminder_sync
        await sync.keep(self.parts.owner, twins, pushed=pushed)

    def failed(self, twin: TaskTwin, failure: Failed) -> TaskTwin:
        """Return a twin with a failure: when it is due again, or that it is not.

        One that is given up is tried again once the reminder is edited, or a person
        asks for it.
        """
        now = self.parts.clock.now()
        failures = twin.failures + 1
        since = twin.failing_since or now
        after = self.parts.backoff.after(
            failure.retry,
            now,
            failures,
            failing_since=since,
            retry_after_s=failure.wait_s,
        )
        twin = replace(
            twin,
            code=failure.code or "failed",
            error=failure.text,
            failures=failures,
            failing_since=since,
            due_at=after.due_at,
        )
        if after.then is Then.DEAD:
            logger.warning(
                "reminder_not_synced", reminder=twin.reminder_id, code=failure.code
            )
            return replace(twin, version=failure.version, due_at=None)
        return twin


@dataclass(frozen=True, slots=True)
class Failed:
    """Why something was not written; `version` is the reminder's that was sent."""

    code: str
    text: str
    retry: Retry
    version: int
    wait_s: float | None = None


def _failure(change: Change[Any], version: int) -> Failed:
    outcome, cause = change.outcome, change.cause
    if outcome is None:
        retry = Retry.BACKOFF if cause is None else _retry(cause)
        code = getattr(cause, "code", "") or "unavailable"
        return Failed(code, change.error, retry, version, change.wait_s)
    retry = errors.rule(outcome.code, message=outcome.text).retry
    if change.result in {Result.UNKNOWN, Result.NOT_SENT}:
        retry = Retry.BACKOFF
    text = outcome.text or outcome.code
    return Failed(outcome.code, text, retry, version, change.wait_s)


def _retry(cause: TransientError) -> Retry:
    # A pause is a matter of the org: the reminder waits like any other.
    return Retry.BACKOFF if cause.retry is Retry.PAUSE else cause.retry


# ------------------------------------------------------------------ new ones


class NewTasks(OnceClient[TaskTwin]):
    """Twins whose Task is to be made.

    Attributes:
        deleted: Ids of Tasks that were found in the Recycle Bin.
    """

    def __init__(self, sending: Sending, pairs: Sequence[Pair]) -> None:
        """Keep the reminders by the keys of their twins."""
        self._sending = sending
        self._pairs = {pair.twin.key: pair for pair in pairs if pair.twin}
        self._fields: dict[str, dict[str, Json]] = {}
        self.deleted: list[str] = []

    async def mark_sent(self, marks: Sequence[Mark[TaskTwin]]) -> list[TaskTwin]:
        """Commit what is sent, and that it leaves now."""
        twins = []
        for mark in marks:
            pair = self._pairs[mark.row.key]
            twin = mark.row
            fields, agreed = self._made(pair, twin)
            if twin.state is ActivityState.SENT:
                # Salesforce may have what was sent first, and knows it by its key.
                agreed = twin.agreed
                fields = {
                    name: value
                    for name, value in fields.items()
                    if name not in tasks.FIELD_OF.values()
                } | {n: v for n, v in agreed.there.items() if v is not None}
            else:
                twin = replace(twin, version=pair.reminder.version)
            self._fields[twin.key] = fields
            twins.append(
                replace(
                    twin,
                    state=ActivityState.SENT,
                    sent_at=mark.sent_at,
                    lookups=mark.lookups,
                    agreed=agreed,
                    due_at=None,
                )
            )
        await self._sending.keep(twins)
        return twins

    def _made(self, pair: Pair, twin: TaskTwin) -> tuple[dict[str, Json], tasks.Agreed]:
        sending = self._sending
        owner = sending.owners[twin.user_id]
        new = tasks.NewTask(
            owner,
            sending.title(pair.reminder),
            twin.key,
            sending.key_field,
        )
        fields, agreed = tasks.new_fields(pair.reminder, new, sending.names)
        there = {**agreed.there, tasks.OWNER: owner}
        return fields, tasks.Agreed(agreed.here, there)

    async def request(
        self, rows: Sequence[TaskTwin], *, not_after_boottime_s: float
    ) -> list[WriteOutcome]:
        """Create the Tasks, up to a thousand in one call."""
        key_field = self._sending.key_field
        return await self._sending.parts.org.records.create(
            [(row.key, "Task", self._fields[row.key]) for row in rows],
            not_after_boottime_s=not_after_boottime_s,
            unique_fields={row.key: key_field for row in rows if key_field},
        )

    async def take(self, changes: Sequence[Change[TaskTwin]]) -> None:
        """Commit what became of each."""
        done: list[TaskTwin] = []
        rest: list[TaskTwin] = []
        for change in changes:
            twin = self._after(change)
            made = twin.state is ActivityState.WRITTEN
            (done if made else rest).append(twin)
        if done:
            await self._sending.keep(done, pushed=True)
        if rest:
            await self._sending.keep(rest)

    def _after(self, change: Change[TaskTwin]) -> TaskTwin:
        twin = replace(change.row, state=change.state, lookups=change.lookups)
        match change.result:
            case Result.WRITTEN:
                task_id = change.outcome.id if change.outcome else None
                return replace(twin, task_id=task_id).well()
            case Result.FOUND | Result.DELETED:
                task_id = getattr(change.found, "id", None)
                if change.result is Result.DELETED and task_id:
                    self.deleted.append(task_id)
                return replace(
                    twin, task_id=task_id, state=ActivityState.WRITTEN
                ).well()
            case Result.ABSENT:
                return twin.well()
            case Result.REPEATED:
                return twin
            case Result.WAITING if change.error != NOT_YET:
                return self._unproven(twin, change)
            case Result.WAITING | Result.UNKNOWN:
                wait = timedelta(seconds=change.wait_s or 0.0)
                return replace(
                    twin,
                    error=change.error,
                    due_at=self._sending.parts.clock.now() + wait,
                )
            case Result.NOT_SENT:
                return replace(twin, state=ActivityState.PLANNED)
            case _:
                return self._sending.failed(twin, _failure(change, twin.version))

    def _unproven(self, twin: TaskTwin, change: Change[TaskTwin]) -> TaskTwin:
        """Return a twin that waits for a person, and is listed as a failure.

        It waits as long again as it has waited already: what an admin has to mend is
        seldom mended within minutes, and a round in which nothing happens shall cost
        next to nothing.
        """
        now = self._sending.parts.clock.now()
        age_s = (now - (twin.sent_at or now)).total_seconds()
        wait_s = max(change.wait_s or 0.0, min(age_s, LOOK_UP_MAX_S))
        return replace(
            twin,
            code=NO_ANSWER,
            error=change.error,
            failures=twin.failures + 1,
            failing_since=twin.failing_since or now,
            due_at=now + timedelta(seconds=wait_s),
        )

    def longest_call(self, row: TaskTwin) -> timedelta:
        """Return the time-out, and the time that a call may run on after it."""
        del row
        settings = self._sending.parts.settings.salesforce
        return timedelta(seconds=settings.timeout_s + settings.settle_s)

    def refuses_twice(self, row: TaskTwin) -> bool:
        """Say whether a unique field holds the key."""
        return bool(self._sending.key_field) and not _in_description(row)

    def cannot_find(self, row: TaskTwin) -> str:
        """Say that the field which holds the key is not there any more."""
        name = self._sending.parts.settings.salesforce.key_field
        if _in_description(row) or self._sending.schema.field("Task", name):
            return ""
        return _NO_FIELD.format(name=name)

    async def hidden(self, rows: Sequence[TaskTwin]) -> dict[str, str]:
        """Return the twins whose owner's Tasks are not proven to be visible."""
        parts, owners = self._sending.parts, self._sending.owners
        visibility = Visibility(parts.store, parts.org)
        hidden = await visibility.hidden_owners({owners[row.user_id] for row in rows})
        return {row.key: _HIDDEN for row in rows if owners[row.user_id] in hidden}

    async def find(self, rows: Sequence[TaskTwin]) -> dict[str, FoundRecord]:
        """Return what Salesforce holds under these keys."""
        org, clock = self._sending.parts.org, self._sending.parts.clock
        found: dict[str, FoundRecord] = {}
        by_field = [row.key for row in rows if not _in_description(row)]
        if by_field:
            name = self._sending.parts.settings.salesforce.key_field
            found |= await org.records.find_by_key("Task", name, by_field)
        by_line = [row for row in rows if _in_description(row)]
        if by_line:
            server_now = await org.access.server_time()
            drift = server_now - clock.now()
            first = min(row.sent_at or clock.now() for row in by_line)
            found |= await org.records.find_own_tasks(
                first + drift - CLOCK_SLACK, server_now + CLOCK_SLACK
            )
        return found


def _in_description(twin: TaskTwin) -> bool:
    """Say whether the key was sent in the Description, and not in a field."""
    return tasks.key_of(twin.agreed.there.get("Description")) == twin.key


# ------------------------------------------------------------------ edits


@dataclass(frozen=True, slots=True)
class Edit:
    """Fields of one Task that follow from edits here."""

    key: str
    pair: Pair
    twin: TaskTwin
    fields: Mapping[str, Json]
    state: ActivityState = ActivityState.PLANNED
    sent_at: datetime | None = None
    lookups: int = 0


class Edits(Client[Edit]):
    """Edits of Tasks; made twice they do no harm.

    Attributes:
        gone: Ids of Tasks that Salesforce does not find.
    """

    def __init__(self, sending: Sending) -> None:
        """Keep what is shared; nothing is sent yet."""
        self._sending = sending
        self.gone: list[str] = []

    async def request(
        self, rows: Sequence[Edit], *, not_after_boottime_s: float
    ) -> list[WriteOutcome]:
        """Update the Tasks, up to a thousand in one call."""
        del not_after_boottime_s
        written = {name for row in rows for name in row.fields}
        return await self._sending.parts.org.records.update(
            [(row.key, "Task", row.twin.task_id or "", row.fields) for row in rows],
            # A person may have edited them since the round has read them.
            before=sorted(written & self._sending.names.readable),
        )

    async def take(self, changes: Sequence[Change[Edit]]) -> None:
        """Commit what both sides agree on now, or why they do not."""
        twins = []
        lost: dict[str, Sequence[Clash]] = {}
        for change in changes:
            row = change.row
            if change.result is Result.WRITTEN:
                twins.append(self.done(row))
                before = (change.outcome and change.outcome.before) or {}
                lost[row.twin.reminder_id] = self._lost(row, before)
                continue
            if change.outcome and change.outcome.code in GONE and row.twin.task_id:
                self.gone.append(row.twin.task_id)
            failure = _failure(change, row.pair.reminder.version)
            twins.append(self._sending.failed(row.twin, failure))
        sync = self._sending.parts.store.reminder_sync
        await sync.keep(self._sending.parts.owner, twins, clashes=lost)

    def _lost(self, row: Edit, before: Mapping[str, Json]) -> Sequence[Clash]:
        """Return what this edit has written over, between reading and writing."""
        here = tasks.values_of(row.pair.reminder)
        names = self._sending.names
        lost = tasks.overwritten(here, row.fields, before, row.twin.agreed, names)
        owner, meant = before.get(tasks.OWNER), row.fields.get(tasks.OWNER)
        if meant and owner and owner not in {meant, row.twin.agreed.there[tasks.OWNER]}:
            mine = row.pair.reminder.assignee_user_id
            lost = (*lost, tasks.Clash("owner", mine, owner, tasks.Side.HERE))
        return lost

    def done(self, row: Edit) -> TaskTwin:
        """Return the twin of an edit that is written."""
        reminder, names = row.pair.reminder, self._sending.names
        here = tasks.values_of(reminder)
        twin = replace(
            row.twin.well(),
            agreed=tasks.sent(here, row.twin.agreed, row.fields, names),
            version=reminder.version,
        )
        if reminder.assignee_user_id == twin.user_id:
            return twin
        if reminder.assignee_user_id in self._sending.owners:
            return replace(twin, user_id=reminder.assignee_user_id)
        return replace(twin, state=ActivityState.GONE, ended=Ended.MOVED)


# ------------------------------------------------------------------ deletions


class Deletions(Client[TaskTwin]):
    """Deletions of Tasks whose reminder was removed here."""

    def __init__(self, sending: Sending) -> None:
        """Keep what is shared; nothing is sent yet."""
        self._sending = sending

    async def request(
        self, rows: Sequence[TaskTwin], *, not_after_boottime_s: float
    ) -> list[WriteOutcome]:
        """Delete the Tasks, up to a thousand in one call."""
        del not_after_boottime_s
        return await self._sending.parts.org.records.remove(
            {row.key: row.task_id or "" for row in rows}
        )

    async def take(self, changes: Sequence[Change[TaskTwin]]) -> None:
        """Commit that they are gone, or why they are not."""
        # By Salesforce's clock: a reading from before this moment is out of date.
        at = self._sending.parts.org.access.server_now()
        twins = []
        for change in changes:
            if change.result is Result.WRITTEN:
                twins.append(
                    replace(
                        change.row.well(),
                        state=ActivityState.GONE,
                        ended=Ended.HERE,
                        stamp=at,
                    )
                )
            else:
                failure = _failure(change, change.row.version)
                twins.append(self._sending.failed(change.row, failure))
        await self._sending.keep(twins)
