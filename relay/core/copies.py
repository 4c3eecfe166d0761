"""Copies of mails to Email to Salesforce as values, and how far each is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from relay.core.states import ActivityState

if TYPE_CHECKING:
    from datetime import datetime

COPY_HEADER: Final = "X-Relay-Copy"
"""Every copy has this field: one that comes back to the relay is not copied again."""
NO_ADDRESS: Final = "no_salesforce_address"
"""The reason of mail that waits for its user's address of Email to Salesforce."""
NO_SMARTHOST: Final = "no_smarthost"
"""The reason of mail that waits for a smarthost."""


@dataclass(frozen=True, slots=True)
class Copied:
    """How far the copy of a mail is; a row of the table of copies."""

    state: ActivityState
    sent_at: datetime | None

    def in_the_way(self, asked_at: datetime | None) -> bool:
        """Say whether the mail may be in Salesforce by its copy.

        One without an answer may be; not any more, once a person has looked and had the
        mail tried again.

        Args:
            asked_at: When a person asked for another try of a message of the mail;
                None: nobody has. That another message of it came proves nothing.
        """
        if self.state is ActivityState.SENT:
            return self.sent_at is None or asked_at is None or asked_at <= self.sent_at
        return self.state is ActivityState.WRITTEN


@dataclass(frozen=True, slots=True)
class CopyRow:
    """The copy of a mail that goes to an address of Email to Salesforce.

    Each mail has one at most, whoever's copies of it come. `key` is in its header. It
    is committed as *sent* before it leaves. A copy that left without an answer stays
    *sent*: nobody can be asked whether it came, so that a person has to look.
    """

    key: str
    mail_id: int
    message_id: str
    user_id: int
    recipient: str
    state: ActivityState
    sent_at: datetime | None = None
    written_at: datetime | None = None
    error: str = ""
    lookups: int = 0


@dataclass(frozen=True, slots=True)
class CopyDraft:
    """A copy that is to be sent."""

    key: str
    mail_id: int
    message_id: str
    user_id: int
    recipient: str


@dataclass(frozen=True, slots=True)
class CopyUpdate:
    """What became of a copy."""

    key: str
    state: ActivityState
    error: str = ""
