"""What every request to the API passes, before anything of it is read.

Who asks (the token), how often (a limit for each token, and for guesses of each peer),
how much (the body), whether it was sent before (`Idempotency-Key`), and the headers of
every answer. Written against ASGI, so that no body is read for a stranger.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import json
import re
from typing import TYPE_CHECKING, Any, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response

from relay.core.access import caller
from relay.core.accounts import may_sign_in
from relay.core.directory import Role
from relay.core.errors import StoreUnavailable
from relay.core.peers import peer_network
from relay.telemetry import get_logger
from relay.web.api.problems import Problem, of

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from relay.core.access import Caller
    from relay.core.clock import Clock
    from relay.store import Store
    from relay.store.answers import KeptAnswer

log = get_logger(__name__)

OPEN: Final = frozenset({"/api/openapi.json"})
"""Paths that need no token: they say nothing of this relay."""
SUBMIT: Final = "/api/v1/messages"
"""The path to which whole mails are posted; the intake knows their limit."""
SECRETS: Final = re.compile(
    r"/api/v1/(tokens|users/[^/]+/(sign-in-link|reminder-feed))"
)
"""Paths whose answers have a secret, of which no copy may be kept."""
MAX_BODY: Final = 64 * 1024
LARGER: Final = re.compile(r"/api/v1/user-import(/plan)?")
"""Paths that take files, as text in JSON."""
MAX_FILE: Final = 4 * 1024 * 1024
GUESSES: Final = 20
"""Wrong tokens of a peer in a minute; then it waits."""
SLOWEST_S: Final = 30
"""How long a body may take."""
_MOST_PEERS: Final = 10_000
_LONGEST_KEY: Final = 255
_MINUTE_S: Final = 60.0
_KEPT_HEADERS: Final = ("content-type", "etag", "location")
HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Rate:
    """Counts what somebody does in a minute; a bucket that fills again steadily."""

    def __init__(self, per_minute: int, clock: Clock) -> None:
        """Begin with full buckets."""
        self._size = float(per_minute)
        self._clock = clock
        self._left: dict[str, tuple[float, float]] = {}

    def wait_s(self, who: str, cost: float = 1.0) -> int:
        """Take one from somebody's bucket; return how long to wait where it is empty.

        With a cost of 0 nothing is taken.
        """
        now = self._clock.boottime_s()
        left, at = self._left.get(who, (self._size, now))
        left = min(self._size, left + (now - at) * self._size / _MINUTE_S)
        if left < 1:
            self._left[who] = (left, now)
            return int((1 - left) * _MINUTE_S / self._size) + 1
        if cost:
            if len(self._left) >= _MOST_PEERS:
                self._forget(now)
            self._left[who] = (left - cost, now)
        return 0

    def _forget(self, now: float) -> None:
        """Drop those whose bucket is full again by now; all, if none is."""
        kept = {w: one for w, one in self._left.items() if now - one[1] < _MINUTE_S}
        self._left = kept if len(kept) < _MOST_PEERS else {}


class Gate:
    """An ASGI application around the API."""

    def __init__(
        self,
        api: ASGIApp,
        store: Store,
        clock: Clock,
        *,
        per_minute: int,
        monitor_sees_bodies: bool = False,
    ) -> None:
        """Stand before an application.

        Args:
            api: The application behind.
            store: Tokens, users and kept answers.
            clock: The time.
            per_minute: Requests of one token in a minute.
            monitor_sees_bodies: As the settings file says; the store may say otherwise.
        """
        self._monitor_sees_bodies = monitor_sees_bodies
        self._api = api
        self._store = store
        self._clock = clock
        self._requests = Rate(per_minute, clock)
        self._guesses = Rate(GUESSES, clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        reply = _Reply(send)
        try:
            await self._answer(scope, receive, reply)
        except Exception as error:
            problem = of(error)
            if problem.status == 500:  # noqa: PLR2004 - a fault of ours
                log.exception("api_failed", path=scope["path"])
            if reply.begun:
                if not reply.ended:
                    raise
                return
            await problem.response()(scope, receive, reply)

    async def _answer(self, scope: Scope, receive: Receive, send: _Reply) -> None:
        headers = Headers(scope=scope)
        if scope["path"] not in OPEN:
            who = await self._caller(scope, headers)
            state = scope.setdefault("state", {})
            state["caller"] = who
            state["still"] = functools.partial(self._still, who, scope, headers)
            if wait := self._requests.wait_s(who.name):
                raise _too_many(wait, "this token asks too often")
        else:
            who = None
        is_mail = scope["path"] == SUBMIT and scope["method"] == "POST"
        most = MAX_FILE if LARGER.fullmatch(scope["path"]) else MAX_BODY
        body = _Body(scope, receive, headers, None if is_mail else most)
        if not is_mail:
            await body.read()
        key = headers.get("idempotency-key")
        if SECRETS.fullmatch(scope["path"]):
            key = None
        if who is None or key is None or scope["method"] != "POST":
            await self._api(scope, body, send)
            return
        if not 0 < len(key) <= _LONGEST_KEY or not key.isascii():
            text = f"Idempotency-Key is not ASCII of 1 to {_LONGEST_KEY} characters"
            raise Problem(400, "bad_key", text, "send a UUID, or 16 random characters")
        digest = hashlib.sha256(f"{who.name}\0{key}".encode()).hexdigest()
        first = await self._store.answers.take(digest)
        if first is None:
            await self._first(digest, scope, body, send)
        else:
            await _again(first, scope, body, send)

    async def _first(
        self, digest: str, scope: Scope, body: _Body, send: _Reply
    ) -> None:
        """Answer, and keep the answer; what came to nothing may be tried again."""
        kept = False
        send.copy = True
        try:
            await self._api(scope, body, send)
            if send.status < 500 and body.ended:  # noqa: PLR2004
                await self._store.answers.keep(
                    digest,
                    body.digest,
                    send.status,
                    json.dumps(send.kept_headers),
                    send.body.decode("utf-8", "replace"),
                )
                kept = True
        finally:
            if not kept:
                await self._store.answers.forget(digest)

    async def _still(self, who: Caller, scope: Scope, headers: Headers) -> bool:
        """Say whether somebody who asked a while ago may still, as then."""
        try:
            return await self._caller(scope, headers) == who
        except Problem:
            return False
        except StoreUnavailable:
            return True  # It cannot be asked; nor does it give anything to send.

    async def _caller(self, scope: Scope, headers: Headers) -> Caller:
        """Return who asks.

        Raises:
            Problem: Nobody whom the relay knows.
        """
        peer = peer_network((scope.get("client") or ("unknown",))[0])
        if wait := self._guesses.wait_s(peer, 0):
            raise _too_many(wait, "too many wrong tokens came from there")
        scheme, _, secret = headers.get("authorization", "").partition(" ")
        token = None
        if scheme.lower() == "bearer" and secret.strip():
            hashed = hashlib.sha256(secret.strip().encode()).hexdigest()
            token = await self._store.credentials.find_api_token(hashed)
        if token is None:
            self._guesses.wait_s(peer)
            raise _unauthorized("unauthorized", "no token that the relay knows")
        if token.expires_at is not None and token.expires_at <= self._clock.now():
            raise _unauthorized("token_expired", "the token has expired")
        if token.user_id is None:
            return caller(token, None)
        users = await self._store.directory.users()
        user = next((one for one in users if one.id == token.user_id), None)
        if user is None:
            raise _unauthorized("unauthorized", "the user of the token is removed")
        if not may_sign_in(user):
            hint = f"relay user enable {user.email}, or make a token for another user"
            raise _unauthorized(
                "user_disabled", f"{user.email}, whose token it is, is disabled", hint
            )
        allowed = False
        if user.role is Role.MONITOR and "raw:read" in token.scopes:
            kept = await self._store.directory.setting("web.monitor_sees_bodies")
            allowed = self._monitor_sees_bodies if kept is None else bool(kept)
        return caller(token, user, monitor_sees_bodies=allowed)


def _unauthorized(
    error: str,
    detail: str,
    hint: str = "send Authorization: Bearer TOKEN; relay token add makes one",
) -> Problem:
    header = {"WWW-Authenticate": 'Bearer realm="relay", error="invalid_token"'}
    return Problem(401, error, detail, hint, headers=header)


def _too_many(wait_s: int, detail: str) -> Problem:
    hint = f"wait {wait_s} s, then go on more slowly"
    return Problem(
        429, "too_many_requests", detail, hint, headers={"Retry-After": str(wait_s)}
    )


async def _again(first: KeptAnswer, scope: Scope, body: _Body, send: _Reply) -> None:
    """Give the answer that the same request got, and that one alone."""
    if first.status is None:
        hint = "wait for the answer to the first one, or send it again later"
        detail = "a request with this Idempotency-Key is being worked on"
        raise Problem(409, "in_progress", detail, hint, headers={"Retry-After": "1"})
    await body.skip()
    if body.digest != first.request:
        hint = "take a new key for each new request"
        detail = "this Idempotency-Key was sent with another request"
        raise Problem(422, "key_reused", detail, hint)
    headers = json.loads(first.headers) | {"Idempotency-Replayed": "true"}
    await Response(first.body, first.status, headers=headers)(scope, body, send)


class _Body:
    """The body of a request as it is received: measured, and its digest taken."""

    def __init__(
        self, scope: Scope, receive: Receive, headers: Headers, limit: int | None
    ) -> None:
        self._receive = receive
        self._limit = limit
        self._size = 0
        self._read: list[Message] = []
        self.ended = False
        self._hash = hashlib.sha256()
        query = scope.get("query_string", b"")
        self._hash.update(
            f"{scope['method']} {scope['path']}?".encode() + query + b"\n"
        )
        announced = headers.get("content-length", "")
        if limit is not None and announced.isdecimal() and int(announced) > limit:
            raise self._too_large()

    async def read(self) -> None:
        """Read the whole body before the application does: it is small.

        Raises:
            Problem: It is too large, or comes too slowly.
        """
        try:
            async with asyncio.timeout(SLOWEST_S):
                while not self.ended:
                    message = await self._next()
                    self._read.append(message)
                    if message["type"] == "http.disconnect":
                        return
        except TimeoutError:
            hint = f"send it within {SLOWEST_S} s"
            raise Problem(408, "too_slow", "the body came too slowly", hint) from None

    async def __call__(self) -> Message:
        return self._read.pop(0) if self._read else await self._next()

    async def _next(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            part = message.get("body", b"")
            self._size += len(part)
            if self._limit is not None and self._size > self._limit:
                raise self._too_large()
            self._hash.update(part)
            self.ended = self.ended or not message.get("more_body", False)
        return message

    @property
    def digest(self) -> str:
        """The digest of method, path and all that was read."""
        return self._hash.hexdigest()

    async def skip(self) -> None:
        """Read to the end."""
        while not self.ended:
            if (await self._next())["type"] == "http.disconnect":
                return

    def _too_large(self) -> Problem:
        detail = f"the body has more than {self._limit} bytes"
        return Problem(413, "too_large", detail, "send less at once")


class _Reply:
    """Sends an answer with the headers that each has; can keep a copy."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = self.ended = False
        self.copy = False
        self.status = 500
        self.kept_headers: dict[str, str] = {}
        self.body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            self.status = message["status"]
            headers = MutableHeaders(raw=list(message.get("headers", [])))
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            self.kept_headers = {
                name: headers[name] for name in _KEPT_HEADERS if name in headers
            }
            message = {**message, "headers": headers.raw}
        elif message["type"] == "http.response.body":
            self.ended = not message.get("more_body", False)
            if self.copy:
                self.body += message.get("body", b"")
        await self._send(message)


def of_request(state: Any) -> Caller:
    """Return who asks, as the gate has found it."""
    found: Caller = state.caller
    return found
