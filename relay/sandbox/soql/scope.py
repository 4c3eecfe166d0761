"""What a query is run against, and how its names are found there.

The evaluator knows no org. It asks a `Source` for metadata, rows and the asking user's
sharing, and leaves storage to it. Names of objects, fields and relationships are found
without regard to case, and come back as the metadata spells them.

A path goes from the FROM object over at most five parents to a field. Where a parent
can be of several objects, the path goes on in Salesforce's `Name` object, which has the
few fields they share.

Source: SOQL and SOSL Reference, "Understanding Relationship Query Limitations",
"Understanding Polymorphic Relationships"; Object Reference, "Name".
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from relay.sandbox.soql.lexer import SOQLError, error_at

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.sandbox.soql.tree import Path


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
        lower case and stands for every spelling. The answer may hold rows that do
        not match, and never lacks one that does.
        """

    def find(self, record_id: str) -> tuple[str, Row] | None:
        """Return object name and row of an 18-character id, deleted ones included."""

    def visible(self, name: str, row: Row) -> bool:
        """Say whether sharing lets the asking user see a row."""

    def shuffle(self, rows: list[Any]) -> None:
        """Put rows in another order: no client may rely on one it did not ask for."""

    def required_filters(self, name: str) -> Collection[str]:
        """Return the fields of which a query must filter on at least one, or none.

        Source: Object Reference, "ContentDocumentLink".
        """

    def filter_problem(
        self, name: str, values: Mapping[str, Collection[str]]
    ) -> str | None:
        """Say why an object does not answer to these filters, or None if it does.

        `values` are those that a field must equal, of fields that the whole condition
        insists on.
        """


_MAX_LEVELS: Final = 5
_ADVICE: Final = (
    "Please reference your WSDL or the describe call for the appropriate names."
)
_ARCHIVED: Final = frozenset({"Task", "Event"})
_TITLES: Final = ("Name", "Subject", "Title", "CaseNumber")

NAME: Final = ObjectMeta(
    "Name",
    [
        FieldMeta("Id", "id"),
        FieldMeta("Type", "picklist"),
        *(
            FieldMeta(name, "string")
            for name in ("Name", "FirstName", "LastName", "Title", "Alias", "Username")
        ),
        FieldMeta("Email", "email"),
        FieldMeta("Phone", "phone"),
        FieldMeta("MobilePhone", "phone"),
        FieldMeta("IsActive", "boolean"),
    ],
)
"""What a path can see of a parent that may be of several objects."""


@dataclass(frozen=True, slots=True)
class Column:
    """A path that the metadata has.

    Attributes:
        hops: The reference fields that lead to the record that has the field.
        owner: Name of the object that has the field; `Name` behind a mixed parent.
        field: The field.
    """

    hops: tuple[FieldMeta, ...]
    owner: str
    field: FieldMeta


class Scope:
    """One FROM object with its alias, in which paths are found."""

    def __init__(
        self, source: Source, meta: ObjectMeta, alias: str | None, text: str
    ) -> None:
        """Find paths of the statement `text` in the object `meta`."""
        self.meta = meta
        self.text = text
        self._source = source
        self._own = {meta.name.lower()} | ({alias.lower()} if alias else set())

    def without_prefix(self, path: Path) -> tuple[str, ...]:
        """Return the parts of a path without the object's own name or alias."""
        first, *rest = path.parts
        if rest and first.lower() in self._own and self.meta.parent(first) is None:
            return tuple(rest)
        return path.parts

    def column(self, path: Path) -> Column:
        """Return what a path names.

        Raises:
            SOQLError: `INVALID_FIELD` if the metadata has no such way or field.
        """
        *relations, name = self.without_prefix(path)
        if len(relations) > _MAX_LEVELS:
            raise error_at(
                "MALFORMED_QUERY",
                f"a field path may go up at most {_MAX_LEVELS} levels",
                self.text,
                path.at,
            )
        meta, hops = self.meta, []
        for relation in relations:
            hop = meta.parent(relation)
            parent = None if hop is None else self._parent(hop)
            if hop is None or parent is None:
                raise self._no_relationship(relation, path)
            hops.append(hop)
            meta = parent
        field = meta.field(name)
        if field is None or field.type == "junctionidlist":
            raise self._no_column(name, meta.name, path)
        return Column(tuple(hops), meta.name, field)

    def _parent(self, hop: FieldMeta) -> ObjectMeta | None:
        """Return the metadata at the other end of a reference."""
        if hop.polymorphic:
            return NAME
        return self._source.describe(hop.reference_to[0]) if hop.reference_to else None

    def _no_relationship(self, relation: str, path: Path) -> SOQLError:
        return error_at(
            "INVALID_FIELD",
            f"Didn't understand relationship '{relation}' in field path. If you are "
            "attempting to use a custom relationship, be sure to append the '__r' "
            f"after the custom relationship name. {_ADVICE}",
            self.text,
            path.at,
        )

    def _no_column(self, name: str, owner: str, path: Path) -> SOQLError:
        return error_at(
            "INVALID_FIELD",
            f"No such column '{name}' on entity '{owner}'. If you are attempting to "
            "use a custom field, be sure to append the '__c' after the custom field "
            f"name. {_ADVICE}",
            self.text,
            path.at,
        )


