"""My account: who somebody is here, their password, and where they are signed in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from relay.accounts import TooManyTries, WrongPassword
from relay.accounts.passwords import SHORTEST, WeakPassword
from relay.core.errors import NotFound
from relay.web.pages.guard import refusal
from relay.web.pages.render import page, reader_of, say_and_go

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from relay.accounts import Accounts
    from relay.web.pages.context import Context

PATH = "/account"


def routes(context: Context, accounts: Accounts) -> list[Route]:
    """Return the routes of the account."""
    pages = AccountPages(context, accounts)
    sessions = f"{PATH}/sessions"
    return [
        Route(PATH, pages.show, name="account"),
        Route(
            f"{PATH}/password",
            pages.change_password,
            methods=["POST"],
            name="account_password",
        ),
        Route(
            f"{sessions}/end",
            pages.end_others,
            methods=["POST"],
            name="account_session_end_all",
        ),
        Route(
            f"{sessions}/{{id:int}}/end",
            pages.end_session,
            methods=["POST"],
            name="account_session_end",
        ),
    ]


class AccountPages:
    """The pages of My account."""

    def __init__(self, context: Context, accounts: Accounts) -> None:
        """Take the store, and what signs people in."""
        self._context = context
        self._accounts = accounts

    async def show(self, request: Request) -> Response:
        """Show it."""
        return await self._page(request)

    async def change_password(self, request: Request) -> Response:
        """Set a new password for who knows the old one."""
        form = await request.form()
        old, new = str(form.get("old", "")), str(form.get("password", ""))
        if new != str(form.get("again", "")):
            return await self._page(request, 422, problem="differ")
        try:
            await self._accounts.change_password(
                request.state.session, old, new, request.state.peer
            )
        except WrongPassword:
            return await self._page(request, 403, problem="wrong")
        except WeakPassword as error:
            return await self._page(request, 422, problem=error.weak.value)
        except TooManyTries as error:
            answer = await self._page(request, 429, problem="wait")
            answer.headers["Retry-After"] = str(error.wait_s)
            return answer
        _ = reader_of(request).gettext
        text = _("Your password is changed. Other browsers are signed out.")
        return say_and_go(request, PATH, text)

    async def end_session(self, request: Request) -> Response:
        """Sign another browser of the user out."""
        user = request.state.session.user
        number = request.path_params["id"]
        try:
            await self._context.store.accounts.end_session(
                user.id, number, request.state.caller.name
            )
        except NotFound:
            return refusal(request, 404, "not_found")
        _ = reader_of(request).gettext
        return say_and_go(request, PATH, _("That browser is signed out."))

    async def end_others(self, request: Request) -> Response:
        """Sign every other browser of the user out."""
        session = request.state.session
        count = await self._context.store.accounts.end_sessions(
            session.user.id, request.state.caller.name, keep=session.id
        )
        text = reader_of(request).ngettext(
            "%(n)s other browser is signed out.",
            "%(n)s other browsers are signed out.",
            count,
        )
        return say_and_go(request, PATH, text)

    async def _page(
        self, request: Request, status: int = 200, *, problem: str = ""
    ) -> Response:
        user = request.state.session.user
        return page(
            request,
            "account/account.html",
            status,
            user=user,
            session=request.state.session,
            sessions=await self._context.store.accounts.sessions(user.id),
            problem=problem,
            shortest=SHORTEST,
        )
