"""Thousands of messages changed by one wish, on a database that takes its time."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import insert, select

from relay.core.errors import StoreUnavailable
from relay.core.states import Event, State
from relay.store import queue, schema

COUNT = 2500
ROW_S = 0.001


@pytest.fixture
def settings(settings, request):
    """Wait longer than a part takes, and shorter than all of them together."""
    values = {"timeout_s": 1.6} | getattr(request, "param", {})
    return settings.model_copy(update=values)


@pytest.fixture
async def dead(store, put):
    """Fill the store with dead messages; return their ids in order."""
    (first,) = await put()
    messages = schema.messages
    ids = [first, *(f"{first[:20]}{n:06}" for n in range(COUNT - 1))]

    def fill(connection):
        one = dict(connection.execute(select(messages)).one()._mapping)
        rows = [one | {"id": i, "state": "dead", "claimed_at": None} for i in ids]
        connection.execute(messages.delete())
        connection.execute(insert(messages), rows)

    await store.context.write(fill, more_s=20)
    return sorted(ids)


@pytest.fixture
def slowly(monkeypatch):
    """Have each row take its time: all of them together take 2.5 s."""
    seen = []
    change_state = queue.change_state

    def slow(connection, event, rows, actor, now):
        seen.append(len(rows))
        time.sleep(ROW_S * len(rows))
        return change_state(connection, event, rows, actor, now)

    monkeypatch.setattr(queue, "change_state", slow)
    return seen


async def test_all_of_a_state_are_changed_in_parts(store, dead, slowly):
    """Who asks for many is told what was done, each once and in order."""
    changed = await store.queue.apply(Event.REQUEUE, None, State.DEAD, "ada")
    assert changed == [(i, State.DEAD, State.QUEUED) for i in dead]
    assert slowly == [1000, 1000, 500]
    assert (await store.queue.counts())[State.QUEUED] == COUNT
    (line,) = await store.history.find(change="message")
    assert line["user"] == f"{COUNT} messages"
    done = await store.acts.undo(line["id"], "ada")
    assert done.back == {State.DEAD: COUNT}
    assert (await store.queue.counts())[State.DEAD] == COUNT


async def test_many_by_name_are_all_or_none_and_take_their_time(store, dead, slowly):
    """One transaction, which may take longer the more there is to do."""
    changed = await store.queue.apply(Event.DISCARD, dead, None, "ada")
    assert [one[0] for one in changed] == dead
    assert slowly == [COUNT]


@pytest.mark.parametrize("settings", [{"timeout_s": 30}], indirect=True)
async def test_what_was_changed_before_a_failure_is_told(
    store, dead, slowly, monkeypatch
):
    """The second part fails: the first is done, and the error says so."""
    slow = queue.change_state

    def fail(*arguments):
        if slowly:
            raise StoreUnavailable("the disk is gone")
        return slow(*arguments)

    monkeypatch.setattr(queue, "change_state", fail)
    with pytest.raises(StoreUnavailable, match="gone; 1000 messages were changed"):
        await store.queue.apply(Event.REQUEUE, None, State.DEAD, "ada")
    counts = await store.queue.counts()
    assert (counts[State.QUEUED], counts[State.DEAD]) == (1000, COUNT - 1000)
