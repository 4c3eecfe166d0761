"""Tasks of many users as they are in Salesforce, read in as few calls as there can be.

One round for all users is one composite call: the Tasks that changed, of all owners of
one mark together, in the order of SystemModstamp and Id (keyset paging: no row is
skipped however many have one stamp); whether the users are active; whether a few Tasks
of each can still be seen; which org it is; what was deleted, and which Tasks of
whomever were changed, by id alone.

`queryAll` finds deleted and archived Tasks too. Main records of a series are left out:
they are a pattern, and no to-do. So are e-mails, calls and what else is logged.

Source: Object Reference, "Task", "System Fields"; REST API Developer Guide, "Get
Deleted", "Get Updated", "Composite".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from relay.core.ids import record_id
from relay.core.tasks import FIELD_OF, Task, key_of
from relay.salesforce.client import MAX_PART_QUERIES
from relay.salesforce.connection import refused, together
from relay.salesforce.errors import Failure, rule
from relay.salesforce.soql import Query, asks_for, moment, statement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from relay.core.errors import RelayError
    from relay.core.model import Json
    from relay.core.org import OrgSchema
    from relay.salesforce.client import Client, Part
    from relay.salesforce.connection import Connection
    from relay.salesforce.schema import Schema
    from relay.salesforce.soql import Rows

KIND: Final = "reminders"
PAGE: Final = 2000
"""Rows of one query: a page of Salesforce's."""
MAX_OWNERS: Final = 350
"""Owners of one query, so that it fits into a URL."""
REACH: Final = timedelta(days=15)
"""How far back Salesforce tells what was deleted."""
_SYSTEM: Final = (
    *("Id", "OwnerId", "SystemModstamp", "IsDeleted", "IsClosed", "IsArchived"),
    *("CreatedDate", "CreatedById", "WhoId", "WhatId"),
)
_FIRST: Final = "SystemModstamp >= {since}"
_NEXT: Final = (
    "(SystemModstamp > {since} OR (SystemModstamp = {since} AND Id > {after}))"
)
_TOO_OLD: Final = frozenset({"INVALID_REPLICATION_DATE", "EXCEEDED_ID_LIMIT"})


@dataclass(frozen=True, slots=True)
class Mark:
    """How far the Tasks of some owners were read: a stamp, and the last id with it."""

    since: datetime
    after: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """Tasks of the owners of one mark, in order; `mark` is that of the next page.

    `more` says that there may be another page now.
    """

    tasks: tuple[Task, ...]
    mark: Mark
    more: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """What a round asks.

    Attributes:
        owners: By mark, the Salesforce users of whom it holds.
        users: Users of whom it is asked whether they are active.
        samples: Ids of Tasks of which it is asked whether they can be seen.
        deleted_since: Since when deletions are asked for; None: not at all.
    """

    owners: Mapping[Mark, Sequence[str]]
    users: Sequence[str] = ()
    samples: Sequence[str] = ()
    deleted_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """What Salesforce answered.

    Attributes:
        pages: By mark as it was asked.
        active: Users that are active.
        seen: Those of the samples that can be seen, deleted ones too.
        deleted: Ids of Tasks that were deleted.
        complete_since: From then on every deletion is told; None: not asked.
        updated: Ids of Tasks of whomever that were changed, up to a minute ago.
        org: Id of the org.
        calls: How many calls it took.
    """

    pages: Mapping[Mark, Page]
    active: frozenset[str] = frozenset()
    seen: frozenset[str] = frozenset()
    deleted: tuple[str, ...] = ()
    complete_since: datetime | None = None
    updated: tuple[str, ...] = ()
    org: str = ""
    calls: int = 1


@dataclass
class _Slots:
    """The queries of a round, and what each is for."""

    queries: list[Query] = field(default_factory=list)
    about: list[tuple[str, Any]] = field(default_factory=list)

    def add(self, query: Query, what: str, about: Any = None) -> None:
        self.queries.append(query)
        self.about.append((what, about))


