"""Signing in and out, and the one-time link by which a password is set.

Opening a link shows a form and uses nothing up: mail scanners open every link. A
sign-in always begins a new session with a new cookie, whatever cookie came with it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from starlette.responses import RedirectResponse
from starlette.routing import Route

from relay.accounts import LinkEnded, TooManyTries, WrongPassword
from relay.accounts.factors import site_of
from relay.accounts.oidc import BACK_PATH, LIFE, OIDC, ProviderUnavailable
from relay.accounts.passwords import SHORTEST, WeakPassword
from relay.console.sign_in import link_mail
from relay.core.accounts import Level
from relay.core.errors import NotFound
from relay.web.pages.guard import (
    SIGN_IN,
    give_cookie,
    go,
    local_path,
    refusal,
    secret_of,
    take_cookie,
)
from relay.web.pages.render import page

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from relay.accounts import Accounts, SignedIn
    from relay.accounts.factors import Factors, Site
    from relay.accounts.service import LinkMail
    from relay.config import Settings
    from relay.web.pages.context import Context


_STATE_COOKIE: Final = "relay_oidc"
"""What has to come back from the provider; no session."""


def routes(context: Context, accounts: Accounts, factors: Factors) -> list[Route]:
    """Return the routes of the sign-in."""
    settings = context.settings
    oidc = OIDC(settings, context.store) if settings.oidc.issuer else None
    pages = SignInPages(settings, accounts, factors, oidc)
    pages.link_mail = link_mail(settings, invites=False)
    link, second = f"{SIGN_IN}/link/{{token}}", f"{SIGN_IN}/second"
    forgot = f"{SIGN_IN}/forgot"
    return [
        Route(SIGN_IN, pages.show, name="sign_in"),
        Route(SIGN_IN, pages.sign_in, methods=["POST"], name="sign_in_post"),
        Route(
            f"{SIGN_IN}/passkey",
            pages.by_passkey,
            methods=["POST"],
            name="sign_in_passkey",
        ),
        Route(forgot, pages.show_forgot, name="sign_in_forgot"),
        Route(forgot, pages.forgot, methods=["POST"], name="sign_in_forgot_post"),
        Route(f"{SIGN_IN}/oidc", pages.to_provider, name="sign_in_oidc"),
        Route(BACK_PATH, pages.from_provider, name="sign_in_oidc_back"),
        Route(second, pages.show_second, name="sign_in_second"),
        Route(second, pages.second, methods=["POST"], name="sign_in_second_post"),
        Route(link, pages.show_link, name="sign_in_link"),
        Route(link, pages.use_link, methods=["POST"], name="sign_in_link_post"),
        Route("/sign-out", pages.sign_out, methods=["POST"], name="sign_out"),
    ]


class SignInPages:
    """The pages of the sign-in."""

    def __init__(
        self,
        settings: Settings,
        accounts: Accounts,
        factors: Factors,
        oidc: OIDC | None,
    ) -> None:
        """Take the settings, and what signs people in."""
        self._oidc = oidc
        self.link_mail: LinkMail | None = None
        self._accounts = accounts
        self._factors = factors
        self._settings = settings

    def _site(self, request: Request) -> Site | None:
        return site_of(
            self._settings, request.url.scheme, request.headers.get("host", "")
        )

    async def show(self, request: Request) -> Response:
        """Show the form; who is signed in goes on."""
        wanted = local_path(request.query_params.get("next"))
        if request.state.session is not None:
            return go(request, wanted)
        return await self._form(request, wanted)

    async def _form(
        self,
        request: Request,
        wanted: str,
        status: int = 200,
        *,
        address: str = "",
        problem: str = "",
        error: TooManyTries | None = None,
    ) -> Response:
        site = self._site(request)
        options = await self._factors.options_to_sign_in(site) if site else ""
        answer = page(
            request,
            "sign_in/sign_in.html",
            status,
            next=wanted,
            address=address[:320],
            options=options,
            provider=self._oidc.name if self._oidc else "",
            mails_links=self.link_mail is not None,
            problem="wait" if error else problem,
            wait_s=error.wait_s if error else 0,
        )
        return _wait(answer, error)

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
            return await self._form(
                request, wanted, 403, address=address, problem="wrong"
            )
        except TooManyTries as error:
            return await self._form(request, wanted, 429, address=address, error=error)
        return await self._go_on(request, signed_in, wanted)

    async def by_passkey(self, request: Request) -> Response:
        """Sign somebody in by a passkey alone: the device knows who holds it."""
        form, site = await request.form(), self._site(request)
        wanted = local_path(str(form.get("next", "")))
        if site is None:
            return await self._form(request, wanted, 403, problem="passkey")
        peer, sent = request.state.peer, str(form.get("credential", ""))
        try:
            user = await self._factors.by_passkey(sent, site, peer)
            signed_in = await self._accounts.begin(user, "passkey", peer, strong=True)
        except WrongPassword:
            return await self._form(request, wanted, 403, problem="passkey")
        except TooManyTries as error:
            return await self._form(request, wanted, 429, error=error)
        return await self._go_on(request, signed_in, wanted)

    # ------------------------------------------------------------ another site

    async def to_provider(self, request: Request) -> Response:
        """Send the browser to the provider, with a cookie that it brings back."""
        wanted = local_path(request.query_params.get("next"))
        if self._oidc is None:
            return refusal(request, 404, "not_found")
        try:
            begun = await self._oidc.begin(wanted)
        except ProviderUnavailable:
            return await self._form(request, wanted, 502, problem="oidc_down")
        answer = RedirectResponse(begun.url, 303)
        answer.set_cookie(
            _STATE_COOKIE,
            begun.cookie,
            max_age=int(LIFE.total_seconds()),
            path=request.scope.get("root_path", "") + BACK_PATH,
            httponly=True,
            samesite="lax",
            secure=request.url.scheme == "https",
        )
        return answer

    async def from_provider(self, request: Request) -> Response:
        """Sign in whom the provider names."""
        if self._oidc is None:
            return refusal(request, 404, "not_found")
        cookie, peer = request.cookies.get(_STATE_COOKIE, ""), request.state.peer
        try:
            user, wanted = await self._oidc.end(cookie, dict(request.query_params))
            signed_in = await self._accounts.begin(user, "oidc", peer, strong=True)
        except WrongPassword:
            return await self._form(request, "/", 403, problem="oidc")
        except ProviderUnavailable:
            return await self._form(request, "/", 502, problem="oidc_down")
        answer = await self._go_on(request, signed_in, local_path(wanted))
        answer.delete_cookie(
            _STATE_COOKIE, path=request.scope.get("root_path", "") + BACK_PATH
        )
        return answer

    # ------------------------------------------------------------ the second factor

    async def show_second(self, request: Request) -> Response:
        """Ask for the second factor of who has shown the password."""
        wanted = local_path(request.query_params.get("next"))
        if request.state.level is not Level.SECOND:
            return go(request, wanted)
        return await self._second_form(request, wanted)

    async def second(self, request: Request) -> Response:
        """Take a code or a passkey; the session is whole with it."""
        form, site = await request.form(), self._site(request)
        wanted = local_path(str(form.get("next", "")))
        session, peer = request.state.session, request.state.peer
        if request.state.level is not Level.SECOND:
            return go(request, wanted)
        sent = str(form.get("credential", ""))
        try:
            if sent and site is not None:
                await self._factors.by_passkey(sent, site, peer, session.user)
                shown = "passkey"
            else:
                code = str(form.get("code", ""))
                shown = await self._factors.check_code(session.user, code, peer)
        except WrongPassword:
            problem = "passkey" if sent else "code"
            return await self._second_form(request, wanted, 403, problem=problem)
        except TooManyTries as error:
            return await self._second_form(request, wanted, 429, error=error)
        fresh = await self._accounts.renew(session, secret_of(request), shown=shown)
        if fresh is None:
            return go(request, SIGN_IN)
        answer = go(request, wanted)
        give_cookie(request, answer, fresh)
        return answer

    async def _second_form(
        self,
        request: Request,
        wanted: str,
        status: int = 200,
        *,
        problem: str = "",
        error: TooManyTries | None = None,
    ) -> Response:
        user, site = request.state.session.user, self._site(request)
        has = await self._accounts.factors_of(user)
        options = ""
        if site is not None and has.passkeys:
            options = await self._factors.options_to_sign_in(site, user)
        answer = page(
            request,
            "sign_in/second.html",
            status,
            next=wanted,
            has_app=has.app_since is not None,
            has_passkeys=bool(has.passkeys),
            options=options,
            problem="wait" if error else problem,
            wait_s=error.wait_s if error else 0,
        )
        return _wait(answer, error)

    # ------------------------------------------------------------ links

    async def show_forgot(self, request: Request) -> Response:
        """Ask for the address to which a link is mailed."""
        if self.link_mail is None:
            return refusal(request, 404, "not_found")
        return page(request, "sign_in/forgot.html", asked=False, problem="", wait_s=0)

    async def forgot(self, request: Request) -> Response:
        """Mail a link, and say the same whether there is such a user or not."""
        if self.link_mail is None:
            return refusal(request, 404, "not_found")
        address = str((await request.form()).get("address", ""))
        try:
            await self._accounts.forgot(address, request.state.peer, self.link_mail)
        except TooManyTries as error:
            answer = page(
                request,
                "sign_in/forgot.html",
                429,
                asked=False,
                problem="wait",
                wait_s=error.wait_s,
            )
            return _wait(answer, error)
        return page(request, "sign_in/forgot.html", asked=True, problem="", wait_s=0)

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
        with suppress(NotFound):  # The user was removed in the same moment.
            await self._accounts.sign_out(session, secret_of(request))


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


def _wait(answer: Response, error: TooManyTries | None) -> Response:
    if error is not None:
        answer.headers["Retry-After"] = str(error.wait_s)
    return answer
