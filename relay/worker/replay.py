"""A change of rules tried on past mail: what would be other, before it is saved.

Each mail is decided twice with what Salesforce holds today, by the rules of now and by
those of the change, so that the change alone makes the difference. What the relay wrote
for the mail stands beside it. Nothing is written: no message, no row of the ledger, no
record.

    replay = Replay(parts, change, wanted)
    async for page in replay.pages():     # frozen values; memory holds one page
        page.differences, page.summary

Look-ups are those of the worker, for a page of mails together; an address is asked for
once in the whole run. Work stops where mail itself would be slowed down for want of API
calls; the summary says so, and from where to go on.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import relay.activity
import relay.mail
from relay.core.errors import OrgPaused, SalesforceUnavailable
from relay.core.model import Email
from relay.core.states import IN_SALESFORCE, ActivityState
from relay.match import MailFacts, ask, decide, part_of, to_log, trace_of
from relay.worker.decisions import Decisions
from relay.worker.explain import STATES
from relay.worker.reading import read_emails

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from datetime import datetime

    from relay.admin.rule_change import RuleChange
    from relay.config import Settings
    from relay.core.directory import Directory
    from relay.core.model import Json
    from relay.core.past import PastCopy, PastFilter, PastMail
    from relay.match import Decision
    from relay.outbox.mode import WriteMode
    from relay.salesforce import Org
    from relay.salesforce.dry import DryOrg
    from relay.store import Store
    from relay.worker.reading import Read

PAGE: Final = 500
"""Mails that are decided together; their addresses fill few queries."""
_ORDER: Final = ("logged", "queued", "unmatched", "skipped")
"""Of copies that end differently, the mail is shown as the first of these."""


class Kind(StrEnum):
    """What a change of rules does to a mail."""

    NEWLY_LOGGED = "newly_logged"
    NO_LONGER_LOGGED = "no_longer_logged"
    OTHER_RECORDS = "other_records"
    OTHER_FIELDS = "other_fields"
    """On the same records, with other values."""
    OTHER_REASON = "other_reason"
    """Not logged before and after, for another reason."""


# ---------------------------------------------------------------- what is told


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of a mail by one set of rules.

    `records` are what it is logged on, `drafts` by object and slot the fields written.
    """

    state: str
    reason: str
    detail: str
    records: tuple[tuple[str, str, str, str], ...]
    """Object, id, name, rule."""
    drafts: Mapping[tuple[str, str], Mapping[str, Json]]
    trace: tuple[tuple[str, str, str], ...]

    @property
    def logged(self) -> bool:
        """Say whether records would be written."""
        return self.state == "logged"

    @property
    def ids(self) -> frozenset[str]:
        """Return the ids of the records."""
        return frozenset(record[1] for record in self.records)

    def as_json(self) -> dict[str, Json]:
        """Return the stable names that `--json` prints."""
        return {
            "state": self.state,
            "reason": self.reason,
            "detail": self.detail,
            "records": [
                {"object": sobject, "id": sfid, "name": name, "rule": rule}
                for sobject, sfid, name, rule in self.records
            ],
            "activities": [f"{sobject} {slot}" for sobject, slot in self.drafts],
            "trace": [
                {"step": step, "result": result, "detail": detail}
                for step, result, detail in self.trace
            ],
        }


@dataclass(frozen=True, slots=True)
class Written:
    """A record of the ledger that is, or may be, in Salesforce."""

    object: str
    id: str
    rule: str
    on: tuple[str, ...]
    """Ids of the records that it is on."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A mail that the change would treat in another way.

    `happened` is how its first copy ended when it came, `written` what the relay wrote
    for it; `before` and `after` are both decided with today's records.
    """

    message_id: str
    received_at: datetime
    users: tuple[str, ...]
    author: str
    subject: str
    kind: Kind
    happened: tuple[str, str]
    """State and reason, as the log shows them."""
    written: tuple[Written, ...]
    before: Outcome
    after: Outcome

    @property
    def fields(self) -> tuple[str, ...]:
        """Return which fields differ, such as `Task.Description`."""
        return tuple(sorted(_other_fields(self.before, self.after)))

    def as_json(self) -> dict[str, Json]:
        """Return the stable names that `--json` prints."""
        return {
            "row": "mail",
            "id": self.message_id,
            "received_at": self.received_at.isoformat(timespec="milliseconds"),
            "users": list(self.users),
            "from": self.author,
            "subject": self.subject,
            "difference": str(self.kind),
            "happened": {"state": self.happened[0], "reason": self.happened[1]},
            "in_salesforce": [
                {"object": w.object, "id": w.id, "rule": w.rule, "on": list(w.on)}
                for w in self.written
            ],
            "before": self.before.as_json(),
            "after": self.after.as_json(),
            "fields": list(self.fields),
        }


