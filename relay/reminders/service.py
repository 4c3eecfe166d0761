"""When a round of the sync is made; of several relays one makes it at a time.

Nothing is asked while nobody has the sync on. Rounds follow the pace of
`relay.core.pace`: often while people work or edits wait, as often as is left at other
times, and never more calls in 24 hours than `reminders.calls_per_day`. They are counted
for all relays of a database, and stop while the org is paused. Between two rounds a
`Bell` listens along with the calls of mail: while it is silent, a round may wait.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from relay.core.errors import LeaseLost, OrgPaused, RelayError, SalesforceDown
from relay.core.pace import Pace, Spent
from relay.core.reminders import zone
from relay.outbox.turns import Turns
from relay.reminders.bell import HEARD, Bell
from relay.reminders.round import Report, Round, makes_tasks
from relay.salesforce.client import MAX_PART_QUERIES
from relay.salesforce.tasks import MAX_OWNERS
from relay.store.reminder_sync import LEASE
from relay.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from relay.core.directory import Directory
    from relay.core.syncing import SyncUser
    from relay.outbox.engine import Parts

LEASE_S: Final = 120.0
IDLE_S: Final = 1.0
"""How often it is looked whether a round is due."""
NOTE: Final = "reminders.rounds"
"""Where the store keeps when the last round was made, and its calls by time."""
FAILED_S: Final = 60.0
"""Wait after a round that failed."""

logger = get_logger(__name__)


class ReminderSyncService:
    """Makes rounds, beside the worker."""

    def __init__(
        self,
        parts: Parts,
        *,
        directory: Callable[[], Directory],
        paused: Callable[[], bool],
        trip: Callable[[OrgPaused | SalesforceDown], Awaitable[None]] | None = None,
    ) -> None:
        """Keep the parts; nothing is started.

        Args:
            parts: What every part of the way out works with.
            directory: Returns the present directory.
            paused: Says whether the org is paused.
            trip: Told of a failure for which the org is to be paused.
        """
        owner = replace(parts.owner, worker="reminders")
        self._parts = replace(parts, owner=owner)
        self._directory = directory
        self._trip = trip
        self._bell = Bell(self._parts)
        self._turns = Turns(IDLE_S, paused=paused)
        self._seen_edit = 0
        self._not_before_s = float("-inf")
        self._lease_s = max(LEASE_S, 8 * parts.settings.salesforce.timeout_s)

    def start(self) -> None:
        """Begin to make rounds."""
        self._turns.begin(self.turn, "reminder_sync_failed")

    async def drain(self) -> None:
        """Stop; a round under way is finished."""
        await self._turns.drain()

    # ------------------------------------------------------------ a turn

    async def turn(self) -> bool:
        """Make a round if it is time; return whether another one is due at once.

        Raises:
            StoreUnavailable: The store could not be used; it is tried again.
        """
        now_s = self._parts.clock.boottime_s()
        if now_s < self._not_before_s:
            return False
        users = await self._running()
        if not users:
            return False
        note = await self._parts.store.shared.get(NOTE) or {}
        edit = await self._parts.store.reminder_sync.last_edit()
        if edit != self._seen_edit and not await self._waits(users):
            # What a round, here or at another relay, has taken in itself.
            self._seen_edit = edit
        last = _moment(note.get("at"))
        if last is not None:
            more = bool(note.get("more"))
            await self._bell.listen(users.values(), last, more=more)
        if not await self._due(note, users, waiting=edit != self._seen_edit):
            return False
        if self._parts.org.budget.near:
            # What is left of the org's calls is for mail.
            budget = self._parts.org.budget.sentence()
            logger.info("reminder_sync_put_off", reason=budget)
            self._not_before_s = now_s + FAILED_S
            return False
        leases, owner = self._parts.store.leases, self._parts.owner
        if not await leases.take(LEASE, owner, self._lease_s):
            self._not_before_s = now_s + IDLE_S
            return False
        try:
            report = await self._round(note, users)
        finally:
            await leases.release(LEASE, owner)
        if report is None:
            self._not_before_s = self._parts.clock.boottime_s() + FAILED_S
            return False
        # Edits that were made meanwhile have a higher number.
        self._seen_edit = edit
        return report.more

    async def _waits(self, users: Mapping[int, SyncUser]) -> bool:
        """Say whether edits of ours are yet to be sent."""
        sync = self._parts.store.reminder_sync
        makes = makes_tasks(self._parts, self._directory())
        pending = await sync.pending(users, 1, makes=makes)
        return bool(pending or await sync.removed(users))

    async def _running(self) -> dict[int, SyncUser]:
        """Return the users for whom rounds are made."""
        directory = self._directory()
        return {
            one.user_id: one
            for one in await self._parts.store.reminder_sync.users()
            if one.runs
            and (user := directory.users.get(one.user_id)) is not None
            and user.active
        }

    async def _due(
        self, note: Mapping[str, Any], users: Mapping[int, SyncUser], *, waiting: bool
    ) -> bool:
        """Say whether it is time for a round."""
        now, settings = self._parts.clock.now(), self._parts.settings.reminders
        last = _moment(note.get("at"))
        begun = {one.on_at for one in users.values() if one.on_at is not None}
        at_once = note.get("more") or last is None or any(at > last for at in begun)
        soon = waiting or any(one.synced_at is None for one in users.values())
        least_s = settings.push_s if soon or self._bell.rings else settings.poll_s
        passed_s = (now - last).total_seconds() if last else least_s
        if not at_once and 0 <= passed_s < least_s:
            return False
        heard = await self._parts.store.shared.get(HEARD)
        spent = Spent.from_json(note.get("spent"))
        spent.free = Spent.from_json((heard or {}).get("spent")).free
        silent = _moment((heard or {}).get("at"))
        pace = Pace(
            settings.poll_s,
            settings.idle_poll_s,
            settings.push_s,
            settings.calls_per_day,
            quiet_calls(len(users)),
        )
        wait_s = pace.wait_s(
            now,
            spent,
            {zone(self._zone(one)) for one in users},
            looked_at=max(filter(None, (last, silent)), default=None),
            waiting=soon,
            changed_at=_moment(note.get("changed_at")),
        )
        if wait_s is None:
            return False
        if at_once or self._bell.rings or passed_s < 0:
            return True
        if silent is not None and not soon and passed_s < settings.idle_poll_s:
            passed_s = min(passed_s, abs((now - silent).total_seconds()))
        return passed_s >= wait_s

    def _zone(self, user_id: int) -> str | None:
        user = self._directory().users.get(user_id)
        return user.time_zone if user else None

    async def _round(
        self, note: Mapping[str, Any], users: dict[int, SyncUser]
    ) -> Report | None:
        """Make a round and keep what it cost; None where it failed."""
        self._bell.before_round()
        one = Round(self._parts, self._directory(), users, self._hold)
        error: RelayError | None = None
        try:
            await one.run()
        except LeaseLost:
            logger.warning("reminder_sync_lease_lost")
            return None
        except RelayError as caught:
            error = caught
            logger.warning("reminder_sync_put_off", error=str(caught))
        report = one.report
        await self._keep(note, report, failed=error is not None)
        if error is None:
            self._bell.after_round(
                report.seen, changed=report.changed, read_s=report.read_s
            )
        if isinstance(error, OrgPaused | SalesforceDown) and self._trip is not None:
            await self._trip(error)
        return None if error else report

    async def _hold(self) -> None:
        """Prolong the lease.

        Raises:
            LeaseLost: Another relay has it, or has had it meanwhile: what this round
                has read is out of date.
        """
        leases, owner = self._parts.store.leases, self._parts.owner
        if not await leases.prolong(LEASE, owner, self._lease_s):
            raise LeaseLost(frozenset())

    async def _keep(
        self, note: Mapping[str, Any], report: Report, *, failed: bool
    ) -> None:
        """Write down when the round was made, and its calls."""
        now = self._parts.clock.now()
        spent = Spent.from_json(note.get("spent"))
        writes = report.calls - report.reads
        # One that failed at once has made a call, too.
        spent.add(now, reads=max(report.reads, 0 if writes else 1), writes=writes)
        changed = now.isoformat() if report.changed else note.get("changed_at")
        await self._parts.store.shared.set(
            NOTE,
            {
                "at": now.isoformat(),
                "spent": spent.as_json(),
                "changed_at": changed,
                "more": report.more and not failed,
            },
        )


def quiet_calls(users: int) -> int:
    """Return the calls of a round in which nothing was changed.

    It asks what was changed, who is active, whether Tasks can be seen and which org it
    is, by five queries a call.
    """
    parts = -(-users // MAX_OWNERS)
    return -(-(2 * parts + 2) // MAX_PART_QUERIES)


def _moment(text: object) -> datetime | None:
    if not isinstance(text, str):
        return None
    return datetime.fromisoformat(text).astimezone(UTC)
