"""Leases of rows: a worker takes rows that are due, and the dead lose theirs.

A table of such rows has the columns `id`, `due_at`, `lease_owner` and `lease_until`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import or_, select, update

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sqlalchemy import Connection, Table

    from relay.core.queue import LeaseOwner
    from relay.store.context import StoreContext


def gone(
    owners: Iterable[str | None], owner: LeaseOwner, is_alive: Callable[[str], bool]
) -> list[str]:
    """Return the owners of this host that are dead, each once, in order.

    `is_alive` gets each owner in its stored form; those of other hosts are left out.
    """
    host = f"{owner.host}/"
    here = {name for name in owners if name and name.startswith(host)}
    return sorted(name for name in here if not is_alive(name))


async def release_dead(
    context: StoreContext,
    table: Table,
    owner: LeaseOwner,
    is_alive: Callable[[str], bool],
) -> None:
    """End the leases that dead processes of this host have on rows of a table.

    Raises:
        StoreUnavailable: They may have ended.
    """
    c = table.c
    query = select(c.lease_owner).where(c.lease_owner.is_not(None)).distinct()
    names = await context.read(lambda one: one.scalars(query).all())
    dead = gone(names, owner, is_alive)
    if dead:
        free = (
            update(table)
            .where(c.lease_owner.in_(dead))
            .values(lease_owner=None, lease_until=None)
        )
        await context.write(lambda one: one.execute(free))


def take_due(
    connection: Connection,
    table: Table,
    owner: LeaseOwner,
    *,
    now: int,
    until: int,
    limit: int,
) -> Sequence[int]:
    """Lease up to `limit` rows that are due, the longest due first; return their ids.

    A row that is leased already is passed over until its lease has run out.

    Args:
        connection: In a transaction that writes.
        table: Whose rows.
        owner: Who takes them.
        now: The time.
        until: When the lease ends.
        limit: How many at most.
    """
    c = table.c
    free = or_(c.lease_until.is_(None), c.lease_until < now)
    query = (
        select(c.id)
        .where(c.due_at <= now, free)
        .order_by(c.due_at, c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    ids = connection.scalars(query).all()
    if ids:
        leased = update(table).where(c.id.in_(ids))
        connection.execute(leased.values(lease_owner=str(owner), lease_until=until))
    return ids
