"""What is done about leased files: recovered, sent, linked to their records.

A content goes to Salesforce once for a mail, with the first of its records (the
*carrier*), and is then linked to the others. There are two clients of the outbox:

- `Uploads` sends contents as ContentVersions. Their key is in the Description; what
  was sent without an answer is looked for among our own versions.
- `Links` makes ContentDocumentLinks. Salesforce refuses a second link between the same
  two records, so that a link needs no mark *sent*: an unknown outcome is tried again.

Small files go many to a call, a large one goes alone, streamed. While the org has no
storage left, files are held, and none is sent. Should an upload be carried out although
it was believed absent, there are two files: doubles are looked for later and deleted,
so that no file is left that the store does not know.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, cast

from relay.activity import cut
from relay.attachments.rows import TO_SEND, FileRows
from relay.core.errors import (
    NotFound,
    OrgPaused,
    RawUnreadable,
    StoreUnavailable,
    TransientError,
)
from relay.core.files import FileRow, FileUpdate
from relay.core.retry import Retry
from relay.core.states import ActivityState
from relay.mail import decoded, masked
from relay.outbox.engine import (
    CLOCK_SLACK,
    SEND_WITHIN_S,
    Client,
    OnceClient,
    Outbox,
    Result,
)
from relay.salesforce import files
from relay.salesforce.errors import error_of
from relay.store.messages import RawReader
from relay.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from relay.attachments.rows import LeasedFiles
    from relay.config import Settings
    from relay.core.model import Json
    from relay.outbox.engine import Change, Mark, Parts
    from relay.salesforce import OrgSchema, WriteOutcome
    from relay.salesforce.files import FoundFile

BATCH_BYTES: Final = 2 * 1024 * 1024
"""Content of small files in one call; a few copies of it are in memory for a moment."""
BATCH_FILES: Final = 100

logger = get_logger(__name__)


@dataclass(slots=True)
class StorageHold:
    """The org has no storage left: no file is sent until `until`."""

    until: datetime | None = None
    error: str = ""

    def begin(self, parts: Parts, error: str) -> None:
        """Hold all files for `salesforce.files_hold_s` from now."""
        hold_s = parts.settings.salesforce.files_hold_s
        self.until = parts.clock.now() + timedelta(seconds=hold_s)
        self.error = error
        logger.error("files_held", error=error)

    def update(self, row: FileRow) -> FileUpdate:
        """Return the change that holds a file."""
        return FileUpdate(
            row.key, ActivityState.HELD, due_at=self.until, error=self.error
        )


class Delivery:
    """Sees to leased files."""

    def __init__(self, parts: Parts) -> None:
        """Put the parts together; nothing is started."""
        self._parts = parts
        self._rows = FileRows(parts)
        self._outbox = Outbox(parts.clock)
        self._hold = StorageHold()

    async def work(self, leased: LeasedFiles) -> None:
        """Do for every leased row what can be done now.

        Raises:
            StoreUnavailable: Rows may stay leased; their lease runs out.
            TransientError: Some leased rows were not seen to.
        """
        if unanswered := leased.mine(ActivityState.SENT):
            await self._outbox.recover(
                Uploads(self._parts, self._rows, leased, self._hold), unanswered
            )
        await self._send(leased)
        await self._link(leased)
        await self._delete_doubles(leased)
        await self._rows.commit(
            leased, [self._rows.later(row) for row in leased.mine()]
        )

    async def put_off(
        self, leased: LeasedFiles, error: Exception, *, counts: bool
    ) -> None:
        """Give back what is still leased after an error.

        Args:
            leased: The files.
            error: What happened.
            counts: It counts as a failure of each file; False: the org is paused, no
                file is at fault.
        """
        wait_s = getattr(error, "retry_after_s", None)
        # A fault of our own, or a refusal of the whole turn, ends no file at once.
        retry = error.retry if isinstance(error, TransientError) else Retry.BACKOFF
        updates = []
        for row in leased.mine():
            if counts:
                updates.append(
                    self._rows.failed(row, row.state, str(error), wait_s, retry)
                )
            else:
                due = self._rows.after(
                    wait_s or self._parts.settings.worker.retry_first_s
                )
                changes: dict[str, Any] = {"error": row.error, "due_at": due}
                updates.append(FileUpdate(row.key, row.state, **changes))
        await self._rows.commit(leased, updates)

    # ------------------------------------------------------------ send

    async def _send(self, leased: LeasedFiles) -> None:
        """Send the contents that are not in Salesforce yet.

        Raises:
            StoreUnavailable: What has left is *sent* in the store; nothing more left.
            OrgPaused: Nothing can be sent for now; what did not leave stays planned.
            TransientError: What the org takes could not be read; nothing left.
        """
        updates, due = [], []
        for row in leased.mine(*TO_SEND):
            if row.record_gone or not row.record_id:
                text = "the record was deleted in Salesforce"
                updates.append(FileUpdate(row.key, ActivityState.GONE, error=text))
            elif leased.carrier(row) is row:
                due.append(row)
        await self._rows.commit(leased, updates)
        if not due:
            return
        schema = await self._parts.org.schema.get()
        if not files.possible(schema):
            text = "the integration user may not create Files (ContentVersion)"
            self._hold.begin(self._parts, text)
            await self._rows.commit(leased, [self._hold.update(row) for row in due])
            return
        for group in _groups(due):
            await self._send_group(leased, group, schema)

    async def _send_group(
        self, leased: LeasedFiles, group: Sequence[FileRow], schema: OrgSchema
    ) -> None:
        """Read the contents of one call, and send them."""
        until = self._hold.until
        if until is not None and self._parts.clock.now() < until:
            await self._rows.commit(leased, [self._hold.update(row) for row in group])
            return
        contents: dict[str, bytes | RawReader] = {}
        try:
            for row in group:
                content = await self._read(leased, row)
                if content is not None:
                    contents[row.key] = content
            uploads = Uploads(
                self._parts, self._rows, leased, self._hold, contents, schema
            )
            rows = [leased.rows[key] for key in contents]
            if rows:
                await self._outbox.send(uploads, rows)
        except StoreUnavailable:
            raise
        except TransientError as error:
            # The rows have their next state already. Only a pause of the whole org
            # ends the turn.
            if isinstance(error, OrgPaused) and not files.is_storage(error):
                raise
        finally:
            for content in contents.values():
                if isinstance(content, RawReader):
                    content.close()

    async def _read(
        self, leased: LeasedFiles, row: FileRow
    ) -> bytes | RawReader | None:
        """Return the content of a small file, or a reader for a large one.

        None where it cannot be read; that is committed then.
        """
        try:
            reader = await self._parts.store.messages.open(row.draft.blob_id)
        except NotFound as error:
            text = str(error)
            update = FileUpdate(row.key, ActivityState.REFUSED, error=text)
        except RawUnreadable as error:
            update = self._rows.failed(row, row.state, str(error), None)
        else:
            if is_large(row):
                return reader
            try:
                pieces = content_of(self._parts.settings, reader, row)
                return await asyncio.to_thread(b"".join, pieces)
            except OSError as error:
                text = f"the raw mail cannot be read now: {error.strerror}"
                update = self._rows.failed(row, row.state, text, None)
            finally:
                reader.close()
        await self._rows.commit(leased, [update])
        return None

    # ------------------------------------------------------------ link

    async def _link(self, leased: LeasedFiles) -> None:
        """Link the files that are in Salesforce to the records they are for.

        A link that came with the upload is found and not made again.

        Raises:
            RelayError: Leased rows are not linked, or it is not known.
        """
        written = leased.mine(ActivityState.WRITTEN)
        there = {ActivityState.WRITTEN, ActivityState.LINKED}
        others = [
            row for row in leased.mine(*TO_SEND) if leased.carrier(row).state in there
        ]
        if not written and not others:
            return
        places = await self._parts.org.files.places(
            [row.version_id for row in written if row.version_id],
            [row.record_id for row in (*written, *others) if row.record_id],
        )
        updates: list[FileUpdate] = []
        documents: dict[str, str] = {}
        links = Links(self._parts, self._rows, leased, documents)
        for row in (*written, *others):
            carrier = leased.carrier(row) if row in others else row
            document = carrier.document_id or places.documents.get(
                carrier.version_id or ""
            )
            if row.version_id in places.deleted:
                text = "deleted in Salesforce"
                updates.append(FileUpdate(row.key, ActivityState.GONE, error=text))
            elif not document or not row.record_id:
                continue
            elif (document, row.record_id) in places.links:
                updates.append(links.linked(row, carrier, document))
            else:
                documents[row.key] = document
        await self._rows.commit(leased, updates)
        if documents:
            await self._outbox.send(links, [leased.rows[key] for key in documents])

    async def _delete_doubles(self, leased: LeasedFiles) -> None:
        """Delete what a late upload has made beside the file that the store knows.

        Raises:
            RelayError: Doubles may be left; the rows stay leased.
        """
        rows = leased.mine(ActivityState.LINKED)
        if not rows:
            return
        found = await own_files(self._parts, min(row.created_at for row in rows))
        for row in rows:
            for file in found.get(row.key, ()):
                other = file.document_id not in {None, row.document_id}
                if other and not file.is_deleted:
                    logger.warning("double_file_deleted", file=row.key)
                    document = file.document_id or ""
                    await self._parts.org.records.delete("ContentDocument", document)
        await self._rows.commit(
            leased, [FileUpdate(row.key, ActivityState.LINKED) for row in rows]
        )


# ------------------------------------------------------------------ clients


class Uploads(OnceClient[FileRow]):
    """Contents as ContentVersions."""

    def __init__(
        self,
        parts: Parts,
        rows: FileRows,
        leased: LeasedFiles,
        hold: StorageHold,
        contents: Mapping[str, bytes | RawReader] | None = None,
        schema: OrgSchema | None = None,
    ) -> None:
        """Keep the parts.

        Args:
            parts: The shared parts.
            rows: Commits changes.
            leased: The files of this turn.
            hold: Begun where the org has no storage left.
            contents: What is sent, by key: bytes of small files, or one reader.
            schema: The org; needed for sending.
        """
        self._parts = parts
        self._rows = rows
        self._leased = leased
        self._hold = hold
        self._contents = contents or {}
        self._schema = schema

    # ------------------------------------------------------------ send

    async def mark_sent(self, marks: Sequence[Mark[FileRow]]) -> list[FileRow]:
        """Commit the marks, with a lease as long as the upload may take."""
        settings = self._parts.settings
        rows = [mark.row for mark in marks]
        size_bytes = sum(row.draft.size_bytes for row in rows if is_large(row))
        lease_s = max(
            settings.worker.lease_s,
            files.upload_s(size_bytes)
            + 2 * files.answer_s(size_bytes, settings.salesforce.timeout_s)
            + SEND_WITHIN_S,
        )
        ours = await self._rows.leaving(self._leased, marks, lease_s)
        return [self._leased.rows[row.key] for row in rows if row.key in ours]

    async def request(
        self, rows: Sequence[FileRow], *, not_after_boottime_s: float
    ) -> list[WriteOutcome]:
        """Send many small files as JSON, or one large file as a stream."""
        records: list[tuple[str, str, dict[str, Json]]] = []
        for row in rows:
            content, fields = self._contents[row.key], self._fields(row)
            if not isinstance(content, bytes):
                outcome = await self._stream(row, fields, content, not_after_boottime_s)
                return [outcome]
            data = files.with_content(fields, content)
            records.append((row.key, "ContentVersion", data))
        return await self._parts.org.records.create(
            records, not_after_boottime_s=not_after_boottime_s
        )

    async def _stream(
        self,
        row: FileRow,
        fields: dict[str, Json],
        reader: RawReader,
        not_after_boottime_s: float,
    ) -> WriteOutcome:
        return await self._parts.org.files.upload(
            row.key,
            fields,
            row.draft.size_bytes,
            lambda: content_of(self._parts.settings, reader, row),
            not_after_boottime_s=not_after_boottime_s,
        )

    def _fields(self, row: FileRow) -> dict[str, Json]:
        draft = row.draft
        if self._schema is None:  # pragma: no cover - given to whatever is sent
            msg = "an upload needs the schema of the org"
            raise RuntimeError(msg)
        return files.version_fields(
            row.key, draft.name, row.record_id, self._schema, cut
        )

    # ------------------------------------------------------------ recover

    async def find(self, rows: Sequence[FileRow]) -> dict[str, FoundFile]:
        """Return our own files of the time since, a living one before a deleted one."""
        since = min(row.sent_at or row.created_at for row in rows)
        found = await own_files(self._parts, since)
        return {
            key: next((file for file in files if not file.is_deleted), files[0])
            for key, files in found.items()
            if files
        }

    def longest_call(self, row: FileRow) -> timedelta:
        """Return the time of the upload, of the answer, and a while beyond."""
        return longest_upload(self._parts, row)

    # ------------------------------------------------------------ take

    async def take(self, changes: Sequence[Change[FileRow]]) -> None:
        """Commit what became of files."""
        await self._rows.commit(
            self._leased, [self._update(change) for change in changes]
        )

    def _update(self, change: Change[FileRow]) -> FileUpdate:
        """Return the change of the row that follows from a request or a look-up."""
        row, outcome, cause = change.row, change.outcome, change.cause
        code = outcome.code if outcome else getattr(cause, "code", "")
        more: dict[str, Any] = {"error": change.error}
        if code in files.STORAGE_FULL:
            self._hold.begin(self._parts, change.error)
            return self._hold.update(row)
        if isinstance(cause, OrgPaused):
            more = {"keep": True}
        elif change.result is Result.RETRY:
            return self._rows.failed(
                row, change.state, change.error, change.wait_s, _rule(change)
            )
        elif change.result is Result.REFUSED:
            return refused(row, code, change.error)
        elif change.result is Result.WRITTEN and outcome:
            more = {"version_id": outcome.id, "keep": True}
        elif change.result is Result.FOUND:
            file = cast("FoundFile", change.found)
            more = {"version_id": file.version_id, "document_id": file.document_id}
            more["keep"] = True
        elif change.result is Result.DELETED:
            more = {"error": "deleted in Salesforce"}
        elif change.result is Result.ABSENT:
            more = {"lookups": change.lookups, "keep": True}
        else:
            # Sent without an answer, or not sent in time: each of these has a wait.
            more["due_at"] = self._rows.after(change.wait_s or 0.0)
            if change.result is Result.WAITING:
                more |= {"error": row.error, "lookups": change.lookups}
        return FileUpdate(row.key, change.state, **more)


class Links(Client[FileRow]):
    """Links of files to records, as ContentDocumentLinks."""

    def __init__(
        self,
        parts: Parts,
        rows: FileRows,
        leased: LeasedFiles,
        documents: Mapping[str, str],
    ) -> None:
        """Keep the parts; `documents` are the ids to link, by key of the file."""
        self._parts = parts
        self._rows = rows
        self._leased = leased
        self._documents = documents

    async def request(
        self, rows: Sequence[FileRow], *, not_after_boottime_s: float
    ) -> list[WriteOutcome]:
        """Create the links in one call."""
        return await self._parts.org.records.create(
            [
                (
                    row.key,
                    "ContentDocumentLink",
                    files.link_fields(self._documents[row.key], row.record_id or ""),
                )
                for row in rows
            ],
            not_after_boottime_s=not_after_boottime_s,
        )

    async def take(self, changes: Sequence[Change[FileRow]]) -> None:
        """Commit what became of links; delete a file that nothing may link to.

        Raises:
            RelayError: A file was not deleted; its row stays leased.
        """
        updates = []
        for change in changes:
            row, outcome = change.row, change.outcome
            if outcome is None:
                continue  # The whole call was refused: the turn ends with its error.
            document = self._documents[row.key]
            if change.result is Result.WRITTEN or outcome.code == files.ALREADY_LINKED:
                carrier = self._leased.carrier(row)
                updates.append(self.linked(row, carrier, document))
            elif change.result is Result.REFUSED:
                if row.version_id:
                    # Without a link no user would ever find the file.
                    await self._parts.org.records.delete("ContentDocument", document)
                updates.append(refused(row, outcome.code, change.error))
            else:
                # Without an answer the link is simply made again: there is no look-up
                # to wait for, and it ends by age like any other failure.
                updates.append(
                    self._rows.failed(
                        row, change.state, change.error, change.wait_s, _rule(change)
                    )
                )
        await self._rows.commit(self._leased, updates)

    def linked(self, row: FileRow, carrier: FileRow, document: str) -> FileUpdate:
        """Return the change of a file that is linked to its record."""
        # A file that was once believed absent may have come twice.
        check = (
            self._parts.clock.now() + longest_upload(self._parts, row)
            if row.lookups
            else None
        )
        return FileUpdate(
            row.key,
            ActivityState.LINKED,
            due_at=check,
            version_id=row.version_id or carrier.version_id,
            document_id=document,
        )


# ------------------------------------------------------------------ helpers


def is_large(row: FileRow) -> bool:
    """Say whether a file is streamed, in a call of its own."""
    return row.draft.size_bytes > files.JSON_BYTES


def content_of(settings: Settings, reader: RawReader, row: FileRow) -> Iterator[bytes]:
    """Return the content in pieces: a file decoded, a whole mail without secrets."""
    draft = row.draft
    pieces = reader.pieces(draft.start, draft.end)
    if draft.sha256:
        return decoded(pieces, draft.encoding)
    return masked(pieces, settings.smtp.domains)


def refused(row: FileRow, code: str, error: str) -> FileUpdate:
    """Return the change of a refused file: gone where its record was deleted."""
    gone = code in files.RECORD_DELETED
    state = ActivityState.GONE if gone else ActivityState.REFUSED
    return FileUpdate(row.key, state, error=error)


def _rule(change: Change[FileRow]) -> Retry:
    """Return the retry rule of the error for which a row is tried again."""
    if change.outcome is not None:
        return error_of(change.outcome).retry
    return change.cause.retry if change.cause else Retry.BACKOFF


def longest_upload(parts: Parts, row: FileRow) -> timedelta:
    """Return how long after its mark a file may still appear in Salesforce."""
    settings, size_bytes = parts.settings.salesforce, row.draft.size_bytes
    return timedelta(
        seconds=files.upload_s(size_bytes)
        + files.answer_s(size_bytes, settings.timeout_s)
        + settings.settle_s
    )


async def own_files(parts: Parts, since: datetime) -> dict[str, list[FoundFile]]:
    """Return our own files that Salesforce has made since then, by key.

    Raises:
        RelayError: They could not be looked for.
    """
    server_now = parts.org.access.server_now()
    start = since + (server_now - parts.clock.now()) - CLOCK_SLACK
    me = await parts.org.access.me()
    return await parts.org.files.find_own(me, start, server_now + CLOCK_SLACK)


def _groups(rows: Sequence[FileRow]) -> Iterator[list[FileRow]]:
    """Yield small files in groups for one call each, and each large file alone.

    There must be at least one row.
    """
    group: list[FileRow] = []
    size = 0
    for row in sorted(rows, key=is_large):
        full = size + row.draft.size_bytes > BATCH_BYTES or len(group) >= BATCH_FILES
        if group and (full or is_large(row)):
            yield group
            group, size = [], 0
        group.append(row)
        size += row.draft.size_bytes
    yield group
