"""Linking: files that are in Salesforce are hung on the records that they are for.

A link that came with the upload is seen and not made again. A file that may not hang on
its record is deleted where the record brought it: nobody would ever find it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.attachments.recovery import patience
from relay.attachments.rows import TO_SEND
from relay.core.files import FileUpdate
from relay.core.states import ActivityState
from relay.outbox.records import SEND_WITHIN_S
from relay.salesforce import WriteState, files
from relay.salesforce.errors import error_of

if TYPE_CHECKING:
    from relay.attachments.rows import FileLedger, LeasedFiles
    from relay.config import SalesforceSettings
    from relay.core.clock import Clock
    from relay.core.files import FileRow
    from relay.salesforce import Org


class Linking:
    """Links files to records."""

    def __init__(
        self, settings: SalesforceSettings, org: Org, clock: Clock, ledger: FileLedger
    ) -> None:
        """Keep the parts."""
        self._settings = settings
        self._org = org
        self._clock = clock
        self._ledger = ledger

    async def link(self, hand: LeasedFiles) -> None:
        """Hang what is in Salesforce on the records it is for.

        Raises:
            RelayError: Rows in hand are not linked, or it is not known.
        """
        written = hand.mine(ActivityState.WRITTEN)
        others = [
            row
            for row in hand.mine(*TO_SEND)
            if hand.carrier(row).state in {ActivityState.WRITTEN, ActivityState.LINKED}
        ]
        if not written and not others:
            return
        places = await self._org.files.places(
            [row.version_id for row in written if row.version_id],
            [row.record_id for row in (*written, *others) if row.record_id],
        )
        updates: list[FileUpdate] = []
        links: dict[str, tuple[FileRow, str]] = {}
        for row in (*written, *others):
            carrier = hand.carrier(row) if row in others else row
            document = carrier.document_id or places.documents.get(
                carrier.version_id or ""
            )
            if row.version_id in places.deleted:
                text = "deleted in Salesforce"
                updates.append(FileUpdate(row.key, ActivityState.GONE, error=text))
            elif not document or not row.record_id:
                continue
            elif (document, row.record_id) in places.links:
                updates.append(self._linked(row, carrier, document))
            else:
                links[row.key] = (row, document)
        await self._ledger.commit(hand, updates)
        if links:
            await self._make_links(hand, links)

    async def _make_links(
        self, hand: LeasedFiles, links: dict[str, tuple[FileRow, str]]
    ) -> None:
        outcomes = await self._org.records.create(
            [
                (
                    key,
                    "ContentDocumentLink",
                    files.link_fields(document, row.record_id or ""),
                )
                for key, (row, document) in links.items()
            ],
            not_after_boottime_s=self._clock.boottime_s() + SEND_WITHIN_S,
        )
        updates = []
        for outcome in outcomes:
            row, document = links[outcome.key]
            error = f"{outcome.code} {outcome.text}".strip()
            there = outcome.code == files.ALREADY_LINKED
            if outcome.state is WriteState.WRITTEN or there:
                updates.append(self._linked(row, hand.carrier(row), document))
            elif outcome.state is WriteState.REFUSED:
                if row.version_id:
                    # It would hang nowhere, and nobody would ever find it.
                    await self._org.records.delete("ContentDocument", document)
                gone = outcome.code in files.RECORD_DELETED
                state = ActivityState.GONE if gone else ActivityState.REFUSED
                updates.append(FileUpdate(row.key, state, error=error))
            else:
                failed = error_of(outcome)
                wait_s = outcome.retry_after_s
                updates.append(
                    self._ledger.failed(row, row.state, error, wait_s, failed.retry)
                )
        await self._ledger.commit(hand, updates)

    def _linked(self, row: FileRow, carrier: FileRow, document: str) -> FileUpdate:
        # Once it was not found where it should have been, it may have come twice.
        check = (
            self._clock.now() + patience(self._settings, row) if row.lookups else None
        )
        return FileUpdate(
            row.key,
            ActivityState.LINKED,
            due_at=check,
            version_id=row.version_id or carrier.version_id,
            document_id=document,
        )
