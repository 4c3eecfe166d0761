"""What happened to each mail and each refusal, for listings and for one at a time.

The names of the dictionaries are stable: scripts and the console read them.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from relay.core.addresses import address_key, domain_of
from relay.core.errors import NotFound
from relay.core.filters import REFUSED
from relay.core.ids import first_id
from relay.core.model import LastMails, LogPage, Waiting
from relay.core.states import TAKEN_BACK, ActivityState, State
from relay.store import schema
from relay.store.context import Part
from relay.store.queue import BY_PEOPLE
from relay.store.search import WINDOW, page
from relay.store.values import chunks, iso, load, maybe_moment, moment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Row, Select

    from relay.core.model import Json, LogFilter

m = schema.messages.c
r = schema.refusals.c
a = schema.activities.c
t = schema.attempts.c

REFUSED_KIND = "refusal"
WAITING = (State.QUEUED, State.CLAIMED, State.HELD, State.UNMATCHED, State.DEAD)
"""States of messages that somebody or something is to deal with."""
_IDS = 1000
"""Ids that are read at once."""
_NAMED = 5
"""Ids named where a shortened one fits several."""


class LogQueries(Part):
    """Operations that only look."""

    async def find(self, wanted: LogFilter) -> list[dict[str, Json]]:
        """Return messages and refusals that fit, oldest first unless asked otherwise.

        Ordered by id, which sorts by time of receipt; `after_id` goes on behind a row
        already seen. A row can appear before one that was listed earlier when its
        session began earlier: a caller that follows the log asks a little further back.
        """
        rows: list[dict[str, Json]] = []
        limit = wanted.limit
        more = True
        while more and (limit is None or len(rows) < limit):
            left = WINDOW if limit is None else min(limit - len(rows), WINDOW)
            found = await self.page(wanted, left)
            rows += map(dict, found.rows)
            more = found.after_id is not None
            wanted = replace(wanted, after_id=found.after_id)
        return rows

    async def page(self, wanted: LogFilter, limit: int) -> LogPage:
        """Return the next rows of `find`, up to `limit`, and where to go on.

        It costs little however many rows there are, so that it may come out short:
        only without `after_id` there is nothing more.
        """

        def read(connection: Connection) -> LogPage:
            hits, end = page(connection, wanted, limit)
            rows = _message_rows(connection, [h.row for h in hits if h.is_message])
            messages = {row["id"]: row for row in rows}
            return LogPage(
                tuple(messages.get(h.id) or _refusal_row(h.row) for h in hits), end
            )

        return await self._context.read(read)

    async def ids(self, wanted: LogFilter) -> AsyncIterator[list[str]]:
        """Yield the ids of messages that fit, oldest first, in lists of up to 1000."""
        wanted = replace(wanted, refused=False, newest_first=False)
        more = True
        while more:

            def read(
                connection: Connection, now: LogFilter = wanted
            ) -> tuple[list[str], str | None]:
                hits, end = page(connection, now, _IDS)
                return [hit.id for hit in hits], end

            found, end = await self._context.read(read)
            if found:
                yield found
            more = end is not None
            wanted = replace(wanted, after_id=end)

    async def show(self, row_id: str) -> dict[str, Json]:
        """Return one message or refusal as `find` does, and its decision `trace`.

        Raises:
            NotFound: There is no such message and no such refusal.
        """
        return await self._context.read(lambda connection: _show(connection, row_id))

    async def owner(self, row_id: str) -> tuple[str, int | None]:
        """Return the kind of a row, `message` or `refusal`, and whose mail it is.

        Raises:
            NotFound: There is no such message and no such refusal.
        """

        def read(connection: Connection) -> tuple[str, int | None]:
            for column, user_id, kind in (
                (m.id, m.user_id, "message"),
                (r.id, r.user_id, REFUSED_KIND),
            ):
                query = select(column, user_id).where(column == row_id)
                row = connection.execute(query).first()
                if row is not None:
                    return kind, row[1]
            text = f"there is no message and no refusal {row_id!r}"
            raise NotFound(text)

        return await self._context.read(read)

    async def blob_id(self, message_id: str) -> str:
        """Return under which id the bytes of a message are kept.

        Raises:
            NotFound: There is no such message.
        """
        query = select(m.blob_id).where(m.id == message_id)
        found: str | None = await self._context.read(lambda c: c.scalar(query))
        if found is None:
            text = f"there is no message {message_id!r}"
            raise NotFound(text)
        return found

    async def attempts(self, message_id: str) -> list[dict[str, Json]]:
        """Return every attempt and every act of a person, oldest first.

        Rows are only added: a retry leaves those from before it. The names are stable:
        `number at started_at event state reason detail actor trace`.
        """
        query = select(schema.attempts).where(t.message_id == message_id)

        def read(connection: Connection) -> list[dict[str, Json]]:
            return [
                {
                    "number": row.number,
                    "at": iso(row.ended_at),
                    "started_at": iso(row.started_at),
                    "event": row.event,
                    "state": row.state,
                    "reason": row.reason,
                    "detail": row.detail,
                    "actor": row.actor,
                    "trace": load(row.trace),
                }
                for row in connection.execute(query.order_by(t.id))
            ]

        return await self._context.read(read)

    async def waiting(self, user_id: int | None = None) -> list[Waiting]:
        """Return how many messages wait in each state, for what, and since when."""
        query = of_waiting(user_id)

        def read(connection: Connection) -> list[Waiting]:
            found = [
                Waiting(
                    State(row.state),
                    row.reason,
                    row.number,
                    moment(row.oldest),
                    moment(row.next) if row.state == State.QUEUED else None,
                )
                for row in connection.execute(query)
            ]
            return sorted(found, key=lambda one: (WAITING.index(one.state), one.reason))

        return await self._context.read(read)

    async def last_mails(self) -> dict[int, LastMails]:
        """Return when each user's last mail came, and the last that was logged."""
        u = schema.users.c
        of_user = m.user_id == u.id
        # As an expression: the index of the user leads to it, that of the state not.
        logged = m.state.concat("") == State.LOGGED
        order = m.id.desc()
        last = select(m.received_at).where(of_user).order_by(order).limit(1)
        last_logged = last.where(logged)
        query = select(
            u.id,
            last.scalar_subquery().label("last"),
            last_logged.scalar_subquery().label("logged"),
        )
        return await self._context.read(
            lambda connection: {
                row.id: LastMails(maybe_moment(row.last), maybe_moment(row.logged))
                for row in connection.execute(query)
            }
        )

    async def received(self, since: datetime) -> dict[int, int]:
        """Return how many messages of each user came since a time."""
        query = (
            select(m.user_id, func.count())
            .where(m.id >= first_id(since), m.user_id.is_not(None))
            .group_by(m.user_id)
        )
        return await self._context.read(
            lambda connection: {
                row[0]: int(row[1]) for row in connection.execute(query)
            }
        )

    async def find_id(self, text: str, user_id: int | None = None) -> tuple[str, str]:
        """Return the id that begins so, and its kind: `message` or `refusal`.

        With a user, rows of others are as if they were not there.

        Raises:
            NotFound: There is none, or there are several; some of them are named.
        """
        return await self._context.read(lambda c: _find_id(c, text, user_id))


