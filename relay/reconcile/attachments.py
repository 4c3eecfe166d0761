"""Reconciles attachments: are the ContentVersions there that the store calls linked?

They are read by id and in the time that is walked, with their keys, as records are.
Whether a file still hangs on its record is not compared: a person who takes it off has
a reason. Where the relay has no files, Salesforce is not asked.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from relay.core.states import ActivityState
from relay.reconcile.report import (
    IN_THE_BIN,
    QUEUED,
    Difference,
    Kind,
    Whose,
    absent,
    whose,
)

if TYPE_CHECKING:
    from datetime import datetime

    from relay.core.clock import Clock
    from relay.salesforce import Org
    from relay.salesforce.files import FoundFile
    from relay.store import Store
    from relay.store.attachments import FileLedgerRow

OBJECT: Final = "ContentVersion"
PAGE: Final = 1000
"""Files that are compared at a time."""
_NOT_SENT: Final = frozenset(
    {ActivityState.PLANNED, ActivityState.HELD, ActivityState.REFUSED}
)
"""States of a file that is not in Salesforce."""


class Attachments:
    """One walk over the attachments; part of a `Reconciliation`."""

    def __init__(self, store: Store, org: Org, clock: Clock) -> None:
        """Keep the parts; nothing is asked yet."""
        self._store = store
        self._org = org
        self._clock = clock
        self._rows: dict[str, FileLedgerRow] = {}
        self._living: dict[str, dict[str, FoundFile]] = {}
        self._missing: dict[str, tuple[FileLedgerRow, Whose | None]] = {}
        self._deleted: dict[str, FileLedgerRow] = {}

    async def walk(self, start: datetime | None, since: datetime | None) -> int:
        """Ask which of the files exist; return how many were compared.

        Args:
            start: Know what was planned or sent since then.
            since: Judge what was.
        """
        after = compared = 0
        while rows := await self._store.attachments.page(start, after, PAGE):
            after = rows[-1].number
            self._know(rows)
            judged = [row for row in rows if _judged(row, since)]
            versions = [row.file.version_id or "" for row in judged]
            places = await self._org.files.places(versions, [])
            me = await self._org.access.me() if judged else ""
            # Records of one mail share a file, which carries the key of one of them.
            shared = await self._store.attachments.keys_by_version(
                {row.file.draft.mail_id for row in judged}
            )
            for row, version in zip(judged, versions, strict=True):
                key, record = row.file.key, places.keyed.get(version)
                name = row.file.draft.name
                if record is None:
                    self._missing[key] = (row, None)
                    continue
                title = name.rpartition(".")[0] or name
                sent_at = row.file.sent_at or row.file.created_at
                wanted = {key, *shared.get(version, ())}
                verdict = whose(record, wanted, me, sent_at=sent_at, title=title)
                if verdict is not Whose.OURS:
                    self._missing[key] = (row, verdict)
                elif record.is_deleted:
                    self._deleted[key] = row
            compared += len(judged)
        return compared

    async def catch_up(self, began: datetime) -> None:
        """Read again what was planned or sent since the walk began."""
        after = 0
        while rows := await self._store.attachments.page(began, after, PAGE):
            after = rows[-1].number
            self._know(rows)

    def _know(self, rows: list[FileLedgerRow]) -> None:
        self._rows.update((row.file.key, row) for row in rows)

    async def read(self, window: tuple[datetime, datetime]) -> None:
        """Read the living files of ours that were made in a window."""
        if not self._rows:
            return
        found = await self._org.files.find_own(await self._org.access.me(), *window)
        for key, files in found.items():
            known = self._living.setdefault(key, {})
            known.update((file.version_id, file) for file in files)

    async def judge(self) -> list[Difference]:
        """Return doubled and orphaned files."""
        found = []
        known = await self._store.attachments.known(
            self._living.keys() - self._rows.keys()
        )
        for key, files in self._living.items():
            ids = tuple(f.version_id for f in files.values() if not f.is_deleted)
            row = self._rows.get(key)
            messages = row.messages if row else ()
            if row is None and ids and key not in known:
                text = "made by the integration user; the store does not know it"
                found.append(Difference(Kind.ORPHANED, OBJECT, key, ids, (), text))
            elif row and ids and row.file.state in _NOT_SENT:
                text = f"the store says {row.file.state}"
                found.append(
                    Difference(Kind.ORPHANED, OBJECT, key, ids, messages, text)
                )
            elif row and len(ids) > 1 and row.file.due_at is None:
                # Else the worker has still to look for doubles itself.
                text = f"{len(ids)} files, where there should be 1"
                found.append(Difference(Kind.DOUBLED, OBJECT, key, ids, messages, text))
        return found

    async def conclude(
        self, since: datetime | None, *, fix: bool, actor: str
    ) -> list[Difference]:
        """Return absent and deleted files; `fix` has absent ones sent again."""
        missing = [
            self._absent(row, verdict, since) for row, verdict in self._missing.values()
        ]
        deleted = [
            _difference(Kind.DELETED, row, IN_THE_BIN) for row in self._deleted.values()
        ]
        if fix:
            keys = {d.key for d in missing if d.repairable}
            queued = await self._store.attachments.rewrite(keys, actor)
            missing = [
                replace(d, repaired=True, detail=QUEUED) if d.key in queued else d
                for d in missing
            ]
            await self._store.attachments.mark_gone({d.key for d in deleted})
            deleted = [replace(d, repaired=True) for d in deleted]
        return [*missing, *deleted]

    def _absent(
        self, row: FileLedgerRow, verdict: Whose | None, since: datetime | None
    ) -> Difference:
        kind, detail, repairable = absent(
            verdict, row.file.sent_at, self._clock.now(), since
        )
        return replace(_difference(kind, row, detail), repairable=repairable)


def _judged(row: FileLedgerRow, since: datetime | None) -> bool:
    file = row.file
    if file.state is not ActivityState.LINKED or not file.version_id:
        return False
    return since is None or (file.sent_at or file.created_at) >= since


def _difference(kind: Kind, row: FileLedgerRow, detail: str) -> Difference:
    file = row.file
    ids = (file.version_id or "",)
    return Difference(kind, OBJECT, file.key, ids, row.messages, detail)
