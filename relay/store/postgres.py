"""PostgreSQL: a connection for the group commit, a pool for the rest, and deadlines.

A server that hangs answers nothing and ends nothing: not a statement, not its
cancelling, not the rollback after it. So the relay closes the connection of whatever
runs too long; everything that waits on it fails at once, and the next caller makes a
new one. Whether a COMMIT that was under way has been done is then not known. That is
safe: a mail that was answered 451 and stored all the same comes again as a copy.

Source: PostgreSQL documentation, "Connections and Authentication", TCP Settings.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sqlalchemy import event
from sqlalchemy.ext.asyncio import create_async_engine

from relay.core.errors import StoreUnavailable
from relay.store.commit import Committer, statements
from relay.store.errors import translate, worth_repeating
from relay.store.wake import NotifyWake

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from pathlib import Path

    from sqlalchemy import Connection
    from sqlalchemy.engine import URL
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from relay.store.wake import Wake

T = TypeVar("T")

_POOL: Final = 8
_REPEATS: Final = 5
"""How often PostgreSQL may break a deadlock at our cost before we give up."""
_READS: Final = 4
"""A listing may take so many times as long as a commit: no `250` waits for it."""
_CONNECT_S: Final = 30.0
"""How long a new connection may take where no other limit is set yet."""
_KEEPALIVE: Final = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
"""Seconds and a count: a peer that is gone is noticed within a minute (tcp(7))."""
_CLOSE_S: Final = 5.0
"""How long a server is given to say goodbye."""


class _Writer:
    """The committer's own connection."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._connection: AsyncConnection | None = None
        self.timeout_s: float | None = None

    async def run(self, work: Callable[[Connection], T], more_s: float = 0.0) -> T:
        """Run `work`, for `timeout_s` and `more_s` at most."""
        limit_s = None if self.timeout_s is None else self.timeout_s + more_s
        if self._connection is None:
            self._connection = await _connect(self._engine, self.timeout_s)
        try:
            async with _cut_off_after(self._connection, limit_s):
                return await self._connection.run_sync(work)
        except BaseException:
            connection, self._connection = self._connection, None
            await connection.invalidate()
            await connection.close()
            raise

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()


class PostgresDatabase:
    """A PostgreSQL database."""

    is_sqlite = False
    folder: Path | None = None

    def __init__(self, url: URL) -> None:
        """Build the engine; nothing is opened yet."""
        self._engine = create_async_engine(
            url,
            hide_parameters=True,
            pool_pre_ping=True,
            pool_size=_POOL,
            max_overflow=_POOL,
            connect_args={"timeout": _CONNECT_S},
        )
        _keep_alive(self._engine)
        # Readers get one view for all their statements, as on SQLite.
        self._snapshots = self._engine.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
        self._writer = _Writer(self._engine)
        self.committer = Committer(self._writer, statements("postgresql"))
        self.wake: Wake = NotifyWake(self._engine, self.write)
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def timeout_s(self) -> float | None:
        """How long a transaction that writes may take, reading four times as long."""
        return self._writer.timeout_s

    @timeout_s.setter
    def timeout_s(self, seconds: float | None) -> None:
        self._writer.timeout_s = seconds

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` over one consistent view; it must not write."""
        timeout_s = self.timeout_s
        if timeout_s is not None:
            timeout_s *= _READS
        return await _through(self._snapshots, work, timeout_s)

    async def write(self, work: Callable[[Connection], T], *, more_s: float = 0.0) -> T:
        """Run `work` in a transaction of its own, and again after a deadlock."""
        return await self._apart(self._write(work, more_s))

    async def _write(self, work: Callable[[Connection], T], more_s: float) -> T:
        timeout_s = self.timeout_s
        if timeout_s is not None:
            timeout_s += more_s
        for last in (*[False] * _REPEATS, True):
            try:
                return await _through(self._engine, work, timeout_s)
            except StoreUnavailable as error:
                if last or not worth_repeating(error):
                    raise
        raise AssertionError  # pragma: no cover - the last round returns or raises

    async def _apart(self, work: Coroutine[Any, Any, T]) -> T:
        """Run in a task of its own: a caller that is cancelled leaves no half."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Commit what is under way, then close every connection."""
        await self.committer.close()
        if self._tasks:
            await asyncio.wait(self._tasks)
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await self.wake.close()
                await self._writer.close()
                await self._engine.dispose()


async def _through(
    engine: AsyncEngine, work: Callable[[Connection], T], timeout_s: float | None
) -> T:
    """Run `work` in a transaction on a pooled connection; errors come translated."""
    try:
        connection = await _connect(engine, timeout_s)
        try:
            async with _cut_off_after(connection, timeout_s), connection.begin():
                return await connection.run_sync(work)
        finally:
            await connection.close()
    except Exception as error:
        ours = translate(error)
        if ours is error:
            raise
        raise ours from error


async def _connect(engine: AsyncEngine, timeout_s: float | None) -> AsyncConnection:
    """Return a connection that has answered.

    Raises:
        TimeoutError: There was none within `timeout_s`.
    """
    async with asyncio.timeout(timeout_s):
        return await engine.connect()


@asynccontextmanager
async def _cut_off_after(
    connection: AsyncConnection, timeout_s: float | None
) -> AsyncIterator[None]:
    """Break the connection where what is done on it takes longer.

    Raises:
        TimeoutError: It did, and may have been done all the same.
    """
    if timeout_s is None:
        yield
        return
    raw = await connection.get_raw_connection()
    driver: Any = raw.driver_connection
    late = False

    def cut() -> None:
        nonlocal late
        late = True
        driver.terminate()

    timer = asyncio.get_running_loop().call_later(timeout_s, cut)
    try:
        yield
    except Exception as error:
        if late:
            text = f"no answer within {timeout_s:g} s"
            raise TimeoutError(text) from error
        raise
    finally:
        timer.cancel()


def _keep_alive(engine: AsyncEngine) -> None:
    """Have the system notice, on each new connection, when the server is gone."""

    @event.listens_for(engine.sync_engine, "connect")
    def connected(connection: Any, _record: Any) -> None:
        transport = connection.driver_connection._transport  # noqa: SLF001 - no door
        sock = transport.get_extra_info("socket")
        if sock is None or sock.family == socket.AF_UNIX:
            return
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            if hasattr(socket, name):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
