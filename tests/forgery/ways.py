"""A relay in this process, and each way on which a mail can come to it.

The relay is real: listeners on sockets, a store on disk, checks that ask the DNS of
this machine. It runs in a thread of its own, one for all tests of a process, so that a
test costs one delivery. A PROXY header says where a peer is.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import socket
import ssl
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Self

from click.testing import CliRunner

from relay.app import App
from relay.cli import main
from relay.config import load
from relay.core.clock import SystemClock
from relay.core.directory import Role
from relay.core.passwords import hash_password
from relay.web.messages import digest
from tests.fakes.certificates import Authority
from tests.fakes.dns import DNS
from tests.forgery import world
from tests.forgery.world import ADA

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

WAIT_S: Final = 20
_DONE: Final = 250
_SECRET: Final = "a-token-of-the-gateway"
_PASSWORD: Final = "aaaabbbb"


@dataclass(frozen=True)
class Delivery:
    """A mail on its way: bytes, envelope, and where it comes from."""

    raw: bytes
    mail_from: str = ""
    peer: str = "192.0.2.10"
    helo: str = "client.example"
    utf8: bool = False


@dataclass(frozen=True)
class Answer:
    """What the peer read, and what the journal says of it.

    `row` is that of the message or the refusal, as `relay show --json` prints it.
    """

    code: int
    text: str
    row: dict[str, Any] = field(default_factory=dict)

    @property
    def state(self) -> str:
        """Return what became of the mail."""
        return str(self.row.get("state", "nothing"))

    @property
    def cause(self) -> str:
        """Return the cause of the catalogue, or the reason where there is none."""
        verdict = self.row.get("verdict") or {}
        return str(verdict.get("cause") or self.row.get("reason") or "")

    @property
    def sentence(self) -> str:
        """Return what the sender is told."""
        return str((self.row.get("verdict") or {}).get("text") or "")


class LaterClock(SystemClock):
    """The machine's clock, ahead by so many seconds."""

    ahead_s = 0.0

    def now(self) -> datetime:
        """Return the time, ahead."""
        return super().now() + timedelta(seconds=self.ahead_s)

    def boottime_s(self) -> float:
        """Return the time since the machine started, ahead."""
        return super().boottime_s() + self.ahead_s


