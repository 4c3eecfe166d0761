"""Answers that are kept for a day, and edits of what was seen."""

from __future__ import annotations

import asyncio

import pytest

from relay.core.directory import Role
from relay.core.errors import Conflict, NotFound
from relay.core.states import Event, State
from relay.store.answers import ABANDONED_S, KEPT_S
from relay.store.edits import Stale, as_of


async def test_a_key_is_taken_once(store):
    """The first goes on; others get its answer once it is kept, for a day."""
    assert await store.answers.take("k") is None
    busy = await store.answers.take("k")
    assert (busy.status, busy.request) == (None, "")
    await store.answers.keep("k", "digest", 201, "{}", "body")
    kept = await store.answers.take("k")
    assert (kept.request, kept.status, kept.headers, kept.body) == (
        "digest",
        201,
        "{}",
        "body",
    )
    assert await store.answers.take("other") is None


async def test_a_key_is_free_again(store, clock):
    """After a failure at once, after a crash in a while, after an answer in a day."""
    await store.answers.take("failed")
    await store.answers.forget("failed")
    assert await store.answers.take("failed") is None
    await store.answers.take("done")
    await store.answers.keep("done", "d", 200, "{}", "")
    clock.move(ABANDONED_S)
    assert await store.answers.take("failed") is not None
    clock.move(1)
    assert await store.answers.take("failed") is None
    assert await store.answers.take("done") is not None
    clock.move(KEPT_S)
    assert await store.answers.take("done") is None


async def test_of_two_at_once_one_is_first(store, other):
    """Two relays that take a key together: exactly one of them goes on."""
    found = await asyncio.gather(
        *(one.answers.take("k") for one in (store, other) for _ in range(4))
    )
    assert found.count(None) == 1


async def test_an_edit_of_what_was_seen(store, user, other):
    """It is made where nothing was changed since, and else not at all."""
    seen = await store.directory.revision()
    with as_of(seen):
        await store.directory.rename(user.id, "Ada L", "test")
    with as_of(seen), pytest.raises(Stale):
        await store.directory.rename(user.id, "Ada M", "test")
    assert (await store.directory.users())[0].name == "Ada L"
    await other.directory.rename(user.id, "Ada N", "test")
    assert (await store.directory.users())[0].name == "Ada N"


async def test_several_changes_of_a_user_are_one(store, user):
    """All or none, and each has its line in the history."""
    await store.directory.add_user("Bob", "bob@corp.example", Role.REP, None, "test")
    changes = {
        "name": "Ada L",
        "role": "admin",
        "salesforce_id": "005000000000001AAA",
        "notify": "none",
        "active": False,
    }
    taken = changes | {"email": "bob@corp.example"}
    with pytest.raises(Conflict):
        await store.directory.update_user(user.id, taken, "test")
    assert (await store.directory.users())[0] == user
    own = {"email": "ada@new.example"}
    found = await store.directory.update_user(
        user.id, changes | own, "test", keep_old=True
    )
    assert {key: getattr(found, key) for key in changes} == changes
    addresses = {one.address for one in await store.directory.addresses(user.id)}
    assert addresses == {"ada@corp.example", "ada@new.example"}
    actions = [row["action"] for row in await store.history.find(user.id)]
    assert len(actions) == 1 + len(changes) + 1
    again = await store.directory.update_user(user.id, changes | own, "test")
    assert again == found
    assert len(await store.history.find(user.id)) == len(actions)
    with pytest.raises(ValueError, match="hash"):
        await store.directory.update_user(user.id, {"hash": ""}, "test")


