"""The order of changes: nothing is skipped, nothing comes twice."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from relay.console.feed import Feed, cursor_now, look
from relay.core.errors import InvalidInput
from relay.core.ids import new_message_id
from relay.core.model import LogFilter, Refusal
from relay.core.queue import Settlement
from relay.core.states import Event
from relay.store import schema
from relay.store.changes import KEPT, Place

EVERYTHING = LogFilter()


async def seen(store, cursor, wanted=EVERYTHING):
    """Return (id, state, is it new) behind a cursor, and the next cursor."""
    found = await look(store, wanted, cursor)
    assert not found.lost
    return [(s.row["id"], s.row["state"], s.is_new) for s in found.seen], found.cursor


def refusal(clock, **more):
    values = {
        "id": new_message_id(clock),
        "at": clock.now(),
        "peer": "192.0.2.1",
        "mail_from": "a@b.example",
        "rcpt": "x@in.example",
        "header_from": "",
        "reply": "550 5.1.1 unknown",
        "reason": "unknown_recipient",
    }
    return Refusal(**values | more)


async def test_each_change_is_seen_once_in_order(store, put, clock, owner):
    """New mail, a claim, its end, a person's hand, and refusals, also counted ones."""
    cursor = await cursor_now(store)
    assert await seen(store, cursor) == ([], cursor)
    first, second = await put(2)
    rows, cursor = await seen(store, cursor)
    assert rows == [(first, "queued", True), (second, "queued", True)]
    assert await seen(store, cursor) == ([], cursor)

    claimed = await store.queue.claim(owner, 1, 60)
    rows, cursor = await seen(store, cursor)
    assert rows == [(claimed[0].id, "claimed", False)]
    ended = Settlement(first, claimed[0].attempt, Event.PERMANENT, reason="bad")
    await store.ledger.advance(owner, settlements=[ended])
    await store.queue.apply(Event.HOLD, [second], None, "test")
    rows, cursor = await seen(store, cursor)
    assert rows == [(first, "dead", False), (second, "held", False)]

    probe = refusal(clock, probe=True)
    await store.refusals.record([refusal(clock), probe])
    rows, cursor = await seen(store, cursor)
    assert [(state, new) for _, state, new in rows] == [("refused", True)]
    everything = replace(EVERYTHING, probes=True)
    await store.refusals.record([refusal(clock, probe=True)])
    rows, cursor = await seen(store, cursor, everything)
    assert rows == [(probe.id, "refused", False)]


async def test_a_row_that_changed_often_is_seen_as_it_is(store, put):
    """Of a row's changes that are read together one is left, the latest."""
    cursor = await cursor_now(store)
    one, two = await put(2)
    await store.queue.apply(Event.HOLD, [one], None, "test")
    rows, _ = await seen(store, cursor)
    assert rows == [(two, "queued", True), (one, "held", True)]
    found = await look(store, EVERYTHING, cursor)
    # Cut off behind the first of them, one goes on with the second.
    rows, end = await seen(store, found.seen[0].cursor)
    assert rows == [(one, "held", False)]
    assert end == found.cursor
    (changed,) = (await look(store, EVERYTHING, found.seen[0].cursor)).seen
    age = datetime.now(UTC) - datetime.fromisoformat(changed.row["changed_at"])
    assert abs(age.total_seconds()) < 600


async def test_what_does_not_fit_is_passed_over(store, put, user):
    """Only rows of the filter are seen; the cursor moves on all the same."""
    cursor = await cursor_now(store)
    await put(3)
    for wanted in (
        replace(EVERYTHING, states=("dead",)),
        replace(EVERYTHING, user_ids=(user.id + 1,)),
        replace(EVERYTHING, texts=("nowhere",)),
        replace(EVERYTHING, refused=True),
    ):
        rows, end = await seen(store, cursor, wanted)
        assert rows == []
        assert await seen(store, end) == ([], end)
    rows, _ = await seen(store, cursor, replace(EVERYTHING, texts=("offer 2",)))
    assert len(rows) == 1


