"""The file stage: attachments follow the text of a mail into Salesforce.

It comes after everything else. A mail whose records are all written is logged, and in
the same commit its files are planned (`plan`); from then on they go their own way
(`run`), with retries of their own. Whatever happens to a file, the message stays
logged, and no text waits for it. Where each file is, `relay show` says.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from relay.activity import FileRules, plan_files, without_secrets
from relay.attachments.delivery import Delivery
from relay.attachments.rows import LeasedFiles
from relay.core.errors import OrgPaused, StoreUnavailable, TransientError
from relay.core.states import ActivityState
from relay.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.config import SalesforceSettings, Settings
    from relay.core.clock import Clock
    from relay.core.queue import LeaseOwner
    from relay.outbox.backoff import Backoff
    from relay.outbox.batch import Batch, BatchMail
    from relay.salesforce import Org
    from relay.store import Store

MAILS: Final = 20
"""Mails whose files are taken in one turn."""
POLL_S: Final = 1.0
STORE_RETRY_S: Final = 1.0
MAX_NOTES: Final = 10
"""Files left out that the trace names one by one."""

logger = get_logger(__name__)


class Attachments:
    """Plans files with the outcome of a message, and brings them to Salesforce."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        org: Org,
        clock: Clock,
        *,
        owner: LeaseOwner,
        backoff: Backoff,
        paused: Callable[[], bool],
    ) -> None:
        """Put the parts together; nothing is started.

        Args:
            settings: The whole configuration.
            store: The open store.
            org: The started org.
            clock: For what is stored and for leases.
            owner: This process.
            backoff: Waits after failures.
            paused: Says whether the org is paused; no file is sent then.
        """
        self._settings = settings
        self._rules = file_rules(settings.salesforce)
        self._store = store
        self._owner = replace(owner, worker="files")
        self._paused = paused
        self._filing = Delivery(
            settings, store, org, clock, owner=self._owner, backoff=backoff
        )
        self._bell = asyncio.Event()

    # ------------------------------------------------------------ planning

    def plan(self, run: Batch, work: BatchMail) -> None:
        """Plan the files of a mail whose records are all written.

        They are committed with the settlement of the message.
        """
        email = work.email
        if not self._rules.attach or not (
            email.attachments or self._rules.original_eml
        ):
            return
        # The original is named after its subject.
        email = without_secrets(email, frozenset(self._settings.smtp.domains))
        claimed = work.items[0].claimed
        plan = plan_files(
            email,
            self._rules,
            mail_id=work.mail.id,
            blob_id=claimed.blob_id,
            raw_bytes=claimed.size_bytes,
            activity_keys=[row.key for row in work.of(ActivityState.WRITTEN)],
        )
        run.files += plan.drafts
        names = dict.fromkeys(draft.name for draft in plan.drafts)
        if names:
            work.trace("files", f"{len(names)} to send", ", ".join(names))
        for name, reason in plan.left_out[:MAX_NOTES]:
            work.trace("files", "left out", f"{name}: {reason}")
        if (more := len(plan.left_out) - MAX_NOTES) > 0:
            work.trace("files", "left out", f"{more} more")

    def ring(self) -> None:
        """Say that files may be due."""
        self._bell.set()

    # ------------------------------------------------------------ life

    async def run(self, stopping: asyncio.Event) -> None:
        """See to files until told to stop; an upload under way is finished first."""
        if not self._rules.attach:
            return
        while not stopping.is_set():
            try:
                busy = not self._paused() and await self._turn()
            except StoreUnavailable as error:
                logger.warning("store_unavailable", error=str(error))
                await _wait(STORE_RETRY_S, stopping)
            except Exception:
                logger.exception("file_turn_failed")
                await _wait(STORE_RETRY_S, stopping)
            else:
                if not busy:
                    await _wait(POLL_S, stopping, self._bell)
                    self._bell.clear()

    async def _turn(self) -> bool:
        """See to the files that are due; return whether there were any."""
        rows = await self._store.attachments.claim(
            self._owner, MAILS, self._settings.worker.lease_s
        )
        if not rows:
            return False
        hand = LeasedFiles(rows)
        try:
            await self._filing.work(hand)
        except StoreUnavailable:
            raise
        except OrgPaused as error:
            logger.warning("files_wait", code=error.code, error=str(error))
            await self._filing.put_off(hand, error, innocent=True)
        except TransientError as error:
            await self._filing.put_off(hand, error, innocent=False)
        except Exception as error:
            logger.exception("file_failed")
            await self._filing.put_off(hand, error, innocent=False)
        return True


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


async def _wait(seconds: float, *events: asyncio.Event) -> None:
    """Wait for one of the events, at the longest for so many seconds."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    await asyncio.gather(*waits, return_exceptions=True)
