"""Claims whose answer did not come in time, and which were made all the same.

Who claims is told after `store.timeout_s` that the store does not answer; the claim may
still be committed, and nobody works on what it took. So this process remembers what the
transaction took, and its next claim gives that back first, in its own transaction: no
crash is counted, and no attempt.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update

from relay.core.queue import Settlement
from relay.core.states import Event
from relay.store import schema
from relay.store.settlement import settle
from relay.store.values import chunks

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from sqlalchemy import Connection

m = schema.messages.c
f = schema.files.c

Taken = tuple[str, dict[Any, int]]
"""Owner, and by id of row what tells this claim of it from a later one: a message's
attempt, or the end of a file's lease. Complete once the transaction has ended."""


class LateClaims:
    """What the claims of one process may have taken unawares."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._all: list[Taken] = []

    def now(self) -> Sequence[Taken]:
        """Return what is to be looked at by the next claim."""
        return tuple(self._all)

    @contextmanager
    def kept(self, owner: str, taken: dict[Any, int]) -> Iterator[None]:
        """Remember what a claim takes, where the block ends without its answer."""
        try:
            yield
        except BaseException:
            self._all.append((owner, taken))
            raise

    def forget(self, ids: Collection[Any]) -> None:
        """Leave out rows that a claim has seen to, after its answer came."""
        for _, taken in self._all:
            for row_id in ids:
                taken.pop(row_id, None)
        self._all = [one for one in self._all if one[1]]


def give_back_messages(
    connection: Connection, late: Sequence[Taken], now: int
) -> set[str]:
    """Queue messages that late claims hold; return all whose fate is known now.

    A commit that is still under way has its rows locked: they are left for later.
    """
    seen = _unlocked(connection, m.id, late)
    for owner, taken in late:
        settlements = [
            Settlement(
                message_id,
                attempt,
                Event.GIVE_BACK,
                reason="store_unavailable",
                detail="the store did not answer in time; nothing was tried",
            )
            for message_id, attempt in taken.items()
            if message_id in seen
        ]
        settle(connection, owner, settlements, now)
    return seen


def give_back_files(connection: Connection, late: Sequence[Taken]) -> set[int]:
    """End the leases on files that late claims hold, as `give_back_messages`."""
    seen = _unlocked(connection, f.id, late)
    for owner, taken in late:
        for until in set(taken.values()):
            ids = [i for i, end in taken.items() if end == until and i in seen]
            for part in chunks(sorted(ids)):
                connection.execute(
                    update(schema.files)
                    .where(f.id.in_(part), f.lease_owner == owner)
                    .where(f.lease_until == until)
                    .values(lease_owner=None, lease_until=None)
                )
    return seen


def _unlocked(connection: Connection, column: Any, late: Sequence[Taken]) -> set[Any]:
    """Lock what late claims have taken; return the ids of those that could be."""
    seen: set[Any] = set()
    for part in chunks(sorted({row_id for _, taken in late for row_id in taken})):
        query = select(column).where(column.in_(part)).order_by(column)
        seen.update(connection.scalars(query.with_for_update(skip_locked=True)))
    return seen
