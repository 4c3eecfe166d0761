"""What did not match, in the store: people, listings, searches; on both databases."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import delete

from relay.core.model import Person, Place
from relay.core.queue import Settlement
from relay.core.states import Event
from relay.core.unmatched import SearchHit, UnmatchedFilter
from relay.store import schema, unmatched

BOB = Person("bob@buyer.example", "Bob@buyer.example", "Bob", Place.TO)
CARL = Person("carl@other.example", "carl@other.example", "", Place.CC)
ANY = UnmatchedFilter()


@pytest.fixture
def end(store, owner, put):
    """Settle a new message as unmatched; return its id."""

    async def end(*people, reason="no_record", detail="", event=Event.NO_MATCH):
        (ident,) = await put()
        (claimed,) = await store.queue.claim(owner, 1, 60)
        await store.ledger.advance(
            owner,
            settlements=[
                Settlement(
                    ident, claimed.attempt, event, reason, detail, unknown=people
                )
            ],
        )
        return ident

    return end


async def test_people_are_kept_with_the_settlement(store, end):
    """A listing has message, user, reason, and people in the order of the mail."""
    ident = await end(CARL, BOB, BOB)
    (found,) = await store.unmatched.find(ANY)
    assert (found.id, found.user, found.reason) == (
        ident,
        "ada@corp.example",
        "no_record",
    )
    assert found.people == (BOB, CARL)
    assert await store.unmatched.get([ident, "0" * 26]) == [found]


async def test_filters(store, end, user, clock):
    """By user, reason, time, address and domain; the newest first; counted whole."""
    first = await end(BOB)
    clock.move(3600)
    second = await end(CARL)
    third = await end(reason="no_recipient")
    await end(event=Event.LOGGED, reason="")

    async def ids(**wanted):
        some = UnmatchedFilter(**wanted)
        found = [one.id for one in await store.unmatched.find(some)]
        if not some.limit:
            assert await store.unmatched.count(some) == len(found)
        return found

    assert await ids() == [third, second, first]
    assert await ids(limit=2) == [third, second]
    assert await store.unmatched.count(UnmatchedFilter(limit=1)) == 3
    assert await ids(user_id=user.id, reason="no_recipient") == [third]
    assert await ids(user_id=user.id + 1) == []
    assert await ids(since=clock.now() - timedelta(minutes=1)) == [third, second]
    assert await ids(address="bob@buyer.example") == [first]
    assert await ids(domain="other.example") == [second]
    assert await ids(domain="r.example") == []
    assert await ids(domain="%") == []


async def test_a_message_that_is_tried_again_is_not_listed(store, end, owner):
    """Its people count while it is unmatched alone, and are replaced by newer ones."""
    ident = await end(BOB)
    await store.queue.apply(Event.REQUEUE, [ident], None, "test")
    assert await store.unmatched.find(ANY) == []
    (claimed,) = await store.queue.claim(owner, 1, 60)
    again = Settlement(
        ident, claimed.attempt, Event.NO_MATCH, "no_record", unknown=(CARL,)
    )
    await store.ledger.advance(owner, settlements=[again])
    (found,) = await store.unmatched.find(ANY)
    assert found.people == (CARL,)


async def test_text_of_mail_is_made_safe(store, end):
    """A NUL or a lone surrogate in a display name is no reason to lose the outcome."""
    await end(Person("x@a.example", "x@a.example", "a\0b\udce9", Place.TO))
    (found,) = await store.unmatched.find(ANY)
    assert found.people[0].name == "a\ufffdb\ufffd"


async def test_messages_of_an_older_relay_are_filled_in_once(store, end, monkeypatch):
    """Their people stand in the sentence; many are done in parts."""
    monkeypatch.setattr(unmatched, "_FILL", 2)
    said = "no Contact has one of these addresses: Bob@buyer.example, c@d.example"
    ids = [await end(detail=said) for _ in range(5)]
    await end(reason="no_recipient", detail="nobody")
    assert await store.unmatched.fill() == 5
    assert await store.unmatched.fill() == 0
    found = await store.unmatched.find(UnmatchedFilter(domain="d.example"))
    assert [one.id for one in found] == ids[::-1]
    assert [p.address for p in found[0].people] == ["Bob@buyer.example", "c@d.example"]
    # It is not looked for again: what is settled from now on has its people.
    await store.context.write(
        lambda connection: connection.execute(delete(schema.unmatched_people))
    )
    assert (await store.unmatched.find(ANY))[0].people == ()


async def test_searches_are_kept_for_a_while(store, clock):
    """By address and display name; older ones are searched again, then dropped."""
    hit = SearchHit(
        "003000000000001AAA", "Contact", "Bob Stone", email="b@buyer.example"
    )
    await store.unmatched.keep_search({BOB: (hit,), CARL: ()})
    known = await store.unmatched.searched([BOB, CARL], 60)
    assert known == {BOB.key: (hit,), CARL.key: ()}
    renamed = Person(BOB.key, BOB.address, "Robert", Place.TO)
    assert await store.unmatched.searched([renamed], 60) == {}
    clock.move(61)
    assert await store.unmatched.searched([BOB], 60) == {}
    await store.unmatched.keep_search({BOB: ()})
    assert await store.unmatched.searched([BOB], 60) == {BOB.key: ()}
    clock.move(8 * 86_400)
    await store.unmatched.keep_search({CARL: ()})
    assert await store.unmatched.searched([BOB, CARL], 1e9) == {CARL.key: ()}
