"""Interventions: what people do to messages by hand.

Hold, release, requeue, discard and undo, for named messages or for all in a state. Each
leaves a row in the message's attempts and a line in the audit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import insert, select, update

from relay.core.errors import IllegalTransition, NotFound
from relay.core.states import Event, State, next_state
from relay.store import schema
from relay.store.attempts import attempt_record
from relay.store.edits import write_audit
from relay.store.values import chunks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Row, Select

BY_PEOPLE: Final = frozenset(
    {Event.HOLD, Event.RELEASE, Event.REQUEUE, Event.DISCARD, Event.UNDO}
)
"""Events that a person may ask for; the others belong to a worker's lease."""
CHUNK: Final = 1000
"""Messages of one state that are changed in one transaction."""
DUE_AGAIN: Final = frozenset({Event.RELEASE, Event.REQUEUE})

m = schema.messages.c


def in_state(event: Event, state: State, after: str) -> Select[Any]:
    """Return the query for the next chunk of messages that an event is for, locked."""
    query = select(schema.messages).where(m.state == state, m.id > after)
    if event is Event.REQUEUE:
        query = query.where(m.user_id.is_not(None))
    return query.order_by(m.id).limit(CHUNK).with_for_update()


def rows_of(query: Select[Any], connection: Connection) -> list[Row[Any]]:
    """Run a query of messages."""
    return list(connection.execute(query))


def named(connection: Connection, event: Event, ids: Sequence[str]) -> list[Row[Any]]:
    """Return the named messages, locked.

    Raises:
        NotFound: One of them does not exist.
        IllegalTransition: The event is not one that a person may ask for.
    """
    wanted = list(dict.fromkeys(ids))
    found: dict[str, Row[Any]] = {}
    for part in chunks(wanted):
        query = select(schema.messages).where(m.id.in_(part)).order_by(m.id)
        for row in connection.execute(query.with_for_update()):
            found[row.id] = row
    for message_id in wanted:
        if message_id not in found:
            text = f"there is no message {message_id}"
            raise NotFound(text)
        if event not in BY_PEOPLE:
            raise IllegalTransition(State(found[message_id].state), event)
    return [found[message_id] for message_id in wanted]


def apply_event(
    connection: Connection, event: Event, rows: list[Row[Any]], actor: str, now: int
) -> list[tuple[str, State, State]]:
    """Change messages as a person asked, with their attempts and the audit.

    Raises:
        IllegalTransition: One of them cannot take the event.
    """
    changed: list[tuple[str, State, State]] = []
    records: list[dict[str, Any]] = []
    for row in rows:
        old = State(row.state)
        new = next_state(old, event)
        changed.append((row.id, old, new))
        records.append(attempt_record(row, now, event, new, actor=actor))
    values: dict[str, Any] = {"reason": event.value, "detail": f"by {actor}"}
    if event in DUE_AGAIN:
        values |= {
            "reason": "",
            "detail": "",
            "next_attempt_at": now,
            "renewed_at": now,
            "failing_since": None,
            "failures": 0,
            "crashes": 0,
            "lone_crashes": 0,
        }
    for state in {new for _, _, new in changed}:
        for part in chunks(i for i, _, new in changed if new is state):
            connection.execute(
                update(schema.messages)
                .where(m.id.in_(part))
                .values(state=state.value, **values)
            )
    if records:
        connection.execute(insert(schema.attempts), records)
        subject = changed[0][0] if len(changed) == 1 else f"{len(changed)} messages"
        write_audit(
            connection, now, actor, f"message_{event.value}", (subject, None, None)
        )
    return changed
