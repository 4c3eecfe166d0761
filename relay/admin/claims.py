"""Claiming an address: a code is mailed to it, and whoever reads it may send from it.

    claim    makes a code, keeps its hash, and hands the code to `send`
    verify   takes the code back, and lets the address send

Mailing is left to a callable, so that the command line, the API and the console claim
in one way, whatever sends their mail.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from relay.core.errors import InvalidInput, NotFound
from relay.core.passwords import hash_password, verify_password

if TYPE_CHECKING:
    from datetime import datetime

    from relay.core.directory import User
    from relay.store import Store

CODE_LIFE: Final = timedelta(minutes=30)
_ALPHABET: Final = "abcdefghjkmnpqrstuvwxyz23456789"
"""Without i, l, o, 0 and 1, which are taken for others."""
_GROUP: Final = 4
_GROUPS: Final = 2
"""Some 40 bits, of which five are tried at most."""


@dataclass(frozen=True, slots=True)
class ClaimCode:
    """What is to be mailed to a claimed address.

    Attributes:
        claim_id: The claim; another code for the address is another claim.
        address: Where the mail goes, and nowhere else.
        user: Who claims it.
        code: What the person reads and types.
        expires_at: Until when it counts.
    """

    claim_id: int
    address: str
    user: User
    code: str = field(repr=False)
    expires_at: datetime


SendCode = Callable[[ClaimCode], Awaitable[None]]
"""Mails a code, or raises a `RelayError` that says why it cannot."""


def new_code() -> str:
    """Return a fresh code, such as `k7wq-m2xd`."""
    return "-".join(
        "".join(secrets.choice(_ALPHABET) for _ in range(_GROUP))
        for _ in range(_GROUPS)
    )


async def claim(
    store: Store, user: User, key: str, send: SendCode, *, now: datetime, actor: str
) -> datetime:
    """Mail a code to an address that a user says is theirs; return when it expires.

    Args:
        store: Where the claim is kept.
        user: Who claims.
        key: The address key; `*@domain` is for admins alone.
        send: Mails the code.
        now: The time.
        actor: Who asks for it.

    Raises:
        InvalidInput: It is a pattern.
        Conflict: It may send already, is another user's, or too many were mailed.
        RelayError: The mail could not be sent; the claim stays, and its code is
            known to nobody.
    """
    if key.startswith("*@"):
        problem = f"{key} is a whole domain, which no mailbox can prove"
        raise InvalidInput(problem, "an admin may add it: relay address add")
    code, expires_at = new_code(), now + CODE_LIFE
    hashed = await asyncio.to_thread(hash_password, code)
    number = await store.claims.begin(user.id, key, hashed, expires_at, actor)
    await send(ClaimCode(number, key, user, code, expires_at))
    return expires_at


async def verify(store: Store, user: User, code: str, *, actor: str) -> str:
    """Let the address send whose code this is; return it.

    Every open claim of the user counts an attempt.

    Raises:
        NotFound: No claim is open, or the code fits none; says how many tries are left.
        Conflict: The address is another user's by now.
    """
    claims = await store.claims.open(user.id)
    if not claims:
        text = (
            f"no claim of {user.email} is open: a code counts for "
            f"{CODE_LIFE.seconds // 60} minutes and 5 tries; begin again: "
            "relay address claim USER ADDRESS"
        )
        raise NotFound(text)
    for one in claims:
        if await store.claims.try_code(one.id) and await asyncio.to_thread(
            verify_password, code, one.hash
        ):
            await store.claims.prove(one, actor)
            return one.address
    left = max(one.attempts_left for one in claims) - 1
    text = f"this is not the code; {left} tries are left"
    raise NotFound(text)
