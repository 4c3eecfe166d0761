"""What every part of the store shares: a database, a clock, settings, a spool, a bell.

A part is a class in a module of its own, made with the one `StoreContext` of its store.
Its methods pass a plain function to `write` or `read` of that context; the function
runs in one transaction.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, TypeVar

from relay.core.errors import StoreUnavailable
from relay.store.errors import translate
from relay.store.spool import free_bytes
from relay.store.values import stamp

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from relay.config import StoreSettings
    from relay.core.clock import Clock
    from relay.store.database import Database
    from relay.store.spool import Spool

T = TypeVar("T")

SLOWEST_ROWS_S: Final = 1000
"""Rows that even a slow database changes in a second. An operation on many rows that a
person asked for may take so much longer than `store.timeout_s`."""
_FREE_FOR_S: Final = 0.1
"""How long the free space is believed: asking for each mail costs more than its row."""


class StoreContext:
    """The open database and all that the parts of one store share.

    Attributes:
        database: Open; closed by `close`.
        clock: The time in UTC.
        settings: The section `store` of the configuration.
        spool: The folder of large raw mails.
        bell: Set when something may be due; a waiting worker of this process clears it.
    """

    def __init__(
        self, database: Database, clock: Clock, settings: StoreSettings, spool: Spool
    ) -> None:
        """Take over an open database and its spool folder; needs a running loop."""
        self.database = database
        self.clock = clock
        self.settings = settings
        self.spool = spool
        self.bell = asyncio.Event()
        self._closed = False
        self._free_bytes = 0
        self._free_until = 0.0

    def ring(self) -> None:
        """Say that something may be due, to this process and to others."""
        self.bell.set()
        self.database.wake.ring()

    def now(self) -> int:
        """Return the time in its column form."""
        return stamp(self.clock.now())

    async def write(self, work: Callable[[Connection], T], *, more_s: float = 0.0) -> T:
        """Run `work` in one transaction; return its result once that is committed.

        `more_s` is the time that it may need beyond `store.timeout_s` for its size.

        Raises:
            StoreUnavailable: Nothing was changed; or, where the database has not
                answered in time, the transaction may still be committed.
        """
        self.need_open()
        return await self.database.write(work, more_s=more_s)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` over one consistent view.

        Raises:
            StoreUnavailable: The database cannot be read now.
        """
        self.need_open()
        return await self.database.read(work)

    def free_bytes(self, *, fresh: bool = False) -> int:
        """Return the free bytes of the disk of the spool, or of SQLite's if it is less.

        The answer is at most 0.1 s old, or of now if `fresh`.

        Raises:
            StoreUnavailable: A disk does not answer.
        """
        now = time.monotonic()
        if now < self._free_until and not fresh:
            return self._free_bytes
        folders = [self.spool.folder]
        if self.database.folder is not None:
            folders.append(self.database.folder)
        try:
            self._free_bytes = min(map(free_bytes, folders))
        except OSError as error:
            raise translate(error) from error
        self._free_until = now + _FREE_FOR_S
        return self._free_bytes

    def need_open(self) -> None:
        """Keep a late caller from making connections that would never be closed.

        Raises:
            StoreUnavailable: The store is closed.
        """
        if self._closed:
            raise StoreUnavailable("the store is closed")

    def refuse_calls(self) -> None:
        """Let later calls fail; calls that have begun still finish."""
        self._closed = True


class Part:
    """One part of a store: its operations, over the context shared with the others."""

    def __init__(self, context: StoreContext) -> None:
        """Take the shared context; the part opens nothing of its own."""
        self._context = context


async def in_thread(work: Callable[[], T]) -> T:
    """Run blocking file work beside the loop, with its errors translated."""
    try:
        return await asyncio.to_thread(work)
    except OSError as error:
        raise translate(error) from error
