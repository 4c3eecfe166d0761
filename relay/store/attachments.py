"""The files of mails on their way into Salesforce, and raw mail read in pieces.

A row is one file on one record. `advance` (in `relay.store.ledger`) adds rows together
with the outcome of the message; what happens afterwards is written here, and never
touches a message. All waiting files of a mail are taken together, because a content
that hangs on several records is sent once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from relay.core.errors import IllegalTransition, NotFound
from relay.core.files import FileDraft, FileRow
from relay.core.states import FILE_BY_AUDIT, FILE_TRANSITIONS, ActivityState
from relay.store import schema
from relay.store.context import SLOWEST_ROWS_S, Part
from relay.store.edits import write_audit
from relay.store.row_leases import release_dead
from relay.store.settlement import LateClaims, give_back_files
from relay.store.values import SECOND, chunks, maybe_moment, moment, stamp, text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Row, Select

    from relay.core.files import FileUpdate
    from relay.core.queue import LeaseOwner
    from relay.store.context import StoreContext

files = schema.files
f = schema.files.c
a = schema.activities.c
m = schema.messages.c


@dataclass(frozen=True, slots=True)
class FileLedgerRow:
    """A file on a record, its place in the walk, and the messages it is for."""

    number: int
    file: FileRow
    messages: tuple[str, ...]


class Attachments(Part):
    """The files of mails: claims, progress, counts, and pages for the audit."""

    def __init__(self, context: StoreContext) -> None:
        """Take the shared context; nothing is claimed yet."""
        super().__init__(context)
        self._late_files = LateClaims()

    async def claim(
        self, owner: LeaseOwner, limit: int, lease_s: float
    ) -> list[FileRow]:
        """Take the waiting files of up to `limit` mails, the longest due first.

        All rows of these mails come back; those that are now leased to the caller are
        marked `mine`. A lease that has run out counts for nothing.

        Raises:
            StoreUnavailable: Nothing was taken; or what was is free again with the
                next call.
        """
        now = self._context.now()
        until = now + int(lease_s * SECOND)
        late = self._late_files.now()
        taken: dict[int, int] = {}

        def work(connection: Connection) -> tuple[list[FileRow], set[int]]:
            taken.clear()
            seen = give_back_files(connection, late)
            rows = _claim(connection, str(owner), limit, now, until)
            taken.update((row.id, until) for row in rows if row.mine)
            return rows, seen

        with self._late_files.kept(str(owner), taken):
            rows, seen = await self._context.write(work)
        self._late_files.forget(seen | taken.keys())
        return rows

    async def update(
        self,
        owner: LeaseOwner,
        updates: Sequence[FileUpdate],
        lease_s: float | None = None,
    ) -> set[str]:
        """Write down what happened; return the keys for which that was done.

        With `lease_s` the leases of files that the caller keeps end so long from now.

        To mark a file as sent takes its lease: without it the row is left as it is,
        and its key is not in the answer. An answer of Salesforce is
        accepted without the lease, unless the row has changed meanwhile.

        Raises:
            IllegalTransition: A change is not in the table. Nothing was changed.
            NotFound: A row does not exist. Nothing was changed.
            StoreUnavailable: Nothing was changed.
        """
        if not updates:
            return set()
        until = None if lease_s is None else self._context.now() + int(lease_s * SECOND)
        return await self._context.write(
            lambda c: _update(c, str(owner), updates, until)
        )

    async def release_dead(
        self, owner: LeaseOwner, is_alive: Callable[[str], bool]
    ) -> None:
        """End the leases of dead processes of this host."""
        await release_dead(self._context, files, owner, is_alive)

    async def counts(self) -> dict[ActivityState, int]:
        """Return how many files are in each state."""
        query = select(f.state, func.count()).group_by(f.state)
        rows = await self._context.read(
            lambda connection: connection.execute(query).all()
        )
        found = {row[0]: int(row[1]) for row in rows}
        return {state: found.get(state.value, 0) for state in ActivityState}

    async def page(
        self, since: datetime | None, after: int, limit: int
    ) -> list[FileLedgerRow]:
        """Return the next files, as the ledger's `page` returns records."""
        begins = (
            []
            if since is None
            else [or_(f.created_at >= (at := stamp(since)), f.sent_at >= at)]
        )
        query = (
            files_on_records().where(f.id > after, *begins).order_by(f.id).limit(limit)
        )

        def work(connection: Connection) -> list[FileLedgerRow]:
            rows = connection.execute(query).all()
            of_mail = messages_of_mails(connection, rows)
            return [
                FileLedgerRow(row.id, file_of(row), of_mail.get(row.mail_id, ()))
                for row in rows
            ]

        return await self._context.read(work)

    async def keys_by_version(self, mail_ids: Collection[int]) -> dict[str, set[str]]:
        """Return, by version, the keys of all files of these mails that are it.

        Records of one mail share a file: it carries the key of one of them.
        """

        def work(connection: Connection) -> dict[str, set[str]]:
            found: dict[str, set[str]] = {}
            for part in chunks(sorted(set(mail_ids))):
                query = select(f.version_id, f.key).where(f.mail_id.in_(part))
                for row in connection.execute(query):
                    if row.version_id:
                        found.setdefault(row.version_id, set()).add(row.key)
            return found

        return await self._context.read(work)

    async def known(self, keys: Collection[str]) -> set[str]:
        """Return those of the keys that a file has, of whatever age."""

        def work(connection: Connection) -> set[str]:
            found: set[str] = set()
            for part in chunks(sorted(keys)):
                found.update(connection.scalars(select(f.key).where(f.key.in_(part))))
            return found

        return await self._context.read(work)

    async def mark_gone(self, keys: Collection[str]) -> None:
        """Record that these files were deleted in Salesforce."""
        await self._move_files(
            keys, {"state": ActivityState.GONE.value, "due_at": None}
        )

    async def rewrite(self, keys: Collection[str], actor: str) -> set[str]:
        """Have files sent again that Salesforce does not have any more.

        Returns:
            The keys for which that was done; a file that a worker leases stays.
        """
        now = self._context.now()
        values = {
            "state": ActivityState.PLANNED.value,
            "version_id": None,
            "document_id": None,
            "sent_at": None,
            "due_at": now,
            "error": "",
            "lookups": 0,
            "failures": 0,
        }
        subject = f"{len(keys)} missing files"
        return await self._move_files(keys, values, (actor, subject))

    async def _move_files(
        self,
        keys: Collection[str],
        values: dict[str, Any],
        audited: tuple[str, str] | None = None,
    ) -> set[str]:
        """Change files that are linked and that no worker leases; return their keys."""
        if not keys:
            return set()
        now = self._context.now()
        free = or_(f.lease_until.is_(None), f.lease_until < now)
        fit = [state.value for state in FILE_BY_AUDIT]

        def work(connection: Connection) -> set[str]:
            done: set[str] = set()
            for part in chunks(sorted(keys)):
                changed = connection.execute(
                    update(schema.files)
                    .where(f.key.in_(part), f.state.in_(fit), free)
                    .values(values)
                    .returning(f.key)
                )
                done.update(row.key for row in changed)
            if done and audited:
                actor, subject = audited
                write_audit(
                    connection, now, actor, "files_rewrite", (subject, None, None)
                )
            return done

        return await self._context.write(work, more_s=len(keys) / SLOWEST_ROWS_S)


