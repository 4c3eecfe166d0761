"""Each rule of the task sync, by its number, against the sandbox over HTTP.

The clock of both sides is moved; nothing waits.
"""

from __future__ import annotations

from datetime import date, datetime

import pytest

from relay.core.reminders import Section, Status, section, today, zone
from relay.core.syncing import Phase

pytestmark = pytest.mark.timeout(60)

CASES = {}


def case(rule):
    """Add a case for a rule to the table."""

    def add(function):
        CASES[f"{rule} {function.__name__}"] = function
        return function

    return add


async def synced(world, **fields):
    """Switch on, and return a reminder and the id of its Task, in step."""
    await world.switch()
    await world.round()
    task_id = world.task("Both", ActivityDate="2026-03-09", **fields)
    await world.round()
    return (await world.reminders())["Both"], task_id


# ------------------------------------------------------------------ switch, first run


@case("R15")
async def off_is_the_default(world):
    world.task()
    await world.remind()
    assert await world.state() is None
    assert await world.rounds() == [0, 0, 0]
    assert list(world.tasks()) == ["From Salesforce"]


@case("R16")
async def it_begins_with_the_commit(world):
    world.task()
    state = await world.switch()
    assert (state.is_on, state.phase) == (True, Phase.FIRST)
    assert await world.round(seconds=0) > 0
    assert "From Salesforce" in await world.reminders()
    state = await world.state()
    assert (state.phase, state.imported) == (Phase.STEADY, 1)


@case("R17")
async def the_first_run_imports(world):
    world.task("One", Description="More", ActivityDate="2026-03-05", Priority="High")
    world.task("Another's", owner=other(world))
    await world.switch()
    await world.round()
    found = await world.reminders()
    assert list(found) == ["One"]
    one = found["One"]
    assert (one.details, one.due, one.priority) == ("More", date(2026, 3, 5), "High")
    history = await world.store.reminders.history(one.id)
    assert [(edit.actor, edit.source, edit.field) for edit in history] == [
        ("salesforce", "salesforce", "created")
    ]


@case("R18")
async def what_is_here_already_is_not_pushed(world):
    before = await world.remind("Before")
    world.sandbox.clock.shift(1)
    await world.switch()
    await world.rounds()
    await world.edit(before, priority="High")
    await world.rounds()
    assert world.tasks() == {}


@case("R19")
async def only_what_is_made_later_is_pushed(world):
    await world.remind("Before")
    world.sandbox.clock.shift(1)
    await world.switch()
    await world.round()
    await world.remind("After", due="2026-03-05", details="More")
    await world.round()
    (task,) = world.tasks().values()
    assert task["Subject"] == "After"
    assert task["OwnerId"] == world.users["ada"].salesforce_id
    assert (task["ActivityDate"], task["Status"]) == ("2026-03-05", "Not Started")
    assert task["Type"] is None


@case("R20")
async def the_first_pull_reaches_back_24_hours(world):
    touched = world.task("Touched")
    world.task("Too old")
    world.sandbox.clock.shift(10)
    world.task("At the edge")
    world.sandbox.clock.shift(12 * 3600)
    world.change(touched, Description="Again")
    world.sandbox.clock.shift(12 * 3600)
    await world.switch()
    await world.round(seconds=0)
    assert set(await world.reminders()) == {"Touched", "At the edge"}
    # It comes once it is touched.
    world.change(world.tasks()["Too old"]["Id"], Description="Now")
    await world.round()
    assert "Too old" in await world.reminders()


@case("R21")
async def every_pulled_task_is_kept(world):
    for number, day in enumerate(("2026-03-01", "2026-03-04", "2027-01-01", None)):
        world.task(f"Task {number}", ActivityDate=day)
    await world.switch()
    await world.round()
    assert len(await world.reminders()) == 4


@case("R22")
async def a_day_is_that_of_the_user(world):
    """Today and tomorrow, at midnight in three zones and where clocks change."""
    _, task_id = await synced(world)
    world.change(task_id, ActivityDate="2026-03-29")
    await world.round()
    due = (await world.reminders())["Both"].due
    for name, before, after in (
        ("Pacific/Auckland", "2026-03-28T10:59:59Z", "2026-03-28T11:00:00Z"),
        ("Europe/London", "2026-03-28T23:59:59Z", "2026-03-29T00:00:00Z"),
        ("America/Los_Angeles", "2026-03-29T06:59:59Z", "2026-03-29T07:00:00Z"),
        # Clocks go forward on that day: it has 23 hours.
        ("Europe/Berlin", "2026-03-28T22:59:59Z", "2026-03-29T21:59:59Z"),
    ):
        first, second = (datetime.fromisoformat(at) for at in (before, after))
        assert section(due, today(first, zone(name))) is Section.TOMORROW
        assert section(due, today(second, zone(name))) is Section.TODAY


