"""The files of mails on their way into Salesforce, and raw mail read in pieces.

A row is one file on one record. `advance` (in `relay.store.ledger`) adds rows together
with the outcome of the message; what happens afterwards is written here, and never
touches a message. All waiting files of a mail are taken together, because a content
that hangs on several records is sent once.
"""

from __future__ import annotations

import asyncio
import io
import tempfile
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from sqlalchemy import bindparam, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from relay.core.errors import IllegalTransition, NotFound, RawUnreadable
from relay.core.files import FileDraft, FileRow
from relay.core.states import FILE_TRANSITIONS, ActivityState
from relay.store import schema
from relay.store.access import in_thread
from relay.store.errors import code
from relay.store.intake import Intake
from relay.store.unanswered import Unanswered, give_back_files
from relay.store.values import SECOND, chunks, maybe_moment, moment, stamp, text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy import Connection, Row, Select

    from relay.config import StoreSettings
    from relay.core.clock import Clock
    from relay.core.files import FileUpdate
    from relay.core.queue import LeaseOwner
    from relay.store.database import Database
    from relay.store.spool import Spool

PIECE_BYTES: Final = 1 << 18

files = schema.files
f = schema.files.c
a = schema.activities.c


class RawReader:
    """The bytes of one mail, read where they are wanted. Not to be shared by threads.

    Its methods block; call them in a thread.
    """

    def __init__(self, file: BinaryIO) -> None:
        """Take over an open file."""
        self._file = file

    def pieces(self, start: int, end: int) -> Iterator[bytes]:
        """Yield the bytes between two offsets.

        Raises:
            OSError: They cannot be read.
        """
        self._file.seek(start)
        while start < end and (piece := self._file.read(min(PIECE_BYTES, end - start))):
            start += len(piece)
            yield piece

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


class FileOperations(Intake):
    """Operations of the worker's file stage."""

    def __init__(
        self, database: Database, clock: Clock, settings: StoreSettings, spool: Spool
    ) -> None:
        """Take over an open database and its spool folder; nothing is claimed yet."""
        super().__init__(database, clock, settings, spool)
        self._late_files = Unanswered()

    async def open_raw(self, blob_id: str) -> RawReader:
        """Open the bytes of one SMTP transaction; a large mail is not loaded.

        The caller closes it.

        Raises:
            NotFound: There is no such blob, or its file is gone.
            RawUnreadable: Its file cannot be read now.
            StoreUnavailable: The store cannot be read now.
        """
        b = schema.blobs.c
        query = select(b.data, b.file, b.chunks).where(b.id == blob_id)
        row = await self._read(lambda connection: connection.execute(query).first())
        problem = f"there is no raw mail {blob_id}"
        if row is None:
            raise NotFound(problem)
        if row.data is not None:
            return RawReader(io.BytesIO(row.data))
        if row.file is None:
            return await self._from_chunks(blob_id, row.chunks)
        path = self.spool_dir / row.file
        try:
            # A file that is open can be read to its end although it is removed.
            return RawReader(await asyncio.to_thread(path.open, "rb"))
        except FileNotFoundError:
            raise NotFound(problem) from None
        except OSError as error:
            problem = f"the raw mail {blob_id} cannot be read now ({code(error)})"
            raise RawUnreadable(problem) from error

    async def _from_chunks(self, blob_id: str, count: int) -> RawReader:
        """Copy chunk rows into a nameless temporary file, one at a time."""
        c = schema.blob_chunks.c
        # The reader closes it.
        file = await in_thread(
            lambda: tempfile.TemporaryFile(dir=self.spool_dir)  # noqa: SIM115
        )
        try:
            for number in range(count):
                query = select(c.data).where(c.blob_id == blob_id, c.number == number)
                data = await self._read(_scalar(query))
                await in_thread(_writing(file, data or b""))
        except BaseException:
            file.close()
            raise
        return RawReader(file)

    async def files_claim(
        self, owner: LeaseOwner, limit: int, lease_s: float
    ) -> list[FileRow]:
        """Take the waiting files of up to `limit` mails, the longest due first.

        All rows of these mails come back, those that are in the caller's hands marked
        `mine`. A lease that has run out counts for nothing.

        Raises:
            StoreUnavailable: Nothing was taken; or what was is free again with the
                next call.
        """
        now = self._now()
        until = now + int(lease_s * SECOND)
        late = self._late_files.now()
        taken: dict[int, int] = {}

        def work(connection: Connection) -> tuple[list[FileRow], set[int]]:
            taken.clear()
            seen = give_back_files(connection, late)
            rows = _claim(connection, str(owner), limit, now, until)
            taken.update((row.id, until) for row in rows if row.mine)
            return rows, seen

        with self._late_files.kept(str(owner), taken):
            rows, seen = await self._write(work)
        self._late_files.forget(seen | taken.keys())
        return rows

    async def files_update(
        self,
        owner: LeaseOwner,
        updates: Sequence[FileUpdate],
        lease_s: float | None = None,
    ) -> set[str]:
        """Write down what happened; return the keys for which that was done.

        With `lease_s` the files that are kept are held for so long from now.

        To mark a file as sent takes its lease: without it the row is left as it is,
        and its key is not in the answer. An answer of Salesforce is taken from
        anybody, unless the row has moved on meanwhile.

        Raises:
            IllegalTransition: A change is not in the table. Nothing was changed.
            NotFound: A row does not exist. Nothing was changed.
            StoreUnavailable: Nothing was changed.
        """
        if not updates:
            return set()
        until = None if lease_s is None else self._now() + int(lease_s * SECOND)
        return await self._write(lambda c: _update(c, str(owner), updates, until))

    async def files_release_dead(
        self, owner: LeaseOwner, is_alive: Callable[[str], bool]
    ) -> None:
        """End the leases of dead processes of this host."""
        host = f"{owner.host}/"
        query = select(f.lease_owner).where(f.lease_owner.is_not(None)).distinct()
        names = await self._read(lambda c: c.scalars(query).all())
        dead = [n for n in names if n and n.startswith(host) and not is_alive(n)]
        if dead:
            free = (
                update(files)
                .where(f.lease_owner.in_(dead))
                .values(lease_owner=None, lease_until=None)
            )
            await self._write(lambda c: c.execute(free))

    async def file_counts(self) -> dict[ActivityState, int]:
        """Return how many files are in each state."""
        query = select(f.state, func.count()).group_by(f.state)
        rows = await self._read(lambda connection: connection.execute(query).all())
        found = {row[0]: int(row[1]) for row in rows}
        return {state: found.get(state.value, 0) for state in ActivityState}


