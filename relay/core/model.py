"""The values that the parts of the relay hand to each other, all frozen.

Times are aware datetimes in UTC unless a name says otherwise; sizes are bytes;
addresses are as written, with `address_key` beside them where they are compared.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    from relay.core.states import Event, FileState, Ledger, State

Json = Any
"""A value that JSON can hold."""


# ------------------------------------------------------------------ people


class Role(StrEnum):
    """What a person may do in the relay."""

    REP = "rep"
    ADMIN = "admin"
    MONITOR = "monitor"


@dataclass(frozen=True, slots=True)
class User:
    """A person who logs.

    `relay_token` is the local part of the current relay address; `old_tokens` still
    work for a grace time after a rotation.
    """

    id: int
    name: str
    email: str
    role: Role
    active: bool
    salesforce_id: str | None
    relay_token: str
    time_zone: str | None = None
    old_tokens: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AcceptedAddress:
    """An address, or `*@domain`, that may send for a user; `address` is a key."""

    user_id: int
    address: str
    added_at: datetime
    added_by: str


@dataclass(frozen=True, slots=True)
class AppPassword:
    """A password with which a mail program of a user logs in to hand mail over.

    `hash` is from `core.passwords`. `used_at` is its last use, to the hour.
    """

    user_id: int
    name: str
    hash: str = field(repr=False)
    added_at: datetime
    added_by: str
    used_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class APIToken:
    """A token with which a program hands mail over by HTTP.

    With `user_id` it is for that user alone. `used_at` is its last use, to the hour.
    """

    name: str
    user_id: int | None
    added_at: datetime
    added_by: str
    used_at: datetime | None = None


class SkipKind(StrEnum):
    """What an exclusion does."""

    ADDRESS = "address"
    """The address is not looked up; the rest of the mail is logged."""
    MAIL = "mail"
    """A mail in which the address takes part is not logged at all."""


@dataclass(frozen=True, slots=True)
class Exclusion:
    """An address or `*@domain` to leave out, org-wide (`user_id` None) or of a user."""

    pattern: str
    user_id: int | None
    skip: SkipKind


@dataclass(frozen=True, slots=True)
class Directory:
    """Everybody and everything an admin edits, as of one moment (`revision`)."""

    revision: int
    users: Mapping[int, User]
    by_token: Mapping[str, int]
    accepted: Mapping[int, frozenset[str]]
    exclusions: tuple[Exclusion, ...]
    settings: Mapping[str, Json] = field(default_factory=dict)
    app_passwords: Mapping[int, tuple[AppPassword, ...]] = field(default_factory=dict)


# ------------------------------------------------------------------ intake


@dataclass(frozen=True, slots=True)
class Recipient:
    """One envelope recipient that was accepted, and the message it becomes.

    `user_id` None is mail for postmaster: kept and shown, never logged.
    """

    message_id: str
    rcpt: str
    user_id: int | None


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a decision trace: what was checked or done, and what came of it."""

    at: datetime
    step: str
    result: str
    detail: str = ""

    def as_json(self) -> dict[str, str]:
        """Return the stable form that `relay show --json` prints."""
        return {
            "at": self.at.isoformat(timespec="milliseconds"),
            "step": self.step,
            "result": self.result,
            "detail": self.detail,
        }


@dataclass(frozen=True, slots=True)
class RawMail:
    """The bytes of one SMTP transaction as received, in memory or in a file.

    Exactly one of `data` and `path` is set. A path is a complete temporary file in the
    store's spool folder; the store takes it over.
    """

    size_bytes: int
    sha256: str
    data: bytes | None = None
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class Envelope:
    """One accepted SMTP transaction; `mail_from` is empty for the null sender.

    `header_from`, `subject` and `rfc_message_id` are read from the headers, for
    listings. `trace` holds what the intake checked.
    """

    mail_from: str
    peer: str
    helo: str
    tls: bool
    received_at: datetime
    recipients: tuple[Recipient, ...]
    header_from: str = ""
    header_to: str = ""
    subject: str = ""
    rfc_message_id: str = ""
    trace: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """One RCPT or DATA that was answered 4yz or 5yz.

    `reason` is a stable word (`unknown_recipient`, `sender_not_accepted`, …); `reply`
    the whole reply line.
    """

    id: str
    at: datetime
    peer: str
    mail_from: str
    rcpt: str
    header_from: str
    reply: str
    reason: str
    user_id: int | None = None
    detail: str = ""
    count: int = 1
    subject: str = ""
    rfc_message_id: str = ""


