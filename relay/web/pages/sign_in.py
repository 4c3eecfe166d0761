"""Signing in and out, and the one-time link by which a password is set.

Opening a link shows a form and uses nothing up: mail scanners open every link. A
sign-in always begins a new session with a new cookie, whatever cookie came with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from relay.accounts import LinkEnded, TooManyTries, WrongPassword
from relay.accounts.passwords import SHORTEST, WeakPassword
from relay.core.errors import NotFound
from relay.web.pages.guard import (
    SIGN_IN,
    give_cookie,
    go,
    local_path,
    take_cookie,
)
from relay.web.pages.render import page

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from relay.accounts import Accounts, SignedIn


def routes(accounts: Accounts) -> list[Route]:
    """Return the routes of the sign-in."""
    pages = SignInPages(accounts)
    link = f"{SIGN_IN}/link/{{token}}"
    return [
        Route(SIGN_IN, pages.show, name="sign_in"),
        Route(SIGN_IN, pages.sign_in, methods=["POST"], name="sign_in_post"),
        Route(link, pages.show_link, name="sign_in_link"),
        Route(link, pages.use_link, methods=["POST"], name="sign_in_link_post"),
        Route("/sign-out", pages.sign_out, methods=["POST"], name="sign_out"),
    ]


class SignInPages:
    """The pages of the sign-in."""

    def __init__(self, accounts: Accounts) -> None:
        """Take what signs people in."""
        self._accounts = accounts

    async def show(self, request: Request) -> Response:
        """Show the form; who is signed in goes on."""
        wanted = local_path(request.query_params.get("next"))
        if request.state.caller is not None:
            return go(request, wanted)
        return _form(request, wanted)

    async def sign_in(self, request: Request) -> Response:
        """Sign somebody in by address and password."""
        form = await request.form()
        address, password = str(form.get("address", "")), str(form.get("password", ""))
        wanted = local_path(str(form.get("next", "")))
        try:
            signed_in = await self._accounts.by_password(
                address, password, request.state.peer
            )
        except WrongPassword:
            return _form(request, wanted, 403, address=address, problem="wrong")
        except TooManyTries as error:
            return _wait(
                _form(request, wanted, 429, address=address, error=error), error
            )
        return await self._go_on(request, signed_in, wanted)

    async def show_link(self, request: Request) -> Response:
        """Show whose password a link sets; use nothing up."""
        try:
            link = await self._accounts.link(request.path_params["token"])
        except LinkEnded:
            return _ended(request)
        return _link_form(request, user=link.user)

    async def use_link(self, request: Request) -> Response:
        """Set the password, and sign its user in."""
        form = await request.form()
        password, again = str(form.get("password", "")), str(form.get("again", ""))
        token = request.path_params["token"]
        try:
            link = await self._accounts.link(token)
            if password != again:
                return _link_form(request, 422, user=link.user, problem="differ")
            signed_in = await self._accounts.use_link(
                token, password, request.state.peer
            )
        except WeakPassword as error:
            return _link_form(request, 422, user=link.user, problem=error.weak.value)
        except (LinkEnded, WrongPassword):
            return _ended(request)
        except TooManyTries as error:
            return _wait(_link_form(request, 429, user=link.user, error=error), error)
        return await self._go_on(request, signed_in, "/")

    async def sign_out(self, request: Request) -> Response:
        """End the session of this browser."""
        await self._end(request)
        answer = go(request, SIGN_IN)
        take_cookie(request, answer)
        # A browser that several people use shall keep nothing of these pages.
        answer.headers["Clear-Site-Data"] = '"cache", "storage"'
        return answer

    async def _go_on(
        self, request: Request, signed_in: SignedIn, wanted: str
    ) -> Response:
        """Give the browser its new session; one that it had before ends."""
        await self._end(request)
        answer = go(request, wanted)
        request.state.fresh_secret = None
        give_cookie(request, answer, signed_in.secret)
        return answer

    async def _end(self, request: Request) -> None:
        session = request.state.session
        if session is None:
            return
        try:
            await self._accounts.sign_out(session)
        except NotFound:
            return  # Ended elsewhere in the same moment.


def _form(
    request: Request,
    wanted: str,
    status: int = 200,
    *,
    address: str = "",
    problem: str = "",
    error: TooManyTries | None = None,
) -> Response:
    return page(
        request,
        "sign_in/sign_in.html",
        status,
        next=wanted,
        address=address[:320],
        problem="wait" if error else problem,
        wait_s=error.wait_s if error else 0,
    )


def _link_form(
    request: Request,
    status: int = 200,
    *,
    user: object,
    problem: str = "",
    error: TooManyTries | None = None,
) -> Response:
    return page(
        request,
        "sign_in/link.html",
        status,
        user=user,
        shortest=SHORTEST,
        problem="wait" if error else problem,
        wait_s=error.wait_s if error else 0,
    )


def _ended(request: Request) -> Response:
    return page(request, "sign_in/link_ended.html", 410)


def _wait(answer: Response, error: TooManyTries) -> Response:
    answer.headers["Retry-After"] = str(error.wait_s)
    return answer
