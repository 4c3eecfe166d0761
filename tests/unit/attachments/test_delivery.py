"""The file stage: what is done in which state, and what trouble does to a file."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import io
import random
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from relay.attachments.stage import Attachments
from relay.config import Settings
from relay.core.errors import (
    NotFound,
    OrgPaused,
    RawUnreadable,
    SalesforceUnavailable,
    StoreUnavailable,
)
from relay.core.files import FileDraft, FileRow, FileUpdate
from relay.core.model import Activity, MailState
from relay.core.queue import LeaseOwner
from relay.core.states import FILE_TRANSITIONS, ActivityState
from relay.mail import parse
from relay.outbox.backoff import Backoff
from relay.outbox.batch import Batch, BatchMail
from relay.outbox.engine import Parts
from relay.salesforce import OrgSchema, WriteOutcome, WriteState
from relay.salesforce.files import FoundFile, Places
from relay.store.messages import RawReader
from relay.telemetry import metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
RECORD, RECORD2 = "02s000000000001", "00T000000000001"
SCHEMA = OrgSchema({}, frozenset({"ContentVersion"}))
SMALL, LARGE = 100, 300_000
SEEDED = random.Random(1)


class Time:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        """Start at noon."""
        self.moved_s = 0.0

    def now(self) -> datetime:
        """Return the time."""
        return START + timedelta(seconds=self.moved_s)

    def boottime_s(self) -> float:
        """Return the seconds since the start."""
        return self.moved_s


class MemoryStore:
    """Files in a dictionary; every change must be one that the table has."""

    def __init__(self, clock: Time) -> None:
        """Hold nothing."""
        self.clock = clock
        self.rows: dict[str, FileRow] = {}
        self.raw: Exception | bytes = bytes(LARGE)
        self.lost: set[str] = set()
        self.attachments = self.messages = self

    def add(
        self, key: str, state: ActivityState = ActivityState.PLANNED, **more: Any
    ) -> None:
        """Add a file."""
        size = more.pop("size", SMALL)
        draft = FileDraft(
            key, more.pop("mail_id", 1), "act", "blob", f"{key}.pdf", "application/pdf",
            size, more.pop("sha256", key), 0, size,
        )  # fmt: skip
        values = {
            "record_id": RECORD,
            "record_gone": False,
            "created_at": self.clock.now(),
            "due_at": self.clock.now(),
        } | more
        self.rows[key] = FileRow(len(self.rows), draft, state, **values)

    async def claim(self, *_: object) -> list[FileRow]:
        """Return all, those that are due as the caller's."""
        now = self.clock.now()
        rows = [
            dataclasses.replace(row, mine=row.due_at is not None and row.due_at <= now)
            for row in self.rows.values()
        ]
        return rows if any(row.mine for row in rows) else []

    async def update(
        self, _: object, updates: Sequence[FileUpdate], __: object = None
    ) -> set[str]:
        """Change rows as the real store does."""
        done = set()
        for one in updates:
            row = self.rows[one.key]
            if one.key in self.lost:
                continue
            assert one.state in FILE_TRANSITIONS[row.state], (row.state, one)
            done.add(one.key)
            self.rows[one.key] = dataclasses.replace(
                row,
                state=one.state,
                due_at=row.due_at if one.keep else one.due_at,
                version_id=one.version_id or row.version_id,
                document_id=one.document_id or row.document_id,
                sent_at=one.sent_at or row.sent_at,
                error=one.error,
                lookups=row.lookups if one.lookups is None else one.lookups,
                failures=row.failures if one.failures is None else one.failures,
            )
        return done

    async def open(self, _: str) -> RawReader:
        """Return the mail, or raise."""
        if isinstance(self.raw, Exception):
            raise self.raw
        return RawReader(io.BytesIO(self.raw))


