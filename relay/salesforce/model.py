"""What the adapter returns: outcomes of writes, and records read back.

All frozen, all free of the client library's own types. What the org is and whom a
look-up found are values of `relay.core.org`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from relay.core.errors import TransientError
    from relay.core.model import Json


class WriteState(StrEnum):
    """What became of one record that was to be written."""

    WRITTEN = "written"
    """Salesforce said so, and gave the id."""
    REFUSED = "refused"
    """Nothing was written, and the same record would be refused again."""
    RETRY = "retry"
    """Nothing was written; the same record may be taken later."""
    UNKNOWN = "unknown"
    """The request left and no usable answer came: look it up before writing again."""
    NOT_SENT = "not_sent"
    """It was too late to send it; no byte left."""


@dataclass(frozen=True, slots=True)
class WriteOutcome:
    """What became of one record.

    `code` is Salesforce's `errorCode`, an HTTP status, or a word for the transport;
    `errors.rule(code)` says what to do and what to tell the admin. `text` is
    Salesforce's own message without e-mail addresses; `fields` names the fields that
    it complains of. `retry_after_s` is set where a wait is known. `error` is set where
    the state is *retry*: it carries the retry rule. `before` is the record right before
    it was updated, where that was asked for and answered.
    """

    key: str
    state: WriteState
    id: str | None = None
    code: str = ""
    text: str = ""
    fields: tuple[str, ...] = ()
    retry_after_s: float | None = None
    error: TransientError | None = field(default=None, compare=False)
    before: Mapping[str, Json] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class FoundRecord:
    """A record read back from Salesforce, deleted ones included."""

    id: str
    is_deleted: bool
    created_at: datetime
    activity_id: str | None = None
    created_by_id: str | None = None


@dataclass(frozen=True, slots=True)
class Filed:
    """What the platform made of an EmailMessage: its Task, and the sender's relation.

    `has_sender` is True where the relation is there, or cannot be asked for.
    """

    id: str
    is_deleted: bool
    activity_id: str | None
    has_sender: bool


@dataclass(frozen=True, slots=True)
class KeyedRecord:
    """A record that was read by its id, with what tells whose record it is.

    Attributes:
        id: As asked for.
        is_deleted: It lies in the Recycle Bin.
        keys: What it carries of a unique field, a MessageIdentifier and a last line.
        created_by_id: The user who made it.
        modified_by_id: The user who changed it last.
        created_at: When it was made, by Salesforce's clock.
        title: Its Subject, or the Title of a file.
    """

    id: str
    is_deleted: bool
    keys: frozenset[str]
    created_by_id: str | None
    modified_by_id: str | None
    created_at: datetime | None = None
    title: str = ""


@dataclass(frozen=True, slots=True)
class OwnRecord:
    """A record of ours; `key` is a key of the ledger or, without, an identifier."""

    id: str
    key: str
    is_deleted: bool
    by_identifier: bool = False
