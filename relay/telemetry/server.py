"""A small HTTP server inside our own event loop.

uvicorn by itself takes over SIGTERM and SIGINT, prints a banner and exits the process
when a port is taken. Here the app owns the signals, and a taken port is a
`ConfigError`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import TYPE_CHECKING, Final

import uvicorn

from relay.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import ASGIApp

    from relay.config import HostPort

_STARTED_POLL_S: Final = 0.005


class _Server(uvicorn.Server):
    """uvicorn that leaves signals alone."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the app, which drains everything in order."""
        yield


class EmbeddedServer:
    """Serves one application on one address until it is stopped."""

    def __init__(
        self,
        app: ASGIApp,
        listen: HostPort,
        *,
        key: str,
        max_connections: int = 64,
        stop_s: int = 2,
        bound: socket.socket | None = None,
    ) -> None:
        """Prepare; nothing is opened before `start`.

        Args:
            app: The application.
            listen: Where; port 0 is any free one.
            key: The setting that `listen` came from, for the error line.
            max_connections: More get 503.
            stop_s: How long `stop` waits for answers that are under way.
            bound: A listening socket that the supervisor has bound there.
        """
        self._listen = listen
        self._key = key
        self._bound = bound
        self._server = _Server(
            uvicorn.Config(
                app,
                lifespan="off",
                log_config=None,
                access_log=False,
                ws="none",
                proxy_headers=False,
                server_header=False,
                limit_concurrency=max_connections,
                timeout_keep_alive=5,
                timeout_graceful_shutdown=stop_s,
            )
        )
        self._task: asyncio.Task[None] | None = None
        self.listening: tuple[str, int] | None = None
        """Host and real port, once started."""

    async def start(self) -> None:
        """Return when requests are answered.

        Raises:
            ConfigError: The address cannot be listened on.
        """
        ours = self._bound or self._bind()
        host, port = ours.getsockname()[:2]
        self._task = asyncio.create_task(
            self._server.serve(sockets=[ours]), name=f"http {self._key}"
        )
        while not self._server.started:
            if self._task.done():
                ours.close()
                await self._task  # raises what went wrong
            await asyncio.sleep(_STARTED_POLL_S)
        self.listening = (host, port)

    async def stop(self) -> None:
        """Let answers under way finish, then close; idempotent."""
        task, self._task = self._task, None
        if task is not None:
            self._server.should_exit = True
            await task
        self.listening = None

    def _bind(self) -> socket.socket:
        host, port = self._listen.host, self._listen.port
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            return socket.create_server((host, port), family=family, backlog=128)
        except OSError as error:
            # The library adds the address to the text, which stands there already.
            number = error.errno or 0
            reason = os.strerror(number) if number > 0 else str(error)
            text = (
                f'{self._key} = "{self._listen}": cannot listen there ({reason}); '
                "name a free port and an address of this machine"
            )
            raise ConfigError(text) from error
