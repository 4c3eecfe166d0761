"""The two databases with one interface: where they are, how they open and run work.

`Database.write` runs a function in a transaction of its own result, `Database.submit`
queues a unit for the group commit, `Database.read` runs a function over one consistent
view. The functions are plain ones that take a SQLAlchemy `Connection`.

SQLite has one writer at a time, so everything that writes goes through the committer
and its one thread: a batch costs one hop between threads, not three for each statement
as an asynchronous driver would need. Readers use aiosqlite and never block the writer
(WAL). On PostgreSQL the committer has a connection of its own for the intake; all
else uses a pool, and several relays may share the database (`postgres`).

A caller waits for a commit `timeout_s` at most. The transaction may still be committed
after that: the error says that nothing was promised, not that nothing was stored.
"""

from __future__ import annotations

import asyncio
import os
import pwd
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from sqlalchemy import create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from relay.core.errors import ConfigError
from relay.store.commit import Committer, statements
from relay.store.errors import translate
from relay.store.spool import give_to_owner_of, sync_folder
from relay.store.wake import PipeWake

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

    from relay.store.wake import Wake

T = TypeVar("T")

_READERS: Final = 4
_CHECKPOINT_PAGES: Final = 4000
"""WAL length that starts a checkpoint. Under load a longer log writes a page once that
a shorter one writes several times; 16 MB is read back in well under a second."""


class Database(Protocol):
    """One open database."""

    is_sqlite: bool
    folder: Path | None
    """The folder in which its file grows; None for a database on a server."""
    committer: Committer
    wake: Wake

    timeout_s: float | None
    """How long a caller waits; None at first: a migration has no time limit."""

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` over one consistent view; it must not write."""

    async def write(self, work: Callable[[Connection], T], *, more_s: float = 0.0) -> T:
        """Run `work` in a transaction; return once it is committed.

        `more_s` is what it may need beyond `timeout_s` for its size.
        """

    async def close(self) -> None:
        """Commit what is queued, then close every connection."""


def parse_url(text: str) -> URL:
    """Return the URL of the store, checked.

    Raises:
        ConfigError: It names no database that the relay can use.
    """
    try:
        url = make_url(text)
    except ArgumentError:
        raise _config(
            text, "is no database URL; write sqlite:///relay.db or postgresql://…"
        ) from None
    kind = url.get_backend_name()
    if kind == "sqlite":
        if not url.database or url.database == ":memory:" or url.query:
            raise _config(text, "names no file; write sqlite:///relay.db")
        return url.set(drivername="sqlite")
    if kind in {"postgresql", "postgres"}:
        query = dict(url.query)
        # libpq's name for what asyncpg calls ssl.
        if "sslmode" in query:
            query["ssl"] = query.pop("sslmode")
        return url.set(drivername="postgresql+asyncpg", query=query)
    raise _config(text, "is neither SQLite nor PostgreSQL")


def _config(url: str | URL, hint: str) -> ConfigError:
    return ConfigError(f"store.url = {masked(url)!r}: {hint}")


def masked(url: str | URL) -> str:
    """Return the URL with its password masked, for people to read."""
    try:
        known = make_url(url)
    except ArgumentError:
        # What cannot be taken apart is not shown: it may hold a password.
        return str(url).partition(":")[0] + ":…"
    name = known.get_backend_name()
    return known.set(drivername=name).render_as_string(hide_password=True)


# ------------------------------------------------------------------ SQLite


class _SQLiteWriter:
    """The writing connection and the thread it lives in."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store-writer")
        self._connection: Connection | None = None
        self.timeout_s: float | None = None

    async def run(self, work: Callable[[Connection], T], more_s: float = 0.0) -> T:
        """Run `work` in the thread.

        A disk that hangs cannot be called off: at the deadline the thread stays at it
        alone, and work that had not begun by then is never done.

        Raises:
            TimeoutError: It took longer than `timeout_s` and `more_s`, and may still
                be committed.
        """
        loop = asyncio.get_running_loop()
        limit_s = None if self.timeout_s is None else self.timeout_s + more_s
        async with asyncio.timeout(limit_s):
            return await loop.run_in_executor(self._thread, self._run, work)

    def _run(self, work: Callable[[Connection], T]) -> T:
        if self._connection is None:
            self._connection = self._engine.connect()
        try:
            return work(self._connection)
        except BaseException:
            self._drop()
            raise

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    async def close(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._drop)
        self._thread.shutdown()
        self._engine.dispose()


class SQLiteDatabase:
    """A SQLite file: one writing thread, a few reading connections."""

    is_sqlite = True

    def __init__(self, url: URL, busy_timeout_s: float) -> None:
        """Build the engines; nothing is opened yet."""
        self.folder: Path | None = Path(url.database or "").parent
        self._writer = _SQLiteWriter(sqlite_engine(url, busy_timeout_s))
        self.committer = Committer(self._writer, statements("sqlite"))
        self.wake: Wake = PipeWake(Path(f"{url.database}.wake"))
        self._readers = create_async_engine(
            url.set(drivername="sqlite+aiosqlite"),
            hide_parameters=True,
            connect_args={"timeout": busy_timeout_s},
            pool_size=_READERS,
            max_overflow=0,
        )
        _on_sqlite(self._readers.sync_engine, "BEGIN", ("PRAGMA query_only=ON",))
        event.listen(self._readers.sync_engine, "connect", _fold_letters)

    @property
    def timeout_s(self) -> float | None:
        """How long a commit is waited for."""
        return self._writer.timeout_s

    @timeout_s.setter
    def timeout_s(self, seconds: float | None) -> None:
        self._writer.timeout_s = seconds

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` over one consistent view; it must not write."""
        return await _through(self._readers, work)

    async def write(self, work: Callable[[Connection], T], *, more_s: float = 0.0) -> T:
        """Run `work` in the next shared transaction; return once it is committed."""
        result: T = await self.committer.submit(work, more_s)
        return result

    async def close(self) -> None:
        """Commit what is queued, then close every connection."""
        await self.committer.close()
        await self.wake.close()
        await self._writer.close()
        await self._readers.dispose()


def sqlite_engine(url: URL, busy_timeout_s: float) -> Engine:
    """Return the engine of the writing connection.

    `synchronous=FULL`: in WAL mode the usual NORMAL loses the last commits on power
    loss, and with them mail that was answered 250. `BEGIN IMMEDIATE`: a transaction
    that reads first and writes later would lose updates or fail half-way.

    Source: SQLite documentation, "PRAGMA synchronous", "Write-Ahead Logging".
    """
    engine = create_engine(
        url,
        hide_parameters=True,
        poolclass=NullPool,
        connect_args={"timeout": busy_timeout_s, "check_same_thread": False},
    )
    _on_sqlite(
        engine,
        "BEGIN IMMEDIATE",
        (
            "PRAGMA journal_mode=WAL",
            "PRAGMA synchronous=FULL",
            "PRAGMA foreign_keys=ON",
            f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}",
        ),
    )
    return engine


def _on_sqlite(engine: Engine, begin: str, pragmas: tuple[str, ...]) -> None:
    """Begin transactions in place of the driver, and set up each new connection."""

    @event.listens_for(engine, "connect")
    def connect(connection: Any, _record: Any) -> None:
        # The driver would open transactions by itself, too late and of the wrong kind.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(pragma)
        cursor.close()

    @event.listens_for(engine, "begin")
    def started(connection: Connection) -> None:
        connection.connection.cursor().execute(begin)


LOWER: Final = "relay_lower"
"""A function of SQLite that knows small letters of every script; its own is faster."""


def _fold_letters(connection: Any, _record: Any) -> None:
    """Give SQLite what PostgreSQL's `lower` does."""
    connection.create_function(LOWER, 1, _lower, deterministic=True)


