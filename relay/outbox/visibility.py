"""Whether the integration user can read the Tasks of a rep.

A Task belongs to its rep from the moment it is made. Where sharing hides the Tasks of
others from the integration user, the user cannot read back a Task that it has made
itself, and no query tells a hidden Task from one that does not exist. So a Task counts
as absent only after it is proven that the Tasks of its owner can be read.

An EmailMessage needs no such proof: its creator can always read it.

Source: Object Reference, "EmailMessage" (access), "UserPermissionAccess".
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from relay.core.model import Activity
    from relay.salesforce import Org
    from relay.store import Store

HINT: Final = (
    "give the integration user View All Data, or sharing that shows it every rep's "
    "Tasks"
)
"""What an admin does where they cannot be read."""

LATEST: Final = 200
"""Rows of the ledger in which Tasks of an owner are looked for."""
_TRIED: Final = 5
"""Tasks of one owner that are asked for: some may have been deleted for good."""


class Visibility:
    """Finds out whose Tasks can be read."""

    def __init__(self, store: Store, org: Org) -> None:
        """Keep the parts; nothing is asked yet."""
        self._store = store
        self._org = org

    async def hidden_owners(self, owners: Collection[str]) -> frozenset[str]:
        """Return those of the owners whose Tasks are not proven to be readable.

        Each of these is a proof: the integration user is the owner; it has the
        permission View All Data; it can read one of the owner's Tasks (of those in the
        ledger, or any Task where the ledger has none).

        Raises:
            RelayError: Salesforce or the store could not be asked.
        """
        others = set(owners) - {"", await self._org.access.me()} if owners else set()
        if not others or await self._org.access.views_all():
            return frozenset()
        ours = by_owner(await self._store.ledger.latest("Task", LATEST), others)
        found = await self._org.records.existing(
            "Task", [i for ids in ours.values() for i in ids]
        )
        visible = {
            owner for owner, ids in ours.items() if not found.keys().isdisjoint(ids)
        }
        if unknown := others - ours.keys():
            visible |= await self._org.access.visible_owners(unknown)
        return frozenset(others - visible)


def owner_of(row: Activity) -> str:
    """Return the owner of a row's Task; empty where that is our user, or no Task."""
    return str(row.fields.get("OwnerId") or "") if row.object == "Task" else ""


def by_owner(rows: Iterable[Activity], owners: Collection[str]) -> dict[str, list[str]]:
    """Return the ids of a few Tasks of each of these owners."""
    found: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        owner = owner_of(row)
        if row.salesforce_id and owner in owners and len(found[owner]) < _TRIED:
            found[owner].append(row.salesforce_id)
    return dict(found)
