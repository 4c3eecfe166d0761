"""Claiming an address: who claims for whom, and the mail with the code.

`relay.admin.claims` makes and checks codes; here they are mailed, as notices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from relay.admin.claims import claim, verify
from relay.core.directory import Role
from relay.core.errors import Conflict, NotAllowed

if TYPE_CHECKING:
    from datetime import datetime

    from relay.admin.claims import ClaimCode, SendCode
    from relay.config import Settings
    from relay.core.access import Caller
    from relay.core.directory import User
    from relay.store import Store

NO_MAIL: Final = (
    "notices.smarthost (not set): no mail can be sent, so that nobody can prove an "
    "address; set it, or an admin adds the address: relay address add USER ADDRESS"
)


def code_sender(settings: Settings, store: Store) -> SendCode | None:
    """Return what mails codes: a running relay sends them as notices; None: nothing."""
    from relay.notices import ClaimNotices  # noqa: PLC0415 - aiosmtplib

    notices = ClaimNotices(settings.notices, store)
    if not notices.possible:
        return None

    async def send(made: ClaimCode) -> None:
        number = str(made.claim_id)
        await notices.code(number, made.user, made.address, made.code, made.expires_at)

    return send


def own(who: Caller, user: User) -> None:
    """Refuse who claims for somebody else, unless an admin does.

    Raises:
        NotAllowed: They are neither.
    """
    if who.user is None or who.user.role is Role.ADMIN or who.user.id == user.id:
        return
    hint = "each user claims their own addresses, an admin anybody's"
    raise NotAllowed("this is another user's", hint, word="not_yours")


async def pending(store: Store, user: User) -> list[dict[str, Any]]:
    """Return the claims of a user that can still be proven; never their codes."""
    return [
        {
            "address": one.address,
            "expires_at": one.expires_at,
            "tries_left": one.attempts_left,
        }
        for one in await store.claims.open(user.id)
    ]


async def begin(
    settings: Settings, store: Store, user: User, key: str, *, now: datetime, actor: str
) -> datetime:
    """Mail a code to an address that a user says is theirs; return when it expires.

    Raises:
        Conflict: No mail can be sent; or see `relay.admin.claims.claim`.
        InvalidInput: It is a pattern.
    """
    send = code_sender(settings, store)
    if send is None:
        raise Conflict(NO_MAIL, "set notices.smarthost")
    return await claim(store, user, key, send, now=now, actor=actor)


async def prove(
    settings: Settings, store: Store, user: User, code: str, *, actor: str
) -> str:
    """Let the address send whose code this is, tell its user by mail, and return it.

    Raises:
        NotFound: No claim is open, or the code fits none; says how many tries are left.
        Conflict: The address is another user's by now.
    """
    from relay.notices import ClaimNotices  # noqa: PLC0415 - aiosmtplib

    key = await verify(store, user, code, actor=actor)
    notices = ClaimNotices(settings.notices, store)
    if notices.possible:
        await notices.done(user, key)
    return key
