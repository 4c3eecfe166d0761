"""The lines of a decision: each thing with its rule, in order, and bounded."""

from __future__ import annotations

from dataclasses import replace

from relay.config import MatchSettings, SalesforceSettings
from relay.core.automatic import Automatic, AutomaticKind
from relay.core.directory import SkipKind
from relay.core.model import Chosen, Draft, Match
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
    MOST,
    kind_lines,
    left_out_lines,
    match_lines,
    people_line,
    plan_lines,
)
from tests.fakes.values import NOON, boxes, directory, email

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