def _find_id(connection: Connection, text: str, user_id: int | None) -> tuple[str, str]:
    found: list[tuple[str, str]] = []
    for table, kind in ((m, "message"), (r, REFUSED_KIND)):
        column = table.id
        begins = column.startswith(text, autoescape=True)
        query = select(column).where(column >= text, begins).order_by(column.desc())
        if user_id is not None:
            query = query.where(table.user_id + 0 == user_id)
        found += [(id_, kind) for id_ in connection.scalars(query.limit(_NAMED + 1))]
    if len(found) == 1:
        return found[0]
    if not found:
        problem = f"there is no message and no refusal {text!r}"
    else:
        some = ", ".join(id_ for id_, _ in sorted(found, reverse=True)[:_NAMED])
        more = ", …" if len(found) > _NAMED else ""
        problem = f"several ids begin with {text!r}: {some}{more}"
    raise NotFound(problem)


def _messages() -> Select[Any]:
    # The email of the user comes with it; the raw mail and the trace do not.
    shown = [column for column in schema.messages.c if column is not m.trace]
    return select(*shown, schema.users.c.email).outerjoin(
        schema.users, schema.users.c.id == m.user_id
    )


def _refusals() -> Select[Any]:
    return select(schema.refusals, schema.users.c.email).outerjoin(
        schema.users, schema.users.c.id == r.user_id
    )


def _message_rows(
    connection: Connection, rows: Sequence[Row[Any]]
) -> list[dict[str, Json]]:
    of_mails = {row.mail_id for row in rows} - {None}
    records, files = _records(connection, of_mails), _files(connection, of_mails)
    first = _first(connection, of_mails)
    directions = _directions(connection, of_mails)
    delegates = _Delegates(connection)
    return [
        {
            "id": row.id,
            "kind": "message",
            "state": row.state,
            "received_at": iso(row.received_at),
            "user": row.email,
            "peer": row.peer,
            "mail_from": row.mail_from,
            "rcpt": row.rcpt,
            "from": row.header_from,
            "to": row.header_to,
            "subject": row.subject,
            "message_id": row.rfc_message_id,
            "rfc_message_id": row.rfc_message_id,
            "reply": None,
            "reason": row.reason,
            "attempts": row.attempts,
            "records": records[row.mail_id],
            "files": files[row.mail_id],
            "copy_of": None if (one := first.get(row.mail_id)) == row.id else one,
            "cause": _cause(row.verdict),
            "sent_by": delegates.name(row.user_id, row.header_from),
            "part_of": row.parent_id,
            "part": row.part,
            "direction": directions.get(row.mail_id),
        }
        for row in rows
    ]


