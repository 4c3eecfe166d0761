"""Uploads as they leave, and what is read back about files."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from relay.activity import cut
from relay.core.errors import (
    ActivityRefused,
    OrgPaused,
    OutcomeUnknown,
    SalesforceUnavailable,
)
from relay.salesforce import OrgSchema, WriteState, errors, files
from relay.salesforce.connection import Queries
from relay.salesforce.files import Files, Upload, UploadBrokenOffError
from relay.salesforce.transport import TooLateError
from relay.sandbox.answers import read_multipart

if TYPE_CHECKING:
    from collections.abc import Callable

VERSION, OTHER = "068000000000001AAA", "068000000000002AAA"
DOCUMENT, TASK = "069000000000001AAA", "00T000000000001EAA"
KEY = "ab12" * 10
NOW = datetime(2026, 3, 1, tzinfo=UTC)


class Time:
    """A clock that is moved by hand."""

    boot = 0.0

    def now(self) -> datetime:
        """Return a fixed time."""
        return NOW

    def boottime_s(self) -> float:
        """Return what was set."""
        return self.boot


def upload(
    *pieces: bytes, size: int | None = None, clock: Time | None = None
) -> Upload:
    """Return an upload of these pieces."""
    whole = sum(map(len, pieces)) if size is None else size
    fields = {"Title": "Größe", "PathOnClient": "a.pdf"}
    return Upload(fields, "VersionData", whole, lambda: pieces, clock or Time())


def test_a_body_is_what_the_platform_reads() -> None:
    """One JSON part and one binary part; its length is known before it is made."""
    one = upload(b"\x00\r\n--", b"x" * 1000)
    for _ in range(2):  # once more, where the session had ended
        sent = b"".join(one)
        assert len(sent) == len(one)
        fields, content = read_multipart(one.content_type, sent)
        assert fields == {"Title": "Größe", "PathOnClient": "a.pdf"}
        assert content == {"VersionData": b"\x00\r\n--" + b"x" * 1000}


@pytest.mark.parametrize("size", [3, 5])
def test_a_file_of_another_length_is_broken_off(size: int) -> None:
    """A body that would not be as long as announced is never completed."""
    with pytest.raises(UploadBrokenOffError):
        b"".join(upload(b"1234", size=size))


def test_a_process_that_was_asleep_does_not_go_on() -> None:
    """Beyond the time that an upload may take nothing more of it leaves."""
    clock = Time()
    body = iter(upload(b"1", b"2", clock=clock))
    next(body)
    assert next(body) == b"1"
    clock.boot = files.upload_s(2) + 1
    with pytest.raises(UploadBrokenOffError):
        next(body)


def connection(queries: Any = None) -> Any:
    """Return what files share with the other parts of an org."""
    settings = SimpleNamespace(timeout_s=30)
    return SimpleNamespace(settings=settings, clock=Time(), queries=queries)


class OneThread:
    """Runs jobs at once, with a client of the test."""

    def __init__(self, call: Callable[..., Any]) -> None:
        """Keep what stands for `Client.call`."""
        self.call = call

    async def run(self, job: Callable[[Any], Any]) -> Any:
        """Run it here."""
        return job(self)

    async def close(self) -> None:
        """Do nothing."""


def sending(answer: object) -> Any:
    """Return what becomes of an upload that is answered so."""

    def call(*_: object, **__: object) -> object:
        if isinstance(answer, Exception):
            raise answer
        return answer

    one = Files(connection(), OneThread(call))  # type: ignore[arg-type]
    return asyncio.run(
        one.upload(KEY, {}, 4, lambda: [b"1234"], not_after_boottime_s=5)
    )


@pytest.mark.parametrize(
    ("answer", "state", "code"),
    [
        ({"id": VERSION, "success": True}, WriteState.WRITTEN, ""),
        ({"id": "//evil", "success": True}, WriteState.UNKNOWN, "no_id"),
        ({"id": VERSION, "success": False}, WriteState.UNKNOWN, "no_id"),
        (None, WriteState.UNKNOWN, "no_id"),
        (OutcomeUnknown("lost"), WriteState.UNKNOWN, "no_answer"),
        (TooLateError(), WriteState.NOT_SENT, "late"),
        (
            ActivityRefused("FILE_EXTENSION_NOT_ALLOWED", "no"),
            WriteState.REFUSED,
            "FILE_EXTENSION_NOT_ALLOWED",
        ),
    ],
)
def test_what_becomes_of_an_upload(
    answer: object, state: WriteState, code: str
) -> None:
    """Written only with an id; unknown whenever it may have been done."""
    outcome = sending(answer)
    assert (outcome.state, outcome.code, outcome.key) == (state, code, KEY)
    assert outcome.id == (VERSION if state is WriteState.WRITTEN else None)


@pytest.mark.parametrize(
    "error", [SalesforceUnavailable("down"), OrgPaused("login", code="x")]
)
def test_an_upload_that_wrote_nothing_raises(error: Exception) -> None:
    """What is certain not to be written is the caller's to plan again."""
    with pytest.raises(type(error)):
        sending(error)


