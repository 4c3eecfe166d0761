"""The audit: does Salesforce hold what the ledger says, once, and nothing else?

Walks the ledger in batches and asks by id which records exist; then walks the time in
which they were made and reads every record of ours. What does not agree:

* **missing**: the ledger has an id, Salesforce has no such record;
* **doubled**: more living records carry a key than there should be;
* **orphaned**: a living record of ours that the ledger does not hold as written;
* **deleted**: somebody has put the record into the Recycle Bin. That is their wish and
  no difference; it is told, and `fix` notes it.

`fix` has missing records written again by the worker. A record that was deleted long
ago looks like a missing one once the Recycle Bin has been emptied: older ones are
mended only where the audit was asked for a time (`since`). So does a Task that the
integration user may not see: one is mended only where others of its owner are read.

Outcomes that are still unknown, and records on their way, are the worker's business
and not counted; what it has done meanwhile is read again before anything is judged. The
keys of the time looked at are held in memory.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from relay.core.states import ActivityState
from relay.outbox.visibility import owner_of
from relay.reconcile.attachments import FileAudit
from relay.reconcile.report import (
    HIDDEN,
    IN_THE_BIN,
    MENDABLE,
    QUEUED,
    Difference,
    Kind,
    Report,
    hope,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from relay.config import SalesforceSettings
    from relay.core.clock import Clock
    from relay.core.model import Activity
    from relay.salesforce import Org, OrgSchema
    from relay.salesforce.model import OwnRecord
    from relay.store import Store
    from relay.store.ledger import LedgerRow

PAGE: Final = 1000
"""Rows of the ledger that are compared at a time."""
ROWS: Final = 2000
"""About so many records are read at once: a page of Salesforce's."""
SHORTEST: Final = timedelta(minutes=10)
"""The time that is read at once is at least so long."""
SLACK: Final = timedelta(hours=1)
"""Before `since` rows are known and not judged: clocks differ, writes take time."""
CLOCKS: Final = timedelta(minutes=1)
"""How far clocks of the relay's hosts may differ."""
OBJECTS: Final = ("EmailMessage", "Task")

Key = tuple[str, str]
"""The object, and the key or the identifier."""