class FakeOrg:
    """An org that does what a test says; files come into being at once."""

    def __init__(self, clock: Time) -> None:
        """Hold nothing."""
        self.clock = clock
        self.files = self.records = self.access = self.schema = self
        self.answer: Callable[[str, str], WriteOutcome] | Exception = self.done
        self.made: list[tuple[str, str]] = []
        self.found: dict[str, list[FoundFile]] = {}
        self.links: set[tuple[str, str]] = set()
        self.deleted: list[str] = []
        self.the_schema = SCHEMA
        self.gone: set[str] = set()
        self.invisible = False

    def done(self, key: str, sobject: str) -> WriteOutcome:
        """Answer that it is written."""
        del sobject
        return WriteOutcome(key, WriteState.WRITTEN, f"v-{key}")

    def server_now(self) -> datetime:
        """Return the same time."""
        return self.clock.now()

    async def me(self) -> str:
        """Return somebody."""
        return "me"

    async def get(self) -> OrgSchema:
        """Return the shape."""
        return self.the_schema

    async def create(
        self, records: Sequence[tuple[str, str, Any]], **_: object
    ) -> list[WriteOutcome]:
        """Create records as the test says."""
        if isinstance(self.answer, Exception):
            raise self.answer
        self.made += [(sobject, key) for key, sobject, _ in records]
        return [self.answer(key, sobject) for key, sobject, _ in records]

    async def upload(
        self, key: str, fields: Any, size: int, source: Any, **_: object
    ) -> WriteOutcome:
        """Take one large file."""
        assert sum(map(len, source())) == size
        (outcome,) = await self.create([(key, "ContentVersion", fields)])
        return outcome

    async def find_own(self, *_: object) -> dict[str, list[FoundFile]]:
        """Return what the test put there."""
        return self.found

    async def places(self, versions: Sequence[str], _: object) -> Places:
        """Return a document for each version that can be seen."""
        documents = {} if self.invisible else {v: f"d-{v}" for v in versions}
        return Places(documents, frozenset(self.links), frozenset(self.gone))

    async def delete(self, sobject: str, record: str) -> bool:
        """Note it."""
        self.deleted.append(f"{sobject} {record}")
        return True


@pytest.fixture
def clock() -> Time:
    """Return a clock."""
    return Time()


@pytest.fixture
def store(clock: Time) -> MemoryStore:
    """Return a store."""
    return MemoryStore(clock)


@pytest.fixture
def org(clock: Time) -> FakeOrg:
    """Return an org."""
    return FakeOrg(clock)


@pytest.fixture
def stage(store: MemoryStore, org: FakeOrg, clock: Time) -> Attachments:
    """Return the stage."""
    settings = Settings(
        smtp={"domains": ("in.example",)},
        salesforce={"settle_s": 60, "files_hold_s": 900},
    )
    owner, backoff = LeaseOwner("h", "b", 1, "1"), Backoff(settings.worker, SEEDED)
    parts = Parts(settings, store, org, clock, owner, backoff)  # type: ignore[arg-type]
    return Attachments(parts, paused=lambda: False)


@pytest.fixture
def turn(stage: Attachments, store: MemoryStore, clock: Time) -> Callable[..., Any]:
    """Return what makes one turn of the stage."""

    async def once(later_s: float = 0) -> dict[str, str]:
        clock.moved_s += later_s
        await stage.turn()
        return {key: str(row.state) for key, row in store.rows.items()}

    return once


def counted(state: str) -> float:
    """Return how many files the metrics have in this state."""
    labels = {"state": state}
    return metrics.REGISTRY.get_sample_value("relay_file_changes_total", labels) or 0.0


def due_in(store: MemoryStore, key: str) -> float:
    """Return the seconds until a file is due."""
    due = store.rows[key].due_at
    assert due is not None
    return (due - store.clock.now()).total_seconds()


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_a_file_is_sent_and_linked(
    store: MemoryStore, org: FakeOrg, turn: Any, size: int
) -> None:
    """Small or large: uploaded, its link made, never due again."""
    store.add("a", size=size)
    assert await turn() == {"a": "linked"}
    assert org.made == [("ContentVersion", "a"), ("ContentDocumentLink", "a")]
    assert store.rows["a"].due_at is None
    assert store.rows["a"].document_id == "d-v-a"


async def test_a_link_that_is_there_is_not_made(
    store: MemoryStore, org: FakeOrg, turn: Any
) -> None:
    """FirstPublishLocationId has made it with the file."""
    store.add("a")
    org.links = {("d-v-a", RECORD)}
    assert await turn() == {"a": "linked"}
    assert org.made == [("ContentVersion", "a")]


async def test_one_content_goes_once(
    store: MemoryStore, org: FakeOrg, turn: Any
) -> None:
    """On two records: one upload, two links, one document."""
    store.add("a", sha256="same")
    store.add("b", sha256="same", record_id=RECORD2)
    assert await turn() == {"a": "linked", "b": "linked"}
    assert [made for made in org.made if made[0] == "ContentVersion"] == [
        ("ContentVersion", "a")
    ]
    assert store.rows["b"].document_id == store.rows["a"].document_id


