"""Signing in to the console: sessions, one-time links, and what limits guessing.

Of each secret that a browser holds (the cookie, a link) the relay keeps a digest. The
secrets are random and long, so that a plain digest of them cannot be guessed back.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

    from relay.core.directory import Role, User

SECRET_BYTES: Final = 32
"""Random bytes of a cookie and of a link: 256 bits."""
_FORM: Final = b"relay form token 1\0"
_DISABLED: Final = "disabled"


class Level(StrEnum):
    """How far somebody has signed in."""

    SECOND = "second"
    """The password was right; the second factor is still asked for."""
    ENROL = "enrol"
    """A second factor is required, and the user has none yet: they may only add one."""
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Session:
    """A browser in which somebody has signed in.

    Attributes:
        id: Names it for people; it is no secret.
        user: Who signed in, as they are now.
        method: By what: `password`, `link`, `passkey`, `oidc`; with a second factor
            `password, code`.
        strong: A second factor was shown, or what needs none.
        has_factor: The user has a second factor by now.
        role: The user's role when the cookie was given out.
        created_at: When they signed in.
        used_at: Its last use, to the minute.
        ends_at: When it ends, whatever is done with it.
        address: The peer at sign-in.
        agent: What the browser calls itself.
    """

    id: int
    user: User = field(repr=False)
    method: str
    strong: bool
    has_factor: bool
    role: Role
    created_at: datetime
    used_at: datetime
    ends_at: datetime
    address: str
    agent: str

    def level(self, *, required: bool) -> Level:
        """Say how far somebody is in, where a second factor is required or not.

        It is worked out for each request: what was enough in the morning is not any
        more when a factor was added, or an administrator asks for one.
        """
        if self.strong:
            return Level.FULL
        if self.has_factor:
            return Level.SECOND
        return Level.ENROL if required else Level.FULL


@dataclass(frozen=True, slots=True)
class Passkey:
    """A key of a user, kept by their device; the relay has its public half.

    `credential_id` and `public_key` are base64url. `sign_count` rises with each use,
    where the device counts.
    """

    id: int
    user_id: int
    credential_id: str
    public_key: str
    sign_count: int
    name: str
    added_at: datetime
    used_at: datetime | None


@dataclass(frozen=True, slots=True)
class SecondFactors:
    """What a user has beside the password; a code app counts once it is confirmed."""

    app_since: datetime | None = None
    recovery_left: int = 0
    passkeys: tuple[Passkey, ...] = ()

    def __bool__(self) -> bool:
        """Say whether there is any by which to sign in."""
        return self.app_since is not None or bool(self.passkeys)


@dataclass(frozen=True, slots=True)
class SignInLink:
    """A link by which a user sets a password, once; only its digest is kept."""

    user: User = field(repr=False)
    expires_at: datetime
    created_by: str


class WayIn(StrEnum):
    """How far a user is on the way into the console."""

    NOT_INVITED = "not_invited"
    INVITED = "invited"
    """A one-time link still works, and was not used."""
    LINK_EXPIRED = "link_expired"
    SIGNED_IN = "signed_in"
    """The user has signed in at least once."""


@dataclass(frozen=True, slots=True)
class Invitation:
    """How a user came, or is to come, into the console.

    Attributes:
        state: How far the user is.
        invited_at: When the last one-time link was made.
        invited_by: Who made it.
        link_ends_at: Until when it works, if it was not used.
        mail: How far the mail with it is: *planned*, *written* or *refused*; None: it
            was not mailed, or its notice is not kept any more.
        mail_error: What the smarthost said last.
        signed_in_at: The last sign-in.
    """

    state: WayIn = WayIn.NOT_INVITED
    invited_at: datetime | None = None
    invited_by: str = ""
    link_ends_at: datetime | None = None
    mail: str | None = None
    mail_error: str = ""
    signed_in_at: datetime | None = None


def may_sign_in(user: User) -> bool:
    """Say whether a user may use the console: one who is disabled or removed may not.

    One who was never activated may: activating their own address is done there.
    """
    return user.removed_at is None and user.state != _DISABLED


def new_secret() -> str:
    """Return a fresh secret for a cookie or a link, in letters that URLs may have."""
    return secrets.token_urlsafe(SECRET_BYTES)


def digest(secret: str) -> str:
    """Return what the store keeps of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def form_token(secret: str) -> str:
    """Return what the forms of a session carry: who has it, has read a page of it.

    It follows from the cookie's secret, which no page and no other site can read, and
    it changes with it.
    """
    return hmac.new(secret.encode(), _FORM, hashlib.sha256).hexdigest()


def same(one: str, other: str) -> bool:
    """Compare two secrets in a time that does not depend on where they differ."""
    return hmac.compare_digest(
        one.encode("utf-8", "surrogatepass"), other.encode("utf-8", "surrogatepass")
    )
