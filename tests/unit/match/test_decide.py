"""What becomes of a mail: one decision, whoever asks for it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from relay.activity import Mode
from relay.config import MatchSettings, SalesforceSettings
from relay.core.automatic import Automatic, AutomaticKind
from relay.core.content import Earlier, recipient_digest
from relay.core.directory import SkipKind
from relay.core.mailboxes import AddressRules
from relay.core.model import Activity, Found, NamedRecord
from relay.core.org import FieldInfo, OrgSchema, SalesforceUser
from relay.core.states import ActivityState, Event
from relay.mail import own_words
from relay.match import (
    Answers,
    Context,
    Decision,
    MailFacts,
    Redraft,
    Rules,
    TraceLine,
    ask,
    decide,
    drafts,
    logged_elsewhere,
    trace_of,
    with_earlier,
)
from tests.fakes.values import (
    ADA,
    NOON,
    boxes,
    contact,
    directory,
    email,
    found,
    lead,
)

if TYPE_CHECKING:
    from relay.core.directory import Directory
    from relay.core.model import Candidate

ANNA = contact(1, "anna@one.example")
BERT = contact(2, "bert@two.example")
DEAL = "006000000000001AAA"
BEN = "005000000000002AAA"
FIELDS = {
    "Task": ("WhoId", "WhatId", "OwnerId", "Subject", "Description"),
    "EmailMessage": (
        *("ToIds", "FromId", "ToAddress", "MessageIdentifier", "FromName"),
        "RelatedToId",
    ),
}
RULES = Rules(
    frozenset({"in.relay.example"}), 50, MatchSettings(), SalesforceSettings()
)


def field(name: str) -> FieldInfo:
    """Return a text field that may be set."""
    yes = (True, True, True, True, False, False, False, False)
    return FieldInfo(name, name, "string", 1000, *yes)


SCHEMA = OrgSchema(
    {sobject: {n: field(n) for n in names} for sobject, names in FIELDS.items()},
    frozenset(FIELDS),
)


def context(people: Directory | None = None, **rules: object) -> Context:
    """Return the rules of a test, with these people."""
    return Context.of(people or directory(), replace(RULES, **rules))  # type: ignore[arg-type]


def facts(
    *people: Candidate, users: tuple[int, ...] = (1,), **more: object
) -> MailFacts:
    """Return a mail of Ada's to these people, in a copy for each user."""
    known = directory().users
    mail = email(to=boxes(*(person.email_key for person in people)))
    made = MailFacts(mail, "m", NOON, tuple(known[number] for number in users))
    return replace(made, **more)  # type: ignore[arg-type]


def decided(
    mail: MailFacts,
    held: Found,
    where: Context | None = None,
    *,
    users: tuple[SalesforceUser, ...] = (),
    mode: Mode = Mode.EMAIL_MESSAGE,
    mode_known: bool = True,
) -> Decision:
    """Decide a mail by what Salesforce holds."""
    where = where or context()
    question = ask(mail, where)
    answers = Answers(held, users, SCHEMA, mode, mode_known=mode_known)
    return decide(mail, question, answers, where)


def row(state: ActivityState, **fields: object) -> Activity:
    """Return a row of the ledger."""
    return Activity("k", 1, "email", "EmailMessage", fields, "", state, people=())


def test_a_mail_is_logged_on_its_people_and_their_opportunities() -> None:
    """Records with their rules, the owner, the drafts and the trace, in one value."""
    held = found(ANNA, roles=((ANNA, DEAL),))
    decision = decided(facts(ANNA, BERT), held)
    assert decision.verdict.event is Event.LOGGED
    assert [c.id for c in (*decision.match.who, *decision.match.what)] == [
        ANNA.id,
        DEAL,
    ]
    assert [p.address for p in decision.match.unknown] == [BERT.email_key]
    assert decision.owner is not None
    assert decision.owner.salesforce_id == ADA
    assert [d.object for d in decision.drafts] == ["EmailMessage"]
    assert [line.step for line in decision.steps] == [
        *("kind", "people", "look-up", "look-up", "match", "match", "match"),
        *("user", "plan"),
    ]
    assert decision.steps[-2:] == (
        TraceLine("user", ADA, "ada@corp.example"),
        TraceLine("plan", "EmailMessage email", decision.drafts[0].rule),
    )
    assert trace_of(decision, 0) == decision.steps


