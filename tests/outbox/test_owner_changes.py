"""The platform's Tasks go to the reps, and senders get their relation.

A real store, and a sandbox that makes a Task of each EmailMessage.
"""

from __future__ import annotations

import asyncio
from itertools import count

import pytest

from relay.config import Settings
from relay.core.clock import SystemClock
from relay.core.directory import Role
from relay.core.ids import new_message_id
from relay.core.model import Draft, Envelope, LedgerUpdate, RawMail, Recipient
from relay.core.queue import LeaseOwner
from relay.core.states import ActivityState
from relay.outbox.engine import Parts
from relay.outbox.owner_changes import OwnerChanges
from relay.salesforce.org import Org
from tests.outbox.desk import login

CLOCK = SystemClock()
OWNER = LeaseOwner("h", "b", 1, "s")
ADA, DORA = "ada@corp.example", "dora@corp.example"
"""Dora's user is inactive."""
UNKNOWN = "02s000000000001AAA"


@pytest.fixture
async def org(sandbox):
    """Return an org that talks to the sandbox."""
    made = Org(login(sandbox).salesforce, CLOCK)
    yield made
    await made.close()


@pytest.fixture
async def mail(store):
    """Return the id of a mail that this worker has."""
    user = await store.directory.add_user("Ada", ADA, Role.REP, None, "test")
    message = new_message_id(CLOCK)
    recipients = (Recipient(message, "log@in.example", user.id),)
    envelope = Envelope(ADA, "192.0.2.1", "x", False, CLOCK.now(), recipients)
    await store.messages.put(envelope, RawMail(5, "0" * 64, b"Hi.\r\n"))
    await store.queue.claim(OWNER, 1, 60)
    return (await store.mails.join(OWNER, [(message, "K1", "K2", "")]))[message].id


@pytest.fixture
def due(store, mail):
    """Return what makes an owner change due, for an EmailMessage that was written."""
    numbers = count(1)

    async def due(owner, *ids, **more):
        keys = {f"k{next(numbers)}": sfid for sfid in ids}
        fields = {"FromAddress": ADA} | more
        drafts = [
            Draft(key, key, "EmailMessage", fields, "r", owner=owner) for key in keys
        ]
        await store.ledger.advance(OWNER, plans=[(mail, drafts)])
        for state in (ActivityState.SENT, ActivityState.WRITTEN):
            changes = [LedgerUpdate(key, state, sfid) for key, sfid in keys.items()]
            await store.ledger.advance(OWNER, ledger=changes)
        return list(keys)

    return due


@pytest.fixture
def sent(org):
    """Return what writes an EmailMessage; it gives the id."""

    async def sent(**fields):
        made = {
            "Status": "3",
            "Subject": "Offer",
            "TextBody": "Hello",
            "FromAddress": ADA,
            "MessageIdentifier": "<1@corp.example>",
            "IsClientManaged": True,
        }
        (outcome,) = await org.records.create(
            [("k", "EmailMessage", made | fields)], not_after_boottime_s=None
        )
        return outcome.id

    return sent


@pytest.fixture
def turn(store, org):
    """Return what makes a turn, and gives the keys of what is still to be done."""

    async def turn(**keys):
        parts = Parts(Settings(salesforce=keys), store, org, CLOCK, OWNER, None)
        assert not await OwnerChanges(parts, paused=lambda: False).turn()
        return await left(store)

    return turn


async def left(store):
    """Return the keys of changes that are not settled; they come back later."""
    from sqlalchemy import select

    from relay.store import schema

    a = schema.activities.c
    query = select(a.key).where(a.owner_due_at.is_not(None)).order_by(a.id)
    return list(await store.context.read(lambda c: c.scalars(query).all()))


def user(sandbox, name):
    rows = sandbox.dump("User")["User"]
    return next(row["Id"] for row in rows if row["Username"] == name)


def queue(sandbox):
    (row,) = sandbox.dump("Group")["Group"]
    return row["Id"]


def owners(sandbox):
    return [row["OwnerId"] for row in sandbox.dump("Task")["Task"]]


def senders(sandbox):
    return [
        (row["RelationId"], row["RelationAddress"])
        for row in sandbox.dump("EmailMessageRelation")["EmailMessageRelation"]
        if row["RelationType"] == "FromAddress"
    ]


async def test_the_task_is_given_to_the_rep(sandbox, due, sent, turn):
    """Its owner is changed, and the change is settled."""
    ada = user(sandbox, ADA)
    await due(ada, await sent())
    assert owners(sandbox) == [sandbox.integration_user_id]
    assert await turn() == []
    assert owners(sandbox) == [ada]


async def test_what_needs_nothing_is_settled(sandbox, org, due, sent, turn):
    """For an EmailMessage that is deleted or unknown nothing is written."""
    deleted = await sent()
    await org.records.delete("EmailMessage", deleted)
    await due(user(sandbox, ADA), deleted, UNKNOWN)
    sandbox.calls.clear()
    assert await turn() == []
    assert sum(call["records"] for call in sandbox.calls.as_json()) == 0


