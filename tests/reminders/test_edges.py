"""What goes wrong: rights, owners, lost answers, kills, and deletions nobody meant."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from relay.core.errors import Conflict
from relay.core.reminders import By, Source, Status
from relay.core.states import ActivityState
from relay.core.syncing import Ended, Phase, Stopped
from relay.reminders import round as rounds
from relay.sandbox import INTEGRATION_USERNAME
from relay.store.reminder_sync import LEASE, ORG_NOTE
from tests.reminders.conftest import BY

pytestmark = pytest.mark.timeout(60)

DAY = 86_400


async def begun(world, count=1, **fields):
    """Switch on with so many Tasks; return their ids."""
    ids = [world.task(f"Task {number}", **fields) for number in range(count)]
    await world.switch()
    await world.round()
    return ids


# ------------------------------------------------------------------ the brake


async def test_an_empty_side_is_a_fault(world):
    """Where sharing hides every Task, nothing is deleted; the sync stops and asks."""
    ids = await begun(world, 3)
    me = world.sandbox.integration_user_id
    world.sandbox.configure({"hidden_rows": {me: ids}})
    await world.round()
    state = await world.state()
    assert state.stopped is Stopped.EMPTY
    assert len(await world.reminders()) == 3
    assert await world.rounds() == [0, 0, 0]
    world.sandbox.configure({"hidden_rows": {}})
    world.change(ids[0], Priority="High")
    sync = world.store.reminder_sync
    user = world.users["ada"]
    await sync.resume(user.id, user.salesforce_id, "test")
    await world.rounds()
    assert (await world.reminders())["Task 0"].priority == "High"
    assert (await world.state()).phase is Phase.STEADY


@pytest.mark.parametrize(("count", "gone", "stops"), [(30, 21, True), (40, 5, False)])
async def test_the_brake_holds_deletions_there(world, count, gone, stops):
    """More than 20, or a tenth that is no handful: it asks, and deletes nothing."""
    ids = await begun(world, count)
    for task_id in ids[:gone]:
        world.delete(task_id)
    await world.round()
    state = await world.state()
    assert (state.stopped is Stopped.BRAKE) is stops
    assert len(await world.reminders()) == (count if stops else count - gone)
    if stops:
        assert f"of {count} tasks, {gone} were deleted" in state.stopped_text
        user = world.users["ada"]
        await world.store.reminder_sync.resume(user.id, user.salesforce_id, "test")
        await world.rounds()
        assert len(await world.reminders()) == count - gone
        assert (await world.state()).permit == 0


async def test_the_brake_holds_deletions_here_and_both_sides_may_stay(world):
    """With keep, what was deleted on one side stays on the other, for good."""
    await begun(world, 12)
    for one in list((await world.reminders()).values())[:7]:
        await world.remove(one)
    await world.round()
    assert (await world.state()).stopped is Stopped.BRAKE
    assert len(world.tasks()) == 12
    user, sync = world.users["ada"], world.store.reminder_sync
    await sync.resume(user.id, user.salesforce_id, "test", keep=True)
    await world.rounds()
    assert len(world.tasks()) == 12
    assert len(await world.reminders()) == 5
    with pytest.raises(Conflict, match="is not stopped"):
        await sync.resume(user.id, user.salesforce_id, "test")


@pytest.mark.parametrize("keep", [False, True])
async def test_the_brake_holds_what_is_given_away(world, keep):
    """A team's Tasks that go to a stranger at once end no reminders unasked."""
    ids = await begun(world, 12)
    await world.round(120)
    stranger = world.sandbox.integration_user_id
    for task_id in ids[:7]:
        world.change(task_id, OwnerId=stranger)
    await world.round(240)
    state = await world.state()
    assert state.stopped is Stopped.BRAKE
    assert "of 12 tasks, 0 were deleted in Salesforce and 0 here; 7 were given" in (
        state.stopped_text
    )
    assert len(await world.reminders()) == 12
    user, sync = world.users["ada"], world.store.reminder_sync
    await sync.resume(user.id, user.salesforce_id, "test", keep=keep)
    await world.rounds()
    assert len(await world.reminders()) == (12 if keep else 5)
    assert len(world.tasks()) == 12
    assert (await world.state()).stopped is None


async def test_the_brake_counts_what_is_removed_while_a_round_runs(world, monkeypatch):
    """What it has not counted is not deleted: the next round asks."""
    await begun(world, 30)
    compare = rounds.Round._compare

    async def compare_then_remove(self):
        await compare(self)
        monkeypatch.undo()
        for one in list((await world.reminders()).values())[:21]:
            await world.remove(one)

    monkeypatch.setattr(rounds.Round, "_compare", compare_then_remove)
    await world.rounds()
    assert (await world.state()).stopped is Stopped.BRAKE
    assert len(world.tasks()) == 30


