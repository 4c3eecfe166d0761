"""The door to Salesforce for async code: one org, composed of its parts.

Each part is one class in one file; together they share a `Connection`. Retrying and
pausing is left to the callers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.salesforce.access import Access
from relay.salesforce.auth import TokenProvider
from relay.salesforce.budget import Budget, CallStats
from relay.salesforce.changes import Changes
from relay.salesforce.client import Client
from relay.salesforce.connection import Connection, Queries, Threads
from relay.salesforce.files import UPLOADS, Files
from relay.salesforce.lookup import Lookup
from relay.salesforce.news import News
from relay.salesforce.records import Records
from relay.salesforce.rides import Rides
from relay.salesforce.schema import Schema
from relay.salesforce.search import Search
from relay.salesforce.tasks import Tasks

if TYPE_CHECKING:
    from relay.config import SalesforceSettings
    from relay.core.clock import Clock


class Org:
    """The org that the relay serves.

    Made without any call; the first one logs in. All methods may be called from one
    event loop at the same time; at most `settings.workers` calls are under way, and
    beside them `files.UPLOADS` uploads of large files.

    Attributes:
        budget: How many of the org's API calls are used, and how fast.
        stats: How many calls were made, and what the headers of answers reported.
        schema: Objects and fields.
        access: Who we are, what our user may see, the time by Salesforce's clock.
        lookup: People by address, and users.
        records: Creates, updates, deletes and finds records.
        files: Uploads files and finds them.
        search: Records near people that no record has.
        changes: People that were created or changed since a mark.
        tasks: Tasks of many users, as they are.
        news: Whether any of them was changed, told along with other calls.

    Args:
        settings: Where the org is, and as whom.
        clock: Time; boot time for what must not be sent too late.
    """

    def __init__(self, settings: SalesforceSettings, clock: Clock) -> None:
        """Make the parts; nothing is asked and no thread runs yet."""
        self.budget = Budget(settings, clock)
        self.stats = CallStats(clock, self.budget)
        tokens = TokenProvider(
            settings,
            clock,
            server_ahead_s=self.stats.server_ahead_s,
            observe=self.stats.count,
        )

        rides = Rides(clock)

        def client() -> Client:
            return Client(settings, clock, tokens, self.stats, rides)

        threads = Threads(settings.workers, client)
        self._connection = Connection(
            settings, clock, self.stats, tokens, threads, Queries(threads), rides
        )
        self.schema = Schema(self._connection)
        self.access = Access(self._connection)
        self.lookup = Lookup(self._connection, self.schema)
        self.search = Search(self._connection, self.schema)
        self.changes = Changes(self._connection, self.schema)
        self.tasks = Tasks(self._connection, self.schema, settings.key_field)
        self.news = News(self._connection, self.schema)
        self.records = Records(
            self._connection, self.schema, self.access, self.lookup.forget
        )
        # A long upload must not keep the text of other mails waiting.
        self.files = Files(self._connection, Threads(UPLOADS, client))

    async def start(self) -> None:
        """Load the client library, so that the first mail does not wait for it."""
        await self._connection.threads.run(_load_library)

    async def close(self) -> None:
        """Wait for calls under way, then close connections."""
        await self._connection.threads.close()
        await self.files.close()
        self._connection.tokens.close()

    async def ping(self) -> None:
        """Make one small call that shows whether the org can be used.

        Raises:
            RelayError: It cannot, for now.
        """
        me = await self.access.me()
        await self.lookup.find((), user_ids=[me], fresh=[me])


def _load_library(_: Client) -> None:
    """Import what takes half a second."""
    import simple_salesforce.api  # noqa: F401, PLC0415 - on purpose
