"""Files: sent as ContentVersions, found again by their key, linked to records.

A small file travels like any record, many to a call, its bytes as base64 in JSON
(`version_fields`, then `Records.create`). A large one is streamed: a multipart body
that is made while it is sent, so that nothing of it is held (`Files.upload`). That has
threads of its own, so that a long upload never keeps the text of mails waiting.

The key stands in `ContentVersion.Description`. A file that was sent without an answer
is looked for among our own versions of a time window, deleted ones included: no query
can filter by that field. `FirstPublishLocationId` makes document and
link together with the version.

Source: Salesforce REST API Guide, "Insert or Update Blob Data"; Object Reference,
"ContentVersion", "ContentDocumentLink".
"""

from __future__ import annotations

import base64
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from relay.core.errors import ActivityRefused, OutcomeUnknown
from relay.core.ids import record_id
from relay.salesforce import soql
from relay.salesforce.model import KeyedRecord, WriteOutcome, WriteState
from relay.salesforce.readback import KEY_LINE, key_of, plain_key
from relay.salesforce.soql import Query, asks_for, moment
from relay.salesforce.transport import TooLateError, write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from relay.core.clock import Clock
    from relay.core.errors import TransientError
    from relay.core.model import Json
    from relay.core.org import OrgSchema
    from relay.salesforce.client import Client
    from relay.salesforce.connection import Connection, Threads

UPLOADS: Final = 2
"""Large files under way at a time."""
JSON_BYTES: Final = 262_144
"""Files up to this size travel as base64 in JSON, several to a call."""
MIN_RATE: Final = 65_536
"""Bytes a second below which an upload is broken off."""
STORAGE_FULL: Final = frozenset({"STORAGE_LIMIT_EXCEEDED"})
"""Codes that say that no file can be taken now, whichever it is."""
RECORD_DELETED: Final = frozenset({"ENTITY_IS_DELETED", "INVALID_CROSS_REFERENCE_KEY"})
"""Codes that say that the record of a file is not there any more."""
ALREADY_LINKED: Final = "DUPLICATE_VALUE"

_LENGTHS: Final = {"Title": 255, "PathOnClient": 500}
_OWN: Final = (
    "SELECT Id, ContentDocumentId, Description, IsDeleted, CreatedDate "
    "FROM ContentVersion WHERE CreatedById = {me} "
    "AND CreatedDate >= {since} AND CreatedDate <= {until}"
)
_VERSIONS: Final = (
    "SELECT Id, ContentDocumentId, IsDeleted, Description, CreatedById, "
    "LastModifiedById, CreatedDate, Title FROM ContentVersion WHERE Id IN {}"
)
_LINKS: Final = (
    "SELECT ContentDocumentId, LinkedEntityId FROM ContentDocumentLink "
    "WHERE LinkedEntityId IN {}"
)


