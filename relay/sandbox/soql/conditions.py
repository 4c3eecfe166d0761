"""Conditions, checked against the metadata and turned into functions of a row.

Each kind of field has one key under which two values are equal or ordered, and one form
in which it leaves. Text compares without case; an empty text is null, as Salesforce
stores none. Dates and times are compared as canonical UTC text, whose order is theirs.

Logic has two values: a comparison with a null field is false, `!=` and `NOT IN` are
true for it. Membership is a look into a set. While the top level is compiled, every
`=` and `IN` that an index could answer is kept as a `Hint`.

Source: SOQL and SOSL Reference, "fieldExpression Syntax", "Comparison Operators",
"Comparing Semi-Joins and Anti-Joins".
"""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from relay.core.ids import record_id
from relay.sandbox.soql.lexer import error_at
from relay.sandbox.soql.tree import (
    Comparison,
    Junction,
    Like,
    Literal,
    LiteralKind,
    Membership,
    Not,
    Operator,
    SemiJoin,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.sandbox.soql.scope import Column
    from relay.sandbox.soql.tree import Condition, Path

    Getter: TypeAlias = Callable[[Any], Any]
    Predicate: TypeAlias = Callable[[Any], bool]


Key: TypeAlias = str | int | float | bool | None


class Kind(Enum):
    """What a field holds."""

    ID = "id"
    TEXT = "text"
    BOOLEAN = "boolean"
    INTEGER = "integer"
    NUMBER = "number"
    DATE = "date"
    DATETIME = "datetime"
    OPAQUE = "opaque"


_KINDS: Final = {
    "id": Kind.ID,
    "reference": Kind.ID,
    "boolean": Kind.BOOLEAN,
    "int": Kind.INTEGER,
    "long": Kind.INTEGER,
    "double": Kind.NUMBER,
    "currency": Kind.NUMBER,
    "percent": Kind.NUMBER,
    "date": Kind.DATE,
    "datetime": Kind.DATETIME,
    "time": Kind.OPAQUE,
    "address": Kind.OPAQUE,
    "location": Kind.OPAQUE,
    "base64": Kind.OPAQUE,
    "complexvalue": Kind.OPAQUE,
}
_UNQUOTED: Final = frozenset(
    {Kind.BOOLEAN, Kind.INTEGER, Kind.NUMBER, Kind.DATE, Kind.DATETIME}
)
_FITTING: Final = {
    Kind.ID: {LiteralKind.STRING},
    Kind.TEXT: {LiteralKind.STRING},
    Kind.BOOLEAN: {LiteralKind.BOOLEAN},
    Kind.INTEGER: {LiteralKind.INTEGER},
    Kind.NUMBER: {LiteralKind.INTEGER, LiteralKind.DECIMAL},
    Kind.DATE: {LiteralKind.DATE},
    Kind.DATETIME: {LiteralKind.DATETIME},
}
_SPELLED: Final = {"id": "ID", "datetime": "dateTime"}
_CANONICAL_LENGTH: Final = len("2026-01-02T03:04:05.000+0000")


def kind_of(type_: str) -> Kind:
    """Return the kind of a describe type; what is not listed is text."""
    return _KINDS.get(type_.lower(), Kind.TEXT)


def stamp(value: datetime | str) -> str:
    """Return a time as Salesforce writes it: UTC, with milliseconds and `+0000`."""
    if isinstance(value, str):
        if len(value) == _CANONICAL_LENGTH and value.endswith("+0000"):
            return value
        value = datetime.fromisoformat(value)
    text = value.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "+0000"


def present(value: Any, kind: Kind) -> Any:
    """Return a stored value in the form in which an answer shows it."""
    if kind is Kind.BOOLEAN:
        return bool(value)
    if value is None or value == "":
        return None
    if kind is Kind.DATETIME:
        return stamp(value)
    return value.isoformat() if isinstance(value, date) else value


def _id_key(value: Any) -> Key:
    return value or None


def _text_key(value: Any) -> Key:
    # Lower case and no more: folding would make `ß` equal `ss`, which a database
    # does not.
    return str(value).lower() if value not in (None, "") else None


def _boolean_key(value: Any) -> Key:
    # Null behind a parent that is not there counts as false.
    return bool(value)


def _number_key(value: Any) -> Key:
    return None if value is None else float(value)


def _date_key(value: Any) -> Key:
    return value.isoformat() if isinstance(value, date) else value or None


def _datetime_key(value: Any) -> Key:
    return stamp(value) if value else None


_KEYS: Final[dict[Kind, Callable[[Any], Key]]] = {
    Kind.ID: _id_key,
    Kind.TEXT: _text_key,
    Kind.BOOLEAN: _boolean_key,
    Kind.INTEGER: _number_key,
    Kind.NUMBER: _number_key,
    Kind.DATE: _date_key,
    Kind.DATETIME: _datetime_key,
}


def key_of(kind: Kind) -> Callable[[Any], Key]:
    """Return the function that makes a stored value comparable."""
    return _KEYS.get(kind, _id_key)


def comparand(literal: Literal, label: str, type_: str, text: str, at: int) -> Key:
    """Return the key that a literal stands for when compared with a field.

    Args:
        literal: The constant in the query.
        label: Name of the field, for the error.
        type_: Describe type of the field.
        text: The statement, for the error.
        at: Where the field stands in it.

    Raises:
        SOQLError: `INVALID_FIELD` if the field takes no such literal;
            `INVALID_QUERY_FILTER_OPERATOR` if it takes ids and this is none.
    """
    kind = kind_of(type_)
    if literal.kind is LiteralKind.NULL and kind is not Kind.BOOLEAN:
        return None
    if literal.kind not in _FITTING.get(kind, ()):
        quotes = "should not be" if kind in _UNQUOTED else "should be"
        spelled = _SPELLED.get(type_, type_)
        raise error_at(
            "INVALID_FIELD",
            f"value of filter criterion for field '{label}' must be of type "
            f"{spelled} and {quotes} enclosed in quotes",
            text,
            at,
        )
    value = literal.value
    if kind is Kind.ID:
        whole = record_id(str(value))
        if whole is None:
            raise error_at(
                "INVALID_QUERY_FILTER_OPERATOR",
                f"invalid ID field: {str(value)[:80]}",
                text,
                at,
            )
        return whole
    return key_of(kind)(value)


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
        get: Reads the stored value from a row.
        at: Where it stands in the statement.
        column: The column behind it.
    """

    label: str
    type: str
    get: Getter
    at: int
    column: Column


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
        bind: Callable[[Path], Bound],
        semi_join: Callable[[SemiJoin, Bound], frozenset[str]],
    ) -> None:
        """Take what resolves operands, and what runs the query of a semi-join."""
        self._text = text
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
        """Compile; `under` is the operator above, empty at the top, or `nested`."""
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

    def _filterable(self, left: Path) -> tuple[Bound, Kind]:
        """Resolve the left side of a condition; it must be allowed there."""
        bound = self._bind(left)
        column = bound.column
        if not column.field.filterable:
            raise error_at(
                "INVALID_FIELD",
                f"field '{bound.label}' can not be filtered in a query call",
                self._text,
                bound.at,
            )
        return bound, kind_of(bound.type)

    def _value(self, literal: Any, bound: Bound) -> Key:
        return comparand(literal, bound.label, bound.type, self._text, bound.at)

    def _note(self, bound: Bound, kind: Kind, keys: set[Key], under: str) -> None:
        """Keep a hint for an index: text or ids, of the row's own fields."""
        column = bound.column
        if column.hops or under not in ("", "AND"):
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
        """Compile LIKE, which only text fields take."""
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
        keys = {self._value(literal, bound) for literal in condition.literals}
        get, key, negated = bound.get, key_of(kind), condition.negated
        if not negated:
            self._note(bound, kind, keys, under)
        return lambda row: (key(get(row)) in keys) is not negated

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
