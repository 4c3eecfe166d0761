"""Acts of people on messages: taken back as one, exactly, and forgotten in the end."""

from __future__ import annotations

import asyncio
import signal
import sys
from dataclasses import replace

import pytest
from sqlalchemy import insert, select, update

from relay.core.directory import Role
from relay.core.errors import Conflict, IllegalTransition, NotFound, StoreUnavailable
from relay.core.queue import Act, Settlement
from relay.core.states import Event, State
from relay.store import acts, schema

LARGE = b"x" * 5000
"""More than `inline_bytes`: a file on SQLite, chunks on PostgreSQL."""
DAY_S = 86_400
REQUEUE, DISCARD, HOLD, RELEASE = (
    Event.REQUEUE,
    Event.DISCARD,
    Event.HOLD,
    Event.RELEASE,
)


@pytest.fixture
def settle(store, owner):
    """Claim the messages that are due, and settle them so."""

    async def settle(event, reason="", retry_at=None):
        claimed = await store.queue.claim(owner, 100, 60)
        settled = [
            Settlement(c.id, c.attempt, event, reason, "why", retry_at=retry_at)
            for c in claimed
        ]
        await store.ledger.advance(owner, settlements=settled)
        return [c.id for c in claimed]

    return settle


@pytest.fixture
def dead(put, settle):
    """Return a maker of dead messages."""

    async def dead(count=1):
        ids = await put(count)
        assert sorted(await settle(Event.PERMANENT, "REQUIRED_FIELD_MISSING")) == ids
        return ids

    return dead


async def rows(store):
    """Return every message as it stands in its table, by id."""
    query = select(schema.messages).order_by(schema.messages.c.id)
    found = await store.context.read(lambda c: c.execute(query).all())
    return {row.id: row._asdict() for row in found}


async def states(store):
    return {id_: row["state"] for id_, row in (await rows(store)).items()}


async def many(store, event, ids, act):
    """Do it as one act; return its number."""
    await store.queue.apply_still(event, ids, act)
    return act.number


async def test_a_discard_is_undone_to_exactly_what_was(
    store, put, make, user, settle, clock
):
    """Dead, held, unmatched, skipped and queued: state, reason, next try, history."""
    await put()
    later = clock.now().replace(hour=23)
    await settle(Event.TRANSIENT, "UNABLE_TO_LOCK_ROW", retry_at=later)
    for event, reason in (
        (Event.PERMANENT, "REQUIRED_FIELD_MISSING"),
        (Event.NO_MATCH, "no_record"),
        (Event.RULED_OUT, "internal_only"),
    ):
        await put()
        await settle(event, reason)
    envelope, raw = make(user.id)
    held = replace(envelope.recipients[0], held_for="not_signed")
    await store.messages.put(replace(envelope, recipients=(held,)), raw)
    before = await rows(store)
    history = {id_: await store.log.attempts(id_) for id_ in before}

    act = Act("web:ada", user.id)
    assert await many(store, DISCARD, list(before), act) == act.number
    assert set((await states(store)).values()) == {"discarded"}
    (row,) = await store.history.find(limit=1)
    assert (row["actor"], row["action"]) == ("web:ada", "message_discard")
    assert (row["user"], row["undoable"], row["id"]) == ("5 messages", True, act.number)

    done = await store.acts.undo(act.number, "web:ada")
    assert done.back == {
        "dead": 1,
        "held": 1,
        "queued": 1,
        "skipped": 1,
        "unmatched": 1,
    }
    assert done.left == {}
    assert await rows(store) == before
    for id_, old in history.items():
        now = await store.log.attempts(id_)
        assert now[: len(old)] == old
        assert [one["event"] for one in now[len(old) :]] == ["discard", "taken_back"]
        assert now[-1]["state"] == before[id_]["state"]
        assert now[-1]["detail"] == f"discard of change {act.number}"
        trace = (await store.log.show(id_))["trace"]
        assert (trace[-1]["step"], trace[-1]["result"]) == (
            "taken_back",
            before[id_]["state"],
        )
    discard, back = await store.history.find(limit=2)
    assert (discard["undone_by"], discard["undoable"]) == (back["id"], False)
    assert (back["undoes"], back["undoable"], back["id"]) == (
        act.number,
        False,
        done.by,
    )
    assert back["user"] == "5 messages"
    with pytest.raises(Conflict, match="do it again"):
        await store.history.undo(back["id"], "root")
    with pytest.raises(Conflict, match=f"already, by change {done.by}"):
        await store.acts.undo(act.number, "web:ada")
    assert await rows(store) == before


