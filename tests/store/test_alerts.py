"""Alerts in the store: one for a rule and a subject, told once, whoever finds it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from relay.core.alerts import AlertEvent, AlertRule, Finding, Look
from relay.core.notices import NoticeDraft, NoticeKind
from relay.core.states import ActivityState
from relay.store.alerts import CallUpdate, Telling

RULES = frozenset({AlertRule.QUEUE})
HOLDS = Look(RULES, (Finding(AlertRule.QUEUE, "queue", {"count": 3}),))
OVER = Look(RULES)
DAY = timedelta(hours=24)
PLANNED, WRITTEN = ActivityState.PLANNED, ActivityState.WRITTEN


@pytest.fixture
def tell():
    """Tell each event by one call and one mail."""
    count = iter(range(1000))

    def told(alert, event):
        number = next(count)
        draft = NoticeDraft(NoticeKind.ALERT, "it@corp.example", facts={"event": event})
        return Telling({f"msg_{number}": f'"{event}"'}, {f"alert-{number}": draft})

    return told


async def test_an_alert_is_raised_told_and_ended(store, clock, tell):
    """Once each; what tells it stands in the store with it."""
    take = store.alerts.take
    ((alert, event),) = await take(HOLDS, tell, remind=DAY)
    assert (event, alert.subject, alert.facts) == ("raised", "queue", {"count": 3})
    assert await take(HOLDS, tell, remind=DAY) == []
    clock.move(60)
    assert await take(Look(frozenset({AlertRule.DISK})), tell, remind=DAY) == []
    ((ended, event),) = await take(OVER, tell, remind=DAY)
    assert (event, ended.id, ended.cleared_at) == ("cleared", alert.id, clock.now())
    assert await take(OVER, tell, remind=DAY) == []
    ((again, _),) = await take(HOLDS, tell, remind=DAY)
    assert again.id != alert.id
    assert [one.event for one in await store.alerts.calls()] == [
        *("raised", "cleared", "raised"),
    ]
    assert len(await store.notices.find()) == 3
    assert [one.id for one in await store.alerts.find()] == [again.id, alert.id]
    assert [one.id for one in await store.alerts.find(open_only=True)] == [again.id]
    assert (await store.alerts.counts())[AlertRule.QUEUE] == 1


async def test_an_alert_that_holds_is_told_again(store, clock, tell):
    """After the time that is set, with the facts of then; never where none is set."""
    take = store.alerts.take
    await take(HOLDS, tell, remind=DAY)
    clock.move(24 * 3600 - 1)
    assert await take(HOLDS, tell, remind=DAY) == []
    clock.move(1)
    assert await take(HOLDS, tell, remind=None) == []
    more = replace(HOLDS, found=(Finding(AlertRule.QUEUE, "queue", {"count": 9}),))
    ((alert, event),) = await take(more, tell, remind=DAY)
    assert (event, alert.told, alert.facts) == (AlertEvent.STILL, 2, {"count": 9})
    assert await take(more, tell, remind=DAY) == []


async def test_two_relays_raise_one_alert(store, other, clock, tell):
    """Whatever they do at a time, each event is told once."""
    for look, event in ((HOLDS, "raised"), (OVER, "cleared"), (HOLDS, "raised")):
        both = [one.alerts.take(look, tell, remind=DAY) for one in (store, other)]
        told = [pair for part in await asyncio.gather(*both) for pair in part]
        assert [pair[1] for pair in told] == [event]
    clock.move(24 * 3600)
    both = [one.alerts.take(HOLDS, tell, remind=DAY) for one in (store, other)]
    told = [pair for part in await asyncio.gather(*both) for pair in part]
    assert [pair[1] for pair in told] == ["still"]
    assert len(await store.alerts.calls()) == len(await store.notices.find()) == 4


async def test_an_alert_that_cannot_be_told_is_not_raised(store, tell):
    """Alert and telling are one transaction."""

    def fails(alert, event):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await store.alerts.take(HOLDS, fails, remind=DAY)
    assert await store.alerts.find() == []
    assert len(await store.alerts.take(HOLDS, tell, remind=DAY)) == 1


async def test_a_call_is_leased_and_settled(store, clock, owner, rival, tell):
    """It is one process's at a time, and due again after a failure."""
    await store.alerts.take(HOLDS, tell, remind=DAY)
    (row,) = await store.alerts.claim(owner, 5, 60)
    assert await store.alerts.claim(rival, 5, 60) == []
    later = clock.now() + timedelta(seconds=30)
    failed = CallUpdate(row.key, PLANNED, 500, "sorry", "answered 500", later)
    await store.alerts.settle(owner, failed)
    assert await store.alerts.claim(rival, 5, 60) == []
    clock.move(30)
    (again,) = await store.alerts.claim(rival, 5, 60)
    assert (again.key, again.failures, again.status) == (row.key, 1, 500)
    assert again.failing_since == clock.now() - timedelta(seconds=30)
    # The first one comes late: it is not its call any more, unless it was taken.
    await store.alerts.settle(owner, replace(failed, error="late"))
    (seen,) = await store.alerts.calls([row.key])
    assert seen.error == "answered 500"
    await store.alerts.settle(owner, CallUpdate(row.key, WRITTEN, 204))
    (seen,) = await store.alerts.calls([row.key])
    assert (seen.state, seen.due_at, seen.written_at) == (WRITTEN, None, clock.now())
    clock.move(3600)
    assert await store.alerts.claim(owner, 5, 60) == []


async def test_the_calls_of_a_dead_process_are_made_by_another(
    store, owner, rival, tell
):
    """At once where it is known to be dead, else after its lease."""
    await store.alerts.take(HOLDS, tell, remind=DAY)
    (row,) = await store.alerts.claim(owner, 5, 60)
    await store.alerts.release_dead(rival, lambda name: True)
    assert await store.alerts.claim(rival, 5, 60) == []
    await store.alerts.release_dead(rival, lambda name: False)
    (again,) = await store.alerts.claim(rival, 5, 60)
    assert (again.key, again.body) == (row.key, row.body)
    await store.alerts.release_dead(rival, lambda name: True)


async def test_old_alerts_go(store, clock, tell):
    """Those that have ended, with their calls; and old tests."""
    await store.alerts.test(tell)
    await store.alerts.take(HOLDS, tell, remind=DAY)
    await store.alerts.take(OVER, tell, remind=DAY)
    await store.alerts.take(HOLDS, tell, remind=DAY)
    assert await store.alerts.purge(timedelta(days=90)) == 0
    clock.move(91 * 86_400)
    assert await store.alerts.purge(timedelta(days=90)) == 1
    assert [one.event for one in await store.alerts.calls()] == ["raised"]
    assert len(await store.alerts.find()) == 1