@dataclass(frozen=True, slots=True)
class Summary:
    """How far a re-play is, and what it found.

    Attributes:
        mails: Mails that fit, in all.
        looked_at: Those decided twice.
        kinds: How many differ, by what differs.
        gone: Mails whose bytes are no longer in the store.
        unreadable: Mails that cannot be read.
        calls: API calls so far.
        stopped: Why the work stopped before its end; empty where it did not.
        next_before: Where it stopped: mail received before then was not looked at.
    """

    mails: int = 0
    looked_at: int = 0
    kinds: Mapping[Kind, int] = field(default_factory=dict)
    gone: int = 0
    unreadable: int = 0
    calls: int = 0
    stopped: str = ""
    next_before: datetime | None = None

    @property
    def differ(self) -> int:
        """Return how many mails differ."""
        return sum(self.kinds.values())

    def as_json(self) -> dict[str, Json]:
        """Return the stable names that `--json` prints."""
        return {
            "row": "summary",
            "mails": self.mails,
            "looked_at": self.looked_at,
            "differ": self.differ,
            **{str(kind): self.kinds.get(kind, 0) for kind in Kind},
            "gone": self.gone,
            "unreadable": self.unreadable,
            "api_calls": self.calls,
            "stopped": self.stopped,
            "next_before": self.next_before.isoformat() if self.next_before else None,
        }


@dataclass(frozen=True, slots=True)
class Page:
    """What one page of mails came to, and how far the work is with it."""

    differences: tuple[Difference, ...]
    summary: Summary


# ---------------------------------------------------------------- the work


@dataclass(frozen=True, slots=True)
class ReplayParts:
    """What a re-play works with.

    Attributes:
        settings: The file and the environment.
        store: Where past mail is.
        org: Salesforce, or what stands in its place for an estimate. Its cache should
            hold for the whole run.
        mode: In which shape this org logs mail.
        directory: Users and rules as they hold now.
    """

    settings: Settings
    store: Store
    org: Org | DryOrg
    mode: WriteMode
    directory: Directory


