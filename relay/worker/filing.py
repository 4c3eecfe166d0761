"""What is done about files in hand: looked for, sent, hung on their records.

A content goes to Salesforce once for a mail, with the first of its records (the
*carrier*), and is then linked to the others. Every row is committed as *sent* before
its upload begins; one whose outcome is unknown is looked for by its key, and sent
again only after the longest time that the upload could still be carried out. Where a
file had to be sent again, doubles of it are looked for later and deleted: no file is
left that the store does not know.
"""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from relay.activity import cut
from relay.core.errors import NotFound, OrgPaused, RawUnreadable, TransientError
from relay.core.files import FileUpdate
from relay.core.states import FILE_WAITING, FileState
from relay.mail import decoded, masked
from relay.salesforce import WriteState, filing
from relay.telemetry import get_logger, metrics
from relay.worker.retry import look_up_wait_s
from relay.worker.unknown import CLOCK_SLACK
from relay.worker.write import SEND_WITHIN_S

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from relay.config import Settings
    from relay.core.clock import Clock
    from relay.core.files import FileRow
    from relay.core.model import Json
    from relay.core.queue import LeaseOwner
    from relay.salesforce import Org, OrgShape, WriteOutcome
    from relay.store import Store
    from relay.store.files import RawReader
    from relay.worker.retry import Backoff

BATCH_BYTES: Final = 2 * 1024 * 1024
"""Content of small files in one call; a few copies of it are in memory for a moment."""
BATCH_FILES: Final = 100

_DELETED: Final = frozenset({"ENTITY_IS_DELETED", "INVALID_CROSS_REFERENCE_KEY"})
_TO_SEND: Final = frozenset({FileState.PLANNED, FileState.HELD})

logger = get_logger(__name__)


@dataclass(slots=True)
class Hold:
    """The org has no room: no file is sent until then."""

    until: datetime | None = None
    error: str = ""


class Hand:
    """The files of some mails, those of them that are ours to see to, in one turn."""

    def __init__(self, rows: Iterable[FileRow]) -> None:
        """Take over what was claimed."""
        self.rows = {row.key: row for row in rows}
        self._mine = {row.key for row in self.rows.values() if row.mine}

    def mine(self, *states: FileState) -> list[FileRow]:
        """Return the rows in hand that are in these states, or all."""
        return [
            row
            for key, row in self.rows.items()
            if key in self._mine and (not states or row.state in states)
        ]

    def carrier(self, row: FileRow) -> FileRow:
        """Return the row that brings this row's content into Salesforce."""
        sharing = [
            other
            for other in self.rows.values()
            if other.draft.mail_id == row.draft.mail_id
            and other.draft.sha256 == row.draft.sha256
            and other.state not in {FileState.REFUSED, FileState.GONE}
            and not other.record_gone
        ]
        # What is further on its way goes first, then the older row.
        return min(sharing, key=lambda r: (r.state in _TO_SEND, r.id), default=row)

    def take(self, update: FileUpdate) -> None:
        """Note a change here; a row that is not kept is not ours any more."""
        row = self.rows[update.key]
        self.rows[update.key] = dataclasses.replace(
            row,
            state=update.state,
            version_id=update.version_id or row.version_id,
            document_id=update.document_id or row.document_id,
            sent_at=update.sent_at or row.sent_at,
            due_at=row.due_at if update.keep else update.due_at,
            error=update.error,
            lookups=row.lookups if update.lookups is None else update.lookups,
            failures=row.failures if update.failures is None else update.failures,
        )
        if not update.keep:
            self.drop(update.key)

    def drop(self, key: str) -> None:
        """Leave a row to others."""
        self._mine.discard(key)


