"""Undo against a sandbox: ours alone goes, and a crash half way is gone on from."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from relay.config import Settings
from relay.core.clock import SystemClock
from relay.core.directory import Role
from relay.core.errors import Conflict, SalesforceUnavailable
from relay.core.ids import new_message_id
from relay.core.model import Draft, Envelope, LedgerUpdate, RawMail, Recipient
from relay.core.queue import LeaseOwner, Settlement
from relay.core.states import ActivityState, Event
from relay.reconcile.undo import Fate, undo
from relay.salesforce.org import Org
from relay.store import Store
from tests.fakes.served import served

OWNER = LeaseOwner("host", "boot", 10, "1")
KEY = "mail:0123456789"
CLOCK = SystemClock()


class Scene:
    """A logged mail with one record in the org."""

    def __init__(self, org, store, sf, settings):
        self.org, self.store, self.sf, self.settings = org, store, sf, settings

    async def log(self, sobject="Task", **fields):
        """Log a new mail on a record as the relay writes one; return both ids."""
        if sobject == "Task":
            fields = {"Subject": "Offer", "Description": f"x\n\nrelay-key: {KEY}"}
        else:
            fields = {"Subject": "Offer", "Status": "3", "MessageIdentifier": KEY}
        user = (await self.store.directory.users())[0]
        ident = new_message_id(CLOCK)
        envelope = Envelope(
            *("a@b.example", "192.0.2.1", "x", True, CLOCK.now()),
            recipients=(Recipient(ident, "log-a@in.example", user.id),),
        )
        await self.store.messages.put(envelope, RawMail(1, "0" * 64, b"x"))
        (claimed,) = await self.store.queue.claim(OWNER, 1, 60)
        states = await self.store.mails.join(OWNER, [(ident, "k", "k2", "")])
        draft = Draft("slot", KEY, sobject, fields, "rule")
        mail = states[ident].id
        await self.store.ledger.advance(OWNER, plans=[(mail, [draft])])
        sent = LedgerUpdate(KEY, ActivityState.SENT, sent_at=CLOCK.now())
        await self.store.ledger.advance(OWNER, ledger=[sent])
        (outcome,) = await self.sf.records.create(
            [(KEY, sobject, fields)], not_after_boottime_s=None
        )
        await self.store.ledger.advance(
            OWNER,
            ledger=[LedgerUpdate(KEY, ActivityState.WRITTEN, outcome.id)],
            settlements=[Settlement(ident, claimed.attempt, Event.LOGGED)],
        )
        return ident, outcome.id

    async def undo(self, ident, **more):
        parts = (self.settings.salesforce, self.store, self.sf, ident, OWNER, "test")
        return await undo(*parts, **more)

    def living(self, sobject):
        return {r["Id"] for r in self.org.rows.all(sobject) if not r["IsDeleted"]}

    async def state(self, ident):
        return (await self.store.log.show(ident))["state"]

    def put(self, sobject, sfid, **values):
        """Change a row as somebody else would."""
        self.org.rows.put(sobject, {**self.org.rows.get(sobject, sfid), **values})
        self.org.rows.commit()


@pytest.fixture(scope="module")
def served_org():
    with served() as org:
        yield org


@pytest.fixture
async def scene(served_org, tmp_path):
    served_org.reset()
    settings = Settings(
        store={"url": f"sqlite:///{tmp_path}/relay.db", "min_free_bytes": 0},
        salesforce={
            "instance_url": served_org.url,
            "client_id": "relay-sandbox",
            "client_secret": SecretStr("relay-sandbox-secret"),
        },
    )
    store = await Store.open(settings.store, CLOCK)
    await store.directory.add_user("Ada", "ada@corp.example", Role.REP, None, "test")
    org = Org(settings.salesforce, CLOCK)
    yield Scene(served_org, store, org, settings)
    await org.close()
    await store.close()


@pytest.mark.parametrize("sobject", ["Task", "EmailMessage"])
async def test_a_record_of_ours_goes_with_its_task(scene, sobject):
    """First shown, then deleted; the row is gone and never made again."""
    ident, sfid = await scene.log(sobject)
    plan = await scene.undo(ident, dry_run=True)
    assert (sobject, sfid, Fate.DELETE) in [
        (one.object, one.id, one.fate) for one in plan.removals
    ]
    assert sfid in scene.living(sobject)
    assert await scene.state(ident) == "logged"
    done = await scene.undo(ident)
    assert done.removals == plan.removals
    assert scene.living("Task") == scene.living("EmailMessage") == set()
    assert await scene.state(ident) == "discarded"
    (row,) = (await scene.store.mails.find("k", "k2")).activities
    assert row.state is ActivityState.GONE


@pytest.mark.parametrize(
    "change",
    [
        {"Description": "x\n\nrelay-key: mail:9999999999"},
        {"CreatedById": "005000000000099AAA"},
    ],
)
async def test_what_is_not_ours_stays(scene, change):
    """Another key, or another author: an org that was refreshed, say."""
    ident, sfid = await scene.log()
    scene.put("Task", sfid, **change)
    (one,) = (await scene.undo(ident)).removals
    assert one.fate is Fate.STAYS
    assert sfid in scene.living("Task")
    assert await scene.state(ident) == "discarded"


async def test_a_crash_after_the_delete_is_gone_on_from(scene, monkeypatch):
    """The mail stays logged until it is written down; the command is run again."""
    ident, sfid = await scene.log()

    async def killed(*args, **more):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(scene.store.undo, "finish", killed)
        with pytest.raises(KeyboardInterrupt):
            await scene.undo(ident)
    assert sfid not in scene.living("Task")
    assert await scene.state(ident) == "logged"
    (one,) = (await scene.undo(ident)).removals
    assert one.fate is Fate.DELETED
    assert await scene.state(ident) == "discarded"


async def test_a_record_that_is_gone_for_good_is_no_hindrance(scene):
    """Somebody emptied the Recycle Bin."""
    ident, sfid = await scene.log()
    scene.org.records.delete("Task", sfid, scene.org.caller())
    scene.org.rows.remove("Task", sfid) if hasattr(scene.org.rows, "remove") else None
    scene.org.rows.commit()
    (one,) = (await scene.undo(ident)).removals
    assert one.fate in {Fate.ABSENT, Fate.DELETED}
    assert await scene.state(ident) == "discarded"


async def test_what_cannot_be_deleted_leaves_the_mail_logged(scene, monkeypatch):
    """The line names the right that is missing, or asks for another try."""
    ident, sfid = await scene.log()

    async def refused(sobject, sfid):
        return False

    monkeypatch.setattr(scene.sf.records, "delete", refused)
    with pytest.raises(SalesforceUnavailable, match="run the command again"):
        await scene.undo(ident)
    schema = await scene.sf.schema.get()
    from dataclasses import replace

    async def without(**more):
        return replace(schema, deletables=frozenset())

    monkeypatch.setattr(scene.sf.schema, "get", without)
    with pytest.raises(Conflict, match="may not delete Task"):
        await scene.undo(ident)
    assert sfid in scene.living("Task")
    assert await scene.state(ident) == "logged"