def _lower(text: Any) -> Any:
    return text.lower() if isinstance(text, str) else text


def prepare_file(url: URL) -> Path:
    """Make sure that the SQLite file can be opened, and make it where it is not.

    It holds people's mail, so that only this user may read it; SQLite gives its log the
    same rights.

    Raises:
        ConfigError: The path cannot be a database of ours; says what to do.
    """
    path = Path(url.database or "")
    if path.is_dir():
        raise _config(url, "is a folder; name a file in it")
    try:
        fresh = not path.exists()
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        if fresh:
            give_to_owner_of(path.absolute().parent, path)
            sync_folder(path.absolute().parent)
    except FileNotFoundError as error:
        hint = f"there is no folder {path.parent}; make it first"
        if meant := _without_folder(path):
            hint += f"; or, as {meant.parent} is there: url = 'sqlite:///{meant}', "
            hint += "with four slashes"
        raise _config(url, hint) from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        hint = _give(path) or "give this user the right to write it"
        raise _config(url, f"cannot be opened ({reason}); {hint}") from error
    folder = path.absolute().parent
    if not os.access(folder, os.W_OK):
        hint = f"this user may not write in {path.parent}, where SQLite keeps its log"
        raise _config(url, f"{hint}; name a file in a folder of this user's own")
    return path


def _give(path: Path) -> str:
    """Say whose a store is, and how root gives it to this user; empty: it is not that.

    A command that root ran first in a folder of root's has made it so.
    """
    try:
        owner = path.stat().st_uid
    except OSError:
        return ""
    if owner == os.geteuid():
        return ""
    mine = _user(os.geteuid())
    return f"it belongs to {_user(owner)}; as root: chown -R {mine} {path}*"


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _without_folder(path: Path) -> Path | None:
    """Return the absolute path that was meant by one with a slash too few, or None.

    `sqlite:///var/lib/relay.db` is a path below the folder of the settings.
    """
    parts = path.parts
    for at in range(len(parts) - 1):
        meant = Path("/", *parts[at:])
        if len(meant.parts) > 2 and meant != path and meant.parent.is_dir():  # noqa: PLR2004 - a folder and a file
            return meant
    return None


async def _through(engine: AsyncEngine, work: Callable[[Connection], T]) -> T:
    """Run `work` in a transaction on a pooled connection; errors come translated."""
    try:
        async with engine.begin() as connection:
            return await connection.run_sync(work)
    except Exception as error:
        ours = translate(error)
        if ours is error:
            raise
        raise ours from error
