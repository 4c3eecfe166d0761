"""Leaving alone what another tool has logged, where an admin wants that asked.

Other products store the same Message-ID with their EmailMessages. What is found is
told with its author; what was deleted does not count, and neither does our own: that
is for the ledger to know.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from relay.activity import message_identifier
from relay.core.states import Event

if TYPE_CHECKING:
    from relay.core.model import Match
    from relay.outbox.batch import BatchMail
    from relay.salesforce import FoundRecord, Org

Matched = list[tuple["BatchMail", "Match"]]


async def not_elsewhere(org: Org, matches: Matched) -> Matched:
    """Return the mails that no other tool has logged; settle the others as skipped.

    A mail of which something is in Salesforce by us stays, whoever else has it.

    Raises:
        RelayError: Salesforce could not be asked; nothing was settled.
    """
    shape = await org.schema.get()
    length = shape.length("EmailMessage", "MessageIdentifier")
    fresh: dict[str, list[BatchMail]] = defaultdict(list)
    for work, _ in matches:
        if not work.begun and work.email.message_id:
            stored = message_identifier(work.email.message_id, work.mail.key, length)
            fresh[stored].append(work)
    if not fresh or not shape.has("EmailMessage"):
        return matches
    # What no query can hold nobody is known to have logged.
    found = await org.records.find_email_messages(sorted(fresh), whole=False)
    me = await org.access.me()
    others: dict[str, FoundRecord] = {}
    for identifier, records in found.items():
        for record in records:
            foreign = record.created_by_id not in {None, me}
            if foreign and not record.is_deleted:
                others.setdefault(identifier, record)
    authors = {r.created_by_id for r in others.values() if r.created_by_id}
    names = await org.lookup.users(sorted(authors)) if authors else {}
    for identifier, record in others.items():
        author = record.created_by_id or ""
        name = names[author].name if author in names else "a user"
        detail = f"{name} ({author}) has logged it as EmailMessage {record.id}"
        for work in fresh[identifier]:
            work.trace("look before write", "logged elsewhere", detail)
            work.settle(Event.RULED_OUT, "logged_elsewhere", detail)
    logged = {work.mail.id for identifier in others for work in fresh[identifier]}
    return [(work, match) for work, match in matches if work.mail.id not in logged]