def _scalar(query: Any) -> Callable[[Connection], bytes | None]:
    return lambda connection: connection.scalar(query)


def _writing(file: BinaryIO, data: bytes) -> Callable[[], int]:
    return lambda: file.write(data)


# ------------------------------------------------------------------ planning


def add_files(connection: Connection, drafts: Sequence[FileDraft], now: int) -> None:
    """Add files that are not there yet; try those again that were refused or held.

    A mail whose message is logged once more comes here again: because a person wanted
    it, or because another copy came.
    """
    if not drafts:
        return
    make = sqlite if connection.dialect.name == "sqlite" else postgresql
    connection.execute(
        make.insert(files).on_conflict_do_nothing(index_elements=["key"]),
        [_values(draft) | {"created_at": now, "due_at": now} for draft in drafts],
    )
    again = (ActivityState.REFUSED.value, ActivityState.HELD.value)
    for part in chunks([draft.key for draft in drafts]):
        connection.execute(
            update(files)
            .where(f.key.in_(part), f.state.in_(again))
            .values(state=ActivityState.PLANNED.value, due_at=now, error="", failures=0)
        )


def drop_files(connection: Connection, activity_keys: Sequence[str]) -> None:
    """Forget the files of records that are not to be written any more."""
    connection.execute(delete(files).where(f.activity_key.in_(activity_keys)))


def _values(draft: FileDraft) -> dict[str, Any]:
    return {
        "key": draft.key,
        "mail_id": draft.mail_id,
        "activity_key": draft.activity_key,
        "blob_id": draft.blob_id,
        "name": text(draft.name),
        "content_type": text(draft.content_type),
        "size_bytes": draft.size_bytes,
        "sha256": draft.sha256,
        "start_byte": draft.start,
        "end_byte": draft.end,
        "encoding": text(draft.encoding),
        "state": ActivityState.PLANNED.value,
    }


# ------------------------------------------------------------------ claims


