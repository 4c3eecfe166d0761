"""Puts the pages together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.routing import Route

from relay.web.pages import assets, home, log, unmatched
from relay.web.pages.context import who_asks
from relay.web.pages.render import page

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import ASGIApp, Receive, Scope, Send

    from relay.web.pages.context import Context

THINGS = (
    home,
    log,
    unmatched,
)
"""Each file with routes of pages; one a line, in the order of the menu."""


def create_pages(context: Context) -> list[Route]:
    """Return the routes of all pages, and of the files that they load."""
    routes = [route for thing in THINGS for route in thing.routes(context)]
    return [
        *assets.routes(),
        *(
            Route(
                route.path,
                route.endpoint,
                methods=sorted(route.methods or {"GET"}),
                name=route.name,
                middleware=[Middleware(_SignedIn)],
            )
            for route in routes
        ),
    ]


def page_paths(routes: Sequence[Route]) -> frozenset[str]:
    """Return the paths that a menu may lead to."""
    return frozenset(route.path for route in routes)


class _SignedIn:
    """Lets only who is signed in pass."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        if who_asks(request) is not None:
            await self._app(scope, receive, send)
            return
        await page(request, "closed.html", 401)(scope, receive, send)
