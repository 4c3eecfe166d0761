"""The org on a loopback port: uvicorn, in an event loop of its own or of somebody else.

Loopback only, and that is checked here: there is no TLS, and the back door has no lock.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import signal
import socket
from typing import TYPE_CHECKING, Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from relay.core.errors import ConfigError
from relay.sandbox.app import Connections, create_app
from relay.sandbox.org import SandboxOrg

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_HEAD_BYTES: Final = 1 << 20
"""What the parser takes, so that the org itself refuses long addresses and headers."""
_GRACE_S: Final = 1


class _Server(uvicorn.Server):
    """A server that leaves signals to whoever runs the loop."""

    def __init__(self, config: uvicorn.Config) -> None:
        """Start unready."""
        super().__init__(config)
        self.ready = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install nothing."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Tell when connections are taken."""
        await super().startup(sockets)
        self.ready.set()


def check_host(host: str) -> None:
    """Refuse every host that other machines could reach.

    Raises:
        ConfigError: The host is no loopback address.
    """
    if host == "localhost":
        return
    try:
        if ipaddress.ip_address(host).is_loopback:
            return
    except ValueError:
        pass
    msg = f"the sandbox listens on loopback addresses only, not on {host!r}: 127.0.0.1"
    raise ConfigError(msg)


async def serve(
    org: SandboxOrg,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    announce: Callable[[str], None] | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Serve an org until `stop` is set or the task is cancelled.

    Args:
        org: The org; its `url` is set to the address it is served at.
        host: A loopback address.
        port: 0 takes any free port.
        announce: Called with the URL as soon as connections are taken.
        stop: Set to end; open requests get a second to finish.

    Raises:
        ConfigError: The host is no loopback address, or the port is taken.
    """
    check_host(host)
    listener = _listen(host, port)
    number = listener.getsockname()[1]
    org.url = f"http://[{host}]:{number}" if ":" in host else f"http://{host}:{number}"
    connections = Connections()
    config = uvicorn.Config(
        create_app(org, connections),
        http=_tracking(connections),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        date_header=False,
        server_header=False,
        h11_max_incomplete_event_size=_HEAD_BYTES,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=_GRACE_S,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    ready = asyncio.create_task(server.ready.wait())
    try:
        await asyncio.wait({serving, ready}, return_when=asyncio.FIRST_COMPLETED)
        if announce is not None and server.started:
            announce(org.url)
        waiting = asyncio.create_task((stop or asyncio.Event()).wait())
        await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
    finally:
        server.should_exit = True
        ready.cancel()
        await serving
        listener.close()


def run(
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    org: SandboxOrg | None = None,
    announce: Callable[[str], None] | None = None,
) -> None:
    """Serve an org until SIGINT or SIGTERM; for the command line.

    Raises:
        ConfigError: The host is no loopback address, or the port is taken.
    """
    asyncio.run(_run(org or SandboxOrg(), host, port, announce))


async def _run(
    org: SandboxOrg, host: str, port: int, announce: Callable[[str], None] | None
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await serve(org, host, port, announce=announce, stop=stop)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as cause:
        listener.close()
        msg = f"the sandbox cannot listen on {host}:{port}: {cause.strerror}"
        raise ConfigError(msg) from cause
    listener.set_inheritable(False)
    return listener


def _tracking(connections: Connections) -> type[H11Protocol]:
    """Return a protocol that notes its transport, so that a fault can cut it."""

    class Tracking(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as its base does
            super().connection_made(transport)
            if self.client is not None:
                connections.transports[self.client] = transport

        def connection_lost(self, exc: Exception | None) -> None:
            if self.client is not None:
                connections.transports.pop(self.client, None)
            super().connection_lost(exc)

    return Tracking
