"""Puts the API together: routes, errors, and the document that describes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter, Depends, FastAPI, Security
from fastapi.security import HTTPBearer
from starlette.requests import Request
from starlette.routing import BaseRoute, Match

from relay import __version__
from relay.web.api import models
from relay.web.api.claims import claims_router
from relay.web.api.diagnostics import (
    diagnostics_router,
    presets_router,
    replays_router,
)
from relay.web.api.events import events_router
from relay.web.api.gate import SECRETS, Gate
from relay.web.api.logging import logging_router
from relay.web.api.mails import mails_router
from relay.web.api.people import (
    addresses_router,
    exclusions_router,
    relay_addresses_router,
    users_router,
)
from relay.web.api.people_import import user_import_router
from relay.web.api.problems import TYPE, Problem, install
from relay.web.api.reminder_sync import reminder_sync_router
from relay.web.api.reminders import reminders_router
from relay.web.api.rules import rules_router
from relay.web.api.sign_in import invitations_router, sessions_router
from relay.web.api.tokens import tokens_router
from relay.web.api.unmatched import (
    making_router,
    remembered_router,
    unmatched_router,
)
from relay.web.api.wire import Context

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from fastapi.dependencies.models import Dependant
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

    from relay.core.access import Caller

PREFIX: Final = "/api/"
_PROBLEMS: Final = {
    400: "The request cannot be read.",
    401: "No token, or one that has expired.",
    403: "The token may not do this.",
    404: "There is no such thing.",
    405: "This path takes other methods.",
    408: "The mail came too slowly.",
    409: "What there is stands in the way.",
    412: "It was changed since it was read.",
    413: "The body is too large.",
    415: "The body is of another kind.",
    422: "A value does not fit.",
    428: "The change names no ETag.",
    429: "Too many requests; Retry-After says how long to wait.",
    500: "The relay has a fault.",
    503: "The store does not answer now; Retry-After says how long to wait.",
    507: "The disk is full.",
}
_ABOUT: Final = """Every answer that is no success is `application/problem+json` with a
stable word in `error` and what helps in `hint`. Lists have `items` and `next`, which is
the `cursor` of the next page. What is edited has an `ETag`, and its change names it in
`If-Match`. A POST may carry an `Idempotency-Key`: sent again within a day, it gets the
first answer and does nothing. See docs/api.md."""


def known_parameters(request: Request) -> None:
    """Refuse a query parameter that the route does not know: it may be misspelt.

    Raises:
        Problem: 422; names it, and those that the route knows.
    """
    values = (*request.path_params.values(), *request.query_params.values())
    if any(map(models.has_no_text, values)):
        detail = "a parameter has NUL, or half of a character"
        raise Problem(422, "invalid", detail, "leave that out")
    known = sorted(set(_parameters(request.scope["route"].dependant)))
    if unknown := sorted(set(request.query_params) - set(known)):
        detail = f"{', '.join(unknown)}: no such parameter here"
        hint = f"write one of {', '.join(known)}" if known else "leave it out"
        raise Problem(422, "invalid", detail, hint)


def _parameters(of: Dependant) -> Iterator[str]:
    """Yield the names of the query parameters of a route."""
    yield from (field.alias for field in of.query_params)
    for one in of.dependencies:
        yield from _parameters(one)


def create_api(
    context: Context, submit: Callable[[Request, Caller], Awaitable[Response]]
) -> ASGIApp:
    """Return the API behind its gate.

    Args:
        context: Store, settings, clock and feed.
        submit: Takes one mail in for a caller.
    """
    api = FastAPI(
        title="Relay",
        version=__version__,
        description=_ABOUT,
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        redirect_slashes=False,
    )
    api.state.context = context
    install(api)
    responses: dict[int | str, dict[str, Any]] = {
        status: {"description": text, "content": {TYPE: {"schema": _REF}}}
        for status, text in _PROBLEMS.items()
    }
    token = HTTPBearer(
        auto_error=False, scheme_name="token", description="relay token add NAME"
    )
    every = APIRouter(
        prefix="/api/v1",
        responses=responses,
        dependencies=[Security(token), Depends(known_parameters)],
    )
    for router in (
        users_router(context),
        relay_addresses_router(context),
        user_import_router(context),
        invitations_router(context),
        sessions_router(context),
        addresses_router(context),
        exclusions_router(context),
        mails_router(context, submit),
        events_router(context),
        unmatched_router(context),
        making_router(context),
        remembered_router(context),
        claims_router(context),
        tokens_router(context),
        diagnostics_router(context),
        presets_router(context),
        replays_router(context),
        rules_router(context),
        reminders_router(context),
        logging_router(context),
        reminder_sync_router(context),
    ):
        every.include_router(router)
    api.include_router(every)
    made = api.openapi

    def openapi() -> dict[str, Any]:
        document = made()
        schemas = document["components"]["schemas"]
        for model in (models.ProblemBody, models.FieldProblem):
            found = model.model_json_schema(ref_template=_SCHEMA)
            found.pop("$defs", None)
            schemas[model.__name__] = found
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        for path, item in document["paths"].items():
            if "post" in item and not SECRETS.fullmatch(path):
                parameters = item["post"].setdefault("parameters", [])
                if _KEY not in parameters:
                    parameters.append(_KEY)
        return document

    api.openapi = openapi  # type: ignore[method-assign]
    return Gate(
        api,
        context.store,
        context.clock,
        per_minute=context.settings.web.api_requests_per_minute,
        monitor_sees_bodies=context.settings.web.monitor_sees_bodies,
    )


_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    "description": "Sent again with the same request within a day, it gets the first "
    "answer and does nothing.",
}
_SCHEMA: Final = "#/components/schemas/{model}"
_REF: Final = {"$ref": "#/components/schemas/ProblemBody"}


class APIRoute(BaseRoute):
    """Hands everything under `/api/` to the API, paths unchanged."""

    def __init__(self, api: ASGIApp) -> None:
        """Take the API."""
        self.api = api

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Say whether a request is for the API."""
        ours = scope["type"] == "http" and scope["path"].startswith(PREFIX)
        return (Match.FULL if ours else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer it."""
        await self.api(scope, receive, send)
