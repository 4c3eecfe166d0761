"""The file stage: what is done in which state, and what trouble does to a file."""

from __future__ import annotations

import asyncio
import base64
import random
from typing import TYPE_CHECKING, Any

import pytest

from relay.attachments.stage import Attachments
from relay.config import Settings
from relay.core.errors import (
    OrgPaused,
    OutcomeUnknown,
    SalesforceUnavailable,
    StoreUnavailable,
)
from relay.core.queue import LeaseOwner
from relay.core.states import ActivityState
from relay.outbox.backoff import Backoff
from relay.outbox.engine import Parts
from relay.salesforce import OrgSchema, WriteOutcome, WriteState
from relay.salesforce.write import Encoded, not_written
from relay.store.messages import RawReader
from relay.telemetry import metrics
from tests.attachments.conftest import LARGE, RECORD, RECORD2, SMALL, START

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from relay.core.files import FileRow
    from tests.attachments.conftest import FileStore, Time
    from tests.fakes.files_org import MemoryOrg

SEEDED = random.Random(1)


@pytest.fixture
def stage(store: FileStore, org: MemoryOrg, clock: Time) -> Attachments:
    """Return the stage."""
    settings = Settings(
        smtp={"domains": ("in.example",)},
        salesforce={"settle_s": 60, "files_hold_s": 900},
    )
    owner, backoff = LeaseOwner("h", "b", 1, "1"), Backoff(settings.worker, SEEDED)
    parts = Parts(settings, store.real, org, clock, owner, backoff)  # type: ignore[arg-type]
    return Attachments(parts, paused=lambda: False)


@pytest.fixture
def turn(stage: Attachments, store: FileStore, clock: Time) -> Callable[..., Any]:
    """Return what makes one turn of the stage."""

    async def once(later_s: float = 0) -> dict[str, str]:
        clock.moved_s += later_s
        await stage.turn()
        await store.read()
        return {key: str(row.state) for key, row in store.rows.items()}

    return once


def counted(state: str) -> float:
    """Return how many files the metrics have in this state."""
    labels = {"state": state}
    return metrics.REGISTRY.get_sample_value("relay_file_changes_total", labels) or 0.0


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_a_file_is_sent_and_linked(
    store: FileStore, org: MemoryOrg, turn: Any, size: int
) -> None:
    """Small or large: uploaded, its link made, never due again."""
    await store.add("a", size=size)
    assert await turn() == {"a": "linked"}
    assert org.made == [("ContentVersion", "a"), ("ContentDocumentLink", "a")]
    assert store.rows["a"].due_at is None
    assert store.rows["a"].document_id == "d-v-a"


async def test_a_link_that_is_there_is_not_made(
    store: FileStore, org: MemoryOrg, turn: Any
) -> None:
    """FirstPublishLocationId has made it with the file."""
    await store.add("a")
    org.links = {("d-v-a", RECORD)}
    assert await turn() == {"a": "linked"}
    assert org.made == [("ContentVersion", "a")]


async def test_one_content_goes_once(
    store: FileStore, org: MemoryOrg, turn: Any
) -> None:
    """On two records: one upload, two links, one document."""
    await store.add("a", sha256="same")
    await store.add("b", sha256="same", record_id=RECORD2)
    assert await turn() == {"a": "linked", "b": "linked"}
    assert [made for made in org.made if made[0] == "ContentVersion"] == [
        ("ContentVersion", "a")
    ]
    assert store.rows["b"].document_id == store.rows["a"].document_id


async def test_the_next_record_carries_what_the_first_may_not(
    store: FileStore, org: MemoryOrg, turn: Any
) -> None:
    """A file refused on one record still comes to the other."""
    await store.add("a", sha256="same", record_gone=True)
    await store.add("b", sha256="same", record_id=RECORD2)
    assert await turn() == {"a": "gone", "b": "linked"}
    assert ("ContentVersion", "b") in org.made


