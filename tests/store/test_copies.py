"""Copies to Email to Salesforce in the store: one for a mail, marked before it goes."""

from __future__ import annotations

import pytest

from relay.core.copies import Copied, CopyDraft, CopyUpdate
from relay.core.queue import Settlement
from relay.core.states import ActivityState, Event

PLANNED, SENT, WRITTEN = (
    ActivityState.PLANNED,
    ActivityState.SENT,
    ActivityState.WRITTEN,
)


@pytest.fixture
async def mail(store, put, owner):
    """Return a leased mail: its message, and its id."""
    (id_,) = await put()
    await store.queue.claim(owner, 10, 60)
    states = await store.mails.join(owner, [(id_, "k1", "k2", "<a@b>")])
    return id_, states[id_].id


def draft(mail, user, to="a@sf.example"):
    return CopyDraft("key", mail[1], mail[0], user.id, to)


async def test_a_mail_has_one_copy(store, mail, user, owner, clock):
    """A plan that is made again changes the recipient, until the copy has left."""
    rows = await store.copies.plan([draft(mail, user)])
    assert rows[mail[1]].state is PLANNED
    rows = await store.copies.plan([draft(mail, user, "b@sf.example")])
    assert rows[mail[1]].recipient == "b@sf.example"
    (row,) = await store.copies.mark_sent(owner, {mail[1]: 0}, clock.now())
    assert (row.state, row.sent_at) == (SENT, clock.now())
    rows = await store.copies.plan([draft(mail, user, "c@sf.example")])
    assert rows[mail[1]].recipient == "b@sf.example"


async def test_without_the_lease_of_the_mail_nothing_leaves(
    store, mail, user, rival, clock
):
    """Another process works on it by now."""
    await store.copies.plan([draft(mail, user)])
    assert await store.copies.mark_sent(rival, {mail[1]: 0}, clock.now()) == []
    (row,) = await store.copies.find()
    assert row.state is PLANNED


async def test_the_answer_and_the_message_are_settled_together(
    store, mail, user, owner, clock
):
    """And the mail tells whoever joins it that it was copied."""
    await store.copies.plan([draft(mail, user)])
    await store.copies.mark_sent(owner, {mail[1]: 0}, clock.now())
    done = await store.copies.settle(
        owner, [CopyUpdate("key", WRITTEN)], [Settlement(mail[0], 1, Event.LOGGED)]
    )
    assert done == {mail[0]}
    assert (await store.log.show(mail[0]))["state"] == "logged"
    assert await store.copies.mark_sent(owner, {mail[1]: 0}, clock.now()) == []
    assert await store.copies.counts() == {WRITTEN: 1}
    state = await store.mails.find("k1", "k2")
    assert state.copied == Copied(WRITTEN, clock.now())


async def test_mail_is_claimed_by_users(store, put, user, owner):
    """Those of some alone, or all but those; mail for nobody is in neither's way."""
    (id_,) = await put()
    assert await store.queue.claim(owner, 10, 60, only=[user.id + 1]) == []
    assert await store.queue.claim(owner, 10, 60, without=[user.id]) == []
    (claimed,) = await store.queue.claim(owner, 10, 60, without=[user.id + 1])
    assert claimed.id == id_
    (id_,) = await put()
    (claimed,) = await store.queue.claim(owner, 10, 60, only=[user.id])
    assert claimed.id == id_


async def test_mail_is_counted_by_user(store, put, user, clock):
    """What came since a time."""
    await put(2)
    clock.move(3600)
    since = clock.now()
    await put(1)
    assert await store.log.received(since) == {user.id: 1}


@pytest.mark.parametrize(
    ("copied", "asked", "stands"),
    [
        (Copied(WRITTEN, None), 0, True),
        (Copied(PLANNED, None), 0, False),
        (Copied(SENT, None), 0, True),
    ],
)
def test_when_a_copy_stands_in_the_way(clock, copied, asked, stands):
    """One that is out, or may be."""
    del asked
    assert copied.in_the_way(clock.now()) is stands


def test_a_person_who_has_looked_lets_it_go_again(clock):
    """Asked after the mark, an unknown outcome stands in nobody's way."""
    copied = Copied(SENT, clock.now())
    assert copied.in_the_way(clock.now())
    clock.move(1)
    assert not copied.in_the_way(clock.now())