async def test_what_was_claimed_since_a_retry_is_left_alone(
    store, dead, owner, rival, clock
):
    """Written, in work, and given back: all are on their way; the rest returns."""
    ids = await dead(4)
    before = (await rows(store))[ids[3]]
    act = Act("root")
    await many(store, REQUEUE, ids, act)
    one, two, three = await store.queue.claim(owner, 3, 60)
    given = Settlement(three.id, three.attempt, Event.GIVE_BACK, "paused")
    logged = Settlement(one.id, one.attempt, Event.LOGGED)
    await store.ledger.advance(owner, settlements=[logged, given])

    done = await store.acts.undo(act.number, "root")
    assert done.back == {"dead": 1}
    assert done.left == {"logged": 1, "claimed": 1, "queued": 1}
    assert (await rows(store))[ids[3]] == before
    assert (await store.history.find(limit=1))[0]["user"] == "1 of 4 messages"
    clock.move(1)
    assert [c.id for c in await store.queue.claim(rival, 9, 60)] == [three.id]
    assert (await states(store))[two.id] == "claimed"


async def test_what_has_moved_on_altogether_is_refused(store, dead, settle):
    """The sentence says where the messages are; nothing is changed or noted."""
    ids = await dead(2)
    act = Act("root")
    await many(store, REQUEUE, ids, act)
    await settle(Event.LOGGED)
    before, known = await rows(store), await store.history.find()
    with pytest.raises(Conflict, match=r"its messages have moved on since \(2 logged"):
        await store.acts.undo(act.number, "root")
    alone = Act("root")
    await store.queue.apply(REQUEUE, ids[:1], None, alone)
    await settle(Event.LOGGED)
    with pytest.raises(Conflict, match="its message has moved on"):
        await store.acts.undo(alone.number, "root")
    assert len(await store.history.find()) == len(known) + 1
    assert (await rows(store))[ids[1]] == before[ids[1]]


async def test_a_retry_of_what_waits_or_was_logged_is_undone(
    store, put, settle, owner, clock
):
    """The next try is when it was; what was logged is logged and not written again."""
    (logged,) = await put()
    await settle(Event.LOGGED)
    (waits,) = await put()
    later = clock.now().replace(hour=23)
    await settle(Event.TRANSIENT, "UNABLE_TO_LOCK_ROW", retry_at=later)
    before = await rows(store)
    act = Act("root")
    await store.queue.apply(REQUEUE, [logged, waits], None, act)
    done = await store.acts.undo(act.number, "root")
    assert done.back == {"logged": 1, "queued": 1}
    assert await rows(store) == before
    assert await store.queue.claim(owner, 9, 60) == []


async def test_acts_are_undone_from_the_last_to_the_first(store, put):
    """What was taken back counts as if it had never been; a later act stands."""
    (id_,) = await put()
    before = await rows(store)
    hold, release = Act("ada"), Act("root")
    await store.queue.apply(HOLD, [id_], None, hold)
    held = await rows(store)
    await store.queue.apply(RELEASE, [id_], None, release)
    with pytest.raises(Conflict, match=r"moved on since \(1 queued\)"):
        await store.acts.undo(hold.number, "ada")
    await store.acts.undo(release.number, "root")
    assert await rows(store) == held
    await store.acts.undo(hold.number, "ada")
    assert await rows(store) == before


async def test_one_act_of_many_transactions_is_one_change(store, dead, monkeypatch):
    """However it was cut, it is undone as one; interrupted, it goes on."""
    monkeypatch.setattr(acts, "PART", 2)
    ids = await dead(5)
    before = await rows(store)
    act = Act("root")
    await many(store, REQUEUE, ids[:2], act)
    await many(store, REQUEUE, ids[2:], act)
    retries = await store.history.find(change="message_requeue")
    assert [(row["id"], row["user"]) for row in retries] == [(act.number, "5 messages")]

    bring_back, calls = acts._bring_back, []

    def fail(*arguments):
        calls.append(1)
        if len(calls) == failing:
            raise StoreUnavailable("the disk is gone")
        return bring_back(*arguments)

    monkeypatch.setattr(acts, "_bring_back", fail)
    failing = 1
    with pytest.raises(StoreUnavailable, match=r"^the disk is gone$"):
        await store.acts.undo(act.number, "root")
    failing = 3
    with pytest.raises(StoreUnavailable, match="gone; 2 messages"):
        await store.acts.undo(act.number, "root")
    assert sorted((await states(store)).values()).count("dead") == 2
    done = await store.acts.undo(act.number, "root")
    assert done.back == {"dead": 3}
    assert await rows(store) == before
    (undone,) = await store.history.find(change="message_taken_back")
    assert (undone["id"], undone["user"]) == (done.by, "5 messages")


