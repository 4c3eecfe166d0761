"""How values stand in columns: times as integers, JSON and text made safe.

Times are microseconds since 1970 in UTC: an integer compares alike on both databases
and costs no parsing. JSON stands as ASCII text, which no database refuses.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import delete, insert
from sqlalchemy.dialects import postgresql, sqlite

from relay.core.ascii_json import ascii_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Connection

    from relay.core.model import Json, Step

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
SECOND: Final = 1_000_000
"""One second, in the unit of the time columns."""
_MICROSECOND: Final = timedelta(microseconds=1)
_CHUNK: Final = 1000
"""Longest list in one `IN (…)`; both drivers stop at some 32,000 parameters."""


def stamp(at: datetime) -> int:
    """Return the column form of a time."""
    return (at - EPOCH) // _MICROSECOND


def moment(value: int) -> datetime:
    """Return the time that a column holds."""
    return EPOCH + timedelta(microseconds=value)


def maybe_moment(value: int | None) -> datetime | None:
    """Return the time that a column holds, None where it holds none."""
    return None if value is None else moment(value)


def iso(value: int) -> str:
    """Return the time that a column holds as ISO 8601, as the listings show it."""
    return moment(value).isoformat(timespec="milliseconds")


def dump(value: Json) -> str:
    """Return JSON as ASCII: a NUL or a lone surrogate stays an escape."""
    fast = ascii_json(value)
    return json.dumps(value, separators=(",", ":")) if fast is None else fast


def load(text: str) -> Json:
    """Return the value of a JSON column."""
    return json.loads(text)


def dump_steps(steps: Iterable[Step]) -> str:
    """Return a trace in its column form."""
    return dump([step.as_json() for step in steps])


def text(value: str) -> str:
    """Return text that both databases take.

    PostgreSQL refuses NUL and both drivers refuse a lone surrogate. A mail must not be
    turned away for a character that a listing shows, so that one becomes U+FFFD.
    """
    if value.isascii():
        return value if "\0" not in value else value.replace("\0", "\ufffd")
    clean = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return clean.replace("\0", "\ufffd")


def chunks(values: Iterable[Any]) -> Iterator[list[Any]]:
    """Yield the values in lists short enough for one `IN (…)`."""
    iterator = iter(values)
    while part := list(islice(iterator, _CHUNK)):
        yield part


def replace_value(connection: Connection, table: Any, key: str, value: Json) -> None:
    """Set the value of a key in a table of keys and values; None removes it."""
    connection.execute(delete(table).where(table.c.key == key))
    if value is not None:
        connection.execute(insert(table).values(key=key, value=dump(value)))


def upsert(connection: Connection, table: Any) -> Any:
    """Return an insert that may say what happens where the row is there already."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    return dialect.insert(table)
