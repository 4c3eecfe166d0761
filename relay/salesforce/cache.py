"""What was found for an address a moment ago, so that a flood asks once.

An entry is believed for `cache_s` seconds after its question was asked, "nobody has
this address" for `cache_negative_s`. So a record that has just been made is hidden for
no longer than that; and whoever asks anew (a person's retry) is never answered from
here. A write that Salesforce refuses because a record has changed empties the cache.
The number of entries is bounded; the oldest make room.

Used by one event loop; not for threads.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from relay.core.model import Found
from relay.core.org import LookupResult

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from relay.config import SalesforceSettings
    from relay.core.clock import Clock
    from relay.core.model import Candidate, OpportunityRole
    from relay.core.org import SalesforceUser

MAX_ENTRIES: Final = 10_000
"""Addresses that are remembered at a time."""

Key = tuple[str, str]
"""`person`, `user` or `id`, and the address key or id."""


@dataclass(frozen=True, slots=True)
class _Entry:
    asked_at_s: float
    candidates: tuple[Candidate, ...] = ()
    roles: tuple[tuple[str, tuple[OpportunityRole, ...]], ...] = ()
    users: tuple[SalesforceUser, ...] = ()

    @property
    def empty(self) -> bool:
        return not (self.candidates or self.users)


@dataclass(frozen=True, slots=True)
class Question:
    """What a look-up asks for: address keys, users' address keys, user ids."""

    addresses: tuple[str, ...] = ()
    user_emails: tuple[str, ...] = ()
    user_ids: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Say whether anything is asked."""
        return bool(self.addresses or self.user_emails or self.user_ids)

    @property
    def keys(self) -> Iterable[Key]:
        """Return what is asked for, as keys of the cache."""
        yield from (("person", key) for key in self.addresses)
        yield from (("user", key) for key in self.user_emails)
        yield from (("id", sfid) for sfid in self.user_ids)


class LookupCache:
    """Answers of look-ups, each for a few seconds."""

    def __init__(
        self,
        settings: SalesforceSettings,
        clock: Clock,
        *,
        max_entries: int = MAX_ENTRIES,
    ) -> None:
        """Start empty."""
        self._settings = settings
        self._clock = clock
        self._max_entries = max_entries
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()
        self._forgotten = 0

    def __len__(self) -> int:
        """Return how many addresses are remembered."""
        return len(self._entries)

    def forget(self) -> None:
        """Drop everything: something in the org has changed.

        Also answers to questions that are on their way now will not be kept.
        """
        self._entries.clear()
        self._forgotten += 1

    def split(
        self, question: Question, fresh: Collection[str] = ()
    ) -> tuple[LookupResult, Question, int]:
        """Return what is known, what is left to be asked, and a mark for `keep`.

        Args:
            question: What is wanted.
            fresh: Keys and ids that are to be asked anew.
        """
        now_s = self._clock.boottime_s()
        known: list[_Entry] = []
        left: dict[str, list[str]] = {"person": [], "user": [], "id": []}
        for key in question.keys:
            entry = self._entries.get(key)
            if entry is None or key[1] in fresh or not self._fits(entry, now_s):
                left[key[0]].append(key[1])
            else:
                known.append(entry)
        rest = Question(tuple(left["person"]), tuple(left["user"]), tuple(left["id"]))
        return _merged(known), rest, self._forgotten

    def keep(
        self, asked: Question, result: LookupResult, asked_at_s: float, mark: int
    ) -> None:
        """Remember the answer to a question that was asked at `asked_at_s`."""
        if mark != self._forgotten:
            return
        for key in asked.keys:
            self._entries.pop(key, None)
            self._entries[key] = _entry(key, result, asked_at_s)
        while len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)

    def _fits(self, entry: _Entry, now_s: float) -> bool:
        settings = self._settings
        longest = settings.cache_negative_s if entry.empty else settings.cache_s
        return 0 <= now_s - entry.asked_at_s < longest


def _entry(key: Key, result: LookupResult, asked_at_s: float) -> _Entry:
    kind, value = key
    if kind == "person":
        candidates = result.found.candidates.get(value, ())
        roles = tuple(
            (c.id, result.found.roles[c.id])
            for c in candidates
            if c.id in result.found.roles
        )
        return _Entry(asked_at_s, candidates, roles)
    users = tuple(
        user
        for user in result.users
        if value == (user.email_key if kind == "user" else user.id)
    )
    return _Entry(asked_at_s, users=users)


def _merged(entries: Sequence[_Entry]) -> LookupResult:
    found = Found(
        {e.candidates[0].email_key: e.candidates for e in entries if e.candidates},
        {sfid: roles for e in entries for sfid, roles in e.roles},
    )
    users = {user.id: user for e in entries for user in e.users}
    return LookupResult(found, tuple(users[sfid] for sfid in sorted(users)))


def joined(one: LookupResult, other: LookupResult) -> LookupResult:
    """Return both answers as one."""
    found = Found(
        {**one.found.candidates, **other.found.candidates},
        {**one.found.roles, **other.found.roles},
    )
    users = {user.id: user for user in (*one.users, *other.users)}
    return LookupResult(found, tuple(users[sfid] for sfid in sorted(users)))
