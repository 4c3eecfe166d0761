"""Creates, updates, deletes and finds records.

Calls of one write run side by side in threads. How records are packed into calls, and
what an answer says about each, is `write`'s; which queries find records again, and
what their rows mean, is `readback`'s. This module adds what holds for all calls of one
write: a call that fails leaves what the others have written, and a record that the org
refuses because it has changed empties what look-ups remember.

Finding includes deleted records, and takes no half of an answer for the whole: that
would read as "not there". Retrying, and remembering what was written, is the caller's.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from relay.core.errors import (
    ActivityRefused,
    OrgPaused,
    OutcomeUnknown,
    RelayError,
    SalesforceUnavailable,
)
from relay.core.ids import record_id
from relay.core.retry import Retry
from relay.salesforce import readback, write
from relay.salesforce.errors import rule
from relay.salesforce.model import WriteOutcome, WriteState
from relay.salesforce.soql import Query, statement

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from relay.core.model import Json
    from relay.salesforce.access import Access
    from relay.salesforce.client import Client
    from relay.salesforce.connection import Connection
    from relay.salesforce.model import Filed, FoundRecord, KeyedRecord, OwnRecord
    from relay.salesforce.schema import Schema
    from relay.salesforce.soql import Ask, Rows
    from relay.salesforce.write import Encoded, Job


class Records:
    """Records of the org, each write with an outcome of its own.

    Args:
        connection: What the parts of `Org` share.
        schema: What the org can hold.
        access: Who we are.
        on_conflict: Called where a record is refused because the org has changed.
    """

    def __init__(
        self,
        connection: Connection,
        schema: Schema,
        access: Access,
        on_conflict: Callable[[], None],
    ) -> None:
        """Keep the parts; nothing is asked yet."""
        self._connection = connection
        self._schema = schema
        self._access = access
        self._on_conflict = on_conflict

    # ------------------------------------------------------------ writing

    async def create(
        self,
        records: Sequence[tuple[str, str, Mapping[str, Json]]],
        *,
        not_after_boottime_s: float | None,
        unique_fields: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> list[WriteOutcome]:
        """Create records; return an outcome for each, in no particular order.

        Args:
            records: (key, object, fields); keys are distinct.
            not_after_boottime_s: Boot time after which nothing may be sent any more.
            unique_fields: By key, the field that holds it and takes it once only: that
                it is there already then means *written*.
            headers: What the platform is told beside it, such as Sforce-Auto-Assign.

        Raises:
            SalesforceUnavailable: Nothing was written.
            OrgPaused: Nothing was written, and nothing can be for now.
        """
        return await self._write(
            records, "POST", not_after_boottime_s, unique_fields, headers
        )

    async def update(
        self,
        records: Sequence[tuple[str, str, str, Mapping[str, Json]]],
        *,
        before: Sequence[str] = (),
    ) -> list[WriteOutcome]:
        """Update records; return an outcome for each, in no particular order.

        To update twice is the same as once: an unknown outcome may just be tried again.

        Args:
            records: (key, object, id, fields); a record whose id is none is refused.
            before: Fields that are read right before they are written, in the same
                call; the records are of one object then.

        Raises:
            SalesforceUnavailable: Nothing was written.
            OrgPaused: Nothing was written, and nothing can be for now.
        """
        first: dict[str, tuple[str, str, Mapping[str, Json]]] = {}
        further, outcomes = [], []
        for record in records:
            key, sobject, text, fields = record
            sfid = record_id(text)
            if sfid is None:
                outcome = WriteOutcome(key, WriteState.REFUSED, code="MALFORMED_ID")
                outcomes.append(outcome)
            elif sfid in first:
                # A collection that names a record twice is refused for the second.
                further.append(record)
            else:
                first[sfid] = (key, sobject, {"id": sfid, **fields})
        read = _reading(first, before) if before else None
        rows = list(first.values())
        outcomes += await self._write(rows, "PATCH", None, None, read=read)
        if further:
            outcomes += await self.update(further, before=before)
        return outcomes

    async def delete(self, sobject: str, text: str) -> bool:
        """Delete a record; False where Salesforce will not (it may be gone already).

        Args:
            sobject: API name of the object.
            text: Id of the record; for what is no id nothing is asked.

        Raises:
            SalesforceUnavailable: It may have been done; to do it again is safe.
            OrgPaused: Nothing was done.
        """
        sfid = record_id(text)
        if sfid is None:
            return False
        parts = [("DELETE", f"sobjects/{sobject}/{sfid}", None)]
        try:
            (answer,) = await self._connection.threads.run(
                lambda client: client.composite("delete", parts, writes=True)
            )
        except OutcomeUnknown as error:
            raise SalesforceUnavailable(str(error), code="no_answer") from error
        except ActivityRefused:
            return False
        return answer is not None and answer.ok

    async def remove(self, ids: Mapping[str, str]) -> list[WriteOutcome]:
        """Delete records, many to a call; return an outcome for each.

        To delete twice is the same as once: a record that is gone already counts as
        *written*.

        Args:
            ids: By key, the id of the record; what is no id is refused.

        Raises:
            SalesforceUnavailable: Nothing was deleted; or, without an answer, perhaps.
            OrgPaused: Nothing was deleted.
        """
        valid = {key: sfid for key, one in ids.items() if (sfid := record_id(one))}
        outcomes = [
            WriteOutcome(key, WriteState.REFUSED, code="MALFORMED_ID")
            for key in ids.keys() - valid.keys()
        ]
        keys = list(valid)
        for at in range(0, len(keys), write.MAX_DELETED):
            part = {key: valid[key] for key in keys[at : at + write.MAX_DELETED]}
            parts = write.deletions(list(part.values()))
            try:
                answers = await self._connection.threads.run(
                    lambda client, parts=parts: client.composite(  # type: ignore[misc]  # one value for each call
                        "delete", parts, writes=True
                    )
                )
            except OutcomeUnknown as error:
                raise SalesforceUnavailable(str(error), code="no_answer") from error
            outcomes += write.read_deletions(part, answers)
        return outcomes

    # ------------------------------------------------------------ finding

    async def find_email_messages(
        self, message_identifiers: Sequence[str], *, whole: bool = True
    ) -> dict[str, list[FoundRecord]]:
        """Return EmailMessages by MessageIdentifier, deleted ones included.

        Of any author: `created_by_id` tells our own (see `Access.me`) from others.

        Args:
            message_identifiers: What to look for.
            whole: Fail where Salesforce chokes on one of them; else that one is left
                out, as if no record had it.

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
        schema = await self._schema.get()
        with_sender = "EmailMessageRelation" in schema.createables
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
        me = await self._access.me()
        return readback.read_own_tasks(
            await self._connection.queries.within(
                "readback",
                lambda window: readback.own_tasks_query(me, *window),
                (since, until),
            )
        )

    async def existing(self, sobject: str, ids: Sequence[str]) -> dict[str, bool]:
        """Return, by id, whether a record is deleted; unknown ids are left out.

        Raises:
            RelayError: They could not be looked for; says nothing about them.
        """
        asks = readback.existing_asks(sobject, ids)
        return readback.read_existing(await self._all_rows(asks))

    async def read_keyed(
        self, sobject: str, field: str | None, ids: Sequence[str]
    ) -> dict[str, KeyedRecord]:
        """Return records by id with the keys that they carry, deleted ones included.

        Args:
            sobject: `EmailMessage` or `Task`.
            field: The unique field that holds our key, if the org has one.
            ids: Of the records; a record that does not exist is left out.

        Raises:
            RelayError: They could not be looked for; says nothing about them.
        """
        asks = readback.keyed_asks(sobject, field, ids)
        return readback.read_keyed(sobject, field, await self._all_rows(asks))

    async def list_own(
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
        me = await self._access.me()
        rows = await self._connection.queries.within(
            "audit",
            lambda window: readback.own_query(sobject, field, me, window),
            (since, until),
        )
        return readback.read_own(sobject, field, rows)

    async def find_by_key(
        self, sobject: str, field: str, keys: Sequence[str]
    ) -> dict[str, FoundRecord]:
        """Return records by the keys in a unique field, deleted ones included.

        Raises:
            RelayError: They could not be looked for; says nothing about them.
        """
        asks = readback.key_asks(sobject, field, keys)
        return readback.read_keys(field, await self._all_rows(asks))

    # ------------------------------------------------------------ inside

    async def _write(
        self,
        records: Sequence[tuple[str, str, Mapping[str, Json]]],
        method: str,
        not_after_s: float | None,
        unique: Mapping[str, str] | None,
        headers: Mapping[str, str] | None = None,
        read: Callable[[Sequence[Encoded]], str] | None = None,
    ) -> list[WriteOutcome]:
        room = write.MAX_READ if read else write.MAX_COLLECTIONS

        def packed(_: Client) -> tuple[list[list[list[Encoded]]], list[WriteOutcome]]:
            encoded, refused = write.encode(records)
            return write.pack(encoded, room), refused

        calls, outcomes = await self._connection.threads.run(packed)
        timeout_s = self._connection.settings.timeout_s

        def sending(job: Job) -> Callable[[Client], list[WriteOutcome]]:
            return lambda client: write.send(
                client, job, not_after_s=not_after_s, timeout_s=timeout_s
            )

        results = await asyncio.gather(
            *(
                self._connection.threads.run(
                    sending(write.Job(call, method, unique, headers, read))
                )
                for call in calls
            ),
            return_exceptions=True,
        )
        errors = []
        for call, result in zip(calls, results, strict=True):
            if isinstance(result, RelayError):
                errors.append(result)
                outcomes += write.not_written(call, result)
            elif isinstance(result, BaseException):
                raise result
            else:
                outcomes += result
        if errors and len(errors) == len(results):
            # A pause of the whole org says more than a broken connection.
            raise next((e for e in errors if isinstance(e, OrgPaused)), errors[0])
        if any(_conflicts(outcome) for outcome in outcomes):
            self._on_conflict()
        return outcomes

    async def _all_rows(self, asks: Sequence[Ask], *, whole: bool = True) -> Rows:
        # Half an answer would read as "not there".
        answered = await self._connection.queries.ask("readback", asks, whole=whole)
        return [row for _, rows in answered for row in rows]


def _reading(
    records: Mapping[str, tuple[str, str, Mapping[str, Json]]], fields: Sequence[str]
) -> Callable[[Sequence[Encoded]], str]:
    """Return what makes the path that reads records, which are given by their ids."""
    ids = {key: sfid for sfid, (key, _, _) in records.items()}

    def path(part: Sequence[Encoded]) -> str:
        text = f"SELECT Id, {', '.join(fields)} FROM {part[0].object} WHERE Id IN {{}}"  # noqa: S608 - names are describe's
        return Query(statement(text, [ids[one.key] for one in part])).path

    return path


def _conflicts(outcome: WriteOutcome) -> bool:
    """Say whether a record was refused because the org is not what it was."""
    return (
        outcome.state is WriteState.REFUSED and rule(outcome.code).retry is Retry.REPLAN
    )
