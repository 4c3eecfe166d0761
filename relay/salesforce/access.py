"""Who we are in the org, what our user may see, and the time by Salesforce's clock.

Salesforce does not tell a record that sharing hides from one that does not exist. A
user with the permission View All Data sees everything. For any other, a Task of an
owner that can be read is the proof that this owner's Tasks are visible.

Source: Object Reference, "UserPermissionAccess", "Task".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from relay.core.errors import SalesforceUnavailable
from relay.core.ids import record_id
from relay.salesforce import soql
from relay.salesforce.soql import Query

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from relay.salesforce.client import Client
    from relay.salesforce.connection import Connection

_PERMISSION: Final = "SELECT PermissionsViewAllData FROM UserPermissionAccess LIMIT 1"
_TASK_OF: Final = "SELECT Id FROM Task WHERE OwnerId = {owner} LIMIT 1"


class Access:
    """Facts about our own user.

    Args:
        connection: What the parts of `Org` share.
    """

    def __init__(self, connection: Connection) -> None:
        """Know nothing yet."""
        self._connection = connection
        self._me: str | None = None

    async def me(self) -> str:
        """Return the id of the integration user.

        Raises:
            RelayError: No login, or Salesforce does not say.
        """
        threads, tokens = self._connection.threads, self._connection.tokens
        if self._me is None:
            token = await threads.run(lambda _: tokens.token())
            self._me = token.user_id
        if self._me is None:
            self._me = await threads.run(_ask_me)
        return self._me

    async def views_all(self) -> bool:
        """Say whether our user has View All Data; False where Salesforce does not tell.

        Raises:
            RelayError: Salesforce could not be asked.
        """
        queries = self._connection.queries
        (rows,) = await queries.run("readback", [Query(_PERMISSION)])
        if not isinstance(rows, list) or not rows:
            return False
        return rows[0].get("PermissionsViewAllData") is True

    async def visible_owners(self, owners: Collection[str]) -> set[str]:
        """Return the users and queues of whom our user can read a Task, any Task.

        Archived and deleted Tasks count.

        Raises:
            RelayError: Salesforce could not be asked.
        """
        asked = [
            (owner, Query(soql.statement(_TASK_OF, owner=sfid), deleted=True))
            for owner in sorted(owners)
            if (sfid := record_id(owner))
        ]
        answered = await self._connection.queries.run(
            "readback", [query for _, query in asked]
        )
        return {
            owner
            for (owner, _), rows in zip(asked, answered, strict=True)
            if isinstance(rows, list) and rows
        }

    async def server_time(self) -> datetime:
        """Return the time by Salesforce's clock, as an answer has reported it.

        A process that has just started makes a call for it. Its own clock may be ahead;
        by that clock, records written minutes ago would look older than they are.

        Raises:
            SalesforceUnavailable: No answer has reported the time.
            OrgPaused: The login is refused.
        """
        stats, threads = self._connection.stats, self._connection.threads
        if not stats.clock_seen:
            await threads.run(lambda _: self._connection.tokens.token())
        if not stats.clock_seen:
            await threads.run(_ask_me)
        if not stats.clock_seen:
            msg = "Salesforce's answers do not report the time"
            raise SalesforceUnavailable(msg, code="no_date")
        return self.server_now()

    def server_now(self) -> datetime:
        """Return the time by Salesforce's clock, up to a second or two behind it."""
        return self._connection.stats.server_now()


def _ask_me(client: Client) -> str:
    """Ask who we are, where the token did not say."""
    answer = client.call("me", "chatter/users/me")
    found = record_id(answer.get("id") or "") if isinstance(answer, dict) else None
    if found is None:
        msg = "me: Salesforce does not say who the integration user is"
        raise SalesforceUnavailable(msg, code="unreadable")
    return found
