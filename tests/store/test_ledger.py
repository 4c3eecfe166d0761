"""Joining copies to mails, the mails' leases, plans, the ledger, and settlements."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from relay.core.errors import IllegalTransition, LeaseLost, NotFound
from relay.core.model import Draft, LedgerUpdate, LogFilter, OwnerChange, Step
from relay.core.queue import Settlement
from relay.core.states import ActivityState, Event

LEASE_S = 120
USER_ID = "005000000000001AAA"


def draft(name, **fields):
    return Draft(name, f"key-{name}", "Task", fields or {"Subject": "ü\u2028"}, "rule")


def logged(claimed):
    return Settlement(claimed.id, claimed.attempt, Event.LOGGED)


@pytest.fixture
def held(store, put, owner):
    """Claim fresh messages for the owner."""

    async def held(count=1, holder=owner):
        await put(count)
        return await store.queue.claim(holder, count, LEASE_S)

    return held


async def test_equal_keys_are_one_mail(store, held, owner):
    """Equal key 1, or equal key 2, joins; the first of them wins a contradiction."""
    a, b, c, d, e = await held(5)
    first = await store.mails.join(
        owner, [(a.id, "A1", "A2", "<a>"), (d.id, "D1", "D2", "<d>")]
    )
    later = await store.mails.join(
        owner,
        [
            (b.id, "A1", "x2", "<a>"),
            (c.id, "x1", "A2", "<rewritten>"),
            (e.id, "D1", "A2", "<e>"),
        ],
    )
    mail, other = first[a.id].id, first[d.id].id
    assert mail != other
    assert [later[i.id].id for i in (b, c, e)] == [mail, mail, other]
    assert later[c.id].key == first[a.id].key


async def test_a_mail_is_found_as_a_copy_would_join_it(store, held, owner):
    """By either key, the first one going before; nothing is leased by looking."""
    a, b = await held(2)
    joined = await store.mails.join(
        owner, [(a.id, "A1", "A2", ""), (b.id, "B1", "B2", "")]
    )
    for keys, message in ((("A1", "B2"), a), (("x", "B2"), b)):
        found = await store.mails.find(*keys)
        assert found is not None
        assert (found.id, found.key) == (
            joined[message.id].id,
            joined[message.id].key,
        )
    assert await store.mails.find("x", "y") is None


async def test_copies_in_one_call_join_each_other(store, held, owner):
    """Copies claimed in one batch are recognised among themselves."""
    a, b, c = await held(3)
    states = await store.mails.join(
        owner,
        [(a.id, "A1", "A2", ""), (b.id, "B1", "A2", ""), (c.id, "A1", "C2", "")],
    )
    assert len({state.id for state in states.values()}) == 1


async def test_a_message_keeps_its_mail(store, held, owner, clock):
    """The mail is computed once; other keys at a later attempt change nothing."""
    (a,) = await held()
    before = await store.mails.join(owner, [(a.id, "A1", "A2", "")])
    await store.ledger.advance(
        owner, settlements=[Settlement(a.id, 1, Event.TRANSIENT)]
    )
    (again,) = await store.queue.claim(owner, 1, LEASE_S)
    assert again.mail_id == before[a.id].id
    after = await store.mails.join(owner, [(a.id, "Z1", "Z2", "")])
    assert after[a.id].id == before[a.id].id


async def test_a_mail_has_one_worker(store, other, held, owner, rival, clock):
    """Another worker's copy is told that the mail is busy, until that one is done."""
    (a,) = await held()
    (b,) = await held(holder=rival)
    assert (await store.mails.join(owner, [(a.id, "A1", "A2", "")]))[a.id].leased
    assert not (await other.mails.join(rival, [(b.id, "A1", "A2", "")]))[b.id].leased
    await store.ledger.advance(owner, settlements=[logged(a)])
    assert (await other.mails.join(rival, [(b.id, "A1", "A2", "")]))[b.id].leased


async def test_a_mail_is_free_when_the_last_copy_settles(store, held, owner, rival):
    """The lease ends with the owner's last message of the mail, not before."""
    a, b = await held(2)
    (c,) = await held(holder=rival)
    await store.mails.join(owner, [(i.id, "A1", "A2", "") for i in (a, b)])
    await store.ledger.advance(owner, settlements=[logged(a)])
    assert not (await store.mails.join(rival, [(c.id, "A1", "A2", "")]))[c.id].leased
    await store.ledger.advance(owner, settlements=[logged(b)])
    assert (await store.mails.join(rival, [(c.id, "A1", "A2", "")]))[c.id].leased


