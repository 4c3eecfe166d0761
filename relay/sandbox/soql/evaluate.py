"""A query, run against a source.

The order of work: find the FROM object; compile every name, type and condition, so
that a wrong query fails even over no rows; take candidates from an index where the
source has one; filter; apply sharing; shuffle; sort; cut; render. Statements, child
sub-queries and semi-joins all begin as a `Plan`.

A record of an answer has `attributes` first and then its fields in the order of the
SELECT list; fields of a parent stand in a nested record, null where the parent cannot
be seen.

Source: REST API Developer Guide, "Execute a SOQL Query"; SOQL and SOSL Reference,
"Understanding Query Results", "Comparing Semi-Joins and Anti-Joins".
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from relay.sandbox.soql.conditions import (
    Bound,
    Compiler,
    Kind,
    key_of,
    kind_of,
    present,
)
from relay.sandbox.soql.lexer import error_at
from relay.sandbox.soql.scope import NAME, Reader, Scope, child, describe, read
from relay.sandbox.soql.tree import Count, CountAll, Path, SelectItem, SubQuery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from relay.sandbox.soql.conditions import Hint
    from relay.sandbox.soql.scope import Column, FieldMeta, ObjectMeta, Row, Source
    from relay.sandbox.soql.tree import Order, Query, SemiJoin


@dataclass(frozen=True, slots=True)
class Result:
    """What a query answers.

    Attributes:
        records: All of them; cutting them into pages is left to the caller.
        total_size: Number of records, or what `COUNT()` counted.
    """

    records: list[dict[str, Any]]
    total_size: int


def run(query: Query, source: Source, *, all_rows: bool) -> Result:
    """Run a query as the user of `source`; nothing is changed.

    Args:
        query: A parsed statement.
        source: Metadata and rows.
        all_rows: Whether deleted and archived rows are seen (`queryAll`).

    Raises:
        SOQLError: The query does not fit the metadata.
    """
    meta = describe(source, query.source, query.text)
    plan = Plan(query, source, meta, Reader(source, all_rows=all_rows))
    plan.check_required()
    if any(isinstance(item, CountAll) for item in query.select):
        return Result([], len(plan.cut(plan.rows())))
    if query.group:
        return _grouped(plan)
    records = _Records(plan)
    found = records.render(plan.rows())
    return Result(found, len(found))


def _grouped(plan: Plan) -> Result:
    """Answer GROUP BY: a record for each group, with its fields and its counts.

    Each value stands under its alias, under the name of its field, or as `expr0`,
    `expr1` … for a count without an alias. Nulls do not count.

    Source: SOQL and SOSL Reference, "GROUP BY", "COUNT(fieldName)".
    """
    text, scope, reader = plan.query.text, plan.scope, plan.reader
    columns = [_groupable(scope, path) for path in plan.query.group]
    shown: dict[str, Callable[[tuple[Any, ...], list[Row]], Any]] = {}
    unnamed = 0
    for item in plan.query.select:
        if not isinstance(item, SelectItem):
            continue
        if isinstance(item.operand, Count):
            name = item.alias
            if name is None:
                name, unnamed = f"expr{unnamed}", unnamed + 1
            show = _counter(scope, reader, item.operand)
        else:
            column = scope.column(item.operand)
            if column not in columns:
                problem = f"Field must be grouped or aggregated: {item.operand}"
                raise error_at("MALFORMED_QUERY", problem, text, item.operand.at)
            name = item.alias or column.field.name
            show = _value_at(columns.index(column))
        if name in shown:
            problem = f"duplicate alias: {name}"
            raise error_at("MALFORMED_QUERY", problem, text, item.operand.at)
        shown[name] = show
    keys = [(reader.getter(each), kind_of(each.field.type)) for each in columns]
    groups: defaultdict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in plan.rows():
        groups[tuple(present(get(row), kind) for get, kind in keys)].append(row)
    records: list[dict[str, Any]] = [
        {"attributes": {"type": "AggregateResult"}}
        | {name: show(values, rows) for name, show in shown.items()}
        for values, rows in groups.items()
    ]
    plan.source.shuffle(records)
    records = plan.cut(records)
    return Result(records, len(records))


def _groupable(scope: Scope, path: Path) -> Column:
    column = scope.column(path)
    if not column.field.groupable:
        raise error_at(
            "INVALID_FIELD",
            f"field '{column.field.name}' can not be grouped in a query call",
            scope.text,
            path.at,
        )
    return column


def _value_at(place: int) -> Callable[[tuple[Any, ...], list[Row]], Any]:
    return lambda values, _rows: values[place]


def _counter(
    scope: Scope, reader: Reader, count: Count
) -> Callable[[tuple[Any, ...], list[Row]], int]:
    column = scope.column(count.path)
    if not column.field.aggregatable:
        raise error_at(
            "MALFORMED_QUERY",
            f"field {column.field.name} does not support aggregate operator COUNT",
            scope.text,
            count.at,
        )
    get = reader.getter(column)
    return lambda _values, rows: sum(get(row) not in (None, "") for row in rows)


class _Records:
    """A query that answers with records: its SELECT list and its order."""

    def __init__(self, plan: Plan) -> None:
        """Resolve the SELECT list, with its child sub-queries, and ORDER BY."""
        self._plan = plan
        self._shape = Shape(plan.meta.name, plan.source.version)
        self._children: list[_Children] = []
        for item in plan.query.select:
            if isinstance(item, SubQuery):
                self._add_child(item)
            elif isinstance(item, SelectItem) and isinstance(item.operand, Path):
                column = plan.scope.column(item.operand)
                self._shape.add(column, plan.scope, item.operand)
        self._sorter = Sorter(plan.query.order, plan.sortable)

    def _add_child(self, item: SubQuery) -> None:
        """Resolve a child sub-query; each relationship can be asked for once."""
        children = _Children(item.query, self._plan)
        if not self._shape.add_child(children.name, children.answer):
            raise error_at(
                "INVALID_FIELD",
                f"duplicate field selected: {children.name}",
                item.query.text,
                item.at,
            )
        self._children.append(children)

    def render(self, rows: list[Row]) -> list[dict[str, Any]]:
        """Order and cut rows, and return them as the records of an answer."""
        plan = self._plan
        rows = plan.cut(self._sorter.sort(rows))
        for children in self._children:
            children.load(rows)
        return [self._shape.render(plan.meta.name, row, plan.reader) for row in rows]


class _Children:
    """A child sub-query, run once for all parents."""

    def __init__(self, query: Query, parent: Plan) -> None:
        """Resolve the relationship and compile the sub-query."""
        self.name, object_name, self._field = child(parent.scope, query.source)
        meta = parent.source.describe(object_name)
        if meta is None or meta.field(self._field) is None:
            # The user may not see the object or the field that makes the children.
            raise error_at(
                "INVALID_TYPE",
                f"sObject type '{object_name}' is not supported.",
                query.text,
                query.source.at,
            )
        self._plan = Plan(query, parent.source, meta, parent.reader)
        self._records = _Records(self._plan)
        self._by_parent: dict[str, list[Row]] = {}

    def load(self, parents: list[Row]) -> None:
        """Find the children of all parents."""
        plan, field = self._plan, self._field
        ids = frozenset(row["Id"] for row in parents)
        name, source = plan.meta.name, plan.source
        rows = source.lookup(name, field, ids)
        if rows is None:
            rows = source.rows(name, all_rows=plan.reader.all_rows)
        grouped: defaultdict[str, list[Row]] = defaultdict(list)
        found = plan.filtered(row for row in rows if row.get(field) in ids)
        source.shuffle(found)
        for row in found:
            grouped[row[field]].append(row)
        self._by_parent = grouped

    def answer(self, parent: Row) -> dict[str, Any] | None:
        """Return the children of one parent, or None if there are none."""
        records = self._records.render(self._by_parent.get(parent["Id"], []))
        if not records:
            return None
        return {"totalSize": len(records), "done": True, "records": records}


# ----------------------------------------------------------------------- plan


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
        compiler = Compiler(query.text, self._bind, self._inner)
        where = query.where
        self._matches = compiler.compile(where) if where else lambda _row: True
        self._hints = sorted(compiler.hints, key=_usefulness)

    def check_required(self) -> None:
        """Refuse a query without one of the filters that its object insists on."""
        values = {hint.field: hint.values for hint in self._hints}
        if problem := self.source.filter_problem(self.meta.name, values):
            raise error_at(
                "MALFORMED_QUERY", problem, self.query.text, self.query.source.at
            )
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

    def _bind(self, path: Path) -> Bound:
        """Resolve a field of WHERE."""
        return self.bound(self.scope.column(path), path.at)

    def sortable(self, path: Path) -> Bound:
        """Resolve a field of ORDER BY.

        Raises:
            SOQLError: It is not there, or cannot be sorted.
        """
        column = self.scope.column(path)
        if not column.field.sortable:
            raise error_at(
                "INVALID_FIELD",
                f"field '{column.field.name}' can not be sorted in a query call",
                self.query.text,
                path.at,
            )
        return self.bound(column, path.at)

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
        """Apply LIMIT."""
        return rows[: self.query.limit]

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
    if not isinstance(item, SelectItem) or isinstance(item.operand, Count):
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
    if column.hops or inner_column.hops:
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

    def __init__(self, order: tuple[Order, ...], bind: Callable[[Path], Bound]) -> None:
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


# --------------------------------------------------------------------- shape


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
