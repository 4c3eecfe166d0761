"""A statement, read into a tree.

Recursive descent over one `Cursor`: one method for each clause, in the order of the
clauses. What the text alone can prove wrong is refused here; names and types are left
to the evaluator, which has the metadata. SOQL that nothing asks this sandbox for is
refused as well, by a code of its own.

Salesforce's grammar has no precedence: AND and OR do not mix without parentheses, and
NOT opens a whole condition, so `a = 1 AND NOT b = 2` is malformed while
`a = 1 AND (NOT b = 2)` is not.

Source: SOQL and SOSL Reference, "SOQL SELECT Syntax", "Condition Expression Syntax
(WHERE Clause)".
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from enum import Enum
from typing import TYPE_CHECKING, Final
from typing import Literal as OneOf

from relay.sandbox.soql.lexer import (
    Kind,
    SOQLError,
    Token,
    decode,
    error_at,
    not_in_sandbox,
    pattern,
    tokens,
)
from relay.sandbox.soql.tree import (
    Comparison,
    Count,
    CountAll,
    Junction,
    Like,
    Literal,
    LiteralKind,
    Membership,
    Not,
    Operator,
    Order,
    Path,
    Query,
    SelectItem,
    SemiJoin,
    SubQuery,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.sandbox.soql.tree import Condition


# Source: SOQL and SOSL Reference, "Reserved Keywords".
# fmt: off
RESERVED: Final = frozenset({
    "AND", "ASC", "DESC", "EXCLUDES", "FIRST", "FROM", "GROUP", "HAVING", "IN",
    "INCLUDES", "LAST", "LIKE", "LIMIT", "NOT", "NULL", "NULLS", "OR", "SELECT",
    "USING", "WHERE", "WITH",
})
# fmt: on
_MAX_DIGITS: Final = 40
_YEARS: Final = (1700, 4000)
_DATE_LITERAL: Final = re.compile(
    r"YESTERDAY|TODAY|TOMORROW|(LAST|NEXT)_90_DAYS"
    r"|(LAST|THIS|NEXT)_(FISCAL_)?(WEEK|MONTH|QUARTER|YEAR)"
    r"|(LAST|NEXT)_N_(FISCAL_)?(DAY|WEEK|MONTH|QUARTER|YEAR)S"
    r"|N_(FISCAL_)?(DAY|WEEK|MONTH|QUARTER|YEAR)S_AGO"
)


class Cursor:
    """A place in the tokens of one statement."""

    def __init__(self, text: str) -> None:
        """Cut the statement into tokens and stand before the first."""
        self.text = text
        self._tokens = tokens(text)
        self._next = 0

    @property
    def token(self) -> Token:
        """The next token, which stays where it is."""
        return self._tokens[self._next]

    def look(self, ahead: int) -> Token:
        """Return a later token; past the end it is `END`."""
        return self._tokens[min(self._next + ahead, len(self._tokens) - 1)]

    def take(self) -> Token:
        """Return the next token and step over it."""
        token = self.token
        if token.kind is not Kind.END:
            self._next += 1
        return token

    def at_word(self, *words: str) -> bool:
        """Say whether the next tokens are these keywords, in this order."""
        return all(
            self.look(ahead).kind is Kind.NAME and self.look(ahead).upper == word
            for ahead, word in enumerate(words)
        )

    def at_sign(self, sign: str) -> bool:
        """Say whether the next token is this sign."""
        return self.token.is_sign(sign)

    def at_call(self) -> bool:
        """Say whether the next tokens are a name and an opening parenthesis."""
        return self.token.kind is Kind.NAME and self.look(1).is_sign("(")

    def accept(self, *words: str) -> bool:
        """Step over these keywords if they are next; say whether they were."""
        if not self.at_word(*words):
            return False
        self._next += len(words)
        return True

    def accept_sign(self, sign: str) -> bool:
        """Step over a sign if it is next; say whether it was."""
        if not self.at_sign(sign):
            return False
        self._next += 1
        return True

    def expect(self, word: str) -> None:
        """Step over a keyword that must be next."""
        if not self.accept(word):
            raise self.unexpected()

    def expect_sign(self, sign: str) -> None:
        """Step over a sign that must be next."""
        if not self.accept_sign(sign):
            raise self.unexpected()

    def malformed(self, message: str, at: int | None = None) -> SOQLError:
        """Return an error of form, at the next token unless `at` says otherwise."""
        place = self.token.at if at is None else at
        return error_at("MALFORMED_QUERY", message, self.text, place)

    def unsupported(self, what: str) -> SOQLError:
        """Return the refusal of SOQL that Salesforce has and this sandbox lacks."""
        return not_in_sandbox(what, self.text, self.token.at)

    def unexpected(self) -> SOQLError:
        """Return the error for a token that cannot stand here."""
        token = self.token
        if token.kind is Kind.END:
            return self.malformed("unexpected token: '<EOF>'")
        if token.text == ":":
            return self.malformed("Bind variables only allowed in Apex code")
        return self.malformed(f"unexpected token: '{token.text[:40]}'")

    def path(self) -> Path:
        """Read a dotted name."""
        token = self.token
        if token.kind is not Kind.NAME or token.upper in RESERVED:
            raise self.unexpected()
        return self._dotted()

    def source(self) -> Path:
        """Read what FROM names; some objects are called like keywords (`Group`)."""
        token = self.token
        if token.kind is not Kind.NAME or token.upper in RESERVED - {"GROUP"}:
            raise self.unexpected()
        return self._dotted()

    def _dotted(self) -> Path:
        first = self.take()
        parts = [first.text]
        while self.accept_sign("."):
            if self.token.kind is not Kind.NAME:
                raise self.unexpected()
            parts.append(self.take().text)
        return Path(tuple(parts), first.at)

    def natural(self, limit: int) -> int:
        """Read a whole number from 0 to `limit`."""
        token = self.token
        if token.kind is not Kind.NUMBER or not token.text.isdigit():
            raise self.unexpected()
        # Leading zeros cannot blow the number up, digits can: count them first.
        if len(token.text.lstrip("0")) > len(str(limit)) or int(token.text) > limit:
            raise self.malformed(f"numeric value out of range: {token.text[:40]}")
        self.take()
        return int(token.text)

    def literal(self) -> Literal:
        """Read one constant."""
        token = self.token
        match token.kind:
            case Kind.STRING:
                value = decode(token.text, self.text, token.at)
                literal = Literal(LiteralKind.STRING, value, token.at)
            case Kind.NUMBER:
                literal = self._number(token)
            case Kind.DATE:
                literal = Literal(LiteralKind.DATE, self._date(token), token.at)
            case Kind.DATETIME:
                literal = Literal(LiteralKind.DATETIME, self._datetime(token), token.at)
            case Kind.NAME:
                return self._word(token)
            case _:
                raise self.unexpected()
        self.take()
        return literal

    def _number(self, token: Token) -> Literal:
        """Read a number; one longer than any field can hold is refused."""
        if len(token.text) > _MAX_DIGITS:
            raise self.malformed(f"numeric value out of range: {token.text[:40]}")
        if "." in token.text:
            return Literal(LiteralKind.DECIMAL, float(token.text), token.at)
        return Literal(LiteralKind.INTEGER, int(token.text), token.at)

    def _date(self, token: Token) -> date:
        """Read a date; the calendar must have it."""
        try:
            value = date.fromisoformat(token.text)
        except ValueError:
            raise self.malformed(f"Invalid date: {token.text}") from None
        if not _YEARS[0] <= value.year <= _YEARS[1]:
            raise self.malformed(f"Invalid date: {token.text}")
        return value

    def _datetime(self, token: Token) -> datetime:
        """Read a date and time, and bring it to UTC."""
        try:
            value = datetime.fromisoformat(token.text).astimezone(UTC)
        except (ValueError, OverflowError):
            raise self.malformed(f"Invalid datetime: {token.text}") from None
        if not _YEARS[0] <= value.year <= _YEARS[1]:
            raise self.malformed(f"Invalid datetime: {token.text}")
        return value

    def _word(self, token: Token) -> Literal:
        """Read a constant that is a word: TRUE, FALSE or NULL."""
        word = token.upper
        if _DATE_LITERAL.fullmatch(word):
            raise self.unsupported(f"date literals ({word})")
        if word not in ("TRUE", "FALSE", "NULL"):
            raise self.unexpected()
        self.take()
        if word == "NULL":
            return Literal(LiteralKind.NULL, None, token.at)
        return Literal(LiteralKind.BOOLEAN, word == "TRUE", token.at)


# ----------------------------------------------------------------- conditions


_MAX_DEPTH: Final = 50
_OPERATORS: Final = {operator.value: operator for operator in Operator} | {
    "<>": Operator.NOT_EQUAL
}
# fmt: off
_SANDBOX_LACKS: Final = frozenset({
    "AVG", "CALENDAR_MONTH", "CALENDAR_QUARTER", "CALENDAR_YEAR", "CONVERTCURRENCY",
    "CONVERTTIMEZONE", "COUNT_DISTINCT", "CUBE", "DAY_IN_MONTH", "DAY_IN_WEEK",
    "DAY_IN_YEAR", "DAY_ONLY", "DISTANCE", "FIELDS", "FISCAL_MONTH",
    "FISCAL_QUARTER", "FISCAL_YEAR", "FORMAT", "GEOLOCATION", "GROUPING",
    "HOUR_IN_DAY", "MAX", "MIN", "ROLLUP", "SUM", "TOLABEL", "WEEK_IN_MONTH",
    "WEEK_IN_YEAR",
})
# fmt: on


def operand(cursor: Cursor) -> Path | Count:
    """Read a field, or `COUNT` of one.

    Raises:
        SOQLError: Neither stands here, or a function that this sandbox lacks.
    """
    token = cursor.token
    if not cursor.at_call():
        return cursor.path()
    if token.upper in _SANDBOX_LACKS:
        raise cursor.unsupported(f"{token.upper}()")
    if token.upper != "COUNT":
        raise cursor.unexpected()
    cursor.take()
    cursor.expect_sign("(")
    path = cursor.path()
    cursor.expect_sign(")")
    return Count(path, token.at)


def plain(cursor: Cursor, problem: str) -> Path:
    """Read a field where no aggregate may stand; `problem` says so.

    Raises:
        SOQLError: No field stands here.
    """
    left = operand(cursor)
    if isinstance(left, Count):
        raise cursor.malformed(f"{problem}: COUNT({left.path})", left.at)
    return left


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
        operator: OneOf["AND", "OR"] = "AND" if cursor.at_word("AND") else "OR"
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
        left = plain(cursor, "aggregate functions are not allowed in WHERE")
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

    def _like(self, left: Path) -> Like:
        """Read the pattern of LIKE."""
        token = self._cursor.token
        if token.kind is not Kind.STRING:
            raise self._cursor.unexpected()
        pieces = pattern(token.text, self._cursor.text, token.at)
        self._cursor.take()
        return Like(left, pieces, token.at)

    def _membership(self, left: Path, *, negated: bool) -> Condition:
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


# -------------------------------------------------------------------- clauses


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
        SOQLError: It is no SOQL, or SOQL that this sandbox lacks; see the code.
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
        query = Query(
            select=select,
            source=source,
            alias=alias,
            where=where,
            group=group,
            order=self._order(),
            limit=cursor.natural(_MAX_INTEGER) if cursor.accept("LIMIT") else None,
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
        paths = [self._group_key()]
        while cursor.accept_sign(","):
            paths.append(self._group_key())
        if cursor.at_word("HAVING"):
            raise cursor.unsupported("HAVING")
        return tuple(paths)

    def _group_key(self) -> Path:
        """Read one field of GROUP BY."""
        return plain(self._cursor, "aggregate functions cannot be used in GROUP BY")

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
        left = plain(cursor, "Ordered field must be grouped or aggregated")
        descending = cursor.accept("DESC")
        if not descending:
            cursor.accept("ASC")
        nulls_last = cursor.accept("NULLS", "LAST")
        if not nulls_last and not cursor.accept("NULLS", "FIRST"):
            nulls_last = False
        return Order(left, descending, nulls_last)

    def _refuse_endings(self) -> None:
        """Refuse what may end a statement in Salesforce and may not here."""
        cursor = self._cursor
        if cursor.at_word("ALL", "ROWS"):
            raise cursor.malformed("ALL ROWS not allowed in this context")
        for words in (
            ("OFFSET",),
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
            if problem is None and not query.group:
                raise not_in_sandbox("aggregates without GROUP BY", text, start)
            if problem is None and query.order:
                raise not_in_sandbox("ORDER BY together with GROUP BY", text, start)
        elif any(isinstance(item, SelectItem) and item.alias for item in query.select):
            problem = "only aggregate expressions use field aliasing"
        if self._place is _Place.CHILD and (counts or _aggregates(query)):
            raise not_in_sandbox("aggregates in child sub-queries", text, start)
        if children > _MAX_CHILDREN:
            problem = f"more than {_MAX_CHILDREN} child sub-queries"
        if query.where is not None and _semi_joins(query.where) > _MAX_SEMI_JOINS:
            problem = f"Maximum {_MAX_SEMI_JOINS} semi join sub-selects are allowed"
        if problem:
            raise error_at("MALFORMED_QUERY", problem, text, start)


def _inner_problem(query: Query) -> str | None:
    """Say what the query inside a semi-join may not have."""
    if query.order or query.limit is not None:
        return "ORDER BY and LIMIT are not supported in semi join sub-selects"
    item = query.select[0]
    if len(query.select) > 1 or not isinstance(item, SelectItem):
        return "semi join sub-selects can only select a single field"
    if isinstance(item.operand, Count) or item.alias or query.group:
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
    fields = [item.operand for item in query.select if isinstance(item, SelectItem)]
    loose = [each for each in fields if isinstance(each, Path)]
    if loose and not query.group:
        return f"Field must be grouped or aggregated: {loose[0]}"
    return None


def _aggregates(query: Query) -> bool:
    """Say whether a query answers with groups and not with records."""
    return bool(query.group) or any(
        isinstance(item, SelectItem) and isinstance(item.operand, Count)
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
