"""One mail as a value, from the envelope to its rows in the ledger; all frozen.

Times are aware datetimes in UTC unless a name says otherwise; sizes are bytes;
addresses are as written, with `address_key` beside them where they are compared. All
values of `core` keep to this. People are in `core.directory`, claims in `core.queue`,
the files of a mail in `core.files`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from relay.core.automatic import Automatic
    from relay.core.copies import Copied
    from relay.core.states import ActivityState, State

Json = Any
"""A value that JSON can hold."""

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""Stands for a time that is not known."""


# ------------------------------------------------------------------ intake


@dataclass(frozen=True, slots=True)
class Recipient:
    """One envelope recipient that was accepted, and the message it becomes.

    `user_id` None is mail for postmaster: kept and shown, never logged. `held_for` is
    the reason for which the message is held from its start, empty where it is not.
    `verdict` is what was found about the author (`Verdict.as_json`).
    """

    message_id: str
    rcpt: str
    user_id: int | None
    held_for: str = ""
    verdict: Json | None = None


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
    listings. `trace` holds what the intake checked. `signatures` are pairs of the
    digest of a DKIM signature and the K2 of the mail.
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
    signatures: tuple[tuple[str, str], ...] = ()


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
    probe: bool = False
    """A session of `relay check` asked for it; kept apart from real refusals."""
    verdict: Json | None = None
    """What was found about the author (`Verdict.as_json`), where it was looked for."""


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
class Forward:
    """A mail that another mail forwards, as far as it can be read.

    `how` is `inline` for one that was copied into the text, `attached` for one that
    hangs on it as a whole. `note` is what the forwarder wrote beside it. `date` has no
    time zone where its line names none. `key` is the same for every forward of the mail
    (`relay.mail.forward.content_key`); `message_id` is known of attached ones alone.
    `outbound` says that the forwarder wrote the mail. `inner` is a mail that was
    forwarded within it: for the trace alone, its people are not in this mail.
    """

    how: str
    from_: Mailbox
    to: tuple[Mailbox, ...]
    cc: tuple[Mailbox, ...]
    subject: str
    date: datetime | None
    text: str
    note: str
    key: str
    message_id: str | None = None
    attachments: tuple[Attachment, ...] = ()
    outbound: bool = False
    inner: Forward | None = None
    keys: tuple[str, str] = ("", "")
    """Its identity: of its bytes, or of an inline one's words (`mail.forward`)."""
    email: Email | None = None
    """An attached one as it was read, its files placed in the bytes around it."""
    html: str | None = None
    """The page of an inline one, where it could be cut out of that of the forward."""


@dataclass(frozen=True, slots=True)
class Email:
    """What was read from the bytes of one mail.

    All text is free of NUL and of lone surrogates. `message_id`, `in_reply_to` and
    `references` keep their angle brackets. `date` is None where the header is absent
    or cannot be read. `key1` and `key2` are the identity (docs/flow.md, "Identity"):
    equal in either is the same mail; without Message-ID and Date (`dated` is False) the
    time of receipt enters as well. `repairs` says what was wrong and repaired.
    `automatic` is set where the header shows that no person wrote the mail.
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
    automatic: Automatic | None = None
    dated: bool = True
    forwards: tuple[Forward, ...] = ()
    """The mails that this one forwards: one in its text, or those attached to it."""
    forward_unsure: str = ""
    """Why a mail that looks like a forward is not read as one; see `mail.forward`."""
    passed_on: bool = False
    """A person redirected it, or a rule of a mailbox sent it on, as it was."""
    incoming: bool = False
    """It was received and not sent: its author is none of us (`match.logged`)."""
    forwarded: str = ""
    """How it was forwarded to the relay, `inline` or `attached`; empty: it came itself.
    """
    forwarder: Mailbox | None = None
    note: str = ""
    """What the forwarder wrote beside it."""
    local_date: datetime | None = None
    """Its date as a clock showed it, without a zone: in the Date field the clock of the
    author, in the text of a forward mostly that of the forwarder."""

    sensitivity: str = ""
    """The value of its Sensitivity field (RFC 4021 section 2.1.55), as written."""
    outer_subject: str = ""
    """The subject of the mail that forwarded it to the relay."""

    @property
    def is_inline(self) -> bool:
        """Say whether it was copied into the text of another mail."""
        return self.forwarded == "inline"

    @property
    def forward(self) -> Forward | None:
        """The mail that this one forwards; of several, the first."""
        return self.forwards[0] if self.forwards else None


# ------------------------------------------------------------------ matching


WHO_OBJECTS: Final = frozenset({"Contact", "Lead"})
"""Objects of a Task's WhoId; a record of any other object is a WhatId."""