async def test_the_brake_counts_what_an_edit_finds_deleted(world):
    """All that one round ends counts together, at whatever step it is found."""
    ids = await begun(world, 40)
    await world.round(400)
    for task_id in ids[:5]:
        world.delete(task_id)
    found = await world.reminders()
    for number in range(5, 8):
        await world.edit(found[f"Task {number}"], priority="High")
    meanwhile(world, lambda: [world.delete(task_id) for task_id in ids[5:8]])
    await world.round()
    state = await world.state()
    assert state.stopped is Stopped.BRAKE
    assert "of 40 tasks, 8 were deleted in Salesforce and 0 here" in state.stopped_text
    # Those of the first step were few, and are gone.
    assert len(await world.reminders()) == 35
    user = world.users["ada"]
    await world.store.reminder_sync.resume(user.id, user.salesforce_id, "test")
    await world.rounds()
    assert len(await world.reminders()) == 32
    assert (await world.state()).stopped is None


@pytest.mark.parametrize("keep", [False, True])
async def test_the_brake_counts_what_a_look_up_finds_deleted(world, keep):
    """Tasks that were made without an answer, and deleted by a person since."""
    await world.switch()
    await world.round()
    for number in range(7):
        await world.remind(f"Here {number}")
    world.sandbox.faults.load(
        [{"kind": "reset", "stage": "after", "count": 1, "body": '"POST"'}]
    )
    await world.round()
    made = world.tasks()
    assert len(made) == 7
    for row in made.values():
        world.delete(row["Id"])
    await world.round()
    assert (await world.state()).stopped is Stopped.BRAKE
    assert len(await world.reminders()) == 7
    user, sync = world.users["ada"], world.store.reminder_sync
    await sync.resume(user.id, user.salesforce_id, "test", keep=keep)
    await world.rounds()
    assert len(await world.reminders()) == (7 if keep else 0)
    assert world.tasks() == {}


async def test_a_task_given_to_whose_sync_stops_stays_a_reminder(world):
    """Who is stopped by the same round is a user of the relay all the same."""
    (task_id,) = await begun(world, 1)
    bob = await world.add("ben")
    await world.switch("ben")
    await world.round(120)
    world.change(task_id, OwnerId=bob.salesforce_id)
    row = world.sandbox.rows.get("User", bob.salesforce_id)
    world.sandbox.rows.put("User", {**row, "IsActive": False})
    world.sandbox.rows.commit()
    await world.round(240)
    assert (await world.state("ben")).stopped is Stopped.OWNER
    assert (await world.reminders())["Task 0"].assignee_user_id == bob.id


async def test_a_clone_of_a_task_is_a_task_of_its_own(world):
    """It carries the key, too; neither its edits nor its end are the first one's."""
    await world.switch()
    await world.round()
    made = await world.remind("Call Anna")
    await world.rounds()
    first = world.tasks()["Call Anna"]
    assert "relay-key: " in first["Description"]
    clone = world.task(
        "Call Anna", Description=first["Description"], ActivityDate="2026-12-24"
    )
    await world.rounds()
    kept = await world.store.reminders.get(made.id)
    assert (kept.due, len(await world.all())) == (None, 2)
    world.delete(clone)
    await world.rounds()
    (left,) = await world.all()
    assert left.id == made.id
    assert (await world.twin(made)).task_id == first["Id"]


async def test_another_org_stops_everybody(world):
    """Its ids mean nothing to us; after an answer the next run there is a first one."""
    await begun(world, 2)
    await world.store.shared.set(ORG_NOTE, "00D000000000001AAA")
    await world.round()
    assert (await world.state()).stopped is Stopped.ORG
    assert len(await world.reminders()) == 2
    user, sync = world.users["ada"], world.store.reminder_sync
    await sync.resume(user.id, user.salesforce_id, "test")
    await world.round()
    state = await world.state()
    assert (state.stopped, state.phase) == (None, Phase.STEADY)


async def test_a_cut_log_of_deletions_leads_to_a_full_comparison(world):
    """Where Salesforce cannot tell what was deleted, all Tasks are compared."""
    ids = await begun(world, 3)
    await world.switch(on=False)
    world.sandbox.clock.shift(2 * DAY)
    world.delete(ids[0])
    world.sandbox.clock.shift(60)
    world.sandbox.purge()
    await world.switch()
    await world.round()
    assert set(await world.reminders()) == {"Task 1", "Task 2"}


# ------------------------------------------------------------------ users and owners


