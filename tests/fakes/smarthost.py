"""A smarthost on loopback: it takes mail by the rules of a test, and keeps it."""

from __future__ import annotations

import asyncio
import base64
import email
import email.policy
import json
import ssl
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import EmailMessage
    from pathlib import Path


class Smarthost:
    """What the server does, and what it was given.

    Attributes:
        mails: What was accepted: envelope sender, recipients, bytes.
        logins: Each login: mechanism, name, secret.
        login: The (name, secret) that is accepted; None: any.
        replies: A reply by recipient, in place of 250 to its RCPT.
        data_replies: Replies to DATA, the next one first; "drop" closes without one,
            "hang" gives none.
        commands: The verbs that came.
    """

    def __init__(self) -> None:
        self.mails: list[tuple[str, list[str], bytes]] = []
        self.logins: list[tuple[str, str, str]] = []
        self.login: tuple[str, str] | None = None
        self.tokens: set[str] = set()
        self.replies: dict[str, str] = {}
        self.data_replies: list[str] = []
        self.commands: list[str] = []
        self.peer_certificates: list[Any] = []
        self.taken = threading.Event()
        self.port = 0
        self.smtputf8 = True

    @property
    def messages(self) -> list[EmailMessage]:
        """Return the mails, parsed."""
        return [
            email.message_from_bytes(raw, policy=email.policy.default)  # type: ignore[misc]
            for _, _, raw in self.mails
        ]

    # ------------------------------------------------------------ aiosmtpd's hooks

    async def handle_MAIL(self, server, session, envelope, address, options):  # noqa: N802
        self.commands.append(f"MAIL {address}")
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802
        if reply := self.replies.get(address):
            return reply
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        peer = server.transport.get_extra_info("peercert")
        self.peer_certificates.append(peer)
        reply = self.data_replies.pop(0) if self.data_replies else "250 taken"
        if reply.startswith(("250", "drop", "hang")):
            mail = (envelope.mail_from, list(envelope.rcpt_tos), envelope.content)
            self.mails.append(mail)
        if reply == "drop":
            server.transport.abort()
            return "421 never read"
        if reply == "hang":
            await asyncio.sleep(3600)
        self.taken.set()
        return reply

    def authenticate(self, server, session, envelope, mechanism, data):
        """Check a password."""
        assert isinstance(data, LoginPassword)
        found = (data.login.decode(), data.password.decode())
        self.logins.append((mechanism, *found))
        return AuthResult(success=self.login in {None, found}, handled=False)

    async def auth_XOAUTH2(self, server, args) -> AuthResult:  # noqa: N802
        """Check a token, in the form of Google and Microsoft."""
        text = base64.b64decode(args[1]).decode()
        name, token = (part.partition("=")[2] for part in text.split("\x01")[:2])
        token = token.removeprefix("Bearer ")
        self.logins.append(("XOAUTH2", name, token))
        if token in self.tokens:
            return AuthResult(success=True)
        challenge = base64.b64encode(b'{"status":"400"}').decode()
        await server.push(f"334 {challenge}")
        await server._reader.readline()
        await server.push("535 5.7.3 Authentication unsuccessful")
        return AuthResult(success=False, handled=True)


def _session(host: Smarthost, tls: str, context: Any, *, login: bool) -> SMTP:
    """Return the server's side of one connection."""

    class Server(SMTP):
        async def auth_XOAUTH2(self, _server, args):  # noqa: N802 - found by name
            return await host.auth_XOAUTH2(self, args)

    starttls = context if tls == "starttls" else None
    return Server(
        host,
        enable_SMTPUTF8=host.smtputf8,
        tls_context=starttls,
        require_starttls=starttls is not None,
        authenticator=host.authenticate if login else None,
        auth_required=login,
        auth_require_tls=tls == "starttls",
        timeout=20,
    )


@contextmanager
def running_smarthost(
    *,
    tls: str = "none",
    certificate: tuple[Path, Path] | None = None,
    client_ca: Path | None = None,
    login: bool = False,
    smtputf8: bool = True,
) -> Iterator[Smarthost]:
    """Run a smarthost; `port` is where."""
    context = None
    if certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*certificate)
        if client_ca:
            context.load_verify_locations(client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    host = Smarthost()
    host.smtputf8 = smtputf8
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    sessions: list[SMTP] = []

    def session() -> SMTP:
        sessions.append(_session(host, tls, context, login=login))
        return sessions[-1]

    async def start() -> asyncio.Server:
        return await loop.create_server(
            session,
            "127.0.0.1",
            0,
            ssl=context if tls == "implicit" else None,
        )

    async def stop() -> None:
        server.close()
        for one in sessions:
            if one.transport is not None:
                one.transport.abort()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    server = asyncio.run_coroutine_threadsafe(start(), loop).result(20)
    try:
        host.port = server.sockets[0].getsockname()[1]
        yield host
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)
        loop.close()


class TokenEndpoint:
    """Gives out tokens; `answers` are used up first, then a fresh token each time."""

    def __init__(self) -> None:
        self.asked: list[dict[str, list[str]]] = []
        self.answers: list[tuple[int, Any]] = []
        self.url = ""
        self.life_s: float = 3600

    def answer(self, form: dict[str, list[str]]) -> tuple[int, Any]:
        """Return status and body."""
        self.asked.append(form)
        if self.answers:
            return self.answers.pop(0)
        token = f"token-{len(self.asked)}"
        return 200, {"access_token": token, "expires_in": self.life_s}


@contextmanager
def running_endpoint() -> Iterator[TokenEndpoint]:
    """Run a token endpoint on loopback."""
    endpoint = TokenEndpoint()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            status, body = endpoint.answer(parse_qs(self.rfile.read(length).decode()))
            text = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            if status in {301, 302, 307}:
                self.send_header("Location", endpoint.url + "/elsewhere")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    endpoint.url = f"http://127.0.0.1:{server.server_port}/token"
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