@case("R23")
async def deletions_of_the_last_15_days_count_where_it_was_on_before(world):
    gone = [world.task(f"Gone {number}") for number in range(3)]
    world.task("Kept")
    await world.switch()
    await world.round()
    await world.switch(on=False)
    world.sandbox.clock.shift(3 * 86_400)
    for task_id in gone:
        world.delete(task_id)
    world.sandbox.clock.shift(11 * 86_400)
    await world.switch()
    assert await world.round() <= 2
    assert list(await world.reminders()) == ["Kept"]


@case("R23")
async def a_longer_gap_is_compared_in_full(world):
    gone, stays = world.task("Gone"), world.task("Kept")
    await world.switch()
    await world.round()
    await world.switch(on=False)
    world.delete(gone)
    world.sandbox.purge()
    world.sandbox.clock.shift(16 * 86_400)
    await world.switch()
    await world.round()
    assert list(await world.reminders()) == ["Kept"]
    world.change(stays, Priority="High")
    await world.round()
    assert (await world.reminders())["Kept"].priority == "High"


@case("R23")
async def on_both_sides_of_the_edge(world):
    """A minute before the log of deletions ends, and a minute after."""
    world.task("Kept")
    for gap_s in (15 * 86_400 - 60, 15 * 86_400 + 60):
        gone = world.task("Gone")
        await world.switch()
        await world.rounds()
        assert set(await world.reminders()) == {"Gone", "Kept"}
        await world.switch(on=False)
        world.delete(gone)
        world.sandbox.clock.shift(gap_s)
        await world.switch()
        await world.rounds()
        assert set(await world.reminders()) == {"Kept"}
        await world.switch(on=False)


@case("R24")
async def it_goes_on_until_it_is_switched_off(world):
    reminder, task_id = await synced(world)
    await world.switch(on=False)
    world.change(task_id, Priority="High")
    await world.edit(reminder, due="2026-03-20")
    assert await world.rounds() == [0, 0, 0]
    assert (await world.reminders())["Both"].priority == "Normal"
    assert world.tasks()["Both"]["ActivityDate"] == "2026-03-09"


# ------------------------------------------------------------------ both ways


@case("R25")
async def what_happens_here_happens_there(world):
    await world.switch()
    await world.round()
    made = await world.remind("Made")
    await world.round()
    task = world.tasks()["Made"]
    await world.edit(made, details="Edited", due="2026-04-01")
    await world.round()
    task = world.tasks()["Made"]
    assert (task["Description"], task["ActivityDate"]) == ("Edited", "2026-04-01")
    await world.edit(made, status="Complete")
    await world.round()
    assert world.tasks()["Made"]["IsClosed"]
    await world.remove(made)
    await world.round()
    assert world.tasks() == {}
    assert await world.rounds() == [1, 1, 1]


@case("R26")
async def what_happens_there_happens_here(world):
    await world.switch()
    await world.round()
    task_id = world.task("Made")
    await world.round()
    assert "Made" in await world.reminders()
    world.change(task_id, Description="Edited", ActivityDate="2026-04-01")
    await world.round()
    one = (await world.reminders())["Made"]
    assert (one.details, one.due) == ("Edited", date(2026, 4, 1))
    world.change(task_id, Status="Completed")
    await world.round()
    assert (await world.reminders())["Made"].status is Status.COMPLETE
    world.delete(task_id)
    await world.round()
    assert await world.reminders() == {}
    assert await world.rounds() == [1, 1, 1]
    (gone,) = [
        e for e in await world.store.reminders.history(one.id) if e.field == "removed"
    ]
    assert gone.source == "salesforce"


@case("R27")
async def the_switch_is_an_edit_with_a_history(world):
    await world.switch()
    await world.switch()
    await world.switch(on=False)
    done = [row["action"] for row in await world.store.history.find(change="reminder")]
    assert done == ["reminder_sync_on", "reminder_sync_off"]


# ------------------------------------------------------------------ the mapping


@case("R28")
async def the_name_is_the_subject(world):
    await world.switch()
    await world.round()
    await world.remind("N" * 255)
    await world.round()
    assert list(world.tasks()) == ["N" * 255]


@case("R29")
async def two_pairs_of_statuses(world):
    reminder, task_id = await synced(world)
    for here, there in (("Complete", "Completed"), ("Open", "Not Started")):
        reminder = await world.edit(reminder, status=here)
        await world.round()
        assert world.tasks()["Both"]["Status"] == there
    for there, here in (("Completed", "Complete"), ("Not Started", "Open")):
        world.change(task_id, Status=there)
        await world.round()
        assert (await world.reminders())["Both"].status == here


@case("R29")
async def an_org_may_call_them_otherwise(world):
    names = {"Offen": False, "Wartet": False, "Erledigt": True}
    world.sandbox.configure({"task_statuses": names})
    await world.org.schema.get(fresh=True)
    reminder, task_id = await synced(world)
    assert reminder.status is Status.OPEN
    await world.edit(reminder, status="Complete")
    await world.round()
    assert world.tasks()["Both"]["Status"] == "Erledigt"
    world.change(task_id, Status="Wartet")
    await world.round()
    assert (await world.reminders())["Both"].status is Status.COMPLETE


