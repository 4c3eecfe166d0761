"""One table: what each failure of Salesforce means, and what is to be done.

A failure is looked up by its `errorCode` first (with a part of its message where one
code has two meanings), then by HTTP status, then by what the transport reported. No
other module decides whether something is permanent. The rows are also what the admin
reads: each has a sentence, and a category (rules D15 to D18).

An answer is untrusted: it may be HTML of a proxy, a number, or a list of lists. What
leaves this module holds no address, no query text and no token.

`wrote_nothing` matters for writes: False means that the answer leaves open whether the
request was carried out, so that it must be looked up before it is made again.

Source: Salesforce REST API Guide, "Status Codes and Error Responses"; SOAP API Guide,
"Core Data Types Used in API Calls" (StatusCode, ExceptionCode).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from relay.core.errors import (
    ActivityRefused,
    CredentialsRefused,
    OrgPaused,
    OutcomeUnknown,
    RecordLocked,
    SalesforceDown,
    SalesforceLimited,
    SalesforceUnavailable,
    TransientError,
)
from relay.core.retry import EFFECTS, Retry
from relay.salesforce.error_table import FOREIGN, LOGIN, ROWS, STATUSES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from relay.core.errors import RelayError
    from relay.core.model import Json
    from relay.salesforce.model import WriteOutcome


class Category(StrEnum):
    """Groups of the diagnostics page (rule D15)."""

    AUTHENTICATION = "authentication"
    ACCESS = "access_validation"
    INTERMITTENT = "intermittent"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Rule:
    """One row: a failure, its class, what to do, and the sentence for the admin."""

    code: str
    error: type[RelayError]
    retry: Retry
    category: Category
    sentence: str
    wrote_nothing: bool = True
    contains: str = ""
    """The row is meant only for messages that contain this."""
    retry_after_s: float | None = None

    @property
    def permanent(self) -> bool:
        """Say whether the same record would fail again."""
        return self.retry in {Retry.NEVER, Retry.REPLAN}

    @property
    def meaning(self) -> str:
        """Return what happened: the first half of the sentence."""
        return self.sentence.partition("; ")[0].rstrip(".") + "."

    @property
    def remedy(self) -> str:
        """Return what helps: the second half, or what the relay does by itself."""
        _, _, said = self.sentence.partition("; ")
        text = said.rstrip(".") or self.fate
        return f"{text[:1].upper()}{text[1:]}."

    @property
    def fate(self) -> str:
        """Return what happens to the message, in words for the admin."""
        fate = EFFECTS[self.retry].sentence
        return fate if self.wrote_nothing else f"{fate}; a write is looked for first"


_KINDS: Final[Mapping[str, tuple[type[RelayError], Retry, Category]]] = {
    "refused": (ActivityRefused, Retry.NEVER, Category.ACCESS),
    "bug": (ActivityRefused, Retry.NEVER, Category.OTHER),
    "replan": (ActivityRefused, Retry.REPLAN, Category.ACCESS),
    "gone": (ActivityRefused, Retry.REPLAN, Category.OTHER),
    "down": (SalesforceDown, Retry.PAUSE, Category.INTERMITTENT),
    "odd": (SalesforceUnavailable, Retry.BACKOFF, Category.OTHER),
    "busy": (SalesforceUnavailable, Retry.SOON, Category.INTERMITTENT),
    "lock": (RecordLocked, Retry.SOON, Category.INTERMITTENT),
    "shrink": (SalesforceUnavailable, Retry.SHRINK, Category.INTERMITTENT),
    "limit": (SalesforceLimited, Retry.PAUSE, Category.INTERMITTENT),
    "admin": (OrgPaused, Retry.PAUSE, Category.ACCESS),
    "session": (CredentialsRefused, Retry.RENEW, Category.AUTHENTICATION),
    "login": (CredentialsRefused, Retry.PAUSE, Category.AUTHENTICATION),
}
"""The words of the table's second column."""


def _rules(rows: tuple[tuple[str, str, str], ...]) -> tuple[Rule, ...]:
    """Read rows of (code, kind, sentence).

    A code may be followed by `~part of the message`; a kind by `?` where the answer
    leaves open whether a write was carried out, and by `@seconds` to wait.
    """
    rules = []
    for name, word, sentence in rows:
        code, _, contains = name.partition("~")
        kind, _, wait = word.partition("@")
        error, retry, category = _KINDS[kind.removesuffix("?")]
        rules.append(
            Rule(
                code,
                error,
                retry,
                category,
                sentence,
                wrote_nothing=not kind.endswith("?"),
                contains=contains.casefold(),
                retry_after_s=float(wait) if wait else None,
            )
        )
    return tuple(rules)


TABLE: Final = _rules(ROWS)
"""Rows by `errorCode`, most particular first where a code has several."""
STATUS_TABLE: Final = _rules(STATUSES)
"""Rows by HTTP status, for answers without a code that `TABLE` knows."""
LOGIN_TABLE: Final = _rules(LOGIN)
"""Rows by the `error` of the token endpoint (RFC 6749 section 5.2)."""
FOREIGN_TABLE: Final = _rules(FOREIGN)
"""Rows by the full name of an exception of the transport; see `foreign`."""


def _by_code(rules: tuple[Rule, ...]) -> dict[str, tuple[Rule, ...]]:
    table: dict[str, tuple[Rule, ...]] = {}
    for row in rules:
        table[row.code] = (*table.get(row.code, ()), row)
    return table


_TABLE: Final = _by_code(TABLE)
_STATUSES: Final = _by_code(STATUS_TABLE)
_LOGIN: Final = _by_code(LOGIN_TABLE)
_FOREIGN: Final = _by_code(FOREIGN_TABLE)


