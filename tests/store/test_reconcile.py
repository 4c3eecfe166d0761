"""Walking the ledger, and taking back what Salesforce does not have any more."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from relay.core.model import OPEN_TASK, Draft, LedgerUpdate
from relay.core.queue import Settlement
from relay.core.states import ActivityState, Event, State
from relay.store import ledger

LEASE_S = 120
TASK_ID = "00T000000000001AAA"


@pytest.fixture
def written(store, put, owner, clock):
    """Log a mail with one Task; return its message."""

    async def written(number=1, state=ActivityState.WRITTEN, slot="task"):
        await put(1)
        (message,) = await store.queue.claim(owner, 1, LEASE_S)
        keys = (message.id, f"A{number}", f"B{number}", f"<{number}>")
        mail = (await store.mails.join(owner, [keys]))[message.id]
        key = f"key-{number}"
        drafts = [Draft(slot, key, "Task", {"Subject": "x"}, "rule")]
        await store.ledger.advance(owner, plans=[(mail.id, drafts)])
        sent = LedgerUpdate(key, ActivityState.SENT, sent_at=clock.now())
        await store.ledger.advance(owner, ledger=[sent])
        changes = []
        if state is not ActivityState.SENT:
            changes = [LedgerUpdate(key, state, salesforce_id=TASK_ID)]
        settled = Settlement(message.id, message.attempt, Event.LOGGED)
        await store.ledger.advance(owner, ledger=changes, settlements=[settled])
        return message.id

    return written


async def test_the_walk_sees_every_row_once(store, written):
    """Pages follow each other, and each row names its messages."""
    ids = [await written(number) for number in range(5)]
    assert await store.ledger.count(None) == 5
    seen, after = [], 0
    while page := await store.ledger.page(None, after, 2):
        after = page[-1].number
        seen += page
    assert [row.activity.key for row in seen] == [f"key-{n}" for n in range(5)]
    assert [row.messages for row in seen] == [(i,) for i in ids]


async def test_a_walk_begins_where_it_is_told(store, written, clock):
    """What was planned and sent before is left out."""
    await written(1)
    clock.move(3600)
    await written(2)
    since = clock.now() - timedelta(minutes=1)
    assert await store.ledger.count(since) == 1
    (row,) = await store.ledger.page(since, 0, 10)
    assert row.activity.key == "key-2"
    assert await store.ledger.known({"key-1", "key-2", "key-3"}) == {"key-1", "key-2"}


async def test_what_was_written_last_comes_first(store, written):
    """Rows of that object alone, and only those that Salesforce has taken."""
    for number in range(3):
        await written(number)
    await written(3, ActivityState.SENT)
    latest = await store.ledger.latest("Task", 2)
    assert [row.key for row in latest] == ["key-2", "key-1"]
    assert await store.ledger.latest("EmailMessage", 2) == []


async def test_a_missing_record_is_queued_to_be_written_again(store, written, owner):
    """The row is planned, the message due, and the store's audit names who asked."""
    message = await written(1)
    assert await store.ledger.rewrite({"key-1", "key-9"}, "cli:ada") == {
        "key-1": [message]
    }
    (row,) = await store.ledger.page(None, 0, 10)
    activity = row.activity
    assert (activity.state, activity.salesforce_id) == (ActivityState.PLANNED, None)
    assert activity.sent_at is None
    assert (await store.queue.counts())[State.QUEUED] == 1
    audit = await store.directory.audit()
    assert {"ledger_rewrite", "message_requeue"} <= {a["action"] for a in audit}
    assert [c.id for c in await store.queue.claim(owner, 10, LEASE_S)] == [message]


async def test_what_nobody_logged_stays_as_it_is(store, written):
    """Only a written row of a logged message is taken back, and only once."""
    await written(1)
    await written(2, ActivityState.GONE)
    await written(3, ActivityState.SENT)
    assert set(await store.ledger.rewrite({"key-1", "key-2", "key-3"}, "x")) == {
        "key-1"
    }
    assert await store.ledger.rewrite({"key-1"}, "x") == {}


async def test_an_open_task_is_never_written_again(store, written):
    """Its mail is logged by now: nobody needs it any more."""
    await written(1, slot=OPEN_TASK)
    assert await store.ledger.rewrite({"key-1"}, "x") == {}


async def test_a_mail_in_hand_is_left_alone(store, written, owner):
    """While a worker holds the mail, its ledger is the worker's."""
    message = await written(1)
    await store.queue.apply(Event.REQUEUE, [message], None, "x")
    (claimed,) = await store.queue.claim(owner, 1, LEASE_S)
    await store.mails.join(owner, [(claimed.id, "A1", "B1", "<1>")])
    assert await store.ledger.rewrite({"key-1"}, "x") == {}


async def test_a_deletion_is_noted(store, written):
    """What somebody has deleted is gone, and never made again."""
    await written(1)
    assert await store.ledger.mark_gone({"key-1", "key-2"}) == 1
    assert await store.ledger.mark_gone({"key-1"}) == 0
    assert await store.ledger.rewrite({"key-1"}, "x") == {}


async def test_many_missing_records_may_take_their_time(store, written, monkeypatch):
    """An audit that found thousands of them is not told that the store is silent."""
    message = await written(1)
    apply_event = ledger.apply_event

    def slow(*arguments):
        time.sleep(1)
        return apply_event(*arguments)

    monkeypatch.setattr(ledger, "apply_event", slow)
    store.context.database.timeout_s = 0.5
    keys = {f"key-{number}" for number in range(1, 2001)}
    assert await store.ledger.rewrite(keys, "cli:ada") == {"key-1": [message]}
