"""What is kept of mail for postmaster, to whom anybody may write."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select

from relay.core.directory import Role
from relay.core.errors import NotFound
from relay.core.model import LogFilter
from relay.core.states import Event, State
from relay.store import Store, messages, schema

LARGE = b"x" * 5000
"""More than `inline_bytes`: a file on SQLite, chunks on PostgreSQL."""


@pytest.fixture
async def few(settings, clock, monkeypatch):
    """A store that keeps three mails for postmaster, and looks at each put."""
    monkeypatch.setattr(messages, "PURGE_EVERY", 1)
    monkeypatch.setattr(messages, "PURGE_BATCH", 2)
    store = await Store.open(settings.model_copy(update={"postmaster_keep": 3}), clock)
    yield store
    await store.close()


async def put(store, make, *user_ids, data=LARGE):
    """Store a mail, and wait for what it sets off; return the ids of its messages."""
    envelope, raw = make(*user_ids, data=data)
    await store.messages.put(envelope, raw)
    await store.messages.finish()
    return [recipient.message_id for recipient in envelope.recipients]


async def rows(store, table):
    """Return how many rows a table has."""
    query = select(func.count()).select_from(table)
    return await store.context.read(lambda connection: connection.scalar(query))


async def test_the_newest_are_kept(few, make):
    """Older mail for postmaster goes with its bytes, wherever they are."""
    ids = [(await put(few, make, None))[0] for _ in range(6)]
    ids += await put(few, make, None, data=b"small")
    kept = [row["id"] for row in await few.log.find(LogFilter())]
    assert kept == ids[-3:]
    assert await rows(few, schema.blobs) == 3
    assert len(list(few.messages.spool_dir.glob("*.eml"))) in {0, 2}
    with pytest.raises(NotFound):
        await few.messages.raw(ids[0])
    assert await few.messages.raw(ids[-2]) == LARGE


async def test_mail_of_users_stays(few, make):
    """Nothing of a user's is removed, not even where postmaster had the same mail."""
    user = await few.directory.add_user(
        "Ada", "ada@corp.example", Role.REP, None, "test"
    )
    own = await put(few, make, user.id)
    shared = await put(few, make, None, user.id)
    for _ in range(4):
        await put(few, make, None)
    known = {row["id"] for row in await few.log.find(LogFilter())}
    assert own[0] in known
    assert shared[1] in known
    assert shared[0] not in known
    assert (
        await few.messages.raw(shared[0]) == LARGE
    )  # The mail has the id of its first one.


async def test_what_is_at_work_stays(few, make):
    """A message that somebody wants tried again is not taken from the worker."""
    (first,) = await put(few, make, None)
    await few.queue.apply(Event.REQUEUE, [first], None, "admin")
    for _ in range(5):
        await put(few, make, None)
    counts = await few.queue.counts()
    assert (counts[State.QUEUED], counts[State.SKIPPED]) == (1, 3)


async def test_many_go_in_small_steps(settings, clock, make, few):
    """What has gathered before is removed in transactions of a bounded size."""
    lazy = await Store.open(settings, clock)
    lazy.messages._since_purge = -1000
    for _ in range(9):
        await put(lazy, make, None)
    await lazy.close()
    await put(few, make, None)
    assert len(await few.log.find(LogFilter())) == 3
