"""What goes over the wire, as the OpenAPI document describes it.

Answers have exactly these names; a name stays once it was released. What is sent may
have no other name: a slip of the pen is told, and not passed over.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from relay.core.access import Scope
from relay.core.directory import Role, SkipKind

MAX_NUMBER: Final = 2**53
"""No row has a larger number, and every program reads one so large exactly."""
Time = Field(json_schema_extra={"format": "date-time"})


def has_no_text(value: Any) -> bool:
    """Say whether a value holds NUL or a lone surrogate: no database keeps them."""
    if isinstance(value, str):
        return any(c == "\0" or "\ud800" <= c <= "\udfff" for c in value)
    if isinstance(value, dict):
        return any(map(has_no_text, (*value, *value.values())))
    return isinstance(value, list) and any(map(has_no_text, value))


class Shown(BaseModel):
    """An answer."""

    model_config = ConfigDict(
        extra="forbid", json_schema_serialization_defaults_required=True
    )


class Sent(BaseModel):
    """A body."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _is_text(cls, sent: Any) -> Any:
        """Refuse characters that a database cannot keep, wherever they stand.

        Raises:
            ValueError: There is one.
        """
        if has_no_text(sent):
            text = "a text has NUL, or half of a character"
            raise ValueError(text)
        return sent


class FieldProblem(Shown):
    """A value that does not fit."""

    where: str
    problem: str


class ProblemBody(BaseModel):
    """RFC 9457: every answer that is no success."""

    type: str
    title: str
    status: int
    detail: str = Field(description="What is wrong, for people.")
    error: str = Field(description="What is wrong, as a stable word.")
    hint: str = Field(description="What helps.")
    errors: list[FieldProblem] | None = Field(default=None, exclude=True)


class Me(Shown):
    """Who asks."""

    name: str
    scopes: list[Scope]
    user: str | None
    role: Role | None


# ------------------------------------------------------------------ people


class User(Shown):
    """A person who logs."""

    id: int
    name: str
    email: str
    role: Role
    active: bool
    salesforce_id: str | None
    relay_address: str | None = Field(
        description="Null: none is set, or another's, which a monitor may not know."
    )
    state: str
    activated_at: str | None = Time
    notify: str | None
    language: str | None
    time_zone: str | None
    removed_at: str | None = Time
    sign_in: Literal["not_invited", "invited", "link_expired", "signed_in"]
    last_received_at: str | None = Time
    last_logged_at: str | None = Time


class Users(Shown):
    """A page of users, by their numbers."""

    items: list[User]
    next: str | None


class NewUser(Sent):
    """A user to be added."""

    name: str = Field(max_length=200)
    email: str = Field(max_length=300)
    role: Literal["rep", "admin", "monitor"] = "rep"
    salesforce_id: str | None = Field(default=None, max_length=18)
    activate: bool = True
    invite: bool = Field(
        default=False,
        description="Mail the user a link to sign in; needs users:invite, too.",
    )
    confirm: bool = Field(
        default=False, description="Do it although something speaks against it."
    )


class UserChange(Sent):
    """What is to change of a user; what is left out stays."""

    name: str | None = Field(default=None, max_length=200)
    email: str | None = Field(default=None, max_length=300)
    keep_old: bool = Field(
        default=False, description="Mail from the former address is accepted on."
    )
    role: Literal["rep", "admin", "monitor"] | None = None
    active: bool | None = None
    salesforce_id: str | None = Field(default=None, max_length=18)
    notify: Literal["all", "problems", "none"] | None = None
    language: Literal["en", "es", "pt", "fr", "sv"] | None = None
    time_zone: str | None = Field(default=None, max_length=60)
    confirm: bool = False


class RelayAddress(Shown):
    """A relay address of a user, of today or of before, and how it was used."""

    address: str
    state: Literal["current", "old", "ended"]
    created_at: str = Time
    until: str | None = Time
    accepted: int
    last_accepted_at: str | None = Time
    refused: int
    last_refused_at: str | None = Time


class RelayAddresses(Shown):
    """The relay addresses of a user, the current one first."""

    items: list[RelayAddress]
    next: str | None


class Rotation(Sent):
    """A new relay address."""

    at_once: bool = Field(default=False, description="End every old one now.")


class AcceptedAddress(Shown):
    """An address, or `*@domain`, that may send for a user."""

    user: str
    address: str
    added_at: str = Time
    added_by: str
    confirmed: bool
    source: Literal["own", "admin", "salesforce", "claim"]
    delegate: str | None


