"""For whom a mail is logged: the rep's user in Salesforce."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.activity import Owner
from relay.core.addresses import address_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.core.directory import User
    from relay.salesforce import SalesforceUser
    from relay.store import Store
    from relay.worker.item import Work


class Owners:
    """Finds the reps' users, and remembers what was found out."""

    def __init__(self, store: Store) -> None:
        """Keep the store, where users are remembered."""
        self._store = store

    async def of(
        self, works: Sequence[Work], users: Sequence[SalesforceUser]
    ) -> dict[int, Owner]:
        """Return the Salesforce user for each mail, by mail id.

        A mail whose copies are all of users without one is left out.

        Raises:
            StoreUnavailable: What was found out could not be remembered.
        """
        found: dict[int, Owner] = {}
        known: dict[int, Owner | None] = {}
        for work in works:
            for item in work.items:
                if item.settlement:  # Ruled out for this user.
                    continue
                if item.user and item.user.id not in known:
                    known[item.user.id] = await self._owner(item.user, users)
                owner = known[item.user.id] if item.user else None
                if owner:
                    found.setdefault(work.mail.id, owner)
        return found

    async def _owner(self, user: User, found: Sequence[SalesforceUser]) -> Owner | None:
        owner = owner_of(user, found)
        if owner is None:
            return None
        if not user.salesforce_id:
            await self._store.user_set_salesforce_id(
                user.id, owner.salesforce_id, "relay"
            )
        if owner.time_zone and not (user.salesforce_id and user.time_zone):
            await self._store.user_set_time_zone(user.id, owner.time_zone)
        return owner


def owner_of(user: User, found: Sequence[SalesforceUser]) -> Owner | None:
    """Return the Salesforce user of a rep, or None where it is not one alone.

    Without an id of its own, a rep is the single active User with that e-mail.
    """
    if user.salesforce_id:
        zones = (f.time_zone for f in found if f.id == user.salesforce_id)
        return Owner(user.salesforce_id, user.time_zone or next(zones, None))
    key = address_key(user.email)
    fitting = [f for f in found if f.email_key == key and f.is_active]
    if len(fitting) != 1:
        return None
    return Owner(fitting[0].id, fitting[0].time_zone)