async def test_an_inactive_user_stops_the_sync(world):
    """Nothing is deleted; it goes on once the user is active again."""
    await begun(world, 2)
    row = world.sandbox.rows.get("User", world.users["ada"].salesforce_id)
    world.sandbox.rows.put("User", {**row, "IsActive": False})
    world.sandbox.rows.commit()
    await world.round()
    assert (await world.state()).stopped is Stopped.OWNER
    assert len(await world.reminders()) == 2
    world.sandbox.rows.put("User", row)
    user = world.users["ada"]
    await world.store.reminder_sync.resume(user.id, user.salesforce_id, "test")
    await world.rounds()
    assert (await world.state()).stopped is None


async def test_another_salesforce_user_stops_the_sync(world):
    """Whose Tasks they are has changed: a person says whether that is right."""
    await begun(world, 1)
    user = world.users["ada"]
    (ben,) = world.sandbox.rows.lookup("User", "Username", ["ben@corp.example"])
    await world.store.directory.set_salesforce_id(user.id, ben["Id"], "test")
    await world.reload()
    await world.round()
    assert (await world.state()).stopped is Stopped.RELINKED
    assert len(await world.reminders()) == 1


async def test_a_task_that_moves_to_another_user(world):
    """It becomes the other user's reminder, leaves with nobody, and comes back."""
    await world.add("cleo")
    (task_id,) = await begun(world, 1)
    await world.switch("cleo")
    await world.round()
    ada, cleo = world.users["ada"], world.users["cleo"]
    world.change(task_id, OwnerId=cleo.salesforce_id)
    await world.rounds()
    one = (await world.reminders())["Task 0"]
    assert one.assignee_user_id == cleo.id
    (ben,) = world.sandbox.rows.lookup("User", "Username", ["ben@corp.example"])
    world.change(task_id, OwnerId=ben["Id"])
    await world.rounds(5)
    assert await world.reminders() == {}
    assert (await world.twin(one)).ended is Ended.MOVED
    assert task_id in {row["Id"] for row in world.tasks().values()}
    world.change(task_id, OwnerId=ada.salesforce_id, Description="Back")
    await world.rounds()
    back = (await world.reminders())["Task 0"]
    assert (back.id, back.assignee_user_id, back.details) == (one.id, ada.id, "Back")


async def test_a_reminder_that_is_given_to_somebody_else(world):
    """Its Task follows; a user without a Salesforce user is named as a failure."""
    from relay.core.directory import Role

    cleo = await world.add("cleo")
    await begun(world, 1)
    await world.switch("cleo")
    one = (await world.reminders())["Task 0"]
    await world.edit(one, assignee_user_id=cleo.id)
    await world.rounds()
    assert world.tasks()["Task 0"]["OwnerId"] == cleo.salesforce_id
    assert (await world.twin(one)).user_id == cleo.id
    nobody = await world.store.directory.add_user(
        "No", "no@corp.example", Role.REP, None, "test"
    )
    await world.reload()
    await world.edit(one, assignee_user_id=nobody.id)
    await world.rounds()
    (failed,) = await world.store.reminder_sync.failures()
    assert failed.twin.code == "no_salesforce_user"
    assert world.tasks()["Task 0"]["OwnerId"] == cleo.salesforce_id
    await world.edit(one, assignee_user_id=world.users["ada"].id)
    await world.rounds()
    owner = world.tasks()["Task 0"]["OwnerId"]
    assert owner == world.users["ada"].salesforce_id
    assert await world.store.reminder_sync.failures() == []


# ------------------------------------------------------------------ fields and records


async def test_a_field_that_our_user_may_not_see_stays(world):
    """It is neither read nor written; what was edited is merged once it can be seen."""
    (task_id,) = await begun(world, 1, Description="Before")
    one = (await world.reminders())["Task 0"]
    hidden = {"Task": ["Type", "Description"]}
    world.sandbox.configure({"hidden_fields": hidden})
    world.change_raw(task_id, Description="There")
    await world.edit(one, details="Here", priority="High")
    await world.rounds(4)
    row = world.tasks()["Task 0"]
    assert (row["Description"], row["Priority"]) == ("There", "High")
    assert (await world.reminders())["Task 0"].details == "Here"
    world.sandbox.configure({"hidden_fields": {"Task": ["Type"]}})
    await world.org.schema.get(fresh=True)
    world.change(task_id, Priority="Normal")
    await world.rounds()
    (clash,) = await world.store.reminder_sync.clashes()
    assert (clash.field, clash.here, clash.there) == ("details", "Here", "There")


