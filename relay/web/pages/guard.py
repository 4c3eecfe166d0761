"""Who may see which page, and what a browser must show before anything is changed.

Every route of a page passes here. `ROUTES` says for each, by its name, what it needs; a
route without a row does not start. What holds for all of them:

- **Session.** The cookie names a session of the store, which is looked up with its user
  for each request: who was disabled, removed, signed out elsewhere or given another
  role, is so with the next request. After a change of role the cookie is changed, too.
- **Changes** (every method but GET and HEAD, with and without htmx) must come from a
  page of this host, as the browser says in Sec-Fetch-Site or Origin, and carry the
  token of the session's forms. GET changes nothing.
- **Headers.** `render.HEADERS` has those of every page; answers without them get them.

A page takes who asks from `request.state.caller`, and the token for its forms from
`request.state.csrf`. What a rep asks for and is another's, the page itself refuses, as
the functions of `relay.console` do.

Source: W3C Fetch Metadata; OWASP CSRF Prevention and Session Management Cheat Sheets;
RFC 6265bis section 4.1.3 (`__Host-`).
"""

from __future__ import annotations

import asyncio
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from relay.accounts.service import Peer, in_force
from relay.core.access import Caller, Scope, scopes_of
from relay.core.accounts import Level, form_token, same
from relay.core.errors import NotAllowed, NotFound, StoreUnavailable
from relay.telemetry import get_logger
from relay.web.pages.asked import number_in
from relay.web.pages.render import HEADERS, page

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from starlette.requests import Request

    from relay.accounts import Accounts
    from relay.config import Settings
    from relay.core.accounts import Session

log = get_logger(__name__)


class Needs(StrEnum):
    """What a route needs where it is no right of a role."""

    OPEN = "open"
    """Anybody may ask."""
    BEGUN = "begun"
    """A session of any level: the second factor may still be missing."""
    ENROLLING = "enrolling"
    """A whole session, or one that lacks a required second factor and may add one."""
    SIGNED_IN = "signed_in"
    """A whole session, whatever the role."""


OPEN, BEGUN, ENROLLING, SIGNED_IN = Needs

