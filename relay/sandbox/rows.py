"""Rows in memory, with indexes, and a journal that takes changes back.

A row is a plain dict that is never changed once stored: an update stores another one.
So a savepoint is a position in the journal, and a rollback puts the old rows back, in
the tables and in the indexes alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from relay.sandbox.metadata import Schema


class Table:
    """The rows of one object, and an index for each field that clients look up by."""

    def __init__(self, indexed: Iterable[str]) -> None:
        """Start empty."""
        self.rows: dict[str, dict[str, Any]] = {}
        self.indexes: dict[str, dict[str, dict[str, None]]] = {
            name: {} for name in indexed
        }

    def set(self, record_id: str, row: dict[str, Any] | None) -> dict[str, Any] | None:
        """Store or remove a row; return the one that was there."""
        old = (
            self.rows.pop(record_id, None) if row is None else self.rows.get(record_id)
        )
        for name, index in self.indexes.items():
            before = None if old is None else _folded(old.get(name))
            after = None if row is None else _folded(row.get(name))
            if before == after:
                continue
            if before is not None:
                index[before].pop(record_id, None)
                if not index[before]:
                    del index[before]
            if after is not None:
                index.setdefault(after, {})[record_id] = None
        if row is not None:
            self.rows[record_id] = row
        return old


class Rows:
    """All tables of an org."""

    def __init__(self) -> None:
        """Start without tables; `reshape` makes them."""
        self.tables: dict[str, Table] = {}
        self._journal: list[tuple[Table, str, dict[str, Any] | None]] = []
        self._born: set[str] = set()

    def reshape(self, schema: Schema) -> None:
        """Give every object a table, and every field its index; rows stay."""
        self.commit()
        for info in schema.objects.values():
            old = self.tables.get(info.name)
            if old is not None and set(old.indexes) == set(info.indexed):
                continue
            table = self.tables[info.name] = Table(info.indexed)
            for record_id, row in (old.rows if old else {}).items():
                table.set(record_id, row)

    def get(self, name: str, record_id: str) -> dict[str, Any] | None:
        """Return a row, deleted ones included, or None."""
        table = self.tables.get(name)
        return None if table is None else table.rows.get(record_id)

    def put(self, name: str, row: dict[str, Any]) -> None:
        """Store a new row, or another one in its place."""
        table, record_id = self.tables[name], row["Id"]
        old = table.set(record_id, row)
        self._journal.append((table, record_id, old))
        if old is None:
            self._born.add(record_id)

    def remove(self, name: str, record_id: str) -> None:
        """Take a row out for good: it can be neither queried nor undeleted."""
        table = self.tables[name]
        self._journal.append((table, record_id, table.set(record_id, None)))

    def all(self, name: str) -> Iterator[dict[str, Any]]:
        """Return every row of an object, deleted ones included."""
        table = self.tables.get(name)
        return iter(list(table.rows.values()) if table else ())

    def lookup(
        self, name: str, field: str, values: Collection[str]
    ) -> list[dict[str, Any]] | None:
        """Return the rows whose field equals a value without case; None: no index."""
        table = self.tables[name]
        if field == "Id":
            return [table.rows[value] for value in values if value in table.rows]
        index = table.indexes.get(field)
        if index is None:
            return None
        found: dict[str, None] = {}
        for value in values:
            found.update(index.get(value.lower(), {}))
        return [table.rows[record_id] for record_id in found]

    def where(self, name: str, field: str, value: str) -> list[dict[str, Any]]:
        """Return the rows that hold exactly this value and are not deleted."""
        if name not in self.tables:
            return []
        found = self.lookup(name, field, [value])
        rows = self.all(name) if found is None else found
        return [
            row for row in rows if row.get(field) == value and not row.get("IsDeleted")
        ]

    def savepoint(self) -> int:
        """Return a mark that `rollback` goes back to."""
        return len(self._journal)

    def rollback(self, mark: int) -> None:
        """Take back every change since the mark, the newest first."""
        while len(self._journal) > mark:
            table, record_id, old = self._journal.pop()
            table.set(record_id, old)
            if old is None:
                self._born.discard(record_id)

    def commit(self) -> None:
        """Make every change final: nothing before this moment can be taken back."""
        self._journal.clear()
        self._born.clear()

    def is_fresh(self, record_id: str) -> bool:
        """Say whether a row was made in this transaction."""
        return record_id in self._born


def _folded(value: Any) -> str | None:
    return value.lower() if isinstance(value, str) else None