async def test_of_two_undos_at_once_one_is_first(store, other, dead):
    """The other is told so; each message is brought back once."""
    ids = await dead(3)
    act = Act("root")
    await many(store, DISCARD, ids, act)
    found = await asyncio.gather(
        *(one.acts.undo(act.number, "root") for one in (store, other)),
        return_exceptions=True,
    )
    assert sorted(type(one).__name__ for one in found) == ["Conflict", "TakenBack"]
    for id_ in ids:
        events = [one["event"] for one in await store.log.attempts(id_)]
        assert events.count("taken_back") == 1


async def test_a_claim_and_an_undo_at_once_share_no_message(
    store, other, dead, owner, monkeypatch
):
    """Whoever comes first has it: claimed, or back; never both, never neither."""
    monkeypatch.setattr(acts, "PART", 3)
    ids = await dead(12)
    for _ in range(3):
        act = Act("root")
        await many(store, REQUEUE, ids, act)

        async def claim():
            return [c for _ in range(4) for c in await other.queue.claim(owner, 2, 60)]

        claimed, done = await asyncio.gather(
            claim(), store.acts.undo(act.number, "root"), return_exceptions=True
        )
        taken = {one.id for one in claimed}
        now = await states(store)
        assert {id_ for id_ in ids if now[id_] == "claimed"} == taken
        assert {id_ for id_ in ids if now[id_] == "dead"} == set(ids) - taken
        if not isinstance(done, Conflict):
            assert done.back.get("dead", 0) == len(ids) - len(taken)
        ends = [Settlement(c.id, c.attempt, Event.PERMANENT) for c in claimed]
        await store.ledger.advance(owner, settlements=ends)


async def test_an_act_is_found_with_who_did_it(store, put, user):
    """By its number alone; what is no act is none."""
    (id_,) = await put()
    act = Act("web:ada", user.id, user.id)
    await store.queue.apply(HOLD, [id_], None, act)
    kept = await store.acts.find(act.number)
    assert (kept.actor, kept.user_id, kept.event) == ("web:ada", user.id, HOLD)
    assert (kept.count, kept.message_id, kept.undone_by) == (1, id_, None)
    (row,) = await store.history.find(user.id, change="message")
    assert (row["id"], row["user"]) == (act.number, id_)
    assert await store.acts.find(act.number + 1) is None
    with pytest.raises(NotFound, match="no act"):
        await store.acts.undo(act.number + 1, "root")


async def test_an_act_about_others_mail_is_not_undone_for_a_rep(store, put, make, user):
    """To who may see the own mail alone, it is not there."""
    bob = await store.directory.add_user(
        "Bob", "bob@corp.example", Role.REP, None, "test"
    )
    ids = await put()
    envelope, raw = make(bob.id)
    await store.messages.put(envelope, raw)
    act = Act("root")
    await many(store, HOLD, [*ids, envelope.recipients[0].message_id], act)
    for one in (user, bob):
        with pytest.raises(NotFound, match="no act"):
            await store.acts.undo(act.number, "x", only_user=one.id)
    assert set((await states(store)).values()) == {"held"}
    own = Act("ada")
    await store.queue.apply(RELEASE, ids, None, own)
    done = await store.acts.undo(own.number, "ada", only_user=user.id)
    assert done.back == {"held": 1}


async def test_what_is_asked_for_in_vain_is_no_act(store, put):
    """Nothing changed, or all or none refused: there is nothing to take back."""
    (id_,) = await put()
    act = Act("root")
    assert await store.queue.apply_still(RELEASE, [id_], act) == []
    with pytest.raises(IllegalTransition):
        await store.queue.apply(RELEASE, [id_], None, act)
    assert act.number is None
    assert await store.history.find(change="message") == []


DIES = """
import asyncio, os, signal, sys
from pathlib import Path
from relay.config import StoreSettings
from relay.core.clock import SystemClock
from relay.store import Store, acts

url, spool, change, part = sys.argv[1:]
bring_back, calls = acts._bring_back, []

def die(*arguments):
    bring_back(*arguments)
    calls.append(1)
    if len(calls) == int(part):
        os.kill(os.getpid(), signal.SIGKILL)

async def main():
    acts.PART, acts._bring_back = 2, die
    settings = StoreSettings(url=url, spool=Path(spool), min_free_bytes=0)
    store = await Store.open(settings, SystemClock())
    await store.acts.undo(int(change), "root")

asyncio.run(main())
"""


