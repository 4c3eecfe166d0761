"""The route of the live view."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response

from relay.console.feed import Look, Seen, TooManyWatchers
from relay.core.access import Caller, Scope
from relay.web.api.mails import Asked, own_filter, shown
from relay.web.api.problems import Problem
from relay.web.api.wire import Context, needs
from relay.web.stream import LAST, TYPE, EventStream, as_json

READ = needs(Scope.LOG_READ)
_WAIT_S = 30
_ABOUT = """Server-Sent Events: `new` and `changed` with a message or refusal as JSON,
and `lost` where too much came in between: list anew then. The id of an event is the
cursor behind it; send the last one as `Last-Event-ID`, or as `after`, and nothing is
missed. The cursor comes alone every 15 s."""


def events_router(context: Context) -> APIRouter:
    """Return the route."""
    router = APIRouter(tags=["messages"])

    @router.get(
        "/events",
        response_class=Response,
        responses={200: {"content": {TYPE: {"schema": {"type": "string"}}}}},
        summary="Watch messages and refusals come and change",
        description=_ABOUT,
    )
    async def events(
        request: Request,
        who: Annotated[Caller, READ],
        wanted: Asked,
        after: Annotated[
            str | None,
            Query(max_length=50, description="The cursor to go on from; else now."),
        ] = None,
        last: Annotated[
            str | None,
            Header(alias=LAST, max_length=50, description="The same; it comes first."),
        ] = None,
    ) -> Response:
        asked = await own_filter(context, who, wanted)
        watch = context.feed.watch(who.name, asked, last or after)
        try:
            first: Look = await anext(watch)
        except TooManyWatchers as error:
            raise _too_many(error) from None
        except StopAsyncIteration:
            raise _too_many(TooManyWatchers(own=False)) from None

        def written(seen: Seen) -> str:
            return as_json(Seen(seen.cursor, seen.is_new, shown(who, seen.row)))

        return EventStream(first, watch, still=request.state.still, write=written)

    return router


def _too_many(error: TooManyWatchers) -> Problem:
    wait = {"Retry-After": str(_WAIT_S)}
    if error.own:
        hint = "close one that is open, or wait"
        detail = "this token has as many live views open as it may"
        return Problem(429, "too_many_requests", detail, hint, headers=wait)
    hint = "wait, and connect again"
    detail = "as many live views are open as there may be, or the relay is stopping"
    return Problem(503, "too_many_watchers", detail, hint, headers=wait)
