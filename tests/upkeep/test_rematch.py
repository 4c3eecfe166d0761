"""Records that appear queue the mails that wait for them; the calls are counted."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import SecretStr

from relay.config import Settings
from relay.core.errors import SalesforceUnavailable
from relay.core.ids import new_message_id
from relay.core.model import Envelope, Person, Place, RawMail, Recipient
from relay.core.queue import LeaseOwner, Settlement
from relay.core.states import Event, State
from relay.salesforce import changes
from relay.salesforce.org import Org
from relay.store import Store
from relay.upkeep import Rematch
from tests.fakes.served import served
from tests.fakes.values import directory

OWNER = LeaseOwner("host", "boot", 10, "1")
RIVAL = LeaseOwner("host", "boot", 11, "1")


class Clock:
    """Goes with the org's clock, and is moved with it."""

    def __init__(self, org):
        self._org = org
        self.late_s = 0.0

    def now(self):
        return self._org.clock.now()

    def boottime_s(self):
        return self.now().timestamp()


class Scene:
    """A store with unmatched mail, an org, and what looks for records."""

    def __init__(self, org, store, sf, settings, clock):
        self.org, self.store, self.sf, self.clock = org, store, sf, clock
        self.settings = settings
        self.rematch = self.made(OWNER)

    def made(self, owner):
        return Rematch(
            *(self.settings, self.store, self.sf, self.clock, owner),
            directory=directory,
            paused=lambda: False,
        )

    async def end(self, address):
        """Store a message that no record fits."""
        ident = new_message_id(self.clock)
        envelope = Envelope(
            "ada@corp.example",
            *("192.0.2.1", "client", True, self.clock.now()),
            recipients=(Recipient(ident, "log-a@in.example", self.user.id),),
        )
        await self.store.messages.put(envelope, RawMail(1, "0" * 64, b"x"))
        (claimed,) = await self.store.queue.claim(OWNER, 1, 60)
        person = Person(address.lower(), address, "", Place.TO)
        outcome = Settlement(
            *(ident, claimed.attempt, Event.NO_MATCH, "no_record"), unknown=(person,)
        )
        await self.store.ledger.advance(OWNER, settlements=[outcome])
        return ident

    def add(self, kind="Contact", **fields):
        """Create a record, now."""
        fields.setdefault("LastName", "New")
        if kind == "Lead":
            fields.setdefault("Company", "New")
        made = self.org.records.create(kind, fields, self.org.caller())
        self.org.rows.commit()
        return made

    async def look(self, seconds=1000):
        """Let time pass and look; return how many calls that cost."""
        self.org.clock.shift(seconds)
        before = self.org.usage.used()
        await self.rematch.turn()
        return self.org.usage.used() - before

    async def queued(self):
        return (await self.store.queue.counts())[State.QUEUED]


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
            "describe_ttl_s": 86_400,
        },
    )
    clock = Clock(served_org)
    store = await Store.open(settings.store, clock)
    org = Org(settings.salesforce, clock)
    await org.schema.get()
    made = Scene(served_org, store, org, settings, clock)
    from relay.core.directory import Role

    made.user = await store.directory.add_user(
        "Ada", "ada@corp.example", Role.REP, None, "test"
    )
    await made.look()  # The first look remembers where to begin.
    yield made
    await org.close()
    await store.close()


async def test_a_new_record_queues_its_mails_in_one_call(scene):
    """Contact or Lead, new or changed; whatever else is unmatched costs nothing."""
    for number in range(30):
        await scene.end(f"nobody{number}@other.example")
    await scene.end("zoe@new.example")
    await scene.end("Yan@New.example")
    await scene.end("late@new.example")
    assert await scene.look() == 1
    assert await scene.queued() == 0
    scene.add(Email="ZOE@new.example")
    scene.add("Lead", Email="yan@new.example")
    assert await scene.look() == 1
    assert await scene.queued() == 2
    mara = scene.org.rows.lookup("Contact", "Email", ["mara@acme.example"])[0]["Id"]
    scene.org.records.update(
        "Contact", mara, {"Email": "late@new.example"}, scene.org.caller()
    )
    scene.org.rows.commit()
    assert await scene.look() == 1
    assert await scene.queued() == 3
    # The overlap shows them again; they queue nothing twice.
    await scene.end("other@new.example")
    assert await scene.look() == 1
    assert await scene.queued() == 3