async def test_the_next_record_carries_what_the_first_may_not(
    store: MemoryStore, org: FakeOrg, turn: Any
) -> None:
    """A file refused on one record still comes to the other."""
    store.add("a", sha256="same", record_gone=True)
    store.add("b", sha256="same", record_id=RECORD2)
    assert await turn() == {"a": "gone", "b": "linked"}
    assert ("ContentVersion", "b") in org.made


async def test_an_unknown_outcome_is_looked_for_then_sent_again(
    store: MemoryStore, org: FakeOrg, turn: Any
) -> None:
    """Waits grow; after the longest time it goes again, and a double is deleted."""
    store.add("a")
    org.answer = lambda key, _: WriteOutcome(key, WriteState.UNKNOWN, code="no_answer")
    assert await turn() == {"a": "sent"}
    assert due_in(store, "a") == 2
    assert await turn(2) == {"a": "sent"}
    assert store.rows["a"].lookups == 1
    org.answer = org.done
    assert await turn(30) == {"a": "sent"}
    assert len(org.made) == 1
    assert await turn(200) == {"a": "linked"}
    assert len([m for m in org.made if m[0] == "ContentVersion"]) == 2
    assert due_in(store, "a") > 60
    org.found = {
        "a": [
            FoundFile("a", "v-late", "d-late", is_deleted=False, created_at=START),
            FoundFile("a", "v-a", "d-v-a", is_deleted=False, created_at=START),
            FoundFile("a", "v-old", "d-old", is_deleted=True, created_at=START),
        ]
    }
    assert await turn(200) == {"a": "linked"}
    assert org.deleted == ["ContentDocument d-late"]
    assert store.rows["a"].due_at is None


@pytest.mark.parametrize("deleted", [False, True])
async def test_an_unknown_outcome_that_is_found(
    store: MemoryStore, org: FakeOrg, turn: Any, *, deleted: bool
) -> None:
    """Found settles it; found deleted was somebody's wish."""
    store.add("a", ActivityState.SENT, sent_at=START)
    org.found = {"a": [FoundFile("a", "v", "d", deleted, START)]}
    assert await turn() == {"a": "gone" if deleted else "linked"}
    assert ("ContentVersion", "a") not in org.made


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("whole", [False, True])
async def test_a_full_org_is_asked_now_and_then(
    store: MemoryStore, org: FakeOrg, turn: Any, size: int, *, whole: bool
) -> None:
    """Held until the hold is over, what comes meanwhile too; then all follow."""
    code = "STORAGE_LIMIT_EXCEEDED"
    org.answer = (
        OrgPaused("full", code=code)
        if whole
        else lambda key, _: WriteOutcome(key, WriteState.RETRY, code=code)
    )
    store.add("a", size=size)
    assert await turn() == {"a": "held"}
    asked = len(org.made)
    store.add("b", size=size)
    assert await turn(10) == {"a": "held", "b": "held"}
    assert len(org.made) == asked
    assert due_in(store, "b") == 890
    org.answer = org.done
    assert await turn(900) == {"a": "linked", "b": "linked"}


async def test_without_the_right_files_are_held(
    store: MemoryStore, org: FakeOrg, turn: Any
) -> None:
    """A permission that is missing can be given: nothing is refused for it."""
    store.add("a")
    org.the_schema = OrgSchema({})
    assert await turn() == {"a": "held"}
    assert "ContentVersion" in store.rows["a"].error


