"""What is done about files in hand: looked for, sent, hung on their records.

A content goes to Salesforce once for a mail, with the first of its records (the
*carrier*), and is then linked to the others. The order of the work: what was sent and
never answered is looked for (`unknown_files`), what is planned is sent (`uploading`),
what is there is hung on its records (`linking`), and what came twice is deleted
(`unknown_files`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relay.attachments.linking import Linking
from relay.attachments.recovery import FileRecovery
from relay.attachments.rows import FileLedger
from relay.attachments.uploading import Uploading
from relay.core.errors import TransientError
from relay.core.files import FileUpdate
from relay.core.retry import Retry

if TYPE_CHECKING:
    from relay.attachments.rows import LeasedFiles
    from relay.config import Settings
    from relay.core.clock import Clock
    from relay.core.queue import LeaseOwner
    from relay.outbox.backoff import Backoff
    from relay.salesforce import Org
    from relay.store import Store


class Delivery:
    """Sees to the files in one hand."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        org: Org,
        clock: Clock,
        *,
        owner: LeaseOwner,
        backoff: Backoff,
    ) -> None:
        """Put the parts together; nothing is started."""
        section = settings.salesforce
        self._wait_s = settings.worker.retry_first_s
        self._ledger = FileLedger(store, clock, owner=owner, backoff=backoff)
        self._unknown = FileRecovery(section, org, clock, self._ledger)
        self._uploading = Uploading(settings, store, org, clock, self._ledger)
        self._linking = Linking(section, org, clock, self._ledger)

    async def work(self, hand: LeasedFiles) -> None:
        """Do for every row in hand what can be done now.

        Raises:
            StoreUnavailable: Rows may be left in hand; their lease runs out.
            TransientError: Rows in hand were not seen to.
        """
        await self._unknown.resolve(hand)
        await self._uploading.send(hand)
        await self._linking.link(hand)
        await self._unknown.undouble(hand)
        await self._ledger.commit(
            hand, [self._ledger.later(row) for row in hand.mine()]
        )

    async def put_off(
        self, hand: LeasedFiles, error: Exception, *, innocent: bool
    ) -> None:
        """Give back what is in hand, because of trouble that is nobody's or its own.

        Args:
            hand: What is in hand.
            error: The trouble.
            innocent: No file is at fault; it counts for nothing.
        """
        wait = getattr(error, "retry_after_s", None)
        # A fault of our own, or a refusal of the whole turn, ends no file at once.
        retry = error.retry if isinstance(error, TransientError) else Retry.BACKOFF
        updates = []
        for row in hand.mine():
            if innocent:
                due = self._ledger.after(wait or self._wait_s)
                changes: dict[str, Any] = {"error": row.error, "due_at": due}
                updates.append(FileUpdate(row.key, row.state, **changes))
            else:
                updates.append(
                    self._ledger.failed(row, row.state, str(error), wait, retry)
                )
        await self._ledger.commit(hand, updates)
