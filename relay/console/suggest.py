"""What may come next in a filter: keys, and the values that a key knows.

The line of a filter is completed in the same way wherever it is typed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from relay.core.filters import KEYS, STATES
from relay.sender.causes import BY_REASON, CAUSES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from relay.core.access import Caller
    from relay.store import Store

MOST: Final = 12
_TELLING: Final = 3
_TIMES: Final = ("1h", "24h", "7d", "today", "yesterday")
_WORD: Final = re.compile(r"\S*\Z")


async def suggest(store: Store, text: str, who: Caller) -> list[str]:
    """Return what the last word of a filter may become, the likeliest first.

    Args:
        store: Knows users, and the reasons that there are.
        text: The filter up to the place where it is typed.
        who: A rep is shown no other user.
    """
    found = _WORD.search(text)
    word = found.group() if found else ""
    key, colon, begun = word.partition(":")
    if not colon:
        return [f"{one}:" for one in KEYS if one.startswith(key.lower())][:MOST]
    key = key.lower().replace("_", "-")
    *before, last = begun.split(",")
    head = f"{key}:" + "".join(f"{one}," for one in before)
    values = await _values(store, key, who)
    fitting = dict.fromkeys(
        one for one in _ranked(values, last.lower()) if one not in before
    )
    return [head + one for one in fitting][:MOST]


def _ranked(values: Iterable[str], begun: str) -> Iterator[str]:
    """Yield what begins so, then what has more than a letter or two of it anywhere."""
    values = list(values)
    yield from (one for one in values if one.lower().startswith(begun))
    if len(begun) >= _TELLING:
        yield from (one for one in values if begun in one.lower())


async def _values(store: Store, key: str, who: Caller) -> list[str]:
    """Return the values that a key knows; of most keys none are known."""
    if key == "state":
        return list(STATES)
    if key in {"since", "until"}:
        return list(_TIMES)
    if key == "cause":
        return [str(number) for number in CAUSES]
    if key == "user":
        return sorted(
            user.email
            for user in await store.directory.users()
            if who.own_only in {None, user.id} and user.removed_at is None
        )
    if key == "reason":
        waiting = await store.log.waiting(who.own_only)
        return [
            *dict.fromkeys([one.reason for one in waiting if one.reason]),
            *BY_REASON,
        ]
    return []
