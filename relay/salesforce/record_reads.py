"""Reads records: what was written, what became of it, and what our user can see.

What looks for records finds deleted ones as well, and takes no half of an answer for
the whole: that would read as "not there". Which queries are asked, and what their rows
mean, say `readback`, `census` and `sight`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.salesforce import census, readback, sight
from relay.salesforce.facts import Facts

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from relay.salesforce.census import OwnRecord
    from relay.salesforce.model import Filed, FoundRecord
    from relay.salesforce.readback import ListAsk
    from relay.salesforce.soql import Rows


class RecordReads(Facts):
    """Finding records again, ours and others', by key, by id and by time."""

    async def find_email_messages(
        self, message_identifiers: Sequence[str], *, whole: bool = True
    ) -> dict[str, list[FoundRecord]]:
        """Return EmailMessages by MessageIdentifier, deleted ones included.

        Whoever wrote them: `created_by_id` tells ours (see `me`) from others'.

        Args:
            message_identifiers: What to look for.
            whole: Fail where Salesforce chokes on one of them; else that one is left
                out, as if nobody had it.

        Raises:
            RelayError: They could not be looked for; says nothing about them.
        """
        asks = readback.identifier_asks(message_identifiers)
        rows = await self._all_rows(asks, whole=whole)
        return readback.read_identifiers(message_identifiers, rows)

    async def read_email_messages(self, ids: Sequence[str]) -> dict[str, FoundRecord]:
        """Return EmailMessages by id, deleted ones included, with their ActivityId.

        Raises:
            RelayError: They could not be read.
        """
        return readback.read_by_id(await self._all_rows(readback.id_asks(ids)))

    async def filed(self, ids: Sequence[str]) -> dict[str, Filed]:
        """Return what the platform made of EmailMessages: Tasks, senders' relations.

        Raises:
            RelayError: They could not be read.
        """
        shape = await self.shape()
        with_sender = "EmailMessageRelation" in shape.createables
        asks = readback.filed_asks(ids, with_sender=with_sender)
        return readback.read_filed(await self._all_rows(asks))

    async def find_own_tasks(
        self, since: datetime, until: datetime
    ) -> dict[str, FoundRecord]:
        """Return our Tasks created in a window by their keys, deleted ones included.

        Args:
            since: First moment by Salesforce's clock (`server_now`).
            until: Last moment.

        Raises:
            RelayError: They could not be looked for; says nothing about them.
        """
        me = await self.me()
        return readback.read_own_tasks(
            await self._queries.within(
                "readback",
                lambda window: readback.own_tasks_query(me, *window),
                (since, until),
            )
        )

    async def existing(self, sobject: str, ids: Sequence[str]) -> dict[str, bool]:
        """Return, by id, whether a record is deleted; what is not there is left out.

        Raises:
            RelayError: They could not be looked for; says nothing about them.
        """
        asks = census.existing_asks(sobject, ids)
        return census.read_existing(await self._all_rows(asks))

    async def own_records(
        self, sobject: str, field: str | None, since: datetime, until: datetime
    ) -> list[OwnRecord]:
        """Return records of ours with their keys, deleted ones included.

        Args:
            sobject: `EmailMessage` or `Task`.
            field: The unique field that holds our key, if the org has one.
            since: First moment by Salesforce's clock (`server_now`).
            until: Last moment.

        Raises:
            RelayError: They could not be looked for; says nothing about them.
        """
        me = await self.me()
        rows = await self._queries.within(
            "audit",
            lambda window: census.own_query(sobject, field, me, window),
            (since, until),
        )
        return census.read_own(sobject, field, rows)

    async def find_by_key(
        self, sobject: str, field: str, keys: Sequence[str]
    ) -> dict[str, FoundRecord]:
        """Return records by the keys in a unique field, deleted ones included.

        Raises:
            RelayError: They could not be looked for; says nothing about them.
        """
        asks = readback.key_asks(sobject, field, keys)
        return readback.read_keys(field, await self._all_rows(asks))

    async def views_all(self) -> bool:
        """Say whether our user has View All Data; False too where nobody tells.

        Raises:
            RelayError: Salesforce could not be asked.
        """
        (rows,) = await self._queries.run("readback", [sight.permission_query()])
        return sight.read_permission(rows)

    async def seen_owners(self, owners: Collection[str]) -> set[str]:
        """Return the owners of whom our user can read a Task, whoever made it.

        Raises:
            RelayError: Salesforce could not be asked.
        """
        asked = sight.owner_queries(sorted(owners))
        answered = await self._queries.run("readback", [query for _, query in asked])
        return {
            owner
            for (owner, _), rows in zip(asked, answered, strict=True)
            if isinstance(rows, list) and rows
        }

    async def _all_rows(self, asks: Sequence[ListAsk], *, whole: bool = True) -> Rows:
        # Half an answer would read as "not there".
        answered = await self._queries.ask("readback", asks, whole=whole)
        return [row for _, rows in answered for row in rows]
