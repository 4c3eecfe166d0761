"""Reminders, the history of each, and the secrets of their calendar feeds.

Each edit raises the version of its reminder and leaves a row of `reminder_changes` for
each field that it changed, in the same transaction. Rows of the history are never
changed, and a removed reminder stays as a tombstone. An edit that changes nothing
leaves no trace: an echo of the relay's own write is no edit.

`make` and `write` take a connection, for who changes a reminder together with rows of
his own (the settlement of a message, the round of a synchronisation).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, delete, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from relay.core.errors import Conflict, NotFound
from relay.core.ids import new_message_id
from relay.core.reminders import (
    CREATED,
    FIELDS,
    By,
    Kind,
    Priority,
    Reminder,
    ReminderChange,
    Source,
    Status,
    as_json,
    checked,
    differences,
    from_json,
    taken_back,
)
from relay.core.states import ActivityState
from relay.core.syncing import Ended
from relay.store import schema
from relay.store.context import Part
from relay.store.edits import Stale
from relay.store.search import has_text
from relay.store.values import SECOND, dump, load, maybe_moment, moment, stamp, text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Row, Select

    from relay.core.clock import Clock
    from relay.core.model import Json
    from relay.core.reminders import NewReminder, ReminderFilter

r = schema.reminders.c
c = schema.reminder_changes.c
f = schema.reminder_feeds.c

BY_MAIL: Final = By("relay", Source.MAIL)
"""Who makes what a mail asked for."""
KEPT: Final = timedelta(days=30)
"""How long a reminder that was removed can be brought back."""
PURGED: Final = 500
"""Tombstones that one transaction removes."""
_NEVER: Final = "9999-99-99"
"""Sorts behind every day."""
_USED_S: Final = 3600
"""A use is noted this often: calendars ask again and again."""


class StaleVersion(Stale):
    """Somebody changed the reminder in between; nothing was changed."""

    def __init__(self, now: Reminder) -> None:
        """Say so; `now` is the reminder as it is."""
        super().__init__()
        self.now = now


@dataclass(frozen=True, slots=True)
class Feed:
    """The secret URL of a user's calendar; of the secret a digest is kept alone."""

    user_id: int
    created_at: datetime
    created_by: str
    used_at: datetime | None