async def test_trouble_of_the_org_counts_for_nothing(
    store: MemoryStore, org: FakeOrg, turn: Any
) -> None:
    """A refused login gives the file back as it was."""
    store.add("a")
    org.answer = OrgPaused("login", code="invalid_grant", retry_after_s=77)
    assert await turn() == {"a": "planned"}
    assert (store.rows["a"].failures, due_in(store, "a")) == (0, 77)


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_failures_wait_longer_and_end_by_age(
    store: MemoryStore, org: FakeOrg, turn: Any, size: int
) -> None:
    """A transient failure is tried again; after five days it is refused, named."""
    store.add("a", size=size)
    org.answer = SalesforceUnavailable("down", code="HTTP_503")
    assert await turn() == {"a": "planned"}
    assert store.rows["a"].failures == 1
    assert due_in(store, "a") > 10
    assert await turn(6 * 86_400) == {"a": "refused"}
    assert store.rows["a"].error == "given up: down"


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (WriteOutcome("a", WriteState.REFUSED, code="HTML_FILE_UPLOAD"), "refused"),
        (WriteOutcome("a", WriteState.REFUSED, code="ENTITY_IS_DELETED"), "gone"),
        (WriteOutcome("a", WriteState.NOT_SENT, code="late"), "planned"),
        (WriteOutcome("a", WriteState.RETRY, code="UNABLE_TO_LOCK_ROW"), "planned"),
    ],
)
async def test_outcomes_of_an_upload(
    store: MemoryStore, org: FakeOrg, turn: Any, outcome: WriteOutcome, state: str
) -> None:
    """Each outcome has its state, and leaves the neighbour alone."""
    store.add("a")
    store.add("b")
    org.answer = lambda key, kind: outcome if key == "a" else org.done(key, kind)
    assert await turn() == {"a": state, "b": "linked"}
    assert outcome.code in store.rows["a"].error


@pytest.mark.parametrize(
    ("outcome", "state", "deleted"),
    [
        (WriteOutcome("a", WriteState.REFUSED, code="DUPLICATE_VALUE"), "linked", 0),
        (WriteOutcome("a", WriteState.REFUSED, code="INSUFFICIENT"), "refused", 1),
        (WriteOutcome("a", WriteState.REFUSED, code="ENTITY_IS_DELETED"), "gone", 1),
        (WriteOutcome("a", WriteState.UNKNOWN, code="no_answer"), "written", 0),
        (WriteOutcome("a", WriteState.RETRY, code="UNABLE_TO_LOCK_ROW"), "written", 0),
    ],
)
async def test_outcomes_of_a_link(
    store: MemoryStore,
    org: FakeOrg,
    turn: Any,
    outcome: WriteOutcome,
    state: str,
    deleted: int,
) -> None:
    """A file that cannot hang on its record is deleted; what is open waits."""
    store.add("a")
    org.answer = lambda key, kind: (
        outcome if kind == "ContentDocumentLink" else org.done(key, kind)
    )
    assert await turn() == {"a": state}
    assert len(org.deleted) == deleted
    if state == "written":
        org.answer = org.done
        assert await turn(100) == {"a": "linked"}
        assert len([m for m in org.made if m[0] == "ContentVersion"]) == 1


async def test_a_link_without_an_answer_ends_by_age(
    store: MemoryStore, org: FakeOrg, turn: Any
) -> None:
    """A link may be made again without a look-up, and not for ever."""
    store.add("a")
    unknown = WriteOutcome("a", WriteState.UNKNOWN, code="no_answer")
    org.answer = lambda key, kind: (
        unknown if kind == "ContentDocumentLink" else org.done(key, kind)
    )
    assert await turn() == {"a": "written"}
    assert await turn(6 * 86_400) == {"a": "refused"}
    assert store.rows["a"].error.startswith("given up: ")


async def test_a_file_that_cannot_be_seen_yet_is_linked_later(
    store: MemoryStore, org: FakeOrg, turn: Any
) -> None:
    """Queries lag behind a write: it is neither sent again nor refused."""
    store.add("a")
    org.invisible = True
    assert await turn() == {"a": "written"}
    assert (due_in(store, "a"), store.rows["a"].lookups) == (2, 1)
    assert await turn(2) == {"a": "written"}
    assert (due_in(store, "a"), store.rows["a"].lookups) == (10, 2)
    org.invisible = False
    assert await turn(10) == {"a": "linked"}
    assert org.made == [("ContentVersion", "a"), ("ContentDocumentLink", "a")]


async def test_a_refused_second_link_leaves_the_file(
    store: MemoryStore, org: FakeOrg, turn: Any
) -> None:
    """The first record still shows it: only a file without a link is deleted."""
    store.add(
        "a", ActivityState.LINKED, sha256="same", document_id="d-v-a", due_at=None
    )
    store.add("b", sha256="same", record_id=RECORD2)
    org.answer = lambda key, _: WriteOutcome(key, WriteState.REFUSED, code="NO_ACCESS")
    assert await turn() == {"a": "linked", "b": "refused"}
    assert org.made == [("ContentDocumentLink", "b")]
    assert org.deleted == []


