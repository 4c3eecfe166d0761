"""The org over HTTP: a Starlette application, with its faults.

Faults are applied here, around `gate.process`, because some of them need the
connection itself: one that is cut before anything happened, and one that is cut when
all has happened and the client will never know.
"""

from __future__ import annotations

import asyncio
import json
import struct
from dataclasses import replace
from email.utils import format_datetime
from socket import SO_LINGER, SOL_SOCKET
from typing import TYPE_CHECKING, Final

from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from relay.sandbox.admin import admin_routes
from relay.sandbox.answers import Answer, failure
from relay.sandbox.errors import SandboxError
from relay.sandbox.gate import Inbound, process, unprocessed

if TYPE_CHECKING:
    from starlette.requests import Request

    from relay.sandbox.faults import Fault
    from relay.sandbox.org import SandboxOrg

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_PAGE: Final = (
    "<html><head><title>{title}</title></head>"
    "<body><h1>{title}</h1><p>{text}</p></body></html>"
)
_SERVER_ERROR: Final = 500
_ABORT: Final = struct.pack("ii", 1, 0)
"""SO_LINGER that makes close send a reset."""


class Connections:
    """The transports of open connections by peer, so that a fault can cut one."""

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
        # The loop tells the protocol that its peer is gone before we return.
        for _ in range(3):
            await asyncio.sleep(0)


def create_app(org: SandboxOrg, connections: Connections | None = None) -> Starlette:
    """Return the application that serves an org.

    Args:
        org: The org; requests of all connections share it.
        connections: Where the server notes its transports; without it a `reset` fault
            answers 500.
    """
    held = connections or Connections()

    async def salesforce(request: Request) -> Response:
        return await _Exchange(org, held, request).run()

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