async def test_the_lease_of_a_mail_runs_out_and_is_renewed(
    store, held, owner, rival, clock
):
    """A mail's lease is renewed with its message, and expires like it."""
    (a,) = await held()
    mail = (await store.mails.join(owner, [(a.id, "A1", "A2", "")]))[a.id].id
    clock.move(100)
    await store.queue.renew(owner, [a.id], LEASE_S)
    clock.move(100)
    (b,) = await held(holder=rival)
    assert not (await store.mails.join(rival, [(b.id, "A1", "A2", "")]))[b.id].leased
    clock.move(30)
    assert (await store.mails.join(rival, [(b.id, "A1", "A2", "")]))[b.id].leased
    with pytest.raises(LeaseLost):
        await store.ledger.advance(owner, plans=[(mail, [draft("a")])])


async def test_the_mail_of_a_dead_process_is_free(store, held, owner, rival):
    """`release_dead` ends the leases of mails too."""
    (a,) = await held()
    await store.mails.join(owner, [(a.id, "A1", "A2", "")])
    (b,) = await held(holder=rival)
    await store.queue.release_dead(rival, lambda name: name == str(rival))
    assert (await store.mails.join(rival, [(b.id, "A1", "A2", "")]))[b.id].leased


async def test_join_leaves_out_what_is_not_held(store, held, put, owner, rival):
    """A message of somebody else, or of nobody, gets no mail."""
    (a,) = await held()
    assert await store.mails.join(rival, [(a.id, "A1", "A2", "")]) == {}


async def test_a_plan_replaces_what_was_only_planned(store, held, owner):
    """Planned rows give way; a row that was sent stays, under its key."""
    (a,) = await held()
    mail = (await store.mails.join(owner, [(a.id, "A1", "A2", "")]))[a.id].id
    await store.ledger.advance(owner, plans=[(mail, [draft("one"), draft("two")])])
    await store.ledger.advance(
        owner, plans=[(mail, [draft("two", Subject="new"), draft("3")])]
    )
    state = (await store.mails.join(owner, [(a.id, "A1", "A2", "")]))[a.id]
    assert [x.slot for x in state.activities] == ["two", "3"]
    assert state.activities[0].fields == {"Subject": "new"}
    await store.ledger.advance(
        owner, ledger=[LedgerUpdate("key-two", ActivityState.SENT)]
    )
    await store.ledger.advance(owner, plans=[(mail, [draft("two", Subject="newer")])])
    state = (await store.mails.join(owner, [(a.id, "A1", "A2", "")]))[a.id]
    assert [(x.slot, x.state, x.fields) for x in state.activities] == [
        ("two", ActivityState.SENT, {"Subject": "new"})
    ]


async def test_the_ledger_goes_by_its_table(store, held, owner, clock):
    """Planned, sent, written; what is not in the table changes nothing at all."""
    (a,) = await held()
    mail = (await store.mails.join(owner, [(a.id, "A1", "A2", "")]))[a.id].id
    await store.ledger.advance(owner, plans=[(mail, [draft("a"), draft("b")])])
    with pytest.raises(IllegalTransition):
        await store.ledger.advance(
            owner,
            ledger=[
                LedgerUpdate("key-a", ActivityState.SENT),
                LedgerUpdate("key-b", ActivityState.WRITTEN, "00T1"),
            ],
            settlements=[logged(a)],
        )
    with pytest.raises(NotFound):
        await store.ledger.advance(
            owner, ledger=[LedgerUpdate("nowhere", ActivityState.SENT)]
        )
    sent_at = clock.now()
    await store.ledger.advance(
        owner, ledger=[LedgerUpdate("key-a", ActivityState.SENT, sent_at=sent_at)]
    )
    await store.ledger.advance(
        owner, ledger=[LedgerUpdate("key-a", ActivityState.SENT, lookups=2)]
    )
    row, planned = (await store.mails.join(owner, [(a.id, "A1", "A2", "")]))[
        a.id
    ].activities
    assert (row.state, row.sent_at, row.lookups) == (ActivityState.SENT, sent_at, 2)
    assert planned.state is ActivityState.PLANNED
    written = LedgerUpdate("key-a", ActivityState.WRITTEN, "00T000000000001")
    await store.ledger.advance(owner, ledger=[written])
    await store.ledger.advance(owner, ledger=[written])  # The same fact may come twice.
    with pytest.raises(IllegalTransition):
        await store.ledger.advance(
            owner, ledger=[LedgerUpdate("key-a", ActivityState.SENT)]
        )
    await store.ledger.advance(
        owner, ledger=[LedgerUpdate("key-a", ActivityState.GONE)]
    )
    row = (await store.mails.join(owner, [(a.id, "A1", "A2", "")]))[a.id].activities[0]
    assert (row.state, row.salesforce_id) == (ActivityState.GONE, "00T000000000001")