@pytest.mark.crash
@pytest.mark.timeout(60)
async def test_an_undo_that_is_killed_at_a_commit_goes_on(
    store, dead, url, tmp_path, owner
):
    """What is not committed is queued still, and written once; the rest came back."""
    ids = await dead(6)
    before = await rows(store)
    act = Act("root")
    await many(store, REQUEUE, ids, act)

    async def killed(part):
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", DIES, url, str(tmp_path / "spool")),
            *(str(act.number), str(part)),
        )
        assert await child.wait() == -signal.SIGKILL

    await killed(1)
    assert set((await states(store)).values()) == {"queued"}
    assert await store.history.find(change="message_taken_back") == []
    await killed(2)
    now = await rows(store)
    assert [id_ for id_ in ids if now[id_] == before[id_]] == ids[:2]
    claimed = await store.queue.claim(owner, 1, 60)
    assert [one.id for one in claimed] == ids[2:3]
    done = await store.acts.undo(act.number, "root")
    assert (done.back, done.left) == ({"dead": 3}, {"claimed": 1})
    assert await store.queue.claim(owner, 9, 60) == []
    for id_ in (*ids[:2], *ids[3:]):
        assert (await rows(store))[id_] == before[id_]
        events = [one["event"] for one in await store.log.attempts(id_)]
        assert events == ["permanent", "requeue", "taken_back"]
    assert len(await store.history.find(change="message_taken_back")) == 1


# ------------------------------------------------------------------ forgetting


async def put_one(store, make, *user_ids, data=LARGE):
    envelope, raw = make(*user_ids, data=data)
    await store.messages.put(envelope, raw)
    return [one.message_id for one in envelope.recipients]


async def end(store, clock):
    """Let the time pass after which acts end; return how many raw mails went."""
    clock.move(store.context.settings.discard_keep_days * DAY_S + 1)
    return await store.acts.purge()


async def test_the_raw_mail_of_what_was_discarded_is_removed_after_days(
    store, make, user, clock, monkeypatch
):
    """Not before, and wherever it is; then it is too late, and the answer says why."""
    monkeypatch.setattr(acts, "PURGE_PART", 1)
    large = (await put_one(store, make, user.id))[0]
    small = (await put_one(store, make, user.id, data=b"small"))[0]
    kept = (await put_one(store, make, user.id))[0]
    act = Act("root")
    await many(store, DISCARD, [large, small], act)
    clock.move(store.context.settings.discard_keep_days * DAY_S - 1)
    await store.tidy()
    assert await store.messages.raw(large) == LARGE
    clock.move(2)
    await store.tidy()
    for id_ in (large, small):
        with pytest.raises(NotFound, match="discarded, and removed after 7 days"):
            await store.messages.raw(id_)
        with pytest.raises(NotFound):
            await store.messages.open(id_)
    assert await store.messages.raw(kept) == LARGE
    assert await store.messages.raws([large, kept]) == {kept: LARGE}
    assert len(list(store.messages.spool_dir.glob("*.eml"))) in {0, 1}
    with pytest.raises(
        Conflict, match=r"too late.*7 days; the raw mail of 2 of 2 messages was removed"
    ):
        await store.acts.undo(act.number, "root")
    (row,) = await store.history.find(change="message_discard")
    assert (row["undoable"], row["user"]) == (False, "2 messages")
    assert (await store.log.show(large))["state"] == "discarded"
    assert await store.messages.digests(user.id, "192.0.2.1") == {"0" * 64}
    assert await store.acts.purge() == 0


async def test_bytes_that_somebody_needs_stay(store, make, user, clock):
    """Of a mail for two, of one that was brought back, and of one in its own time."""
    (mine, others) = await put_one(store, make, user.id, user.id)
    (back,) = await put_one(store, make, user.id)
    (first, second) = await put_one(store, make, user.id, user.id)
    one, two = Act("root"), Act("root")
    await many(store, DISCARD, [mine, back, first], one)
    # What comes back by itself was never discarded.
    await store.acts.undo(one.number, "root")
    three = Act("root")
    await many(store, DISCARD, [mine, first], three)
    clock.move(3 * DAY_S)
    await store.queue.apply(DISCARD, [second], None, two)
    clock.move(5 * DAY_S)
    assert await store.acts.purge() == 0
    for id_ in (mine, back, first):
        assert await store.messages.raw(id_) == LARGE
    with pytest.raises(Conflict, match="the raw mail of 0 of 2 messages"):
        await store.acts.undo(three.number, "root")
    await store.acts.undo(two.number, "root")
    assert await end(store, clock) == 0
    await store.queue.apply(DISCARD, [second], None, Act("root"))
    assert await end(store, clock) == 1
    with pytest.raises(NotFound, match="discarded"):
        await store.messages.raw(first)
    assert await store.messages.raw(mine) == LARGE
    assert (await states(store))[others] == "queued"


