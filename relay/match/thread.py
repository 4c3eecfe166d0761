"""Threads: a reply takes over the related records of the mails before it. Pure.

The mails before it are those that In-Reply-To and References name. On which records the
relay logged them, the ledger knows; that these still exist, and are open, Salesforce is
asked in the same look-up. People are never taken over: who is not in this mail has no
part in it.

Source: RFC 5322 section 3.6.4.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from relay.core.model import WHO_OBJECTS, Chosen
from relay.match.choose import Opportunities

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.core.model import Email, Found, Match, Note

MAX_EARLIER: Final = 50
"""Mails of one thread that are looked for: the first one, and the last ones."""
RULE: Final = "an earlier mail of this thread"


def earlier_mails(email: Email) -> tuple[str, ...]:
    """Return the Message-IDs of the mails that this one answers, each once."""
    every = tuple(dict.fromkeys((*email.references, *email.in_reply_to)))
    if len(every) <= MAX_EARLIER:
        return every
    return (every[0], *every[1 - MAX_EARLIER :])


def with_thread(
    match: Match, ids: Sequence[str], found: Found, which: Opportunities
) -> Match:
    """Return a match with the related records of the thread, behind those it has.

    What is closed, gone, or hidden from the rep is not taken over; the trace tells it.

    Args:
        match: The records that the mail has by itself.
        ids: Records on which earlier mails were logged.
        found: What Salesforce holds of them.
        which: Which Opportunities an admin wants: none, then none is taken over.
    """
    known = {one.id for one in match.what}
    taken: list[Chosen] = []
    notes: list[Note] = []
    for sfid in ids:
        record = found.records.get(sfid)
        if sfid in known or (record and record.object in WHO_OBJECTS):
            continue
        if record is None:
            why = "it is gone, or the relay may not read it"
        elif record.object == "Opportunity" and which is Opportunities.NONE:
            why = "match.opportunities is none"
        else:
            why = record.unfit or ("it is closed" if record.is_closed else "")
        if record is None or why:
            notes.append(("of the thread", f"{sfid} is not taken over: {why}"))
        else:
            taken.append(Chosen(record.id, record.object, record.name, RULE))
    if not (taken or notes):
        return match
    return replace(match, what=(*match.what, *taken), notes=(*match.notes, *notes))
