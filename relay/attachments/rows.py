"""The rows of leased files: whose they are now, and what is committed of them.

What becomes of a file is written to the store and to `LeasedFiles` together, so that a
turn sees each row as the store has it. A row that another worker has leased meanwhile
is left to that worker.
"""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from relay.core.files import FileUpdate
from relay.core.retry import Retry, Then
from relay.core.states import FILE_WAITING, ActivityState
from relay.outbox.backoff import look_up_wait_s
from relay.telemetry import get_logger, metrics

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from datetime import datetime

    from relay.core.files import FileRow
    from relay.outbox.engine import Mark, Parts

TO_SEND: Final = frozenset({ActivityState.PLANNED, ActivityState.HELD})
"""States of a file whose content has not left."""

logger = get_logger(__name__)


class LeasedFiles:
    """The files of some mails in one turn, with those that this worker has leased."""

    def __init__(self, rows: Iterable[FileRow]) -> None:
        """Take over what was claimed."""
        self.rows = {row.key: row for row in rows}
        self._mine = {row.key for row in self.rows.values() if row.mine}

    def mine(self, *states: ActivityState) -> list[FileRow]:
        """Return the leased rows that are in these states, or all of them."""
        return [
            row
            for key, row in self.rows.items()
            if key in self._mine and (not states or row.state in states)
        ]

    def carrier(self, row: FileRow) -> FileRow:
        """Return the row that brings this row's content into Salesforce."""
        sharing = [
            other
            for other in self.rows.values()
            if other.draft.mail_id == row.draft.mail_id
            and other.draft.sha256 == row.draft.sha256
            and other.state not in {ActivityState.REFUSED, ActivityState.GONE}
            and not other.record_gone
        ]
        # What is further on its way goes first, then the older row.
        return min(sharing, key=lambda r: (r.state in TO_SEND, r.id), default=row)

    def take(self, update: FileUpdate) -> None:
        """Take a committed change over; the lease ends unless the row is kept."""
        row = self.rows[update.key]
        self.rows[update.key] = dataclasses.replace(
            row,
            state=update.state,
            version_id=update.version_id or row.version_id,
            document_id=update.document_id or row.document_id,
            sent_at=update.sent_at or row.sent_at,
            due_at=row.due_at if update.keep else update.due_at,
            error=update.error,
            lookups=row.lookups if update.lookups is None else update.lookups,
            failures=row.failures if update.failures is None else update.failures,
        )
        if not update.keep:
            self.drop(update.key)

    def drop(self, key: str) -> None:
        """Leave a row to other workers."""
        self._mine.discard(key)

    @property
    def mails(self) -> list[int]:
        """Return the mails of which a row is still leased."""
        return sorted({row.draft.mail_id for row in self.mine()})

    def part(self, mails: Collection[int]) -> LeasedFiles:
        """Return the files of some of the mails, with their leases."""
        part = LeasedFiles([])
        part.rows = {
            key: row for key, row in self.rows.items() if row.draft.mail_id in mails
        }
        part._mine = self._mine & part.rows.keys()
        return part


class FileRows:
    """Commits what becomes of files, and says when each is due again."""

    def __init__(self, parts: Parts) -> None:
        """Keep the parts; nothing is read."""
        self._store = parts.store
        self._clock = parts.clock
        self._owner = parts.owner
        self._backoff = parts.backoff

    async def commit(self, leased: LeasedFiles, updates: Sequence[FileUpdate]) -> None:
        """Write changes to the store, then to the leased files.

        Raises:
            StoreUnavailable: Nothing was taken.
        """
        if not updates:
            return
        done = await self._store.attachments.update(self._owner, updates)
        for update in updates:
            row = leased.rows[update.key]
            if update.key not in done:
                leased.drop(update.key)
                continue
            leased.take(update)
            if update.state is not row.state:
                metrics.FILES.labels(str(update.state)).inc()
                if update.state not in FILE_WAITING:
                    logger.info(
                        "file_settled",
                        file=update.key,
                        state=str(update.state),
                        error=update.error,
                    )

    async def leaving(
        self, leased: LeasedFiles, marks: Sequence[Mark[FileRow]], lease_s: float
    ) -> set[str]:
        """Commit that the contents of these rows leave now.

        Args:
            leased: The files of this turn; the rows stay leased, as *sent*.
            marks: The rows.
            lease_s: How long no other worker may take them.

        Returns:
            The keys of those that are still ours; no other may leave.

        Raises:
            StoreUnavailable: None may leave.
        """
        updates = [
            FileUpdate(
                mark.row.key, ActivityState.SENT, sent_at=mark.sent_at, keep=True
            )
            for mark in marks
        ]
        ours = await self._store.attachments.update(self._owner, updates, lease_s)
        for update in updates:
            if update.key in ours:
                leased.take(update)
            else:
                leased.drop(update.key)
        return ours

    def later(self, row: FileRow) -> FileUpdate:
        """Look again soon: what the row waits for is not there yet."""
        due = self.after(look_up_wait_s(row.lookups))
        return FileUpdate(
            row.key,
            row.state,
            due_at=due,
            error=row.error,
            lookups=row.lookups + (row.state is ActivityState.WRITTEN),
        )

    def failed(
        self,
        row: FileRow,
        state: ActivityState,
        error: str,
        wait_s: float | None,
        retry: Retry = Retry.BACKOFF,
    ) -> FileUpdate:
        """Try again as the error's rule says; what is too old is refused.

        Args:
            row: The file.
            state: The state in which it waits.
            error: The reason, for people.
            wait_s: A wait that the error asks for.
            retry: The rule of the error; one that is never retried ends the file.
        """
        after = self._backoff.after(
            retry,
            self._clock.now(),
            row.failures + 1,
            failing_since=row.created_at,
            retry_after_s=wait_s,
            # What was sent without an answer is looked for, however old it is.
            open_outcome=state in {ActivityState.SENT, ActivityState.LINKED},
        )
        if after.then is Then.DEAD:
            text = f"given up: {error}"
            return FileUpdate(row.key, ActivityState.REFUSED, error=text)
        return FileUpdate(
            row.key,
            state,
            due_at=after.due_at,
            error=error,
            failures=row.failures + 1,
        )

    def after(self, seconds: float) -> datetime:
        """Return the time in so many seconds."""
        return self._clock.now() + timedelta(seconds=seconds)
