"""Writing the records of mails: the first write, what is unknown, and lost leases."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from relay.activity import Mode
from relay.config import Settings
from relay.core.errors import LeaseLost, OutcomeUnknown
from relay.core.model import Activity, Draft, LedgerUpdate, MailState
from relay.core.queue import LeaseOwner
from relay.core.states import ActivityState
from relay.outbox.backoff import Backoff
from relay.outbox.batch import Batch, BatchMail
from relay.outbox.engine import Parts
from relay.outbox.mode import NOTE, WriteMode
from relay.outbox.records import MAX_RECORDS, RecordWriter
from relay.salesforce import FieldInfo, FoundRecord, OrgSchema, WriteOutcome, WriteState
from tests.fakes.shared import MemoryShared

if TYPE_CHECKING:
    from collections.abc import Sequence

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
OWNER = LeaseOwner("h", "b", 1, "s")
EMAIL, TASK = "02s000000000001AAA", "00T000000000001AAA"
FIELDS = {
    "EmailMessage": ("Status", "MessageIdentifier", "ToIds", "ActivityId", "Key__c"),
    "Task": ("Subject", "Key__c"),
}


class Clock:
    """Stands still."""

    def now(self) -> datetime:
        """Return noon."""
        return NOW

    def boottime_s(self) -> float:
        """Return anything."""
        return 1.0


@dataclass
class Store:
    """Keeps the ledger, and the shared facts; `lost` are mails of other workers."""

    rows: dict[str, ActivityState] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    lost: set[int] = field(default_factory=set)
    commits: list[list[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Be every part at once."""
        self.ledger = self.shared = self

    async def get(self, key: str) -> Any:
        """Return a shared fact."""
        return self.facts.get(key)

    async def set(self, key: str, value: Any) -> None:
        """Keep a shared fact."""
        self.facts[key] = value

    async def holders(self, ids: Sequence[str]) -> dict[str, str]:
        """Know nothing."""
        return {}

    async def advance(
        self, _: object, *, plans: Any = (), ledger: Any = (), **__: Any
    ) -> set[str]:
        """Commit; refuse what concerns a lost mail."""
        mails = {mail for mail, _ in plans} | {
            1 for change in ledger if change.state is ActivityState.SENT
        }
        if lost := mails & self.lost:
            raise LeaseLost(frozenset(lost))
        for _, drafts in plans:
            self.rows |= {one.key: ActivityState.PLANNED for one in drafts}
        for change in ledger:
            self.rows[change.key] = change.state
        self.commits.append([f"{change.key} {change.state}" for change in ledger])
        return set()


class Org:
    """Answers writes by the object; what it holds is what a test says."""

    def __init__(self) -> None:
        """Write everything; make an activity of each EmailMessage."""
        self.answers: dict[str, tuple[WriteState, str]] = {}
        self.activity: str | None = TASK
        self.readable = True
        self.gone = False
        self.unique = False
        self.found: list[FoundRecord] = []
        self.made: list[str] = []
        self.calls: list[int] = []
        self.deleted: list[str] = []
        self.schema = self.records = self.access = self

    async def get(self) -> OrgSchema:
        """Return an org with EmailMessages, and a key field."""
        return OrgSchema(
            {
                name: {each: info(each, unique=self.unique) for each in fields}
                for name, fields in FIELDS.items()
            },
            frozenset(FIELDS),
        )

    async def server_time(self) -> datetime:
        """Return our own time."""
        return NOW

    async def me(self) -> str:
        """Return the integration user."""
        return "me"

    async def create(self, records: Sequence[Any], **_: Any) -> list[WriteOutcome]:
        """Create records."""
        outcomes = []
        self.calls.append(len(records))
        for key, sobject, _fields in records:
            self.made.append(sobject)
            state, code = self.answers.get(sobject, (WriteState.WRITTEN, ""))
            sfid = EMAIL if sobject == "EmailMessage" else TASK
            done = sfid if state is WriteState.WRITTEN else None
            outcomes.append(WriteOutcome(key, state, done, code))
        return outcomes

    async def read_email_messages(self, ids: Sequence[str]) -> dict[str, FoundRecord]:
        """Read back what was just written."""
        record = FoundRecord(EMAIL, is_deleted=self.gone, created_at=NOW)
        record = replace(record, activity_id=self.activity)
        return dict.fromkeys(ids, record) if self.readable else {}

    async def find_email_messages(self, ids: Sequence[str]) -> dict[str, Any]:
        """Find by MessageIdentifier."""
        return {ids[0]: self.found}

    async def delete(self, sobject: str, sfid: str) -> bool:
        """Delete a record."""
        self.deleted.append(f"{sobject} {sfid}")
        return True


