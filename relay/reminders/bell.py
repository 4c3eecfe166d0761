"""Listens for changes in Salesforce along with the calls of mail, at no cost.

Between two rounds the bell lets the next call that has room ask whether anything was
changed (`relay.salesforce.news`). Where nothing was, the next round may come so much
later. Where something was, it comes at once. All reading that counts is the rounds'.

What was seen already does not ring again: what the last round read, what the twins
have, and what has rung before. A bell that rang for nothing, say for an echo of a write
of ours, rings no more often than rounds would come without it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from relay.core.pace import Spent
from relay.core.syncing import Phase
from relay.reminders.round import OVERLAP
from relay.salesforce.rides import State

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from relay.core.syncing import SyncUser
    from relay.outbox.engine import Parts
    from relay.salesforce.news import Told
    from relay.salesforce.rides import Ride

HEARD: Final = "reminders.heard"
"""Where the store keeps when nothing new was heard last, and how often."""
LISTEN_S: Final = 20.0
"""Seconds after a round, or after the bell was silent, until it listens again."""
QUICK_S: Final = 2.0
"""A round that took longer to read is none that mail should wait for."""
REMEMBERED: Final = timedelta(minutes=30)
"""How long it is remembered what was seen."""
LOST_S: Final = 120.0
"""A ride that has not come back by then never will."""


class Bell:
    """Says whether anything was changed since the last round.

    Args:
        parts: What every part of the way out works with.
    """

    def __init__(self, parts: Parts) -> None:
        """Keep the parts; nothing is asked yet."""
        self._parts = parts
        self._ride: Ride | None = None
        self._left_at: datetime | None = None
        self._about: frozenset[str] = frozenset()
        self._seen: set[tuple[str, datetime]] = set()
        self._pending: set[tuple[str, datetime]] = set()
        self._may_ring = True
        self._quick = True
        self._rang = False

    @property
    def rings(self) -> bool:
        """Say whether something was changed that no round has read yet."""
        return self._rang

    def heard(self, note: Mapping[str, Any] | None) -> datetime | None:
        """Return when nothing new was heard last, of what the store keeps."""
        text = (note or {}).get("at")
        return datetime.fromisoformat(text).astimezone(UTC) if text else None

    # ------------------------------------------------------------ around a round

    def before_round(self) -> None:
        """Forget what is asked: the round sees for itself."""
        self._drop()

    def after_round(
        self, seen: Iterable[tuple[str, datetime]], *, changed: bool, read_s: float
    ) -> None:
        """Note what a round has read.

        Args:
            seen: Tasks with their stamps.
            changed: Something was changed by it, on either side.
            read_s: How long reading took, in seconds.
        """
        self._may_ring = changed or not self._rang
        self._rang = False
        self._quick = read_s <= QUICK_S
        oldest = self._parts.org.stats.server_now() - REMEMBERED
        known = self._seen | self._pending | set(seen)
        self._seen = {one for one in known if one[1] >= oldest}
        self._pending.clear()

    # ------------------------------------------------------------ listen

    async def listen(
        self, users: Collection[SyncUser], last: datetime, *, more: bool
    ) -> None:
        """Take in what came back; ask again where it is time to.

        Args:
            users: Those for whom rounds are made.
            last: When the last round was made.
            more: The next round is due at once.
        """
        ride = self._ride
        if ride is not None:
            await self._come_back(ride)
        owners = frozenset(one.salesforce_id for one in users)
        since = [one.since for one in users if one.since is not None]
        steady = len(since) == len(users) and all(
            one.phase is Phase.STEADY for one in users
        )
        if more or not steady or not self._quick or owners != self._about:
            self._drop()
            self._about = owners
        if self._ride is not None or self._rang or not steady or more:
            return
        now = self._parts.clock.now()
        heard = self.heard(await self._parts.store.shared.get(HEARD))
        newest = max(last, heard) if heard else last
        if not self._quick or now - newest < timedelta(seconds=LISTEN_S):
            return
        begin = self._parts.org.stats.server_now() - (now - newest) - OVERLAP
        self._ride = await self._parts.org.news.ask(sorted(owners), begin)

    def _drop(self) -> None:
        if self._ride is not None:
            self._parts.org.news.forget(self._ride)
            self._ride = None

    async def _come_back(self, ride: Ride) -> None:
        if ride.state is State.OFFERED:
            return
        clock = self._parts.clock
        away_s = clock.boottime_s() - ride.left_s
        if ride.state is State.ABOARD and away_s < LOST_S:
            return
        self._ride = None
        told = self._parts.org.news.told(ride, await self._parts.org.access.me())
        if told is None:
            return
        left_at = clock.now() - timedelta(seconds=away_s)
        if await self._is_new(told):
            self._rang = self._may_ring
            return
        shared = self._parts.store.shared
        note = await shared.get(HEARD) or {}
        spent = Spent.from_json(note.get("spent"))
        spent.add(clock.now(), free=1)
        await shared.set(HEARD, {"at": left_at.isoformat(), "spent": spent.as_json()})

    async def _is_new(self, told: Told) -> bool:
        """Say whether anything was changed that no round has read."""
        unseen = {one for one in told.changed if one not in self._seen}
        listed = {sfid for sfid, _ in told.changed}
        twins = await self._parts.store.reminder_sync.known(
            {*(sfid for sfid, _ in unseen), *told.deleted, *told.updated}
        )
        # It counts as seen once a round has read it.
        self._pending = unseen
        new = {
            sfid
            for sfid, at in unseen
            if (
                (twin.stamp is None or twin.stamp < at)
                if (twin := twins.get(sfid))
                # What our user made and no reminder follows logs a mail.
                else not told.changed[sfid, at]
            )
        }
        ended = {one for one in told.deleted if one in twins and twins[one].lives}
        moved = {
            one
            for one in told.updated
            if one in twins and twins[one].lives and one not in listed
        }
        return bool(new or ended or moved or told.full)
