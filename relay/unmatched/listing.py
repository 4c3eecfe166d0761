"""Unmatched messages, each with the records that may be meant.

Searching costs API calls, so that it happens when somebody looks, and what was found is
kept in the store for a while: one call for a message that is shown; for a list, at most
`LIST_CALLS`. A list is there also without Salesforce; then it has the candidates that
are known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from relay.core.errors import NotFound, OrgPaused, TransientError
from relay.match.candidates import rank

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from relay.core.model import Person
    from relay.core.unmatched import (
        Scored,
        SearchHit,
        UnmatchedFilter,
        UnmatchedMessage,
    )
    from relay.salesforce import Org
    from relay.store import Store

FRESH_S: Final = 900.0
"""How long a search is believed."""
LIST_CALLS: Final = 5
"""Searches that one list makes at most, each one call."""
SHOWN: Final = 5
"""Candidates of a person that are shown."""
_TOGETHER: Final = 5
"""People of one search; see `relay.salesforce.search`."""


@dataclass(frozen=True, slots=True)
class Named:
    """A person without a record, and the records that may be meant.

    `candidates` is None where nobody has searched yet.
    """

    person: Person
    candidates: tuple[Scored, ...] | None

    def as_json(self) -> dict[str, Any]:
        """Return the stable names that `relay unmatched show --json` prints."""
        return {
            "address": self.person.address,
            "name": self.person.name,
            "place": str(self.person.place),
            "candidates": None
            if self.candidates is None
            else [one.as_json() for one in self.candidates],
        }


@dataclass(frozen=True, slots=True)
class Entry:
    """An unmatched message with its people, in the order of the mail."""

    message: UnmatchedMessage
    people: tuple[Named, ...]

    @property
    def best(self) -> Scored | None:
        """Return the likeliest candidate of all people."""
        found = [one for each in self.people for one in each.candidates or ()]
        return max(found, key=lambda one: one.score, default=None)

    def as_json(self) -> dict[str, Any]:
        """Return the stable names that `relay unmatched list --json` prints."""
        message = self.message
        return {
            "id": message.id,
            "received_at": message.received_at,
            "user": message.user,
            "from": message.sender,
            "subject": message.subject,
            "reason": message.reason,
            "detail": message.detail,
            "people": [one.person.address for one in self.people],
            "best": self.best.as_json() if self.best else None,
        }


class Candidates:
    """Lists unmatched messages, and finds which records may be meant.

    Args:
        store: The open store.
        org: The org; None: candidates are those that were found before.
    """

    def __init__(self, store: Store, org: Org | None) -> None:
        """Keep the parts; nothing is asked yet."""
        self._store = store
        self._org = org

    async def entries(self, wanted: UnmatchedFilter) -> tuple[Entry, ...]:
        """Return unmatched messages that fit, the newest first.

        Who was not searched lately is searched in at most `LIST_CALLS` calls; a search
        that fails leaves candidates out, and never the list.

        Raises:
            StoreUnavailable: Nothing could be read.
        """
        messages = await self._store.unmatched.find(wanted)
        people = list({p.key: p for one in messages for p in one.people}.values())
        found = await self._known(people)
        left = [one for one in people if one.key not in found]
        for at in range(0, min(len(left), LIST_CALLS * _TOGETHER), _TOGETHER):
            try:
                found |= await self._search(left[at : at + _TOGETHER])
            except (TransientError, OrgPaused):
                break
        return tuple(_entry(one, found) for one in messages)

    async def listed(self, ids: Collection[str]) -> tuple[Entry, ...]:
        """Return those of these messages that are unmatched, the newest first.

        With candidates that are known already; Salesforce is not asked.

        Raises:
            StoreUnavailable: Nothing could be read.
        """
        messages = await self._store.unmatched.get(ids)
        people = list({p.key: p for one in messages for p in one.people}.values())
        found = await self._known(people)
        return tuple(_entry(one, found) for one in messages)

    async def entry(self, message_id: str) -> Entry:
        """Return one unmatched message with the candidates of its people.

        Raises:
            NotFound: There is no such message, or it is not unmatched.
            SalesforceUnavailable, OrgPaused: Salesforce could not be searched.
        """
        messages = await self._store.unmatched.get([message_id])
        if not messages:
            row = await self._store.log.show(message_id)
            text = (
                f"{message_id} is {row['state']}, not unmatched; "
                f"relay show {message_id} tells what happened to it"
            )
            raise NotFound(text)
        (message,) = messages
        found = await self._known(message.people)
        left = [one for one in message.people if one.key not in found]
        for at in range(0, min(len(left), LIST_CALLS * _TOGETHER), _TOGETHER):
            found |= await self._search(left[at : at + _TOGETHER])
        return _entry(message, found)

    async def _known(
        self, people: Sequence[Person]
    ) -> dict[str, tuple[SearchHit, ...]]:
        if not people:
            return {}
        return await self._store.unmatched.searched(people, FRESH_S)

    async def _search(
        self, people: Sequence[Person]
    ) -> dict[str, tuple[SearchHit, ...]]:
        """Search for a few people in one call, and keep what is near each of them."""
        if self._org is None:
            return {}
        hits = await self._org.search.near(people)
        near = {
            person: tuple(one.hit for one in rank(person, hits)) for person in people
        }
        await self._store.unmatched.keep_search(near)
        return {person.key: some for person, some in near.items()}


def _entry(
    message: UnmatchedMessage, found: Mapping[str, tuple[SearchHit, ...]]
) -> Entry:
    return Entry(
        message,
        tuple(
            Named(
                person,
                rank(person, found[person.key])[:SHOWN]
                if person.key in found
                else None,
            )
            for person in message.people
        ),
    )
