"""The org over HTTP, with its faults, on a loopback port.

Faults are applied here, around `api.process`, because some of them need the connection
itself: one that is cut before anything happened, and one that is cut when all has
happened and the client will never know. Loopback only, and that is checked here: there
is no TLS, and the back door has no lock.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import signal
import socket
import struct
from dataclasses import replace
from email.utils import format_datetime
from socket import SO_LINGER, SOL_SOCKET
from typing import TYPE_CHECKING, Final

import uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from relay.core.errors import ConfigError
from relay.sandbox.admin import admin_routes
from relay.sandbox.answers import Answer, failure
from relay.sandbox.api import Inbound, process, unprocessed
from relay.sandbox.errors import SandboxError
from relay.sandbox.org import SandboxOrg

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.requests import Request

    from relay.sandbox.config import Fault


METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_PAGE: Final = (
    "<html><head><title>{title}</title></head>"
    "<body><h1>{title}</h1><p>{text}</p></body></html>"
)
_SERVER_ERROR: Final = 500
_ABORT: Final = struct.pack("ii", 1, 0)
"""Value of SO_LINGER with which `close` sends a reset."""


class Connections:
    """The transports of open connections by client address: a fault cuts one."""

    def __init__(self) -> None:
        """Start without any."""
        self.transports: dict[tuple[str, int], asyncio.Transport] = {}

    async def cut(self, request: Request) -> None:
        """Reset the connection that a request came on."""
        client = request.client
        transport = self.transports.get((client.host, client.port)) if client else None
        if transport is None:
            return
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(SOL_SOCKET, SO_LINGER, _ABORT)
        transport.abort()
        # The event loop must report the loss to the protocol before we return.
        for _ in range(3):
            await asyncio.sleep(0)


def create_app(org: SandboxOrg, connections: Connections | None = None) -> Starlette:
    """Return the application that serves an org.

    Args:
        org: The org; requests of all connections share it.
        connections: Where the server keeps its transports; without it a `reset` fault
            answers 500.
    """
    opened = connections or Connections()

    async def salesforce(request: Request) -> Response:
        return await _Exchange(org, opened, request).run()

    return Starlette(
        routes=[
            *admin_routes(org),
            Route("/{path:path}", salesforce, methods=list(METHODS)),
        ]
    )


class _Exchange:
    """One request on its way through latency, faults and the org."""

    def __init__(
        self, org: SandboxOrg, connections: Connections, request: Request
    ) -> None:
        self._org = org
        self._connections = connections
        self._request = request
        raw_path = request.scope.get("raw_path") or request.url.path.encode()
        query: bytes = request.scope.get("query_string", b"")
        headers = request.headers
        self._inbound = Inbound(
            method=request.method,
            path=raw_path.partition(b"?")[0].decode("latin-1"),
            query=query.decode("latin-1"),
            headers={name.lower(): value for name, value in headers.items()},
            head_bytes=len(raw_path)
            + len(query)
            + sum(len(name) + len(value) + 4 for name, value in headers.raw),
        )

    async def run(self) -> Response:
        """Return the response; an empty one if the connection is cut."""
        answer = await self._early("connect")
        if answer is None:
            await self._read_body()
            if self._org.config.latency_s > 0:
                await asyncio.sleep(self._org.config.latency_s)
            answer = await self._early("before")
        if answer is not None:
            self._org.calls.add(unprocessed(self._org, self._inbound, answer.status))
            return await self._finish(answer, answer.status)
        answer, logged = process(self._org, self._inbound)
        status, raw = answer.status, None
        late = [
            *self._faults("after"),
            *self._faults("answer"),
        ]
        for fault in late:
            if fault.kind == "stall":
                await asyncio.sleep(fault.delay_s)
            elif fault.kind == "reset":
                status = 0
            elif fault.kind == "truncate":
                whole = _encode(answer)
                raw = whole[: len(whole) // 2]
            else:
                answer = self._instead(fault)
                status = answer.status
        self._org.calls.add(replace(logged, status=status))
        return await self._finish(answer, status, raw)

    async def _read_body(self) -> None:
        self._inbound = replace(self._inbound, body=await self._request.body())

    def _faults(self, stage: str) -> list[Fault]:
        inbound = self._inbound
        return self._org.faults.for_call(
            frozenset({stage}), inbound.target, inbound.body
        )

    async def _early(self, stage: str) -> Answer | None:
        """Apply the faults of a stage before processing; None goes on."""
        for fault in self._faults(stage):
            if fault.kind == "stall":
                await asyncio.sleep(fault.delay_s)
            elif fault.kind == "expire_token":
                self._org.sessions.revoke_all()
            elif fault.kind == "reset":
                return Answer(0)
            elif fault.kind != "truncate":
                return self._instead(fault)
        return None

    def _instead(self, fault: Fault) -> Answer:
        if fault.kind == "html":
            status = int(fault.code or 503)
            title = "Service Unavailable" if status >= _SERVER_ERROR else "Please wait"
            page = _PAGE.format(title=title, text=fault.message or "Down for now.")
            return Answer(status, page.encode(), {"Content-Type": "text/html"})
        if fault.kind == "status":
            status = int(fault.code or 503)
            error = SandboxError(
                "SERVER_UNAVAILABLE"
                if status >= _SERVER_ERROR
                else "UNKNOWN_EXCEPTION",
                fault.message or "fault of the sandbox",
                status=status,
            )
            return failure(error)
        if fault.kind == "expire_token":
            self._org.sessions.revoke_all()
        return failure(fault.error())

    async def _finish(
        self, answer: Answer, status: int, raw: bytes | None = None
    ) -> Response:
        """Send the answer, or cut the connection where the status is 0."""
        if status == 0:
            await self._connections.cut(self._request)
            return Response(status_code=500)
        body = _encode(answer) if raw is None else raw
        headers = {"Content-Type": "application/json;charset=UTF-8", **answer.headers}
        if answer.body is None and raw is None:
            headers.pop("Content-Type")
        headers["Date"] = format_datetime(self._org.clock.now(), usegmt=True)
        return Response(body, answer.status, headers)


def _encode(answer: Answer) -> bytes:
    if answer.body is None:
        return b""
    if isinstance(answer.body, bytes):
        return answer.body
    return json.dumps(answer.body, ensure_ascii=False, separators=(",", ":")).encode()


# --------------------------------------------------------------------- server


_HEAD_BYTES: Final = 1 << 20
"""Limit of the parser: above the org's own, so that the org refuses long headers."""
_GRACE_S: Final = 1


