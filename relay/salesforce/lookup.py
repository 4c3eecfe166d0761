"""Finds people by address: Contacts with their open opportunities, Leads, Users.

A look-up asks for the people of a whole batch: what was found a moment ago is not asked
again. `plan` turns addresses into as few queries as fit, `read` turns rows into
candidates; both are pure. Contact roles come as a child query of Contact, which saves
a round trip. Which record is chosen, and why, is `relay.match`'s business. Converted
Leads are not asked for: their Contact carries on the address.

Source: SOQL and SOSL Reference, "Relationship Queries"; Object Reference, "Contact"
(child relationship OpportunityContactRoles), "Lead", "User".
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from relay.core.addresses import address_key, spellings
from relay.core.ids import record_id
from relay.core.model import Candidate, Found, OpportunityRole
from relay.core.org import LookupResult, SalesforceUser
from relay.salesforce import soql
from relay.salesforce.named import plan_named, read_named, unknown_objects
from relay.salesforce.soql import asks_for, moment

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from relay.config import SalesforceSettings
    from relay.core.clock import Clock
    from relay.core.model import Json, NamedRecord
    from relay.core.org import OrgSchema
    from relay.salesforce.connection import Connection
    from relay.salesforce.schema import Schema
    from relay.salesforce.soql import Ask, Rows

MAX_EMAIL: Final = 80
"""Length of Lead.Email and Contact.Email: what is longer cannot match."""
MAX_USER_EMAIL: Final = 128
"""Length of User.Email."""
MAX_ENTRIES: Final = 10_000
"""Addresses that are remembered at a time."""

Key = tuple[str, str]
"""`person`, `user` or `id`, and the address key or id."""


class Kind(Enum):
    """What a query asks for; the value is its statement around the list."""

    CONTACTS_WITH_ROLES = (
        "SELECT Id, Name, Email, CreatedDate, OwnerId, AccountId, "
        "(SELECT OpportunityId, IsPrimary, Opportunity.Name, Opportunity.OwnerId, "
        "Opportunity.CreatedDate FROM OpportunityContactRoles "
        "WHERE Opportunity.IsClosed = false) FROM Contact WHERE Email IN {}"
    )
    CONTACTS = (
        "SELECT Id, Name, Email, CreatedDate, OwnerId, AccountId FROM Contact "
        "WHERE Email IN {}"
    )
    LEADS = (
        "SELECT Id, Name, Email, CreatedDate, OwnerId FROM Lead "
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


class Lookup:
    """Looks people up; remembers for a few seconds what it found.

    Args:
        connection: What the parts of `Org` share.
        schema: Which objects the org has for our user.
    """

    def __init__(self, connection: Connection, schema: Schema) -> None:
        """Remember nothing yet."""
        self._connection = connection
        self._schema = schema
        self._cache = LookupCache(connection.settings, connection.clock)

    async def find(
        self,
        addresses: Sequence[str],
        *,
        user_emails: Sequence[str] = (),
        user_ids: Sequence[str] = (),
        records: Sequence[str] = (),
        activity_counts: bool = False,
        fresh: Collection[str] = (),
    ) -> LookupResult:
        """Find Contacts with open opportunities, unconverted Leads, Users, records.

        What was found a moment ago is not asked again (`salesforce.cache_s`).

        Args:
            addresses: Address keys; longer than Salesforce's field: not asked for.
            user_emails: Address keys of Users.
            user_ids: Ids of Users.
            records: Ids of 18 characters that mails name; nobody remembers those.
            activity_counts: Count Tasks and Events of records that share an address.
            fresh: Keys and ids that are to be asked anew, whatever is remembered.

        Raises:
            OrgPaused: The question itself is refused, or the org cannot be used.
            SalesforceUnavailable: Anything else.
        """
        ids = tuple(record_id(text) or text for text in user_ids)
        question = Question(tuple(addresses), tuple(user_emails), ids)
        known, left, mark = self._cache.split(question, fresh)
        if not (left or records or activity_counts):
            return known
        schema = await self._schema.get()
        asked_at_s = self._connection.clock.boottime_s()
        queries = self._connection.queries
        asks = plan(left.addresses, left.user_emails, left.user_ids, schema)
        named, unfit = await self._plan_named(records, schema)
        answers = await queries.ask("lookup", asks + named)
        mine = {ask.template for ask in named}
        answer = read(pair for pair in answers if pair[0].template not in mine)
        self._cache.keep(left, answer, asked_at_s, mark)
        found = read_named(pair for pair in answers if pair[0].template in mine)
        result = with_records(joined(known, answer), unfit | found)
        if activity_counts and (counts := plan_counts(result.found)):
            answered = await queries.ask("count", counts)
            return LookupResult(read_counts(result.found, answered), result.users)
        return result

    async def _plan_named(
        self, ids: Sequence[str], schema: OrgSchema
    ) -> tuple[list[Ask], dict[str, NamedRecord]]:
        others: Mapping[str, str] = {}
        if unknown_objects(ids, schema):
            others = await self._schema.objects()
        return plan_named(ids, schema, others)

    async def users(self, ids: Sequence[str]) -> dict[str, SalesforceUser]:
        """Return Users by id; one that does not exist is left out."""
        result = await self.find((), user_ids=ids)
        return {user.id: user for user in result.users}

    def forget(self) -> None:
        """Drop what is remembered: a write showed that the org has changed."""
        self._cache.forget()


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
    schema: OrgSchema,
) -> list[Ask]:
    """Return the queries for these address keys, users' address keys and user ids.

    Objects that do not exist for our user are left out. An internationalised address
    is asked for in ASCII and as people read it: Salesforce keeps what was typed.
    """
    people = _distinct(_spelt(addresses), MAX_EMAIL)
    roles = schema.has("OpportunityContactRole") and schema.has("Opportunity")
    contacts = Kind.CONTACTS_WITH_ROLES if roles else Kind.CONTACTS
    asks = asks_for(contacts.value, people)
    if schema.has("Lead"):
        asks += asks_for(Kind.LEADS.value, people)
    asks += asks_for(Kind.USERS.value, _distinct(_spelt(user_emails), MAX_USER_EMAIL))
    ids = dict.fromkeys(sfid for i in user_ids if (sfid := record_id(i)))
    return asks + asks_for(Kind.USERS_BY_ID.value, list(ids))


def plan_counts(found: Found) -> list[Ask]:
    """Return the queries that count activities of records that share an address."""
    ids = [
        candidate.id
        for candidates in found.candidates.values()
        if len(candidates) > 1
        for candidate in candidates
    ]
    ids = list(dict.fromkeys(ids))
    return asks_for(Kind.TASK_COUNTS.value, ids) + asks_for(
        Kind.EVENT_COUNTS.value, ids
    )


# ------------------------------------------------------------------ reading


def read(answers: Iterable[tuple[Ask, Rows]]) -> LookupResult:
    """Return what the rows say, in an order that does not depend on theirs.

    A row that makes no sense (no valid id, no address) is left out.
    """
    candidates: dict[str, dict[str, Candidate]] = defaultdict(dict)
    roles: dict[str, dict[str, OpportunityRole]] = defaultdict(dict)
    users: dict[str, SalesforceUser] = {}
    for ask, rows in answers:
        kind = Kind(ask.template)
        for row in rows:
            sfid = record_id(row.get("Id") or "")
            key = address_key(_text(row.get("Email")))
            if sfid is None:
                continue
            if kind in {Kind.USERS, Kind.USERS_BY_ID}:
                users[sfid] = _user(sfid, key or "", row)
            elif key:
                sobject = "Lead" if kind is Kind.LEADS else "Contact"
                candidates[key][sfid] = _candidate(sfid, sobject, key, row)
                for role in _roles(sfid, row):
                    known = roles[sfid].setdefault(role.opportunity_id, role)
                    if role.is_primary and not known.is_primary:
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
        found.records,
    )


def _candidate(sfid: str, sobject: str, key: str, row: Mapping[str, Any]) -> Candidate:
    return Candidate(
        sfid,
        sobject,
        key,
        _text(row.get("Name")),
        moment(row.get("CreatedDate")),
        record_id(row.get("AccountId") or ""),
        owner_id=record_id(row.get("OwnerId") or "") or "",
    )


def _roles(contact_id: str, row: Mapping[str, Any]) -> Iterable[OpportunityRole]:
    children = row.get("OpportunityContactRoles")
    records = children.get("records") if isinstance(children, dict) else None
    for role in records if isinstance(records, list) else []:
        if not isinstance(role, dict):
            continue
        sfid = record_id(role.get("OpportunityId") or "")
        parent = role.get("Opportunity")
        deal: dict[str, Any] = parent if isinstance(parent, dict) else {}
        if sfid:
            yield OpportunityRole(
                sfid,
                _text(deal.get("Name")),
                contact_id,
                is_primary=role.get("IsPrimary") is True,
                owner_id=record_id(deal.get("OwnerId") or "") or "",
                created_at=moment(deal.get("CreatedDate")),
            )


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


# ------------------------------------------------------------------ remembering


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
    """Answers of look-ups, each for a few seconds, so that a flood asks once.

    An entry is believed for `cache_s` seconds after its question was asked, "no record
    has this address" for `cache_negative_s`. So a record that has just been made is
    hidden for no longer than that; a person's retry is never answered from here. The
    number of entries is bounded; the oldest make room.

    Used by one event loop; not for threads.
    """

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


def with_records(
    result: LookupResult, records: Mapping[str, NamedRecord]
) -> LookupResult:
    """Return an answer with the records that mails name."""
    if not records:
        return result
    return replace(result, found=replace(result.found, records=records))


def joined(one: LookupResult, other: LookupResult) -> LookupResult:
    """Return both answers as one."""
    found = Found(
        {**one.found.candidates, **other.found.candidates},
        {**one.found.roles, **other.found.roles},
    )
    users = {user.id: user for user in (*one.users, *other.users)}
    return LookupResult(found, tuple(users[sfid] for sfid in sorted(users)))
