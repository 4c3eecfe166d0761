"""Facts that all relays on one database share, and that no admin edits.

Several relays, or several processes of one, may work for one org at a time. What one of
them learns holds for all, so that it is a row and never a variable of a process:

- `SharedFacts`: small values by key; the last writer wins.
- `Leases`: a named right that one process has at a time. It ends by itself, so that a
  process that was killed or hangs cannot keep it.
- `OrgPauses`: the pause of an org. It is changed by comparing versions: of several
  relays that meet the same failure one writes it, and the others go by what it wrote.
- `APIUsage`: calls are added, never overwritten, and the sum of all relays counts.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import delete, func, or_, select, update

from relay.core.errors import StoreUnavailable
from relay.core.shared import APIUsage, CallReading, Pause, PauseState
from relay.store import schema
from relay.store.context import Part
from relay.store.row_leases import gone
from relay.store.values import (
    SECOND,
    load,
    moment,
    replace_value,
    stamp,
    text,
    upsert,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Mapping
    from datetime import datetime

    from sqlalchemy import Connection, Row

    from relay.core.model import Json
    from relay.core.queue import LeaseOwner

HOURS: Final = 24
"""Hours for which calls are counted: Salesforce's window."""
_READINGS: Final = timedelta(hours=3)
_KEPT_HOURS: Final = 2 * HOURS
"""Older rows are removed."""
_MINUTE: Final = 60 * SECOND
_LOOK_AGAIN_S: Final = 0.25
"""How often a relay that waits for a lease looks whether it is free."""


class SharedFacts(Part):
    """Values by key; the last writer wins."""

    async def get(self, key: str) -> Json:
        """Return the value of a key, None where there is none."""
        query = select(schema.notes.c.value).where(schema.notes.c.key == key)
        value = await self._context.read(lambda connection: connection.scalar(query))
        return None if value is None else load(value)

    async def set(self, key: str, value: Json) -> None:
        """Set the value of a key; None removes it. Neither an edit nor audited."""
        await self._context.write(lambda c: replace_value(c, schema.notes, key, value))


# ------------------------------------------------------------------ leases

leases = schema.leases
le = schema.leases.c


class Leases(Part):
    """Named rights, each with one owner at a time."""

    async def take(self, name: str, owner: LeaseOwner, lease_s: float) -> bool:
        """Take or prolong a lease; False while a live lease is another owner's.

        Raises:
            StoreUnavailable: The lease was not taken; or, where the database did not
                answer in time, perhaps: it then ends by itself.
        """
        holder, now = str(owner), self._context.now()
        until = now + int(lease_s * SECOND)

        def work(connection: Connection) -> bool:
            new = upsert(connection, leases).values(
                name=name, owner=holder, until=until
            )
            taken = new.on_conflict_do_update(
                index_elements=["name"],
                set_={"owner": new.excluded.owner, "until": new.excluded.until},
                where=or_(le.owner == holder, le.until < now),
            ).returning(le.owner)
            return connection.scalar(taken) is not None

        return await self._context.write(work)

    async def prolong(self, name: str, owner: LeaseOwner, lease_s: float) -> bool:
        """Prolong a lease that nobody else has had since it was taken; else False.

        `take` would take it anew, too: from a rival who has had it, and has ended it.

        Raises:
            StoreUnavailable: The lease was not prolonged; or perhaps it was.
        """
        until = self._context.now() + int(lease_s * SECOND)
        longer = update(leases).where(le.name == name, le.owner == str(owner))

        def work(connection: Connection) -> bool:
            return connection.execute(longer.values(until=until)).rowcount == 1

        return await self._context.write(work)

    async def release(self, name: str, owner: LeaseOwner) -> None:
        """End a lease, where it is still the owner's."""
        own = delete(leases).where(le.name == name, le.owner == str(owner))

        def work(connection: Connection) -> None:
            connection.execute(own)

        await self._context.write(work)

    @asynccontextmanager
    async def held(
        self, name: str, owner: LeaseOwner, lease_s: float
    ) -> AsyncIterator[None]:
        """Wait for a lease, prolong it while the block runs, then end it.

        The wait has no limit of its own: a lease whose owner is gone ends after its
        `lease_s`. Where the lease cannot be prolonged in time, another process may take
        it while the block still runs.

        Raises:
            StoreUnavailable: The lease was not taken; the block has not run.
        """
        # Another process ends the lease: there is no event to wait for.
        while not await self.take(name, owner, lease_s):  # noqa: ASYNC110 - see above
            await asyncio.sleep(_LOOK_AGAIN_S)
        renewing = asyncio.create_task(self._keep(name, owner, lease_s))
        try:
            yield
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)
            # A lease that is not released ends by itself.
            with suppress(StoreUnavailable):
                await self.release(name, owner)

    async def _keep(self, name: str, owner: LeaseOwner, lease_s: float) -> None:
        while True:
            await asyncio.sleep(lease_s / 3)
            with suppress(StoreUnavailable):
                await self.take(name, owner, lease_s)

    async def release_dead(
        self, owner: LeaseOwner, is_alive: Callable[[str], bool]
    ) -> None:
        """End the leases of dead processes of this host."""
        names = await self._context.read(lambda c: c.scalars(select(le.owner)).all())
        dead = gone(names, owner, is_alive)
        if dead:

            def work(connection: Connection) -> None:
                connection.execute(delete(leases).where(le.owner.in_(dead)))

            await self._context.write(work)