# ------------------------------------------------------------------ reading


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A display name and an address, as written (RFC 5322 section 3.4), decoded."""

    name: str
    address: str


@dataclass(frozen=True, slots=True)
class Attachment:
    """A part of a mail that is not its body; its content stays in the raw bytes.

    The raw bytes from `start` to `end` hold it in `encoding`; decoded, it has
    `size_bytes` and the digest `sha256`.
    """

    name: str
    content_type: str
    size_bytes: int
    content_id: str | None = None
    inline: bool = False
    start: int = 0
    end: int = 0
    encoding: str = ""
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Email:
    """What was read from the bytes of one mail.

    All text is free of NUL and of lone surrogates. `message_id`, `in_reply_to` and
    `references` keep their angle brackets. `date` is None where the header is absent
    or cannot be read. `key1` and `key2` are the identity (docs/flow.md, "Identity"):
    equal in either is the same mail. `repairs` says what was wrong and mended.
    """

    from_: tuple[Mailbox, ...]
    to: tuple[Mailbox, ...]
    cc: tuple[Mailbox, ...]
    bcc: tuple[Mailbox, ...]
    reply_to: tuple[Mailbox, ...]
    subject: str
    date: datetime | None
    message_id: str | None
    in_reply_to: tuple[str, ...]
    references: tuple[str, ...]
    text: str
    html: str | None
    attachments: tuple[Attachment, ...]
    headers: str
    key1: str
    key2: str
    repairs: tuple[str, ...] = ()


# ------------------------------------------------------------------ matching


class Place(StrEnum):
    """Where in a mail a person stands."""

    TO = "to"
    CC = "cc"


@dataclass(frozen=True, slots=True)
class Person:
    """An outside participant of a mail: whom to look for. `key` is an address key."""

    key: str
    address: str
    name: str
    place: Place


@dataclass(frozen=True, slots=True)
class OpportunityRole:
    """A contact's part in an open opportunity (OpportunityContactRole)."""

    opportunity_id: str
    opportunity_name: str
    contact_id: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A Contact or an unconverted Lead found under an address.

    `email_key` is the address key of its Email field; `activity_count` is set only
    where the rule asked for it.
    """

    id: str
    object: str
    email_key: str
    name: str
    created_at: datetime
    account_id: str | None = None
    activity_count: int | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What Salesforce holds for a set of addresses, by address key."""

    candidates: Mapping[str, tuple[Candidate, ...]]
    roles: Mapping[str, tuple[OpportunityRole, ...]]
    """By Contact id; open opportunities only."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A record that the mail is logged on, with the rule that chose it."""

    id: str
    object: str
    name: str
    rule: str
    person: Person | None = None
    """Set for Contacts and Leads."""
    through: tuple[str, ...] = ()
    """For an Opportunity: the contact ids whose roles led to it."""


@dataclass(frozen=True, slots=True)
class Match:
    """The records chosen for a mail. `unknown` are people without a record."""

    who: tuple[Chosen, ...]
    what: tuple[Chosen, ...]
    unknown: tuple[Person, ...]


# ------------------------------------------------------------------ activities


@dataclass(frozen=True, slots=True)
class Draft:
    """One Salesforce record to be written for a mail.

    `slot` names its job within the mail (`email`, `task:who=…,what=…`); `key` is the
    digest of mail and slot, unique for ever; `fields` is the JSON body without
    `attributes`; `rule` says why it is there. `people` are the address keys whose
    records it names.
    """

    slot: str
    key: str
    object: str
    fields: Mapping[str, Json]
    rule: str
    people: tuple[str, ...] = ()
    owner: str | None = None
    """User id for the Task that the platform makes of this record by itself."""
    key_field: str | None = None
    """The unique field that holds the key, where the org has one for it."""