def test_nobody_known_is_unmatched() -> None:
    """The addresses that nobody has are named."""
    decision = decided(facts(ANNA), found())
    assert decision.verdict.event is Event.NO_MATCH
    assert decision.verdict.reason == "no_record"
    assert ANNA.email_key in decision.verdict.detail
    assert decision.drafts == ()


def test_a_rule_ends_the_copies_of_its_user_alone() -> None:
    """What Ben excludes is logged for Ada; without her it ends, and nobody is asked."""
    people = directory((ANNA.email_key, SkipKind.MAIL))
    rule = replace(people.exclusions[0], user_id=2)
    where = context(replace(people, exclusions=(rule,)))
    both = decided(facts(ANNA, users=(1, 2)), found(ANNA), where)
    assert [both.verdict_of(copy).event for copy in (0, 1)] == [
        Event.LOGGED,
        Event.RULED_OUT,
    ]
    assert [line.step for line in trace_of(both, 1)] == ["kind", "rules"]
    assert both.drafts
    mail = facts(ANNA, users=(2,))
    question = ask(mail, where)
    assert question.people == ()
    alone = decide(mail, question, None, where)
    assert alone.verdict_of(0).reason == "excluded"
    assert trace_of(alone, 0)[-1].result == "skipped"


def test_copies_ask_for_whoever_one_of_them_asks_for() -> None:
    """Of several copies, a person is left out only where all leave them out."""
    people = directory((ANNA.email_key, SkipKind.ADDRESS))
    rule = replace(people.exclusions[0], user_id=2)
    where = context(replace(people, exclusions=(rule,)), max_people=2)
    carl = contact(3, "carl@three.example")
    question = ask(facts(ANNA, BERT, carl, users=(2, 1)), where)
    assert sorted(question.addresses) == sorted(
        [ANNA.email_key, BERT.email_key, carl.email_key]
    )
    assert question.left_out == ()
    alone = ask(facts(ANNA, BERT, users=(2,)), where)
    assert [one.rule for one in alone.left_out] == [f"excluded by {ANNA.email_key}"]


def test_the_limit_is_told() -> None:
    """How many addresses were not looked up stands in the trace."""
    question = ask(facts(ANNA, BERT), context(max_people=1))
    assert question.steps == (
        TraceLine("kind", "sent"),
        TraceLine(
            "left out", "1", f"{BERT.email_key}: beyond the limit of 1 addresses"
        ),
        TraceLine("people", "1", f"{ANNA.email_key}; 1 more beyond the limit"),
    )


def test_the_directory_chooses_before_the_settings() -> None:
    """`match.several` as an admin edited it wins."""
    people = replace(directory(), settings={"match.several": "oldest"})
    twins = (ANNA, replace(BERT, email_key=ANNA.email_key))
    assert len(decided(facts(ANNA), found(*twins)).match.who) == 2
    assert len(decided(facts(ANNA), found(*twins), context(people)).match.who) == 1


@pytest.mark.parametrize(
    ("kept", "reason"), [(None, "internal_only"), ([], ""), (["corp.example"], "x")]
)
def test_internal_domains_of_the_directory_win(
    kept: list[str] | None, reason: str
) -> None:
    """An empty list of the directory stands before the settings too."""
    named = {} if kept is None else {"match.internal_domains": kept}
    people = replace(directory(), settings=named)
    mail = facts(replace(ANNA, email_key="x@corp.example"))
    (verdict,) = ask(mail, context(people)).verdicts
    assert bool(verdict) == bool(reason)


# ---------------------------------------------------------------- for whom


def user(number: int, key: str, *, active: bool = True) -> SalesforceUser:
    """Return a Salesforce user."""
    sfid = f"0050000000000{number:02d}AAA"
    return SalesforceUser(sfid, "Ben", key, is_active=active, time_zone="Europe/Rome")