async def test_the_integration_users_own_task_stays(sandbox, due, sent, turn):
    """It has the right owner already: the relation alone is written."""
    me = sandbox.integration_user_id
    await due(me, await sent())
    sandbox.calls.clear()
    assert await turn() == []
    assert sum(call["records"] for call in sandbox.calls.as_json()) == 1
    assert (owners(sandbox), senders(sandbox)) == ([me], [(me, ADA)])


async def test_a_sender_without_a_relation_gets_one(sandbox, due, sent, turn):
    """Where FromId made none; a queue sends no mail."""
    ada = user(sandbox, ADA)
    await due(ada, await sent())
    assert senders(sandbox) == []
    assert await turn() == []
    assert senders(sandbox) == [(ada, ADA)]
    await due(queue(sandbox), await sent())
    assert await turn() == []
    assert senders(sandbox) == [(ada, ADA)]


async def test_the_sender_of_an_incoming_mail_is_no_rep(sandbox, due, sent, turn):
    """The relation is to the record that wrote it, or to its address alone."""
    ada, mara = user(sandbox, ADA), "mara@acme.example"
    (contact, *_) = sandbox.dump("Contact")["Contact"]
    incoming = {"Incoming": True, "FromAddress": mara}
    await due(ada, await sent(**incoming), **incoming, FromId=contact["Id"])
    assert await turn() == []
    assert senders(sandbox) == [(contact["Id"], mara)]
    await due(queue(sandbox), await sent(**incoming), **incoming)
    await due(ada, await sent(Incoming=True), Incoming=True, FromAddress="")
    assert await turn() == []
    assert senders(sandbox) == [(contact["Id"], mara), (None, mara)]


async def test_a_relation_that_is_there_is_not_made_again(sandbox, due, sent, turn):
    """The change comes back after a crash: the sender has one relation."""
    ada, message = user(sandbox, ADA), await sent()
    for _ in range(2):
        await due(ada, message)
        assert await turn() == []
    assert senders(sandbox) == [(ada, ADA)]


@pytest.mark.parametrize(
    "fault",
    [{"kind": "lock_rows", "object": "Task"}, {"kind": "html", "code": 503}],
    ids=["locked", "down"],
)
async def test_what_failed_comes_again(sandbox, due, sent, turn, fault):
    """A lock, or Salesforce down: nothing is settled, and nothing was changed."""
    keys = await due(user(sandbox, ADA), await sent())
    sandbox.faults.load([{"stage": "before", **fault}])
    assert await turn() == keys
    sandbox.faults.load([])
    assert owners(sandbox) == [sandbox.integration_user_id]


async def test_with_nothing_due_nothing_is_asked(sandbox, turn):
    """A turn without work makes no call."""
    assert await turn() == []
    assert sandbox.calls.as_json() == []


@pytest.mark.parametrize("fallback", [False, True])
async def test_an_inactive_rep_has_a_stand_in(sandbox, due, sent, turn, fallback):
    """Without one the Task stays where it is."""
    await due(user(sandbox, DORA), await sent())
    inbox = queue(sandbox)
    assert await turn(**({"fallback_owner": inbox} if fallback else {})) == []
    assert owners(sandbox) == [inbox if fallback else sandbox.integration_user_id]


async def test_another_refusal_leaves_the_task_where_it_is(sandbox, due, sent, turn):
    """The stand-in is for inactive users; what the org refuses is given up."""
    await due(user(sandbox, ADA), await sent())
    refusal = {"kind": "error_code", "object": "Task", "code": "INSUFFICIENT_ACCESS"}
    sandbox.faults.load([refusal])
    assert await turn(fallback_owner=queue(sandbox)) == []
    sandbox.faults.load([])
    assert owners(sandbox) == [sandbox.integration_user_id]


async def test_a_full_turn_is_followed_by_the_next_until_the_end(
    store, org, due, monkeypatch
):
    """What is due beyond one turn is done in the next, without a wait between them."""
    monkeypatch.setattr("relay.outbox.owner_changes.MAX_CHANGES", 10)
    await due("005000000000001AAA", *(f"02s{n:015d}" for n in range(25)))
    settings = Settings(salesforce={"owner_after_s": 3600})
    parts = Parts(settings, store, org, CLOCK, OWNER, None)
    stopping = asyncio.Event()
    settle = store.ledger.settle_owner_changes

    async def settled(keys):
        await settle(keys)
        if not await left(store):
            stopping.set()

    monkeypatch.setattr(store.ledger, "settle_owner_changes", settled)
    changes = OwnerChanges(parts, paused=lambda: False)
    await asyncio.wait_for(changes.run(stopping), 8)
    assert await left(store) == []
