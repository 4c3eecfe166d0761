"""Group commit: whatever queued up while the last commit ran goes into the next one.

A commit costs one sync of the disk whether it holds one mail or a hundred, so the
committer never commits for one caller alone when others are waiting, and waits a
moment for callers that are about to arrive: an idle store adds no delay, a busy one
shares each sync.

Two kinds of units go in. `Rows` are plain inserts: those of the whole batch are merged
and run together for each table. Anything else is a function of the connection
and runs in a savepoint, so that one that fails, fails alone.

A caller that is cancelled stops waiting; its unit is committed all the same.

The inserts of accepted mail are built once as text. A mail is stored thousands of times
a second, so that its rows go to the driver as plain tuples: nothing is compiled, looked
up or converted for each of them. SQLite gets several rows in one statement: its driver
gives up Python's lock for each step and takes it back behind it, and with a step for
each row the writing thread and the event loop would pass the lock to each other
hundreds of times a commit.
"""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import asyncpg

from relay.core.errors import StoreUnavailable
from relay.store import schema
from relay.store.errors import spares_others, translate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import Connection, Dialect, Table


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
        """Keep the error for the caller that waits for it."""
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
        """Run one batch and answer each caller; never raises for an error of a unit."""
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

    A unit that failed has a `Failed`. Where one unit makes the whole transaction fail,
    each unit is run again in a transaction of its own.

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


BLOBS: Final = tuple(schema.blobs.c.keys())
MESSAGES: Final = (
    *schema.messages.c.keys()[: schema.messages.c.keys().index("next_attempt_at") + 1],
    "verdict",
)
"""What the intake knows of a message; all other columns have defaults."""
SIGNATURES: Final = tuple(schema.signatures.c.keys())
REFUSALS: Final = tuple(schema.refusals.c.keys())
MOST_ROWS: Final = 32
"""Rows in one statement. The driver keeps 128 prepared ones; with a number of columns
below 30 all lie far under SQLite's limit of 32,766 parameters."""


class Insert:
    """One insert, run for many rows.

    Attributes:
        sql: Its text for one row.
    """

    def __init__(self, sql: str, *, several: bool) -> None:
        """Take the text; `several`: the database gains by rows in one statement."""
        self.sql = sql
        self._several = several
        if several:
            self._before, found, behind = sql.partition(" VALUES (")
            values, closed, self._behind = behind.partition(")")
            if not (found and closed) or set(values) - set("?, "):
                raise AssertionError(sql)
            self._row = f"({values})"

    def run(self, connection: Connection, rows: list[tuple[Any, ...]]) -> None:
        """Insert the rows, in their order.

        Raises:
            SQLAlchemyError: On PostgreSQL.
            sqlite3.Error: On SQLite, as the driver raises it.
        """
        if not self._several:
            connection.exec_driver_sql(self.sql, rows)
            return
        # Straight to the driver: between two steps this thread has Python's lock, and
        # every peer waits.
        cursor = connection.connection.cursor()
        for start in range(0, len(rows), MOST_ROWS):
            part = rows[start : start + MOST_ROWS]
            cursor.execute(self._text(len(part)), tuple(chain.from_iterable(part)))
        cursor.close()

    def _text(self, count: int) -> str:
        rows = ", ".join([self._row] * count)
        return f"{self._before} VALUES {rows}{self._behind}"


def _build(table: Table, columns: tuple[str, ...], dialect: Dialect) -> str:
    compiled = table.insert().compile(dialect=dialect, column_keys=list(columns))
    order = tuple(compiled.positiontup or ())
    if order != columns:  # The tuples would land in the wrong columns.
        text = f"{table.name}: {order} instead of {columns}"
        raise AssertionError(text)
    return str(compiled)


def _asyncpg() -> Dialect:
    made: Dialect = asyncpg.dialect()  # type: ignore[no-untyped-call] # not annotated there
    return made


COLUMNS: Final = {
    "blobs": BLOBS,
    "messages": MESSAGES,
    "signatures": SIGNATURES,
}
"""The columns of the rows of a mail, by name of the statement."""


@cache
def statements(database: str) -> Mapping[str, Insert]:
    """Return each insert, by name, for `sqlite` or `postgresql`."""
    dialect = sqlite.dialect() if database == "sqlite" else _asyncpg()
    insert = sqlite.insert if database == "sqlite" else postgresql.insert
    new = insert(schema.refusals)
    tally = new.on_conflict_do_update(
        index_elements=["bucket"],
        set_={
            "times": schema.refusals.c.times + new.excluded.times,
            "last_at": new.excluded.last_at,
        },
    )
    # The mail that came first with a signature stays the one that others are held to.
    first = insert(schema.signatures).on_conflict_do_nothing()
    compiled = tally.compile(dialect=dialect, column_keys=list(REFUSALS))
    texts = {
        "blobs": _build(schema.blobs, BLOBS, dialect),
        "messages": _build(schema.messages, MESSAGES, dialect),
        "refusals": _build(schema.refusals, REFUSALS, dialect),
        "tallies": str(compiled),
        "signatures": str(first.compile(dialect=dialect, column_keys=list(SIGNATURES))),
    }
    several = database == "sqlite"
    return {name: Insert(sql, several=several) for name, sql in texts.items()}