def test_a_rep_is_found_by_address() -> None:
    """The one active user with that e-mail; of two, none is taken."""
    mail, held = facts(ANNA, users=(2,)), found(ANNA)
    mine, gone = user(7, "ben@corp.example"), user(8, "ben@corp.example", active=False)
    decision = decided(mail, held, users=(mine, gone))
    assert decision.owner is not None
    assert decision.owner.salesforce_id == mine.id
    assert [(u.id, o.time_zone) for u, o in decision.owners] == [(2, "Europe/Rome")]
    for none in ((), (mine, user(9, "ben@corp.example"))):
        decision = decided(mail, held, users=none)
        assert decision.verdict.event is Event.GIVE_BACK
        assert decision.verdict.reason == "no_salesforce_user"
        assert "relay user set Ben@corp.example" in decision.verdict.detail
        assert decision.drafts == ()


def test_the_first_copy_with_a_user_is_logged_for() -> None:
    """A colleague without a Salesforce user does not hold up the mail."""
    decision = decided(facts(ANNA, users=(2, 1)), found(ANNA))
    assert decision.owner is not None
    assert decision.owner.salesforce_id == ADA
    assert decision.verdict.event is Event.LOGGED


# ---------------------------------------------------------------- a logged mail


def test_a_logged_mail_gets_what_is_missing_as_tasks() -> None:
    """By record and by address; today's exclusions change nothing about it."""
    where = context(directory(("x@spam.example", SkipKind.MAIL)))
    written = row(ActivityState.WRITTEN, ToIds=[ANNA.id])
    mail = facts(ANNA, BERT, in_salesforce=(written,))
    decision = decided(mail, found(ANNA, BERT), where)
    assert [d.object for d in decision.drafts] == ["Task"]
    assert decision.drafts[0].fields["WhoId"] == BERT.id
    steps = [line.step for line in decision.steps]
    assert steps == ["look-up", "complete", "match", "user", "plan"]
    nothing = decided(mail, found(ANNA), where)
    assert (nothing.verdict.event, nothing.drafts) == (Event.LOGGED, ())
    assert nothing.steps[-1].result == "nothing is missing"


def test_rules_of_today_leave_a_logged_mail_logged() -> None:
    """It is not looked up where everybody is excluded now, and stays as it is."""
    where = context(directory((ANNA.email_key, SkipKind.MAIL)))
    mail = facts(ANNA, in_salesforce=(row(ActivityState.SENT),))
    question = ask(mail, where)
    assert question.people == ()
    assert decide(mail, question, None, where).verdict_of(0).event is Event.LOGGED


# ---------------------------------------------------------------- shapes


def test_shadow_mode_shows_what_would_be_written() -> None:
    """The drafts are there, the mail is skipped; a logged mail is left alone."""
    where = context(shadow=True)
    decision = decided(facts(ANNA), found(ANNA), where, mode_known=False)
    assert decision.verdict.reason == "shadow_mode"
    assert decision.verdict.detail == "shadow mode: 1 records planned, none written"
    assert [line.step for line in decision.steps[-2:]] == ["plan", "mode"]
    known = decided(facts(ANNA), found(ANNA), where)
    assert "mode" not in [line.step for line in known.steps]
    logged = facts(ANNA, in_salesforce=(row(ActivityState.WRITTEN),))
    assert ask(logged, where).people == ()


def test_drafts_follow_the_shape() -> None:
    """The same decision in the other shape, once the first write has shown it."""
    mail, where = facts(ANNA), context()
    decision = decided(mail, found(ANNA), where)
    answers = Answers(found(ANNA), (), SCHEMA, Mode.TASK)
    assert [d.object for d in drafts(mail, decision, answers, where)] == ["Task"]
    waiting = decided(facts(ANNA, users=(2,)), found(ANNA))
    assert drafts(mail, waiting, answers, where) == ()