class Reminders(Part):
    """Operations on reminders."""

    async def add(self, new: NewReminder, by: By) -> Reminder:
        """Make a reminder; one that its `origin` has made already is returned as it is.

        Raises:
            InvalidInput: A value does not fit.
        """
        clock = self._context.clock
        return await self._context.write(lambda one: make(one, clock, new, by)[0])

    async def get(self, ident: str, *, removed: bool = False) -> Reminder:
        """Return a reminder; also a tombstone, if `removed`.

        Raises:
            NotFound: There is none.
        """
        found = await self._context.read(lambda one: read(one, ident))
        return _there(found, ident, removed=removed)

    async def find(self, wanted: ReminderFilter) -> list[Reminder]:
        """Return the reminders that fit, in the order that the filter says."""
        query = _fitting(wanted)
        if wanted.by_due:
            query = query.order_by(func.coalesce(r.due, _NEVER), r.id)
        else:
            query = query.order_by(r.id.desc())
        if wanted.limit is not None:
            query = query.limit(wanted.limit)
        return await self._context.read(
            lambda one: [of_row(row) for row in one.execute(query)]
        )

    async def ids(self, prefix: str, concerns: int | None, limit: int) -> list[str]:
        """Return ids that begin with a text, also of tombstones; of a user, or all."""
        query = select(r.id).where(r.id.startswith(text(prefix), autoescape=True))
        if concerns is not None:
            query = query.where(_concern(concerns))
        query = query.order_by(r.id).limit(limit)
        return await self._context.read(lambda one: list(one.scalars(query)))

    async def count(self, wanted: ReminderFilter) -> int:
        """Return how many fit; `limit` is left out of account."""
        query = select(func.count()).select_from(_fitting(wanted).subquery())
        return await self._context.read(lambda one: int(one.scalar(query) or 0))

    async def edit(
        self,
        ident: str,
        values: Mapping[str, Any],
        by: By,
        *,
        version: int | None = None,
    ) -> Reminder:
        """Change fields of a reminder, all or none; return it as it is then.

        Args:
            ident: Which one.
            values: By name of field (`FIELDS`).
            by: Who does it.
            version: Only if it still has this version.

        Raises:
            InvalidInput: A value does not fit.
            NotFound: There is none, or it was removed.
            StaleVersion: It has another version by now.
        """
        fitting = checked(values)
        now = self._context.now()

        def work(connection: Connection) -> Reminder:
            before = _there(read(connection, ident, lock=True), ident)
            _expect(before, version)
            return write(connection, now, before, replace(before, **fitting), by)

        return await self._context.write(work)

    async def remove(
        self, ident: str, by: By, *, version: int | None = None
    ) -> Reminder:
        """Make a tombstone of a reminder; `undo` brings it back.

        Raises:
            NotFound: There is none, or it was removed.
            StaleVersion: It has another version by now.
        """
        now = self._context.now()

        def work(connection: Connection) -> Reminder:
            before = _there(read(connection, ident, lock=True), ident)
            _expect(before, version)
            gone = replace(before, removed_at=moment(now))
            return write(connection, now, before, gone, by)

        return await self._context.write(work)

    async def undo(self, ident: str, version: int | None, by: By) -> Reminder:
        """Take the edit back that made a version; None: the latest edit.

        Taking back the making of a reminder removes it.

        Raises:
            NotFound: There is no such reminder or version.
            Conflict: A field of it was changed since; nothing was changed.
        """
        now = self._context.now()

        def work(connection: Connection) -> Reminder:
            before = _there(read(connection, ident, lock=True), ident, removed=True)
            wanted = before.version if version is None else version
            rows = [row for row in history(connection, ident) if row.version == wanted]
            if not rows:
                raise NotFound(f"reminder {ident} has no version {wanted}")
            edit = {row.field: (row.before, row.after) for row in rows}
            after, moved = taken_back(before, edit, moment(now))
            if moved:
                raise Conflict(
                    f"{moved} was changed since version {wanted}; "
                    f"`relay reminder history {ident}` shows by whom"
                )
            return write(connection, now, before, after, replace(by, undoes=wanted))

        return await self._context.write(work)

    async def history(self, ident: str) -> list[ReminderChange]:
        """Return every edit of a reminder, oldest first; of a tombstone, too."""
        return await self._context.read(lambda one: history(one, ident))

    async def written_for(self, message_id: str) -> list[dict[str, Json]]:
        """Return the fields of the records that were written for a message's mail."""
        a, m = schema.activities.c, schema.messages.c
        query = (
            select(a.fields)
            .join(schema.messages, m.mail_id == a.mail_id)
            .where(m.id == text(message_id), a.state == ActivityState.WRITTEN)
            .order_by(a.id)
        )
        return await self._context.read(
            lambda one: [load(fields) for fields in one.scalars(query)]
        )

    async def purge(self, keep: timedelta = KEPT) -> int:
        """Remove tombstones for good that nothing needs any more; return how many.

        Until then `undo` brings one back, and so does a Task that is taken out of
        the Recycle Bin, where it lies for 15 days. It stays where its mail is still
        there, which must not make it again; where its Task lives on, which would be
        imported; and where its deletion is yet to be carried out.
        """
        before = self._context.now() - int(keep.total_seconds() * SECOND)
        t, m = schema.reminder_tasks.c, schema.messages.c
        tied = select(t.reminder_id).where(
            t.reminder_id == r.id,
            or_(
                t.state != str(ActivityState.GONE),
                t.ended.is_(None),
                t.ended == str(Ended.KEPT),
            ),
        )
        mail = select(m.id).where(m.id == r.message_id)
        wanted = (
            select(r.id)
            .where(r.removed_at < before, ~tied.exists(), ~mail.exists())
            .order_by(r.id)
            .limit(PURGED)
            .with_for_update(of=schema.reminders)
        )

        def work(connection: Connection) -> int:
            ids = list(connection.scalars(wanted))
            for table in (
                schema.reminder_clashes,
                schema.reminder_tasks,
                schema.reminder_changes,
            ):
                connection.execute(delete(table).where(table.c.reminder_id.in_(ids)))
            connection.execute(delete(schema.reminders).where(r.id.in_(ids)))
            return len(ids)

        removed = 0
        while count := await self._context.write(work):
            removed += count
        return removed

    # ------------------------------------------------------------ feeds

    async def set_feed(self, user_id: int, digest: str | None, actor: str) -> None:
        """Give a user's calendar another secret, by its digest; None: no more."""
        now = self._context.now()
        row = {
            "user_id": user_id,
            "hash": digest,
            "created_at": now,
            "created_by": actor,
        }

        def work(connection: Connection) -> None:
            # One at a time, on PostgreSQL too.
            connection.execute(select(schema.meta.c.revision).with_for_update())
            connection.execute(
                delete(schema.reminder_feeds).where(f.user_id == user_id)
            )
            if digest is not None:
                connection.execute(insert(schema.reminder_feeds).values(row))

        await self._context.write(work)

    async def feed(self, user_id: int) -> Feed | None:
        """Return the calendar of a user, or None."""
        query = select(schema.reminder_feeds).where(f.user_id == user_id)

        def work(connection: Connection) -> Feed | None:
            row = connection.execute(query).first()
            return None if row is None else _feed(row)

        return await self._context.read(work)

    async def feed_of(self, digest: str) -> Feed | None:
        """Return whose calendar has a secret, and note its use, to the hour."""
        query = select(schema.reminder_feeds).where(f.hash == digest)
        now = self._context.now()

        def work(connection: Connection) -> Feed | None:
            row = connection.execute(query).first()
            return None if row is None else _feed(row)

        found = await self._context.read(work)
        if found is not None and (
            found.used_at is None or now - stamp(found.used_at) > _USED_S * SECOND
        ):
            used = update(schema.reminder_feeds).where(f.hash == digest)

            def note(connection: Connection) -> None:
                connection.execute(used.values(used_at=now))

            await self._context.write(note)
        return found


