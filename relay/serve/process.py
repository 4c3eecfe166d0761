"""Which processes there are, and a child as the supervisor sees it."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from relay.core.errors import ConfigError, StoreUnavailable
from relay.serve.child import VARIABLE, Channel, Ticket

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from relay.config import Settings

ASK_S: Final = 2.5
"""Wait for an answer; a child bounds its own probes by less."""


@dataclass(frozen=True, slots=True)
class Part:
    """One process: its name in the log, and what it does."""

    name: str
    roles: frozenset[str]

    @property
    def takes_mail(self) -> bool:
        """Whether it needs the listening sockets."""
        return "smtp" in self.roles


def parts(settings: Settings, roles: frozenset[str]) -> list[Part]:
    """Return the processes, those that take mail first.

    Reading mail and speaking to Salesforce have a process of their own, so that they
    never delay a `250`.
    """
    found = []
    if "smtp" in roles:
        found += [
            Part(f"smtp-{number}", frozenset({"smtp"}))
            for number in range(settings.serve.processes)
        ]
    found += [Part(f"{role}-0", frozenset({role})) for role in sorted(roles - {"smtp"})]
    return found


class ChildProcess:
    """One running child.

    Attributes:
        part: What it is.
        pid: Its process id.
        listeners: Where it listens, once it is ready.
    """

    def __init__(
        self, part: Part, process: asyncio.subprocess.Process, channel: Channel
    ) -> None:
        """Take over a process that has just been started."""
        self.part = part
        self.pid = process.pid
        self.listeners: dict[str, Any] = {}
        self._process = process
        self._channel = channel
        self._failure: Exception | None = None
        self._ready = asyncio.Event()
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.ended: asyncio.Task[int] = asyncio.create_task(self._until_ended())

    @classmethod
    async def start(
        cls,
        part: Part,
        sockets: Mapping[str, Sequence[socket.socket]],
        environment: Mapping[str, str],
    ) -> ChildProcess:
        """Start this very command again, as a child.

        Args:
            part: What it is.
            sockets: The listening sockets that it inherits, by place.
            environment: Variables that it has beside those of this process.

        Raises:
            OSError: No process could be made.
        """
        ours, theirs = socket.socketpair()
        try:
            ticket = Ticket(
                name=part.name,
                roles=sorted(part.roles),
                parent=os.getpid(),
                channel=theirs.fileno(),
                bound={
                    place: [one.fileno() for one in found]
                    for place, found in sockets.items()
                },
            )
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *sys.orig_argv[1:],
                stdin=asyncio.subprocess.DEVNULL,
                env={**os.environ, **environment, VARIABLE: ticket.text()},
                pass_fds=[
                    theirs.fileno(),
                    *(fd for found in ticket.bound.values() for fd in found),
                ],
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        ours.setblocking(False)
        return cls(part, process, await Channel.open(ours))

    @property
    def ready(self) -> bool:
        """Whether it serves."""
        return self._ready.is_set() and not self.ended.done()

    async def until_ready(self) -> None:
        """Return once it serves.

        Raises:
            ConfigError, StoreUnavailable: What kept it from starting.
        """
        ready = asyncio.create_task(self._ready.wait())
        await asyncio.wait({ready, self.ended}, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if self._ready.is_set():
            return
        if self._failure is not None:
            raise self._failure
        status = self.ended.result()
        text = f"process {self.part.name} ended with status {status}; see the log"
        raise StoreUnavailable(text)

    async def ask(self, kind: str, **fields: Any) -> dict[str, Any] | None:
        """Return its answer, or None where it gives none in time."""
        number = next(self._numbers)
        answer = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        self._channel.send(kind, number=number, **fields)
        try:
            async with asyncio.timeout(ASK_S):
                found: dict[str, Any] = await answer
        except TimeoutError:
            return None
        else:
            return found
        finally:
            self._asked.pop(number, None)

    def stop(self) -> None:
        """Ask it to drain and to end."""
        self._signal(terminate=True)

    def kill(self) -> None:
        """End it at once."""
        self._signal(terminate=False)

    def _signal(self, *, terminate: bool) -> None:
        with suppress(ProcessLookupError):
            if terminate:
                self._process.terminate()
            else:
                self._process.kill()

    async def _until_ended(self) -> int:
        """Read its messages until it ends; return its status."""
        while (said := await self._channel.receive()) is not None:
            self._hear(said)
        status = await self._process.wait()
        await self._channel.close()
        for answer in self._asked.values():
            if not answer.done():
                answer.set_result({})
        return status

    def _hear(self, said: dict[str, Any]) -> None:
        if said["kind"] == "ready":
            self.listeners = {k: v for k, v in said.items() if k not in {"kind", "pid"}}
            self._ready.set()
        elif said["kind"] == "failed":
            kind = ConfigError if said["config"] else StoreUnavailable
            self._failure = kind(said["text"])
        elif said["kind"] == "answer":
            answer = self._asked.get(said["number"])
            if answer is not None and not answer.done():
                answer.set_result(said)
