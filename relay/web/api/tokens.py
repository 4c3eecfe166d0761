"""Routes of API tokens. The secret of a token stands in one answer, when it is made."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from relay.admin.inputs import person_name, until
from relay.console import tokens
from relay.core.access import Caller, Scope
from relay.core.errors import NotAllowed
from relay.web.api import models
from relay.web.api.people import find
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
    page_of,
    tagged,
)

READ = needs(Scope.TOKENS_READ)
WRITE = needs(Scope.TOKENS_WRITE)


def tokens_router(context: Context) -> APIRouter:
    """Return the routes."""
    router = APIRouter(tags=["tokens"])
    store = context.store

    @router.get("/tokens", response_model=models.Tokens, summary="List the tokens")
    async def list_tokens(
        who: Annotated[Caller, READ], cursor: Cursor = None, limit: Limit = USUAL
    ) -> JSONResponse:
        del who
        rows = await tokens.tokens(store)
        return answer(page_of(rows, lambda one: one["name"], cursor, limit, ["tokens"]))

    @router.post(
        "/tokens",
        response_model=models.MadeToken,
        status_code=201,
        summary="Make a token; its secret is shown this once",
        description=(
            "Its name makes it once: sent again, it is answered 409. An "
            "Idempotency-Key has no effect here: no copy of the secret is kept."
        ),
    )
    async def make(new: models.NewToken, who: Annotated[Caller, WRITE]) -> JSONResponse:
        name = person_name(new.name)
        ends = until(new.expires, context.clock.now()) if new.expires else None
        tokens.within_own(who, new.scopes)
        user = (await find(context, who, new.user)).user if new.user else None
        scopes = tuple(dict.fromkeys(new.scopes))
        secret = await tokens.make(
            *(store, name, user, scopes, ends, who.name),
            monitor_sees_bodies=context.settings.web.monitor_sees_bodies,
        )
        made = await tokens.token(store, name)
        return answer(made | {"token": secret}, 201)

    @router.get("/tokens/{name}", response_model=models.Token, summary="Show a token")
    async def show(name: str, who: Annotated[Caller, READ]) -> JSONResponse:
        del who
        return tagged(await tokens.token(store, name))

    @router.delete(
        "/tokens/{name}", status_code=204, summary="Refuse a token from now on"
    )
    async def remove(
        name: str, who: Annotated[Caller, WRITE], if_match: IfMatch = None
    ) -> Response:
        if who.name == f"api:{name}":
            hint = "another token may remove it, or relay token remove at a shell"
            raise NotAllowed("a token cannot remove itself", hint)

        async def edit() -> None:
            matches(if_match, await tokens.token(store, name))
            await store.credentials.remove_api_token(name, who.name)

        await in_step(context, edit)
        return Response(status_code=204)

    return router
