"""Mail that did not match is matched anew once a record for it appears.

Every `match.rematch_s` one relay asks Salesforce for the Contacts and Leads that were
created or changed since the last look, in one call, and compares their addresses with
the indexed addresses of unmatched messages. What fits is queued again. So the cost does
not grow with the number of unmatched mails, and nothing is asked while there are none.

A record is visible only when its transaction commits, after its stamp was taken:
so each look begins some minutes before the last one ended. What was seen in that time
is remembered with the cursor, so that no record queues its mails twice.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from relay.core.errors import OrgPaused, TransientError
from relay.core.unmatched import UnmatchedFilter
from relay.match import with_stored
from relay.outbox.turns import Turns
from relay.salesforce.changes import OBJECTS, Mark
from relay.telemetry import get_logger, metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from relay.config import Settings
    from relay.core.clock import Clock
    from relay.core.directory import Directory
    from relay.core.model import Json
    from relay.core.queue import LeaseOwner
    from relay.salesforce import Org
    from relay.salesforce.changes import Changed
    from relay.store import Store

OVERLAP: Final = timedelta(minutes=5)
"""A transaction may commit so long after its stamp."""
MAX_PAGES: Final = 5
"""Calls of one look; what is left waits for the next one."""
LEASE: Final = "rematch"
LEASE_S: Final = 120.0
CURSOR: Final = "rematch.cursor"
ACTOR: Final = "relay"
IDLE_S: Final = 5.0
"""How often it is looked whether a look is due."""
_MOST_SEEN: Final = 20_000

logger = get_logger(__name__)


class Rematch:
    """Looks for records that appeared; of several relays one does it at a time."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        org: Org,
        clock: Clock,
        owner: LeaseOwner,
        *,
        directory: Callable[[], Directory],
        paused: Callable[[], bool],
    ) -> None:
        """Keep the parts; nothing is started.

        Args:
            settings: The whole configuration.
            store: Holds the unmatched messages and the cursor.
            org: The started org.
            clock: For the interval.
            owner: This process.
            directory: Returns the present directory.
            paused: Says whether the org is paused.
        """
        self._settings = settings
        self._store = store
        self._org = org
        self._clock = clock
        self._owner = replace(owner, worker="rematch")
        self._directory = directory
        self._turns = Turns(IDLE_S, paused=paused)
        self._due_s = float("-inf")

    def start(self) -> None:
        """Begin to look, every `match.rematch_s`."""
        self._turns.begin(self.turn, "rematch_failed")

    async def drain(self) -> None:
        """Stop; a look under way is finished."""
        await self._turns.drain()

    async def turn(self) -> bool:
        """Look if it is time; return False: there is nothing more to do now.

        Raises:
            StoreUnavailable: The store could not be used; it is tried again.
        """
        every_s = with_stored(self._settings.match, self._directory()).rematch_s
        now_s = self._clock.boottime_s()
        if not every_s or now_s < self._due_s:
            return False
        # Another process looks also where this one cannot take the lease.
        self._due_s = now_s + min(every_s, LEASE_S)
        leases = self._store.leases
        if not await leases.take(LEASE, self._owner, LEASE_S):
            return False
        try:
            wait_s = await self._look(every_s)
        finally:
            await leases.release(LEASE, self._owner)
        self._due_s = now_s + wait_s
        return False

    async def _look(self, every_s: float) -> float:
        """Look once, where the last look of any relay is long enough ago.

        Returns:
            Seconds until the next look.
        """
        now = self._clock.now()
        cursor = await self._store.shared.get(CURSOR) or {}
        looked = _moment(cursor.get("looked_at"))
        age_s = every_s if looked is None else (now - looked).total_seconds()
        if 0 <= age_s < every_s:
            return every_s - age_s
        if self._org.budget.near:
            logger.info("rematch_put_off", reason=self._org.budget.sentence())
            return every_s
        if not await self._store.unmatched.count(UnmatchedFilter(limit=1)):
            # Whoever appears from here on is seen by the next look with the overlap.
            since = self._org.access.server_now()
            await self._keep(_cursor(now, {}, since, {}))
            return every_s
        try:
            await self._ask(now, cursor)
        except (TransientError, OrgPaused) as error:
            logger.warning("rematch_put_off", reason=str(error))
        return every_s

    async def _ask(self, now: datetime, cursor: Mapping[str, Any]) -> None:
        """Read what appeared, and queue the mails that wait for it."""
        server = self._org.access.server_now()
        read = cursor.get("marks") or {}
        begin = (_moment(cursor.get("since")) or server) - OVERLAP
        marks = {
            sobject: Mark(_moment(said[0]) or begin, said[1])
            if (said := read.get(sobject))
            else Mark(begin)
            for sobject in OBJECTS
        }
        seen: dict[str, str] = dict(cursor.get("seen") or {})
        left = dict(marks)
        for _ in range(MAX_PAGES):
            page = await self._org.changes.page(left)
            fresh = [one for one in page.records if seen.get(one.id) != _stamp(one.at)]
            seen |= {one.id: _stamp(one.at) for one in page.records}
            await self._requeue(fresh)
            marks |= {name: page.marks[name] for name in page.more}
            left = {name: page.marks[name] for name in page.more}
            if not left:
                break
        # An object that was read to its end begins with the overlap next time.
        await self._keep(_cursor(now, left, server, seen))

    async def _requeue(self, records: list[Changed]) -> None:
        keys = {key for one in records for key in one.emails}
        ids = await self._store.unmatched.ids_by_addresses(keys) if keys else []
        if not ids:
            return
        done = await self._store.unmatched.requeue(ids, ACTOR)
        metrics.REMATCHED.inc(len(done))
        logger.info("messages_rematched", count=len(done), records=len(records))

    async def _keep(self, cursor: Json) -> None:
        await self._store.shared.set(CURSOR, cursor)


def _cursor(
    now: datetime,
    left: Mapping[str, Mark],
    since: datetime,
    seen: Mapping[str, str],
) -> Json:
    """Return the cursor row: when it was looked, and where the next look begins."""
    keep_from = _stamp(since - OVERLAP - OVERLAP)
    recent = {ident: at for ident, at in seen.items() if at >= keep_from}
    return {
        "looked_at": _stamp(now),
        "since": _stamp(since),
        "marks": {name: [_stamp(one.since), one.after] for name, one in left.items()},
        "seen": dict(list(recent.items())[-_MOST_SEEN:]),
    }


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds")


def _moment(text: object) -> datetime | None:
    return datetime.fromisoformat(text) if isinstance(text, str) else None
