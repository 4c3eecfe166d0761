"""A statement's text, cut into tokens; and the one error of the query language.

Strict where Salesforce is: only single quotes make strings, a date and time has a zone,
and nothing but the escapes of the guide may follow a backslash. Errors are worded and
placed as Salesforce does it.

Source: SOQL and SOSL Reference, "Quoted String Escape Sequences", "Date Formats and
Date Literals in WHERE".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

_BEFORE: Final = 32
_AFTER: Final = 48

NOT_IN_SANDBOX: Final = "FUNCTIONALITY_NOT_ENABLED"
"""Code for SOQL that Salesforce would run, and this stand-in does not."""


class SOQLError(Exception):
    """A query that Salesforce would refuse.

    Attributes:
        code: Salesforce's `errorCode`, such as `MALFORMED_QUERY`.
        message: What the client reads, with the place in the query where it is known.
    """

    def __init__(self, code: str, message: str) -> None:
        """Keep the code beside the text."""
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


def error_at(code: str, message: str, text: str, at: int) -> SOQLError:
    """Return an error that shows the place: a piece of the query, a caret, row, column.

    Rows and columns count from 1; `at` is an offset into `text`.
    """
    at = max(0, min(at, len(text)))
    row = text.count("\n", 0, at) + 1
    line_start = text.rfind("\n", 0, at) + 1
    line_end = text.find("\n", at)
    line_end = len(text) if line_end < 0 else line_end
    start = max(line_start, at - _BEFORE)
    piece = text[start : min(line_end, at + _AFTER)]
    caret = " " * (at - start) + "^"
    place = f"ERROR at Row:{row}:Column:{at - line_start + 1}"
    return SOQLError(code, f"\n{piece}\n{caret}\n{place}\n{message}")


def not_in_sandbox(what: str, text: str, at: int) -> SOQLError:
    """Return the refusal of SOQL that Salesforce has and this sandbox lacks."""
    return error_at(NOT_IN_SANDBOX, f"the sandbox does not support {what}", text, at)


MAX_STATEMENT: Final = 100_000
"""Longest statement, in characters."""

MAX_STRING: Final = 4_000
"""Longest string literal as written, in characters without the quotes."""


class Kind(Enum):
    """What a token is."""

    NAME = "name"
    STRING = "string"
    DATETIME = "datetime"
    DATE = "date"
    NUMBER = "number"
    SIGN = "sign"
    END = "end"


@dataclass(frozen=True, slots=True)
class Token:
    """A token; of a string, `text` is what stands between the quotes, undecoded."""

    kind: Kind
    text: str
    at: int

    @property
    def upper(self) -> str:
        """The text for comparing with keywords; empty for a string."""
        return "" if self.kind is Kind.STRING else self.text.upper()

    def is_sign(self, sign: str) -> bool:
        """Say whether this is that sign, and not a string that reads like it."""
        return self.kind is Kind.SIGN and self.text == sign


_TOKEN: Final = re.compile(
    r"""
    (?P<space>[ \t\r\n]+)
  | (?P<name>[A-Za-z][A-Za-z0-9_]*)
  | (?P<string>'(?:[^'\\]|\\.)*')
  | (?P<datetime>[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}
        (?:\.[0-9]{1,3})?(?:Z|[+-][0-9]{2}:[0-9]{2})(?![0-9A-Za-z_:.]))
  | (?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2}(?![0-9A-Za-z_:.-]))
  | (?P<number>[+-]?[0-9]+(?:\.[0-9]+)?(?![0-9A-Za-z_:.-]))
  | (?P<sign><=|>=|!=|<>|[=<>(),.:])
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE: Final = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|(.))?", re.DOTALL)
_PLAIN_ESCAPES: Final = {
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "b": "\b",
    "f": "\f",
    '"': '"',
    "'": "'",
    "\\": "\\",
}
# A tab is the one control character that may stand in a literal as it is.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")


