"""Removing what nobody will miss: the oldest mail for postmaster, and old refusals.

Anybody may write to postmaster and be refused, so that what is kept of both is bounded.
A mail that is also a user's loses only postmaster's message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import delete, select

from relay.core.states import RESTING
from relay.store import schema
from relay.store.values import chunks

if TYPE_CHECKING:
    from sqlalchemy import Connection

BATCH: Final = 200
"""Messages of one transaction: others wait for it no longer than for a put."""
REFUSALS_BATCH: Final = 1000
"""Refusals of one transaction."""


def purge_refusals(connection: Connection, before: int) -> int:
    """Remove up to `REFUSALS_BATCH` of the oldest refusals; return how many went.

    Those go that have not happened since `before`, in the form of the time columns.
    """
    r = schema.refusals.c
    oldest = select(r.id, r.last_at).order_by(r.id).limit(REFUSALS_BATCH)
    old = [row.id for row in connection.execute(oldest) if row.last_at < before]
    connection.execute(delete(schema.refusals).where(r.id.in_(old)))
    return len(old)


def purge_postmaster(connection: Connection, keep: int) -> tuple[int, list[str]]:
    """Remove up to `BATCH` messages for postmaster beyond the newest `keep`.

    Returns:
        How many went, and the names of files that have no row any more. They are to be
        removed after the commit; the sweep removes those that a crash leaves.
    """
    m, blobs, pieces = schema.messages.c, schema.blobs, schema.blob_chunks
    newest = select(m.id).where(m.user_id.is_(None)).order_by(m.id.desc())
    oldest_kept = connection.scalar(newest.offset(keep - 1).limit(1))
    if oldest_kept is None:
        return 0, []
    rows = connection.execute(
        select(m.id, m.blob_id)
        .where(m.user_id.is_(None), m.id < oldest_kept)
        .where(m.state.in_([state.value for state in RESTING]))
        .order_by(m.id)
        .limit(BATCH)
        .with_for_update(skip_locked=True)
    ).all()
    files: list[str] = []
    for part in chunks(rows):
        ids = [row.id for row in part]
        attempts = schema.attempts
        connection.execute(delete(attempts).where(attempts.c.message_id.in_(ids)))
        connection.execute(delete(schema.messages).where(m.id.in_(ids)))
        mine = {row.blob_id for row in part}
        mine -= set(connection.scalars(select(m.blob_id).where(m.blob_id.in_(mine))))
        connection.execute(delete(pieces).where(pieces.c.blob_id.in_(mine)))
        gone = delete(blobs).where(blobs.c.id.in_(mine)).returning(blobs.c.file)
        files += [name for name in connection.scalars(gone) if name]
    return len(rows), files