class AcceptedAddresses(Shown):
    """A page of accepted addresses, in their order."""

    items: list[AcceptedAddress]
    next: str | None


class NewAcceptedAddress(Sent):
    """An address that shall send for a user."""

    address: str = Field(max_length=300)
    delegate: str | None = Field(default=None, max_length=200)
    confirm: bool = False


class Exclusion(Shown):
    """An address, or `*@domain`, that is left out; `user` null: for everybody."""

    pattern: str
    user: str | None
    skip: SkipKind


class Exclusions(Shown):
    """A page of exclusions."""

    items: list[Exclusion]
    next: str | None


class NewExclusion(Sent):
    """An address to leave out."""

    pattern: str = Field(max_length=300)
    user: str | None = Field(default=None, max_length=300)
    skip: Literal["mail", "address"] = "mail"


# ------------------------------------------------------------------ settings


class Setting(Shown):
    """A setting with the value that holds now."""

    key: str
    value: Any
    source: Literal["store", "file", "default"]
    help: str


class Settings(Shown):
    """The settings that hold without a restart."""

    items: list[Setting]


class NewValue(Sent):
    """The value of a setting: a text, a number, a switch, or a list of texts."""

    value: str | int | float | bool | list[str]
    unchecked: bool = Field(
        default=False, description="Do not ask Salesforce whether it fits."
    )


# ------------------------------------------------------------------ mails


class Record(Shown):
    """A record that was written."""

    object: str
    id: str | None
    key: str
    rule: str


class File(Shown):
    """A file of a mail."""

    name: str
    size_bytes: int
    state: str
    id: str | None
    document_id: str | None
    record_id: str | None
    key: str
    error: str


class Mail(BaseModel):
    """A message or a refusal."""

    model_config = ConfigDict(extra="allow", populate_by_name=True)

    id: str
    kind: Literal["message", "refusal"]
    state: str
    received_at: str = Time
    user: str | None
    peer: str
    mail_from: str
    rcpt: str
    from_: str = Field(alias="from")
    to: str
    subject: str
    message_id: str = Field(description="The former name of rfc_message_id.")
    rfc_message_id: str = Field(
        description="What the Message-ID header says; the relay's own id is `id`."
    )
    reply: str | None
    reason: str
    attempts: int
    records: list[Record]
    files: list[File]
    copy_of: str | None
    cause: str | None
    sent_by: str | None


class Mails(Shown):
    """A page of messages and refusals; it may be short, and go on all the same."""

    items: list[Mail]
    next: str | None


class Step(Shown):
    """One line of a decision trace."""

    at: str = Time
    step: str
    result: str
    detail: str


class WholeMail(Mail):
    """A message or a refusal with its trace."""

    hint: str = Field(description="What helps; may be empty.")
    org_url: str = Field(description="Where its records are; may be empty.")
    trace: list[Step]
    verdict: Any = None
    planned: Any = None
    count: int = Field(default=1, description="How often it was refused.")


class Attempt(Shown):
    """An attempt to log a message, or what a person did to it."""

    number: int
    at: str = Time
    started_at: str = Time
    event: str
    state: str
    reason: str
    detail: str
    actor: str
    trace: list[Step]


class Attempts(Shown):
    """Every attempt, oldest first; rows are only added."""

    items: list[Attempt]
    next: str | None


class Submitted(Shown):
    """A mail that is safe."""

    id: str
    state: Literal["queued", "held"]


class Changed(Shown):
    """A message that a person has moved on."""

    id: str
    event: str
    was: str
    state: str
    change: int = Field(description="By which it is taken back, in the history.")


class Action(Sent):
    """What is to be done to all messages that a filter fits."""

    action: Literal["retry", "hold", "release", "discard"]
    filter: str = Field(max_length=2000, min_length=1)
    expected: int = Field(
        ge=0, le=MAX_NUMBER, description="How many they are, as …/messages/count says."
    )


class ActionDone(Shown):
    """How many messages were changed, as one act."""

    action: str
    changed: int
    change: int | None = Field(
        description="By which all of it is taken back, in the history; null: nothing "
        "was changed."
    )


class ActionUndone(Shown):
    """An act on messages that was taken back."""

    text: str
    change: int
    undone_by: int = Field(description="The change that took it back.")
    back: dict[str, int] = Field(
        description="How many messages are in which state again."
    )
    left: dict[str, int] = Field(
        description="How many have moved on since and were left alone, by state."
    )