def test_a_refused_draft_is_made_without_what_was_refused() -> None:
    """Colleagues are named by address then, and the stand-in owns."""
    people = directory()
    ben = replace(people.users[2], salesforce_id=BEN)
    where = context(replace(people, users={1: people.users[1], 2: ben}))
    mail = facts(ANNA)
    mail = replace(
        mail, email=replace(mail.email, to=boxes(ANNA.email_key, "ben@corp.example"))
    )
    (first,) = decided(mail, found(ANNA), where).drafts
    assert first.fields["ToIds"] == [ANNA.id, BEN]
    refused = Redraft(frozenset({("EmailMessage", "FromName")}), "005x")
    (again,) = decided(replace(mail, redraft=refused), found(ANNA), where).drafts
    assert again.fields["ToIds"] == [ANNA.id]
    assert again.fields["ToAddress"] == "ben@corp.example"
    assert "FromName" in first.fields
    assert "FromName" not in again.fields
    assert again.owner == "005x"


def test_what_another_tool_logged_is_left_alone() -> None:
    """Nothing is drafted, and the sentence stands in the trace."""
    decision = logged_elsewhere(decided(facts(ANNA), found(ANNA)), "Inbox has it")
    assert decision.verdict.event is Event.RULED_OUT
    assert decision.verdict.reason == "logged_elsewhere"
    assert decision.drafts == ()
    assert decision.steps[-1].detail == "Inbox has it"


@pytest.mark.parametrize("mode", Mode)
def test_a_lead_alone_is_enough(mode: Mode) -> None:
    """Leads and Contacts are chosen alike."""
    anna = lead(1, ANNA.email_key)
    decision = decided(facts(ANNA), found(anna), mode=mode)
    assert [c.object for c in decision.match.who] == ["Lead"]
    assert len(decision.drafts) == 1


# ---------------------------------------------------------------- automatic mail


REPLY = Automatic(AutomaticKind.AUTO_REPLY, "Auto-Submitted: auto-replied")


def automatic_facts(found: Automatic | None, **more: object) -> MailFacts:
    """Return a mail to Anna that shows what made it."""
    mail = facts(ANNA, **more)
    return replace(mail, email=replace(mail.email, automatic=found))


def test_automatic_mail_is_skipped_with_its_sign() -> None:
    """Nobody is looked up; the reason is the kind, the trace names the header."""
    decision = decided(automatic_facts(REPLY, users=(1, 2)), found(ANNA))
    for copy in (0, 1):
        verdict = decision.verdict_of(copy)
        assert (verdict.event, verdict.reason) == (Event.RULED_OUT, "auto_reply")
        (line,) = trace_of(decision, copy)
        assert (line.step, line.result) == ("rules", "skipped")
        assert "Auto-Submitted: auto-replied" in line.detail
        assert "automatic.auto_reply is skip" in line.detail
    assert decision.people == decision.drafts == ()


def test_the_rule_of_a_kind_can_be_switched() -> None:
    """In the file, and at run time, which wins."""
    by_file = context(automatic={"auto_reply": "log"})
    decision = decided(automatic_facts(REPLY), found(ANNA), by_file)
    assert decision.verdict.event is Event.LOGGED
    kept = replace(directory(), settings={"automatic.auto_reply": "skip"})
    by_store = context(kept, automatic={"auto_reply": "log"})
    decision = decided(automatic_facts(REPLY), found(ANNA), by_store)
    assert decision.verdict_of(0).reason == "auto_reply"


def test_mail_of_a_sales_tool_is_logged_by_default() -> None:
    """List-Unsubscribe says nothing of who wrote it; an admin may skip it."""
    mail = automatic_facts(Automatic(AutomaticKind.CAMPAIGN, "List-Unsubscribe: <x>"))
    assert decided(mail, found(ANNA)).verdict.event is Event.LOGGED
    kept = replace(directory(), settings={"automatic.campaign": "skip"})
    assert decided(mail, found(ANNA), context(kept)).verdict_of(0).reason == "campaign"


def test_the_null_sender_makes_a_mail_automatic() -> None:
    """The envelope is a sign of its own."""
    decision = decided(automatic_facts(None, null_sender=True), found(ANNA))
    assert decision.verdict_of(0).reason == "null_sender"


