"""Reminders in the store: edits and their history, undo, filters; on both databases."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise

import pytest

from relay.core.directory import Role
from relay.core.errors import Conflict, InvalidInput, NotFound
from relay.core.queue import Settlement
from relay.core.reminders import (
    By,
    Kind,
    NewReminder,
    Priority,
    ReminderFilter,
    Source,
    Status,
)
from relay.core.states import ActivityState, Event
from relay.core.syncing import Ended
from relay.core.tasks import Clash, Side
from relay.store.reminder_sync import LEASE
from relay.store.reminders import StaleVersion

ADA = By("ada@corp.example", Source.PERSON)
API = By("api:crm", Source.API)
DAY = date(2026, 3, 2)
CONTACT = "003000000000001AAA"
DEAL = "006000000000001AAA"


@pytest.fixture
async def bob(store):
    return await store.directory.add_user(
        "Bob", "bob@corp.example", Role.REP, None, "test"
    )


@pytest.fixture
def new(store, user, clock):
    """Return a maker of reminders of the user."""

    async def make(name="Call", by=ADA, **values):
        clock.move(1)
        ids = {"owner_user_id": user.id, "assignee_user_id": user.id}
        return await store.reminders.add(NewReminder(**ids | values, name=name), by)

    return make


async def test_a_reminder_is_kept_with_all_its_values(store, new, user, bob, clock):
    """What was made is what is read, and the history begins with it."""
    made = await new(
        " Call\nBob ",
        details="about\nthe offer\0",
        due=DAY,
        priority=Priority.HIGH,
        kind=Kind.CALL,
        person="Bob@Buyer.example",
        record=DEAL[:15],
        message_id="0" * 26,
        assignee_user_id=bob.id,
    )
    assert made == await store.reminders.get(made.id)
    assert (made.name, made.details) == ("Call Bob", "about\nthe offer\ufffd")
    assert (made.owner_user_id, made.assignee_user_id) == (user.id, bob.id)
    assert (made.due, made.priority, made.kind) == (DAY, Priority.HIGH, Kind.CALL)
    assert (made.person, made.record) == ("bob@buyer.example", DEAL)
    assert (made.message_id, made.version, made.status) == ("0" * 26, 1, Status.OPEN)
    assert made.created_at == made.changed_at == clock.now()
    (first,) = await store.reminders.history(made.id)
    assert (first.field, first.before, first.source) == ("created", None, Source.PERSON)
    assert first.after["due"] == "2026-03-02"


async def test_edits_leave_a_row_for_each_field(store, new, clock):
    """Who, from where, before and after; one version for one edit."""
    made = await new(due=DAY)
    clock.move(60)
    edited = await store.reminders.edit(
        made.id, {"due": None, "status": Status.COMPLETE}, API
    )
    assert (edited.version, edited.due, edited.changed_at) == (2, None, clock.now())
    assert edited == await store.reminders.get(made.id)
    rows = await store.reminders.history(made.id)
    assert {(one.version, one.actor, one.source) for one in rows[1:]} == {
        (2, "api:crm", Source.API)
    }
    assert {(one.field, one.before, one.after) for one in rows[1:]} == {
        ("due", "2026-03-02", None),
        ("status", "Open", "Complete"),
    }


async def test_an_edit_that_changes_nothing_leaves_no_trace(store, new):
    """An echo is no edit, and the version stays."""
    made = await new("Call", due=DAY)
    same = await store.reminders.edit(made.id, {"name": " Call ", "due": DAY}, API)
    assert same == made
    assert len(await store.reminders.history(made.id)) == 1


async def test_an_edit_is_made_whole_or_not_at_all(store, new):
    """A value that does not fit keeps the others out, too."""
    made = await new()
    with pytest.raises(InvalidInput):
        await store.reminders.edit(made.id, {"due": DAY, "name": ""}, ADA)
    with pytest.raises(InvalidInput):
        await new("")
    assert await store.reminders.get(made.id) == made
    assert await store.reminders.count(ReminderFilter()) == 1


async def test_who_saw_an_older_version_changes_nothing(store, new):
    """Two who read one version: the second is told, and sees what there is."""
    made = await new()
    await store.reminders.edit(made.id, {"due": DAY}, ADA, version=1)
    with pytest.raises(StaleVersion) as caught:
        await store.reminders.edit(made.id, {"due": None}, API, version=1)
    assert caught.value.now.due == DAY
    with pytest.raises(StaleVersion):
        await store.reminders.remove(made.id, API, version=1)
    assert (await store.reminders.get(made.id)).due == DAY


async def test_edits_at_the_same_time_are_all_counted(store, other, new):
    """Each of two processes gets versions of its own, and no edit is lost."""
    made = await new()
    await asyncio.gather(
        *(
            part.reminders.edit(made.id, {"details": f"{number} {at}"}, ADA)
            for number in range(5)
            for at, part in enumerate((store, other))
        )
    )
    rows = await store.reminders.history(made.id)
    assert [one.version for one in rows] == list(range(1, 12))
    assert all(a.after == b.before for a, b in pairwise(rows[1:]))


async def test_what_is_removed_stays_as_a_tombstone(store, new, clock):
    """It is in no list, takes no edit, and can be brought back."""
    made = await new()
    gone = await store.reminders.remove(made.id, ADA)
    assert gone.removed_at == clock.now()
    for call in (
        store.reminders.get(made.id),
        store.reminders.edit(made.id, {"due": DAY}, ADA),
        store.reminders.remove(made.id, ADA),
    ):
        with pytest.raises(NotFound, match=f"relay reminder undo {made.id}"):
            await call
    assert await store.reminders.get(made.id, removed=True) == gone
    assert await store.reminders.find(ReminderFilter()) == []
    assert await store.reminders.find(ReminderFilter(removed=True)) == [gone]
    back = await store.reminders.undo(made.id, None, ADA)
    assert (back.removed_at, back.version) == (None, 3)
    assert (await store.reminders.history(made.id))[-1].undoes == 2


async def test_a_tombstone_goes_once_nothing_needs_it(store, new, clock, owner):
    """After thirty days; one whose Task lives on, or is yet to be deleted, stays."""
    sync = store.reminder_sync
    await store.leases.take(LEASE, owner, 100 * 86_400)
    made = {name: await new(name=name) for name in ("plain", "done", "kept", "open")}
    there = await new(name="there")
    states = {
        "done": (ActivityState.GONE, Ended.HERE),
        "kept": (ActivityState.GONE, Ended.KEPT),
        "open": (ActivityState.WRITTEN, None),
    }
    for name, (state, ended) in states.items():
        (pair,) = await sync.plan(owner, [made[name]])
        lost = Clash("removed", {"name": "x"}, {}, Side.SALESFORCE)
        twin = replace(pair.twin, state=state, ended=ended, task_id=f"00T{name}")
        await sync.keep(owner, [twin], clashes={made[name].id: [lost]})
    for one in made.values():
        await store.reminders.remove(one.id, ADA)
    clock.move(30 * 86_400 - 1)
    assert await store.reminders.purge() == 0
    clock.move(2)
    assert await store.reminders.purge() == 2
    left = await store.reminders.find(ReminderFilter(removed=True))
    assert {one.name for one in left} == {"kept", "open", "there"}
    assert await sync.twin(made["done"].id) is None
    assert await sync.clashes(reminder_id=made["done"].id) == []
    assert await store.reminders.history(made["plain"].id) == []
    assert (await store.reminders.get(there.id)).removed_at is None
    await store.tidy()


async def test_an_edit_is_taken_back(store, new):
    """That one alone; the history names what was taken back."""
    made = await new(due=DAY)
    await store.reminders.edit(made.id, {"due": DAY + timedelta(3)}, ADA)
    await store.reminders.edit(made.id, {"priority": Priority.HIGH}, API)
    back = await store.reminders.undo(made.id, 2, ADA)
    assert (back.due, back.priority, back.version) == (DAY, Priority.HIGH, 4)
    with pytest.raises(Conflict, match="due was changed since"):
        await store.reminders.undo(made.id, 2, ADA)
    again = await store.reminders.undo(made.id, None, ADA)
    assert again.due == DAY + timedelta(3)
    gone = await store.reminders.undo(made.id, 1, ADA)
    assert gone.removed_at is not None


async def test_what_is_not_there_is_said(store, new):
    """Each call names the command that lists what is."""
    made = await new()
    with pytest.raises(NotFound, match="relay reminder list"):
        await store.reminders.get("nothing")
    with pytest.raises(NotFound, match="no version 9"):
        await store.reminders.undo(made.id, 9, ADA)
    assert await store.reminders.history("nothing") == []


async def test_one_origin_makes_one_reminder(store, other, new):
    """Also where it is tried twice at a time; what it made is not made anew."""
    first, *rest = await asyncio.gather(
        *(new("Call", origin="mail:1", due=DAY) for _ in range(4))
    )
    assert all(one == first for one in rest)
    await store.reminders.remove(first.id, ADA)
    again = await new("Other", origin="mail:1")
    assert again.removed_at is not None
    assert len(await other.reminders.find(ReminderFilter(removed=True))) == 1
    assert (await new(origin="mail:2")).id != first.id


@pytest.fixture
def end(store, owner, put):
    """Settle a message with what its address asks for; return its id."""

    async def end(reminder, event=Event.LOGGED, ident=None):
        if ident is None:
            (ident,) = await put()
        else:
            await store.queue.apply(Event.REQUEUE, [ident], None, "test")
        (claimed,) = await store.queue.claim(owner, 1, 60)
        settlement = Settlement(ident, claimed.attempt, event, reminder=reminder)
        settled = await store.ledger.advance(owner, settlements=[settlement])
        assert settled == {ident}
        # What was settled already makes nothing.
        assert not await store.ledger.advance(owner, settlements=[settlement])
        return ident

    return end


async def test_a_settlement_makes_a_reminder_once(store, user, end):
    """In its transaction; tried again it makes no second, and brings none back."""
    asked = NewReminder(user.id, user.id, "Offer", due=DAY, origin="mail:1:1:todo-3d")
    ident = await end(asked)
    (made,) = await store.reminders.find(ReminderFilter())
    (first,) = await store.reminders.history(made.id)
    assert (first.source, first.actor) == (Source.MAIL, "relay")
    await end(asked, ident=ident)
    assert await store.reminders.find(ReminderFilter()) == [made]
    await store.reminders.remove(made.id, ADA)
    await end(replace(asked, person=CONTACT), ident=ident)
    assert await store.reminders.find(ReminderFilter()) == []


@pytest.mark.parametrize("named", ["", "kim@buyer.example"])
async def test_a_mail_that_matches_later_says_whom_it_means(store, user, end, named):
    """The record takes the place of the address, and of nothing that people named."""
    asked = NewReminder(user.id, user.id, "Offer", person=named, origin="mail:1")
    ident = await end(asked, Event.NO_MATCH)
    (made,) = await store.reminders.find(ReminderFilter())
    await store.reminders.edit(made.id, {"due": DAY}, ADA)
    await end(replace(asked, person=CONTACT, record=DEAL), ident=ident)
    known = await store.reminders.get(made.id)
    assert (known.person, known.record, known.due) == (CONTACT, DEAL, DAY)
    await store.reminders.edit(made.id, {"person": "bob@buyer.example"}, ADA)
    await end(replace(asked, person=CONTACT), ident=ident)
    assert (await store.reminders.get(made.id)).person == "bob@buyer.example"


async def test_filters(store, new, user, bob):
    """Each alone; by day, or the latest made first."""
    one = await new("Call Ann", due=DAY, person=CONTACT, kind=Kind.CALL)
    two = await new("Mail", details="100% änne", record=DEAL, assignee_user_id=bob.id)
    three = await new("Write", due=DAY - timedelta(1), message_id="1" * 26)
    await store.reminders.edit(three.id, {"status": Status.COMPLETE}, ADA)

    async def ids(**values):
        wanted = ReminderFilter(**values)
        found = [each.id for each in await store.reminders.find(wanted)]
        if wanted.limit is None:
            assert await store.reminders.count(wanted) == len(found)
        return found

    assert await ids() == [three.id, two.id, one.id]
    assert await ids(by_due=True) == [three.id, one.id, two.id]
    assert await ids(limit=2) == [three.id, two.id]
    assert await ids(before_id=two.id) == [one.id]
    assert await ids(concerns=bob.id) == [two.id]
    assert len(await ids(concerns=user.id)) == 3
    assert await ids(assignee=bob.id) == [two.id]
    assert await ids(status=Status.COMPLETE) == [three.id]
    assert await ids(kind=Kind.CALL) == [one.id]
    assert await ids(due_from=DAY) == [one.id]
    assert await ids(due_until=DAY) == [three.id]
    assert await ids(undated=True) == [two.id]
    assert await ids(undated=False) == [three.id, one.id]
    assert await ids(changed_from=three.created_at) == [three.id]
    assert await ids(person=CONTACT) == [one.id]
    assert await ids(record=DEAL) == [two.id]
    assert await ids(message_id="1" * 26) == [three.id]
    assert await ids(text="call") == [one.id]
    assert await ids(text="0% Ä") == [two.id]
    assert await ids(text="_") == []
    assert await store.reminders.ids(one.id[:26], None, 2) == [one.id]
    assert len(await store.reminders.ids("", user.id, 2)) == 2
    assert await store.reminders.ids("", bob.id, 9) == [two.id]
    assert await store.reminders.ids("%", None, 9) == []


async def test_feeds_have_one_secret_that_can_be_changed(store, user, clock):
    """The old one ends at once; of its use the hour is kept."""
    assert await store.reminders.feed(user.id) is None
    await store.reminders.set_feed(user.id, "a" * 64, "ada")
    kept = await store.reminders.feed(user.id)
    assert (kept.created_by, kept.used_at) == ("ada", None)
    assert (await store.reminders.feed_of("a" * 64)).user_id == user.id
    first_use = clock.now()
    clock.move(60)
    await store.reminders.feed_of("a" * 64)
    assert (await store.reminders.feed(user.id)).used_at == first_use
    clock.move(3601)
    await store.reminders.feed_of("a" * 64)
    assert (await store.reminders.feed(user.id)).used_at == clock.now()
    await store.reminders.set_feed(user.id, "b" * 64, "ada")
    assert await store.reminders.feed_of("a" * 64) is None
    assert (await store.reminders.feed_of("b" * 64)).used_at is None
    await store.reminders.set_feed(user.id, None, "ada")
    assert await store.reminders.feed_of("b" * 64) is None
