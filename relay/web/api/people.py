"""Routes of users, relay addresses, accepted addresses and exclusions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Query
from starlette.responses import JSONResponse, Response

from relay.admin.inputs import (
    address_pattern,
    known_pattern,
    person_name,
    silence,
)
from relay.console import people, sign_in
from relay.core.access import Caller, Scope
from relay.core.accounts import WayIn
from relay.core.directory import Role
from relay.core.errors import Conflict, NotFound
from relay.web.api import models
from relay.web.api.problems import Problem
from relay.web.api.wire import (
    MOST,
    USUAL,
    Context,
    Cursor,
    IfMatch,
    Limit,
    answer,
    in_step,
    latest_first,
    matches,
    needs,
    page_of,
    tagged,
)

if TYPE_CHECKING:
    from relay.console.people import UserView
    from relay.core.directory import User

READ = needs(Scope.USERS_READ)
WRITE = needs(Scope.USERS_WRITE)
OfUser = Annotated[str | None, Query(max_length=300, description="Only for this user.")]


async def find(context: Context, who: Caller, ident: str) -> UserView:
    """Return a user whom the caller may see.

    Raises:
        NotFound: There is none.
        NotAllowed: A rep asks for another.
    """
    return await people.find_for(context.store, context.settings, who, ident)


def may_invite(context: Context, who: Caller, *, asked: bool) -> None:
    """Pass who may mail links to new users, beside adding them, if that is asked for.

    Raises:
        Problem: They may not.
        Conflict: No mail can be sent.
    """
    if not asked:
        return
    if Scope.USERS_INVITE not in who.scopes:
        hint = "leave `invite` out, or use a token with users:invite"
        raise Problem(403, "not_allowed", "this token may not invite", hint)
    sign_in.need_mail(context.settings)


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
        text: Annotated[
            str, Query(max_length=300, description="Part of the name or address.")
        ] = "",
        role: Role | None = None,
        state: Literal["active", "disabled", "not activated", "removed"] | None = None,
        sign_in: Annotated[
            WayIn | None, Query(description="How far on the way into the console.")
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
        rows = [
            people.row_for(who, one)
            for one in found
            if who.own_only in {None, one.user.id}
            and people.fits(
                one,
                text=text,
                role=role or "",
                state=state or "",
                way_in=sign_in or "",
            )
        ]
        asked = ["users", silent, removed, text, role, state, sign_in]
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
        may_invite(context, who, asked=new.invite)
        added = await people.add_user(
            *(store, settings, who.name),
            name=new.name,
            email=new.email,
            role=new.role,
            salesforce_id=new.salesforce_id,
            activate=new.activate,
            confirmed=new.confirm,
        )
        if new.invite:
            await sign_in.invite(store, settings, added, who.name)
        found = await find(context, who, str(added.id))
        place = f"/api/v1/users/{added.id}"
        return tagged(people.row_for(who, found), 201, Location=place)

    @router.get("/users/{user}", response_model=models.User, summary="Show a user")
    async def show_user(user: str, who: Annotated[Caller, READ]) -> JSONResponse:
        return tagged(people.row_for(who, await find(context, who, user)))

    @router.patch("/users/{user}", response_model=models.User, summary="Change a user")
    async def change_user(
        user: str,
        change: models.UserChange,
        who: Annotated[Caller, WRITE],
        if_match: IfMatch = None,
    ) -> JSONResponse:
        async def edit() -> int:
            found = await find(context, who, user)
            people.not_removed(found)
            matches(if_match, people.row_for(who, found))
            changes = _changes(change)
            if email := changes.get("email"):
                await people.need_confirmation(
                    *(store, settings, email, found.user.id), confirmed=change.confirm
                )
            await store.directory.update_user(
                found.user.id, changes, who.name, keep_old=change.keep_old
            )
            return found.user.id

        number = await in_step(context, edit)
        return tagged(people.row_for(who, await find(context, who, str(number))))

    @router.delete("/users/{user}", status_code=204, summary="Remove a user")
    async def remove_user(
        user: str, who: Annotated[Caller, WRITE], if_match: IfMatch = None
    ) -> Response:
        async def edit() -> None:
            found = await find(context, who, user)
            people.not_removed(found)
            matches(if_match, people.row_for(who, found))
            await store.directory.remove_user(found.user.id, who.name)

        await in_step(context, edit)
        return Response(status_code=204)

    return router


def relay_addresses_router(context: Context) -> APIRouter:
    """Return the routes of relay addresses."""
    router = APIRouter(tags=["users"])
    store, settings = context.store, context.settings

    @router.get(
        "/users/{user}/relay-addresses",
        response_model=models.RelayAddresses,
        summary="List the relay addresses of a user",
    )
    async def relay_addresses(
        user: str,
        who: Annotated[Caller, READ],
        cursor: Cursor = None,
        limit: Limit = MOST,
    ) -> JSONResponse:
        found = await find(context, who, user)
        if not who.sees_relay_address(found.user.id):
            hint = "a relay address is for its user and for admins"
            raise Problem(403, "not_allowed", "a monitor may not know it", hint)
        rows = await store.directory.relay_addresses(found.user.id)
        shown = [people.relay_row(settings.smtp.domains, one) for one in rows]
        asked = ["relay addresses", found.user.id]
        return answer(page_of(shown, _newest, cursor, limit, asked))

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
        people.not_removed(found)
        await people.rotate(
            *(store, settings, found.user.id, who.name), at_once=rotation.at_once
        )
        return tagged(
            people.row_for(who, await find(context, who, str(found.user.id))), 201
        )

    return router


def _newest(one: dict[str, Any]) -> str:
    made = int(one["created_at"].timestamp() * 1_000_000)
    return f"{latest_first(made)} {one['address']}"


def _changes(change: models.UserChange) -> dict[str, Any]:
    """Return what was sent, checked."""
    sent = change.model_fields_set - {"keep_old", "confirm"}
    return people.read_changes({name: getattr(change, name) for name in sent})


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
        people.not_removed(found)
        key = address_pattern(new.address)
        delegate = person_name(new.delegate) if new.delegate else ""
        if not await people.accept(
            *(store, context.settings, found.user.id, key, who.name),
            delegate=delegate,
            confirmed=new.confirm,
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


def exclusions_router(context: Context) -> APIRouter:
    """Return the routes of exclusions."""
    router = APIRouter(tags=["exclusions"])
    store = context.store

    async def owner(who: Caller, user: str | None) -> User | None:
        return None if user is None else (await find(context, who, user)).user

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
        who: Annotated[Caller, READ],
        user: OfUser = None,
        cursor: Cursor = None,
        limit: Limit = USUAL,
    ) -> JSONResponse:
        email = _email(await owner(who, user))
        rows = [
            one
            for one in await people.exclusions(store, who.own_only)
            if email is None or one["user"] == email
        ]
        asked = ["exclusions", who.own_only, email]
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
        user = await owner(who, new.user)
        await people.exclude(store, pattern, user, new.skip, who.name)
        place = f"/api/v1/exclusions/{pattern}"
        place += f"?user={user.id}" if user else ""
        return tagged(await one_of(pattern, _email(user)), 201, Location=place)

    @router.get(
        "/exclusions/{pattern}",
        response_model=models.Exclusion,
        summary="Show an exclusion",
    )
    async def show(
        pattern: str, who: Annotated[Caller, READ], user: OfUser = None
    ) -> JSONResponse:
        email = _email(await owner(who, user))
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
            whose = await owner(who, user)
            key = known_pattern(pattern)
            matches(if_match, await one_of(key, _email(whose)))
            user_id = whose.id if whose else None
            await store.directory.remove_exclusion(key, user_id, who.name)

        await in_step(context, edit)
        return Response(status_code=204)

    return router


def _email(user: User | None) -> str | None:
    return user.email if user else None
