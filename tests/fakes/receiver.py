"""A receiver of webhooks on loopback: it verifies, answers as told, and keeps all."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

KEY = b"k" * 32
SECRET = "whsec_" + base64.b64encode(KEY).decode()


class Receiver:
    """What it answers, and what it was given.

    Attributes:
        answers: The next answers: a status, a status with headers, "hang" (none),
            "drip" (a byte now and then, for ever), "drop". Then 204.
        calls: Id, time and body of each call with a good signature.
        forged: How many calls had a bad one.
    """

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.calls: list[tuple[str, int, dict[str, Any]]] = []
        self.forged = 0
        self.called = threading.Event()
        self.ended = threading.Event()
        self.url = ""

    @property
    def ids(self) -> list[str]:
        """Return the id of each call."""
        return [one[0] for one in self.calls]

    @property
    def types(self) -> list[str]:
        """Return the type of each call."""
        return [one[2]["type"] for one in self.calls]


@contextmanager
def receiving(  # noqa: C901 - one small server
    tls: ssl.SSLContext | None = None,
) -> Iterator[Receiver]:
    """Run a receiver."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            key, at = self.headers["webhook-id"], self.headers["webhook-timestamp"]
            # By the words of the specification, not by the relay's function.
            signed = b".".join([key.encode(), at.encode(), raw])
            good = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest())
            if self.headers["webhook-signature"] != f"v1,{good.decode()}":
                receiver.forged += 1
                self._answer(401, {})
                return
            receiver.calls.append((key, int(at), json.loads(raw)))
            receiver.called.set()
            answer = receiver.answers.pop(0) if receiver.answers else 204
            if answer == "hang":
                receiver.ended.wait(30)
            elif answer == "drop":
                self.connection.shutdown(socket.SHUT_RDWR)
            elif answer == "drip":
                self._drip()
            else:
                status, headers = answer if isinstance(answer, tuple) else (answer, {})
                self._answer(status, headers)

        def _answer(self, status: int, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            text = b"" if status == 204 else b"said \x1b[31m" + b"x" * 50_000
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def _drip(self) -> None:
            try:
                while not receiver.ended.is_set():
                    self.connection.sendall(b"H")
                    time.sleep(0.05)
            except OSError:
                return

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    scheme = "https" if tls else "http"
    receiver.url = f"{scheme}://localhost:{server.server_address[1]}/hook?to=it"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()
