"""Routes of the sync of reminders with Salesforce tasks."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import JSONResponse

from relay.console import reminder_sync
from relay.core.access import Caller, Scope
from relay.web.api.models import Sent, Shown, Time
from relay.web.api.reminders import desk_of, user_of
from relay.web.api.wire import (
    MOST,
    Context,
    Cursor,
    Limit,
    Number,
    answer,
    latest_first,
    needs,
    page_of,
)

READ = needs(Scope.REMINDERS_READ)
WRITE = needs(Scope.REMINDERS_WRITE)


class ReminderSync(Shown):
    """How far the sync of a user is."""

    user: str
    state: Literal["off", "importing", "catching up", "comparing", "in step", "stopped"]
    on: bool
    since: datetime | None = Field(description="When it was switched on last.")
    last_round: datetime | None
    imported: int = Field(description="Reminders made of tasks since then.")
    sent: int = Field(description="Tasks made of reminders since then.")
    tasks: int
    waiting: int
    failing: int
    conflicts: int
    stopped: str | None = Field(description="Why it waits for a person.")
    why: str
    hint: str


class ReminderSyncs(Shown):
    """The sync of everybody whom the caller may see."""

    items: list[ReminderSync]
    next: str | None


class Switch(Sent):
    """Whether reminders are kept in step."""

    on: bool


class Resume(Sent):
    """After the brake: `keep` deletes nothing on either side."""

    keep: bool = False


class ReminderConflict(Shown):
    """A field that both sides changed, with both values."""

    id: int
    reminder: str
    user: str
    task: str
    field: str
    here: Any
    salesforce: Any
    kept: Literal["here", "salesforce"]
    at: datetime = Time
    undone_at: datetime | None
    undone_by: str | None


class ReminderConflicts(Shown):
    """Conflicts, the latest first."""

    items: list[ReminderConflict]
    next: str | None


class ReminderFailure(Shown):
    """What could not be kept in step."""

    reminder: str
    name: str
    user: str
    task: str | None
    code: str
    text: str
    meaning: str
    failures: int
    next_try: datetime | None


class ReminderFailures(Shown):
    """What could not be kept in step, by reminder."""

    items: list[ReminderFailure]
    next: str | None


class Retried(Shown):
    """How many are tried again."""

    retried: int


class UndoneConflict(Shown):
    """The reminder that has its value again."""

    reminder: str
    version: int


def reminder_sync_router(context: Context) -> APIRouter:
    """Return the routes."""
    router = APIRouter(tags=["reminders"])

    desk, found = partial(desk_of, context), partial(user_of, context)

    @router.get(
        "/reminder-sync", response_model=ReminderSyncs, summary="List who syncs"
    )
    async def list_syncs(
        who: Annotated[Caller, READ], cursor: Cursor = None, limit: Limit = MOST
    ) -> JSONResponse:
        rows = [one.as_json() for one in await reminder_sync.views(desk(who))]
        asked = ["syncs", who.own_only]
        return answer(page_of(rows, lambda one: str(one["user"]), cursor, limit, asked))

    @router.get(
        "/users/{user}/reminder-sync", response_model=ReminderSync, summary="Show one"
    )
    async def show(user: str, who: Annotated[Caller, READ]) -> JSONResponse:
        view = await reminder_sync.view(desk(who), await found(who, user))
        return answer(view.as_json())

    @router.put(
        "/users/{user}/reminder-sync",
        response_model=ReminderSync,
        summary="Switch it on or off",
        description="Takes no If-Match: it says what holds, whatever held before.",
    )
    async def switch(
        user: str, choice: Switch, who: Annotated[Caller, WRITE]
    ) -> JSONResponse:
        one = await found(who, user)
        return answer(
            (await reminder_sync.switch(desk(who), one, on=choice.on)).as_json()
        )

    @router.post(
        "/users/{user}/reminder-sync/resume",
        response_model=ReminderSync,
        summary="Go on after a stop",
    )
    async def resume(
        user: str, choice: Resume, who: Annotated[Caller, WRITE]
    ) -> JSONResponse:
        one = await found(who, user)
        view = await reminder_sync.resume(desk(who), one, keep=choice.keep)
        return answer(view.as_json())

    @router.get(
        "/users/{user}/reminder-sync/conflicts",
        response_model=ReminderConflicts,
        summary="List what both sides changed",
    )
    async def conflicts(
        user: str,
        who: Annotated[Caller, READ],
        cursor: Cursor = None,
        limit: Limit = MOST,
    ) -> JSONResponse:
        one = await found(who, user)
        rows = await reminder_sync.conflicts(desk(who), one)
        asked = ["conflicts", one.id]
        return answer(
            page_of(rows, lambda row: latest_first(row["id"]), cursor, limit, asked)
        )

    @router.post(
        "/reminder-conflicts/{number}/undo",
        response_model=UndoneConflict,
        summary="Give the value that lost back to its reminder",
    )
    async def undo(number: Number, who: Annotated[Caller, WRITE]) -> JSONResponse:
        done = await reminder_sync.undo_conflict(desk(who), number)
        return answer({"reminder": done.id, "version": done.version})

    @router.get(
        "/users/{user}/reminder-sync/failures",
        response_model=ReminderFailures,
        summary="List what could not be kept in step",
    )
    async def failures(
        user: str,
        who: Annotated[Caller, READ],
        cursor: Cursor = None,
        limit: Limit = MOST,
    ) -> JSONResponse:
        one = await found(who, user)
        rows = await reminder_sync.failures(desk(who), one)
        asked = ["failures", one.id]
        return answer(
            page_of(rows, lambda row: str(row["reminder"]), cursor, limit, asked)
        )

    @router.post(
        "/users/{user}/reminder-sync/retry",
        response_model=Retried,
        summary="Try what failed again",
    )
    async def retry(user: str, who: Annotated[Caller, WRITE]) -> JSONResponse:
        one = await found(who, user)
        return answer({"retried": await reminder_sync.retry(desk(who), one)})

    return router
