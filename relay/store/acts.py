"""Acts: what people did to messages, each one change of the history, undone as one.

An act keeps what each of its messages was before, so that `Acts.undo` brings that back:
state, reason, and when it is tried next. Only messages are brought back that are as the
act left them. One that a worker has claimed since, or to which anything else happened,
is left alone and counted: so a message that is taken back is never written, and one
that was claimed is written once. What was taken back itself counts as if it never was.

After `store.discard_keep_days` an act ends. What its messages were is forgotten, and
the raw mail of those that it discarded is removed, unless something else needs it.
"""

from __future__ import annotations

import functools
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, delete, func, insert, select, update

from relay.core.errors import Conflict, NotFound, StoreUnavailable
from relay.core.queue import KeptAct, TakenBack
from relay.core.states import FILE_WAITING, TAKEN_BACK, Event, State, is_as_left
from relay.store import schema
from relay.store.context import SLOWEST_ROWS_S, Part, in_thread
from relay.store.edits import write_audit
from relay.store.settlement import attempt_record
from relay.store.values import SECOND, chunks, maybe_moment
from relay.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sqlalchemy import Connection, Row

    from relay.core.queue import Act

log = get_logger(__name__)

UNDOABLE: Final = frozenset({Event.HOLD, Event.RELEASE, Event.REQUEUE, Event.DISCARD})
"""What can be taken back. What `Event.UNDO` took out of Salesforce is gone there."""
PART: Final = 1000
"""Messages that one transaction brings back."""
PURGE_PART: Final = 200
"""Messages of an act that one transaction forgets, so that a put need not wait long."""
REMOVED: Final = "removed"
"""Stands for the state of a message that is not there any more."""
_DAY_S: Final = 86_400
_BEFORE: Final = (
    *("state", "reason", "detail", "next_attempt_at", "renewed_at"),
    *("failing_since", "failures", "crashes", "lone_crashes"),
)
"""What an act may change of a message."""

c, x, m, t = (
    schema.acts.c,
    schema.act_messages.c,
    schema.messages.c,
    schema.attempts.c,
)
h = schema.audit.c
_BRING_BACK: Final = (
    update(schema.messages)
    .where(m.id == bindparam("the_id"))
    .values({name: bindparam(name) for name in _BEFORE})
)
_MARK: Final = (
    update(schema.act_messages)
    .where(x.act_id == bindparam("act"), x.message_id == bindparam("message"))
    .values(undone_attempt=bindparam("attempt"))
)


class Acts(Part):
    """Acts of people: looking at one, taking it back, and forgetting old ones."""

    async def find(self, number: int) -> KeptAct | None:
        """Return an act by its change; None: that change is none."""
        return await self._context.read(lambda one: _find(one, number))

    async def undo(
        self, number: int, actor: str, *, only_user: int | None = None
    ) -> TakenBack:
        """Bring the messages of an act back to what they were, as far as they can be.

        Many messages take many transactions. What was interrupted goes on when it is
        asked for again.

        Args:
            number: The change of the history that the act is.
            actor: Who wants it.
            only_user: Whose messages alone it may be about; None: anybody's.

        Raises:
            NotFound: There is no such act, or it is about mail of others.
            Conflict: It is too late, it was taken back already, or all messages have
                moved on; the text says which, and nothing was changed.
            StoreUnavailable: The text says how many were brought back before.
        """
        now = self._context.now()
        kept = await self.find(number)
        if kept is None:
            text = f"there is no act {number} on messages"
            raise NotFound(text)
        if kept.ended_at is not None:
            raise self._too_late(kept)
        run = _Undo(number, actor, now, only_user)
        more = True
        while more:
            try:
                part = await self._context.write(
                    functools.partial(_undo, run), more_s=PART / SLOWEST_ROWS_S
                )
            except StoreUnavailable as error:
                count = run.back.total()
                if not count:
                    raise
                said = f"{error}; {count} messages were taken back before"
                raise StoreUnavailable(said) from error
            run.add(part)
            if State.QUEUED in part.back:
                self._context.ring()
            more = part.last is not None
        if run.by is None or not run.back:
            raise _nothing_back(run)
        return TakenBack(number, run.by, dict(run.back), dict(run.left))

    async def purge(self) -> int:
        """End acts that are too old; return how many raw mails were removed."""
        now = self._context.now()
        keep_s = self._context.settings.discard_keep_days * _DAY_S
        before = now - keep_s * SECOND
        removed, more = 0, True
        while more:
            more, count, files = await self._context.write(
                lambda connection: _purge(connection, before, now)
            )
            removed += count
            spool = self._context.spool
            paths = [spool.folder / name for name in files]
            await in_thread(functools.partial(spool.discard, *paths))
        return removed

    def _too_late(self, kept: KeptAct) -> Conflict:
        days = self._context.settings.discard_keep_days
        what = "what the messages were before is not kept any more"
        if kept.event is Event.DISCARD:
            removed, count = kept.removed, kept.count
            what = f"the raw mail of {removed} of {count} messages was removed"
        number = kept.number
        text = f"it is too late: change {number} could be taken back for {days} days"
        return Conflict(
            f"{text}; {what}", "store.discard_keep_days says for how long it is kept"
        )


