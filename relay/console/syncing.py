"""The switch that keeps a user's reminders in step with Tasks of Salesforce."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.core.errors import Conflict
from relay.core.translate import N_

if TYPE_CHECKING:
    from relay.config import Settings
    from relay.core.directory import User
    from relay.core.syncing import SyncUser
    from relay.store import Store

NO_ORG = N_(
    "There is no connection to Salesforce: an administrator must name the org in the "
    "settings file (salesforce.instance_url)."
)
NO_USER = N_(
    "The relay does not know your Salesforce user yet: it learns it with the first "
    "mail that is logged, or an administrator names it."
)


def missing(settings: Settings, user: User) -> str:
    """Return what must be there before the sync can be switched on; empty: nothing."""
    if settings.salesforce.instance_url is None:
        return NO_ORG
    return "" if user.salesforce_id else NO_USER


async def switch(
    store: Store, settings: Settings, user: User, *, on: bool, actor: str
) -> SyncUser | None:
    """Switch the sync on or off; return what holds, None: it was never on.

    Raises:
        Conflict: Something must be there first; the text names it.
    """
    known = await store.reminder_sync.user(user.id)
    if not on and known is None:
        return None
    if on and (text := missing(settings, user)):
        raise Conflict(text)
    salesforce_id = user.salesforce_id or (known.salesforce_id if known else "")
    return await store.reminder_sync.switch(user.id, salesforce_id, actor, on=on)
