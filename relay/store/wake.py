"""Waking a worker in another process, so that a lone mail need not wait for a poll.

SQLite: a named pipe beside the database. A process that stored something writes a byte,
a process that waits has the pipe open; the kernel forgets processes that have ended, so
that nothing is left to clean up. PostgreSQL: LISTEN and NOTIFY, sent after the commit
so that no `250` waits for it, at most fifty a second.

A wake may be lost (a full pipe, a lost connection, a file system without pipes): the
worker looks by itself every `worker.poll_s`. It may also come too often: the worker
then looks and finds nothing.

Source: fifo(7); PostgreSQL documentation, "NOTIFY".
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

from sqlalchemy import text

from relay.core.errors import StoreUnavailable
from relay.store.errors import translate
from relay.store.spool import give_to_owner_of

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

_NO_LISTENER_S: Final = 0.05
"""How long the relay assumes that no process listens at a pipe."""
_PAUSE_S: Final = 0.02
"""Between two notifications."""
_READ_BYTES: Final = 4096
CHANNEL: Final = "relay_work"
Write = Callable[[Callable[["Connection"], None]], Coroutine[Any, Any, None]]


class Wake(Protocol):
    """A bell that rings in other processes."""

    def ring(self) -> None:
        """Wake listeners in other processes; returns at once and never fails."""

    async def listen(self, heard: Callable[[], None]) -> None:
        """Call `heard` at each ring from now on; once is enough, more is harmless."""

    async def close(self) -> None:
        """Stop both."""


class PipeWake:
    """A named pipe beside a SQLite database."""

    def __init__(self, path: Path) -> None:
        """Name the pipe; nothing is opened yet."""
        self._path = path
        self._ringing: int | None = None
        self._listening: int | None = None
        self._failed = False
        self._ring_after = 0.0

    def ring(self) -> None:
        """Write a byte for a listener; a process that listens itself needs none."""
        if self._listening is not None:
            return
        if self._ringing is None and not self._open():
            return
        try:
            os.write(self._ringing or 0, b"\n")
        except BlockingIOError:
            return  # Full: it has been woken often enough.
        except OSError:
            self._stop_ringing()  # The last listener has gone.

    def _open(self) -> bool:
        now = time.monotonic()
        if now < self._ring_after:
            return False
        try:
            self._ringing = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            self._ring_after = now + _NO_LISTENER_S
            return False
        return True

    async def listen(self, heard: Callable[[], None]) -> None:
        """Make the pipe where it is missing, and read it."""
        if self._listening is not None or self._failed:
            return
        try:
            with suppress(FileExistsError):
                os.mkfifo(self._path, 0o600)
                give_to_owner_of(self._path.absolute().parent, self._path)
            # With a writing end of our own the pipe never reads as ended.
            pipe = os.open(self._path, os.O_RDWR | os.O_NONBLOCK)
        except OSError:
            self._failed = True  # Polling is all there is here.
            return

        def read() -> None:
            with suppress(BlockingIOError):
                os.read(pipe, _READ_BYTES)
            heard()

        self._stop_ringing()
        self._listening = pipe
        asyncio.get_running_loop().add_reader(pipe, read)

    async def close(self) -> None:
        """Close both ends; the pipe itself stays for the next process."""
        self._stop_ringing()
        pipe, self._listening = self._listening, None
        if pipe is not None:
            asyncio.get_running_loop().remove_reader(pipe)
            os.close(pipe)
        self._failed = True

    def _stop_ringing(self) -> None:
        pipe, self._ringing = self._ringing, None
        if pipe is not None:
            os.close(pipe)


class NotifyWake:
    """LISTEN and NOTIFY of PostgreSQL."""

    def __init__(self, engine: AsyncEngine, write: Write) -> None:
        """Take the engine, and what runs a transaction for a bounded time."""
        self._engine = engine
        self._write = write
        self._wanted = False
        self._sending: asyncio.Task[None] | None = None
        self._connection: AsyncConnection | None = None
        self._alive = False
        self._closed = False

    def ring(self) -> None:
        """Notify soon; many rings become one notification."""
        self._wanted = True
        if self._sending is None and not self._closed and not self._alive:
            self._sending = asyncio.get_running_loop().create_task(self._send())

    async def _send(self) -> None:
        def notify(connection: Connection) -> None:
            connection.execute(
                text("SELECT pg_notify(:channel, '')"), {"channel": CHANNEL}
            )

        try:
            while self._wanted:
                self._wanted = False
                await self._quietly(self._write(notify))
                if not self._closed:
                    await asyncio.sleep(_PAUSE_S)
        finally:
            self._sending = None

    async def listen(self, heard: Callable[[], None]) -> None:
        """Listen on a connection of our own; try again later where that fails."""
        if self._alive or self._closed:
            return
        await self._let_go()
        await self._quietly(self._listen(heard))

    async def _listen(self, heard: Callable[[], None]) -> None:
        self._connection = await self._engine.connect()
        raw = await self._connection.get_raw_connection()
        driver: Any = raw.driver_connection

        def lost(*_: object) -> None:
            self._alive = False

        await driver.add_listener(CHANNEL, lambda *_: heard())
        driver.add_termination_listener(lost)
        self._alive = True
        heard()  # What came before we listened was not heard.

    async def close(self) -> None:
        """Send what is wanted still, then let go of the connection."""
        self._closed = True
        if self._sending is not None:
            await asyncio.wait([self._sending])
        await self._let_go()

    async def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        self._alive = False
        if connection is not None:
            # Thrown away, not pooled: it listens for as long as it lives.
            await self._quietly(connection.invalidate())
            await self._quietly(connection.close())

    async def _quietly(self, work: Coroutine[Any, Any, None]) -> None:
        """Wait for something that may fail: then there is a poll a moment later."""
        try:
            await work
        except Exception as error:
            if not isinstance(translate(error), StoreUnavailable):
                raise
