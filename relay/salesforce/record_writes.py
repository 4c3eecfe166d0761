"""Creates, updates and deletes records, calls side by side in threads.

How records are packed into calls, and what an answer says about each, is `write`'s.
What this module adds is what holds for all calls of one write: one that fails leaves
what the others have written, and a record that the org refuses for what it has become
empties what look-ups remember. Retrying, and remembering what was written, is the
worker's.
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
from relay.salesforce import write
from relay.salesforce.access import Access
from relay.salesforce.errors import Retry, rule
from relay.salesforce.model import WriteOutcome, WriteState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from relay.core.model import Json
    from relay.salesforce.client import Client
    from relay.salesforce.write import Encoded, Job


class RecordWrites(Access):
    """Writing records, each with an outcome of its own."""

    async def create(
        self,
        records: Sequence[tuple[str, str, Mapping[str, Json]]],
        *,
        not_after_boottime_s: float | None,
        unique_fields: Mapping[str, str] | None = None,
    ) -> list[WriteOutcome]:
        """Create records; return an outcome for each, in no particular order.

        Args:
            records: (key, object, fields); keys are distinct.
            not_after_boottime_s: Boot time after which nothing may be sent any more.
            unique_fields: By key, the field that holds it and takes it once only: that
                it is there already then means *written*.

        Raises:
            SalesforceUnavailable: Nothing was written.
            OrgPaused: Nothing was written, and nothing can be for now.
        """
        return await self._write(records, "POST", not_after_boottime_s, unique_fields)

    async def update(
        self, records: Sequence[tuple[str, str, str, Mapping[str, Json]]]
    ) -> list[WriteOutcome]:
        """Update records; return an outcome for each, in no particular order.

        To update twice is the same as once: an unknown outcome may just be tried again.

        Args:
            records: (key, object, id, fields); a record whose id is none is refused.

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
        outcomes += await self._write(list(first.values()), "PATCH", None, None)
        return outcomes + (await self.update(further) if further else [])

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
            (answer,) = await self._threads.run(
                lambda client: client.composite("delete", parts, writes=True)
            )
        except OutcomeUnknown as error:
            raise SalesforceUnavailable(str(error), code="no_answer") from error
        except ActivityRefused:
            return False
        return answer is not None and answer.ok

    async def _write(
        self,
        records: Sequence[tuple[str, str, Mapping[str, Json]]],
        method: str,
        not_after_s: float | None,
        unique: Mapping[str, str] | None,
    ) -> list[WriteOutcome]:
        def packed(_: Client) -> tuple[list[list[list[Encoded]]], list[WriteOutcome]]:
            encoded, refused = write.encode(records)
            return write.pack(encoded), refused

        calls, outcomes = await self._threads.run(packed)
        timeout_s = self._settings.timeout_s

        def sending(job: Job) -> Callable[[Client], list[WriteOutcome]]:
            return lambda client: write.send(
                client, job, not_after_s=not_after_s, timeout_s=timeout_s
            )

        results = await asyncio.gather(
            *(
                self._threads.run(sending(write.Job(call, method, unique)))
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
            self._cache.forget()
        return outcomes


def _conflicts(outcome: WriteOutcome) -> bool:
    """Say whether a record was refused because the org is not what it was."""
    return (
        outcome.state is WriteState.REFUSED and rule(outcome.code).retry is Retry.REPLAN
    )
