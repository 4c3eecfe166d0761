"""Whether the integration user sees the Tasks of a rep; else none of them is absent.

A Task belongs to its rep from the moment it is made. Where sharing keeps the Tasks of
others from the integration user, it cannot read back what it has written itself, and no
query tells such a Task from one that is not there. So nothing is called absent before
it is proven that the owner's Tasks can be read.

An EmailMessage needs no such proof: who made it always sees it.

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

RIGHT: Final = (
    "give the integration user View All Data, or sharing that shows it every rep's "
    "Tasks"
)
"""What an admin does about it."""

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

    async def blind(self, owners: Collection[str]) -> frozenset[str]:
        """Return those of the owners whose Tasks are not proven to be seen.

        Proof is to be that owner, the permission View All Data, or one of the owner's
        Tasks that can be read: of those in the ledger, or any where it has none.

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
        seen = {
            owner for owner, ids in ours.items() if not found.keys().isdisjoint(ids)
        }
        if strangers := others - ours.keys():
            seen |= await self._org.access.visible_owners(strangers)
        return frozenset(others - seen)


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
