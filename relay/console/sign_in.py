"""How people come into the console and out of it: invitations, links, sessions.

A one-time link is mailed to its user, or shown once to who hands it over; it stands in
no log, no history and no second answer. Who is shown the link of a user could sign in
as them, and so must have every right of the user's role.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from relay.core.access import scopes_of
from relay.core.accounts import Invitation
from relay.core.directory import Role
from relay.core.errors import Conflict, NotAllowed, TooOften

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from relay.accounts.service import LinkMail
    from relay.config import Settings
    from relay.core.access import Caller
    from relay.core.accounts import Session
    from relay.core.directory import User
    from relay.store import Store

NO_CONSOLE: Final = (
    "web.listen (not set): there is no console to sign in to; write for instance "
    '"127.0.0.1:8080"'
)
_UNKNOWN: Final = Invitation()


# ------------------------------------------------------------------ links by mail


def lacks_for_mail(settings: Settings) -> str:
    """Return the setting without which no link can be mailed; empty: none lacks.

    People reach the console at `web.public_url`: without it a link would lead nowhere.
    """
    if settings.notices.smarthost is None:
        return "notices.smarthost"
    return "" if settings.web.public_url is not None else "web.public_url"


def link_mail(settings: Settings, *, invites: bool) -> LinkMail | None:
    """Return what makes the mail with a one-time link; None: no mail can be sent.

    Args:
        settings: Name the smarthost, and where people reach the console.
        invites: It is an invitation; else the user asked for the link.
    """
    if lacks_for_mail(settings):
        return None
    from relay.notices import sign_in_link  # noqa: PLC0415 - aiosmtplib

    return partial(sign_in_link, settings.notices, invites=invites)


def need_mail(settings: Settings) -> None:
    """Pass where links can be mailed.

    Raises:
        Conflict: They cannot; names the setting that lacks.
    """
    if lacks := lacks_for_mail(settings):
        text = f"{lacks} (not set): no link can be mailed"
        raise Conflict(text, f"set {lacks}, or hand a link over yourself")


# ------------------------------------------------------------------ invitations


async def invite(store: Store, settings: Settings, user: User, actor: str) -> datetime:
    """Mail a user a one-time link to sign in; return until when it works.

    A running relay sends the mail. A link that was made before ends.

    Raises:
        Conflict: No mail can be sent.
        InvalidInput: The user is disabled.
        NotFound: There is no such user.
        TooOften: Several links were made for the user just now.
    """
    need_mail(settings)
    mail = link_mail(settings, invites=True)
    return (await _limited(store, settings, user, actor, mail))[1]


async def invite_all(
    store: Store, settings: Settings, users: Sequence[User], actor: str
) -> int:
    """Mail each of these new users a one-time link; return how many there are.

    Raises:
        Conflict: No mail can be sent; nobody was invited.
    """
    need_mail(settings)
    for user in users:
        await invite(store, settings, user, actor)
    return len(users)


async def show_link(
    store: Store, settings: Settings, who: Caller, user: User
) -> tuple[str, datetime]:
    """Make a one-time link to hand over; return it, and until when it works.

    Raises:
        Conflict: There is no console.
        InvalidInput: The user is disabled.
        NotAllowed: Who asks has less rights than the user, whose they could take.
        NotFound: There is no such user.
        TooOften: Several links were made for the user just now.
    """
    need_console(settings)
    allowed = settings.web.monitor_sees_bodies
    beyond = scopes_of(user.role, monitor_sees_bodies=allowed) - who.scopes
    if beyond:
        named = ", ".join(sorted(beyond))
        text = f"a link of a {user.role} gives rights that you lack: {named}"
        raise NotAllowed(text, "mail it to the user instead")
    return await _limited(store, settings, user, who.name, None)


def need_console(settings: Settings) -> None:
    """Pass where there is a console to sign in to.

    Raises:
        Conflict: There is none.
    """
    if settings.web.listen is None and settings.web.public_url is None:
        raise Conflict(NO_CONSOLE, "set web.listen")


async def _limited(
    store: Store, settings: Settings, user: User, actor: str, mail: LinkMail | None
) -> tuple[str, datetime]:
    from relay.accounts import Accounts  # noqa: PLC0415 - argon2, for this alone

    accounts = Accounts(store, settings)
    if wait_s := await accounts.take_invitation(user):
        text = f"{user.email} was given several links just now"
        hint = f"wait {wait_s} s; the last link still works"
        raise TooOften(text, wait_s, hint)
    return await accounts.make_link(user, actor, mail)


async def ways_in(store: Store, user_id: int | None = None) -> Mapping[int, Invitation]:
    """Return how users came, or are to come, into the console, by their numbers."""
    return await store.accounts.invitations(user_id)


async def way_in(store: Store, user_id: int) -> Invitation:
    """Return how a user came, or is to come, into the console."""
    return (await ways_in(store, user_id)).get(user_id, _UNKNOWN)


def way_in_row(one: Invitation | None) -> dict[str, Any]:
    """Return the stable names of how a user came in; None: they were never invited."""
    one = one or _UNKNOWN
    return {
        "state": one.state.value,
        "invited_at": one.invited_at,
        "invited_by": one.invited_by or None,
        "link_ends_at": one.link_ends_at,
        "mail": one.mail,
        "mail_error": one.mail_error,
        "signed_in_at": one.signed_in_at,
    }


# ------------------------------------------------------------------ sessions


def own_or_admin(who: Caller, user: User) -> None:
    """Refuse who asks for the sessions of somebody else, unless an admin does.

    Raises:
        NotAllowed: They are neither the user nor an admin.
    """
    if who.user is None or who.user.role is Role.ADMIN or who.user.id == user.id:
        return
    hint = "each user sees and ends their own sessions, an admin anybody's"
    raise NotAllowed("this is another user's", hint, word="not_yours")


def session_row(one: Session) -> dict[str, Any]:
    """Return the stable names of a session; never its secret."""
    return {
        "id": one.id,
        "method": one.method,
        "second_factor": one.strong,
        "created_at": one.created_at,
        "used_at": one.used_at,
        "ends_at": one.ends_at,
        "address": one.address,
        "agent": one.agent,
    }


async def sessions(store: Store, user: User) -> list[dict[str, Any]]:
    """Return where a user is signed in, the one used last first."""
    return [session_row(one) for one in await store.accounts.sessions(user.id)]