async def test_an_unknown_outcome_is_looked_for_then_sent_again(
    store: FileStore, org: MemoryOrg, turn: Any
) -> None:
    """Waits grow; after the longest time it goes again, and a double is deleted."""
    await store.add("a")
    org.answer = lambda key, _: WriteOutcome(key, WriteState.UNKNOWN, code="no_answer")
    assert await turn() == {"a": "sent"}
    assert store.due_in("a") == 2
    assert await turn(2) == {"a": "sent"}
    assert store.rows["a"].lookups == 1
    org.answer = org.write
    assert await turn(30) == {"a": "sent"}
    assert len(org.made) == 1
    assert await turn(200) == {"a": "linked"}
    assert len([m for m in org.made if m[0] == "ContentVersion"]) == 2
    assert store.due_in("a") > 60
    org.hold("a", at=START, name="late")
    org.hold("a", at=START, name="old", is_deleted=True)
    assert await turn(200) == {"a": "linked"}
    assert org.deleted == ["ContentDocument d-v-late"]
    assert store.rows["a"].due_at is None


@pytest.mark.parametrize("deleted", [False, True])
async def test_an_unknown_outcome_that_is_found(
    store: FileStore, org: MemoryOrg, turn: Any, *, deleted: bool
) -> None:
    """Found settles it; found deleted was somebody's wish."""
    await store.add("a", ActivityState.SENT, sent_at=START)
    org.hold("a", at=START, is_deleted=deleted)
    assert await turn() == {"a": "gone" if deleted else "linked"}
    assert ("ContentVersion", "a") not in org.made


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("whole", [False, True])
async def test_a_full_org_is_asked_now_and_then(
    store: FileStore, org: MemoryOrg, turn: Any, size: int, *, whole: bool
) -> None:
    """Held until the hold is over, what comes meanwhile too; then all follow."""
    code = "STORAGE_LIMIT_EXCEEDED"
    org.answer = (
        OrgPaused("full", code=code)
        if whole
        else lambda key, _: WriteOutcome(key, WriteState.RETRY, code=code)
    )
    await store.add("a", size=size)
    assert await turn() == {"a": "held"}
    asked = len(org.made)
    await store.add("b", size=size)
    assert await turn(10) == {"a": "held", "b": "held"}
    assert len(org.made) == asked
    assert store.due_in("b") == 890
    org.answer = org.write
    assert await turn(900) == {"a": "linked", "b": "linked"}


async def test_without_the_right_files_are_held(
    store: FileStore, org: MemoryOrg, turn: Any
) -> None:
    """A permission that is missing can be given: nothing is refused for it."""
    await store.add("a")
    org.shape = OrgSchema({})
    assert await turn() == {"a": "held"}
    assert "ContentVersion" in store.rows["a"].error


async def test_trouble_of_the_org_counts_for_nothing(
    store: FileStore, org: MemoryOrg, turn: Any
) -> None:
    """A refused login gives the file back as it was."""
    await store.add("a")
    org.answer = OrgPaused("login", code="invalid_grant", retry_after_s=77)
    assert await turn() == {"a": "planned"}
    assert (store.rows["a"].failures, store.due_in("a")) == (0, 77)


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_failures_wait_longer_and_end_by_age(
    store: FileStore, org: MemoryOrg, turn: Any, size: int
) -> None:
    """A transient failure is tried again; after five days it is refused, named."""
    await store.add("a", size=size)
    org.answer = SalesforceUnavailable("down", code="HTTP_503")
    assert await turn() == {"a": "planned"}
    assert store.rows["a"].failures == 1
    assert store.due_in("a") > 10
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
    store: FileStore, org: MemoryOrg, turn: Any, outcome: WriteOutcome, state: str
) -> None:
    """Each outcome has its state, and leaves the neighbour alone."""
    await store.add("a")
    await store.add("b")
    org.answer = lambda key, kind: outcome if key == "a" else org.write(key, kind)
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
    store: FileStore,
    org: MemoryOrg,
    turn: Any,
    outcome: WriteOutcome,
    state: str,
    deleted: int,
) -> None:
    """A file that cannot hang on its record is deleted; what is open waits."""
    await store.add("a")
    org.answer = lambda key, kind: (
        outcome if kind == "ContentDocumentLink" else org.write(key, kind)
    )
    assert await turn() == {"a": state}
    assert len(org.deleted) == deleted
    if state == "written":
        org.answer = org.write
        assert await turn(100) == {"a": "linked"}
        assert len([m for m in org.made if m[0] == "ContentVersion"]) == 1