class UploadBrokenOffError(OSError):
    """The upload took too long, or its source ended early; it was not completed."""


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A ContentVersion of ours, with the key that it carries."""

    key: str
    version_id: str
    document_id: str | None
    is_deleted: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Places:
    """Where files are: documents by version, and which records they are linked to.

    `deleted` are versions that were deleted in Salesforce; `keyed` has every version
    that was found, with the key in its Description.
    """

    documents: Mapping[str, str]
    links: frozenset[tuple[str, str]]
    deleted: frozenset[str] = frozenset()
    keyed: Mapping[str, KeyedRecord] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Upload:
    """The body of a multipart request, made anew each time it is iterated.

    Args:
        fields: The record without its content.
        content_field: The name of the field for the content.
        size_bytes: Its size; it is announced before the first byte is read.
        source: Returns the content in pieces.
        clock: For the limit of time, which counts sleep.
    """

    fields: Mapping[str, Json]
    content_field: str
    size_bytes: int
    source: Callable[[], Iterable[bytes]]
    clock: Clock
    boundary: str = field(default_factory=lambda: secrets.token_hex(16))

    @property
    def content_type(self) -> str:
        """Return the type with the boundary."""
        return f"multipart/form-data; boundary={self.boundary}"

    def __len__(self) -> int:
        """Return the length of the whole body."""
        return len(self._head()) + self.size_bytes + len(self._tail())

    def __iter__(self) -> Iterator[bytes]:
        """Yield the body.

        Raises:
            UploadBrokenOffError: The rest was not sent.
        """
        until = self.clock.boottime_s() + upload_s(self.size_bytes)
        yield self._head()
        sent = 0
        for piece in self.source():
            if self.clock.boottime_s() > until:
                text = "the upload took too long"
                raise UploadBrokenOffError(text)
            sent += len(piece)
            if sent > self.size_bytes:
                break
            yield piece
        if sent != self.size_bytes:
            text = "the file is not as long as it was"
            raise UploadBrokenOffError(text)
        yield self._tail()

    def _head(self) -> bytes:
        mark = self.boundary.encode()
        return (
            b"--" + mark + b'\r\nContent-Disposition: form-data; name="entity"\r\n'
            b"Content-Type: application/json\r\n\r\n"
            + write_json(dict(self.fields))
            + b"\r\n--"
            + mark
            + b'\r\nContent-Disposition: form-data; name="'
            + self.content_field.encode()
            + b'"; filename="content"\r\n'
            b"Content-Type: application/octet-stream\r\n\r\n"
        )

    def _tail(self) -> bytes:
        return b"\r\n--" + self.boundary.encode() + b"--\r\n"


def upload_s(size_bytes: int) -> float:
    """Return the seconds that a file of this size may take to be sent."""
    return 10.0 + size_bytes / MIN_RATE


def answer_s(size_bytes: int, timeout_s: float) -> float:
    """Return the seconds to wait for the answer to a file of this size."""
    return timeout_s + size_bytes / (1 << 20)


class Files:
    """What the org does with files.

    Args:
        connection: What the parts of `Org` share.
        threads: For uploads alone.
    """

    def __init__(self, connection: Connection, threads: Threads) -> None:
        """Keep the parts; no thread runs yet."""
        self._connection = connection
        self._threads = threads
        self._closing = False

    async def close(self) -> None:
        """Break uploads off, then close connections.

        An upload that is broken off is looked for by the next process.
        """
        self._closing = True
        await self._threads.close()

    async def upload(
        self,
        key: str,
        fields: Mapping[str, Json],
        size_bytes: int,
        source: Callable[[], Iterable[bytes]],
        *,
        not_after_boottime_s: float,
    ) -> WriteOutcome:
        """Send one file, streamed; return what became of it.

        Args:
            key: Of the file.
            fields: As `version_fields` gives them.
            size_bytes: Of the content.
            source: Returns the content in pieces; called in a thread, and again where
                the session had ended.
            not_after_boottime_s: Boot time after which nothing may be sent any more.

        Raises:
            SalesforceUnavailable: Nothing was written.
            OrgPaused: Nothing was written, and nothing can be for now.
        """

        def pieces() -> Iterator[bytes]:
            for piece in source():
                if self._closing:
                    text = "the relay stops"
                    raise UploadBrokenOffError(text)
                yield piece

        clock = self._connection.clock
        timeout_s = self._connection.settings.timeout_s
        upload = Upload(fields, "VersionData", size_bytes, pieces, clock)
        return await self._threads.run(
            lambda client: _send(client, key, upload, not_after_boottime_s, timeout_s)
        )

    async def find_own(
        self, me: str, since: datetime, until: datetime
    ) -> dict[str, list[FoundFile]]:
        """Return our files of a window of Salesforce's clock by key, oldest first.

        Raises:
            RelayError: They could not be looked for; says nothing about them.
        """
        # Files wait for such an answer; mail does not, and goes on.
        rows = await self._connection.queries.within(
            "readback",
            lambda window: _own(me, window),
            (since, until),
            pauses=False,
        )
        found: dict[str, dict[str, FoundFile]] = {}
        for row in rows:
            key, version = key_of(row.get("Description")), _id(row.get("Id"))
            if key and version:
                found.setdefault(key, {})[version] = FoundFile(
                    key,
                    version,
                    _id(row.get("ContentDocumentId")),
                    row.get("IsDeleted") is True,
                    moment(row.get("CreatedDate")),
                )
        return {
            key: sorted(files.values(), key=lambda f: (f.created_at, f.version_id))
            for key, files in found.items()
        }

    async def places(
        self, version_ids: Sequence[str], entity_ids: Sequence[str]
    ) -> Places:
        """Return the documents of versions, and the files of records.

        Raises:
            RelayError: They could not be read.
        """
        asks = asks_for(_VERSIONS, _valid(version_ids), deleted=True)
        asks += asks_for(_LINKS, _valid(entity_ids))
        answered = await self._connection.queries.ask(
            "readback", asks, whole=True, pauses=False
        )
        documents: dict[str, str] = {}
        deleted: set[str] = set()
        linked: set[tuple[str, str]] = set()
        keyed: dict[str, KeyedRecord] = {}
        for row in (row for _, rows in answered for row in rows):
            version, document = _id(row.get("Id")), _id(row.get("ContentDocumentId"))
            entity = _id(row.get("LinkedEntityId"))
            if document and entity:
                linked.add((document, entity))
                continue
            if version is None:
                continue
            gone, key = row.get("IsDeleted") is True, key_of(row.get("Description"))
            keyed[version] = KeyedRecord(
                version,
                gone,
                frozenset({key} if key else ()),
                _id(row.get("CreatedById")),
                _id(row.get("LastModifiedById")),
                moment(row.get("CreatedDate")),
                plain_key(str(row.get("Title") or "")),
            )
            if gone:
                deleted.add(version)
            elif document:
                documents[version] = document
        return Places(documents, frozenset(linked), frozenset(deleted), keyed)


def _send(
    client: Client, key: str, upload: Upload, not_after_s: float, timeout_s: float
) -> WriteOutcome:
    started = time.monotonic()
    try:
        answer = client.call(
            "upload",
            "sobjects/ContentVersion",
            upload,
            writes=True,
            not_after_s=not_after_s,
            # Salesforce looks at the whole file before it answers.
            timeout_s=answer_s(upload.size_bytes, timeout_s),
        )
    except TooLateError:
        return WriteOutcome(key, WriteState.NOT_SENT, code="late")
    except OutcomeUnknown as error:
        seconds = time.monotonic() - started
        text = f"{error} (after {seconds:.0f} s)"
        return WriteOutcome(key, WriteState.UNKNOWN, code="no_answer", text=text)
    except ActivityRefused as error:
        return WriteOutcome(key, WriteState.REFUSED, code=error.code, text=str(error))
    sfid = _id(answer.get("id")) if isinstance(answer, dict) else None
    if sfid is None or answer.get("success") is False:
        return WriteOutcome(key, WriteState.UNKNOWN, code="no_id")
    return WriteOutcome(key, WriteState.WRITTEN, sfid)


def version_fields(
    key: str,
    name: str,
    location: str | None,
    schema: OrgSchema,
    cut: Callable[..., str],
) -> dict[str, Json]:
    """Return the fields of a ContentVersion, its content left out.

    Args:
        key: Of the file; the last line of its Description.
        name: Of the file, with its ending, from which Salesforce reads its kind.
        location: Id of the record it is to be linked to.
        schema: The org.
        cut: Cuts text to a number of UTF-16 units.
    """

    def length(name: str) -> int:
        return schema.length("ContentVersion", name) or _LENGTHS[name]

    fields: dict[str, Json] = {
        "Title": cut(name.rpartition(".")[0] or name, length("Title")),
        "PathOnClient": name,
        "Description": KEY_LINE + key,
    }
    if location and publishes(schema):
        fields["FirstPublishLocationId"] = location
    return fields


def possible(schema: OrgSchema) -> bool:
    """Say whether our user may create files."""
    return "ContentVersion" in schema.createables


def publishes(schema: OrgSchema) -> bool:
    """Say whether the call that sends a file can link it to its record."""
    return schema.createable("ContentVersion", "FirstPublishLocationId")


def with_content(fields: Mapping[str, Json], content: bytes) -> dict[str, Json]:
    """Return the fields with the content of a small file."""
    return {**fields, "VersionData": base64.b64encode(content).decode("ascii")}


def link_fields(document_id: str, entity_id: str) -> dict[str, Json]:
    """Return the fields of a ContentDocumentLink: viewers of the record may read."""
    return {
        "ContentDocumentId": document_id,
        "LinkedEntityId": entity_id,
        "ShareType": "V",
    }


def is_storage(error: TransientError) -> bool:
    """Say whether an error means that the org's file storage is full."""
    return getattr(error, "code", "") in STORAGE_FULL


def _own(me: str, window: tuple[datetime, datetime]) -> Query:
    since, until = window
    text = soql.statement(_OWN, me=me, since=since, until=until)
    return Query(text, deleted=True)


def _valid(ids: Iterable[str]) -> list[str]:
    return [sfid for i in ids if (sfid := record_id(i))]


def _id(value: object) -> str | None:
    return record_id(value) if isinstance(value, str) else None