class Audit:
    """One walk; not to be used twice.

    Args:
        settings: Where the key is kept.
        store: The open store.
        org: The started org.
        clock: For the age of what is missing.
        progress: Told (done, total) as it goes.
    """

    def __init__(
        self,
        settings: SalesforceSettings,
        store: Store,
        org: Org,
        clock: Clock,
        *,
        progress: Callable[[int, int], None],
    ) -> None:
        """Keep the parts; nothing is asked yet."""
        self._settings = settings
        self._store = store
        self._org = org
        self._clock = clock
        self._progress = progress
        self._report = Report()
        self._files = FileAudit(store, org, clock)
        self._states: dict[Key, ActivityState] = {}
        self._identifiers: dict[Key, str] = {}
        self._messages: dict[Key, tuple[str, ...]] = {}
        self._missing: dict[str, tuple[LedgerRow, str]] = {}
        self._deleted: list[LedgerRow] = []
        self._seen: set[str] = set()
        self._blind: set[str] = set()
        self._first: datetime | None = None
        self._done = 0
        self._total = 0

    async def run(self, since: datetime | None, *, fix: bool, actor: str) -> Report:
        """Compare; mend what is missing if that is asked for.

        Args:
            since: Judge what was planned or sent since then; None is all.
            fix: Have missing records written again, note deleted ones.
            actor: Who asks, for the store's own audit.

        Raises:
            RelayError: Salesforce or the store could not be asked; nothing was mended.
        """
        began = self._clock.now()
        server_ahead = self._org.access.server_now() - self._clock.now()
        until = self._clock.now() + server_ahead + SLACK
        await self._walk_ledger(since)
        start = None if since is None else since - SLACK
        self._report.checked += await self._files.walk(start, since)
        living = await self._walk_time(since, until)
        await self._catch_up(began)
        await self._files.catch_up(began - CLOCKS)
        await self._look_for_blindness()
        self._judge(living)
        known_orphans = await self._late([key for _, key in living])
        self._report.differences = [
            d
            for d in self._report.differences
            if d.kind is not Kind.ORPHANED or d.key not in known_orphans
        ]
        await self._conclude(since, fix=fix, actor=actor)
        return self._report

    # ------------------------------------------------------------ the ledger

    async def _walk_ledger(self, since: datetime | None) -> None:
        start = None if since is None else since - SLACK
        self._total = 2 * await self._store.ledger.count(start)
        after = 0
        while rows := await self._store.ledger.page(start, after, PAGE):
            after = rows[-1].number
            judged = [row for row in rows if _judged(row.activity, since)]
            await self._compare(judged)
            for row in rows:
                self._know(row)
            self._step(len(rows))

    async def _catch_up(self, began: datetime) -> None:
        """Read again what was planned or sent since: the worker goes on meanwhile.

        A row is *sent* before its record can be there, so that after this no record
        that was read is newer than what is known of its row.
        """
        after = 0
        while rows := await self._store.ledger.page(began - CLOCKS, after, PAGE):
            after = rows[-1].number
            for row in rows:
                self._know(row)

    def _know(self, row: LedgerRow) -> None:
        activity = row.activity
        key = (activity.object, activity.key)
        self._states[key] = activity.state
        self._messages[key] = row.messages
        identifier = activity.fields.get("MessageIdentifier")
        if isinstance(identifier, str):
            self._identifiers[key] = identifier.strip()
            self._messages.setdefault(
                (activity.object, identifier.strip()), row.messages
            )
        if activity.sent_at and (self._first is None or activity.sent_at < self._first):
            self._first = activity.sent_at

    async def _compare(self, rows: Sequence[LedgerRow]) -> None:
        """Ask which of the written records exist."""
        by_object: dict[str, dict[str, LedgerRow]] = defaultdict(dict)
        for row in rows:
            activity = row.activity
            if activity.state is ActivityState.SENT:
                self._report.on_the_way += 1
            elif activity.state is ActivityState.WRITTEN and activity.salesforce_id:
                by_object[activity.object][activity.salesforce_id] = row
        for sobject, by_id in by_object.items():
            found = await self._org.records.existing(sobject, list(by_id))
            self._report.checked += len(by_id)
            for sfid, row in by_id.items():
                if sfid not in found:
                    self._missing[row.activity.key] = (row, sfid)
                    continue
                self._seen.add(owner_of(row.activity))
                if found[sfid]:
                    self._deleted.append(row)

    async def _look_for_blindness(self) -> None:
        """Note the owners of missing Tasks of whom no other Task was read.

        Sharing may hide such a Task, which is then no more missing than it is doubled.
        """
        owners = {owner_of(row.activity) for row, _ in self._missing.values()}
        owners -= {"", *self._seen}
        if owners and not await self._org.access.views_all():
            self._blind = owners - {await self._org.access.me()}

    # ------------------------------------------------------------ the time

    async def _walk_time(
        self, since: datetime | None, until: datetime
    ) -> dict[Key, list[OwnRecord]]:
        """Return our living records by key, from the first row on."""
        living: dict[Key, list[OwnRecord]] = defaultdict(list)
        start = since or self._first
        if start is None:
            return living
        shape = await self._org.schema.get()
        start = start - SLACK if since is None else start
        left = self._total // 2
        # Each window is a call; most records come in windows of a fitting size.
        count = max(1, min(-(-left // ROWS), (until - start) // SHORTEST))
        length = (until - start) / count
        for number in range(count):
            window = (start + number * length, start + (number + 1) * length)
            for sobject in OBJECTS:
                await self._read(sobject, shape, window, living)
            await self._files.read(window)
            self._step(left // count)
        return living

    async def _read(
        self,
        sobject: str,
        shape: OrgSchema,
        window: tuple[datetime, datetime],
        living: dict[Key, list[OwnRecord]],
    ) -> None:
        if not shape.has(sobject):
            return
        name = self._settings.key_field
        unique = name if name and shape.holds_key(sobject, name) else None
        for record in await self._org.records.list_own(sobject, unique, *window):
            known = living[sobject, record.key]
            if not record.is_deleted and all(r.id != record.id for r in known):
                known.append(record)

    # ------------------------------------------------------------ judgement

    def _judge(self, living: dict[Key, list[OwnRecord]]) -> None:
        found = self._report.differences
        # Rows that were never sent are no reason for a record.
        by_identifier = Counter(
            (sobject, identifier)
            for (sobject, key), identifier in self._identifiers.items()
            if self._states[sobject, key] is not ActivityState.PLANNED
        )
        for (sobject, key), records in living.items():
            ids = tuple(record.id for record in records)
            if not ids:
                continue
            state = self._states.get((sobject, key))
            expected = 1 if state else by_identifier[sobject, key]
            messages = self._messages.get((sobject, key), ())
            if len(ids) > max(1, expected):
                detail = f"{len(ids)} records, where there should be {max(1, expected)}"
                found.append(
                    Difference(Kind.DOUBLED, sobject, key, ids, messages, detail)
                )
            elif (
                state in {ActivityState.PLANNED, ActivityState.REFUSED}
                and key not in self._missing
            ):
                detail = f"the ledger says {state}"
                found.append(
                    Difference(Kind.ORPHANED, sobject, key, ids, messages, detail)
                )
            elif state is None and not expected:
                detail = "made by the integration user; the ledger does not know it"
                found.append(Difference(Kind.ORPHANED, sobject, key, ids, (), detail))
        for key, (row, sfid) in list(self._missing.items()):
            others = living.get((row.activity.object, key))
            if others:
                detail = f"the ledger says {sfid}, which is not there; this one is"
                ids = tuple(record.id for record in others)
                found.append(
                    Difference(
                        Kind.ORPHANED,
                        row.activity.object,
                        key,
                        ids,
                        row.messages,
                        detail,
                    )
                )
                del self._missing[key]

    async def _late(self, keys: Sequence[str]) -> set[str]:
        """Return keys that came into the ledger while the audit was on its way."""
        unknown = {
            d.key
            for d in self._report.differences
            if d.kind is Kind.ORPHANED and not d.messages
        }
        return await self._store.ledger.known(unknown & set(keys)) if unknown else set()

    async def _conclude(self, since: datetime | None, *, fix: bool, actor: str) -> None:
        found = self._report.differences
        missing = [
            Difference(
                Kind.MISSING,
                row.activity.object,
                key,
                (sfid,),
                row.messages,
                self._hope(row.activity, since),
            )
            for key, (row, sfid) in self._missing.items()
        ]
        deleted = [
            Difference(
                Kind.DELETED,
                row.activity.object,
                row.activity.key,
                (row.activity.salesforce_id or "",),
                row.messages,
                IN_THE_BIN,
            )
            for row in self._deleted
        ]
        if fix:
            mendable = {d.key for d in missing if d.detail == MENDABLE}
            queued = (
                await self._store.ledger.rewrite(mendable, actor) if mendable else {}
            )
            missing = [
                replace(
                    d,
                    mended=True,
                    messages=tuple(queued[d.key]),
                    detail=QUEUED,
                )
                if d.key in queued
                else d
                for d in missing
            ]
            await self._store.ledger.mark_gone({d.key for d in deleted})
            deleted = [replace(d, mended=True) for d in deleted]
        files = await self._files.conclude(since, fix=fix, actor=actor)
        found += await self._files.judge()
        self._report.differences = [*missing, *found, *deleted, *files]
        self._step(self._total - self._done)

    def _hope(self, activity: Activity, since: datetime | None) -> str:
        """Say what `fix` does with a missing record; a sentence for people."""
        if owner_of(activity) in self._blind:
            return HIDDEN
        return hope(activity.sent_at, self._clock.now(), since)

    def _step(self, count: int) -> None:
        self._done += count
        self._progress(self._done, self._total)


def _judged(activity: Activity, since: datetime | None) -> bool:
    if since is None:
        return True
    return activity.sent_at is not None and activity.sent_at >= since
