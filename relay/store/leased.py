"""Messages in a worker's hands: found, locked, and made free again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select

from relay.core.states import State
from relay.store import schema
from relay.store.values import chunks

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection, Row

m = schema.messages.c

FREE: Final[dict[str, Any]] = {
    "lease_owner": None,
    "lease_until": None,
    "claimed_at": None,
    "alone": False,
}
"""Columns of a message that nobody holds."""


def leased_by(owner: str) -> Any:
    """Return the condition that the owner holds a message."""
    return (m.state == State.CLAIMED.value) & (m.lease_owner == owner)


def messages_leased(
    connection: Connection, owner: str, ids: Iterable[str]
) -> dict[str, Row[Any]]:
    """Return the messages that the owner holds, locked, by id."""
    found: dict[str, Row[Any]] = {}
    for part in chunks(sorted(set(ids))):
        query = select(schema.messages).where(m.id.in_(part), leased_by(owner))
        for row in connection.execute(query.order_by(m.id).with_for_update()):
            found[row.id] = row
    return found


def failing_since(row: Row[Any]) -> int | None:
    """Return since when a claimed message has failed, its wait for us left out."""
    if row.failing_since is None:
        return None
    return int(row.failing_since + max(0, row.claimed_at - row.next_attempt_at))
