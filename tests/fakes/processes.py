"""Real processes for end-to-end tests: a sandbox org and a relay, both over sockets.

The relay is driven through its own commands alone; what it wrote is read from the
sandbox's dump.
"""

from __future__ import annotations

import json
import os
import smtplib
import sqlite3
import subprocess
import sys
import time
import traceback
import urllib.error
import urllib.parse
import urllib.request
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

from click.testing import CliRunner

from relay.cli import main
from tests.fakes.children import (
    DEADLINE_S,
    Process,
    clean_environment,
    free_port,
    listening,
    wait_for,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

IN_PROCESS = frozenset(
    {"user", "address", "exclude", "settings", "log", "show", "token", "history"}
    | {"retry", "hold", "release", "discard", "explain", "reminder", "logging"}
)
CLIENT_ID = "relay-sandbox"
CLIENT_SECRET = "relay-sandbox-secret"


class SandboxProcess:
    """`relay sandbox` on a free port."""

    def __init__(self, folder: Path) -> None:
        """Start it and wait until it answers."""
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self.start()

    def start(self) -> None:
        """Start it, empty but for its seed."""
        self._process = Process(
            ["sandbox", "--port", str(self.port)],
            self._folder / "sandbox.log",
            self._folder,
        )
        self._process.wait_until(self._answers, "the sandbox's answer")

    def _answers(self) -> bool:
        with suppress(OSError):
            self.get("/sandbox/health")
            return True
        return False

    def get(self, path: str) -> Any:
        """Return the JSON at an administrative path."""
        with urllib.request.urlopen(self.url + path, timeout=DEADLINE_S) as answer:
            return json.load(answer)

    def post(self, path: str, body: object) -> Any:
        """Send JSON to an administrative path."""
        request = urllib.request.Request(
            self.url + path,
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
            return json.loads(answer.read() or b"null")

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Call the REST API with a login of its own, as an admin's script would."""
        form = urllib.parse.urlencode(
            {
                "grant_type": "client_credentials",
                "client_id": CLIENT_ID,
                "client_secret": CLIENT_SECRET,
            }
        )
        with urllib.request.urlopen(
            self.url + "/services/oauth2/token", form.encode(), timeout=DEADLINE_S
        ) as answer:
            token = json.load(answer)["access_token"]
        request = urllib.request.Request(
            f"{self.url}/services/data/v66.0{path}",
            None if body is None else json.dumps(body).encode(),
            {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError((error.code, error.read())) from error

    def create(self, sobject: str, **fields: object) -> str:
        """Create a record and return its id."""
        return str(self.call("POST", f"/sobjects/{sobject}", fields)["id"])

    def person(self, sobject: str, email: str) -> str:
        """Create a Contact or a Lead with this address."""
        fields = {"LastName": email.partition("@")[0], "Email": email}
        if sobject == "Lead":
            fields["Company"] = "Example"
        return self.create(sobject, **fields)

    def deal(self, *contacts: str, stage: str = "Prospecting") -> str:
        """Create an Opportunity in which these contacts have a role."""
        deal = self.create(
            "Opportunity", Name="Deal", StageName=stage, CloseDate="2027-01-31"
        )
        for contact in contacts:
            self.create("OpportunityContactRole", OpportunityId=deal, ContactId=contact)
        return deal

    def key_fields(self, name: str) -> None:
        """Add the fields that `relay setup salesforce` makes the metadata of."""
        field = {"name": name, "length": 40, "unique": True, "external_id": True}
        both = [{"object": each, **field} for each in ("Activity", "EmailMessage")]
        self.post("/sandbox/config", {"custom_fields": both})

    def rows(self, sobject: str) -> list[dict[str, Any]]:
        """Return every row of an object, deleted ones left out."""
        rows = self.get(f"/sandbox/dump?object={sobject}")
        if isinstance(rows, dict):
            rows = rows[sobject]
        return [row for row in rows if not row.get("IsDeleted")]

    def faults(self, *faults: dict[str, Any]) -> None:
        """Set the faults that are in force from now on; none clears them."""
        self.post("/sandbox/faults", list(faults))

    def stop(self) -> None:
        """End it; what it holds is gone."""
        self._process.stop()


class RelayProcess:
    """A relay in a folder of its own, driven through its commands."""

    def __init__(
        self, folder: Path, sandbox_url: str, *, store_url: str = "", **keys: object
    ) -> None:
        """Write its configuration; nothing is started.

        Further keys are written as `section__key=value`.
        """
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.process: Process | None = None
        self._keys: dict[str, object] = {
            "smtp__listen": [f"127.0.0.1:{self.port}"],
            "smtp__hostname": "relay.test",
            "smtp__domains": ["in.relay.example"],
            "sender__policy": "listed",
            "store__url": store_url or f"sqlite:///{folder}/relay.db",
            "store__min_free_bytes": 0,
            "salesforce__instance_url": sandbox_url,
            "salesforce__client_id": CLIENT_ID,
            "salesforce__client_secret": CLIENT_SECRET,
            "salesforce__timeout_s": 5,
            "salesforce__settle_s": 1,
            "worker__retry_first_s": 0.2,
            "worker__retry_max_s": 2,
            "worker__poll_s": 0.2,
            "telemetry__log_format": "json",
        }
        self.config = folder / "relay.toml"
        self.set(**keys)

    def set(self, **keys: object) -> None:
        """Write the configuration with further keys, as `section__key=value`."""
        self._keys |= keys
        sections: dict[str, list[str]] = {}
        for name, value in self._keys.items():
            section, key = name.split("__")
            # JSON's strings, numbers, booleans and lists are TOML's too.
            sections.setdefault(section, []).append(f"{key} = {json.dumps(value)}")
        self.config.write_text(
            "\n".join(f"[{s}]\n" + "\n".join(lines) for s, lines in sections.items())
            + "\n",
            "utf-8",
        )

    # ------------------------------------------------------------ process

    def start(self, *, roles: str = "") -> None:
        """Start it and wait for its listener."""
        arguments = ["serve", "--config", str(self.config)]
        if roles:
            arguments += ["--roles", roles]
        self.process = Process(arguments, self.folder / "relay.log", self.folder)
        self.process.wait_until(lambda: listening(self.port), "the relay's listener")

    def stop(self) -> int:
        """Drain it, and return its exit status."""
        assert self.process
        return self.process.stop()

    def kill(self) -> None:
        """SIGKILL; return when its port is free.

        The supervisor's children die with it, but a moment later.
        """
        assert self.process
        self.process.kill()
        wait_for(lambda: not listening(self.port), message="the port of a killed relay")

    def output(self) -> str:
        """Return what it logged."""
        assert self.process
        return self.process.output()

    # ------------------------------------------------------------ commands

    def run(
        self, *arguments: str, status: int = 0, stdin: bytes | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command against this relay's store.

        Short ones run in this process, which has read their code already: a test asks
        for the state of a mail many times. Those that stay up run as users have them.
        """
        if arguments[0] in IN_PROCESS:
            return self._run_here(*arguments, status=status, stdin=stdin)
        done = subprocess.run(
            [sys.executable, "-m", "relay", "--config", str(self.config), *arguments],
            capture_output=True,
            input=stdin,
            timeout=DEADLINE_S,
            cwd=self.folder,
            env=clean_environment(),
            check=False,
        )
        assert done.returncode == status, (
            done.returncode,
            done.stdout.decode(),
            done.stderr.decode(),
        )
        return done

    def _run_here(
        self, *arguments: str, status: int, stdin: bytes | None
    ) -> subprocess.CompletedProcess[bytes]:
        command = ["--config", str(self.config), *arguments]
        result = CliRunner().invoke(main, command, input=stdin)
        told = (result.exit_code, result.stdout, result.stderr, result.exception)
        assert result.exit_code == status, told
        if result.exc_info:
            # The exception that ends a command holds, in a cycle, every frame that
            # called it, and what a test had open there would be closed in any order.
            traceback.clear_frames(result.exc_info[2])
        return subprocess.CompletedProcess(
            command, result.exit_code, result.stdout_bytes, result.stderr_bytes
        )

    def json(self, *arguments: str, status: int = 0) -> list[dict[str, Any]]:
        """Run a command with `--json` and return its lines."""
        done = self.run(*arguments, "--json", status=status)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def heed(self) -> float:
        """Wait until the running relay goes by all edits; return how long it took.

        Each process logs which revision of users, addresses and rules it has read.
        """
        began = time.monotonic()
        with closing(sqlite3.connect(self.folder / "relay.db")) as database:
            (wanted,) = database.execute("SELECT revision FROM meta").fetchone()

        def read() -> bool:
            return all(
                (rows := self.logged("directory_read", process=name))
                and rows[-1]["revision"] >= wanted
                for name in ("smtp-0", "worker-0")
            )

        wait_for(read, message=f"revision {wanted} in every process")
        return time.monotonic() - began

    def logged(self, event: str, **fields: object) -> list[dict[str, Any]]:
        """Return the lines of its log, oldest first, with this event and fields."""
        whole = self.output().rpartition("\n")[0]
        lines = [json.loads(line) for line in whole.splitlines() if line[:1] == "{"]
        return [
            line
            for line in lines
            if line["event"] == event and fields.items() <= line.items()
        ]

    def add_user(self, name: str, email: str, *arguments: str) -> str:
        """Add a user and return the relay address."""
        self.run("user", "add", name, "--email", email, *arguments)
        (user,) = (u for u in self.json("user", "list") if u["email"] == email)
        return str(user["relay_address"])

    def log(self, *arguments: str) -> list[dict[str, Any]]:
        """Return the journal, oldest first."""
        return self.json("log", *arguments)

    def drained(self) -> bool:
        """Say whether no message is queued or claimed.

        One listing answers: between two, a message may go back from the second state to
        the first.
        """
        states = {row["state"] for row in self.log()}
        return not states & {"queued", "claimed"}

    def settled(self, message_id: str, *, timeout_s: float = DEADLINE_S) -> Any:
        """Return a message's row once it rests."""

        def resting() -> dict[str, Any] | None:
            (row,) = self.json("show", message_id)
            return None if row["state"] in {"queued", "claimed"} else row

        return wait_for(
            resting, message=f"{message_id} does not rest", timeout_s=timeout_s
        )

    def queued(self, message_id: str, *reasons: str) -> dict[str, Any]:
        """Return a message's row once it waits, for one of these reasons or for any.

        While it is tried again its state is another for a moment.
        """

        def waiting() -> dict[str, Any] | None:
            (row,) = self.json("show", message_id)
            fits = row["reason"] in reasons if reasons else row["reason"]
            return row if row["state"] == "queued" and fits else None

        row: dict[str, Any] = wait_for(waiting, message=f"{message_id} does not wait")
        return row

    # ------------------------------------------------------------ mail

    @contextmanager
    def smtp(self) -> Iterator[smtplib.SMTP]:
        """Open an SMTP session."""
        with smtplib.SMTP("127.0.0.1", self.port, timeout=DEADLINE_S) as client:
            yield client

    def send(
        self, mail: EmailMessage | bytes, *rcpts: str, sender: str | None = None
    ) -> str:
        """Send a mail, and return the id that the 250 names."""
        raw = mail if isinstance(mail, bytes) else mail.as_bytes()
        with self.smtp() as client:
            return send_in(client, raw, *rcpts, sender=sender)


def send_in(
    client: smtplib.SMTP, raw: bytes, *rcpts: str, sender: str | None = None
) -> str:
    """Send a mail in an open session, and return the id that the 250 names."""
    client.ehlo_or_helo_if_needed()
    code, reply = client.mail("ada@corp.example" if sender is None else sender)
    assert code == 250, reply
    for rcpt in rcpts:
        code, reply = client.rcpt(rcpt)
        assert code == 250, reply
    code, reply = client.data(raw)
    if code != 250:
        client.rset()
        raise smtplib.SMTPDataError(code, reply)
    return reply.decode().split()[-1]


_numbers = iter(range(1, 1_000_000))


def mail_to(*to: str, cc: Sequence[str] = (), **headers: str) -> EmailMessage:
    """Return a small mail of Ada's, each with a Message-ID of its own."""
    mail = EmailMessage()
    number = next(_numbers)
    mail["From"] = headers.pop("From", "Ada Rep <ada@corp.example>")
    mail["To"] = ", ".join(to)
    if cc:
        mail["Cc"] = ", ".join(cc)
    mail["Subject"] = headers.pop("Subject", f"Offer {number}")
    mail["Date"] = format_datetime(datetime.now(UTC))
    mail["Message-ID"] = headers.pop(
        "MessageID", f"<{number}.{os.getpid()}.{time.time_ns()}@corp.example>"
    )
    for name, value in headers.items():
        mail[name.replace("_", "-")] = value
    mail.set_content(f"Dear customer,\n\nthis is mail {number}.\n")
    return mail
