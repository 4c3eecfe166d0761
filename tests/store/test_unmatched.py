"""What did not match, in the store: people, listings, searches; on both databases."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import delete

from relay.core.errors import Conflict, NotFound
from relay.core.model import OPEN_TASK, Draft, LedgerUpdate, Person, Place, Resolution
from relay.core.queue import Settlement
from relay.core.states import ActivityState, Event
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
    assert await ids(before_id=second) == [first]
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


# ------------------------------------------------------------ decisions

ACME = Resolution("001000000000001AAA", "Account", "Acme", "test")
MARA = Resolution("003000000000001AAA", "Contact", "Mara", "test", BOB.key)


@pytest.fixture
def copies(store, owner, put):
    """End copies of one mail as unmatched; return their ids."""

    async def copies(count, key="k"):
        ids = await put(count)
        claimed = await store.queue.claim(owner, count, 60)
        await store.mails.join(owner, [(one.id, key, f"{key}2", "") for one in claimed])
        await store.ledger.advance(
            owner,
            settlements=[
                Settlement(
                    *(one.id, one.attempt, Event.NO_MATCH, "no_record"), unknown=(BOB,)
                )
                for one in claimed
            ],
        )
        return ids

    return copies


async def state(store, ident):
    return (await store.log.show(ident))["state"]


async def test_a_choice_is_kept_with_its_mail_and_queues_every_copy(
    store, owner, copies
):
    """One transaction; the worker that joins the mail sees it."""
    first, second = await copies(2)
    assert await store.unmatched.resolve([first], [ACME, MARA], "test") == [
        first,
        second,
    ]
    assert [await state(store, one) for one in (first, second)] == ["queued"] * 2
    claimed = await store.queue.claim(owner, 2, 60)
    states = await store.mails.join(owner, [(c.id, "k", "k2", "") for c in claimed])
    assert {one.resolved for one in states.values()} == {(ACME, MARA)}
    assert (await store.mails.find("k", "k2")).resolved == (ACME, MARA)
    # The attempts name who decided.
    shown = await store.log.show(first)
    assert shown["trace"][-1]["detail"] == "by test"


async def test_a_message_that_is_not_unmatched_changes_nothing(store, copies):
    """All or none; to choose twice is to choose once."""
    (other,) = await copies(1, key="other")
    (first,) = await copies(1)
    await store.unmatched.resolve([first], [ACME], "test")
    with pytest.raises(Conflict, match=f"{first} is queued by now"):
        await store.unmatched.resolve([other, first], [MARA], "test")
    with pytest.raises(Conflict, match="is unknown by now"):
        await store.unmatched.resolve(["0" * 26], [MARA], "test")
    assert await state(store, other) == "unmatched"
    assert (await store.mails.find("other", "other2")).resolved == ()


async def test_a_choice_can_be_taken_back(store, copies):
    """With what was remembered; not once the mail is in Salesforce."""
    (first,) = await copies(1)
    await store.unmatched.resolve([first], [MARA], "test", remember={BOB.key: MARA})
    assert [one.record_id for one in await store.unmatched.aliases()] == [
        MARA.record_id
    ]
    assert (await store.directory.load()).aliases[BOB.key].name == "Mara"
    (row,) = await store.history.find(limit=1)
    assert row["action"] == "unmatched_resolve"
    await store.history.undo(row["id"], "test")
    assert (await store.mails.find("k", "k2")).resolved == ()
    assert await store.unmatched.aliases() == []
    (back,) = await store.history.find(limit=1)
    with pytest.raises(Conflict, match="relay unmatched resolve"):
        await store.history.undo(back["id"], "test")


@pytest.mark.parametrize("slot", ["task:x", OPEN_TASK])
async def test_a_choice_of_a_logged_mail_stays(store, owner, copies, slot):
    """Its records are taken out by another way; an open Task logs nothing."""
    (first,) = await copies(1)
    await store.unmatched.resolve([first], [MARA], "test")
    (row,) = await store.history.find(limit=1)
    (claimed,) = await store.queue.claim(owner, 1, 60)
    states = await store.mails.join(owner, [(claimed.id, "k", "k2", "")])
    mail = states[claimed.id]
    draft = Draft(slot, "key", "Task", {}, "resolved")
    await store.ledger.advance(owner, plans=[(mail.id, [draft])])
    await store.ledger.advance(
        owner, ledger=[LedgerUpdate("key", ActivityState.SENT, sent_at=None)]
    )
    if slot == OPEN_TASK:
        await store.history.undo(row["id"], "test")
        assert (await store.mails.find("k", "k2")).resolved == ()
        return
    with pytest.raises(Conflict, match="relay undo ID"):
        await store.history.undo(row["id"], "test")


async def test_remembered_addresses_are_edits(store, copies):
    """Forgetting one is an edit of its own, and can be taken back."""
    (first,) = await copies(1)
    await store.unmatched.resolve([first], [MARA], "test", remember={BOB.key: MARA})
    with pytest.raises(NotFound, match="no record is remembered"):
        await store.unmatched.forget_alias("x@y.example", "test")
    await store.unmatched.forget_alias(BOB.key, "test")
    assert (await store.directory.load()).aliases == {}
    (row,) = await store.history.find(limit=1)
    said = await store.history.undo(row["id"], "test")
    assert said == f"{BOB.key} belongs to Contact {MARA.record_id} again"
    (again,) = await store.history.find(limit=1)
    await store.history.undo(again["id"], "test")
    assert await store.unmatched.aliases() == []
    with pytest.raises(Conflict, match="was taken back already"):
        await store.history.undo(row["id"], "test")


async def test_messages_are_found_by_their_addresses(store, end):
    """Those that are unmatched now, whatever the number of addresses."""
    first, second = await end(BOB), await end(BOB, CARL)
    await end()
    keys = [BOB.key, "nobody@x.example"]
    assert await store.unmatched.ids_by_addresses(keys) == [first, second]
    assert await store.unmatched.requeue([first, first], "relay") == [first]
    assert await store.unmatched.requeue([first], "relay") == []
    assert await store.unmatched.ids_by_addresses(keys) == [second]
