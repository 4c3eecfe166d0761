"""Queries over HTTP: pages, cursors, and the hint for their size.

A cursor belongs to the user who made it and ends after two days. The page size is a
hint in both directions: a client that counts on full pages is wrong.

Source: REST API Developer Guide, "Query", "Query Options Header".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from relay.sandbox.answers import Answer
from relay.sandbox.errors import SandboxError
from relay.sandbox.soql import SOQLError, parse, run
from relay.sandbox.source import OrgSource

if TYPE_CHECKING:
    from datetime import datetime

    from relay.sandbox.answers import Call
    from relay.sandbox.org import SandboxOrg

LIFETIME: Final = timedelta(days=2)
_SMALLEST: Final = 200
_LOCATOR: Final = re.compile(r"(01g[A-Za-z0-9]{15})-(\d{1,9})")
_HINT: Final = re.compile(r"batchSize\s*=\s*(\d{1,9})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Cursor:
    """What is left of an answer that did not fit on one page."""

    user_id: str
    made_at: datetime
    records: list[dict[str, Any]]
    size: int


class Cursors:
    """The cursors of an org."""

    def __init__(self, org: SandboxOrg) -> None:
        """Start without any."""
        self._org = org
        self._cursors: dict[str, Cursor] = {}

    def first(
        self, records: list[dict[str, Any]], total: int, call: Call
    ) -> dict[str, Any]:
        """Return the first page of an answer."""
        found = _HINT.search(call.headers.get("sforce-query-options", ""))
        limit = self._org.config.page_size
        asked = max(int(found[1]), _SMALLEST) if found else limit
        cursor = Cursor(
            call.user_id, self._org.clock.now(), records, max(1, min(asked, limit))
        )
        name = ""
        if len(records) > cursor.size:
            name = self._org.mint.new("01g")
            self._cursors[name] = cursor
        return self._page(name, cursor, 0, total, call.version)

    def next(self, locator: str, call: Call) -> dict[str, Any]:
        """Return a later page.

        Raises:
            SandboxError: No such cursor, not this user's, or too old.
        """
        found = _LOCATOR.fullmatch(locator)
        cursor = self._cursors.get(found[1]) if found else None
        if (
            found is None
            or cursor is None
            or cursor.user_id != call.user_id
            or self._org.clock.now() - cursor.made_at > LIFETIME
            or int(found[2]) >= len(cursor.records)
        ):
            raise SandboxError("INVALID_QUERY_LOCATOR", "invalid query locator")
        total = len(cursor.records)
        return self._page(found[1], cursor, int(found[2]), total, call.version)

    def _page(
        self, name: str, cursor: Cursor, start: int, total: int, version: str
    ) -> dict[str, Any]:
        rest = len(cursor.records) - start
        size = cursor.size
        if rest > size and self._org.config.loose_pages:
            size -= self._org.random.randrange(size // 10 + 1)
        records = cursor.records[start : start + size]
        end = start + len(records)
        page: dict[str, Any] = {
            "totalSize": total,
            "done": end >= len(cursor.records),
            "records": records,
        }
        if not page["done"]:
            page["nextRecordsUrl"] = f"/services/data/v{version}/query/{name}-{end}"
        return page


def query(org: SandboxOrg, call: Call) -> Answer:
    """Answer `query` and `queryAll`, and their further pages."""
    for locator in call.segments[1:]:
        return Answer(200, org.cursors.next(locator, call))
    text = call.query.get("q")
    if not text:
        raise SandboxError("MALFORMED_QUERY", "q is missing")
    source = OrgSource(org, call.user_id, call.version)
    try:
        result = run(parse(text), source, all_rows=call.segments[0] == "queryAll")
    except SOQLError as error:
        raise SandboxError(error.code, error.message) from None
    return Answer(200, org.cursors.first(result.records, result.total_size, call))
