"""Finds people by address: Contacts with their open opportunities, Leads, Users.

`plan` turns addresses into as few queries as fit, `read` turns rows into candidates;
both are pure. Contact roles come as a child query of Contact, which saves a round
trip. Which record is chosen, and why, is `relay.match`'s business. Converted
Leads are not asked for: their Contact carries on the address.

Source: SOQL and SOSL Reference, "Relationship Queries"; Object Reference, "Contact"
(child relationship OpportunityContactRoles), "Lead", "User".
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from relay.core.addresses import address_key, spellings
from relay.core.ids import record_id
from relay.core.model import Candidate, Found, OpportunityRole
from relay.core.org import LookupResult, SalesforceUser
from relay.salesforce import soql
from relay.salesforce.soql import Query

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from relay.core.model import Json
    from relay.core.org import OrgSchema
    from relay.salesforce.soql import Rows

MAX_EMAIL: Final = 80
"""Length of Lead.Email and Contact.Email: what is longer cannot match."""
MAX_USER_EMAIL: Final = 128
"""Length of User.Email."""


class Kind(Enum):
    """What a query asks for; the value is its statement around the list."""

    CONTACTS_WITH_ROLES = (
        "SELECT Id, Name, Email, CreatedDate, AccountId, "
        "(SELECT OpportunityId, Opportunity.Name FROM OpportunityContactRoles "
        "WHERE Opportunity.IsClosed = false) FROM Contact WHERE Email IN {}"
    )
    CONTACTS = (
        "SELECT Id, Name, Email, CreatedDate, AccountId FROM Contact WHERE Email IN {}"
    )
    LEADS = (
        "SELECT Id, Name, Email, CreatedDate FROM Lead "
        "WHERE IsConverted = false AND Email IN {}"
    )
    USERS = (
        "SELECT Id, Name, Email, IsActive, TimeZoneSidKey FROM User WHERE Email IN {}"
    )
    USERS_BY_ID = (
        "SELECT Id, Name, Email, IsActive, TimeZoneSidKey FROM User WHERE Id IN {}"
    )
    TASK_COUNTS = (
        "SELECT WhoId, COUNT(Id) total FROM Task WHERE WhoId IN {} GROUP BY WhoId"
    )
    EVENT_COUNTS = (
        "SELECT WhoId, COUNT(Id) total FROM Event WHERE WhoId IN {} GROUP BY WhoId"
    )


_OVERHEAD: Final = {kind: len(soql.encoded(kind.value)) + 8 for kind in Kind}


@dataclass(frozen=True, slots=True)
class Ask:
    """One query of a look-up: what kind, and for which values."""

    kind: Kind
    values: tuple[str, ...]

    def query(self) -> Query:
        """Return the statement."""
        return Query(soql.statement(self.kind.value, list(self.values)))

    def halves(self) -> list[Ask]:
        """Return two that ask for half as much each; none if it asks for one value."""
        middle = len(self.values) // 2
        if not middle:
            return []
        return [
            replace(self, values=self.values[:middle]),
            replace(self, values=self.values[middle:]),
        ]


def _asks(kind: Kind, values: Sequence[str]) -> list[Ask]:
    return [Ask(kind, tuple(p)) for p in soql.chunks(values, _OVERHEAD[kind])]


def _spelt(keys: Iterable[str]) -> Iterator[str]:
    """Yield each address in every form in which an org may hold it."""
    for key in keys:
        yield from spellings(key)


def _distinct(keys: Iterable[str], longest: int) -> list[str]:
    """Return what can be an address in Salesforce, each once, in order."""
    return [
        k for k in dict.fromkeys(keys) if 0 < len(k) <= longest and soql.clean(k) == k
    ]


# ------------------------------------------------------------------ asking


def plan(
    addresses: Sequence[str],
    user_emails: Sequence[str],
    user_ids: Sequence[str],
    shape: OrgSchema,
) -> list[Ask]:
    """Return the queries for these address keys, users' address keys and user ids.

    Objects that do not exist for our user are left out. An internationalised address
    is asked for in ASCII and as people read it: Salesforce keeps what was typed.
    """
    people = _distinct(_spelt(addresses), MAX_EMAIL)
    roles = shape.has("OpportunityContactRole") and shape.has("Opportunity")
    asks = _asks(Kind.CONTACTS_WITH_ROLES if roles else Kind.CONTACTS, people)
    if shape.has("Lead"):
        asks += _asks(Kind.LEADS, people)
    asks += _asks(Kind.USERS, _distinct(_spelt(user_emails), MAX_USER_EMAIL))
    ids = dict.fromkeys(sfid for i in user_ids if (sfid := record_id(i)))
    return asks + _asks(Kind.USERS_BY_ID, list(ids))


def plan_counts(found: Found) -> list[Ask]:
    """Return the queries that count activities of records that share an address."""
    ids = [
        candidate.id
        for candidates in found.candidates.values()
        if len(candidates) > 1
        for candidate in candidates
    ]
    ids = list(dict.fromkeys(ids))
    return _asks(Kind.TASK_COUNTS, ids) + _asks(Kind.EVENT_COUNTS, ids)


# ------------------------------------------------------------------ reading


def read(answers: Iterable[tuple[Ask, Rows]]) -> LookupResult:
    """Return what the rows say, in an order that does not depend on theirs.

    A row that makes no sense (no valid id, no address) is left out.
    """
    candidates: dict[str, dict[str, Candidate]] = defaultdict(dict)
    roles: dict[str, dict[str, OpportunityRole]] = defaultdict(dict)
    users: dict[str, SalesforceUser] = {}
    for ask, rows in answers:
        for row in rows:
            sfid = record_id(row.get("Id") or "")
            key = address_key(_text(row.get("Email")))
            if sfid is None:
                continue
            if ask.kind in {Kind.USERS, Kind.USERS_BY_ID}:
                users[sfid] = _user(sfid, key or "", row)
            elif key:
                sobject = "Lead" if ask.kind is Kind.LEADS else "Contact"
                candidates[key][sfid] = _candidate(sfid, sobject, key, row)
                for role in _roles(sfid, row):
                    roles[sfid][role.opportunity_id] = role
    found = Found(
        {
            key: tuple(sorted(by_id.values(), key=lambda c: (c.created_at, c.id)))
            for key, by_id in candidates.items()
        },
        {
            sfid: tuple(sorted(by_id.values(), key=lambda r: r.opportunity_id))
            for sfid, by_id in roles.items()
        },
    )
    return LookupResult(found, tuple(users[sfid] for sfid in sorted(users)))


def read_counts(found: Found, answers: Iterable[tuple[Ask, Rows]]) -> Found:
    """Return the candidates of ambiguous addresses with their numbers of activities."""
    counts: dict[str, int] = defaultdict(int)
    for _, rows in answers:
        for row in rows:
            sfid, total = record_id(row.get("WhoId") or ""), row.get("total")
            if sfid and isinstance(total, int):
                counts[sfid] += total
    return Found(
        {
            key: tuple(replace(c, activity_count=counts[c.id]) for c in candidates)
            if len(candidates) > 1
            else candidates
            for key, candidates in found.candidates.items()
        },
        found.roles,
    )


def _candidate(sfid: str, sobject: str, key: str, row: Mapping[str, Any]) -> Candidate:
    return Candidate(
        sfid,
        sobject,
        key,
        _text(row.get("Name")),
        moment(row.get("CreatedDate")),
        record_id(row.get("AccountId") or ""),
    )


def _roles(contact_id: str, row: Mapping[str, Any]) -> Iterable[OpportunityRole]:
    children = row.get("OpportunityContactRoles")
    records = children.get("records") if isinstance(children, dict) else None
    for role in records if isinstance(records, list) else []:
        if not isinstance(role, dict):
            continue
        sfid = record_id(role.get("OpportunityId") or "")
        parent = role.get("Opportunity")
        name = parent.get("Name") if isinstance(parent, dict) else None
        if sfid:
            yield OpportunityRole(sfid, _text(name), contact_id)


def _user(sfid: str, key: str, row: Mapping[str, Any]) -> SalesforceUser:
    return SalesforceUser(
        sfid,
        _text(row.get("Name")),
        key,
        row.get("IsActive") is True,
        _text(row.get("TimeZoneSidKey")) or None,
    )


def _text(value: Json) -> str:
    return value if isinstance(value, str) else ""


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def moment(value: Json) -> datetime:
    """Read a dateTime (`2026-01-02T03:04:05.000+0000`); the epoch if it is none."""
    try:
        read_at = datetime.fromisoformat(_text(value))
    except ValueError:
        return _EPOCH
    return read_at if read_at.tzinfo else read_at.replace(tzinfo=UTC)