ROUTES: Final[Mapping[str, Scope | Needs]] = {
    "home": SIGNED_IN,
    "home_card": SIGNED_IN,
    "log": Scope.LOG_READ,
    "log_live": Scope.LOG_READ,
    "log_suggest": Scope.LOG_READ,
    "log_export": Scope.LOG_READ,
    "log_many": Scope.QUEUE_WRITE,
    "log_many_do": Scope.QUEUE_WRITE,
    "log_undo": Scope.QUEUE_WRITE,
    "log_one": Scope.LOG_READ,
    "log_source": Scope.RAW_READ,
    "log_raw": Scope.RAW_READ,
    "log_act": Scope.QUEUE_WRITE,
    "unmatched": Scope.LOG_READ,
    "unmatched_decide": Scope.LOG_READ,
    "unmatched_remembered": Scope.SETTINGS_READ,
    "unmatched_resolve_do": Scope.QUEUE_WRITE,
    "unmatched_create_do": Scope.QUEUE_WRITE,
    "unmatched_ignore_do": Scope.QUEUE_WRITE,
    "unmatched_rematch_do": Scope.QUEUE_WRITE,
    "unmatched_forget_do": Scope.USERS_WRITE,
    "unmatched_undo_do": Scope.QUEUE_WRITE,
    "unmatched_one": Scope.LOG_READ,
    "people": Scope.USERS_READ,
    "people_new": Scope.USERS_WRITE,
    "people_new_do": Scope.USERS_WRITE,
    "people_invite_do": Scope.USERS_INVITE,
    "people_link_do": Scope.USERS_INVITE,
    "people_session_do": Scope.SESSIONS_WRITE,
    "people_sessions_do": Scope.SESSIONS_WRITE,
    "people_import": Scope.USERS_WRITE,
    "people_plan_do": Scope.USERS_WRITE,
    "people_import_do": Scope.USERS_WRITE,
    "people_follow_do": Scope.USERS_WRITE,
    "people_exclusions": Scope.USERS_READ,
    "people_exclude_do": Scope.USERS_WRITE,
    "people_include_do": Scope.USERS_WRITE,
    "people_one": Scope.USERS_READ,
    "people_edit_do": Scope.USERS_WRITE,
    "people_active_do": Scope.USERS_WRITE,
    "people_remove_do": Scope.USERS_WRITE,
    "people_rotate_do": Scope.USERS_WRITE,
    "people_accept_do": Scope.USERS_WRITE,
    "people_refuse_do": Scope.USERS_WRITE,
    "people_claim_do": Scope.USERS_READ,
    "people_prove_do": Scope.USERS_READ,
    "diagnostics": Scope.STATUS_READ,
    "diagnostics_check": Scope.SETTINGS_READ,
    "diagnostics_check_do": Scope.SETTINGS_READ,
    "diagnostics_retry": Scope.QUEUE_WRITE,
    "diagnostics_retry_do": Scope.QUEUE_WRITE,
    "diagnostics_retry_one_do": Scope.QUEUE_WRITE,
    "history": Scope.AUDIT_READ,
    "history_export": Scope.AUDIT_READ,
    "history_undo": Scope.AUDIT_WRITE,
    "history_one": Scope.AUDIT_READ,
    "alerts": Scope.STATUS_READ,
    "alerts_test": Scope.SETTINGS_WRITE,
    "salesforce": SIGNED_IN,
    "salesforce_check": Scope.SETTINGS_READ,
    "salesforce_sync": SIGNED_IN,
    "salesforce_preview": Scope.SETTINGS_READ,
    "salesforce_own": SIGNED_IN,
    "salesforce_activate": SIGNED_IN,
    "salesforce_reminders": SIGNED_IN,
    "salesforce_team": Scope.SETTINGS_WRITE,
    "salesforce_on": Scope.SETTINGS_WRITE,
    "salesforce_subject": Scope.SETTINGS_WRITE,
    "salesforce_undo": Scope.SETTINGS_WRITE,
    "rules": Scope.SETTINGS_READ,
    "rules_edit": Scope.SETTINGS_READ,
    "rules_preset": Scope.SETTINGS_READ,
    "rules_trial": Scope.SETTINGS_READ,
    "rules_save_do": Scope.SETTINGS_WRITE,
    "rules_try_do": Scope.SETTINGS_WRITE,
    "rules_stop_do": Scope.SETTINGS_WRITE,
    "rules_exclude_do": Scope.USERS_WRITE,
    "rules_include_do": Scope.USERS_WRITE,
    "rules_take_back_do": Scope.SETTINGS_WRITE,
    "reminders": Scope.REMINDERS_READ,
    "reminders_all": Scope.REMINDERS_READ,
    "reminders_calendar": Scope.REMINDERS_READ,
    "reminders_calendar_do": Scope.REMINDERS_WRITE,
    "reminders_calendar_end": Scope.REMINDERS_WRITE,
    # Its address is the secret: programs that subscribe have no cookie.
    "reminders_feed": OPEN,
    "reminders_add": Scope.REMINDERS_WRITE,
    "reminders_one": Scope.REMINDERS_READ,
    "reminders_complete": Scope.REMINDERS_WRITE,
    "reminders_reopen": Scope.REMINDERS_WRITE,
    "reminders_snooze": Scope.REMINDERS_WRITE,
    "reminders_edit": Scope.REMINDERS_WRITE,
    "reminders_remove": Scope.REMINDERS_WRITE,
    "reminders_retry": Scope.REMINDERS_WRITE,
    "reminders_undo": Scope.REMINDERS_WRITE,
    "reminders_conflict": Scope.REMINDERS_WRITE,
    "sign_in": OPEN,
    "sign_in_post": OPEN,
    "sign_in_link": OPEN,
    "sign_in_link_post": OPEN,
    "sign_in_passkey": OPEN,
    "sign_in_forgot": OPEN,
    "sign_in_forgot_post": OPEN,
    "sign_in_oidc": OPEN,
    "sign_in_oidc_back": OPEN,
    "sign_in_second": BEGUN,
    "sign_in_second_post": BEGUN,
    "sign_out": BEGUN,
    "account": ENROLLING,
    "account_app": ENROLLING,
    "account_app_begin": ENROLLING,
    "account_app_confirm": ENROLLING,
    "account_app_remove": SIGNED_IN,
    "account_codes": SIGNED_IN,
    "account_passkey_add": ENROLLING,
    "account_passkey_remove": SIGNED_IN,
    "account_password": SIGNED_IN,
    "account_you": SIGNED_IN,
    "account_session_end": ENROLLING,
    "account_session_end_all": ENROLLING,
}
"""What each route needs, by its name; one table, and a test asks every row as every
role. A route that shows mail itself needs `Scope.RAW_READ`."""

