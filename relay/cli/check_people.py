"""Whether each of our users is somebody in the org: their mail waits until they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from relay.cli.opening import open_store
from relay.core.addresses import address_key
from relay.core.errors import ConfigError, RelayError
from relay.diagnose.finding import Finding, ok, warn
from relay.diagnose.machine import unmade_store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.config import Settings
    from relay.core.directory import User
    from relay.salesforce import Org, SalesforceUser

_CHECK: Final = "owners"
_NAMED: Final = 10
"""Users named in one line; the others are counted."""


async def owners(loaded: Settings, org: Org) -> list[Finding]:
    """Look for the Salesforce user of everybody who has no id of one yet."""
    if unmade_store(loaded):
        return []
    try:
        async with open_store(loaded) as store:
            users = [user for user in await store.users() if user.active]
        unset = [user for user in users if not user.salesforce_id]
        emails = [address_key(user.email) or user.email for user in unset]
        found = (await org.lookup([], user_emails=emails)).users if emails else ()
    except (RelayError, ConfigError) as error:
        mend = "see the lines above; then relay check again"
        return [warn(_CHECK, f"cannot be looked up: {error}", mend)]
    return [judged(users, found)] if users else []


def judged(users: Sequence[User], found: Sequence[SalesforceUser]) -> Finding:
    """Name the users for whom the org has no single active user."""
    lost = [
        user.email
        for user in users
        if not user.salesforce_id and not _is_one(user, found)
    ]
    if not lost:
        return ok(_CHECK, "every active user is a Salesforce user")
    more = f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else ""
    named = ", ".join(lost[:_NAMED])
    return warn(
        _CHECK,
        f"no single active Salesforce user has the e-mail of {named}{more}; "
        "their mail waits",
        f"relay user set {lost[0]} --salesforce-id ID",
    )


def _is_one(user: User, found: Sequence[SalesforceUser]) -> bool:
    key = address_key(user.email)
    return sum(one.email_key == key and one.is_active for one in found) == 1