def asking(*answers_: object) -> tuple[Files, list[str]]:
    """Return files whose queries are answered so, and what was asked."""
    asked: list[str] = []

    class Threads:
        async def run(self, job: Callable[[Any], Any]) -> Any:
            return job(self)

        def queries(self, _: str, queries: Any) -> list[Any]:
            asked.extend(query.soql for query in queries)
            return list(answers_)

    threads: Any = Threads()
    return Files(connection(Queries(threads)), threads), asked


def row(number: int, **fields: object) -> dict[str, object]:
    """Return a ContentVersion as a query gives it."""
    return {
        "Id": f"06800000000000{number}AAA",
        "ContentDocumentId": DOCUMENT,
        "Description": f"relay-key: {KEY}",
        "IsDeleted": False,
        "CreatedDate": f"2026-01-02T03:04:0{number}.000+0000",
        **fields,
    }


def test_our_files_are_found_by_key() -> None:
    """Oldest first, deleted ones too; what has no key is somebody else's."""
    rows = [
        row(2),
        row(1, IsDeleted=True),
        row(3, Description="minutes"),
        row(4, Id="//evil"),
        row(5, Description=None),
    ]
    files, asked = asking(rows)
    found = asyncio.run(files.find_own("005000000000001AAA", NOW, NOW))
    assert [(f.version_id, f.is_deleted) for f in found.pop(KEY)] == [
        (VERSION, True),
        (OTHER, False),
    ]
    assert not found
    assert "CreatedById = '005000000000001AAA'" in asked[0]


def test_places_of_files() -> None:
    """Documents by version, links by record, deleted versions apart."""
    files, asked = asking(
        [row(1), row(2, IsDeleted=True)],
        [{"ContentDocumentId": DOCUMENT, "LinkedEntityId": TASK}],
    )
    places = asyncio.run(files.places([VERSION, OTHER, VERSION], [TASK, "//evil"]))
    assert places.documents == {VERSION: DOCUMENT}
    assert places.deleted == {OTHER}
    assert places.links == {(DOCUMENT, TASK)}
    assert set(places.keyed) == {VERSION, OTHER}
    assert places.keyed[VERSION].keys == {KEY}
    assert places.keyed[OTHER].is_deleted
    assert len(asked) == 2
    assert "evil" not in "".join(asked)
    nothing, asked = asking()
    assert not asyncio.run(nothing.places([], [])).links
    assert not asked


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("INVALID_TYPE", SalesforceUnavailable),
        ("REQUEST_LIMIT_EXCEEDED", OrgPaused),
    ],
)
def test_a_failed_question_says_nothing(code: str, error: type[Exception]) -> None:
    """Half an answer would read as "not there"."""
    files, _ = asking(errors.Failure(code, "", errors.rule(code)))
    with pytest.raises(error):
        asyncio.run(files.places([VERSION], []))


def test_fields_fit_the_org() -> None:
    """The name is cut to the title's length; the link is left out where it must be."""
    schema = OrgSchema({"ContentVersion": {}}, frozenset({"ContentVersion"}))
    assert files.possible(schema)
    fields = files.version_fields(KEY, "ü" * 300 + ".pdf", TASK, schema, cut)
    assert len(fields["Title"]) == 255
    assert fields["Description"] == f"relay-key: {KEY}"
    assert "FirstPublishLocationId" not in fields
    whole = files.with_content(fields, b"hello")
    assert json.loads(json.dumps(whole))["VersionData"] == "aGVsbG8="
    assert not files.possible(OrgSchema({}))
