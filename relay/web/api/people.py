"""Routes of users, relay addresses, accepted addresses and exclusions."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import JSONResponse, Response

from relay.admin.concerns import concerns
from relay.admin.inputs import (
    address_pattern,
    email_address,
    known_pattern,
    person_name,
    salesforce_user_id,
    silence,
)
from relay.console import people
from relay.core.access import Caller, Scope
from relay.core.directory import Role, SkipKind
from relay.core.errors import Conflict, InvalidInput, NotFound
from relay.web.api import models
from relay.web.api.problems import Problem
from relay.web.api.wire import (
    USUAL,
    Context,
    Cursor,
    IfMatch,
    Limit,
    answer,
    in_step,
    matches,
    needs,
    not_yours,
    own,
    page_of,
    tagged,
)

if TYPE_CHECKING:
    from relay.console.people import UserView

READ = needs(Scope.USERS_READ)
WRITE = needs(Scope.USERS_WRITE)
OfUser = Annotated[str | None, Query(max_length=300, description="Only for this user.")]


def row(who: Caller, found: UserView) -> dict[str, Any]:
    """Return a user as the caller may know them."""
    shown = found.as_json()
    if not who.sees_relay_address(found.user.id):
        shown["relay_address"] = None
    return shown


async def find(context: Context, who: Caller, ident: str) -> UserView:
    """Return a user whom the caller may see.

    Raises:
        Problem: There is none, or a rep asks for another.
    """
    try:
        found = await people.find(context.store, context.settings, ident)
    except NotFound:
        if who.own_only is not None:
            raise not_yours() from None
        raise
    own(who, found.user)
    return found


async def _refuse_concerns(
    context: Context, key: str, user_id: int | None, *, confirm: bool
) -> None:
    """Refuse an address against which something speaks, unless it is meant so."""
    directory = context.settings.directory(await context.store.directory.load())
    if user_id is not None and key in directory.accepted.get(user_id, ()):
        return
    against = concerns(key, directory, user_id)
    if against and not confirm:
        detail = "; ".join(one.text for one in against)
        words = [one.word for one in against]
        hint = 'send "confirm": true if it is meant so'
        raise Problem(409, "needs_confirmation", detail, hint, concerns=words)


def users_router(context: Context) -> APIRouter:
    """Return the routes of users and their relay addresses."""
    router = APIRouter(tags=["users"])
    store, settings = context.store, context.settings

    @router.get("/users", response_model=models.Users, summary="List users")
    async def list_users(
        who: Annotated[Caller, READ],
        silent: Annotated[
            str | None,
            Query(description="Active users for whom nothing was logged for: 14d."),
        ] = None,
        cursor: Cursor = None,
        limit: Limit = USUAL,
        *,
        removed: Annotated[
            bool, Query(description="Also those who were removed.")
        ] = False,
    ) -> JSONResponse:
        span = silence(silent) if silent else None
        found = await people.users(
            store, settings, removed=removed, silent=span, now=context.clock.now()
        )
        rows = [row(who, one) for one in found if who.own_only in {None, one.user.id}]
        asked = ["users", silent, removed]
        return answer(
            page_of(rows, lambda one: f"{one['id']:012}", cursor, limit, asked)
        )

    @router.post(
        "/users",
        response_model=models.User,
        status_code=201,
        summary="Add a user",
    )
    async def add_user(
        new: models.NewUser, who: Annotated[Caller, WRITE]
    ) -> JSONResponse:
        name, email = person_name(new.name), email_address(new.email)
        owner = salesforce_user_id(new.salesforce_id) if new.salesforce_id else None
        await _refuse_concerns(context, email, None, confirm=new.confirm)
        added = await store.directory.add_user(
            name, email, Role(new.role), owner, who.name, activate=new.activate
        )
        found = await find(context, who, str(added.id))
        place = f"/api/v1/users/{added.id}"
        return tagged(row(who, found), 201, Location=place)

    @router.get("/users/{user}", response_model=models.User, summary="Show a user")
    async def show_user(user: str, who: Annotated[Caller, READ]) -> JSONResponse:
        return tagged(row(who, await find(context, who, user)))

    @router.patch("/users/{user}", response_model=models.User, summary="Change a user")
    async def change_user(
        user: str,
        change: models.UserChange,
        who: Annotated[Caller, WRITE],
        if_match: IfMatch = None,
    ) -> JSONResponse:
        async def edit() -> int:
            found = await find(context, who, user)
            _not_removed(found)
            matches(if_match, row(who, found))
            changes = _changes(change)
            if email := changes.get("email"):
                await _refuse_concerns(
                    context, email, found.user.id, confirm=change.confirm
                )
            await store.directory.update_user(
                found.user.id, changes, who.name, keep_old=change.keep_old
            )
            return found.user.id

        number = await in_step(context, edit)
        return tagged(row(who, await find(context, who, str(number))))

    @router.delete("/users/{user}", status_code=204, summary="Remove a user")
    async def remove_user(
        user: str, who: Annotated[Caller, WRITE], if_match: IfMatch = None
    ) -> Response:
        async def edit() -> None:
            found = await find(context, who, user)
            _not_removed(found)
            matches(if_match, row(who, found))
            await store.directory.remove_user(found.user.id, who.name)

        await in_step(context, edit)
        return Response(status_code=204)

    @router.get(
        "/users/{user}/relay-addresses",
        response_model=models.RelayAddresses,
        summary="List the relay addresses of a user",
    )
    async def relay_addresses(user: str, who: Annotated[Caller, READ]) -> JSONResponse:
        found = await find(context, who, user)
        if not who.sees_relay_address(found.user.id):
            hint = "a relay address is for its user and for admins"
            raise Problem(403, "not_allowed", "a monitor may not know it", hint)
        rows = await store.directory.relay_addresses(found.user.id)
        domains = settings.smtp.domains
        return answer({"items": [people.relay_row(domains, one) for one in rows]})

    @router.post(
        "/users/{user}/relay-addresses",
        response_model=models.User,
        status_code=201,
        summary="Give a user a new relay address",
    )
    async def rotate(
        user: str, rotation: models.Rotation, who: Annotated[Caller, WRITE]
    ) -> JSONResponse:
        found = await find(context, who, user)
        _not_removed(found)
        days = 0 if rotation.at_once else settings.user.rotation_grace_days
        await store.directory.rotate_address(
            found.user.id, timedelta(days=days), who.name
        )
        return tagged(row(who, await find(context, who, str(found.user.id))), 201)

    return router


def _not_removed(found: UserView) -> None:
    if found.user.removed_at is not None:
        text = f"{found.user.email} is removed"
        raise NotFound(text)


def _changes(change: models.UserChange) -> dict[str, Any]:
    """Return what was sent, checked, in the order in which it is changed."""
    sent = change.model_fields_set - {"keep_old", "confirm"}
    nothing = [name for name in ("name", "email", "role", "active") if name in sent]
    for name in nothing:
        if getattr(change, name) is None:
            raise InvalidInput(f"{name} is null", "leave out what is to stay")
    found: dict[str, Any] = {}
    if "name" in sent:
        found["name"] = person_name(str(change.name))
    if "email" in sent:
        found["email"] = email_address(str(change.email))
    if "salesforce_id" in sent:
        owner = change.salesforce_id
        found["salesforce_id"] = salesforce_user_id(owner) if owner else None
    found |= {
        name: getattr(change, name) for name in ("role", "active") if name in sent
    }
    if "notify" in sent:
        found["notify"] = change.notify
    if not found:
        raise InvalidInput("nothing is to change", "send what is to change")
    return found


# ------------------------------------------------------------------ addresses


def addresses_router(context: Context) -> APIRouter:
    """Return the routes of accepted addresses."""
    router = APIRouter(tags=["accepted addresses"])
    store = context.store

    async def accepted(user_id: int, key: str) -> dict[str, Any]:
        for one in await people.accepted(store, user_id):
            if one["address"] == key:
                return one
        text = f"the user has no accepted address {key!r}"
        raise NotFound(text)

    @router.get(
        "/accepted-addresses",
        response_model=models.AcceptedAddresses,
        summary="List the accepted addresses of everybody",
    )
    async def list_all(
        who: Annotated[Caller, READ], cursor: Cursor = None, limit: Limit = USUAL
    ) -> JSONResponse:
        rows = await people.accepted(store, who.own_only)
        return answer(page_of(rows, _order, cursor, limit, ["accepted", who.own_only]))

    @router.get(
        "/users/{user}/accepted-addresses",
        response_model=models.AcceptedAddresses,
        summary="List the accepted addresses of a user",
    )
    async def list_own(
        user: str,
        who: Annotated[Caller, READ],
        cursor: Cursor = None,
        limit: Limit = USUAL,
    ) -> JSONResponse:
        found = await find(context, who, user)
        rows = await people.accepted(store, found.user.id)
        return answer(page_of(rows, _order, cursor, limit, ["of", found.user.id]))

    @router.post(
        "/users/{user}/accepted-addresses",
        response_model=models.AcceptedAddress,
        status_code=201,
        summary="Let an address send for a user",
    )
    async def add(
        user: str, new: models.NewAcceptedAddress, who: Annotated[Caller, WRITE]
    ) -> JSONResponse:
        found = await find(context, who, user)
        _not_removed(found)
        key = address_pattern(new.address)
        delegate = person_name(new.delegate) if new.delegate else ""
        await _refuse_concerns(context, key, found.user.id, confirm=new.confirm)
        if not await store.directory.add_address(
            found.user.id, key, who.name, delegate=delegate
        ):
            text = f"{key} may send for {found.user.email} already"
            raise Conflict(text)
        place = f"/api/v1/users/{found.user.id}/accepted-addresses/{key}"
        return tagged(await accepted(found.user.id, key), 201, Location=place)

    @router.get(
        "/users/{user}/accepted-addresses/{address}",
        response_model=models.AcceptedAddress,
        summary="Show an accepted address",
    )
    async def show(
        user: str, address: str, who: Annotated[Caller, READ]
    ) -> JSONResponse:
        found = await find(context, who, user)
        return tagged(await accepted(found.user.id, known_pattern(address)))

    @router.delete(
        "/users/{user}/accepted-addresses/{address}",
        status_code=204,
        summary="Refuse mail from an address from now on",
    )
    async def remove(
        user: str,
        address: str,
        who: Annotated[Caller, WRITE],
        if_match: IfMatch = None,
    ) -> Response:
        async def edit() -> None:
            found = await find(context, who, user)
            key = known_pattern(address)
            matches(if_match, await accepted(found.user.id, key))
            await store.directory.remove_address(found.user.id, key, who.name)

        await in_step(context, edit)
        return Response(status_code=204)

    return router


def _order(one: dict[str, Any]) -> str:
    return f"{one['user']}\n{one['address']}"


# ------------------------------------------------------------------ exclusions


def exclusions_router(context: Context) -> APIRouter:  # noqa: C901 - a route each
    """Return the routes of exclusions."""
    router = APIRouter(tags=["exclusions"])
    store = context.store

    async def owner(who: Caller, user: str | None) -> tuple[int | None, str | None]:
        if user is None:
            return None, None
        found = await find(context, who, user)
        return found.user.id, found.user.email

    async def one_of(pattern: str, email: str | None) -> dict[str, Any]:
        for one in await people.exclusions(store):
            if one["pattern"] == pattern and one["user"] == email:
                return one
        text = f"there is no exclusion {pattern!r} for {email or 'everybody'}"
        raise NotFound(text)

    @router.get(
        "/exclusions", response_model=models.Exclusions, summary="List exclusions"
    )
    async def list_exclusions(
        who: Annotated[Caller, READ], cursor: Cursor = None, limit: Limit = USUAL
    ) -> JSONResponse:
        rows = await people.exclusions(store, who.own_only)
        asked = ["exclusions", who.own_only]
        return answer(
            page_of(
                rows,
                lambda one: f"{one['pattern']}\n{one['user'] or ''}",
                cursor,
                limit,
                asked,
            )
        )

    @router.post(
        "/exclusions",
        response_model=models.Exclusion,
        status_code=201,
        summary="Leave an address out",
    )
    async def add(
        new: models.NewExclusion, who: Annotated[Caller, WRITE]
    ) -> JSONResponse:
        pattern = address_pattern(new.pattern)
        user_id, email = await owner(who, new.user)
        for one in await people.exclusions(store):
            if one["pattern"] == pattern and one["user"] == email:
                text = f"{pattern} is left out for {email or 'everybody'} already"
                raise Conflict(text)
        await store.directory.add_exclusion(
            pattern, user_id, SkipKind(new.skip), who.name
        )
        place = f"/api/v1/exclusions/{pattern}"
        place += f"?user={user_id}" if user_id else ""
        return tagged(await one_of(pattern, email), 201, Location=place)

    @router.get(
        "/exclusions/{pattern}",
        response_model=models.Exclusion,
        summary="Show an exclusion",
    )
    async def show(
        pattern: str, who: Annotated[Caller, READ], user: OfUser = None
    ) -> JSONResponse:
        _, email = await owner(who, user)
        return tagged(await one_of(known_pattern(pattern), email))

    @router.delete(
        "/exclusions/{pattern}", status_code=204, summary="Remove an exclusion"
    )
    async def remove(
        pattern: str,
        who: Annotated[Caller, WRITE],
        user: OfUser = None,
        if_match: IfMatch = None,
    ) -> Response:
        async def edit() -> None:
            user_id, email = await owner(who, user)
            key = known_pattern(pattern)
            matches(if_match, await one_of(key, email))
            await store.directory.remove_exclusion(key, user_id, who.name)

        await in_step(context, edit)
        return Response(status_code=204)

    return router
