"""Routes of how mail reaches Salesforce: who decides, and what each user has chosen."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from starlette.responses import JSONResponse

from relay.activity import preview
from relay.console import log_by, people
from relay.core import subjects
from relay.core.access import Caller, Scope
from relay.core.errors import InvalidInput
from relay.web.api import models
from relay.web.api.wire import (
    Context,
    IfMatch,
    answer,
    etag,
    in_step,
    matches,
    needs,
)

SEE, CHANGE = needs(Scope.SETTINGS_READ), needs(Scope.SETTINGS_WRITE)
USERS, EDIT = needs(Scope.USERS_READ), needs(Scope.USERS_WRITE)


def logging_router(context: Context) -> APIRouter:
    """Return the routes."""
    router = APIRouter(tags=["logging"])
    _of_team(router, context)
    _of_users(router, context)

    @router.post(
        "/subject-preview",
        response_model=models.SubjectPreview,
        summary="Show what a template of subjects makes of one",
    )
    async def show_subject(
        asked: models.SubjectTemplate, who: Annotated[Caller, SEE]
    ) -> JSONResponse:
        del who
        template = " ".join(asked.template.split())
        if wrong := subjects.problem(template):
            text, hint = wrong
            raise InvalidInput(f"the template {text}", hint)
        return answer(preview(template, asked.subject))

    return router


def _of_team(router: APIRouter, context: Context) -> None:
    store, settings = context.store, context.settings

    async def team() -> dict[str, Any]:
        found = await log_by.team(store, settings, context.clock.now())
        return found.as_json()

    @router.get(
        "/logging",
        response_model=models.TeamLogging,
        summary="Say who decides, and how many API calls a day each choice costs",
    )
    async def show(who: Annotated[Caller, SEE]) -> JSONResponse:
        del who
        found = await team()
        return answer(found, headers={"ETag": etag(_decided(found))})

    @router.put(
        "/logging", response_model=models.TeamLogging, summary="Say who decides"
    )
    async def decide(
        new: models.NewDecision,
        who: Annotated[Caller, CHANGE],
        if_match: IfMatch = None,
    ) -> JSONResponse:
        async def edit() -> None:
            matches(if_match, _decided(await team()))
            await log_by.choose_for_team(store, settings, new.decides, who.name)

        await in_step(context, edit)
        found = await team()
        return answer(found, headers={"ETag": etag(_decided(found))})


def _decided(found: dict[str, Any]) -> dict[str, Any]:
    """Return what a change changes: estimates move on by themselves."""
    return {name: found[name] for name in ("decides", "set_by", "set_at")}


def _of_users(router: APIRouter, context: Context) -> None:
    store, settings = context.store, context.settings

    async def one(who: Caller, ident: str) -> dict[str, Any]:
        found = await people.find_for(store, settings, who, ident)
        own = await log_by.own(store, settings, found.user, context.clock.now())
        return own.as_json(shown=who.sees_relay_address(found.user.id))

    def chosen(found: dict[str, Any]) -> dict[str, Any]:
        names = ("user", "chosen", "salesforce_address", "has_address")
        return {name: found[name] for name in names}

    @router.get(
        "/users/{user}/logging",
        response_model=models.OwnLogging,
        summary="Say how a user's mail reaches Salesforce, and what is missing",
    )
    async def show(user: str, who: Annotated[Caller, USERS]) -> JSONResponse:
        found = await one(who, user)
        return answer(found, headers={"ETag": etag(chosen(found))})

    @router.put(
        "/users/{user}/logging",
        response_model=models.OwnLogging,
        summary="Choose for a user, where each user chooses",
    )
    async def choose(
        user: str,
        new: models.NewChoice,
        who: Annotated[Caller, EDIT],
        if_match: IfMatch = None,
    ) -> JSONResponse:
        async def edit() -> None:
            matches(if_match, chosen(await one(who, user)))
            found = await people.find_for(store, settings, who, user)
            people.not_removed(found)
            await log_by.choose(
                store,
                settings,
                found.user,
                way=new.way,
                address=new.salesforce_address,
                actor=who.name,
            )

        await in_step(context, edit)
        found = await one(who, user)
        return answer(found, headers={"ETag": etag(chosen(found))})
