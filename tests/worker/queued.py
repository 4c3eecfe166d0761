"""Messages in a real queue, by names that a test gives them."""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select, update

import relay.mail
from relay.core.errors import CredentialsRefused, SalesforceDown, StoreUnavailable
from relay.core.ids import new_message_id
from relay.core.model import Envelope, RawMail, Recipient
from relay.core.queue import LeaseOwner
from relay.core.states import Event, State
from relay.outbox.batch import Batch, SpoiltBatchError
from relay.store import schema
from tests.fakes.people_org import OPEN
from tests.fakes.values import NOON

if TYPE_CHECKING:
    from relay.core.model import Activity, Candidate
    from relay.core.queue import Claimed
    from relay.store import Store

OWNER = LeaseOwner("host", "boot", 1, "1")
RIVAL = LeaseOwner("host", "boot", 2, "1")
LARGE = 5000
"""Bytes of a mail that the store keeps in a file."""
m = schema.messages


class Clock:
    """Stands still at noon until it is moved."""

    def __init__(self):
        self.at = NOON

    def now(self):
        return self.at

    def boottime_s(self):
        return (self.at - NOON).total_seconds() + 1.0

    def tick(self):
        """Move a little: ids of messages are in the order of their milliseconds."""
        self.at += timedelta(milliseconds=1)


class Queued:
    """The messages of a store, claimed by this worker unless a name says otherwise."""

    def __init__(self, store: Store, clock: Clock):
        self.store = store
        self.clock = clock
        self._ids: dict[str, str] = {}
        self._names: dict[str, str] = {}

    async def put(self, name, *to, mail=None, user_id=1, raw=None, size=0):
        """Store a message of Ada's to these people; equal `mail` are copies of one."""
        if raw is None:
            raw = self.raw(name, *to, mail=mail, size=size)
        self.clock.tick()
        message = new_message_id(self.clock)
        envelope = Envelope(
            mail_from="ada@corp.example",
            peer="192.0.2.1",
            helo="client.example",
            tls=True,
            received_at=self.clock.now(),
            recipients=(Recipient(message, "log-a@in.example", user_id),),
        )
        await self.store.messages.put(envelope, RawMail(len(raw), "0" * 64, raw))
        self._ids[name] = message
        self._names[message] = name
        return message

    @staticmethod
    def raw(name: str, *to: Candidate, mail: str | None = None, size: int = 0) -> bytes:
        """Return the bytes of a mail."""
        lines = (
            "From: ada@corp.example",
            f"Subject: {mail or name}",
            f"Message-ID: <{mail or name}@corp.example>".replace(" ", "."),
            "Date: Wed, 4 Mar 2026 12:00:00 +0000",
            f"To: {', '.join(person.email_key for person in to)}",
            "",
            "x" * size,
            "",
        )
        return "\r\n".join(lines).encode()

    async def take(self, name: str, *to: Candidate, **changes) -> Claimed:
        """Store a message, and claim it."""
        message = await self.put(name, *to, **changes)
        if changes.get("user_id", 1) is None:
            # Mail for postmaster comes into the queue only where a person wants it.
            await self.store.queue.apply(Event.REQUEUE, [message], None, "admin")
        (claimed,) = await self.store.queue.claim(OWNER, 1, 3600)
        assert claimed.id == message
        return claimed

    async def again(self, name: str) -> Claimed:
        """Claim a message once more: by its time, or requeued by a person."""
        id_ = self._ids[name]
        if (await self.store.log.show(id_))["state"] != State.QUEUED:
            await self.store.queue.apply(Event.REQUEUE, [id_], None, "admin")
        self.clock.at += timedelta(days=1)
        claimed = await self.store.queue.claim(OWNER, 10, 3600)
        return next(one for one in claimed if one.id == id_)

    def __len__(self) -> int:
        """Return how many were stored."""
        return len(self._ids)

    async def events(self) -> dict[str, str]:
        """Return how the last attempt of each message ended, by name."""
        t = schema.attempts.c
        query = select(t.message_id, t.event).order_by(t.id)
        rows = await self.store.context.read(lambda c: c.execute(query).all())
        return {self.name(row.message_id): row.event for row in rows}

    def name(self, message_id: str) -> str:
        """Return the name of a message."""
        return self._names[message_id]

    async def rows(self, name: str | None = None) -> list[Activity]:
        """Return the rows of a message's mail, or of all."""
        found = [one.activity for one in await self.store.ledger.page(None, 0, 1000)]
        if name is None:
            return found
        query = select(m.c.mail_id).where(m.c.id == self._ids[name])
        mail = await self.store.context.read(lambda c: c.scalar(query))
        return [row for row in found if row.mail_id == mail]

    async def states(self, name: str) -> dict[str, str]:
        """Return the state of each of a message's rows, by the contact it names."""
        return {
            row.fields.get("WhoId", OPEN): row.state for row in await self.rows(name)
        }

    # ------------------------------------------------------------ what goes wrong

    async def take_away(self, name: str) -> None:
        """Give the lease of a message to another worker."""
        row = update(m).where(m.c.id == self._ids[name])
        changed = row.values(lease_owner=str(RIVAL))
        await self.store.context.write(lambda c: c.execute(changed))

    async def take_by_rival(self, name: str, *to: Candidate, **changes) -> None:
        """Store a message that another worker claims, and joins to its mail."""
        message = await self.put(name, *to, **changes)
        await self.store.queue.claim(RIVAL, 1, 3600)
        email = self.keys_of(name, *to, **changes)
        await self.store.mails.join(RIVAL, [(message, *email, "")])

    def keys_of(self, name, *to, mail=None, **_):
        """Return the keys of a mail."""
        email = relay.mail.parse(self.raw(name, *to, mail=mail))
        return relay.mail.keys_of(email, self.clock.now())

    def spool_file(self, claimed: Claimed):
        """Return the path of a large mail."""
        return self.store.messages.spool_dir / f"{claimed.blob_id}.eml"

    def locked(self) -> sqlite3.Connection:
        """Lock the database against all writes until the connection is closed."""
        path = self.store.messages.spool_dir.parent / "relay.db"
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        return connection

    def answer_late(self, monkeypatch) -> None:
        """Let the next commit be done, and its caller told that it was not."""
        advance = self.store.ledger.advance

        async def late(*args, **more):
            monkeypatch.setattr(self.store.ledger, "advance", advance)
            await advance(*args, **more)
            raise StoreUnavailable("the store does not answer")

        monkeypatch.setattr(self.store.ledger, "advance", late)


async def work(pipeline, queued: Queued, *batch: Claimed, settle=True, **options):
    """Work on a batch; return (event, reason) by name, and what was raised."""
    run = Batch(OWNER)
    items = pipeline.messages(batch)
    raised = None
    try:
        await pipeline.run(run, items, **options)
    except (SalesforceDown, CredentialsRefused, SpoiltBatchError) as error:
        raised = error
    ends = [one.settlement for one in items if one.settlement and settle]
    await run.advance(queued.store, settlements=ends)
    return {
        queued.name(item.claimed.id): (item.settlement.event, item.settlement.reason)
        if item.settlement
        else None
        for item in items
    }, raised
