"""What the SMTP side writes: accepted mail and refusals, both in the group commit.

A mail of a few kilobytes is a row in the same transaction as its messages. A larger
one is a file beside SQLite (written once instead of twice, through no log), and chunk
rows on PostgreSQL, so that any relay can read it.
"""

from __future__ import annotations

import asyncio
import functools
import io
import tempfile
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from sqlalchemy import delete, insert, select, update
from sqlalchemy.dialects import postgresql

from relay.core.errors import NotFound, RawUnreadable, StoreFull, StoreUnavailable
from relay.core.states import RESTING, Event, State, next_state
from relay.store import schema
from relay.store.acts import forget
from relay.store.commit import COLUMNS
from relay.store.context import Part, in_thread
from relay.store.errors import code, surely_undone
from relay.store.spool import FINAL, without_row
from relay.store.values import chunks, dump, dump_steps, stamp, text
from relay.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator
    from pathlib import Path

    from sqlalchemy import Connection

    from relay.core.model import Envelope, RawMail
    from relay.store.commit import Rows
    from relay.store.context import StoreContext

log = get_logger(__name__)

CHUNK_BYTES: Final = 1024 * 1024
_PIECE_BYTES: Final = 1 << 18
POSTMASTER: Final = "postmaster"
"""Reason of mail for postmaster: kept and shown, never logged."""
PURGE_BATCH: Final = 200
"""Messages that one transaction removes, so that a put need not wait long for it."""
PURGE_EVERY: Final = 50
"""Mails for postmaster after which the oldest ones are removed."""
_SLOWEST_BYTES_S: Final = 1024 * 1024
"""How fast a large mail goes into PostgreSQL at least; slower is given up."""


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
        while start < end and (
            piece := self._file.read(min(_PIECE_BYTES, end - start))
        ):
            start += len(piece)
            yield piece

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