# ------------------------------------------------------------------ the org's pause

pauses = schema.org_pauses
p = schema.org_pauses.c


class OrgPauses(Part):
    """The pause of each org, one for all relays."""

    async def get(self, org: str) -> PauseState:
        """Return the pause of an org, and the version to name in a change."""
        query = select(pauses).where(p.org == org)
        row = await self._context.read(lambda c: c.execute(query).first())
        return _pause_state(row)

    async def all(self) -> list[tuple[str, Pause]]:
        """Return each org that is paused, by its URL, and its pause."""
        query = select(pauses).where(p.since.is_not(None)).order_by(p.org)
        rows = await self._context.read(lambda c: c.execute(query).all())
        found = [(str(row.org), _pause_state(row).pause) for row in rows]
        return [(org, pause) for org, pause in found if pause is not None]

    async def trip(
        self, org: str, owner: LeaseOwner, pause: Pause, known: int
    ) -> PauseState:
        """Begin or prolong the pause, if it is still in version `known`.

        Returns:
            What holds now: this pause, or what another relay wrote before.
        """
        values = {
            "since": stamp(pause.since),
            "until": stamp(pause.until),
            "reason": pause.reason,
            "code": text(pause.code),
            "text": text(pause.text),
            "probes": pause.probes,
            "tripped_by": str(owner),
        }
        return await self._context.write(lambda c: _change(c, org, known, values))

    async def end(self, org: str, known: int) -> PauseState:
        """End the pause, if it is still in version `known`; return what holds now."""
        return await self._context.write(
            lambda c: _change(c, org, known, {"since": None})
        )

    async def hurry(
        self,
        org: str,
        owner: LeaseOwner,
        is_alive: Callable[[str], bool],
        reasons: Collection[str],
    ) -> None:
        """Let a pause be probed at once where a restart may have removed its cause.

        That is so where its reason is one of `reasons`, or where the process that
        paused the org ran on this host and is gone. Any other pause of another relay is
        left as it is.
        """
        now = self._context.now()

        def work(connection: Connection) -> None:
            query = select(pauses).where(p.org == org, p.since.is_not(None))
            row = connection.execute(query.with_for_update()).first()
            if row is None or row.until <= now:
                return
            is_gone = gone([row.tripped_by], owner, is_alive)
            if is_gone or row.reason in reasons:
                connection.execute(
                    update(pauses)
                    .where(p.org == org)
                    .values(until=now, version=p.version + 1)
                )

        await self._context.write(work)