class Message:
    """A copy of the mail; keeps the trace."""

    def __init__(self) -> None:
        """Have no line yet."""
        self.lines: list[tuple[str, ...]] = []

    def trace(self, *line: str) -> None:
        """Keep a line."""
        self.lines.append(line)


def info(name: str, *, unique: bool) -> FieldInfo:
    """Return a field that may be written."""
    return FieldInfo(
        name=name,
        label=name,
        type="string",
        length=80,
        createable=True,
        updateable=True,
        filterable=True,
        nillable=True,
        defaulted=False,
        unique=unique and name == "Key__c",
        external_id=False,
        restricted=False,
    )


def drafts(mode: Mode) -> tuple[Draft, ...]:
    """Return the plan of the mail in a mode."""
    if mode is Mode.TASK:
        return (Draft("task", "k-task", "Task", {}, "rule"),)
    email = Draft("email", "k-email", "EmailMessage", {"MessageIdentifier": "<1>"}, "r")
    return (email, Draft("more", "k-more", "Task", {}, "rule"))


def a_mail(*rows: Activity) -> BatchMail:
    """Return a mail with these rows."""
    state = MailState(1, "mail", rows, leased=True)
    return BatchMail(state, [Message()], {row.key: row for row in rows})  # type: ignore[list-item]


def sent(sobject: str = "EmailMessage", **more: Any) -> Activity:
    """Return a row that was sent a while ago, without an answer."""
    fields = {"MessageIdentifier": "<1>"}
    values: dict[str, Any] = {"sent_at": NOW - timedelta(seconds=10)} | more
    return Activity("k", 1, "s", sobject, fields, "r", ActivityState.SENT, **values)


class Desk:
    """The writer with its store and org, and one batch."""

    def __init__(self, write_as: str = "auto") -> None:
        """Put the parts together."""
        self.store, self.org = Store(), Org()
        settings = Settings(salesforce={"write_as": write_as})
        backoff = Backoff(settings.worker, random.Random(1))
        clock: Any = Clock()
        self.mode = WriteMode(settings.salesforce, self.store, clock)  # type: ignore[arg-type]
        parts = Parts(settings, self.store, self.org, clock, OWNER, backoff)  # type: ignore[arg-type]
        self.writer = RecordWriter(parts, self.mode)
        self.batch = Batch(OWNER)

    async def probe(self, mail: BatchMail) -> Mode | None:
        """Make the first write."""
        self.batch.mails[1] = mail
        return await self.writer.probe(self.batch, mail, drafts)

    async def recover(self, mail: BatchMail) -> BatchMail:
        """Recover the mail's rows."""
        self.batch.mails[1] = mail
        await self.writer.recover(self.batch, [mail])
        return mail

    def decided(self) -> str | None:
        """Return the mode that all relays know of."""
        note = self.store.facts.get(NOTE)
        return note["mode"] if note else None


def states(mail: BatchMail) -> dict[str, str]:
    """Return the state of each row."""
    return {key: str(row.state) for key, row in mail.rows.items()}


# ------------------------------------------------------------ the first write


async def test_an_activity_proves_enhanced_email() -> None:
    """The first EmailMessage goes alone; the rest follows once it is proven."""
    desk, mail = Desk(), a_mail()
    assert await desk.probe(mail) is Mode.EMAIL_MESSAGE
    assert desk.org.made == ["EmailMessage", "Task"]
    assert states(mail) == {"k-email": "written", "k-more": "written"}
    assert desk.decided() == "email_message"


async def test_without_an_activity_it_is_deleted_and_tasks_are_written() -> None:
    """Nobody could see it; the mail is planned anew."""
    desk, mail = Desk(), a_mail()
    desk.org.activity = None
    assert await desk.probe(mail) is Mode.TASK
    assert desk.org.deleted == [f"EmailMessage {EMAIL}"]
    assert desk.org.made == ["EmailMessage", "Task"]
    assert states(mail) == {"k-task": "written"}
    assert desk.decided() == "task"