class MessageStore(Part):
    """Accepted mail: storing it, reading its raw bytes, removing what is not needed."""

    def __init__(self, context: StoreContext) -> None:
        """Take the shared context; no mail is under way yet."""
        super().__init__(context)
        self._spool = context.spool
        self._database = context.database
        self._running: set[asyncio.Task[None]] = set()
        self._since_purge = PURGE_EVERY

    @property
    def spool_dir(self) -> Path:
        """The folder in which temporary files of large mails must stand."""
        return self._spool.folder

    def spool_temporary(self) -> Path:
        """Return a fresh file name in `spool_dir` for a mail that is coming in."""
        return self._spool.temporary()

    def free_bytes(self, *, fresh: bool = False) -> int:
        """Return the free bytes of the disk of the spool, or of SQLite's if it is less.

        The answer is at most 0.1 s old, or of now if `fresh`.

        Raises:
            StoreUnavailable: A disk does not answer.
        """
        return self._context.free_bytes(fresh=fresh)

    async def put(self, envelope: Envelope, raw: RawMail) -> None:
        """Store one SMTP transaction, a message for each recipient, all or none.

        Once this returns, the messages survive a crash: the caller may answer 250. A
        file that `raw` names is the store's from then on. When the caller is cancelled
        the mail is stored all the same, whole or not at all.

        Args:
            envelope: At least one recipient.
            raw: The mail as received; a path must lie in `spool_dir`.

        Raises:
            StoreUnavailable: Answer 451, the client keeps the mail. Nothing was stored;
                or, where the database did not answer within `store.timeout_s`, perhaps:
                then what the client sends again is one more copy of the mail.
            StoreFull: Nothing was stored for want of space.

        Source: RFC 5321 section 6.1; SQLite documentation, "PRAGMA synchronous".
        """
        # A file has been counted block by block as it came.
        need = raw.size_bytes if raw.path is None else 0
        if self.free_bytes() - need < self._context.settings.min_free_bytes:
            raise StoreFull("the disk is below store.min_free_bytes")
        data = raw.data
        if data is not None and len(data) <= self._context.settings.inline_bytes:
            await self._database.committer.submit(_rows(envelope, raw, data=data))
        elif self._database.is_sqlite:
            await self._shielded(self._put_file(envelope, raw))
        else:
            await self._shielded(self._put_chunks(envelope, raw))
        self._context.ring()
        if any(recipient.user_id is None for recipient in envelope.recipients):
            self._since_purge += 1
            if self._since_purge >= PURGE_EVERY:
                self._since_purge = 0
                self._start(self._purge())

    async def digests(self, user_id: int, peer: str) -> set[str]:
        """Return the SHA-256 of every mail that came for a user on one way in."""
        m, b = schema.messages.c, schema.blobs.c
        query = (
            select(b.sha256)
            .join(schema.messages, m.blob_id == b.id)
            .where(m.user_id == user_id, m.peer == peer)
        )
        return set(
            await self._context.read(lambda connection: connection.scalars(query).all())
        )

    async def _shielded(self, work: Coroutine[Any, Any, None]) -> None:
        """Finish several steps although the caller may be cancelled between them."""
        await asyncio.shield(self._start(work))

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begin what `close` waits for."""
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def _purge(self) -> None:
        """Remove the oldest mail for postmaster; what fails is left for next time."""
        keep, removed = self._context.settings.postmaster_keep, 0
        try:
            while True:
                count, files = await self._context.write(
                    lambda connection: _purge_postmaster(connection, keep)
                )
                removed += count
                paths = [self._spool.folder / name for name in files]
                await in_thread(functools.partial(self._spool.discard, *paths))
                if count < PURGE_BATCH:
                    break
        except StoreUnavailable as error:
            log.warning("postmaster_not_purged", error=str(error))
        if removed:
            log.info("postmaster_purged", messages=removed, keep=keep)

    async def _put_file(self, envelope: Envelope, raw: RawMail) -> None:
        blob_id = envelope.recipients[0].message_id
        spool = self._spool

        def keep() -> str:
            path = raw.path
            if path is None:
                path = spool.write_temporary(raw.data or b"")
            try:
                return spool.keep(path, blob_id)
            except OSError:
                spool.discard(path, spool.folder / (blob_id + FINAL))
                raise

        name = await in_thread(keep)
        try:
            await self._database.committer.submit(_rows(envelope, raw, file=name))
        except StoreUnavailable as error:
            await self._take_back(name, error)
            raise

    async def _take_back(self, name: str, error: StoreUnavailable) -> None:
        """Remove the file of a mail that was not stored, where that is certain.

        Where it is not, the file waits for `sweep`, which asks for its row as well.
        """
        if not surely_undone(error):
            return
        path = self._spool.folder / name
        own = select(schema.blobs.c.id).where(schema.blobs.c.id == path.stem)
        try:
            row = await self._context.read(lambda connection: connection.scalar(own))
        except StoreUnavailable:
            return
        if row is None:
            await in_thread(lambda: self._spool.discard(path))

    async def _put_chunks(self, envelope: Envelope, raw: RawMail) -> None:
        count = -(-raw.size_bytes // CHUNK_BYTES)
        rows = _rows(envelope, raw, chunks=count)
        blob_id = envelope.recipients[0].message_id

        def work(connection: Connection) -> None:
            for name, values in rows:
                table = schema.metadata.tables[name]
                new = insert(table)
                if name == "signatures":
                    new = postgresql.insert(table).on_conflict_do_nothing()
                connection.execute(
                    new,
                    [dict(zip(COLUMNS[name], row, strict=True)) for row in values],
                )
            for number, data in enumerate(_pieces(raw)):
                connection.execute(
                    insert(schema.blob_chunks).values(
                        blob_id=blob_id, number=number, data=data
                    )
                )

        await self._context.write(work, more_s=raw.size_bytes / _SLOWEST_BYTES_S)
        if raw.path is not None:
            self._spool.discard(raw.path)

    async def try_write(self) -> None:
        """Change nothing in a transaction that could, on the way that mail takes.

        Raises:
            StoreUnavailable: Mail would not be stored now.
        """

        def work(connection: Connection) -> None:
            same = schema.meta.c.revision
            nothing = update(schema.meta).where(schema.meta.c.id < 0)
            connection.execute(nothing.values(revision=same))

        self._context.need_open()
        await self._database.committer.submit(work)

    # ---------------------------------------------------------------- raw mail

    async def raw(self, blob_id: str) -> bytes:
        """Return the bytes of one SMTP transaction as received.

        Raises:
            NotFound: There is no such blob, its file is gone, or it was removed after
                its messages had been discarded; the text says which.
            RawUnreadable: Its file cannot be read now.
        """
        found = (await self.raws([blob_id])).get(blob_id)
        if found is None:
            raise await self._no_raw(blob_id)
        if isinstance(found, RawUnreadable):
            raise found
        return found

    async def _no_raw(self, blob_id: str) -> NotFound:
        b = schema.blobs.c
        removed = (
            b.file.is_(None),
            b.data.is_(None),
            b.chunks == 0,
        )
        query = select(b.id).where(b.id == blob_id, *removed)
        found = await self._context.read(lambda connection: connection.scalar(query))
        if found is None:
            return NotFound(f"there is no raw mail {blob_id}")
        days = self._context.settings.discard_keep_days
        text = (
            f"there is no raw mail {blob_id}: it was discarded, and removed after "
            f"{days} days"
        )
        return NotFound(text)

    async def raws(self, blob_ids: Iterable[str]) -> dict[str, bytes | RawUnreadable]:
        """Return the bytes of several, all in memory: ask for few large ones at a time.

        Those that do not exist are left out. A file that cannot be read is a value and
        no error, so that the others can be used.

        Raises:
            StoreUnavailable: The database cannot be read.
        """
        wanted = list(dict.fromkeys(blob_ids))
        data, files = await self._context.read(
            lambda connection: _load(connection, wanted)
        )
        found: dict[str, bytes | RawUnreadable] = {**data}
        if files:
            found |= await in_thread(lambda: self._files(files))
        return found

    def _files(self, files: dict[str, str]) -> dict[str, bytes | RawUnreadable]:
        found: dict[str, bytes | RawUnreadable] = {}
        for blob_id, name in files.items():
            try:
                raw = self._spool.read(name)
            except OSError as error:
                problem = f"the spool file {name} cannot be read ({code(error)})"
                found[blob_id] = RawUnreadable(problem)
            else:
                if raw is not None:
                    found[blob_id] = raw
        return found

    async def open(self, blob_id: str) -> RawReader:
        """Open the bytes of one SMTP transaction; a large mail is not loaded.

        The caller closes it.

        Raises:
            NotFound: There is no such blob, or its file is gone.
            RawUnreadable: Its file cannot be read now.
            StoreUnavailable: The store cannot be read now.
        """
        b = schema.blobs.c
        query = select(b.data, b.file, b.chunks).where(b.id == blob_id)
        row = await self._context.read(
            lambda connection: connection.execute(query).first()
        )
        problem = f"there is no raw mail {blob_id}"
        if row is None:
            raise NotFound(problem)
        if row.data is not None:
            return RawReader(io.BytesIO(row.data))
        if row.file is None and not row.chunks:
            raise NotFound(problem)
        if row.file is None:
            return await self._from_chunks(blob_id, row.chunks)
        path = self._spool.folder / row.file
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
            lambda: tempfile.TemporaryFile(dir=self._spool.folder)  # noqa: SIM115
        )
        try:
            for number in range(count):
                query = select(c.data).where(c.blob_id == blob_id, c.number == number)
                data = await self._context.read(_scalar(query))
                await in_thread(_writing(file, data or b""))
        except BaseException:
            file.close()
            raise
        return RawReader(file)

    async def sweep(self) -> int:
        """Remove files that were left behind; return how many.

        Only files older than an hour go: temporaries, and kept mails without a row.
        """
        temporaries, kept = await in_thread(self._spool.old_files)
        if not self._database.is_sqlite:
            kept = []

        def known(connection: Connection) -> list[str]:
            b = schema.blobs.c
            return [
                name
                for part in chunks([path.stem for path in kept])
                for name in connection.scalars(select(b.file).where(b.id.in_(part)))
                if name
            ]

        if kept:
            kept = without_row(kept, await self._context.read(known))
        gone = await in_thread(lambda: self._spool.discard(*temporaries, *kept))
        if gone:
            log.info("spool_swept", files=gone)
        return gone

    async def finish(self) -> None:
        """Wait for puts that outlive their callers."""
        while self._running:
            await asyncio.wait(self._running)


def _scalar(query: Any) -> Callable[[Connection], bytes | None]:
    return lambda connection: connection.scalar(query)


def _writing(file: BinaryIO, data: bytes) -> Callable[[], int]:
    return lambda: file.write(data)


def _pieces(raw: RawMail) -> Iterable[bytes]:
    if raw.path is None:
        data = raw.data or b""
        for start in range(0, len(data), CHUNK_BYTES):
            yield data[start : start + CHUNK_BYTES]
        return
    with raw.path.open("rb") as file:
        while piece := file.read(CHUNK_BYTES):
            yield piece


def _rows(
    envelope: Envelope,
    raw: RawMail,
    *,
    data: bytes | None = None,
    file: str | None = None,
    chunks: int = 0,
) -> Rows:
    """Return the rows of a mail, in the column order of `statements`."""
    recipients = envelope.recipients
    blob_id = recipients[0].message_id
    size = raw.size_bytes
    at = stamp(envelope.received_at)
    trace = dump_steps(envelope.trace)
    peer = text(envelope.peer)
    helo = text(envelope.helo)
    mail_from = text(envelope.mail_from)
    header_from = text(envelope.header_from)
    header_to = text(envelope.header_to)
    subject = text(envelope.subject)
    rfc_message_id = text(envelope.rfc_message_id)
    messages: list[tuple[Any, ...]] = []
    for recipient in recipients:
        if recipient.user_id is None:
            state, reason = State.SKIPPED.value, POSTMASTER
        elif recipient.held_for:
            state, reason = next_state(State.QUEUED, Event.HOLD), recipient.held_for
        else:
            state, reason = State.QUEUED.value, ""
        messages.append(
            (
                recipient.message_id,
                blob_id,
                recipient.user_id,
                size,
                at,
                peer,
                helo,
                envelope.tls,
                mail_from,
                text(recipient.rcpt),
                header_from,
                header_to,
                subject,
                rfc_message_id,
                trace,
                state,
                reason,
                at,
                None if recipient.verdict is None else dump(recipient.verdict),
            )
        )
    blob = (blob_id, size, raw.sha256, file, chunks, data)
    rows: Rows = [("blobs", [blob]), ("messages", messages)]
    if envelope.signatures:
        seen = [(digest, content, at) for digest, content in envelope.signatures]
        rows.append(("signatures", seen))
    return rows


def _load(
    connection: Connection, wanted: list[str]
) -> tuple[dict[str, bytes], dict[str, str]]:
    """Return (bytes from the database, names of files), both by blob id."""
    blobs, pieces = schema.blobs, schema.blob_chunks
    data: dict[str, bytes] = {}
    files: dict[str, str] = {}
    for part in chunks(wanted):
        query = select(blobs.c.id, blobs.c.data, blobs.c.file, blobs.c.chunks)
        for row in connection.execute(query.where(blobs.c.id.in_(part))):
            if row.file is not None:
                files[row.id] = row.file
            elif row.data is not None:
                data[row.id] = row.data
            elif row.chunks:
                own = select(pieces.c.data).where(pieces.c.blob_id == row.id)
                data[row.id] = b"".join(
                    connection.scalars(own.order_by(pieces.c.number))
                )
    return data, files


def _purge_postmaster(connection: Connection, keep: int) -> tuple[int, list[str]]:
    """Remove up to `PURGE_BATCH` messages for postmaster beyond the newest `keep`.

    Returns:
        How many went, and the names of files that have no row any more. They are to be
        removed after the commit; the sweep removes those that a crash leaves.
    """
    m, blobs, pieces = schema.messages.c, schema.blobs, schema.blob_chunks
    newest = select(m.id).where(m.user_id.is_(None)).order_by(m.id.desc())
    oldest_kept = connection.scalar(newest.offset(keep - 1).limit(1))
    if oldest_kept is None:
        return 0, []
    rows = connection.execute(
        select(m.id, m.blob_id)
        .where(m.user_id.is_(None), m.id < oldest_kept)
        .where(m.state.in_([state.value for state in RESTING]))
        .order_by(m.id)
        .limit(PURGE_BATCH)
        .with_for_update(skip_locked=True)
    ).all()
    files: list[str] = []
    for part in chunks(rows):
        ids = [row.id for row in part]
        attempts = schema.attempts
        connection.execute(delete(attempts).where(attempts.c.message_id.in_(ids)))
        forget(connection, ids)
        connection.execute(delete(schema.messages).where(m.id.in_(ids)))
        mine = {row.blob_id for row in part}
        mine -= set(connection.scalars(select(m.blob_id).where(m.blob_id.in_(mine))))
        connection.execute(delete(pieces).where(pieces.c.blob_id.in_(mine)))
        gone = delete(blobs).where(blobs.c.id.in_(mine)).returning(blobs.c.file)
        files += [name for name in connection.scalars(gone) if name]
    return len(rows), files
