"""Queries that answer with groups: aggregates, GROUP BY, HAVING.

Records come back as `AggregateResult`, each value under its alias, under the name of
its field, or as `expr0`, `expr1` … for aggregates without an alias. Nulls do not count.

Source: SOQL and SOSL Reference, "Aggregate Functions", "GROUP BY", "HAVING",
"Support for Field Types in Aggregate Functions".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from relay.sandbox.soql.errors import SOQLError, error_at
from relay.sandbox.soql.kinds import NUMERIC, key_of, kind_of, present
from relay.sandbox.soql.predicate import Bound
from relay.sandbox.soql.tree import Aggregate, Function, Path, SelectItem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from relay.sandbox.soql.scope import Column, Reader, Scope
    from relay.sandbox.soql.source import Row
    from relay.sandbox.soql.tree import Operand, Query

_NUMBERS_ONLY: Final = frozenset({Function.SUM, Function.AVG})
_COUNTS: Final = frozenset({Function.COUNT, Function.COUNT_DISTINCT})


@dataclass(frozen=True, slots=True)
class Group:
    """Rows with the same values in the fields of GROUP BY."""

    values: tuple[Any, ...]
    rows: list[Row]


class Grouping:
    """The groups of one query and what may be asked of them."""

    def __init__(self, query: Query, scope: Scope, reader: Reader) -> None:
        """Find the fields of GROUP BY.

        Raises:
            SOQLError: A field is not there, or cannot be grouped.
        """
        self._query = query
        self._scope = scope
        self._reader = reader
        self._columns = [self._groupable(path) for path in query.group]
        self.outputs = self._outputs()

    def _groupable(self, path: Path) -> Column:
        column = self._scope.column(path)
        if not column.field.groupable:
            raise error_at(
                "INVALID_FIELD",
                f"field '{column.field.name}' can not be grouped in a query call",
                self._scope.text,
                path.at,
            )
        return column

    def _outputs(self) -> dict[str, Bound]:
        """Return what each record shows, by the name it has there."""
        outputs: dict[str, Bound] = {}
        unnamed = 0
        for item in self._query.select:
            if not isinstance(item, SelectItem):
                continue
            bound = self.bind(item.operand)
            name = item.alias
            if name is None and isinstance(item.operand, Aggregate):
                name, unnamed = f"expr{unnamed}", unnamed + 1
            name = name or bound.label
            if name in outputs:
                raise self._malformed(f"duplicate alias: {name}", bound.at)
            outputs[name] = bound
        return outputs

    def bind(self, operand: Operand, word: str = "Field") -> Bound:
        """Resolve an operand of SELECT, HAVING or ORDER BY against the groups.

        Raises:
            SOQLError: A field is neither grouped nor aggregated, or its type does not
                go with the function.
        """
        if isinstance(operand, Aggregate):
            return self._aggregate(operand)
        column = self._scope.column(operand)
        if column not in self._columns:
            raise self._malformed(
                f"{word} must be grouped or aggregated: {operand}", operand.at
            )
        place = self._columns.index(column)
        return Bound(
            column.field.name,
            column.field.type,
            lambda group: group.values[place],
            operand.at,
        )

    def _aggregate(self, call: Aggregate) -> Bound:
        """Resolve an aggregate into a function of a group."""
        column = self._scope.column(call.path)
        field, function = column.field, call.function
        kind = kind_of(field.type)
        if not field.aggregatable or (
            function in _NUMBERS_ONLY and kind not in NUMERIC
        ):
            raise self._malformed(
                f"field {field.name} does not support aggregate operator {function}",
                call.at,
            )
        get = self._reader.getter(column)
        type_ = field.type
        if function in _COUNTS:
            type_ = "int"
        elif function in _NUMBERS_ONLY:
            type_ = "double"
        return Bound(
            f"{function}({field.name})",
            type_,
            lambda group: _compute(function, map(get, group.rows), key_of(kind)),
            call.at,
        )

    def groups(self, rows: Iterable[Row]) -> list[Group]:
        """Put rows into groups; without GROUP BY there is one, even of no rows."""
        if not self._columns:
            return [Group((), list(rows))]
        readers = [
            (self._reader.getter(column), kind_of(column.field.type))
            for column in self._columns
        ]
        found: dict[tuple[Any, ...], Group] = {}
        for row in rows:
            values = tuple(present(get(row), kind) for get, kind in readers)
            found.setdefault(values, Group(values, [])).rows.append(row)
        return list(found.values())

    def render(self, group: Group) -> dict[str, Any]:
        """Return the record of an answer for a group."""
        record: dict[str, Any] = {"attributes": {"type": "AggregateResult"}}
        for name, bound in self.outputs.items():
            record[name] = present(bound.get(group), kind_of(bound.type))
        return record

    def _malformed(self, message: str, at: int) -> SOQLError:
        return error_at("MALFORMED_QUERY", message, self._scope.text, at)


def _compute(
    function: Function, stored: Iterable[Any], key: Callable[[Any], Any]
) -> Any:
    """Return the value of an aggregate over the values of a group."""
    values = [value for value in stored if value not in (None, "")]
    match function:
        case Function.COUNT:
            return len(values)
        case Function.COUNT_DISTINCT:
            return len({key(value) for value in values})
        case Function.SUM:
            return float(sum(values)) if values else None
        case Function.AVG:
            return sum(values) / len(values) if values else None
        case Function.MIN:
            return min(values, key=key, default=None)
        case Function.MAX:
            return max(values, key=key, default=None)