SIGN_IN: Final = "/sign-in"
COOKIE: Final = "relay_session"
SECURE_COOKIE: Final = f"__Host-{COOKIE}"
"""With the prefix a browser takes the cookie over TLS alone, and from this host alone:
another host of the domain cannot plant one."""
FIELD: Final = "csrf"
"""The form field of the token."""
HEADER: Final = "x-csrf-token"
"""The same as a header, for scripts."""
_SAFE: Final = frozenset({"GET", "HEAD"})
_LARGEST: Final = 20 * 1024 * 1024
_LARGEST_OF_STRANGERS: Final = 64 * 1024
_SLOWEST_S: Final = 60
"""How long a form may take to come."""
_LARGEST_NUMBER: Final = 10**15
"""Of a row; databases refuse one that is much larger."""
_MOST_FIELDS: Final = 2000
_LARGEST_FIELD: Final = 1024 * 1024
_LONGEST_NEXT: Final = 1000


class Guard:
    """Stands before every page."""

    def __init__(self, accounts: Accounts, settings: Settings) -> None:
        """Take what knows sessions, and the settings."""
        self.accounts = accounts
        self._settings = settings

    def protect(self, routes: Iterable[Route]) -> list[Route]:
        """Return the routes behind the guard.

        Raises:
            ValueError: A route has no row in `ROUTES`, or a name that another has.
        """
        found: list[Route] = []
        names: set[str] = set()
        for route in routes:
            if route.name not in ROUTES:
                text = f"the page {route.path} ({route.name}) has no row in ROUTES"
                raise ValueError(text)
            if route.name in names:
                text = f"two pages have the name {route.name}"
                raise ValueError(text)
            names.add(route.name)
            found.append(
                Route(
                    route.path,
                    self._guarded(route.endpoint, ROUTES[route.name]),
                    methods=sorted(route.methods or {"GET"}),
                    name=route.name,
                )
            )
        return found

    def _guarded(
        self,
        endpoint: Callable[[Request], Awaitable[Response]],
        needs: Scope | Needs,
    ) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            try:
                given = await self._let_in(request, needs)
                response = given or await endpoint(request)
            except StoreUnavailable as error:
                log.warning("page_not_shown", path=request.url.path, error=str(error))
                response = refusal(request, 503, "store_unavailable")
                response.headers["Retry-After"] = "30"
            except NotFound:
                response = refusal(request, 404, "not_found")
            except NotAllowed as error:
                # That there is such a thing of another's is not to be told.
                theirs = error.word == "not_yours"
                response = refusal(request, 404 if theirs else 403, error.word)
            except HTTPException as error:
                response = refusal(request, error.status_code, error.detail)
            for name, value in HEADERS.items():
                response.headers.setdefault(name, value)
            fresh = getattr(request.state, "fresh_secret", None)
            if fresh is not None:
                give_cookie(request, response, fresh)
            return response

        return answer

    async def _let_in(self, request: Request, needs: Scope | Needs) -> Response | None:
        """Find the session, and return the answer to who may not go on."""
        request.state.peer = peer_of(request)
        await self.identify(request)
        if any(
            isinstance(value, int) and value > _LARGEST_NUMBER
            for value in request.path_params.values()
        ):
            raise NotFound("no row has such a number")
        if request.method not in _SAFE:
            problem = await _read_form(request) or await self.is_foreign(request, needs)
            if problem:
                log.warning("page_refused", path=request.url.path, why=problem)
                return refusal(request, 403, problem)
        return self._missing(request, needs)

    async def identify(self, request: Request) -> None:
        """Write into the request's state who asks, and what their forms carry."""
        request.state.caller = request.state.session = None
        request.state.csrf = ""
        request.state.settings = {}
        request.state.still = partial(self.still, request)
        request.state.level = None
        secret = secret_of(request)
        found = await self.accounts.session(secret) if secret else None
        if found is None:
            return
        session, request.state.settings = found
        secret = await self._renewed(request, session, secret)
        request.state.session = session
        request.state.language = session.user.language
        request.state.csrf = form_token(secret)
        request.state.level = self.accounts.level(session, found[1])
        if request.state.level is Level.FULL:
            request.state.caller = self._caller(session, found[1])

    async def still(self, request: Request) -> bool:
        """Say whether who asked for a page that goes on may see it as then."""
        before: Caller | None = request.state.caller
        secret = getattr(request.state, "fresh_secret", None) or secret_of(request)
        found = await self.accounts.session(secret)
        if found is None or before is None:
            return False
        # The cookie is not changed here: the answer has begun and cannot carry it.
        session, kept = found
        is_whole = self.accounts.level(session, kept) is Level.FULL
        return is_whole and self._caller(session, kept) == before

    async def _renewed(self, request: Request, session: Session, secret: str) -> str:
        """Change the cookie after a change of role; return the secret that holds."""
        if session.role is session.user.role:
            return secret
        fresh = await self.accounts.renew(session, secret)
        if fresh is None:
            return secret
        request.state.fresh_secret = fresh
        return fresh

    def _caller(self, session: Session, kept: Mapping[str, Any]) -> Caller:
        user = session.user
        allowed = bool(in_force(self._settings, kept, "monitor_sees_bodies"))
        scopes = scopes_of(user.role, monitor_sees_bodies=allowed)
        return Caller(f"web:{user.email}", scopes, user)

    def _missing(self, request: Request, needs: Scope | Needs) -> Response | None:
        """Return the answer to who lacks what a route needs; None: nothing lacks."""
        if needs is OPEN:
            return None
        session: Session | None = request.state.session
        if session is None:
            return self._to_sign_in(request)
        if needs is BEGUN:
            return None
        level: Level = request.state.level
        if level is Level.SECOND:
            return self._to_sign_in(request, f"{SIGN_IN}/second")
        if level is Level.ENROL:
            return None if needs is ENROLLING else go(request, "/account")
        caller: Caller = request.state.caller
        if isinstance(needs, Scope) and needs not in caller.scopes:
            return refusal(request, 403, "not_allowed")
        return None

    def _to_sign_in(self, request: Request, path: str = SIGN_IN) -> Response:
        """Send somebody to the sign-in, and from there back to what they asked for."""
        wanted = request.url.path
        if request.url.query:
            wanted += f"?{request.url.query}"
        if (
            request.method not in _SAFE
            or wanted == "/"
            or "hx-request" in request.headers
        ):
            return go(request, path)
        return go(request, f"{path}?next={quote(wanted[:_LONGEST_NEXT])}")

    async def is_foreign(self, request: Request, needs: Scope | Needs) -> str:
        """Say why a change may not come from a page of ours; empty: it does."""
        site = request.headers.get("sec-fetch-site")
        origin = request.headers.get("origin")
        if site is not None and site != "same-origin":
            return "another_site"
        # A browser that keeps the referrer to itself says `null`; then Sec-Fetch-Site
        # must have said that the page is ours.
        known = origin is not None and origin != "null"
        if known and not self._is_ours(request, origin or ""):
            return "another_site"
        if not known and site is None:
            return "another_site"
        if needs is OPEN or request.state.session is None:
            return ""  # Nothing is done in the name of a session.
        sent = request.headers.get(HEADER, "")
        sent = sent or str((await request.form()).get(FIELD, ""))
        return "" if same(sent, request.state.csrf) else "old_page"

    def _is_ours(self, request: Request, origin: str) -> bool:
        known = {f"{request.url.scheme}://{request.headers.get('host', '')}"}
        if self._settings.web.public_url is not None:
            known.add(str(self._settings.web.public_url))
        return origin.lower() in {one.lower() for one in known}


