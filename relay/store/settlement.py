"""Settling: the end of a claim, with what came of the attempt.

A settlement is fenced by its attempt's number: a worker that lost its lease cannot
settle what another has claimed since. With the last message of a mail that its worker
holds, the mail's lease ends too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, delete, exists, insert, update

from relay.core.states import NO_ATTEMPT, Event, State, next_state
from relay.store import schema
from relay.store.attempts import attempt_record
from relay.store.leased import FREE, failing_since, messages_leased
from relay.store.values import chunks, dump_steps, stamp, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Row

    from relay.core.queue import Settlement

m = schema.messages.c
mails = schema.mails


def settle(
    connection: Connection, owner: str, settlements: Sequence[Settlement], now: int
) -> set[str]:
    """End the claims that `owner` still holds; return their messages' ids."""
    held = messages_leased(connection, owner, [s.message_id for s in settlements])
    values: list[dict[str, Any]] = []
    records: list[dict[str, Any]] = []
    given_back: list[str] = []
    done: dict[str, int | None] = {}
    for settlement in settlements:
        row = held.get(settlement.message_id)
        if row is None or row.attempts != settlement.attempt or row.id in done:
            continue
        state = next_state(State.CLAIMED, settlement.event)
        done[row.id] = row.mail_id
        values.append(_settled(row, settlement, state, now))
        if settlement.event in NO_ATTEMPT:
            given_back.append(row.id)
        started = settlement.started_at
        records.append(
            attempt_record(
                row,
                now,
                settlement.event,
                state,
                reason=text(settlement.reason),
                detail=text(settlement.detail),
                trace=dump_steps(settlement.trace),
                started_at=None if started is None else stamp(started),
            )
        )
    if not values:
        return set()
    connection.execute(_SETTLE, values)
    # A pause of the org gives thousands back each minute: the latest one says it all.
    for part in chunks(given_back):
        connection.execute(
            delete(schema.attempts).where(
                schema.attempts.c.message_id.in_(part),
                schema.attempts.c.event.in_([event.value for event in NO_ATTEMPT]),
            )
        )
    connection.execute(insert(schema.attempts), records)
    _end_mail_leases(connection, owner, {i for i in done.values() if i is not None})
    return set(done)


_VARYING: Final = (
    "state",
    "reason",
    "detail",
    "next_attempt_at",
    "attempts",
    "failures",
    "failing_since",
)
_SETTLE: Final = (
    update(schema.messages)
    .where(m.id == bindparam("the_id"))
    .values({name: bindparam(name) for name in _VARYING} | FREE)
)


def _settled(
    row: Row[Any], settlement: Settlement, state: State, now: int
) -> dict[str, Any]:
    due = row.next_attempt_at
    if state is State.QUEUED:
        due = now if settlement.retry_at is None else stamp(settlement.retry_at)
    return {
        "the_id": row.id,
        "state": state.value,
        "reason": text(settlement.reason),
        "detail": text(settlement.detail),
        "next_attempt_at": due,
        "attempts": row.attempts - (1 if settlement.event in NO_ATTEMPT else 0),
        "failures": row.failures + (1 if settlement.event is Event.TRANSIENT else 0),
        "failing_since": _failing_since(row, settlement.event, due, now),
    }


def _failing_since(row: Row[Any], event: Event, due: int, now: int) -> int | None:
    """Return since when a message has failed, time without a try left out."""
    if event is Event.TRANSIENT:
        return now if row.failing_since is None else failing_since(row)
    if event in NO_ATTEMPT and row.failing_since is not None:
        return int(row.failing_since + max(0, due - row.next_attempt_at))
    return None


def _end_mail_leases(connection: Connection, owner: str, ids: set[int]) -> None:
    busy = exists().where(
        m.mail_id == mails.c.id, m.state == State.CLAIMED, m.lease_owner == owner
    )
    for part in chunks(sorted(ids)):
        connection.execute(
            update(mails)
            .where(mails.c.id.in_(part), mails.c.lease_owner == owner, ~busy)
            .values(lease_owner=None, lease_until=None)
        )
