"""Ending claims: leased messages, the record of attempts, settling, late claims.

A settlement is fenced by its attempt's number: a worker that lost its lease cannot
settle a message that another worker has claimed since. With the last message of a mail
that its worker holds, the mail's lease ends too. Whoever changes a message's state (the
worker that settles it, the end of a lease, a person) writes a row of `attempts` in the
same transaction.

Late claims are claims that may have committed after their caller timed out: after
`store.timeout_s` the caller learns that the store does not answer, but the transaction
can still commit and leave messages leased with nobody working on them. The process
remembers what the transaction took; its next claim gives that back first, and
neither a crash nor an attempt is counted.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, delete, exists, insert, select, update

from relay.core.queue import Settlement
from relay.core.states import NO_ATTEMPT, Event, State, next_state
from relay.store import schema
from relay.store.values import chunks, dump_steps, stamp, text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import Connection, Row

    from relay.core.model import Person


m = schema.messages.c

FREE: Final[dict[str, Any]] = {
    "lease_owner": None,
    "lease_until": None,
    "claimed_at": None,
    "alone": False,
}
"""Columns of a message that no worker leases."""


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


def attempt_record(  # noqa: PLR0913 - a row has that many columns
    row: Row[Any],
    now: int,
    event: str,
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
        "event": str(event),
        "state": state.value,
        "reason": reason,
        "detail": detail,
        "actor": (row.lease_owner or "") if actor is None else actor,
        "trace": trace,
    }


m = schema.messages.c
mails = schema.mails


def settle(
    connection: Connection, owner: str, settlements: Sequence[Settlement], now: int
) -> set[str]:
    """End the claims that `owner` still holds; return their messages' ids."""
    leased = messages_leased(connection, owner, [s.message_id for s in settlements])
    values: list[dict[str, Any]] = []
    records: list[dict[str, Any]] = []
    given_back: list[str] = []
    done: dict[str, int | None] = {}
    for settlement in settlements:
        row = leased.get(settlement.message_id)
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
    write_people(
        connection,
        {s.message_id: s.unknown for s in settlements if s.message_id in done},
    )
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


def write_people(
    connection: Connection, people: Mapping[str, Sequence[Person]]
) -> None:
    """Keep the people of unmatched messages, in the place of those kept before.

    A message without any keeps its rows: they count while it is unmatched alone.
    """
    with_people = {ident: some for ident, some in people.items() if some}
    table = schema.unmatched_people
    for part in chunks(sorted(with_people)):
        connection.execute(delete(table).where(table.c.message_id.in_(part)))
    rows = [
        {
            "message_id": ident,
            "key": text(one.key),
            "address": text(one.address),
            "name": text(one.name),
            "place": one.place.value,
        }
        for ident, some in with_people.items()
        for one in {one.key: one for one in some}.values()
    ]
    if rows:
        connection.execute(insert(table), rows)


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


m = schema.messages.c
f = schema.files.c

Taken = tuple[str, dict[Any, int]]
"""Owner, and by id of row the value that tells this claim from a later one: a message's
attempt, or the end of a file's lease. Complete once the transaction has ended."""


class LateClaims:
    """Claims of one process that may have committed after their caller timed out."""

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
    """Queue messages that late claims took; return all that are dealt with now.

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
