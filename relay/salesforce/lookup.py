"""Looks people and their records up, for the mails of a whole batch together.

A look-up asks for everybody at once, and what was found a moment ago is not asked
again. Which questions the settings of `[match]` make is `lookup_rules`' business, their
SOQL and rows are `people`'s, and which record is chosen, and why, is `relay.match`'s.

The questions of one step travel together, five to a call. The first step finds people
by address; there is a second and third one only where something was found that leads
further.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from relay.config.match import MatchSettings
from relay.core.addresses import domain_of
from relay.core.errors import ActivityRefused, OrgPaused
from relay.core.ids import record_id
from relay.core.model import Found
from relay.core.org import LookupResult, SalesforceUser
from relay.salesforce import people
from relay.salesforce.connection import refused
from relay.salesforce.errors import error_for
from relay.salesforce.lookup_rules import LookupRules, named_objects, resolve
from relay.salesforce.named import plan_named, read_named, unknown_objects
from relay.salesforce.people import Gathered, Question

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from typing import TypeVar

    from relay.config import SalesforceSettings
    from relay.core.clock import Clock
    from relay.core.model import Candidate, NamedRecord, OpportunityRole, Related
    from relay.core.org import OrgSchema
    from relay.salesforce.connection import Connection
    from relay.salesforce.schema import Schema
    from relay.salesforce.soql import Ask, Rows

    T = TypeVar("T")

MAX_ENTRIES: Final = 10_000
"""Addresses that are remembered at a time."""
_CHANGED: Final = frozenset({"INVALID_FIELD", "INVALID_TYPE"})
"""The org is not what it was when it was described."""
Key = tuple[object, str, str]
"""The rules, `person`, `user` or `id`, and the address key or id."""


class Lookup:
    """Looks people up; remembers for a few seconds what it found.

    Args:
        connection: What the parts of `Org` share.
        schema: Which objects and fields the org has for our user.
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
        match: MatchSettings | None = None,
        user_emails: Sequence[str] = (),
        user_ids: Sequence[str] = (),
        records: Sequence[str] = (),
        fresh: Collection[str] = (),
    ) -> LookupResult:
        """Find people with what leads on from them by the settings, Users, records.

        What was found a moment ago under the same rules is not asked again
        (`salesforce.cache_s`).

        Args:
            addresses: Address keys; longer than Salesforce's field: not asked for.
            match: The section `[match]` in force; None: as it is by default.
            user_emails: Address keys of Users.
            user_ids: Ids of Users.
            records: Ids of 18 characters that mails name; nobody remembers those.
            fresh: Keys and ids that are to be asked anew, whatever is remembered.

        Raises:
            OrgPaused: The question itself is refused, or the org cannot be used.
            SalesforceUnavailable: Anything else.
        """
        ids = tuple(record_id(text) or text for text in user_ids)
        question = Question(tuple(addresses), tuple(user_emails), ids, tuple(records))
        match = match or MatchSettings()
        schema = await self._schema.get(also=named_objects(match))
        rules = resolve(match, schema)
        try:
            result = await self._find(question, rules, schema, fresh)
        except OrgPaused as error:
            if error.code not in _CHANGED:
                raise
            # A field that has gone since it was described is left out, not waited for.
            schema = await self._schema.get(also=named_objects(match), fresh=True)
            if resolve(match, schema) == rules:
                raise
            rules = resolve(match, schema)
            result = await self._find(question, rules, schema, fresh)
        if match.several == "most_activity" and (
            counts := people.plan_counts(result.found, schema)
        ):
            answered = await self._connection.queries.ask("count", counts)
            found = people.read_counts(result.found, answered)
            return replace(result, found=found)
        return result

    async def _find(
        self,
        question: Question,
        rules: LookupRules,
        schema: OrgSchema,
        fresh: Collection[str],
    ) -> LookupResult:
        """Answer from memory what is remembered, ask for the rest, and join both."""
        known, left, mark = self._cache.split(question, rules, fresh)
        cached = frozenset(question.addresses) - frozenset(left.addresses)
        known = replace(known, asked_in=rules.address_fields, cached=cached)
        if not (left or question.records):
            return known
        asked_at_s = self._connection.clock.boottime_s()
        gathered = Gathered()

        async def ask(asks: Sequence[Ask]) -> list[tuple[Ask, Rows]]:
            if not asks:
                return []
            answers = await self._connection.queries.ask("lookup", asks)
            people.read(gathered, answers, rules)
            return answers

        named, records = await self._plan_named(question.records, schema)
        answers = await ask(people.plan(left, rules) + named)
        records |= read_named(pair for pair in answers if pair[0].about is None)
        await ask(people.plan_followed(gathered, rules))
        if rules.opportunity_condition:
            gathered.allowed = set()
        await ask(people.plan_further(gathered, left.addresses, rules))
        answer = gathered.result()
        if asks := people.plan_allowed_accounts(answer.found, rules):
            answers = await self._connection.queries.ask("lookup", asks)
            found = people.read_allowed_accounts(answer.found, answers)
            answer = replace(answer, found=found)
        self._cache.keep(left, rules, answer, asked_at_s, mark)
        both = joined((known, answer))
        return replace(
            known,
            found=replace(both.found, records=records),
            users=both.users,
        )

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

    async def everybody(self) -> list[SalesforceUser]:
        """Return the active Users who are people with a licence, by name.

        At most 2000; users of portals and of processes are left out.

        Raises:
            OrgPaused: The org cannot be used.
            SalesforceUnavailable: Anything else.

        Source: Object Reference, "User" (UserType).
        """
        (rows,) = await self._connection.queries.run("users", [people.EVERYBODY])
        if not isinstance(rows, list):
            raise refused("users", rows, pauses=False)
        return people.read_users(rows)

    async def readable(
        self, wanted: Mapping[str, Collection[str]]
    ) -> dict[str, frozenset[str]]:
        """Return which of these records each user can read.

        What Salesforce does not speak of counts as not readable.

        Args:
            wanted: Ids of records by the id of a user.

        Raises:
            OrgPaused: Salesforce does not tell; the setting that asks is named.
            SalesforceUnavailable: Anything else.

        Source: Object Reference, "UserRecordAccess".
        """
        asks: list[Ask] = []
        for text, records in sorted(wanted.items()):
            if user := record_id(text):
                ids = sorted({sfid for i in records if (sfid := record_id(i))})
                asks += people.access_asks(user, ids)
        found: dict[str, set[str]] = {user: set() for user in wanted}
        for ask, rows in await self._connection.queries.ask("access", asks):
            for row in rows:
                sfid = record_id(row.get("RecordId") or "")
                if sfid and row.get("HasReadAccess") is True:
                    found[str(ask.about)].add(sfid)
        return {user: frozenset(ids) for user, ids in found.items()}

    async def refusal(self, asks: Sequence[Ask]) -> str:
        """Return why Salesforce refuses one of these questions; empty: it does not.

        Raises:
            RelayError: It could not be asked, so that nothing is known.
        """
        queries = [ask.query() for ask in asks]
        for answer in await self._connection.queries.run("check", queries):
            if isinstance(answer, list):
                continue
            error = error_for(answer, doing="check")
            if not isinstance(error, ActivityRefused):
                raise error
            return f"Salesforce refuses it ({answer.code}: {answer.text})"
        return ""

    def forget(self) -> None:
        """Drop what is remembered: a write showed that the org has changed."""
        self._cache.forget()


