"""Refusals: which get a row, which are only counted, and which are probes.

A peer that tries addresses by the thousand, from ever new networks, must not fill the
disk, and a disk that is almost full must not be filled by refusals. A count stands
for the peer's network, the reason, the hour and the user concerned; so a refusal that
concerns a user stays apart and can be seen, while a stranger's guesses fold into one.

Counting starts anew each hour, and in each process. As many networks are remembered as
there were single rows, so that memory is bounded too.

`relay check` asks a running relay for a refusal, and proves with a secret that it did:
it announces a token here, and the relay finds the token in the refusal. Only a process
that can write this database can announce one, and a token counts once and for a minute,
so a stranger cannot hide a refusal as a probe. Probes of one peer, reason and day share
one row, and no listing shows them unless asked.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import delete, or_, select

from relay.core.peers import peer_network, peer_site
from relay.store import schema
from relay.store.context import Part
from relay.store.values import SECOND, dump, replace_value, stamp, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection

    from relay.core.model import Refusal
    from relay.store.commit import Rows
    from relay.store.context import StoreContext

SINGLE_REFUSALS: Final = 500
"""Refusals of one peer in an hour that get a row each; further ones are counted."""
SINGLE_GUESSES: Final = 20
"""The same for recipients that nobody has or had: somebody tries addresses, and a
listing full of them hides the rest."""
SITE_REFUSALS: Final = 1000
"""The same for an IPv6 site of 48 bits, which has 65,536 networks to come from."""
HOURLY_REFUSALS: Final = 5000
"""The same for all peers together."""
PURGE_BATCH: Final = 1000
"""Refusals that one transaction removes."""
_HOUR: Final = 3600 * SECOND
_DAY: Final = 24 * _HOUR
_EVERYBODY: Final = "*"
_PROBE: Final = "probe|"
"""Begins the bucket of probes; other buckets begin with an address or `*`."""
_ANNOUNCED: Final = "probe "
"""Begins the key of an announced token, whose digest follows."""
_ANNOUNCED_FOR: Final = 60 * SECOND


class Refusals(Part):
    """The record of what was refused."""

    def __init__(self, context: StoreContext) -> None:
        """Take the shared context; nothing has been counted yet."""
        super().__init__(context)
        self._probing = Probing()

    async def record(self, refusals: Sequence[Refusal]) -> None:
        """Record refusals; those of a peer that probes are counted in one row.

        Below `store.min_free_bytes` all are only counted.

        Raises:
            StoreUnavailable: None of them was recorded.
        """
        low = self._context.free_bytes() < self._context.settings.min_free_bytes
        rows = self._probing.rows(refusals, count_only=low)
        if rows:
            await self._context.database.committer.submit(rows)

    async def announce_probe(self, token: str) -> None:
        """Announce the token of a probe: it counts once, within a minute from now.

        Raises:
            StoreUnavailable: It is not announced.
        """
        now = self._context.now()

        def work(connection: Connection) -> None:
            n = schema.notes.c
            announced = connection.execute(
                select(n.key, n.value).where(n.key.startswith(_ANNOUNCED))
            )
            old = [row.key for row in announced if int(row.value) < now]
            connection.execute(delete(schema.notes).where(n.key.in_(old)))
            replace_value(connection, schema.notes, _key(token), now + _ANNOUNCED_FOR)

        await self._context.write(work)

    async def take_probe(self, token: str) -> bool:
        """Say whether a token is announced; it is not any more afterwards.

        Raises:
            StoreUnavailable: The token stays as it is.
        """
        n, now = schema.notes.c, self._context.now()
        mine = n.key == _key(token)
        # Strangers may ask as often as they like: only a token costs a write.
        known = select(n.value).where(mine)
        if await self._context.read(lambda c: c.scalar(known)) is None:
            return False
        taken = delete(schema.notes).where(mine).returning(n.value)
        value = await self._context.write(lambda c: c.scalar(taken))
        return value is not None and int(value) >= now

    async def purge(self) -> int:
        """Remove refusals older than `store.refusal_keep_days`; return how many."""
        before = stamp(
            self._context.clock.now()
            - timedelta(days=self._context.settings.refusal_keep_days)
        )
        gone = 0
        while True:
            count = await self._context.write(
                lambda connection: _purge(connection, before)
            )
            gone += count
            if count < PURGE_BATCH:
                return gone


class Probing:
    """Counts the refusals of this hour."""

    def __init__(self) -> None:
        """Begin with none."""
        self._hour = 0
        self._singles = 0
        self._seen: dict[str, int] = {}
        self._guesses: dict[str, int] = {}

    def rows(self, refusals: Sequence[Refusal], *, count_only: bool = False) -> Rows:
        """Return the rows to insert; `count_only`: none of them for itself."""
        singles: list[tuple[Any, ...]] = []
        tallies: list[tuple[Any, ...]] = []
        for refusal in refusals:
            if refusal.probe:
                tallies.append(_row(refusal, _probe_bucket(refusal)))
                continue
            hour = stamp(refusal.at) // _HOUR
            if hour != self._hour:
                self._hour = hour
                self._singles = 0
                self._seen.clear()
                self._guesses.clear()
            peer = _EVERYBODY if count_only else self._counted_as(refusal)
            if peer is None:
                singles.append(_row(refusal, None))
            else:
                tallies.append(_row(refusal, _bucket(refusal, peer, hour)))
        named = (("refusals", singles), ("tallies", tallies))
        return [(name, rows) for name, rows in named if rows]

    def _counted_as(self, refusal: Refusal) -> str | None:
        """Return the network a refusal is counted for, None where it gets a row."""
        if self._singles >= HOURLY_REFUSALS:
            return _EVERYBODY
        network, site = peer_network(refusal.peer), peer_site(refusal.peer)
        if refusal.reason == "unknown_recipient" and refusal.user_id is None:
            guesses = self._guesses.get(network, 0)
            if guesses >= SINGLE_GUESSES:
                return network
            self._guesses[network] = guesses + 1
        if site != network and self._seen.get(site, 0) >= SITE_REFUSALS:
            return site
        if self._seen.get(network, 0) >= SINGLE_REFUSALS:
            return network
        for name in {network, site}:
            self._seen[name] = self._seen.get(name, 0) + 1
        self._singles += 1
        return None


def _bucket(refusal: Refusal, peer: str, hour: int) -> str:
    """Return what a count is known by.

    It has the user's id, not the address as typed: that has as many forms as one likes.
    """
    whose = "" if refusal.user_id is None else refusal.user_id
    return text(f"{peer}|{refusal.reason}|{hour}|{whose}")


def _probe_bucket(refusal: Refusal) -> str:
    day = stamp(refusal.at) // _DAY
    return text(f"{_PROBE}{refusal.peer}|{refusal.reason}|{day}")


def is_no_probe() -> ColumnElement[bool]:
    """Return the condition for refusals that no `relay check` asked for."""
    bucket = schema.refusals.c.bucket
    return or_(bucket.is_(None), ~bucket.startswith(_PROBE))


def _key(token: str) -> str:
    return _ANNOUNCED + hashlib.sha256(token.encode()).hexdigest()


def _row(refusal: Refusal, bucket: str | None) -> tuple[Any, ...]:
    """Return a row in the column order of `statements`."""
    at = stamp(refusal.at)
    return (
        refusal.id,
        at,
        at,
        text(refusal.peer),
        text(refusal.mail_from),
        text(refusal.rcpt),
        text(refusal.header_from),
        text(refusal.reply),
        text(refusal.reason),
        refusal.user_id,
        text(refusal.detail),
        refusal.count,
        text(refusal.subject),
        text(refusal.rfc_message_id),
        bucket,
        None if refusal.verdict is None else dump(refusal.verdict),
    )


def _purge(connection: Connection, before: int) -> int:
    """Remove up to `PURGE_BATCH` of the oldest refusals; return how many went.

    Those go that have not happened since `before`, in the form of the time columns.
    """
    r = schema.refusals.c
    oldest = select(r.id, r.last_at).order_by(r.id).limit(PURGE_BATCH)
    old = [row.id for row in connection.execute(oldest) if row.last_at < before]
    connection.execute(delete(schema.refusals).where(r.id.in_(old)))
    return len(old)