async def _read_form(request: Request) -> str:
    """Read a form that is not too large and does not come too slowly, else say so.

    The page finds it read. Who has not signed in may send little: a stranger must
    fill neither memory nor disk. A body of unknown length is refused: browsers say how
    long a form is, and the server holds them to it.
    """
    announced = request.headers.get("content-length", "0")
    most = _LARGEST if request.state.session is not None else _LARGEST_OF_STRANGERS
    chunked = "transfer-encoding" in request.headers
    size = number_in(announced)
    if chunked or size is None or size > most:
        return "too_large"
    try:
        async with asyncio.timeout(_SLOWEST_S):
            await request.form(
                max_files=1, max_fields=_MOST_FIELDS, max_part_size=_LARGEST_FIELD
            )
    except TimeoutError:
        return "too_large"
    return ""


# ------------------------------------------------------------------ answers


def go(request: Request, path: str) -> Response:
    """Send a browser to a page of ours; htmx is told so that the whole page changes."""
    target = request.scope.get("root_path", "") + path
    if "hx-request" in request.headers:
        return Response(None, 200, headers={**HEADERS, "HX-Redirect": target})
    return RedirectResponse(target, 303, headers=HEADERS)


def refusal(request: Request, status: int, why: str) -> Response:
    """Return the page that says why something is not shown or not done."""
    return page(request, "sign_in/refused.html", status, code=status, why=why)


