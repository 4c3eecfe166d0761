"""What an admin can do about a message, a refusal or a pause of the org."""

from __future__ import annotations

import re
from shlex import quote
from typing import TYPE_CHECKING, Any, Final

from relay.core.addresses import address_key
from relay.core.automatic import DEFAULT_RULES
from relay.core.copies import NO_ADDRESS, NO_SMARTHOST
from relay.core.mailboxes import may_send
from relay.core.states import NO_SALESFORCE_USER, State
from relay.sender import NOT_ACCEPTED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.core.directory import Directory, User
    from relay.store import Store

PAUSE_HINTS: Final[Mapping[str, str]] = {
    "credentials": "correct the login, then restart the relay: it tries at once",
    "quota": "wait, or buy calls; the relay continues by itself",
    "budget": "wait, raise the share, or buy calls; the relay continues by itself",
    "down": "see trust.salesforce.com, the network and the proxy; the relay continues",
    "access": "remove the cause; the relay continues by itself",
}
"""By the reason of a pause: what to do. Mail is accepted and kept meanwhile."""
_OF_REASON: Final[Mapping[str, str]] = {
    "kind_not_logged": "to log such mail, name its kind in relay settings set "
    "match.kinds; then: relay retry {id}",
    "received_by_bcc": "forward it to the relay address alone: that is copied",
    "copy_unknown": "look into Salesforce; if the mail is not there: relay retry {id}; "
    "if it is: relay discard {id}",
    "copy_refused": "let the smarthost take mail of this user; then: relay retry {id}",
    "copy_put_off": "the smarthost put it off, and it is tried again by itself; to try "
    "it now: relay retry {id}",
    "smarthost_unusable": "see relay check; the mail is sent by itself once it answers",
    NO_SMARTHOST: "set notices.smarthost in the settings file, and restart the relay",
}
"""What helps, by reason."""
_PLAIN: Final = re.compile(r"[a-z0-9_][a-z0-9_.+=~%'&-]*@[a-z0-9-]+(\.[a-z0-9-]+)+")
"""An address key that a person, a shell and the command read as the same address."""


async def hint_for(store: Store, row: Mapping[str, Any]) -> str:
    """Return what helps, or an empty text where nothing is known.

    A refusal whose sender has been accepted since needs no hint: the sender sends the
    mail again.
    """
    if row.get("kind") != "refusal" and (hint := await _hint_for_message(store, row)):
        return hint
    # A client that logged in is refused for its envelope sender, before any header.
    sender = str(row.get("from") or row.get("mail_from") or "")
    if row.get("reason") != NOT_ACCEPTED or not row.get("user"):
        return ""
    directory = await store.directory.load()
    owner = address_key(str(row["user"]))
    for user in directory.users.values():
        if address_key(user.email) == owner and not user.removed_at:
            return sender_hint(directory, user, sender)
    return ""


async def _hint_for_message(store: Store, row: Mapping[str, Any]) -> str:
    """Say what helps a message of this state; empty: it needs nothing."""
    state, reason, id_ = row.get("state"), row.get("reason"), row.get("id")
    if state == State.QUEUED:
        return await _hint_for_queued(store, row)
    if state == State.UNMATCHED and reason == "no_recipient":
        return (
            "put the customer in To or Cc, and send the mail again: the relay looks "
            "for nobody else, so that a retry cannot help; or name the record: "
            f"relay unmatched resolve {id_} RECORD"
        )
    if state == State.SKIPPED and reason in DEFAULT_RULES:
        change = f"relay settings set automatic.{reason} log"
        return f"to log such mail: {change}; then: relay retry {id_}"
    if one := _OF_REASON.get(str(reason)):
        return one.format(id=id_)
    plain: dict[str, str] = {
        State.UNMATCHED: "it is logged by itself once one of its people is in "
        f"Salesforce; to see who may be meant: relay unmatched show {id_}; to name "
        f"the record: relay unmatched resolve {id_} RECORD",
        State.DEAD: "the last step below says why; once that is mended: "
        f"relay retry {id_}; or give it up: relay discard {id_}",
        State.HELD: f"to let it be logged: relay release {id_}",
    }
    return plain.get(str(state), "")


async def _hint_for_queued(store: Store, row: Mapping[str, Any]) -> str:
    """Say what a queued message waits for, and how it waits no longer."""
    now = f"to try it now: relay retry {row['id']}"
    if row.get("reason") == NO_SALESFORCE_USER:
        who = quote(str(row.get("user") or "USER"))
        return (
            f"name the Salesforce user: relay user set {who} --salesforce-id ID; "
            "the mail is then tried at once"
        )
    if row.get("reason") == NO_ADDRESS:
        who = quote(str(row.get("user") or "USER"))
        return f"name the address: relay user logging {who} --address ADDRESS"
    if one := _OF_REASON.get(str(row.get("reason"))):
        return one.format(id=row["id"])
    for org, pause in await store.pauses.all():
        help_ = PAUSE_HINTS.get(pause.reason, "")
        return f"Salesforce ({org}) is {pause.report.rstrip('.')}; {help_}"
    if not row.get("attempts"):
        return "it is tried within seconds while relay serve runs; see relay status"
    return now


def sender_hint(directory: Directory, user: User, sender: str) -> str:
    """Return what to do about mail to a user's relay address that was refused.

    Mostly nothing: a customer replied to all, or a colleague took the wrong address. To
    accept such a sender would log a stranger's mail as the user's. So no command is
    ever offered that accepts one.

    Args:
        directory: Users and their addresses.
        user: Whose relay address the mail was for.
        sender: Its author, as written; it comes from a stranger, and is shown only
            where a person and a shell read it as one address.
    """
    key = address_key(sender)
    if key is None or not _PLAIN.fullmatch(key):
        return ""
    if may_send(directory.accepted.get(user.id, frozenset()), key):
        return ""
    for other in directory.users.values():
        if other.id == user.id or other.removed_at:
            continue
        if address_key(other.email) == key or key in directory.accepted.get(
            other.id, frozenset()
        ):
            return (
                f"{key} is an address of {other.email}, who has a relay address too: "
                f"relay user show {quote(other.email)}"
            )
    return (
        f"nothing, if {key} is anybody but {user.email}: the mail was rightly kept "
        f"out; {user.email} sends from the addresses that are shown by: "
        f"relay user show {quote(user.email)}"
    )
