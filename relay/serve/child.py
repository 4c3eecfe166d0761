"""The inside of a child: one `App` with the roles of its part, and its channel.

It is the same command as the supervisor's, with a ticket in the environment. It ends
when the supervisor asks (SIGTERM), and at once when the supervisor is no more: an
orphan would keep the ports, and a killed process loses nothing.

The channel carries a few lines of JSON over a socket pair. The child says `ready` or
`failed`, and answers what it is asked. The end of the stream means that the other
process has gone.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from relay.core.errors import ConfigError, RelayError
from relay.telemetry import bound, get_logger
from relay.telemetry.health import Health

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.app import App
    from relay.config import Settings

VARIABLE: Final = "_RELAY_TICKET"
"""Name of the environment variable that makes a process a child."""
FAILED: Final = 1
MISCONFIGURED: Final = 2
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NAME: Final = 15
_M_MMAP_THRESHOLD: Final = -3
_LARGE_BLOCK: Final = 1024 * 1024
"""Bytes: the blocks in which mail is taken in are smaller, and stay cheap."""
_LONGEST_LINE: Final = 1024 * 1024
"""Bytes: far more than all checks of a part take."""

logger = get_logger(__name__)


class Channel:
    """One end."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Take the two halves of the stream."""
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, end: socket.socket) -> Channel:
        """Take over one end of a socket pair."""
        return cls(*await asyncio.open_connection(sock=end, limit=_LONGEST_LINE))

    def send(self, kind: str, **fields: Any) -> None:
        """Send a line; one that cannot arrive any more is dropped."""
        if not self._writer.is_closing():
            self._writer.write(line(kind, **fields))

    async def receive(self) -> dict[str, Any] | None:
        """Return the next line, or None when the other process has gone."""
        try:
            text = await self._reader.readline()
        except (OSError, ValueError):
            return None
        if not text.endswith(b"\n"):
            return None
        found: dict[str, Any] = json.loads(text)
        return found

    async def close(self) -> None:
        """Send what is left, then close."""
        try:
            await self._writer.drain()
        except OSError:
            pass
        finally:
            self._writer.close()


def line(kind: str, **fields: Any) -> bytes:
    """Return a message as bytes."""
    return json.dumps({"kind": kind, **fields}, default=str).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a child must know before it starts."""

    name: str
    roles: list[str]
    parent: int
    channel: int
    """File descriptor of the child's end."""
    bound: dict[str, list[int]] = field(default_factory=dict)
    """Listening sockets by place."""

    def text(self) -> str:
        """Return it as text."""
        return json.dumps(asdict(self))


def ticket() -> Ticket | None:
    """Return this process's ticket, once; None: it is no child."""
    text = os.environ.pop(VARIABLE, None)
    return None if text is None else Ticket(**json.loads(text))


def main(
    mine: Ticket,
    load: Callable[[], Settings],
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None,
) -> int:
    """Run as a child until SIGTERM; return the exit status.

    An error that keeps it from starting goes to the supervisor, which reports it.
    """
    _follow(mine)
    _give_memory_back()
    end = socket.socket(fileno=mine.channel)
    end.set_inheritable(False)
    try:
        settings = load()
    except ConfigError as error:
        end.sendall(line("failed", config=True, text=str(error)))
        return MISCONFIGURED
    with bound(process=mine.name), asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(_run(mine, settings, end))


def _follow(mine: Ticket) -> None:
    """Leave the terminal's signals to the supervisor, and die with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if sys.platform == "linux":
        prctl = ctypes.CDLL(None).prctl
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        prctl(_PR_SET_NAME, f"relay {mine.name}".encode(), 0, 0, 0)
    if os.getppid() != mine.parent:
        _end_at_once()  # The supervisor ended before prctl took effect.


def _give_memory_back() -> None:
    """Let the C library return large blocks to the system as soon as they are free.

    By itself glibc raises its threshold with the largest block freed, so that a process
    that once read mails of 25 MB keeps hundreds of megabytes for good (mallopt(3)).
    """
    if sys.platform == "linux":
        # Other C libraries have no mallopt, and need none.
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK)


def _end_at_once() -> None:
    os._exit(FAILED)


async def _run(mine: Ticket, settings: Settings, end: socket.socket) -> int:
    from relay.app import App, listeners  # noqa: PLC0415 - brings every part

    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    channel = await Channel.open(end)
    health = Health()
    app = App(settings, roles=frozenset(mine.roles), health=health, bound=mine.bound)
    answering = asyncio.create_task(_answer(channel, health))
    try:
        if not await _started(app, stop):
            return 0
        channel.send("ready", pid=os.getpid(), **listeners(app))
        await stop.wait()
        logger.info("process_draining")
        await app.drain()
    except ConfigError as error:
        channel.send("failed", config=True, text=str(error))
        return MISCONFIGURED
    except RelayError as error:
        channel.send("failed", config=False, text=str(error))
        return FAILED
    finally:
        answering.cancel()
        with suppress(asyncio.CancelledError):
            await answering
        await channel.close()
    return 0


async def _started(app: App, stop: asyncio.Event) -> bool:
    """Start, unless asked to stop before that is done."""
    starting = asyncio.create_task(app.start())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not starting.done():
        starting.cancel()
        await asyncio.wait({starting})
        return False
    await starting
    return True


async def _answer(channel: Channel, health: Health) -> None:
    """Answer the supervisor for as long as it is there."""
    while True:
        asked = await channel.receive()
        if asked is None:
            _end_at_once()
            return
        number = asked.get("number")
        channel.send("answer", number=number, **await _facts(asked, health))


async def _facts(asked: dict[str, Any], health: Health) -> dict[str, Any]:
    if asked["kind"] == "readiness":
        _, details = await health.readiness()
        return {"details": details}
    if asked["kind"] == "refresh":
        await health.refresh()
    return {}
