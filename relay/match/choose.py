"""Which records a mail belongs to, out of what Salesforce holds.

The same mail and the same org give the same records in the same order, whatever order
the answers came in. Each rule is a function of its own that returns the records it
chooses, each with the rule in words; docs/matching.md explains them to an admin.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeVar

from relay.core.addresses import domain_of
from relay.core.match_rules import read_field_rule
from relay.core.model import Chosen, Found, Match

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from relay.config.match import MatchSettings
    from relay.core.match_rules import FieldRule
    from relay.core.model import (
        Candidate,
        Note,
        OpportunityRole,
        Person,
        Related,
    )


T = TypeVar("T")

ROLE: Final = "OpportunityContactRole on an open opportunity"
OF_ACCOUNT: Final = "open opportunity of the Contact's Account"


class Several(StrEnum):
    """What to do when one address has several records (`match.several`)."""

    ALL = "all"
    OLDEST = "oldest"
    NEWEST = "newest"
    MOST_ACTIVITY = "most_activity"
    MINE = "mine"


class Opportunities(StrEnum):
    """Which open Opportunities of a Contact are chosen (`match.opportunities`)."""

    ALL = "all"
    NEWEST = "newest"
    MINE = "mine"
    PRIMARY = "primary"
    NONE = "none"


def choose(
    people: Sequence[Person], found: Found, match: MatchSettings, *, rep: str = ""
) -> Match:
    """Choose the records that the mail is logged on.

    People keep the order of the mail; a record is chosen once.

    Args:
        people: Who was looked for.
        found: What Salesforce holds.
        match: The section `[match]` in force.
        rep: Salesforce id of the user for whom the mail is logged; empty where it is
            not known: then nothing is theirs.

    Source: Salesforce Help, "Guidelines for Using Email to Salesforce".
    """
    found = readable_by(people, found, rep)
    who: dict[str, Chosen] = {}
    unknown: list[Person] = []
    for person in people:
        records = by_address(person, found, Several(match.several), rep)
        if not records:
            unknown.append(person)
        for chosen in records:
            who.setdefault(chosen.id, chosen)
    chosen_people = tuple(who.values())
    accounts = accounts_of(people, found)
    which = Opportunities(match.opportunities)
    what = (
        *open_opportunities(chosen_people, found, which, rep, accounts),
        *looked_up(match.lookups, chosen_people, accounts, found),
        *by_own_field(match.more_objects, people, found),
    )
    distinct: dict[str, Chosen] = {}
    for chosen in what:
        distinct.setdefault(chosen.id, chosen)
    return Match(chosen_people, tuple(distinct.values()), tuple(unknown))


def readable_by(people: Sequence[Person], found: Found, rep: str) -> Found:
    """Leave out what the rep cannot read, where that counts (`match.visibility`)."""
    if found.readable is None or not rep:
        # Without a rep nobody can be asked about; such a mail waits for its user.
        return found
    ids = found.readable.get(rep, frozenset())
    candidates = {
        key: tuple(c for c in found.candidates.get(key, ()) if c.id in ids)
        for person in people
        for key in (person.key, *person.spellings)
    }
    return Found(
        candidates,
        _Readable(found.roles, lambda role: role.opportunity_id in ids),
        account_opportunities=_Readable(
            found.account_opportunities, lambda role: role.opportunity_id in ids
        ),
        related=_Readable(found.related, lambda record: record.id in ids),
    )


def records_of(people: Sequence[Person], found: Found) -> set[str]:
    """Return every record that could be chosen for these people, by id."""
    ids: set[str] = set()
    for person in people:
        spelt = (person.key, *person.spellings)
        keys = [*spelt, domain_of(person.key)]
        for candidate in (c for key in spelt for c in found.candidates.get(key, ())):
            ids.add(candidate.id)
            keys += [candidate.id, candidate.account_id or ""]
        for key in keys:
            deals = (found.roles.get(key, ()), found.account_opportunities.get(key, ()))
            ids.update(role.opportunity_id for some in deals for role in some)
            ids.update(record.id for record in found.related.get(key, ()))
    return ids


class _Readable(Mapping[str, tuple[T, ...]]):
    """A table without what cannot be read; filtered where it is looked at."""

    def __init__(
        self, table: Mapping[str, tuple[T, ...]], may: Callable[[T], bool]
    ) -> None:
        self._table = table
        self._may = may

    def __getitem__(self, key: str) -> tuple[T, ...]:
        return tuple(filter(self._may, self._table[key]))

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)


# ---------------------------------------------------------------- people


def candidates_of(person: Person, found: Found) -> tuple[Candidate, ...]:
    """Return the records of a person's address as written, else of another spelling."""
    for key in (person.key, *person.spellings):
        if candidates := found.candidates.get(key):
            return candidates
    return ()


