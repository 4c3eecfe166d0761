"""API tokens: who may make which, and what is shown of them; never the secret again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relay.admin.inputs import new_api_token
from relay.core.access import scopes_of
from relay.core.errors import NotAllowed, NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from relay.core.access import Caller
    from relay.core.directory import APIToken, User
    from relay.store import Store


def row(one: APIToken, emails: Mapping[int, str]) -> dict[str, Any]:
    """Return the stable names of a token."""
    return {
        "name": one.name,
        "user": None if one.user_id is None else emails.get(one.user_id),
        "added_at": one.added_at,
        "added_by": one.added_by,
        "used_at": one.used_at,
        "scopes": list(one.scopes),
        "expires_at": one.expires_at,
    }


async def tokens(store: Store) -> list[dict[str, Any]]:
    """Return all tokens, oldest first."""
    users = await store.directory.users(removed=True)
    emails = {user.id: user.email for user in users}
    return [row(one, emails) for one in await store.credentials.api_tokens()]


async def token(store: Store, name: str) -> dict[str, Any]:
    """Return a token by its name.

    Raises:
        NotFound: There is none.
    """
    for one in await tokens(store):
        if one["name"] == name:
            return one
    text = f"there is no token {name!r}; relay token list shows all"
    raise NotFound(text)


def within_role(
    user: User | None, scopes: Sequence[str], *, monitor_sees_bodies: bool
) -> None:
    """Refuse rights that the user's role does not have now.

    Raises:
        NotAllowed: Names them, and what the role may have.
    """
    if user is None:
        return
    allowed = scopes_of(user.role, monitor_sees_bodies=monitor_sees_bodies)
    if beyond := [scope for scope in scopes if scope not in allowed]:
        text = f"{user.email} is a {user.role}, whose token may not have "
        may = f"it may have: {', '.join(sorted(allowed))}"
        raise NotAllowed(text + ", ".join(beyond), may)


def within_own(who: Caller, scopes: Sequence[str]) -> None:
    """Refuse rights that who makes the token does not have.

    Raises:
        NotAllowed: Names them.
    """
    if beyond := [scope for scope in scopes if scope not in who.scopes]:
        text = f"a token without {', '.join(beyond)} can give it to no other"
        raise NotAllowed(text, "at a shell, relay token add may")


async def make(
    store: Store,
    name: str,
    user: User | None,
    scopes: Sequence[str],
    expires_at: datetime | None,
    actor: str,
    *,
    monitor_sees_bodies: bool,
) -> str:
    """Make a token and return its secret, which is known to nobody else.

    Args:
        store: The open store.
        name: Names it for people.
        user: For whom alone it is; None: nobody.
        scopes: What it may.
        expires_at: From when it is refused; None: never.
        actor: Who makes it.
        monitor_sees_bodies: As the settings file says; the store may say otherwise.

    Raises:
        NotAllowed: The user's role does not have such rights.
        Conflict: There is a token of this name.
    """
    kept = await store.directory.setting("web.monitor_sees_bodies")
    allowed = monitor_sees_bodies if kept is None else bool(kept)
    within_role(user, scopes, monitor_sees_bodies=allowed)
    secret = new_api_token()
    await store.credentials.add_api_token(
        name,
        secret.digest,
        None if user is None else user.id,
        actor,
        scopes=tuple(scopes),
        expires_at=expires_at,
    )
    return secret.text
