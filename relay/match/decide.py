"""One decision: what becomes of a mail, and why. Pure.

    question = ask(mail, context)                        whom to look up, or why not
    decision = decide(mail, question, answers, context)  which records, which drafts

Between the two stands one look-up in Salesforce, for many mails together. The worker,
`relay explain` and a later re-play decide with these two functions alone, so that they
cannot differ. Whoever calls them does the waiting: asks Salesforce, writes the drafts,
remembers what was found.

A mail may have come in several copies, each for a user with exclusions of their own: a
copy that a rule keeps out ends by that rule, and the mail is logged for the others. Of
a mail that is in Salesforce already only what is missing is drafted, as Tasks of their
own: a rule that came later does not change what happened.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from relay import activity
from relay.activity import Extras, Mode, Owner
from relay.core.addresses import address_key
from relay.core.automatic import DEFAULT_RULES, AutomaticKind, with_null_sender
from relay.core.bodies import BodyMode
from relay.core.model import Found, Match
from relay.core.states import NO_SALESFORCE_USER, Event
from relay.match.choose import Opportunities, choose, missing, with_accounts
from relay.match.facts import Answers, Context, Decision, MailFacts, Question
from relay.match.plan import (
    EXCLUDED_MAIL,
    FORWARD_UNSURE,
    Plan,
    Verdict,
    exclusions_of,
    plan,
)
from relay.match.privacy import as_logged, confidential
from relay.match.resolved import alias_ids, gone, with_aliases, with_resolved
from relay.match.tags import (
    NO_TAGS,
    NOT_OWN,
    Tags,
    not_used,
    read_tags,
    readable_records,
    with_named,
)
from relay.match.thread import earlier_mails, with_thread
from relay.match.trace import (
    TraceLine,
    kind_lines,
    left_out_lines,
    lookup_lines,
    match_lines,
    people_line,
    plan_lines,
    rule_line,
    user_line,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from relay.core.content import Earlier
    from relay.core.directory import User
    from relay.core.model import Activity, Draft, Email
    from relay.core.org import SalesforceUser

NOTHING_FOUND: Final = Found({}, {})
LOGGED: Final = Verdict(Event.LOGGED)
NO_RECORD: Final = "no_record"
"""The reason of a mail of which nobody has a record."""
KIND_NOT_LOGGED: Final = "kind_not_logged"
"""The reason of a mail of a kind that is not logged."""
SHOWN: Final = 50
"""Addresses that are named in the reason of a mail that matches nobody."""
UNTRIED: Final = (
    "no EmailMessage was written to this org yet: where it makes no activity, "
    'write_as = "auto" will write Tasks in its place'
)
"""Why shadow mode may plan in another shape than is written later."""


# ---------------------------------------------------------------- the two steps


def ask(mail: MailFacts, context: Context) -> Question:
    """Say whom to look up for a mail, or why there is no look-up.

    There is none where shadow mode must not complete a logged mail, and where every
    copy ends by a rule.
    """
    rules = context.rules
    verdict = None
    if not mail.begun:
        verdict = (
            automatic_mail(mail, context)
            or confidential_mail(mail, context)
            or kind_left_out(mail, context)
        )
    if verdict:
        count = len(mail.users)
        return Question((), (), (verdict,) * count, ((rule_line(verdict),),) * count)
    plans = [
        plan(
            mail.email,
            context.ours,
            exclusions_of(context.directory, user.id),
            limit=rules.max_people,
            more_headers=context.match.more_headers,
        )
        for user in mail.users
    ]
    tags = tags_of(mail, context)
    wanted = bool(mail.resolved or tags.ids)
    addressed = mail.named or ("",) * len(plans)
    ends = [
        None if (named or wanted) and named_counts(each) else each.verdict
        for each, named in zip(plans, addressed, strict=True)
    ]
    goes_on = [each for each, end in zip(plans, ends, strict=True) if end is None]
    by_address = [
        named
        for named, end in zip(addressed, ends, strict=True)
        if named and end is None
    ]
    # A logged mail stays logged, whatever the rules say today.
    verdicts = tuple(None if mail.begun else end for end in ends)
    kind = kind_lines(mail.email)
    endings = tuple(
        (
            *(*kind, *left_out_lines(each.left_out), *tag_lines(tags, (), ())),
            rule_line(verdict),
        )
        if verdict
        else ()
        for each, verdict in zip(plans, verdicts, strict=True)
    )
    people = {person.key: person for each in goes_on for person in each.people}
    asked = {person.address for person in people.values()}
    left_out = {
        one.address: one
        for each in plans
        for one in each.left_out
        if one.address not in asked
    }
    named_ids = tuple(dict.fromkeys((*by_address, *tags.ids)))
    resolved = (one.record_id for one in mail.resolved)
    aliases = alias_ids(people.values(), context.directory.aliases)
    records = tuple(dict.fromkeys((*resolved, *named_ids, *aliases)))
    records = records if goes_on else ()
    if (mail.begun and rules.shadow) or not (people or records):
        return Question((), tuple(left_out.values()), verdicts, endings)
    users = {
        user.id: user
        for user, verdict in zip(mail.users, verdicts, strict=True)
        if verdict is None
    }
    lines = [*kind, *left_out_lines(tuple(left_out.values()))]
    if people:
        lines.append(people_line(people.values(), goes_on))
    if mail.resolved:
        chosen = ", ".join(f"{one.object} {one.record_id}" for one in mail.resolved)
        lines.append(TraceLine("resolved", str(len(mail.resolved)), chosen))
    return Question(
        tuple(people.values()),
        tuple(left_out.values()),
        verdicts,
        endings,
        tuple(users.values()),
        () if mail.begun else (*lines, *tag_lines(tags, named_ids, by_address)),
        records,
        None if people else next(each.verdict for each in goes_on),
        earlier_mails(mail.email) if context.match.thread and people else (),
        named=named_ids,
    )


def decide(
    mail: MailFacts, question: Question, answers: Answers | None, context: Context
) -> Decision:
    """Say what becomes of a mail: how it ends, on which records, with which drafts.

    Args:
        mail: The mail.
        question: As `ask` returned it.
        answers: What Salesforce holds; None where there was no look-up.
        context: As for `ask`.
    """
    decision = Decision(
        LOGGED,
        question.verdicts,
        question.endings,
        question.people,
        question.left_out,
        steps=question.steps,
    )
    if not question.asks or answers is None:
        return decision
    lines = lookup_lines(
        question.people,
        question.records,
        answers.found,
        asked_in=answers.asked_in,
        cached=answers.cached,
    )
    decision = replace(decision, steps=(*decision.steps, *lines))
    owners = owners_of(question.users, answers.users)
    rep = _rep(owners)
    found = readable_records(answers.found, rep)
    match = choose(question.people, found, context.match, rep=rep)
    match = with_resolved(match, mail.resolved, found)
    match = with_aliases(match, question.people, context.directory.aliases, found)
    match = with_named(match, question.named, found)
    which = Opportunities(context.match.opportunities)
    match = with_thread(match, question.inherited, found, which)
    match = with_accounts(match, context.match.accounts, found, rep=rep)
    if mail.begun:
        decision = _complete(mail, match, decision)
    else:
        ignored = [
            *(("tags", *one) for one in not_used(question.named, found)),
            *(("resolved", *one) for one in gone(mail.resolved, found)),
        ]
        told = [TraceLine(step, "ignored", f"{i}: {why}") for step, i, why in ignored]
        decision = replace(decision, steps=(*decision.steps, *told))
        decision = _matched(match, question, decision)
    if decision.verdict.reason == NO_RECORD:
        return _with_open_task(mail, owners, decision, answers, context)
    if not (decision.match.who or decision.match.what):
        return decision
    decision = _for_whom(question, owners, decision)
    if decision.owner is None:
        return decision
    planned = drafts(mail, decision, answers, context)
    steps = (*decision.steps, *body_lines(mail, context), *plan_lines(planned))
    if mail.open_task and not mail.begun:
        detail = f"{_open_task_of(mail.open_task)}: close it, the mail is logged"
        steps = (*steps, TraceLine("open task", "left as it is", detail))
    decision = replace(decision, drafts=planned, steps=steps)
    return _shown_only(decision, answers) if context.rules.shadow else decision


def with_earlier(question: Question, logged: Mapping[str, Earlier]) -> Question:
    """Fill in the records of earlier mails that somebody of this mail took part in.

    Who knows a Message-ID can name it in a mail of their own, which a rep then forwards
    or answers: a thread of other people gives nothing away.
    """
    keys = question.addresses
    own: set[str] = set()
    foreign: dict[str, Earlier] = {}
    for message_id in question.threads:
        if one := logged.get(message_id):
            if any(map(one.has, keys)):
                own.update(one.records)
            else:
                foreign[message_id] = one
    told = tuple(
        TraceLine(
            "match",
            "of the thread",
            f"{', '.join(one.records)} of {message_id}: not taken over, "
            "because nobody of that mail is in this one",
        )
        for message_id, one in foreign.items()
        if not own.issuperset(one.records)
    )
    return replace(
        question, inherited=tuple(sorted(own)), steps=(*question.steps, *told)
    )


# ---------------------------------------------------------------- parts of a decision


def automatic_mail(mail: MailFacts, context: Context) -> Verdict | None:
    """Skip a mail that no person wrote, where the rule of its kind says so.

    The rule of an admin, kept in the store, stands before that of the file. A notice of
    the relay that comes back is skipped whatever the rules say.
    """
    found = mail.email.automatic
    # Servers send on from the null sender what a person wrote.
    if mail.null_sender and not (mail.email.forwarded or mail.email.passed_on):
        found = with_null_sender(found)
    if found is None:
        return None
    key = f"automatic.{found.kind}"
    if found.kind in {AutomaticKind.OWN_NOTICE, AutomaticKind.OWN_COPY}:
        what = "notice" if found.kind is AutomaticKind.OWN_NOTICE else "copy"
        detail = f"a {what} of the relay has come back ({found.sign})"
        return Verdict(Event.RULED_OUT, str(found.kind), detail)
    rule = (
        context.directory.settings.get(key)
        or context.rules.automatic.get(found.kind)
        or DEFAULT_RULES[found.kind]
    )
    if rule == "log":
        return None
    detail = f"automatic mail ({found.sign}): {key} is skip"
    return Verdict(Event.RULED_OUT, str(found.kind), detail)


def confidential_mail(mail: MailFacts, context: Context) -> Verdict | None:
    """Skip a mail that is marked as confidential, where the rule says so."""
    match = context.match
    if match.confidential == "log":
        return None
    return confidential(
        mail.email, match.confidential_marks, match.confidential_sensitivity
    )


def kind_left_out(mail: MailFacts, context: Context) -> Verdict | None:
    """Skip a mail of a kind that an admin does not want logged (D10, D14)."""
    kind = "replies" if activity.is_reply(mail.email) else "mails"
    if kind in context.match.kinds:
        return None
    return Verdict(Event.RULED_OUT, KIND_NOT_LOGGED, f"match.kinds is without {kind}")


def tags_of(mail: MailFacts, context: Context) -> Tags:
    """Return the records that a mail names in its subject and its text.

    Of a forwarded mail the subject and the note of the forwarder count as well, first.
    What an outsider wrote chooses no records, unless the rule says so: neither quoted
    mail nor a mail that was received, nor its subject in that of its forward.
    """
    which, email = context.match.record_tags, mail.email
    if which == "off":
        return NO_TAGS
    tags = read_tags((email.outer_subject, email.note, email.subject, email.text))
    if not tags.ids or which == "on":
        return tags
    of_us = replace(email, text=email.note, html=None)
    texts = [email.outer_subject, context.rules.own_words(of_us)]
    theirs = read_tags((email.subject,)).ids if email.incoming else ()
    if not email.incoming:
        texts += [email.subject, context.rules.own_words(email)]
    noted = read_tags(texts[1:]).ids
    own = [i for i in read_tags(texts).ids if i in noted or i not in theirs]
    others = ((i, NOT_OWN) for i in tags.ids if i not in own)
    return Tags(tuple(own), (*tags.ignored, *others))


def named_counts(plan: Plan) -> bool:
    """Say whether a record that the mail names is enough to log it for this user.

    It is, where there is nobody to look for. What is excluded stays out, and so does a
    forward of which nobody can tell what it is.
    """
    ends = {EXCLUDED_MAIL, FORWARD_UNSURE}
    return plan.verdict is None or plan.verdict.reason not in ends


def tag_lines(
    tags: Tags, ids: Sequence[str], by_address: Collection[str]
) -> tuple[TraceLine, ...]:
    """Return what a mail names, and what in its tags was ignored."""
    named = (f"{i} (relay address)" if i in by_address else i for i in ids)
    lines = [TraceLine("tags", str(len(ids)), ", ".join(named))]
    return (
        *(lines if ids else []),
        *(TraceLine("tags", "ignored", f"{text}: {why}") for text, why in tags.ignored),
    )


def trace_of(decision: Decision, copy: int) -> tuple[TraceLine, ...]:
    """Return the lines for one copy: up to the rule that ended it, or all."""
    ended = decision.endings[copy : copy + 1]
    return (ended[0] if ended else ()) or decision.steps


def _matched(match: Match, question: Question, decision: Decision) -> Decision:
    """Go on with the records that were chosen, or end as unmatched."""
    if match.who or match.what:
        steps = (*decision.steps, *match_lines(match))
        return replace(decision, match=match, steps=steps)
    verdict = question.otherwise
    if verdict is None:
        people = ", ".join(person.address for person in match.unknown[:SHOWN])
        more = len(match.unknown) - SHOWN
        people += f" and {more} more" if more > 0 else ""
        detail = f"no Contact or open Lead has one of these addresses: {people}"
        verdict = Verdict(Event.NO_MATCH, NO_RECORD, detail)
    notes = (TraceLine("match", word, text) for word, text in match.notes)
    return replace(
        decision,
        verdict=verdict,
        match=match,
        steps=(*decision.steps, *notes, TraceLine("match", "none", verdict.detail)),
    )


def _with_open_task(
    mail: MailFacts,
    owners: tuple[tuple[User, Owner], ...],
    decision: Decision,
    answers: Answers,
    context: Context,
) -> Decision:
    """Add the open Task of a mail that fits no record, where an admin wants it.

    It is made once, for the first copy with a Salesforce user. Nothing waits for it:
    without a user, or a place for its key, the mail ends as unmatched all the same.
    """

    def told(result: str, detail: str) -> Decision:
        line = TraceLine("open task", result, detail)
        return replace(decision, steps=(*decision.steps, line))

    if not context.match.unmatched_task:
        return decision
    if mail.open_task:
        return told("there already", _open_task_of(mail.open_task))
    if not owners:
        return told("none", "no copy of the mail has a Salesforce user")
    decision = replace(decision, owner=owners[0][1], owners=owners)
    made = activity.open_task(
        logged_form(mail.email, context),
        mail_key=mail.key,
        owner=owners[0][1],
        org=answers.schema,
        received_at=mail.received_at,
        relay_domains=context.rules.relay_domains,
        extras=extras_of(mail, decision, answers, context),
    )
    if "Description" not in made.fields and not made.key_field:
        return told("none", "the integration user may not set Task.Description")
    decision = replace(decision, drafts=(made,))
    shadow = context.rules.shadow
    result = "planned, none written" if shadow else "planned"
    return told(result, f"for {owners[0][0].email}: {made.rule}")


def _open_task_of(row: Activity) -> str:
    return f"Task {row.salesforce_id or row.state}"


def _complete(mail: MailFacts, match: Match, decision: Decision) -> Decision:
    """Keep of the records chosen those that a logged mail does not have yet."""
    ids = {i for row in mail.in_salesforce for i in activity.named(row.fields)}
    people = {key for row in mail.in_salesforce for key in row.people}
    left = missing(match, ids, people)
    if not (left.who or left.what):
        line = TraceLine("complete", "nothing is missing")
        return replace(decision, steps=(*decision.steps, line))
    records = ", ".join(f"{c.object} {c.id}" for c in (*left.who, *left.what))
    lines = (TraceLine("complete", "known later", records), *match_lines(left))
    return replace(decision, match=left, steps=(*decision.steps, *lines))


def _for_whom(
    question: Question, owners: tuple[tuple[User, Owner], ...], decision: Decision
) -> Decision:
    """Log for the first copy that has a Salesforce user, or let the mail wait."""
    if owners:
        steps = (*decision.steps, user_line(*owners[0]))
        return replace(decision, owner=owners[0][1], owners=owners, steps=steps)
    return waiting_for_user(question, decision)


def drafts(
    mail: MailFacts, decision: Decision, answers: Answers, context: Context
) -> tuple[Draft, ...]:
    """Return the records of a decision in the shape that the answers name.

    An EmailMessage is whole when it is sent, so that what is missing of a logged mail
    is Tasks, however the org logs mail.
    """
    if decision.owner is None:
        return ()
    return activity.draft(
        logged_form(mail.email, context),
        decision.match,
        mail_key=mail.key,
        owner=decision.owner,
        mode=Mode.TASK if mail.begun else answers.mode,
        org=answers.schema,
        received_at=mail.received_at,
        relay_domains=context.rules.relay_domains,
        extras=extras_of(mail, decision, answers, context),
    )


def extras_of(
    mail: MailFacts, decision: Decision, answers: Answers, context: Context
) -> Extras:
    """Return what the records of a mail hold beside it."""
    rules, refused = context.rules, mail.redraft
    mode, _ = context.body_mode(mail.email)
    return Extras(
        # Salesforce may have refused a colleague's id; none of them is needed.
        colleagues={} if refused else {**context.colleagues, **own_of(decision)},
        key_fields=activity.key_fields(rules.records, answers.schema),
        record_types=activity.record_types(rules.records, answers.schema),
        fields=rules.records.fields,
        left_out=refused.left_out if refused else frozenset(),
        task_owner=refused.task_owner if refused else "",
        subject=context.match.subject,
        task_type=context.match.task_type,
        subject_alone=mode is BodyMode.SUBJECT,
    )


def own_of(decision: Decision) -> dict[str, str]:
    """Return the Salesforce ids of the users it is logged for, by their own addresses.

    The directory learns of them with the first mail of each.
    """
    return {
        key: owner.salesforce_id
        for user, owner in decision.owners
        if (key := address_key(user.email))
    }


def logged_form(email: Email, context: Context) -> Email:
    """Return a mail as it is logged, without what the rules keep back."""
    mode, _ = context.body_mode(email)
    if context.match.forward_note == "leave_out":
        email = replace(email, note="")
    return as_logged(
        email,
        mode,
        without_quotes=context.rules.without_quotes,
        remove_tags=context.match.remove_tags,
    )


def body_lines(mail: MailFacts, context: Context) -> tuple[TraceLine, ...]:
    """Return the line that says what is kept back; none where all is logged."""
    mode, rule = context.body_mode(mail.email)
    return () if mode is BodyMode.FULL else (TraceLine("body", str(mode), rule),)


def _shown_only(decision: Decision, answers: Answers) -> Decision:
    """Shadow mode: the drafts are kept and shown, none is written."""
    lines = () if answers.mode_known else (TraceLine("mode", "untried", UNTRIED),)
    count = len(decision.drafts)
    detail = f"shadow mode: {count} records planned, none written"
    return replace(
        decision,
        verdict=Verdict(Event.RULED_OUT, "shadow_mode", detail),
        steps=(*decision.steps, *lines),
    )


def logged_elsewhere(decision: Decision, detail: str) -> Decision:
    """Turn a decision into that for a mail which another tool has logged."""
    line = TraceLine("look before write", "logged elsewhere", detail)
    return replace(
        decision,
        verdict=Verdict(Event.RULED_OUT, "logged_elsewhere", detail),
        drafts=(),
        steps=(*decision.steps, line),
    )


# ---------------------------------------------------------------- for whom


def owner_of(user: User, found: Iterable[SalesforceUser]) -> Owner | None:
    """Return the Salesforce user of a rep, or None where it is not exactly one.

    Without a Salesforce id of their own, a rep is the only active User with that
    e-mail.
    """
    if user.salesforce_id:
        zones = (f.time_zone for f in found if f.id == user.salesforce_id)
        return Owner(user.salesforce_id, user.time_zone or next(zones, None))
    key = address_key(user.email)
    fitting = [f for f in found if f.email_key == key and f.is_active]
    if len(fitting) != 1:
        return None
    return Owner(fitting[0].id, fitting[0].time_zone)


def owners_of(
    users: Iterable[User], found: Sequence[SalesforceUser]
) -> tuple[tuple[User, Owner], ...]:
    """Return the Salesforce user of each of these users who has one."""
    return tuple(
        (user, owner) for user in users if (owner := owner_of(user, found)) is not None
    )


def rep_of(question: Question, found: Sequence[SalesforceUser]) -> str:
    """Return the Salesforce user for whom a mail is logged: of its first copy with one.

    Empty where no copy has one; the mail waits then.
    """
    return _rep(owners_of(question.users, found))


def _rep(owners: Sequence[tuple[User, Owner]]) -> str:
    return owners[0][1].salesforce_id if owners else ""


def waiting_for_user(question: Question, decision: Decision) -> Decision:
    """Let a mail wait of whose users none has a Salesforce user."""
    email = question.users[0].email if question.users else ""
    detail = (
        f"no single active Salesforce user has the e-mail {email or '?'}: "
        f"name one with 'relay user set {email} --salesforce-id ID'"
    )
    return replace(
        decision,
        verdict=Verdict(Event.GIVE_BACK, NO_SALESFORCE_USER, detail),
        steps=(*decision.steps, TraceLine("user", "waiting", detail)),
    )
