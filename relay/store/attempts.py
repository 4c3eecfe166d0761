"""The record of attempts: a row for each thing that happened to a message.

Whoever changes a message's state writes one in the same transaction: the worker who
settles it, the end of a lease, a person.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import Row

    from relay.core.states import Event, State


def attempt_record(  # noqa: PLR0913 - a row has that many columns
    row: Row[Any],
    now: int,
    event: Event,
    state: State,
    *,
    reason: str = "",
    detail: str = "",
    trace: str = "[]",
    started_at: int | None = None,
    actor: str | None = None,
) -> dict[str, Any]:
    """Return the row of `attempts` for what happened to a message."""
    if started_at is None:
        started_at = now if row.claimed_at is None else row.claimed_at
    return {
        "message_id": row.id,
        "number": row.attempts,
        "started_at": started_at,
        "ended_at": now,
        "event": event.value,
        "state": state.value,
        "reason": reason,
        "detail": detail,
        "actor": (row.lease_owner or "") if actor is None else actor,
        "trace": trace,
    }