class _Delegates:
    """Who sends for whom, as it is set now; the trace has it as it was."""

    def __init__(self, connection: Connection) -> None:
        c = schema.accepted_addresses.c
        query = select(c.user_id, c.address, c.delegate).where(c.delegate != "")
        self._names: dict[int, dict[str, str]] = {}
        for row in connection.execute(query):
            self._names.setdefault(row.user_id, {})[row.address] = row.delegate

    def name(self, user_id: int | None, author: str) -> str | None:
        """Return the delegate who wrote a mail for a user; None: it was no delegate."""
        names = self._names.get(user_id or 0)
        key = address_key(author) if names else None
        if not names or key is None:
            return None
        return names.get(key) or names.get(f"*@{domain_of(key)}")


def _first(connection: Connection, mail_ids: set[int]) -> dict[int | None, str]:
    """Return the message with which each mail came first; the others are its copies."""
    found: dict[int | None, str] = {}
    for part in chunks(sorted(mail_ids)):
        query = select(m.mail_id, func.min(m.id)).where(m.mail_id.in_(part))
        rows = connection.execute(query.group_by(m.mail_id))
        found |= {row.mail_id: row[1] for row in rows}
    return found


def _records(
    connection: Connection, mail_ids: set[int]
) -> defaultdict[int | None, list[dict[str, Json]]]:
    """Return what was written for each mail; its copies share it."""
    found: defaultdict[int | None, list[dict[str, Json]]] = defaultdict(list)
    columns = (a.mail_id, a.object, a.salesforce_id, a.key, a.rule)
    for part in chunks(sorted(mail_ids)):
        query = select(*columns).where(
            a.mail_id.in_(part), a.state == ActivityState.WRITTEN
        )
        for row in connection.execute(query.order_by(a.id)):
            found[row.mail_id].append(
                {
                    "object": row.object,
                    "id": row.salesforce_id,
                    "key": row.key,
                    "rule": row.rule,
                }
            )
    return found


def _files(
    connection: Connection, mail_ids: set[int]
) -> defaultdict[int | None, list[dict[str, Json]]]:
    """Return the files of each mail, wherever they are on their way."""
    found: defaultdict[int | None, list[dict[str, Json]]] = defaultdict(list)
    f = schema.files.c
    for part in chunks(sorted(mail_ids)):
        query = (
            select(schema.files, a.salesforce_id)
            .join(schema.activities, a.key == f.activity_key)
            .where(f.mail_id.in_(part))
            .order_by(f.id)
        )
        for row in connection.execute(query):
            found[row.mail_id].append(
                {
                    "name": row.name,
                    "size_bytes": row.size_bytes,
                    "state": row.state,
                    "id": row.version_id,
                    "document_id": row.document_id,
                    "record_id": row.salesforce_id,
                    "key": row.key,
                    "error": row.error,
                }
            )
    return found


def _refusal_row(row: Row[Any]) -> dict[str, Json]:
    return {
        "id": row.id,
        "kind": "refusal",
        "state": REFUSED,
        "received_at": iso(row.at),
        "user": row.email,
        "peer": row.peer,
        "mail_from": row.mail_from,
        "rcpt": row.rcpt,
        "from": row.header_from,
        "to": "",
        "subject": row.subject,
        "message_id": row.rfc_message_id,
        "rfc_message_id": row.rfc_message_id,
        "reply": row.reply,
        "reason": row.reason,
        "attempts": 0,
        "records": [],
        "files": [],
        "copy_of": None,
        "cause": _cause(row.verdict),
        "sent_by": None,
        "part_of": None,
        "part": None,
        "direction": None,
        "count": row.times,
    }


def _directions(connection: Connection, mail_ids: set[int]) -> dict[int | None, str]:
    """Return for each mail, where it is known, whether it was received or sent."""
    found: dict[int | None, str] = {}
    c = schema.mails.c
    for part in chunks(sorted(mail_ids)):
        query = select(c.id, c.incoming).where(c.id.in_(part))
        for row in connection.execute(query.where(c.incoming.is_not(None))):
            found[row.id] = "inbound" if row.incoming else "outbound"
    return found


