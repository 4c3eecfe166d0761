"""The listener at `web.listen`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.telemetry.server import EmbeddedServer
from relay.web.messages import create_app
from relay.web.proxies import Proxies

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from starlette.routing import Route

    from relay.config import HostPort, Settings
    from relay.console.replays import Replaying
    from relay.core.clock import Clock
    from relay.intake import Intake
    from relay.store import Store


class WebServer:
    """Serves HTTP until it is stopped."""

    def __init__(
        self,
        listen: HostPort,
        settings: Settings,
        store: Store,
        intake: Intake,
        clock: Clock,
        *,
        pages: Sequence[Route] = (),
        bound: socket.socket | None = None,
        replaying: Replaying | None = None,
    ) -> None:
        """Put it together; nothing is opened before `start`.

        Args:
            listen: Where.
            settings: The whole configuration.
            store: Tokens and users.
            intake: Accepts the mails.
            clock: For the trace.
            pages: Routes for people with a browser.
            bound: A listening socket that was inherited.
            replaying: Makes a re-play of past mail ready.
        """
        self.app = create_app(settings, store, intake, clock, pages, replaying)
        web = settings.web
        self._server = EmbeddedServer(
            Proxies(self.app, web.trusted_proxies, web.base_path),
            listen,
            key="web.listen",
            stop_s=int(settings.smtp.drain_s),
            bound=bound,
        )

    @property
    def listening(self) -> tuple[str, int] | None:
        """Host and real port; None unless started."""
        return self._server.listening

    async def start(self) -> None:
        """Return when requests are answered.

        Raises:
            ConfigError: The address cannot be listened on.
        """
        await self._server.start()

    async def stop(self) -> None:
        """End live views, let other requests finish, then close; idempotent."""
        self.app.state.feed.close()
        if self.app.state.replays is not None:
            await self.app.state.replays.close()
        await self._server.stop()
