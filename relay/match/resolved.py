"""Records that a person chose: for one mail, or for an address from then on.

Both are asked for by id with everything else, so that a record which was deleted since,
or became another one, is seen. An explicit choice for a mail stands beside what the
rules choose; a remembered address counts only where no record has it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from relay.core.model import WHO_OBJECTS, Chosen

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from relay.core.model import Found, Match, NamedRecord, Person, Resolution
    from relay.core.unmatched import Alias


def alias_ids(people: Iterable[Person], aliases: Mapping[str, Alias]) -> list[str]:
    """Return the ids of the records to which addresses of these people belong."""
    return [aliases[one.key].record_id for one in people if one.key in aliases]


def with_aliases(
    match: Match, people: Sequence[Person], aliases: Mapping[str, Alias], found: Found
) -> Match:
    """Return a match in which remembered addresses lead to their records.

    People keep the order of the mail. A company is no participant: nobody in To is
    shown as it.

    Args:
        match: What the rules chose.
        people: Who was looked for, in the order of the mail.
        aliases: Remembered addresses, by key.
        found: What Salesforce holds.
    """
    chosen: list[Chosen] = []
    for person in match.unknown:
        record = _usable(aliases.get(person.key), found)
        if record:
            by = aliases[person.key].added_by
            rule = f"address remembered by {by}"
            chosen.append(Chosen(record.id, record.object, record.name, rule, person))
    if not chosen:
        return match
    known = {one.id for one in (*match.who, *match.what)}
    new = {one.id: one for one in reversed(chosen) if one.id not in known}
    place = {person.key: number for number, person in enumerate(people)}
    who = [*match.who, *(one for one in new.values() if one.object in WHO_OBJECTS)]
    who.sort(key=lambda one: place[one.person.key] if one.person else len(place))
    others = [
        replace(one, person=None)
        for one in reversed(new.values())
        if one.object not in WHO_OBJECTS
    ]
    found_by = {one.person.key for one in chosen if one.person}
    return replace(
        match,
        who=tuple(who),
        what=(*match.what, *others),
        unknown=tuple(one for one in match.unknown if one.key not in found_by),
    )


def with_resolved(match: Match, resolved: Sequence[Resolution], found: Found) -> Match:
    """Return a match with the records that a person chose for this mail.

    A Contact or Lead stands for whom the person named, or for the only one of the mail
    who has no record. Of other records these come first.
    """
    usable = {
        record.id: (one, record) for one in resolved if (record := _usable(one, found))
    }
    if not usable:
        return match
    unknown = {person.key: person for person in match.unknown}
    alone = match.unknown[0].key if len(match.unknown) == 1 else ""
    known = {one.id: one for one in (*match.who, *match.what)}
    who, what, found_by = list(match.who), [], set()
    for sfid, (one, record) in usable.items():
        rule = f"resolved by {one.actor}"
        person = unknown.get(one.key or alone)
        if person:
            found_by.add(person.key)
        if record.object not in WHO_OBJECTS:
            new = Chosen(sfid, record.object, record.name, rule)
            what.append(known.get(sfid) or new)
        elif sfid not in known:
            who.append(Chosen(sfid, record.object, record.name, rule, person))
    what += [one for one in match.what if one.id not in usable]
    left = tuple(one for one in match.unknown if one.key not in found_by)
    return replace(match, who=tuple(who), what=tuple(what), unknown=left)


def gone(resolved: Sequence[Resolution], found: Found) -> list[tuple[str, str]]:
    """Return the chosen records that will not do, each with the reason."""
    problems = []
    for one in resolved:
        record = found.records.get(one.record_id)
        if record is None:
            problems.append((one.record_id, "the relay cannot read it any more"))
        elif record.unfit:
            problems.append((one.record_id, record.unfit))
    return problems


def _usable(one: Alias | Resolution | None, found: Found) -> NamedRecord | None:
    record = found.records.get(one.record_id) if one else None
    return None if record is None or record.unfit else record
