"""`POST /messages`: a whole mail as the body, an API token, the message's id back.

Every answer is one JSON object; an error has `error` (a stable word) and `mend`. 202
means that the mail is safe, as `250` does in SMTP. Nothing is read before the token is
known, and what is read is handed on piece by piece.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Any, Final, Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.routing import Route

from relay.core.errors import NotFound, StoreFull, StoreUnavailable

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from relay.config import SMTPSettings
    from relay.core.directory import APIToken, User
    from relay.core.model import Refusal

_TYPES: Final = frozenset({"", "message/rfc822", "application/octet-stream"})
_STATUS: Final = {
    "too_large": 413,
    "header_too_large": 413,
    "sender_not_accepted": 403,
    "unknown_recipient": 403,
}
"""By the reason of a refusal; others are 422."""
_RETRY_S: Final = 30


class Incoming(Protocol):
    """One mail on its way."""

    async def add(self, piece: bytes) -> None:
        """Take a piece."""

    async def finish(self, whence: str) -> str | Refusal:
        """Judge and store it; return its id, or the refusal that was recorded.

        Raises:
            StoreUnavailable, StoreFull: Nothing was stored.
        """

    async def abandon(self) -> None:
        """Forget it, unless it is finished."""


class Reception(Protocol):
    """Takes mails."""

    def begin(self, user: User, expected_bytes: int = 0) -> Incoming:
        """Begin a mail for a user.

        Raises:
            StoreUnavailable, StoreFull: It would not be stored now.
        """

    def close(self) -> None:
        """Let go of what it holds."""


class Tokens(Protocol):
    """Where API tokens are looked up."""

    async def find_api_token(self, hashed: str) -> APIToken | None:
        """Return the token with this digest."""


class Users(Protocol):
    """Where users are looked up."""

    async def find_user(self, text: str) -> User:
        """Return the user with this address or name, or raise NotFound."""

    async def users(self) -> list[User]:
        """Return everybody."""


class People(Protocol):
    """The parts of the store that are needed here."""

    @property
    def credentials(self) -> Tokens:
        """Return where API tokens are looked up."""

    @property
    def directory(self) -> Users:
        """Return where users are looked up."""


class Problem(Exception):  # noqa: N818 - an answer, no failure of ours
    """An answer that is no success."""

    def __init__(self, status: int, error: str, mend: str, **more: str) -> None:
        """Take status, stable word and mend."""
        super().__init__(error)
        self.status = status
        self.body = {"error": error, "mend": mend, **more}


def create_app(
    settings: SMTPSettings, people: People, reception: Reception
) -> Starlette:
    """Return the application."""
    messages = _Messages(settings, people, reception)
    return Starlette(
        routes=[Route("/messages", messages.post, methods=["POST"])],
        exception_handlers={Problem: _problem, HTTPException: _http},
    )


class _Messages:
    """The one resource there is."""

    def __init__(
        self, settings: SMTPSettings, people: People, reception: Reception
    ) -> None:
        self._limit = settings.max_message_bytes
        self._timeout_s = settings.data_timeout_s
        self._people = people
        self._reception = reception

    async def post(self, request: Request) -> Response:
        """Take one mail."""
        try:
            token = await self._token(request)
            user = await self._user(request, token)
            whence = f"token {token.name}, from {_peer(request)}"
            came = await self._mail(request, user, whence)
        except StoreFull as error:
            text = "free disk space; then send it again"
            raise Problem(507, "disk_full", text) from error
        except StoreUnavailable as error:
            text = "send it again later"
            raise Problem(503, "store_unavailable", text) from error
        if isinstance(came, str):
            return JSONResponse({"id": came, "state": "queued"}, 202)
        raise Problem(
            _STATUS.get(came.reason, 422),
            came.reason,
            f"relay log --refused shows it: {came.reply}",
            id=came.id,
        )

    async def _token(self, request: Request) -> APIToken:
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        found = None
        if scheme.lower() == "bearer" and secret.strip():
            found = await self._people.credentials.find_api_token(
                digest(secret.strip())
            )
        if found is None:
            text = "send Authorization: Bearer TOKEN; relay token add makes one"
            raise Problem(401, "unauthorized", text)
        return found

    async def _user(self, request: Request, token: APIToken) -> User:
        named = request.query_params.get("user", "").strip()
        if token.user_id is None and not named:
            text = "say for whom: ?user=ADDRESS, or make a token with --user"
            raise Problem(400, "no_user", text)
        try:
            found = await self._people.directory.find_user(named) if named else None
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
            u for u in await self._people.directory.users() if u.id == token.user_id
        )

    async def _mail(self, request: Request, user: User, whence: str) -> str | Refusal:
        kind = request.headers.get("content-type", "").partition(";")[0].strip()
        if kind.lower() not in _TYPES:
            text = "send the mail itself, with Content-Type: message/rfc822"
            raise Problem(415, "not_a_mail", text)
        told = request.headers.get("content-length", "0")
        expected = int(told) if told.isdecimal() else 0
        if expected > self._limit:
            raise self._too_large()
        mail = self._reception.begin(user, expected)
        try:
            await self._receive(request, mail)
        except BaseException:
            await mail.abandon()
            raise
        return await mail.finish(whence)

    async def _receive(self, request: Request, mail: Incoming) -> None:
        size = 0
        blank = True
        try:
            async with asyncio.timeout(self._timeout_s):
                async for part in request.stream():
                    size += len(part)
                    if size > self._limit:
                        raise self._too_large()
                    blank = blank and not part.strip()
                    await mail.add(part)
        except TimeoutError as error:
            text = f"send it within {self._timeout_s:g} s"
            raise Problem(408, "too_slow", text) from error
        except ClientDisconnect as error:
            raise Problem(400, "cut_off", "send the whole mail") from error
        if blank:
            raise Problem(400, "empty", "send a mail as the body")

    def _too_large(self) -> Problem:
        text = f"at most smtp.max_message_bytes = {self._limit} bytes"
        return Problem(413, "too_large", text)


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
    body: dict[str, Any] = {
        "error": error.detail.lower().replace(" ", "_"),
        "mend": "there is POST /messages, and nothing else",
    }
    return JSONResponse(body, error.status_code, headers=error.headers)
