"""A FROM object and its WHERE, compiled; and the order that ORDER BY asks for.

Statements, child sub-queries and semi-joins all begin as a `Plan`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from relay.sandbox.soql.errors import error_at
from relay.sandbox.soql.kinds import Kind, key_of, kind_of
from relay.sandbox.soql.predicate import Bound, Compiler
from relay.sandbox.soql.scope import Scope, describe
from relay.sandbox.soql.tree import Aggregate, Operand, Order, Query, SelectItem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from relay.sandbox.soql.predicate import Hint
    from relay.sandbox.soql.scope import Column, Reader
    from relay.sandbox.soql.source import ObjectMeta, Row, Source
    from relay.sandbox.soql.tree import SemiJoin

# Source: SOQL and SOSL Reference, "Comparing Semi-Joins and Anti-Joins".
_NO_INNER: Final = frozenset({"Task", "Event", "Attachment", "Note"})


class Plan:
    """A query's object and its condition, ready to be run."""

    def __init__(
        self, query: Query, source: Source, meta: ObjectMeta, reader: Reader
    ) -> None:
        """Compile WHERE; semi-joins in it are run.

        Raises:
            SOQLError: The condition does not fit the metadata.
        """
        self.query = query
        self.source = source
        self.meta = meta
        self.reader = reader
        self.scope = Scope(source, meta, query.alias, query.text)
        compiler = Compiler(query.text, source.now(), self._bind, self._inner)
        where = query.where
        self._matches = compiler.compile(where) if where else lambda _row: True
        self._hints = sorted(compiler.hints, key=_usefulness)

    def check_required(self) -> None:
        """Refuse a query without one of the filters that its object insists on."""
        required = self.source.required_filters(self.meta.name)
        if required and not any(hint.field in required for hint in self._hints):
            named = [name for name in required if name != "Id"] or list(required)
            raise error_at(
                "MALFORMED_QUERY",
                f"Implementation restriction: {self.meta.name} requires a filter by a "
                f"single Id on {' or '.join(named)} using the equals operator or "
                "multiple Id's using the IN operator.",
                self.query.text,
                self.query.source.at,
            )

    def bound(self, column: Column, at: int) -> Bound:
        """Return a column as an operand that is read from rows."""
        get = self.reader.getter(column)
        return Bound(column.field.name, column.field.type, get, at, column)

    def _bind(self, operand: Operand) -> Bound:
        """Resolve an operand of WHERE."""
        if isinstance(operand, Aggregate):
            raise error_at(
                "MALFORMED_QUERY",
                f"aggregate function {operand.function} is not allowed in WHERE",
                self.query.text,
                operand.at,
            )
        return self.bound(self.scope.column(operand), operand.at)

    def sortable(self, operand: Operand) -> Bound:
        """Resolve an operand of ORDER BY in a query without groups.

        Raises:
            SOQLError: It is an aggregate, is not there, or cannot be sorted.
        """
        if isinstance(operand, Aggregate):
            raise error_at(
                "MALFORMED_QUERY",
                "Ordered field must be grouped or aggregated: "
                f"{operand.function}({operand.path})",
                self.query.text,
                operand.at,
            )
        column = self.scope.column(operand)
        if not column.field.sortable:
            raise error_at(
                "INVALID_FIELD",
                f"field '{column.field.name}' can not be sorted in a query call",
                self.query.text,
                operand.at,
            )
        return self.bound(column, operand.at)

    def rows(self) -> list[Row]:
        """Return every row that passes and may be seen, in shuffled order."""
        found = self.filtered(self._candidates())
        self.source.shuffle(found)
        return found

    def _candidates(self) -> Iterable[Row]:
        """Return rows from the best index the source has, else all of them."""
        name = self.meta.name
        for hint in self._hints:
            rows = self.source.lookup(name, hint.field, hint.values)
            if rows is not None:
                return rows
        return self.source.rows(name, all_rows=self.reader.all_rows)

    def filtered(self, rows: Iterable[Row]) -> list[Row]:
        """Return the rows that pass and may be seen."""
        name, matches, shown = self.meta.name, self._matches, self.reader.shown
        return [row for row in rows if matches(row) and shown(name, row)]

    def cut(self, rows: list[Any]) -> list[Any]:
        """Apply OFFSET and LIMIT."""
        start = self.query.offset or 0
        limit = self.query.limit
        return rows[start : None if limit is None else start + limit]

    def _inner(self, join: SemiJoin, left: Bound) -> frozenset[str]:
        """Run the query inside a semi-join."""
        return inner_ids(join, left, self)


