"""Giving the platform's own records of an EmailMessage to whom they belong.

The platform makes a Task of each EmailMessage, for the integration user; it is given
to the rep. And replying from Salesforce needs a relation of type FromAddress to the
sender, which is made where the platform has not made it of FromId. Both for many mails
together, a while after they were written: two calls for up to a thousand.

To do it twice does no harm, and what is to be done stands in the store.

Source: Salesforce Object Reference, "EmailMessage" (usage), "EmailMessageRelation".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from relay.core.errors import RelayError
from relay.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.config import SalesforceSettings
    from relay.core.model import OwnerChange
    from relay.salesforce import Filed, Org, WriteOutcome
    from relay.store import Store

BATCH: Final = 1000
"""Owner changes of one pass: five collections of 200."""
INACTIVE_OWNER: Final = "INACTIVE_OWNER_OR_USER"
_DONE: Final = frozenset({"written", "refused"})

logger = get_logger(__name__)


class OwnerChanges:
    """Works off what the store says is due."""

    def __init__(self, settings: SalesforceSettings, store: Store, org: Org) -> None:
        """Keep the parts."""
        self._settings = settings
        self._store = store
        self._org = org

    async def run(self) -> int:
        """Hand over what is due, at most a thousand; return how many were taken.

        What fails comes back after a while by itself.

        Raises:
            StoreUnavailable: Nothing was taken, or what was done is not noted.
        """
        hold_s = max(60.0, 4 * self._settings.timeout_s)
        due = await self._store.ledger.claim_owner_changes(BATCH, hold_s)
        if not due:
            return 0
        try:
            filed = await self._org.records.filed([one.salesforce_id for one in due])
            done = await self._hand_over(due, filed)
        except RelayError as error:
            logger.warning("handover_put_off", count=len(due), error=str(error))
            return 0
        await self._store.ledger.settle_owner_changes(done)
        logger.info("handed_over", count=len(done))
        return len(due)

    async def _hand_over(
        self, due: Sequence[OwnerChange], filed: dict[str, Filed]
    ) -> list[str]:
        """Return the keys of what is done, or never to be done."""
        me = await self._org.access.me()
        there = {
            one.key: (one, found)
            for one in due
            if (found := filed.get(one.salesforce_id)) and not found.is_deleted
        }
        tasks = [
            (key, "Task", found.activity_id, {"OwnerId": one.owner})
            for key, (one, found) in there.items()
            if found.activity_id and one.owner != me
        ]
        relations: list[tuple[str, str, dict[str, Any]]] = [
            (
                key,
                "EmailMessageRelation",
                {
                    "EmailMessageId": found.id,
                    "RelationType": "FromAddress",
                    "RelationId": one.owner,
                    "RelationAddress": one.address or None,
                },
            )
            for key, (one, found) in there.items()
            if not found.has_sender and one.owner.startswith("005")
        ]
        outcomes = await self._org.records.update(tasks) if tasks else []
        outcomes = [*outcomes, *await self._to_fallback(tasks, outcomes)]
        if relations:
            made = await self._org.records.create(relations, not_after_boottime_s=None)
            outcomes = [*outcomes, *made]
        again = {o.key for o in outcomes if str(o.state) not in _DONE}
        for outcome in outcomes:
            if str(outcome.state) == "refused":
                logger.warning("handover_refused", key=outcome.key, code=outcome.code)
        return [one.key for one in due if one.key not in again]

    async def _to_fallback(
        self,
        tasks: Sequence[tuple[str, str, str, dict[str, str]]],
        outcomes: Sequence[WriteOutcome],
    ) -> list[WriteOutcome]:
        """Give the Tasks of inactive users to the owner set for such."""
        owner = self._settings.fallback_owner
        inactive = {o.key for o in outcomes if o.code == INACTIVE_OWNER}
        left = [
            (key, sobject, sfid, {"OwnerId": owner})
            for key, sobject, sfid, _ in tasks
            if key in inactive
        ]
        return await self._org.records.update(left) if owner and left else []
