"""Users, their relay addresses, accepted addresses and exclusions, as values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo, available_timezones

from relay.admin.concerns import concerns
from relay.admin.inputs import (
    email_address,
    person_name,
    relay_address,
    salesforce_user_id,
)
from relay.console.sign_in import way_in_row, ways_in
from relay.core.directory import Role, SkipKind
from relay.core.errors import (
    Conflict,
    InvalidInput,
    NeedsConfirmation,
    NotAllowed,
    NotFound,
)
from relay.core.translate import LANGUAGES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from relay.admin.concerns import Concern
    from relay.config import Settings
    from relay.core.access import Caller
    from relay.core.accounts import Invitation
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
    way_in: Invitation | None = None

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
            "language": one.language,
            "time_zone": one.time_zone,
            "removed_at": one.removed_at,
            "sign_in": way_in_row(self.way_in)["state"],
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
    last, ways = await store.log.last_mails(), await ways_in(store)
    views = [view(settings, one, last.get(one.id), ways.get(one.id)) for one in found]
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


def fits(
    one: UserView, *, text: str = "", role: str = "", state: str = "", way_in: str = ""
) -> bool:
    """Say whether a user is one of those who are looked for; what is empty fits all.

    Args:
        one: The user.
        text: Part of the name or the address.
        role: The role.
        state: `active`, `disabled`, `not activated` or `removed`.
        way_in: How far they are on the way into the console (`WayIn`).
    """
    user, text = one.user, text.casefold()
    return (
        (not text or text in user.name.casefold() or text in user.email.casefold())
        and role in {"", user.role.value}
        and state in {"", user.state}
        and way_in in {"", way_in_row(one.way_in)["state"]}
    )


def view(
    settings: Settings,
    user: User,
    last: LastMails | None = None,
    way_in: Invitation | None = None,
) -> UserView:
    """Return a user as a value for people."""
    return UserView(user, relay_address(settings.smtp.domains, user), last, way_in)


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
    ways = await ways_in(store, user.id)
    return view(settings, user, last.get(user.id), ways.get(user.id))


# ------------------------------------------------------------------ who may see whom


def not_yours() -> NotAllowed:
    """Return the refusal of a rep who asks for what is another's."""
    hint = "a token of a rep is for the rep's own things"
    return NotAllowed("this is another user's", hint, word="not_yours")


def own(who: Caller, user: User) -> None:
    """Refuse a rep who names another user.

    Raises:
        NotAllowed: It is another user; the same for one that there is not.
    """
    if who.own_only not in {None, user.id}:
        raise not_yours()


async def find_for(
    store: Store, settings: Settings, who: Caller, ident: str
) -> UserView:
    """Return a user whom the caller may see; see `find`.

    Raises:
        NotFound: There is none.
        NotAllowed: A rep asks for another, or for one that there is not.
    """
    try:
        found = await find(store, settings, ident)
    except NotFound:
        if who.own_only is not None:
            raise not_yours() from None
        raise
    own(who, found.user)
    return found


def row_for(who: Caller, found: UserView) -> dict[str, Any]:
    """Return a user as the caller may know them."""
    shown = found.as_json()
    if not who.sees_relay_address(found.user.id):
        shown["relay_address"] = None
    return shown


def silent_days(view: UserView, now: datetime) -> int | None:
    """Return for how many whole days nothing was logged for a user; None: never was.

    Counted from the last mail that was logged, else from when the user was activated.
    """
    logged = view.last.logged_at if view.last else None
    since = logged or view.user.activated_at
    return None if since is None else max(0, (now - since).days)


def what_ends(view: UserView) -> list[str]:
    """Return in sentences what removing a user ends at once, and what stays."""
    name = view.user.name
    return [
        f"no relay address of {name} takes mail any more",
        "accepted addresses, app passwords and API tokens of the user end",
        "mail that was accepted is still logged, and stays in the mail log",
        "taken back, the newest relay address and accepted addresses are there again",
    ]


def not_removed(found: UserView) -> None:
    """Pass a user who is there.

    Raises:
        NotFound: The user was removed.
    """
    if found.user.removed_at is not None:
        text = f"{found.user.email} is removed"
        raise NotFound(text)


# ------------------------------------------------------------------ editing users


async def against(
    store: Store, settings: Settings, key: str, user_id: int | None
) -> list[Concern]:
    """Return what speaks against letting an address send for a user.

    Nothing, where it may already. `user_id` is None for a user who is to be added.
    """
    directory = settings.directory(await store.directory.load())
    if user_id is not None and key in directory.accepted.get(user_id, ()):
        return []
    return concerns(key, directory, user_id)


