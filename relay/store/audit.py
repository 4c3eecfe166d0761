"""The audit: who changed what, when, from what to what. It only grows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import insert

from relay.store import schema
from relay.store.values import dump, iso, load

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from relay.core.model import Json

Change = tuple[str, "Json", "Json"]
"""What was changed, its old value, its new one."""


def write_audit(
    connection: Connection, now: int, actor: str, action: str, change: Change
) -> None:
    """Write who did what; rows of the audit are never changed."""
    subject, old, new = change
    connection.execute(
        insert(schema.audit).values(
            at=now,
            actor=actor,
            action=action,
            subject=subject,
            old=None if old is None else dump(old),
            new=None if new is None else dump(new),
        )
    )


def audit_row(row: Row[Any]) -> dict[str, Json]:
    """Return a row of the audit for people."""
    return {
        "at": iso(row.at),
        "actor": row.actor,
        "action": row.action,
        "subject": row.subject,
        "old": None if row.old is None else load(row.old),
        "new": None if row.new is None else load(row.new),
    }
