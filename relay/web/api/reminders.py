"""Routes of reminders, of the Command Center, and of the secrets of calendars."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import JSONResponse, Response

from relay.accounts.service import console_url
from relay.console import people, reminders
from relay.console.reminders import Desk
from relay.core.access import Caller, Scope
from relay.core.directory import User
from relay.core.errors import NotFound
from relay.core.reminders import Kind, Reminder, ReminderFilter, Source, Status
from relay.web.api import models
from relay.web.api.wire import (
    MOST,
    USUAL,
    Context,
    Cursor,
    IfMatch,
    Limit,
    answer,
    first_page,
    in_step,
    matches,
    needs,
    page_of_rows,
    read_cursor,
    tagged,
)

READ = needs(Scope.REMINDERS_READ)
WRITE = needs(Scope.REMINDERS_WRITE)
_Text = Annotated[str, Query(max_length=300)]


def desk_of(context: Context, who: Caller) -> Desk:
    """Return what the functions of reminders ask for, for a caller."""
    return Desk(context.store, context.settings, who, Source.API, context.clock.now())


async def user_of(context: Context, who: Caller, ident: str) -> User:
    """Return a user whom the caller may see."""
    return (await people.find_for(context.store, context.settings, who, ident)).user


async def _shown(desk: Desk, reminder: Reminder) -> dict[str, Any]:
    return reminders.row(reminder, await desk.users())


def reminders_router(context: Context) -> APIRouter:
    """Return the routes."""
    router = APIRouter()
    for part in (_reminders, _acts, _of_users):
        router.include_router(part(context))
    return router


def _reminders(context: Context) -> APIRouter:
    """Return the routes of the list, and of one reminder."""
    router = APIRouter(tags=["reminders"])

    @router.get("/reminders", response_model=models.Reminders, summary="List reminders")
    async def list_reminders(
        who: Annotated[Caller, READ],
        user: Annotated[_Text, Query(description="Who is to do them.")] = "",
        status: Annotated[Status | None, Query()] = None,
        kind: Annotated[Kind | None, Query(alias="type")] = None,
        due_from: Annotated[
            date | None, Query(description="That day, or later.")
        ] = None,
        due_until: Annotated[date | None, Query(description="Before that day.")] = None,
        person: _Text = "",
        record: _Text = "",
        message: _Text = "",
        text: Annotated[_Text, Query(description="In name or details.")] = "",
        cursor: Cursor = None,
        limit: Limit = USUAL,
        *,
        removed: Annotated[bool, Query(description="Also those removed.")] = False,
    ) -> JSONResponse:
        one = desk_of(context, who)
        about = reminders.conditions(person=person, record=record)
        wanted = ReminderFilter(
            assignee=(await user_of(context, who, user)).id if user else None,
            status=status,
            kind=kind,
            due_from=due_from,
            due_until=due_until,
            person=about.get("person", ""),
            record=about.get("record", ""),
            message_id=message,
            text=text,
            removed=removed,
            before_id="",
            limit=limit + 1,
        )
        asked = ["reminders", who.own_only, str(wanted)]
        before = read_cursor(cursor, asked, str)
        found = await reminders.find(one, reminders.older(wanted, before or ""))
        users = await one.users()
        page = first_page(found, lambda each: each.id, limit, asked)
        items = [reminders.row(each, users) for each in page["items"]]
        return answer(page | {"items": items})

    @router.post(
        "/reminders",
        response_model=models.Reminder,
        status_code=201,
        summary="Make a reminder",
    )
    async def add(
        new: models.NewReminder, who: Annotated[Caller, WRITE]
    ) -> JSONResponse:
        one = desk_of(context, who)
        values = new.model_dump()
        draft = reminders.Draft(**values | {"kind": values.pop("type")})
        made = await reminders.add(one, draft)
        place = f"/api/v1/reminders/{made.id}"
        return tagged(await _shown(one, made), 201, Location=place)

    @router.get(
        "/reminders/{id}", response_model=models.Reminder, summary="Show a reminder"
    )
    async def show(id: str, who: Annotated[Caller, READ]) -> JSONResponse:  # noqa: A002
        one = desk_of(context, who)
        return tagged(await _shown(one, await reminders.get(one, id, removed=True)))

    async def in_version(one: Desk, ident: str, if_match: str | None) -> int:
        """Return the version of a reminder that `If-Match` names."""
        found = await reminders.get(one, ident)
        matches(if_match, await _shown(one, found))
        return found.version

    @router.patch(
        "/reminders/{id}", response_model=models.Reminder, summary="Change a reminder"
    )
    async def change(
        id: str,  # noqa: A002
        change: models.ReminderChange,
        who: Annotated[Caller, WRITE],
        if_match: IfMatch = None,
    ) -> JSONResponse:
        one = desk_of(context, who)
        sent = {name: getattr(change, name) for name in change.model_fields_set}
        changes = {name: value or "" for name, value in sent.items()}

        async def edit() -> Reminder:
            version = await in_version(one, id, if_match)
            return await reminders.edit(one, id, changes, version=version)

        return tagged(await _shown(one, await in_step(context, edit)))

    @router.delete("/reminders/{id}", status_code=204, summary="Remove a reminder")
    async def remove(
        id: str,  # noqa: A002
        who: Annotated[Caller, WRITE],
        if_match: IfMatch = None,
    ) -> Response:
        one = desk_of(context, who)

        async def edit() -> Reminder:
            version = await in_version(one, id, if_match)
            return await reminders.remove(one, id, version=version)

        await in_step(context, edit)
        return Response(status_code=204)

    return router


def _acts(context: Context) -> APIRouter:
    """Return the routes of what is done to one, and of its history."""
    router = APIRouter(tags=["reminders"])

    @router.post(
        "/reminders/{id}/complete",
        response_model=models.Reminder,
        summary="Say that it is done",
    )
    async def complete(id: str, who: Annotated[Caller, WRITE]) -> JSONResponse:  # noqa: A002
        one = desk_of(context, who)
        return tagged(await _shown(one, await reminders.complete(one, id)))

    @router.post(
        "/reminders/{id}/reopen",
        response_model=models.Reminder,
        summary="Say that it is still to be done",
    )
    async def reopen(id: str, who: Annotated[Caller, WRITE]) -> JSONResponse:  # noqa: A002
        one = desk_of(context, who)
        return tagged(await _shown(one, await reminders.complete(one, id, done=False)))

    @router.post(
        "/reminders/{id}/snooze",
        response_model=models.Reminder,
        summary="Put it off to a day",
    )
    async def snooze(
        id: str,  # noqa: A002
        until: models.Snooze,
        who: Annotated[Caller, WRITE],
    ) -> JSONResponse:
        one = desk_of(context, who)
        return tagged(await _shown(one, await reminders.snooze(one, id, until.until)))

    @router.post(
        "/reminders/{id}/undo",
        response_model=models.Reminder,
        summary="Take an edit back, or a removal",
    )
    async def undo(
        id: str,  # noqa: A002
        which: models.ReminderUndo,
        who: Annotated[Caller, WRITE],
    ) -> JSONResponse:
        one = desk_of(context, who)
        return tagged(await _shown(one, await reminders.undo(one, id, which.version)))

    @router.get(
        "/reminders/{id}/history",
        response_model=models.ReminderHistory,
        summary="List the edits of a reminder",
    )
    async def history(
        id: str,  # noqa: A002
        who: Annotated[Caller, READ],
        cursor: Cursor = None,
        limit: Limit = MOST,
    ) -> JSONResponse:
        rows = await reminders.history(desk_of(context, who), id)
        return answer(page_of_rows(rows, cursor, limit, ["edits", id]))

    @router.get(
        "/reminders/{id}/task",
        response_model=models.TaskOfReminder,
        summary="Show its Task in Salesforce, and what failed",
    )
    async def task(id: str, who: Annotated[Caller, READ]) -> JSONResponse:  # noqa: A002
        found = await reminders.task_of(desk_of(context, who), id)
        if found is None:
            raise NotFound(f"reminder {id} was never kept in step with a Task")
        return answer(found.as_json())

    @router.post(
        "/reminders/{id}/retry",
        response_model=models.Tried,
        summary="Try at once again what failed between it and its Task",
    )
    async def retry(id: str, who: Annotated[Caller, WRITE]) -> JSONResponse:  # noqa: A002
        return answer({"tried": await reminders.retry(desk_of(context, who), id)})

    return router


def _of_users(context: Context) -> APIRouter:
    """Return the routes of what a user has to do, and of the user's calendar."""
    router = APIRouter(tags=["reminders"])

    @router.get(
        "/users/{user}/command-center",
        response_model=models.CommandCenter,
        summary="Show what a user is to do today and tomorrow",
    )
    async def command_center(user: str, who: Annotated[Caller, READ]) -> JSONResponse:
        one = desk_of(context, who)
        found = await reminders.command_center(one, await user_of(context, who, user))
        return answer(found.as_json(await one.users()))

    @router.post(
        "/users/{user}/reminder-feed",
        response_model=models.ReminderFeed,
        status_code=201,
        summary="Make the secret address of a user's calendar; end the one before",
        description=(
            "An Idempotency-Key has no effect here: no copy of the secret is kept. "
            "Sent again, it makes another, and the one before ends."
        ),
    )
    async def new_feed(user: str, who: Annotated[Caller, WRITE]) -> JSONResponse:
        secret = await reminders.new_feed(
            desk_of(context, who), await user_of(context, who, user)
        )
        path = reminders.feed_path(secret)
        known = context.settings.web.public_url is not None
        url = f"{console_url(context.settings)}{path}" if known else None
        return answer({"path": path, "url": url}, 201)

    @router.delete(
        "/users/{user}/reminder-feed",
        status_code=204,
        summary="End the secret address of a user's calendar",
        description="Takes no If-Match: nobody can read the secret to name it.",
    )
    async def end_feed(user: str, who: Annotated[Caller, WRITE]) -> Response:
        await reminders.end_feed(
            desk_of(context, who), await user_of(context, who, user)
        )
        return Response(status_code=204)

    return router