async def test_a_file_deleted_before_its_link_is_gone(
    store: MemoryStore, org: FakeOrg, turn: Any
) -> None:
    """Deleted in Salesforce by a person: not made again."""
    store.add("a", ActivityState.WRITTEN, version_id="v")
    org.gone = {"v"}
    assert await turn() == {"a": "gone"}


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize(
    ("error", "state"),
    [(NotFound("gone"), "refused"), (RawUnreadable("io"), "planned")],
)
async def test_raw_mail_in_trouble(
    store: MemoryStore, turn: Any, size: int, error: Exception, state: str
) -> None:
    """Gone is final, unreadable is tried again."""
    store.add("a", size=size)
    store.messages.raw = error
    assert await turn() == {"a": state}
    assert store.rows["a"].error == str(error)


async def test_what_another_worker_has_taken_is_not_sent(
    store: MemoryStore, org: FakeOrg, turn: Any
) -> None:
    """A lease that was lost: nothing leaves."""
    store.add("a")
    store.add("b", size=LARGE)
    store.lost = {"a", "b"}
    assert await turn() == {"a": "planned", "b": "planned"}
    assert not org.made


async def test_what_another_worker_has_taken_is_not_settled(
    store: MemoryStore, org: FakeOrg, turn: Any
) -> None:
    """Its state is that worker's; here nothing is counted or done for it any more."""
    store.add("a", record_gone=True)
    store.add("b")
    store.lost = {"a"}
    gone, linked = counted("gone"), counted("linked")
    assert await turn() == {"a": "planned", "b": "linked"}
    assert (counted("gone"), counted("linked")) == (gone, linked + 1)
    assert store.rows["a"].error == ""


async def test_what_nobody_foresaw_is_tried_again(
    store: MemoryStore, org: FakeOrg, turn: Any
) -> None:
    """A defect costs a wait, and no state is left that nobody looks at."""
    store.add("a", ActivityState.LINKED)
    store.add("b")
    org.answer = ValueError("defect")
    await turn()
    assert store.rows["b"].state is ActivityState.SENT
    assert store.rows["b"].failures == 1
    assert store.rows["a"].due_at is not None


async def test_a_store_in_trouble_stops_the_turn(store: MemoryStore, turn: Any) -> None:
    """Leases run out by themselves; nothing else is tried."""
    store.add("a")
    store.messages.raw = StoreUnavailable("full")
    with pytest.raises(StoreUnavailable):
        await turn()


async def test_one_mails_files_do_not_spoil_the_others(
    store: MemoryStore, org: FakeOrg, turn: Any
) -> None:
    """A file that breaks the code fails alone; every other file arrives."""
    for number in range(1, 6):
        store.add(f"f{number}", mail_id=number)

    def odd(key: str, kind: str) -> WriteOutcome:
        if key == "f3":
            raise ValueError(kind)
        return org.done(key, kind)

    org.answer = odd
    await turn()
    # What was on its way with it is looked up before it is sent again.
    org.found = {
        key: [
            FoundFile(key, f"v-{key}", f"d-v-{key}", is_deleted=False, created_at=START)
        ]
        for key in store.rows
        if key != "f3"
    }
    org.links = set()
    states = await turn(1000)
    assert {key for key, state in states.items() if state == "linked"} == {
        "f1", "f2", "f4", "f5",
    }  # fmt: skip
    assert states["f3"] in {"sent", "planned"}


