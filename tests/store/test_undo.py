"""Holding a logged mail while it is undone, and recording that its records are gone."""

from __future__ import annotations

import pytest

from relay.core.errors import Conflict, LeaseLost, NotFound
from relay.core.model import Draft, LedgerUpdate
from relay.core.queue import Settlement
from relay.core.states import ActivityState, Event

WRITTEN, SENT, GONE = ActivityState.WRITTEN, ActivityState.SENT, ActivityState.GONE
TASK = "00T000000000001AAA"


@pytest.fixture
def logged(store, owner, put):
    """Log copies of one mail on one Task; return their ids."""

    async def logged(count=1, state=WRITTEN):
        ids = await put(count)
        claimed = await store.queue.claim(owner, count, 60)
        states = await store.mails.join(
            owner, [(one.id, "k", "k2", "") for one in claimed]
        )
        mail_id = next(iter(states.values())).id
        draft = Draft("task:x", "key", "Task", {"Subject": "Offer"}, "rule")
        await store.ledger.advance(owner, plans=[(mail_id, [draft])])
        await store.ledger.advance(owner, ledger=[LedgerUpdate("key", SENT)])
        await store.ledger.advance(
            owner,
            ledger=[LedgerUpdate("key", state, TASK)] if state is WRITTEN else [],
            settlements=[Settlement(c.id, c.attempt, Event.LOGGED) for c in claimed],
        )
        return ids

    return logged


async def test_an_undo_discards_every_copy_and_its_row_is_gone(
    store, rival, logged, clock
):
    """In one transaction, with a trace; the mail is free again."""
    first, second = await logged(2)
    held = await store.undo.begin(first, rival, 60)
    assert [row.salesforce_id for row in held.rows] == [TASK]
    assert [ident for ident, _ in held.messages] == [first, second]
    assert held.files == ()
    lines = [("deleted", f"Task {TASK}")]
    await store.undo.finish(held, rival, "test", keys=["key"], files=[], lines=lines)
    for ident in (first, second):
        row = await store.log.show(ident)
        assert row["state"] == "discarded"
        steps = [(one["step"], one["result"]) for one in row["trace"]]
        assert ("undo", "deleted") in steps
        assert row["records"] == []
    state = await store.mails.find("k", "k2")
    assert [row.state for row in state.activities] == [GONE]
    with pytest.raises(Conflict, match="is discarded; only what is logged"):
        await store.undo.begin(first, rival, 60)
    # The lease ended with it.
    with pytest.raises(LeaseLost):
        await store.undo.finish(held, rival, "test", keys=[], files=[], lines=[])


async def test_what_cannot_be_undone_is_left_alone(store, owner, rival, put, logged):
    """Unknown, not logged, not answered yet, or in a worker's hands."""
    with pytest.raises(NotFound):
        await store.undo.begin("0" * 26, rival, 60)
    (waiting,) = await put()
    with pytest.raises(Conflict, match="is queued"):
        await store.undo.begin(waiting, rival, 60)
    await store.queue.apply(Event.HOLD, [waiting], None, "test")
    (ident,) = await logged(1, state=SENT)
    with pytest.raises(Conflict, match="outcome of a write"):
        await store.undo.begin(ident, rival, 60)
    await store.ledger.advance(owner, ledger=[LedgerUpdate("key", WRITTEN, TASK)])
    held = await store.undo.begin(ident, rival, 60)
    with pytest.raises(Conflict, match="a worker is busy"):
        await store.undo.begin(ident, owner, 60)
    await store.undo.release(held, rival)
    await store.undo.release(held, rival)
    await store.queue.apply(Event.REQUEUE, [ident], None, "test")
    with pytest.raises(Conflict, match="is queued"):
        await store.undo.begin(ident, rival, 60)


async def test_a_lease_that_ran_out_changes_nothing(store, owner, rival, logged, clock):
    """Another process may have begun to undo the mail, or to write."""
    (ident,) = await logged(1)
    held = await store.undo.begin(ident, rival, 60)
    clock.move(61)
    other = await store.undo.begin(ident, owner, 60)
    with pytest.raises(LeaseLost):
        await store.undo.finish(held, rival, "test", keys=["key"], files=[], lines=[])
    await store.undo.release(held, rival)
    await store.undo.finish(other, owner, "test", keys=["key"], files=[], lines=[])
    assert (await store.log.show(ident))["state"] == "discarded"