async def test_a_refusal_of_the_org_decides_for_tasks() -> None:
    """The object is not for us; a refusal of this record says nothing."""
    desk, mail = Desk(), a_mail()
    desk.org.answers["EmailMessage"] = (WriteState.REFUSED, "INVALID_TYPE")
    assert await desk.probe(mail) is Mode.TASK
    assert states(mail) == {"k-task": "written"}
    desk, mail = Desk(), a_mail()
    desk.org.answers["EmailMessage"] = (WriteState.REFUSED, "A_RULE")
    assert await desk.probe(mail) is None
    assert desk.decided() is None
    assert states(mail)["k-email"] == "refused"


async def test_what_cannot_be_read_back_is_not_written() -> None:
    """It is looked up later; a crash before would find it unknown as well."""
    desk, mail = Desk(), a_mail()
    desk.org.readable = False
    assert await desk.probe(mail) is None
    assert states(mail) == {"k-email": "sent", "k-more": "planned"}
    assert isinstance(mail.error, OutcomeUnknown)
    assert desk.batch.pending == []


async def test_a_first_write_without_an_answer_decides_nothing() -> None:
    """The row is unknown, and the mode too."""
    desk, mail = Desk(), a_mail()
    desk.org.answers["EmailMessage"] = (WriteState.UNKNOWN, "no_answer")
    assert await desk.probe(mail) is None
    assert desk.decided() is None
    assert isinstance(mail.error, OutcomeUnknown)


@pytest.mark.parametrize(
    ("activity", "deleted", "state", "mode"),
    [
        (TASK, False, "written", "email_message"),
        (None, False, "planned", "task"),
        (TASK, True, "planned", None),
    ],
)
async def test_a_first_write_that_is_found_later_decides(
    activity: str | None, mode: str | None, state: str, *, deleted: bool
) -> None:
    """As right after the write; one that was deleted meanwhile decides nothing."""
    desk = Desk()
    desk.org.found = [FoundRecord(EMAIL, deleted, NOW, activity, "me")]
    mail = await desk.recover(a_mail(sent()))
    assert states(mail) == {"k": state}
    assert desk.decided() == mode


@pytest.mark.parametrize(
    ("activity", "deleted", "state"),
    [(TASK, [], "written"), (None, [f"EmailMessage {EMAIL}"], "planned")],
)
async def test_a_first_write_found_after_the_decision_changes_it_no_more(
    activity: str | None, deleted: list[str], state: str
) -> None:
    """Another relay has found out that the org needs Tasks; the record is settled."""
    desk = Desk()
    await desk.mode.remember(Mode.TASK, "decided by another relay")
    note = dict(desk.store.facts[NOTE])
    desk.org.found = [FoundRecord(EMAIL, False, NOW, activity, "me")]
    mail = await desk.recover(a_mail(sent()))
    assert states(mail) == {"k": state}
    assert desk.org.deleted == deleted
    assert desk.store.facts[NOTE] == note


async def test_a_first_write_that_a_person_deletes_at_once_decides_nothing() -> None:
    """It is planned again, and the mode is found out by the next try."""
    desk, mail = Desk(), a_mail()
    desk.org.gone = True
    assert await desk.probe(mail) is None
    assert states(mail) == {"k-email": "planned", "k-more": "planned"}
    assert desk.decided() is None
    assert desk.org.deleted == []


# ------------------------------------------------------------ the mode


async def test_what_one_relay_found_out_holds_for_all_on_the_same_org() -> None:
    """The next process reads it; for another org, or nothing, it must find out."""
    desk = Desk()
    schema = await desk.org.get()
    assert await desk.mode.known(schema) is None
    assert await desk.mode.likely(schema) is Mode.EMAIL_MESSAGE
    desk.store.facts[NOTE] = {"mode": "task", "org": "https://other.example"}
    assert await desk.mode.known(schema) is None
    await desk.mode.remember(Mode.TASK, "no activity")
    settings = Settings(salesforce={"write_as": "auto"}).salesforce
    later = WriteMode(settings, desk.store, Clock())  # type: ignore[arg-type]
    assert later.remembered is None
    assert await later.known(schema) is Mode.TASK
    assert await later.likely(schema) is Mode.TASK
    assert later.remembered is Mode.TASK


async def test_the_setting_and_the_schema_decide_before_any_write() -> None:
    """A mode that is set is taken; an org without EmailMessage takes Tasks."""
    desk = Desk("email_message")
    schema = await desk.org.get()
    assert await desk.mode.known(schema) is Mode.EMAIL_MESSAGE
    assert await Desk().mode.known(OrgSchema({})) is Mode.TASK


