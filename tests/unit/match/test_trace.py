"""The lines of a decision: each thing with its rule, in order, and bounded."""

from __future__ import annotations

from dataclasses import replace

from relay.config import MatchSettings, SalesforceSettings
from relay.core.automatic import Automatic, AutomaticKind
from relay.core.directory import SkipKind
from relay.core.model import (
    Chosen,
    Draft,
    Match,
    NamedRecord,
    OpportunityRole,
    Related,
)
from relay.match import (
    Context,
    LeftOut,
    MailFacts,
    Plan,
    Rules,
    TraceLine,
    ask,
    decide,
    trace_of,
)
from relay.match.trace import (
    FROM_CACHE,
    MOST,
    kind_lines,
    left_out_lines,
    lookup_lines,
    match_lines,
    people_line,
    plan_lines,
)
from tests.fakes.values import NOON, boxes, contact, directory, email, found

RULES = Rules(
    frozenset({"in.relay.example"}), 50, MatchSettings(), SalesforceSettings()
)


def test_the_kind_is_told_of_what_goes_on() -> None:
    """Sent by the rep, or automatic and logged by its rule; received has its own."""
    assert kind_lines(email()) == (TraceLine("kind", "sent"),)
    sign = Automatic(AutomaticKind.CAMPAIGN, "List-Unsubscribe")
    assert kind_lines(email(automatic=sign)) == (
        TraceLine("kind", "automatic", "List-Unsubscribe: automatic.campaign is log"),
    )
    assert kind_lines(email(incoming=True)) == ()
    assert kind_lines(email(forwarded="inline")) == ()


def test_a_copy_that_a_rule_ends_shows_who_was_left_out() -> None:
    """Before the rule that ended it stands each address with the rule for it."""
    where = Context.of(directory(("x@y.example", SkipKind.ADDRESS)), RULES)
    mail = email(to=boxes("x@y.example", "ben@corp.example", "log-a@in.relay.example"))
    facts = MailFacts(mail, "key", NOON, (where.directory.users[1],))
    question = ask(facts, where)
    decision = decide(facts, question, None, where)
    assert trace_of(decision, 0) == (
        TraceLine("kind", "sent"),
        TraceLine(
            "left out",
            "3",
            "x@y.example: excluded by x@y.example; ben@corp.example: own address; "
            "log-a@in.relay.example: relay address",
        ),
        TraceLine("rules", "skipped", "every outside address is excluded"),
    )


def test_long_lists_are_bounded() -> None:
    """A mail to very many people has a short trace; what is left off is counted."""
    more = MOST + 3
    left_out = [LeftOut(f"a{n}@x.example", "own address") for n in range(more)]
    (line,) = left_out_lines(left_out)
    assert line.result == str(more)
    assert line.detail.endswith(f"a{MOST - 1}@x.example: own address and 3 more")
    assert left_out_lines(()) == ()
    mail = email(to=boxes(*(f"b{n}@y.example" for n in range(more))))
    where = Context.of(directory(), replace(RULES, max_people=1000))
    question = ask(MailFacts(mail, "k", NOON, (where.directory.users[1],)), where)
    line = next(one for one in question.steps if one.step == "people")
    assert (line.result, line.detail.endswith("b49@y.example and 3 more")) == (
        str(more),
        True,
    )
    assert people_line((), [Plan()]) == TraceLine("people", "0", "")


def test_a_look_up_says_what_was_asked_and_answered() -> None:
    """Of this mail alone: the answers of a batch hold those of other mails too."""
    anna = contact(1, "anna@x.example", account_id="001A")
    other = contact(2, "other@x.example")
    held = found(anna, other, roles=((anna, "006A"), (other, "006B")))
    deal = OpportunityRole("006C", "Deal", "")
    held = replace(
        held,
        account_opportunities={"001A": (deal,)},
        related={
            anna.id: (Related("500A", "Case", "", "match.lookups"),),
            "anna@x.example": (Related("500B", "Case", "", "match.more_objects"),),
        },
        records={"500C": NamedRecord("500C", "Case", "")},
    )
    mail = email(to=boxes("anna@x.example", "nobody@x.example"))
    where = Context.of(directory(), RULES)
    people = ask(MailFacts(mail, "k", NOON, (where.directory.users[1],)), where).people
    fields = ("Contact.Email", "Lead.Email")
    lines = lookup_lines(
        people,
        ("500C", "500D"),
        held,
        asked_in=fields,
        cached={"anna@x.example", "other@x.example"},
    )
    assert [(line.result, line.detail) for line in lines] == [
        ("2 records", "2 addresses in Contact.Email, Lead.Email"),
        (FROM_CACHE, "1 address asked a moment ago"),
        ("1 Opportunity", "by contact role"),
        ("1 Opportunity", "of their Accounts"),
        ("1 record", "by match.lookups"),
        ("1 record", "2 ids that the mail names"),
    ]
    assert lookup_lines(people[1:], (), held) == (
        TraceLine("look-up", "0 records", "1 address"),
    )
    assert lookup_lines((), (), held) == ()


def test_records_beyond_the_bound_are_counted() -> None:
    """Lines of one kind are bounded as well; within the bound nothing is added."""
    chosen = tuple(
        Chosen(f"006{n}", "Opportunity", f"Deal {n}", "rule") for n in range(MOST + 2)
    )
    lines = match_lines(Match((), chosen, ()))
    assert len(lines) == MOST + 1
    assert lines[-1] == TraceLine("match", "and 2 more")
    assert match_lines(Match((), chosen[:1], ())) == (
        TraceLine("match", "Opportunity 0060 Deal 0", "rule"),
    )
    drafts = [Draft(f"task:{n}", f"k{n}", "Task", {}, "rule") for n in range(MOST + 1)]
    assert plan_lines(drafts)[-1] == TraceLine("plan", "and 1 more")