class Relay:
    """A running relay with Ada, who owns all addresses of the world, and Ben."""

    def __init__(
        self,
        folder: Path,
        world: Any = world,
        *,
        dns: str = "",
        tables: str = "",
        **sender: object,
    ) -> None:
        """Take settings of sender trust; nothing runs yet.

        Args:
            folder: Of the relay; it is made.
            world: A module with `publish` and `ADDRESSES`, accepted addresses of Ada.
            dns: More settings of the DNS, as TOML.
            tables: More of the settings file.
            sender: Settings of sender trust, by name.
        """
        self._dns = dns
        self._tables = tables
        self._world = world
        self.folder = folder
        self.dns = DNS()
        self._sender = sender
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._sessions: dict[tuple[str, str], _Talk] = {}
        self.address = self.of_ben = ""

    def __enter__(self) -> Self:
        """Start everything."""
        self.dns.__enter__()
        self._world.publish(self.dns)
        self.folder.mkdir()
        self._thread.start()
        self.config = self.folder / "relay.toml"
        self.config.write_text(self._toml(), "utf-8")
        self.clock = LaterClock()
        self.app = App(
            load(self.config, {}),
            roles=frozenset({"smtp", "web"}),
            clock=self.clock,
        )
        self.call(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        """Stop everything."""
        for talk in self._sessions.values():
            talk.close()
        self.call(self.app.drain())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WAIT_S)
        self._loop.close()
        self.dns.__exit__(None, None, None)

    def call(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run something in the relay's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(WAIT_S)

    def _toml(self) -> str:
        host, port = self.dns.address
        chain, key = Authority(self.folder).issue("mx.in.example")
        tables = "".join(
            f'[[smtp.listeners]]\naddress = "127.0.0.1:0"\nprotocol = "{protocol}"\n'
            'proxy_from = ["127.0.0.1"]\n'
            for protocol in ("smtp", "lmtp", "submission")
        )
        # JSON's strings, numbers, booleans and lists are TOML's too.
        settings = "".join(
            f"{name} = {json.dumps(value)}\n" for name, value in self._sender.items()
        )
        return f"""\
[smtp]
listen = []
hostname = "mx.in.example"
domains = ["in.example"]
trusted_peers = ["0.0.0.0/0"]
tls_certificate = "{chain}"
tls_key = "{key}"
drain_s = 2
max_errors = 1000
{tables}
[web]
listen = "127.0.0.1:0"

[sender]
{settings}

[dns]
servers = ["{host}:{port}"]
{self._dns}

[store]
url = "sqlite:///{self.folder}/relay.db"
min_free_bytes = 0

[salesforce]
instance_url = "http://127.0.0.1:9"
client_id = "none"
client_secret = "none"

[telemetry]
log_level = "error"

{self._tables}
"""

    async def _start(self) -> None:
        await self.app.start()
        people = self.app.store.directory
        ada = await people.add_user("Ada Rep", ADA, Role.REP, None, "test")
        for address in self._world.ADDRESSES:
            await people.add_address(ada.id, address, "test")
        ben = await people.add_user(
            "Ben Rep", "ben@corp.example", Role.REP, None, "test"
        )
        credentials = self.app.store.credentials
        for user in (ada, ben):
            await credentials.add_app_password(
                user.id, "phone", hash_password(_PASSWORD), "test"
            )
        await credentials.add_api_token("gateway", digest(_SECRET), None, "test")
        self.address = f"{ada.relay_token}@in.example"
        self.of_ben = f"{ben.relay_token}@in.example"
        # What was edited holds from here on, without the wait for the next look.
        await self.app._read_directory(self.app.store)
        self._ports = [port for _, port in self.app.smtp.listening]

    # ------------------------------------------------------------ ways in

    def smtp(self, mail: Delivery, rcpt: str = "") -> Answer:
        """Hand a mail over by SMTP."""
        return self._dialogue(0, mail, rcpt, f"EHLO {mail.helo}")

    def hang(self, mail: Delivery) -> Callable[[], None]:
        """Hand a mail over by SMTP and wait for no answer; return what gives it up."""
        talk = self._begin(0, mail, f"EHLO {mail.helo}")
        talk.ask(f"MAIL FROM:<{mail.mail_from}>")
        talk.ask(f"RCPT TO:<{self.address}>")
        talk.ask("DATA")
        talk.send(mail.raw + b".\r\n")
        return talk.close

    def lmtp(self, mail: Delivery, rcpt: str = "") -> Answer:
        """Hand a mail over by LMTP, as a mail server in front of the relay does."""
        return self._dialogue(1, mail, rcpt, f"LHLO {mail.helo}")

    def submission(
        self, mail: Delivery, rcpt: str = "", *, who: str = "ben@corp.example"
    ) -> Answer:
        """Hand a mail over by submission, logged in as a user of this relay.

        A session takes many mails, as that of a mail program does.
        """
        talk = self._sessions.pop((who, mail.peer), None)
        if talk is None or talk.ask("RSET")[0] != _DONE:
            talk = self._log_in(self._begin(2, mail, f"EHLO {mail.helo}"), who)
        self._sessions[who, mail.peer] = talk
        return self._deliver(talk, mail, rcpt)

    def http(self, mail: Delivery, token: str = _SECRET, user: str = ADA) -> Answer:
        """Post a mail with the token of a gateway."""
        host, port = self.app.web.listening
        request = urllib.request.Request(
            f"http://{host}:{port}/messages?user={user}",
            mail.raw,
            {"Content-Type": "message/rfc822", "Authorization": f"Bearer {token}"},
            method="POST",
        )
        try:
            with urllib.request.urlopen(request, timeout=WAIT_S) as reply:
                code, body = reply.status, json.load(reply)
        except urllib.error.HTTPError as error:
            with error:
                code, body = error.code, json.load(error)
        return Answer(code, json.dumps(body), self.row(body.get("id")))

    def import_(self, mails: dict[str, bytes], *, mbox: bool) -> dict[str, Answer]:
        """Import mails from files, or all from one mbox; return answers by name."""
        folder = self.folder / ("mbox" if mbox else "eml")
        folder.mkdir()
        # The same bytes twice are the same mail: it is imported once.
        names = {raw: name for name, raw in mails.items()}
        if mbox:
            whole = b"".join(
                b"From someone Mon Nov 30 11:00:00 2026\nStatus: RO\n"
                + raw.replace(b"\r\n", b"\n")
                + b"\n"
                for raw in names
            )
            (folder / "old.mbox").write_bytes(whole)
        else:
            for number, raw in enumerate(names, 1):
                (folder / f"{number:04}.eml").write_bytes(raw)
        told = CliRunner().invoke(
            main,
            [
                "--config",
                str(self.config),
                "import",
                "--user",
                ADA,
                "--json",
                str(folder),
            ],
        )
        rows = [json.loads(line) for line in told.stdout.splitlines()]
        assert len(rows) == len(names), told.output
        numbered = {
            int(re.search(r"(\d+)(\.eml)?$", row["file"])[1]): row for row in rows
        }
        answers = {
            raw: Answer(0, numbered[number]["reason"], self.row(numbered[number]["id"]))
            for number, raw in enumerate(names, 1)
        }
        return {name: answers[raw] for name, raw in mails.items()}

    # ------------------------------------------------------------ the journal

    def row(self, ident: str | None) -> dict[str, Any]:
        """Return a message or a refusal as the journal has it."""
        if ident is None:
            return {}
        return dict(self.call(self.app.store.log.show(ident)))

    def counts(self) -> dict[str, int]:
        """Return how many messages are in each state."""
        return dict(self.call(self.app.store.queue.counts()))

    # ------------------------------------------------------------ SMTP

    def _dialogue(self, listener: int, mail: Delivery, rcpt: str, hello: str) -> Answer:
        talk = self._begin(listener, mail, hello)
        try:
            return self._deliver(talk, mail, rcpt)
        finally:
            talk.close()

    def _begin(self, listener: int, mail: Delivery, hello: str) -> _Talk:
        talk = _Talk(socket.create_connection(("127.0.0.1", self._ports[listener])))
        six = ":" in mail.peer
        ours = "TCP6 {} 2001:db8::1" if six else "TCP4 {} 192.0.2.99"
        talk.send(f"PROXY {ours.format(mail.peer)} 40000 25\r\n".encode())
        talk.expect(220)
        talk.ask(hello)
        return talk

    def _deliver(self, talk: _Talk, mail: Delivery, rcpt: str) -> Answer:
        for command in (
            f"MAIL FROM:<{mail.mail_from}>" + (" SMTPUTF8" if mail.utf8 else ""),
            f"RCPT TO:<{rcpt or self.address}>",
            "DATA",
        ):
            code, text = talk.ask(command)
            if code >= 400:
                return self._answer(code, text)
        stuffed = re.sub(rb"(?<=\r\n)\.|\A\.", b"..", mail.raw)
        end = b".\r\n" if stuffed.endswith(b"\r\n") else b"\r\n.\r\n"
        talk.send(stuffed + end)
        return self._answer(*talk.reply())

    def _log_in(self, talk: _Talk, who: str) -> _Talk:
        talk.ask("STARTTLS")
        talk.secure()
        talk.ask("EHLO client.example")
        login = base64.b64encode(f"\0{who}\0{_PASSWORD}".encode()).decode()
        talk.expect(235, f"AUTH PLAIN {login}")
        return talk

    def _answer(self, code: int, text: str) -> Answer:
        found = re.search(r"\(ref ([^)]+)\)$", text)
        words = text.split()
        ident = found[1] if found else words[-1] if code == _DONE else None
        return Answer(code, text, self.row(ident))


class _Talk:
    """The client's side of a dialogue."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(WAIT_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = connection
        self._file = connection.makefile("rb")

    def secure(self) -> None:
        """Speak TLS from here on; who the relay is, no test here asks."""
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self._file.close()
        self._socket = context.wrap_socket(self._socket)
        self._file = self._socket.makefile("rb")

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def expect(self, code: int, command: str = "") -> None:
        found, text = self.ask(command) if command else self.reply()
        assert found == code, text

    def ask(self, command: str) -> tuple[int, str]:
        self.send(command.encode() + b"\r\n")
        return self.reply()

    def reply(self) -> tuple[int, str]:
        line = self._file.readline()
        while line[3:4] == b"-":
            line = self._file.readline()
        return int(line[:3] or 0), line[4:].decode().strip()
