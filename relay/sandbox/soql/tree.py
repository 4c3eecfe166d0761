"""The syntax tree of a query: frozen values that know no metadata.

`at` is the offset of a node in the statement, for error messages; it takes no part in
comparing two trees.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from enum import Enum, StrEnum
from typing import Literal as OneOf
from typing import TypeAlias


class LiteralKind(Enum):
    """What a literal looks like, before anybody asks which type the field has."""

    STRING = "string"
    INTEGER = "integer"
    DECIMAL = "decimal"
    BOOLEAN = "boolean"
    NULL = "null"
    DATE = "date"
    DATETIME = "datetime"


Value: TypeAlias = str | int | float | bool | date | datetime | None


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant, decoded."""

    kind: LiteralKind
    value: Value
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Path:
    """A dotted name: `Email`, `c.Email`, `Opportunity.Account.Name`."""

    parts: tuple[str, ...]
    at: int = field(default=0, compare=False)

    def __str__(self) -> str:
        """Return the name as it was written."""
        return ".".join(self.parts)


@dataclass(frozen=True, slots=True)
class Count:
    """`COUNT(field)`, the one aggregate that the sandbox has."""

    path: Path
    at: int = field(default=0, compare=False)


class Operator(StrEnum):
    """Operators between a field and one literal."""

    EQUAL = "="
    NOT_EQUAL = "!="
    LESS = "<"
    LESS_EQUAL = "<="
    GREATER = ">"
    GREATER_EQUAL = ">="


@dataclass(frozen=True, slots=True)
class Comparison:
    """`operand operator literal`."""

    operand: Path
    operator: Operator
    literal: Literal


@dataclass(frozen=True, slots=True)
class Like:
    """`operand LIKE pattern`; the wildcards are None (any text) and True (one char)."""

    operand: Path
    pattern: tuple[str | bool | None, ...]
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Membership:
    """`operand [NOT] IN (literals)`."""

    operand: Path
    negated: bool
    literals: tuple[Literal, ...]


@dataclass(frozen=True, slots=True)
class SemiJoin:
    """`operand [NOT] IN (SELECT …)`."""

    operand: Path
    negated: bool
    query: Query
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Not:
    """`NOT condition`."""

    inner: Condition


@dataclass(frozen=True, slots=True)
class Junction:
    """Two or more conditions, all joined by AND or all joined by OR."""

    operator: OneOf["AND", "OR"]
    parts: tuple[Condition, ...]


Condition: TypeAlias = Comparison | Like | Membership | SemiJoin | Not | Junction


@dataclass(frozen=True, slots=True)
class SelectItem:
    """A field or a count of the SELECT list, with its alias if it has one."""

    operand: Path | Count
    alias: str | None = None


@dataclass(frozen=True, slots=True)
class SubQuery:
    """A child sub-query of the SELECT list; its FROM names a relationship."""

    query: Query
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class CountAll:
    """`COUNT()`, which stands alone in its SELECT list."""


@dataclass(frozen=True, slots=True)
class Order:
    """One key of ORDER BY. Nulls come first unless the query says otherwise."""

    operand: Path
    descending: bool = False
    nulls_last: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """A whole SELECT statement.

    Attributes:
        source: What FROM names: an object, or in a child sub-query a relationship.
        text: The statement that this query is or stands in.
    """

    select: tuple[SelectItem | SubQuery | CountAll, ...]
    source: Path
    alias: str | None = None
    where: Condition | None = None
    group: tuple[Path, ...] = ()
    order: tuple[Order, ...] = ()
    limit: int | None = None
    text: str = field(default="", compare=False, repr=False)