def _pick(rules: tuple[Rule, ...], message: str) -> Rule | None:
    folded = message.casefold()
    return next((row for row in rules if row.contains in folded), None)


def known(code: str) -> bool:
    """Say whether the table has a row for an `errorCode`."""
    return code in _TABLE


def rule(code: str, status: int = 0, message: str = "") -> Rule:
    """Return the row for a failure; there is always one.

    Args:
        code: `errorCode` (or `statusCode` of a record), empty if there was none.
        status: HTTP status of the answer or of the part of it; 0 if unknown.
        message: Tells apart the meanings of a code; nothing of it is kept.
    """
    found = _pick(_TABLE.get(code, ()), message)
    if found is not None:
        return found
    exact = _STATUSES.get(str(status))
    if exact:
        return exact[0]
    return _STATUSES.get(f"{status // 100}xx", _STATUSES["xxx"])[0]


_ANSWER_CODE: Final = re.compile(r"HTTP_([1-9]\d{2})")
_NO_ANSWER: Final = frozenset({"no_answer", "no_id", "unreadable"})
"""Words of ours for a write that was not answered, or not so that it can be read."""


def rule_of_reason(reason: str, detail: str = "") -> Rule | None:
    """Return the row for the reason word of an attempt; None: Salesforce is not it.

    Args:
        reason: An `errorCode`, an OAuth `error`, `HTTP_503`, or another word.
        detail: The text beside it, which tells apart the meanings of a code.
    """
    for table in (_TABLE, _LOGIN, _FOREIGN):
        if reason in table and (found := _pick(table[reason], detail)):
            return found
    if status := _ANSWER_CODE.fullmatch(reason):
        return rule("", int(status[1]))
    return _STATUSES["xxx"][0] if reason in _NO_ANSWER else None


def login_rule(error: str, description: str = "") -> Rule:
    """Return the row for an `error` of the token endpoint.

    A code that is not known pauses the org: to knock again and again with refused
    credentials locks the user out.
    """
    return _pick(_LOGIN.get(error, ()), description) or _LOGIN["*"][0]


def foreign(exception: Exception) -> Rule:
    """Return the row for an exception of the client library or the transport.

    What requests wraps says more than its wrapping: a name that DNS does not know is
    no broken connection.
    """
    wrapped = exception.args[0] if exception.args else None
    reason = getattr(wrapped, "reason", None)
    if isinstance(reason, Exception):
        exception = reason
    names = (f"{cls.__module__}.{cls.__qualname__}" for cls in type(exception).__mro__)
    # The table's last row is for any Exception, so that there is always one.
    return next(_FOREIGN[name][0] for name in names if name in _FOREIGN)


def error_of(outcome: WriteOutcome) -> TransientError:
    """Return the error of a record that was not written and may be later."""
    if outcome.error is not None:
        return outcome.error
    row = rule(outcome.code)
    wait = outcome.retry_after_s
    wait = row.retry_after_s if wait is None else wait
    made = build(row, outcome.code, outcome.text or row.sentence)
    if not isinstance(made, TransientError):
        made = SalesforceUnavailable(str(made), code=outcome.code)
    made.retry_after_s = wait
    return made


def foreign_names() -> frozenset[str]:
    """Return the full names of all exceptions that have a row of their own."""
    return frozenset(_FOREIGN)


# ------------------------------------------------------------------ answers

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
    """Return the error of a row's class with its code, wait and retry rule."""
    cls = row.error
    made: RelayError
    if cls is OutcomeUnknown:
        made = OutcomeUnknown(text, retry_after_s=row.retry_after_s)
    elif issubclass(cls, ActivityRefused):
        made = cls(code, text)
    else:
        # Every class that a row names besides these two takes a code and a wait.
        maker: type[SalesforceUnavailable] = cls  # type: ignore[assignment]
        made = maker(text, code=code, retry_after_s=row.retry_after_s)
    made.retry = row.retry
    return made


# ------------------------------------------------------------------ documentation

PAGE: Final = Path("docs/salesforce.md")
BEGIN: Final = "<!-- error table: python -m relay.salesforce.errors -->\n"
END: Final = "<!-- end of the error table -->\n"

_ANY: Final = {"xxx": "any other status", "*": "any other"}


def page() -> str:
    """Return the three tables: by errorCode, by HTTP status, at the login."""
    return "\n".join(
        [
            _table("errorCode", TABLE),
            "For answers without a known code, the HTTP status decides:\n",
            _table("status", STATUS_TABLE),
            "Errors of the token endpoint:\n",
            _table("error", LOGIN_TABLE),
        ]
    )


def _table(first: str, rules: Iterable[Rule]) -> str:
    lines = [
        f"| {first} | category | what it means | the message |\n",
        "|---|---|---|---|\n",
    ]
    for row in rules:
        code = _ANY.get(row.code) or f"`{row.code}`"
        if row.contains:
            code += f" with *{row.contains}*"
        said = (code, row.category.value, row.sentence, row.fate)
        lines.append(f"| {' | '.join(said)} |\n")
    return "".join(lines)


def put_into(text: str) -> str:
    """Return a page with the tables between its marks.

    Raises:
        ValueError: The page has no such marks.
    """
    head, _, rest = text.partition(BEGIN)
    _, found, tail = rest.partition(END)
    if not found:
        msg = f"the page has no line {BEGIN.strip()}"
        raise ValueError(msg)
    return f"{head}{BEGIN}\n{page()}\n{END}{tail}"


if __name__ == "__main__":
    PAGE.write_text(put_into(PAGE.read_text("utf-8")), "utf-8")