async def need_confirmation(
    store: Store, settings: Settings, key: str, user_id: int | None, *, confirmed: bool
) -> None:
    """Refuse an address against which something speaks, unless it is meant so.

    Raises:
        NeedsConfirmation: Something speaks against it.
    """
    found = await against(store, settings, key, user_id)
    if found and not confirmed:
        raise NeedsConfirmation(
            [one.text for one in found], [one.word for one in found]
        )


async def add_user(  # noqa: PLR0913 - what is entered about a user
    store: Store,
    settings: Settings,
    actor: str,
    *,
    name: str,
    email: str,
    role: str = Role.REP.value,
    salesforce_id: str | None = None,
    activate: bool = True,
    confirmed: bool = False,
) -> User:
    """Add a user as entered; their own address may send at once.

    Raises:
        InvalidInput: A value does not fit.
        NeedsConfirmation: Something speaks against the address.
        Conflict: There is a user with this address.
    """
    name, email = person_name(name), email_address(email)
    owner = salesforce_user_id(salesforce_id) if salesforce_id else None
    await need_confirmation(store, settings, email, None, confirmed=confirmed)
    return await store.directory.add_user(
        name, email, Role(role), owner, actor, activate=activate
    )


_NEVER_NULL: Final = ("name", "email", "role", "active")


def read_changes(sent: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is to change of a user, checked, in the order of the changes.

    Args:
        sent: By the names of `User`: `name`, `email`, `salesforce_id`, `role`,
            `active`, `notify`, `language`, `time_zone`; what is left out stays.

    Raises:
        InvalidInput: A value does not fit, or nothing is to change.
    """
    for name in _NEVER_NULL:
        if name in sent and sent[name] is None:
            raise InvalidInput(f"{name} is null", "leave out what is to stay")
    found: dict[str, Any] = {}
    if "name" in sent:
        found["name"] = person_name(str(sent["name"]))
    if "email" in sent:
        found["email"] = email_address(str(sent["email"]))
    if "salesforce_id" in sent:
        owner = sent["salesforce_id"]
        found["salesforce_id"] = salesforce_user_id(owner) if owner else None
    found |= {name: sent[name] for name in ("role", "active") if name in sent}
    if "notify" in sent:
        found["notify"] = sent["notify"]
    if "time_zone" in sent:
        found["time_zone"] = time_zone(sent["time_zone"])
    if "language" in sent:
        found["language"] = language(sent["language"])
    if not found:
        raise InvalidInput("nothing is to change", "send what is to change")
    return found


def language(code: str | None) -> str | None:
    """Return the code of a language; None, or an empty text, for the common one.

    Raises:
        InvalidInput: The relay does not write in it.
    """
    if code and code not in LANGUAGES:
        known = ", ".join(LANGUAGES)
        raise InvalidInput(f"{code!r} is no language of the relay", f"one of {known}")
    return code or None


def time_zone(text: str | None) -> str | None:
    """Return the name of a time zone; None: that of the Salesforce user.

    Raises:
        InvalidInput: It is none.
    """
    name = (text or "").strip()
    if not name:
        return None
    if name not in available_timezones():
        hint = "write a name such as Europe/Madrid or America/Chicago"
        raise InvalidInput(f"{name!r} is no time zone", hint)
    return ZoneInfo(name).key


async def rotate(
    store: Store, settings: Settings, user_id: int, actor: str, *, at_once: bool
) -> User:
    """Give a user a new relay address; the old one works for a grace time.

    Args:
        store: The open store.
        settings: They have the grace time, `user.rotation_grace_days`.
        user_id: Whose.
        actor: Who asks for it.
        at_once: End every old address now, for example after a leak.

    Raises:
        NotFound: There is no such user.
    """
    days = 0 if at_once else settings.user.rotation_grace_days
    return await store.directory.rotate_address(user_id, timedelta(days=days), actor)


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


async def accept(
    store: Store,
    settings: Settings,
    user_id: int,
    key: str,
    actor: str,
    *,
    delegate: str = "",
    confirmed: bool = False,
) -> bool:
    """Let an address, or `*@domain`, send for a user; False: it may already.

    Raises:
        NeedsConfirmation: Something speaks against it.
        NotFound: There is no such user.
    """
    await need_confirmation(store, settings, key, user_id, confirmed=confirmed)
    return await store.directory.add_address(user_id, key, actor, delegate=delegate)


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


async def exclude(
    store: Store, pattern: str, user: User | None, skip: str, actor: str
) -> None:
    """Leave an address or `*@domain` out, for a user or for everybody.

    Raises:
        Conflict: It is left out already, in whichever way.
    """
    email = user.email if user else None
    for one in await exclusions(store):
        if one["pattern"] == pattern and one["user"] == email:
            text = f"{pattern} is left out for {email or 'everybody'} already"
            raise Conflict(text)
    user_id = user.id if user else None
    await store.directory.add_exclusion(pattern, user_id, SkipKind(skip), actor)
