"""Switches, twins and clashes, on both databases."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from relay.core.directory import Role
from relay.core.errors import Conflict, LeaseLost, NotFound
from relay.core.reminders import By, NewReminder, ReminderFilter, Source
from relay.core.states import ActivityState
from relay.core.syncing import Decision, Ended, Phase, Stopped
from relay.core.tasks import Agreed, Clash, Side, Task, task_key
from relay.store.reminder_sync import LEASE

SF = "0055g00000AbCdEAAV"
TASK = "00T000000000001EAA"
BY = By("ada", Source.PERSON)


@pytest.fixture
async def sync(store, user, owner):
    await store.leases.take(LEASE, owner, 600)
    await store.reminder_sync.switch(user.id, SF, "test", on=True)
    return store.reminder_sync


async def remind(store, clock, user, name="Call"):
    clock.move(1)
    return await store.reminders.add(NewReminder(user.id, user.id, name), BY)


async def test_the_switch_is_kept_with_how_far_it_is(store, sync, user, clock, owner):
    """On, off and on again: the second run catches up; first_on_at stays."""
    first = await sync.user(user.id)
    assert (first.is_on, first.phase, first.runs) == (True, Phase.FIRST, True)
    at = clock.now() - timedelta(minutes=5)
    await sync.mark(owner, [replace(first, phase=Phase.STEADY, since=at, after="x")])
    clock.move(60)
    off = await sync.switch(user.id, SF, "test", on=False)
    assert not off.runs
    # A round that was under way when it was switched off moves no mark.
    await sync.mark(owner, [replace(first, since=clock.now())])
    again = await sync.switch(user.id, SF, "test", on=True)
    assert (again.phase, again.since) == (Phase.CATCH_UP, at)
    assert again.first_on_at == first.first_on_at < again.on_at
    assert await sync.users() == [again]
    assert await sync.user(999) is None


async def test_only_who_has_the_lease_writes(store, sync, user, clock, rival, owner):
    """Another relay, and one that was paused for longer than its lease, lose it."""
    one = await remind(store, clock, user)
    (state,) = await sync.users()
    for call in (
        lambda who: sync.plan(who, [one]),
        lambda who: sync.mark(who, [state]),
        lambda who: sync.keep(who, []),
        lambda who: sync.take(who, [], lambda *_: None),
    ):
        with pytest.raises(LeaseLost):
            await call(rival)
    clock.move(601)
    with pytest.raises(LeaseLost):
        await sync.plan(owner, [one])
    assert await sync.twin(one.id) is None


async def test_what_waits_to_be_sent(store, sync, user, clock, owner):
    """New ones after the switch, edited ones, and those that failed once due."""
    one = await remind(store, clock, user)
    (pair,) = await sync.pending([user.id], 10)
    assert (pair.reminder, pair.twin) == (one, None)
    ((planned),) = await sync.plan(owner, [one])
    twin = replace(
        planned.twin,
        task_id=TASK,
        state=ActivityState.WRITTEN,
        version=one.version,
        agreed=Agreed({"name": "Call"}, {"Subject": "Call"}),
        stamp=clock.now(),
    )
    await sync.keep(owner, [twin], pushed=True)
    assert (await sync.user(user.id)).pushed == 1
    assert await sync.pending([user.id], 10) == []
    assert await sync.living([user.id]) == {user.id: 1}
    assert await sync.samples([user.id], 3) == {user.id: [TASK]}
    assert (await sync.known([TASK]))[TASK] == twin
    assert await sync.walk(user.id, "", 10) == [twin]
    edited = await store.reminders.edit(one.id, {"name": "Write"}, BY)
    (pair,) = await sync.pending([user.id], 10)
    assert (pair.reminder, pair.twin) == (edited, twin)
    failed = replace(twin, code="X", error="y", due_at=clock.now() + timedelta(1))
    await sync.keep(owner, [failed])
    assert await sync.pending([user.id], 10) == []
    assert [p.twin for p in await sync.failures(user.id)] == [failed]
    assert await sync.retry(user.id) == 1
    assert len(await sync.pending([user.id], 10)) == 1
    await sync.keep(owner, [replace(failed, state=ActivityState.SENT)])
    assert await sync.retry(user.id) == 1
    assert [t.due_at for t in await sync.unknown([user.id])] == [None]
    await sync.keep(owner, [twin])
    await store.reminders.remove(one.id, BY)
    assert [t.task_id for t in await sync.removed([user.id])] == [TASK]
    assert await sync.victims([TASK]) == []


async def test_what_waits_comes_once(store, sync, user, clock, owner, monkeypatch):
    """Also where twin and assignee are of users who are asked for apart."""
    monkeypatch.setattr("relay.store.values._CHUNK", 1)
    other = await store.directory.add_user(
        "Ben", "ben@corp.example", Role.REP, None, "test"
    )
    one = await remind(store, clock, user)
    (pair,) = await sync.plan(owner, [one])
    await sync.keep(
        owner, [replace(pair.twin, state=ActivityState.WRITTEN, task_id=TASK)]
    )
    await store.reminders.edit(one.id, {"assignee_user_id": other.id, "person": ""}, BY)
    assert len(await sync.pending([user.id, other.id], 10)) == 1


async def test_what_salesforce_has_is_taken_in_whole(store, sync, user, clock, owner):
    """A new reminder with its twin, an edit, a deletion, and the mark, in one."""
    task = Task(TASK, SF, clock.now(), {"Subject": "There"})
    state = await sync.user(user.id)
    new = NewReminder(user.id, user.id, "There")
    made, changed = await sync.take(
        owner,
        [task],
        lambda *_: new,
        agreed=lambda _: Agreed({"name": "There"}, {"Subject": "There"}),
        marks=[replace(state, since=clock.now(), phase=Phase.STEADY)],
    )
    assert (made, changed) == ({user.id: 1}, 0)
    (one,) = await store.reminders.find(ReminderFilter())
    twin = await sync.twin(one.id)
    assert (twin.task_id, twin.key, twin.version) == (TASK, task_key(one.id), 1)
    assert (await sync.user(user.id)).imported == 1

    def edit(_, pair):
        clash = Clash("details", "a", "b", Side.HERE)
        return Decision(pair.twin, {"details": "New"}, clashes=(clash,))

    _, changed = await sync.take(owner, [task], edit)
    assert changed == 1
    assert (await store.reminders.get(one.id)).details == "New"
    assert (await sync.twin(one.id)).version == 2
    (clash,) = await sync.clashes(user.id)
    assert await sync.clash(clash.id) == clash
    assert await sync.clashes(reminder_id=one.id) == [clash]
    counts = await sync.counts()
    assert counts == {user.id: {"tasks": 1, "waiting": 0, "failing": 0, "conflicts": 1}}
    assert [t.task_id for t in await sync.victims([TASK])] == [TASK]

    def gone(pair):
        ended = replace(
            pair.twin, state=ActivityState.GONE, ended=Ended.SALESFORCE, version=2
        )
        lost = Clash("removed", {"details": "Mine"}, {}, Side.SALESFORCE)
        return Decision(ended, removed=True, clashes=(lost,))

    await sync.take(owner, [], edit, gone=[TASK], decide_gone=gone)
    assert await store.reminders.find(ReminderFilter()) == []
    (lost, _) = await sync.clashes(user.id)
    back = await sync.undo_clash(lost.id, BY)
    assert back.removed_at is None
    again = await sync.twin(one.id)
    assert (again.turn, again.state) == (2, ActivityState.PLANNED)
    with pytest.raises(Conflict):
        await sync.undo_clash(lost.id, BY)
    with pytest.raises(NotFound):
        await sync.undo_clash(999, BY)


async def test_a_stop_waits_for_an_answer(store, sync, user, clock, owner):
    """After the brake the counted deletions are allowed; after another org all ends."""
    one = await remind(store, clock, user)
    (pair,) = await sync.plan(owner, [one])
    written = replace(pair.twin, state=ActivityState.WRITTEN, task_id=TASK)
    await sync.keep(owner, [written])
    state = await sync.user(user.id)
    for why, keep, permit, phase in (
        (Stopped.BRAKE, False, 7, Phase.FIRST),
        (Stopped.BRAKE, True, -1, Phase.FIRST),
        (Stopped.EMPTY, False, 7, Phase.FULL),
        (Stopped.ORG, False, 7, Phase.FIRST),
    ):
        await sync.mark(owner, [replace(state, stopped=why, permit=7)])
        done = await sync.resume(user.id, SF, "test", keep=keep)
        assert (done.permit, done.phase, done.stopped) == (permit, phase, None)
    assert (await sync.twin(one.id)).ended is Ended.KEPT
    with pytest.raises(Conflict):
        await sync.resume(user.id, SF, "test")
