"""The conditions of WHERE and HAVING, read into a tree.

Salesforce's grammar has no precedence: AND and OR do not mix without parentheses, and
NOT opens a whole condition, so `a = 1 AND NOT b = 2` is malformed while
`a = 1 AND (NOT b = 2)` is not.

Source: SOQL and SOSL Reference, "Condition Expression Syntax (WHERE Clause)".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from relay.sandbox.soql.lexer import Kind, pattern
from relay.sandbox.soql.tree import (
    Aggregate,
    Comparison,
    Function,
    Junction,
    Like,
    Membership,
    Not,
    Operator,
    SemiJoin,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.sandbox.soql.cursor import Cursor
    from relay.sandbox.soql.tree import Condition, Operand, Query

_MAX_DEPTH: Final = 50
_OPERATORS: Final = {operator.value: operator for operator in Operator} | {
    "<>": Operator.NOT_EQUAL
}
# fmt: off
_SANDBOX_LACKS: Final = frozenset({
    "CALENDAR_MONTH", "CALENDAR_QUARTER", "CALENDAR_YEAR", "CONVERTCURRENCY",
    "CONVERTTIMEZONE", "CUBE", "DAY_IN_MONTH", "DAY_IN_WEEK", "DAY_IN_YEAR",
    "DAY_ONLY", "DISTANCE", "FIELDS", "FISCAL_MONTH", "FISCAL_QUARTER",
    "FISCAL_YEAR", "FORMAT", "GEOLOCATION", "GROUPING", "HOUR_IN_DAY", "ROLLUP",
    "TOLABEL", "WEEK_IN_MONTH", "WEEK_IN_YEAR",
})
# fmt: on


def operand(cursor: Cursor) -> Operand:
    """Read a field, or an aggregate function of one.

    Raises:
        SOQLError: Neither stands here, or a function that this sandbox lacks.
    """
    token = cursor.token
    if not cursor.at_call():
        return cursor.path()
    if token.upper in _SANDBOX_LACKS:
        raise cursor.unsupported(f"{token.upper}()")
    if token.upper not in Function.__members__:
        raise cursor.unexpected()
    cursor.take()
    cursor.expect_sign("(")
    path = cursor.path()
    cursor.expect_sign(")")
    return Aggregate(Function[token.upper], path, token.at)


class ConditionParser:
    """Reads one condition with everything in it."""

    def __init__(self, cursor: Cursor, inner: Callable[[], Query]) -> None:
        """Take the cursor, and how to read the query inside a semi-join."""
        self._cursor = cursor
        self._inner = inner
        self._depth = 0

    def condition(self) -> Condition:
        """Read `NOT x`, `x AND y AND …`, `x OR y OR …`, or `x`."""
        cursor = self._cursor
        if cursor.accept("NOT"):
            return Not(self._simple())
        parts = [self._simple()]
        operator: Literal["AND", "OR"] = "AND" if cursor.at_word("AND") else "OR"
        while cursor.accept(operator):
            parts.append(self._simple())
        # Another operator behind this is left over, and no reader of a token wants it.
        return parts[0] if len(parts) == 1 else Junction(operator, tuple(parts))

    def _simple(self) -> Condition:
        """Read a condition in parentheses, or a comparison."""
        cursor = self._cursor
        if not cursor.accept_sign("("):
            return self._comparison()
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise cursor.malformed("conditions are nested too deeply")
        condition = self.condition()
        cursor.expect_sign(")")
        self._depth -= 1
        return condition

    def _comparison(self) -> Condition:
        """Read an operand, an operator, and what that operator needs."""
        cursor = self._cursor
        left = operand(cursor)
        if cursor.accept("LIKE"):
            return self._like(left)
        if cursor.accept("NOT", "IN"):
            return self._membership(left, negated=True)
        if cursor.accept("IN"):
            return self._membership(left, negated=False)
        if cursor.at_word("INCLUDES") or cursor.at_word("EXCLUDES"):
            raise cursor.unsupported("INCLUDES and EXCLUDES")
        token = cursor.token
        if token.kind is not Kind.SIGN or token.text not in _OPERATORS:
            raise cursor.unexpected()
        cursor.take()
        return Comparison(left, _OPERATORS[token.text], cursor.literal())

    def _like(self, left: Operand) -> Like:
        """Read the pattern of LIKE."""
        token = self._cursor.token
        if token.kind is not Kind.STRING:
            raise self._cursor.unexpected()
        pieces = pattern(token.text, self._cursor.text, token.at)
        self._cursor.take()
        return Like(left, pieces, token.at)

    def _membership(self, left: Operand, *, negated: bool) -> Condition:
        """Read the list or the query behind IN; an empty list is malformed."""
        cursor = self._cursor
        cursor.expect_sign("(")
        if cursor.at_word("SELECT"):
            at = cursor.token.at
            query = self._inner()
            cursor.expect_sign(")")
            return SemiJoin(left, negated, query, at)
        literals = [cursor.literal()]
        while cursor.accept_sign(","):
            literals.append(cursor.literal())
        cursor.expect_sign(")")
        return Membership(left, negated, tuple(literals))
