"""Uploading: contents that are not in Salesforce yet are read and sent.

Small files go many to a call, a large one goes alone, streamed. Every row is committed
as *sent* before its upload begins. While the org has no room, files are held, and none
is sent.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from relay.activity import cut
from relay.attachments.rows import TO_SEND
from relay.core.errors import NotFound, OrgPaused, RawUnreadable, TransientError
from relay.core.files import FileUpdate
from relay.core.states import ActivityState
from relay.mail import decoded, masked
from relay.outbox.backoff import look_up_wait_s
from relay.outbox.records import SEND_WITHIN_S
from relay.salesforce import WriteState, files
from relay.salesforce.errors import error_of
from relay.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from relay.attachments.rows import FileLedger, LeasedFiles
    from relay.config import Settings
    from relay.core.clock import Clock
    from relay.core.files import FileRow
    from relay.core.model import Json
    from relay.salesforce import Org, OrgSchema, WriteOutcome
    from relay.store import Store
    from relay.store.messages import RawReader

BATCH_BYTES: Final = 2 * 1024 * 1024
"""Content of small files in one call; a few copies of it are in memory for a moment."""
BATCH_FILES: Final = 100

logger = get_logger(__name__)


@dataclass(slots=True)
class Hold:
    """The org has no room: no file is sent until then."""

    until: datetime | None = None
    error: str = ""


class Uploading:
    """Sends contents, while the org has room for them."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        org: Org,
        clock: Clock,
        ledger: FileLedger,
    ) -> None:
        """Keep the parts; nothing is started."""
        self._settings = settings
        self._store = store
        self._org = org
        self._clock = clock
        self._ledger = ledger
        self._hold = Hold()

    async def send(self, hand: LeasedFiles) -> None:
        """Send the contents that are not in Salesforce yet.

        Raises:
            StoreUnavailable: What has left is *sent* in the store; nothing more left.
            OrgPaused: Nothing can be sent for now; what did not leave stays planned.
            TransientError: What the org takes could not be read; nothing left.
        """
        updates, due = [], []
        for row in hand.mine(*TO_SEND):
            if row.record_gone or not row.record_id:
                text = "the record was deleted in Salesforce"
                updates.append(FileUpdate(row.key, ActivityState.GONE, error=text))
            elif hand.carrier(row) is row:
                due.append(row)
        await self._ledger.commit(hand, updates)
        if not due:
            return
        shape = await self._org.schema.get()
        if not files.possible(shape):
            text = "the integration user may not create Files (ContentVersion)"
            await self._store_full(hand, due, text)
            return
        limit = files.JSON_BYTES
        for group in _groups([row for row in due if row.draft.size_bytes <= limit]):
            await self._send_group(hand, group, shape)
        for row in due:
            if row.draft.size_bytes > limit:
                await self._send_large(hand, row, shape)

    async def _send_group(
        self, hand: LeasedFiles, group: Sequence[FileRow], shape: OrgSchema
    ) -> None:
        if await self._held(hand, group):
            return
        records: list[tuple[str, str, dict[str, Json]]] = []
        for row in group:
            content = await self._read(hand, row)
            if content is None:
                continue
            fields = files.with_content(self._fields(row, shape), content)
            records.append((row.key, "ContentVersion", fields))
        rows = [hand.rows[key] for key, _, _ in records]
        ours, deadline_s = await self._sent(hand, rows, 0)
        records = [record for record in records if record[0] in ours]
        if not records:
            return
        try:
            outcomes = await self._org.records.create(
                records, not_after_boottime_s=deadline_s
            )
        except TransientError as error:
            await self._not_sent(hand, ours, error)
            return
        await self._take(hand, outcomes)

    async def _send_large(
        self, hand: LeasedFiles, row: FileRow, shape: OrgSchema
    ) -> None:
        if await self._held(hand, [row]):
            return
        reader = await self._open(hand, row)
        if reader is None:
            return
        try:
            ours, deadline_s = await self._sent(hand, [row], row.draft.size_bytes)
            if not ours:
                return
            try:
                outcome = await self._org.files.upload(
                    row.key,
                    self._fields(row, shape),
                    row.draft.size_bytes,
                    lambda: self._content(reader, row),
                    not_after_boottime_s=deadline_s,
                )
            except TransientError as error:
                await self._not_sent(hand, ours, error)
                return
        finally:
            reader.close()
        await self._take(hand, [outcome])

    async def _read(self, hand: LeasedFiles, row: FileRow) -> bytes | None:
        """Return the content of a small file; None where it is seen to already."""
        reader = await self._open(hand, row)
        if reader is None:
            return None
        try:
            return await asyncio.to_thread(_whole, self._content(reader, row))
        except OSError as error:
            text = f"the raw mail cannot be read now: {error.strerror}"
            await self._ledger.commit(
                hand, [self._ledger.failed(row, row.state, text, None)]
            )
            return None
        finally:
            reader.close()

    async def _open(self, hand: LeasedFiles, row: FileRow) -> RawReader | None:
        try:
            return await self._store.messages.open(row.draft.blob_id)
        except NotFound as error:
            update = FileUpdate(row.key, ActivityState.REFUSED, error=str(error))
        except RawUnreadable as error:
            update = self._ledger.failed(row, row.state, str(error), None)
        await self._ledger.commit(hand, [update])
        return None

    def _content(self, reader: RawReader, row: FileRow) -> Iterator[bytes]:
        draft = row.draft
        pieces = reader.pieces(draft.start, draft.end)
        if draft.sha256:
            return decoded(pieces, draft.encoding)
        return masked(pieces, self._settings.smtp.domains)

    def _fields(self, row: FileRow, shape: OrgSchema) -> dict[str, Json]:
        return files.version_fields(row.key, row.draft.name, row.record_id, shape, cut)

    async def _sent(
        self, hand: LeasedFiles, rows: Sequence[FileRow], size_bytes: int
    ) -> tuple[set[str], float]:
        """Commit that these leave now.

        Returns:
            Those that are still ours, and the boot time until which they may leave.
        """
        deadline_s = self._clock.boottime_s() + SEND_WITHIN_S
        timeout_s = self._settings.salesforce.timeout_s
        lease_s = max(
            self._settings.worker.lease_s,
            files.upload_s(size_bytes)
            + 2 * files.answer_s(size_bytes, timeout_s)
            + SEND_WITHIN_S,
        )
        return await self._ledger.leaving(hand, rows, lease_s), deadline_s

    async def _take(self, hand: LeasedFiles, outcomes: Sequence[WriteOutcome]) -> None:
        """Take what became of uploads into the store."""
        updates = []
        for outcome in outcomes:
            row = hand.rows[outcome.key]
            error = f"{outcome.code} {outcome.text}".strip()
            if outcome.code in files.STORAGE_FULL:
                self._begin_hold(error)
                update = self._holding(row)
            elif outcome.state is WriteState.WRITTEN:
                update = FileUpdate(
                    row.key, ActivityState.WRITTEN, version_id=outcome.id, keep=True
                )
            elif outcome.state is WriteState.REFUSED:
                gone = outcome.code in files.RECORD_DELETED
                state = ActivityState.GONE if gone else ActivityState.REFUSED
                update = FileUpdate(row.key, state, error=error)
            elif outcome.state is WriteState.UNKNOWN:
                update = FileUpdate(
                    row.key,
                    ActivityState.SENT,
                    due_at=self._ledger.after(look_up_wait_s(0)),
                    error=error,
                )
            elif outcome.state is WriteState.NOT_SENT:
                update = FileUpdate(
                    row.key,
                    ActivityState.PLANNED,
                    due_at=self._ledger.after(1.0),
                    error=error,
                )
            else:
                wait_s, retry = outcome.retry_after_s, error_of(outcome).retry
                update = self._ledger.failed(
                    row, ActivityState.PLANNED, error, wait_s, retry
                )
            updates.append(update)
        await self._ledger.commit(hand, updates)

    async def _not_sent(
        self, hand: LeasedFiles, keys: Iterable[str], error: TransientError
    ) -> None:
        """Plan again what a call did not write; hold it where the org is full.

        Raises:
            OrgPaused: Another reason for which nothing can succeed.
        """
        rows = [hand.rows[key] for key in keys]
        if files.is_storage(error):
            await self._store_full(hand, rows, str(error))
            return
        if isinstance(error, OrgPaused):
            await self._ledger.commit(
                hand,
                [FileUpdate(r.key, ActivityState.PLANNED, keep=True) for r in rows],
            )
            raise error
        wait = error.retry_after_s
        await self._ledger.commit(
            hand,
            [
                self._ledger.failed(
                    r, ActivityState.PLANNED, str(error), wait, error.retry
                )
                for r in rows
            ],
        )

    # ------------------------------------------------------------ no room

    async def _held(self, hand: LeasedFiles, rows: Sequence[FileRow]) -> bool:
        """Hold files while the org has no room for any."""
        until = self._hold.until
        if until is None or self._clock.now() >= until:
            return False
        await self._ledger.commit(hand, [self._holding(row) for row in rows])
        return True

    async def _store_full(
        self, hand: LeasedFiles, rows: Sequence[FileRow], error: str
    ) -> None:
        self._begin_hold(error)
        await self._ledger.commit(hand, [self._holding(row) for row in rows])

    def _begin_hold(self, error: str) -> None:
        self._hold = Hold(
            self._ledger.after(self._settings.salesforce.files_hold_s), error
        )
        logger.error("files_held", error=error)

    def _holding(self, row: FileRow) -> FileUpdate:
        return FileUpdate(
            row.key, ActivityState.HELD, due_at=self._hold.until, error=self._hold.error
        )


def _whole(pieces: Iterable[bytes]) -> bytes:
    return b"".join(pieces)


def _groups(rows: Sequence[FileRow]) -> Iterator[list[FileRow]]:
    """Yield small files in groups for one call each."""
    group: list[FileRow] = []
    size = 0
    for row in rows:
        full = size + row.draft.size_bytes > BATCH_BYTES or len(group) >= BATCH_FILES
        if group and full:
            yield group
            group, size = [], 0
        group.append(row)
        size += row.draft.size_bytes
    if group:
        yield group