def _change(
    connection: Connection, org: str, known: int, values: dict[str, Any]
) -> PauseState:
    query = select(pauses).where(p.org == org).with_for_update()
    row = connection.execute(query).first()
    if row is None:
        # Another relay may make the row since we looked: then its row counts.
        new = upsert(connection, pauses).values(org=org, version=0)
        connection.execute(new.on_conflict_do_nothing())
        row = connection.execute(query).first()
    if row is not None and row.version == known:
        changed = update(pauses).where(p.org == org)
        connection.execute(changed.values(version=known + 1, **values))
        row = connection.execute(query).first()
    return _pause_state(row)


def _pause_state(row: Row[Any] | None) -> PauseState:
    if row is None:
        return PauseState()
    if row.since is None:
        return PauseState(row.version)
    pause = Pause(
        moment(row.since),
        moment(row.until),
        row.reason,
        row.code,
        row.text,
        row.probes,
    )
    return PauseState(row.version, pause)


# ------------------------------------------------------------------ API calls

calls = schema.api_calls
c_ = schema.api_calls.c
readings = schema.api_readings
r = schema.api_readings.c


class UsageCounts(Part):
    """The API calls of all relays, and what Salesforce says about the org's."""

    async def get(self) -> APIUsage:
        """Return what all relays used in the last 24 hours."""
        now = self._context.clock.now()
        return await self._context.read(lambda connection: _usage(connection, now))

    async def add(
        self,
        relay: str,
        made: Mapping[int, int],
        reading: CallReading | None = None,
    ) -> APIUsage:
        """Add calls to those of a relay, keep a reading; return what all relays used.

        The row of a relay and an hour is added to, so that a restart, or a second
        process of the same name, loses nothing. A newer reading of the same minute
        takes the place of an older one, whichever relay had it.

        Args:
            relay: The name of the relay.
            made: New calls by hour since 1970.
            reading: What Salesforce said last.

        Raises:
            StoreUnavailable: Nothing was added; or, where the database did not answer
                in time, perhaps: a caller that adds them again counts some twice.
        """
        now = self._context.clock.now()

        def work(connection: Connection) -> APIUsage:
            for hour, count in sorted(made.items()):
                new = upsert(connection, calls).values(
                    relay=relay, hour=hour, calls=count
                )
                connection.execute(
                    new.on_conflict_do_update(
                        index_elements=["relay", "hour"],
                        set_={"calls": c_.calls + new.excluded.calls},
                    )
                )
            if reading is not None:
                at = stamp(reading.at)
                row = upsert(connection, readings).values(
                    minute=at // _MINUTE,
                    at=at,
                    used=reading.used,
                    total=reading.limit,
                )
                newer = {name: row.excluded[name] for name in ("at", "used", "total")}
                connection.execute(
                    row.on_conflict_do_update(
                        index_elements=["minute"],
                        set_=newer,
                        where=r.at < row.excluded.at,
                    )
                )
            _forget(connection, now)
            return _usage(connection, now)

        return await self._context.write(work)


def _forget(connection: Connection, now: datetime) -> None:
    connection.execute(delete(calls).where(c_.hour < _hour(now) - _KEPT_HOURS))
    newest = select(func.max(r.minute)).scalar_subquery()
    old = (stamp(now - _READINGS)) // _MINUTE
    connection.execute(delete(readings).where(r.minute < old, r.minute < newest))


def _usage(connection: Connection, now: datetime) -> APIUsage:
    hour = _hour(now)
    summed = (
        select(c_.hour, func.sum(c_.calls))
        .where(c_.hour > hour - HOURS, c_.hour <= hour)
        .group_by(c_.hour)
    )
    query = select(readings).where(r.at <= stamp(now)).order_by(r.minute)
    return APIUsage(
        {row[0]: int(row[1]) for row in connection.execute(summed)},
        tuple(
            CallReading(moment(row.at), row.used, row.total)
            for row in connection.execute(query)
        ),
    )


def _hour(at: datetime) -> int:
    return stamp(at) // (3600 * SECOND)
