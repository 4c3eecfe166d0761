"""A worker's place at the outbox: mails that it has, their records, what it writes."""

from __future__ import annotations

import random
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

from sqlalchemy import update

from relay.config import Settings
from relay.core.clock import SystemClock
from relay.core.directory import Role
from relay.core.ids import new_message_id
from relay.core.model import Draft, Envelope, LedgerUpdate, RawMail, Recipient
from relay.core.queue import LeaseOwner
from relay.core.states import ActivityState
from relay.outbox.backoff import Backoff
from relay.outbox.batch import Batch, BatchMail, ClaimedMessage
from relay.outbox.engine import Parts
from relay.outbox.mode import NOTE, WriteMode
from relay.outbox.records import RecordWriter
from relay.salesforce.org import Org
from relay.store import schema

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from relay.core.queue import Claimed
    from relay.sandbox import SandboxOrg
    from relay.store import Store

OWNER = LeaseOwner("h", "b", 1, "s")
RIVAL = LeaseOwner("h", "b", 2, "s")
ADA, BEN = "ada@corp.example", "ben@corp.example"
"""Two of the sandbox's users."""
IDENTIFIER = "<1@corp.example>"
EMAIL = {
    "Status": "3",
    "Subject": "Offer",
    "TextBody": "Hello",
    "FromAddress": ADA,
    "MessageIdentifier": IDENTIFIER,
    "IsClientManaged": True,
}
"""Fields of an EmailMessage."""
KEY_FIELD = "Relay_Key__c"


class MovedClock:
    """The machine's clock; its boot time may be moved ahead, as by a long sleep."""

    def __init__(self) -> None:
        """Be on time."""
        self._real = SystemClock()
        self.slept_s = 0.0

    def now(self) -> datetime:
        """Return the time."""
        return self._real.now()

    def boottime_s(self) -> float:
        """Return the seconds since the machine started."""
        return self._real.boottime_s() + self.slept_s


def login(sandbox: SandboxOrg, **salesforce: Any) -> Settings:
    """Return settings for the sandbox."""
    values = {
        "instance_url": sandbox.url,
        "client_id": "relay-sandbox",
        "client_secret": "relay-sandbox-secret",
        "timeout_s": 5.0,
        "settle_s": 600,
        "cache_s": 0.0,
        "cache_negative_s": 0.0,
    }
    return Settings(salesforce=values | salesforce)


def key_fields(*, unique: bool = True) -> list[dict[str, Any]]:
    """Return the sandbox's switch for a field that holds the key."""
    field = {"name": KEY_FIELD, "length": 40, "unique": unique, "external_id": True}
    return [{"object": name, **field} for name in ("EmailMessage", "Activity")]