class Replay:
    """One run over past mail. Reads alone; used once."""

    def __init__(
        self,
        parts: ReplayParts,
        change: RuleChange,
        wanted: PastFilter,
        *,
        limit: int | None = None,
    ) -> None:
        """Keep the parts; nothing is read yet.

        Args:
            parts: What it works with.
            change: The rules to try.
            wanted: Which mails.
            limit: Look at so many of the newest at most; None: at all.

        Raises:
            InvalidInput: The change does not fit together.
        """
        settings = _that_writes(parts.settings)
        now = parts.directory
        then = change.directory(settings, now)
        self._parts = parts
        self._wanted = wanted
        self._limit = limit
        # An estimate has the parts of Org that look up people, and needs no others.
        org: Any = parts.org
        threads = parts.store.mails.threads
        self._before = Decisions(settings, org, parts.mode, lambda: now, threads)
        self._after = Decisions(settings, org, parts.mode, lambda: then, threads)
        self._max_bytes = settings.worker.batch_bytes
        self._summary = Summary()
        self._kinds: Counter[Kind] = Counter()

    @property
    def summary(self) -> Summary:
        """Return how far the run is."""
        return self._summary

    async def pages(self) -> AsyncIterator[Page]:
        """Decide page by page, newest mail first.

        Raises:
            RelayError: The store or Salesforce could not be asked at all; what was
                yielded before stays true.
        """
        store = self._parts.store
        total = await store.past.count(self._wanted)
        if self._limit is not None:
            total = min(total, self._limit)
        self._summary = replace(self._summary, mails=total)
        after: str | None = None
        with ThreadPoolExecutor(1, "replay") as executor:
            while (left := total - self._done()) > 0:
                page = await store.past.page(self._wanted, after, PAGE)
                mails = page.mails[:left]
                for part in self._parts_of(mails):
                    if reason := self._no_calls_left():
                        self._stop(reason, part)
                        return
                    try:
                        found = await self._page(part, executor)
                    except (OrgPaused, SalesforceUnavailable) as error:
                        if not self._done():
                            raise
                        # What was found until now has cost calls: it is not lost.
                        self._stop(str(error), part)
                        return
                    yield Page(found, self._summary)
                after = page.after
                if after is None:
                    return

    def _done(self) -> int:
        summary = self._summary
        return summary.looked_at + summary.gone + summary.unreadable

    def _parts_of(self, mails: Sequence[PastMail]) -> list[list[PastMail]]:
        """Cut a page where its mails would fill too much memory."""
        parts: list[list[PastMail]] = []
        room = 0
        for mail in mails:
            size = mail.first.size_bytes
            if not parts or size > room:
                parts.append([])
                room = self._max_bytes
            parts[-1].append(mail)
            room -= size
        return parts

    def _no_calls_left(self) -> str:
        """Say why Salesforce is not asked any more; empty where it may be."""
        budget = getattr(self._parts.org, "budget", None)
        if budget is None or not budget.near:
            return ""
        return f"the rest of the API calls is kept for mail: {budget.sentence()}"

    def _stop(self, reason: str, part: Sequence[PastMail]) -> None:
        next_before = max(mail.first.received_at for mail in part)
        self._summary = replace(self._summary, stopped=reason, next_before=next_before)

    # ------------------------------------------------------------ one page

    async def _page(
        self, mails: Sequence[PastMail], executor: ThreadPoolExecutor
    ) -> tuple[Difference, ...]:
        emails = await self._read(mails, executor)
        facts: list[tuple[PastMail, MailFacts]] = []
        by_new_rules: list[MailFacts] = []
        gone = unreadable = 0
        for mail in mails:
            copy = next((c for c in mail.copies if c.blob_id in emails), None)
            read = emails[copy.blob_id] if copy else None
            if copy is None:
                gone += 1
            elif not isinstance(read, Email):
                unreadable += 1
            else:
                facts.append((mail, self._facts(mail, copy, read, self._before)))
                by_new_rules.append(self._facts(mail, copy, read, self._after))
        before = await _decided(self._before, [one for _, one in facts])
        after = await _decided(self._after, by_new_rules)
        found = [
            difference
            for (mail, one), old, new in zip(facts, before, after, strict=True)
            if (difference := self._difference(mail, one, old, new))
        ]
        self._kinds.update(one.kind for one in found)
        summary = self._summary
        self._summary = replace(
            summary,
            looked_at=summary.looked_at + len(facts),
            kinds=dict(self._kinds),
            gone=summary.gone + gone,
            unreadable=summary.unreadable + unreadable,
            calls=self._calls(),
        )
        return tuple(found)

    async def _read(
        self, mails: Sequence[PastMail], executor: ThreadPoolExecutor
    ) -> dict[str, Read]:
        """Read each mail from its first copy, or from another where that is gone."""
        store = self._parts.store
        first = {mail.first.blob_id: mail.first.size_bytes for mail in mails}
        emails = await read_emails(store, executor, first)
        others = {
            copy.blob_id: copy.size_bytes
            for mail in mails
            if mail.first.blob_id not in emails
            for copy in mail.copies[1:]
        }
        return emails | (await read_emails(store, executor, others) if others else {})

    def _calls(self) -> int:
        org: Any = self._parts.org
        stats = getattr(org, "stats", None)
        if stats is None:
            return int(org.calls)
        return sum(n for kind, n in stats.calls.items() if kind != "login")

    def _facts(
        self, mail: PastMail, copy: PastCopy, read: Email, decisions: Decisions
    ) -> MailFacts:
        """Return what was known of a mail when it came: nothing was logged yet.

        Which of us wrote it, and which mail is logged, the rules say as well.
        """
        users = self._parts.directory.users
        first = mail.first
        found = to_log(read, users[copy.user_id], decisions.context)
        email = part_of(found, copy.part).email
        return MailFacts(
            email,
            mail.key or relay.mail.keys_of(email, first.received_at)[0],
            first.received_at,
            tuple(users[copy.user_id] for copy in mail.copies),
            null_sender=all(not copy.mail_from for copy in mail.copies),
            resolved=mail.resolved,
        )

    def _difference(
        self, mail: PastMail, facts: MailFacts, old: Decision, new: Decision
    ) -> Difference | None:
        before, after = outcome(old), outcome(new)
        kind = kind_of(before, after)
        if kind is None:
            return None
        first = mail.first
        return Difference(
            first.message_id,
            first.received_at,
            tuple(dict.fromkeys(user.email for user in facts.users)),
            first.author,
            first.subject,
            kind,
            _happened(mail.copies),
            tuple(
                Written(
                    row.object,
                    row.salesforce_id or "",
                    row.rule,
                    tuple(sorted(relay.activity.named(row.fields))),
                )
                for row in mail.activities
                if row.state in IN_SALESFORCE and row.state is not ActivityState.GONE
            ),
            before,
            after,
        )