def _usefulness(hint: Hint) -> tuple[bool, bool]:
    """Sort key: the record's own id first, then other ids, then text."""
    return hint.field != "Id", hint.kind is not Kind.ID


def inner_ids(join: SemiJoin, left: Bound, outer: Plan) -> frozenset[str]:
    """Return the ids that the query inside a semi-join selects, without null.

    Raises:
        SOQLError: The two queries may not be joined so, or the inner one is wrong.
    """
    query = join.query
    meta = describe(outer.source, query.source, query.text)
    plan = Plan(query, outer.source, meta, outer.reader)
    item = query.select[0]
    if not isinstance(item, SelectItem) or isinstance(item.operand, Aggregate):
        message = "semi join sub-selects can only select a single field"
        raise error_at("MALFORMED_QUERY", message, query.text, join.at)
    column = plan.scope.column(item.operand)
    problem = _join_problem(left, outer.meta, column, meta)
    if problem:
        raise error_at("MALFORMED_QUERY", problem, query.text, join.at)
    plan.check_required()
    name = column.field.name
    return frozenset(row[name] for row in plan.rows() if row.get(name))


def _join_problem(
    left: Bound, outer: ObjectMeta, inner_column: Column, inner: ObjectMeta
) -> str | None:
    """Say why two queries cannot be joined, or None."""
    column = left.column
    if column is None or column.hops or inner_column.hops:
        return "semi join fields must not be reached through a relationship"
    if kind_of(left.type) is not Kind.ID:
        return f"The left operand '{left.label}' of a semi join must be an id field"
    if kind_of(inner_column.field.type) is not Kind.ID:
        return f"The selected field '{inner_column.field.name}' must be an id field"
    if inner.name in _NO_INNER:
        return f"Entity '{inner.name}' is not supported for semi join inner selects"
    if inner.name == outer.name:
        return "The inner and outer selects should not be on the same object type"
    ours, theirs = _targets(column, outer), _targets(inner_column, inner)
    if "*" not in ours | theirs and not ours & theirs:
        return (
            f"The selected field '{inner_column.field.name}' in the subquery and the "
            "left operand field in the where expression in the outer query "
            f"'{left.label}' should point to the same object type"
        )
    return None


def _targets(column: Column, meta: ObjectMeta) -> set[str]:
    """Return the objects whose ids a column holds."""
    return {meta.name} if column.field.type == "id" else set(column.field.reference_to)


class Sorter:
    """The order that ORDER BY asks for; ties stay in the order they came in."""

    def __init__(
        self, order: tuple[Order, ...], bind: Callable[[Operand], Bound]
    ) -> None:
        """Resolve every key.

        Raises:
            SOQLError: A key is not there or cannot be sorted.
        """
        self._keys = [(bind(key.operand), key) for key in order]

    def sort(self, rows: list[Any]) -> list[Any]:
        """Return the rows in order."""
        for bound, order in reversed(self._keys):
            key, get = key_of(kind_of(bound.type)), bound.get
            keyed = [(key(get(row)), row) for row in rows]
            nulls = [row for own, row in keyed if own is None]
            others = [pair for pair in keyed if pair[0] is not None]
            others.sort(key=_first, reverse=order.descending)
            ordered = [row for _, row in others]
            rows = ordered + nulls if order.nulls_last else nulls + ordered
        return rows


def _first(pair: tuple[Any, Any]) -> Any:
    return pair[0]
