"""What a query is run against: metadata and rows, handed in by the org.

The evaluator knows no org. It asks a `Source` for metadata, rows, the asking user's
sharing and clock, and leaves storage to it. Names of objects, fields and
relationships are found without regard to case, and come back as the metadata spells
them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from datetime import datetime

Row: TypeAlias = Mapping[str, Any]
"""One record by field name.

Ids are stored in their 18-character form, dates as `YYYY-MM-DD` or `date`, datetimes
as `2026-01-02T03:04:05.000+0000` or `datetime` with a zone. A missing key is null.
"""


@dataclass(frozen=True, slots=True)
class FieldMeta:
    """What describe says about a field, as far as a query needs it.

    Attributes:
        name: API name.
        type: Describe type in lower case: `id`, `reference`, `string`, `textarea` …
        reference_to: Objects that the id may point to; `*` stands for any other one.
        relationship_name: Name of the way to the parent, or None if there is none.
    """

    name: str
    type: str
    filterable: bool = True
    sortable: bool = True
    groupable: bool = True
    aggregatable: bool = True
    reference_to: tuple[str, ...] = ()
    relationship_name: str | None = None

    @property
    def polymorphic(self) -> bool:
        """Say whether records of several objects can be the parent."""
        return len(self.reference_to) > 1 or "*" in self.reference_to


class ObjectMeta:
    """One object as the asking user sees it: hidden fields are left out."""

    def __init__(
        self,
        name: str,
        fields: Iterable[FieldMeta],
        children: Mapping[str, tuple[str, str]] | None = None,
    ) -> None:
        """Take the fields, and child relationships as name → (object, field)."""
        self.name = name
        self.fields: dict[str, FieldMeta] = {field.name: field for field in fields}
        self.children: dict[str, tuple[str, str]] = dict(children or {})
        self._fields = {name.lower(): field for name, field in self.fields.items()}
        self._parents = {
            field.relationship_name.lower(): field
            for field in self.fields.values()
            if field.relationship_name
        }
        self._children = {name.lower(): name for name in self.children}

    def field(self, name: str) -> FieldMeta | None:
        """Return the field of that name, or None."""
        return self._fields.get(name.lower())

    def parent(self, relationship: str) -> FieldMeta | None:
        """Return the reference field behind a parent relationship, or None."""
        return self._parents.get(relationship.lower())

    def child(self, relationship: str) -> tuple[str, str, str] | None:
        """Return a child relationship's own name, its object and its field, or None."""
        name = self._children.get(relationship.lower())
        return None if name is None else (name, *self.children[name])


class Source(Protocol):
    """An org as one user sees it."""

    @property
    def version(self) -> str:
        """API version for the URLs in answers, such as `66.0`."""

    def now(self) -> datetime:
        """Return the time in the asking user's zone, for `TODAY` and the like."""

    def describe(self, name: str) -> ObjectMeta | None:
        """Return the metadata of a queryable object, found without case, or None."""

    def rows(self, name: str, *, all_rows: bool) -> Iterable[Row]:
        """Return an object's rows in any order.

        Deleted and archived ones may be among them even when `all_rows` is false: the
        evaluator leaves them out by `IsDeleted` and `IsArchived`.
        """

    def lookup(
        self, name: str, field: str, values: Collection[str]
    ) -> Iterable[Row] | None:
        """Return the rows whose field equals one of the values, or None: no index.

        Ids come in their 18-character form and compare exactly; other text comes in
        lower case and stands for every spelling. Rows too many do no harm, rows too
        few do.
        """

    def find(self, record_id: str) -> tuple[str, Row] | None:
        """Return object name and row of an 18-character id, deleted ones included."""

    def visible(self, name: str, row: Row) -> bool:
        """Say whether sharing lets the asking user see a row."""

    def shuffle(self, rows: list[Any]) -> None:
        """Put rows in another order: nobody may rely on one not asked for."""

    def required_filters(self, name: str) -> Collection[str]:
        """Return the fields of which a query must filter on at least one, or none.

        Source: Object Reference, "ContentDocumentLink".
        """
