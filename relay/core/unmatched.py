"""What did not match, as values: the people without a record, and what may be meant.

A search in Salesforce returns `SearchHit`s, `relay.match.candidates` scores them, the
store keeps what a person decided.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from relay.core.model import Json, Person
    from relay.core.states import ActivityState


@dataclass(frozen=True, slots=True)
class SearchHit:
    """A record that a search for people without a record found.

    Attributes:
        id: Of the record, 18 characters.
        object: Contact, Lead or Account; by a text also Opportunity or Case.
        name: As Salesforce shows it.
        first_name: Of a person.
        last_name: Of a person.
        email: The address key of its e-mail address; empty: it has none.
        account_id: The Account of a Contact; an Account's own id.
        account_name: The name of that Account, or the Company of a Lead.
        domain: The domain of the web site of the Account or the Lead.
    """

    id: str
    object: str
    name: str
    first_name: str = ""
    last_name: str = ""
    email: str = ""
    account_id: str | None = None
    account_name: str = ""
    domain: str = ""


@dataclass(frozen=True, slots=True)
class Scored:
    """A candidate: a record that may be meant, how likely, and why.

    `score` is from 0 to 100; `reasons` are words for people.
    """

    hit: SearchHit
    score: int
    reasons: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the stable names that `relay unmatched --json` prints."""
        return {
            "object": self.hit.object,
            "id": self.hit.id,
            "name": self.hit.name,
            "account": self.hit.account_name,
            "email": self.hit.email,
            "score": self.score,
            "reasons": list(self.reasons),
        }


@dataclass(frozen=True, slots=True)
class UnmatchedFilter:
    """Which unmatched messages are meant; None is no restriction.

    `address` is an address key, `domain` a domain key, of a person without a record;
    `before_id` the id of a message, of which older ones are meant.
    """

    user_id: int | None = None
    reason: str | None = None
    since: datetime | None = None
    address: str | None = None
    domain: str | None = None
    limit: int | None = None
    before_id: str | None = None


@dataclass(frozen=True, slots=True)
class UnmatchedMessage:
    """A message that is unmatched, with its people without a record."""

    id: str
    received_at: datetime
    user_id: int | None
    user: str
    sender: str
    subject: str
    reason: str
    detail: str
    mail_id: int | None
    blob_id: str
    people: tuple[Person, ...] = ()


@dataclass(frozen=True, slots=True)
class Alias:
    """An address that belongs to a record, as a person said; `key` is its address key.

    It counts where no record has the address in an e-mail field.
    """

    key: str
    record_id: str
    object: str
    name: str
    added_by: str
    added_at: datetime


@dataclass(frozen=True, slots=True)
class MadeRecord:
    """A Lead or Contact that is made for an address; `key` is unique for ever.

    `state` is that of the ledger: *sent* without an answer means that the outcome is
    unknown.
    """

    key: str
    address: str
    object: str
    fields: Mapping[str, Json]
    state: ActivityState
    salesforce_id: str | None = None
    sent_at: datetime | None = None
    error: str = ""
