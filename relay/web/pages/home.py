"""The first page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from relay.web.pages.render import page

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from relay.web.pages.context import Context


def routes(context: Context) -> list[Route]:
    """Return the routes of the first page."""

    async def show(request: Request) -> Response:
        return page(request, "home/home.html", now=context.clock.now())

    return [Route("/", show, name="home")]
