"""The lines of a decision, in the order in which it is made. Pure.

kind → left out → people → tags → look-up → match → user → body → plan: what
`relay show` keeps of an attempt and `relay explain` prints are the same lines, made
here and nowhere else. A line that lists things is bounded: a mail to a thousand people
has no trace of a thousand addresses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from relay.core.states import Event

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from relay.activity import Owner
    from relay.core.directory import User
    from relay.core.model import Draft, Email, Found, Match, Person
    from relay.match.plan import LeftOut, Plan, Verdict

MOST: Final = 50
"""Things that one line lists, and lines of one kind; further ones are counted."""

FROM_CACHE: Final = "from the cache"


class TraceLine(NamedTuple):
    """One line of the decision trace; `core.model.Step` adds the time."""

    step: str
    result: str
    detail: str = ""


def kind_lines(email: Email) -> tuple[TraceLine, ...]:
    """Say what a mail is that goes on: of a program, or sent by the rep.

    What is forwarded or received has its lines from `relay.match.logged`.
    """
    if email.automatic is not None:
        found = email.automatic
        detail = f"{found.sign}: automatic.{found.kind} is log"
        return (TraceLine("kind", "automatic", detail),)
    if email.incoming or email.forwarded:
        return ()
    return (TraceLine("kind", "sent"),)


def left_out_lines(left_out: Sequence[LeftOut]) -> tuple[TraceLine, ...]:
    """Name each address that is not looked for, with its rule."""
    if not left_out:
        return ()
    listed = _listed(f"{one.address}: {one.rule}" for one in left_out)
    return (TraceLine("left out", str(len(left_out)), listed),)


def people_line(people: Iterable[Person], plans: Sequence[Plan]) -> TraceLine:
    """Name everybody who is looked for."""
    addresses = [person.address for person in people]
    beyond = min(each.beyond for each in plans)
    cut = f"; {beyond} more beyond the limit" if beyond else ""
    return TraceLine("people", str(len(addresses)), _listed(addresses, ", ") + cut)


def lookup_lines(
    people: Sequence[Person],
    records: Sequence[str],
    found: Found,
    *,
    asked_in: Sequence[str] = (),
    cached: Collection[str] = (),
) -> tuple[TraceLine, ...]:
    """Say what Salesforce was asked for a mail, and how many records answered.

    Args:
        people: Whom it was asked for.
        records: Ids that it was asked for.
        found: Everything that was found, for other mails of the batch too.
        asked_in: The fields in which the addresses were looked for.
        cached: Address keys whose answer was remembered.
    """
    lines: list[TraceLine] = []
    if people:
        by_address = [c for p in people for c in found.candidates.get(p.key, ())]
        count = len(by_address) + sum(len(found.related.get(p.key, ())) for p in people)
        detail = _count(len(people), "address", "addresses")
        if asked_in:
            detail += f" in {_listed(asked_in, ', ')}"
        lines.append(TraceLine("look-up", _count(count, "record"), detail))
        if remembered := sum(person.key in cached for person in people):
            detail = f"{_count(remembered, 'address', 'addresses')} asked a moment ago"
            lines.append(TraceLine("look-up", FROM_CACHE, detail))
        roles = sum(len(found.roles.get(c.id, ())) for c in by_address)
        if roles:
            count_text = _count(roles, "Opportunity", "Opportunities")
            lines.append(TraceLine("look-up", count_text, "by contact role"))
        led = {i for c in by_address for i in (c.id, c.account_id) if i}
        deals = sum(len(found.account_opportunities.get(i, ())) for i in led)
        if deals:
            count_text = _count(deals, "Opportunity", "Opportunities")
            lines.append(TraceLine("look-up", count_text, "of their Accounts"))
        further = sum(len(found.related.get(i, ())) for i in led)
        if further:
            lines.append(
                TraceLine("look-up", _count(further, "record"), "by match.lookups")
            )
    if records:
        read = sum(sfid in found.records for sfid in records)
        detail = f"{_count(len(records), 'id')} that the mail names"
        lines.append(TraceLine("look-up", _count(read, "record"), detail))
    return tuple(lines)


def _count(count: int, one: str, many: str = "") -> str:
    return f"{count} {one if count == 1 else many or f'{one}s'}"


def user_line(user: User, owner: Owner) -> TraceLine:
    """Say for whom a mail is logged."""
    return TraceLine("user", owner.salesforce_id, user.email)


def match_lines(match: Match) -> tuple[TraceLine, ...]:
    """Return a line for each record with its rule, and for each unknown person."""
    return _bounded(
        [
            *(
                TraceLine("match", f"{c.object} {c.id} {c.name}".rstrip(), c.rule)
                for c in (*match.who, *match.what)
            ),
            *(TraceLine("match", "no record", p.address) for p in match.unknown),
            *(TraceLine("match", word, text) for word, text in match.notes),
        ]
    )


def plan_lines(drafts: Sequence[Draft]) -> tuple[TraceLine, ...]:
    """Return a line for each record that is to be written, with its slot."""
    return _bounded(
        [TraceLine("plan", f"{each.object} {each.slot}", each.rule) for each in drafts]
    )


def rule_line(verdict: Verdict) -> TraceLine:
    """Return the line of a copy that a rule has ended."""
    ruled_out = verdict.event is Event.RULED_OUT
    return TraceLine("rules", "skipped" if ruled_out else "unmatched", verdict.detail)


def _listed(texts: Iterable[str], separator: str = "; ") -> str:
    """Join texts; those beyond `MOST` are counted."""
    every = list(texts)
    more = len(every) - MOST
    shown = separator.join(every[:MOST])
    return f"{shown} and {more} more" if more > 0 else shown


def _bounded(lines: list[TraceLine]) -> tuple[TraceLine, ...]:
    """Keep the first lines of a kind, and count the others in one more."""
    more = len(lines) - MOST
    if more <= 0:
        return tuple(lines)
    return (*lines[:MOST], TraceLine(lines[0].step, f"and {more} more"))