@case("R30")
async def other_statuses_are_left_alone(world):
    reminder, task_id = await synced(world)
    world.change(task_id, Status="In Progress")
    await world.round()
    assert (await world.reminders())["Both"].status is Status.OPEN
    await world.edit(reminder, priority="High")
    await world.round()
    task = world.tasks()["Both"]
    assert (task["Status"], task["Priority"]) == ("In Progress", "High")


@case("R31")
async def two_priorities(world):
    reminder, task_id = await synced(world)
    await world.edit(reminder, priority="High")
    await world.round()
    assert world.tasks()["Both"]["Priority"] == "High"
    world.change(task_id, Priority="Normal")
    await world.round()
    assert (await world.reminders())["Both"].priority == "Normal"


@case("R32")
async def low_is_left_alone(world):
    reminder, _ = await synced(world, Priority="Low")
    assert reminder.priority == "Normal"
    await world.edit(reminder, due="2026-03-20")
    await world.round()
    task = world.tasks()["Both"]
    assert (task["Priority"], task["ActivityDate"]) == ("Low", "2026-03-20")


@case("R33")
async def the_subject_follows_the_name_with_its_field_alone(world):
    reminder, _ = await synced(world)
    setting = "match.subject"
    await world.store.directory.set_setting(setting, "[R] fixed", "test")
    await world.reload()
    reminder = await world.edit(reminder, name="Another")
    await world.round()
    assert list(world.tasks()) == ["Both"]
    template = "[R] {{Activity_Subject}}"
    await world.store.directory.set_setting(setting, template, "test")
    await world.reload()
    await world.edit(reminder, name="A third")
    await world.round()
    assert list(world.tasks()) == ["[R] A third"]
    await world.remind("New")
    await world.round()
    assert set(world.tasks()) == {"[R] A third", "[R] New"}


@case("R33")
async def the_subject_may_hold_the_type(world):
    """D2, D3, D21: the type that the reminder has when its name is sent."""
    template = "{{activity_type}}: {{activity_subject}}"
    await world.store.directory.set_setting("match.subject", template, "test")
    await world.reload()
    await world.switch()
    await world.round()
    reminder = await world.remind("Ring", kind="Call")
    await world.round()
    assert list(world.tasks()) == ["Call: Ring"]
    await world.edit(reminder, kind="Email")
    await world.round()
    assert list(world.tasks()) == ["Call: Ring"]
    await world.edit(reminder, name="Write")
    await world.round()
    assert list(world.tasks()) == ["Email: Write"]


@case("R34")
async def a_subject_never_changes_the_name(world):
    _, task_id = await synced(world)
    world.change(task_id, Subject="By hand")
    await world.rounds()
    assert list(await world.reminders()) == ["Both"]
    assert list(world.tasks()) == ["By hand"]


@case("R35")
async def the_day_goes_both_ways(world):
    reminder, task_id = await synced(world)
    await world.edit(reminder, due=None)
    await world.round()
    assert world.tasks()["Both"]["ActivityDate"] is None
    world.change(task_id, ActivityDate="2026-12-31")
    await world.round()
    assert (await world.reminders())["Both"].due == date(2026, 12, 31)


@case("R36")
async def details_go_both_ways(world):
    reminder, task_id = await synced(world)
    await world.edit(reminder, details="Zeile 1\r\nZeile 2 \N{PARTY POPPER}\n")
    await world.round()
    text = "Zeile 1\nZeile 2 \N{PARTY POPPER}"
    assert world.tasks()["Both"]["Description"] == text
    world.change(task_id, Description=None)
    await world.round()
    assert (await world.reminders())["Both"].details == ""


@case("R37")
async def both_sides_agree_in_the_end(world):
    reminder, task_id = await synced(world)
    await world.edit(reminder, details="Here", priority="High")
    world.change(task_id, ActivityDate="2026-05-01", Status="Completed")
    await world.rounds(2)
    one, task = (await world.reminders())["Both"], world.tasks()["Both"]
    assert (one.details, one.priority, one.status) == ("Here", "High", "Complete")
    assert one.due == date(2026, 5, 1)
    assert (task["Description"], task["Priority"]) == ("Here", "High")
    assert await world.store.reminder_sync.clashes() == []
    assert await world.rounds() == [1, 1, 1]


def other(world):
    """Return the id of a Salesforce user who is no user of the relay."""
    return world.sandbox.rows.lookup("User", "Username", ["ben@corp.example"])[0]["Id"]


@pytest.mark.parametrize("name", CASES)
async def test_rule(world, name):
    """The rule that the name begins with."""
    await CASES[name](world)


def test_every_rule_has_a_case():
    """R15 to R37, none left out."""
    covered = {name.partition(" ")[0] for name in CASES}
    assert covered == {f"R{number}" for number in range(15, 38)}