async def test_the_history_is_filtered(store, user, clock):
    """By who made a change, what it was, when, and page by page."""
    await store.directory.rename(user.id, "Ada L", "cli:root")
    clock.move(60)
    since = clock.now()
    await store.directory.add_address(user.id, "a@b.example", "api:CRM")
    clock.move(60)
    until = clock.now()
    await store.directory.remove_address(user.id, "a@b.example", "cli:root")
    await store.history.note("mail_read", "id", "api:CRM", user.id)

    async def found(**wanted):
        return [row["action"] for row in await store.history.find(**wanted)]

    assert await found(by="crm") == ["address_add", "mail_read"]
    assert await found(change="address") == ["address_add", "address_remove"]
    assert await found(change="address_add") == ["address_add"]
    assert await found(change="addr") == []
    assert await found(since=since, until=until) == ["address_add"]
    rows = await store.history.find(limit=2)
    older = await store.history.find(before_id=rows[0]["id"], limit=2)
    assert [row["action"] for row in older] == ["user_name", "address_add"]
    assert await store.history.find(only_id=rows[0]["id"]) == rows[:1]
    with pytest.raises(Conflict, match="mail read cannot be taken back"):
        await store.history.undo(rows[1]["id"], "test")


async def test_what_waits_is_counted(store, put, user, clock):
    """By state and reason, with the oldest, and the next try of what is queued."""
    start = clock.now()
    ids = await put(3)
    await store.queue.apply(Event.HOLD, ids[:1], None, "test")
    queued, held = await store.log.waiting()
    assert (queued.state, queued.reason, queued.count) == (State.QUEUED, "", 2)
    assert (held.state, held.reason, held.count) == (State.HELD, "hold", 1)
    assert held.oldest_at < queued.oldest_at
    assert queued.next_at == queued.oldest_at
    assert held.next_at is None
    assert queued.oldest_at > start
    assert len(await store.log.waiting(user.id)) == 2
    assert await store.log.waiting(user.id + 1) == []


async def test_the_last_mails_of_users_are_known(store, put, user, owner):
    """Also of who has none; a mail that was not logged is no logged one."""
    bob = await store.directory.add_user(
        "Bob", "bob@corp.example", Role.REP, None, "test"
    )
    assert (await store.log.last_mails())[bob.id].received_at is None
    first, _ = await put(2)
    found = (await store.log.last_mails())[user.id]
    assert found.received_at
    assert found.logged_at is None
    from sqlalchemy import update

    from relay.store import schema

    logged = update(schema.messages).where(schema.messages.c.id == first)
    await store.context.write(lambda c: c.execute(logged.values(state="logged")))
    again = (await store.log.last_mails())[user.id]
    assert again.logged_at < again.received_at == found.received_at


async def test_rows_know_whose_they_are(store, put, user):
    """Kind and owner of a row, the id of its bytes, and its attempts."""
    (one,) = await put()
    assert await store.log.owner(one) == ("message", user.id)
    assert await store.log.blob_id(one) == one
    assert await store.log.attempts(one) == []
    await store.queue.apply(Event.HOLD, [one], None, "test")
    (row,) = await store.log.attempts(one)
    assert (row["event"], row["state"], row["actor"]) == ("hold", "held", "test")
    with pytest.raises(NotFound, match="there is no message"):
        await store.log.owner("0" * 26)
    with pytest.raises(NotFound, match="there is no message"):
        await store.log.blob_id("0" * 26)


async def test_what_moved_on_is_passed_over(store, put, make):
    """Of messages found a moment ago those are changed that still can be."""
    ids = await put(3)
    await store.queue.apply(Event.DISCARD, ids[:1], None, "test")
    changed = await store.queue.apply_still(Event.HOLD, ids, "test")
    assert [one[0] for one in changed] == ids[1:]
    assert await store.queue.apply_still(Event.HOLD, ids, "test") == []
    assert await store.queue.apply_still(Event.CLAIM, ids, "test") == []
    envelope, raw = make(None)
    await store.messages.put(envelope, raw)
    (postmaster,) = envelope.recipients
    again = await store.queue.apply_still(
        Event.REQUEUE, [postmaster.message_id], "test"
    )
    assert again == []