@pytest.mark.parametrize(
    "outcome",
    [
        WriteOutcome("a", WriteState.UNKNOWN, code="no_answer"),
        *not_written([[Encoded("a", "", b"")]], OutcomeUnknown("lost")),
    ],
    ids=["unknown", "beside an unknown one"],
)
async def test_a_link_without_an_answer_ends_by_age(
    store: FileStore, org: MemoryOrg, turn: Any, outcome: WriteOutcome
) -> None:
    """A link may be made again without a look-up, and not for ever."""
    await store.add("a")
    org.answer = lambda key, kind: (
        outcome if kind == "ContentDocumentLink" else org.write(key, kind)
    )
    assert await turn() == {"a": "written"}
    assert await turn(6 * 86_400) == {"a": "refused"}
    assert store.rows["a"].error.startswith("given up: ")


async def test_a_file_that_cannot_be_seen_yet_is_linked_later(
    store: FileStore, org: MemoryOrg, turn: Any
) -> None:
    """Queries lag behind a write: it is neither sent again nor refused."""
    await store.add("a")
    org.invisible = True
    assert await turn() == {"a": "written"}
    assert (store.due_in("a"), store.rows["a"].lookups) == (2, 1)
    assert await turn(2) == {"a": "written"}
    assert (store.due_in("a"), store.rows["a"].lookups) == (10, 2)
    org.invisible = False
    assert await turn(10) == {"a": "linked"}
    assert org.made == [("ContentVersion", "a"), ("ContentDocumentLink", "a")]


async def test_a_refused_second_link_leaves_the_file(
    store: FileStore, org: MemoryOrg, turn: Any
) -> None:
    """The first record still shows it: only a file without a link is deleted."""
    await store.add(
        "a", ActivityState.LINKED, sha256="same", document_id="d-v-a", due_at=None
    )
    await store.add("b", sha256="same", record_id=RECORD2)
    org.answer = lambda key, _: WriteOutcome(key, WriteState.REFUSED, code="NO_ACCESS")
    assert await turn() == {"a": "linked", "b": "refused"}
    assert org.made == [("ContentDocumentLink", "b")]
    assert org.deleted == []


async def test_a_file_deleted_before_its_link_is_gone(
    store: FileStore, org: MemoryOrg, turn: Any
) -> None:
    """Deleted in Salesforce by a person: not made again."""
    await store.add("a", ActivityState.WRITTEN, version_id="v-a")
    org.hold("a", at=START, is_deleted=True)
    assert await turn() == {"a": "gone"}


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_files_of_a_mail_that_is_gone_are_refused(
    store: FileStore, turn: Any, size: int
) -> None:
    """Without the raw mail there is nothing to send, now or later."""
    await store.add("a", size=size)
    store.spooled().unlink()
    assert await turn() == {"a": "refused"}
    assert store.rows["a"].error.startswith("there is no raw mail ")


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_files_of_a_mail_that_cannot_be_opened_wait(
    store: FileStore, turn: Any, size: int
) -> None:
    """A raw mail that cannot be opened now is tried again."""
    await store.add("a", size=size)
    spooled = store.spooled()
    spooled.unlink()
    spooled.mkdir()
    assert await turn() == {"a": "planned"}
    assert store.rows["a"].error.endswith(" cannot be read now (EISDIR)")
    assert store.due_in("a") > 0


@pytest.fixture
def taken_away(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., None]:
    """Return what has another worker take files once this one has claimed them."""

    def take_away(*keys: str) -> None:
        claim = store.real.attachments.claim

        async def claimed(*args: Any) -> list[FileRow]:
            rows = await claim(*args)
            await store.take_away(*keys)
            return rows

        monkeypatch.setattr(store.real.attachments, "claim", claimed)

    return take_away


async def test_what_another_worker_has_taken_is_not_sent(
    store: FileStore, org: MemoryOrg, turn: Any, taken_away: Callable[..., None]
) -> None:
    """A lease that was lost: nothing leaves."""
    await store.add("a")
    await store.add("b", size=LARGE)
    taken_away("a", "b")
    assert await turn() == {"a": "planned", "b": "planned"}
    assert not org.made


async def test_what_another_worker_has_taken_is_not_settled(
    store: FileStore, turn: Any, taken_away: Callable[..., None]
) -> None:
    """Its state is that worker's; here nothing is counted or done for it any more."""
    await store.add("a", record_gone=True)
    await store.add("b")
    taken_away("a")
    gone, linked = counted("gone"), counted("linked")
    assert await turn() == {"a": "planned", "b": "linked"}
    assert (counted("gone"), counted("linked")) == (gone, linked + 1)
    assert store.rows["a"].error == ""