async def test_a_smaller_id_that_commits_later_is_not_skipped(store, put, make, user):
    """A transaction that began first and ends last loses nothing to a quick one."""
    cursor = await cursor_now(store)
    (held,) = await put(1)
    rows, cursor = await seen(store, cursor)
    await store.queue.apply(Event.HOLD, [held], None, "test")
    rows, cursor = await seen(store, cursor)
    if store.context.database.is_sqlite:
        # There is one writer, so that no transaction can overtake another.
        await put(1)
        rows, cursor = await seen(store, cursor)
        assert len(rows) == 1
        return
    engine = store.context.database._engine
    query = text("UPDATE messages SET reason = 'slow' WHERE id = :id")
    async with engine.connect() as slow, slow.begin():
        await slow.execute(query, {"id": held})  # Has the smaller id now.
        (quick,) = await put(1)
        assert await seen(store, cursor) == ([], cursor)
        late = await cursor_now(store)
    rows, cursor = await seen(store, cursor)
    assert {row[0] for row in rows} == {held, quick}
    assert (await seen(store, cursor))[0] == []
    # Who began while the slow one ran misses nothing that was committed since.
    assert held in {row[0] for row in (await seen(store, late))[0]}


async def test_two_at_once_see_everything_of_many_writers(store, other, put):
    """However commits interleave, a reader that goes on gets each row at least once."""
    cursor = await cursor_now(store)
    found: list[str] = []

    async def read():
        nonlocal cursor
        rows, cursor = await seen(other, cursor)
        found.extend(row[0] for row in rows)

    async def write(number):
        for _ in range(number):
            await put(1)

    writers = [asyncio.create_task(write(8)) for _ in range(6)]
    while not all(task.done() for task in writers):
        await read()
    await asyncio.gather(*writers)
    while len(found) < 48:
        await read()
    assert len(found) == len(set(found)) == 48


async def test_old_changes_go_and_their_readers_are_told(store, put):
    """Beyond what is kept a cursor is lost, and says where to go on."""
    old = await cursor_now(store)
    await put(5)
    _, newer = await seen(store, old)
    await put(3)
    assert await store.changes.purge(keep=2) == 6
    found = await look(store, EVERYTHING, old)
    assert found.lost
    assert found.seen == ()
    assert await seen(store, found.cursor) == ([], found.cursor)
    assert (await look(store, EVERYTHING, newer)).lost
    assert await store.changes.purge(keep=2) == 0
    await put(1)
    rows, _ = await seen(store, found.cursor)
    assert len(rows) == 1
    assert KEPT >= 100_000
    assert await store.tidy() is None


async def test_a_cursor_of_another_database_is_lost(store, put):
    """A place that is yet to come is no place of this database."""
    await put(1)
    far = f"{2**40}.{2**40}"
    assert (await look(store, EVERYTHING, far)).lost


async def test_rows_from_another_server_are_removed(store, put):
    """On PostgreSQL, rows of transactions to come were restored from elsewhere."""
    if store.context.database.is_sqlite:
        pytest.skip("SQLite has no numbers of transactions")
    await put(1)
    future = text("UPDATE changes SET xact = 1000000000000")
    await store.context.write(lambda c: c.execute(future))
    assert await store.changes.purge() == 0
    count = text("SELECT count(*) FROM changes")
    assert await store.context.read(lambda c: c.scalar(count)) == 0


@pytest.mark.parametrize(
    "written", ["", "1", "a.b", "1.2.3", "-1.0", "²,0", f"0.{1 << 63}", "0." + "9" * 99]
)
async def test_what_is_no_cursor_is_refused(store, written):
    """A cursor is two numbers; anything else is the caller's mistake."""
    assert Place.read(written) is None
    with pytest.raises(InvalidInput):
        await look(store, EVERYTHING, written)


async def test_every_writer_is_under_a_trigger(store):
    """The triggers are there after every migration."""
    query = (
        "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        if store.context.database.is_sqlite
        else "SELECT DISTINCT trigger_name FROM information_schema.triggers"
    )
    found = await store.context.read(lambda c: set(c.scalars(text(query))))
    assert {
        "changes_of_new_messages",
        "changes_of_messages",
        "changes_of_new_refusals",
        "changes_of_refusals",
    } <= found
    assert schema.changes.name == "changes"


async def test_a_feed_ends_at_once(store, put):
    """A watcher gets what comes, and its iterator ends when the feed is closed."""
    feed = Feed(store)
    watch = feed.watch("ada", EVERYTHING)
    assert (await anext(watch)).seen == ()
    (one,) = await put(1)
    found = await anext(watch)
    assert [s.row["id"] for s in found.seen] == [one]
    feed.close()
    with pytest.raises(StopAsyncIteration):
        await anext(watch)