async def test_a_mail_that_cannot_be_read_now_is_tried_again(
    store: MemoryStore, turn: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fails while the content is read: the reason is kept."""

    def pieces(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(RawReader, "pieces", pieces)
    store.add("a")
    assert await turn() == {"a": "planned"}
    assert "Input/output error" in store.rows["a"].error


async def test_the_original_mail_is_sent_without_secrets(
    store: MemoryStore, org: FakeOrg, turn: Any
) -> None:
    """A row without a digest is the whole mail; relay addresses in it are masked."""
    sent: list[bytes] = []

    async def create(records: Sequence[Any], **_: object) -> list[WriteOutcome]:
        sent.extend(
            base64.b64decode(fields["VersionData"])
            for _, kind, fields in records
            if kind == "ContentVersion"
        )
        return [org.done(key, kind) for key, kind, _ in records]

    org.create = create  # type: ignore[method-assign]
    store.messages.raw = b"Bcc: ada-secret@in.example"
    store.add("a", size=26, sha256="")
    assert await turn() == {"a": "linked"}
    assert len(sent) == 1
    assert b"ada-secret" not in sent[0]


async def test_a_link_call_that_fails_as_a_whole_is_made_again(
    store: MemoryStore, org: FakeOrg, turn: Any
) -> None:
    """The upload is not repeated for it."""
    store.add("a", ActivityState.WRITTEN, version_id="v")
    org.answer = SalesforceUnavailable("odd", code="HTTP_500")
    assert await turn() == {"a": "written"}
    assert store.rows["a"].error == "odd"
    org.answer = org.done
    assert await turn(100) == {"a": "linked"}
    assert org.made == [("ContentDocumentLink", "a")]


# ------------------------------------------------------------------ planning

RAW = (
    b"From: ada@corp.example\r\nSubject: s\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
    b"Content-Type: text/plain\r\n\r\nhello\r\n"
) + b"".join(
    b"--b\r\nContent-Type: application/octet-stream\r\n"
    b"Content-Disposition: attachment; filename=%s\r\n\r\ncontent of %s\r\n"
    % (name, name)
    for name in (b"a.pdf", *(b"%d.exe" % number for number in range(12)))
) + b"--b--\r\n"  # fmt: skip


def plan(**section: Any) -> tuple[list[str], list[tuple[str, ...]]]:
    """Plan the files of a mail with one record; return their names, and the trace."""
    settings = Settings(salesforce=section)
    backoff = Backoff(settings.worker, SEEDED)
    owner = LeaseOwner("h", "b", 1, "1")
    parts = Parts(settings, None, None, Time(), owner, backoff)  # type: ignore[arg-type]
    lines: list[tuple[str, ...]] = []
    message = SimpleNamespace(
        email=parse(RAW),
        claimed=SimpleNamespace(blob_id="blob", size_bytes=len(RAW)),
        trace=lambda *line: lines.append(line),
    )
    row = Activity("k", 1, "s", "Task", {}, "r", ActivityState.WRITTEN, RECORD)
    state = MailState(1, "m", (row,), leased=True)
    batch = Batch(owner)
    mail = BatchMail(state, [message], {"k": row})  # type: ignore[list-item]
    Attachments(parts, paused=lambda: False).plan(batch, mail)
    return [draft.name for draft in batch.files], lines


def test_what_is_planned_and_left_out_stands_in_the_trace() -> None:
    """Each file by its name; a long list of those left out is cut."""
    names, lines = plan(files_attach=True, files_deny=(".exe",))
    assert names == ["a.pdf"]
    assert ("files", "1 to send", "a.pdf") in lines
    assert len([line for line in lines if line[1] == "left out"]) == 11
    assert lines[-1] == ("files", "left out", "2 more")


def test_the_trace_is_silent_about_what_there_is_none_of() -> None:
    """All files left out, or a few, or none: no line about the others."""
    names, lines = plan(files_attach=True, files_deny=(".exe", ".pdf"))
    assert names == []
    assert {line[1] for line in lines} == {"left out"}
    names, lines = plan(files_attach=True, files_deny=())
    assert len(names) == 13
    assert [line[1] for line in lines] == ["13 to send"]


async def test_files_are_worked_off_until_the_end(
    stage: Attachments, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A turn that found nothing waits; `wake` ends the wait, and stopping all."""
    monkeypatch.setattr("relay.attachments.stage.POLL_S", 60.0)
    claim, idle, stopping = store.claim, asyncio.Event(), asyncio.Event()

    async def watched(*args: object) -> list[FileRow]:
        rows = await claim(*args)
        if not rows:
            idle.set()
        return rows

    monkeypatch.setattr(store, "claim", watched)
    running = asyncio.create_task(stage.run(stopping))
    await asyncio.wait_for(idle.wait(), 5)
    idle.clear()
    store.add("a")
    stage.wake()
    await asyncio.wait_for(idle.wait(), 5)
    assert store.rows["a"].state is ActivityState.LINKED
    stopping.set()
    await asyncio.wait_for(running, 5)


async def test_without_files_nothing_is_planned_or_run() -> None:
    """`salesforce.files_attach = false`."""
    assert plan(files_attach=False) == ([], [])
    settings = Settings(salesforce={"files_attach": False})
    backoff, owner = Backoff(settings.worker, SEEDED), LeaseOwner("h", "b", 1, "1")
    parts = Parts(settings, None, None, Time(), owner, backoff)  # type: ignore[arg-type]
    await Attachments(parts, paused=lambda: False).run(asyncio.Event())