def by_address(
    person: Person, found: Found, several: Several, rep: str = ""
) -> tuple[Chosen, ...]:
    """Choose Contacts and Leads by their e-mail address.

    Of several records under one address all are chosen, or one: the oldest or newest by
    CreatedDate, the one with the most activities, or the oldest that the rep owns.
    Where that does not decide, the oldest is taken.
    """
    candidates = sorted(
        candidates_of(person, found), key=lambda c: (c.created_at, c.id)
    )
    if not candidates:
        return ()
    picked, rule = _pick(candidates, several, rep)
    if not found.candidates.get(person.key):
        rule = f"{rule}, in another spelling of the address"
    return tuple(Chosen(c.id, c.object, c.name, rule, person) for c in picked)


def _pick(
    candidates: list[Candidate], several: Several, rep: str
) -> tuple[list[Candidate], str]:
    """Return the candidates that stay, and the rule in words."""
    count = len(candidates)
    of = f"of {count} records with this address"
    if count == 1:
        return candidates, _one(candidates[0])
    if several is Several.OLDEST:
        return candidates[:1], f"oldest {of}"
    if several is Several.NEWEST:
        return candidates[-1:], f"newest {of}"
    if several is Several.MOST_ACTIVITY:
        # max() keeps the first of equals, and the list is sorted by age.
        most = max(candidates, key=lambda c: c.activity_count or 0)
        return [most], f"most activity {of}"
    if several is Several.MINE:
        own = [c for c in candidates if rep and c.owner_id == rep]
        if own:
            return own[:1], f"the rep's own {of}"
        return candidates[:1], f"oldest {of}, none of which is the rep's"
    return candidates, f"all {count} records with this address"


def _one(candidate: Candidate) -> str:
    """Return the rule of the only record under an address."""
    if candidate.lead_id:
        return f"Contact that the converted Lead {candidate.lead_id} became"
    kind = ", a person account" if candidate.person_account else ""
    return f"{candidate.object}.{candidate.field}{kind}"


# ---------------------------------------------------------------- opportunities


def accounts_of(people: Sequence[Person], found: Found) -> dict[str, str]:
    """Return the Account of each Contact of these people that has one."""
    every = (c for person in people for c in candidates_of(person, found))
    return {c.id: c.account_id for c in every if c.account_id}


def open_opportunities(
    who: Sequence[Chosen],
    found: Found,
    which: Opportunities,
    rep: str = "",
    accounts: Mapping[str, str] | None = None,
) -> tuple[Chosen, ...]:
    """Choose open Opportunities of chosen Contacts, by id.

    Each Contact brings its own, in which it has a role, and those of its Account where
    they were asked for: all, the newest by CreatedDate, those that the rep owns, those
    where it is the primary contact, or none.
    """
    names: dict[str, str] = {}
    rules: dict[str, str] = {}
    through: dict[str, list[str]] = {}
    for chosen in who:
        roles, rule = _which(
            _deals_of(chosen.id, found, (accounts or {}).get(chosen.id, "")), which, rep
        )
        for role in roles:
            names[role.opportunity_id] = role.opportunity_name
            told = rule if role.contact_id else rule.replace(ROLE, OF_ACCOUNT)
            rules.setdefault(role.opportunity_id, told)
            contacts = through.setdefault(role.opportunity_id, [])
            if chosen.id not in contacts:
                contacts.append(chosen.id)
    return tuple(
        Chosen(
            opportunity,
            "Opportunity",
            names[opportunity],
            rules[opportunity],
            through=tuple(through[opportunity]),
        )
        for opportunity in sorted(through)
    )


def _deals_of(contact: str, found: Found, account: str) -> list[OpportunityRole]:
    """Return the open Opportunities of a Contact: by role, then by its Account."""
    roles = found.roles.get(contact, ())
    known = {role.opportunity_id for role in roles}
    of_account = found.account_opportunities.get(account, ())
    return [*roles, *(d for d in of_account if d.opportunity_id not in known)]


