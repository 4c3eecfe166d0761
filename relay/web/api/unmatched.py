"""Routes that ask Salesforce: unmatched mail, and taking a logged mail out again."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter
from starlette.responses import JSONResponse

from relay.core.access import Caller, Scope
from relay.core.directory import Role
from relay.reconcile.undo import undo
from relay.salesforce import Org
from relay.unmatched import Candidates, ignore, plan_ignore, resolve
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
    from collections.abc import AsyncIterator

    from relay.unmatched import Entry

READ = needs(Scope.LOG_READ)
WRITE = needs(Scope.QUEUE_WRITE)


def unmatched_router(context: Context) -> APIRouter:  # noqa: C901 - a route each
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
        async with _org(context) as org:
            return answer(_row(await Candidates(store, org).entry(id_)))

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
        if choice.remember and who.own_only is not None:
            hint = "an admin lets an address belong to a record for everybody"
            raise Problem(403, "not_allowed", "a rep decides for one mail", hint)
        async with _org(context) as org:
            if org is None:
                raise _no_org()
            done = await resolve(
                *(store, org, [id_], choice.records, who.name),
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
        if choice.everybody and Scope.USERS_WRITE not in who.scopes:
            hint = f"a token with the scope {Scope.USERS_WRITE} may"
            raise Problem(403, "not_allowed", "this holds for all users", hint)
        plan = await plan_ignore(
            *(store, await store.unmatched.get([id_])),
            whole_domain=choice.whole_domain,
            everybody=choice.everybody,
        )
        if plan.concerns and not choice.confirm:
            hint = 'send "confirm": true if it is meant so'
            detail = "; ".join(plan.concerns)
            raise Problem(409, "needs_confirmation", detail, hint)
        ids = await ignore(store, [id_], plan, who.name)
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
        async with _org(context) as org:
            if org is None:
                raise _no_org()
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


def _no_org() -> Problem:
    hint = "set salesforce.instance_url"
    return Problem(409, "no_salesforce", "the relay has no org", hint)


@asynccontextmanager
async def _org(context: Context) -> AsyncIterator[Org | None]:
    """Start the org and close it; None where no Salesforce is set."""
    if context.settings.salesforce.instance_url is None:
        yield None
        return
    org = Org(context.settings.require_salesforce(), context.clock)
    await org.start()
    try:
        yield org
    finally:
        await org.close()


def _row(entry: Entry) -> dict[str, Any]:
    """Return a message with its people, as `relay unmatched show --json` does."""
    return entry.as_json() | {"people": [one.as_json() for one in entry.people]}
