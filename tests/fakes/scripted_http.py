"""A stand-in for Salesforce that answers what a test has written down, and breaks.

It is for faults of the transport: answers cut short, HTML, resets, silence. What it
answers by itself is only a token. What Salesforce would really say is the sandbox's
business.
"""

from __future__ import annotations

import gzip
import json
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

TOKEN_PATH = "/services/oauth2/token"
EXPIRED = [{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}]
HTML = b"<html><body><h1>503 Service Unavailable</h1></body></html>"


@dataclass(frozen=True)
class Seen:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Return the parsed body."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """One answer.

    `cut_at` closes the connection after so many bytes of the body, `delay_s` is
    silence before the answer, `chunked` packs the body as Salesforce does: gzip in
    chunks.
    """

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    cut_at: int | None = None
    chunked: bool = False

    @property
    def data(self) -> bytes:
        """Return the body as bytes."""
        return (
            self.body
            if isinstance(self.body, bytes)
            else json.dumps(self.body).encode()
        )


@dataclass(frozen=True)
class Reset:
    """No answer: the connection is reset once the request has been read."""


Step = Reply | Reset


class ScriptedHTTP:
    """Serves on a free loopback port; a context manager.

    Attributes:
        script: Answers to requests in turn; then `default` answers.
        tokens: Answers to logins in turn; then each login gets a fresh token.
        seen: All requests that were read, logins apart.
        logins: Forms of all logins.
    """

    def __init__(
        self,
        *script: Step,
        default: Callable[[Seen], Step] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._tls = tls
        self.script: list[Step] = list(script)
        self.tokens: list[Step] = []
        self.default = default or (lambda _: Reply(404, [_not_found()]))
        self.seen: list[Seen] = []
        self.logins: list[Seen] = []
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        self._open: list[socket.socket] = []

    @property
    def port(self) -> int:
        assert self._server
        return self._server.server_address[1]

    @property
    def url(self) -> str:
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                owner._answer(self)

            do_POST = do_PATCH = do_GET  # noqa: N815 - the base class looks them up

            def log_message(self, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *args: object) -> None:
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        if self._tls:
            self._server.socket = self._tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server
        assert self._thread
        self._server.shutdown()
        for connection in self._open:
            connection.close()
        self._server.server_close()
        self._thread.join()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        self._open.append(handler.connection)
        size = int(handler.headers.get("Content-Length") or 0)
        seen = Seen(
            handler.command,
            handler.path,
            {k.lower(): v for k, v in handler.headers.items()},
            handler.rfile.read(size),
        )
        step = self._step(seen)
        if isinstance(step, Reset):
            linger = struct.pack("ii", 1, 0)
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            handler.close_connection = True
            # The handler's own files keep the socket open otherwise.
            handler.wfile.close()
            handler.rfile.close()
            handler.connection.close()
            return
        if step.delay_s:
            time.sleep(step.delay_s)
        data = step.data
        if step.chunked:
            self._send_chunked(handler, step)
            return
        handler.send_response(step.status)
        kind = (
            "text/html" if data.startswith(b"<") else "application/json;charset=UTF-8"
        )
        for name, value in {"Content-Type": kind, **step.headers}.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        if step.cut_at is None:
            handler.wfile.write(data)
        else:
            handler.wfile.write(data[: step.cut_at])
            handler.close_connection = True

    def _send_chunked(self, handler: BaseHTTPRequestHandler, step: Reply) -> None:
        packed = gzip.compress(step.data)
        handler.send_response(step.status)
        handler.send_header("Content-Type", "application/json;charset=UTF-8")
        handler.send_header("Content-Encoding", "gzip")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for at in range(0, len(packed), 1000):
            if step.cut_at is not None and at >= step.cut_at:
                handler.close_connection = True
                return
            part = packed[at : at + 1000]
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        handler.wfile.write(b"0\r\n\r\n")

    def _step(self, seen: Seen) -> Step:
        with self._lock:
            if seen.path == TOKEN_PATH:
                self.logins.append(seen)
                return self.tokens.pop(0) if self.tokens else self.token()
            self.seen.append(seen)
            return self.script.pop(0) if self.script else self.default(seen)

    def token(self, **changes: Any) -> Reply:
        """Return what a login gives: a token that no other login gave."""
        number = len(self.logins)
        answer = {
            "access_token": f"00D000000000001!token{number}",
            "instance_url": self.url,
            "id": f"{self.url}/id/00D000000000001EAA/005000000000001AAA",
            "token_type": "Bearer",
        }
        return Reply(200, {**answer, **changes})


def composite(*parts: tuple[int, Any]) -> Reply:
    """Return a composite answer with (status, body) of its parts in order."""
    return Reply(
        200,
        {
            "compositeResponse": [
                {
                    "referenceId": f"p{number}",
                    "httpStatusCode": status,
                    "httpHeaders": {},
                    "body": body,
                }
                for number, (status, body) in enumerate(parts)
            ]
        },
    )


def rows(*records: dict[str, Any]) -> tuple[int, Any]:
    """Return the part of a query that found these records."""
    return 200, {"totalSize": len(records), "done": True, "records": list(records)}


def error(code: str, message: str = "", **more: Any) -> list[dict[str, Any]]:
    """Return an error list in the form of the REST API."""
    return [{"errorCode": code, "message": message, **more}]


def _not_found() -> dict[str, str]:
    message = "The requested resource does not exist"
    return {"errorCode": "NOT_FOUND", "message": message}
