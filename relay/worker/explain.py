"""The dry run: what would be logged for a mail, and why. Writes nothing.

The sender is judged as at the end of DATA, the mail is decided as the worker decides
it, and shown. What it needs and does not have yet is what the worker would write: of a
mail that the relay knows already, no more than is missing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import relay.activity
import relay.mail
import relay.sender
from relay.activity import Mode
from relay.attachments.stage import file_rules
from relay.core.addresses import domain_of
from relay.core.directory import record_in
from relay.core.states import IN_SALESFORCE, Event
from relay.diagnose.hints import sender_hint
from relay.intake.rules import read_headers, writers
from relay.match import (
    MailFacts,
    TraceLine,
    ask,
    decide,
    direction,
    to_log,
    trace_of,
)
from relay.sender.offline import known_offline
from relay.sender.policy import rule_for
from relay.worker.decisions import Decisions
from relay.worker.reminding import asked_for

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import date, datetime

    from relay.config import Settings
    from relay.core.bodies import BodyMode
    from relay.core.content import Earlier
    from relay.core.directory import Directory, User
    from relay.core.model import Activity, Email, Forward, MailState
    from relay.match import Decision, Logged
    from relay.outbox.mode import WriteMode
    from relay.salesforce import Org
    from relay.store import Store

REFUSED: Final = "refused"
"""The state shown for what never becomes a message."""

STATES: Final = {
    Event.LOGGED: "logged",
    Event.NO_MATCH: "unmatched",
    Event.RULED_OUT: "skipped",
    Event.GIVE_BACK: "queued",
}
"""The state in which the worker would leave the message."""


async def explain(  # noqa: PLR0913 - what a decision rests on
    settings: Settings,
    store: Store,
    org: Org,
    mode: WriteMode,
    *,
    directory: Directory,
    user: User,
    raw: bytes,
    now: datetime,
    part: int = 1,
    rcpt: str = "",
) -> dict[str, Any]:
    """Say what would become of a mail of this user.

    Args:
        settings: The settings.
        store: What was logged before.
        org: Salesforce.
        mode: In which shape this org logs mail.
        directory: The people.
        user: For whom the mail would come.
        raw: The mail.
        now: When it would come.
        part: Of several mails that it forwards, which one, from 1.
        rcpt: The relay address to which it would come; it may name a record.

    Returns:
        `state` (`logged`, `unmatched`, `skipped`, `queued`, `refused`), `reason` (a
        sentence) and `code` (its word in the log), `subject`, `people` (address, name,
        place), `left_out` (address, rule), `records` (object, id, name, rule),
        `direction` (`inbound`, `outbound`), `part` and `parts` (of how many mails in
        the message), `note` (of whoever forwarded it), `unknown` (addresses),
        `write_as`, `activities` (object, slot, key, rule, fields), `files` (name, and
        why it is left out), `repairs` (what was wrong with the mail), `forwards` (the
        mails that it forwards; `forward_unsure` says why one that looks like it is
        none), and `trace` (step, result, detail). `sender`
        has the policy that is asked of the author, and what the file shows of them
        (`known`). `refused` is what the sender would read during SMTP; Salesforce is
        not asked then, and `hint` (once named `mend`) says what to do.

    Raises:
        UnparsableMessage: No mail can be read from the bytes.
        StoreUnavailable: The mail's ledger could not be read.
        SalesforceUnavailable, OrgPaused: Salesforce could not be asked.
    """
    read = relay.mail.parse(raw)

    async def threads(message_ids: Collection[str]) -> Mapping[str, Earlier]:
        return await store.mails.threads(message_ids)

    decisions = Decisions(settings, org, mode, lambda: directory, threads)
    found = to_log(read, user, decisions.context)
    chosen = found[min(max(part, 1), len(found)) - 1]
    email = chosen.email
    key1, key2 = relay.mail.keys_of(email, now)
    mail = MailFacts(email, key1, now, (user,), named=(record_in(rcpt),))
    parts = {"part": found.index(chosen) + 1, "parts": len(found)}
    sent = _Sent(raw, user, directory)
    whole = _Whole(read, chosen, parts, sent.line())
    question = ask(mail, decisions.context)
    if refused := sent.refused():
        return _answer(whole, decide(mail, question, None, decisions.context)) | refused
    about = sent.sender(settings, now)
    content = relay.mail.content_of(email, user.time_zone)
    state = await store.mails.find(key1, key2, content)
    if state:
        mail = replace(
            mail,
            key=state.key,
            in_salesforce=in_salesforce(state),
            resolved=state.resolved,
        )
        question = ask(mail, decisions.context)
    zone = user.time_zone or settings.notices.time_zone
    if not question.asks:
        decision = decide(mail, question, None, decisions.context)
        answer = _answer(whole, decision) | about
        return _with_reminder(answer, asked_for(rcpt, decision.verdict, now, zone))
    decided = await decisions.decide([(mail, question)])
    (decision,) = decided.decisions
    answer = _answer(whole, decision) | about
    answer = _with_reminder(answer, asked_for(rcpt, decision.verdict, now, zone))
    if decision.drafts and decision.verdict.event is not Event.NO_MATCH:
        answer["write_as"] = str(Mode.TASK if mail.begun else decided.answers.mode)
        body, _ = decisions.context.body_mode(email)
        answer["files"] = _files(settings, email, raw, body)
    return answer


def _with_reminder(
    answer: dict[str, Any], asked: tuple[str, str, date | None] | None
) -> dict[str, Any]:
    """Add what the tag of the relay address asks for to the trace."""
    if asked is None:
        return answer
    result, detail, _ = asked
    step = {"step": "reminder", "result": result, "detail": detail}
    return {**answer, "trace": [*answer["trace"], step]}


def in_salesforce(state: MailState) -> tuple[Activity, ...]:
    """Return the records of a mail that are, or may be, in Salesforce."""
    return tuple(row for row in state.activities if row.state in IN_SALESFORCE)


@dataclass(frozen=True, slots=True)
class _Whole:
    """A message as it was read, and the mail in it that is logged."""

    read: Email
    chosen: Logged
    parts: dict[str, int]
    sender: TraceLine

    @property
    def steps(self) -> tuple[TraceLine, ...]:
        """Return the lines that stand before the decision, in the words of the log."""
        repairs = ", ".join(self.read.repairs)
        parse = TraceLine("parse", "ok", f"repaired: {repairs}" if repairs else "")
        return (self.sender, parse, *self.chosen.steps)


class _Sent:
    """Who a mail says it is from, judged by the list of its user."""

    def __init__(self, raw: bytes, user: User, directory: Directory) -> None:
        self._raw = raw
        self._user = user
        self._directory = directory
        headers = read_headers(raw)
        self._author = relay.sender.read_author(headers.from_values)
        self._accepted = directory.accepted.get(user.id, frozenset())
        self._listed = writers(headers, self._author, "").listed(self._accepted)

    def refused(self) -> dict[str, Any]:
        """Return what the sender would read during SMTP; empty: the list has them."""
        user = self._user
        if not user.active:
            hint = f"{user.email} is {user.state}: relay user enable {user.email}"
            return {"state": REFUSED, "reason": hint, "code": "user_disabled"}
        if not self._directory.logging_is_on:
            hint = "logging is switched off for everybody: relay activate"
            return {"state": REFUSED, "reason": hint, "code": "logging_off"}
        if self._listed:
            return {}
        found = relay.sender.judge_author(self._author, user, self._accepted)
        refused = {"state": REFUSED, "reason": found.text, "code": found.reason}
        refused["cause"] = relay.sender.cause(found.reason).number
        if found.reason == relay.sender.NOT_ACCEPTED:
            hint = sender_hint(self._directory, user, found.address)
            refused |= {"hint": hint, "mend": hint}
        return refused

    def line(self) -> TraceLine:
        """Return the first line of the trace, as the intake writes it."""
        if refused := self.refused():
            return TraceLine("sender", REFUSED, refused["reason"])
        author, name = self._listed[0][0], self._user.name
        delegate = self._directory.delegate_of(self._user.id, author.key)
        whose = f"{name} (sent by {delegate})" if delegate else name
        return TraceLine("sender", "accepted", f"{author.address} for {whose}")

    def sender(self, settings: Settings, now: datetime) -> dict[str, Any]:
        """Return what is asked of the author, and what the file shows of them."""
        author, kind = self._listed[0]
        domain = domain_of(author.key)
        rule = rule_for(settings.sender, self._directory.settings, domain, kind)
        known = known_offline(self._raw, author.key, now) if rule.asks_for_proof else []
        return {
            "sender": {
                "address": author.address,
                "kind": kind.value,
                "policy": rule.policy.value,
                "otherwise": rule.otherwise.value,
                "known": known,
            }
        }


def _answer(whole: _Whole, decision: Decision) -> dict[str, Any]:
    """Show a decision, under names that stay."""
    read, email = whole.read, whole.chosen.email
    verdict = decision.verdict_of(0)
    match = decision.match
    return {
        "state": STATES[verdict.event],
        "reason": verdict.detail,
        "code": verdict.reason,
        "subject": email.subject,
        "people": [
            {"address": p.address, "name": p.name, "place": str(p.place)}
            for p in decision.people
        ],
        "left_out": [
            {"address": one.address, "rule": one.rule} for one in decision.left_out
        ],
        "records": [
            {"object": c.object, "id": c.id, "name": c.name, "rule": c.rule}
            for c in (*match.who, *match.what)
        ],
        "unknown": [person.address for person in match.unknown],
        "write_as": None,
        "activities": [
            {
                "object": d.object,
                "slot": d.slot,
                "key": d.key,
                "rule": d.rule,
                "fields": dict(d.fields),
            }
            for d in decision.drafts
        ],
        "files": [],
        "repairs": list(email.repairs),
        "forwards": [_forwarded(one) for one in read.forwards],
        "forward_unsure": read.forward_unsure,
        "direction": direction(email),
        "note": email.note,
        **whole.parts,
        "trace": [line._asdict() for line in (*whole.steps, *trace_of(decision, 0))],
    }


def _forwarded(one: Forward) -> dict[str, Any]:
    """Show a mail that was forwarded in this one."""
    return {
        "how": one.how,
        "from": one.from_.address,
        "to": [box.address for box in one.to],
        "cc": [box.address for box in one.cc],
        "subject": one.subject,
        "date": one.date.isoformat() if one.date else None,
        "outbound": one.outbound,
    }


def _files(
    settings: Settings, email: Email, raw: bytes, body: BodyMode
) -> list[dict[str, Any]]:
    """Return what would become a File, and what would not, with the reason."""
    plan = relay.activity.plan_files(
        relay.activity.without_secrets(email, frozenset(settings.smtp.domains)),
        replace(file_rules(settings.salesforce), body=body),
        mail_id=0,
        blob_id="",
        raw_bytes=len(raw),
        activity_keys=["any"],
    )
    sent = [{"name": draft.name, "left_out": ""} for draft in plan.drafts]
    return sent + [{"name": name, "left_out": reason} for name, reason in plan.left_out]
