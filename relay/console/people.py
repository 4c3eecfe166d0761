"""Users, their relay addresses, accepted addresses and exclusions, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from relay.admin.inputs import relay_address
from relay.core.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from relay.config import Settings
    from relay.core.directory import AcceptedAddress, Exclusion, RelayAddress, User
    from relay.core.model import LastMails
    from relay.store import Store


@dataclass(frozen=True, slots=True)
class UserView:
    """A user with what is to be known at a glance.

    `relay_address` is None without `smtp.domains`, of a removed user, and where who
    asks may not know it.
    """

    user: User
    relay_address: str | None
    last: LastMails | None

    def as_json(self) -> dict[str, Any]:
        """Return the stable names."""
        one, last = self.user, self.last
        return {
            "id": one.id,
            "name": one.name,
            "email": one.email,
            "role": one.role.value,
            "active": one.active,
            "salesforce_id": one.salesforce_id,
            "relay_address": self.relay_address,
            "state": one.state,
            "activated_at": one.activated_at,
            "notify": one.notify,
            "time_zone": one.time_zone,
            "removed_at": one.removed_at,
            "last_received_at": last.received_at if last else None,
            "last_logged_at": last.logged_at if last else None,
        }


async def users(
    store: Store,
    settings: Settings,
    *,
    removed: bool = False,
    silent: timedelta | None = None,
    now: datetime | None = None,
) -> list[UserView]:
    """Return users by name.

    Args:
        store: The open store.
        settings: Knows the domain of relay addresses.
        removed: Also those who were removed.
        silent: Only active users for whom nothing was logged for so long; who was
            activated later is not silent yet.
        now: The time, for `silent`.
    """
    found = await store.directory.users(removed=removed)
    last = await store.log.last_mails()
    views = [view(settings, one, last.get(one.id)) for one in found]
    if silent is None or now is None:
        return views
    since = now - silent
    return [one for one in views if _is_silent(one, since)]


def _is_silent(one: UserView, since: datetime) -> bool:
    logged = one.last.logged_at if one.last else None
    began = one.user.activated_at
    return (
        one.user.active
        and (began is None or began <= since)
        and (logged is None or logged < since)
    )


def view(settings: Settings, user: User, last: LastMails | None = None) -> UserView:
    """Return a user as a value for people."""
    return UserView(user, relay_address(settings.smtp.domains, user), last)


async def find(store: Store, settings: Settings, ident: str) -> UserView:
    """Return the user with this number, e-mail address or name; removed ones too.

    Raises:
        NotFound: There is none, or several have the name.
    """
    if ident.isascii() and ident.isdigit():
        every = await store.directory.users(removed=True)
        user = next((one for one in every if one.id == int(ident)), None)
        if user is None:
            text = f"there is no user {ident}; `relay user list` shows all"
            raise NotFound(text)
    else:
        user = await store.directory.find_user(ident, removed=True)
    last = await store.log.last_mails()
    return view(settings, user, last.get(user.id))


# ------------------------------------------------------------------ addresses


def accepted_row(one: AcceptedAddress, emails: dict[int, str]) -> dict[str, Any]:
    """Return the stable names of an accepted address."""
    return {
        "user": emails.get(one.user_id, ""),
        "address": one.address,
        "added_at": one.added_at,
        "added_by": one.added_by,
        "confirmed": one.confirmed,
        "source": one.source.value,
        "delegate": one.delegate or None,
    }


async def accepted(store: Store, user_id: int | None = None) -> list[dict[str, Any]]:
    """Return the accepted addresses of a user, or of all."""
    emails = {one.id: one.email for one in await store.directory.users()}
    found = await store.directory.addresses(user_id)
    return [accepted_row(one, emails) for one in found]


def relay_row(domains: Sequence[str], one: RelayAddress) -> dict[str, Any]:
    """Return a relay address with its counts; they are some seconds old."""
    domain = domains[0] if domains else ""
    state = "ended" if one.ended else "old" if one.until else "current"
    return {
        "address": f"{one.token}@{domain}".rstrip("@"),
        "state": state,
        "created_at": one.created_at,
        "until": one.until,
        "accepted": one.accepted,
        "last_accepted_at": one.accepted_at,
        "refused": one.refused,
        "last_refused_at": one.refused_at,
    }


# ------------------------------------------------------------------ exclusions


def exclusion_row(one: Exclusion, emails: dict[int, str]) -> dict[str, Any]:
    """Return the stable names of an exclusion; `user` is None for everybody."""
    return {
        "pattern": one.pattern,
        "user": emails.get(one.user_id) if one.user_id else None,
        "skip": one.skip.value,
    }


async def exclusions(store: Store, user_id: int | None = None) -> list[dict[str, Any]]:
    """Return the exclusions; with a user, those that hold for this user."""
    everybody = await store.directory.users(removed=True)
    emails = {one.id: one.email for one in everybody}
    return [
        exclusion_row(one, emails)
        for one in await store.directory.exclusions()
        if user_id is None or one.user_id in {None, user_id}
    ]
