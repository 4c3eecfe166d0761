"""Finding out what became of uploads that were never answered.

Our own files since then are read, and found by their keys. Absent is believed only
after the longest time that the upload could still be carried out (`patience`); then the
content is sent again. Should the first have come after all, there are two: doubles are
looked for later and deleted, so that no file is left that the store does not know.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from relay.core.files import FileUpdate
from relay.core.states import ActivityState
from relay.outbox.backoff import look_up_wait_s
from relay.outbox.recovery import CLOCK_SLACK
from relay.salesforce import files
from relay.telemetry import get_logger

if TYPE_CHECKING:
    from datetime import datetime

    from relay.attachments.rows import FileLedger, LeasedFiles
    from relay.config import SalesforceSettings
    from relay.core.clock import Clock
    from relay.core.files import FileRow
    from relay.salesforce import Org

logger = get_logger(__name__)


class FileRecovery:
    """Looks for files by their keys."""

    def __init__(
        self, settings: SalesforceSettings, org: Org, clock: Clock, ledger: FileLedger
    ) -> None:
        """Keep the parts."""
        self._settings = settings
        self._org = org
        self._clock = clock
        self._ledger = ledger

    async def resolve(self, hand: LeasedFiles) -> None:
        """Look for files that were sent and never answered.

        Raises:
            RelayError: Rows that were sent stay so.
        """
        rows = hand.mine(ActivityState.SENT)
        if not rows:
            return
        now = self._clock.now()
        found = await self._own(min(row.sent_at or row.created_at for row in rows))
        updates = []
        for row in rows:
            files = found.get(row.key, [])
            living = [file for file in files if not file.is_deleted]
            if living:
                update = FileUpdate(
                    row.key,
                    ActivityState.WRITTEN,
                    version_id=living[0].version_id,
                    document_id=living[0].document_id,
                    keep=True,
                )
            elif files:
                update = FileUpdate(
                    row.key, ActivityState.GONE, error="deleted in Salesforce"
                )
            elif now >= (row.sent_at or now) + patience(self._settings, row):
                update = FileUpdate(
                    row.key, ActivityState.PLANNED, lookups=row.lookups + 1, keep=True
                )
            else:
                update = FileUpdate(
                    row.key,
                    ActivityState.SENT,
                    due_at=self._ledger.after(look_up_wait_s(row.lookups)),
                    error=row.error,
                    lookups=row.lookups + 1,
                )
            updates.append(update)
        await self._ledger.commit(hand, updates)

    async def undouble(self, hand: LeasedFiles) -> None:
        """Delete what a late commit has made beside the file that we know.

        Raises:
            RelayError: Doubles may be left; the rows stay in hand.
        """
        rows = hand.mine(ActivityState.LINKED)
        if not rows:
            return
        found = await self._own(min(row.created_at for row in rows))
        for row in rows:
            for file in found.get(row.key, ()):
                other = file.document_id not in {None, row.document_id}
                if other and not file.is_deleted:
                    logger.warning("double_file_deleted", file=row.key)
                    await self._org.records.delete(
                        "ContentDocument", file.document_id or ""
                    )
        await self._ledger.commit(
            hand, [FileUpdate(r.key, ActivityState.LINKED) for r in rows]
        )

    async def _own(self, since: datetime) -> dict[str, list[files.FoundFile]]:
        server_now = self._org.access.server_now()
        start = since + (server_now - self._clock.now()) - CLOCK_SLACK
        me = await self._org.access.me()
        return await self._org.files.find_own(me, start, server_now + CLOCK_SLACK)


def patience(settings: SalesforceSettings, row: FileRow) -> timedelta:
    """Return how long after it was sent a file may still appear."""
    size_bytes = row.draft.size_bytes
    return timedelta(
        seconds=files.upload_s(size_bytes)
        + files.answer_s(size_bytes, settings.timeout_s)
        + settings.settle_s
    )
