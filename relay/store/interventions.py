"""Interventions: what people do to messages by hand.

Hold, release, requeue, discard and undo, for named messages or for all in a state. Each
leaves a row in the message's attempts and a line in the audit.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import insert, select, update

from relay.core.errors import IllegalTransition, NotFound, StoreUnavailable
from relay.core.states import Event, State, next_state, sources
from relay.store import schema
from relay.store.access import SLOWEST_ROWS_S, Access
from relay.store.attempts import attempt_record
from relay.store.audit import write_audit
from relay.store.values import chunks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection, Row, Select

BY_PEOPLE: Final = frozenset(
    {Event.HOLD, Event.RELEASE, Event.REQUEUE, Event.DISCARD, Event.UNDO}
)
"""Events that a person may ask for; the others belong to a worker's lease."""
_CHUNK: Final = 1000
"""Messages of one state that are changed in one transaction."""
_DUE_AGAIN: Final = frozenset({Event.RELEASE, Event.REQUEUE})

m = schema.messages.c


class Interventions(Access):
    """The operation of people on messages."""

    async def apply(
        self,
        event: Event,
        ids: Sequence[str] | None,
        state: State | None,
        actor: str,
    ) -> list[tuple[str, State, State]]:
        """Do what a person asked for to messages; return (id, old state, new state).

        With `ids`, all of them or none. Without, those that are in `state`, as far as
        the event is possible there, many transactions for many messages; mail for
        postmaster, which is never logged, is requeued by its id alone. A released or
        requeued message is due at once, and its failures and crashes are forgotten.

        Raises:
            IllegalTransition: One of `ids` cannot take the event; nothing was changed.
            NotFound: One of `ids` does not exist; nothing was changed.
            StoreUnavailable: Without `ids`, the text says how many were changed before.
        """
        if ids is None:
            return await self._apply_by_state(event, state, actor)
        return await self._apply_to(
            event,
            lambda connection: _named(connection, event, ids),
            actor,
            len(ids),
        )

    async def _apply_by_state(
        self, event: Event, state: State | None, actor: str
    ) -> list[tuple[str, State, State]]:
        """Go through the messages of a state by their ids, a chunk at a time."""
        if state is None or event not in BY_PEOPLE or state not in sources(event):
            return []
        changed: list[tuple[str, State, State]] = []
        more = True
        while more:
            query = _in_state(event, state, after=changed[-1][0] if changed else "")
            try:
                part = await self._apply_to(event, partial(_rows, query), actor, _CHUNK)
            except StoreUnavailable as error:
                if not changed:
                    raise
                text = f"{error}; {len(changed)} messages were changed before"
                raise StoreUnavailable(text) from error
            changed += part
            more = len(part) == _CHUNK
        return changed

    async def _apply_to(
        self,
        event: Event,
        find: Callable[[Connection], list[Row[Any]]],
        actor: str,
        count: int,
    ) -> list[tuple[str, State, State]]:
        """Do it to the messages that `find` locks, some `count`, in one transaction."""
        now = self._now()
        changed = await self._write(
            lambda c: apply_event(c, event, find(c), actor, now),
            more_s=count / SLOWEST_ROWS_S,
        )
        if event in _DUE_AGAIN and changed:
            self._ring()
        return changed


def _in_state(event: Event, state: State, after: str) -> Select[Any]:
    """Return the query for the next chunk of messages that an event is for, locked."""
    query = select(schema.messages).where(m.state == state, m.id > after)
    if event is Event.REQUEUE:
        query = query.where(m.user_id.is_not(None))
    return query.order_by(m.id).limit(_CHUNK).with_for_update()


def _rows(query: Select[Any], connection: Connection) -> list[Row[Any]]:
    return list(connection.execute(query))


def _named(connection: Connection, event: Event, ids: Sequence[str]) -> list[Row[Any]]:
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
    if event in _DUE_AGAIN:
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
