"""What an admin can do about a message, a refusal or a pause of the org."""

from __future__ import annotations

import re
from shlex import quote
from typing import TYPE_CHECKING, Any, Final

from relay.core.addresses import address_key, domain_of
from relay.core.automatic import DEFAULT_RULES
from relay.core.states import State
from relay.sender import NOT_ACCEPTED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.store import Store

PAUSE_HINTS: Final[Mapping[str, str]] = {
    "credentials": "correct the login, then restart the relay: it tries at once",
    "quota": "wait, or buy calls; the relay continues by itself",
    "budget": "wait, raise the share, or buy calls; the relay continues by itself",
    "down": "see trust.salesforce.com, the network and the proxy; the relay continues",
    "access": "remove the cause; the relay continues by itself",
}
"""By the reason of a pause: what to do. Mail is accepted and kept meanwhile."""
_PLAIN: Final = re.compile(r"[a-z0-9_][a-z0-9_.+=~%'&-]*@[a-z0-9-]+(\.[a-z0-9-]+)+")
"""An address key that a person, a shell and the command read as the same address."""


async def hint_for(store: Store, row: Mapping[str, Any]) -> str:
    """Return the command that helps, or an empty text where none is known.

    A refusal whose sender has been accepted since needs no command: the sender sends
    the mail again.
    """
    if row.get("state") == State.UNMATCHED:
        return f"once one of its people is in Salesforce: relay retry {row['id']}"
    if row.get("state") == State.SKIPPED and row.get("reason") in DEFAULT_RULES:
        change = f"relay settings set automatic.{row['reason']} log"
        return f"to log such mail: {change}; then: relay retry {row['id']}"
    # A client that logged in is refused for its envelope sender, before any header.
    sender = str(row.get("from") or row.get("mail_from") or "")
    key = address_key(sender)
    if row.get("reason") != NOT_ACCEPTED or not row.get("user") or key is None:
        return ""
    user = await store.directory.find_user(str(row["user"]))
    addresses = await store.directory.addresses(user.id)
    accepted = {one.address for one in addresses if one.in_force}
    if {key, f"*@{domain_of(key)}"} & accepted:
        return ""
    return acceptance(user.email, sender)


def acceptance(user_email: str, sender: str) -> str:
    """Return the command that accepts mail from a sender, or an empty text.

    The address comes from a stranger and ends on an admin's command line. So there is
    no command for an address that a shell or the command could read as anything else:
    `*@domain` would accept a whole domain, a leading `-` would be an option.

    Args:
        user_email: The user's own address.
        sender: The author of a mail that was refused, as written.
    """
    key = address_key(sender)
    if key is None or not _PLAIN.fullmatch(key):
        return ""
    return f"relay address add {quote(user_email)} {quote(key)}"
