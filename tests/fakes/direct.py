"""A relay without waiting: an org without sockets, a store without threads.

For tests that make thousands of histories. What goes over the wire and into the
database is the same; only the threads, sockets and syncs between are left out, and
those have tests of their own.
"""

from __future__ import annotations

from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any, TypeVar

import requests
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict
from sqlalchemy import event
from starlette.requests import Request

from relay.salesforce import transport
from relay.sandbox.server import Connections, _Exchange
from relay.store.database import parse_url, sqlite_engine
from relay.store.errors import translate

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from sqlalchemy import Connection

    from relay.salesforce import Org
    from relay.sandbox import SandboxOrg
    from relay.store import Store

T = TypeVar("T")


class _CutError(Exception):
    """The connection is cut."""


class _Connections(Connections):
    async def cut(self, request: Request) -> None:
        raise _CutError


class _Adapter(BaseAdapter):
    """Carries requests to a sandbox in this process; its faults work as on a socket."""

    def __init__(self, sandbox: SandboxOrg) -> None:
        super().__init__()
        self._sandbox = sandbox

    def send(self, request: requests.PreparedRequest, **_: Any) -> requests.Response:
        flight = transport._FLIGHT.get()
        assert flight is not None, "a call outside of a flight"
        flight.leave()
        try:
            answer = _finished(self._asked(request).run())
        except _CutError:
            raise requests.ConnectionError from None
        made = transport._Answer()
        made.status_code = flight.status = answer.status_code
        made.headers = CaseInsensitiveDict(answer.headers)
        flight.headers = made.headers
        made.url, made.request = request.url or "", request
        made._content = bytes(answer.body)
        return made

    def _asked(self, request: requests.PreparedRequest) -> _Exchange:
        path, _, query = request.path_url.partition("?")
        body = request.body or b""
        if not isinstance(body, bytes | str):
            body = b"".join(body)
        data = body.encode() if isinstance(body, str) else body
        headers = {"Host": "sandbox", **request.headers}
        scope = {
            "type": "http",
            "method": request.method,
            "path": path,
            "raw_path": request.path_url.encode(),
            "query_string": query.encode(),
            "headers": [
                (_bytes(name).lower(), _bytes(value)) for name, value in headers.items()
            ],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": data, "more_body": False}

        return _Exchange(self._sandbox, _Connections(), Request(scope, receive))

    def close(self) -> None:
        """Nothing is open."""


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")


def _finished(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never waits."""
    try:
        work.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    work.close()
    raise AssertionError("the sandbox waits for something")


def session_with(sandbox: SandboxOrg) -> Callable[..., requests.Session]:
    """Return what takes the place of `transport.session`."""

    def session(*_: object) -> requests.Session:
        made = transport._Session()
        made.trust_env = False
        made.adapters.clear()
        made.mount("https://", _Adapter(sandbox))
        made.mount("http://", _Adapter(sandbox))
        return made

    return session


class _Inline(Executor):
    """Does each job at once, where it is asked for."""

    def submit(self, work: Any, /, *args: Any, **named: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(work(*args, **named))
        except BaseException as error:  # noqa: BLE001 - as an executor does
            done.set_exception(error)
        return done


def without_threads(org: Org) -> None:
    """Let an org make its calls in the thread of the loop."""
    threads = org._connection.threads
    threads._executor.shutdown()
    threads._executor = _Inline()  # type: ignore[assignment]


class _Database:
    """The database of a store, with one connection in this thread."""

    def __init__(self, store: Store, url: str) -> None:
        self._inner = store.context.database
        engine = sqlite_engine(parse_url(url), 30)

        @event.listens_for(engine, "connect")
        def connect(connection: Any, _record: Any) -> None:
            connection.execute("PRAGMA synchronous=OFF")

        self._engine = engine
        self._connection = engine.connect()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def write(self, work: Callable[[Connection], T], *, more_s: float = 0.0) -> T:
        del more_s
        try:
            with self._connection.begin():
                return work(self._connection)
        except Exception as error:
            ours = translate(error)
            if ours is error:
                raise
            raise ours from error

    async def read(self, work: Callable[[Connection], T]) -> T:
        return await self.write(work)

    async def close(self) -> None:
        self._connection.close()
        self._engine.dispose()
        await self._inner.close()


def without_waits(store: Store, url: str) -> None:
    """Let a store of SQLite work in the thread of the loop, without syncs."""
    store.context.database = _Database(store, url)