def tokens(text: str) -> list[Token]:
    """Cut a statement into tokens; the last one is `END`.

    Raises:
        SOQLError: The statement is too long, or holds what is no token.
    """
    if len(text) > MAX_STATEMENT:
        raise SOQLError(
            "MALFORMED_QUERY",
            f"SOQL statements cannot be longer than {MAX_STATEMENT} characters.",
        )
    found: list[Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise _no_token(text, at)
        kind = match.lastgroup or ""
        if kind == "string":
            found.append(_string(text, match))
        elif kind != "space":
            found.append(Token(Kind(kind), match.group(), at))
        at = match.end()
    found.append(Token(Kind.END, "<EOF>", len(text)))
    return found


def _no_token(text: str, at: int) -> SOQLError:
    """Say what is wrong with text that no rule takes."""
    if text[at] == "'":
        return error_at(
            "MALFORMED_QUERY",
            "line 1:0 mismatched character '<EOF>' expecting '''",
            text,
            at,
        )
    word = re.compile(r"[^\s'(),]+").match(text, at)
    piece = word.group()[:40] if word else text[at]
    return error_at("MALFORMED_QUERY", f"unexpected token: '{piece}'", text, at)


def _string(text: str, match: re.Match[str]) -> Token:
    """Check the length and the characters of a string literal."""
    raw = match.group()[1:-1]
    at = match.start()
    if len(raw) > MAX_STRING:
        raise error_at(
            "MALFORMED_QUERY",
            f"string literals cannot be longer than {MAX_STRING} characters",
            text,
            at,
        )
    bad = _CONTROL.search(raw)
    if bad:
        what = "Line breaks" if bad.group() in "\r\n" else "Control characters"
        raise error_at(
            "MALFORMED_QUERY", f"{what} not allowed in string literals", text, at
        )
    return Token(Kind.STRING, raw, at)


def decode(raw: str, text: str, at: int) -> str:
    """Return what a string literal stands for.

    Raises:
        SOQLError: A backslash is followed by none of the escapes.
    """
    pieces = _pieces(raw, text, at, like=False)
    return "".join(piece for piece in pieces if isinstance(piece, str))


def pattern(raw: str, text: str, at: int) -> tuple[str | bool | None, ...]:
    r"""Return the pieces of a LIKE pattern: text, None for `%`, True for `_`.

    `\%` and `\_` stand for the characters themselves.

    Raises:
        SOQLError: As for `decode`.
    """
    return tuple(_pieces(raw, text, at, like=True))


def _pieces(raw: str, text: str, at: int, *, like: bool) -> list[str | bool | None]:
    """Take a literal apart into decoded text and, in a pattern, wildcards."""
    pieces: list[str | bool | None] = []
    done = 0
    for match in _ESCAPE.finditer(raw):
        _plain(raw[done : match.start()], pieces, like=like)
        done = match.end()
        code, char = match.groups()
        if code:
            pieces.append(chr(int(code, 16)))
        elif char in _PLAIN_ESCAPES:
            pieces.append(_PLAIN_ESCAPES[char])
        elif like and char in ("%", "_"):
            pieces.append(char)
        else:
            raise error_at(
                "MALFORMED_QUERY",
                f"Illegal character sequence '\\{char or ''}' in string literal",
                text,
                at,
            )
    _plain(raw[done:], pieces, like=like)
    return _whole_characters(pieces, text, at)


def _plain(raw: str, pieces: list[str | bool | None], *, like: bool) -> None:
    """Add text without escapes, cut at its wildcards if it is part of a pattern."""
    if not like:
        pieces.append(raw)
        return
    for part in re.split("([%_])", raw):
        if part == "%":
            pieces.append(None)
        elif part == "_":
            pieces.append(True)
        elif part:
            pieces.append(part)


def _whole_characters(
    pieces: list[str | bool | None], text: str, at: int
) -> list[str | bool | None]:
    r"""Join neighbouring text, so that `\ud83d\ude00` becomes one character."""
    joined: list[str | bool | None] = []
    for piece in pieces:
        if isinstance(piece, str) and joined and isinstance(joined[-1], str):
            joined[-1] += piece
        else:
            joined.append(piece)
    try:
        return [
            piece.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
            if isinstance(piece, str)
            else piece
            for piece in joined
        ]
    except UnicodeDecodeError:
        raise error_at(
            "MALFORMED_QUERY", "half a surrogate pair in string literal", text, at
        ) from None