def local_path(text: str | None) -> str:
    """Return a path of this console to go on to; `/` for whatever is none.

    One that a browser could read as another host is none: with two slashes in front,
    or a backslash, which browsers take for a slash.
    """
    wanted = text or "/"
    try:
        parts = urlsplit(wanted)
    except ValueError:  # What begins as an address of a host, and is none.
        return "/"
    plain = wanted.isprintable() and "\\" not in wanted and len(wanted) < _LONGEST_NEXT
    local = wanted.startswith("/") and not wanted.startswith("//")
    if not plain or not local or parts.scheme or parts.netloc:
        return "/"
    return "/" if parts.path.startswith(SIGN_IN) else wanted


# ------------------------------------------------------------------ cookie and peer


def peer_of(request: Request) -> Peer:
    """Return from where a request comes."""
    address = request.client.host if request.client else ""
    return Peer(address, request.headers.get("user-agent", ""))


def secret_of(request: Request) -> str:
    """Return the secret of the session's cookie; empty: there is none."""
    return request.cookies.get(_cookie_name(request), "")


def give_cookie(request: Request, response: Response, secret: str) -> None:
    """Give a browser the cookie of its session; it ends with the browser."""
    response.set_cookie(
        _cookie_name(request),
        secret,
        path="/",
        httponly=True,
        samesite="lax",
        secure=_is_secure(request),
    )


def take_cookie(request: Request, response: Response) -> None:
    """Take the cookie from a browser."""
    response.delete_cookie(
        _cookie_name(request),
        path="/",
        httponly=True,
        samesite="lax",
        secure=_is_secure(request),
    )


def _is_secure(request: Request) -> bool:
    return request.url.scheme == "https"


def _cookie_name(request: Request) -> str:
    return SECURE_COOKIE if _is_secure(request) else COOKIE
