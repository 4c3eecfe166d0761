"""A statement, read into a tree.

Recursive descent, one method for each clause, in the order of the clauses. What the
text alone can prove wrong is refused here; names and types are left to the evaluator,
which has the metadata.

Source: SOQL and SOSL Reference, "SOQL SELECT Syntax".
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from relay.sandbox.soql.cursor import RESERVED, Cursor
from relay.sandbox.soql.errors import error_at, not_in_sandbox
from relay.sandbox.soql.lexer import Kind
from relay.sandbox.soql.tree import (
    Aggregate,
    Comparison,
    CountAll,
    Junction,
    Like,
    Membership,
    Not,
    Order,
    Query,
    SelectItem,
    SemiJoin,
    SubQuery,
)
from relay.sandbox.soql.where import ConditionParser, operand

if TYPE_CHECKING:
    from relay.sandbox.soql.tree import Condition, Path

MAX_OFFSET: Final = 2_000
"""Largest OFFSET."""

_MAX_INTEGER: Final = 2_147_483_647
_MAX_CHILDREN: Final = 20
_MAX_SEMI_JOINS: Final = 2
# Words that may follow FROM and its object, and so are no alias of it.
_AFTER_FROM: Final = RESERVED | {"ORDER", "FOR", "ALL", "OFFSET", "UPDATE"}


class _Place(Enum):
    """Where a query stands."""

    WHOLE = "statement"
    CHILD = "child sub-query"
    INNER = "semi-join"


def parse(text: str) -> Query:
    """Read one statement.

    Raises:
        SOQLError: It is no SOQL, or SOQL that this sandbox refuses; the code tells.
    """
    cursor = Cursor(text)
    query = _Parser(cursor, _Place.WHOLE).query()
    if cursor.token.kind is not Kind.END:
        raise cursor.unexpected()
    return query


class _Parser:
    """The clauses of one query, whole or nested."""

    def __init__(self, cursor: Cursor, place: _Place) -> None:
        """Read from where the cursor stands."""
        self._cursor = cursor
        self._place = place
        self._conditions = ConditionParser(cursor, self._semi_join)

    def query(self) -> Query:
        """Read the clauses in the only order there is."""
        cursor = self._cursor
        start = cursor.token.at
        cursor.expect("SELECT")
        select = self._select()
        cursor.expect("FROM")
        source = cursor.source()
        alias = self._alias()
        where = self._conditions.condition() if cursor.accept("WHERE") else None
        if cursor.at_word("WITH"):
            raise cursor.unsupported("WITH")
        group = self._group()
        having = self._having(group)
        query = Query(
            select=select,
            source=source,
            alias=alias,
            where=where,
            group=group,
            having=having,
            order=self._order(),
            limit=cursor.natural(_MAX_INTEGER) if cursor.accept("LIMIT") else None,
            offset=self._offset(),
            text=cursor.text,
        )
        self._refuse_endings()
        self._check(query, start)
        return query

    def _select(self) -> tuple[SelectItem | SubQuery | CountAll, ...]:
        """Read the SELECT list."""
        items = [self._item()]
        while self._cursor.accept_sign(","):
            items.append(self._item())
        return tuple(items)

    def _item(self) -> SelectItem | SubQuery | CountAll:
        """Read a field, an aggregate, `COUNT()`, or a child sub-query."""
        cursor = self._cursor
        at = cursor.token.at
        if cursor.at_sign("(") and cursor.look(1).upper == "SELECT":
            return self._child(at)
        if cursor.at_word("TYPEOF") and cursor.look(1).kind is Kind.NAME:
            raise cursor.unsupported("TYPEOF")
        closing = cursor.look(2)
        if cursor.at_word("COUNT") and cursor.at_call() and closing.is_sign(")"):
            for _ in range(3):
                cursor.take()
            return CountAll()
        left = operand(cursor)
        token = cursor.token
        if token.kind is not Kind.NAME or token.upper in RESERVED:
            return SelectItem(left)
        cursor.take()
        return SelectItem(left, token.text)

    def _child(self, at: int) -> SubQuery:
        """Read a child sub-query."""
        cursor = self._cursor
        if self._place is _Place.CHILD:
            raise cursor.unsupported("child sub-queries inside child sub-queries")
        if self._place is _Place.INNER:
            raise cursor.unexpected()
        cursor.expect_sign("(")
        query = _Parser(cursor, _Place.CHILD).query()
        cursor.expect_sign(")")
        return SubQuery(query, at)

    def _semi_join(self) -> Query:
        """Read the query inside IN."""
        if self._place is _Place.INNER:
            raise self._cursor.malformed(
                "Nesting of semi join sub-selects is not supported"
            )
        return _Parser(self._cursor, _Place.INNER).query()

    def _alias(self) -> str | None:
        """Read the alias of the FROM object, and refuse what else FROM can hold."""
        cursor = self._cursor
        alias = None
        token = cursor.token
        if token.upper == "AS" and cursor.look(1).kind is Kind.NAME:
            cursor.take()
            token = cursor.token
        if token.kind is Kind.NAME and token.upper not in _AFTER_FROM:
            alias = cursor.take().text
        if cursor.at_sign(","):
            raise cursor.unsupported("more than one object in FROM")
        if cursor.at_word("USING"):
            raise cursor.unsupported("USING SCOPE")
        return alias

    def _group(self) -> tuple[Path, ...]:
        """Read GROUP BY."""
        cursor = self._cursor
        if not cursor.accept("GROUP", "BY"):
            return ()
        paths = []
        while True:
            left = operand(cursor)
            if isinstance(left, Aggregate):
                raise cursor.malformed(
                    "aggregate functions cannot be used in GROUP BY", left.at
                )
            paths.append(left)
            if not cursor.accept_sign(","):
                return tuple(paths)

    def _having(self, group: tuple[Path, ...]) -> Condition | None:
        """Read HAVING, which needs a GROUP BY."""
        cursor = self._cursor
        if not cursor.at_word("HAVING"):
            return None
        if not group:
            raise cursor.unexpected()
        cursor.take()
        return self._conditions.condition()

    def _order(self) -> tuple[Order, ...]:
        """Read ORDER BY."""
        cursor = self._cursor
        if not cursor.accept("ORDER", "BY"):
            return ()
        keys = [self._key()]
        while cursor.accept_sign(","):
            keys.append(self._key())
        return tuple(keys)

    def _key(self) -> Order:
        """Read one key of ORDER BY with its direction and the place of nulls."""
        cursor = self._cursor
        left = operand(cursor)
        descending = cursor.accept("DESC")
        if not descending:
            cursor.accept("ASC")
        nulls_last = cursor.accept("NULLS", "LAST")
        if not nulls_last and not cursor.accept("NULLS", "FIRST"):
            nulls_last = False
        return Order(left, descending, nulls_last)

    def _offset(self) -> int | None:
        """Read OFFSET."""
        cursor = self._cursor
        if not cursor.accept("OFFSET"):
            return None
        at = cursor.token.at
        offset = cursor.natural(_MAX_INTEGER)
        if offset > MAX_OFFSET:
            raise error_at(
                "NUMBER_OUTSIDE_VALID_RANGE",
                f"Maximum SOQL offset allowed is {MAX_OFFSET}",
                cursor.text,
                at,
            )
        return offset

    def _refuse_endings(self) -> None:
        """Refuse what may end a statement in Salesforce and may not here."""
        cursor = self._cursor
        if cursor.at_word("ALL", "ROWS"):
            raise cursor.malformed("ALL ROWS not allowed in this context")
        for words in (
            ("FOR", "VIEW"),
            ("FOR", "REFERENCE"),
            ("FOR", "UPDATE"),
            ("UPDATE", "TRACKING"),
            ("UPDATE", "VIEWSTAT"),
        ):
            if cursor.at_word(*words):
                raise cursor.unsupported(" ".join(words))

    def _check(self, query: Query, start: int) -> None:
        """Refuse combinations of clauses that are wrong under any metadata."""
        text = self._cursor.text
        counts = any(isinstance(item, CountAll) for item in query.select)
        children = sum(isinstance(item, SubQuery) for item in query.select)
        problem = None
        if self._place is _Place.INNER:
            problem = _inner_problem(query)
        elif counts:
            problem = _count_problem(query)
        elif _aggregates(query):
            problem = _aggregate_problem(query, children)
        elif any(isinstance(item, SelectItem) and item.alias for item in query.select):
            problem = "only aggregate expressions use field aliasing"
        if self._place is _Place.CHILD:
            if counts or _aggregates(query):
                raise not_in_sandbox("aggregates in child sub-queries", text, start)
            if query.offset is not None:
                raise not_in_sandbox("OFFSET in child sub-queries", text, start)
        if children > _MAX_CHILDREN:
            problem = f"more than {_MAX_CHILDREN} child sub-queries"
        if query.where is not None and _semi_joins(query.where) > _MAX_SEMI_JOINS:
            problem = f"Maximum {_MAX_SEMI_JOINS} semi join sub-selects are allowed"
        if problem:
            raise error_at("MALFORMED_QUERY", problem, text, start)


def _inner_problem(query: Query) -> str | None:
    """Say what the query inside a semi-join may not have."""
    if query.order or query.limit is not None or query.offset is not None:
        return "ORDER BY, LIMIT and OFFSET are not supported in semi join sub-selects"
    item = query.select[0]
    if len(query.select) > 1 or not isinstance(item, SelectItem):
        return "semi join sub-selects can only select a single field"
    if isinstance(item.operand, Aggregate) or item.alias or query.group:
        return "aggregates are not supported in semi join sub-selects"
    return None


def _count_problem(query: Query) -> str | None:
    """Say what may not stand beside `COUNT()`."""
    if len(query.select) > 1:
        return "COUNT() must be the only element in the SELECT list"
    if query.group:
        return "COUNT() cannot be used with GROUP BY; use COUNT(fieldName)"
    if query.order:
        return "COUNT() cannot be used with ORDER BY"
    return None


def _aggregate_problem(query: Query, children: int) -> str | None:
    """Say what may not stand in a query with aggregates."""
    if children:
        return "child sub-queries cannot be used with aggregates"
    if not query.group and query.limit is not None:
        return (
            "Non-grouped query that uses overall aggregate functions "
            "cannot also use LIMIT"
        )
    return None


def _aggregates(query: Query) -> bool:
    """Say whether a query answers with groups and not with records."""
    return bool(query.group) or any(
        isinstance(item, SelectItem) and isinstance(item.operand, Aggregate)
        for item in query.select
    )


def _semi_joins(condition: Condition) -> int:
    """Count the semi-joins and anti-joins of a condition."""
    match condition:
        case SemiJoin():
            return 1
        case Not(inner):
            return _semi_joins(inner)
        case Junction(_, parts):
            return sum(_semi_joins(part) for part in parts)
        case Comparison() | Like() | Membership():
            return 0