def describe(source: Source, path: Path, text: str) -> ObjectMeta:
    """Return the metadata of what FROM names.

    Raises:
        SOQLError: `INVALID_TYPE` if there is no such object.
    """
    meta = source.describe(path.parts[0]) if len(path.parts) == 1 else None
    if meta is None:
        raise error_at(
            "INVALID_TYPE",
            f"sObject type '{path}' is not supported. If you are attempting to use a "
            "custom object, be sure to append the '__c' after the entity name. "
            f"{_ADVICE}",
            text,
            path.at,
        )
    return meta


def child(scope: Scope, path: Path) -> tuple[str, str, str]:
    """Return a child relationship's own name, its object, and its field.

    Raises:
        SOQLError: `INVALID_TYPE` if the object has no such relationship.
    """
    parts = scope.without_prefix(path)
    found = scope.meta.child(parts[0]) if len(parts) == 1 else None
    if found is None:
        raise error_at(
            "INVALID_TYPE",
            f"Didn't understand relationship '{path}' in FROM part of query call. If "
            "you are attempting to use a custom relationship, be sure to append the "
            f"'__r' after the custom relationship name. {_ADVICE}",
            scope.text,
            path.at,
        )
    return found


class Reader:
    """Reads fields of rows, following references; remembers the parents of one run."""

    def __init__(self, source: Source, *, all_rows: bool) -> None:
        """Read as the user of `source`; `all_rows` shows deleted parents too."""
        self._source = source
        self.all_rows = all_rows
        self._parents: dict[str, tuple[str, Row] | None] = {}

    def shown(self, name: str, row: Row) -> bool:
        """Say whether deletion, archiving and sharing let a row be seen."""
        if not self.all_rows and (
            row.get("IsDeleted") or (name in _ARCHIVED and row.get("IsArchived"))
        ):
            return False
        return self._source.visible(name, row)

    def parent(self, row: Row, reference: FieldMeta) -> tuple[str, Row] | None:
        """Return object name and row of a parent, or None if it cannot be seen."""
        id_ = row.get(reference.name)
        if not id_:
            return None
        if id_ not in self._parents:
            found = self._source.find(id_)
            if found is not None and not self._parent_shown(*found):
                found = None
            self._parents[id_] = found
        return self._parents[id_]

    def _parent_shown(self, name: str, row: Row) -> bool:
        # An archived parent still names its children's parent; a deleted one does not.
        if row.get("IsDeleted") and not self.all_rows:
            return False
        return self._source.visible(name, row)

    def getter(self, column: Column) -> Callable[[Row], Any]:
        """Return the function that reads a column from a row of the FROM object."""
        name, hops = column.field.name, column.hops
        if not hops:
            return lambda row: row.get(name)

        def follow(row: Row) -> Any:
            object_name = ""
            for hop in hops:
                found = self.parent(row, hop)
                if found is None:
                    return None
                object_name, row = found
            return read(object_name, row, column.field, column.owner)

        return follow


def read(object_name: str, row: Row, field: FieldMeta, owner: str) -> Any:
    """Return a field of a parent row, seen as an `owner`."""
    if owner != NAME.name:
        return row.get(field.name)
    if field.name == "Type":
        return object_name
    if field.name == "Name":
        return next((row[title] for title in _TITLES if row.get(title)), None)
    return row.get(field.name)