async def test_without_the_lease_nothing_is_planned_or_sent(
    store, held, owner, rival, clock
):
    """A worker that slept through its lease cannot plan or send; facts are taken."""
    (a,) = await held()
    mail = (await store.mails.join(owner, [(a.id, "A1", "A2", "")]))[a.id].id
    await store.ledger.advance(owner, plans=[(mail, [draft("a"), draft("b")])])
    await store.ledger.advance(
        owner, ledger=[LedgerUpdate("key-a", ActivityState.SENT)]
    )
    clock.move(LEASE_S + 1)
    (b,) = await store.queue.claim(rival, 1, LEASE_S)
    assert (await store.mails.join(rival, [(b.id, "A1", "A2", "")]))[b.id].leased
    for change in (
        {"plans": [(mail, [draft("c")])]},
        {"ledger": [LedgerUpdate("key-b", ActivityState.SENT)]},
        {"ledger": [LedgerUpdate("key-a", ActivityState.PLANNED)]},
        {"ledger": [LedgerUpdate("key-a", ActivityState.REFUSED)]},
    ):
        with pytest.raises(LeaseLost) as caught:
            await store.ledger.advance(owner, **change)
        assert caught.value.mail_ids == {mail}
    fact = LedgerUpdate("key-a", ActivityState.WRITTEN, "00T1")
    assert (
        await store.ledger.advance(owner, ledger=[fact], settlements=[logged(a)])
        == set()
    )
    (row, _) = (await store.mails.join(rival, [(b.id, "A1", "A2", "")]))[
        b.id
    ].activities
    assert row.salesforce_id == "00T1"


async def test_settlements_are_fenced(store, held, owner, rival, clock):
    """Only the holder of the attempt settles; the others are left out, unharmed."""
    a, b = await held(2)
    assert await store.ledger.advance(rival, settlements=[logged(a)]) == set()
    stale = Settlement(a.id, a.attempt + 1, Event.LOGGED)
    assert await store.ledger.advance(owner, settlements=[stale, logged(b)]) == {b.id}
    assert await store.ledger.advance(owner, settlements=[logged(b)]) == set()
    with pytest.raises(IllegalTransition):
        await store.ledger.advance(
            owner, settlements=[Settlement(a.id, 1, Event.REQUEUE)]
        )
    assert await store.ledger.advance(owner, settlements=[logged(a), logged(a)]) == {
        a.id
    }


async def test_giving_back_counts_no_attempt(store, held, owner, clock):
    """A pause of the org gives the attempt back and leaves one line, however long."""
    (a,) = await held()
    for _ in range(3):
        later = clock.now() + timedelta(seconds=60)
        back = Settlement(a.id, 1, Event.GIVE_BACK, "org_paused", retry_at=later)
        assert await store.ledger.advance(owner, settlements=[back]) == {a.id}
        clock.move(60)
        (again,) = await store.queue.claim(owner, 1, LEASE_S)
        assert (again.attempt, again.failures) == (1, 0)
    trace = (await store.log.show(a.id))["trace"]
    assert [s["result"] for s in trace if s["step"] == "attempt"] == ["give_back"]


async def test_written_records_are_shown_for_every_copy(store, held, owner, clock):
    """All copies of a mail list its written records; the trace holds the steps."""
    a, b = await held(2)
    states = await store.mails.join(owner, [(i.id, "A1", "A2", "") for i in (a, b)])
    await store.ledger.advance(
        owner, plans=[(states[a.id].id, [draft("a"), draft("b")])]
    )
    await store.ledger.advance(
        owner, ledger=[LedgerUpdate(f"key-{n}", ActivityState.SENT) for n in "ab"]
    )
    await store.ledger.advance(
        owner,
        ledger=[
            LedgerUpdate("key-a", ActivityState.WRITTEN, "00T1"),
            LedgerUpdate(
                "key-b", ActivityState.REFUSED, error="FIELD_CUSTOM_VALIDATION"
            ),
        ],
        settlements=[
            Settlement(
                i.id,
                1,
                Event.LOGGED,
                "logged",
                "1 record",
                trace=(Step(clock.now(), "match", "contact", "003…"),),
            )
            for i in (a, b)
        ],
    )
    record = {"object": "Task", "id": "00T1", "key": "key-a", "rule": "rule"}
    assert [r["records"] for r in await store.log.find(LogFilter())] == [[record]] * 2
    trace = (await store.log.show(b.id))["trace"]
    assert [s["step"] for s in trace] == ["sender", "match", "attempt"]
    assert trace[-1]["detail"] == "attempt 1: logged: 1 record"
    assert set(trace[0]) == {"at", "step", "result", "detail"}


