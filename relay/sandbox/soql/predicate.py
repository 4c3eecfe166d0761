"""Conditions, checked against the metadata and turned into functions of a row.

Logic has two values: a comparison with a null field is false, `!=` and `NOT IN` are
true for it. Membership is a look into a set. While the top level is compiled, every
`=` and `IN` that an index could answer is noted as a `Hint`.

Source: SOQL and SOSL Reference, "Comparison Operators", "Comparing Semi-Joins and
Anti-Joins".
"""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from relay.sandbox.soql.errors import error_at
from relay.sandbox.soql.kinds import Key, Kind, Range, comparand, key_of, kind_of
from relay.sandbox.soql.tree import (
    Comparison,
    Condition,
    Junction,
    Like,
    LiteralKind,
    Membership,
    Not,
    Operand,
    Operator,
    SemiJoin,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from relay.sandbox.soql.scope import Column

    Getter: TypeAlias = Callable[[Any], Any]
    Predicate: TypeAlias = Callable[[Any], bool]

_ORDERED: Final[dict[Operator, Callable[[Any, Any], bool]]] = {
    Operator.LESS: operator.lt,
    Operator.LESS_EQUAL: operator.le,
    Operator.GREATER: operator.gt,
    Operator.GREATER_EQUAL: operator.ge,
}


@dataclass(frozen=True, slots=True)
class Bound:
    """An operand that the metadata has, and how to read it.

    Attributes:
        label: Its name in error messages.
        type: Describe type.
        get: Reads the stored value from a row, or from a group.
        at: Where it stands in the statement.
        column: The column behind it; None for an aggregate.
    """

    label: str
    type: str
    get: Getter
    at: int
    column: Column | None = None


@dataclass(frozen=True, slots=True)
class Hint:
    """All rows that pass have one of these values in this field of their own."""

    field: str
    kind: Kind
    values: frozenset[str]


class Compiler:
    """Compiles the conditions of one query."""

    def __init__(
        self,
        text: str,
        now: datetime,
        bind: Callable[[Operand], Bound],
        semi_join: Callable[[SemiJoin, Bound], frozenset[str]],
    ) -> None:
        """Take what resolves operands, and what runs the query of a semi-join."""
        self._text = text
        self._now = now
        self._bind = bind
        self._semi_join = semi_join
        self.hints: list[Hint] = []

    def compile(self, condition: Condition) -> Predicate:
        """Return the function that says whether a row passes.

        Raises:
            SOQLError: A name, a type or an operator does not fit.
        """
        return self._compile(condition, "")

    def _compile(self, condition: Condition, under: str) -> Predicate:
        """Compile; `under` names what stands above: nothing, AND, or what is worse."""
        match condition:
            case Comparison():
                return self._comparison(condition, under)
            case Like():
                return self._like(condition)
            case Membership():
                return self._membership(condition, under)
            case SemiJoin():
                return self._join(condition, under)
            case Not(inner):
                negated = self._compile(inner, "NOT")
                return lambda row: not negated(row)
            case Junction(word, parts):
                nested = under if under in ("OR", "NOT") else "nested"
                below = nested if under else word
                compiled = [self._compile(part, below) for part in parts]
                if word == "AND":
                    return lambda row: all(part(row) for part in compiled)
                return lambda row: any(part(row) for part in compiled)

    def _filterable(self, left: Operand) -> tuple[Bound, Kind]:
        """Resolve the left side of a condition; it must be allowed there."""
        bound = self._bind(left)
        column = bound.column
        if column is not None and not column.field.filterable:
            raise error_at(
                "INVALID_FIELD",
                f"field '{bound.label}' can not be filtered in a query call",
                self._text,
                bound.at,
            )
        return bound, kind_of(bound.type)

    def _value(self, literal: Any, bound: Bound) -> Key | Range:
        return comparand(
            literal, bound.label, bound.type, self._now, self._text, bound.at
        )

    def _note(self, bound: Bound, kind: Kind, keys: set[Key], under: str) -> None:
        """Note what an index may answer: text or ids, of the row's own fields."""
        column = bound.column
        if column is None or column.hops or under not in ("", "AND"):
            return
        if kind in (Kind.ID, Kind.TEXT) and None not in keys:
            values = frozenset(str(key) for key in keys)
            self.hints.append(Hint(column.field.name, kind, values))

    def _comparison(self, condition: Comparison, under: str) -> Predicate:
        """Compile `=`, `!=`, `<` and their like."""
        bound, kind = self._filterable(condition.operand)
        word, literal = condition.operator, condition.literal
        if word in _ORDERED and (
            kind is Kind.BOOLEAN or literal.kind is LiteralKind.NULL
        ):
            what = "null" if literal.kind is LiteralKind.NULL else "boolean field"
            raise self._bad_operator(f"invalid operator {word} on {what}", bound)
        value = self._value(literal, bound)
        get, key = bound.get, key_of(kind)
        if isinstance(value, Range):
            return _in_range(get, key, word, value)
        if word is Operator.EQUAL:
            self._note(bound, kind, {value}, under)
            return lambda row: key(get(row)) == value
        if word is Operator.NOT_EQUAL:
            return lambda row: key(get(row)) != value
        compare = _ORDERED[word]

        def ordered(row: Any) -> bool:
            own = key(get(row))
            return own is not None and compare(own, value)

        return ordered

    def _like(self, condition: Like) -> Predicate:
        """Compile LIKE, which only text knows."""
        bound, kind = self._filterable(condition.operand)
        if kind is not Kind.TEXT:
            raise self._bad_operator(f"invalid operator on {bound.type} field", bound)
        matches = like(condition.pattern)
        get, key = bound.get, key_of(kind)

        def compare(row: Any) -> bool:
            own = key(get(row))
            return own is not None and matches(str(own))

        return compare

    def _membership(self, condition: Membership, under: str) -> Predicate:
        """Compile IN with a list."""
        bound, kind = self._filterable(condition.operand)
        keys: set[Key] = set()
        ranges: list[Range] = []
        for literal in condition.literals:
            value = self._value(literal, bound)
            if isinstance(value, Range):
                ranges.append(value)
            else:
                keys.add(value)
        get, key, negated = bound.get, key_of(kind), condition.negated
        if not ranges:
            if not negated:
                self._note(bound, kind, keys, under)
            return lambda row: (key(get(row)) in keys) is not negated

        def within(row: Any) -> bool:
            own = key(get(row))
            inside = own in keys or any(_inside(own, span) for span in ranges)
            return inside is not negated

        return within

    def _join(self, condition: SemiJoin, under: str) -> Predicate:
        """Compile IN with a query; allowed at the top level alone."""
        if under in ("OR", "NOT"):
            raise error_at(
                "MALFORMED_QUERY",
                f"Semi join sub-selects are not allowed with the '{under}' operator",
                self._text,
                condition.at,
            )
        if under == "nested":
            raise error_at(
                "MALFORMED_QUERY",
                "Semi join sub-selects are only allowed at the top level WHERE "
                "expressions and not in nested WHERE expressions.",
                self._text,
                condition.at,
            )
        bound, kind = self._filterable(condition.operand)
        ids = self._semi_join(condition, bound)
        get, negated = bound.get, condition.negated
        if not negated:
            self._note(bound, kind, set(ids), under)
        return lambda row: (get(row) in ids) is not negated

    def _bad_operator(self, message: str, bound: Bound) -> Exception:
        return error_at("INVALID_QUERY_FILTER_OPERATOR", message, self._text, bound.at)


def _inside(own: Key, span: Range) -> bool:
    return isinstance(own, str) and span.start <= own < span.end


def _in_range(
    get: Getter, key: Callable[[Any], Key], word: Operator, span: Range
) -> Predicate:
    """Compile a comparison with a date literal, which is a span and not a point."""
    tests: dict[Operator, Callable[[str], bool]] = {
        Operator.LESS: lambda own: own < span.start,
        Operator.LESS_EQUAL: lambda own: own < span.end,
        Operator.GREATER: lambda own: own >= span.end,
        Operator.GREATER_EQUAL: lambda own: own >= span.start,
        Operator.EQUAL: lambda own: span.start <= own < span.end,
        Operator.NOT_EQUAL: lambda own: not span.start <= own < span.end,
    }
    test, on_null = tests[word], word is Operator.NOT_EQUAL

    def compare(row: Any) -> bool:
        own = key(get(row))
        return test(own) if isinstance(own, str) else on_null

    return compare


def like(pieces: tuple[str | bool | None, ...]) -> Callable[[str], bool]:
    """Return the function that matches lower-case text with a pattern.

    What stands between two `%` is looked for from left to right and never again, so
    that no pattern can make it slow.
    """
    segments = [""]
    for piece in pieces:
        if piece is None:
            segments.append("")
        else:
            segments[-1] += "." if piece is True else re.escape(str(piece).lower())
    if len(segments) == 1:
        whole = re.compile(segments[0], re.DOTALL)
        return lambda text: whole.fullmatch(text) is not None
    head = re.compile(segments[0], re.DOTALL)
    middle = [re.compile(segment, re.DOTALL) for segment in segments[1:-1]]
    tail = re.compile(segments[-1] + r"\Z", re.DOTALL)

    def matches(text: str) -> bool:
        found = head.match(text)
        for segment in (*middle, tail):
            if found is None:
                return False
            found = segment.search(text, found.end())
        return found is not None

    return matches
