"""The directory: who logs, from which addresses, and what is left out.

All that an admin edits, as frozen values.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, field, replace
from enum import StrEnum
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from relay.core.addresses import fold_ascii
from relay.core.ids import unfolded_id
from relay.core.mailboxes import NO_RULES, AddressRules, entry_for, senders
from relay.core.translate import SOURCE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from relay.core.model import Json
    from relay.core.unmatched import Alias


class Role(StrEnum):
    """What a person may do in the relay."""

    REP = "rep"
    ADMIN = "admin"
    MONITOR = "monitor"


@dataclass(frozen=True, slots=True)
class OldToken:
    """The local part of a relay address from before a rotation, and when it ends."""

    token: str
    until: datetime


@dataclass(frozen=True, slots=True)
class User:
    """A person who logs.

    `relay_token` is the local part of the current relay address; `old_tokens` still
    work for a grace time after a rotation, oldest first. `active` says whether the
    address accepts mail; a user who is not active and has no `activated_at` was never
    activated, any other has been disabled. A user who was removed is not active and has
    no relay address; what stays is the owner of the messages.
    """

    id: int
    name: str
    email: str
    role: Role
    active: bool
    salesforce_id: str | None
    relay_token: str
    time_zone: str | None = None
    old_tokens: tuple[OldToken, ...] = ()
    removed_at: datetime | None = None
    activated_at: datetime | None = None
    notify: str | None = None
    """Which notices the user wants; None: as `notices.level` says."""
    language: str | None = None
    """In which language the relay writes to the user; None: as `user.language` says."""
    log_by: str | None = None
    """`api` or `bcc`, where the user may choose; None: has not chosen."""
    salesforce_address: str | None = field(default=None, repr=False)
    """The user's own address of Email to Salesforce; secret, as a relay address is."""

    @property
    def state(self) -> str:
        """Return the word for people: active, disabled, removed, or not activated."""
        if self.active:
            return "active"
        if self.removed_at:
            return "removed"
        return "disabled" if self.activated_at else "not activated"


class Source(StrEnum):
    """How an accepted address came onto a list."""

    OWN = "own"
    """The user's own address."""
    ADMIN = "admin"
    SALESFORCE = "salesforce"
    """`User.Email`: it goes when that changes."""
    CLAIM = "claim"
    """The user proved to read its mail."""


@dataclass(frozen=True, slots=True)
class AcceptedAddress:
    """An address, or `*@domain`, that may send for a user; `address` is a key.

    An older relay may have kept one that is not `confirmed` in the spelling of another
    owner's domain; `relay check` names it until an admin adds it again or removes it.
    One that is not `in_force` may not send until then: mail came in both spellings.
    `delegate` names somebody else who sends for the user; empty: it is the user.
    """

    user_id: int
    address: str
    added_at: datetime
    added_by: str
    confirmed: bool = True
    in_force: bool = True
    source: Source = Source.ADMIN
    delegate: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """An address that a user has yet to prove; `hash` is that of the mailed code."""

    id: int
    user_id: int
    address: str
    hash: str = field(repr=False)
    expires_at: datetime
    attempts_left: int


@dataclass(frozen=True, slots=True)
class AppPassword:
    """A password with which a mail program of a user logs in to hand mail over.

    `hash` is from `core.passwords`. `used_at` is its last use, to the hour.
    """

    user_id: int
    name: str
    hash: str = field(repr=False)
    added_at: datetime
    added_by: str
    used_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class APIToken:
    """A token with which a program uses the API; `core.access` says what it may.

    With `user_id` it is for that user alone. `used_at` is its last use, to the hour.
    `scopes` are names of `Scope`; from `expires_at` on it is refused (None: never).
    """

    name: str
    user_id: int | None
    added_at: datetime
    added_by: str
    used_at: datetime | None = None
    scopes: tuple[str, ...] = ("mail:submit",)
    expires_at: datetime | None = None


class SkipKind(StrEnum):
    """What an exclusion does."""

    ADDRESS = "address"
    """The address is not looked up; the rest of the mail is logged."""
    MAIL = "mail"
    """A mail in which the address takes part is not logged at all."""


@dataclass(frozen=True, slots=True)
class Exclusion:
    """An address or `*@domain` to leave out, org-wide (`user_id` None) or of a user.

    `confirmed` is that of an `AcceptedAddress`.
    """

    pattern: str
    user_id: int | None
    skip: SkipKind
    confirmed: bool = True


ORG_SWITCH: Final = "active"
"""Key of the setting by which an admin switches logging on and off for everybody."""


def token_of(local: str) -> str:
    """Return what stands before the plus of a relay address, in small letters."""
    return fold_ascii(local).partition("+")[0]


def record_in(rcpt: str) -> str:
    """Return the record id that a relay address names behind its plus, or nothing.

    Args:
        rcpt: The address as the peer gave it, in any case.
    """
    _, plus, tail = rcpt.rpartition("@")[0].partition("+")
    return (unfolded_id(tail) or "") if plus else ""


