"""Queries of an org: what one user's query sees, and the pages of its answer.

A cursor belongs to the user who made it and ends after two days. The page size is a
hint in both directions: a client that counts on full pages is wrong.

Source: REST API Developer Guide, "Query", "Query Options Header".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from relay.sandbox.errors import SandboxError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

    from relay.sandbox.answers import Call
    from relay.sandbox.soql.scope import ObjectMeta, Row
    from relay.sandbox.state import OrgState


PERMISSIONS: Final = "UserPermissionAccess"
"""What the asking user may do; Object Reference, "UserPermissionAccess"."""
ACCESS: Final = "UserRecordAccess"
"""What a user may do with single records; Object Reference, "UserRecordAccess"."""
MAX_ACCESS: Final = 200
"""Records in one query for access."""
_RIGHTS: Final = (
    *("HasReadAccess", "HasEditAccess", "HasDeleteAccess"),
    *("HasTransferAccess", "HasAllAccess"),
)
_NO_ID: Final = "000000000000000AAA"


class OrgSource:
    """The rows of an org that one user may see."""

    def __init__(self, state: OrgState, user_id: str, version: str) -> None:
        """Bind user and API version."""
        self._state = state
        self._user_id = user_id
        self.version = version

    def describe(self, name: str) -> ObjectMeta | None:
        """Return what the user may know about an object."""
        return self._state.schema.meta(name)

    def rows(self, name: str, *, all_rows: bool) -> Iterable[Row]:
        """Return every row; the evaluator leaves out deleted ones."""
        del all_rows
        if name == ACCESS:
            return ()
        if name == PERMISSIONS:
            # One row, computed for the asking user.
            granted = self._state.views_all(self._user_id)
            return [{"Id": _NO_ID, "PermissionsViewAllData": granted}]
        return self._state.rows.all(name)

    def lookup(
        self, name: str, field: str, values: Collection[str]
    ) -> Iterable[Row] | None:
        """Return rows by an index, where the field has one."""
        if name == ACCESS:
            return self._access(values) if field == "RecordId" else None
        return self._state.rows.lookup(name, field, values)

    def _access(self, ids: Collection[str]) -> list[Row]:
        """Return what each user may do with these records: a row is computed for it."""
        state = self._state
        rows: list[Row] = []
        for record_id in ids:
            found = self.find(record_id)
            if found is None or found[1].get("IsDeleted"):
                continue
            for user in state.rows.all("User"):
                may = user["IsActive"] and state.can_see(user["Id"], record_id)
                rights = dict.fromkeys(_RIGHTS, may)
                level = "All" if may else "None"
                rows.append(
                    {
                        "Id": _NO_ID,
                        "UserId": user["Id"],
                        "RecordId": record_id,
                        "MaxAccessLevel": level,
                        **rights,
                    }
                )
        return rows

    def find(self, record_id: str) -> tuple[str, Row] | None:
        """Return object and row of an id."""
        info = self._state.schema.of_id(record_id)
        row = self._state.rows.get(info.name, record_id) if info else None
        return (info.name, row) if info and row is not None else None

    def visible(self, name: str, row: Row) -> bool:
        """Ask whether sharing lets the user see a row."""
        if name == ACCESS:
            return True
        return self._state.can_see(self._user_id, row["Id"])

    def shuffle(self, rows: list[Any]) -> None:
        """Shuffle with the org's random numbers."""
        self._state.random.shuffle(rows)

    def required_filters(self, name: str) -> Collection[str]:
        """Return the filters that a query of ContentDocumentLink needs."""
        if name == "ContentDocumentLink":
            return ("Id", "ContentDocumentId", "LinkedEntityId")
        return ()

    def filter_problem(
        self, name: str, values: Mapping[str, Collection[str]]
    ) -> str | None:
        """Insist on one user and at most 200 records where access is asked for."""
        if name != ACCESS:
            return None
        if len(values.get("UserId", ())) != 1:
            return "UserRecordAccess needs a filter on UserId with the equals operator"
        if not 0 < len(values.get("RecordId", ())) <= MAX_ACCESS:
            return f"UserRecordAccess needs a filter on 1 to {MAX_ACCESS} RecordIds"
        return None


LIFETIME: Final = timedelta(days=2)
_SMALLEST: Final = 200
_LOCATOR: Final = re.compile(r"(01g[A-Za-z0-9]{15})-(\d{1,9})")
_HINT: Final = re.compile(r"batchSize\s*=\s*(\d{1,9})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Cursor:
    """The records of an answer that does not fit on one page."""

    user_id: str
    made_at: datetime
    records: list[dict[str, Any]]
    size: int


class Cursors:
    """The cursors of an org."""

    def __init__(self, state: OrgState) -> None:
        """Start without any."""
        self._state = state
        self._cursors: dict[str, Cursor] = {}

    def first(
        self, records: list[dict[str, Any]], total: int, call: Call
    ) -> dict[str, Any]:
        """Return the first page of an answer."""
        found = _HINT.search(call.headers.get("sforce-query-options", ""))
        limit = self._state.config.page_size
        asked = max(int(found[1]), _SMALLEST) if found else limit
        cursor = Cursor(
            call.user_id, self._state.clock.now(), records, max(1, min(asked, limit))
        )
        name = ""
        if len(records) > cursor.size:
            name = self._state.mint.new("01g")
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
            or self._state.clock.now() - cursor.made_at > LIFETIME
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
        if rest > size and self._state.config.loose_pages:
            size -= self._state.random.randrange(size // 10 + 1)
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
