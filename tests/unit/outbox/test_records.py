"""What became of records that were sent and never answered."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from relay.config import Settings
from relay.core.model import Activity, MailState
from relay.core.queue import LeaseOwner
from relay.core.states import ActivityState
from relay.outbox.batch import Batch, BatchMail
from relay.outbox.engine import Outbox, Parts
from relay.outbox.records import Records
from relay.salesforce import FieldInfo, FoundRecord, OrgSchema

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
ME = "005000000000009AAA"
KEY = "k" * 40
OWNER = LeaseOwner("h", "b", 1, "s")
ADA, BEN = "005000000000001AAA", "005000000000002AAA"
OTHER = "00T000000000002AAA"
OBJECTS = ("EmailMessage", "Task")


class Clock:
    """Stands still."""

    def now(self) -> datetime:
        """Return noon."""
        return NOW

    def boottime_s(self) -> float:
        """Return anything."""
        return 1.0


class Org:
    """Holds what a test says; counts what it is asked."""

    def __init__(self, *records: FoundRecord) -> None:
        """Hold these records under every key and identifier."""
        self._found = list(records)
        self.records = self.access = self
        self.asked: list[str] = []
        self.seen: set[str] = set()

    async def server_time(self) -> datetime:
        """Return our own time."""
        return NOW

    async def me(self) -> str:
        """Return the integration user."""
        return ME

    async def find_by_key(self, sobject: str, field: str, keys: list[str]) -> Any:
        """Find by the unique field."""
        self.asked.append(f"{sobject}.{field}")
        return dict.fromkeys(keys[:1], self._found[0]) if self._found else {}

    async def find_email_messages(self, identifiers: list[str]) -> Any:
        """Find by MessageIdentifier."""
        self.asked.append("identifier")
        return {identifiers[0]: self._found}

    async def views_all(self) -> bool:
        """Say no: no right is taken for granted."""
        return False

    async def existing(self, sobject: str, ids: list[str]) -> dict[str, bool]:
        """Find the Tasks that our user may see."""
        return {i: False for i in ids if i in self.seen}

    async def visible_owners(self, owners: set[str]) -> set[str]:
        """Find owners with a Task that our user may see."""
        return owners & self.seen

    async def find_own_tasks(self, since: datetime, until: datetime) -> Any:
        """Find by the key line."""
        self.asked.append("tasks")
        return {KEY: self._found[0]} if self._found else {}


class Store:
    """Knows which records answer which rows, and what was written last."""

    def __init__(self, *latest: Activity) -> None:
        """Hold these rows as written."""
        self.written = list(latest)
        self.ledger = self

    async def latest(self, sobject: str, limit: int) -> list[Activity]:
        """Return what was written last."""
        return self.written

    async def holders(self, ids: list[str]) -> dict[str, str]:
        """Know nothing."""
        return {}


def record(*, deleted: bool = False, by: str = ME) -> FoundRecord:
    """Return a record made a moment ago."""
    return FoundRecord("00T000000000001AAA", deleted, NOW, None, by)


def sent(seconds: float, *, lookups: int = 0, **fields: str) -> BatchMail:
    """Return a mail with one row that was sent so long ago."""
    sobject = "EmailMessage" if "MessageIdentifier" in fields else "Task"
    row = Activity(
        KEY,
        1,
        "slot",
        sobject,
        fields,
        "rule",
        ActivityState.SENT,
        sent_at=NOW - timedelta(seconds=seconds),
        lookups=lookups,
        key_field="Key__c" if "Key__c" in fields else None,
    )
    return BatchMail(MailState(1, "m", (row,), leased=True), [], {KEY: row})


def schema(*, unique: bool = True, there: bool = True) -> OrgSchema:
    """Return an org with Key__c, as described."""
    kind = FieldInfo(
        name="Key__c",
        label="Key",
        type="string",
        length=40,
        createable=True,
        updateable=True,
        filterable=True,
        nillable=True,
        defaulted=False,
        unique=unique,
        external_id=True,
        restricted=False,
    )
    fields = {each: {"Key__c": kind} if there else {} for each in OBJECTS}
    return OrgSchema(fields, frozenset(OBJECTS))


async def resolve(
    org: Org,
    work: BatchMail,
    *,
    store: Store | None = None,
    known: OrgSchema | None = None,
    unproven: bool = False,
) -> tuple[ActivityState, int]:
    """Resolve; return the row's state, and how many are to be sent again."""
    batch = Batch(OWNER)
    records = Records(
        parts(store or Store(), org),
        SimpleNamespace(may_be_unproven=unproven),  # type: ignore[arg-type]
        batch,
        [work],
        schema=known or schema(),
    )
    again = await Outbox(Clock()).recover(records, work.of(ActivityState.SENT))
    return work.rows[KEY].state, len(again)


def parts(store: Store, org: Org) -> Parts:
    """Return the shared parts."""
    settings = Settings(salesforce={"timeout_s": 30, "settle_s": 600})
    return Parts(settings, store, org, Clock(), OWNER, None)  # type: ignore[arg-type]