class Place(StrEnum):
    """Where in a mail a person stands.

    `FROM` counts for incoming mail alone, `BCC` and `REPLY_TO` where the rules say so.
    """

    FROM = "from"
    TO = "to"
    CC = "cc"
    BCC = "bcc"
    REPLY_TO = "reply_to"


@dataclass(frozen=True, slots=True)
class Person:
    """An outside participant of a mail: whom to look for. `key` is an address key.

    `spellings` are further keys of the same mailbox, by the rule of its domain: who is
    not found under the address as it is written may be found under those.
    """

    key: str
    address: str
    name: str
    place: Place
    spellings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OpportunityRole:
    """A contact's part in an open opportunity (OpportunityContactRole).

    `owner_id` and `created_at` are those of the opportunity; `is_primary` says that the
    contact is its primary one.
    """

    opportunity_id: str
    opportunity_name: str
    contact_id: str
    is_primary: bool = False
    owner_id: str = ""
    created_at: datetime = EPOCH


@dataclass(frozen=True, slots=True)
class Candidate:
    """A Contact or an unconverted Lead found under an address.

    `email_key` is the address key, `field` the first field in the order of the settings
    that holds it; `activity_count` is set only where the rule asked for it. `lead_id`
    is the converted Lead that holds the address, where the Contact itself does not.
    """

    id: str
    object: str
    email_key: str
    name: str
    created_at: datetime
    account_id: str | None = None
    activity_count: int | None = None
    owner_id: str = ""
    field: str = "Email"
    person_account: bool = False
    lead_id: str = ""


@dataclass(frozen=True, slots=True)
class Related:
    """A record beside people, and the rule that leads to it.

    `rule` is the rule of the settings, such as `Case.ContactId: open`.
    """

    id: str
    object: str
    name: str
    rule: str
    created_at: datetime = EPOCH


@dataclass(frozen=True, slots=True)
class NamedRecord:
    """A record that a mail names by its id.

    `unfit` says why nothing can be logged on it; empty where it can. A Lead that became
    a Contact is that Contact: `id` is then another one than the mail names.
    """

    id: str
    object: str
    name: str
    unfit: str = ""
    is_closed: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """What Salesforce holds for a set of addresses, by address key."""

    candidates: Mapping[str, tuple[Candidate, ...]]
    roles: Mapping[str, tuple[OpportunityRole, ...]]
    """By Contact id; open opportunities only."""
    records: Mapping[str, NamedRecord] = field(default_factory=dict)
    """By the id that a mail names; what nobody may read is not in it."""
    account_opportunities: Mapping[str, tuple[OpportunityRole, ...]] = field(
        default_factory=dict
    )
    """By Account id; open ones, whoever has a role. Their `contact_id` is empty."""
    related: Mapping[str, tuple[Related, ...]] = field(default_factory=dict)
    """By what leads there: the id of a Contact or Account, an address key, a domain."""
    readable: Mapping[str, frozenset[str]] | None = None
    """By Salesforce user, the records that they can read; None: it does not count."""


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
    """For an Opportunity or a record that looks people up: the contact ids that led
    to it."""


Note = tuple[str, str]
"""What is told of a match beside its records: a word, and a sentence."""


@dataclass(frozen=True, slots=True)
class Match:
    """The records chosen for a mail. `unknown` are people without a record.

    `notes` tell why a rule that found something chose nothing.
    """

    who: tuple[Chosen, ...]
    what: tuple[Chosen, ...]
    unknown: tuple[Person, ...]
    notes: tuple[Note, ...] = ()


# ------------------------------------------------------------------ activities


