"""A copy of a SQLite store that is whole, made while the relay goes on.

The copy is a store of its own: the database in one file, large mails in `FILE.spool`
beside it, where a relay looks for them. The database is copied from one view of it, as
of one moment, and the files after it: the relay writes a file before the row that names
it, so that each row of the copy finds its file.

The copy says of which moment it is (`BACKUP_OF`). The relay that goes on writes into
Salesforce what waits in the copy; a relay that is later begun from the copy therefore
looks for those records before it writes them (`relay.outbox.records`).

Source: SQLite documentation, "Online Backup API", "Write-Ahead Logging".
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import create_engine, select
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from relay.core.errors import Conflict, NotFound, StoreFull, StoreUnavailable
from relay.store import schema
from relay.store.database import parse_url, sqlite_engine
from relay.store.errors import translate
from relay.store.spool import free_bytes, spool_beside, sync_folder
from relay.store.values import replace_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import Connection

    from relay.config import StoreSettings

BACKUP_OF: Final = "backup_of"
"""Key of the note that says of which moment a store is a copy: an ISO time in UTC."""
_PART: Final = ".part"
_PAGES: Final = 4096
"""Pages that are copied between two looks for Ctrl-C."""


@dataclass(frozen=True, slots=True)
class Backup:
    """What a backup has.

    Attributes:
        file: The database.
        size_bytes: Its size.
        spool: The folder of large mails; None: the store has none.
        files: How many files are in it.
        spool_bytes: Their size.
        at: The moment of which it is.
    """

    file: Path
    size_bytes: int
    spool: Path | None
    files: int
    spool_bytes: int
    at: datetime


def backup(settings: StoreSettings, file: Path) -> Backup:
    """Copy the store to a new file, and its large mails to a folder beside that.

    It blocks. Only this user can read what it makes. Where it fails, or is interrupted,
    nothing stands under the final names.

    Args:
        settings: Where the store is; its schema may be that of another version.
        file: The copy; nothing may be there yet.

    Raises:
        Conflict: Something is there already; or the store is on PostgreSQL.
        NotFound: There is no store, or no folder for the copy.
        StoreFull: There is too little space for the copy.
        StoreUnavailable: The store cannot be read now, or lacks a file.
        OSError: The copy cannot be written there.
    """
    url = parse_url(settings.url)
    if url.get_backend_name() != "sqlite":
        raise _on_postgres(url, file)
    source = Path(url.database or "")
    if not source.is_file():
        raise NotFound(f"there is no store to back up at {source}; check store.url")
    spool = settings.spool or spool_beside(source)
    made = [Path(f"{one}{_PART}") for one in (file, spool_beside(file))]
    _need_room(settings, source, spool, file, made)
    try:
        return _make(settings, url, spool, file, made)
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise translate(error) from error
    finally:
        made[0].unlink(missing_ok=True)
        Path(f"{made[0]}-journal").unlink(missing_ok=True)
        shutil.rmtree(made[1], ignore_errors=True)


def _on_postgres(url: URL, file: Path) -> Conflict:
    place = URL.create(
        "postgresql", url.username, None, url.host, url.port, url.database
    ).render_as_string()
    return Conflict(
        "the store is on PostgreSQL, whose own program makes a backup while the relay "
        f"runs: pg_dump -Fc --file {file} {place}"
    )


def _need_room(
    settings: StoreSettings, source: Path, spool: Path, file: Path, made: Sequence[Path]
) -> None:
    """Refuse what would overwrite something, or take the space that mail needs."""
    folder = file.absolute().parent
    if not folder.is_dir():
        raise NotFound(f"there is no folder {folder}; make it first")
    for path in (file, spool_beside(file)):
        if os.path.lexists(path):
            raise Conflict(f"{path} is there already; name a new file for the backup")
    for path in made:
        if os.path.lexists(path):
            text = f"{path} is left from a backup that was cut off, or one runs now"
            raise Conflict(f"{text}; if none does, remove it")
    need = sum(
        path.stat().st_size
        for path in (source, Path(f"{source}-wal"), *_spooled(spool))
        if path.exists()
    )
    if folder.stat().st_dev == source.absolute().parent.stat().st_dev:
        # On the disk of the store: what is left must do for the mail to come.
        need += settings.min_free_bytes
    if (free := free_bytes(folder)) < need:
        text = f"the backup needs {need} bytes free in {folder}, where {free} are"
        raise StoreFull(f"{text}; name a file on another disk")


def _spooled(spool: Path) -> Iterator[Path]:
    return spool.glob("*.eml") if spool.is_dir() else iter(())


def _make(
    settings: StoreSettings, url: URL, spool: Path, file: Path, made: Sequence[Path]
) -> Backup:
    part, part_spool = made
    os.close(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    at = _copy_database(url, settings.busy_timeout_s, part)
    files = _finish(part, at)
    final_spool = spool_beside(file)
    if files:
        part_spool.mkdir(mode=0o700)
        gone = [
            name
            for name, size_bytes in files.items()
            if not _copy_file(spool / name, part_spool / name, size_bytes)
        ]
        if gone:
            _need_unnamed(settings, url, spool, gone)
        sync_folder(part_spool)
        part_spool.rename(final_spool)
    try:
        _give_name(part, file)
    except BaseException:
        shutil.rmtree(final_spool, ignore_errors=True)
        raise
    sync_folder(file.absolute().parent)
    return Backup(
        file,
        file.stat().st_size,
        final_spool if files else None,
        len(files),
        sum(files.values()),
        at,
    )


def _need_unnamed(
    settings: StoreSettings, url: URL, spool: Path, gone: Sequence[str]
) -> None:
    """Let files be missing that the relay itself has removed meanwhile.

    Raises:
        StoreUnavailable: The store still needs one of them.
    """
    engine = sqlite_engine(url, settings.busy_timeout_s)
    with engine.connect() as connection:
        b = schema.blobs.c
        lost = connection.scalars(select(b.file).where(b.file.in_(gone))).first()
    engine.dispose()
    if lost:
        text = f"the store lacks the file {spool / lost}: no backup was made"
        raise StoreUnavailable(f"{text}; see that store.spool is right")


def _copy_database(url: URL, busy_timeout_s: float, part: Path) -> datetime:
    """Copy the database as of one moment; return that.

    The view is held from the first page to the last: a writer neither waits for it nor
    makes the copy begin anew.
    """
    engine = sqlite_engine(url, busy_timeout_s)
    with closing(engine.raw_connection()) as ours, closing(_open(part)) as copy:
        source = ours.driver_connection
        if not isinstance(source, sqlite3.Connection):
            raise TypeError(source)
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM sqlite_master").fetchone()
        at = datetime.now(UTC)
        # Between two steps Python looks for Ctrl-C, as long as it has something to do.
        source.backup(copy, pages=_PAGES, progress=lambda *_: None)
        source.execute("ROLLBACK")
        # One file, without a log beside it.
        copy.execute("PRAGMA journal_mode=DELETE")
    engine.dispose()
    return at


def _open(path: Path) -> sqlite3.Connection:
    # The file is synced once it is whole; a crash before leaves nothing of use.
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous=OFF")
    return connection


def _finish(part: Path, at: datetime) -> Mapping[str, int]:
    """Read the copy, and mark it as one; return the sizes of its files by name.

    Raises:
        StoreUnavailable: The copy is damaged, as the store must be then.
    """
    engine = create_engine(URL.create("sqlite", database=str(part)), poolclass=NullPool)

    def files(connection: Connection) -> dict[str, int]:
        b = schema.blobs.c
        rows = connection.execute(
            select(b.file, b.size_bytes).where(b.file.is_not(None))
        )
        return {str(row.file): int(row.size_bytes) for row in rows}

    with engine.begin() as connection:
        found = connection.exec_driver_sql("PRAGMA quick_check").scalar()
        if found != "ok":
            text = f"the store is damaged ({found}): no backup was made"
            raise StoreUnavailable(f"{text}; go back to an older one")
        replace_value(connection, schema.notes, BACKUP_OF, at.isoformat())
        named = files(connection)
    engine.dispose()
    with part.open("rb") as whole:
        os.fsync(whole.fileno())
    return named


def _copy_file(source: Path, target: Path, size_bytes: int) -> bool:
    """Copy one large mail, and have it on the disk; False: it is not there.

    Raises:
        StoreUnavailable: It is not whole.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        whole = source.open("rb")
    except FileNotFoundError:
        return False
    with (
        whole,
        open(os.open(target, flags, 0o600), "wb") as copy,  # noqa: PTH123 - its rights
    ):
        shutil.copyfileobj(whole, copy)
        copy.flush()
        os.fsync(copy.fileno())
        size = copy.tell()
    if size != size_bytes:
        text = f"{source} has {size} bytes of a mail of {size_bytes}"
        raise StoreUnavailable(f"{text}: no backup was made; the file is damaged")
    return True


def _give_name(part: Path, file: Path) -> None:
    """Let the whole copy have its name, which nobody may have taken meanwhile."""
    try:
        os.link(part, file)
    except FileExistsError:
        text = f"{file} was made meanwhile; name a new file for the backup"
        raise Conflict(text) from None
    except OSError:
        # A file system without hard links.
        part.rename(file)
