"""Looking back at mail: page by page, each mail once, with copies and records."""

from __future__ import annotations

from datetime import timedelta

import pytest

from relay.core.directory import Role
from relay.core.model import Draft, LedgerUpdate, Resolution
from relay.core.past import PastFilter
from relay.core.queue import Settlement
from relay.core.states import ActivityState, Event, State

LEASE_S = 120
ALL = PastFilter()


@pytest.fixture
async def ben(store):
    return await store.directory.add_user(
        "Ben", "ben@corp.example", Role.REP, None, "test"
    )


@pytest.fixture
def end(store, make, owner):
    """Store a mail for users, join it by a key, and settle its messages."""

    async def end(*users, key=None, event=Event.LOGGED, record=None, **fields):
        envelope, raw = make(*(user.id for user in users), **fields)
        await store.messages.put(envelope, raw)
        claimed = await store.queue.claim(owner, 10, LEASE_S)
        if key:
            copies = [(one.id, key, f"{key}-2", "") for one in claimed]
            states = await store.mails.join(owner, copies)
            if record:
                mail_id = states[claimed[0].id].id
                draft = Draft("email", record, "EmailMessage", {"ToIds": ["003"]}, "r")
                await store.ledger.advance(owner, plans=[(mail_id, (draft,))])
                for state in (ActivityState.SENT, ActivityState.WRITTEN):
                    update = LedgerUpdate(record, state, salesforce_id="02s")
                    await store.ledger.advance(owner, ledger=[update])
        ends = [
            Settlement(one.id, one.attempt, event, reason="why", detail="Because.")
            for one in claimed
        ]
        await store.ledger.advance(owner, settlements=ends)
        return [one.id for one in claimed]

    return end


async def pages(store, wanted=ALL, limit=2):
    """Return the first ids of the mails of each page."""
    found, after = [], None
    while True:
        page = await store.past.page(wanted, after, limit)
        found.append([mail.first.message_id for mail in page.mails])
        after = page.after
        if after is None:
            return found


async def test_a_mail_comes_once_with_all_of_its_copies(store, end, user, ben):
    """Newest first; it stands where its newest copy stands, told by its first."""
    (old,) = await end(user, key="A", record="key-a")
    (other,) = await end(user, key="B", event=Event.NO_MATCH)
    (copy,) = await end(ben, key="A")
    page = await store.past.page(ALL, None, 10)
    assert await store.past.count(ALL) == 2
    assert page.after is None
    first, second = page.mails
    assert [one.message_id for one in first.copies] == [old, copy]
    assert [one.user_id for one in first.copies] == [user.id, ben.id]
    assert first.key == "A"
    (row,) = first.activities
    assert (row.key, row.state, row.salesforce_id) == (
        "key-a",
        ActivityState.WRITTEN,
        "02s",
    )
    assert (second.first.message_id, second.activities) == (other, ())
    assert (second.first.state, second.first.reason) == (State.UNMATCHED, "why")
    assert second.first.detail == "Because."


async def test_pages_hold_every_mail_once(store, end, user):
    """Also where the copies of a mail stand on several pages."""
    ids = [(await end(user, key=name))[0] for name in "ABCBAD"]
    found = await pages(store)
    assert [one for page in found for one in page] == [ids[5], ids[0], ids[1], ids[2]]
    assert await store.past.count(ALL) == 4


async def test_only_what_has_ended_by_itself_is_past(store, end, make, user, put):
    """Waiting, discarded and postmaster's mail are no past mail."""
    (done,) = await end(user, key="A", event=Event.RULED_OUT)
    (dead,) = await end(user, event=Event.PERMANENT)
    (gone,) = await end(user, key="C", event=Event.NO_MATCH)
    await store.queue.apply(Event.DISCARD, [gone], None, "test")
    await end(user, key="D", event=Event.GIVE_BACK)
    envelope, raw = make(None)
    await store.messages.put(envelope, raw)
    page = await store.past.page(ALL, None, 10)
    assert [mail.first.message_id for mail in page.mails] == [dead, done]
    assert page.mails[0].key == ""
    assert await store.past.count(ALL) == 2


async def test_a_window_and_a_user_narrow_it(store, end, user, ben, clock):
    """A mail counts where one of its copies fits; the others come with it."""
    began = clock.now()
    (first,) = await end(user, key="A")
    clock.move(3600)
    noon = clock.now()
    await end(ben, key="A")
    (last,) = await end(ben, key="B")
    for wanted, ids in (
        (PastFilter(since=noon), [last, first]),
        (PastFilter(until=noon), [first]),
        (PastFilter(user_id=user.id), [first]),
        (PastFilter(user_id=ben.id, since=began), [last, first]),
        (PastFilter(until=began - timedelta(days=1)), []),
    ):
        page = await store.past.page(wanted, None, 10)
        assert [mail.first.message_id for mail in page.mails] == ids
        assert await store.past.count(wanted) == len(ids)


async def test_what_a_person_chose_comes_with_the_mail(store, end, user, owner):
    """A mail that was resolved is decided again with the records of the person."""
    (first,) = await end(user, key="A", event=Event.NO_MATCH)
    await end(user, key="B")
    acme = Resolution("001000000000001AAA", "Account", "Acme", "test")
    await store.unmatched.resolve([first], [acme], "test")
    (again,) = await store.queue.claim(owner, 1, LEASE_S)
    await store.mails.join(owner, [(again.id, "A", "A-2", "")])
    done = Settlement(again.id, again.attempt, Event.LOGGED)
    await store.ledger.advance(owner, settlements=[done])
    page = await store.past.page(ALL, None, 10)
    assert [mail.resolved for mail in page.mails] == [(), (acme,)]
