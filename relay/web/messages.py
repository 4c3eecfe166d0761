"""`POST /messages`: a whole mail as the body, an API token, the message's id back.

Every answer is one JSON object; an error has `error` (a stable word) and `hint` (the
same text under the old name `mend`, too). 202 means that the mail is safe, as `250`
does in SMTP. Nothing is read before the token is known, and the bytes go to the intake
piece by piece. What is accepted is decided there; this door translates the reasons.
"""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.routing import Route

from relay.core.access import MEANING, Scope, known
from relay.core.directory import APIToken
from relay.core.errors import NotFound, StoreUnavailable
from relay.core.model import Step
from relay.intake import Accepted, CRLFPieces, Origin, Rejection
from relay.sender import CAUSES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from relay.config import Settings, SMTPSettings
    from relay.console.replays import Replaying
    from relay.core.access import Caller
    from relay.core.clock import Clock
    from relay.core.directory import User
    from relay.intake import IncomingMail, Intake, Refused
    from relay.store import Store

_TYPES: Final = frozenset({"", "message/rfc822", "application/octet-stream"})
_STATUS = {
    "too_large": 413,
    "header_too_large": 413,
    "sender_not_accepted": 403,
    "unknown_recipient": 403,
    "logging_off": 403,
    "internal_error": 500,
    "store_unavailable": 503,
    "disk_full": 507,
}
"""By the reason of a refusal; others are 422."""
_LATER: Final = {
    "store_unavailable": "send it again later",
    "disk_full": "free disk space; then send it again",
}
"""What helps when the mail itself is not the reason."""
_STATUS |= {
    one.reason: 503 if one.temporary else 403
    for one in CAUSES.values()
    if one.reason not in {"no_from", "several_from", "from_too_long"}
}
_RETRY_S: Final = 30
_NEVER: Final = (datetime(1970, 1, 1, tzinfo=UTC), "")
_PEER: Final = "http"
"""The peer of a mail that came this way, in the journal and in the trace."""


class Problem(Exception):  # noqa: N818 - an answer, no failure of ours
    """An answer that is no success."""

    def __init__(self, status: int, error: str, hint: str, **more: str) -> None:
        """Take status, stable word and hint."""
        super().__init__(error)
        self.status = status
        self.body = {"error": error, "hint": hint, "mend": hint, **more}


def create_app(
    settings: Settings,
    store: Store,
    intake: Intake,
    clock: Clock,
    pages: Sequence[Route] = (),
    replaying: Replaying | None = None,
) -> Starlette:
    """Return the application; `pages` are for people who need no sign-in.

    Its `state.feed` is to be closed before the server stops: live views end then.
    """
    # Here, since a process that takes no HTTP needs none of it.
    from relay.console.feed import Feed  # noqa: PLC0415
    from relay.console.replays import Replays  # noqa: PLC0415
    from relay.web.api.app import APIRoute, create_api  # noqa: PLC0415
    from relay.web.api.wire import Context  # noqa: PLC0415
    from relay.web.pages.app import create_pages, page_paths  # noqa: PLC0415
    from relay.web.pages.context import Context as PageContext  # noqa: PLC0415

    door = MailDoor(settings.smtp, store, intake, clock)
    feed = Feed(store)
    replays = Replays(replaying, clock) if replaying is not None else None
    api = create_api(Context(store, settings, clock, feed, replays), door.submit)
    console = create_pages(PageContext(store, settings, clock, feed, replays))
    app = Starlette(
        routes=[
            Route("/messages", door.post, methods=["POST"]),
            APIRoute(api),
            *pages,
            *console,
        ],
        exception_handlers={Problem: _problem, HTTPException: _http},
    )
    app.state.page_paths = page_paths(console)
    app.state.feed = feed
    app.state.replays = replays
    return app


