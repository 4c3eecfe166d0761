"""The inserts of the intake, built once as text.

A mail is stored thousands of times a second, so that its rows go to the driver as
plain tuples: nothing is compiled, looked up or converted for each of them.

SQLite gets several rows in one statement. Its driver gives up Python's lock for each
step and takes it back behind it; with a step for each row, the thread that writes and
the loop that talks to peers would hand the lock to and fro hundreds of times a commit.
"""

from __future__ import annotations

from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import asyncpg

from relay.store import schema

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection, Dialect, Table

BLOBS: Final = tuple(schema.blobs.c.keys())
MESSAGES: Final = tuple(schema.messages.c.keys())[
    : schema.messages.c.keys().index("next_attempt_at") + 1
]
"""What the intake knows of a message; the columns after these have defaults."""
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
    compiled = tally.compile(dialect=dialect, column_keys=list(REFUSALS))
    texts = {
        "blobs": _build(schema.blobs, BLOBS, dialect),
        "messages": _build(schema.messages, MESSAGES, dialect),
        "refusals": _build(schema.refusals, REFUSALS, dialect),
        "tallies": str(compiled),
    }
    several = database == "sqlite"
    return {name: Insert(sql, several=several) for name, sql in texts.items()}