async def test_what_is_logged_for_mail_is_no_reminder(world):
    """Mails, calls, the main record of a series and archived Tasks are left out."""
    ada = world.users["ada"].salesforce_id
    key = "0123456789abcdef0123456789abcdef01234567"
    world.task("Mail", Description=f"Hello\n\nrelay-key: {key}")
    world.task("Sent", TaskSubtype="Email", Status="Completed")
    world.task("Called", TaskSubtype="Call", Status="Completed")
    main = {
        "Subject": "Series",
        "OwnerId": ada,
        "IsRecurrence": True,
        "TaskSubtype": "Task",
        "Status": "Not Started",
    }
    (series,) = world.sandbox.insert_raw("Task", [main])
    each = {**main, "IsRecurrence": False, "RecurrenceActivityId": series}
    world.sandbox.insert_raw("Task", [{**each, "Subject": "Each week"}])
    old = {**each, "Subject": "Archived", "IsArchived": True, "IsClosed": True}
    world.sandbox.insert_raw("Task", [{**old, "Status": "Completed"}])
    await world.switch()
    await world.round()
    assert set(await world.reminders()) == {"Each week"}


async def test_an_archived_task_is_not_gone(world):
    """It is closed and old; its reminder stays."""
    (task_id,) = await begun(world, 1, Status="Completed", ActivityDate="2020-01-01")
    world.sandbox.archive()
    await world.rounds()
    assert "Task 0" in await world.reminders()
    world.change(task_id, Description="Still edited")
    await world.round()
    assert (await world.reminders())["Task 0"].details == "Still edited"


async def test_a_refused_task_is_kept_as_a_failure_and_can_be_retried(world):
    """With code and text; an edit, or a retry, tries it again."""
    await begun(world, 0)
    fault = {"kind": "error_code", "code": "FIELD_CUSTOM_VALIDATION_EXCEPTION"}
    world.sandbox.faults.load([{**fault, "object": "Task", "message": "No Mondays"}])
    one = await world.remind("Refused")
    await world.rounds()
    (failed,) = await world.store.reminder_sync.failures()
    assert failed.twin.code == "FIELD_CUSTOM_VALIDATION_EXCEPTION"
    assert failed.twin.error == "No Mondays"
    assert failed.twin.state is ActivityState.REFUSED
    world.sandbox.faults.load([])
    assert await world.rounds() == [1, 1, 1]
    assert await world.store.reminder_sync.retry(reminder_id=one.id) == 1
    await world.rounds()
    assert list(world.tasks()) == ["Refused"]
    assert await world.store.reminder_sync.failures() == []


# ------------------------------------------------------------------ conflicts


@pytest.mark.parametrize("policy", ["later", "here", "salesforce"])
async def test_a_conflict_keeps_both_values_and_can_be_undone(
    served_org, tmp_path, policy
):
    """The later change wins, or as it is set; undoing gives the other value back."""
    from tests.reminders.conftest import opened

    world = await opened(served_org, tmp_path, {"reminders": {"conflict": policy}})
    try:
        (task_id,) = await begun(world, 1)
        one = (await world.reminders())["Task 0"]
        await world.edit(one, details="Here")
        world.sandbox.clock.shift(30)
        world.change(task_id, Description="There")
        await world.rounds()
        wins, loses = ("Here", "There") if policy == "here" else ("There", "Here")
        assert world.tasks()["Task 0"]["Description"] == wins
        assert (await world.reminders())["Task 0"].details == wins
        (clash,) = await world.store.reminder_sync.clashes(reminder_id=one.id)
        assert (clash.here, clash.there) == ("Here", "There")
        await world.store.reminder_sync.undo_clash(clash.id, BY)
        await world.rounds()
        assert world.tasks()["Task 0"]["Description"] == loses
        with pytest.raises(Conflict, match="was undone by"):
            await world.store.reminder_sync.undo_clash(clash.id, BY)
    finally:
        await world.close()


async def test_edited_here_and_deleted_there_ends_at_once(world):
    """The deletion stands, the edit is kept; undoing makes a new Task."""
    (task_id,) = await begun(world, 1)
    one = (await world.reminders())["Task 0"]
    await world.edit(one, details="Edited")
    world.delete(task_id)
    await world.rounds()
    assert await world.reminders() == {}
    assert world.tasks() == {}
    assert await world.rounds() == [1, 1, 1]
    (clash,) = await world.store.reminder_sync.clashes()
    assert (clash.field, clash.here) == ("removed", {"details": "Edited"})
    await world.store.reminder_sync.undo_clash(clash.id, BY)
    await world.rounds()
    assert world.tasks()["Task 0"]["Description"].startswith("Edited")
    assert world.tasks()["Task 0"]["Id"] != task_id