def _cause(verdict: str | None) -> str | None:
    """Return the number in the catalogue of causes, None where there is no cause."""
    if verdict is None:
        return None
    found: str | None = load(verdict)["cause"]
    return found


def _verdict(row: Row[Any]) -> dict[str, Json]:
    return {} if row.verdict is None else {"verdict": load(row.verdict)}


# ------------------------------------------------------------------ one row


def _show(connection: Connection, row_id: str) -> dict[str, Json]:
    row = connection.execute(
        _messages().add_columns(m.trace).where(m.id == row_id)
    ).first()
    if row is not None:
        (shown,) = _message_rows(connection, [row])
        planned = _planned(connection, row.mail_id)
        if planned:
            shown["planned"] = planned
        if row.state == State.QUEUED:
            shown["next_attempt_at"] = iso(row.next_attempt_at)
        shown |= _verdict(row)
        trace = load(row.trace) + _attempts(connection, row_id)
        return shown | {"trace": trace + _owners(connection, row.mail_id)}
    row = connection.execute(_refusals().where(r.id == row_id)).first()
    if row is not None:
        return _refusal_row(row) | _verdict(row) | {"trace": _why_refused(row)}
    text = f"there is no message and no refusal {row_id!r}"
    raise NotFound(text)


def _planned(connection: Connection, mail_id: int | None) -> list[Json]:
    """Return the records that are drafted and were never sent, with their fields."""
    columns = (a.object, a.key, a.rule, a.fields)
    query = select(*columns).where(
        a.mail_id == mail_id, a.state == ActivityState.PLANNED
    )
    return [
        {
            "object": row.object,
            "key": row.key,
            "rule": row.rule,
            "fields": load(row.fields),
        }
        for row in connection.execute(query.order_by(a.id))
    ]


def _attempts(connection: Connection, message_id: str) -> list[dict[str, Json]]:
    """Return the steps of each attempt, each attempt closed by its outcome."""
    query = select(schema.attempts).where(t.message_id == message_id).order_by(t.id)
    steps: list[dict[str, Json]] = []
    for row in connection.execute(query):
        steps += load(row.trace)
        by_person = row.event in BY_PEOPLE or row.event == TAKEN_BACK
        words = [f"by {row.actor}"] if by_person else [f"attempt {row.number}"]
        words += [word for word in (row.reason, row.detail) if word]
        steps.append(
            {
                "at": iso(row.ended_at),
                "step": row.event if by_person else "attempt",
                "result": row.state if by_person else row.event,
                "detail": ": ".join(words),
            }
        )
    return steps


def _owners(connection: Connection, mail_id: int | None) -> list[dict[str, Json]]:
    """Say whose the Tasks are that Salesforce makes of the EmailMessages of a mail."""
    query = (
        select(a.object, a.salesforce_id, a.owner, a.owner_due_at, a.created_at)
        .where(
            a.mail_id == mail_id,
            a.state == ActivityState.WRITTEN,
            a.owner.is_not(None),
        )
        .order_by(a.id)
    )
    steps: list[dict[str, Json]] = []
    for row in connection.execute(query) if mail_id is not None else ():
        of = f"the Task of {row.object} {row.salesforce_id}"
        if row.owner_due_at is not None:
            result, detail = "pending", f"{of} goes to {row.owner} next"
        else:
            result, detail = "handed over", f"{of} belongs to {row.owner}"
        at = iso(row.owner_due_at or row.created_at)
        steps.append({"at": at, "step": "owner", "result": result, "detail": detail})
    return steps


def _why_refused(row: Row[Any]) -> list[dict[str, Json]]:
    words = [word for word in (row.reply, row.detail) if word]
    steps = [
        {
            "at": iso(row.at),
            "step": REFUSED,
            "result": row.reason,
            "detail": "; ".join(words),
        }
    ]
    if row.times > 1:
        steps.append(
            {
                "at": iso(row.last_at),
                "step": "counted",
                "result": str(row.times),
                "detail": "further refusals of this peer, in one row",
            }
        )
    return steps


def of_waiting(user_id: int | None = None) -> Select[Any]:
    """Return the query for what waits, of one user or of all.

    The user stands in it as an expression, and so leads to no index of his: that of the
    queue has all that is asked, and the rows are not read.
    """
    own = [] if user_id is None else [m.user_id + 0 == user_id]
    return (
        select(
            m.state,
            m.reason,
            func.count().label("number"),
            func.min(m.received_at).label("oldest"),
            func.min(m.next_attempt_at).label("next"),
        )
        .where(m.state.in_([state.value for state in WAITING]), *own)
        .group_by(m.state, m.reason)
    )
