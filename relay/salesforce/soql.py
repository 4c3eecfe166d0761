"""SOQL statements from values that senders of mail wrote, cut to fit into a URL.

Quoting is simple-salesforce's; what it lets through (control characters, lone
surrogates) is taken out first. Nothing here knows an object.

Source: Salesforce REST API Guide, "Query", "QueryAll"; SOQL and SOSL Reference, "Quoted
String Escape Sequences"; Salesforce Developer Limits, "API Request Limits" (URI and
headers up to 16,384 bytes).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from relay.core.model import EPOCH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from relay.core.model import Json

MAX_ENCODED: Final = 12_000
"""Bytes of a percent-encoded statement; leaves room for host, path and headers."""
MAX_ITEMS: Final = 1_000
"""Members of one IN list; keeps a grouped answer within one page of 2,000 rows."""
MAX_CONDITIONS: Final = 50
"""Conditions joined by OR; more of them make a query too complicated."""

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")

_PLAIN: Final = re.compile(r"[A-Za-z0-9_.@-]*")
_SHORTEST: Final = timedelta(seconds=4)

_format: Callable[..., str] | None = None

Rows = list[dict[str, Any]]
"""What a query found, all pages of it."""


@dataclass(frozen=True, slots=True)
class Query:
    """One SOQL statement; `deleted` includes deleted and archived rows (queryAll)."""

    soql: str
    deleted: bool = False

    @property
    def path(self) -> str:
        """Return its path below the version."""
        resource = "queryAll" if self.deleted else "query"
        return f"{resource}?q={encoded(self.soql)}"


def clean(text: str) -> str:
    """Return the text without control characters and lone surrogates."""
    return _CONTROL.sub("", text)


def statement(template: str, *args: object, **values: object) -> str:
    """Return the template with its values quoted for SOQL.

    Texts, also those within lists, are cleaned first.
    """
    global _format  # noqa: PLW0603 - the import costs half a second, once
    if _format is None:
        from simple_salesforce.format import format_soql  # noqa: PLC0415

        _format = format_soql
    return _format(
        template,
        *(_cleaned(value) for value in args),
        **{name: _cleaned(value) for name, value in values.items()},
    )


def _cleaned(value: object) -> object:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_cleaned(member) for member in value]
    return value


def encoded(soql: str) -> str:
    """Return a statement percent-encoded for the `q` of a query URL."""
    return quote(soql, safe="")


def _cost(value: str) -> int:
    """Return how much longer the encoded statement grows by one list member."""
    if _PLAIN.fullmatch(value):
        # %27 … %27 %2C, and an @ is three bytes long.
        return len(value) + 9 + 2 * value.count("@")
    escaped = re.sub(r"[\\'\"\n\r\t\b\f]", r"\\\g<0>", clean(value))
    return len(quote(escaped, safe="")) + 9


def chunks(
    values: Sequence[str],
    overhead: int,
    limit: int = MAX_ENCODED,
    *,
    times: int = 1,
    more: int = 0,
    items: int = MAX_ITEMS,
) -> Iterator[list[str]]:
    """Cut values into lists whose statements stay under the limit once encoded.

    Args:
        values: Members of the list; a single one that is too long stands alone.
        overhead: Encoded length of the statement around the list.
        limit: Bytes that the encoded statement may have.
        times: How often the list stands in the statement.
        more: Encoded length of what stands around each member.
        items: Members of one list at most.
    """
    part: list[str] = []
    room = limit - overhead
    for value in values:
        cost = (_cost(value) + more) * times
        if part and (cost > room or len(part) >= items):
            yield part
            part, room = [], limit - overhead
        part.append(value)
        room -= cost
    if part:
        yield part


# ------------------------------------------------------------------ questions


@dataclass(frozen=True, slots=True)
class Ask:
    """One query for what has one of these values.

    Attributes:
        template: SOQL with `{}` in the place of the list, or `{0}` in each of several
            places; with `each`, `{0:literal}` in the place of the conditions.
        values: Members of the list.
        deleted: Find deleted and archived rows as well.
        each: Condition for one value (`{}`), joined by OR; empty: a list of values.
        about: What the rows are, for whoever reads them.
        setting: Key of a setting that stands in the query; where Salesforce refuses
            the query, the setting may be at fault.
        harmless: A value that no query is refused for, to find that out.
    """

    template: str
    values: tuple[str, ...]
    deleted: bool = False
    each: str = ""
    about: object = None
    setting: str = ""
    harmless: str = ""

    def query(self) -> Query:
        """Return the statement."""
        values: object = list(self.values)
        if self.each:
            values = " OR ".join(statement(self.each, value) for value in self.values)
        return Query(statement(self.template, values), deleted=self.deleted)

    def halves(self) -> list[Ask]:
        """Return two that ask for half as much each; none if it asks for one value."""
        middle = len(self.values) // 2
        if not middle:
            return []
        return [
            replace(self, values=self.values[:middle]),
            replace(self, values=self.values[middle:]),
        ]

    def with_harmless_value(self) -> Ask:
        """Return the same question about a value that cannot be at fault."""
        return replace(self, values=(self.harmless,))


def asks_for(
    template: str, values: Iterable[str], *, deleted: bool = False
) -> list[Ask]:
    """Return the queries for these values, each within what a URL may hold.

    Args:
        template: SOQL with `{}` in the place of the list.
        values: Each is asked for once.
        deleted: Find deleted and archived rows as well.
    """
    return split(Ask(template, tuple(dict.fromkeys(values)), deleted))


def split(ask: Ask) -> list[Ask]:
    """Return a question as queries that are each within what a URL may hold."""
    overhead = len(encoded(ask.template)) + 8
    parts = chunks(
        list(dict.fromkeys(ask.values)),
        overhead,
        times=max(1, ask.template.count("{0}")),
        more=len(encoded(f"{ask.each} OR ")) if ask.each else 0,
        items=MAX_CONDITIONS if ask.each else MAX_ITEMS,
    )
    return [replace(ask, values=tuple(part)) for part in parts]


def literal(text: str) -> str:
    """Return a piece of SOQL as it may stand in a template."""
    return text.replace("{", "{{").replace("}", "}}")


def halves(
    window: tuple[datetime, datetime],
) -> list[tuple[datetime, datetime]]:
    """Return two windows that cover this one; none if it is too short to cut."""
    since, until = window
    if until - since < _SHORTEST:
        return []
    middle = (since + (until - since) / 2).replace(microsecond=0)
    # Both hold the middle's second; a Task that is read twice has one key.
    return [(since, middle), (middle, until)]


# ------------------------------------------------------------------ answers


def moment(value: Json) -> datetime:
    """Read a dateTime (`2026-01-02T03:04:05.000+0000`); the epoch if it is none."""
    try:
        read_at = datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        return EPOCH
    return read_at if read_at.tzinfo else read_at.replace(tzinfo=UTC)