async def test_removed_here_and_edited_there_ends_at_once(world):
    """The removal stands, what was edited is kept and can be brought back."""
    (task_id,) = await begun(world, 1)
    one = (await world.reminders())["Task 0"]
    await world.remove(one)
    world.change(task_id, Description="Edited", Status="Deferred")
    await world.rounds()
    assert (await world.reminders(), world.tasks()) == ({}, {})
    (clash,) = await world.store.reminder_sync.clashes()
    assert (clash.field, clash.there) == ("removed", {"details": "Edited"})
    done = await world.store.reminder_sync.undo_clash(clash.id, BY)
    assert done.details == "Edited"
    await world.rounds()
    assert "Task 0" in world.tasks()


async def test_a_task_that_is_taken_from_the_bin_brings_its_reminder_back(world):
    """A person wants it; a removal that was undone here makes a new Task."""
    (task_id,) = await begun(world, 1)
    one = (await world.reminders())["Task 0"]
    world.delete(task_id)
    await world.round()
    assert await world.reminders() == {}
    world.sandbox.records.undelete("Task", task_id, world.sandbox.caller())
    world.sandbox.rows.commit()
    await world.rounds()
    assert (await world.reminders())["Task 0"].id == one.id
    await world.remove(one)
    await world.rounds()
    assert world.tasks() == {}
    await world.store.reminders.undo(one.id, None, By("ada", Source.PERSON))
    await world.rounds()
    assert world.tasks()["Task 0"]["Id"] != task_id


# ------------------------------------------------------------------ cut off


class Killed(BaseException):
    """The process is gone."""


async def test_a_first_sync_that_is_cut_off_anywhere_goes_on_without_a_double(
    served_org, tmp_path, monkeypatch
):
    """Killed before or after each of its commits, in turn; another relay goes on."""
    from tests.reminders.conftest import opened

    monkeypatch.setattr("relay.salesforce.tasks.PAGE", 4)
    world = await opened(served_org, tmp_path, {})
    write = world.store.context.write
    try:
        for number in range(10):
            world.task(f"Task {number}")
        left, after, dead = 0, False, False

        async def guarded(work, **more):
            nonlocal left, dead
            if dead:
                raise Killed
            left -= 1
            if left:
                return await write(work, **more)
            dead = True
            if after:
                await write(work, **more)
            raise Killed

        await world.switch()
        world.sandbox.clock.shift(1)
        for number in range(3):
            await world.remind(f"Here {number}")
        monkeypatch.setattr(world.store.context, "write", guarded)
        kills = 0
        for step in range(40):
            left, after, dead = 2 + step // 2, bool(step % 2), False
            world.service = world.made(step + 100)
            try:
                await world.round()
            except Killed:
                kills += 1
                world.sandbox.clock.shift(200)
        assert kills > 5
        monkeypatch.setattr(world.store.context, "write", write)
        world.service = world.made(1000)
        world.sandbox.clock.shift(200)
        await world.rounds()
        names = {f"Task {number}" for number in range(10)}
        names |= {f"Here {number}" for number in range(3)}
        assert set(await world.reminders()) == names
        living = [r for r in world.sandbox.rows.all("Task") if not r["IsDeleted"]]
        assert sorted(r["Subject"] for r in living) == sorted(names)
    finally:
        world.store.context.write = write
        await world.close()


async def test_two_relays_make_one_round(world):
    """The lease is one relay's at a time; the other makes no call."""
    await begun(world, 1)
    rival = world.made(11)
    world.sandbox.clock.shift(60)
    before = world.sandbox.usage.used()
    await asyncio.gather(world.service.turn(), rival.turn())
    assert world.sandbox.usage.used() - before == 1


async def test_a_relay_that_was_paused_sends_nothing_of_before(world, monkeypatch):
    """Another one has made what it was about to make, and has ended its lease."""
    await begun(world, 1)
    await world.remind("Once")
    rival, sort = world.made(11), rounds.Round._sorted

    async def sorted_then_paused(self, *args):
        found = await sort(self, *args)
        monkeypatch.undo()
        world.sandbox.clock.shift(world.service._lease_s + 1)
        while await rival.turn():
            pass
        assert "Once" in world.tasks()
        return found

    monkeypatch.setattr(rounds.Round, "_sorted", sorted_then_paused)
    await world.rounds()
    living = [row for row in world.sandbox.rows.all("Task") if not row["IsDeleted"]]
    assert sorted(row["Subject"] for row in living) == ["Once", "Task 0"]
    assert len(await world.all()) == 2


async def test_calls_are_bounded_by_the_day(world):
    """Nothing more is asked once the calls of a day are used."""
    await begun(world, 1)
    note = await world.store.shared.get("reminders.rounds")
    part = max(note["spent"]["reads"])
    spent = {**note["spent"], "reads": {part: 900}}
    await world.store.shared.set("reminders.rounds", {**note, "spent": spent})
    assert await world.rounds(5) == [0] * 5
    world.sandbox.clock.shift(25 * 3600)
    assert await world.round() == 1