def _which(
    roles: Iterable[OpportunityRole], which: Opportunities, rep: str
) -> tuple[list[OpportunityRole], str]:
    """Return those of one Contact's roles that count, and the rule in words."""
    rule = ROLE
    every = list(roles)
    if which is Opportunities.NONE:
        return [], ""
    if which is Opportunities.PRIMARY:
        return [r for r in every if r.is_primary], f"{rule}, as primary contact"
    if which is Opportunities.MINE:
        own = [r for r in every if rep and r.owner_id == rep]
        return own, f"{rule} of the rep"
    if which is Opportunities.NEWEST and every:
        newest = max(every, key=lambda r: (r.created_at, r.opportunity_id))
        return [newest], f"{rule}, the newest of {len(every)}"
    return every, rule


# ---------------------------------------------------------------- further records


def looked_up(
    rules: Iterable[str],
    who: Sequence[Chosen],
    accounts: Mapping[str, str],
    found: Found,
) -> tuple[Chosen, ...]:
    """Choose records that look up a chosen Contact or its Account (`match.lookups`)."""
    chosen: list[Chosen] = []
    for rule in map(read_field_rule, rules):
        through: dict[str, list[str]] = {}
        records: dict[str, Related] = {}
        for person in who:
            keys = (person.id, accounts.get(person.id, ""))
            for record in _by_rule(rule, keys, found):
                records[record.id] = record
                through.setdefault(record.id, []).append(person.id)
        chosen += [
            _chosen(records[sfid], rule, tuple(through[sfid]))
            for sfid in sorted(records)
        ]
    return tuple(chosen)


def by_own_field(
    rules: Iterable[str], people: Sequence[Person], found: Found
) -> tuple[Chosen, ...]:
    """Choose records with an e-mail field of their own (`match.more_objects`)."""
    chosen: list[Chosen] = []
    for rule in map(read_field_rule, rules):
        records = {
            record.id: record
            for person in people
            for record in _by_rule(rule, (person.key, *person.spellings), found)
        }
        chosen += [_chosen(records[sfid], rule) for sfid in sorted(records)]
    return tuple(chosen)


def _by_rule(rule: FieldRule, keys: Iterable[str], found: Found) -> list[Related]:
    """Return the records that a rule leads to from one person."""
    text = str(rule)
    every = {
        record.id: record
        for key in keys
        for record in found.related.get(key, ())
        if record.rule == text
    }
    if rule.newest and every:
        return [max(every.values(), key=lambda r: (r.created_at, r.id))]
    return list(every.values())


def _chosen(record: Related, rule: FieldRule, through: tuple[str, ...] = ()) -> Chosen:
    return Chosen(record.id, record.object, record.name, str(rule), through=through)


def with_accounts(
    match: Match, ways: Sequence[str], found: Found, *, rep: str = ""
) -> Match:
    """Return a match without any record with the Account of a domain, if there is one.

    Ways (`match.accounts`) are tried in order, for each domain of its own; where one
    finds several Accounts, none is chosen for that domain, and the match tells it.

    Args:
        match: What all other rules chose.
        ways: As the admin set them.
        found: What Salesforce holds.
        rep: As for `choose`.
    """
    if match.who or match.what or not ways:
        return match
    found = readable_by(match.unknown, found, rep)
    chosen: dict[str, Chosen] = {}
    notes: list[Note] = []
    for domain in sorted({domain_of(person.key) for person in match.unknown}):
        for way in ways:
            accounts = [r for r in found.related.get(domain, ()) if r.rule == way]
            if len(accounts) > 1:
                text = f"{len(accounts)} Accounts have the domain {domain} ({way})"
                notes.append(("ambiguous", f"{text}: none is chosen"))
                break
            if accounts:
                (one,) = accounts
                rule = f"the only Account with the domain {domain} ({way})"
                chosen.setdefault(one.id, Chosen(one.id, "Account", one.name, rule))
                break
    return replace(match, what=tuple(chosen.values()), notes=(*match.notes, *notes))


# ---------------------------------------------------------------- a logged mail


def missing(match: Match, ids: Collection[str], people: Collection[str]) -> Match:
    """Return what is left of a match where these records and people are done.

    A person counts as done by address, too: a Lead that became a Contact took the
    mail along, and a merged record did so as well.
    """
    who = tuple(
        chosen
        for chosen in match.who
        if chosen.id not in ids and not (chosen.person and chosen.person.key in people)
    )
    what = tuple(chosen for chosen in match.what if chosen.id not in ids)
    return Match(who, what, match.unknown, match.notes)
