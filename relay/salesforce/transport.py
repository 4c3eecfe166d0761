"""The HTTP session under the client library: where bytes leave, and under which rules.

Promises, for every call made through `session()`:

- It goes to a host that was named when the session was made, or nowhere: a URL built
  from a strange record id finds no adapter.
- It has a timeout to connect, to send, to be answered and to be read.
- No proxy, `.netrc` or certificate path is taken from the environment, no redirect is
  followed, nothing is sent twice.
- Its `Flight` knows whether a byte may have left, so that "certainly not sent" is a
  fact and no guess from an exception's name.

Which call is made, and what its answer means, is left to `client`.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from relay.config.values import is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from urllib3.poolmanager import PoolManager

    from relay.core.clock import Clock
    from relay.core.model import Json

CONNECT_S: Final = 10.0
"""Longest wait for a connection, TLS included."""
IDLE_S: Final = 20.0
"""Age at which an idle connection is not used again.

The other side may close it at that very moment, and a write on it would be unknown.
"""
MAX_ANSWER: Final = 64 * 1024 * 1024
"""Bytes of an answer that are read; Salesforce's own stay far below."""

_CHUNK: Final = 65_536
_HOLDS_NUMBERS: Final = (float, dict, list, tuple)
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")


class TooLateError(Exception):
    """The request was not sent because its time was over; no byte left."""


class AnswerTooLargeError(OSError):
    """The answer is larger than any answer of Salesforce."""


@dataclass(slots=True)
class Flight:
    """One request on its way.

    Attributes:
        timeout_s: Wait for the answer, and again for the rest of it.
        not_after_s: Boot time after which it may not be sent any more.
        left: A byte may have left; False is certain.
        status: HTTP status of the answer, 0 if there was none.
        headers: Headers of the answer.
        seconds: How long it took, from sending to the end of the answer.
    """

    clock: Clock
    timeout_s: float
    not_after_s: float | None = None
    left: bool = False
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def leave(self) -> None:
        """Mark that bytes leave now.

        Raises:
            TooLateError: It is too late; none left.
        """
        late = self.not_after_s
        if late is not None and self.clock.boottime_s() > late:
            raise TooLateError
        self.left = True


_FLIGHT: Final[ContextVar[Flight | None]] = ContextVar("flight", default=None)


@contextlib.contextmanager
def flying(flight: Flight) -> Iterator[Flight]:
    """Let requests of this thread count as this flight."""
    token = _FLIGHT.set(flight)
    started = time.perf_counter()
    try:
        yield flight
    finally:
        flight.seconds = time.perf_counter() - started
        _FLIGHT.reset(token)


# ------------------------------------------------------------------ connections


class _Connection(HTTPConnection):
    """Connects first, then asks whether it is still time, then sends."""

    _answered_at: float | None = None

    @property
    def is_connected(self) -> bool:
        """Say whether the connection may be used once more (see `IDLE_S`)."""
        since = self._answered_at
        stale = since is not None and time.monotonic() - since > IDLE_S
        return not stale and super().is_connected

    def request(self, *args: Any, **kwargs: Any) -> None:
        """Send one request; from here on its outcome may be unknown."""
        if self.sock is None:
            self.connect()
        flight = _FLIGHT.get()
        if flight is not None:
            # Up to here the socket has the time to connect, too short for 8 MB.
            self.sock.settimeout(flight.timeout_s)
            flight.leave()
        super().request(*args, **kwargs)

    def getresponse(self) -> Any:
        """Receive the answer's head."""
        response = super().getresponse()
        self._answered_at = time.monotonic()
        return response


