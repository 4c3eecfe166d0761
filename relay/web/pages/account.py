"""My account: who somebody is here, their password, second factors and browsers.

A second factor is added and removed in the half hour after a sign-in alone: a browser
that was left open must not be enough for it.
"""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from markupsafe import Markup
from starlette.routing import Route

from relay.accounts import TooManyTries, WrongPassword
from relay.accounts.factors import site_of
from relay.accounts.passwords import SHORTEST, WeakPassword
from relay.admin.inputs import relay_address
from relay.console.people import read_changes
from relay.core.accounts import Level
from relay.core.errors import Conflict, InvalidInput
from relay.web.pages.guard import give_cookie, go, refusal, secret_of
from relay.web.pages.render import page, reader_of, say_and_go

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from relay.accounts import Accounts
    from relay.accounts.factors import Factors, Site
    from relay.core.directory import User
    from relay.web.pages.context import Context
    from relay.web.pages.render import Reader

    Act = Callable[[Request], Awaitable[Response]]

PATH: Final = "/account"
FRESH: Final = timedelta(minutes=30)
"""How old a sign-in may be for a change of factors."""
_OPEN_APP: Final = f"{PATH}/app"
_LONGEST_AGENT: Final = 60
_BROWSERS: Final = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("CriOS/", "Chrome"),
    ("Safari/", "Safari"),
)
"""What a User-Agent has, and whose it is. Others claim to be Chrome or Safari, too."""
_SYSTEMS: Final = (
    ("Windows", "Windows"),
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("CrOS", "ChromeOS"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)


def routes(context: Context, accounts: Accounts, factors: Factors) -> list[Route]:
    """Return the routes of the account."""
    pages = AccountPages(context, accounts, factors)
    factor_posts = (
        ("app", pages.begin_app, "account_app_begin"),
        ("app/confirm", pages.confirm_app, "account_app_confirm"),
        ("app/remove", pages.remove_app, "account_app_remove"),
        ("codes", pages.new_codes, "account_codes"),
        ("passkeys", pages.add_passkey, "account_passkey_add"),
        ("passkeys/{id:int}/remove", pages.remove_passkey, "account_passkey_remove"),
    )
    posts = (
        *((path, pages.when_fresh(act), name) for path, act, name in factor_posts),
        ("you", pages.change_you, "account_you"),
        ("password", pages.change_password, "account_password"),
        ("sessions/end", pages.end_others, "account_session_end_all"),
        ("sessions/{id:int}/end", pages.end_session, "account_session_end"),
    )
    return [
        Route(PATH, pages.show, name="account"),
        Route(_OPEN_APP, pages.show_app, name="account_app"),
        *(
            Route(f"{PATH}/{path}", endpoint, methods=["POST"], name=name)
            for path, endpoint, name in posts
        ),
    ]


class AccountPages:
    """The pages of My account."""

    def __init__(self, context: Context, accounts: Accounts, factors: Factors) -> None:
        """Take the store, and what signs people in."""
        self._context = context
        self._store = context.store
        self._accounts = accounts
        self._factors = factors

    def when_fresh(self, act: Act) -> Act:
        """Return an act on factors that is done soon after a sign-in alone."""

        async def answer(request: Request) -> Response:
            if not self._is_fresh(request):
                return refusal(request, 403, "stale")
            return await act(request)

        return answer

    async def show(self, request: Request) -> Response:
        """Show it."""
        return await self._page(request)

    async def change_you(self, request: Request) -> Response:
        """Set language and time zone."""
        form, user = await request.form(), request.state.session.user
        names = ("language", "time_zone")
        try:
            changes = read_changes({name: str(form.get(name, "")) for name in names})
        except InvalidInput:
            return await self._page(request, 422, problem="zone")
        actor = _actor(user)
        await self._store.directory.set_language(user.id, changes["language"], actor)
        await self._store.directory.set_time_zone(user.id, changes["time_zone"], actor)
        request.state.language = changes["language"]
        return say_and_go(request, PATH, reader_of(request).gettext("Saved."))

    # ------------------------------------------------------------ password

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
            return await self._page(request, 403, problem="wrong_old")
        except WeakPassword as error:
            return await self._page(request, 422, problem=error.weak.value)
        except TooManyTries as error:
            return await self._page(request, 429, error=error)
        _ = reader_of(request).gettext
        text = _("Your password is changed. Other browsers are signed out.")
        return say_and_go(request, PATH, text)

    # ------------------------------------------------------------ the code app

    async def begin_app(self, request: Request) -> Response:
        """Make a secret for an app."""
        try:
            await self._factors.begin_app(request.state.session.user)
        except Conflict:
            return go(request, PATH)
        return go(request, _OPEN_APP)

    async def show_app(self, request: Request) -> Response:
        """Show the secret that was begun, until it is confirmed; never after."""
        return await self._app_page(request)

    async def confirm_app(self, request: Request) -> Response:
        """Let the app count, and show the recovery codes once."""
        user, peer = request.state.session.user, request.state.peer
        code = str((await request.form()).get("code", ""))
        try:
            codes = await self._factors.confirm_app(user, code, peer)
        except WrongPassword:
            return await self._app_page(request, 403, problem="code")
        except TooManyTries as error:
            return await self._app_page(request, 429, error=error)
        answer = page(request, "account/codes.html", codes=codes)
        return await self._now_strong(request, answer, "code")

    async def remove_app(self, request: Request) -> Response:
        """Forget the app."""
        user = request.state.session.user
        await self._store.factors.remove_app(user.id, _actor(user))
        _ = reader_of(request).gettext
        return say_and_go(request, PATH, _("The code app is removed."))

    async def new_codes(self, request: Request) -> Response:
        """Show new recovery codes, once."""
        codes = await self._factors.new_codes(request.state.session.user)
        return page(request, "account/codes.html", codes=codes)

    # ------------------------------------------------------------ passkeys

    async def add_passkey(self, request: Request) -> Response:
        """Keep a passkey that this browser has made."""
        form, site = await request.form(), self._site(request)
        user, peer = request.state.session.user, request.state.peer
        sent, name = str(form.get("credential", "")), str(form.get("name", ""))
        if site is None:
            return await self._page(request, 403, problem="passkey")
        try:
            await self._factors.add_passkey(user, sent, name, site, peer)
        except (WrongPassword, Conflict):
            return await self._page(request, 403, problem="passkey")
        except TooManyTries as error:
            return await self._page(request, 429, error=error)
        _ = reader_of(request).gettext
        answer = say_and_go(request, PATH, _("The passkey is added."))
        return await self._now_strong(request, answer, "passkey")

    async def remove_passkey(self, request: Request) -> Response:
        """Forget a passkey."""
        user = request.state.session.user
        number = request.path_params["id"]
        await self._store.factors.remove_passkey(user.id, number, _actor(user))
        _ = reader_of(request).gettext
        return say_and_go(request, PATH, _("The passkey is removed."))

    async def _now_strong(
        self, request: Request, answer: Response, shown: str
    ) -> Response:
        """Let this session count as one with a second factor: it was just shown."""
        session, secret = request.state.session, secret_of(request)
        if not session.strong:
            fresh = await self._accounts.renew(session, secret, shown=shown)
            if fresh is not None:
                give_cookie(request, answer, fresh)
        return answer

    # ------------------------------------------------------------ sessions

    async def end_session(self, request: Request) -> Response:
        """Sign another browser of the user out."""
        user = request.state.session.user
        number = request.path_params["id"]
        await self._store.accounts.end_session(user.id, number, _actor(user))
        _ = reader_of(request).gettext
        return say_and_go(request, PATH, _("That browser is signed out."))

    async def end_others(self, request: Request) -> Response:
        """Sign every other browser of the user out."""
        session = request.state.session
        count = await self._store.accounts.end_sessions(
            session.user.id, _actor(session.user), keep=session.id
        )
        text = reader_of(request).ngettext(
            "%(n)s other browser is signed out.",
            "%(n)s other browsers are signed out.",
            count,
        )
        return say_and_go(request, PATH, text)

    # ------------------------------------------------------------ showing

    def _is_fresh(self, request: Request) -> bool:
        since = request.state.session.created_at
        return bool(self._context.clock.now() - since < FRESH)

    def _site(self, request: Request) -> Site | None:
        return site_of(
            self._context.settings, request.url.scheme, request.headers.get("host", "")
        )

    async def _page(
        self,
        request: Request,
        status: int = 200,
        *,
        problem: str = "",
        error: TooManyTries | None = None,
    ) -> Response:
        session, site = request.state.session, self._site(request)
        user = session.user
        fresh = self._is_fresh(request)
        options = ""
        if site is not None and fresh:
            options = await self._factors.options_to_add(user, site)
        return page(
            request,
            "account/account.html",
            status,
            headers={"Retry-After": str(error.wait_s)} if error else None,
            user=user,
            relay_address=relay_address(self._context.settings.smtp.domains, user),
            session=session,
            sessions=await self._store.accounts.sessions(user.id),
            has_password=await self._store.accounts.password(user.id) is not None,
            factors=await self._store.factors.of(user.id),
            is_fresh=fresh,
            is_required=request.state.level is Level.ENROL,
            options=options,
            shortest=SHORTEST,
            browser_name=partial(browser_name, reader_of(request)),
            problem="wait" if error else problem,
            wait_s=error.wait_s if error else 0,
        )

    async def _app_page(
        self,
        request: Request,
        status: int = 200,
        *,
        problem: str = "",
        error: TooManyTries | None = None,
    ) -> Response:
        found = await self._factors.new_app(request.state.session.user)
        if found is None:
            return go(request, PATH)
        secret, picture = found
        more: dict[str, Any] = {"problem": "wait" if error else problem}
        return page(
            request,
            "account/app.html",
            status,
            secret=secret,
            picture=Markup(picture),  # noqa: S704 - drawn by segno from our own text
            wait_s=error.wait_s if error else 0,
            **more,
        )


def browser_name(reader: Reader, agent: str) -> str:
    """Return what a User-Agent says, such as `Firefox on Windows`; else its beginning.

    Args:
        reader: For whom.
        agent: The field as the browser sent it; anybody may write anything there.
    """
    _ = reader.gettext
    browser = next((name for sign, name in _BROWSERS if sign in agent), "")
    system = next((name for sign, name in _SYSTEMS if sign in agent), "")
    if browser and system:
        return _("%(browser)s on %(system)s", browser=browser, system=system)
    return browser or agent[:_LONGEST_AGENT] or _("unknown")


def _actor(user: User) -> str:
    return f"web:{user.email}"
