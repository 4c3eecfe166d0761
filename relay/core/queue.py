"""The queue: a message that a worker claimed, and the outcome of the attempt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from relay.core.model import Person, Step
    from relay.core.reminders import NewReminder
    from relay.core.states import Event


@dataclass(frozen=True, slots=True)
class LeaseOwner:
    """The process that has a lease; `started` tells two with one pid apart."""

    host: str
    boot_id: str
    pid: int
    started: str
    worker: str = "0"

    def __str__(self) -> str:
        """Return the form kept in the store."""
        return f"{self.host}/{self.boot_id}/{self.pid}/{self.started}/{self.worker}"


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message that a worker claimed.

    `attempt` counts from 1 and fences the settlement: a worker that lost its lease
    cannot settle what another has claimed since. `alone` marks a message that was
    claimed at two crashes and is now claimed by itself.
    """

    id: str
    attempt: int
    user_id: int | None
    rcpt: str
    received_at: datetime
    mail_from: str
    mail_id: int | None
    blob_id: str
    size_bytes: int
    failures: int
    """Transient failures so far; sets the backoff."""
    waiting_since: datetime
    """Receipt, or the last time that a person asked for another try."""
    alone: bool = False
    failing_since: datetime | None = None
    """When it first failed, later by all time in which it was due and nobody tried (a
    stopped relay, an org that is paused); sets the end. None: it has not failed yet."""
    null_sender: bool = False
    """It came by SMTP from the null sender (`MAIL FROM:<>`, RFC 5321 section 4.5.5)."""
    part: int | None = None
    """Which of several mails of the message is its own, from 1; None: not divided."""

    @property
    def asked_at(self) -> datetime | None:
        """When a person asked for another try; None: nobody has."""
        return None if self.waiting_since == self.received_at else self.waiting_since


@dataclass(frozen=True, slots=True)
class Settlement:
    """The outcome of one attempt, as a value."""

    message_id: str
    attempt: int
    event: Event
    reason: str = ""
    """A stable word, such as `no_record` or `REQUIRED_FIELD_MISSING`."""
    detail: str = ""
    """A sentence for people."""
    retry_at: datetime | None = None
    """When to try again; for TRANSIENT and GIVE_BACK."""
    trace: tuple[Step, ...] = ()
    started_at: datetime | None = None
    unknown: tuple[Person, ...] = ()
    """For NO_MATCH: the people that no record has."""
    reminder: NewReminder | None = None
    """What the relay address asks for; made in the same transaction."""


@dataclass(frozen=True, slots=True)
class PartOf:
    """One of several mails in a message: the id of its own message, and for listings.

    `step` goes into its trace.
    """

    message_id: str
    subject: str
    rfc_message_id: str
    step: Step


class Act:
    """What one person does to messages at once, in however many transactions.

    It is no value: whoever passes it on learns its number from it afterwards.

    Attributes:
        actor: Who does it, as the history names them.
        user_id: The user who does it; None: the shell, or a program.
        about: Whose mail alone it is about, a rep's; the rep finds it in the history.
        number: The change of the history that it is; None: nothing was changed yet.
    """

    __slots__ = ("about", "actor", "number", "user_id")

    def __init__(
        self, actor: str, user_id: int | None = None, about: int | None = None
    ) -> None:
        """Begin an act that has changed nothing yet."""
        self.actor = actor
        self.user_id = user_id
        self.about = about
        self.number: int | None = None


@dataclass(frozen=True, slots=True)
class KeptAct:
    """An act as the store keeps it.

    Attributes:
        number: The change of the history that it is.
        actor: Who did it.
        user_id: The user who did it; None: the shell, or a program.
        event: What was done.
        count: To how many messages.
        message_id: To which, where it was one.
        undone_by: The change that took it back.
        ended_at: Since when it cannot be taken back for its age.
        removed: Raw mails that were removed then.
    """

    number: int
    actor: str
    user_id: int | None
    event: Event
    count: int
    message_id: str | None
    undone_by: int | None
    ended_at: datetime | None
    removed: int


@dataclass(frozen=True, slots=True)
class TakenBack:
    """An act that was undone.

    Attributes:
        number: The change of the history that was taken back.
        by: The change that took it back.
        back: How many messages are in which state again.
        left: How many have moved on since and were left alone, by their state now.
    """

    number: int
    by: int
    back: Mapping[str, int]
    left: Mapping[str, int]