class _SecureConnection(_Connection, HTTPSConnection):
    """The same over TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


def _ours(manager: PoolManager) -> PoolManager:
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
    return manager


# ------------------------------------------------------------------ session


class _Answer(requests.Response):
    """An answer whose JSON is read by the fast reader, if that is installed."""

    @property
    def apparent_encoding(self) -> str:
        """Return UTF-8 rather than guess: guessing reads a whole page many times."""
        return "utf-8"

    def json(self, **_kwargs: Any) -> Any:
        """Parse the body.

        Raises:
            ValueError: It is no JSON.
        """
        return read_json(self.content)


class _Adapter(HTTPAdapter):
    """Carries requests to one origin.

    The client library always builds `https://` URLs; where the origin is
    a loopback host that speaks plain HTTP, the scheme is put right here.
    """

    def __init__(self, *, plain: bool) -> None:
        self._plain = plain
        super().__init__(pool_connections=2, pool_maxsize=2, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        _ours(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        return _ours(super().proxy_manager_for(*args, **kwargs))

    def send(  # type: ignore[override]  # the rest is passed on as it is
        self, request: requests.PreparedRequest, **kwargs: Any
    ) -> requests.Response:
        flight = _FLIGHT.get()
        if flight is None:  # pragma: no cover - every call goes through `client`
            msg = "a call outside of a flight"
            raise RuntimeError(msg)
        if self._plain and request.url:
            request.url = "http" + request.url.removeprefix("https")
        kwargs["timeout"] = (min(CONNECT_S, flight.timeout_s), flight.timeout_s)
        kwargs["stream"] = True
        response = super().send(request, **kwargs)
        flight.status = response.status_code
        flight.headers = response.headers
        _read_whole(response, time.monotonic() + flight.timeout_s)
        return response

    def build_response(self, req: requests.PreparedRequest, resp: Any) -> _Answer:
        answer = _Answer()
        answer.__dict__.update(super().build_response(req, resp).__dict__)
        return answer


def _read_whole(response: requests.Response, until: float) -> None:
    """Read the body here, with a limit of time and size.

    An answer that comes byte by byte cannot extend the limit.
    """
    parts, size = [], 0
    try:
        # Not `iter_content`: that waits until a whole chunk has dripped in.
        while part := response.raw.read1(_CHUNK, decode_content=True):
            size += len(part)
            _check(size, until)
            parts.append(part)
    except BaseException:
        response.close()
        raise
    response._content = b"".join(parts)  # noqa: SLF001 - what .content would set


def _check(size: int, until: float) -> None:
    if size > MAX_ANSWER:
        raise AnswerTooLargeError
    if time.monotonic() > until:
        raise requests.ReadTimeout


class _Session(requests.Session):
    """A session that follows no redirect: the token would travel with it."""

    def get_redirect_target(
        self,
        resp: requests.Response,  # noqa: ARG002 - the signature is given
    ) -> str | None:
        return None


def origin(url: str) -> str:
    """Return `scheme://host[:port]` of a URL."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def is_plain(url: str) -> bool:
    """Say whether a URL is plain HTTP, which only loopback hosts may speak.

    Raises:
        ValueError: Plain HTTP to a host that is not this machine.
    """
    parts = urlsplit(url)
    if parts.scheme == "https":
        return False
    if parts.scheme == "http" and is_loopback(parts.hostname or ""):
        return True
    msg = "http:// is for loopback hosts only"
    raise ValueError(msg)


def session(origins: Iterable[str], proxy: str | None = None) -> requests.Session:
    """Return a session that reaches these origins and no others.

    Not to be shared between threads.

    Args:
        origins: `https://host[:port]`, or `http://` for loopback hosts.
        proxy: Proxy for all but loopback hosts.

    Raises:
        ValueError: An origin speaks plain HTTP over a network.
    """
    made = _Session()
    made.trust_env = False
    made.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    made.adapters.clear()
    for place in origins:
        plain = is_plain(place)
        parts = urlsplit(place)
        made.mount(f"https://{parts.netloc}/", _Adapter(plain=plain))
        if proxy and not is_loopback(parts.hostname or ""):
            made.proxies[f"https://{parts.hostname}"] = proxy
    return made


# ------------------------------------------------------------------ JSON


def _slow_dump(value: Json) -> bytes:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode()


_dump: Callable[[Any], bytes] = _slow_dump
_load: Callable[[bytes], Any] = json.loads
try:
    import orjson
except ImportError:  # the extra `fast` is not installed
    pass
else:
    _dump, _load = orjson.dumps, orjson.loads


def write_json(value: Json) -> bytes:
    """Return the JSON of a value, UTF-8, without spaces.

    Raises:
        ValueError: Something in it has no JSON form: NaN, infinity, bytes, …
    """
    # The fast writer makes null of NaN, silently.
    if _has_nan(value):
        msg = "NaN and infinity have no JSON form"
        raise ValueError(msg)
    try:
        return _dump(value)
    except (TypeError, ValueError):
        pass
    try:
        return _dump(_cleaned(value))
    except (TypeError, ValueError, RecursionError):
        # Without the cause: its text quotes the value.
        msg = "a value has no JSON form"
        raise ValueError(msg) from None


def read_json(data: bytes) -> Json:
    """Parse JSON.

    Raises:
        ValueError: It is none.
    """
    try:
        return _load(data)
    except (ValueError, RecursionError):
        # Without the cause: it carries the whole document.
        msg = "the answer is not JSON"
        raise ValueError(msg) from None


def _has_nan(value: Json) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return False
    return any(_has_nan(v) for v in value if isinstance(v, _HOLDS_NUMBERS))


def _cleaned(value: Json) -> Json:
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_cleaned(k): _cleaned(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_cleaned(v) for v in value]
    return value
