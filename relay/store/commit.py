"""Group commit: whatever queued up while the last commit ran goes into the next one.

A commit costs one sync of the disk whether it holds one mail or a hundred, so the
committer never commits for one caller alone when others are waiting, and gathers those
who are about to be: an idle store adds no delay, a busy one shares each sync.

Two kinds of units go in. `Rows` are plain inserts: those of the whole batch are merged
and run together for each table. Anything else is a function of the connection
and runs in a savepoint, so that one that fails, fails alone.

A caller that is cancelled stops waiting; its unit is committed all the same.
"""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from relay.core.errors import StoreUnavailable
from relay.store.errors import spares_others, translate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import Connection

    from relay.store.statements import Insert

T = TypeVar("T")

Rows = list[tuple[str, list[tuple[Any, ...]]]]
"""Inserts of one unit: name of the statement, rows; referenced tables first."""

_Queued = tuple[Any, asyncio.Future[Any], float]
"""A unit, where its result goes, and the seconds that it needs beyond the usual."""

_LONGEST_BATCH: Final = 1000
"""Units per transaction; bounds what a failing batch repeats, and a caller's wait."""
_CALM_TURNS: Final = 3
"""Turns of the event loop without a new unit after which a batch is complete."""
_GATHER_S: Final = 0.002
"""How long a batch is gathered at most."""


class Writer(Protocol):
    """One connection that writes, used by one caller at a time."""

    async def run(self, work: Callable[[Connection], T], more_s: float = 0.0) -> T:
        """Call `work` with the connection, which is outside any transaction.

        `more_s` is what it may need beyond the usual for its size.
        When `work` raises, the connection is thrown away and made anew next time.
        """


class Failed:
    """The result of a unit that failed; the others of its batch are committed."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        """Keep the error for the caller who waits for it."""
        self.error = error


class Committer:
    """Runs units in shared transactions, one transaction at a time.

    `statements` holds the insert of each name that `Rows` use.
    """

    def __init__(self, writer: Writer, statements: Mapping[str, Insert]) -> None:
        """Start the task; needs a running loop."""
        self._writer = writer
        self._statements = statements
        self._loop = asyncio.get_running_loop()
        self._queue: list[_Queued] = []
        self._wake = asyncio.Event()
        self._closing = False
        self._task = self._loop.create_task(self._run(), name="store-committer")

    def submit(self, unit: Any, more_s: float = 0.0) -> asyncio.Future[Any]:
        """Queue a unit; the future has its result once it is committed.

        Its whole batch is given `more_s` beyond the usual.

        Raises:
            StoreUnavailable: The store is closing; the unit was not taken.
        """
        if self._closing:
            raise StoreUnavailable("the store is closed")
        future: asyncio.Future[Any] = self._loop.create_future()
        self._queue.append((unit, future, more_s))
        if len(self._queue) == 1:
            self._wake.set()
        return future

    async def close(self) -> None:
        """Commit what is queued, then stop."""
        self._closing = True
        self._wake.set()
        await self._task

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            alone = True
            while self._queue:
                if not alone or len(self._queue) > 1:
                    await self._gather()
                batch = self._queue[:_LONGEST_BATCH]
                del self._queue[:_LONGEST_BATCH]
                alone = len(batch) == 1
                await self._commit(batch)
            self._wake.clear()
            if self._closing:
                return

    async def _gather(self) -> None:
        """Wait for as long as each few turns of the loop bring another unit.

        A busy loop is about to finish more mails: with them in this batch the disk
        syncs once for all, and the writing thread takes Python's lock from the loop
        less often. A loop that has nothing else to do turns at once.
        """
        until = self._loop.time() + _GATHER_S
        calm = 0
        while calm < _CALM_TURNS and self._loop.time() < until:
            waiting = len(self._queue)
            if waiting >= _LONGEST_BATCH:
                return
            await asyncio.sleep(0)
            calm = calm + 1 if len(self._queue) == waiting else 0

    async def _commit(self, batch: list[_Queued]) -> None:
        """Run one batch and tell everybody; never raises for what a unit did."""
        units = [unit for unit, _, _ in batch]
        more_s = max(seconds for _, _, seconds in batch)
        results: list[Any]
        try:
            results = await self._writer.run(
                lambda connection: transact(connection, self._statements, units),
                more_s,
            )
        except Exception as error:  # noqa: BLE001 - each caller gets it, translated
            results = [Failed(error)] * len(batch)
        except BaseException:
            for _, future, _ in batch:
                future.cancel()
            raise
        for (_, future, _), result in zip(batch, results, strict=True):
            if future.done():  # Its caller was cancelled and does not wait any more.
                continue
            if type(result) is Failed:
                future.set_exception(translate(result.error))
            else:
                future.set_result(result)


def transact(
    connection: Connection, statements: Mapping[str, Insert], units: list[Any]
) -> list[Any]:
    """Run units in one transaction and commit; return a result for each, in order.

    A unit that failed has a `Failed`. Where one spoils the transaction for all, each
    is run again in a transaction of its own.

    Raises:
        Exception: The database cannot be used; nothing of the batch was committed.
    """
    begun = False
    try:
        with connection.begin():
            begun = True
            results = _run_all(connection, statements, units)
            _still_open(connection)
        return results  # noqa: TRY300 - reads in the order it happens
    except Exception as error:
        if not (begun and spares_others(error)):
            raise
        if len(units) == 1:
            return [Failed(error)]
    return _one_by_one(connection, statements, units)


def _one_by_one(
    connection: Connection, statements: Mapping[str, Insert], units: list[Any]
) -> list[Any]:
    """Give each unit its own transaction, until the database fails altogether."""
    results: list[Any] = []
    for unit in units:
        try:
            results += transact(connection, statements, [unit])
        except Exception as error:  # noqa: BLE001 - earlier ones are committed
            results += [Failed(error)] * (len(units) - len(results))
            break
    return results


def _run_all(
    connection: Connection, statements: Mapping[str, Insert], units: list[Any]
) -> list[Any]:
    merged: dict[str, list[tuple[Any, ...]]] = {}
    results: list[Any] = [None] * len(units)
    calls: list[int] = []
    for index, unit in enumerate(units):
        if type(unit) is not list:
            calls.append(index)
            continue
        for name, rows in unit:
            known = merged.get(name)
            if known is None:
                merged[name] = list(rows)
            else:
                known += rows
    for name, rows in merged.items():
        statements[name].run(connection, rows)
    shared = len(units) > 1
    for index in calls:
        try:
            with connection.begin_nested() if shared else nullcontext():
                results[index] = units[index](connection)
        except Exception as error:
            # With the transaction itself gone, what ran before is undone too.
            if not shared or not spares_others(error):
                raise
            _still_open(connection)
            results[index] = Failed(error)
    return results


def _still_open(connection: Connection) -> None:
    """Make sure that SQLite has not ended the transaction by itself.

    On a full disk it may roll back; what came after would then be committed line by
    line, and the final COMMIT would do nothing without a word.

    Source: SQLite documentation, "Response To Errors Within A Transaction".
    """
    driver = connection.connection.dbapi_connection
    if getattr(driver, "in_transaction", True) is False:
        raise StoreUnavailable("the database gave the transaction up")