def test_a_notice_that_comes_back_is_skipped_whatever_is_set() -> None:
    """Otherwise the relay could write to itself for ever."""
    own = Automatic(AutomaticKind.OWN_NOTICE, "X-Relay-Notice: digest")
    kept = replace(directory(), settings={"automatic.own_notice": "log"})
    decision = decided(automatic_facts(own), found(ANNA), context(kept))
    assert decision.verdict_of(0).reason == "own_notice"


def test_a_logged_mail_stays_logged() -> None:
    """A rule that came later does not change what happened."""
    mail = automatic_facts(REPLY, in_salesforce=(row(ActivityState.WRITTEN),))
    assert decided(mail, found(ANNA)).verdict_of(0).event is Event.LOGGED


# ---------------------------------------------------------------- record tags


CASE = "500000000000001AAA"
NAMED = {CASE: NamedRecord(CASE, "Case", "00001")}


def test_a_named_record_is_enough() -> None:
    """Without a known person the mail is logged on it, and the trace says why."""
    mail = facts(BERT)
    mail = replace(mail, email=replace(mail.email, text=f"Hello (ref: {CASE}, nix)"))
    assert ask(mail, context()).records == (CASE,)
    decision = decided(mail, Found({}, {}, NAMED))
    assert [(c.id, c.rule) for c in decision.match.what] == [(CASE, "named by a tag")]
    assert [(d.object, d.fields["RelatedToId"]) for d in decision.drafts] == [
        ("EmailMessage", CASE)
    ]
    assert [(line.step, line.result) for line in decision.steps] == [
        ("kind", "sent"),
        ("people", "1"),
        ("tags", "1"),
        ("tags", "ignored"),
        ("look-up", "0 records"),
        ("look-up", "1 record"),
        ("match", f"Case {CASE} 00001"),
        ("match", "no record"),
        ("user", ADA),
        ("plan", "EmailMessage email"),
    ]


@pytest.mark.parametrize(
    ("to", "event", "reason"),
    [
        ("ben@corp.example", Event.RULED_OUT, "internal_only"),
        ("log-a@in.relay.example", Event.NO_MATCH, "no_recipient"),
        ("bert@two.example", Event.NO_MATCH, "no_record"),
    ],
)
def test_a_name_that_is_none_changes_nothing(
    to: str, event: Event, reason: str
) -> None:
    """Where nobody is to be looked for, a tag counts only if it names a record."""
    mail = replace(facts(), email=email(to=boxes(to), subject=f"ref:{CASE}"))
    none = decided(mail, found())
    assert (none.verdict.event, none.verdict.reason) == (event, reason)
    assert any("no such record" in line.detail for line in none.steps)
    logged = decided(mail, Found({}, {}, NAMED))
    assert logged.verdict.event is Event.LOGGED
    assert logged.drafts


def test_a_tag_opens_no_excluded_mail() -> None:
    """What an exclusion keeps out stays out, for the user whose exclusion it is."""
    mail = replace(
        facts(BERT), email=email(to=boxes(BERT.email_key), text=f"ref:{CASE}")
    )
    where = context(directory((BERT.email_key, SkipKind.MAIL)))
    question = ask(mail, where)
    assert not question.asks
    assert decided(mail, Found({}, {}, NAMED), where).verdict_of(0).reason == "excluded"


def test_a_logged_mail_gets_a_named_record_later() -> None:
    """A tag that could not be read at first is completed as people are."""
    mail = facts(ANNA, in_salesforce=(row(ActivityState.WRITTEN, ToIds=[ANNA.id]),))
    mail = replace(mail, email=replace(mail.email, text=f"ref:{CASE}"))
    held = Found(found(ANNA).candidates, {}, NAMED)
    decision = decided(mail, held)
    assert [(d.object, d.fields["WhatId"]) for d in decision.drafts] == [("Task", CASE)]
    done = row(ActivityState.WRITTEN, ToIds=[ANNA.id], RelatedToId=CASE)
    mail = replace(mail, in_salesforce=(done,))
    assert decided(mail, held).drafts == ()


