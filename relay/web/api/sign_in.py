"""Routes of how people come into the console: invitations, one-time links, sessions.

A link that is shown stands in one answer, of which no copy is kept. Sessions are the
caller's own, or anybody's for admins.
"""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import JSONResponse, Response

from relay.console import people, sign_in
from relay.core.access import Caller, Scope
from relay.web.api.models import Shown, Time
from relay.web.api.people import find
from relay.web.api.wire import (
    USUAL,
    Context,
    Cursor,
    Limit,
    Number,
    answer,
    needs,
    page_of,
    tagged,
)

READ = needs(Scope.USERS_READ)
INVITE = needs(Scope.USERS_INVITE)
SESSIONS_READ = needs(Scope.SESSIONS_READ)
SESSIONS_WRITE = needs(Scope.SESSIONS_WRITE)


class Invitation(Shown):
    """How a user came, or is to come, into the console."""

    state: Literal["not_invited", "invited", "link_expired", "signed_in"]
    invited_at: str | None = Time
    invited_by: str | None
    link_ends_at: str | None = Time
    mail: Literal["planned", "written", "refused"] | None = Field(
        description="How far the mail is; null: handed over, or not kept any more."
    )
    mail_error: str
    signed_in_at: str | None = Time


class SignInLink(Shown):
    """A link by which a user sets a password, once; it stands in this answer alone."""

    user: str
    sign_in_link: str
    expires_at: str = Time


class Session(Shown):
    """A browser in which a user is signed in."""

    id: int
    method: str
    second_factor: bool
    created_at: str = Time
    used_at: str = Time
    ends_at: str = Time
    address: str
    agent: str


class Sessions(Shown):
    """A page of sessions, the oldest first."""

    items: list[Session]
    next: str | None


class Ended(Shown):
    """How many sessions were ended."""

    ended: int


def invitations_router(context: Context) -> APIRouter:
    """Return the routes of invitations and links."""
    router = APIRouter(tags=["users"])
    store, settings = context.store, context.settings

    @router.get(
        "/users/{user}/invitation",
        response_model=Invitation,
        summary="Show how a user came, or is to come, into the console",
    )
    async def show(user: str, who: Annotated[Caller, READ]) -> JSONResponse:
        found = await find(context, who, user)
        one = await sign_in.way_in(store, found.user.id)
        return tagged(sign_in.way_in_row(one))

    @router.post(
        "/users/{user}/invitation",
        response_model=Invitation,
        status_code=202,
        summary="Mail a user a link to sign in, once; one of before ends",
    )
    async def invite(user: str, who: Annotated[Caller, INVITE]) -> JSONResponse:
        found = await find(context, who, user)
        people.not_removed(found)
        await sign_in.invite(store, settings, found.user, who.name)
        one = await sign_in.way_in(store, found.user.id)
        return tagged(sign_in.way_in_row(one), 202)

    @router.post(
        "/users/{user}/sign-in-link",
        response_model=SignInLink,
        status_code=201,
        summary="Make a link to sign in, once, to hand over; it is shown this once",
        description=(
            "Needs every right of the user's role. An Idempotency-Key has no effect "
            "here: no copy of the link is kept. Sent again, it makes another, and the "
            "one before ends."
        ),
    )
    async def make(user: str, who: Annotated[Caller, INVITE]) -> JSONResponse:
        found = await find(context, who, user)
        people.not_removed(found)
        url, ends = await sign_in.show_link(store, settings, who, found.user)
        row = {"user": found.user.email, "sign_in_link": url, "expires_at": ends}
        return answer(row, 201)

    return router


def sessions_router(context: Context) -> APIRouter:
    """Return the routes of sessions."""
    router = APIRouter(tags=["sessions"])
    store = context.store

    async def whose(who: Caller, user: str) -> people.UserView:
        found = await find(context, who, user)
        sign_in.own_or_admin(who, found.user)
        people.not_removed(found)
        return found

    @router.get(
        "/users/{user}/sessions",
        response_model=Sessions,
        summary="List where a user is signed in",
    )
    async def list_sessions(
        user: str,
        who: Annotated[Caller, SESSIONS_READ],
        cursor: Cursor = None,
        limit: Limit = USUAL,
    ) -> JSONResponse:
        found = (await whose(who, user)).user
        rows = await sign_in.sessions(store, found)
        asked = ["sessions", found.id]
        return answer(
            page_of(rows, lambda one: f"{one['id']:015}", cursor, limit, asked)
        )

    @router.delete(
        "/users/{user}/sessions",
        response_model=Ended,
        summary="Sign a user out everywhere",
        description="Takes no If-Match: a session is ended, whatever it is by now.",
    )
    async def end_all(
        user: str, who: Annotated[Caller, SESSIONS_WRITE]
    ) -> JSONResponse:
        found = (await whose(who, user)).user
        count = await store.accounts.end_sessions(found.id, who.name)
        return answer({"ended": count})

    @router.delete(
        "/users/{user}/sessions/{session}",
        status_code=204,
        summary="Sign a user out of one browser",
        description="Takes no If-Match: a session is ended, whatever it is by now.",
    )
    async def end(
        user: str, session: Number, who: Annotated[Caller, SESSIONS_WRITE]
    ) -> Response:
        found = (await whose(who, user)).user
        await store.accounts.end_session(found.id, session, who.name)
        return Response(status_code=204)

    return router
