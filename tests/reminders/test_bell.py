"""The sync listens along with the calls of mail, and reads where it heard something."""

from __future__ import annotations

import pytest

from relay.reminders.bell import HEARD, LISTEN_S
from tests.reminders.test_edges import begun

pytestmark = pytest.mark.timeout(60)


async def mail(world):
    """Make a call as mail does: it looks a user up."""
    user = world.users["ada"].salesforce_id
    await world.org.lookup.find((), user_ids=[user], fresh=[user])


async def listened(world, seconds=LISTEN_S + 1):
    """Let time pass, let a call of mail take the question along, and hear.

    Returns:
        The calls that the sync has made itself.
    """
    calls = await world.round(seconds)
    before = world.sandbox.usage.used()
    await mail(world)
    assert world.sandbox.usage.used() - before == 1
    return calls + await world.round(0)


@pytest.fixture
async def ids(world):
    """Return the ids of three Tasks that are in step, on a workday at ten."""
    made = await begun(world, 3)
    world.sandbox.clock.shift(300)
    await world.round(120)
    return made


async def test_while_it_is_silent_no_call_is_made(world, ids):
    """As long as mail takes the question along; then rounds come as ever."""
    for _ in range(20):
        assert await listened(world) == 0
    assert await world.round(50) == 0
    assert await world.round(10) == 1
    kept = await world.store.shared.get(HEARD)
    assert sum(kept["spent"]["free"].values()) == 20


async def test_a_full_round_is_made_now_and_then(world, ids):
    """Who is inactive, or which right was taken, no bell tells."""
    calls = [await listened(world) for _ in range(50)]
    assert sum(calls) == 1


@pytest.mark.parametrize("act", ["edit", "make", "delete", "give away", "undelete"])
async def test_whatever_is_changed_rings(world, ids, act):
    """And is read at once, by one call."""
    if act == "undelete":
        world.delete(ids[0])
        await world.round(120)
        await world.round(400)
    if act == "edit":
        world.change(ids[0], Priority="High")
    elif act == "make":
        world.task("New one")
    elif act == "delete":
        world.delete(ids[0])
    elif act == "undelete":
        world.undelete(ids[0])
    else:
        world.change(ids[0], OwnerId=world.sandbox.integration_user_id)
    done = {
        "edit": lambda found: found["Task 0"].priority == "High",
        "make": lambda found: "New one" in found,
        "undelete": lambda found: "Task 0" in found,
    }.get(act, lambda found: "Task 0" not in found)
    calls = await listened(world)
    while act == "give away" and not done(await world.reminders()):
        # Salesforce lists changed Tasks up to a minute late.
        assert calls == 0
        calls = await listened(world)
    assert calls in {1, 2}
    assert done(await world.reminders())
    # What has been read rings no more.
    assert await listened(world) == 0


async def test_mail_that_is_logged_does_not_ring(world, ids):
    """A Task that our own user made, and no reminder follows, logs a mail."""
    world.sandbox.clock.shift(LISTEN_S + 1)
    await world.service.turn()
    user = world.users["ada"].salesforce_id
    fields = {"Subject": "Mail", "OwnerId": user, "Status": "Completed"}
    (outcome,) = await world.org.records.create(
        [("a" * 40, "Task", fields)], not_after_boottime_s=None
    )
    assert outcome.state == "written"
    assert await world.round(0) == 0
    assert await listened(world) == 0


async def test_a_bell_that_rang_for_nothing_waits_for_the_next_round(world, ids):
    """Somebody touches a Task that no reminder follows, again and again."""
    other = world.task("Archived")
    row = world.sandbox.rows.get("Task", other)
    world.sandbox.rows.put("Task", {**row, "IsArchived": True})
    world.sandbox.rows.commit()
    calls = 0
    for number in range(10):
        world.change(other, Description=f"{number}")
        calls += await listened(world)
    assert calls <= 5, "no more than without the bell"
    # And what is meant is seen by the next round.
    world.change(ids[0], Priority="High")
    await world.round(60)
    assert (await world.reminders())["Task 0"].priority == "High"


async def test_a_ride_that_was_lost_changes_nothing(world, ids):
    """The call failed; rounds come as ever."""
    world.change(ids[0], Priority="High")
    world.sandbox.clock.shift(LISTEN_S + 1)
    await world.service.turn()
    world.sandbox.faults.load([{"kind": "html", "stage": "after", "count": 2}])
    with pytest.raises(Exception, match="lookup"):
        await mail(world)
    world.sandbox.faults.load([])
    assert await world.round(0) == 0
    assert await world.round(40) == 1
    assert (await world.reminders())["Task 0"].priority == "High"


async def test_it_asks_for_those_who_sync(world, ids):
    """Who switches on meanwhile is read first; nothing is asked for who is off."""
    world.sandbox.clock.shift(LISTEN_S + 1)
    await world.service.turn()
    await world.add("ben")
    world.task("Ben's", owner="ben")
    await world.switch("ben")
    assert await world.round(0) == 1
    assert "Ben's" in await world.reminders()
    assert await listened(world) == 0
    world.task("Ben's second", owner="ben")
    assert await listened(world) == 1
    await world.switch("ben", on=False)
    await world.switch(on=False)
    assert await listened(world, 900) == 0