# ------------------------------------------------------------------ in a transaction


def make(
    connection: Connection, clock: Clock, new: NewReminder, by: By
) -> tuple[Reminder, bool]:
    """Make a reminder; return it, and whether it was not there before.

    Raises:
        InvalidInput: A value does not fit.
    """
    at = moment(stamp(clock.now()))
    values = asdict(new)
    origin = values.pop("origin")
    one = Reminder(
        id=new_message_id(clock),
        **values | checked({field: values[field] for field in FIELDS}),
        created_at=at,
        changed_at=at,
    )
    one = _safe(one)
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    made = connection.execute(
        # Another process may be making it at this moment: then its row counts.
        dialect.insert(schema.reminders).on_conflict_do_nothing(
            index_elements=["origin"]
        ),
        {**_columns(one), "created_at": stamp(at), "origin": text(origin) or None},
    )
    if not made.rowcount:
        there = select(schema.reminders).where(r.origin == text(origin))
        return of_row(connection.execute(there).one()), False
    shown = {field: as_json(getattr(one, field)) for field in FIELDS}
    _note(connection, one, {CREATED: (None, shown)}, by)
    return one, True


def make_or_complete(connection: Connection, clock: Clock, new: NewReminder) -> None:
    """Make the reminder that a mail asks for; one that is there learns whom it means.

    A mail that fitted no record may fit one later. Then the person of its reminder
    becomes that record, unless somebody has named another since.
    """
    there, is_new = make(connection, clock, new, BY_MAIL)
    if is_new or not new.person or "@" in new.person or there.removed_at is not None:
        return
    there = read(connection, there.id, lock=True) or there
    first = history(connection, there.id)[0]
    if "@" in (there.person or "@") and there.person == first.after["person"]:
        values = {"person": new.person, "record": there.record or new.record}
        after = replace(there, **checked(values))
        write(connection, stamp(clock.now()), there, after, BY_MAIL)


def read(connection: Connection, ident: str, *, lock: bool = False) -> Reminder | None:
    """Return a reminder or its tombstone, or None; locked until the transaction ends.

    Args:
        connection: In a transaction.
        ident: Which one.
        lock: Keep others from changing it meanwhile.
    """
    query = select(schema.reminders).where(r.id == text(ident))
    row = connection.execute(query.with_for_update() if lock else query).first()
    return None if row is None else of_row(row)


def write(
    connection: Connection, now: int, before: Reminder, after: Reminder, by: By
) -> Reminder:
    """Change a reminder that was read with `lock`; return it with its new version.

    Nothing is written where both are alike. Values are to be `checked` before.

    Args:
        connection: In the transaction that has the lock.
        now: The time, in column form.
        before: As it was read.
        after: As it is to be; `version` and `changed_at` are set here.
        by: Who does it.
    """
    after = _safe(after)
    changes = differences(before, after)
    if not changes:
        return before
    after = replace(after, version=before.version + 1, changed_at=moment(now))
    one = update(schema.reminders).where(r.id == bindparam("which"))
    connection.execute(one, {"which": before.id, **_columns(after)})
    _note(connection, after, changes, by)
    return after


def history(connection: Connection, ident: str) -> list[ReminderChange]:
    """Return every edit of a reminder, oldest first."""
    query = select(schema.reminder_changes).where(c.reminder_id == text(ident))
    return [_change(row) for row in connection.execute(query.order_by(c.id))]