async def test_reminders_are_not_made_where_admins_leave_them_out(world):
    """match.kinds without reminders: none is sent; what is there stays in step."""
    (task_id,) = await begun(world, 1)
    await world.store.directory.set_setting("match.kinds", ["mails"], "test")
    await world.reload()
    await world.remind("Not sent")
    one = (await world.reminders())["Task 0"]
    await world.edit(one, status=Status.COMPLETE)
    await world.rounds()
    assert list(world.tasks()) == ["Task 0"]
    assert world.sandbox.rows.get("Task", task_id)["IsClosed"]


async def test_what_is_left_out_costs_no_rounds_and_keeps_no_edit(world, monkeypatch):
    """However many reminders wait for their kind, or for an edit behind them."""
    monkeypatch.setattr(rounds, "MAX_SENT", 3)
    await begun(world, 1)
    await world.store.directory.set_setting("match.kinds", ["mails"], "test")
    await world.reload()
    for number in range(4):
        await world.remind(f"Not sent {number}")
    await world.edit((await world.reminders())["Task 0"], priority="High")
    world.sandbox.clock.shift(60)
    before, turns = world.sandbox.usage.used(), 0
    while await world.service.turn():
        turns += 1
        assert turns < 10
    assert world.sandbox.usage.used() - before <= 3
    assert world.tasks()["Task 0"]["Priority"] == "High"
    assert not await world.service.turn(), "and it is quiet"
    await world.store.directory.set_setting("match.kinds", ["reminders"], "test")
    await world.reload()
    await world.rounds(3)
    assert set(world.tasks()) == {"Task 0", *(f"Not sent {n}" for n in range(4))}


async def test_the_audit_takes_no_reminder_for_a_lost_mail(world):
    """A Task of a reminder has a key, too, and no row in the ledger of mails."""
    from relay.reconcile.records import Reconciliation

    await begun(world, 0)
    await world.remind("Call Mara")
    await world.rounds()
    parts = (world.settings.salesforce, world.store, world.org, world.clock)
    since = world.clock.now() - timedelta(hours=1)
    comparison = Reconciliation(*parts, progress=lambda *_: None)
    report = await comparison.run(since=since, fix=False, actor="test")
    assert list(report.differences) == []


# ------------------------------------------------------------------ whose Task it is


async def test_a_copy_of_our_task_is_a_task_of_its_own(world):
    """Who copies a Task copies the key in its Comments; ours stays tied to ours."""
    await world.switch()
    await world.round()
    ours = await world.remind("From here", details="Bring the folder")
    await world.round()
    twin = await world.twin(ours)
    row = world.tasks()["From here"]
    assert twin.key in row["Description"]
    copy = world.task(
        "From here (copy)", Description=row["Description"], Priority="High"
    )
    await world.rounds()
    found = await world.reminders()
    assert set(found) == {"From here", "From here (copy)"}
    assert found["From here"].priority == "Normal"
    assert found["From here (copy)"].details == "Bring the folder"
    assert (await world.twin(found["From here (copy)"])).task_id == copy
    assert (await world.twin(ours)).task_id == row["Id"]
    world.delete(row["Id"])
    world.sandbox.clock.shift(60)
    world.change(copy, Priority="Normal")
    await world.rounds()
    assert set(await world.reminders()) == {"From here (copy)"}


async def test_two_tasks_with_the_key_of_one_that_was_never_answered(world):
    """One of them is taken for ours, the other becomes a reminder of its own."""
    await world.switch()
    await world.round()
    world.sandbox.faults.load(
        [{"kind": "reset", "stage": "after", "count": 1, "body": '"POST"'}]
    )
    ours = await world.remind("From here")
    await world.round()
    row = world.tasks()["From here"]
    assert (await world.twin(ours)).state is ActivityState.SENT
    copy = world.task("A copy", Description=row["Description"])
    await world.rounds(4)
    found = await world.reminders()
    assert set(found) == {"From here", "A copy"}
    assert (await world.twin(ours)).task_id == row["Id"]
    assert (await world.twin(found["A copy"])).task_id == copy