class _Server(uvicorn.Server):
    """A server that leaves signals to the code that runs the event loop."""

    def __init__(self, config: uvicorn.Config) -> None:
        """Start unready."""
        super().__init__(config)
        self.ready = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install nothing."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Set `ready` once connections are accepted."""
        await super().startup(sockets)
        self.ready.set()


def check_host(host: str) -> None:
    """Refuse every host that other machines could reach.

    Raises:
        ConfigError: The host is no loopback address.
    """
    if host == "localhost":
        return
    try:
        if ipaddress.ip_address(host).is_loopback:
            return
    except ValueError:
        pass
    msg = f"the sandbox listens on loopback addresses only, not on {host!r}: 127.0.0.1"
    raise ConfigError(msg)


async def serve(
    org: SandboxOrg,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    announce: Callable[[str], None] | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Serve an org until `stop` is set or the task is cancelled.

    Args:
        org: The org; its `url` is set to the address it is served at.
        host: A loopback address.
        port: 0 takes any free port.
        announce: Called with the URL as soon as connections are taken.
        stop: Set to end; open requests get a second to finish.

    Raises:
        ConfigError: The host is no loopback address, or the port is taken.
    """
    check_host(host)
    listener = _listen(host, port)
    number = listener.getsockname()[1]
    org.url = f"http://[{host}]:{number}" if ":" in host else f"http://{host}:{number}"
    connections = Connections()
    config = uvicorn.Config(
        create_app(org, connections),
        http=_tracking(connections),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        date_header=False,
        server_header=False,
        h11_max_incomplete_event_size=_HEAD_BYTES,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=_GRACE_S,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    ready = asyncio.create_task(server.ready.wait())
    try:
        await asyncio.wait({serving, ready}, return_when=asyncio.FIRST_COMPLETED)
        if announce is not None and server.started:
            announce(org.url)
        waiting = asyncio.create_task((stop or asyncio.Event()).wait())
        await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
    finally:
        server.should_exit = True
        ready.cancel()
        await serving
        listener.close()


def run(
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    org: SandboxOrg | None = None,
    announce: Callable[[str], None] | None = None,
) -> None:
    """Serve an org until SIGINT or SIGTERM; for the command line.

    Raises:
        ConfigError: The host is no loopback address, or the port is taken.
    """
    asyncio.run(_run(org or SandboxOrg(), host, port, announce))


async def _run(
    org: SandboxOrg, host: str, port: int, announce: Callable[[str], None] | None
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await serve(org, host, port, announce=announce, stop=stop)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as cause:
        listener.close()
        msg = f"the sandbox cannot listen on {host}:{port}: {cause.strerror}"
        raise ConfigError(msg) from cause
    listener.set_inheritable(False)
    return listener


def _tracking(connections: Connections) -> type[H11Protocol]:
    """Return a protocol that keeps its transport, so that a fault can cut it."""

    class Tracking(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as its base does
            super().connection_made(transport)
            if self.client is not None:
                connections.transports[self.client] = transport

        def connection_lost(self, exc: Exception | None) -> None:
            if self.client is not None:
                connections.transports.pop(self.client, None)
            super().connection_lost(exc)

    return Tracking
