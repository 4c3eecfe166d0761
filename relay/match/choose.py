"""Which records a mail belongs to, out of what Salesforce holds.

The same mail and the same org give the same records in the same order, whatever order
the answers came in. Each rule is a function of its own that returns the records it
chooses, each with the rule in words; docs/matching.md explains them to an admin.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from relay.core.model import Chosen, Match

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from relay.config.match import MatchSettings
    from relay.core.model import Candidate, Found, OpportunityRole, Person


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
    who: dict[str, Chosen] = {}
    unknown: list[Person] = []
    for person in people:
        records = by_address(person, found, Several(match.several), rep)
        if not records:
            unknown.append(person)
        for chosen in records:
            who.setdefault(chosen.id, chosen)
    chosen_people = tuple(who.values())
    which = Opportunities(match.opportunities)
    return Match(
        chosen_people,
        open_opportunities(chosen_people, found, which, rep),
        tuple(unknown),
    )


# ---------------------------------------------------------------- people


def by_address(
    person: Person, found: Found, several: Several, rep: str = ""
) -> tuple[Chosen, ...]:
    """Choose Contacts and Leads by their e-mail address.

    Of several records under one address all are chosen, or one: the oldest or newest by
    CreatedDate, the one with the most activities, or the oldest that the rep owns.
    Where that does not decide, the oldest is taken.
    """
    candidates = sorted(
        found.candidates.get(person.key, ()), key=lambda c: (c.created_at, c.id)
    )
    if not candidates:
        return ()
    picked, rule = _pick(candidates, several, rep)
    return tuple(Chosen(c.id, c.object, c.name, rule, person) for c in picked)


def _pick(
    candidates: list[Candidate], several: Several, rep: str
) -> tuple[list[Candidate], str]:
    """Return the candidates that stay, and the rule in words."""
    count = len(candidates)
    of = f"of {count} records with this address"
    if count == 1:
        return candidates, f"{candidates[0].object}.Email"
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


# ---------------------------------------------------------------- opportunities


def open_opportunities(
    who: Sequence[Chosen], found: Found, which: Opportunities, rep: str = ""
) -> tuple[Chosen, ...]:
    """Choose open Opportunities in which chosen Contacts have a role, by id.

    Each Contact brings its own: all, the newest by CreatedDate, those that the rep
    owns, those where it is the primary contact, or none.
    """
    names: dict[str, str] = {}
    rules: dict[str, str] = {}
    through: dict[str, list[str]] = {}
    for chosen in who:
        roles, rule = _which(found.roles.get(chosen.id, ()), which, rep)
        for role in roles:
            names[role.opportunity_id] = role.opportunity_name
            rules.setdefault(role.opportunity_id, rule)
            contacts = through.setdefault(role.opportunity_id, [])
            if role.contact_id not in contacts:
                contacts.append(role.contact_id)
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


def _which(
    roles: Iterable[OpportunityRole], which: Opportunities, rep: str
) -> tuple[list[OpportunityRole], str]:
    """Return those of one Contact's roles that count, and the rule in words."""
    rule = "OpportunityContactRole on an open opportunity"
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
    return Match(who, what, match.unknown)