async def test_a_reminder_made_of_our_own_task_gives_way(world):
    """Where a Task was imported before it was known as ours, ours keeps it."""
    await world.switch()
    await world.round()
    ours = await world.remind("From here")
    task_id = world.task("From here")
    await world.round()
    sync, owner = world.store.reminder_sync, world.service._parts.owner
    twin = await world.twin(ours)
    copies = await sync.known([task_id])
    assert copies[task_id].reminder_id != ours.id
    assert await world.store.leases.take(LEASE, owner, 60)
    await sync.keep(owner, [replace(twin, task_id=task_id)], pushed=True)
    await world.store.leases.release(LEASE, owner)
    assert (await world.twin(ours)).task_id == task_id
    gone = await world.store.reminders.get(copies[task_id].reminder_id, removed=True)
    assert gone.removed_at is not None
    # It can be brought back, with a Task of its own.
    await world.store.reminders.undo(gone.id, None, BY)
    await world.rounds()
    back = await world.twin(gone)
    assert back.lives
    assert back.task_id not in {None, task_id}


async def test_a_task_that_was_imported_can_be_found_to_be_ours(world):
    """Two ways lead to one Task: an import, and a look-up by the key it carries.

    Somebody empties the Comments of a Task that was never answered: it is taken for
    absent, made again, and imported. With the Comments put back, the look-up
    of the second one finds the first. One of the two reminders keeps it.
    """
    lost = {"kind": "reset", "count": 1, "body": '"POST"'}
    await world.switch()
    await world.round()
    ours = await world.remind("Ours")
    world.sandbox.faults.load([{**lost, "stage": "after"}])
    await world.round()
    task = world.tasks()["Ours"]
    world.change(task["Id"], Description=None)
    world.sandbox.faults.load([{**lost, "stage": "before"}])
    await world.round()
    sync = world.store.reminder_sync
    copy = (await sync.known([task["Id"]]))[task["Id"]].reminder_id
    assert copy != ours.id
    assert (await world.twin(ours)).state is ActivityState.SENT
    world.change(task["Id"], Description=task["Description"])
    await world.rounds()
    assert (await world.twin(ours)).task_id == task["Id"]
    assert [one.id for one in await world.all()] == [ours.id]
    assert list(world.tasks()) == ["Ours"]
    assert (await world.store.reminders.get(copy, removed=True)).removed_at is not None


async def test_a_failure_is_over_once_both_sides_agree(world):
    """An edit whose answer was lost is found done by the next round."""
    (task_id,) = await begun(world)
    (one,) = (await world.reminders()).values()
    world.sandbox.faults.load(
        [{"kind": "reset", "stage": "after", "count": 1, "body": '"PATCH"'}]
    )
    await world.edit(one, priority="High")
    await world.round()
    assert world.sandbox.rows.get("Task", task_id)["Priority"] == "High"
    await world.rounds()
    assert await world.store.reminder_sync.failures() == []
    assert (await world.twin(one)).due_at is None


# ------------------------------------------------------------------ sent, not answered


async def lost(world, stage="before"):
    """Switch on and lose the very first Task, or its answer; return the reminder."""
    await world.switch()
    await world.round()
    fault = {"kind": "reset", "stage": stage, "count": 1, "body": '"POST"'}
    world.sandbox.faults.load([fault])
    one = await world.remind("Call Mara")
    await world.round()
    world.sandbox.faults.load([])
    assert (await world.twin(one)).state is ActivityState.SENT
    assert len(world.tasks()) == (stage == "after")
    return one


def see_all(world):
    world.sandbox.configure({"view_all_data": [INTEGRATION_USERNAME]})


async def test_a_lost_first_task_is_made_where_all_data_can_be_seen(world):
    """View All Data proves that it is not there, though its owner has no Task."""
    see_all(world)
    one = await lost(world)
    await world.rounds()
    assert (await world.twin(one)).lives
    assert len(world.tasks()) == 1
    assert await world.store.reminder_sync.failures() == []


async def test_a_lost_first_task_waits_until_its_owner_has_one(world):
    """Nothing proves that it is not there; it says so, and costs next to nothing."""
    one = await lost(world)
    await world.rounds()
    (failed,) = await world.store.reminder_sync.failures()
    assert failed.reminder.id == one.id
    assert (failed.twin.state, failed.twin.code) == (ActivityState.SENT, "no_answer")
    assert "View All Data" in failed.twin.error
    # Each look-up waits for as long as it has waited already, up to an hour.
    costs = [await world.round(600) for _ in range(12)]
    assert sum(cost > 1 for cost in costs) <= 4
    assert sum(costs) <= 12 + 4 * 4
    waits = (await world.twin(one)).due_at - world.clock.now()
    assert timedelta(0) < waits <= timedelta(hours=1)
    world.task("From Salesforce")
    await world.rounds()
    assert (await world.twin(one)).lives
    assert set(world.tasks()) == {"Call Mara", "From Salesforce"}
    assert await world.store.reminder_sync.failures() == []


