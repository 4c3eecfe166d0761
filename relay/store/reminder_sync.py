"""Reminders in step with Tasks of Salesforce: switches, twins, clashes.

What a round learns is committed page by page, each page whole: the reminders that it
made, changed or removed, their twins, the clashes, and how far Salesforce was read.
So a round that is cut off goes on where it was, and nothing is taken twice.

One relay synchronises at a time. Every write of a round is made in a transaction that
finds the lease still to be its own (`LeaseLost` if not): a process that was paused for
longer than its lease can commit nothing, and so sends nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, bindparam, func, insert, or_, select, update

from relay.core.errors import Conflict, InvalidInput, LeaseLost, NotFound
from relay.core.reminders import (
    FIELDS,
    By,
    NewReminder,
    Reminder,
    Source,
    from_json,
)
from relay.core.states import ActivityState
from relay.core.syncing import (
    Decision,
    Ended,
    KeptClash,
    Pair,
    Phase,
    Stopped,
    SyncUser,
    TaskTwin,
)
from relay.core.tasks import (
    LEFT,
    OWNER,
    REMOVED,
    Agreed,
    Side,
    is_reminder_key,
    task_key,
)
from relay.store import reminders as life
from relay.store import schema
from relay.store.context import Part
from relay.store.edits import write_audit
from relay.store.values import (
    chunks,
    dump,
    load,
    maybe_moment,
    moment,
    replace_value,
    stamp,
    text,
)
from relay.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Row

    from relay.core.queue import LeaseOwner
    from relay.core.tasks import Clash, Task

LEASE: Final = "reminder sync"
ORG_NOTE: Final = "reminders.org"
"""The key in `notes` of the org that the twins are of."""
ACTOR: Final = "salesforce"
"""Who makes the edits that come from Salesforce."""

s = schema.reminder_syncs.c
t = schema.reminder_tasks.c
k = schema.reminder_clashes.c
r = schema.reminders.c

logger = get_logger(__name__)

_BY: Final = By(ACTOR, Source.SALESFORCE)
_LIVING: Final = t.state == str(ActivityState.WRITTEN)


class ReminderSync(Part):
    """Operations on switches, twins and clashes."""

    # ------------------------------------------------------------ switches

    async def users(self) -> list[SyncUser]:
        """Return the switch of every user who ever had it on."""
        query = select(schema.reminder_syncs).order_by(s.user_id)
        return await self._context.read(
            lambda one: [_user(row) for row in one.execute(query)]
        )

    async def user(self, user_id: int) -> SyncUser | None:
        """Return the switch of a user; None: it was never on."""
        query = select(schema.reminder_syncs).where(s.user_id == user_id)

        def work(connection: Connection) -> SyncUser | None:
            row = connection.execute(query).first()
            return None if row is None else _user(row)

        return await self._context.read(work)

    async def switch(
        self, user_id: int, salesforce_id: str, actor: str, *, on: bool
    ) -> SyncUser:
        """Switch the sync of a user on or off; return what holds now.

        It holds from the commit on (R16). Where it was on before, the next round reads
        everything that was changed in between.
        """
        now = self._context.now()

        def work(connection: Connection) -> SyncUser:
            known = _locked_user(connection, user_id)
            before = known or SyncUser(user_id, salesforce_id)
            if before.is_on == on:
                return before
            at = moment(now)
            if not on:
                after = replace(before, is_on=False, off_at=at, permit=0)
            else:
                after = replace(
                    before,
                    is_on=True,
                    salesforce_id=before.salesforce_id or salesforce_id,
                    first_on_at=before.first_on_at or at,
                    on_at=at,
                    phase=Phase.FIRST if before.since is None else Phase.CATCH_UP,
                    imported=0,
                    pushed=0,
                )
            _keep_user(connection, after, new=known is None)
            action = "reminder_sync_on" if on else "reminder_sync_off"
            change = (_email(connection, user_id), before.is_on, on)
            write_audit(connection, now, actor, action, change, user_id=user_id)
            return after

        done = await self._context.write(work)
        self._context.ring()
        return done

    async def resume(
        self, user_id: int, salesforce_id: str, actor: str, *, keep: bool = False
    ) -> SyncUser:
        """Go on after a stop; return what holds now.

        After the brake, the deletions that it counted are carried out by the next
        round, or with `keep` left undone on both sides for good. After another org or
        another Salesforce user, all ties end and the next round is a first one.

        Raises:
            Conflict: The sync of the user is not stopped.
        """
        now = self._context.now()

        def work(connection: Connection) -> SyncUser:
            before = _locked_user(connection, user_id)
            if before is None or before.stopped is None:
                raise Conflict("the sync of this user is not stopped")
            after = replace(before, stopped=None, stopped_text="")
            if before.stopped is Stopped.ORG:
                # The next round notes the org that it finds.
                replace_value(connection, schema.notes, ORG_NOTE, None)
            if before.stopped in {Stopped.ORG, Stopped.RELINKED}:
                _end_twins(connection, user_id)
                after = replace(
                    after,
                    salesforce_id=salesforce_id,
                    phase=Phase.FIRST,
                    since=None,
                    after="",
                )
            elif before.stopped is not Stopped.BRAKE:
                after = replace(after, phase=Phase.FULL)
            elif keep:
                after = replace(after, permit=-1)
            change = (_email(connection, user_id), str(before.stopped), None)
            action = "reminder_sync_resume"
            write_audit(connection, now, actor, action, change, user_id=user_id)
            _keep_user(connection, after)
            return after

        done = await self._context.write(work)
        self._context.ring()
        return done

    async def counts(self) -> dict[int, dict[str, int]]:
        """Return by user how many twins live, wait, and failed; and open clashes."""
        failing = and_(t.code != "", t.state != str(ActivityState.GONE))
        twins = select(
            t.user_id,
            func.count().filter(_LIVING),
            func.count().filter(
                t.state.in_([str(ActivityState.PLANNED), str(ActivityState.SENT)])
            ),
            func.count().filter(failing),
        ).group_by(t.user_id)
        clashes = (
            select(k.user_id, func.count())
            .where(k.undone_at.is_(None))
            .group_by(k.user_id)
        )

        def work(connection: Connection) -> dict[int, dict[str, int]]:
            found: dict[int, dict[str, int]] = {
                row[0]: {"tasks": row[1], "waiting": row[2], "failing": row[3]}
                for row in connection.execute(twins)
            }
            for user_id, count in connection.execute(clashes):
                found.setdefault(user_id, {})["conflicts"] = count
            return found

        return await self._context.read(work)

    # ------------------------------------------------------------ what a round reads

    async def last_edit(self) -> int:
        """Return a number that grows with every edit of a reminder."""
        query = select(func.max(schema.reminder_changes.c.id))
        return await self._context.read(lambda one: one.scalar(query) or 0)

    async def pending(
        self, user_ids: Collection[int], limit: int, *, makes: bool = True
    ) -> list[Pair]:
        """Return reminders of these users that were edited here, or never sent.

        Without `makes`, only those that have a Task, or are to end without one.

        A reminder without a Task counts if it was made after its user switched the
        sync on first (R18, R19), and was not removed. Those that failed count once
        they are due; so does one that was brought back after its Task was deleted, or
        given back to the user.
        """
        now = self._context.now()
        due = or_(t.due_at.is_(None), t.due_at <= now)
        known = select(t.reminder_id).where(t.reminder_id == r.id)
        fresh = (
            select(schema.reminders)
            .join(schema.reminder_syncs, s.user_id == r.assignee_id)
            .where(
                r.removed_at.is_(None),
                r.created_at > s.first_on_at,
                ~known.exists(),
            )
            .order_by(r.id)
            .limit(limit)
        )
        again = [str(Ended.HERE), str(Ended.SALESFORCE), str(Ended.MOVED)]
        changed = or_(
            t.state == str(ActivityState.PLANNED),
            and_(t.ended.in_(again), r.removed_at.is_(None), t.version != r.version),
            and_(
                t.state.in_([str(ActivityState.WRITTEN), str(ActivityState.REFUSED)]),
                t.version != r.version,
            ),
        )
        edited = (
            select(schema.reminders, schema.reminder_tasks)
            .join(schema.reminder_tasks, t.reminder_id == r.id)
            .where(changed, due)
            .order_by(r.id)
            .limit(limit)
        )
        if not makes:
            has_task = t.state == str(ActivityState.WRITTEN)
            moved = t.ended == str(Ended.MOVED)
            edited = edited.where(or_(has_task, moved, r.removed_at.is_not(None)))

        def work(connection: Connection) -> list[Pair]:
            # The user of a twin and the assignee may be in different parts.
            found: dict[str, Pair] = {}
            for part in chunks(sorted(user_ids)):
                pairs: list[Pair] = []
                if makes:
                    new = connection.execute(fresh.where(r.assignee_id.in_(part)))
                    pairs = [Pair(life.of_row(row)) for row in new]
                theirs = or_(t.user_id.in_(part), r.assignee_id.in_(part))
                old = _labelled(edited.where(theirs))
                pairs += [_pair(row) for row in connection.execute(old)]
                found |= {pair.reminder.id: pair for pair in pairs}
            return list(found.values())[:limit]

        return await self._context.read(work)

    async def unknown(self, user_ids: Collection[int]) -> list[TaskTwin]:
        """Return twins whose Task was sent, and never answered."""
        return await self._twins(
            t.user_id, user_ids, t.state == str(ActivityState.SENT)
        )

    async def living(self, user_ids: Collection[int]) -> dict[int, int]:
        """Return by user how many Tasks are followed."""

        def work(connection: Connection) -> dict[int, int]:
            found: dict[int, int] = {}
            for part in chunks(sorted(user_ids)):
                query = select(t.user_id, func.count()).where(_LIVING)
                query = query.where(t.user_id.in_(part)).group_by(t.user_id)
                found |= {row[0]: row[1] for row in connection.execute(query)}
            return found

        return await self._context.read(work)

    async def removed(self, user_ids: Collection[int]) -> list[TaskTwin]:
        """Return the living twins of reminders that were removed here."""
        return await self._twins(
            t.user_id,
            user_ids,
            _LIVING,
            t.reminder_id.in_(select(r.id).where(r.removed_at.is_not(None))),
        )

    async def victims(self, task_ids: Collection[str]) -> list[TaskTwin]:
        """Return the living twins of these Tasks whose reminders are there."""
        return await self._twins(
            t.task_id,
            task_ids,
            _LIVING,
            t.reminder_id.in_(select(r.id).where(r.removed_at.is_(None))),
        )

    async def samples(
        self, user_ids: Collection[int], each: int
    ) -> dict[int, list[str]]:
        """Return ids of a few Tasks of each user, those that were seen last."""
        rank = (
            func.row_number()
            .over(partition_by=t.user_id, order_by=t.stamp.desc().nulls_last())
            .label("rank")
        )

        def work(connection: Connection) -> dict[int, list[str]]:
            found: dict[int, list[str]] = {}
            for part in chunks(sorted(user_ids)):
                ranked = (
                    select(t.user_id, t.task_id, rank)
                    .where(_LIVING, t.user_id.in_(part))
                    .subquery()
                )
                query = select(ranked.c.user_id, ranked.c.task_id)
                for row in connection.execute(query.where(ranked.c.rank <= each)):
                    found.setdefault(row[0], []).append(row[1])
            return found

        return await self._context.read(work)

    async def walk(self, user_id: int, after: str, limit: int) -> list[TaskTwin]:
        """Return living twins of a user in the order of their reminders."""
        query = (
            select(schema.reminder_tasks)
            .where(t.user_id == user_id, _LIVING, t.reminder_id > after)
            .order_by(t.reminder_id)
            .limit(limit)
        )
        return await self._context.read(
            lambda one: [_twin(row) for row in one.execute(query)]
        )

    async def known(self, task_ids: Collection[str]) -> dict[str, TaskTwin]:
        """Return the twins of these Tasks, by Task; those that ended, too."""
        return {
            str(twin.task_id): twin for twin in await self._twins(t.task_id, task_ids)
        }

    # ------------------------------------------------------------ what a round writes

    async def take(
        self,
        owner: LeaseOwner,
        found: Sequence[Task],
        decide: Callable[[Task, Pair | None], Decision | NewReminder | None],
        *,
        agreed: Callable[[Task], Agreed] | None = None,
        gone: Sequence[str] = (),
        decide_gone: Callable[[Pair], Decision | None] | None = None,
        marks: Sequence[SyncUser] = (),
    ) -> tuple[dict[int, int], int]:
        """Take in what Salesforce has, in one transaction.

        Args:
            owner: Whose lease it is.
            found: Tasks, changed or new.
            decide: What becomes of each, given its reminder and twin as they are in
                this transaction; None leaves it.
            agreed: What both sides agree on about a new reminder.
            gone: Ids of Tasks that are deleted.
            decide_gone: What becomes of each of those.
            marks: How far Salesforce was read, of users.

        Returns:
            How many reminders were made, by user; and how many others were changed.

        Raises:
            LeaseLost: Another relay synchronises; nothing was changed.
        """
        now, clock = self._context.now(), self._context.clock
        made: dict[int, int] = {}

        def work(connection: Connection) -> int:
            made.clear()
            changed = 0
            _need_lease(connection, owner, now)
            twins = _by_task(connection, [task.id for task in found])
            keys = [task.key for task in found if is_reminder_key(task.key)]
            by_key = _by_key(connection, keys)
            for task in found:
                twin = twins.get(task.id) or _tied(by_key.get(task.key), task)
                if twin and _seen(twin, task):
                    continue
                pair = _lock(connection, twin) if twin else None
                decided = decide(task, pair)
                if isinstance(decided, NewReminder):
                    new, _ = life.make(connection, clock, decided, _BY)
                    tie = TaskTwin(
                        new.id,
                        new.assignee_user_id,
                        task_key(new.id),
                        task_id=task.id,
                        state=ActivityState.WRITTEN,
                        version=new.version,
                        agreed=agreed(task) if agreed else Agreed({}, {}),
                        stamp=task.stamp,
                    )
                    _insert(connection, tie)
                    made[tie.user_id] = made.get(tie.user_id, 0) + 1
                elif decided is not None and pair is not None:
                    changed += _carry_out(connection, now, pair, decided)
                    by_key[task.key] = decided.twin
            for twin in _by_task(connection, gone).values():
                pair = _lock(connection, twin)
                if decide_gone and (ended := decide_gone(pair)):
                    changed += _carry_out(connection, now, pair, ended)
            for user_id, count in made.items():
                _imported(connection, user_id, count)
            for mark in marks:
                _mark(connection, mark)
            return changed

        changed = await self._context.write(work)
        return made, changed

    async def plan(
        self, owner: LeaseOwner, reminders: Sequence[Reminder]
    ) -> list[Pair]:
        """Make twins for reminders that have none; return both."""
        now = self._context.now()
        pairs = [
            Pair(one, TaskTwin(one.id, one.assignee_user_id, task_key(one.id)))
            for one in reminders
        ]

        def work(connection: Connection) -> None:
            _need_lease(connection, owner, now)
            for pair in pairs:
                if pair.twin:
                    _insert(connection, pair.twin)

        await self._context.write(work)
        return pairs

    async def keep(
        self,
        owner: LeaseOwner,
        twins: Iterable[TaskTwin],
        *,
        pushed: bool = False,
        clashes: Mapping[str, Sequence[Clash]] | None = None,
    ) -> None:
        """Keep twins as they are now; with `pushed`, count their Tasks as made.

        `clashes` are new ones, by reminder.

        A reminder that was made of one of these Tasks, before it was known whose it is,
        is a copy of ours. It is removed; a person may bring it back.

        Raises:
            LeaseLost: Another relay synchronises; nothing was changed.
        """
        now, rows = self._context.now(), list(twins)

        def work(connection: Connection) -> None:
            _need_lease(connection, owner, now)
            _release(connection, now, rows)
            for twin in rows:
                _update(connection, twin)
                found = (clashes or {}).get(twin.reminder_id, ())
                _note_clashes(connection, now, twin, found)
                if pushed:
                    connection.execute(
                        update(schema.reminder_syncs)
                        .where(s.user_id == twin.user_id)
                        .values(pushed=s.pushed + 1)
                    )

        await self._context.write(work)

    async def mark(self, owner: LeaseOwner, users: Sequence[SyncUser]) -> None:
        """Keep how far the sync of users is, or why it stopped."""
        now = self._context.now()

        def work(connection: Connection) -> None:
            _need_lease(connection, owner, now)
            for one in users:
                _mark(connection, one)

        await self._context.write(work)

    # ------------------------------------------------------------ clashes, failures

    async def clashes(
        self, user_id: int | None = None, *, reminder_id: str = "", limit: int = 200
    ) -> list[KeptClash]:
        """Return clashes, the latest first; of a user, or of a reminder."""
        query = select(schema.reminder_clashes).order_by(k.id.desc()).limit(limit)
        if user_id is not None:
            query = query.where(k.user_id == user_id)
        if reminder_id:
            query = query.where(k.reminder_id == text(reminder_id))
        return await self._context.read(
            lambda one: [_clash(row) for row in one.execute(query)]
        )

    async def clash(self, ident: int) -> KeptClash | None:
        """Return a clash, or None."""
        query = select(schema.reminder_clashes).where(k.id == ident)

        def work(connection: Connection) -> KeptClash | None:
            row = connection.execute(query).first()
            return None if row is None else _clash(row)

        return await self._context.read(work)

    async def undo_clash(self, ident: int, by: By) -> Reminder:
        """Give the value that lost back to the reminder; it is an edit as any other.

        A reminder that was removed with its Task, or whose Task was deleted with
        edits, comes back, and gets a Task of its own.

        Raises:
            NotFound: There is no such clash.
            Conflict: It was undone before.
        """
        now = self._context.now()

        def work(connection: Connection) -> Reminder:
            query = select(schema.reminder_clashes).where(k.id == ident)
            row = connection.execute(query.with_for_update()).first()
            if row is None:
                raise NotFound(f"there is no conflict {ident}")
            clash = _clash(row)
            if clash.undone_at is not None:
                raise Conflict(f"conflict {ident} was undone by {clash.undone_by}")
            before = life.read(connection, clash.reminder_id, lock=True)
            if before is None:  # A foreign key keeps it.
                raise NotFound(f"there is no reminder {clash.reminder_id}")
            after = _undone(before, clash)
            done = life.write(connection, now, before, after, by)
            if clash.field == REMOVED:
                _turn(connection, done)
            connection.execute(
                update(schema.reminder_clashes)
                .where(k.id == ident)
                .values(undone_at=now, undone_by=text(by.actor))
            )
            return done

        done = await self._context.write(work)
        self._context.ring()
        return done

    async def failures(self, user_id: int | None = None) -> list[Pair]:
        """Return what could not be kept in step, the latest first."""
        query = (
            select(schema.reminders, schema.reminder_tasks)
            .join(schema.reminder_tasks, t.reminder_id == r.id)
            .where(t.code != "", t.state != str(ActivityState.GONE))
            .order_by(r.id.desc())
            .limit(1000)
        )
        if user_id is not None:
            query = query.where(t.user_id == user_id)
        return await self._context.read(
            lambda one: [_pair(row) for row in one.execute(_labelled(query))]
        )

    async def retry(self, user_id: int | None = None, reminder_id: str = "") -> int:
        """Let what failed be tried again at once; return how many.

        A Task that was sent without an answer is looked up first.
        """
        again = (
            update(schema.reminder_tasks)
            .where(t.code != "", t.state != str(ActivityState.GONE))
            .values(
                version=0,
                due_at=None,
                code="",
                failures=0,
                failing_since=None,
            )
        )
        if user_id is not None:
            again = again.where(t.user_id == user_id)
        if reminder_id:
            again = again.where(t.reminder_id == text(reminder_id))
        done = await self._context.write(lambda one: one.execute(again).rowcount)
        self._context.ring()
        return done

    async def twin(self, reminder_id: str) -> TaskTwin | None:
        """Return the twin of a reminder, or None."""
        query = select(schema.reminder_tasks).where(t.reminder_id == text(reminder_id))

        def work(connection: Connection) -> TaskTwin | None:
            row = connection.execute(query).first()
            return None if row is None else _twin(row)

        return await self._context.read(work)

    async def _twins(
        self, column: Any, values: Collection[Any], *conditions: Any
    ) -> list[TaskTwin]:
        def work(connection: Connection) -> list[TaskTwin]:
            found: list[TaskTwin] = []
            for part in chunks(sorted(values)):
                query = select(schema.reminder_tasks).where(column.in_(part))
                query = query.where(*conditions).order_by(t.reminder_id)
                found += [_twin(row) for row in connection.execute(query)]
            return found

        return await self._context.read(work)


# ------------------------------------------------------------------ in a transaction


def _need_lease(connection: Connection, owner: LeaseOwner, now: int) -> None:
    """Go on only while the lease of the sync is this process's own.

    Raises:
        LeaseLost: It is not.
    """
    le = schema.leases.c
    query = select(le.owner).where(le.name == LEASE, le.until >= now)
    if connection.scalar(query.with_for_update()) != str(owner):
        raise LeaseLost(frozenset())


def _by_task(connection: Connection, ids: Iterable[str]) -> dict[str, TaskTwin]:
    found: dict[str, TaskTwin] = {}
    for part in chunks(sorted(set(ids))):
        query = select(schema.reminder_tasks).where(t.task_id.in_(part))
        found |= {row.task_id: _twin(row) for row in connection.execute(query)}
    return found


def _by_key(connection: Connection, keys: Iterable[str]) -> dict[str, TaskTwin]:
    found: dict[str, TaskTwin] = {}
    for part in chunks(sorted(set(keys))):
        query = select(schema.reminder_tasks).where(t.key.in_(part))
        found |= {row.key: _twin(row) for row in connection.execute(query)}
    return found


def _tied(twin: TaskTwin | None, task: Task) -> TaskTwin | None:
    """Return the twin of a key, unless it has another Task already.

    A Task that was cloned, or that follows one which repeats, carries the key of the
    first one in its Description, and is a Task of its own.
    """
    return twin if twin and twin.task_id in {None, task.id} else None


def _seen(twin: TaskTwin, task: Task) -> bool:
    """Say whether a Task is as it was seen last, and nothing about it has failed.

    The windows of two rounds overlap: most of what is read there is known.
    """
    there = twin.agreed.there
    return (
        twin.lives
        and not twin.code
        and not task.is_deleted
        and twin.task_id == task.id
        and twin.stamp == task.stamp
        and there.get(OWNER) == task.owner
        and all(there.get(name, LEFT) == task.values[name] for name in task.values)
    )


def _release(connection: Connection, now: int, twins: Sequence[TaskTwin]) -> None:
    """Remove reminders that were made of the Tasks of others."""
    ours = {one.task_id: one.reminder_id for one in twins if one.task_id}
    for task_id, other in _by_task(connection, ours).items():
        if other.reminder_id == ours[task_id]:
            continue
        logger.warning(
            "reminder_made_twice", reminder=ours[task_id], removed=other.reminder_id
        )
        pair = _lock(connection, other)
        gone = replace(other, state=ActivityState.GONE, ended=Ended.HERE, task_id=None)
        _carry_out(connection, now, pair, Decision(gone, removed=True))


def _lock(connection: Connection, twin: TaskTwin) -> Pair:
    reminder = life.read(connection, twin.reminder_id, lock=True)
    if reminder is None:  # A foreign key keeps it.
        raise NotFound(f"there is no reminder {twin.reminder_id}")
    return Pair(reminder, twin)


def _carry_out(connection: Connection, now: int, pair: Pair, decided: Decision) -> bool:
    """Write what was decided about a reminder, as an edit that Salesforce made.

    Returns:
        Whether that changed the reminder.
    """
    before = pair.reminder
    after = replace(before, **dict(decided.values))
    if decided.removed is not None:
        after = replace(after, removed_at=moment(now) if decided.removed else None)
    done = life.write(connection, now, before, after, _BY)
    twin = decided.twin
    if twin.version == before.version:
        # What came from Salesforce need not be sent back.
        twin = replace(twin, version=done.version)
    _update(connection, twin)
    _note_clashes(connection, now, twin, decided.clashes)
    return done.version != before.version


def _note_clashes(
    connection: Connection, now: int, twin: TaskTwin, clashes: Sequence[Clash]
) -> None:
    if clashes:
        connection.execute(
            insert(schema.reminder_clashes),
            [
                {
                    "reminder_id": twin.reminder_id,
                    "user_id": twin.user_id,
                    "task_id": twin.task_id or "",
                    "field": one.field,
                    "here": dump(one.here),
                    "there": dump(one.there),
                    "kept": str(one.kept),
                    "at": now,
                }
                for one in clashes
            ],
        )


def _imported(connection: Connection, user_id: int, count: int) -> None:
    """Count reminders that were made of Tasks: the progress of a first run."""
    connection.execute(
        update(schema.reminder_syncs)
        .where(s.user_id == user_id)
        .values(imported=s.imported + count)
    )


def _mark(connection: Connection, mark: SyncUser) -> None:
    """Keep how far a user is; not whether it is on, which people change meanwhile."""
    connection.execute(
        update(schema.reminder_syncs)
        .where(s.user_id == mark.user_id, s.is_on.is_(True))
        .values(
            phase=str(mark.phase),
            since=None if mark.since is None else stamp(mark.since),
            after=mark.after,
            synced_at=None if mark.synced_at is None else stamp(mark.synced_at),
            stopped=None if mark.stopped is None else str(mark.stopped),
            stopped_text=text(mark.stopped_text),
            permit=mark.permit,
        )
    )


def _end_twins(connection: Connection, user_id: int) -> None:
    """End all ties of a user: the reminders stay, and their Tasks too."""
    connection.execute(
        update(schema.reminder_tasks)
        .where(t.user_id == user_id, t.state != str(ActivityState.GONE))
        .values(
            state=str(ActivityState.GONE), ended=str(Ended.KEPT), task_id=None, code=""
        )
    )


def _undone(before: Reminder, clash: KeptClash) -> Reminder:
    """Return the reminder with the value that lost."""
    if clash.field == REMOVED:
        lost = clash.there if clash.kept is Side.HERE else {}
        values = {name: from_json(name, value) for name, value in lost.items()}
        return replace(before, **values, removed_at=None)
    lost = clash.here if clash.kept is Side.SALESFORCE else clash.there
    if clash.field not in FIELDS:
        raise InvalidInput(f"{clash.field} cannot be given back")
    value = from_json(clash.field, lost)
    return replace(before, **{clash.field: value}, removed_at=None)


def _turn(connection: Connection, reminder: Reminder) -> None:
    """Let another Task be made of a reminder whose Task is gone."""
    query = select(schema.reminder_tasks).where(t.reminder_id == reminder.id)
    row = connection.execute(query.with_for_update()).first()
    if row is not None and row.state == str(ActivityState.GONE):
        twin = _twin(row)
        turn = twin.turn + 1
        _update(
            connection,
            TaskTwin(
                reminder.id,
                reminder.assignee_user_id,
                task_key(reminder.id, turn),
                turn,
            ),
        )


def _locked_user(connection: Connection, user_id: int) -> SyncUser | None:
    query = select(schema.reminder_syncs).where(s.user_id == user_id)
    row = connection.execute(query.with_for_update()).first()
    return None if row is None else _user(row)


def _email(connection: Connection, user_id: int) -> str:
    users = schema.users.c
    found = connection.scalar(select(users.email).where(users.id == user_id))
    if found is None:
        raise NotFound(f"there is no user {user_id}")
    return str(found)


def _keep_user(connection: Connection, one: SyncUser, *, new: bool = False) -> None:
    values = {
        "salesforce_id": one.salesforce_id,
        "is_on": one.is_on,
        "first_on_at": _stamp(one.first_on_at),
        "on_at": _stamp(one.on_at),
        "off_at": _stamp(one.off_at),
        "phase": str(one.phase),
        "since": _stamp(one.since),
        "after": one.after,
        "imported": one.imported,
        "pushed": one.pushed,
        "synced_at": _stamp(one.synced_at),
        "stopped": None if one.stopped is None else str(one.stopped),
        "stopped_text": text(one.stopped_text),
        "permit": one.permit,
    }
    table = schema.reminder_syncs
    if new:
        connection.execute(insert(table).values(user_id=one.user_id, **values))
    else:
        connection.execute(update(table).where(s.user_id == one.user_id).values(values))


# ------------------------------------------------------------------ rows


def _stamp(at: datetime | None) -> int | None:
    return None if at is None else stamp(at)


def _columns(twin: TaskTwin) -> dict[str, Any]:
    return {
        "user_id": twin.user_id,
        "key": twin.key,
        "turn": twin.turn,
        "task_id": twin.task_id,
        "state": str(twin.state),
        "sent_at": _stamp(twin.sent_at),
        "lookups": twin.lookups,
        "version": twin.version,
        "here": dump(dict(twin.agreed.here)),
        "there": dump(dict(twin.agreed.there)),
        "stamp": _stamp(twin.stamp),
        "ended": None if twin.ended is None else str(twin.ended),
        "code": text(twin.code),
        "error": text(twin.error),
        "failures": twin.failures,
        "failing_since": _stamp(twin.failing_since),
        "due_at": _stamp(twin.due_at),
    }


def _insert(connection: Connection, twin: TaskTwin) -> None:
    row = {"reminder_id": twin.reminder_id, **_columns(twin)}
    connection.execute(insert(schema.reminder_tasks), row)


def _update(connection: Connection, twin: TaskTwin) -> None:
    # Values beside the statement are much faster than values in it.
    one = update(schema.reminder_tasks).where(t.reminder_id == bindparam("which"))
    connection.execute(one, {"which": twin.reminder_id, **_columns(twin)})


def _user(row: Row[Any]) -> SyncUser:
    return SyncUser(
        user_id=row.user_id,
        salesforce_id=row.salesforce_id,
        is_on=row.is_on,
        first_on_at=maybe_moment(row.first_on_at),
        on_at=maybe_moment(row.on_at),
        off_at=maybe_moment(row.off_at),
        phase=Phase(row.phase),
        since=maybe_moment(row.since),
        after=row.after,
        imported=row.imported,
        pushed=row.pushed,
        synced_at=maybe_moment(row.synced_at),
        stopped=None if row.stopped is None else Stopped(row.stopped),
        stopped_text=row.stopped_text,
        permit=row.permit,
    )


def _twin(row: Any, mark: str = "") -> TaskTwin:
    """Return a twin; `mark` begins the names of its columns."""

    def get(name: str) -> Any:
        return getattr(row, mark + name)

    ended = get("ended")
    return TaskTwin(
        reminder_id=get("reminder_id"),
        user_id=get("user_id"),
        key=get("key"),
        turn=get("turn"),
        task_id=get("task_id"),
        state=ActivityState(get("state")),
        sent_at=maybe_moment(get("sent_at")),
        lookups=get("lookups"),
        version=get("version"),
        agreed=Agreed(load(get("here")), load(get("there"))),
        stamp=maybe_moment(get("stamp")),
        ended=None if ended is None else Ended(ended),
        code=get("code"),
        error=get("error"),
        failures=get("failures"),
        failing_since=maybe_moment(get("failing_since")),
        due_at=maybe_moment(get("due_at")),
    )


def _labelled(query: Any) -> Any:
    """Return a query of both tables in which the columns of the twin begin with `t_`.

    Both tables have a column `version`.
    """
    columns: list[Any] = list(schema.reminders.columns)
    columns += [each.label(f"t_{each.name}") for each in schema.reminder_tasks.columns]
    return query.with_only_columns(*columns)


def _pair(row: Row[Any]) -> Pair:
    return Pair(life.of_row(row), _twin(row, "t_"))


def _clash(row: Row[Any]) -> KeptClash:
    return KeptClash(
        id=row.id,
        reminder_id=row.reminder_id,
        user_id=row.user_id,
        task_id=row.task_id,
        field=row.field,
        here=load(row.here),
        there=load(row.there),
        kept=Side(row.kept),
        at=moment(row.at),
        undone_at=maybe_moment(row.undone_at),
        undone_by=row.undone_by,
    )
