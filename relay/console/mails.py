"""Mails: finding them, and a person's hand on all that are found.

A mail is a message or a refusal; both stand in one timeline.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.core.model import LogFilter

if TYPE_CHECKING:
    from relay.core.filters import Filter
    from relay.store import Store


async def log_filter(
    store: Store,
    wanted: Filter,
    *,
    refused: bool | None = None,
    probes: bool = False,
    newest_first: bool = False,
) -> LogFilter:
    """Return what a person asks for as the store takes it: users are looked up.

    Args:
        store: Knows the users; removed ones are found, too.
        wanted: What is asked for.
        refused: True: refusals alone. False: messages alone.
        probes: With the refusals that `relay check` caused.
        newest_first: In which order.

    Raises:
        NotFound: There is no such user, or several have the name.
    """
    users = [await store.directory.find_user(who, removed=True) for who in wanted.user]
    return LogFilter(
        since=wanted.since,
        until=wanted.until,
        refused=refused,
        probes=probes,
        newest_first=newest_first,
        states=wanted.state,
        user_ids=tuple(user.id for user in users),
        addresses=wanted.address,
        domains=wanted.domain,
        texts=wanted.text,
        reasons=wanted.reason,
        causes=wanted.cause,
        rfc_message_ids=wanted.message_id,
    )