async def test_a_file_that_is_still_to_be_sent_keeps_its_mail(store, put, clock, owner):
    """An attachment waits for storage: its bytes are in the mail."""
    (id_,) = await put()
    await store.queue.claim(owner, 1, 60)
    copy = (id_, "key1", "key2", "<1@corp.example>")
    mail = (await store.mails.join(owner, [copy]))[id_].id

    def add(connection):
        activity = {
            "key": "a",
            "mail_id": mail,
            "slot": "Task",
            "object": "Task",
            "fields": "{}",
            "rule": "email",
            "state": "written",
            "created_at": 1,
        }
        file = {
            "key": "f",
            "mail_id": mail,
            "activity_key": "a",
            "blob_id": id_,
            "name": "offer.pdf",
            "content_type": "application/pdf",
            "size_bytes": 1,
            "sha256": "",
            "start_byte": 0,
            "end_byte": 1,
            "encoding": "",
            "state": "held",
            "created_at": 1,
        }
        connection.execute(insert(schema.activities), [activity])
        connection.execute(insert(schema.files), [file])
        connection.execute(
            update(schema.messages).values(state="dead", lease_owner=None)
        )

    await store.context.write(add)
    await store.queue.apply(DISCARD, [id_], None, "root")
    assert await end(store, clock) == 0
    assert await store.messages.raw(id_)


@pytest.mark.parametrize("event", [REQUEUE, HOLD])
async def test_other_acts_end_as_well(store, dead, put, clock, event):
    """What the messages were before is forgotten; no mail is touched."""
    ids = await (dead(2) if event is REQUEUE else put(2))
    act = Act("root")
    await many(store, event, ids, act)
    assert await end(store, clock) == 0
    with pytest.raises(Conflict, match=r"too late.*is not kept any more"):
        await store.acts.undo(act.number, "root")
    assert await store.messages.raw(ids[0])
    count = select(schema.act_messages.c.message_id)
    assert await store.context.read(lambda c: c.execute(count).all()) == []


async def test_an_undo_that_meets_the_purge_is_too_late(store, put, clock, monkeypatch):
    """It was found in time, and had ended when its turn came."""
    ids = await put(2)
    act = Act("root")
    await many(store, DISCARD, ids, act)
    kept = await store.acts.find(act.number)
    await end(store, clock)

    async def find(_number):
        return kept

    monkeypatch.setattr(store.acts, "find", find)
    with pytest.raises(Conflict, match="too late"):
        await store.acts.undo(act.number, "root")
    assert set((await states(store)).values()) == {"discarded"}


async def test_mail_for_postmaster_goes_with_what_was_done_to_it(
    settings, make, clock, monkeypatch
):
    """Its act is left, with a message less."""
    from relay.store import Store, messages

    monkeypatch.setattr(messages, "PURGE_EVERY", 1)
    few = await Store.open(settings.model_copy(update={"postmaster_keep": 1}), clock)
    (old,) = await put_one(few, make, None)
    act = Act("root")
    await few.queue.apply(DISCARD, [old], None, act)
    for _ in range(3):
        await put_one(few, make, None)
        await few.messages.finish()
    with pytest.raises(Conflict, match="moved on"):
        await few.acts.undo(act.number, "root")
    assert await end(few, clock) == 0
    await few.close()


async def test_a_message_that_is_gone_is_counted_as_removed(store, put):
    """Its row went while what was done to it was still kept."""
    first, second = await put(2)
    act = Act("root")
    await many(store, HOLD, [first, second], act)
    m = schema.messages.c

    def remove(connection):
        attempts = schema.attempts
        connection.execute(attempts.delete().where(attempts.c.message_id == first))
        connection.execute(schema.messages.delete().where(m.id == first))

    await store.context.write(remove)
    done = await store.acts.undo(act.number, "root")
    assert (done.back, done.left) == ({State.QUEUED: 1}, {"removed": 1})
