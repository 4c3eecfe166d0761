"""Routes of bringing users in: a plan first, then just that plan."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import JSONResponse

from relay.console import people_import, sign_in
from relay.core.access import Caller, Scope
from relay.web.api.models import Sent, Shown
from relay.web.api.people import may_invite
from relay.web.api.problems import Problem
from relay.web.api.wire import Context, answer, needs

WRITE = needs(Scope.USERS_WRITE)


class ImportSource(Sent):
    """Where users come from."""

    source: Literal["csv", "salesforce"]
    csv: str = Field(
        default="",
        max_length=people_import.LONGEST,
        description="The file. Its first line names the columns: "
        "name,email,role,salesforce_id; the last two may be left out.",
    )
    update: bool = Field(
        default=False,
        description="Change users who are there already: name, role, salesforce_id.",
    )


class UserImport(ImportSource):
    """A plan to be carried out."""

    plan: str = Field(
        min_length=1, max_length=64, description="`plan` of the plan that was seen."
    )
    activate: bool = Field(
        default=True, description="Their relay addresses take mail at once."
    )
    invite: bool = Field(
        default=False, description="Mail each new user a link to sign in."
    )


class PlannedUser(Shown):
    """What becomes of one line."""

    name: str
    email: str
    role: str
    salesforce_id: str | None
    change: Literal["add", "change", "skip"]
    reason: str = Field(description="Why it is skipped, or what changes.")
    line: int | None = Field(description="Of the file.")
    error: bool = Field(description="The line does not fit; else nothing is to do.")


class UserImportPlan(Shown):
    """What an import would do; nothing was changed."""

    plan: str = Field(description="Names this plan; another one has another name.")
    add: int
    change: int
    left: int
    errors: int
    items: list[PlannedUser]


class ImportedUsers(Shown):
    """What an import did; `left` were added or removed by others in that moment."""

    added: int
    changed: int
    left: int
    invited: int


def user_import_router(context: Context) -> APIRouter:
    """Return the routes."""
    router = APIRouter(tags=["users"])
    store, settings = context.store, context.settings

    async def planned(sent: ImportSource) -> list[people_import.UserStep]:
        return await people_import.planned(
            *(store, settings, sent.source, sent.csv),
            update=sent.update,
            clock=context.clock,
        )

    @router.post(
        "/user-import/plan",
        response_model=UserImportPlan,
        summary="Plan: which users an import would add, change and leave",
    )
    async def plan(sent: ImportSource, who: Annotated[Caller, WRITE]) -> JSONResponse:
        del who
        steps = await planned(sent)
        rows = [step.as_json() for step in steps]
        found = people_import.counts(steps)
        return answer({"plan": people_import.digest(steps), **found, "items": rows})

    @router.post(
        "/user-import",
        response_model=ImportedUsers,
        summary="Carry a plan out",
        description="`invite` needs the scope users:invite, too.",
    )
    async def carry_out(
        sent: UserImport, who: Annotated[Caller, WRITE]
    ) -> JSONResponse:
        may_invite(context, who, asked=sent.invite)
        steps = await planned(sent)
        if people_import.digest(steps) != sent.plan:
            detail = "the plan is another by now; nothing was changed"
            hint = "POST /api/v1/user-import/plan again, and send its `plan`"
            raise Problem(409, "plan_changed", detail, hint)
        done = await people_import.carry_out(
            store, steps, who.name, activate=sent.activate
        )
        invited = 0
        if sent.invite:
            invited = await sign_in.invite_all(store, settings, done.added, who.name)
        return answer(
            {
                "added": len(done.added),
                "changed": done.changed,
                "left": done.overtaken,
                "invited": invited,
            }
        )

    return router
