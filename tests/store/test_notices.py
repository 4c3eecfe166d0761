"""Notices in the store: an event is told once, and few mails come of many events."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from relay.core.errors import NotFound
from relay.core.model import Refusal
from relay.core.notices import (
    NO_ANSWER,
    NoticeCursor,
    NoticeDraft,
    NoticeItem,
    NoticeKind,
    NoticeUpdate,
)
from relay.core.queue import Settlement
from relay.core.states import ActivityState, Event

TIMES = {"gather_s": 60.0, "interval_s": 900.0}
BEGUN = datetime(2026, 1, 1, tzinfo=UTC)
WRITTEN, PLANNED = ActivityState.WRITTEN, ActivityState.PLANNED
REFUSED = ActivityState.REFUSED


@pytest.fixture
def draft(user, clock):
    """Return a maker of drafts for the user, about events of these keys."""

    def made(*keys, kind=NoticeKind.UNMATCHED):
        items = tuple(NoticeItem(key, clock.now(), {"id": key}) for key in keys)
        return NoticeDraft(kind, user.email, items, user.id)

    return made


@pytest.fixture
def plan(store, clock):
    """Return what plans drafts, now."""

    async def planned(*drafts):
        return await store.notices.plan(
            drafts, NoticeCursor(7, clock.now(), BEGUN), **TIMES
        )

    return planned


async def test_an_event_is_told_once(store, clock, draft, plan):
    """Reading the journal again plans nothing; the place in it is remembered."""
    assert await store.notices.cursor() is None
    assert await plan(draft("a", "b")) == 2
    assert await store.notices.cursor() == NoticeCursor(7, clock.now(), BEGUN)
    assert await plan(draft("b", "c")) == 1
    assert await plan(draft("a", "b", "c")) == 0
    (row,) = await store.notices.find()
    assert [item.key for item in row.items] == ["a", "b", "c"]
    assert (row.count, row.state, row.kind) == (3, PLANNED, NoticeKind.UNMATCHED)
    assert row.due_at == clock.now() + timedelta(seconds=60)
    assert row.items[0].facts == {"id": "a"}


async def test_kinds_and_users_do_not_mix(store, draft, plan, user):
    """Each has a notice of its own."""
    await plan(draft("a"), draft("b", kind=NoticeKind.FAILED))
    assert len(await store.notices.find()) == 2


async def test_many_events_are_counted_and_few_are_shown(store, draft, plan):
    """A thousand events are one mail."""
    assert await plan(draft(*(f"k{n:04}" for n in range(1000)))) == 1000
    (row,) = await store.notices.find()
    assert (row.count, len(row.items)) == (1000, 20)


async def test_the_next_notice_of_a_kind_waits(store, clock, draft, plan, owner):
    """For the interval, counted from when the last one went out."""
    await plan(draft("a"))
    clock.move(60)
    (row,) = await store.notices.claim(owner, 10, 60)
    await store.notices.settle(owner, [NoticeUpdate(row.key, WRITTEN)])
    written_at = clock.now()
    clock.move(5)
    await plan(draft("b"))
    clock.move(5)
    await plan(draft("c"))
    _, row = await store.notices.find()
    assert row.count == 2
    assert row.due_at == written_at + timedelta(seconds=900)


async def test_a_leased_notice_is_not_added_to(store, clock, draft, plan, owner):
    """It may be on its way."""
    await plan(draft("a"))
    clock.move(60)
    await store.notices.claim(owner, 10, 60)
    await plan(draft("b"))
    assert [row.count for row in await store.notices.find()] == [1, 1]


async def test_a_notice_without_an_answer_is_sent_again_as_it_was(
    store, clock, draft, plan, owner
):
    """What comes later has a notice of its own; one that surely failed takes it in."""
    await plan(draft("a"), draft("x", kind=NoticeKind.HELD))
    clock.move(60)
    first, second = await store.notices.claim(owner, 10, 60)
    later = clock.now() + timedelta(seconds=30)
    unknown = NoticeUpdate(first.key, PLANNED, f"{NO_ANSWER}: it broke", later)
    failed = NoticeUpdate(second.key, PLANNED, "no route", later)
    await store.notices.settle(owner, [unknown, failed])
    await plan(draft("b"), draft("y", kind=NoticeKind.HELD))
    rows = await store.notices.find()
    assert [row.count for row in rows] == [1, 2, 1]
    assert (rows[0].failures, rows[0].failing_since) == (1, clock.now())


async def test_one_worker_has_a_notice(store, other, clock, draft, plan, owner, rival):
    """Claims do not overlap; a lease that ran out frees it."""
    await plan(draft("a"))
    assert await store.notices.claim(owner, 10, 60) == []
    clock.move(60)
    both = await asyncio.gather(
        store.notices.claim(owner, 10, 60), other.notices.claim(rival, 10, 60)
    )
    assert sorted(map(len, both)) == [0, 1]
    clock.move(61)
    assert len(await other.notices.claim(rival, 10, 60)) == 1


async def test_who_lost_the_lease_can_only_say_that_it_is_out(
    store, clock, draft, plan, owner, rival
):
    """A late failure changes nothing; a late success ends the notice."""
    await plan(draft("a"))
    clock.move(60)
    (row,) = await store.notices.claim(owner, 10, 60)
    clock.move(61)
    await store.notices.claim(rival, 10, 60)
    await store.notices.settle(owner, [NoticeUpdate(row.key, REFUSED, "550")])
    assert (await store.notices.find())[0].state is PLANNED
    await store.notices.settle(owner, [NoticeUpdate(row.key, WRITTEN)])
    clock.move(61)
    assert await store.notices.claim(rival, 10, 60) == []


async def test_the_leases_of_the_dead_end(store, clock, draft, plan, owner, rival):
    """A killed process does not hold its notices back."""
    await plan(draft("a"))
    clock.move(60)
    await store.notices.claim(owner, 10, 600)
    await store.notices.release_dead(rival, lambda name: True)
    assert await store.notices.claim(rival, 10, 60) == []
    await store.notices.release_dead(rival, lambda name: name != str(owner))
    assert len(await store.notices.claim(rival, 10, 60)) == 1


async def test_a_notice_of_its_own_is_due_at_once(store, user, owner):
    """A second one under its key is not planned; its secret is gone once it is out."""
    code = NoticeDraft(
        NoticeKind.CLAIM_CODE, "x@corp.example", (), user.id, {"code": "123456"}
    )
    assert await store.notices.add("claim-1", code)
    assert not await store.notices.add("claim-1", code)
    (row,) = await store.notices.claim(owner, 10, 60)
    assert row.facts == {"code": "123456"}
    await store.notices.settle(owner, [NoticeUpdate(row.key, WRITTEN)])
    (row,) = await store.notices.find(WRITTEN)
    assert row.facts == {}
    assert await store.notices.find(PLANNED) == []


async def test_refused_notices_are_retried_by_people(store, clock, draft, plan, owner):
    """All, or the named ones; what was sent is not sent again."""
    await plan(draft("a"), draft("x", kind=NoticeKind.HELD))
    clock.move(60)
    first, second = await store.notices.claim(owner, 10, 60)
    updates = [
        NoticeUpdate(first.key, REFUSED, "550"),
        NoticeUpdate(second.key, WRITTEN),
    ]
    await store.notices.settle(owner, updates)
    with pytest.raises(NotFound, match="there is no notice 99"):
        await store.notices.retry([first.id, 99], "root")
    assert await store.notices.retry([second.id], "root") == []
    assert await store.notices.retry(None, "root") == [first.id]
    (row,) = await store.notices.claim(owner, 10, 60)
    assert (row.id, row.failures, row.failing_since) == (first.id, 0, None)
    counts = await store.notices.counts()
    assert counts == {PLANNED: 1, WRITTEN: 1, REFUSED: 0}


async def test_old_notices_go(store, clock, draft, plan, owner):
    """With their events; what still waits stays."""
    await plan(draft("a"), draft("x", kind=NoticeKind.HELD))
    clock.move(60)
    first, _ = await store.notices.claim(owner, 1, 60), None
    await store.notices.settle(owner, [NoticeUpdate(first[0].key, WRITTEN)])
    clock.move(31 * 24 * 3600)
    assert await store.notices.purge(timedelta(days=30)) == 1
    assert [row.kind for row in await store.notices.find()] == [NoticeKind.HELD]
    assert await plan(draft("a")) == 1


# ---------------------------------------------------------------- what happened


async def settle(store, owner, event, reason="no_record"):
    """Claim a message and end its attempt."""
    (claimed,) = await store.queue.claim(owner, 1, 60)
    done = Settlement(claimed.id, claimed.attempt, event, reason, "why")
    await store.ledger.advance(owner, settlements=[done])
    return claimed.id


async def test_what_happened_to_mails(store, clock, put, owner, user):
    """Attempts that ended badly, with what a letter needs; logged ones on demand."""
    begin = await store.notices.end()
    await put(3)
    clock.move(1)
    unmatched = await settle(store, owner, Event.NO_MATCH)
    dead = await settle(store, owner, Event.PERMANENT, "REQUIRED_FIELD_MISSING")
    logged = await settle(store, owner, Event.LOGGED)
    events, upto = await store.notices.happened(begin)
    assert [(e.kind, e.item.facts["id"], e.user_id) for e in events] == [
        (NoticeKind.UNMATCHED, unmatched, user.id),
        (NoticeKind.FAILED, dead, user.id),
    ]
    facts = events[0].item.facts
    assert facts["to"] == "Bob <bob@buyer.example>"
    assert (facts["reason"], facts["detail"]) == ("no_record", "why")
    assert upto.attempt > begin.attempt
    assert upto.at == clock.now()
    events, _ = await store.notices.happened(begin, logged=[user.id])
    assert events[-1].kind is NoticeKind.LOGGED
    assert events[-1].item.facts["id"] == logged
    counts = await store.notices.digest(user.id, begin.at)
    assert counts == {"unmatched": 1, "dead": 1, "logged": 1}


async def test_what_is_read_again_has_the_same_keys(store, clock, put, owner):
    """From the place that was returned, some come again, and none is missed."""
    begin = await store.notices.end()
    await put()
    await settle(store, owner, Event.NO_MATCH)
    first, upto = await store.notices.happened(begin)
    again, _ = await store.notices.happened(upto)
    assert [e.item.key for e in again] == [e.item.key for e in first]


async def test_what_was_before_is_told_to_nobody(store, clock, put, owner):
    """Although the journal is read from a little before."""
    await put(2)
    await settle(store, owner, Event.NO_MATCH)
    clock.move(1)
    begin = await store.notices.end()
    await settle(store, owner, Event.PERMANENT)
    events, upto = await store.notices.happened(begin)
    assert [event.kind for event in events] == [NoticeKind.FAILED]
    assert upto.begun == begin.at


async def test_held_and_refused_mails(store, clock, make, user):
    """Held by the policy, not by a person; refused for a user, not for nobody."""
    from dataclasses import replace

    begin = await store.notices.end()
    envelope, raw = make(user.id)
    (recipient,) = envelope.recipients
    verdict = {"text": "DMARC of acme.example asks to stop it"}
    held = replace(recipient, held_for="dmarc_failed", verdict=verdict)
    await store.messages.put(replace(envelope, recipients=(held,)), raw)
    by_hand, raw = make(user.id)
    await store.messages.put(by_hand, raw)
    ident = by_hand.recipients[0].message_id
    await store.queue.apply(Event.HOLD, [ident], None, "root")
    from relay.core.ids import new_message_id

    def refusal(**more):
        clock.move(0.001)
        fields = {
            "peer": "192.0.2.1",
            "mail_from": "ada@corp.example",
            "rcpt": "log-x@in.example",
            "header_from": "ada@corp.example",
            "reply": "550 5.7.1 no (ref x)",
            "reason": "sender_not_accepted",
        }
        return Refusal(new_message_id(clock), clock.now(), **(fields | more))

    mine = refusal(user_id=user.id, subject="Offer")
    probe = refusal(user_id=user.id, probe=True)
    await store.refusals.record([mine, refusal(), probe])
    events, _ = await store.notices.happened(begin)
    assert [(e.kind, e.item.facts["id"]) for e in events] == [
        (NoticeKind.REFUSED, mine.id),
        (NoticeKind.HELD, held.message_id),
    ]
    assert events[0].item.facts["subject"] == "Offer"
    assert events[1].item.facts["reason"] == "dmarc_failed"
    assert events[1].item.facts["detail"] == "DMARC of acme.example asks to stop it"
    counts = await store.notices.digest(user.id, begin.at)
    assert counts == {"held": 2, "refused": 1}


async def test_the_level_of_a_user(store, user):
    """Kept with the user, and audited."""
    assert user.notify is None
    changed = await store.directory.set_notify(user.id, "all", "root")
    assert changed.notify == "all"
    assert (await store.directory.set_notify(user.id, None, "root")).notify is None
    assert user.language is None
    assert (await store.directory.set_language(user.id, "fr", "root")).language == "fr"
    assert (await store.directory.load()).language_of(user.id) == "fr"
