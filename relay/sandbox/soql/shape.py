"""The SELECT list, turned into the records of an answer.

A record has `attributes` first and then its fields in the order of the SELECT list;
fields of a parent stand in a nested record, null where the parent cannot be seen.

Source: REST API Developer Guide, "Execute a SOQL Query"; SOQL and SOSL Reference,
"Understanding Query Results".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from relay.sandbox.soql.errors import error_at
from relay.sandbox.soql.kinds import kind_of, present
from relay.sandbox.soql.scope import NAME, read

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.sandbox.soql.scope import Column, Reader, Scope
    from relay.sandbox.soql.source import FieldMeta, Row
    from relay.sandbox.soql.tree import Path

_MAX_PARENTS: Final = 55


class Shape:
    """What is shown of one record: fields, parents, children, in order."""

    def __init__(self, owner: str, version: str) -> None:
        """Start empty for records of the object `owner`."""
        self._owner = owner
        self._version = version
        self._fields: dict[str, FieldMeta] = {}
        self._parents: dict[str, tuple[FieldMeta, Shape]] = {}
        self._children: dict[str, Callable[[Row], dict[str, Any] | None]] = {}
        self._order: list[str] = []

    def add(self, column: Column, scope: Scope, path: Path) -> None:
        """Show a column.

        Raises:
            SOQLError: `INVALID_FIELD` if it is shown already.
        """
        shape = self
        for hop in column.hops:
            shape = shape.parent(hop)
        if not shape.show(column.field):
            message = f"duplicate field selected: {path}"
            raise error_at("INVALID_FIELD", message, scope.text, path.at)
        if self.count_parents() > _MAX_PARENTS:
            message = f"more than {_MAX_PARENTS} child-to-parent relationships"
            raise error_at("MALFORMED_QUERY", message, scope.text, path.at)

    def show(self, field: FieldMeta) -> bool:
        """Show a field of the record itself; say if it is new."""
        if field.name in self._fields:
            return False
        self._fields[field.name] = field
        self._order.append(field.name)
        return True

    def add_child(
        self, name: str, answer: Callable[[Row], dict[str, Any] | None]
    ) -> bool:
        """Show a child sub-query under its relationship's name; say if it is new."""
        if name in self._children:
            return False
        self._children[name] = answer
        self._order.append(name)
        return True

    def parent(self, hop: FieldMeta) -> Shape:
        """Return the shape of a parent, made on first use."""
        name = hop.relationship_name or hop.name
        if name not in self._parents:
            owner = NAME.name if hop.polymorphic else hop.reference_to[0]
            self._parents[name] = (hop, Shape(owner, self._version))
            self._order.append(name)
        return self._parents[name][1]

    def count_parents(self) -> int:
        """Return how many relationships lead to parents, and to theirs."""
        return sum(1 + shape.count_parents() for _, shape in self._parents.values())

    def render(self, name: str, row: Row, reader: Reader) -> dict[str, Any]:
        """Return the record of an answer for a row of the object `name`."""
        record: dict[str, Any] = {"attributes": self._attributes(name, row)}
        for key in self._order:
            if key in self._fields:
                record[key] = self._value(name, row, self._fields[key])
            elif key in self._parents:
                hop, shape = self._parents[key]
                parent = reader.parent(row, hop)
                record[key] = None if parent is None else shape.render(*parent, reader)
            else:
                record[key] = self._children[key](row)
        return record

    def _attributes(self, name: str, row: Row) -> dict[str, str]:
        """Return type and URL; a mixed parent is shown as the type `Name`."""
        shown = NAME.name if self._owner == NAME.name else name
        return {"type": shown, "url": self._url(name, row)}

    def _value(self, name: str, row: Row, field: FieldMeta) -> Any:
        """Return a field's value; a blob is shown as the URL that has its bytes."""
        value = read(name, row, field, self._owner)
        if field.type == "base64" and value is not None:
            return f"{self._url(name, row)}/{field.name}"
        return present(value, kind_of(field.type))

    def _url(self, name: str, row: Row) -> str:
        return f"/services/data/v{self._version}/sobjects/{name}/{row.get('Id')}"
