"""Random histories on both sides, with lost answers, kills and clocks that are off.

When all is quiet, both sides agree under the mapping; nothing that was deleted is there
again; nothing was made twice; and whatever one side edited holds, or is kept in a
conflict.

One state is left open: a request that was lost, of a user of whom there is no Task at
all, where the integration user has no View All Data and no field refuses a second one.
No query tells whether that Task is hidden or was never made, so it is not made again,
and is listed as a failure.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, example, given, note, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from relay.core import tasks
from relay.core.errors import StoreUnavailable
from relay.core.reminders import ReminderFilter
from relay.core.states import ActivityState
from relay.core.tasks import REMOVED, TaskNames
from relay.reminders.rows import NO_ANSWER
from relay.sandbox import INTEGRATION_USERNAME
from relay.store import schema
from tests.fakes.direct import without_threads, without_waits
from tests.reminders.conftest import BY, START, Clock, opened

NAMES = TaskNames()
USER = "ada"
HERE = {
    "details": ["d1", "d2", ""],
    "due": ["2026-03-10", "2026-03-11", None],
    "priority": ["Normal", "High"],
    "status": ["Open", "Complete"],
    "name": ["n1", "n2"],
}
THERE = {
    "Description": ["e1", "d2", None],
    "ActivityDate": ["2026-03-12", "2026-03-11", None],
    "Priority": ["Normal", "High", "Low"],
    "Status": ["Not Started", "In Progress", "Completed", "Deferred"],
    "Subject": ["s1", "n2"],
}
FIELD = {column: name for name, column in tasks.FIELD_OF.items()}
FAULTS = [
    {"kind": "reset", "stage": "after", "count": 1, "path": "composite"},
    {"kind": "reset", "stage": "after", "count": 1, "body": '"POST"'},
    {"kind": "reset", "stage": "after", "count": 1, "body": '"PATCH"'},
    {"kind": "reset", "stage": "after", "count": 1, "body": '"DELETE"'},
    {"kind": "truncate", "stage": "answer", "count": 1, "body": '"POST"'},
    {"kind": "reset", "stage": "before", "count": 2, "path": "composite"},
    {"kind": "html", "stage": "after", "count": 1, "body": '"P(OST|ATCH)"'},
    {"kind": "lock_rows", "count": 1, "object": "Task"},
]

which = st.integers(0, 5)
step = st.one_of(
    st.tuples(st.just("add_here"), which),
    st.tuples(st.just("add_there"), which),
    st.tuples(st.just("edit_here"), which, st.sampled_from(sorted(HERE)), which),
    st.tuples(st.just("edit_here"), which, st.sampled_from(sorted(HERE)), which),
    st.tuples(st.just("edit_there"), which, st.sampled_from(sorted(THERE)), which),
    st.tuples(st.just("edit_there"), which, st.sampled_from(sorted(THERE)), which),
    st.tuples(st.just("remove_here"), which),
    st.tuples(st.just("remove_there"), which),
    st.tuples(st.just("round")),
    st.tuples(st.just("round")),
    st.tuples(st.just("pause")),
    st.tuples(st.just("race"), which, which),
    st.tuples(st.just("restore_here"), which),
    st.tuples(st.just("restore_there"), which),
    st.tuples(st.just("copy_there"), which),
    st.tuples(st.just("retry")),
    st.tuples(st.just("fault"), st.integers(0, len(FAULTS) - 1)),
    st.tuples(st.just("kill"), st.integers(1, 12), st.booleans()),
)
histories = st.tuples(
    st.integers(-600, 600),
    st.booleans(),
    st.booleans(),
    st.lists(step, min_size=3, max_size=24),
)
"""By how many seconds the relay's clock is ahead; whether the org has a field for keys;
whether the integration user has View All Data; and what happens."""
KILLED = [("add_here", 0), ("kill", 7, True)]
"""The very first Task of a user is lost on its way."""


def lost(test):
    """Try that first, with and without View All Data."""
    for views_all in (True, False):
        for last in (("round",), ("remove_here", 0), ("add_there", 0)):
            test = example(history=(0, False, views_all, [*KILLED, last]))(test)
    return test


class Killed(BaseException):
    """The process is gone."""


@dataclass
class Item:
    """A reminder and its Task, whichever side it was made on.

    `mine` and `theirs` are edits of either side that the other has not seen, by field
    of the reminder. One that was restored or copied is `loose`: what
    becomes of it depends on what the other side has seen.
    """

    label: str
    reminder_id: str = ""
    task_id: str = ""
    dead: bool = False
    loose: bool = False
    mine: dict = field(default_factory=dict)
    theirs: dict = field(default_factory=dict)


class Model:
    """One history, and what must hold in the end."""

    def __init__(self, world, *, proves):
        self.world = world
        self.proves = proves
        self.items = []
        self.fuse = 0
        self.after = False
        self.gone = False
        self.broken = []
        self.meanwhile = []
        self.update = world.org.records.update
        world.org.records.update = self.updating
        self.write, self.read = world.store.context.write, world.store.context.read
        world.store.context.write = self.guarded
        world.store.context.read = self.watched(self.read)

    def release(self):
        """Give the world back its own store."""
        self.world.store.context.write = self.write
        self.world.store.context.read = self.read
        self.world.org.records.update = self.update

    def watched(self, job):
        """Return what does a job of the store, and keeps an error of the database.

        The database is never away in a history: a round that is put off for an error
        of it would hide a mistake.
        """

        async def watching(work, **more):
            try:
                return await job(work, **more)
            except StoreUnavailable as error:
                self.broken.append(f"{error}: {error.__cause__!r}")
                raise

        return watching

    async def guarded(self, work, **more):
        """Commit, unless the process is killed before or after it."""
        if self.gone:
            raise Killed
        write = self.watched(self.write)
        if self.fuse:
            self.fuse -= 1
            if not self.fuse:
                if self.after:
                    await write(work, **more)
                self.gone = True
                raise Killed
        return await write(work, **more)

    async def run(self, skew, steps):
        world = self.world
        world.clock.skew_s = skew
        await world.switch()
        await self.round()
        for number, one in enumerate(steps):
            world.sandbox.clock.shift(7)
            await getattr(self, one[0])(number, *one[1:])
            assert self.broken == []
        await self.settle()
        assert self.broken == []
        await self.check()

    # ------------------------------------------------------------ steps

    async def add_here(self, number, _):
        label = f"h{number}"
        made = await self.world.remind(label, details=label)
        self.items.append(Item(label, made.id))

    async def add_there(self, number, _):
        label = f"t{number}"
        task_id = self.world.task(label, USER, Description=label)
        self.items.append(Item(label, task_id=task_id))

    async def chosen(self, number, *, here):
        """Return a living item that this side knows by now."""
        await self.learn()
        found = [
            one
            for one in self.items
            if not one.dead and (one.reminder_id if here else one.task_id)
        ]
        return found[number % len(found)] if found else None

    async def edit_here(self, _, number, name, value):
        item = await self.chosen(number, here=True)
        if item is None:
            return
        value = HERE[name][value % len(HERE[name])]
        before = await self.world.store.reminders.get(item.reminder_id, removed=True)
        if before.removed_at is not None:
            return
        old = tasks.values_of(before)[name]
        if old == value:
            return
        if name in item.theirs and item.theirs[name] == old:
            del item.theirs[name]  # It has come here, and is overwritten knowingly.
        await self.world.edit(before, **{name: value})
        twin = await self.world.twin(before)
        item.mine[name] = value
        if twin and twin.agreed.here.get(name) == value:
            del item.mine[name]

    async def edit_there(self, _, number, column, value):
        item = await self.chosen(number, here=False)
        if item is None:
            return
        await self.edit_task(item, column, value)

    async def edit_task(self, item, column, value):
        value = THERE[column][value % len(THERE[column])]
        row = self.world.sandbox.rows.get("Task", item.task_id)
        if row["IsDeleted"] or row[column] == value:
            return
        name = FIELD[column]
        old = tasks.inward(name, row[column], NAMES)
        self.world.change(item.task_id, **{column: value})
        if name == "name":
            return
        if name in item.mine and item.mine[name] == old:
            del item.mine[name]
        meaning = tasks.inward(name, value, NAMES)
        item.theirs.pop(name, None)
        if isinstance(meaning, tasks.Left):
            return
        twin = await self.twin_of(item)
        if twin is None or twin.agreed.there.get(column) != value:
            item.theirs[name] = meaning

    async def remove_here(self, _, number):
        item = await self.chosen(number, here=True)
        if item is None:
            return
        reminder = await self.world.store.reminders.get(item.reminder_id, removed=True)
        item.dead = True
        if reminder.removed_at is None:
            await self.world.remove(reminder)

    async def remove_there(self, _, number):
        item = await self.chosen(number, here=False)
        if item is None:
            return
        item.dead = True
        if not self.world.sandbox.rows.get("Task", item.task_id)["IsDeleted"]:
            self.world.delete(item.task_id)

    async def updating(self, records, **named):
        """Let a person edit what a round is about to write, after it was read."""
        while self.meanwhile:
            number, value = self.meanwhile.pop()
            *_, task_id, fields = records[number % len(records)]
            columns = sorted(fields.keys() & THERE.keys())
            await self.learn()
            for item in [one for one in self.items if one.task_id == task_id]:
                for column in columns[number % max(1, len(columns)) :][:1]:
                    await self.edit_task(item, column, value)
        return await self.update(records, **named)

    async def race(self, _, number, value):
        self.meanwhile = [(number, value)]
        await self.turns(61)
        self.meanwhile = []

    async def restore_here(self, _, which):
        await self.learn()
        found = [one for one in self.items if one.dead and one.reminder_id]
        if not found:
            return
        item = found[which % len(found)]
        store = self.world.store.reminders
        one = await store.get(item.reminder_id, removed=True)
        if one.removed_at is not None:
            edits = await store.history(one.id)
            last = [edit.version for edit in edits if edit.field == REMOVED][-1]
            await store.undo(one.id, last, BY)
        item.loose = True

    async def restore_there(self, _, which):
        await self.learn()
        found = [one for one in self.items if one.dead and one.task_id]
        if not found:
            return
        item = found[which % len(found)]
        row = self.world.sandbox.rows.get("Task", item.task_id)
        if row["IsDeleted"]:
            self.world.undelete(item.task_id)
        item.loose = True

    async def copy_there(self, number, _):
        """Copy a Task with its Comments, and the key that may be in them."""
        living = [
            row for row in self.world.sandbox.rows.all("Task") if not row["IsDeleted"]
        ]
        if living:
            row = living[number % len(living)]
            label = f"c{number}"
            fields = {name: row[name] for name in ("Description", "Priority")}
            task_id = self.world.task(label, USER, **fields)
            self.items.append(Item(label, task_id=task_id, loose=True))

    async def retry(self, _):
        await self.world.store.reminder_sync.retry()

    async def round(self, _=0):
        await self.turns(61)

    async def pause(self, _):
        await self.world.switch(on=False)
        self.world.sandbox.clock.shift(3 * 86_400)
        await self.world.switch()

    async def fault(self, _, number):
        self.world.sandbox.faults.load([FAULTS[number]])
        await self.turns(61)
        self.world.sandbox.faults.load([])

    async def kill(self, _, writes, after):
        """Kill the relay at one of its commits; another one takes over."""
        self.fuse, self.after = writes, after
        await self.turns(61)
        self.fuse, self.gone = 0, False
        self.world.service = self.world.made(random.randrange(1 << 20))

    async def turns(self, seconds):
        self.world.sandbox.clock.shift(seconds)
        try:
            for _ in range(10):
                if not await self.world.service.turn():
                    break
        except Killed:
            # Its lease ends by itself.
            self.world.sandbox.clock.shift(200)

    # ------------------------------------------------------------ the end

    async def twin_of(self, item):
        if item.reminder_id:
            return await self.world.store.reminder_sync.twin(item.reminder_id)
        return None

    async def learn(self):
        """Find the other halves of items."""
        known = await self.world.store.reminder_sync.known(
            [item.task_id for item in self.items if item.task_id]
        )
        for item in self.items:
            if item.reminder_id and not item.task_id:
                twin = await self.twin_of(item)
                item.task_id = (twin and twin.task_id) or ""
            elif item.task_id and not item.reminder_id and item.task_id in known:
                item.reminder_id = known[item.task_id].reminder_id

    async def settle(self):
        self.world.sandbox.faults.load([])
        for seconds in (200, 400, 61, 4000, 61, 61):
            await self.turns(seconds)
        before = len(self.world.sandbox.calls.as_json())
        await self.turns(61)
        after = self.world.sandbox.calls.as_json()[before:]
        assert 1 <= len(after) <= 2, "a quiet round costs two calls at most"

    async def check(self):
        await self.learn()
        rows = {row["Id"]: row for row in self.world.sandbox.rows.all("Task")}
        living = {ident for ident, row in rows.items() if not row["IsDeleted"]}
        found = await self.world.store.reminders.find(ReminderFilter())
        here = {one.id: one for one in found}
        clashes = await self.world.store.reminder_sync.clashes()
        state = await self.world.state()
        assert state.stopped is None
        doubtful = await self.in_doubt(rows)
        await self.check_ties(living, here, doubtful)
        for item in self.items:
            note(f"{item}")
            if item.loose:
                continue
            if not item.dead and item.reminder_id in doubtful:
                assert item.reminder_id in here, "lost here"
                continue
            if item.dead:
                assert item.reminder_id not in here, "resurrected here"
                assert item.task_id not in living, "resurrected there"
                self.check_deleted(item, clashes)
                continue
            assert item.reminder_id in here, "lost here"
            assert item.task_id in living, "lost there"
            self.check_pair(item, here[item.reminder_id], rows[item.task_id], clashes)
        if not any(item.loose for item in self.items):
            # Nothing was made twice.
            alive = [item for item in self.items if not item.dead]
            tied = [item for item in alive if item.reminder_id not in doubtful]
            assert {item.task_id for item in tied} == living
            assert {item.reminder_id for item in alive} == set(here)

    async def in_doubt(self, rows):
        """Return the reminders of which nobody can know whether there is a Task."""
        failures = await self.world.store.reminder_sync.failures()
        if self.proves or rows:
            assert failures == []
        for one in failures:
            assert one.twin.state is ActivityState.SENT
            assert one.twin.code == NO_ANSWER
        return {one.reminder.id for one in failures}

    async def check_ties(self, living, here, doubtful):
        """Each reminder has one Task, and each Task one reminder."""
        ties = {}
        for ident in here.keys() - doubtful:
            twin = await self.world.store.reminder_sync.twin(ident)
            assert twin.lives, f"not tied: {twin}"
            ties[ident] = twin.task_id
        assert len(set(ties.values())) == len(ties), "two reminders of one Task"
        assert set(ties.values()) == living

    def check_pair(self, item, one, row, clashes):
        values = tasks.values_of(one)
        for name, column in tasks.FIELD_OF.items():
            meaning = tasks.inward(name, row[column], NAMES)
            if not isinstance(meaning, tasks.Left):
                assert meaning == values[name], f"{name} differs"
        kept = [
            (clash.field, value)
            for clash in clashes
            if clash.reminder_id == one.id
            for value in (clash.here, clash.there)
        ]
        for edits in (item.mine, item.theirs):
            for name, value in edits.items():
                assert values[name] == value or (name, value) in kept, (
                    f"{name} = {value!r} is lost"
                )

    def check_deleted(self, item, clashes):
        lost = {}
        for clash in clashes:
            if clash.reminder_id == item.reminder_id:
                if clash.field == REMOVED:
                    lost |= {**clash.here, **clash.there}
                else:
                    lost.setdefault(clash.field, clash.here)
        note(f"kept: {lost}")


async def fresh(world):
    """Make the world new again, faster than a new store would be."""
    world.sandbox.reset()
    world.sandbox.clock.set(START, stopped=True)
    names = ("reminder_clashes", "reminder_tasks", "reminder_syncs", "reminder_changes")

    def empty(connection):
        for name in (*names, "reminders", "notes", "leases"):
            connection.execute(delete(getattr(schema, name)))

    await world.store.context.write(empty)
    world.clock = Clock(world.sandbox)
    world.store.context.clock = world.clock
    world.org.stats._ahead = world.org.stats._ahead * 0
    world.service = world.made()


class Machine:
    """Runs histories in one loop; a place for each kind of key is made once."""

    def __init__(self, runner, sandbox, folder, *, direct):
        self.runner, self.sandbox, self.folder = runner, sandbox, folder
        self.direct = direct
        self.places = {}

    def __call__(self, history):
        skew, keyed, views_all, steps = history
        note(repr(history))
        key = "Relay_Key__c" if keyed else ""
        place = self.place(key)
        self.runner.run(history_of(place, key, skew, steps, views_all=views_all))

    def place(self, key):
        if key not in self.places:
            always = {"brake_tasks": 1000, "brake_percent": 100.0}
            always |= {"idle_poll_s": 55.0, "calls_per_day": 100_000}
            options = {"reminders": always, "salesforce": {"key_field": key}}
            path = self.folder / f"store{key}"
            path.mkdir()
            world = self.runner.run(opened(self.sandbox, path, options))
            if self.direct:
                without_threads(world.org)
                without_waits(world.store, world.settings.store.url)
            self.places[key] = world
        return self.places[key]

    def close(self):
        for world in self.places.values():
            self.runner.run(world.close())


@pytest.fixture
def machine(served_org, tmp_path):
    """Return a function that runs a history, over sockets and threads."""
    with asyncio.Runner() as runner:
        made = Machine(runner, served_org, tmp_path, direct=False)
        yield made
        made.close()


@pytest.fixture
def direct_machine(sandbox, tmp_path):
    """Return a function that runs a history in this thread, a good deal faster."""
    with asyncio.Runner() as runner:
        made = Machine(runner, sandbox, tmp_path, direct=True)
        yield made
        made.close()


async def history_of(world, key, skew, steps, *, views_all):
    await fresh(world)
    if views_all:
        world.sandbox.configure({"view_all_data": [INTEGRATION_USERNAME]})
    if key:
        fields = {"object": "Activity", "name": key, "length": 40}
        unique = {"unique": True, "external_id": True, "case_sensitive": True}
        world.sandbox.configure({"custom_fields": [{**fields, **unique}]})
        await world.org.schema.get(fresh=True)
    world.service = world.made()
    model = Model(world, proves=bool(key) or views_all)
    try:
        await model.run(skew, steps)
    finally:
        model.release()


CHECKS = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@settings(max_examples=5, deadline=None, suppress_health_check=CHECKS)
@given(history=histories)
@pytest.mark.timeout(300)
def test_a_history_over_sockets_ends_with_both_sides_agreed(machine, history):
    """The promise of the top of this file."""
    machine(history)


@settings(max_examples=40, deadline=None, suppress_health_check=CHECKS)
@given(history=histories)
@lost
@pytest.mark.timeout(300)
def test_a_history_ends_with_both_sides_agreed(direct_machine, history):
    """The same, in one thread."""
    direct_machine(history)


@pytest.mark.slow
@settings(max_examples=10_000, deadline=None, suppress_health_check=CHECKS)
@given(history=histories)
@pytest.mark.timeout(4 * 3600)
def test_ten_thousand_histories(direct_machine, history):
    """The same, for long."""
    direct_machine(history)