def _claim(
    connection: Connection, owner: str, limit: int, now: int, until: int
) -> list[FileRow]:
    free = f.lease_until.is_(None) | (f.lease_until < now)
    due = select(f.id, f.mail_id).where(f.due_at <= now, free)
    first = connection.execute(
        due.order_by(f.due_at, f.id).limit(limit).with_for_update(skip_locked=True)
    ).all()
    mails = sorted({row.mail_id for row in first})
    if not mails:
        return []
    taken = connection.scalars(
        select(f.id)
        .where(f.mail_id.in_(mails), f.due_at <= now, free)
        .with_for_update(skip_locked=True)
    ).all()
    mine = set(taken)
    for part in chunks(sorted(mine)):
        connection.execute(
            update(files)
            .where(f.id.in_(part))
            .values(lease_owner=owner, lease_until=until)
        )
    query = files_on_records().where(f.mail_id.in_(mails)).order_by(f.id)
    return [file_of(row, mine=row.id in mine) for row in connection.execute(query)]


def files_on_records() -> Select[Any]:
    """Return the query for files with the records they are to hang on."""
    return select(files, a.salesforce_id, a.state.label("record_state")).join(
        schema.activities, a.key == f.activity_key
    )


def file_of(row: Row[Any], *, mine: bool = False) -> FileRow:
    """Return a row of `files_on_records` as a value."""
    return FileRow(
        id=row.id,
        draft=FileDraft(
            key=row.key,
            mail_id=row.mail_id,
            activity_key=row.activity_key,
            blob_id=row.blob_id,
            name=row.name,
            content_type=row.content_type,
            size_bytes=row.size_bytes,
            sha256=row.sha256,
            start=row.start_byte,
            end=row.end_byte,
            encoding=row.encoding,
        ),
        state=ActivityState(row.state),
        record_id=row.salesforce_id,
        record_gone=row.record_state == ActivityState.GONE.value,
        created_at=moment(row.created_at),
        version_id=row.version_id,
        document_id=row.document_id,
        sent_at=maybe_moment(row.sent_at),
        due_at=maybe_moment(row.due_at),
        error=row.error,
        lookups=row.lookups,
        failures=row.failures,
        mine=mine,
    )


# ------------------------------------------------------------------ updates


def _update(
    connection: Connection,
    owner: str,
    updates: Sequence[FileUpdate],
    until: int | None,
) -> set[str]:
    rows: dict[str, Row[Any]] = {}
    for part in chunks(sorted({change.key for change in updates})):
        query = select(files).where(f.key.in_(part)).order_by(f.key)
        for row in connection.execute(query.with_for_update()):
            rows[row.key] = row
    done: set[str] = set()
    values: list[dict[str, Any]] = []
    for change in updates:
        if change.key not in rows:
            problem = f"there is no file {change.key}"
            raise NotFound(problem)
        row = rows[change.key]
        ours = row.lease_owner == owner
        old = ActivityState(row.state)
        if not ours and (
            change.state is ActivityState.SENT
            or not (change.version_id or change.document_id)
            or change.state not in FILE_TRANSITIONS[old]
        ):
            continue
        if change.state not in FILE_TRANSITIONS[old]:
            raise IllegalTransition(old, change.state)
        done.add(change.key)
        values.append(_changed(row, change, until, keep=change.keep and ours))
    if values:
        names = [name for name in values[0] if name != "the_key"]
        connection.execute(
            update(files)
            .where(f.key == bindparam("the_key"))
            .values({name: bindparam(name) for name in names}),
            values,
        )
    return done


def _changed(
    row: Row[Any], change: FileUpdate, until: int | None, *, keep: bool
) -> dict[str, Any]:
    due = None if change.due_at is None else stamp(change.due_at)
    return {
        "the_key": row.key,
        "state": change.state.value,
        "due_at": row.due_at if change.keep else due,
        "version_id": change.version_id or row.version_id,
        "document_id": change.document_id or row.document_id,
        "sent_at": row.sent_at if change.sent_at is None else stamp(change.sent_at),
        "error": text(change.error),
        "lookups": row.lookups if change.lookups is None else change.lookups,
        "failures": row.failures if change.failures is None else change.failures,
        "lease_owner": row.lease_owner if keep else None,
        "lease_until": (until or row.lease_until) if keep else None,
    }
