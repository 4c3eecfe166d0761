"""Finds messages and refusals by what a person knows of them, a page at a time.

However many rows there are, a page costs little: it reads from an index, in the order
of the ids, and no more than `WINDOW` rows of each source. A condition that no index
serves (a cause, a text of two letters) is tried on those rows alone, so that a page may
come out short or empty and still say where to go on. Most texts, addresses and domains
have words: `relay.store.search_index` says in which stretches of the log those can
stand, and a page looks into `STRETCHES` of these.

A source is a table with one equality that an index serves: the id of a mail, else a
reason, a state or a user, for each value asked for one source. Their rows are merged.
Nothing is left out by that: a page ends where the first of its sources stopped looking.

Ids begin with the time of receipt, so that a period is a range of ids.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
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
from relay.store.search_index import Words, parts_of
from relay.store.values import stamp

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import ColumnElement, Connection

    from relay.core.model import LogFilter
    from relay.store.search_index import Need, Stretch

WINDOW: Final = 4_000
"""Rows of a source that a page looks at, at most, where no index decides alone."""
STRETCHES: Final = 5
"""Stretches with the words of a question that a page looks at, at most."""
_ID_LENGTH: Final = 26
_LAST_ID: Final = "{"
"""Behind every id: no character of one is greater than z."""
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
    """A range of ids: from where on, and up to where.

    `low` and `high` say the same to Python: no id below the one or above the other.
    """

    lower: tuple[ColumnElement[bool], ...] = ()
    upper: tuple[ColumnElement[bool], ...] = ()
    low: str = ""
    high: str = _LAST_ID

    def within(self, row_id: Any, stretch: Stretch) -> _Bounds | None:
        """Return what of a stretch is in the range; None: nothing."""
        last = _LAST_ID if stretch.last is None else stretch.last
        if last < self.low or stretch.after >= self.high:
            return None
        lower, upper = self.lower, self.upper
        # One bound at each side: see `_look`.
        if stretch.after > self.low:
            lower = (row_id > stretch.after,)
        if last < self.high:
            upper = (row_id <= last,)
        return _Bounds(lower, upper)


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
    words = Words(connection, _words(wanted))
    for source in _sources(wanted):
        found, end = _search(connection, source, limit, words, newest=newest)
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


def _search(
    connection: Connection,
    source: _Source,
    limit: int,
    words: Words,
    *,
    newest: bool,
) -> tuple[list[Hit], str | None]:
    """Return rows of a source, and the id up to which it was looked at; None: all."""
    end = _window(connection, source, newest=newest)
    where = None if end is None else words.stretches(source.table)
    if where is None:
        return _look(connection, source, limit, end, newest=newest)
    hits: list[Hit] = []
    looked = 0
    for stretch in reversed(where) if newest else where:
        bounds = source.bounds.within(source.table.c.id, stretch)
        if bounds is None:
            continue
        if looked == STRETCHES:
            return hits, end
        part = replace(source, bounds=bounds)
        stop = None if stretch.first else _window(connection, part, newest=newest)
        found, stop = _look(connection, part, limit - len(hits), stop, newest=newest)
        hits += found
        if stop is not None:
            return hits, stop
        if stretch.first:
            looked += 1
            # A row of a block that came late may lie below its first one: it is read
            # with the next page, as the block is.
            end = stretch.first if newest else stretch.last
    return hits, None


def _window(connection: Connection, source: _Source, *, newest: bool) -> str | None:
    """Return the id of the last row to look at; None: there are few, or all fit."""
    if not source.others:
        return None
    c = source.table.c
    order = c.id.desc() if newest else c.id
    bounds = (*source.bounds.lower, *source.bounds.upper)
    ids = select(c.id).where(*source.indexed, *bounds).order_by(order)
    last: str | None = connection.scalar(ids.offset(WINDOW - 1).limit(1))
    return last


def _look(
    connection: Connection,
    source: _Source,
    limit: int,
    end: str | None,
    *,
    newest: bool,
) -> tuple[list[Hit], str | None]:
    """Return rows up to `end`, and the last one looked at; None: it was all."""
    table = source.table
    order = table.c.id.desc() if newest else table.c.id
    lower, upper = source.bounds.lower, source.bounds.upper
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
        indexed = (leading == value, *known)
        yield _Source(table, indexed, bounds, tuple(others))


def _bounds(wanted: LogFilter, row_id: Any, slack: timedelta) -> _Bounds:
    """Return a range of ids; it may be wider than what is asked for."""
    lower: list[ColumnElement[bool]] = []
    upper: list[ColumnElement[bool]] = []
    low, high = "", _LAST_ID
    if wanted.after_id is not None and wanted.newest_first:
        high = wanted.after_id
        upper.append(row_id < high)
    elif wanted.after_id is not None:
        low = wanted.after_id
        lower.append(row_id > low)
    if wanted.since is not None:
        first = first_id(wanted.since, -slack)
        lower.append(row_id >= first)
        low = max(low, first)
    if wanted.until is not None:
        last = first_id(wanted.until, slack)
        upper.append(row_id < last)
        high = min(high, last)
    return _Bounds(tuple(lower), tuple(upper), low, high)


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


def _words(wanted: LogFilter) -> tuple[Need, ...]:
    """Return what the index of words can say of the conditions of `_others`."""
    people = {
        parts_of(text, alone=True)
        for one in wanted.addresses
        for text in _spellings(one)
    }
    domains = {
        parts_of(name, alone=True) for one in wanted.domains for name in _names(one)
    }
    texts = [{parts_of(text)} for text in wanted.texts]
    needs = [tuple(need) for need in (people, domains, *texts)]
    return tuple(need for need in needs if need and all(need))


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