async def test_what_nobody_foresaw_is_tried_again(
    store: FileStore, org: MemoryOrg, turn: Any
) -> None:
    """A defect costs a wait, and no state is left that nobody looks at."""
    await store.add("a", ActivityState.LINKED)
    await store.add("b")
    org.answer = ValueError("defect")
    await turn()
    assert store.rows["b"].state is ActivityState.SENT
    assert store.rows["b"].failures == 1
    assert store.rows["a"].due_at is not None


async def test_a_store_in_trouble_stops_the_turn(
    store: FileStore, org: MemoryOrg, turn: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Leases run out by themselves; nothing else is tried."""

    async def fail(_: str) -> RawReader:
        raise StoreUnavailable("locked")

    await store.add("a")
    monkeypatch.setattr(store.real.messages, "open", fail)
    with pytest.raises(StoreUnavailable):
        await turn()
    assert not org.made
    monkeypatch.undo()
    assert await turn(10) == {"a": "planned"}, "it is leased still"
    assert await turn(600) == {"a": "linked"}


async def test_one_mails_files_do_not_spoil_the_others(
    store: FileStore, org: MemoryOrg, turn: Any
) -> None:
    """A file that breaks the code fails alone; every other file arrives."""
    for number in range(1, 6):
        await store.add(f"f{number}", mail_id=number)

    def odd(key: str, kind: str) -> WriteOutcome:
        if key == "f3":
            raise ValueError(kind)
        return org.write(key, kind)

    org.answer = odd
    await turn()
    # What was on its way with it is looked up before it is sent again.
    org.found.clear()
    for number in (1, 2, 4, 5):
        org.hold(f"f{number}", at=START)
    org.links = set()
    states = await turn(1000)
    assert {key for key, state in states.items() if state == "linked"} == {
        "f1", "f2", "f4", "f5",
    }  # fmt: skip
    assert states["f3"] in {"sent", "planned"}


async def test_a_mail_that_cannot_be_read_now_is_tried_again(
    store: FileStore, turn: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fails while the content is read: the reason is kept."""

    def pieces(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(RawReader, "pieces", pieces)
    await store.add("a")
    assert await turn() == {"a": "planned"}
    assert "Input/output error" in store.rows["a"].error


async def test_the_original_mail_is_sent_without_secrets(
    store: FileStore, org: MemoryOrg, turn: Any
) -> None:
    """A row without a digest is the whole mail; relay addresses in it are masked."""
    sent: list[bytes] = []

    create = org.create

    async def watched(records: Sequence[Any], **more: Any) -> list[WriteOutcome]:
        sent.extend(
            base64.b64decode(fields["VersionData"])
            for _, kind, fields in records
            if kind == "ContentVersion"
        )
        return await create(records, **more)

    org.create = watched  # type: ignore[method-assign]
    store.raw = b"Bcc: ada-secret@in.example"
    await store.add("a", size=26, sha256="")
    assert await turn() == {"a": "linked"}
    assert len(sent) == 1
    assert b"ada-secret" not in sent[0]


async def test_a_link_call_that_fails_as_a_whole_is_made_again(
    store: FileStore, org: MemoryOrg, turn: Any
) -> None:
    """The upload is not repeated for it."""
    await store.add("a", ActivityState.WRITTEN, version_id="v-a")
    org.hold("a", at=START)
    org.answer = SalesforceUnavailable("odd", code="HTTP_500")
    assert await turn() == {"a": "written"}
    assert store.rows["a"].error == "odd"
    org.answer = org.write
    assert await turn(100) == {"a": "linked"}
    assert org.made == [("ContentDocumentLink", "a")]


async def test_files_are_worked_off_until_the_end(
    stage: Attachments, store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A turn that found nothing waits; `wake` ends the wait, and stopping all."""
    monkeypatch.setattr("relay.attachments.stage.POLL_S", 60.0)
    claim = store.real.attachments.claim
    idle, stopping = asyncio.Event(), asyncio.Event()

    async def watched(*args: object) -> list[FileRow]:
        rows = await claim(*args)
        if not rows:
            idle.set()
        return rows

    monkeypatch.setattr(store.real.attachments, "claim", watched)
    running = asyncio.create_task(stage.run(stopping))
    await asyncio.wait_for(idle.wait(), 5)
    idle.clear()
    await store.add("a")
    stage.wake()
    await asyncio.wait_for(idle.wait(), 5)
    await store.read()
    assert store.rows["a"].state is ActivityState.LINKED
    stopping.set()
    await asyncio.wait_for(running, 5)