@dataclass(frozen=True, slots=True)
class Activity:
    """A row of the ledger: a draft and how far it is."""

    key: str
    mail_id: int
    slot: str
    object: str
    fields: Mapping[str, Json]
    rule: str
    state: Ledger
    salesforce_id: str | None = None
    sent_at: datetime | None = None
    error: str = ""
    lookups: int = 0
    """How often an unknown outcome has been looked for."""
    people: tuple[str, ...] = ()
    key_field: str | None = None


@dataclass(frozen=True, slots=True)
class Handover:
    """An EmailMessage whose Task is still to be given to the rep.

    The platform makes that Task for the integration user. `owner` is the rep's user
    id, `address` the sender's address as it was written.
    """

    key: str
    salesforce_id: str
    owner: str
    address: str


@dataclass(frozen=True, slots=True)
class LedgerUpdate:
    """A change of one ledger row, committed together with the settlements."""

    key: str
    state: Ledger
    salesforce_id: str | None = None
    sent_at: datetime | None = None
    error: str = ""
    lookups: int | None = None


# ------------------------------------------------------------------ files


@dataclass(frozen=True, slots=True)
class FileDraft:
    """One file to hang on one record of a mail.

    `key` is the digest of record and content, unique for ever. The raw bytes of the
    blob from `start` to `end` hold the content in `encoding`; decoded, it has
    `size_bytes` and the digest `sha256`. The original mail has no digest: its bytes
    differ from copy to copy.
    """

    key: str
    mail_id: int
    activity_key: str
    blob_id: str
    name: str
    content_type: str
    size_bytes: int
    sha256: str
    start: int
    end: int
    encoding: str = ""


@dataclass(frozen=True, slots=True)
class FileRow:
    """A file as the store knows it, and the record that it is to hang on.

    `due_at` is when something is to be done about it; None: never again. `mine` says
    whether it is in the hands of the worker who asked.
    """

    id: int
    draft: FileDraft
    state: FileState
    record_id: str | None
    record_gone: bool
    created_at: datetime
    version_id: str | None = None
    document_id: str | None = None
    sent_at: datetime | None = None
    due_at: datetime | None = None
    error: str = ""
    lookups: int = 0
    failures: int = 0
    mine: bool = False

    @property
    def key(self) -> str:
        """Return the key of its draft."""
        return self.draft.key


@dataclass(frozen=True, slots=True)
class FileUpdate:
    """A change of one file's row. None leaves a column as it is, but for `due_at`.

    `keep` leaves the row in the hands of the worker; otherwise it is free from
    `due_at` on.
    """

    key: str
    state: FileState
    due_at: datetime | None = None
    version_id: str | None = None
    document_id: str | None = None
    sent_at: datetime | None = None
    error: str = ""
    lookups: int | None = None
    failures: int | None = None
    keep: bool = False


# ------------------------------------------------------------------ queue


@dataclass(frozen=True, slots=True)
class LeaseOwner:
    """Who holds a claim. `started` tells two processes with one pid apart."""

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
    """A message in a worker's hands.

    `attempt` counts from 1 and fences the settlement: a worker that lost its lease
    cannot settle what another has claimed since. `alone` marks a message that was in
    the worker's hands at two crashes and now travels by itself.
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
    stopped relay, an org that rests); sets the end. None: it has not failed yet."""


@dataclass(frozen=True, slots=True)
class MailState:
    """A mail as the store knows it: identity, and its ledger rows."""

    id: int
    key: str
    activities: tuple[Activity, ...]
    leased: bool
    """False: another live worker is busy with this mail; give the message back."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """The outcome of one attempt, as a value."""

    message_id: str
    attempt: int
    event: Event
    reason: str = ""
    """A stable word, such as `no_record` or `UNABLE_TO_LOCK_ROW`."""
    detail: str = ""
    """A sentence for people."""
    retry_at: datetime | None = None
    """When to try again; for TRANSIENT and GIVE_BACK."""
    trace: tuple[Step, ...] = ()
    started_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class LogFilter:
    """What `relay log` asks for; None is no restriction."""

    state: State | None = None
    user_id: int | None = None
    since: datetime | None = None
    refused: bool | None = None
    """True: refusals alone. False: messages alone. None: both."""
    after_id: str | None = None
    limit: int | None = None
    newest_first: bool = False
