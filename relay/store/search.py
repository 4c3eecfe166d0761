"""Finds messages and refusals by what a person knows of them, a page at a time.

However many rows there are, a page costs little: it reads from an index, in the order
of the ids, and no more than `WINDOW` rows of each source. A condition that no index
serves (a text, a domain) is tried on those rows alone, so that a page may come out
short or empty and still say where to go on.

A source is a table with one equality that an index serves: the id of a mail, else a
reason, a state or a user, for each value asked for one source. Their rows are merged.
Nothing is left out by that: a page ends where the first of its sources stopped looking.

Ids begin with the time of receipt, so that a period is a range of ids.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Text, and_, func, literal, or_, select, text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from relay.core.addresses import address_key, domain_key, spellings, unicode_domain
from relay.core.filters import REFUSED
from relay.core.ids import first_id
from relay.core.states import State
from relay.store import schema
from relay.store.database import LOWER
from relay.store.refusals import is_no_probe
from relay.store.values import stamp

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import ColumnElement, Connection

    from relay.core.model import LogFilter

WINDOW: Final = 4_000
"""Rows of a source that a page looks at, at most, where no index decides alone."""
_ID_LENGTH: Final = 26
_SLACK: Final = timedelta(hours=1)
"""How far the time in a message's id may be from its time of receipt, at most."""
_COUNTED: Final = timedelta(hours=26)
"""The same for a refusal, whose row may count a day."""

_PLAN_ANEW: Final = text("SET LOCAL plan_cache_mode = force_custom_plan")
"""PostgreSQL would plan a statement anew five times, and then once for all values: the
few of a rare state would be looked for among all messages.

Source: PostgreSQL documentation, "plan_cache_mode".
"""

m = schema.messages.c
r = schema.refusals.c


@dataclass(frozen=True, slots=True)
class Hit:
    """A row that fits: its id, whether it is a message, and its columns."""

    id: str
    is_message: bool
    row: Any


@dataclass(frozen=True, slots=True)
class _Bounds:
    """A range of ids: from where on, and up to where."""

    lower: tuple[ColumnElement[bool], ...] = ()
    upper: tuple[ColumnElement[bool], ...] = ()


@dataclass(frozen=True, slots=True)
class _Source:
    """A table, what an index serves of the question, and what else must hold."""

    table: Any
    indexed: tuple[ColumnElement[bool], ...]
    bounds: _Bounds
    others: tuple[ColumnElement[bool], ...]

    @property
    def is_message(self) -> bool:
        return self.table is schema.messages