class Tasks:
    """Reads Tasks.

    Args:
        connection: What the parts of `Org` share.
        schema: Which fields the org has for our user.
        key_field: The unique field that holds keys; empty: none.
    """

    def __init__(
        self, connection: Connection, schema: Schema, key_field: str = ""
    ) -> None:
        """Keep the parts; nothing is asked yet."""
        self._connection = connection
        self._schema = schema
        self._key_field = key_field

    async def round(self, asked: Asked) -> Answered:
        """Ask everything that a round needs, in one call where it fits.

        Raises:
            OrgPaused: The org cannot be used.
            SalesforceUnavailable: Anything else; nothing is known.
        """
        schema = await self._schema.get()
        now = self._connection.stats.server_now()
        slots = self._slots(asked, schema)
        paths = _paths(asked, now)
        size = MAX_PART_QUERIES
        parts = [
            slots.queries[at : at + size] for at in range(0, len(slots.queries), size)
        ]

        def asking(
            part: Sequence[Query], also: Sequence[str]
        ) -> Callable[[Client], tuple[list[Rows | Failure], list[Part | None]]]:
            return lambda client: client.mixed(KIND, part, also)

        threads = self._connection.threads
        jobs = [
            threads.run(asking(part, paths if not at else ()))
            for at, part in enumerate(parts)
        ]
        answers = await together(jobs)
        rows = [each for found, _ in answers for each in found]
        deleted = _changes(answers[0][1], _start(asked, now))
        return _answered(slots, rows, deleted, self._key(schema), len(parts))

    async def read(self, ids: Sequence[str]) -> dict[str, Task]:
        """Return Tasks by id, deleted and archived ones too; others are left out.

        Raises:
            RelayError: They could not be read; nothing is known.
        """
        schema = await self._schema.get()
        valid = [sfid for one in ids if (sfid := record_id(one))]
        template = (
            f"SELECT {', '.join(self._fields(schema))} FROM Task WHERE Id IN {{}}"  # noqa: S608 - names are describe's
        )
        asks = asks_for(template, valid, deleted=True)
        answered = await self._connection.queries.ask(
            KIND, asks, whole=True, pauses=False
        )
        key = self._key(schema)
        tasks = [_task(row, key) for _, rows in answered for row in rows]
        return {task.id: task for task in tasks if task}

    def _key(self, schema: OrgSchema) -> str:
        name = self._key_field
        return name if name and schema.field("Task", name) else ""

    def _fields(self, schema: OrgSchema) -> list[str]:
        key = self._key(schema)
        named = [*_SYSTEM, *FIELD_OF.values(), *([key] if key else [])]
        return [name for name in named if schema.field("Task", name)]

    def _slots(self, asked: Asked, schema: OrgSchema) -> _Slots:
        slots = _Slots()
        for mark, owners in asked.owners.items():
            for at in range(0, len(owners), MAX_OWNERS):
                part = owners[at : at + MAX_OWNERS]
                slots.add(self._changed(schema, mark, part), "changed", mark)
        for at in range(0, len(asked.users), MAX_OWNERS):
            users = asked.users[at : at + MAX_OWNERS]
            slots.add(
                Query(
                    statement(
                        "SELECT Id FROM User WHERE IsActive = true AND Id IN {}",
                        list(users),
                    )
                ),
                "users",
            )
        for at in range(0, len(asked.samples), MAX_OWNERS):
            samples = asked.samples[at : at + MAX_OWNERS]
            text = statement("SELECT Id FROM Task WHERE Id IN {}", list(samples))
            slots.add(Query(text, deleted=True), "samples")
        slots.add(Query("SELECT Id FROM Organization"), "org")
        return slots

    def _changed(self, schema: OrgSchema, mark: Mark, owners: Sequence[str]) -> Query:
        fields = self._fields(schema)
        conditions = ["OwnerId IN {owners}"]
        if schema.field("Task", "IsRecurrence"):
            conditions.append("IsRecurrence = false")
        if schema.field("Task", "TaskSubtype"):
            conditions.append("TaskSubtype = 'Task'")
        conditions.append(_NEXT if mark.after else _FIRST)
        where = statement(
            " AND ".join(conditions),
            owners=list(owners),
            since=mark.since,
            after=mark.after,
        )
        return Query(
            f"SELECT {', '.join(fields)} FROM Task WHERE {where} "  # noqa: S608 - names are describe's
            f"ORDER BY SystemModstamp, Id LIMIT {PAGE}",
            deleted=True,
        )


def _paths(asked: Asked, now: datetime) -> list[str]:
    """Return the paths that ask what was deleted, and what was changed."""
    if asked.deleted_since is None:
        return []
    end = minute(now) + timedelta(minutes=1)
    window = f"start={written(_start(asked, now))}&end={written(end)}"
    return [f"sobjects/Task/deleted/?{window}", f"sobjects/Task/updated/?{window}"]


def _start(asked: Asked, now: datetime) -> datetime:
    """Return since when deletions are asked for, as far as they are told."""
    since = min(asked.deleted_since or now, now)
    return max(minute(since), minute(now - REACH) + timedelta(minutes=1))


