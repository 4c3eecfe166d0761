"""Routes of messages and refusals: find, look at, submit, and do to them."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import JSONResponse, Response

from relay.console import mails
from relay.console.people import not_yours
from relay.core.access import Caller, Scope
from relay.core.directory import Role
from relay.core.errors import NotFound
from relay.core.filters import LONGEST, STATES, Filter, parse, read_condition, read_time
from relay.core.states import Event
from relay.diagnose.hints import hint_for
from relay.web.api import models
from relay.web.api.problems import Problem
from relay.web.api.wire import (
    MOST,
    USUAL,
    Context,
    Cursor,
    Limit,
    Number,
    answer,
    needs,
    page_of_rows,
    read_cursor,
    tagged,
    write_cursor,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from relay.core.model import LogFilter

READ = needs(Scope.LOG_READ)
RAW = needs(Scope.RAW_READ)
WRITE = needs(Scope.QUEUE_WRITE)
SUBMIT = needs(Scope.MAIL_SUBMIT)

EVENTS: Final = {
    "retry": Event.REQUEUE,
    "hold": Event.HOLD,
    "release": Event.RELEASE,
    "discard": Event.DISCARD,
}
RELAY_ADDRESS: Final = re.compile(r"\blog-[a-z2-7]{20}\b", re.IGNORECASE)
_Q = Annotated[
    str,
    Query(
        max_length=LONGEST,
        description="A filter: state:dead user:ada@corp.com since:2h domain:acme.com "
        "text.",
    ),
]
_Many = Annotated[list[str] | None, Query(max_length=20)]
_When = Annotated[str | None, Query(max_length=40)]


def of_parameters(
    request: Request,
    q: _Q = "",
    state: Annotated[
        list[str] | None,
        Query(description=f"Any of: {', '.join(STATES)}.", max_length=20),
    ] = None,
    user: _Many = None,
    address: _Many = None,
    domain: _Many = None,
    text: _Many = None,
    reason: _Many = None,
    cause: _Many = None,
    message_id: _Many = None,
    id: Annotated[  # noqa: A002 - its name on the wire
        list[str] | None, Query(description="How an id begins.", max_length=20)
    ] = None,
    since: _When = None,
    until: _When = None,
) -> Filter:
    """Return what is asked for by a filter and by single parameters together."""
    now = request.app.state.context.clock.now()
    given = {
        "state": state,
        "user": user,
        "address": address,
        "domain": domain,
        "text": text,
        "reason": reason,
        "cause": cause,
        "message_id": message_id,
        "id": id,
    }
    lists = {
        name: tuple(read_condition(name, one) for one in values or ())
        for name, values in given.items()
    }
    return parse(q, now).merged(
        Filter(
            **lists,
            since=read_time(since, now) if since else None,
            until=read_time(until, now, end=True) if until else None,
        )
    )


Asked = Annotated[Filter, Depends(of_parameters)]


async def own_filter(context: Context, who: Caller, wanted: Filter) -> LogFilter:
    """Return the filter for the store: a rep sees the rep's own mail.

    Raises:
        NotAllowed: A rep names another user.
    """
    try:
        asked = await mails.log_filter(context.store, wanted)
    except NotFound:
        if who.own_only is not None:
            raise not_yours() from None
        raise
    if who.own_only is None:
        return asked
    if set(asked.user_ids) - {who.own_only}:
        raise not_yours()
    return replace(asked, user_ids=(who.own_only,))


def shown(who: Caller, value: Any) -> Any:
    """Return rows without relay addresses, for who may not know them."""
    if who.user is None or who.user.role is not Role.MONITOR:
        return value
    if isinstance(value, str):
        return RELAY_ADDRESS.sub("log-…", value)
    if isinstance(value, dict):
        return {key: shown(who, one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [shown(who, one) for one in value]
    return value


async def own_id(context: Context, who: Caller, text: str) -> tuple[str, str]:
    """Return id and kind of a row that the caller may see; its beginning is enough.

    Raises:
        NotFound: There is none, or a rep asks for another's: both look the same.
    """
    return await mails.whole_id(context.store, text, who.own_only)


async def page_of_log(
    context: Context,
    who: Caller,
    wanted: Filter,
    name: str,
    *,
    cursor: str | None,
    limit: int,
) -> tuple[Sequence[Mapping[str, Any]], str | None]:
    """Return a page of the log that the caller may see, and the cursor of the next.

    Args:
        context: Of the API.
        who: The caller.
        wanted: What is asked for.
        name: Of the list; a cursor of one list is refused by another.
        cursor: Of the page; None for the first.
        limit: Rows at most.
    """
    asked = await own_filter(context, who, wanted)
    # Times such as 2h move on from page to page, and are left out of account.
    question = [name, replace(wanted, since=None, until=None)]
    after = read_cursor(cursor, question, str)
    page = await context.store.log.page(
        replace(asked, newest_first=True, after_id=after), limit
    )
    end = page.after_id
    return page.rows, None if end is None else write_cursor(end, question)


def mails_router(
    context: Context, submit: Callable[[Request, Caller], Awaitable[Response]]
) -> APIRouter:
    """Return the routes; `submit` takes one mail in."""
    router = APIRouter(tags=["messages"])
    store = context.store

    @router.get(
        "/messages",
        response_model=models.Mails,
        summary="Find messages and refusals, the latest first",
    )
    async def find(
        who: Annotated[Caller, READ],
        wanted: Asked,
        cursor: Cursor = None,
        limit: Limit = USUAL,
    ) -> JSONResponse:
        rows, more = await page_of_log(
            *(context, who, wanted), "messages", cursor=cursor, limit=limit
        )
        return answer({"items": [shown(who, row) for row in rows], "next": more})

    @router.post(
        "/messages",
        response_model=models.Submitted,
        status_code=202,
        summary="Hand a mail over",
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {
                    "message/rfc822": {"schema": {"type": "string"}},
                },
            },
        },
    )
    async def post(
        request: Request,
        who: Annotated[Caller, SUBMIT],
        user: Annotated[
            str | None,
            Query(max_length=300, description="For whom, where the token is for all."),
        ] = None,
    ) -> Response:
        del user  # Read where the mail is taken in.
        return await submit(request, who)

    @router.get(
        "/messages/count",
        response_model=models.Count,
        summary="Count the messages that an action would change",
    )
    async def count(
        who: Annotated[Caller, READ],
        action: Annotated[str, Query(description=f"One of {', '.join(EVENTS)}.")],
        wanted: Asked,
    ) -> JSONResponse:
        event = event_of(who, action)
        asked = await own_filter(context, who, wanted)
        number = await mails.count(store, event, asked)
        return answer({"action": action, "count": number})

    @router.post(
        "/messages/actions",
        response_model=models.ActionDone,
        summary="Retry, hold, release or discard all messages that a filter fits",
    )
    async def act(action: models.Action, who: Annotated[Caller, WRITE]) -> JSONResponse:
        event = event_of(who, action.action)
        wanted = parse(action.filter, context.clock.now())
        asked = await own_filter(context, who, wanted)
        number = await mails.count(store, event, asked)
        if number != action.expected:
            detail = f"the filter fits {number} messages, not {action.expected}"
            hint = "count again, and send the number"
            raise Problem(409, "count_changed", detail, hint, count=number)
        done = mails.act_of(who)
        changes = await mails.apply(store, event, asked, done)
        return answer(
            {
                "action": action.action,
                "changed": len(changes),
                "change": done.number,
            }
        )

    @router.post(
        "/messages/actions/{number}/undo",
        response_model=models.ActionUndone,
        summary="Take back what was done to one message or many, where they still wait",
    )
    async def undo(number: Number, who: Annotated[Caller, WRITE]) -> JSONResponse:
        back = await mails.take_back(store, who, number)
        return answer(
            {
                "text": mails.taken_back_words(back),
                "change": back.number,
                "undone_by": back.by,
                "back": back.back,
                "left": back.left,
            }
        )

    @router.get(
        "/messages/{id}",
        response_model=models.WholeMail,
        summary="Show a message or refusal with its trace",
    )
    async def show(id: str, who: Annotated[Caller, READ]) -> JSONResponse:  # noqa: A002
        id_, _ = await own_id(context, who, id)
        row = await mails.whole_row(store, id_)
        more = {
            "hint": await hint_for(store, row),
            "org_url": str(context.settings.salesforce.instance_url or ""),
        }
        return tagged(shown(who, row | more))

    @router.get(
        "/messages/{id}/attempts",
        response_model=models.Attempts,
        summary="List every attempt, and what people did",
    )
    async def attempts(
        id: str,  # noqa: A002
        who: Annotated[Caller, READ],
        cursor: Cursor = None,
        limit: Limit = MOST,
    ) -> JSONResponse:
        id_, _ = await own_id(context, who, id)
        rows = shown(who, await store.log.attempts(id_))
        return answer(page_of_rows(rows, cursor, limit, ["attempts", id_]))

    @router.get(
        "/messages/{id}/raw",
        response_class=Response,
        responses={
            200: {"content": {"message/rfc822": {"schema": {"type": "string"}}}}
        },
        summary="Read the whole mail; the history says who did",
    )
    async def raw(id: str, who: Annotated[Caller, RAW]) -> Response:  # noqa: A002
        id_, kind = await own_id(context, who, id)
        if kind != "message":
            text = f"{id_} is a refusal: nothing was stored"
            raise NotFound(text)
        data = await store.messages.raw(await store.log.blob_id(id_))
        _, user_id = await store.log.owner(id_)
        await store.history.note("mail_read", id_, who.name, user_id)
        named = {"Content-Disposition": f'attachment; filename="{id_}.eml"'}
        return Response(data, headers=named, media_type="message/rfc822")

    for name, event in EVENTS.items():
        _action(router, context, name, event)
    return router


def _action(router: APIRouter, context: Context, name: str, event: Event) -> None:
    @router.post(
        f"/messages/{{id}}/{name}",
        response_model=models.Changed,
        summary=f"{name.capitalize()} a message",
        name=name,
    )
    async def act(id: str, who: Annotated[Caller, WRITE]) -> JSONResponse:  # noqa: A002
        event_of(who, name)
        id_, kind = await own_id(context, who, id)
        if kind != "message":
            text = f"{id_} is a refusal: nothing was stored"
            raise NotFound(text)
        done = mails.act_of(who)
        ((changed, old, new),) = await context.store.queue.apply(
            event, [id_], None, done
        )
        return answer(
            {
                "id": changed,
                "event": event.value,
                "was": old.value,
                "state": new.value,
                "change": done.number,
            }
        )


def event_of(who: Caller, name: str) -> Event:
    """Return the event of an action that the caller may ask for.

    Raises:
        Problem: There is no such action, or only admins may release: what is held waits
            because nothing proves its author.
    """
    if name not in EVENTS:
        hint = f"name one of {', '.join(EVENTS)}"
        raise Problem(422, "invalid", f"{name!r} is no action", hint)
    user = who.user
    if name == "release" and user is not None and user.role is not Role.ADMIN:
        hint = "an admin releases it, or its author by the link in the notice"
        detail = f"a {user.role} may not release mail that is held"
        raise Problem(403, "not_allowed", detail, hint)
    return EVENTS[name]
