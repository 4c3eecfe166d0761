"""The door to Salesforce for async code: look-ups, and all other operations together.

A look-up asks for the people of a whole batch: what was found a moment ago is not asked
again, and the rest is cut into queries by `lookup`. Retrying and pausing is the
worker's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.core.ids import record_id
from relay.salesforce import lookup
from relay.salesforce.cache import Question, joined
from relay.salesforce.record_reads import RecordReads
from relay.salesforce.record_writes import RecordWrites

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from relay.core.org import LookupResult, SalesforceUser


class Org(RecordReads, RecordWrites):
    """The org that the relay serves.

    Made without any call; the first one logs in. All methods may be called from one
    event loop at the same time; at most `settings.workers` calls are under way.

    Args:
        settings: Where the org is, and as whom.
        clock: Time; boot time for what must not be sent too late.
    """

    async def lookup(
        self,
        addresses: Sequence[str],
        *,
        user_emails: Sequence[str] = (),
        user_ids: Sequence[str] = (),
        activity_counts: bool = False,
        fresh: Collection[str] = (),
    ) -> LookupResult:
        """Find Contacts with open opportunities, unconverted Leads, and Users.

        What was found a moment ago is not asked again (`salesforce.cache_s`).

        Args:
            addresses: Address keys; longer than Salesforce's field: not asked for.
            user_emails: Address keys of Users.
            user_ids: Ids of Users.
            activity_counts: Count Tasks and Events of records that share an address.
            fresh: Keys and ids that are to be asked anew, whatever is remembered.

        Raises:
            OrgPaused: The question itself is refused, or the org cannot be used.
            SalesforceUnavailable: Anything else.
        """
        ids = tuple(record_id(text) or text for text in user_ids)
        question = Question(tuple(addresses), tuple(user_emails), ids)
        known, left, mark = self._cache.split(question, fresh)
        if not left and not activity_counts:
            return known
        shape = await self.shape()
        asked_at_s = self._clock.boottime_s()
        asks = lookup.plan(left.addresses, left.user_emails, left.user_ids, shape)
        answer = lookup.read(await self._queries.ask("lookup", asks))
        self._cache.keep(left, answer, asked_at_s, mark)
        result = joined(known, answer)
        if activity_counts and (counts := lookup.plan_counts(result.found)):
            answered = await self._queries.ask("count", counts)
            found = lookup.read_counts(result.found, answered)
            return type(result)(found, result.users)
        return result

    async def ping(self) -> None:
        """Make one small call that shows whether the org can be used.

        Raises:
            RelayError: It cannot, for now.
        """
        me = await self.me()
        await self.lookup((), user_ids=[me], fresh=[me])

    async def users(self, ids: Sequence[str]) -> dict[str, SalesforceUser]:
        """Return Users by id; one that does not exist is left out."""
        result = await self.lookup((), user_ids=ids)
        return {user.id: user for user in result.users}
