"""Which records a mail belongs to, out of what Salesforce holds.

The same mail and the same org give the same records in the same order, whatever order
the answers came in. Each rule is a function of its own that returns the records it
chooses, each with the rule in words.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from relay.core.model import Chosen, Match

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from relay.core.model import Candidate, Found, Person


class Several(StrEnum):
    """What to do when one address has several records (`match.several`)."""

    ALL = "all"
    OLDEST = "oldest"
    MOST_ACTIVITY = "most_activity"


def choose(people: Sequence[Person], found: Found, several: Several) -> Match:
    """Choose the Contacts, Leads and open Opportunities that the mail is logged on.

    People keep the order of the mail; a record is chosen once.

    Source: Salesforce Help, "Guidelines for Using Email to Salesforce".
    """
    who: dict[str, Chosen] = {}
    unknown: list[Person] = []
    for person in people:
        records = by_address(person, found, several)
        if not records:
            unknown.append(person)
        for chosen in records:
            who.setdefault(chosen.id, chosen)
    chosen_people = tuple(who.values())
    return Match(
        chosen_people, open_opportunities(chosen_people, found), tuple(unknown)
    )


# ---------------------------------------------------------------- rules


def by_address(person: Person, found: Found, several: Several) -> tuple[Chosen, ...]:
    """Choose Contacts and Leads by their e-mail address.

    Several records under one address are all chosen, or the oldest by CreatedDate, or
    the one with the most activities (the oldest of equals).
    """
    candidates = sorted(
        found.candidates.get(person.key, ()), key=lambda c: (c.created_at, c.id)
    )
    if not candidates:
        return ()
    picked, rule = _pick(candidates, several)
    return tuple(Chosen(c.id, c.object, c.name, rule, person) for c in picked)


def _pick(candidates: list[Candidate], several: Several) -> tuple[list[Candidate], str]:
    """Return the candidates that stay, and the rule in words."""
    count = len(candidates)
    if count == 1:
        return candidates, f"{candidates[0].object}.Email"
    if several is Several.OLDEST:
        return candidates[:1], f"oldest of {count} records with this address"
    if several is Several.MOST_ACTIVITY:
        # max() keeps the first of equals, and the list is sorted by age.
        most = max(candidates, key=lambda c: c.activity_count or 0)
        return [most], f"most activity of {count} records with this address"
    return candidates, f"all {count} records with this address"


def open_opportunities(who: Sequence[Chosen], found: Found) -> tuple[Chosen, ...]:
    """Choose each open Opportunity in which a chosen Contact has a role, by id."""
    names: dict[str, str] = {}
    through: dict[str, list[str]] = {}
    for chosen in who:
        for role in found.roles.get(chosen.id, ()):
            names[role.opportunity_id] = role.opportunity_name
            contacts = through.setdefault(role.opportunity_id, [])
            if role.contact_id not in contacts:
                contacts.append(role.contact_id)
    return tuple(
        Chosen(
            opportunity,
            "Opportunity",
            names[opportunity],
            "OpportunityContactRole on an open opportunity",
            through=tuple(through[opportunity]),
        )
        for opportunity in sorted(through)
    )


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
