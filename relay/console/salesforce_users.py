"""Whether Salesforce knows a user: asked when one is added, and not by the first mail.

Mail of a user of whom Salesforce has no User waits. So who adds a user, or changes the
address, is told at once; the user is stored all the same, for the User may come later.
"""

from __future__ import annotations

from dataclasses import dataclass
from shlex import quote
from typing import TYPE_CHECKING, Any, Final

from relay.console.salesforce import open_org
from relay.core.addresses import address_key
from relay.core.errors import RelayError

if TYPE_CHECKING:
    from relay.config import Settings
    from relay.core.clock import Clock
    from relay.core.directory import User
    from relay.core.org import SalesforceUser

PATIENCE_S: Final = 10.0
"""A person waits for the answer, so that a slow org is given up."""


@dataclass(frozen=True, slots=True)
class Known:
    """What Salesforce says of a user.

    Attributes:
        word: `known`, `unknown`, `inactive`, `several`, `not_asked` (no org is set) or
            `no_answer`.
        text: The same in a sentence; empty where all is well, or nobody was asked.
        hint: What helps.
        id: Of the Salesforce user, if it is known.
    """

    word: str
    text: str = ""
    hint: str = ""
    id: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the stable names."""
        return {
            "result": self.word,
            "detail": self.text,
            "hint": self.hint,
            "id": self.id,
        }


async def ask(settings: Settings, user: User, clock: Clock | None = None) -> Known:
    """Ask Salesforce whether it has an active User for a user; one call.

    By the id, where one was entered, else by the e-mail address, as the worker does.
    Never raises for Salesforce's sake: that nobody answered is an answer.
    """
    key = address_key(user.email) or user.email
    ids = [user.salesforce_id] if user.salesforce_id else []
    emails = [] if ids else [key]
    section = settings.salesforce
    patience = min(section.timeout_s, PATIENCE_S)
    quick = settings.model_copy(
        update={"salesforce": section.model_copy(update={"timeout_s": patience})}
    )
    try:
        async with open_org(quick, clock) as org:
            if org is None:
                return Known("not_asked")
            result = await org.lookup.find(
                (), user_emails=emails, user_ids=ids, fresh=[*ids, *emails]
            )
    except RelayError as error:
        text = f"Salesforce could not be asked whether it knows {user.email}: {error}"
        return Known("no_answer", text, "relay check says what is wrong")
    found = [
        one
        for one in result.users
        if one.id in ids or (emails and one.email_key == key)
    ]
    return judge(user, found)


def judge(user: User, found: list[SalesforceUser]) -> Known:
    """Say what the Users that were found mean for a user."""
    active = [one for one in found if one.is_active]
    who = quote(user.email)
    name_it = f"relay user set {who} --salesforce-id ID"
    what = (
        f"the id {user.salesforce_id}"
        if user.salesforce_id
        else f"the address {user.email}"
    )
    waits = "mail of this user waits until there is one"
    if len(active) == 1:
        return Known("known", id=active[0].id)
    if active:
        text = f"Salesforce has {len(active)} active users with {what}"
        return Known("several", text, f"name the one that is meant: {name_it}")
    if found:
        text = f"the Salesforce user with {what} is not active; {waits}"
        return Known("inactive", text, f"activate it, or name another: {name_it}")
    text = f"Salesforce has no user with {what}; {waits}"
    return Known("unknown", text, f"create it there, or name one: {name_it}")
