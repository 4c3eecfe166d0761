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
    from collections.abc import Iterable, Sequence

    from relay.activity import Owner
    from relay.core.directory import User
    from relay.core.model import Draft, Email, Match, Person
    from relay.match.plan import LeftOut, Plan, Verdict

MOST: Final = 50
"""Things that one line lists, and lines of one kind; further ones are counted."""


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
