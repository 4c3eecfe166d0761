"""Reconciles: does Salesforce hold what the ledger says, once, and nothing else?

Walks the ledger in batches and reads its records by id, with the keys that they carry;
then walks the time in which they were made and reads every record of ours. Differences:

* **missing**: the ledger has an id, Salesforce has no such record;
* **foreign**: the record with this id does not carry our key. An org that was refreshed
  gives the ids of our records to others;
* **doubled**: more living records carry a key than there should be;
* **orphaned**: a living record of ours that the ledger does not hold as written;
* **deleted**: a person has put the record into the Recycle Bin. That is their wish and
  no difference; it is reported, and `fix` records it.

`fix` has missing and foreign records written again by the worker. A record that was
deleted long ago looks like a missing one once the Recycle Bin has been emptied: older
ones are written again only if the admin named a time (`since`). A Task that the
integration user may not see looks like a missing one, too: it is written again only
where other Tasks of its owner can be read.

The worker settles unknown outcomes and records on their way; they are not counted. What
it has done meanwhile is read again before anything is judged. The keys of the time that
is walked are held in memory.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from relay.core.model import OPEN_TASK
from relay.core.states import ActivityState
from relay.core.tasks import is_reminder_key
from relay.outbox.visibility import owner_of
from relay.reconcile.attachments import Attachments
from relay.reconcile.report import (
    HIDDEN,
    IN_THE_BIN,
    QUEUED,
    Difference,
    Kind,
    Report,
    Whose,
    absent,
    whose,
)
from relay.salesforce.readback import plain_key

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from relay.config import SalesforceSettings
    from relay.core.clock import Clock
    from relay.core.model import Activity
    from relay.salesforce import Org
    from relay.salesforce.model import KeyedRecord, OwnRecord
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
_IDENTIFIER: Final = "MessageIdentifier"

Key = tuple[str, str]
"""The object, and the key or the identifier."""


@dataclass(frozen=True, slots=True)
class _Absent:
    """A row whose record is not in Salesforce; `record` says whose has its id."""

    row: LedgerRow
    id: str
    record: Whose | None = None


class Reconciliation:
    """One comparison; each one is used once.

    Args:
        settings: Where the key is kept.
        store: The open store.
        org: The started org.
        clock: For the age of what is missing.
        progress: Called with (done, total) after each step.
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
        self._files = Attachments(store, org, clock)
        self._states: dict[Key, ActivityState] = {}
        self._identifiers: dict[Key, str] = {}
        self._messages: dict[Key, tuple[str, ...]] = {}
        self._missing: dict[str, _Absent] = {}
        self._ours: set[str] = set()
        self._deleted: list[LedgerRow] = []
        self._seen: set[str] = set()
        self._blind: set[str] = set()
        self._first: datetime | None = None
        self._done = 0
        self._total = 0

    async def run(self, since: datetime | None, *, fix: bool, actor: str) -> Report:
        """Compare; repair what is missing if that is asked for.

        Args:
            since: Judge what was planned or sent since then; None is all.
            fix: Have missing records written again, record deleted ones as gone.
            actor: Who asks, for the store's list of changes.

        Raises:
            RelayError: Salesforce or the store failed; nothing was repaired.
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
        identifier = activity.fields.get(_IDENTIFIER)
        if isinstance(identifier, str):
            identifier = plain_key(identifier)
            self._identifiers[key] = identifier
            self._messages.setdefault((activity.object, identifier), row.messages)
        if activity.sent_at and (self._first is None or activity.sent_at < self._first):
            self._first = activity.sent_at

    async def _compare(self, rows: Sequence[LedgerRow]) -> None:
        """Read the written records by id; one counts as present by its key."""
        by_object: dict[str, dict[str, list[LedgerRow]]] = defaultdict(dict)
        for row in rows:
            activity = row.activity
            if activity.state is ActivityState.SENT:
                self._report.on_the_way += 1
            elif activity.state is ActivityState.WRITTEN and activity.salesforce_id:
                by_id = by_object[activity.object]
                by_id.setdefault(activity.salesforce_id, []).append(row)
        for sobject, by_id in by_object.items():
            unique = await self._unique_field(sobject)
            found = await self._org.records.read_keyed(sobject, unique, list(by_id))
            me = await self._org.access.me()
            for sfid, same in by_id.items():
                self._report.checked += len(same)
                for row in same:
                    self._place(row, sfid, found.get(sfid), unique, me)

    def _place(
        self,
        row: LedgerRow,
        sfid: str,
        record: KeyedRecord | None,
        unique: str | None,
        me: str,
    ) -> None:
        activity = row.activity
        if record is None and activity.slot == OPEN_TASK:
            # Done with and deleted long ago, most likely; it is never made again.
            self._deleted.append(row)
            return
        if record is None:
            self._missing[activity.key] = _Absent(row, sfid)
            return
        identifier = plain_key(str(activity.fields.get(_IDENTIFIER, "")))
        verdict = whose(
            record,
            {activity.key, identifier},
            me,
            sent_at=activity.sent_at,
            title=str(activity.fields.get("Subject", "")),
        )
        unread = activity.key_field not in {None, unique}
        own_identifier = activity.object == "EmailMessage" and not identifier
        if unread and (not record.keys or own_identifier):
            # Its only key is in a field that the org does not show any more; an
            # identifier that the relay did not set is Salesforce's.
            verdict = Whose.OURS
        if verdict is not Whose.OURS:
            self._missing[activity.key] = _Absent(row, sfid, verdict)
            return
        self._ours.add(sfid)
        self._seen.add(owner_of(activity))
        if record.is_deleted:
            self._deleted.append(row)

    async def _unique_field(self, sobject: str) -> str | None:
        name, schema = self._settings.key_field, await self._org.schema.get()
        return name if name and schema.holds_key(sobject, name) else None

    async def _look_for_blindness(self) -> None:
        """Remember the owners of missing Tasks of whom no other Task was read.

        Sharing may hide such a Task, which is then no more missing than it is doubled.
        """
        owners = {
            owner_of(one.row.activity)
            for one in self._missing.values()
            if one.record is None
        }
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
        schema = await self._org.schema.get()
        start = start - SLACK if since is None else start
        left = self._total // 2
        # Each window is a call; most records come in windows of a fitting size.
        count = max(1, min(-(-left // ROWS), (until - start) // SHORTEST))
        length = (until - start) / count
        for number in range(count):
            window = (start + number * length, start + (number + 1) * length)
            for sobject in OBJECTS:
                if schema.has(sobject):
                    await self._read(sobject, window, living)
            await self._files.read(window)
            self._step(left // count)
        return living

    async def _read(
        self,
        sobject: str,
        window: tuple[datetime, datetime],
        living: dict[Key, list[OwnRecord]],
    ) -> None:
        unique = await self._unique_field(sobject)
        for record in await self._org.records.list_own(sobject, unique, *window):
            if is_reminder_key(record.key):
                continue  # Its twin is no row of the ledger.
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
        for key, one in list(self._missing.items()):
            sobject = one.row.activity.object
            places = {key, self._identifiers.get((sobject, key), key)}
            ids = tuple(
                record.id
                for place in sorted(places)
                for record in living.get((sobject, place), ())
                if record.id not in self._ours
            )
            if ids:
                there = "not there" if one.record is None else "another record"
                detail = f"the ledger says {one.id}, which is {there}; this one is"
                messages = one.row.messages
                found.append(
                    Difference(Kind.ORPHANED, sobject, key, ids, messages, detail)
                )
                del self._missing[key]

    async def _late(self, keys: Sequence[str]) -> set[str]:
        """Return keys that came into the ledger during the walk."""
        unknown = {
            d.key
            for d in self._report.differences
            if d.kind is Kind.ORPHANED and not d.messages
        }
        return await self._store.ledger.known(unknown & set(keys)) if unknown else set()

    async def _conclude(self, since: datetime | None, *, fix: bool, actor: str) -> None:
        missing = [self._absent(one, since) for one in self._missing.values()]
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
            keys = {d.key for d in missing if d.repairable}
            queued = await self._store.ledger.rewrite(keys, actor) if keys else {}
            missing = [
                replace(d, repaired=True, messages=tuple(queued[d.key]), detail=QUEUED)
                if d.key in queued
                else d
                for d in missing
            ]
            await self._store.ledger.mark_gone({d.key for d in deleted})
            deleted = [replace(d, repaired=True) for d in deleted]
        files = await self._files.conclude(since, fix=fix, actor=actor)
        found = [*self._report.differences, *await self._files.judge()]
        self._report.differences = [*missing, *found, *deleted, *files]
        self._step(self._total - self._done)

    def _absent(self, one: _Absent, since: datetime | None) -> Difference:
        activity = one.row.activity
        kind, detail, repairable = absent(
            one.record, activity.sent_at, self._clock.now(), since
        )
        if one.record is None and owner_of(activity) in self._blind:
            detail, repairable = HIDDEN, False
        return Difference(
            kind,
            activity.object,
            activity.key,
            (one.id,),
            one.row.messages,
            detail,
            repairable,
        )

    def _step(self, count: int) -> None:
        self._done += count
        self._progress(self._done, self._total)


def _judged(activity: Activity, since: datetime | None) -> bool:
    if since is None:
        return True
    return activity.sent_at is not None and activity.sent_at >= since