# ------------------------------------------------------------------ what was done


def record(
    connection: Connection, act: Act, event: Event, rows: Sequence[Row[Any]], now: int
) -> int:
    """Keep what messages were before an act, whose attempts are written already.

    Args:
        connection: In the transaction of the act.
        act: Who does it; a number that it has was committed before.
        event: What is done.
        rows: The messages as they were, locked.
        now: The time.

    Returns:
        The number of the act. It holds once the transaction is committed.
    """
    number = act.number
    if number is None:
        subject = rows[0].id if len(rows) == 1 else "messages"
        number = write_audit(
            *(connection, now, act.actor, f"message_{event.value}"),
            (subject, None, None),
            user_id=act.about,
        )
        values = {"id": number, "at": now, "event": event.value, "messages": 0}
        new = insert(schema.acts).values(**values, user_id=act.user_id)
        connection.execute(new)
    connection.execute(
        update(schema.acts)
        .where(c.id == number)
        .values(messages=c.messages + len(rows))
    )
    written = _last_attempts(connection, [row.id for row in rows])
    connection.execute(
        insert(schema.act_messages),
        [
            {name: getattr(row, name) for name in _BEFORE}
            | {"act_id": number, "message_id": row.id, "attempt_id": written[row.id]}
            for row in rows
        ],
    )
    return number


def forget(connection: Connection, message_ids: Collection[str]) -> None:
    """Forget what was done to messages that are removed."""
    gone = delete(schema.act_messages).where(x.message_id.in_(message_ids))
    connection.execute(gone)


@dataclass(frozen=True, slots=True)
class Said:
    """What the history says of an act: to how many, and whether it is kept still."""

    count: int
    is_kept: bool


def acts_among(connection: Connection, numbers: Collection[int]) -> dict[int, Said]:
    """Return the acts among changes, by their number."""
    if not numbers:
        return {}
    within = c.id.between(min(numbers), max(numbers))
    query = select(c.id, c.messages, c.ended_at).where(within)
    return {
        row.id: Said(row.messages, row.ended_at is None)
        for row in connection.execute(query)
    }


def _find(connection: Connection, number: int) -> KeptAct | None:
    query = (
        select(schema.acts, h.actor, h.subject)
        .join(schema.audit, h.id == c.id)
        .where(c.id == number)
    )
    row = connection.execute(query).first()
    if row is None:
        return None
    return KeptAct(
        number,
        row.actor,
        row.user_id,
        Event(row.event),
        row.messages,
        row.subject if row.messages == 1 else None,
        _undone_by(connection, number),
        maybe_moment(row.ended_at),
        row.removed,
    )


def _undone_by(connection: Connection, number: int) -> int | None:
    """Return the change that took an act back; None: none did."""
    query = select(h.id).where(h.id > number, h.undoes == number)
    found: int | None = connection.scalar(query.limit(1))
    return found


def _last_attempts(connection: Connection, ids: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for part in chunks(ids):
        query = select(t.message_id, func.max(t.id)).where(t.message_id.in_(part))
        rows = connection.execute(query.group_by(t.message_id))
        found |= {row[0]: row[1] for row in rows}
    return found


# ------------------------------------------------------------------ taking back


@dataclass(slots=True)
class _Undo:
    """An undo under way: who wants it, up to where it is, and what it did so far."""

    number: int
    actor: str
    now: int
    only_user: int | None
    by: int | None = None
    after: str = ""
    back: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)

    def add(self, part: _Part) -> None:
        """Take over what a transaction did, once it is committed."""
        self.by = part.by
        self.after = part.last or self.after
        self.back += part.back
        self.left += part.left


