"""A relay that keeps reminders in step with a sandbox over HTTP; its clock is moved."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from relay.config import Settings
from relay.core.directory import Role
from relay.core.queue import LeaseOwner
from relay.core.reminders import By, NewReminder, ReminderFilter, Source, from_json
from relay.outbox.backoff import Backoff
from relay.outbox.engine import Parts
from relay.reminders import ReminderSyncService
from relay.salesforce import transport
from relay.salesforce.org import Org
from relay.sandbox import SandboxOrg
from relay.store import Store
from tests.fakes.direct import session_with, without_threads
from tests.fakes.served import served

START = datetime(2026, 3, 4, 10, tzinfo=UTC)  # A Wednesday.
BY = By("ada@corp.example", Source.PERSON)


class Clock:
    """The relay's clock: that of the sandbox, off by `skew_s`."""

    def __init__(self, org, skew_s=0.0):
        self._org = org
        self.skew_s = skew_s

    def now(self):
        return self._org.clock.now() + timedelta(seconds=self.skew_s)

    def boottime_s(self):
        return self._org.clock.now().timestamp()


class World:
    """A sandbox, and one relay or more that serve it."""

    def __init__(self, sandbox, settings, store, org, clock):
        self.sandbox, self.settings, self.store = sandbox, settings, store
        self.org, self.clock = org, clock
        self.users = {}
        self.service = self.made()

    def made(self, pid=10):
        """Return a relay, as another process."""
        parts = Parts(
            self.settings,
            self.store,
            self.org,
            self.clock,
            LeaseOwner("host", "boot", pid, "1"),
            Backoff(self.settings.worker, random.Random(1)),
        )
        return ReminderSyncService(
            parts, directory=lambda: self.directory, paused=lambda: False
        )

    async def add(self, name, zone="Europe/London"):
        """Add a user of the relay who is a user of the org, too."""
        address = f"{name}@corp.example"
        (row,) = self.sandbox.rows.lookup("User", "Username", [address])
        user = await self.store.directory.add_user(
            name, address, Role.REP, row["Id"], "test"
        )
        await self.store.directory.set_active(user.id, True, "test")
        self.users[name] = user
        await self.reload()
        return user

    async def reload(self):
        self.directory = await self.store.directory.load()

    async def switch(self, name="ada", *, on=True):
        user = self.users[name]
        return await self.store.reminder_sync.switch(
            user.id, user.salesforce_id, "test", on=on
        )

    async def state(self, name="ada"):
        return await self.store.reminder_sync.user(self.users[name].id)

    async def close(self):
        await self.org.close()
        await self.store.close()

    # ------------------------------------------------------------ Salesforce

    def task(self, subject="From Salesforce", owner="ada", **fields):
        """Make a Task in Salesforce, as a person does; return its id."""
        user = self.users[owner].salesforce_id if owner in self.users else owner
        fields = {"Subject": subject, "OwnerId": user, **fields}
        made = self.sandbox.records.create("Task", fields, self.person(user))
        self.sandbox.rows.commit()
        return made

    def person(self, user_id):
        caller = self.sandbox.caller()
        from dataclasses import replace

        return replace(caller, user_id=user_id)

    def change(self, task_id, **fields):
        owner = self.sandbox.rows.get("Task", task_id)["OwnerId"]
        self.sandbox.records.update("Task", task_id, fields, self.person(owner))
        self.sandbox.rows.commit()

    def change_raw(self, task_id, **fields):
        """Change fields that are hidden from the integration user."""
        row = self.sandbox.rows.get("Task", task_id)
        self.sandbox.rows.put("Task", {**row, **fields})
        self.sandbox.rows.commit()

    def delete(self, task_id):
        owner = self.sandbox.rows.get("Task", task_id)["OwnerId"]
        self.sandbox.records.delete("Task", task_id, self.person(owner))
        self.sandbox.rows.commit()

    def undelete(self, task_id):
        """Take a Task out of the Recycle Bin, as a person does."""
        owner = self.sandbox.rows.get("Task", task_id)["OwnerId"]
        self.sandbox.records.undelete("Task", task_id, self.person(owner))
        self.sandbox.rows.commit()

    def tasks(self):
        """Return the living Tasks, by Subject."""
        return {
            row["Subject"]: row
            for row in self.sandbox.rows.all("Task")
            if not row["IsDeleted"]
        }

    # ------------------------------------------------------------ here

    async def remind(self, name="From here", user="ada", **values):
        ident = self.users[user].id
        values = {name: from_json(name, value) for name, value in values.items()}
        new = NewReminder(ident, ident, name, **values)
        return await self.store.reminders.add(new, BY)

    async def remove(self, reminder):
        return await self.store.reminders.remove(reminder.id, BY)

    async def edit(self, reminder, **values):
        values = {name: from_json(name, value) for name, value in values.items()}
        return await self.store.reminders.edit(reminder.id, values, BY)

    async def reminders(self):
        """Return the reminders that are there, by name."""
        found = await self.store.reminders.find(ReminderFilter())
        return {one.name: one for one in found}

    async def twin(self, reminder):
        return await self.store.reminder_sync.twin(reminder.id)

    async def all(self):
        """Return the reminders that are there; several may have one name."""
        return await self.store.reminders.find(ReminderFilter())

    # ------------------------------------------------------------ time

    async def round(self, seconds=60.0):
        """Let time pass, and make rounds until nothing more is due; count the calls."""
        self.sandbox.clock.shift(seconds)
        before = self.sandbox.usage.used()
        while await self.service.turn():
            pass
        return self.sandbox.usage.used() - before

    async def rounds(self, count=3):
        return [await self.round() for _ in range(count)]


@pytest.fixture
def sandbox(monkeypatch):
    """An org in this thread; what goes over sockets is tested by some histories."""
    made = SandboxOrg()
    monkeypatch.setattr(transport, "session", session_with(made))
    return made


@pytest.fixture(scope="module")
def served_org():
    with served() as org:
        yield org


@pytest.fixture
def options():
    """Settings that a module changes."""
    return {}


async def opened(sandbox, folder, options):
    """Return a world: a new store, an org with the sandbox behind it, and a user."""
    sandbox.reset()
    sandbox.clock.set(START, stopped=True)
    settings = Settings(
        store={
            "url": f"sqlite:///{folder}/relay.db",
            "min_free_bytes": 0,
            "timeout_s": 30,
        },
        salesforce={
            "instance_url": sandbox.url,
            "client_id": "relay-sandbox",
            "client_secret": SecretStr("relay-sandbox-secret"),
            "describe_ttl_s": 86_400 * 365,
            "settle_s": 10,
            "timeout_s": 10,
            **options.get("salesforce", {}),
        },
        reminders=options.get("reminders", {}),
    )
    clock = Clock(sandbox)
    store = await Store.open(settings.store, clock)
    org = Org(settings.salesforce, clock)
    await org.schema.get()
    world = World(sandbox, settings, store, org, clock)
    await world.add("ada")
    return world


@pytest.fixture
async def world(sandbox, tmp_path, options):
    made = await opened(sandbox, tmp_path, options)
    without_threads(made.org)
    yield made
    await made.close()