# ------------------------------------------------------------------ planning


def add_files(connection: Connection, drafts: Sequence[FileDraft], now: int) -> None:
    """Add files that are not there yet; try those again that were refused or held.

    A mail comes here again when its message is logged once more: a person asked for it,
    or another copy of the mail arrived.
    """
    if not drafts:
        return
    make = sqlite if connection.dialect.name == "sqlite" else postgresql
    connection.execute(
        make.insert(files).on_conflict_do_nothing(index_elements=["key"]),
        [_values(draft) | {"created_at": now, "due_at": now} for draft in drafts],
    )
    again = (ActivityState.REFUSED.value, ActivityState.HELD.value)
    for part in chunks([draft.key for draft in drafts]):
        connection.execute(
            update(files)
            .where(f.key.in_(part), f.state.in_(again))
            .values(state=ActivityState.PLANNED.value, due_at=now, error="", failures=0)
        )


def drop_files(connection: Connection, activity_keys: Sequence[str]) -> None:
    """Forget the files of records that are not to be written any more."""
    connection.execute(delete(files).where(f.activity_key.in_(activity_keys)))


def _values(draft: FileDraft) -> dict[str, Any]:
    return {
        "key": draft.key,
        "mail_id": draft.mail_id,
        "activity_key": draft.activity_key,
        "blob_id": draft.blob_id,
        "name": text(draft.name),
        "content_type": text(draft.content_type),
        "size_bytes": draft.size_bytes,
        "sha256": draft.sha256,
        "start_byte": draft.start,
        "end_byte": draft.end,
        "encoding": text(draft.encoding),
        "state": ActivityState.PLANNED.value,
    }


# ------------------------------------------------------------------ claims