async def test_with_a_unique_field_nothing_is_asked() -> None:
    """It is created again at once: a duplicate is refused."""
    org = Org()
    assert await resolve(org, sent(10, Key__c=KEY)) == (ActivityState.SENT, 1)
    assert not org.asked


@pytest.mark.parametrize(("seconds", "lookups"), [(10, 1), (61, 0)])
async def test_later_somebody_may_have_deleted_it(seconds: float, lookups: int) -> None:
    """After a minute, or a second try in vain, the record is looked for first."""

    def row() -> BatchMail:
        return sent(seconds, lookups=lookups, Key__c=KEY)

    org = Org(record())
    assert await resolve(org, row()) == (ActivityState.WRITTEN, 0)
    assert org.asked == ["Task.Key__c"]
    assert await resolve(Org(record(deleted=True)), row()) == (ActivityState.GONE, 0)
    assert await resolve(Org(), row()) == (ActivityState.SENT, 1)


@pytest.mark.parametrize("fields", [{"MessageIdentifier": "<1@x>"}, {}])
async def test_without_one_absence_must_be_proven(fields: dict[str, str]) -> None:
    """Found settles it; absent waits until no call can run any more."""
    assert await resolve(Org(record()), sent(10, **fields)) == (
        ActivityState.WRITTEN,
        0,
    )
    work = sent(10, **fields)
    assert await resolve(Org(), work) == (ActivityState.SENT, 0)
    assert work.rows[KEY].lookups == 1
    assert work.error is not None
    assert await resolve(Org(), sent(631, **fields)) == (ActivityState.PLANNED, 0)


async def test_a_copy_of_the_key_is_no_unique_field() -> None:
    """Another field that happens to hold the key makes nothing harmless."""
    org = Org()
    assert await resolve(org, sent(10, Copy__c=KEY)) == (ActivityState.SENT, 0)
    assert org.asked == ["tasks"]


async def test_what_others_wrote_is_not_ours() -> None:
    """The same Message-ID by another user says nothing about our call."""
    org = Org(record(by="005000000000001AAA"))
    work = sent(10, MessageIdentifier="<1@x>")
    assert await resolve(org, work) == (ActivityState.SENT, 0)


# ------------------------------------------------------------ what may be hidden


def written(owner: str) -> Activity:
    """Return another Task of an owner, as the ledger has it."""
    fields = {"OwnerId": owner}
    return Activity("k2", 2, "s", "Task", fields, "", ActivityState.WRITTEN, OTHER)


async def test_what_cannot_be_seen_is_not_absent() -> None:
    """No Task of the owner can be read: the row waits, and says what it waits for."""
    for store in (Store(), Store(written(ADA)), Store(written(BEN))):
        work = sent(100_000, OwnerId=ADA)
        assert await resolve(Org(), work, store=store) == (ActivityState.SENT, 0)
        assert "View All Data" in str(work.error)


async def test_one_task_of_the_owner_proves_sight() -> None:
    """One of ours; where the ledger has none, anybody's; our user's own always."""
    org = Org()
    org.seen = {OTHER}
    done = (ActivityState.PLANNED, 0)
    assert await resolve(org, sent(631, OwnerId=ADA), store=Store(written(ADA))) == done
    org.seen = {ADA}
    assert await resolve(org, sent(631, OwnerId=ADA)) == done
    # Of those that we wrote none is there: anybody's says nothing any more.
    work = sent(631, OwnerId=ADA)
    assert await resolve(org, work, store=Store(written(ADA))) == (
        ActivityState.SENT,
        0,
    )
    assert await resolve(Org(), sent(631, OwnerId=ME)) == done


async def test_sight_is_not_asked_for_too_early() -> None:
    """While a call may still run, nothing is asked about rights."""
    work = sent(10, OwnerId=ADA)
    assert await resolve(Org(), work) == (ActivityState.SENT, 0)
    assert "not found yet" in str(work.error)


# ------------------------------------------------------------ an org that changes


async def test_a_field_that_is_unique_no_longer_is_asked() -> None:
    """A second record would not be refused any more: it is looked for, and waited."""
    org = Org()
    org.seen = {ADA}
    work = sent(10, Key__c=KEY, OwnerId=ADA)
    known = schema(unique=False)
    assert await resolve(org, work, known=known) == (ActivityState.SENT, 0)
    assert org.asked == ["Task.Key__c"]
    late = sent(631, Key__c=KEY, OwnerId=ADA)
    assert await resolve(org, late, known=known) == (ActivityState.PLANNED, 0)


async def test_a_field_that_is_gone_keeps_the_row_waiting() -> None:
    """Nothing can be asked, so nothing is sent, however old it is."""
    org, work = Org(), sent(100_000, Key__c=KEY)
    assert await resolve(org, work, known=schema(there=False)) == (
        ActivityState.SENT,
        0,
    )
    assert not org.asked
    assert "Key__c" in str(work.error)


async def test_a_first_email_message_is_looked_for() -> None:
    """That it is there is not enough: it must be read back, so nothing is repeated."""
    org = Org()
    work = sent(10, MessageIdentifier="<1@x>", Key__c=KEY)
    assert await resolve(org, work, unproven=True) == (ActivityState.SENT, 0)
    assert org.asked == ["EmailMessage.Key__c"]
