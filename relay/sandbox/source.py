"""The org as one user's query sees it: the `Source` that the query language asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

    from relay.sandbox.org import SandboxOrg
    from relay.sandbox.soql.source import ObjectMeta, Row

PERMISSIONS: Final = "UserPermissionAccess"
"""What the asking user may do; Object Reference, "UserPermissionAccess"."""
_NO_ID: Final = "000000000000000AAA"


class OrgSource:
    """Rows of an org through the eyes of one user."""

    def __init__(self, org: SandboxOrg, user_id: str, version: str) -> None:
        """Bind user and API version."""
        self._org = org
        self._user_id = user_id
        self.version = version

    def now(self) -> datetime:
        """Return the time in the user's zone."""
        user = self._org.rows.get("User", self._user_id) or {}
        try:
            zone = ZoneInfo(user.get("TimeZoneSidKey") or "UTC")
        except (ZoneInfoNotFoundError, ValueError):
            zone = ZoneInfo("UTC")
        return self._org.clock.now().astimezone(zone)

    def describe(self, name: str) -> ObjectMeta | None:
        """Return what the user may know about an object."""
        return self._org.schema.meta(name)

    def rows(self, name: str, *, all_rows: bool) -> Iterable[Row]:
        """Return every row; the evaluator leaves out deleted ones."""
        del all_rows
        if name == PERMISSIONS:
            # One row, made for whoever asks.
            granted = self._org.views_all(self._user_id)
            return [{"Id": _NO_ID, "PermissionsViewAllData": granted}]
        return self._org.rows.all(name)

    def lookup(
        self, name: str, field: str, values: Collection[str]
    ) -> Iterable[Row] | None:
        """Return rows by an index, where the field has one."""
        return self._org.rows.lookup(name, field, values)

    def find(self, record_id: str) -> tuple[str, Row] | None:
        """Return object and row of an id."""
        info = self._org.schema.of_id(record_id)
        row = self._org.rows.get(info.name, record_id) if info else None
        return (info.name, row) if info and row is not None else None

    def visible(self, name: str, row: Row) -> bool:
        """Ask sharing."""
        del name
        return self._org.can_see(self._user_id, row["Id"])

    def shuffle(self, rows: list[Any]) -> None:
        """Shuffle with the org's dice."""
        self._org.random.shuffle(rows)

    def required_filters(self, name: str) -> Collection[str]:
        """Return the filters without which ContentDocumentLink tells nothing."""
        if name == "ContentDocumentLink":
            return ("Id", "ContentDocumentId", "LinkedEntityId")
        return ()