def _note(
    connection: Connection,
    one: Reminder,
    changes: Mapping[str, tuple[Json, Json]],
    by: By,
) -> None:
    connection.execute(
        insert(schema.reminder_changes),
        [
            {
                "reminder_id": one.id,
                "version": one.version,
                "at": stamp(one.changed_at),
                "actor": text(by.actor),
                "source": by.source.value,
                "field": field,
                "before": dump(before),
                "after": dump(after),
                "undoes": by.undoes,
            }
            for field, (before, after) in changes.items()
        ],
    )


def _safe(one: Reminder) -> Reminder:
    """Return a reminder whose texts both databases take."""
    return replace(
        one,
        name=text(one.name),
        details=text(one.details),
        person=text(one.person),
        message_id=text(one.message_id),
    )


def _there(found: Reminder | None, ident: str, *, removed: bool = False) -> Reminder:
    if found is None:
        raise NotFound(f"there is no reminder {ident}; `relay reminder list` lists all")
    if found.removed_at is not None and not removed:
        raise NotFound(
            f"reminder {ident} was removed; to bring it back: "
            f"relay reminder undo {ident}"
        )
    return found


def _expect(found: Reminder, version: int | None) -> None:
    if version is not None and found.version != version:
        raise StaleVersion(found)


def _concern(user_id: int) -> Any:
    return or_(r.owner_id == user_id, r.assignee_id == user_id)


def _fitting(wanted: ReminderFilter) -> Select[Any]:
    query = select(schema.reminders)
    if not wanted.removed:
        query = query.where(r.removed_at.is_(None))
    if wanted.concerns is not None:
        query = query.where(_concern(wanted.concerns))
    if wanted.undated is not None:
        query = query.where(r.due.is_(None) if wanted.undated else r.due.is_not(None))
    if wanted.due_from is not None:
        query = query.where(r.due >= wanted.due_from.isoformat())
    if wanted.due_until is not None:
        query = query.where(r.due < wanted.due_until.isoformat())
    if wanted.changed_from is not None:
        query = query.where(r.changed_at >= stamp(wanted.changed_from))
    if wanted.before_id:
        query = query.where(r.id < text(wanted.before_id))
    if wanted.text:
        small = text(wanted.text).lower()
        query = query.where(or_(has_text(r.name, small), has_text(r.details, small)))
    equal: Sequence[tuple[Any, Any]] = (
        (r.assignee_id, wanted.assignee),
        (r.status, wanted.status),
        (r.kind, wanted.kind),
        (r.person, text(wanted.person) or None),
        (r.record, text(wanted.record) or None),
        (r.message_id, text(wanted.message_id) or None),
    )
    for column, value in equal:
        if value is not None:
            query = query.where(column == value)
    return query


# ------------------------------------------------------------------ rows


def _columns(one: Reminder) -> dict[str, Any]:
    """Return what an edit may change, and the columns that follow from it."""
    removed_at = one.removed_at
    return {
        "id": one.id,
        "owner_id": one.owner_user_id,
        "assignee_id": one.assignee_user_id,
        "name": one.name,
        "details": one.details,
        "due": None if one.due is None else one.due.isoformat(),
        "priority": one.priority.value,
        "status": one.status.value,
        "kind": one.kind.value,
        "person": one.person,
        "record": one.record,
        "message_id": one.message_id or None,
        "changed_at": stamp(one.changed_at),
        "version": one.version,
        "removed_at": None if removed_at is None else stamp(removed_at),
    }


def of_row(row: Row[Any]) -> Reminder:
    """Return the reminder of a row of the table."""
    return Reminder(
        id=row.id,
        owner_user_id=row.owner_id,
        assignee_user_id=row.assignee_id,
        name=row.name,
        details=row.details,
        due=from_json("due", row.due),
        priority=Priority(row.priority),
        status=Status(row.status),
        kind=Kind(row.kind),
        person=row.person,
        record=row.record,
        message_id=row.message_id or "",
        created_at=moment(row.created_at),
        changed_at=moment(row.changed_at),
        version=row.version,
        removed_at=maybe_moment(row.removed_at),
    )


def _change(row: Row[Any]) -> ReminderChange:
    return ReminderChange(
        reminder_id=row.reminder_id,
        version=row.version,
        at=moment(row.at),
        actor=row.actor,
        source=Source(row.source),
        field=row.field,
        before=load(row.before),
        after=load(row.after),
        undoes=row.undoes,
    )


def _feed(row: Row[Any]) -> Feed:
    return Feed(
        row.user_id, moment(row.created_at), row.created_by, maybe_moment(row.used_at)
    )
