"""The live view: what comes and changes, for `--follow`, the API and the pages.

A watcher has a cursor. It gets every message and refusal that came or changed behind
it and fits its filter, in the order of commits, each with the cursor that stands behind
it: whoever goes on from there misses nothing and sees nothing twice.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from relay.core.errors import InvalidInput, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.core.model import LogFilter
    from relay.store import Store

POLL_S: Final = 1.0
"""How often a watcher looks."""
BEAT_S: Final = 15.0
"""A watcher hears at least so often."""
AT_ONCE: Final = 500
"""Changes that are read together."""
MOST_WATCHERS: Final = 32
"""Watchers of one process; the listener has 64 connections for everything."""
MOST_EACH: Final = 6
"""Watchers of one person or token: a browser with some tabs."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A message or refusal as it is now, as `relay log --json` shows it.

    Attributes:
        cursor: Behind it.
        is_new: It came; else it changed, and the row has `changed_at`.
        row: Its values.
    """

    cursor: str
    is_new: bool
    row: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen behind a cursor.

    Attributes:
        seen: What fits, in the order of commits.
        cursor: Where to go on.
        more: There may be more at once.
        lost: What came before `cursor` is not known: list anew.
    """

    seen: tuple[Seen, ...]
    cursor: str
    more: bool = False
    lost: bool = False


class TooManyWatchers(Exception):  # noqa: N818 - an answer
    """There are as many watchers as there may be; `own`: of the one who asks."""

    def __init__(self, *, own: bool) -> None:
        """Say whose they are."""
        super().__init__("too many live views are open")
        self.own = own


async def cursor_now(store: Store) -> str:
    """Return the cursor behind which all that is yet to come will stand."""
    return str(await store.changes.now())


async def look(store: Store, wanted: LogFilter, cursor: str) -> Look:
    """Return what came or changed behind a cursor, and fits.

    Args:
        store: The open store.
        wanted: What fits; its order, limit and `after_id` are not regarded.
        cursor: As this function or `cursor_now` has returned it.

    Raises:
        InvalidInput: The cursor is none.
    """
    place = store.changes.place(cursor)
    if place is None:
        raise InvalidInput("this is no cursor of a live view", "leave it out")
    page = await store.changes.after(place, AT_ONCE)
    rows: dict[str, Any] = {}
    if page.changes:
        ids = tuple(change.row_id for change in page.changes)
        asked = replace(wanted, ids=ids, after_id=None, newest_first=False)
        rows = {str(row["id"]): row for row in await store.log.find(asked)}
    seen = tuple(
        Seen(
            str(change.place),
            change.is_new,
            dict(rows[change.row_id])
            if change.is_new
            else rows[change.row_id] | {"changed_at": change.at},
        )
        for change in page.changes
        if change.row_id in rows
    )
    return Look(seen, str(page.end), page.more, page.lost)


class Feed:
    """The watchers of one process: how many there may be, and their end."""

    def __init__(self, store: Store) -> None:
        """Begin with none; needs a running loop only to be watched."""
        self._store = store
        self._ended = asyncio.Event()
        self._names: list[str] = []

    def close(self) -> None:
        """End every watch at once, and refuse new ones; idempotent."""
        self._ended.set()

    async def watch(
        self, who: str, wanted: LogFilter, cursor: str | None = None
    ) -> AsyncIterator[Look]:
        """Yield what comes, and at least every `BEAT_S` a look that may be empty.

        The first one comes at once. It ends when the feed is closed; close the iterator
        to end it earlier. While the store does not answer it waits.

        Args:
            who: Whose it is, for the limit of each.
            wanted: What fits.
            cursor: Where to begin; None: now.

        Raises:
            TooManyWatchers: There are enough.
            InvalidInput: The cursor is none.
            StoreUnavailable: The store does not answer to begin with.
        """
        if self._ended.is_set() or len(self._names) >= MOST_WATCHERS:
            raise TooManyWatchers(own=False)
        if self._names.count(who) >= MOST_EACH:
            raise TooManyWatchers(own=True)
        self._names.append(who)
        try:
            loop = asyncio.get_running_loop()
            if cursor is None:
                cursor = await cursor_now(self._store)
            found = await look(self._store, wanted, cursor)
            beat = loop.time()
            while True:
                if found.seen or found.lost or loop.time() >= beat:
                    yield found
                    beat = loop.time() + BEAT_S
                if not found.more and await self._wait():
                    return
                try:
                    found = await look(self._store, wanted, found.cursor)
                except StoreUnavailable:
                    found = replace(found, seen=(), more=False, lost=False)
        finally:
            self._names.remove(who)

    async def _wait(self) -> bool:
        """Wait for the next look; say whether the feed was closed."""
        try:
            async with asyncio.timeout(POLL_S):
                await self._ended.wait()
        except TimeoutError:
            return False
        return True
