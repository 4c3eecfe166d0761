"""What decisions are made of: the rules, a mail, a question, its answers. Values.

`Context` is the same for all mails and is indexed once for each edit of the directory;
the other values belong to one mail. `relay.match.decide` makes a decision of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from relay import activity
from relay.core.bodies import BodyMode, BodyRules
from relay.core.model import OPEN_TASK, Found, Match
from relay.match.plan import OurAddresses, Verdict
from relay.match.privacy import body_mode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from relay.activity import Mode, Owner, RecordSettings
    from relay.config.match import MatchSettings
    from relay.core.directory import Directory, User
    from relay.core.model import Activity, Draft, Email, Person, Resolution
    from relay.core.org import OrgSchema, SalesforceUser
    from relay.match.plan import LeftOut
    from relay.match.trace import TraceLine

NO_MATCH: Final = Match((), (), ())


def _as_it_is(email: Email) -> Email:
    return email


def _its_text(email: Email) -> str:
    return email.text


@dataclass(frozen=True, slots=True)
class Rules:
    """What an admin has set, as far as it decides about mails.

    Attributes:
        relay_domains: Domains of relay addresses: secret, and never a customer's.
        max_people: Addresses of one mail that are looked up at most; 0: all.
        match: The section `[match]` of the file.
        records: Key field, record types and fields for records.
        shadow: Nothing is written; what would be is shown.
        without_quotes: Takes the mails that a mail quotes off its text.
        own_words: Returns what its author wrote for sure.
        automatic: Rule of each kind of automatic mail, `skip` or `log`, where the
            directory does not say.
    """

    relay_domains: frozenset[str]
    max_people: int
    match: MatchSettings
    records: RecordSettings
    shadow: bool = False
    without_quotes: Callable[[Email], Email] = _as_it_is
    own_words: Callable[[Email], str] = _its_text
    automatic: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Context:
    """What is the same for all mails: rules, and the directory, indexed once.

    `match` is what holds now of the section `[match]`: a value of the store stands
    before the one of the file.
    """

    directory: Directory
    rules: Rules
    match: MatchSettings
    ours: OurAddresses
    colleagues: Mapping[str, str]
    body_rules: BodyRules

    @classmethod
    def of(cls, directory: Directory, rules: Rules) -> Context:
        """Index a directory; cheap for each mail, not for each call."""
        match = with_stored(rules.match, directory)
        return cls(
            directory,
            rules,
            match,
            OurAddresses(directory, rules.relay_domains, match.internal_domains),
            activity.colleagues(directory),
            BodyRules.of(match.body_rules, directory.address_rules),
        )

    def body_mode(self, email: Email) -> tuple[BodyMode, str]:
        """Return how much of a mail is logged, and by which rule."""
        default = BodyMode(self.match.body)
        return body_mode(email, default, self.body_rules, self.ours)


def with_stored(match: MatchSettings, directory: Directory) -> MatchSettings:
    """Return the section `[match]` with what an admin has set while the relay runs."""
    stored = {
        name: directory.settings[f"match.{name}"]
        for name in type(match).model_fields
        if f"match.{name}" in directory.settings
    }
    if not stored:
        return match
    return type(match).model_validate(match.model_dump() | stored)


@dataclass(frozen=True, slots=True)
class Redraft:
    """What the next draft avoids, because Salesforce refused the last one.

    Attributes:
        left_out: (object, field) that Salesforce refused although describe allows
            them.
        task_owner: Owner of Tasks in the rep's place, whose user cannot own them.
    """

    left_out: frozenset[tuple[str, str]] = frozenset()
    task_owner: str = ""


@dataclass(frozen=True, slots=True)
class MailFacts:
    """What is known of a mail before Salesforce is asked.

    Attributes:
        email: As read from its first copy.
        key: The stored identity; the records' keys are made of it.
        received_at: When the first copy came.
        users: For whom each copy was accepted, a user for each copy.
        in_salesforce: Rows of the ledger that are, or may be, in Salesforce, or were
            deleted there.
        redraft: Set where Salesforce refused an earlier draft in this attempt.
        null_sender: Every copy came with `MAIL FROM:<>`.
        resolved: Records on which a person wants the mail.
        named: For each copy, the record that its relay address names, if it does;
            empty: no copy's does.
    """

    email: Email
    key: str
    received_at: datetime
    users: tuple[User, ...]
    in_salesforce: tuple[Activity, ...] = ()
    redraft: Redraft | None = None
    null_sender: bool = False
    resolved: tuple[Resolution, ...] = ()
    named: tuple[str, ...] = ()

    @property
    def begun(self) -> bool:
        """Say whether anything that logs the mail may be in Salesforce already."""
        return any(row.slot != OPEN_TASK for row in self.in_salesforce)

    @property
    def open_task(self) -> Activity | None:
        """Return the open Task of a time when the mail did not match, if any."""
        rows = (row for row in self.in_salesforce if row.slot == OPEN_TASK)
        return next(rows, None)


@dataclass(frozen=True, slots=True)
class Question:
    """Whom to look up for a mail; there is no look-up where all of it is empty.

    What is empty costs no query.

    Attributes:
        people: To look for, in the order of the mail.
        records: Ids of records to look up, 18 characters each.
        named: Those of them that the mail names, by address or tag.
        threads: Message-IDs of earlier mails, whose related records it takes over.
        inherited: Those records; filled in by whoever asks the store for them.
        otherwise: How the mail ends without people where none of `records` will do.
        left_out: Participants that no copy looks for, with the rule.
        verdicts: For each copy, how a rule ends it; None: the mail's decision counts.
        endings: For each copy that a rule ends, the lines up to that; else none.
        users: Users whose Salesforce user is to be known, of copies that go on.
        steps: Lines for the trace.
    """

    people: tuple[Person, ...]
    left_out: tuple[LeftOut, ...]
    verdicts: tuple[Verdict | None, ...]
    endings: tuple[tuple[TraceLine, ...], ...]
    users: tuple[User, ...] = ()
    steps: tuple[TraceLine, ...] = ()
    records: tuple[str, ...] = ()
    otherwise: Verdict | None = None
    threads: tuple[str, ...] = ()
    inherited: tuple[str, ...] = ()
    named: tuple[str, ...] = ()

    @property
    def asks(self) -> bool:
        """Say whether there is anything to look up."""
        return bool(self.people or self.records)

    @property
    def addresses(self) -> list[str]:
        """Return the address keys of the people, in every spelling."""
        return [
            key for person in self.people for key in (person.key, *person.spellings)
        ]


@dataclass(frozen=True, slots=True)
class Answers:
    """What Salesforce holds, and how this org logs mail.

    Attributes:
        found: Records and roles of the people asked for.
        users: Salesforce users asked for.
        schema: What describe says.
        mode: In which shape a mail is logged.
        mode_known: False where only a first write will show that.
        asked_in: The fields in which the addresses were looked for.
        cached: Address keys whose answer was remembered.
    """

    found: Found
    users: Sequence[SalesforceUser]
    schema: OrgSchema
    mode: Mode
    mode_known: bool = True
    asked_in: tuple[str, ...] = ()
    cached: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a mail.

    Attributes:
        verdict: How every copy ends that no rule has ended; LOGGED once all `drafts`
            are written.
        verdicts: As in the question: what ended single copies.
        endings: As in the question: the lines of those.
        people: Who was looked for.
        left_out: Who was not, with the rule.
        match: The records chosen, each with its rule; of a logged mail the new ones.
        owner: The Salesforce user for whom it is logged.
        owners: That user for each user of a copy that goes on, as far as there is one.
        drafts: The records to write, in order; of a mail that ends as unmatched its
            open Task. In shadow mode they are shown alone.
        steps: The lines of the trace.
    """

    verdict: Verdict
    verdicts: tuple[Verdict | None, ...] = ()
    endings: tuple[tuple[TraceLine, ...], ...] = ()
    people: tuple[Person, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    match: Match = NO_MATCH
    owner: Owner | None = None
    owners: tuple[tuple[User, Owner], ...] = ()
    drafts: tuple[Draft, ...] = ()
    steps: tuple[TraceLine, ...] = ()

    def verdict_of(self, copy: int) -> Verdict:
        """Return how one copy ends."""
        return self.verdicts[copy] or self.verdict