@dataclass(frozen=True, slots=True)
class RelayAddress:
    """A relay address of a user, of today or of before, and how it was used.

    Counts are gathered in memory and written every few seconds: what a killed process
    had counted since is lost.

    Attributes:
        token: The local part.
        created_at: Since when it is there.
        until: When it ends, or ended; None: it is the current one.
        ended: It takes no mail any more.
        accepted: Mails accepted for it.
        refused: Mails and recipients refused for it.
        accepted_at: When the last mail was accepted.
        refused_at: When the last one was refused.
    """

    token: str
    created_at: datetime
    until: datetime | None
    ended: bool
    accepted: int
    refused: int
    accepted_at: datetime | None
    refused_at: datetime | None


@dataclass(frozen=True, slots=True)
class AddressUse:
    """What one process has counted of a relay address since it last wrote it."""

    accepted: int = 0
    refused: int = 0
    accepted_at: datetime | None = None
    refused_at: datetime | None = None

    def plus(self, later: AddressUse) -> AddressUse:
        """Return both together."""
        return AddressUse(
            self.accepted + later.accepted,
            self.refused + later.refused,
            later.accepted_at or self.accepted_at,
            later.refused_at or self.refused_at,
        )


class _Tokens:
    """Finds the owner of a relay address in a time that says nothing about others.

    A look-up in a table compares bytes, and the time of that may tell how many agree.
    So the table is keyed by a digest with a secret of this process, of which a peer can
    choose nothing, and what it finds is compared in constant time.
    """

    __slots__ = ("_key", "_owners")

    def __init__(self, owners: Mapping[str, int]) -> None:
        self._key = secrets.token_bytes(16)
        self._owners = {self._digest(t): (t, owner) for t, owner in owners.items()}

    def owner(self, token: str) -> int | None:
        known, owner = self._owners.get(self._digest(token), ("", 0))
        same = hmac.compare_digest(_bytes(known), _bytes(token))
        return owner if same and known else None

    def _digest(self, token: str) -> bytes:
        return blake2b(_bytes(token), key=self._key, digest_size=16).digest()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


@dataclass(frozen=True, slots=True)
class Directory:
    """Everybody and everything an admin edits, as of one moment (`revision`).

    `users` holds removed ones too: mail of theirs that was accepted is still logged.
    `ended_tokens` are relay addresses that take no mail any more, with their owners.
    `delegates` are the names of those who send for a user, by accepted address.
    """

    revision: int
    users: Mapping[int, User]
    by_token: Mapping[str, int]
    accepted: Mapping[int, frozenset[str]]
    exclusions: tuple[Exclusion, ...]
    settings: Mapping[str, Json] = field(default_factory=dict)
    app_passwords: Mapping[int, tuple[AppPassword, ...]] = field(default_factory=dict)
    ended_tokens: Mapping[str, int] = field(default_factory=dict)
    delegates: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    address_rules: AddressRules = NO_RULES
    aliases: Mapping[str, Alias] = field(default_factory=dict)
    """Remembered addresses of records, by address key."""
    language: str = SOURCE
    """The language of who has chosen none, where the store has no `user.language`."""
    _live: _Tokens = field(init=False, repr=False, compare=False)
    _ended: _Tokens = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index the relay addresses."""
        object.__setattr__(self, "_live", _Tokens(self.by_token))
        object.__setattr__(self, "_ended", _Tokens(self.ended_tokens))

    def read_by(self, rules: AddressRules) -> Directory:
        """Return this directory with other rules for the spellings of addresses."""
        if rules == self.address_rules:
            return self
        lists = {who: senders(keys, rules) for who, keys in self.accepted.items()}
        return replace(self, accepted=lists, address_rules=rules)

    def language_of(self, user_id: int | None) -> str:
        """Return the language in which the relay writes to a user, or to nobody known.

        A peer who is no user reads English.
        """
        user = self.users.get(user_id or 0)
        if user is None:
            return SOURCE
        common = str(self.settings.get("user.language") or self.language)
        return user.language or common

    def delegate_of(self, user_id: int, key: str) -> str:
        """Return who sends for a user from an address; empty: the user does."""
        names = self.delegates.get(user_id)
        if not names:
            return ""
        return names.get(entry_for(self.accepted.get(user_id, ()), key), "")

    def owner_of(self, token: str) -> int | None:
        """Return whose relay address takes mail under this local part, small letters.

        Raises nothing for whatever a peer wrote.
        """
        return self._live.owner(token)

    def former_owner_of(self, token: str) -> int | None:
        """Return whose relay address this was that takes no mail any more."""
        return self._ended.owner(token)

    @property
    def logging_is_on(self) -> bool:
        """Say whether relay addresses accept mail at all (R14).

        Adding a user is an admin's act, and an older relay had no switch: so it is on
        until an admin switches it off.
        """
        return self.settings.get(ORG_SWITCH) is not False