@dataclass(frozen=True, slots=True)
class _Part:
    """What one transaction did; `last` is its last message, None: there is no more."""

    by: int | None
    back: Counter[str]
    left: Counter[str]
    last: str | None


def _undo(run: _Undo, connection: Connection) -> _Part:
    """Bring the next messages of an act back."""
    # The purge, and another undo of the act, wait for this one or come first.
    locked = select(schema.acts).where(c.id == run.number).with_for_update()
    act = connection.execute(locked).one()
    if act.ended_at is not None:
        number = run.number
        raise Conflict(f"it is too late: change {number} is not kept any more")
    _need_own(connection, run)
    query = (
        select(schema.act_messages)
        .where(x.act_id == run.number, x.message_id > run.after)
        .order_by(x.message_id)
        .limit(PART)
    )
    rows = connection.execute(query).all()
    last = rows[-1].message_id if len(rows) == PART else None
    rows = [row for row in rows if row.undone_attempt is None]
    now = _locked(connection, [row.message_id for row in rows])
    # After the lock: what a worker or a person committed before it is seen.
    moved = _moved(connection, run.number, [row.message_id for row in rows])
    event = Event(act.event)
    fit, left = [], Counter[str]()
    for row in rows:
        message = now.get(row.message_id)
        state = None if message is None else State(message.state)
        if (
            state is not None
            and row.message_id not in moved
            and is_as_left(State(row.state), event, state)
        ):
            fit.append(row)
        else:
            left[REMOVED if state is None else state.value] += 1
    by = _undone_by(connection, run.number)
    if not fit:
        return _Part(by, Counter(), left, last)
    if by is None:
        by = _write_undo(connection, run, act.messages, len(fit))
    _bring_back(connection, run, event, fit, now)
    return _Part(by, Counter(row.state for row in fit), left, last)


def _need_own(connection: Connection, run: _Undo) -> None:
    if run.only_user is None:
        return
    query = (
        select(x.message_id)
        .join(schema.messages, m.id == x.message_id)
        .where(x.act_id == run.number, m.user_id.is_distinct_from(run.only_user))
    )
    if connection.scalar(query.limit(1)) is not None:
        text = f"there is no act {run.number} on messages"
        raise NotFound(text)


def _locked(connection: Connection, ids: Sequence[str]) -> dict[str, Row[Any]]:
    found: dict[str, Row[Any]] = {}
    for part in chunks(ids):
        query = select(schema.messages).where(m.id.in_(part)).order_by(m.id)
        for row in connection.execute(query.with_for_update()):
            found[row.id] = row
    return found


def _moved(connection: Connection, number: int, ids: Sequence[str]) -> set[str]:
    """Return the messages to which something happened after an act, and still holds."""
    later: dict[int, str] = {}
    for part in chunks(ids):
        query = (
            select(t.id, t.message_id)
            .join(schema.act_messages, x.message_id == t.message_id)
            .where(x.act_id == number, x.message_id.in_(part), t.id > x.attempt_id)
        )
        later |= {row.id: row.message_id for row in connection.execute(query)}
    for part in chunks(sorted(set(later.values()))):
        undone = select(x.attempt_id, x.undone_attempt).where(
            x.message_id.in_(part), x.undone_attempt.is_not(None)
        )
        for row in connection.execute(undone):
            later.pop(row.attempt_id, None)
            later.pop(row.undone_attempt, None)
    return set(later.values())


def _write_undo(connection: Connection, run: _Undo, count: int, fit: int) -> int:
    query = select(h.subject, h.user_id).where(h.id == run.number)
    row = connection.execute(query).one()
    subject = row.subject
    if count > 1:
        # Of more than one transaction has, it is not known yet how many come back.
        whole = fit == count or count > PART
        subject = f"{count} messages" if whole else f"{fit} of {count} messages"
    return write_audit(
        *(connection, run.now, run.actor, f"message_{TAKEN_BACK}"),
        (subject, None, None),
        user_id=row.user_id,
        undoes=run.number,
    )