class Count(Shown):
    """How many messages an action would change now."""

    action: str
    count: int


# ------------------------------------------------------------------ unmatched


class Candidate(Shown):
    """A record that may be meant, how likely from 0 to 100, and why."""

    object: str
    id: str
    name: str
    account: str
    email: str
    score: int
    reasons: list[str]


class Unknown(Shown):
    """A person without a record; `candidates` is null where nobody has searched."""

    address: str
    name: str
    place: str
    candidates: list[Candidate] | None


class UnmatchedMail(BaseModel):
    """A message that fits no record."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    id: str
    received_at: str = Time
    user: str
    from_: str = Field(alias="from")
    subject: str
    reason: str
    detail: str
    people: list[Unknown]
    best: Candidate | None


class UnmatchedMails(Shown):
    """A page of them, the latest first."""

    items: list[UnmatchedMail]
    next: str | None


class Choice(Sent):
    """The records that a mail is to be logged on."""

    records: list[str] = Field(min_length=1, max_length=20)
    address: str | None = Field(
        default=None, max_length=300, description="Whom the record stands for."
    )
    remember: bool = Field(
        default=False, description="The address belongs to the record from now on."
    )


class ChosenRecord(Shown):
    """A record that was chosen."""

    object: str
    id: str
    name: str


class Resolved(Shown):
    """Messages that are queued again, and on what they are to be logged."""

    ids: list[str]
    records: list[ChosenRecord]
    remembered: list[str]


class LeaveOut(Sent):
    """Who is to be left out."""

    whole_domain: bool = False
    everybody: bool = Field(default=False, description="For all users.")
    confirm: bool = False


class TakeOut(Sent):
    """How a logged mail is taken out of Salesforce."""

    dry_run: bool = Field(default=False, description="Only say what would be deleted.")


class Removal(Shown):
    """A record or a file, and what becomes of it."""

    object: str
    id: str
    key: str
    fate: str
    detail: str


class TakenOut(Shown):
    """The messages that are discarded, and what was deleted for them."""

    messages: list[str]
    removals: list[Removal]


class LeftOut(Shown):
    """Messages that are queued again, and the exclusions that were added."""

    ids: list[str]
    patterns: list[str]


# ------------------------------------------------------------------ history, status


class Change(Shown):
    """An edit: who, what, before, after."""

    id: int
    at: str = Time
    actor: str
    action: str
    user: str
    before: Any
    after: Any
    undoes: int | None
    undone_by: int | None
    undoable: bool = Field(
        description="Whether it can be taken back, unless it was changed since."
    )


class Changes(Shown):
    """A page of edits, the latest first."""

    items: list[Change]
    next: str | None


class Undone(Shown):
    """A change that was taken back."""

    text: str
    change: Change


class Alert(Shown):
    """Something that is wrong, or was."""

    id: int
    rule: str
    subject: str
    state: Literal["raised", "cleared"]
    raised_at: str = Time
    cleared_at: str | None = Time
    told_at: str = Time
    told: int = Field(description="How often it was told.")
    text: str
    hint: str
    facts: Any


class WebhookCall(Shown):
    """A call that tells an alert; a test has no alert."""

    id: str
    alert: int | None
    event: Literal["raised", "still", "cleared", "test"]
    state: Literal["planned", "written", "refused"]
    created_at: str = Time
    failures: int
    status: int | None
    response: str
    error: str


class Alerts(Shown):
    """What is wrong, what was, and how it was told."""

    alerts: list[Alert]
    webhook_calls: list[WebhookCall]
    ways: list[Literal["mail", "webhook"]]


class AlertTest(Shown):
    """A test that is on its way: the ids of the calls, and who gets mail."""

    webhook_calls: list[str]
    mails: list[str]


class Logging(Shown):
    """Whether relay addresses accept mail at all."""

    active: bool
    since: str | None = Time
    by: str


class Pause(Shown):
    """Why no work is done for the org."""

    reason: str
    code: str
    text: str
    since: str = Time
    until: str = Time
    hint: str


class Waiting(Shown):
    """Messages that wait, by state and reason."""

    state: str
    reason: str
    count: int
    oldest_at: str = Time
    next_at: str | None = Time


class Status(Shown):
    """The relay at a glance."""

    at: str = Time
    logging: Logging
    pause: Pause | None
    waiting: list[Waiting]


# ------------------------------------------------------------------ reminders

Day = Field(json_schema_extra={"format": "date"})
_DAY: Final = "A day, or today, 3d, next week …, where the assignee is."


class Reminder(Shown):
    """What a user is to do, about whom, and by which day."""

    id: str
    name: str
    details: str
    due: str | None = Day
    priority: Literal["Normal", "High"]
    status: Literal["Open", "Complete"]
    type: Literal["Email", "Call", "InMail", "Custom"]
    person: str | None = Field(description="A Salesforce id, or an e-mail address.")
    record: str | None = Field(description="A Salesforce id.")
    owner: str
    assignee: str
    message: str | None = Field(description="The message it was made from.")
    created_at: str = Time
    changed_at: str = Time
    version: int
    removed_at: str | None = Time


class Reminders(Shown):
    """A page of reminders, the latest made first."""

    items: list[Reminder]
    next: str | None


class NewReminder(Sent):
    """A reminder to be made."""

    name: str = Field(
        default="",
        max_length=1000,
        description="One line. Without `due` it may end with a day: call in 3 days. "
        "Empty with `message`: the subject.",
    )
    details: str = Field(default="", max_length=40_000)
    due: str | None = Field(default=None, max_length=40, description=_DAY)
    priority: Literal["Normal", "High"] = "Normal"
    type: Literal["Email", "Call", "InMail", "Custom"] = "Custom"
    person: str = Field(default="", max_length=300)
    record: str = Field(default="", max_length=18)
    user: str = Field(default="", max_length=300, description="Whose it is.")
    assignee: str = Field(default="", max_length=300, description="Who is to do it.")
    message: str = Field(
        default="",
        max_length=26,
        description="Make it from this message: user, subject, person and record.",
    )


class ReminderChange(Sent):
    """What is to change of a reminder; what is left out stays."""

    name: str | None = Field(default=None, max_length=1000)
    details: str | None = Field(default=None, max_length=40_000)
    due: str | None = Field(default=None, max_length=40, description=_DAY)
    priority: Literal["Normal", "High"] | None = None
    status: Literal["Open", "Complete"] | None = None
    type: Literal["Email", "Call", "InMail", "Custom"] | None = None
    person: str | None = Field(default=None, max_length=300)
    record: str | None = Field(default=None, max_length=18)
    assignee: str | None = Field(default=None, max_length=300)


class Snooze(Sent):
    """Until when a reminder is put off."""

    until: str = Field(max_length=40, description="A day, counted from today.")


class ReminderUndo(Sent):
    """Which edit is taken back."""

    version: int | None = Field(
        default=None,
        ge=1,
        le=MAX_NUMBER,
        description="That made this version; null: the latest.",
    )


class ReminderEdit(Shown):
    """A field that an edit changed; all fields of one edit have its version."""

    version: int
    at: str = Time
    actor: str
    source: Literal["person", "api", "mail", "salesforce"]
    field: str
    before: Any
    after: Any
    undoes: int | None


class ReminderHistory(Shown):
    """Every edit of a reminder, oldest first."""

    items: list[ReminderEdit]
    next: str | None


class TaskFailure(Shown):
    """What Salesforce answered last to the writing of a Task."""

    code: str
    message: str
    meaning: str
    remedy: str
    since: str | None = Time
    next_at: str | None = Time


class TaskConflict(Shown):
    """A value that both sides had changed, and whose holds."""

    id: int
    at: str = Time
    field: str
    here: Any
    salesforce: Any
    kept: str
    undone_at: str | None = Time
    undone_by: str | None


class TaskOfReminder(Shown):
    """The Task that a reminder is kept in step with."""

    task: str | None
    state: str
    failure: TaskFailure | None
    conflicts: list[TaskConflict]


class Tried(Shown):
    """Whether something is tried again."""

    tried: bool


class CommandCenter(Shown):
    """What a user is to do today and tomorrow, and what is overdue."""

    day: str = Day
    time_zone: str
    today: list[Reminder]
    tomorrow: list[Reminder]
    overdue: list[Reminder] = Field(description="Beyond the rule; 200 at most.")
    overdue_count: int


class ReminderFeed(Shown):
    """The secret address of a calendar, shown this once."""

    path: str
    url: str | None = Field(description="Null without `web.public_url`.")


# ------------------------------------------------------------------ logging


class CallEstimate(Shown):
    """API calls of a day, and how they were reckoned."""

    calls_a_day: int
    mails_a_day: float
    calls_a_mail: float
    measured: bool = Field(
        description="False: two calls a mail, as if each came alone."
    )
    used_24h: int
    limit_24h: int | None
    how: str


class MissingStep(Shown):
    """A step that is missing, with the rule that asks for it."""

    rule: str
    by: Literal["admin", "user"]
    text: str
    command: str


class LoggingChoice(Shown):
    """One of the choices for the whole team."""

    word: Literal["each_user", "api_only", "bcc_only"]
    text: str
    estimate: CallEstimate
    missing: list[MissingStep]


class LoggedOn(Shown):
    """On which records a mail is logged."""

    contact: bool
    lead: bool
    account: bool
    opportunities: str


class UsersByWay(Shown):
    """How many active users go which way."""

    api: int
    bcc: int


class TeamLogging(Shown):
    """Who decides how mail reaches Salesforce."""

    decides: Literal["each_user", "api_only", "bcc_only"]
    set_by: str | None
    set_at: str | None = Time
    choices: list[LoggingChoice]
    logged_on: LoggedOn
    kinds: list[str]
    users: UsersByWay


class NewDecision(Sent):
    """Who shall decide."""

    decides: Literal["each_user", "api_only", "bcc_only"]


class WayEstimates(Shown):
    """What each way costs for a user."""

    api: CallEstimate
    bcc: CallEstimate


class OwnLogging(Shown):
    """How the mail of a user reaches Salesforce."""

    user: str
    way: Literal["api", "bcc"]
    fixed: bool
    fixed_by: str | None
    fixed_at: str | None = Time
    chosen: Literal["api", "bcc"] | None
    salesforce_address: str | None = Field(
        description="Null: none, or another's, which a monitor may not know."
    )
    has_address: bool
    estimates: WayEstimates
    missing: list[MissingStep]


class NewChoice(Sent):
    """What is chosen for a user; both hold as sent."""

    way: Literal["api", "bcc"] | None = None
    salesforce_address: str | None = Field(default=None, max_length=300)


class SubjectTemplate(Sent):
    """A template of subjects, and a subject to try it on."""

    template: str = Field(max_length=1000)
    subject: str = Field(default="", max_length=2000)


class SubjectPreview(Shown):
    """What a mail, a reply and a reminder would be called."""

    mail: str
    reply: str
    reminder: str


# ------------------------------------------------------------------ many unmatched


class ManyUnmatched(Sent):
    """What is to be decided for all unmatched messages that a filter fits."""

    action: Literal["resolve", "ignore"]
    filter: str = Field(max_length=2000, description="Empty: all that are unmatched.")
    expected: int = Field(
        ge=0, le=MAX_NUMBER, description="How many they are, as …/unmatched/count says."
    )
    records: list[str] = Field(
        default_factory=list, max_length=20, description="To resolve: on which records."
    )
    address: str | None = Field(default=None, max_length=300)
    remember: bool = False
    whole_domain: bool = Field(default=False, description="To ignore: whole domains.")
    everybody: bool = False
    confirm: bool = False


class UnmatchedCount(Shown):
    """How many unmatched messages a filter fits."""

    count: int


class DecidedMany(Shown):
    """Messages that are decided anew, and what was said of them."""

    ids: list[str]
    records: list[ChosenRecord]
    patterns: list[str]


class RememberedAddress(Shown):
    """An address that belongs to a record because somebody said so."""

    address: str
    object: str
    id: str
    name: str
    added_at: str = Time
    added_by: str


class RememberedAddresses(Shown):
    """A page of them."""

    items: list[RememberedAddress]
    next: str | None


# ------------------------------------------------------------------ claims, import


class AddressClaim(Shown):
    """An address that a user says is theirs, until a mailed code proves it."""

    address: str
    expires_at: str = Time
    tries_left: int


class AddressClaims(Shown):
    """The claims of a user that can still be proven."""

    items: list[AddressClaim]


class NewClaim(Sent):
    """An address to be proven."""

    address: str = Field(max_length=300)


class ClaimProof(Sent):
    """The code that was mailed."""

    code: str = Field(max_length=40)


class ImportStep(Shown):
    """What changes so that a user has the e-mail of their Salesforce user."""

    user: str
    address: str
    change: Literal["add", "remove", "skip"]
    reason: str


class ImportPlan(Shown):
    """All that would change; `count` without what is skipped."""

    items: list[ImportStep]
    count: int


class CarryOut(Sent):
    """The plan as it was shown."""

    expected: int = Field(ge=0, le=MAX_NUMBER, description="The `count` of the plan.")


class CarriedOut(Shown):
    """How many addresses were changed."""

    changed: int


# ------------------------------------------------------------------ tokens


class Token(Shown):
    """An API token; never its secret."""

    name: str
    user: str | None
    added_at: str = Time
    added_by: str
    used_at: str | None = Time
    scopes: list[str]
    expires_at: str | None = Time


class Tokens(Shown):
    """A page of tokens, by name."""

    items: list[Token]
    next: str | None


class NewToken(Sent):
    """A token to be made."""

    name: str = Field(max_length=200)
    scopes: list[Annotated[Scope, Field(strict=False)]] = Field(
        default=[Scope.MAIL_SUBMIT], min_length=1, max_length=20
    )
    user: str | None = Field(default=None, max_length=300)
    expires: str | None = Field(
        default=None, max_length=40, description="30d, or a day such as 2027-01-31."
    )


class MadeToken(Token):
    """A token that was made; its secret is in no other answer."""

    token: str


# ------------------------------------------------------------------ diagnostics


class Failing(Shown):
    """Messages that fail with one code, what it means and what helps."""

    code: str
    category: Literal["authentication", "access_validation", "intermittent", "other"]
    message: str = Field(description="What Salesforce said to the latest of them.")
    meaning: str
    remedy: str
    fate: str = Field(description="What the relay does by itself.")
    dead: int
    queued: int
    oldest_at: str = Time
    next_at: str | None = Time
    examples: list[str]


class Failures(Shown):
    """What fails, by category; the most messages first."""

    items: list[Failing]


class Finding(Shown):
    """A line of `relay check`."""

    check: str
    result: Literal["ok", "warn", "fail"]
    detail: str
    hint: str
    mend: str


class Check(Shown):
    """The latest check: how far it is, and what it has found."""

    started_at: str | None = Time
    by: str
    step: str
    done: int
    total: int
    ended_at: str | None = Time
    error: str
    items: list[Finding]


# ------------------------------------------------------------------ presets, re-plays


class PresetRow(Shown):
    """A preset, and how many rules it would change."""

    name: str
    help: str
    differs: int


class Presets(Shown):
    """The presets that there are."""

    items: list[PresetRow]


class PresetRule(Shown):
    """A rule of a preset beside the value that holds now."""

    key: str
    now: Any
    then: Any
    differs: bool
    ground: str


class Preset(PresetRow):
    """A preset with its rules."""

    rules: list[PresetRule]
    limits: list[str] = Field(description="What is other than in that program.")


class TakePreset(Sent):
    """How a preset is taken."""

    unchecked: bool = Field(
        default=False, description="Do not ask Salesforce whether it fits."
    )


class TakenPreset(Shown):
    """A preset that was taken: how many rules changed, and the change to undo."""

    name: str
    changed: int
    change: int | None


class NewReplay(Sent):
    """A change of rules to be tried on past mail: one of rules, settings, preset."""

    rules: str | None = Field(
        default=None, max_length=50_000, description="TOML, as relay explain --rules."
    )
    settings: dict[str, str | int | float | bool | list[str]] | None = Field(
        default=None, max_length=50
    )
    preset: str | None = Field(default=None, max_length=50)
    since: str = Field(default="7d", max_length=40)
    until: str | None = Field(default=None, max_length=40)
    user: str | None = Field(default=None, max_length=300)
    limit: int | None = Field(default=None, ge=1, le=10_000_000)
    dry: bool = Field(default=False, description="Only count the API calls needed.")


class ReplaySummary(Shown):
    """The counts of a re-play so far."""

    mails: int = 0
    looked_at: int = 0
    differ: int = 0
    newly_logged: int = 0
    no_longer_logged: int = 0
    other_records: int = 0
    other_fields: int = 0
    other_reason: int = 0
    gone: int = 0
    unreadable: int = 0
    api_calls: int = 0
    stopped: str = ""
    next_before: str | None = None


class Replay(Shown):
    """A re-play and how far it is."""

    id: str
    by: str
    change: dict[str, Any]
    since: str | None = Time
    until: str | None = Time
    user: str | None
    dry: bool
    started_at: str = Time
    ended_at: str | None = Time
    progress: Literal["running", "done", "stopped", "failed", "cancelled"]
    problem: str
    summary: ReplaySummary | None


class Replays(Shown):
    """The re-plays that run or are kept, the latest first."""

    items: list[Replay]


class Differences(Shown):
    """A page of the mails that differ, as relay explain --rules --json has them."""

    items: list[dict[str, Any]]
    next: str | None