def _answered(
    slots: _Slots,
    answers: Sequence[Rows | Failure],
    changes: tuple[tuple[str, ...], datetime | None, tuple[str, ...]],
    key_field: str,
    calls: int,
) -> Answered:
    """Put the answers together.

    Raises:
        RelayError: A part has no answer; half an answer would read as "not there".
    """
    pages: dict[Mark, Page] = {}
    active: set[str] = set()
    seen: set[str] = set()
    org = ""
    for (what, about), rows in zip(slots.about, answers, strict=True):
        if isinstance(rows, Failure):
            raise refused(KIND, rows, pauses=False)
        ids = [sfid for row in rows if (sfid := record_id(row.get("Id") or ""))]
        if what == "changed":
            pages[about] = _joined(pages.get(about), _page(rows, about, key_field))
        elif what == "users":
            active |= set(ids)
        elif what == "samples":
            seen |= set(ids)
        else:
            org = ids[0] if ids else ""
    return Answered(pages, frozenset(active), frozenset(seen), *changes, org, calls)


def _page(rows: Rows, mark: Mark, key_field: str) -> Page:
    tasks = [task for row in rows if (task := _task(row, key_field))]
    more = len(rows) >= PAGE
    if more and tasks:
        mark = Mark(tasks[-1].stamp, tasks[-1].id)
    return Page(tuple(tasks), mark, more)


def _joined(one: Page | None, other: Page) -> Page:
    """Return both pages of one mark; what is behind the first end comes again."""
    if one is None:
        return other
    ends = [page.mark for page in (one, other) if page.more]
    mark = min(ends, key=lambda end: (end.since, end.after)) if ends else one.mark
    return Page((*one.tasks, *other.tasks), mark, bool(ends))


def _changes(
    also: Sequence[Part | None], start: datetime
) -> tuple[tuple[str, ...], datetime | None, tuple[str, ...]]:
    """Return what was deleted, since when that is complete, and what was changed."""
    if not also:
        return (), None, ()
    deleted, updated = also[0], also[1]
    if deleted is None or not deleted.ok or not isinstance(deleted.body, dict):
        failure = deleted.failure() if deleted is not None else None
        if failure is not None and failure.code in _TOO_OLD:
            return (), datetime.max.replace(tzinfo=UTC), ()
        raise _unread("what was deleted", failure)
    body: Mapping[str, Json] = deleted.body
    gone = [
        sfid
        for one in body.get("deletedRecords") or ()
        if isinstance(one, dict) and (sfid := record_id(one.get("id") or ""))
    ]
    return (
        tuple(gone),
        max(start, moment(body.get("earliestDateAvailable"))),
        _ids(updated),
    )


def _ids(updated: Part | None) -> tuple[str, ...]:
    """Return the ids that were changed; none where Salesforce does not tell."""
    if updated is None or not updated.ok or not isinstance(updated.body, dict):
        return ()
    return tuple(
        sfid
        for one in updated.body.get("ids") or ()
        if isinstance(one, str) and (sfid := record_id(one))
    )


def _unread(what: str, failure: Failure | None) -> RelayError:
    if failure is None:
        row = rule("", HTTPStatus.OK)
        failure = Failure("unreadable", what, row, well_formed=False)
    return refused(KIND, failure, pauses=False)


def _task(row: Mapping[str, Any], key_field: str) -> Task | None:
    sfid = record_id(row.get("Id") or "")
    if sfid is None:
        return None
    key = row.get(key_field) if key_field else None
    return Task(
        sfid,
        record_id(row.get("OwnerId") or "") or "",
        moment(row.get("SystemModstamp")),
        {name: row[name] for name in FIELD_OF.values() if name in row},
        is_closed=row.get("IsClosed") is True,
        is_deleted=row.get("IsDeleted") is True,
        is_archived=row.get("IsArchived") is True,
        created_at=moment(row.get("CreatedDate")),
        created_by=record_id(row.get("CreatedById") or "") or "",
        who=record_id(row.get("WhoId") or "") or "",
        what=record_id(row.get("WhatId") or "") or "",
        key=key if isinstance(key, str) and key else key_of(row.get("Description")),
    )


def minute(at: datetime) -> datetime:
    """Return the minute that a moment is in: deletions are told by the minute."""
    return at.astimezone(UTC).replace(second=0, microsecond=0)


def written(at: datetime) -> str:
    """Return a moment as a part of a URL."""
    return quote(at.strftime("%Y-%m-%dT%H:%M:%S+00:00"), safe="")


def owners_in(marks: Iterable[tuple[Mark, str]]) -> dict[Mark, list[str]]:
    """Return the owners of each mark, in order."""
    found: dict[Mark, list[str]] = {}
    for mark, owner in sorted(
        marks, key=lambda one: (one[0].since, one[0].after, one[1])
    ):
        found.setdefault(mark, []).append(owner)
    return found
