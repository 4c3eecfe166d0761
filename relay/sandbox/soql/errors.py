"""The one error of the query language, worded and placed as Salesforce does it."""

from __future__ import annotations

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
    """Return the refusal of something that Salesforce has and this sandbox has not."""
    return error_at(NOT_IN_SANDBOX, f"the sandbox does not support {what}", text, at)