class Desk:
    """The writer of records on a real store and the sandbox, with one batch."""

    def __init__(
        self, store: Store, sandbox: SandboxOrg, clock: MovedClock, settings: Settings
    ) -> None:
        """Put the parts together."""
        self.store, self.sandbox, self.clock = store, sandbox, clock
        # The org has a clock of its own, which a test may move on.
        self.client_clock = MovedClock()
        self.org = Org(settings.salesforce, self.client_clock)
        self.mode = WriteMode(settings.salesforce, store, clock)
        backoff = Backoff(settings.worker, random.Random(1))
        self.parts = Parts(settings, store, self.org, clock, OWNER, backoff)
        self.writer = RecordWriter(self.parts, self.mode)
        self.batch = Batch(OWNER)
        self._numbers = count(1)

    # ------------------------------------------------------------ mails

    async def mails(self, number: int = 1) -> list[BatchMail]:
        """Return mails that this worker has, without a record."""
        user = await self._user()
        for _ in range(number):
            message = new_message_id(self.clock)
            to = (Recipient(message, "log@in.example", user),)
            envelope = Envelope(ADA, "192.0.2.1", "x", False, self.clock.now(), to)
            await self.store.messages.put(envelope, RawMail(5, "0" * 64, b"Hi.\r\n"))
        claimed = await self.store.queue.claim(OWNER, number, 3600)
        return [await self._join(each) for each in claimed]

    async def _user(self) -> int:
        for user in (await self.store.directory.load()).users.values():
            return user.id
        made = await self.store.directory.add_user("Ada", ADA, Role.REP, None, "test")
        return made.id

    async def _join(self, claimed: Claimed) -> BatchMail:
        name = f"{next(self._numbers)} {claimed.id}"
        copy = (claimed.id, f"K1 {name}", f"K2 {name}", "")
        state = (await self.store.mails.join(OWNER, [copy]))[claimed.id]
        item = ClaimedMessage(claimed, None, self.clock, self.clock.now())
        mail = BatchMail(state, [item], {})
        self.batch.mails[state.id] = mail
        return mail

    async def mail(self) -> BatchMail:
        """Return a mail that this worker has, without a record."""
        (mail,) = await self.mails()
        return mail

    async def sent(
        self,
        draft: Draft,
        seconds: float = 10,
        *,
        lookups: int = 0,
        mail: BatchMail | None = None,
    ) -> BatchMail:
        """Return a mail whose record was sent so long ago, without an answer."""
        mail = mail or await self.mail()
        at = self.clock.now() - timedelta(seconds=seconds)
        state = ActivityState.SENT
        change = LedgerUpdate(draft.key, state, sent_at=at, lookups=lookups)
        await self.store.ledger.advance(
            OWNER, plans=[(mail.mail.id, [draft])], ledger=[change]
        )
        mail.rows = {
            one.activity.key: one.activity
            for one in await self.store.ledger.page(None, 0, 1000)
            if one.activity.mail_id == mail.mail.id
        }
        return mail

    async def written(self, draft: Draft, salesforce_id: str) -> None:
        """Add another mail whose record is written."""
        await self.sent(draft)
        change = LedgerUpdate(draft.key, ActivityState.WRITTEN, salesforce_id)
        await self.store.ledger.advance(OWNER, ledger=[change])

    async def take_away(self, mail: BatchMail) -> None:
        """Give the lease of a mail to another worker."""
        m = schema.mails
        row = update(m).where(m.c.id == mail.mail.id).values(lease_owner=str(RIVAL))
        await self.store.context.write(lambda c: c.execute(row))

    async def ends(self, *mails: BatchMail) -> dict[str, str]:
        """Commit what is pending; return the state of each row in the store by key.

        The mails must know their rows as the store has them.
        """
        await self.batch.advance(self.store)
        rows = [one.activity for one in await self.store.ledger.page(None, 0, 5000)]
        known = {row.key: row for mail in mails for row in mail.rows.values()}
        ids = {mail.mail.id for mail in mails}
        found = {row.key: str(row.state) for row in rows if row.mail_id in ids}
        assert found == {key: str(row.state) for key, row in known.items()}
        return found

    async def decided(self) -> str | None:
        """Return the mode that all relays know of."""
        note: Any = await self.store.shared.get(NOTE)
        return str(note["mode"]) if note else None

    # ------------------------------------------------------------ Salesforce

    def user(self, name: str = ADA) -> str:
        """Return the id of a user."""
        users = self.sandbox.dump("User")["User"]
        return next(str(row["Id"]) for row in users if row["Username"] == name)

    async def make(self, sobject: str, fields: dict[str, Any]) -> str:
        """Write a record as the integration user; return its id."""
        (outcome,) = await self.org.records.create(
            [("k", sobject, fields)], not_after_boottime_s=None
        )
        assert outcome.id, outcome
        return outcome.id

    def made(self, sobject: str) -> list[dict[str, Any]]:
        """Return the records of an object that are not deleted, without the seed."""
        rows = self.sandbox.dump(sobject)[sobject]
        return [r for r in rows if not r["IsDeleted"] and r["Subject"] == "Offer"]

    def asked(self) -> list[str]:
        """Return the queries that were made since the last time, then forget them."""
        calls = self.sandbox.calls.as_json()
        self.sandbox.calls.clear()
        return [query for call in calls for query in call["queries"]]

    def after_write(self, then: Callable[[Sequence[str]], Any]) -> None:
        """Let something happen to records between the write and what comes next."""
        create = self.org.records.create

        async def written(records: Any, **more: Any) -> Any:
            outcomes = await create(records, **more)
            await then([one.id for one in outcomes if one.id])
            return outcomes

        self.org.records.create = written  # type: ignore[method-assign]
