"""For whom a mail is logged: the rep's user in Salesforce, or it waits for one."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from relay.activity import Owner
from relay.core.addresses import address_key
from relay.core.states import Event

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.core.clock import Clock
    from relay.core.directory import User
    from relay.outbox.batch import BatchMail
    from relay.salesforce import Org, SalesforceUser
    from relay.store import Store

USER_WAIT: Final = timedelta(seconds=60)
"""Wait before a user without a Salesforce user is looked for again."""


class Owners:
    """Finds the reps' users, and remembers what was found out."""

    def __init__(self, store: Store, org: Org, clock: Clock) -> None:
        """Keep the parts; users are remembered in the store."""
        self._store = store
        self._org = org
        self._clock = clock

    async def of(
        self, works: Sequence[BatchMail], users: Sequence[SalesforceUser]
    ) -> dict[int, Owner]:
        """Return the Salesforce user for each mail, by mail id.

        A mail whose copies are all of users without one is left out, and put off.

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
        for work in works:
            if work.mail.id not in found:
                self._wait(work)
        return found

    async def without_strangers(self, works: Sequence[BatchMail]) -> list[BatchMail]:
        """Put off mails that have waited for their user before and still must.

        The user alone is asked for, so that such a mail costs no look-up of people
        each time.

        Raises:
            RelayError: Nobody could be asked for, or remembered.
        """
        waiting = [w for w in works if _waits_again(w)]
        if not waiting:
            return list(works)
        emails = {
            key
            for work in waiting
            for item in work.items
            if item.user and (key := address_key(item.user.email))
        }
        result = await self._org.lookup.find((), user_emails=sorted(emails))
        owners = await self.of(waiting, result.users)
        return [w for w in works if w.mail.id in owners or w not in waiting]

    def _wait(self, work: BatchMail) -> None:
        user = work.items[0].user
        email = user.email if user else ""
        detail = (
            f"no single active Salesforce user has the e-mail {email or '?'}: "
            f"name one with 'relay user set {email} --salesforce-id ID'"
        )
        work.trace("user", "waiting", detail)
        work.settle(
            Event.GIVE_BACK, "no_salesforce_user", detail, self._clock.now() + USER_WAIT
        )

    async def _owner(self, user: User, found: Sequence[SalesforceUser]) -> Owner | None:
        owner = owner_of(user, found)
        if owner is None:
            return None
        if not user.salesforce_id:
            await self._store.directory.set_salesforce_id(
                user.id, owner.salesforce_id, "relay"
            )
        if owner.time_zone and not (user.salesforce_id and user.time_zone):
            await self._store.directory.set_time_zone(user.id, owner.time_zone)
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


def _waits_again(work: BatchMail) -> bool:
    """Say whether no copy has a Salesforce user, and that this is not news."""
    open_items = [item for item in work.items if not item.settlement]
    return all(
        item.again and item.user and not item.user.salesforce_id for item in open_items
    )