@pytest.mark.parametrize(
    ("which", "records"), [("on", (CASE,)), ("own_text", ()), ("off", ())]
)
def test_tags_that_somebody_else_wrote(which: str, records: tuple[str, ...]) -> None:
    """They count only where the rule says so: quoted, received, in its subject."""
    rules = replace(
        context(match=MatchSettings(record_tags=which)).rules, own_words=own_words
    )
    where = Context.of(directory(), rules)
    mail = facts(BERT)
    theirs: list[dict[str, object]] = [
        {"text": f"Hello\n> ref:{CASE}"},
        {"text": f"ref:{CASE}", "incoming": True},
        {"subject": f"ref:{CASE}", "incoming": True},
        {
            "subject": f"ref:{CASE}",
            "outer_subject": f"Fwd: ref:{CASE}",
            "incoming": True,
            "from_": boxes("kim@customer.example"),
        },
    ]
    for changes in theirs:
        asked = replace(mail, email=replace(mail.email, **changes))  # type: ignore[arg-type]
        question = ask(asked, where)
        assert question.records == records
        told = [s.detail for s in question.steps if s.result == "ignored"]
        assert bool(told) is (which == "own_text")
    ours: list[dict[str, object]] = [
        {"text": f"ref:{CASE}\n> Hello"},
        {"note": f"ref:{CASE}", "incoming": True},
        {"note": f"ref:{CASE}", "incoming": True, "text": f"ref:{CASE}"},
        {"outer_subject": f"Fwd: ref:{CASE}", "incoming": True},
        {"subject": f"Re: ref:{CASE}"},
    ]
    for changes in ours:
        asked = replace(mail, email=replace(mail.email, **changes))  # type: ignore[arg-type]
        assert ask(asked, where).records == ((CASE,) if which != "off" else ())


def test_an_ignored_tag_is_told_where_a_rule_ends_the_mail() -> None:
    """Whoever asks why finds the id in the trace."""
    mail = facts(users=(1,))
    quoted = replace(mail.email, to=boxes("ada@corp.example"), text=f"> ref:{CASE}")
    rules = replace(context().rules, own_words=own_words)
    question = ask(replace(mail, email=quoted), Context.of(directory(), rules))
    assert not question.asks
    assert [line.step for line in question.endings[0]][-2:] == ["tags", "rules"]


def test_a_thread_of_other_people_gives_nothing_away() -> None:
    """A Message-ID can be forged: somebody of the mail must have been in the thread."""
    where = context(match=MatchSettings(thread=True))
    mail = facts(BERT)
    mail = replace(mail, email=replace(mail.email, references=("<1@x>", "<2@x>")))
    question = ask(mail, where)
    digest = frozenset({recipient_digest(BERT.email_key)})
    with_bert = Earlier((CASE,), recipients=digest)
    without = Earlier((CASE,), frozenset({ANNA.email_key}))
    for logged, ids in (
        ({"<1@x>": with_bert}, (CASE,)),
        ({"<1@x>": Earlier((CASE,), frozenset({BERT.email_key}))}, (CASE,)),
        ({"<2@x>": without}, ()),
        ({"<1@x>": with_bert, "<2@x>": without}, (CASE,)),
    ):
        found = with_earlier(question, logged)
        assert found.inherited == ids
        told = [s.detail for s in found.steps if s.result == "of the thread"]
        why = "not taken over, because nobody of that mail is in this one"
        assert told == ([] if ids else [f"{CASE} of <2@x>: {why}"])


def test_the_reason_names_a_bounded_number_of_addresses() -> None:
    """A mail to thousands whom nobody knows has a reason that can be read."""
    mail = replace(facts(), email=email(to=boxes(*(f"p{n}@x.io" for n in range(60)))))
    where = Context.of(directory(), replace(context().rules, max_people=0))
    detail = decided(mail, found(), where).verdict.detail
    assert detail.endswith("p49@x.io and 10 more")


# ---------------------------------------------------------------- what is kept back


