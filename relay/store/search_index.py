"""Says in which stretches of the log a word can stand, so that a search skips the rest.

Messages, and refusals, are taken together in blocks of `BLOCK`, in the order of their
ids. Of each block the words are kept that stand in what a search looks at. A search
reads which words contain what is asked for, then in which blocks each of them stands,
and tries its conditions on the rows of those alone. What no block covers (the rows of
the last half hour, and those that the index has not come to) is read as ever.

The index may name a block too many, never one too few: a row that comes late, with an
id that lies in a block, is found by its count, and the block is read anew. Until then,
at most some minutes after the row came, only a search by words may pass it over.

A word is a run of three or more ASCII letters and digits, in small letters: only these
are the same to Python, SQLite and PostgreSQL. What is asked for is cut in the same way.
Whole words and beginnings of words are looked up; only for what may stand anywhere in a
word all words are gone through.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import delete, exists, func, insert, literal, select, update

from relay.core.ids import first_id
from relay.store import schema
from relay.store.context import Part
from relay.store.values import chunks, upsert

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection, Table

    from relay.store.context import StoreContext

BLOCK: Final = 1000
"""Rows of a block."""
SETTLED: Final = timedelta(minutes=30)
"""Age of the newest row of a block, at least: older ids may yet come before."""
_RECHECKED: Final = 20
"""Blocks that are counted again in a turn: the newest, and the next ones in order."""
_NEWEST: Final = 4
_ORPHANS: Final = 5000
"""Words that are forgotten in one transaction."""
_EVERY: Final = 60
"""Turns from one look for words that stand nowhere to the next."""
_LONGEST: Final = 64
_OVERLAP: Final = _LONGEST // 2
"""Of a longer word parts are kept that lap over; what is asked for is cut to this."""
_WORD: Final = re.compile("[0-9a-z]{3,}")
_MANY_WORDS: Final = 500
"""More words than these contain a part: it leads nowhere."""
_MANY_PLACES: Final = 20_000
_FEW: Final = 16
"""With no more blocks than these it is not worth the while to go through all words."""


class Where(IntEnum):
    """Where a part may stand in a word; what is cheaper to look up comes first."""

    WHOLE = 0
    BEGIN = 1
    INSIDE = 2


Need = tuple[frozenset[tuple[Where, str]], ...]
"""Alternatives, of which each is a set of parts that must all stand in a row."""

b = schema.search_blocks.c
w = schema.search_words.c
p = schema.search_places.c

LOOKED_AT: Final = {
    "messages": ("subject", "header_from", "header_to", "mail_from", "rcpt"),
    "refusals": ("subject", "header_from", "mail_from", "rcpt"),
}
"""The columns that a search by words looks at, by table."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Rows with ids above `after` and up to `last`; empty and None: without a bound.

    Attributes:
        after: The id before the first.
        last: The last id.
        first: The id of the first row of a block; empty where it is no block.
    """

    after: str
    last: str | None
    first: str = ""


def parts_of(text: str, *, alone: bool = False) -> frozenset[tuple[Where, str]]:
    """Return what must stand in the words of a row in which a text stands.

    `alone` says that nothing of a word may stand before or behind the text.
    """
    small = text.lower()
    parts = set()
    for found in _WORD.finditer(small):
        begins = alone or found.start() > 0
        ends = alone or found.end() < len(small)
        if begins:
            where = Where.WHOLE if ends else Where.BEGIN
            parts.add((where, found[0][:_LONGEST]))
        else:
            parts.add((Where.INSIDE, found[0][:_OVERLAP]))
    return frozenset(parts)


def words_of(rows: Iterable[Sequence[str | None]]) -> set[str]:
    """Return the words of rows, as they are kept."""
    words: set[str] = set()
    for row in rows:
        for text in row:
            if text:
                words.update(_WORD.findall(text.lower()))
    for long in [word for word in words if len(word) > _LONGEST]:
        words.remove(long)
        steps = range(0, len(long) - _OVERLAP, _OVERLAP)
        words.update(long[start : start + _LONGEST] for start in steps)
    return words


class Words:
    """What the index knows of the words of one question."""

    def __init__(self, connection: Connection, needs: Sequence[Need]) -> None:
        """Look up nothing yet."""
        self._connection = connection
        self._needs = needs
        self._found: dict[tuple[Where, str], set[int] | None] = {}
        self._stretches: dict[str, list[Stretch] | None] = {}

    def stretches(self, table: Table) -> list[Stretch] | None:
        """Return where rows can be that have what is needed, in the order of ids.

        None: everywhere, or nothing is known. A question has a source for each state
        or user, and several may be of one table: it is looked up once.
        """
        if table.name not in self._stretches:
            self._stretches[table.name] = self._look_up(table)
        return self._stretches[table.name]

    def _look_up(self, table: Table) -> list[Stretch] | None:
        fit: set[int] | None = None
        for need in self._needs:
            found = self._any(need)
            if found is not None:
                fit = found if fit is None else fit & found
        if fit is None:
            return None
        blocks = self._connection.execute(
            select(b.id, b.after_id, b.first_id, b.last_id)
            .where(b.source == table.name)
            .order_by(b.last_id)
        ).all()
        if not blocks:
            return None
        have = [
            Stretch(row.after_id, row.last_id, row.first_id)
            for row in blocks
            if row.id in fit
        ]
        before = [Stretch("", blocks[0].after_id)] if blocks[0].after_id else []
        return [*before, *have, Stretch(blocks[-1].last_id, None)]

    def _any(self, need: Need) -> set[int] | None:
        """Return the blocks that one of the alternatives leads to; None: any block."""
        among: set[int] = set()
        for parts in need:
            found = self._all(parts)
            if found is None:
                return None
            among |= found
        return among

    def _all(self, parts: Iterable[tuple[Where, str]]) -> set[int] | None:
        """Return the blocks in which each part stands; None: no part leads anywhere."""
        fit: set[int] | None = None
        for part in sorted(parts, key=lambda one: (one[0], -len(one[1]))):
            if part[0] is Where.INSIDE and fit is not None and len(fit) <= _FEW:
                break
            if part not in self._found:
                self._found[part] = _blocks_with(self._connection, *part)
            found = self._found[part]
            if found is not None:
                fit = found if fit is None else fit & found
        return fit


def _blocks_with(connection: Connection, where: Where, part: str) -> set[int] | None:
    """Return the blocks with a word that has a part; None: there are too many."""
    # ASCII letters and digits alone: there is nothing to escape.
    fits = {
        Where.WHOLE: w.word == part,
        # No character of a word is greater than z, in the order of any collation.
        Where.BEGIN: w.word.between(part, part.ljust(_LONGEST + 1, "z")),
        Where.INSIDE: w.word.contains(part),
    }[where]
    words = connection.scalars(select(w.id).where(fits).limit(_MANY_WORDS + 1)).all()
    if len(words) > _MANY_WORDS:
        return None
    places = select(p.block_id).where(p.word_id.in_(words)).limit(_MANY_PLACES + 1)
    blocks = connection.scalars(places).all()
    return None if len(blocks) > _MANY_PLACES else set(blocks)


class SearchIndex(Part):
    """Keeps the index up to date, a block at a time; several relays may do so."""

    def __init__(self, context: StoreContext) -> None:
        """Begin with the oldest block."""
        super().__init__(context)
        self._checked = 0
        self._turns = 0

    async def turn(self) -> bool:
        """Take the next block of messages and of refusals; say whether there was one.

        Raises:
            StoreUnavailable: What is not done is done in a later turn.
        """
        taken = False
        for table in (schema.messages, schema.refusals):
            taken |= await self._take(table)
        if not taken:
            await self._recheck()
            if self._turns % _EVERY == 0:
                await self._forget()
            self._turns += 1
        return taken

    async def _take(self, table: Table) -> bool:
        """Make the next block of a table, if it is full and settled."""
        before = first_id(self._context.clock.now(), -SETTLED)

        def read(connection: Connection) -> tuple[str, Sequence[Any]]:
            own = select(func.max(b.last_id)).where(b.source == table.name)
            last = connection.scalar(own) or ""
            ids = select(table.c.id).where(table.c.id > last, table.c.id < before)
            end = connection.scalar(ids.order_by(table.c.id).offset(BLOCK - 1).limit(1))
            if end is None:
                return last, ()
            rows = _rows(table).where(table.c.id > last, table.c.id <= end)
            return last, connection.execute(rows).all()

        after, rows = await self._context.read(read)
        if not rows:
            return False
        words = await asyncio.to_thread(words_of, (row[1:] for row in rows))
        block = {
            "source": table.name,
            "after_id": after,
            "first_id": rows[0].id,
            "last_id": rows[-1].id,
            "rows": len(rows),
        }

        def keep(connection: Connection) -> None:
            # Another relay may have been first.
            new = upsert(connection, schema.search_blocks).on_conflict_do_nothing()
            made = connection.scalar(new.values(block).returning(b.id))
            if made is not None:
                _place(connection, made, words)

        await self._context.write(keep)
        return True

    async def _recheck(self) -> None:
        """Count the rows of some blocks again; read those anew that have changed."""
        checked = self._checked

        def read(connection: Connection) -> tuple[int, list[Any]]:
            newest = select(b.id).order_by(b.id.desc()).limit(_NEWEST)
            left = _RECHECKED - _NEWEST
            following = select(b.id).where(b.id > checked).order_by(b.id).limit(left)
            ids = connection.scalars(following).all()
            wanted = {*ids, *connection.scalars(newest)}
            query = select(schema.search_blocks).where(b.id.in_(wanted))
            changed = []
            for block in connection.execute(query):
                table = schema.metadata.tables[block.source]
                count = select(func.count()).where(*_within(table, block))
                if connection.scalar(count) != block.rows:
                    changed.append(block)
            return (ids[-1] if len(ids) == left else 0), changed

        self._checked, changed = await self._context.read(read)
        for block in changed:
            await self._read_anew(block)

    async def _read_anew(self, block: Any) -> None:
        table = schema.metadata.tables[block.source]

        def read(connection: Connection) -> Sequence[Any]:
            return connection.execute(_rows(table).where(*_within(table, block))).all()

        rows = await self._context.read(read)
        words = await asyncio.to_thread(words_of, (row[1:] for row in rows))

        def keep(connection: Connection) -> None:
            one = b.id == block.id
            connection.execute(
                delete(schema.search_places).where(p.block_id == block.id)
            )
            if rows:
                now = {"first_id": rows[0].id, "rows": len(rows)}
                connection.execute(update(schema.search_blocks).where(one).values(now))
                _place(connection, block.id, words)
                return
            # The oldest refusals go; no block is left out between two others.
            older = exists().where(b.source == block.source, b.last_id < block.last_id)
            gone = delete(schema.search_blocks).where(one)
            if connection.scalar(select(older)):
                connection.execute(
                    update(schema.search_blocks).where(one).values(rows=0)
                )
            else:
                connection.execute(gone)

        await self._context.write(keep)

    async def _forget(self) -> None:
        """Forget words that stand nowhere any more."""
        somewhere = exists().where(p.word_id == w.id)
        unused = select(w.id).where(~somewhere).limit(_ORPHANS)
        ids = await self._context.read(lambda one: one.scalars(unused).all())

        def forget(connection: Connection) -> None:
            for part in chunks(ids):
                these = schema.search_words.c.id.in_(part)
                connection.execute(delete(schema.search_words).where(these, ~somewhere))

        if ids:
            await self._context.write(forget)


def _rows(table: Table) -> Any:
    columns = [table.c[name] for name in LOOKED_AT[table.name]]
    return select(table.c.id, *columns).order_by(table.c.id)


def _within(table: Table, block: Any) -> tuple[Any, Any]:
    return table.c.id > block.after_id, table.c.id <= block.last_id


def _place(connection: Connection, block_id: int, words: set[str]) -> None:
    """Write down that words stand in a block."""
    new = upsert(connection, schema.search_words).on_conflict_do_nothing()
    # In order: relays that insert the same words wait for each other, not in a circle.
    for part in chunks(sorted(words)):
        connection.execute(new, [{"word": word} for word in part])
        these = select(w.id, literal(block_id)).where(w.word.in_(part))
        connection.execute(
            insert(schema.search_places).from_select(["word_id", "block_id"], these)
        )
