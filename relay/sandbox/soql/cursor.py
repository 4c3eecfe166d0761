"""Reading tokens one after the other, and the literals among them.

Both halves of the parser, clauses and conditions, move one `Cursor` along.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Final

from relay.sandbox.soql.errors import SOQLError, error_at, not_in_sandbox
from relay.sandbox.soql.lexer import Kind, Token, decode, tokens
from relay.sandbox.soql.spans import COUNTED_SPANS, FISCAL, PLAIN_SPANS
from relay.sandbox.soql.tree import Literal, LiteralKind, Path, Span

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
_MAX_SPAN: Final = 100_000


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
        """Return the refusal of something that only this sandbox lacks."""
        return not_in_sandbox(what, self.text, self.token.at)

    def unexpected(self) -> SOQLError:
        """Return the error for a token that has no business here."""
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
        """Read a constant that is a word: TRUE, FALSE, NULL, or a date literal."""
        word = token.upper
        if word in ("TRUE", "FALSE"):
            self.take()
            return Literal(LiteralKind.BOOLEAN, word == "TRUE", token.at)
        if word == "NULL":
            self.take()
            return Literal(LiteralKind.NULL, None, token.at)
        if word in PLAIN_SPANS:
            self.take()
            return Literal(LiteralKind.SPAN, Span(word), token.at)
        if word in COUNTED_SPANS:
            self.take()
            self.expect_sign(":")
            n = self.natural(_MAX_SPAN)
            if n == 0:
                raise self.malformed(f"{word}:n needs an n above 0", token.at)
            return Literal(LiteralKind.SPAN, Span(word, n), token.at)
        if FISCAL in word:
            raise self.unsupported(f"fiscal date literals ({word})")
        raise self.unexpected()