def test_a_confidential_mail_is_skipped_by_a_switch() -> None:
    """With its reason; a mail that is logged already stays logged."""
    mail = facts(ANNA)
    mail = replace(mail, email=replace(mail.email, subject="[Private] Lunch"))
    question = ask(mail, context())
    (verdict,) = question.verdicts
    assert verdict is not None
    assert (verdict.event, verdict.reason) == (Event.RULED_OUT, "confidential")
    assert not question.asks
    where = context(match=MatchSettings(confidential="log"))
    assert decided(mail, found(ANNA), where).verdict.event is Event.LOGGED
    begun = replace(mail, in_salesforce=(row(ActivityState.WRITTEN),))
    assert ask(begun, context()).verdicts == (None,)


def test_a_body_mode_is_drafted_and_told() -> None:
    """The headers alone go to Salesforce, and the trace names the rule."""
    rule = f"{ANNA.email_key}: headers"
    where = context(match=MatchSettings(body_rules=(rule,)))
    decision = decided(facts(ANNA), found(ANNA), where, mode=Mode.TASK)
    (task,) = decision.drafts
    assert "From: Ada Rep" in task.fields["Description"]
    assert "Hello" not in task.fields["Description"]
    assert [tuple(line) for line in decision.steps if line.step == "body"] == [
        ("body", "headers", f"match.body_rules, for {ANNA.email_key}")
    ]
    where = context(match=MatchSettings(body="subject"))
    (task,) = decided(facts(ANNA), found(ANNA), where, mode=Mode.TASK).drafts
    assert task.fields["Description"] == f"relay-key: {task.key}"
    (mail,) = decided(facts(ANNA, BERT), found(ANNA), where).drafts
    assert "ToAddress" not in mail.fields
    assert mail.fields["ToIds"] == [ANNA.id]


def test_quoted_mail_is_kept_back() -> None:
    """By the function that the worker knows; without one a mail stays as it is."""
    match = MatchSettings(body="without_quotes")
    mail = facts(ANNA)
    for cut, text in ((None, "Hello"), (lambda mail: replace(mail, text="Hi"), "Hi")):
        rules = {"match": match} | ({"without_quotes": cut} if cut else {})
        (task,) = decided(mail, found(ANNA), context(**rules), mode=Mode.TASK).drafts
        assert f"\n\n{text}\n\n" in task.fields["Description"]


def test_every_spelling_is_asked_for_at_once() -> None:
    """One question has the address as written and as its rule reads it."""
    people = directory().read_by(AddressRules.of(["one.example: plus"]))
    mail = replace(facts(), email=email(to=boxes("anna+x@one.example")))
    question = ask(mail, context(people))
    assert question.addresses == ["anna+x@one.example", "anna@one.example"]
    assert decided(mail, found(ANNA), context(people)).drafts


def test_a_tag_opens_no_unsure_forward() -> None:
    """Nobody can tell what would be logged."""
    mail = replace(
        facts(BERT), email=email(forward_unsure="no_header", text=f"ref:{CASE}")
    )
    assert not ask(mail, context()).asks


def test_a_relay_address_names_a_record() -> None:
    """It counts first, for the copy that came to it; an exclusion keeps it out."""
    mail = replace(facts(users=(1, 2)), email=email(to=boxes("ben@corp.example")))
    named = replace(mail, named=("", CASE))
    question = ask(named, context())
    assert question.records == (CASE,)
    assert [v and v.reason for v in question.verdicts] == ["internal_only", None]
    assert question.steps[-1].detail == f"{CASE} (relay address)"
    decision = decided(named, Found({}, {}, NAMED), users=(BEN_USER,))
    assert decision.verdict.event is Event.LOGGED
    assert [d.fields.get("RelatedToId") for d in decision.drafts] == [CASE]
    where = context(directory(("ben@corp.example", SkipKind.MAIL)))
    assert not ask(named, where).asks


BEN_USER = SalesforceUser(BEN, "Ben", "ben@corp.example", is_active=True)


# ---------------------------------------------------------------- an open Task

OPEN = Activity(
    *("k", 1, "open-task", "Task", {}, "", ActivityState.WRITTEN, "00T000000000001AAA")
)