async def _decided(decisions: Decisions, facts: Sequence[MailFacts]) -> list[Decision]:
    """Decide all mails by one set of rules; what needs none costs no look-up."""
    context = decisions.context
    questions = [ask(one, context) for one in facts]
    asked = [
        (one, question)
        for one, question in zip(facts, questions, strict=True)
        if question.asks
    ]
    looked_up = (await decisions.decide(asked)).decisions if asked else ()
    answered = iter(looked_up)
    return [
        next(answered) if question.asks else decide(one, question, None, context)
        for one, question in zip(facts, questions, strict=True)
    ]


def _that_writes(settings: Settings) -> Settings:
    """Return the settings without what hides or changes outcomes beside the rules.

    In shadow mode every mail would be skipped; who else has logged a mail is the same
    by all rules, and would cost queries.
    """
    section = settings.salesforce
    write_as = "auto" if section.write_as == "nothing" else section.write_as
    update = {"write_as": write_as, "look_before_write": False}
    return settings.model_copy(update={"salesforce": section.model_copy(update=update)})


# ---------------------------------------------------------------- comparing


def outcome(decision: Decision) -> Outcome:
    """Return what becomes of a mail; of several copies, as the one that comes furthest.

    It comes as far as `_ORDER` says.
    """
    ends = [
        (STATES[verdict.event], copy, verdict)
        for copy in range(len(decision.verdicts))
        for verdict in (decision.verdict_of(copy),)
    ]
    state, copy, verdict = min(ends, key=lambda end: (_ORDER.index(end[0]), end[1]))
    match = decision.match
    return Outcome(
        state,
        verdict.reason,
        verdict.detail,
        tuple((c.object, c.id, c.name, c.rule) for c in (*match.who, *match.what))
        if state == "logged"
        else (),
        {(draft.object, draft.slot): draft.fields for draft in decision.drafts},
        tuple(
            (line.step, line.result, line.detail) for line in trace_of(decision, copy)
        ),
    )


def kind_of(before: Outcome, after: Outcome) -> Kind | None:
    """Say in what two outcomes differ; None: in nothing that anybody would see."""
    if before.logged != after.logged:
        return Kind.NEWLY_LOGGED if after.logged else Kind.NO_LONGER_LOGGED
    if not after.logged:
        same = (before.state, before.reason) == (after.state, after.reason)
        return None if same else Kind.OTHER_REASON
    if before.ids != after.ids or before.drafts.keys() != after.drafts.keys():
        return Kind.OTHER_RECORDS
    return Kind.OTHER_FIELDS if _other_fields(before, after) else None


def _other_fields(before: Outcome, after: Outcome) -> set[str]:
    """Return the fields that two outcomes fill differently in the same records."""
    found: set[str] = set()
    for place, old in before.drafts.items():
        new = after.drafts.get(place)
        if new is not None:
            found |= {
                f"{place[0]}.{name}"
                for name in old.keys() | new.keys()
                if old.get(name) != new.get(name)
            }
    return found


def _happened(copies: Sequence[PastCopy]) -> tuple[str, str]:
    """Return how the mail ended when it came: as the copy that came furthest."""
    order = {name: number for number, name in enumerate(_ORDER)}
    best = min(copies, key=lambda one: order.get(str(one.state), len(order)))
    return str(best.state), best.reason


# ---------------------------------------------------------------- the whole in one


async def collect(replay: Replay, keep: int) -> Page:
    """Run to the end; return the first `keep` differences, and the whole summary.

    Raises:
        RelayError: As `Replay.pages`.
    """
    kept: list[Difference] = []
    async for page in replay.pages():
        kept += page.differences[: keep - len(kept)]
    return Page(tuple(kept), replay.summary)
