"""A query, run against a source.

The order of work: find the FROM object; compile every name, type and condition, so
that a wrong query fails even over no rows; take candidates from an index where the
source has one; filter; apply sharing; shuffle; sort; cut; render.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from relay.sandbox.soql.aggregate import Grouping
from relay.sandbox.soql.errors import error_at
from relay.sandbox.soql.plan import Plan, Sorter
from relay.sandbox.soql.predicate import Compiler
from relay.sandbox.soql.scope import Reader, child, describe
from relay.sandbox.soql.shape import Shape
from relay.sandbox.soql.tree import Aggregate, CountAll, Query, SelectItem, SubQuery

if TYPE_CHECKING:
    from relay.sandbox.soql.predicate import Bound
    from relay.sandbox.soql.source import Row, Source
    from relay.sandbox.soql.tree import Operand, SemiJoin


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
    if query.group or any(
        isinstance(item, SelectItem) and isinstance(item.operand, Aggregate)
        for item in query.select
    ):
        return _grouped(plan)
    records = _Records(plan)
    found = records.render(plan.rows())
    return Result(found, len(found))


def _grouped(plan: Plan) -> Result:
    """Answer with one record for each group."""
    query = plan.query
    grouping = Grouping(query, plan.scope, plan.reader)

    def refuse(join: SemiJoin, _left: Bound) -> frozenset[str]:
        message = "Semi-joins are only supported in WHERE clauses"
        raise error_at("MALFORMED_QUERY", message, query.text, join.at)

    def ordered(operand: Operand) -> Bound:
        return grouping.bind(operand, "Ordered field")

    sorter = Sorter(query.order, ordered)
    compiler = Compiler(query.text, plan.source.now(), grouping.bind, refuse)
    having = compiler.compile(query.having) if query.having else lambda _group: True
    groups = [group for group in grouping.groups(plan.rows()) if having(group)]
    plan.source.shuffle(groups)
    records = [grouping.render(group) for group in plan.cut(sorter.sort(groups))]
    return Result(records, len(records))


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
            elif isinstance(item, SelectItem) and not isinstance(
                item.operand, Aggregate
            ):
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
