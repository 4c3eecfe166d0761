"""Who may ask and do what: scopes of API tokens, roles of users, and both together.

A token has scopes. One that is bound to a user has no more than the user's role allows,
and with the role rep, no more than what is the user's own. One without a user was made
by an admin for a program, and its scopes alone say what it may.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from relay.core.directory import Role

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from relay.core.directory import APIToken, User


class Scope(StrEnum):
    """A right that a token can have."""

    MAIL_SUBMIT = "mail:submit"
    LOG_READ = "log:read"
    RAW_READ = "raw:read"
    QUEUE_WRITE = "queue:write"
    USERS_READ = "users:read"
    USERS_WRITE = "users:write"
    SETTINGS_READ = "settings:read"
    SETTINGS_WRITE = "settings:write"
    AUDIT_READ = "audit:read"
    AUDIT_WRITE = "audit:write"
    STATUS_READ = "status:read"
    REMINDERS_READ = "reminders:read"
    REMINDERS_WRITE = "reminders:write"
    TOKENS_READ = "tokens:read"
    TOKENS_WRITE = "tokens:write"
    ADDRESSES_CLAIM = "addresses:claim"
    USERS_INVITE = "users:invite"
    SESSIONS_READ = "sessions:read"
    SESSIONS_WRITE = "sessions:write"


MEANING: Final[Mapping[Scope, str]] = {
    Scope.MAIL_SUBMIT: "hand mail over",
    Scope.LOG_READ: "see messages and refusals, their traces and attempts",
    Scope.RAW_READ: "read whole mails",
    Scope.QUEUE_WRITE: "retry, hold, release and discard messages",
    Scope.USERS_READ: "see users, their addresses and exclusions",
    Scope.USERS_WRITE: "change users, their addresses and exclusions",
    Scope.SETTINGS_READ: "see settings",
    Scope.SETTINGS_WRITE: "change settings",
    Scope.AUDIT_READ: "see who changed what",
    Scope.AUDIT_WRITE: "take changes back",
    Scope.STATUS_READ: "see how much waits, and for what",
    Scope.REMINDERS_READ: "see reminders",
    Scope.REMINDERS_WRITE: "make, change and remove reminders",
    Scope.TOKENS_READ: "see the tokens that there are",
    Scope.TOKENS_WRITE: "make and remove tokens",
    Scope.ADDRESSES_CLAIM: "claim addresses of one's own, and prove them",
    Scope.USERS_INVITE: "mail one-time links to users, and make such links",
    Scope.SESSIONS_READ: "see where users are signed in",
    Scope.SESSIONS_WRITE: "sign users out",
}

OF_ROLE: Final[Mapping[Role, frozenset[Scope]]] = {
    Role.ADMIN: frozenset(Scope),
    Role.MONITOR: frozenset(
        {
            Scope.MAIL_SUBMIT,
            Scope.LOG_READ,
            Scope.QUEUE_WRITE,
            Scope.USERS_READ,
            Scope.SETTINGS_READ,
            Scope.AUDIT_READ,
            Scope.STATUS_READ,
            Scope.ADDRESSES_CLAIM,
            Scope.SESSIONS_READ,
            Scope.SESSIONS_WRITE,
        }
    ),
    Role.REP: frozenset(
        {
            Scope.MAIL_SUBMIT,
            Scope.LOG_READ,
            Scope.RAW_READ,
            Scope.QUEUE_WRITE,
            Scope.USERS_READ,
            Scope.AUDIT_READ,
            Scope.REMINDERS_READ,
            Scope.REMINDERS_WRITE,
            Scope.ADDRESSES_CLAIM,
            Scope.SESSIONS_READ,
            Scope.SESSIONS_WRITE,
        }
    ),
}
"""What a token of a user may have at most; a rep's, over the rep's own things."""


def scopes_of(role: Role, *, monitor_sees_bodies: bool) -> frozenset[Scope]:
    """Return what a role may; a monitor reads whole mails where that is allowed."""
    found = OF_ROLE[role]
    if role is Role.MONITOR and monitor_sees_bodies:
        return found | {Scope.RAW_READ}
    return found


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and what they may.

    Attributes:
        name: The actor in the history, such as `api:crm`.
        scopes: What they may.
        user: Whom the token is bound to; None: nobody.
    """

    name: str
    scopes: frozenset[Scope]
    user: User | None = None

    @property
    def own_only(self) -> int | None:
        """The id of the user whose things alone they may see and change; None: all."""
        user = self.user
        return user.id if user is not None and user.role is Role.REP else None

    def sees_relay_address(self, user_id: int | None) -> bool:
        """Say whether they may know a relay address: its user may, and admins."""
        user = self.user
        return user is None or user.role is Role.ADMIN or user.id == user_id


def caller(
    token: APIToken, user: User | None, *, monitor_sees_bodies: bool = False
) -> Caller:
    """Return who asks with a token; `user` is the one that it is bound to."""
    scopes = known(token.scopes)
    if user is not None:
        scopes &= scopes_of(user.role, monitor_sees_bodies=monitor_sees_bodies)
    return Caller(f"api:{token.name}", scopes, user)


def at_shell(name: str) -> Caller:
    """Return who types a command: whoever may read the settings file may everything."""
    return Caller(name, frozenset(Scope))


def known(names: Iterable[str]) -> frozenset[Scope]:
    """Return the scopes of these names; what a newer relay has kept is passed over."""
    values = {scope.value for scope in Scope}
    return frozenset(Scope(name) for name in names if name in values)
