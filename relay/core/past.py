"""Mail that the relay has dealt with, as the store holds it: for looking back. Frozen.

A mail is told once, with all of its copies and with the records that were written for
it (`relay.store.past`, `relay.worker.replay`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from relay.core.model import Activity, Resolution
    from relay.core.states import State


@dataclass(frozen=True, slots=True)
class PastFilter:
    """Which mails are looked at; None is no restriction.

    A mail counts where one of its copies fits: one for this user, received from `since`
    on and before `until`.
    """

    since: datetime | None = None
    until: datetime | None = None
    user_id: int | None = None


@dataclass(frozen=True, slots=True)
class PastCopy:
    """One accepted copy of a mail, for one user, and how it ended."""

    message_id: str
    user_id: int
    blob_id: str
    size_bytes: int
    received_at: datetime
    state: State
    reason: str
    detail: str
    mail_from: str
    subject: str
    author: str
    part: int | None = None
    """Which of several mails of its message it is, from 1; None: not divided."""


@dataclass(frozen=True, slots=True)
class PastMail:
    """A mail with its copies, the first one first, and its rows of the ledger.

    `key` is its stored identity, empty for one that was never read. `resolved` are the
    records on which a person wanted it, whatever the rules said.
    """

    copies: tuple[PastCopy, ...]
    key: str
    activities: tuple[Activity, ...]
    resolved: tuple[Resolution, ...] = ()

    @property
    def first(self) -> PastCopy:
        """Return the copy that came first."""
        return self.copies[0]


@dataclass(frozen=True, slots=True)
class PastPage:
    """Some mails, newest first, and after which message the next page begins.

    `after` is None where there are no more.
    """

    mails: tuple[PastMail, ...]
    after: str | None
