"""A store in memory for the intake, people who log, and an intake on a free port."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from relay.config import HostPort, SenderSettings, SMTPSettings
from relay.core.clock import SystemClock
from relay.core.directory import AppPassword, Directory, Role, User
from relay.core.passwords import hash_password
from relay.intake import Authenticates, Intake, Senders
from relay.smtp import SMTPServer
from relay.smtp.replies import replier

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from relay.core.directory import AddressUse
    from relay.core.model import Envelope, RawMail, Refusal
    from relay.store import Store

START = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
ADA = User(1, "Ada", "ada@corp.example", Role.REP, True, None, "log-ada")
BEN = User(
    2, "Ben", "ben@corp.example", Role.REP, True, None, "log-ben", None, ("old",)
)
CLEO = User(3, "Cleo", "cleo@corp.example", Role.REP, False, None, "log-cleo")
PEOPLE = Directory(
    revision=1,
    users={1: ADA, 2: BEN, 3: CLEO},
    by_token={"log-ada": 1, "log-ben": 2, "old": 2, "log-cleo": 3},
    accepted={
        1: frozenset(
            {
                "ada@corp.example",
                "*@ada.example",
                "jürgen@corp.example",
                "ada@xn--strae-oqa.example",
            }
        ),
        2: frozenset({"ben@corp.example"}),
        3: frozenset({"cleo@corp.example"}),
    },
    exclusions=(),
    app_passwords={1: (AppPassword(1, "phone", hash_password("aaaabbbb"), START, ""),)},
)
GIB = 1 << 30
LISTED = {"policy": "listed"}
"""The list decides alone, as in a store that was upgraded."""
BELOW_BOUNDS = {
    "data_timeout_s",
    "max_commands",
    "max_header_bytes",
    "max_message_bytes",
    "postmaster_max_bytes",
    "timeout_s",
    "transaction_timeout_s",
}


class SetClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.time = START
        self.uptime_s = 100.0

    def now(self) -> datetime:
        """Return the time that was set."""
        return self.time

    def boottime_s(self) -> float:
        """Return the uptime that was set."""
        return self.uptime_s


class MemorySink:
    """Keeps what the intake gives it, and fails when told to; it is all its parts.

    `gate` cleared makes `put` wait, as a slow disk does; `begun` says that it waits.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stored: list[tuple[Envelope, RawMail, bytes]] = []
        self.refused: list[Refusal] = []
        self.free = GIB
        self.announced: set[str] = set()
        self.put_error: Exception | None = None
        self.refuse_error: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.begun = asyncio.Event()
        self.logins: list[tuple[int, str]] = []
        self._numbers = itertools.count()
        self.signatures: dict[str, str] = {}
        self.tries: dict[str, int] = {}
        self.uses: dict[str, tuple[int, int]] = {}
        self.messages = self.refusals = self.credentials = self.sender = self
        self.directory = self

    async def put(self, envelope: Envelope, raw: RawMail) -> None:
        """Keep one transaction."""
        self.begun.set()
        await self.gate.wait()
        if self.put_error is not None:
            raise self.put_error
        content = raw.data if raw.path is None else raw.path.read_bytes()
        assert content is not None
        assert len(content) == raw.size_bytes
        assert hashlib.sha256(content).hexdigest() == raw.sha256
        if raw.path is not None:
            raw.path.unlink()
        self.stored.append((envelope, raw, content))
        for digest, first in envelope.signatures:
            self.signatures.setdefault(digest, first)

    async def seen(self, digests: Collection[str]) -> dict[str, str]:
        """Return the content of signatures that came before."""
        return {one: self.signatures[one] for one in digests & self.signatures.keys()}

    async def count_try(self, key: str) -> tuple[int, float]:
        """Count a try; all happen at one time."""
        self.tries[key] = self.tries.get(key, 0) + 1
        return self.tries[key], 0.0

    async def record(self, refusals: Sequence[Refusal]) -> None:
        """Keep refusals."""
        if self.refuse_error is not None:
            raise self.refuse_error
        self.refused.extend(refusals)

    async def take_probe(self, token: str) -> bool:
        """Say whether a token is among those announced, once."""
        known = token in self.announced
        self.announced.discard(token)
        return known

    async def app_password_used(self, user_id: int, name: str) -> None:
        """Keep who has logged in."""
        self.logins.append((user_id, name))

    async def count_uses(self, uses: Mapping[str, AddressUse]) -> None:
        """Add up accepted and refused, by relay address."""
        for token, use in uses.items():
            accepted, refused = self.uses.get(token, (0, 0))
            self.uses[token] = accepted + use.accepted, refused + use.refused

    def free_bytes(self, *, fresh: bool = False) -> int:
        """Return what the test set."""
        return self.free

    def spool_temporary(self) -> Path:
        """Return a fresh name in the folder."""
        return self.folder / f"{next(self._numbers)}.tmp"

    @property
    def reasons(self) -> list[str]:
        """The reasons of all refusals, in order."""
        return [refusal.reason for refusal in self.refused]


def senders(
    sink: MemorySink | Store,
    directory: Callable[[], Directory] = lambda: PEOPLE,
    changes: dict[str, object] = LISTED,
    ask: Authenticates | None = None,
    clock: object = None,
) -> Senders:
    """Return what judges senders, with these settings of sender trust."""
    return Senders(
        SenderSettings(**changes),
        clock or SystemClock(),  # type: ignore[arg-type]  # a clock of a test
        settings=lambda: directory().settings,
        facts=sink.sender,
        authenticator=ask,
    )


@asynccontextmanager
async def running(
    sink: MemorySink | Store, **changes: object
) -> AsyncIterator[SMTPServer]:
    """Run an SMTP server on a free loopback port; settings by name.

    Those of `BELOW_BOUNDS` may be smaller than an admin may set them, so that a test
    need not send much or wait long for a limit. `sender` has the settings of sender
    trust, by name, and `ask` is what authenticates; by default the list decides alone.
    """
    inline_bytes = changes.pop("inline_bytes", 262144)
    directory = changes.pop("directory", lambda: PEOPLE)
    sender, authenticate = changes.pop("sender", LISTED), changes.pop("ask", None)
    small = {key: changes.pop(key) for key in BELOW_BOUNDS & changes.keys()}
    settings = SMTPSettings(
        **{
            "listen": (HostPort("127.0.0.1", 0),),
            "hostname": "mx.in.example",
            "domains": ("in.example", "log.example"),
            "timeout_s": 5,
            "data_timeout_s": 5,
            "drain_s": 2,
            **changes,
        }
    ).model_copy(update=small)
    intake = Intake(
        settings,
        sink,  # type: ignore[arg-type]  # a store in memory has what is used of one
        SystemClock(),
        directory=directory,  # type: ignore[arg-type]
        inline_bytes=inline_bytes,  # type: ignore[arg-type]
        min_free_bytes=1 << 20,
        reply_line=replier(directory),
        senders=senders(sink, directory, sender, authenticate),
    )
    server = SMTPServer(
        settings,
        intake,
        sink,  # type: ignore[arg-type]  # the same
        SystemClock(),
        directory=directory,  # type: ignore[arg-type]
    )
    await server.start()
    try:
        yield server
    finally:
        if isinstance(sink, MemorySink):
            sink.gate.set()
        await server.drain(1)
        await intake.close()
