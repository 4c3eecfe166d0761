"""Claims that were committed after their caller had been told that they failed."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace

import pytest
from sqlalchemy import text

from relay.core.errors import StoreUnavailable
from relay.core.files import FileDraft
from relay.core.model import Draft, LedgerUpdate, Unsent
from relay.core.queue import Settlement
from relay.core.states import ActivityState, Event, State

LEASE_S = 120
SLOW = "slow"
"""The worker whose commits take longer than `timeout_s`."""

on_postgres = pytest.mark.parametrize("url", ["postgresql"], indirect=True)

_STALL = """
CREATE OR REPLACE FUNCTION stall() RETURNS trigger AS $$
BEGIN PERFORM pg_sleep(1.2); RETURN NULL; END $$ LANGUAGE plpgsql;
CREATE CONSTRAINT TRIGGER stall AFTER UPDATE ON {table}
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
WHEN ({which}) EXECUTE FUNCTION stall()
"""
_SLOW = "NEW.lease_owner LIKE '%/slow'"
_WHICH = {"activities": "NEW.slot = 'one'"}


@pytest.fixture
def slow(owner):
    return replace(owner, worker=SLOW)


@pytest.fixture
def late(store, request):
    """Return what has a call's commit answered too late, and waits for it to be done.

    On SQLite the call shares its transaction with one that hangs; on PostgreSQL the
    COMMIT itself takes long, for `slow` alone, and the connection is cut meanwhile.
    """
    database = store.context.database

    @contextmanager
    def impatient():
        """Have the call wait for half a second; all others have the usual time."""
        usual, database.timeout_s = database.timeout_s, 0.5
        try:
            with pytest.raises(StoreUnavailable, match="does not answer"):
                yield
        finally:
            database.timeout_s = usual

    @asynccontextmanager
    async def late(call, table="messages"):
        if database.is_sqlite:
            gate = threading.Event()
            with impatient():
                hanging = asyncio.ensure_future(
                    store.context.write(lambda _c: gate.wait(20))
                )
                await call
            await asyncio.gather(hanging, return_exceptions=True)
            yield
            gate.set()
            return
        server = request.getfixturevalue("postgres")
        name = request.getfixturevalue("reused")[1]
        stall = _STALL.format(table=table, which=_WHICH.get(table, _SLOW))
        await asyncio.to_thread(server.sql, stall, name)
        try:
            with impatient():
                await call
            yield
        finally:
            drop = f"DROP TRIGGER stall ON {table}"  # Waits for the late commit.
            await asyncio.to_thread(server.sql, drop, name)

    return late


async def row_of(store, table, key):
    query = text(f"SELECT * FROM {table} WHERE id = :id")
    return await store.context.read(lambda c: c.execute(query, {"id": key}).one())


async def test_a_claim_that_comes_late_is_given_back(store, put, owner, slow, late):
    """The next claim of the process has it at once, and as if nothing had been."""
    ids = await put(3)
    async with late(store.queue.claim(slow, 2, LEASE_S)):
        pass
    claimed = await store.queue.claim(owner, 10, LEASE_S)
    assert sorted((c.id, c.attempt, c.alone) for c in claimed) == [
        (i, 1, False) for i in ids
    ]
    assert {(await row_of(store, "messages", i)).crashes for i in ids} == {0}
    trace = (await store.log.show(ids[0]))["trace"]
    assert [s["result"] for s in trace if s["step"] == "attempt"] == ["give_back"]
    # What is in hand now stays there.
    assert await store.queue.claim(slow, 10, LEASE_S) == []
    assert await store.queue.renew(owner, ids, LEASE_S) == set(ids)


async def test_late_claims_again_and_again_kill_no_mail(store, put, slow, late, clock):
    """A disk that stalls at each claim is no crash of the relay."""
    (message_id,) = await put()
    for _ in range(6):
        async with late(store.queue.claim(slow, 10, LEASE_S)):
            pass
        clock.move(LEASE_S + 1)
    (claimed,) = await store.queue.claim(slow, 10, LEASE_S)
    assert (claimed.id, claimed.attempt, claimed.alone) == (message_id, 1, False)
    assert (await row_of(store, "messages", message_id)).crashes == 0


async def test_a_claim_that_never_came_takes_nothing_back(store, put, slow):
    """One that was rolled back is forgotten: its successor keeps what it takes."""
    ids = await put(2)

    def fail(_connection):
        raise StoreUnavailable("the database gave the transaction up")

    write = store.context.database.write

    async def rolled_back(work, **more):
        def both(connection):
            work(connection)
            fail(connection)

        return await write(both, **more)

    store.context.database.write = rolled_back
    with pytest.raises(StoreUnavailable):
        await store.queue.claim(slow, 10, LEASE_S)
    del store.context.database.write
    assert [c.attempt for c in await store.queue.claim(slow, 10, LEASE_S)] == [1, 1]
    assert await store.queue.claim(slow, 10, LEASE_S) == []
    assert await store.queue.renew(slow, ids, LEASE_S) == set(ids)


@on_postgres
async def test_a_commit_under_way_keeps_no_other_mail_waiting(
    store, put, owner, slow, late
):
    """What is still being committed is left for a later claim; the rest goes on."""
    stalled, free = await put(2)
    async with late(store.queue.claim(slow, 1, LEASE_S)):
        assert [c.id for c in await store.queue.claim(owner, 10, LEASE_S)] == [free]
    (claimed,) = await store.queue.claim(owner, 10, LEASE_S)
    assert (claimed.id, claimed.attempt) == (stalled, 1)


async def test_the_settlement_ends_mail_leases_that_came_late(
    store, put, owner, slow, late
):
    """A join that was told to have failed holds no mail back."""
    (message_id,) = await put()
    await store.queue.claim(slow, 1, LEASE_S)
    async with late(store.mails.join(slow, [(message_id, "A", "B", "<a>")]), "mails"):
        pass
    back = Settlement(message_id, 1, Event.GIVE_BACK, "store_unavailable")
    assert await store.ledger.advance(slow, settlements=[back]) == {message_id}
    await store.queue.claim(owner, 1, LEASE_S)
    states = await store.mails.join(owner, [(message_id, "A", "B", "<a>")])
    assert states[message_id].leased


async def test_a_mark_that_came_late_is_taken_back(store, put, slow, late, clock):
    """Planned with the mark or before: what never left is planned, not *sent*."""
    (message_id,) = await put()
    await store.queue.claim(slow, 1, LEASE_S)
    copies = [(message_id, "A", "B", "<a>")]
    mail = (await store.mails.join(slow, copies))[message_id].id
    drafts = [Draft(n, f"key-{n}", "Task", {}, "rule") for n in ("one", "two")]
    marks = [
        LedgerUpdate(d.key, ActivityState.SENT, sent_at=clock.now()) for d in drafts
    ]
    plans = [(mail, drafts)]
    unsent = [Unsent(mail, draft.key, clock.now()) for draft in drafts]
    async with late(
        store.ledger.advance(slow, plans=plans, ledger=marks), "activities"
    ):
        pass
    (state,) = (await store.mails.join(slow, copies)).values()
    assert {row.state for row in state.activities} == {ActivityState.SENT}
    back = Settlement(message_id, 1, Event.GIVE_BACK, "store_unavailable")
    await store.ledger.advance(slow, settlements=[back], unsent=unsent)
    await store.queue.claim(slow, 1, LEASE_S)
    (state,) = (await store.mails.join(slow, copies)).values()
    assert {(r.state, r.sent_at) for r in state.activities} == {
        (ActivityState.PLANNED, None)
    }


async def test_only_our_own_mark_is_taken_back(store, put, owner, rival, clock):
    """A later mark says that a request left; without the lease nothing is touched."""
    (message_id,) = await put()
    await store.queue.claim(owner, 1, LEASE_S)
    copies = [(message_id, "A", "B", "<a>")]
    mail = (await store.mails.join(owner, copies))[message_id].id
    unsent = [Unsent(mail, "key-one", clock.now())]
    await store.ledger.advance(owner, unsent=unsent)  # The mark was never committed.
    clock.move(1)
    plan = (mail, [Draft("one", "key-one", "Task", {}, "rule")])
    mark = LedgerUpdate("key-one", ActivityState.SENT, sent_at=clock.now())
    await store.ledger.advance(owner, plans=[plan], ledger=[mark], unsent=unsent)
    await store.ledger.advance(owner, unsent=unsent)
    await store.ledger.advance(rival, unsent=[replace(unsent[0], sent_at=clock.now())])
    (state,) = (await store.mails.join(owner, copies)).values()
    assert [row.state for row in state.activities] == [ActivityState.SENT]


async def test_files_that_were_taken_late_are_free(store, put, owner, slow, late):
    """The next turn has them at once, not when the lease runs out."""
    (message_id,) = await put()
    (claimed,) = await store.queue.claim(owner, 1, LEASE_S)
    mail = (await store.mails.join(owner, [(message_id, "A", "B", "<a>")]))[
        message_id
    ].id
    draft = Draft("one", "key-one", "Task", {}, "rule")
    file = FileDraft(
        "file-1", mail, "key-one", claimed.blob_id, "a.pdf", "x/y", 9, "0", 0, 9
    )
    await store.ledger.advance(owner, plans=[(mail, [draft])], files=[file])
    async with late(store.attachments.claim(slow, 10, LEASE_S), "files"):
        pass
    (row,) = await store.attachments.claim(slow, 10, LEASE_S)
    assert (row.key, row.mine) == ("file-1", True)
    # What is in hand now stays there.
    assert await store.attachments.claim(slow, 10, LEASE_S) == []
    assert (await store.queue.counts())[State.CLAIMED] == 1
