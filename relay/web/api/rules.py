"""Routes of settings, the history, the status, and of who asks."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import JSONResponse

from relay.admin.settings import base, in_force, read_value, require_editable
from relay.config import Settings
from relay.console import history
from relay.console.alerts import alerting, test
from relay.console.rules import check_in_salesforce
from relay.console.status import status
from relay.core.access import Caller, Scope
from relay.core.errors import InvalidInput, RelayError, StoreUnavailable
from relay.web.api import models
from relay.web.api.gate import of_request
from relay.web.api.problems import Problem
from relay.web.api.wire import (
    USUAL,
    Context,
    Cursor,
    IfMatch,
    Limit,
    Number,
    answer,
    first_page,
    in_step,
    matches,
    needs,
    read_cursor,
    tagged,
)

READ, WRITE = needs(Scope.SETTINGS_READ), needs(Scope.SETTINGS_WRITE)
AUDIT, UNDO = needs(Scope.AUDIT_READ), needs(Scope.AUDIT_WRITE)
STATUS = needs(Scope.STATUS_READ)
_When = Annotated[str | None, Query(max_length=40)]


def rules_router(context: Context) -> APIRouter:
    """Return the routes."""
    router = APIRouter()
    _settings(router, context)
    _history(router, context)

    @router.get(
        "/status",
        response_model=models.Status,
        tags=["status"],
        summary="Say how much waits, for what, and since when",
    )
    async def show_status(
        who: Annotated[Caller, STATUS],
    ) -> JSONResponse:
        del who
        found = await status(context.store, context.settings, context.clock.now())
        return answer(found.as_json())

    @router.get(
        "/alerts",
        response_model=models.Alerts,
        tags=["status"],
        summary="List alerts: what holds first, then what has ended",
    )
    async def list_alerts(
        who: Annotated[Caller, STATUS],
        open_only: Annotated[  # noqa: FBT002 - the framework names it
            bool, Query(alias="open", description="Only what holds now.")
        ] = False,
        limit: Limit = USUAL,
    ) -> JSONResponse:
        del who
        found = await alerting(
            context.store, context.settings, open_only=open_only, limit=limit
        )
        return answer(found.as_json())

    @router.post(
        "/alerts/test",
        response_model=models.AlertTest,
        status_code=202,
        tags=["status"],
        summary="Send a test by each way that alerts are told",
    )
    async def test_alerts(who: Annotated[Caller, WRITE]) -> JSONResponse:
        del who
        directory = context.settings.directory(await context.store.directory.load())
        made = await test(
            context.store, context.settings, directory, context.clock.now()
        )
        return answer(
            {
                "webhook_calls": sorted(made.calls),
                "mails": sorted(one.recipient for one in made.mails.values()),
            },
            202,
        )

    @router.get(
        "/me", response_model=models.Me, tags=["status"], summary="Say who asks"
    )
    async def me(request: Request) -> JSONResponse:
        who = of_request(request.state)
        return answer(
            {
                "name": who.name,
                "scopes": sorted(scope.value for scope in who.scopes),
                "user": who.user.email if who.user else None,
                "role": who.user.role.value if who.user else None,
            }
        )

    return router


# ------------------------------------------------------------------ settings


def _settings(router: APIRouter, context: Context) -> None:
    store, loaded = context.store, context.settings

    async def one(key: str) -> dict[str, Any]:
        require_editable(loaded, key)
        rows = {
            row.key: row for row in in_force(loaded, await store.directory.settings())
        }
        return (rows.get(key) or rows[base(key)]).as_json()

    @router.get(
        "/settings",
        response_model=models.Settings,
        tags=["settings"],
        summary="List the settings that hold without a restart",
    )
    async def list_settings(who: Annotated[Caller, READ]) -> JSONResponse:
        del who
        rows = in_force(loaded, await store.directory.settings())
        return answer({"items": [row.as_json() for row in rows]})

    @router.get(
        "/settings/{key}",
        response_model=models.Setting,
        tags=["settings"],
        summary="Show a setting",
    )
    async def show(key: str, who: Annotated[Caller, READ]) -> JSONResponse:
        del who
        return tagged(await one(key))

    @router.put(
        "/settings/{key}",
        response_model=models.Setting,
        tags=["settings"],
        summary="Change a setting; a running relay uses it within a second",
    )
    async def change(
        key: str,
        new: models.NewValue,
        who: Annotated[Caller, WRITE],
        if_match: IfMatch = None,
    ) -> JSONResponse:
        value = read_value(loaded, key, text_of(new.value))
        matches(if_match, await one(key))
        if not new.unchecked:
            await _check(loaded, key, value)

        async def edit() -> None:
            matches(if_match, await one(key))
            await store.directory.set_setting(key, value, who.name)

        await in_step(context, edit)
        return tagged(await one(key))

    @router.delete(
        "/settings/{key}",
        response_model=models.Setting,
        tags=["settings"],
        summary="Let the settings file, or the default, hold again",
    )
    async def unset(
        key: str, who: Annotated[Caller, WRITE], if_match: IfMatch = None
    ) -> JSONResponse:
        async def edit() -> None:
            matches(if_match, await one(key))
            await store.directory.set_setting(key, None, who.name)

        await in_step(context, edit)
        return tagged(await one(key))


async def _check(loaded: Settings, key: str, value: Any) -> None:
    """Refuse a value that does not fit the org.

    Raises:
        InvalidInput: It does not fit.
        Problem: Salesforce could not be asked.
    """
    try:
        await check_in_salesforce(loaded, key, value)
    except (InvalidInput, StoreUnavailable):
        raise
    except RelayError as error:
        detail = f"Salesforce cannot be asked whether it fits: {error}"
        hint = 'send it again later, or with "unchecked": true'
        raise Problem(
            503, "salesforce_unavailable", detail, hint, headers={"Retry-After": "30"}
        ) from error


def text_of(value: Any) -> str:
    """Write a value as `relay settings set` takes it."""
    if isinstance(value, list):
        return ",".join(value)
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


# ------------------------------------------------------------------ history


def _history(router: APIRouter, context: Context) -> None:
    store = context.store

    @router.get(
        "/history",
        response_model=models.Changes,
        tags=["history"],
        summary="List who changed what, the latest first",
    )
    async def list_changes(
        who: Annotated[Caller, AUDIT],
        user: Annotated[
            str | None, Query(max_length=300, description="Changes of this user.")
        ] = None,
        by: Annotated[
            str, Query(max_length=200, description="Changes by this person.")
        ] = "",
        change: Annotated[
            str,
            Query(max_length=50, description="address, user, setting, address_add …"),
        ] = "",
        since: _When = None,
        until: _When = None,
        cursor: Cursor = None,
        limit: Limit = USUAL,
    ) -> JSONResponse:
        question = ["history", user, by, change]
        asked = history.Asked(user or "", by, change, since or "", until or "")
        latest = await history.find(
            *(store, context.settings, who, asked),
            now=context.clock.now(),
            before_id=read_cursor(cursor, question, int),
            limit=limit + 1,
        )
        return answer(first_page(latest, lambda one: one["id"], limit, question))

    @router.get(
        "/history/{id}",
        response_model=models.Change,
        tags=["history"],
        summary="Show a change",
    )
    async def show(id: Number, who: Annotated[Caller, AUDIT]) -> JSONResponse:  # noqa: A002
        return tagged(await history.one(store, who, id))

    @router.post(
        "/history/{id}/undo",
        response_model=models.Undone,
        tags=["history"],
        summary="Take a change back, unless what it changed was changed since",
    )
    async def undo(id: Number, who: Annotated[Caller, UNDO]) -> JSONResponse:  # noqa: A002
        said, row = await history.undo(store, who, id)
        return answer({"text": said, "change": row})
