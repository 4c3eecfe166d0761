"""Routes that ask Salesforce: unmatched mail, and taking a logged mail out again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter
from starlette.responses import JSONResponse

from relay.console import unmatched
from relay.console.salesforce import need_org, open_org
from relay.core.access import Caller, Scope
from relay.core.directory import Role
from relay.reconcile.undo import undo
from relay.unmatched import Candidates
from relay.web.api import models
from relay.web.api.mails import Asked, own_id, page_of_log
from relay.web.api.problems import Problem
from relay.web.api.wire import (
    USUAL,
    Context,
    Cursor,
    Limit,
    answer,
    needs,
)

if TYPE_CHECKING:
    from relay.unmatched import Entry

READ = needs(Scope.LOG_READ)
WRITE = needs(Scope.QUEUE_WRITE)


def unmatched_router(context: Context) -> APIRouter:
    """Return the routes."""
    router = APIRouter(tags=["unmatched"])
    store = context.store

    @router.get(
        "/unmatched",
        response_model=models.UnmatchedMails,
        summary="List mail that fits no record, with the candidates that are known",
    )
    async def list_unmatched(
        who: Annotated[Caller, READ],
        wanted: Asked,
        cursor: Cursor = None,
        limit: Limit = USUAL,
    ) -> JSONResponse:
        wanted = replace(wanted, state=("unmatched",))
        rows, more = await page_of_log(
            *(context, who, wanted), "unmatched", cursor=cursor, limit=limit
        )
        candidates = Candidates(store, None)
        known = await store.unmatched.get([row["id"] for row in rows])
        found = [_row(await candidates.entry(one.id)) for one in known]
        return answer({"items": found, "next": more})

    @router.get(
        "/unmatched/{id}",
        response_model=models.UnmatchedMail,
        summary="Show one, with the records that may be meant; Salesforce is searched",
    )
    async def show(id: str, who: Annotated[Caller, READ]) -> JSONResponse:  # noqa: A002
        id_, _ = await own_id(context, who, id)
        async with open_org(context.settings, context.clock) as org:
            return answer(_row(await unmatched.entry(store, org, who, id_)))

    @router.post(
        "/unmatched/{id}/resolve",
        response_model=models.Resolved,
        summary="Log it on records of your choice",
    )
    async def decide(
        id: str,  # noqa: A002
        choice: models.Choice,
        who: Annotated[Caller, WRITE],
    ) -> JSONResponse:
        id_, _ = await own_id(context, who, id)
        async with need_org(context.settings, context.clock) as org:
            done = await unmatched.resolve(
                *(store, org, who, [id_], choice.records),
                address=choice.address,
                remember=choice.remember,
            )
        records = [
            {"object": one.object, "id": one.record_id, "name": one.name}
            for one in done.records
        ]
        return answer(
            {"ids": done.ids, "records": records, "remembered": list(done.remembered)}
        )

    @router.post(
        "/unmatched/{id}/ignore",
        response_model=models.LeftOut,
        summary="Leave its people out from now on",
    )
    async def leave_out(
        id: str,  # noqa: A002
        choice: models.LeaveOut,
        who: Annotated[Caller, WRITE],
    ) -> JSONResponse:
        id_, _ = await own_id(context, who, id)
        messages = await store.unmatched.get([id_])
        plan = await unmatched.plan_ignore(
            *(store, who, messages),
            whole_domain=choice.whole_domain,
            everybody=choice.everybody,
        )
        ids = await unmatched.ignore(
            store, who, messages, plan, confirmed=choice.confirm
        )
        return answer({"ids": ids, "patterns": [pattern for pattern, _ in plan.rules]})

    @router.post(
        "/messages/{id}/undo",
        response_model=models.TakenOut,
        tags=["messages"],
        summary="Delete the records of a logged mail, and discard all its copies",
    )
    async def take_out(
        id: str,  # noqa: A002
        choice: models.TakeOut,
        who: Annotated[Caller, WRITE],
    ) -> JSONResponse:
        id_, _ = await own_id(context, who, id)
        if who.user is not None and who.user.role is not Role.ADMIN:
            hint = "an admin may; records of all copies go with it"
            raise Problem(403, "not_allowed", "this deletes records", hint)
        if store.owner is None:
            raise AssertionError
        async with need_org(context.settings, context.clock) as org:
            done = await undo(
                *(context.settings.salesforce, store, org, id_, store.owner, who.name),
                dry_run=choice.dry_run,
            )
        return answer(
            {
                "messages": [ident for ident, _ in done.messages],
                "removals": [one.as_json() for one in done.removals],
            }
        )

    return router


def _row(entry: Entry) -> dict[str, Any]:
    """Return a message with its people, as `relay unmatched show --json` does."""
    return entry.as_json() | {"people": [one.as_json() for one in entry.people]}
