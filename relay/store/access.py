"""What every group of store operations stands on: a database, a clock, a bell.

A group is a class in a module of its own; `Store` is all of them together. Its methods
hand a plain function to `_write` or `_read`; the function runs in one transaction.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

from relay.core.errors import StoreUnavailable
from relay.store.errors import translate
from relay.store.values import stamp

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from relay.core.clock import Clock
    from relay.store.database import Database

T = TypeVar("T")

SLOWEST_ROWS_S: Final = 1000
"""Rows that even a slow database changes in a second: what changes many at once by a
person's wish may take so much longer than `store.timeout_s`."""


class Access:
    """The database, the clock, and the bell that wakes a waiting worker."""

    def __init__(self, database: Database, clock: Clock) -> None:
        """Take over an open database."""
        self._database = database
        self._clock = clock
        self._bell = asyncio.Event()
        self._closed = False

    def _ring(self) -> None:
        """Say that something may be due, to this process and to others."""
        self._bell.set()
        self._database.wake.ring()

    def _now(self) -> int:
        """Return the time in its column form."""
        return stamp(self._clock.now())

    async def _write(
        self, work: Callable[[Connection], T], *, more_s: float = 0.0
    ) -> T:
        """Run `work` in one transaction; return its result once that is committed.

        `more_s` is what it may need beyond `store.timeout_s` for its size.

        Raises:
            StoreUnavailable: Nothing was changed; or, where the database has not
                answered in time, it may be changed still.
        """
        self._need_open()
        return await self._database.write(work, more_s=more_s)

    async def _read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` over one consistent view.

        Raises:
            StoreUnavailable: The database cannot be read now.
        """
        self._need_open()
        return await self._database.read(work)

    def _need_open(self) -> None:
        """Keep a late caller from making new connections that nobody would close."""
        if self._closed:
            raise StoreUnavailable("the store is closed")


async def in_thread(work: Callable[[], T]) -> T:
    """Run blocking file work beside the loop, with its errors translated."""
    try:
        return await asyncio.to_thread(work)
    except OSError as error:
        raise translate(error) from error