async def test_a_hidden_task_is_not_made_twice(world):
    """It is there, and sharing hides it; once it can be seen, it is taken for ours."""
    world.sandbox.configure({"private_activities": True})
    one = await lost(world, "after")
    await world.rounds()
    await world.round(4000)
    (failed,) = await world.store.reminder_sync.failures()
    assert failed.reminder.id == one.id
    assert len(world.tasks()) == 1
    see_all(world)
    assert await world.store.reminder_sync.retry() == 1
    await world.rounds()
    assert (await world.twin(one)).task_id == world.tasks()["Call Mara"]["Id"]
    assert len(world.tasks()) == 1
    assert await world.store.reminder_sync.failures() == []


@pytest.mark.parametrize("stage", ["before", "after"])
@pytest.mark.parametrize("before_removal", [True, False])
async def test_what_was_removed_meanwhile_leaves_no_task(world, stage, before_removal):
    """Whether its Task was made or not, whether that can be known early or late."""
    world.sandbox.configure({"private_activities": True})
    one = await lost(world, stage)
    if before_removal:
        see_all(world)
    await world.remove(one)
    await world.rounds()
    await world.round(4000)
    if not before_removal:
        twin = await world.twin(one)
        assert (twin.state, twin.code) == (ActivityState.SENT, "no_answer")
        assert max(await world.rounds()) == 1
        see_all(world)
        await world.store.reminder_sync.retry()
        await world.rounds()
    assert (await world.twin(one)).state is ActivityState.GONE
    assert world.tasks() == {}
    assert await world.reminders() == {}
    assert await world.store.reminder_sync.failures() == []


# ------------------------------------------------------------------ in between


def meanwhile(world, *acts):
    """Let a person act in Salesforce between a round's reading and its next writes."""
    records, left = world.org.records, list(acts)
    update = records.update

    async def updated(*args, **named):
        if left:
            left.pop(0)()
        return await update(*args, **named)

    records.update = updated


async def test_an_edit_between_reading_and_writing_is_kept_as_a_conflict(world):
    """Our write holds; the value under it can be given back."""
    (task_id,) = await begun(world, Priority="High")
    (one,) = (await world.reminders()).values()
    await world.edit(one, priority="Normal", due="2026-03-10")
    meanwhile(
        world,
        lambda: world.change(task_id, ActivityDate="2026-04-01", Description="Theirs"),
    )
    costs = await world.round()
    row = world.sandbox.rows.get("Task", task_id)
    assert (row["ActivityDate"], row["Priority"]) == ("2026-03-10", "Normal")
    (clash,) = await world.store.reminder_sync.clashes()
    assert (clash.field, clash.here, clash.there) == (
        *("due", "2026-03-10"),
        "2026-04-01",
    )
    assert clash.kept == "here"
    assert costs == 2, "reading before costs no call"
    await world.rounds()
    # What was not written over comes here as any edit.
    assert (await world.reminders())["Task 0"].details == "Theirs"
    await world.store.reminder_sync.undo_clash(clash.id, BY)
    await world.rounds()
    row = world.sandbox.rows.get("Task", task_id)
    assert row["ActivityDate"] == "2026-04-01"
    assert len(await world.store.reminder_sync.clashes()) == 1


async def test_an_echo_or_another_word_for_the_same_is_no_conflict(world):
    """Who sets the same value meanwhile, or one that means nothing, loses nothing."""
    (task_id,) = await begun(world, Status="Not Started")
    (one,) = (await world.reminders()).values()
    await world.edit(one, status="Complete", due="2026-03-10")
    meanwhile(
        world,
        lambda: world.change(task_id, ActivityDate="2026-03-10", Status="In Progress"),
    )
    await world.rounds()
    assert await world.store.reminder_sync.clashes() == []
    assert world.sandbox.rows.get("Task", task_id)["Status"] == "Completed"


async def test_an_owner_that_is_written_over_is_kept_as_a_conflict(world):
    """Given to one here and to another there, in the same second."""
    await world.add("ben")
    await world.switch("ben")
    (task_id,) = await begun(world)
    (one,) = (await world.reminders()).values()
    (cleo,) = world.sandbox.rows.lookup("User", "Username", ["cleo@corp.example"])
    await world.store.reminders.edit(
        one.id, {"assignee_user_id": world.users["ben"].id, "person": ""}, BY
    )
    meanwhile(world, lambda: world.change(task_id, OwnerId=cleo["Id"]))
    await world.rounds()
    row = world.sandbox.rows.get("Task", task_id)
    assert row["OwnerId"] == world.users["ben"].salesforce_id
    (clash,) = await world.store.reminder_sync.clashes()
    assert (clash.field, clash.there) == ("owner", cleo["Id"])