def _claim(
    connection: Connection, owner: str, limit: int, now: int, until: int
) -> list[FileRow]:
    free = f.lease_until.is_(None) | (f.lease_until < now)
    due = select(f.id, f.mail_id).where(f.due_at <= now, free)
    first = connection.execute(
        due.order_by(f.due_at, f.id).limit(limit).with_for_update(skip_locked=True)
    ).all()
    mails = sorted({row.mail_id for row in first})
    if not mails:
        return []
    taken = connection.scalars(
        select(f.id)
        .where(f.mail_id.in_(mails), f.due_at <= now, free)
        .with_for_update(skip_locked=True)
    ).all()
    mine = set(taken)
    for part in chunks(sorted(mine)):
        connection.execute(
            update(files)
            .where(f.id.in_(part))
            .values(lease_owner=owner, lease_until=until)
        )
    query = files_on_records().where(f.mail_id.in_(mails)).order_by(f.id)
    return [file_of(row, mine=row.id in mine) for row in connection.execute(query)]


def files_on_records() -> Select[Any]:
    """Return the query for files with the records they are to hang on."""
    return select(files, a.salesforce_id, a.state.label("record_state")).join(
        schema.activities, a.key == f.activity_key
    )


def file_of(row: Row[Any], *, mine: bool = False) -> FileRow:
    """Return a row of `files_on_records` as a value."""
    return FileRow(
        id=row.id,
        draft=FileDraft(
            key=row.key,
            mail_id=row.mail_id,
            activity_key=row.activity_key,
            blob_id=row.blob_id,
            name=row.name,
            content_type=row.content_type,
            size_bytes=row.size_bytes,
            sha256=row.sha256,
            start=row.start_byte,
            end=row.end_byte,
            encoding=row.encoding,
        ),
        state=ActivityState(row.state),
        record_id=row.salesforce_id,
        record_gone=row.record_state == ActivityState.GONE.value,
        created_at=moment(row.created_at),
        version_id=row.version_id,
        document_id=row.document_id,
        sent_at=maybe_moment(row.sent_at),
        due_at=maybe_moment(row.due_at),
        error=row.error,
        lookups=row.lookups,
        failures=row.failures,
        mine=mine,
    )


# ------------------------------------------------------------------ updates


def _update(
    connection: Connection,
    owner: str,
    updates: Sequence[FileUpdate],
    until: int | None,
) -> set[str]:
    rows: dict[str, Row[Any]] = {}
    for part in chunks(sorted({change.key for change in updates})):
        query = select(files).where(f.key.in_(part)).order_by(f.key)
        for row in connection.execute(query.with_for_update()):
            rows[row.key] = row
    done: set[str] = set()
    values: list[dict[str, Any]] = []
    for change in updates:
        if change.key not in rows:
            problem = f"there is no file {change.key}"
            raise NotFound(problem)
        row = rows[change.key]
        ours = row.lease_owner == owner
        old = ActivityState(row.state)
        if not ours and (
            change.state is ActivityState.SENT
            or not (change.version_id or change.document_id)
            or change.state not in FILE_TRANSITIONS[old]
        ):
            continue
        if change.state not in FILE_TRANSITIONS[old]:
            raise IllegalTransition(old, change.state)
        done.add(change.key)
        values.append(_changed(row, change, until, keep=change.keep and ours))
    if values:
        names = [name for name in values[0] if name != "the_key"]
        connection.execute(
            update(files)
            .where(f.key == bindparam("the_key"))
            .values({name: bindparam(name) for name in names}),
            values,
        )
    return done


def _changed(
    row: Row[Any], change: FileUpdate, until: int | None, *, keep: bool
) -> dict[str, Any]:
    due = None if change.due_at is None else stamp(change.due_at)
    return {
        "the_key": row.key,
        "state": change.state.value,
        "due_at": row.due_at if change.keep else due,
        "version_id": change.version_id or row.version_id,
        "document_id": change.document_id or row.document_id,
        "sent_at": row.sent_at if change.sent_at is None else stamp(change.sent_at),
        "error": text(change.error),
        "lookups": row.lookups if change.lookups is None else change.lookups,
        "failures": row.failures if change.failures is None else change.failures,
        "lease_owner": row.lease_owner if keep else None,
        "lease_until": (until or row.lease_until) if keep else None,
    }


def messages_of_mails(
    connection: Connection, rows: Sequence[Row[Any]]
) -> dict[int, tuple[str, ...]]:
    """Return the messages of each mail that one of the rows is for."""
    of_mail: dict[int, tuple[str, ...]] = {}
    for part in chunks({row.mail_id for row in rows}):
        named = select(m.id, m.mail_id).where(m.mail_id.in_(part))
        for message in connection.execute(named.order_by(m.id)):
            before = of_mail.get(message.mail_id, ())
            of_mail[message.mail_id] = (*before, message.id)
    return of_mail