# ------------------------------------------------------------------ remembering


@dataclass(frozen=True, slots=True)
class _Entry:
    asked_at_s: float
    result: LookupResult

    @property
    def empty(self) -> bool:
        found = self.result.found
        return not (found.candidates or found.related or self.result.users)


class LookupCache:
    """Answers of look-ups, each for a few seconds, so that a flood asks once.

    An entry is believed for `cache_s` seconds after its question was asked, "no record
    has this address" for `cache_negative_s`. So a record that has just been made is
    hidden for no longer than that; a person's retry is never answered from here. The
    number of entries is bounded; the oldest make room. Who was found depends on the
    rules, which are therefore a part of the key: another rule asks anew.

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
        self, question: Question, rules: LookupRules, fresh: Collection[str] = ()
    ) -> tuple[LookupResult, Question, int]:
        """Return what is known, what is left to be asked, and a mark for `keep`.

        Args:
            question: What is wanted.
            rules: By which it is asked.
            fresh: Keys and ids that are to be asked anew.
        """
        now_s = self._clock.boottime_s()
        known: list[LookupResult] = []
        left: dict[str, list[str]] = {"person": [], "user": [], "id": []}
        for key in _keys(question, rules):
            _, kind, value = key
            entry = self._entries.get(key)
            if entry is None or value in fresh or not self._fits(entry, now_s):
                left[kind].append(value)
            else:
                known.append(entry.result)
        rest = Question(tuple(left["person"]), tuple(left["user"]), tuple(left["id"]))
        return joined(known), rest, self._forgotten

    def keep(
        self,
        asked: Question,
        rules: LookupRules,
        result: LookupResult,
        asked_at_s: float,
        mark: int,
    ) -> None:
        """Remember the answer to a question that was asked at `asked_at_s`."""
        if mark != self._forgotten:
            return
        for key in _keys(asked, rules):
            self._entries.pop(key, None)
            self._entries[key] = _Entry(asked_at_s, _part(key, result))
        while len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)

    def _fits(self, entry: _Entry, now_s: float) -> bool:
        settings = self._settings
        longest = settings.cache_negative_s if entry.empty else settings.cache_s
        return 0 <= now_s - entry.asked_at_s < longest


def _keys(question: Question, rules: LookupRules) -> Iterable[Key]:
    """Return what is asked for, as keys of the cache; Users depend on no rule."""
    yield from ((rules, "person", key) for key in question.addresses)
    yield from ((None, "user", key) for key in question.user_emails)
    yield from ((None, "id", sfid) for sfid in question.user_ids)


def _part(key: Key, result: LookupResult) -> LookupResult:
    """Return what an answer says of one address, or one User."""
    _, kind, value = key
    if kind != "person":
        users = tuple(
            user
            for user in result.users
            if value == (user.email_key if kind == "user" else user.id)
        )
        return LookupResult(Found({}, {}), users)
    found = result.found
    candidates = _only(found.candidates, (value,))
    people_found = candidates.get(value, ())
    contacts = [c.id for c in people_found]
    accounts = [c.account_id for c in people_found if c.account_id]
    leading = (value, domain_of(value), *contacts, *accounts)
    return LookupResult(
        Found(
            candidates,
            _only(found.roles, contacts),
            account_opportunities=_only(found.account_opportunities, accounts),
            related=_only(found.related, leading),
        )
    )


def _only(table: Mapping[str, T], keys: Iterable[str]) -> dict[str, T]:
    return {key: table[key] for key in keys if key in table}


def joined(results: Iterable[LookupResult]) -> LookupResult:
    """Return answers as one; of two for the same key the later one counts."""
    candidates: dict[str, tuple[Candidate, ...]] = {}
    roles: dict[str, tuple[OpportunityRole, ...]] = {}
    deals: dict[str, tuple[OpportunityRole, ...]] = {}
    related: dict[str, tuple[Related, ...]] = {}
    users: dict[str, SalesforceUser] = {}
    for result in results:
        found = result.found
        candidates.update(found.candidates)
        roles.update(found.roles)
        deals.update(found.account_opportunities)
        related.update(found.related)
        users.update({user.id: user for user in result.users})
    return LookupResult(
        Found(candidates, roles, account_opportunities=deals, related=related),
        tuple(users[sfid] for sfid in sorted(users)),
    )
