"""One round for all users: look up what is open, read, take in, send.

What is read is taken in before anything is sent, so that an edit here is merged with
what Salesforce has, and never written over it unseen. Each page is committed with how
far it was read: a round that is cut off goes on there.

Nothing is deleted on the word of a round that cannot be meant. Where more would go than
the brake allows, Salesforce shows none of a user's Tasks, or it is another org, the
sync of that user stops and asks.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from relay.activity.subject import subject_of_reminder
from relay.core import subjects, tasks
from relay.core.errors import SalesforceUnavailable
from relay.core.states import ActivityState
from relay.core.syncing import Ended, Pair, Phase, Stopped, TaskTwin
from relay.core.tasks import OWNER, Brake, Policy, Task
from relay.match import with_stored
from relay.outbox.engine import Outbox
from relay.reminders.decide import Decider
from relay.reminders.rows import NO_ANSWER, Deletions, Edit, Edits, NewTasks, Sending
from relay.salesforce.tasks import Asked, Mark, minute, owners_in
from relay.store.reminder_sync import ORG_NOTE
from relay.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import (
        Awaitable,
        Callable,
        Collection,
        Iterable,
        Mapping,
        Sequence,
    )
    from datetime import datetime

    from relay.core.directory import Directory
    from relay.core.org import OrgSchema
    from relay.core.reminders import Reminder
    from relay.core.syncing import SyncUser
    from relay.outbox.engine import Parts
    from relay.salesforce.tasks import Answered
    from relay.store.reminder_sync import ReminderSync

OVERLAP: Final = timedelta(minutes=5)
"""A transaction may commit so long after its stamp."""
FIRST_REACH: Final = timedelta(hours=24)
"""What the first run imports was created or updated in so long a time (R20)."""
MAX_SENT: Final = 1000
"""Reminders that one round sends; the rest follows at once."""
MAX_EDITED: Final = 400
"""Tasks that one call reads and edits."""
MAX_READ: Final = 2000
"""Tasks that one call reads by id."""
MAX_TAKEN: Final = 200
"""Tasks of one transaction: mail that comes in must not wait for a whole page."""
MAX_SAMPLES: Final = 300
"""Tasks that a round asks for, to see whether they can still be seen."""

logger = get_logger(__name__)


@dataclass
class Report:
    """What a round did.

    Attributes:
        calls: API calls that it made, at least.
        reads: Those of them that asked what was changed.
        more: There is more to do at once.
        changed: Something was changed on either side.
        seen: Tasks that it has read, with their stamps.
        read_s: How long it took to ask what was changed, in seconds.
    """

    calls: int = 0
    reads: int = 0
    more: bool = False
    changed: bool = False
    seen: set[tuple[str, datetime]] = field(default_factory=set)
    read_s: float = 0.0


@dataclass
class _Ends:
    """What a round has found so far to end, of one user.

    All of it counts together, at whatever step it was found: who may delete twenty must
    not delete twenty at each.

    Attributes:
        living: Tasks that were followed when the round began.
        permit: Deletions that a person had allowed by then.
        there: Reminders whose Task was deleted in Salesforce.
        here: Reminders that were removed here.
        away: Reminders whose Task was given to somebody whom the relay has not.
    """

    living: int
    permit: int
    there: set[str] = field(default_factory=set)
    here: set[str] = field(default_factory=set)
    away: set[str] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.there | self.here | self.away)

    def __str__(self) -> str:
        text = (
            f"of {self.living} tasks, {len(self.there)} were deleted in Salesforce and "
            f"{len(self.here)} here"
        )
        if self.away:
            text += f"; {len(self.away)} were given to somebody whom the relay has not"
        return text


@dataclass
class Round:
    """One round.

    Attributes:
        parts: What every part of the way out works with.
        directory: The users of the relay.
        users: Those for whom the round is made.
        hold: Prolongs the lease; called between the steps.
        report: What was done so far.
    """

    parts: Parts
    directory: Directory
    users: dict[int, SyncUser]
    hold: Callable[[], Awaitable[None]]
    report: Report = field(default_factory=Report)
    decider: Decider = field(init=False)
    sending: Sending = field(init=False)
    _asked_at: datetime = field(init=False)
    _samples: Mapping[int, Sequence[str]] = field(default_factory=dict)
    _unread: set[int] = field(default_factory=set)
    """Users of whom there is more to read before anything is sent."""
    _ends: dict[int, _Ends] = field(default_factory=dict)
    """What the brake has counted so far, by user."""

    @property
    def _sync(self) -> ReminderSync:
        return self.parts.store.reminder_sync

    # ------------------------------------------------------------ the steps

    async def run(self) -> Report:
        """Make the round.

        Raises:
            RelayError: It was cut off; what was committed stays.
        """
        await self._prepare()
        await self._recover()
        if not self.users:
            return self.report
        answered = await self._read()
        await self._look(answered)
        await self._take(answered)
        await self._compare()
        await self._send()
        return self.report

    async def _prepare(self) -> None:
        """Read what the org calls things, and who the users are there."""
        org, settings = self.parts.org, self.parts.settings
        schema = await org.schema.get()
        names = tasks.names_of(schema)
        rules = with_stored(settings.match, self.directory)
        now = self.parts.clock.now()
        server_now = await org.access.server_time()
        self._asked_at = server_now.replace(microsecond=0)
        await self._relinked()
        follows = subjects.shows_subject(rules.subject)

        def title(reminder: Reminder) -> str:
            return subject_of_reminder(reminder.name, reminder.kind, rules.subject)

        owners = {one.user_id: one.salesforce_id for one in self.users.values()}
        others = {
            user.salesforce_id: user.id
            for user in self.directory.users.values()
            if user.active and user.salesforce_id and user.id not in owners
        }
        self.decider = Decider(
            {sfid: user_id for user_id, sfid in owners.items()},
            others,
            names,
            title if follows else None,
            Policy(settings.reminders.conflict),
            server_now - now,
            await org.access.me(),
        )
        self.sending = Sending(
            self.parts,
            names,
            schema,
            _key_field(settings.salesforce.key_field, schema),
            title,
            title if follows else None,
            owners,
        )

    async def _relinked(self) -> None:
        """Stop for users whose Salesforce user is another one by now."""
        for user in list(self.users.values()):
            known = self.directory.users.get(user.user_id)
            if known is None or known.salesforce_id != user.salesforce_id:
                now = known.salesforce_id if known else None
                text = f"the Salesforce user was {user.salesforce_id}, and is now {now}"
                await self._stop(user, Stopped.RELINKED, text)

    async def _recover(self) -> None:
        """Find out what became of Tasks that were sent and never answered."""
        now = self.parts.clock.now()
        unknown = await self._sync.unknown(self.users)
        due = [one for one in unknown if one.due_at is None or one.due_at <= now]
        if due:
            self.report.calls += 1
            pairs = [Pair(await self._reminder(one.reminder_id), one) for one in due]
            client = NewTasks(self.sending, pairs)
            outbox = Outbox(self.parts.clock)
            again = await outbox.recover(client, due)
            for at in range(0, len(again), MAX_SENT):
                self.report.calls += 1
                await outbox.send(client, again[at : at + MAX_SENT])
            await self._gone(client.deleted)
            unknown = await self._sync.unknown(self.users)
        self.decider.doubtful = frozenset(one.user_id for one in unknown)

    async def _proven(self, found: Iterable[Task]) -> None:
        """Let what may be hidden be looked up again: Tasks of its owner are visible."""
        if not self.decider.doubtful:
            return
        owners = {task.owner for task in found}
        seen = [one for one in self.decider.doubtful if self._sfid(one) in owners]
        unknown = await self._sync.unknown(seen)
        await self._sync.keep(
            self.parts.owner,
            [replace(one, due_at=None) for one in unknown if one.code == NO_ANSWER],
        )

    def _sfid(self, user_id: int) -> str:
        return self.sending.owners[user_id]

    async def _reminder(self, ident: str) -> Reminder:
        return await self.parts.store.reminders.get(ident, removed=True)

    # ------------------------------------------------------------ read

    def _mark(self, user: SyncUser) -> Mark:
        if user.since is None:
            return Mark(self._asked_at - FIRST_REACH)
        return Mark(user.since, user.after)

    async def _read(self) -> Answered:
        """Ask what was changed since the marks of the users."""
        marks = [(self._mark(user), user.salesforce_id) for user in self.users.values()]
        each = max(1, min(3, MAX_SAMPLES // max(1, len(self.users))))
        samples = await self._sync.samples(self.users, each)
        since = [user.since for user in self.users.values() if user.since is not None]
        asked = Asked(
            owners_in(marks),
            users=sorted(user.salesforce_id for user in self.users.values()),
            samples=[one for ids in samples.values() for one in ids][:MAX_SAMPLES],
            deleted_since=min(since, default=None),
        )
        begun_s = self.parts.clock.boottime_s()
        try:
            answered = await self.parts.org.tasks.round(asked)
        except SalesforceUnavailable as error:
            if error.code != "INVALID_FIELD":
                raise
            # A field is hidden by now: describe says which.
            await self.parts.org.schema.get(fresh=True)
            self.report.calls += 2
            self.report.more = True
            raise
        report = self.report
        report.calls += answered.calls
        report.reads += answered.calls
        report.read_s = self.parts.clock.boottime_s() - begun_s
        report.seen = {
            (task.id, task.stamp)
            for page in answered.pages.values()
            for task in page.tasks
        }
        self._samples = samples
        return answered

    async def _look(self, answered: Answered) -> None:
        """Stop where Salesforce is not what it was."""
        shared = self.parts.store.shared
        known = await shared.get(ORG_NOTE)
        if answered.org and known is None:
            await shared.set(ORG_NOTE, answered.org)
        elif answered.org and known != answered.org:
            text = f"the org was {known}, and is now {answered.org}"
            for user in list(self.users.values()):
                await self._stop(user, Stopped.ORG, text)
            return
        told = answered.seen | set(answered.deleted)
        for user in list(self.users.values()):
            samples = self._samples.get(user.user_id, ())
            if user.salesforce_id not in answered.active:
                text = f"the Salesforce user {user.salesforce_id} is inactive or hidden"
                await self._stop(user, Stopped.OWNER, text)
            elif samples and not told.intersection(samples):
                text = "Salesforce shows none of the tasks of this user any more"
                await self._stop(user, Stopped.EMPTY, text)
            elif (
                user.since is not None
                and user.phase is not Phase.FULL
                and answered.complete_since is not None
                and answered.complete_since > user.since
            ):
                # Nobody can tell any more what was deleted since.
                self.users[user.user_id] = replace(user, phase=Phase.FULL)

    async def _stop(self, user: SyncUser, why: Stopped, text: str) -> None:
        logger.warning(
            "reminder_sync_stopped", user=user.user_id, reason=str(why), detail=text
        )
        self.users.pop(user.user_id, None)
        stopped = replace(user, stopped=why, stopped_text=text, permit=0)
        await self._sync.mark(self.parts.owner, [stopped])

    # ------------------------------------------------------------ take in

    async def _take(self, answered: Answered) -> None:
        """Take in what was changed and deleted, with how far it was read."""
        pages = list(answered.pages.values())
        found = {task.id: task for page in pages for task in page.tasks}
        gone = {one for one in answered.deleted if one not in found}
        gone |= {task.id for task in found.values() if task.is_deleted}
        behind = any(page.more for page in pages)
        moved = await self._moved(answered.updated, found, behind=behind)
        await self._brake(gone, self._given_away(moved))
        running = {user.salesforce_id: user.user_id for user in self.users.values()}
        # Who was stopped by this round is a user of the relay all the same.
        self.decider.others = {**self.decider.others, **self.decider.running}
        self.decider.running = running
        known = await self._sync.known([*found, *gone, *(task.id for task in moved)])
        stopped = {
            twin.task_id
            for twin in known.values()
            if twin.lives and twin.user_id not in self.users
        }
        mine = [
            task
            for task in (*found.values(), *moved)
            if (task.owner in running or task.id in known or task in moved)
            and task.id not in stopped
        ]
        marks = []
        for user in list(self.users.values()):
            page = answered.pages.get(self._mark(user))
            if page is None:
                continue
            if page.more:
                marks.append(
                    replace(user, since=page.mark.since, after=page.mark.after)
                )
                self._unread.add(user.user_id)
            elif user.phase is Phase.FULL:
                # The mark stays until everything is compared.
                continue
            else:
                marks.append(self._complete(user))
        await self.hold()
        await self._commit(mine, sorted(gone - stopped), marks)
        await self._proven(found.values())

    def _complete(self, user: SyncUser) -> SyncUser:
        return replace(
            user,
            phase=Phase.STEADY,
            since=self._asked_at - OVERLAP,
            after="",
            synced_at=self.parts.clock.now(),
            permit=0,
        )

    async def _commit(
        self, found: Sequence[Task], gone: Sequence[str], marks: Sequence[SyncUser]
    ) -> None:
        decider = self.decider
        decider.waiting.clear()
        # A page that is cut off is read again, so that only its end moves the marks.
        for at in range(0, max(1, len(found), len(gone)), MAX_TAKEN):
            is_last = at + MAX_TAKEN >= max(len(found), len(gone))
            made, changed = await self._sync.take(
                self.parts.owner,
                found[at : at + MAX_TAKEN],
                decider,
                agreed=decider.agreed,
                gone=gone[at : at + MAX_TAKEN],
                decide_gone=decider.gone,
                marks=[one for one in marks if one.user_id not in decider.doubtful]
                if is_last
                else (),
            )
            self.report.changed |= bool(made or changed)
            await self.hold()
        # A page with a Task that may be one of ours without an answer is read again.
        late = [
            one for one in marks if one.user_id in decider.doubtful - decider.waiting
        ]
        if late:
            await self._sync.mark(self.parts.owner, late)
        for one in marks:
            if one.user_id in decider.waiting:
                self._unread.add(one.user_id)
            else:
                self.users[one.user_id] = one
                self.report.more |= one.user_id in self._unread

    async def _moved(
        self, updated: Collection[str], found: Collection[str], *, behind: bool
    ) -> list[Task]:
        """Read Tasks that were changed and are not among those of their user.

        Args:
            updated: Ids of Tasks that were changed.
            found: Ids of those that were read.
            behind: There are more pages. Then most of what is not on this one was on
                another, and is not read once more: it would be with each page.
        """
        twins = await self._sync.known([one for one in updated if one not in found])
        since = min(
            (self._mark(one).since for one in self.users.values()), default=None
        )
        ids = [
            one
            for one, twin in twins.items()
            if twin.lives
            and twin.user_id in self.users
            and not (behind and since and twin.stamp and twin.stamp >= minute(since))
        ]
        if not ids:
            return []
        self.report.calls += -(-len(ids) // MAX_READ)
        return list((await self.parts.org.tasks.read(ids)).values())

    async def _gone(self, ids: Sequence[str]) -> None:
        """End the reminders of Tasks that were found deleted, as the brake allows."""
        if not ids:
            return
        await self._brake(ids)
        known = await self._sync.known(ids)
        meant = [one for one, twin in known.items() if twin.user_id in self.users]
        if meant:
            await self._sync.take(
                self.parts.owner,
                (),
                self.decider,
                gone=meant,
                decide_gone=self.decider.gone,
            )

    def _given_away(self, found: Iterable[Task]) -> set[str]:
        """Return Tasks that nobody owns whom the relay knows: their reminders end."""
        decider = self.decider
        return {
            task.id
            for task in found
            if not task.is_deleted
            and task.owner not in decider.running
            and task.owner not in decider.others
        }

    async def _brake(self, gone: Collection[str], given: Collection[str] = ()) -> None:
        """Stop for users of whom more would end than can be meant.

        Args:
            gone: Tasks that were deleted.
            given: Tasks that belong to nobody of ours any more.
        """
        await self._count()
        found: dict[int, list[TaskTwin]] = defaultdict(list)
        for twin in await self._sync.victims({*gone, *given}):
            found[twin.user_id].append(twin)
            if (ends := self._ends.get(twin.user_id)) is not None:
                kind = ends.away if twin.task_id in given else ends.there
                kind.add(twin.reminder_id)
        for twin in await self._sync.removed(self.users):
            found[twin.user_id].append(twin)
            self._ends[twin.user_id].here.add(twin.reminder_id)
        settings = self.parts.settings.reminders
        brake = Brake(settings.brake_tasks, settings.brake_percent)
        for user in list(self.users.values()):
            ends, twins = self._ends[user.user_id], found[user.user_id]
            if ends.permit < 0:
                if twins:
                    await self._leave(twins)
            elif len(ends) > ends.permit and brake.holds(len(ends), ends.living):
                text = str(ends)
                logger.warning("reminder_sync_brake", user=user.user_id, detail=text)
                self.users.pop(user.user_id)
                stopped = replace(
                    user, stopped=Stopped.BRAKE, stopped_text=text, permit=len(ends)
                )
                await self._sync.mark(self.parts.owner, [stopped])

    async def _count(self) -> None:
        """Note of each user how many Tasks there are before anything ends."""
        if self._ends:
            return
        living = await self._sync.living(self.users)
        self._ends = {
            one.user_id: _Ends(living.get(one.user_id, 0), one.permit)
            for one in self.users.values()
        }

    async def _leave(self, twins: Sequence[TaskTwin]) -> None:
        """End twins whose deletion is not to be carried out on the other side."""
        await self._sync.keep(
            self.parts.owner,
            [replace(one, state=ActivityState.GONE, ended=Ended.KEPT) for one in twins],
        )

    # ------------------------------------------------------------ compare all

    async def _compare(self) -> None:
        """Compare all Tasks of users for whom nobody can tell what was deleted."""
        for user in [u for u in self.users.values() if u.phase is Phase.FULL]:
            if self.report.more:
                return  # What was changed is read to its end first.
            twins: list[TaskTwin] = []
            while part := await self._sync.walk(
                user.user_id, twins[-1].reminder_id if twins else "", 5000
            ):
                twins += part
            ids = [one.task_id for one in twins if one.task_id]
            self.report.calls += -(-len(ids) // MAX_READ)
            found = await self.parts.org.tasks.read(ids)
            if ids and not found:
                text = "Salesforce shows none of the tasks of this user any more"
                await self._stop(user, Stopped.EMPTY, text)
                continue
            gone = {one for one in ids if one not in found or found[one].is_deleted}
            await self._brake(gone, self._given_away(found.values()))
            if user.user_id not in self.users:
                continue
            await self.hold()
            done = self._complete(self.users[user.user_id])
            living = [task for task in found.values() if task.id not in gone]
            await self._commit(living, sorted(gone), [done])

    # ------------------------------------------------------------ send

    async def _send(self) -> None:
        """Send what was edited here, for users of whom everything was read."""
        ready = [
            user.user_id
            for user in self.users.values()
            if user.phase is Phase.STEADY and user.user_id not in self._unread
        ]
        if not ready:
            return
        now = self.parts.clock.now()
        await self._delete(ready, now)
        makes = makes_tasks(self.parts, self.directory)
        pairs = await self._sync.pending(ready, MAX_SENT, makes=makes)
        self.report.more |= len(pairs) == MAX_SENT
        new, old = await self._sorted(pairs, set(ready))
        await self.hold()
        outbox = Outbox(self.parts.clock)
        if new:
            self.report.calls += 1
            self.report.changed = True
            client = NewTasks(self.sending, new)
            await outbox.send(client, [pair.twin for pair in new if pair.twin])
        await self._edit(outbox, old)

    async def _delete(self, ready: Collection[int], now: datetime) -> None:
        twins = []
        for one in await self._sync.removed(ready):
            if one.reminder_id not in self._ends[one.user_id].here:
                # It was removed since: the brake of the next round counts it.
                self.report.more = True
            elif one.due_at <= now if one.due_at is not None else not one.code:
                twins.append(one)
        for at in range(0, len(twins), MAX_SENT):
            self.report.calls += 1
            self.report.changed = True
            client = Deletions(self.sending)
            await Outbox(self.parts.clock).send(client, twins[at : at + MAX_SENT])
            await self.hold()

    async def _sorted(
        self, pairs: Sequence[Pair], ready: Collection[int]
    ) -> tuple[list[Pair], list[Pair]]:
        """Return what is to be made, and what is to be edited.

        Twins are made for reminders that have none; what never left and was removed is
        done with.
        """
        fresh = [pair.reminder for pair in pairs if pair.twin is None]
        new = await self._sync.plan(self.parts.owner, fresh) if fresh else []
        old: list[Pair] = []
        done: list[TaskTwin] = []
        for pair in pairs:
            reminder, twin = pair.reminder, pair.twin
            if twin is None:
                continue
            if twin.state is ActivityState.WRITTEN:
                if twin.user_id in ready:
                    old.append(pair)
            elif twin.ended is Ended.MOVED:
                back = replace(twin, state=ActivityState.WRITTEN, ended=None)
                old.append(Pair(reminder, back))
            elif reminder.removed_at is not None:
                done.append(
                    replace(
                        twin,
                        state=ActivityState.GONE,
                        ended=Ended.HERE,
                        version=reminder.version,
                    )
                )
            elif reminder.assignee_user_id in ready:
                new.append(Pair(reminder, _planned(twin, reminder.assignee_user_id)))
        if done:
            await self._sync.keep(self.parts.owner, done)
        return new, old

    async def _edit(self, outbox: Outbox, pairs: Sequence[Pair]) -> None:
        client = Edits(self.sending)
        edits: list[Edit] = []
        quiet: list[Edit] = []
        stuck: list[TaskTwin] = []
        for pair in pairs:
            if pair.twin is None or pair.reminder.removed_at is not None:
                continue
            edit = self._fields(pair, pair.twin)
            if edit is None:
                stuck.append(_no_owner(pair.reminder, pair.twin))
                continue
            (edits if edit.fields else quiet).append(edit)
        if stuck:
            await self._sync.keep(self.parts.owner, stuck)
        if quiet:
            await self._sync.keep(self.parts.owner, [client.done(one) for one in quiet])
        if not edits:
            return
        self.report.calls += -(-len(edits) // MAX_EDITED)
        self.report.changed = True
        await outbox.send(client, edits)
        if client.gone:
            self.report.calls += 1
            found = await self.parts.org.tasks.read(client.gone)
            await self._gone([one for one in found if found[one].is_deleted])

    def _fields(self, pair: Pair, twin: TaskTwin) -> Edit | None:
        """Return the edit of a Task; None where Salesforce knows no new owner."""
        sending, reminder = self.sending, pair.reminder
        subject = sending.subject(reminder) if sending.subject else None
        fields = tasks.outward(
            tasks.values_of(reminder), twin.agreed, sending.names, subject
        )
        user = self.directory.users.get(reminder.assignee_user_id)
        owner = user.salesforce_id if user else None
        if reminder.assignee_user_id != twin.user_id and not owner:
            return None
        if owner and owner != twin.agreed.there.get(OWNER, owner):
            fields[OWNER] = owner
        return Edit(reminder.id, pair, twin, fields)


def makes_tasks(parts: Parts, directory: Directory) -> bool:
    """Say whether Tasks are made of reminders: whether that kind is logged (D14)."""
    return "reminders" in with_stored(parts.settings.match, directory).kinds


def _no_owner(reminder: Reminder, twin: TaskTwin) -> TaskTwin:
    """Return the twin of a reminder that was given to a user without a Salesforce user.

    The Task stays with its owner until the reminder is given to somebody else.
    """
    return replace(
        twin,
        code="no_salesforce_user",
        error="the assignee has no Salesforce user: relay user set USER "
        "--salesforce-id ID",
        version=reminder.version,
        due_at=None,
    )


def _planned(twin: TaskTwin, user_id: int) -> TaskTwin:
    """Return the twin of a Task that is to be made; of one that is gone, a new one."""
    if twin.state is not ActivityState.GONE:
        return replace(twin, state=ActivityState.PLANNED)
    turn = twin.turn + 1
    key = tasks.task_key(twin.reminder_id, turn)
    return TaskTwin(twin.reminder_id, user_id, key, turn)


def _key_field(name: str, schema: OrgSchema) -> str:
    return name if name and schema.holds_key("Task", name) else ""