def page(
    connection: Connection, wanted: LogFilter, limit: int
) -> tuple[list[Hit], str | None]:
    """Return up to `limit` rows that fit, and behind which id to go on; None: the end.

    Ordered as `wanted` says, behind its `after_id`; its own limit is not regarded.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(_PLAN_ANEW)
    newest = wanted.newest_first
    hits: list[Hit] = []
    ends: list[str] = []
    for source in _sources(wanted):
        found, end = _look(connection, source, limit, newest=newest)
        hits += found
        if end is not None:
            ends.append(end)
    hits.sort(key=lambda hit: hit.id, reverse=newest)
    if ends:
        # Behind it a source has not looked: another one's rows there must wait.
        end = max(ends) if newest else min(ends)
        hits = [hit for hit in hits if (hit.id >= end if newest else hit.id <= end)]
    if len(hits) > limit:
        return hits[:limit], hits[limit - 1].id
    if not ends:
        return hits, None
    return hits, end


def _look(
    connection: Connection, source: _Source, limit: int, *, newest: bool
) -> tuple[list[Hit], str | None]:
    """Return rows of a source, and the id up to which it was looked at; None: all."""
    table = source.table
    order = table.c.id.desc() if newest else table.c.id
    end: str | None = None
    lower, upper = source.bounds.lower, source.bounds.upper
    if source.others:
        ids = select(table.c.id).where(*source.indexed, *lower, *upper)
        end = connection.scalar(ids.order_by(order).offset(WINDOW - 1).limit(1))
        # In the place of the bound at that side: of two, a database may begin at the
        # farther one, and pass over every row between.
        if end is not None and newest:
            lower = (table.c.id >= end,)
        elif end is not None:
            upper = (table.c.id <= end,)
    within = (*source.indexed, *lower, *upper)
    users = schema.users.c
    email = select(users.email).where(users.id == table.c.user_id).scalar_subquery()
    columns = [column for column in table.c if column is not m.trace]
    rows = connection.execute(
        select(*columns, email.label("email"))
        .where(*within, *source.others)
        .order_by(order)
        .limit(limit)
    ).all()
    hits = [Hit(row.id, source.is_message, row) for row in rows]
    return hits, hits[-1].id if len(hits) == limit else end


# ------------------------------------------------------------------ what is asked


def _sources(wanted: LogFilter) -> Iterator[_Source]:
    states = tuple(dict.fromkeys((*wanted.states, *_one(wanted.state))))
    of_messages = tuple(state for state in states if state != REFUSED)
    if wanted.refused is not True and (of_messages or not states):
        yield from _messages(wanted, of_messages)
    if wanted.refused is not False and (REFUSED in states or not states):
        yield from _refusals(wanted)


def _one(value: Any) -> tuple[Any, ...]:
    return () if value is None else (str(value),)


def _user_ids(wanted: LogFilter) -> tuple[int, ...]:
    own = () if wanted.user_id is None else (wanted.user_id,)
    return tuple(dict.fromkeys((*wanted.user_ids, *own)))


def _messages(wanted: LogFilter, states: Sequence[str]) -> Iterator[_Source]:
    table = schema.messages
    # Nearly every message is logged: that state leads nowhere.
    rare = () if State.LOGGED.value in states else states
    asked: list[tuple[Any, Sequence[Any], bool]] = [
        (m.rfc_message_id, wanted.rfc_message_ids, True),
        (m.reason, wanted.reasons, True),
        (m.state, states, bool(rare)),
        (m.user_id, _user_ids(wanted), True),
        (m.state, states, True),
    ]
    others = _others(wanted, table)
    if wanted.since is not None:
        others.append(m.received_at >= stamp(wanted.since))
    if wanted.until is not None:
        others.append(m.received_at < stamp(wanted.until))
    yield from _split(wanted, table, asked, others, _SLACK)


def _refusals(wanted: LogFilter) -> Iterator[_Source]:
    table = schema.refusals
    others = _others(wanted, table)
    if wanted.rfc_message_ids:
        others.append(r.rfc_message_id.in_(wanted.rfc_message_ids))
    if wanted.reasons:
        others.append(r.reason.in_(wanted.reasons))
    if wanted.since is not None:
        others.append(r.last_at >= stamp(wanted.since))
    if wanted.until is not None:
        others.append(r.at < stamp(wanted.until))
    if not wanted.probes:
        others.append(is_no_probe())
    asked = [(r.user_id, _user_ids(wanted), True)]
    yield from _split(wanted, table, asked, others, _COUNTED)


def _split(
    wanted: LogFilter,
    table: Any,
    asked: Sequence[tuple[Any, Sequence[Any], bool]],
    others: list[ColumnElement[bool]],
    slack: timedelta,
) -> Iterator[_Source]:
    """Yield a source for each value of the first question that an index serves."""
    bounds = _bounds(wanted, table.c.id, slack)
    among: tuple[ColumnElement[bool], ...] = ()
    leading = None
    if wanted.ids is None and not wanted.begins:
        leading = next(
            (column for column, values, fit in asked if values and fit), None
        )
    if wanted.ids is not None:
        among = (table.c.id.in_(wanted.ids),)
    led: Sequence[Any] = ()
    done = set()
    for column, values, _ in asked:
        if not values or column.name in done:
            continue
        done.add(column.name)
        if column is leading:
            led = values
        else:
            # As an expression, which keeps the database from taking its index instead.
            plain = column + 0 if column.name == "user_id" else column.concat("")
            others.append(plain.in_(values))
    for begin in wanted.begins:
        # No character of an id is greater than z, in the order of any collation.
        last = begin.ljust(_ID_LENGTH, "z")
        these = _Bounds(
            (*bounds.lower, table.c.id >= begin), (*bounds.upper, table.c.id <= last)
        )
        yield _Source(table, among, these, tuple(others))
    if wanted.begins:
        return
    if leading is None:
        yield _Source(table, among, bounds, tuple(others))
        return
    for value in dict.fromkeys(led):
        # Said again for an index that has only rows with a reason.
        known = (leading != "",) if leading is m.reason and value else ()
        yield _Source(table, (leading == value, *known), bounds, tuple(others))


def _bounds(wanted: LogFilter, row_id: Any, slack: timedelta) -> _Bounds:
    """Return a range of ids; it may be wider than what is asked for."""
    lower: list[ColumnElement[bool]] = []
    upper: list[ColumnElement[bool]] = []
    if wanted.after_id is not None:
        after = wanted.after_id
        (upper if wanted.newest_first else lower).append(
            row_id < after if wanted.newest_first else row_id > after
        )
    if wanted.since is not None:
        lower.append(row_id >= first_id(wanted.since, -slack))
    if wanted.until is not None:
        upper.append(row_id < first_id(wanted.until, slack))
    return _Bounds(tuple(lower), tuple(upper))


# ------------------------------------------------------------------ what no index has


def _others(wanted: LogFilter, table: Any) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    c = table.c
    to = [] if table is schema.refusals else [c.header_to]
    if wanted.addresses:
        places = [c.header_from, c.mail_from, c.rcpt, *to]
        found.append(
            or_(
                *(
                    _stands(place, spelling, f" {spelling} ")
                    for one in wanted.addresses
                    for spelling in _spellings(one)
                    for place in places
                )
            )
        )
    if wanted.domains:
        found.append(
            or_(
                *(
                    _stands(place, f"@{name}", f"@{name} ")
                    for domain in wanted.domains
                    for name in _names(domain)
                    for place in (c.header_from, c.mail_from)
                )
            )
        )
    for part in wanted.texts:
        # Not in the relay address: it is a secret that must not be guessed by parts.
        places = [c.subject, c.header_from, c.mail_from, *to]
        small = part.lower()
        fits = (has_text(place, small) for place in places)
        found.append(or_(*fits))
    if wanted.causes:
        # The verdict is compact JSON.
        marks = (f'"cause":"{cause}"' for cause in wanted.causes)
        has = (c.verdict.contains(mark, autoescape=True) for mark in marks)
        found.append(and_(c.verdict.is_not(None), or_(*has)))
    return found


class _Lower(FunctionElement[str]):
    """A text in small letters, of every script: SQLite itself knows those of ASCII."""

    inherit_cache = True
    type = Text()


@compiles(_Lower)
def _lower(element: _Lower, compiler: Any, **options: Any) -> str:
    return f"lower({compiler.process(element.clauses, **options)})"


@compiles(_Lower, "sqlite")
def _lower_sqlite(element: _Lower, compiler: Any, **options: Any) -> str:
    return f"{LOWER}({compiler.process(element.clauses, **options)})"


def _small(column: Any, text: str) -> Any:
    """Return a column in small letters, as far as a text needs it: ASCII is fast."""
    return func.lower(column) if text.isascii() else _Lower(column)


def has_text(column: Any, small: str) -> ColumnElement[bool]:
    """Say whether a text in small letters stands in a column."""
    found: ColumnElement[bool] = _small(column, small).contains(small, autoescape=True)
    return found


def _stands(column: Any, part: str, whole: str) -> ColumnElement[bool]:
    """Say whether a text stands in a column with nothing of an address around it.

    `part` is what is looked for first: it is cheap, and seldom there.
    """
    words = column
    for mark in "<>,;":
        words = func.replace(words, mark, " ")
    words = literal(" ").concat(_small(words, part)).concat(" ")
    return and_(has_text(column, part), words.contains(whole, autoescape=True))


def _spellings(address: str) -> set[str]:
    key = address_key(address)
    written = address.strip().lower()
    return {written} if key is None else {written, *map(str.lower, spellings(key))}


def _names(domain: str) -> set[str]:
    key = domain_key(domain)
    return {key.lower(), unicode_domain(key).lower(), domain.lower()}