async def test_while_all_mail_matches_nothing_is_asked(scene):
    """And who appears meanwhile is still seen once mail waits."""
    assert await scene.look() == 0
    scene.add(Email="zoe@new.example")
    await scene.end("zoe@new.example")
    assert await scene.look(901) == 1


async def test_a_record_is_seen_once_although_looks_overlap(scene):
    """A mail that stays unmatched for another reason is not queued again and again."""
    await scene.end("zoe@new.example")
    scene.add(Email="zoe@new.example")
    await scene.look()
    assert await scene.queued() == 1
    (claimed,) = await scene.store.queue.claim(OWNER, 1, 60)
    person = Person("zoe@new.example", "zoe@new.example", "", Place.TO)
    again = Settlement(
        *(claimed.id, claimed.attempt, Event.NO_MATCH, "no_record"), unknown=(person,)
    )
    await scene.store.ledger.advance(OWNER, settlements=[again])
    scene.settings = Settings(
        match={"rematch_s": 1},
        store=scene.settings.store.model_dump(),
        salesforce={"instance_url": "http://127.0.0.1:9", "client_id": "x",
                    "client_secret": "y"},
    )  # fmt: skip
    scene.rematch = scene.made(OWNER)
    for _ in range(3):
        await scene.look(60)
        assert await scene.queued() == 0


async def test_late_commits_are_within_the_overlap(scene):
    """A transaction that commits minutes after its stamp is not missed."""
    await scene.end("zoe@new.example")
    assert await scene.look() == 1
    made = scene.add(Email="zoe@new.example")
    row = scene.org.rows.get("Contact", made)
    early = scene.org.clock.now() - timedelta(minutes=4)
    stamp = early.isoformat(timespec="milliseconds").replace("+00:00", "+0000")
    scene.org.rows.put("Contact", {**row, "SystemModstamp": stamp})
    scene.org.rows.commit()
    assert await scene.look() == 1
    assert await scene.queued() == 1


async def test_many_records_are_read_page_by_page(scene, monkeypatch):
    """Also with one stamp; what is left of a look is read by the next one."""
    monkeypatch.setattr(changes, "PAGE", 3)
    await scene.end("p29@new.example")
    for number in range(30):
        scene.add(Email=f"p{number}@new.example")
    assert await scene.look() == 5
    assert await scene.queued() == 0
    assert await scene.look() == 5
    assert await scene.queued() == 1


async def test_of_several_relays_one_looks(scene):
    """The interval counts for all; another one goes by the cursor."""
    await scene.end("zoe@new.example")
    other = scene.made(RIVAL)
    assert await scene.look() == 1
    before = scene.org.usage.used()
    await other.turn()
    assert scene.org.usage.used() == before
    assert await scene.store.leases.take("rematch", RIVAL, 5000)
    assert await scene.look() == 0


async def test_an_org_that_fails_is_asked_again_later(scene, monkeypatch):
    """Nothing is lost: the cursor stays."""
    await scene.end("zoe@new.example")
    scene.add(Email="zoe@new.example")

    async def fails(marks):
        raise SalesforceUnavailable("down", code="x")

    real = scene.sf.changes.page
    monkeypatch.setattr(scene.sf.changes, "page", fails)
    assert await scene.look() == 0
    monkeypatch.setattr(scene.sf.changes, "page", real)
    assert await scene.look() == 1
    assert await scene.queued() == 1


async def test_it_is_off_with_zero_and_waits_near_the_budget(scene, monkeypatch):
    """Mail that can be logged needs the calls more."""
    await scene.end("zoe@new.example")
    monkeypatch.setattr(type(scene.sf.budget), "near", True)
    assert await scene.look() == 0
    off = Settings(match={"rematch_s": 0}, store=scene.settings.store.model_dump())
    scene.settings = off
    scene.rematch = scene.made(OWNER)
    assert await scene.look() == 0


async def test_it_runs_until_it_is_drained(scene):
    """As the app does it."""
    scene.rematch.start()
    await scene.rematch.drain()
    await scene.rematch.drain()
