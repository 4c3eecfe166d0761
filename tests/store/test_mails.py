"""Mails that are told by their words, and messages that hold several mails."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from relay.core.content import Content
from relay.core.ids import new_message_id
from relay.core.model import LogFilter, Step
from relay.core.queue import PartOf, Settlement
from relay.core.states import Event
from tests.store.test_ledger import LEASE_S, draft, logged

CLOCK = datetime(2026, 2, 25, 16, 58)  # noqa: DTZ001 - a clock has no zone
DIRECT = Content("c" * 64, "0" * 64, datetime(2026, 2, 25, 15, 58, tzinfo=UTC), CLOCK)
INLINE = replace(DIRECT, sent_at=None, inline=True, recipients=("a1", "b2"))


@pytest.fixture
def held(store, put, owner):
    """Claim fresh messages for the owner."""

    async def held(count=1, holder=owner):
        await put(count)
        return await store.queue.claim(holder, count, LEASE_S)

    return held


def copy(claimed, name):
    return (claimed.id, f"{name}1", f"{name}2", "")


async def joined(store, owner, *named, **more):
    """Join messages, each with its content; return their mails in order."""
    copies = [copy(one, name) for one, name, _ in named]
    contents = {one.id: content for one, _, content in named if content}
    states = await store.mails.join(owner, copies, contents=contents, **more)
    return [states[one.id].id for one, _, _ in named]


@pytest.mark.parametrize("first", [DIRECT, INLINE])
async def test_an_inline_forward_is_one_with_its_mail(store, held, owner, first):
    """Whichever of both comes first; and a third one joins them as well."""
    a, b, c = await held(3)
    second = INLINE if first is DIRECT else DIRECT
    (mail,) = await joined(store, owner, (a, "A", first))
    found = await store.mails.find("x", "y", second)
    assert found is not None
    assert found.id == mail
    assert await joined(store, owner, (b, "B", second)) == [mail]
    assert await joined(store, owner, (c, "C", INLINE)) == [mail]
    assert await store.mails.find("x", "y") is None
    assert await store.mails.find("x", "y", replace(INLINE, opening="1" * 64)) is None


async def test_words_count_within_a_batch(store, held, owner):
    """Two that are claimed together are recognised among themselves."""
    a, b, c = await held(3)
    later = replace(INLINE, clock=CLOCK.replace(day=26))
    mails = await joined(store, owner, (a, "A", INLINE), (b, "B", DIRECT))
    assert len(set(mails)) == 1
    assert await joined(store, owner, (c, "C", later)) != [mails[0]]


async def test_mails_that_came_themselves_are_not_told_by_words(store, held, owner):
    """ "Thanks!" twice is two mails; a forward joins the one of its date."""
    a, b, c, d = await held(4)
    later = replace(
        DIRECT, sent_at=DIRECT.sent_at.replace(day=26), clock=CLOCK.replace(day=26)
    )
    one, other = await joined(store, owner, (a, "A", DIRECT), (b, "B", later))
    assert one != other
    forwards = (c, "C", INLINE), (d, "D", replace(INLINE, clock=later.clock))
    assert await joined(store, owner, *forwards) == [one, other]


async def test_keys_go_before_words(store, held, owner):
    """A copy with equal keys is that mail, whatever others say."""
    a, b, c = await held(3)
    one, other = await joined(store, owner, (a, "A", INLINE), (b, "B", None))
    assert await joined(store, owner, (c, "B", INLINE)) == [other]
    assert one != other


async def test_two_relays_that_join_at_once_make_one_mail(
    store, other, held, owner, rival
):
    """Words are not unique: the second sees what the first has made."""
    for number in range(12):
        (a,) = await held()
        (b,) = await held(holder=rival)
        opening = f"{number:064x}"
        direct, inline = (replace(one, opening=opening) for one in (DIRECT, INLINE))
        made = await asyncio.gather(
            joined(store, owner, (a, f"A{number}", direct)),
            joined(other, rival, (b, f"B{number}", inline)),
        )
        assert made[0] == made[1]


async def test_a_message_leaves_a_mail_of_which_nothing_is_planned(store, held, owner):
    """What is logged of it is another mail now; what was planned keeps it."""
    a, b = await held(2)
    one, other = await joined(store, owner, (a, "A", None), (b, "B", None))
    (moved,) = await joined(store, owner, (a, "Z", INLINE), anew={a.id})
    assert moved not in {one, other}
    assert await joined(store, owner, (a, "Z", INLINE), anew={a.id}) == [moved]
    await store.ledger.advance(owner, plans=[(other, [draft("b")])])
    assert await joined(store, owner, (b, "Z", INLINE), anew={b.id}) == [other]


async def test_the_direction_is_listed(store, held, owner):
    """It is known once a message has its mail."""
    a, b = await held(2)
    await joined(store, owner, (a, "A", None), (b, "B", None), incoming={b.id})
    rows = {row["id"]: row["direction"] for row in await store.log.find(LogFilter())}
    assert rows == {a.id: "outbound", b.id: "inbound"}


# ---------------------------------------------------------------- several mails


def parts(clock, *subjects):
    """Return the further mails of a message."""
    step = Step(clock.now(), "part", "of 01")
    return [
        PartOf(new_message_id(clock), subject, f"<{subject}@x>", step)
        for subject in subjects
    ]


async def test_a_message_is_divided_once(store, held, owner, rival, clock):
    """Each mail has a message of its own with blob, user and sender; no second time."""
    (a,) = await held()
    assert not await store.mails.divide(rival, a.id, parts(clock, "x"))
    two = parts(clock, "two", "three\0")
    assert await store.mails.divide(owner, a.id, two)
    assert await store.mails.divide(owner, a.id, parts(clock, "x"))
    rows = {row["id"]: row for row in await store.log.find(LogFilter())}
    assert len(rows) == 3
    assert (rows[a.id]["part_of"], rows[a.id]["part"]) == (None, 1)
    for number, part in enumerate(two, 2):
        row = rows[part.message_id]
        assert (row["part_of"], row["part"], row["state"]) == (a.id, number, "queued")
        assert row["subject"] == part.subject.replace("\0", "\ufffd")
        assert row["user"] == rows[a.id]["user"]
        assert row["from"] == rows[a.id]["from"]
        shown = await store.log.show(part.message_id)
        assert shown["trace"][-1]["step"] == "part"
    claimed = await store.queue.claim(rival, 10, LEASE_S)
    # They are due at the same moment, in no order.
    assert sorted(one.part for one in claimed) == [2, 3]
    assert {one.blob_id for one in claimed} == {a.blob_id}
    await store.ledger.advance(owner, settlements=[logged(a)])


async def test_a_message_whose_lease_ran_out_is_not_divided(
    store, held, owner, rival, clock
):
    """Whoever claims it next divides it; the one that was paused does not."""
    (a,) = await held()
    clock.move(LEASE_S + 1)
    (again,) = await store.queue.claim(rival, 1, LEASE_S)
    assert again.id == a.id
    assert not await store.mails.divide(owner, a.id, parts(clock, "x"))
    assert await store.mails.divide(rival, a.id, parts(clock, "x"))
    end = Settlement(a.id, again.attempt, Event.TRANSIENT)
    await store.ledger.advance(rival, settlements=[end])
    claimed = await store.queue.claim(owner, 5, LEASE_S)
    assert sorted(one.part for one in claimed) == [1, 2]