OPEN_TASK: Final = "open-task"
"""Slot of the open Task of a mail that fits no record (`match.unmatched_task`). It logs
nothing: a mail of which this alone is in Salesforce is still to be logged whole."""


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
    state: ActivityState
    salesforce_id: str | None = None
    sent_at: datetime | None = None
    error: str = ""
    lookups: int = 0
    """How often an unknown outcome has been looked for."""
    people: tuple[str, ...] = ()
    key_field: str | None = None


@dataclass(frozen=True, slots=True)
class OwnerChange:
    """An EmailMessage whose Task is still to be given to the rep.

    The platform makes that Task for the integration user. `owner` is the rep's user
    id, `address` the sender's address as it was written.
    """

    key: str
    salesforce_id: str
    owner: str
    address: str
    sender: str | None = None
    """The record that the EmailMessage names as its sender, if it names one."""
    incoming: bool = False
    """The rep is not the sender: it is the record, or else the address alone."""


@dataclass(frozen=True, slots=True)
class LedgerUpdate:
    """A change of one ledger row, committed together with the settlements."""

    key: str
    state: ActivityState
    salesforce_id: str | None = None
    sent_at: datetime | None = None
    error: str = ""
    lookups: int | None = None


@dataclass(frozen=True, slots=True)
class Unsent:
    """A ledger row whose mark *sent* may be in the store, and whose request never left.

    `sent_at` is what the mark says, so that no other is taken for it.
    """

    mail_id: int
    key: str
    sent_at: datetime


@dataclass(frozen=True, slots=True)
class Resolution:
    """A record on which a person wants a mail logged.

    `key` is the address key of whom it stands for; empty: for nobody in particular.
    """

    record_id: str
    object: str
    name: str
    actor: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class MailState:
    """A mail as the store knows it: identity, and its ledger rows."""

    id: int
    key: str
    activities: tuple[Activity, ...]
    leased: bool
    """False: another live worker is busy with this mail; give the message back."""
    resolved: tuple[Resolution, ...] = ()
    """Records on which a person wants the mail."""
    copied: Copied | None = None
    """How far its copy to Email to Salesforce is; None: there is none."""


# ------------------------------------------------------------------ log


@dataclass(frozen=True, slots=True)
class LogFilter:
    """What `relay log` asks for; None, or no value, is no restriction.

    Of the tuples each value may fit, but all of `texts` must. `core.filters` has the
    syntax in which people write them.
    """

    state: State | None = None
    user_id: int | None = None
    since: datetime | None = None
    refused: bool | None = None
    """True: refusals alone. False: messages alone. None: both."""
    probes: bool = False
    """With the refusals that `relay check` asked for."""
    after_id: str | None = None
    limit: int | None = None
    newest_first: bool = False
    until: datetime | None = None
    """The moment after the last one."""
    states: tuple[str, ...] = ()
    """With `core.filters.REFUSED` for refusals."""
    user_ids: tuple[int, ...] = ()
    addresses: tuple[str, ...] = ()
    """Of the sender or a recipient, as people write them."""
    domains: tuple[str, ...] = ()
    """Of the sender."""
    texts: tuple[str, ...] = ()
    """In the subject, the sender or the recipients."""
    reasons: tuple[str, ...] = ()
    causes: tuple[str, ...] = ()
    rfc_message_ids: tuple[str, ...] = ()
    begins: tuple[str, ...] = ()
    """How the id begins."""
    ids: tuple[str, ...] | None = None
    """Among these rows alone; few."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Messages that wait in one state, for one reason.

    `next_at` is when the first of them is tried again, where it is by itself.
    """

    state: State
    reason: str
    count: int
    oldest_at: datetime
    next_at: datetime | None


@dataclass(frozen=True, slots=True)
class LastMails:
    """When a user's last mail was received, and the last one that was logged."""

    received_at: datetime | None
    logged_at: datetime | None


@dataclass(frozen=True, slots=True)
class LogPage:
    """Some rows of the journal; `after_id`: further ones come behind it.

    A page may have fewer rows than were asked for, or none, and go on all the same:
    each looks at so many rows, whatever fits.
    """

    rows: tuple[Mapping[str, Json], ...]
    after_id: str | None
