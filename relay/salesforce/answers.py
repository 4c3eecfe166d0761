"""Reads what Salesforce answers when something failed, and makes errors of it.

An answer is untrusted: it may be HTML of a proxy, a number, or a list of lists. What
leaves this module holds no address, no query text and no token.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from relay.core.errors import ActivityRefused, OutcomeUnknown, SalesforceUnavailable
from relay.salesforce.errors import Rule, rule

if TYPE_CHECKING:
    from relay.core.errors import RelayError
    from relay.core.model import Json

_ADDRESS: Final = re.compile(r"[^\s@<>()\[\]'\",;:=]+@[^\s@<>()\[\]'\",;:=]+")
# A token, a JWT or a cookie: no word of a message is that long.
_SECRET: Final = re.compile(r"[A-Za-z0-9_.!+/=-]{60,}")
_QUOTED: Final = re.compile(r"'[^']*(?:'|\Z)|\"[^\"]*(?:\"|\Z)")
_CODE: Final = re.compile(r"[A-Za-z0-9_.-]{1,80}")
_FIELD: Final = re.compile(r"[A-Za-z0-9_.]{1,80}")
_QUERY_CODES: Final = frozenset({"MALFORMED_QUERY", "INVALID_QUERY_FILTER_OPERATOR"})
_MAX_TEXT: Final = 500


@dataclass(frozen=True, slots=True)
class Failure:
    """One failure that Salesforce reported, or that took the place of an answer.

    `well_formed` is True where Salesforce itself spoke: a list of errors in its form.
    """

    code: str
    text: str
    rule: Rule
    fields: tuple[str, ...] = ()
    well_formed: bool = True

    @property
    def certain(self) -> bool:
        """Say whether it is certain that nothing was written."""
        return self.rule.wrote_nothing


def masked(message: object) -> str:
    """Return Salesforce's message for the admin: one line, no address, no secret."""
    text = " ".join(str(message).split())[: 4 * _MAX_TEXT]
    text = _ADDRESS.sub("(address)", text)
    text = _SECRET.sub("(...)", text)
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 1] + "…"


def redacted(message: object) -> str:
    """Return a message that may go into a log: quoted values are taken out as well."""
    return _QUOTED.sub("'…'", masked(message))


def error_list(content: Json) -> list[tuple[str, str, tuple[str, ...]]]:
    """Return (code, message, fields) of an error list; empty if it is none.

    Requests answer with `errorCode`, records of a collection with `statusCode`.
    """
    if not isinstance(content, list):
        return []
    errors = []
    for item in content:
        if not isinstance(item, dict):
            return []
        code = item.get("errorCode", item.get("statusCode"))
        if not isinstance(code, str) or not _CODE.fullmatch(code):
            return []
        fields = item.get("fields")
        names = fields if isinstance(fields, list) else []
        errors.append(
            (
                code,
                str(item.get("message") or ""),
                tuple(f for f in names if isinstance(f, str) and _FIELD.fullmatch(f)),
            )
        )
    return errors


def failure(status: int, content: Json) -> Failure:
    """Return what an answer says that is no success.

    Args:
        status: HTTP status of the answer, or of its part in a composite answer.
        content: The parsed body, or text if it was no JSON.
    """
    errors = error_list(content)
    if not errors:
        found = rule("", status)
        # A proxy's page says nothing about what happened behind it.
        return Failure(f"HTTP_{status}", "", found, well_formed=False)
    read = [(rule(code, status, text), code, text, f) for code, text, f in errors]
    # Where several are named, the lasting one decides: to retry would be in vain.
    chosen = next((entry for entry in read if entry[0].permanent), read[0])
    row, code, text, fields = chosen
    text = "" if code in _QUERY_CODES else masked(text)
    return Failure(code, text, row, fields)


def error_for(failed: Failure, *, doing: str) -> RelayError:
    """Return the error to raise for a failed request.

    Args:
        failed: What the answer said.
        doing: The kind of call, such as `lookup`; stands in front of the text.
    """
    row = failed.rule
    said = f" ({redacted(failed.text)})" if failed.text else ""
    text = f"{doing}: {failed.code}: {row.sentence}{said}"
    return build(row, failed.code, text)


def build(row: Rule, code: str, text: str) -> RelayError:
    """Return the error of a row's class with its code and wait."""
    cls = row.error
    if cls is OutcomeUnknown:
        return OutcomeUnknown(text, retry_after_s=row.retry_after_s)
    if issubclass(cls, ActivityRefused):
        return cls(code, text)
    # Every class that a row names besides these two takes a code and a wait.
    maker: type[SalesforceUnavailable] = cls  # type: ignore[assignment]
    return maker(text, code=code, retry_after_s=row.retry_after_s)
