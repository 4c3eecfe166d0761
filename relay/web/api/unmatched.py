"""Routes that ask Salesforce: unmatched mail, and taking a logged mail out again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import JSONResponse, Response

from relay.admin.inputs import email_address
from relay.console import unmatched
from relay.console.salesforce import need_org, open_org
from relay.core.access import Caller, Scope
from relay.core.addresses import address_key
from relay.core.directory import Role
from relay.core.errors import InvalidInput, NotFound
from relay.core.filters import parse
from relay.reconcile.undo import undo
from relay.unmatched import Candidates
from relay.web.api import models
from relay.web.api.mails import Asked, own_filter, own_id, page_of_log, shown
from relay.web.api.models import Sent, Shown
from relay.web.api.problems import Problem
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

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.core.filters import Filter
    from relay.unmatched import Entry

READ = needs(Scope.LOG_READ)
PEOPLE = needs(Scope.USERS_READ)
FORGET = needs(Scope.USERS_WRITE)
WRITE = needs(Scope.QUEUE_WRITE)


class NewRecords(Sent):
    """What is to be made of the people of a mail."""

    object: Literal["Lead", "Contact"]
    account: str | None = Field(
        default=None, max_length=18, description="The Account of Contacts."
    )
    address: str | None = Field(
        default=None, max_length=300, description="Of this person alone."
    )


class MadeRecord(Shown):
    """A person, and the record that stands for them now."""

    address: str
    object: str
    id: str
    how: Literal["created", "known", "refused"]
    detail: str


class MadeRecords(Shown):
    """The records; the message is queued again where one was made or is known."""

    records: list[MadeRecord]


class Requeued(Shown):
    """Messages that are queued again."""

    ids: list[str]


def making_router(context: Context) -> APIRouter:
    """Return the routes that make records of people, and match anew."""
    router = APIRouter(tags=["unmatched"])
    store = context.store

    @router.post(
        "/unmatched/{id}/create",
        response_model=MadeRecords,
        summary="Make Leads or Contacts of its people, and log it on them",
    )
    async def create(
        id: str,  # noqa: A002
        new: NewRecords,
        who: Annotated[Caller, WRITE],
    ) -> JSONResponse:
        id_, _ = await own_id(context, who, id)
        messages = await unmatched.named(store, who, [id_])
        async with need_org(context.settings, context.clock) as org:
            made = await unmatched.create(
                *(context.settings, store, org, who, messages, new.object),
                clock=context.clock,
                account=new.account,
                only=email_address(new.address) if new.address else None,
            )
        return answer({"records": [one.as_json() for one in made]})

    @router.post(
        "/unmatched/{id}/rematch",
        response_model=Requeued,
        summary="Match it anew, because records or rules have changed",
    )
    async def rematch(id: str, who: Annotated[Caller, WRITE]) -> JSONResponse:  # noqa: A002
        id_, _ = await own_id(context, who, id)
        messages = await unmatched.named(store, who, [id_])
        return answer({"ids": await unmatched.rematch(store, who, messages)})

    return router


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
        entries = await Candidates(store, None).listed([row["id"] for row in rows])
        items = [shown(who, _row(one)) for one in entries]
        return answer({"items": items, "next": more})

    @router.get(
        "/unmatched/count",
        response_model=models.UnmatchedCount,
        summary="Count the unmatched messages that a filter fits",
    )
    async def count(who: Annotated[Caller, READ], wanted: Asked) -> JSONResponse:
        return answer({"count": len(await _fitting(context, who, wanted))})

    @router.post(
        "/unmatched/actions",
        response_model=models.DecidedMany,
        summary="Decide all unmatched messages that a filter fits",
    )
    async def decide_many(
        many: models.ManyUnmatched, who: Annotated[Caller, WRITE]
    ) -> JSONResponse:
        wanted = parse(many.filter, context.clock.now())
        ids = await _fitting(context, who, wanted)
        if len(ids) != many.expected:
            detail = f"the filter fits {len(ids)} messages, not {many.expected}"
            hint = "count again, and send the number"
            raise Problem(409, "count_changed", detail, hint, count=len(ids))
        if many.action == "resolve":
            return answer(await _resolve_many(context, who, ids, many))
        messages = await unmatched.named(store, who, ids)
        plan = await unmatched.plan_ignore(
            *(store, who, messages),
            whole_domain=many.whole_domain,
            everybody=many.everybody,
        )
        done = await unmatched.ignore(
            store, who, messages, plan, confirmed=many.confirm
        )
        patterns = [pattern for pattern, _ in plan.rules]
        return answer({"ids": done, "records": [], "patterns": patterns})

    @router.get(
        "/unmatched/{id}",
        response_model=models.UnmatchedMail,
        summary="Show one, with the records that may be meant; Salesforce is searched",
    )
    async def show(id: str, who: Annotated[Caller, READ]) -> JSONResponse:  # noqa: A002
        id_, _ = await own_id(context, who, id)
        async with open_org(context.settings, context.clock) as org:
            entry = await unmatched.entry(store, org, who, id_)
            return answer(shown(who, _row(entry)))

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


async def _fitting(context: Context, who: Caller, wanted: Filter) -> list[str]:
    """Return the unmatched messages that a filter fits and the caller may decide.

    Raises:
        InvalidInput: More fit than one decision is about.
    """
    asked = await own_filter(context, who, replace(wanted, state=("unmatched",)))
    found: list[str] = []
    async for part in context.store.log.ids(asked):
        found += part
        if len(found) > unmatched.MOST_AT_ONCE:
            problem = f"more than {unmatched.MOST_AT_ONCE} messages fit"
            raise InvalidInput(problem, "narrow the filter, for instance by a time")
    return found


async def _resolve_many(
    context: Context, who: Caller, ids: Sequence[str], many: models.ManyUnmatched
) -> dict[str, Any]:
    if not many.records:
        raise InvalidInput("no record is named", "send the records to log them on")
    if not ids:
        return {"ids": [], "records": [], "patterns": []}
    async with need_org(context.settings, context.clock) as org:
        done = await unmatched.resolve(
            *(context.store, org, who, ids, many.records),
            address=many.address,
            remember=many.remember,
        )
    records = [
        {"object": one.object, "id": one.record_id, "name": one.name}
        for one in done.records
    ]
    return {"ids": done.ids, "records": records, "patterns": []}


def remembered_router(context: Context) -> APIRouter:
    """Return the routes of remembered addresses."""
    router = APIRouter(tags=["unmatched"])
    store = context.store

    async def one(address: str) -> dict[str, Any]:
        key = address_key(address)
        for row in await unmatched.remembered(store):
            if row["address"] == key:
                return row
        text = f"{address!r} belongs to no record because somebody said so"
        raise NotFound(text)

    @router.get(
        "/remembered-addresses",
        response_model=models.RememberedAddresses,
        summary="List the addresses that belong to a record by somebody's choice",
    )
    async def list_remembered(
        who: Annotated[Caller, PEOPLE], cursor: Cursor = None, limit: Limit = USUAL
    ) -> JSONResponse:
        del who
        rows = await unmatched.remembered(store)
        asked = ["remembered"]
        return answer(page_of(rows, lambda row: row["address"], cursor, limit, asked))

    @router.get(
        "/remembered-addresses/{address}",
        response_model=models.RememberedAddress,
        summary="Show one",
    )
    async def show(address: str, who: Annotated[Caller, PEOPLE]) -> JSONResponse:
        del who
        return tagged(await one(address))

    @router.delete(
        "/remembered-addresses/{address}",
        status_code=204,
        summary="Let an address belong to no record any more",
    )
    async def forget(
        address: str, who: Annotated[Caller, FORGET], if_match: IfMatch = None
    ) -> Response:
        async def edit() -> None:
            row = await one(address)
            matches(if_match, row)
            await unmatched.forget(store, row["address"], who.name)

        await in_step(context, edit)
        return Response(status_code=204)

    return router


def _row(entry: Entry) -> dict[str, Any]:
    """Return a message with its people, as `relay unmatched show --json` does."""
    return entry.as_json() | {"people": [one.as_json() for one in entry.people]}
