"""What changed, in the order of commits: the source of every live view.

Triggers write a row of `changes` for each new message or refusal, and for each change
of state, reason or count. A `Place` says up to where somebody has read.

On SQLite writers take turns, so that ids rise with commits. On PostgreSQL a row with a
smaller id may be committed later. There the order is that of the transactions, and only
rows of transactions older than every one that still runs are read: none of those can
come later. So a transaction that writes for long, of whatever database of that server,
holds live views back until it ends; nothing is skipped.

The newest `KEPT` rows are kept. Who has read up to an older place is told so, and lists
anew.

Source: PostgreSQL documentation, "Transaction ID and Snapshot Information Functions".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, delete, func, or_, select, text

from relay.store import schema
from relay.store.context import Part
from relay.store.values import iso, load, replace_value

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from sqlalchemy import Connection

KEPT: Final = 200_000
"""Rows that are kept; the purge each hour leaves at least as many."""
PURGE_BATCH: Final = 5_000
_PURGED: Final = "changes purged"
"""The key in `notes` of the place up to which rows were removed."""
_PLACE: Final = re.compile(r"[0-9]{1,18}\.[0-9]{1,18}")

c = schema.changes.c


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """How far somebody has read; later places are greater.

    Attributes:
        xact: The transaction, on PostgreSQL; 0 on SQLite.
        id: The row.
    """

    xact: int
    id: int

    def __str__(self) -> str:
        """Return the form that `read` takes."""
        return f"{self.xact}.{self.id}"

    @classmethod
    def read(cls, written: str) -> Self | None:
        """Return the place that is written so; None: it is none."""
        if not _PLACE.fullmatch(written):
            return None
        xact, _, number = written.partition(".")
        return cls(int(xact), int(number))


@dataclass(frozen=True, slots=True)
class Change:
    """A message or refusal that came or changed, up to a place.

    Attributes:
        place: Of its latest change among those that were read together.
        row_id: Its id.
        is_new: It came among them.
        at: When that latest change was made, ISO 8601.
    """

    place: Place
    row_id: str
    is_new: bool
    at: str


@dataclass(frozen=True, slots=True)
class ChangePage:
    """What changed behind a place.

    Attributes:
        changes: Each message or refusal once, in the order of its latest change.
        end: Where to go on.
        more: There may be more at once.
        lost: What changed behind the place is not known any more; `end` is now.
    """

    changes: tuple[Change, ...]
    end: Place
    more: bool = False
    lost: bool = False


class Changes(Part):
    """Reads what changed, and forgets the oldest of it."""

    @staticmethod
    def place(written: str) -> Place | None:
        """Return the place that a cursor names; None: it names none."""
        return Place.read(written)

    async def now(self) -> Place:
        """Return the place behind which all that is not committed yet will stand."""
        return await self._context.read(_now)

    async def after(self, place: Place, limit: int) -> ChangePage:
        """Return what changed behind a place, from up to `limit` changes."""
        return await self._context.read(lambda c: _after(c, place, limit))

    async def purge(self, keep: int = KEPT) -> int:
        """Remove all but the newest rows; return how many went."""
        gone = 0
        while True:
            count = await self._context.write(lambda c: _purge(c, keep))
            gone += count
            if count < PURGE_BATCH:
                return gone


def _is_postgres(connection: Connection) -> bool:
    return connection.dialect.name == "postgresql"


def _oldest_running(connection: Connection) -> int:
    """Return the oldest transaction that may still commit something."""
    query = text("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
    return int(connection.scalar(query))


def _now(connection: Connection) -> Place:
    if _is_postgres(connection):
        return Place(_oldest_running(connection), 0)
    return Place(0, connection.scalar(select(func.max(c.id))) or 0)


def _after(connection: Connection, place: Place, limit: int) -> ChangePage:
    now = _now(connection)
    purged = connection.scalar(
        select(schema.notes.c.value).where(schema.notes.c.key == _PURGED)
    )
    # A place that is yet to come is of another database, or of one restored since.
    if place > now or (purged is not None and place < Place(*load(purged))):
        return ChangePage((), now, lost=True)
    within: list[Any] = [c.id > place.id]
    order: Sequence[Any] = (c.id,)
    if _is_postgres(connection):
        later = and_(c.xact == place.xact, c.id > place.id)
        within = [or_(c.xact > place.xact, later), c.xact >= place.xact]
        within.append(c.xact < now.xact)
        order = (c.xact, c.id)
    query = select(schema.changes).where(*within).order_by(*order).limit(limit)
    found: dict[str, Change] = {}
    end = place
    count = 0
    for row in connection.execute(query):
        count += 1
        end = Place(row.xact, row.id)
        before = found.pop(row.row_id, None)
        is_new = row.is_new or (before is not None and before.is_new)
        found[row.row_id] = Change(end, row.row_id, is_new, iso(row.at))
    return ChangePage(tuple(found.values()), end, more=count == limit)


def _purge(connection: Connection, keep: int) -> int:
    if _is_postgres(connection):
        # Rows of the future came with the dump of another server.
        future = "xact >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
        connection.execute(delete(schema.changes).where(text(future)))
    newest = connection.scalar(select(func.max(c.id))) or 0
    old = (
        select(c.xact, c.id)
        .where(c.id <= newest - keep)
        .order_by(c.id)
        .limit(PURGE_BATCH)
    )
    gone = [Place(row.xact, row.id) for row in connection.execute(old)]
    if not gone:
        return 0
    last_gone = max(gone)
    known = connection.scalar(
        select(schema.notes.c.value).where(schema.notes.c.key == _PURGED)
    )
    if known is not None:
        last_gone = max(last_gone, Place(*load(known)))
    replace_value(connection, schema.notes, _PURGED, [last_gone.xact, last_gone.id])
    ids = [place.id for place in gone]
    connection.execute(delete(schema.changes).where(c.id >= min(ids), c.id <= max(ids)))
    return len(gone)