async def test_one_lane_of_all_relays_makes_the_first_write() -> None:
    """The lease is named after the org; the second lane waits for it."""
    desk, clock = Desk(), Clock()
    desk.store.leases = MemoryShared(clock).leases
    order = []

    async def lane(owner: LeaseOwner) -> None:
        async with desk.mode.probing(owner):
            order.append(f"in {owner.pid}")
            await asyncio.sleep(0)
            order.append(f"out {owner.pid}")

    rival = LeaseOwner("h", "b", 2, "s")
    await asyncio.gather(lane(OWNER), lane(rival))
    assert order == ["in 1", "out 1", "in 2", "out 2"]


# ------------------------------------------------------------ recover


async def test_a_unique_field_is_sent_again_at_once() -> None:
    """A duplicate proves that it is written; one that is hidden asks for a right."""
    desk = Desk("task")
    desk.org.unique = True
    mail = await desk.recover(a_mail(sent("Task", key_field="Key__c")))
    assert (desk.org.made, states(mail)) == (["Task"], {"k": "written"})
    assert desk.store.commits == [["k sent"]]
    desk.org.answers["Task"] = (WriteState.UNKNOWN, "DUPLICATE_VALUE")
    mail = await desk.recover(a_mail(sent("Task", key_field="Key__c")))
    assert "View All Data" in str(mail.error)
    assert mail.rows["k"].lookups == 1


async def test_shadow_mode_sends_nothing_again() -> None:
    """What is unknown stays so, and the mail waits."""
    desk = Desk("nothing")
    desk.org.unique = True
    mail = await desk.recover(a_mail(sent("Task", key_field="Key__c")))
    assert desk.org.made == []
    assert states(mail) == {"k": "sent"}
    assert "shadow" in str(mail.error)
    assert await desk.recover(a_mail())


@pytest.mark.parametrize(
    ("answer", "state", "text"),
    [
        (WriteState.NOT_SENT, "planned", "did not leave"),
        (WriteState.RETRY, "planned", "UNABLE_TO_LOCK_ROW"),
        (WriteState.UNKNOWN, "sent", "no usable answer"),
    ],
)
async def test_what_is_not_written_says_why(
    answer: WriteState, state: str, text: str
) -> None:
    """The mail's error is the attempt's reason."""
    desk, mail = Desk("task"), a_mail()
    desk.batch.mails[1] = mail
    desk.org.answers["Task"] = (answer, "UNABLE_TO_LOCK_ROW")
    await desk.writer.write(desk.batch, [mail], {1: drafts(Mode.TASK)})
    assert states(mail) == {"k-task": state}
    assert text in f"{mail.error} {getattr(mail.error, 'code', '')}"


async def test_what_does_not_fit_one_call_goes_in_several() -> None:
    """A mail's records stay together; a call takes at most a thousand."""
    desk = Desk("task")
    plans = {
        number: tuple(
            Draft(f"{slot}", f"k-{number}-{slot}", "Task", {}, "rule")
            for slot in range(2)
        )
        for number in range(1, MAX_RECORDS // 2 + 2)
    }
    for number in plans:
        mail = a_mail()
        mail.mail = replace(mail.mail, id=number)
        desk.batch.mails[number] = mail
    await desk.writer.write(desk.batch, list(desk.batch.mails.values()), plans)
    assert desk.org.calls == [MAX_RECORDS, 2]
    assert all(
        set(states(mail).values()) == {"written"} for mail in desk.batch.mails.values()
    )


# ------------------------------------------------------------ commits


async def test_answers_are_committed_before_a_new_plan() -> None:
    """A plan replaces what the store has as planned: it must know the answers."""
    desk, mail = Desk("task"), a_mail()
    desk.batch.mails[1] = mail
    desk.batch.pending.append(LedgerUpdate("old", ActivityState.REFUSED))
    await desk.writer.write(desk.batch, [mail], {1: drafts(Mode.TASK)})
    assert desk.store.commits == [["old refused"], ["k-task sent"]]


async def test_a_mail_of_another_worker_is_left_out() -> None:
    """Its marks are not committed, nothing leaves, and answers are kept."""
    desk, mail = Desk("task"), a_mail()
    desk.batch.mails[1] = mail
    desk.store.lost = {1}
    await desk.writer.write(desk.batch, [mail], {1: drafts(Mode.TASK)})
    assert mail.lost
    assert isinstance(mail.error, LeaseLost)
    assert desk.org.made == []
    assert desk.store.commits == [[]]