class Filing:
    """Sees to the files in one hand."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        org: Org,
        clock: Clock,
        *,
        owner: LeaseOwner,
        backoff: Backoff,
    ) -> None:
        """Keep the parts; nothing is started."""
        self._settings = settings
        self._store = store
        self._org = org
        self._clock = clock
        self._owner = owner
        self._backoff = backoff
        self.hold = Hold()

    async def work(self, hand: Hand) -> None:
        """Do for every row in hand what can be done now.

        Raises:
            StoreUnavailable: Rows may be left in hand; their lease runs out.
            TransientError: Rows in hand were not seen to.
        """
        await self._resolve(hand)
        await self._send(hand)
        await self._link(hand)
        await self._undouble(hand)
        await self._commit(hand, [self._later(row) for row in hand.mine()])

    async def put_off(self, hand: Hand, error: Exception, *, innocent: bool) -> None:
        """Give back what is in hand, because of trouble that is nobody's or its own.

        Args:
            hand: What is in hand.
            error: The trouble.
            innocent: No file is at fault; it counts for nothing.
        """
        wait = getattr(error, "retry_after_s", None)
        updates = []
        for row in hand.mine():
            if innocent:
                due = self._in(wait or self._settings.worker.retry_first_s)
                changes: dict[str, Any] = {"error": row.error, "due_at": due}
                updates.append(FileUpdate(row.key, row.state, **changes))
            else:
                updates.append(self._failed(row, row.state, str(error), wait))
        await self._commit(hand, updates)

    # ------------------------------------------------------------ unknown outcomes

    async def _resolve(self, hand: Hand) -> None:
        """Look for files that were sent and never answered."""
        rows = hand.mine(FileState.SENT)
        if not rows:
            return
        now = self._clock.now()
        found = await self._own(min(row.sent_at or row.created_at for row in rows))
        updates = []
        for row in rows:
            files = found.get(row.key, [])
            living = [file for file in files if not file.is_deleted]
            if living:
                update = FileUpdate(
                    row.key,
                    FileState.WRITTEN,
                    version_id=living[0].version_id,
                    document_id=living[0].document_id,
                    keep=True,
                )
            elif files:
                update = FileUpdate(
                    row.key, FileState.GONE, error="deleted in Salesforce"
                )
            elif now >= (row.sent_at or now) + self._patience(row):
                update = FileUpdate(
                    row.key, FileState.PLANNED, lookups=row.lookups + 1, keep=True
                )
            else:
                update = FileUpdate(
                    row.key,
                    FileState.SENT,
                    due_at=self._in(look_up_wait_s(row.lookups)),
                    error=row.error,
                    lookups=row.lookups + 1,
                )
            updates.append(update)
        await self._commit(hand, updates)

    async def _own(self, since: datetime) -> dict[str, list[filing.FoundFile]]:
        server_now = self._org.server_now()
        start = since + (server_now - self._clock.now()) - CLOCK_SLACK
        me = await self._org.me()
        return await self._org.files.find_own(me, start, server_now + CLOCK_SLACK)

    def _patience(self, row: FileRow) -> timedelta:
        """Return how long after it was sent a file may still appear."""
        settings = self._settings.salesforce
        return timedelta(
            seconds=filing.upload_s(row.draft.size_bytes)
            + filing.answer_s(row.draft.size_bytes, settings.timeout_s)
            + settings.settle_s
        )

    # ------------------------------------------------------------ sending

    async def _send(self, hand: Hand) -> None:
        """Send the contents that are not in Salesforce yet."""
        updates, due = [], []
        for row in hand.mine(*_TO_SEND):
            if row.record_gone or not row.record_id:
                text = "the record was deleted in Salesforce"
                updates.append(FileUpdate(row.key, FileState.GONE, error=text))
            elif hand.carrier(row) is row:
                due.append(row)
        await self._commit(hand, updates)
        if not due:
            return
        shape = await self._org.shape()
        if not filing.possible(shape):
            text = "the integration user may not create Files (ContentVersion)"
            await self._store_full(hand, due, text)
            return
        limit = filing.JSON_BYTES
        for group in _groups([row for row in due if row.draft.size_bytes <= limit]):
            await self._send_group(hand, group, shape)
        for row in due:
            if row.draft.size_bytes > limit:
                await self._send_large(hand, row, shape)

    async def _send_group(
        self, hand: Hand, group: Sequence[FileRow], shape: OrgShape
    ) -> None:
        if await self._held(hand, group):
            return
        records: list[tuple[str, str, dict[str, Json]]] = []
        for row in group:
            content = await self._read(hand, row)
            if content is None:
                continue
            fields = filing.with_content(self._fields(row, shape), content)
            records.append((row.key, "ContentVersion", fields))
        rows = [hand.rows[key] for key, _, _ in records]
        ours, deadline_s = await self._sent(hand, rows, 0)
        records = [record for record in records if record[0] in ours]
        if not records:
            return
        try:
            outcomes = await self._org.create(records, not_after_boottime_s=deadline_s)
        except TransientError as error:
            await self._not_sent(hand, ours, error)
            return
        await self._take(hand, outcomes)

    async def _send_large(self, hand: Hand, row: FileRow, shape: OrgShape) -> None:
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

    async def _read(self, hand: Hand, row: FileRow) -> bytes | None:
        """Return the content of a small file; None where it is seen to already."""
        reader = await self._open(hand, row)
        if reader is None:
            return None
        try:
            return await asyncio.to_thread(_whole, self._content(reader, row))
        except OSError as error:
            text = f"the raw mail cannot be read now: {error.strerror}"
            await self._commit(hand, [self._failed(row, row.state, text, None)])
            return None
        finally:
            reader.close()

    async def _open(self, hand: Hand, row: FileRow) -> RawReader | None:
        try:
            return await self._store.open_raw(row.draft.blob_id)
        except NotFound as error:
            update = FileUpdate(row.key, FileState.REFUSED, error=str(error))
        except RawUnreadable as error:
            update = self._failed(row, row.state, str(error), None)
        await self._commit(hand, [update])
        return None

    def _content(self, reader: RawReader, row: FileRow) -> Iterator[bytes]:
        draft = row.draft
        pieces = reader.pieces(draft.start, draft.end)
        if draft.sha256:
            return decoded(pieces, draft.encoding)
        return masked(pieces, self._settings.smtp.domains)

    def _fields(self, row: FileRow, shape: OrgShape) -> dict[str, Json]:
        return filing.version_fields(row.key, row.draft.name, row.record_id, shape, cut)

    async def _sent(
        self, hand: Hand, rows: Sequence[FileRow], size_bytes: int
    ) -> tuple[set[str], float]:
        """Commit that these leave now.

        Returns:
            Those that are still ours, and the boot time until which they may leave.
        """
        now = self._clock.now()
        deadline_s = self._clock.boottime_s() + SEND_WITHIN_S
        updates = [
            FileUpdate(row.key, FileState.SENT, sent_at=now, keep=True) for row in rows
        ]
        timeout_s = self._settings.salesforce.timeout_s
        lease_s = max(
            self._settings.worker.lease_s,
            filing.upload_s(size_bytes)
            + 2 * filing.answer_s(size_bytes, timeout_s)
            + SEND_WITHIN_S,
        )
        ours = await self._store.files_update(self._owner, updates, lease_s)
        for update in updates:
            if update.key in ours:
                hand.take(update)
            else:
                hand.drop(update.key)
        return ours, deadline_s

    async def _take(self, hand: Hand, outcomes: Sequence[WriteOutcome]) -> None:
        """Take what became of uploads into the store."""
        updates = []
        for outcome in outcomes:
            row = hand.rows[outcome.key]
            error = f"{outcome.code} {outcome.text}".strip()
            if outcome.code in filing.STORAGE_FULL:
                self._begin_hold(error)
                update = self._holding(row)
            elif outcome.state is WriteState.WRITTEN:
                update = FileUpdate(
                    row.key, FileState.WRITTEN, version_id=outcome.id, keep=True
                )
            elif outcome.state is WriteState.REFUSED:
                gone = outcome.code in _DELETED
                state = FileState.GONE if gone else FileState.REFUSED
                update = FileUpdate(row.key, state, error=error)
            elif outcome.state is WriteState.UNKNOWN:
                update = FileUpdate(
                    row.key,
                    FileState.SENT,
                    due_at=self._in(look_up_wait_s(0)),
                    error=error,
                )
            elif outcome.state is WriteState.NOT_SENT:
                update = FileUpdate(
                    row.key, FileState.PLANNED, due_at=self._in(1.0), error=error
                )
            else:
                update = self._failed(
                    row, FileState.PLANNED, error, outcome.retry_after_s
                )
            updates.append(update)
        await self._commit(hand, updates)

    async def _not_sent(
        self, hand: Hand, keys: Iterable[str], error: TransientError
    ) -> None:
        """Plan again what a call did not write; hold it where the org is full.

        Raises:
            OrgPaused: Another reason for which nothing can succeed.
        """
        rows = [hand.rows[key] for key in keys]
        if filing.is_storage(error):
            await self._store_full(hand, rows, str(error))
            return
        if isinstance(error, OrgPaused):
            await self._commit(
                hand,
                [FileUpdate(r.key, FileState.PLANNED, keep=True) for r in rows],
            )
            raise error
        wait = error.retry_after_s
        await self._commit(
            hand,
            [self._failed(r, FileState.PLANNED, str(error), wait) for r in rows],
        )

    # ------------------------------------------------------------ no room

    async def _held(self, hand: Hand, rows: Sequence[FileRow]) -> bool:
        """Hold files while the org has no room for any."""
        until = self.hold.until
        if until is None or self._clock.now() >= until:
            return False
        await self._commit(hand, [self._holding(row) for row in rows])
        return True

    async def _store_full(
        self, hand: Hand, rows: Sequence[FileRow], error: str
    ) -> None:
        self._begin_hold(error)
        await self._commit(hand, [self._holding(row) for row in rows])

    def _begin_hold(self, error: str) -> None:
        self.hold = Hold(self._in(self._settings.salesforce.files_hold_s), error)
        logger.error("files_held", error=error)

    def _holding(self, row: FileRow) -> FileUpdate:
        return FileUpdate(
            row.key, FileState.HELD, due_at=self.hold.until, error=self.hold.error
        )

    # ------------------------------------------------------------ links

    async def _link(self, hand: Hand) -> None:
        """Hang what is in Salesforce on the records it is for."""
        written = hand.mine(FileState.WRITTEN)
        others = [
            row
            for row in hand.mine(*_TO_SEND)
            if hand.carrier(row).state in {FileState.WRITTEN, FileState.LINKED}
        ]
        if not written and not others:
            return
        places = await self._org.files.places(
            [row.version_id for row in written if row.version_id],
            [row.record_id for row in (*written, *others) if row.record_id],
        )
        updates: list[FileUpdate] = []
        links: dict[str, tuple[FileRow, str]] = {}
        for row in (*written, *others):
            carrier = hand.carrier(row) if row in others else row
            document = carrier.document_id or places.documents.get(
                carrier.version_id or ""
            )
            if row.version_id in places.deleted:
                text = "deleted in Salesforce"
                updates.append(FileUpdate(row.key, FileState.GONE, error=text))
            elif not document or not row.record_id:
                continue
            elif (document, row.record_id) in places.links:
                updates.append(self._linked(row, carrier, document))
            else:
                links[row.key] = (row, document)
        await self._commit(hand, updates)
        if links:
            await self._make_links(hand, links)

    async def _make_links(
        self, hand: Hand, links: dict[str, tuple[FileRow, str]]
    ) -> None:
        outcomes = await self._org.create(
            [
                (
                    key,
                    "ContentDocumentLink",
                    filing.link_fields(document, row.record_id or ""),
                )
                for key, (row, document) in links.items()
            ],
            not_after_boottime_s=self._clock.boottime_s() + SEND_WITHIN_S,
        )
        updates = []
        for outcome in outcomes:
            row, document = links[outcome.key]
            error = f"{outcome.code} {outcome.text}".strip()
            there = outcome.code == filing.ALREADY_LINKED
            if outcome.state is WriteState.WRITTEN or there:
                updates.append(self._linked(row, hand.carrier(row), document))
            elif outcome.state is WriteState.REFUSED:
                if row.version_id:
                    # It would hang nowhere, and nobody would ever find it.
                    await self._org.delete("ContentDocument", document)
                gone = outcome.code in _DELETED
                state = FileState.GONE if gone else FileState.REFUSED
                updates.append(FileUpdate(row.key, state, error=error))
            else:
                updates.append(
                    self._failed(row, row.state, error, outcome.retry_after_s)
                )
        await self._commit(hand, updates)

    def _linked(self, row: FileRow, carrier: FileRow, document: str) -> FileUpdate:
        # Once it was not found where it should have been, it may have come twice.
        check = self._clock.now() + self._patience(row) if row.lookups else None
        return FileUpdate(
            row.key,
            FileState.LINKED,
            due_at=check,
            version_id=row.version_id or carrier.version_id,
            document_id=document,
        )

    async def _undouble(self, hand: Hand) -> None:
        """Delete what a late commit has made beside the file that we know."""
        rows = hand.mine(FileState.LINKED)
        if not rows:
            return
        found = await self._own(min(row.created_at for row in rows))
        for row in rows:
            for file in found.get(row.key, ()):
                other = file.document_id not in {None, row.document_id}
                if other and not file.is_deleted:
                    logger.warning("double_file_deleted", file=row.key)
                    await self._org.delete("ContentDocument", file.document_id or "")
        await self._commit(hand, [FileUpdate(r.key, FileState.LINKED) for r in rows])

    # ------------------------------------------------------------ rows

    def _later(self, row: FileRow) -> FileUpdate:
        """Look again soon: what the row waits for is not there yet."""
        due = self._in(look_up_wait_s(row.lookups))
        return FileUpdate(
            row.key,
            row.state,
            due_at=due,
            error=row.error,
            lookups=row.lookups + (row.state is FileState.WRITTEN),
        )

    def _failed(
        self, row: FileRow, state: FileState, error: str, wait_s: float | None
    ) -> FileUpdate:
        """Try again with growing waits; what is too old is refused, with the reason."""
        now = self._clock.now()
        # What was sent without an answer is looked for, however old it is.
        settled = {FileState.SENT, FileState.LINKED}
        if state not in settled and self._backoff.too_old(now, row.created_at):
            text = f"given up: {error}"
            return FileUpdate(row.key, FileState.REFUSED, error=text)
        return FileUpdate(
            row.key,
            state,
            due_at=self._backoff.retry_at(now, row.failures + 1, wait_s),
            error=error,
            failures=row.failures + 1,
        )

    async def _commit(self, hand: Hand, updates: Sequence[FileUpdate]) -> None:
        if not updates:
            return
        done = await self._store.files_update(self._owner, updates)
        for update in updates:
            row = hand.rows[update.key]
            if update.key in done:
                hand.take(update)
            else:
                hand.drop(update.key)
            if update.state is not row.state:
                metrics.FILES.labels(str(update.state)).inc()
                if update.state not in FILE_WAITING:
                    logger.info(
                        "file_settled",
                        file=update.key,
                        state=str(update.state),
                        error=update.error,
                    )

    def _in(self, seconds: float) -> datetime:
        return self._clock.now() + timedelta(seconds=seconds)


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
