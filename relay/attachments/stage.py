"""Planning the files of a mail, and working them off.

Files come after everything else. A mail whose records are all written is logged, and in
the same commit its files are planned (`plan`). From then on they have attempts of their
own (`run`): whatever happens to a file, the message stays logged, and no text waits for
it. `relay show` says where each file is.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from relay.activity import FileRules, plan_files, without_secrets
from relay.attachments.delivery import Delivery
from relay.attachments.rows import LeasedFiles
from relay.core.bodies import BodyMode
from relay.core.errors import OrgPaused, StoreUnavailable, TransientError
from relay.core.model import OPEN_TASK
from relay.core.states import ActivityState
from relay.outbox.batch import Isolation
from relay.outbox.turns import keep_working
from relay.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.config import SalesforceSettings
    from relay.outbox.batch import Batch, BatchMail
    from relay.outbox.engine import Parts

MAILS: Final = 20
"""Mails whose files are taken in one turn."""
POLL_S: Final = 1.0
MAX_NOTES: Final = 10
"""Files left out that the trace names one by one."""

logger = get_logger(__name__)


class Attachments:
    """Plans files with the outcome of a message, and brings them to Salesforce."""

    def __init__(self, parts: Parts, *, paused: Callable[[], bool]) -> None:
        """Put the parts together; nothing is started.

        Args:
            parts: The shared parts; the files are leased under a name of their own.
            paused: Says whether the org is paused; no file is sent then.
        """
        self._parts = replace(parts, owner=replace(parts.owner, worker="files"))
        self._rules = file_rules(parts.settings.salesforce)
        self._paused = paused
        self._delivery = Delivery(self._parts)
        self._wake = asyncio.Event()

    # ------------------------------------------------------------ planning

    def plan(
        self, batch: Batch, mail: BatchMail, body: BodyMode = BodyMode.FULL
    ) -> None:
        """Plan the files of a mail whose records are all written.

        They are committed with the settlement of the message.

        Args:
            batch: Keeps the plan until then.
            mail: The mail.
            body: How much of it is logged.
        """
        email = mail.email
        if not self._rules.attach or not (
            email.attachments or self._rules.original_eml
        ):
            return
        # The original is named after its subject.
        email = without_secrets(email, frozenset(self._parts.settings.smtp.domains))
        claimed = mail.items[0].claimed
        plan = plan_files(
            email,
            replace(self._rules, body=body),
            mail_id=mail.mail.id,
            blob_id=claimed.blob_id,
            raw_bytes=claimed.size_bytes,
            activity_keys=[
                row.key
                for row in mail.of(ActivityState.WRITTEN)
                if row.slot != OPEN_TASK
            ],
        )
        batch.files += plan.drafts
        names = dict.fromkeys(draft.name for draft in plan.drafts)
        if names:
            mail.trace("files", f"{len(names)} to send", ", ".join(names))
        for name, reason in plan.left_out[:MAX_NOTES]:
            mail.trace("files", "left out", f"{name}: {reason}")
        if (more := len(plan.left_out) - MAX_NOTES) > 0:
            mail.trace("files", "left out", f"{more} more")

    def wake(self) -> None:
        """Say that files may be due."""
        self._wake.set()

    # ------------------------------------------------------------ life

    async def run(self, stopping: asyncio.Event) -> None:
        """Send files until asked to stop; an upload under way is finished first."""
        if self._rules.attach:
            await keep_working(
                self.turn,
                stopping=stopping,
                paused=self._paused,
                idle_s=POLL_S,
                failed_event="file_turn_failed",
                wake=self._wake,
            )

    async def turn(self) -> bool:
        """See to the files that are due; return whether there were any.

        Raises:
            StoreUnavailable: Files may stay leased; their lease runs out.
        """
        parts = self._parts
        rows = await parts.store.attachments.claim(
            parts.owner, MAILS, parts.settings.worker.lease_s
        )
        if not rows:
            return False
        await self._attempt(LeasedFiles(rows), Isolation())
        return True

    async def _attempt(self, leased: LeasedFiles, isolation: Isolation) -> None:
        """See to leased files; one mail whose files spoil the turn ends up alone."""
        try:
            await self._delivery.work(leased)
        except StoreUnavailable:
            raise
        except OrgPaused as error:
            logger.warning("files_wait", code=error.code, error=str(error))
            await self._delivery.put_off(leased, error, counts=False)
        except Exception as error:
            halves = isolation.halves(leased.mails, error)
            for mails in halves:
                await self._attempt(leased.part(mails), isolation)
            if not halves:
                if not isinstance(error, TransientError):
                    logger.exception("file_failed")
                await self._delivery.put_off(leased, error, counts=True)


def file_rules(settings: SalesforceSettings) -> FileRules:
    """Return the rules that the settings give."""
    return FileRules(
        attach=settings.files_attach,
        max_bytes=settings.files_max_bytes,
        max_count=settings.files_max_count,
        allow=settings.files_allow,
        deny=settings.files_deny,
        inline_min_bytes=settings.files_inline_min_bytes,
        original_eml=settings.files_original_eml,
    )
