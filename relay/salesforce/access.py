"""What every group of operations on the org stands on: threads, a login, counts.

A group is a class in a module of its own; `Org` is all of them together. The client
library waits in threads of our own, one client each; its tokens and the counts of its
calls are shared by all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.salesforce.auth import TokenProvider
from relay.salesforce.budget import Budget
from relay.salesforce.cache import LookupCache
from relay.salesforce.client import Client
from relay.salesforce.filing import UPLOADS, Files
from relay.salesforce.gauge import Gauge
from relay.salesforce.queries import Queries
from relay.salesforce.threads import Threads

if TYPE_CHECKING:
    from relay.config import SalesforceSettings
    from relay.core.clock import Clock


class Access:
    """The threads, the login, and what is counted and remembered for all.

    Args:
        settings: Where the org is, and as whom.
        clock: Time; boot time for what must not be sent too late.
    """

    def __init__(self, settings: SalesforceSettings, clock: Clock) -> None:
        """Make the parts; nothing is asked and no thread runs yet."""
        self._settings = settings
        self._clock = clock
        self.budget = Budget(settings, clock)
        self._gauge = Gauge(clock, self.budget)
        self._tokens = TokenProvider(
            settings,
            clock,
            server_ahead_s=self._gauge.server_ahead_s,
            observe=self._gauge.note,
        )
        self._threads = Threads(
            settings.workers,
            lambda: Client(settings, clock, self._tokens, self._gauge),
        )
        self._queries = Queries(self._threads)
        self._cache = LookupCache(settings, clock)
        self.files = Files(
            clock,
            settings.timeout_s,
            Threads(
                UPLOADS, lambda: Client(settings, clock, self._tokens, self._gauge)
            ),
            self._queries.run,
        )

    async def start(self) -> None:
        """Load the client library, so that the first mail does not wait for it."""
        await self._threads.run(_load_library)

    async def close(self) -> None:
        """Wait for calls under way, then close connections."""
        await self._threads.close()
        await self.files.close()
        self._tokens.close()


def _load_library(_: Client) -> None:
    """Import what takes half a second."""
    import simple_salesforce.api  # noqa: F401, PLC0415 - on purpose
