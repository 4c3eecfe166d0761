"""Field types, as far as filters and answers tell them apart.

Each kind has one key under which two values are equal or ordered, and one form in
which it leaves. Text compares without case; an empty text is null, as Salesforce
stores none. Dates and times are compared as canonical UTC text, whose order is theirs.

Source: SOQL and SOSL Reference, "fieldExpression Syntax", "Comparison Operators".
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from relay.core.ids import record_id
from relay.sandbox.soql.errors import error_at
from relay.sandbox.soql.spans import days
from relay.sandbox.soql.tree import Literal, LiteralKind, Span

if TYPE_CHECKING:
    from collections.abc import Callable

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
NUMERIC: Final = frozenset({Kind.INTEGER, Kind.NUMBER})
_UNQUOTED: Final = frozenset({Kind.BOOLEAN, *NUMERIC, Kind.DATE, Kind.DATETIME})
_FITTING: Final = {
    Kind.ID: {LiteralKind.STRING},
    Kind.TEXT: {LiteralKind.STRING},
    Kind.BOOLEAN: {LiteralKind.BOOLEAN},
    Kind.INTEGER: {LiteralKind.INTEGER},
    Kind.NUMBER: {LiteralKind.INTEGER, LiteralKind.DECIMAL},
    Kind.DATE: {LiteralKind.DATE, LiteralKind.SPAN},
    Kind.DATETIME: {LiteralKind.DATETIME, LiteralKind.SPAN},
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


@dataclass(frozen=True, slots=True)
class Range:
    """The keys from `start` up to, and without, `end`."""

    start: str
    end: str


def comparand(
    literal: Literal, label: str, type_: str, now: datetime, text: str, at: int
) -> Key | Range:
    """Return the key that a literal stands for when compared with a field.

    Args:
        literal: The constant in the query.
        label: Name of the field, for the error.
        type_: Describe type of the field.
        now: The time in the zone of the asking user, for date literals.
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
    if isinstance(value, Span):
        return _range(value, kind, now, text, at)
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


def _range(span: Span, kind: Kind, now: datetime, text: str, at: int) -> Range:
    """Turn a date literal into keys; days begin at midnight in the zone of `now`."""
    try:
        start, end = days(span, now.date())
        if kind is Kind.DATE:
            return Range(start.isoformat(), end.isoformat())
        return Range(
            stamp(datetime.combine(start, time(), now.tzinfo)),
            stamp(datetime.combine(end, time(), now.tzinfo)),
        )
    except OverflowError:
        raise error_at(
            "MALFORMED_QUERY", f"{span.name}:{span.n} is out of range", text, at
        ) from None
