"""The inserts of the intake, built once as text.

A mail is stored thousands of times a second, so that its rows go to the driver as
plain tuples: nothing is compiled, looked up or converted for each of them.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import asyncpg

from relay.store import schema

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Dialect, Table

BLOBS: Final = tuple(schema.blobs.c.keys())
MESSAGES: Final = tuple(schema.messages.c.keys())[
    : schema.messages.c.keys().index("next_attempt_at") + 1
]
"""What the intake knows of a message; the columns after these have defaults."""
REFUSALS: Final = tuple(schema.refusals.c.keys())


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
def statements(database: str) -> Mapping[str, str]:
    """Return the SQL of each insert, by name, for `sqlite` or `postgresql`."""
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
    return {
        "blobs": _build(schema.blobs, BLOBS, dialect),
        "messages": _build(schema.messages, MESSAGES, dialect),
        "refusals": _build(schema.refusals, REFUSALS, dialect),
        "tallies": str(compiled),
    }