def _bring_back(
    connection: Connection,
    run: _Undo,
    event: Event,
    rows: Sequence[Row[Any]],
    now: Mapping[str, Row[Any]],
) -> None:
    connection.execute(
        _BRING_BACK,
        [
            {name: getattr(row, name) for name in _BEFORE} | {"the_id": row.message_id}
            for row in rows
        ],
    )
    detail = f"{event.value} of change {run.number}"
    connection.execute(
        insert(schema.attempts),
        [
            attempt_record(
                *(now[row.message_id], run.now, TAKEN_BACK, State(row.state)),
                reason=row.reason,
                detail=detail,
                actor=run.actor,
            )
            for row in rows
        ],
    )
    written = _last_attempts(connection, [row.message_id for row in rows])
    connection.execute(
        _MARK,
        [
            {"act": run.number, "message": one, "attempt": attempt}
            for one, attempt in written.items()
        ],
    )


def _nothing_back(run: _Undo) -> Conflict:
    number, by = run.number, run.by
    if by is not None:
        return Conflict(f"change {number} was taken back already, by change {by}")
    states = ", ".join(f"{count} {state}" for state, count in sorted(run.left.items()))
    text = (
        f"change {number} cannot be taken back any more: all of its messages have "
        f"moved on since ({states})"
    )
    if run.left.total() == 1:
        text = (
            f"change {number} cannot be taken back any more: its message has moved on "
            f"since ({states})"
        )
    return Conflict(text, "relay show ID says what became of a message")


# ------------------------------------------------------------------ forgetting


def _purge(
    connection: Connection, before: int, now: int
) -> tuple[bool, int, Sequence[str]]:
    """Forget the next messages of the oldest act that has ended.

    Returns:
        Whether there may be more, how many raw mails went, and the names of files that
        have no row any more. They are to be removed after the commit; the sweep removes
        those that a crash leaves.
    """
    oldest = select(c.id, c.event).where(c.ended_at.is_(None), c.at < before)
    act = connection.execute(
        oldest.order_by(c.at, c.id).limit(1).with_for_update(skip_locked=True)
    ).first()
    if act is None:
        return False, 0, ()
    query = (
        select(x.message_id, x.undone_attempt, m.state, m.blob_id)
        .outerjoin(schema.messages, m.id == x.message_id)
        .where(x.act_id == act.id)
        .order_by(x.message_id)
        .limit(PURGE_PART)
    )
    rows = connection.execute(query).all()
    connection.execute(
        delete(schema.act_messages).where(
            x.act_id == act.id, x.message_id.in_([row.message_id for row in rows])
        )
    )
    files: list[str] = []
    count = 0
    if act.event == Event.DISCARD:
        blobs = {
            row.blob_id
            for row in rows
            if row.undone_attempt is None and row.state == State.DISCARDED
        }
        count, files = _remove_raw(connection, blobs)
    done = len(rows) < PURGE_PART
    connection.execute(
        update(schema.acts)
        .where(c.id == act.id)
        .values(removed=c.removed + count, ended_at=now if done else None)
    )
    return True, count, files


def _remove_raw(connection: Connection, blob_ids: set[str]) -> tuple[int, list[str]]:
    """Remove bytes that nobody can want any more; return how many, and their files.

    The rows stay, so that the digests of what was received are known.
    """
    f, b = schema.files.c, schema.blobs.c
    # First the acts, then the states: a discarded message that is brought back in
    # between is seen as one or the other.
    discards = (
        select(m.blob_id)
        .join(schema.act_messages, x.message_id == m.id)
        .join(schema.acts, c.id == x.act_id)
        .where(c.event == Event.DISCARD.value, x.undone_attempt.is_(None))
    )
    needed = (
        discards.where(m.blob_id.in_(blob_ids)),
        select(m.blob_id).where(
            m.blob_id.in_(blob_ids), m.state != State.DISCARDED.value
        ),
        select(f.blob_id).where(
            f.blob_id.in_(blob_ids),
            f.state.in_([state.value for state in FILE_WAITING]),
        ),
    )
    going = set(blob_ids)
    for one in needed:
        going -= set(connection.scalars(one))
    if not going:
        return 0, []
    named = select(b.file).where(b.id.in_(going), b.file.is_not(None))
    files = list(connection.scalars(named))
    pieces = schema.blob_chunks
    connection.execute(delete(pieces).where(pieces.c.blob_id.in_(going)))
    connection.execute(
        update(schema.blobs)
        .where(b.id.in_(going))
        .values(data=None, file=None, chunks=0)
    )
    return len(going), files
