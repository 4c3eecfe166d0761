"""What the org tells about itself: its shape, who we are in it, its calls, its time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from relay.core.errors import SalesforceUnavailable
from relay.core.ids import record_id
from relay.salesforce import describe
from relay.salesforce.access import Access

if TYPE_CHECKING:
    from datetime import datetime

    from relay.config import SalesforceSettings
    from relay.core.clock import Clock
    from relay.core.org import OrgSchema
    from relay.salesforce.client import Client

SHAPE_RETRY_S: Final = 60.0
"""Wait before an org whose shape could not be read anew is asked again."""


class Facts(Access):
    """Facts about the org; those that change seldom are remembered."""

    def __init__(self, settings: SalesforceSettings, clock: Clock) -> None:
        """Know nothing yet."""
        super().__init__(settings, clock)
        self._shape: OrgSchema | None = None
        self._shape_at_s = 0.0
        self._describing = asyncio.Lock()
        self._me: str | None = None

    async def shape(self, *, fresh: bool = False) -> OrgSchema:
        """Return the org's objects and fields, remembered for `describe_ttl_s`.

        Args:
            fresh: Ask again, because a write was refused for its fields.

        Raises:
            RelayError: They could not be read, and none are remembered.
        """
        asked_at = self._clock.boottime_s()
        async with self._describing:
            age = asked_at - self._shape_at_s
            if self._shape is not None and (
                age < 0 or (not fresh and age < self._settings.describe_ttl_s)
            ):
                return self._shape
            try:
                self._shape = await self._threads.run(describe.ask)
            except SalesforceUnavailable:
                if self._shape is None or fresh:
                    raise
                # An old shape is better than none; ask again in a while.
                ttl_s = self._settings.describe_ttl_s
                self._shape_at_s = asked_at - max(0.0, ttl_s - SHAPE_RETRY_S)
                return self._shape
            self._shape_at_s = self._clock.boottime_s()
            return self._shape

    async def me(self) -> str:
        """Return the id of the integration user.

        Raises:
            RelayError: No login, or Salesforce does not say.
        """
        if self._me is None:
            token = await self._threads.run(lambda _: self._tokens.token())
            self._me = token.user_id
        if self._me is None:
            self._me = await self._threads.run(_ask_me)
        return self._me

    async def api_usage(self) -> tuple[int, int] | None:
        """Return (used, limit) of the org's calls in 24 hours, as last told."""
        return self._gauge.usage

    @property
    def answers(self) -> int:
        """Return how many calls, logins left out, Salesforce answered as asked."""
        return self._gauge.answers

    @property
    def calls(self) -> dict[str, int]:
        """Return how many calls this process made, by kind."""
        return self._gauge.calls

    async def server_time(self) -> datetime:
        """Return the time by Salesforce's clock, which an answer has told.

        A process that has just started asks: by its own clock, which may be ahead, it
        would take what was written minutes ago for something older.

        Raises:
            SalesforceUnavailable: No answer has told the time.
            OrgPaused: The login is refused.
        """
        if not self._gauge.clock_seen:
            await self._threads.run(lambda _: self._tokens.token())
        if not self._gauge.clock_seen:
            await self._threads.run(_ask_me)
        if not self._gauge.clock_seen:
            msg = "Salesforce's answers do not tell the time"
            raise SalesforceUnavailable(msg, code="no_date")
        return self.server_now()

    def server_now(self) -> datetime:
        """Return the time by Salesforce's clock, up to a second or two behind it."""
        return self._gauge.server_now()


def _ask_me(client: Client) -> str:
    """Ask who we are, where the token did not say."""
    answer = client.call("me", "chatter/users/me")
    found = record_id(answer.get("id") or "") if isinstance(answer, dict) else None
    if found is None:
        msg = "me: Salesforce does not say who the integration user is"
        raise SalesforceUnavailable(msg, code="unreadable")
    return found
