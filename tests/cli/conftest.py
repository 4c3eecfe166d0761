"""A relay of its own for each test: a folder, a settings file, a SQLite store."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from relay.cli import main
from relay.config import load
from relay.core.clock import SystemClock
from relay.core.ids import new_message_id
from relay.core.model import Envelope, RawMail, Recipient, Refusal, Step
from relay.store import Store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from click.testing import Result

CONFIG = """\
[smtp]
listen = ["127.0.0.1:0"]
hostname = "relay.test"
domains = ["in.relay.example"]

[sender]
policy = "listed"

[store]
url = "sqlite:///{folder}/relay.db"
min_free_bytes = 0
"""


class Relay:
    """The commands against one store, and the store itself for what came before."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "relay.toml"
        self.config.write_text(CONFIG.format(folder=folder), "utf-8")

    def __call__(
        self, *arguments: str, status: int = 0, stdin: bytes | None = None
    ) -> Result:
        """Run a command and check its exit status."""
        result = CliRunner().invoke(
            main, ["--config", str(self.config), *arguments], stdin, prog_name="relay"
        )
        assert result.exit_code == status, (result.output, result.exception)
        return result

    def json(self, *arguments: str) -> list[dict[str, Any]]:
        """Run a command with `--json`."""
        lines = self(*arguments, "--json").stdout.splitlines()
        return [json.loads(line) for line in lines]

    def error(self, *arguments: str, status: int) -> str:
        """Run a command that fails; return its one line on stderr."""
        result = self(*arguments, status=status)
        assert result.stdout == ""
        (line,) = result.stderr.splitlines()
        assert line.startswith("relay: ")
        return line

    def in_store(self, job: Callable[[Store], Awaitable[Any]]) -> Any:
        """Do something to the store itself."""

        async def run() -> Any:
            store = await Store.open(load(self.config, {}).store, SystemClock())
            try:
                return await job(store)
            finally:
                await store.close()

        return asyncio.run(run())

    def put(self, *subjects: str, minutes_ago: int = 0) -> list[str]:
        """Store messages for the first user, as the intake does; return their ids."""

        async def job(store: Store) -> list[str]:
            (user, *_) = await store.directory.users()
            at = datetime.now(UTC) - timedelta(minutes=minutes_ago)
            ids = []
            for subject in subjects:
                id_ = new_message_id(SystemClock())
                rcpt = f"{user.relay_token}@in.relay.example"
                raw = f"Subject: {subject}\r\n\r\nHello\r\n".encode()
                await store.messages.put(
                    Envelope(
                        mail_from=user.email,
                        peer="127.0.0.1",
                        helo="test",
                        tls=False,
                        received_at=at,
                        recipients=(Recipient(id_, rcpt, user.id),),
                        header_from=user.email,
                        subject=subject,
                        rfc_message_id=f"<{id_}@test>",
                        trace=(Step(at, "rcpt", "accepted", rcpt),),
                    ),
                    RawMail(len(raw), "0" * 64, data=raw),
                )
                ids.append(id_)
                await asyncio.sleep(0.002)  # ids sort by millisecond
            return ids

        return self.in_store(job)

    def refuse(self, reply: str = "550 5.1.1 unknown") -> str:
        """Store a refusal, as the intake does; return its id."""

        async def job(store: Store) -> str:
            id_ = new_message_id(SystemClock())
            refusal = Refusal(
                id=id_,
                at=datetime.now(UTC),
                peer="192.0.2.1",
                mail_from="sam@elsewhere.example",
                rcpt="guess@in.relay.example",
                header_from="",
                reply=reply,
                reason="unknown_recipient",
            )
            await store.refusals.record([refusal])
            return id_

        return self.in_store(job)


@pytest.fixture
def relay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Relay:
    """Return an empty relay, with no settings from outside."""
    import os

    for name in list(os.environ):
        if name.startswith("RELAY_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return Relay(tmp_path)


@pytest.fixture
def ada(relay: Relay) -> dict[str, Any]:
    """Add Ada, and return her as `user list --json` shows her."""
    relay("user", "add", "Ada Byron", "--email", "ada@corp.example")
    (user,) = relay.json("user", "list")
    return user