def test_an_open_task_of_what_fits_no_record() -> None:
    """Beside the verdict, where an admin wants it, and once."""
    where = context(match=MatchSettings(unmatched_task=True))
    decision = decided(facts(ANNA), found(), where)
    assert decision.verdict.reason == "no_record"
    assert [draft.slot for draft in decision.drafts] == ["open-task"]
    assert decision.steps[-1][:2] == ("open task", "planned")
    again = decided(facts(ANNA, in_salesforce=(OPEN,)), found(), where)
    assert again.verdict.reason == "no_record"
    assert again.drafts == ()
    assert again.steps[-1] == (
        "open task",
        "there already",
        f"Task {OPEN.salesforce_id}",
    )
    assert decided(facts(ANNA), found()).drafts == ()
    shadow = decided(
        facts(ANNA), found(), replace(where, rules=replace(where.rules, shadow=True))
    )
    assert shadow.verdict.event is Event.NO_MATCH
    assert shadow.steps[-1][:2] == ("open task", "planned, none written")


def test_no_open_task_that_could_not_be_found_again() -> None:
    """Neither without a Salesforce user nor without a place for its key."""
    where = context(match=MatchSettings(unmatched_task=True))
    nobody = decided(facts(ANNA, users=(2,)), found(), where)
    fields = {"Task": {"Subject": field("Subject")}}
    mail = facts(ANNA)
    answers = Answers(found(), (), OrgSchema(fields, frozenset(fields)), Mode.TASK)
    without = decide(mail, ask(mail, where), answers, where)
    for decision, why in ((nobody, "Salesforce user"), (without, "Task.Description")):
        assert decision.verdict.reason == "no_record"
        assert decision.drafts == ()
        assert decision.steps[-1].result == "none"
        assert why in decision.steps[-1].detail


def test_a_mail_with_an_open_task_is_logged_whole() -> None:
    """It is not begun by it; the trace names the Task that stays."""
    decision = decided(facts(ANNA, in_salesforce=(OPEN,)), found(ANNA))
    assert decision.verdict.event is Event.LOGGED
    assert [draft.object for draft in decision.drafts] == ["EmailMessage"]
    assert decision.steps[-1][:2] == ("open task", "left as it is")
    assert str(OPEN.salesforce_id) in decision.steps[-1].detail
    begun = (OPEN, row(ActivityState.WRITTEN))
    later = decided(facts(ANNA, in_salesforce=begun), found(ANNA))
    assert [draft.object for draft in later.drafts] == ["Task"]
    assert "open task" not in [line.step for line in later.steps]


@pytest.mark.parametrize("kinds", [("replies", "reminders"), ()])
def test_a_kind_that_is_left_out_is_skipped(kinds: tuple[str, ...]) -> None:
    """D14: with its reason, and no look-up; a mail that is logged stays logged."""
    mail = facts(ANNA)
    where = context(match=MatchSettings(kinds=kinds))  # type: ignore[arg-type]
    question = ask(mail, where)
    (verdict,) = question.verdicts
    assert verdict is not None
    assert (verdict.event, verdict.reason) == (Event.RULED_OUT, "kind_not_logged")
    assert not question.asks
    begun = replace(mail, in_salesforce=(row(ActivityState.WRITTEN),))
    assert ask(begun, where).verdicts == (None,)


def test_replies_are_a_kind_of_their_own() -> None:
    """D10: a received answer is logged only with `replies`."""
    mail = facts(ANNA)
    answer = replace(mail.email, incoming=True, in_reply_to=("<a@b>",))
    mail = replace(mail, email=answer)
    without = context(match=MatchSettings(kinds=("mails",)))
    (verdict,) = ask(mail, without).verdicts
    assert verdict is not None
    assert verdict.detail == "match.kinds is without replies"
    alone = context(match=MatchSettings(kinds=("replies",)))
    assert decided(mail, found(ANNA), alone).verdict.event is Event.LOGGED


def test_the_template_of_the_store_shapes_the_subject() -> None:
    """What an admin sets while the relay runs holds for the next mail."""
    where = context(match=MatchSettings(subject="[x] {{ACTIVITY_SUBJECT}}"))
    mail = facts(ANNA)
    (task,) = decided(mail, found(ANNA), where, mode=Mode.TASK).drafts
    assert task.fields["Subject"] == f"[x] {mail.email.subject}"