async def test_a_full_batch_goes_through(store, held, owner):
    """A batch beyond one IN list is claimed, joined, planned and settled."""
    many = await held(1100)
    states = await store.mails.join(
        owner, [(c.id, c.id, c.id + "-2", "") for c in many]
    )
    assert len(states) == 1100
    await store.ledger.advance(
        owner,
        plans=[(s.id, [Draft("e", s.key, "Task", {}, "r")]) for s in states.values()],
    )
    settled = await store.ledger.advance(owner, settlements=[logged(c) for c in many])
    assert len(settled) == 1100


async def test_a_task_is_handed_over_once_its_mail_is_written(
    store, held, owner, clock
):
    """The note is made with the plan, holds through a crash, and is settled once."""
    (a,) = await held()
    mail = (await store.mails.join(owner, [(a.id, "A1", "A2", "")]))[a.id].id
    made = replace(draft("one", FromAddress="ada@corp.example"), owner=USER_ID)
    await store.ledger.advance(owner, plans=[(mail, [made, draft("two")])])
    assert await store.ledger.claim_owner_changes(10, 60) == []
    await store.ledger.advance(
        owner, ledger=[LedgerUpdate("key-one", ActivityState.SENT)]
    )
    written = LedgerUpdate("key-one", ActivityState.WRITTEN, salesforce_id="02s1")
    await store.ledger.advance(owner, ledger=[written])
    (due,) = await store.ledger.claim_owner_changes(10, 60)
    assert due == OwnerChange("key-one", "02s1", USER_ID, "ada@corp.example")
    assert await store.ledger.claim_owner_changes(10, 60) == []
    clock.move(61)
    assert await store.ledger.claim_owner_changes(10, 60) == [due]
    step = (await store.log.show(a.id))["trace"][-1]
    assert (step["step"], step["result"]) == ("owner", "pending")
    await store.ledger.settle_owner_changes([due.key])
    step = (await store.log.show(a.id))["trace"][-1]
    assert step["result"] == "handed over"
    assert step["detail"] == f"the Task of Task 02s1 belongs to {USER_ID}"
    clock.move(61)
    assert await store.ledger.claim_owner_changes(10, 60) == []


async def test_an_owner_change_that_another_relay_has_taken_is_left_to_it(
    store, held, owner, monkeypatch
):
    """It was due when this relay looked; what is settled is not settled again."""
    (a,) = await held()
    mail = (await store.mails.join(owner, [(a.id, "A1", "A2", "")]))[a.id].id
    made = replace(draft("one"), owner=USER_ID)
    await store.ledger.advance(owner, plans=[(mail, [made])])
    for state in (ActivityState.SENT, ActivityState.WRITTEN):
        await store.ledger.advance(
            owner, ledger=[LedgerUpdate("key-one", state, "02s1")]
        )
    assert len(await store.ledger.claim_owner_changes(10, 60)) == 1
    monkeypatch.setattr("relay.store.ledger._any_due", lambda *_: True)
    assert await store.ledger.claim_owner_changes(10, 60) == []
    await store.ledger.settle_owner_changes([])


async def test_the_ledger_knows_whose_record_it_is(store, held, owner):
    """A record of Salesforce leads to the row that it answers, or to none."""
    (a,) = await held()
    mail = (await store.mails.join(owner, [(a.id, "A1", "A2", "")]))[a.id].id
    await store.ledger.advance(owner, plans=[(mail, [draft("one"), draft("two")])])
    for state in (ActivityState.SENT, ActivityState.WRITTEN):
        await store.ledger.advance(
            owner,
            ledger=[
                LedgerUpdate("key-one", state, salesforce_id="02s1"),
                LedgerUpdate("key-two", state, salesforce_id="00T2"),
            ],
        )
    assert await store.ledger.holders(["02s1", "00T2", "00T3", "02s1"]) == {
        "02s1": "key-one",
        "00T2": "key-two",
    }
    assert await store.ledger.holders([]) == {}


async def test_the_ledger_knows_whose_records_a_row_names(store, held, owner):
    """The people of a draft come back with its row."""
    (a,) = await held()
    mail = (await store.mails.join(owner, [(a.id, "A1", "A2", "")]))[a.id].id
    made = replace(draft("one"), people=("kim@customer.example",))
    await store.ledger.advance(owner, plans=[(mail, [made])])
    (row,) = (await store.mails.join(owner, [(a.id, "A1", "A2", "")]))[a.id].activities
    assert row.people == ("kim@customer.example",)
