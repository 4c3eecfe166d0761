"""Notices as values: what users are told by mail, and how far each notice is."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from relay.core.model import Json
    from relay.core.states import ActivityState


class NoticeKind(StrEnum):
    """What a notice is about; each kind has one template."""

    REFUSED = "refused"
    HELD = "held"
    UNMATCHED = "unmatched"
    FAILED = "failed"
    LOGGED = "logged"
    DIGEST = "digest"
    CLAIM_CODE = "claim_code"
    CLAIM_DONE = "claim_done"
    SIGN_IN_LINK = "sign_in_link"
    ALERT = "alert"


class NoticeLevel(StrEnum):
    """Which notices a user wants."""

    ALL = "all"
    PROBLEMS = "problems"
    NONE = "none"


PROBLEMS: Final = frozenset(
    {NoticeKind.REFUSED, NoticeKind.HELD, NoticeKind.UNMATCHED, NoticeKind.FAILED}
)
"""Kinds that a user has who wants problems only, beside a digest of them."""


NO_ANSWER: Final = "no answer"
"""Begins the error of a notice that the smarthost may have taken."""


@dataclass(frozen=True, slots=True)
class NoticeItem:
    """One event that a notice tells of.

    `key` names the event for ever, so that it is told once. `facts` are for the
    template.
    """

    key: str
    at: datetime
    facts: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NoticeEvent:
    """Something that happened to a mail of a user."""

    kind: NoticeKind
    user_id: int
    item: NoticeItem


@dataclass(frozen=True, slots=True)
class NoticeDraft:
    """A notice of one kind to one recipient, with what it tells of."""

    kind: NoticeKind
    recipient: str
    items: tuple[NoticeItem, ...] = ()
    user_id: int | None = None
    facts: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NoticeRow:
    """A notice in the store, and how far it is.

    `state` is *planned*, *written* (the smarthost has it) or *refused*. There is no
    *sent*: a notice without an answer stays planned and is sent again, under the same
    Message-ID. `count` is how many events it tells of; `items` are the first of them.
    """

    id: int
    key: str
    kind: NoticeKind
    recipient: str
    state: ActivityState
    created_at: datetime
    user_id: int | None = None
    facts: Mapping[str, Json] = field(default_factory=dict)
    items: tuple[NoticeItem, ...] = ()
    count: int = 0
    due_at: datetime | None = None
    written_at: datetime | None = None
    error: str = ""
    failures: int = 0
    failing_since: datetime | None = None

    # What the outbox reads of a row: no mark is ever made, and nothing looked up.
    @property
    def sent_at(self) -> datetime | None:
        """Return None: a notice is not marked before it leaves."""
        return None

    @property
    def lookups(self) -> int:
        """Return 0: no smarthost can be asked for a mail that it has taken."""
        return 0


@dataclass(frozen=True, slots=True)
class NoticeUpdate:
    """What became of an attempt to send a notice."""

    key: str
    state: ActivityState
    error: str = ""
    due_at: datetime | None = None
    """When to try again; for a notice that is still planned."""


@dataclass(frozen=True, slots=True)
class NoticeCursor:
    """Up to where the journal has been read for events.

    Attributes:
        attempt: Number of an attempt.
        at: A time, for what has no number.
        begun: When notices began: what happened before is told to nobody.
    """

    attempt: int
    at: datetime
    begun: datetime