class MailDoor:
    """Takes mails: `POST /messages`, and the same under the API."""

    def __init__(
        self, settings: SMTPSettings, store: Store, intake: Intake, clock: Clock
    ) -> None:
        self._timeout_s = settings.data_timeout_s
        self._store = store
        self._intake = intake
        self._clock = clock

    async def post(self, request: Request) -> Response:
        """Take one mail."""
        try:
            token = await self._token(request)
            user = await self._user(request, token)
        except StoreUnavailable as error:
            reason = "store_unavailable"
            raise Problem(_STATUS[reason], reason, _LATER[reason]) from error
        return await self._take(request, user, token.name)

    async def submit(self, request: Request, who: Caller) -> Response:
        """Take one mail for a caller of the API; its errors are problems of the API."""
        from relay.web.api import problems  # noqa: PLC0415 - as in `create_app`

        name = who.name.removeprefix("api:")
        token = APIToken(name, who.user.id if who.user else None, *_NEVER)
        try:
            return await self._take(request, await self._user(request, token), name)
        except Problem as error:
            hint = error.body.pop("hint")
            word = error.body.pop("error")
            error.body.pop("mend")
            detail = f"the mail was not taken: {word.replace('_', ' ')}"
            headers = {"Retry-After": str(_RETRY_S)} if error.status == 503 else {}  # noqa: PLR2004
            raise problems.Problem(
                error.status, word, detail, hint, headers=headers, **error.body
            ) from error

    async def _take(self, request: Request, user: User, token: str) -> Response:
        outcome = await self._mail(request, user, token)
        if isinstance(outcome, Accepted):
            ident = outcome.recipients[0].message_id
            held = outcome.recipients[0].held_for
            return JSONResponse(
                {"id": ident, "state": "held" if held else "queued"}, 202
            )
        refusal = outcome.refusals[0]
        verdict = refusal.verdict or {}
        more = {"cause": verdict["cause"]} if verdict.get("cause") else {}
        shown = f"relay log --refused shows it: {refusal.reply}"
        raise _refused(refusal.reason, shown, id=refusal.id, **more)

    async def _token(self, request: Request) -> APIToken:
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        found = None
        if scheme.lower() == "bearer" and secret.strip():
            found = await self._store.credentials.find_api_token(digest(secret.strip()))
        if found is None:
            text = "send Authorization: Bearer TOKEN; relay token add makes one"
            raise Problem(401, "unauthorized", text)
        if found.expires_at is not None and found.expires_at <= self._clock.now():
            text = f"the token {found.name} has expired; relay token add makes one"
            raise Problem(401, "token_expired", text)
        if Scope.MAIL_SUBMIT not in known(found.scopes):
            text = f"the token {found.name} may not {MEANING[Scope.MAIL_SUBMIT]}"
            raise Problem(403, "not_allowed", text)
        return found

    async def _user(self, request: Request, token: APIToken) -> User:
        named = request.query_params.get("user", "").strip()
        if token.user_id is None and not named:
            text = "say for whom: ?user=ADDRESS, or make a token with --user"
            raise Problem(400, "no_user", text)
        try:
            found = await self._store.directory.find_user(named) if named else None
        except NotFound as error:
            raise Problem(404, "unknown_user", str(error)) from error
        if token.user_id is None:
            if found is None:
                raise AssertionError
            return found
        if found is not None and found.id != token.user_id:
            text = "this token is for another user; leave ?user= out"
            raise Problem(403, "not_your_user", text)
        return next(
            u for u in await self._store.directory.users() if u.id == token.user_id
        )

    async def _mail(
        self, request: Request, user: User, token: str
    ) -> Accepted | Refused:
        kind = request.headers.get("content-type", "").partition(";")[0].strip()
        if kind.lower() not in _TYPES:
            text = "send the mail itself, with Content-Type: message/rfc822"
            raise Problem(415, "not_a_mail", text)
        announced = request.headers.get("content-length", "0")
        expected = int(announced) if announced.isdecimal() else 0
        rejection = self._intake.check_size(expected)
        if rejection is not None:
            raise _not_begun(rejection)
        whence = f"token {token}, from {_peer(request)}"
        step = Step(self._clock.now(), _PEER, "accepted", whence)
        mail = self._intake.begin(
            Origin(_PEER, step, door=_PEER, door_detail=f"token {token}"),
            [self._intake.relay_address(user)],
            expected_bytes=expected,
        )
        if isinstance(mail, Rejection):
            raise _not_begun(mail)
        try:
            await self._receive(request, mail)
        except BaseException:
            await mail.content.abandon()
            raise
        return await self._intake.accept(mail)

    async def _receive(self, request: Request, mail: IncomingMail) -> None:
        """Read the mail to its end, or until it is too large.

        A mail that is refused for another reason is read as well, though nothing of it
        is kept: most clients read no answer before they have sent everything, and a
        connection that is closed in the middle tells them no reason.
        """
        content, pieces = mail.content, CRLFPieces()
        blank = True
        try:
            async with asyncio.timeout(self._timeout_s):
                async for part in request.stream():
                    blank = blank and not part.strip()
                    if content.add(pieces.feed(part)):
                        await content.flush()
                    if self._intake.is_too_large(mail):
                        return
        except TimeoutError as error:
            text = f"send it within {self._timeout_s:g} s"
            raise Problem(408, "too_slow", text) from error
        except ClientDisconnect as error:
            raise Problem(400, "cut_off", "send the whole mail") from error
        if blank:
            raise Problem(400, "empty", "send a mail as the body")


def _not_begun(rejection: Rejection) -> Problem:
    """Return the answer to a mail that is refused before its first byte."""
    limit = rejection.values.get("limit")
    hint = f"at most smtp.max_message_bytes = {limit} bytes"
    return _refused(rejection.reason, hint)


def _refused(reason: str, hint: str, **more: str) -> Problem:
    """Return the answer to a mail that the intake refuses."""
    return Problem(_STATUS.get(reason, 422), reason, _LATER.get(reason, hint), **more)


def digest(secret: str) -> str:
    """Return what the store keeps of a token."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _peer(request: Request) -> str:
    return request.client.host if request.client else "unknown"


async def _problem(_request: Request, error: Exception) -> Response:
    if not isinstance(error, Problem):
        raise error
    headers = {}
    if error.status == 401:  # noqa: PLR2004 - RFC 9110 section 15.5.2
        headers["WWW-Authenticate"] = "Bearer"
    if error.status == 503:  # noqa: PLR2004 - RFC 9110 section 10.2.3
        headers["Retry-After"] = str(_RETRY_S)
    return JSONResponse(error.body, error.status, headers=headers)


async def _http(_request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    hint = (
        "the console begins at /, /api/openapi.json names what the API has, and "
        "POST /messages takes a mail"
    )
    body: dict[str, Any] = {
        "error": error.detail.lower().replace(" ", "_"),
        "hint": hint,
        "mend": hint,
    }
    return JSONResponse(body, error.status_code, headers=error.headers)
