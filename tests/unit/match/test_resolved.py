"""Records that a person chose: for a mail, or for an address from then on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relay.activity import Mode
from relay.config import MatchSettings, SalesforceSettings
from relay.core.model import Found, NamedRecord, Related, Resolution
from relay.core.org import OrgSchema, SalesforceUser
from relay.core.states import Event
from relay.core.unmatched import Alias
from relay.match import Answers, Context, MailFacts, Rules, ask, decide
from tests.fakes.values import ADA, NOON, boxes, contact, directory, email, found

ANNA = contact(1, "anna@one.example")
MARA = NamedRecord("003000000000077AAA", "Contact", "Mara")
ACME = NamedRecord("001000000000001AAA", "Account", "Acme")
DEAL = "006000000000001AAA"
RULES = Rules(
    frozenset({"in.relay.example"}), 50, MatchSettings(), SalesforceSettings()
)
USER = SalesforceUser(ADA, "Ada", "ada@corp.example", is_active=True)


def alias(key, record, **changes):
    """Return an address that somebody said belongs to a record."""
    made = Alias(key, record.id, record.object, record.name, "cli:root", NOON)
    return replace(made, **changes)


def chosen(record, key=""):
    return Resolution(record.id, record.object, record.name, "cli:root", key)


def decided(*to, resolved=(), aliases=(), known=None, records=(), rules=RULES, **mail):
    """Return question and decision for a mail to these addresses."""
    people = replace(directory(), aliases={one.key: one for one in aliases})
    context = Context.of(people, rules)
    facts = MailFacts(
        email(to=boxes(*to), **mail),
        "k1",
        NOON,
        (people.users[1],),
        resolved=tuple(resolved),
    )
    question = ask(facts, context)
    there = replace(known or Found({}, {}), records={one.id: one for one in records})
    answers = Answers(there, [USER], OrgSchema({}), Mode.TASK)
    return question, decide(facts, question, answers, context)


def names(match):
    return [(one.id, one.rule) for one in (*match.who, *match.what)]


def test_a_chosen_record_is_asked_for_and_logged_on():
    """By id, with everything else; it stands for the only one without a record."""
    question, decision = decided(
        "x@other.example", resolved=[chosen(MARA)], records=[MARA]
    )
    assert question.records == (MARA.id,)
    assert names(decision.match) == [(MARA.id, "resolved by cli:root")]
    assert decision.match.who[0].person.address == "x@other.example"
    assert decision.match.unknown == ()
    assert decision.verdict.event is Event.LOGGED
    assert ("resolved", "1", f"Contact {MARA.id}") in decision.steps


def test_of_several_people_the_named_one_is_meant():
    """Without a name the record stands for nobody in particular."""
    to = ("x@other.example", "y@other.example")
    _, decision = decided(
        *to, resolved=[chosen(MARA, "y@other.example")], records=[MARA]
    )
    assert decision.match.who[0].person.key == "y@other.example"
    assert [p.key for p in decision.match.unknown] == ["x@other.example"]
    _, decision = decided(*to, resolved=[chosen(MARA)], records=[MARA])
    assert decision.match.who[0].person is None
    assert len(decision.match.unknown) == 2


def test_other_records_come_first_and_stand_for_nobody():
    """An Account, or an Opportunity that the rules chose as well, once."""
    known = found(ANNA, roles=((ANNA, DEAL),))
    deal = NamedRecord(DEAL, "Opportunity", "Deal")
    _, decision = decided(
        ANNA.email_key,
        resolved=[chosen(ACME), chosen(deal)],
        known=known,
        records=[ACME, deal],
    )
    assert [one.id for one in decision.match.what] == [ACME.id, DEAL]
    assert [one.id for one in decision.match.who] == [ANNA.id]
    _, alone = decided("x@other.example", resolved=[chosen(ACME)], records=[ACME])
    assert [one.id for one in alone.match.what] == [ACME.id]
    assert alone.match.unknown == ()


def test_a_record_that_the_rules_chose_stays_as_it_is():
    """Chosen twice is chosen once."""
    record = NamedRecord(ANNA.id, "Contact", "Anna")
    _, decision = decided(
        ANNA.email_key,
        resolved=[chosen(record)],
        known=found(ANNA),
        records=[record],
    )
    assert names(decision.match) == [(ANNA.id, "Contact.Email")]


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        ([], "the relay cannot read it any more"),
        ([replace(MARA, unfit="the Lead is converted, to no Contact")], "converted"),
    ],
)
def test_a_record_that_is_gone_is_told(records, reason):
    """The mail is unmatched again; the trace says why."""
    _, decision = decided("x@other.example", resolved=[chosen(MARA)], records=records)
    assert decision.verdict.reason == "no_record"
    (line,) = (one for one in decision.steps if one[:2] == ("resolved", "ignored"))
    assert reason in line[2]


def test_a_mail_that_names_nobody_is_logged_where_a_person_wants_it():
    """Its only recipient was the relay address."""
    _, decision = decided(
        "log-a@in.relay.example", resolved=[chosen(ACME)], records=[ACME]
    )
    assert decision.verdict.event is Event.LOGGED
    assert [one.id for one in decision.match.what] == [ACME.id]


def test_a_remembered_address_leads_to_its_record():
    """In the order of the mail; it is asked for by its id."""
    question, decision = decided(
        "x@other.example",
        ANNA.email_key,
        aliases=[alias("x@other.example", MARA)],
        known=found(ANNA),
        records=[MARA],
    )
    assert question.records == (MARA.id,)
    assert names(decision.match) == [
        (MARA.id, "address remembered by cli:root"),
        (ANNA.id, "Contact.Email"),
    ]
    assert decision.match.unknown == ()


def test_a_record_that_has_the_address_goes_before_a_remembered_one():
    """What somebody said once is not believed against the org."""
    _, decision = decided(
        ANNA.email_key,
        aliases=[alias(ANNA.email_key, MARA)],
        known=found(ANNA),
        records=[MARA],
    )
    assert [one.id for one in decision.match.who] == [ANNA.id]


def test_a_remembered_company_is_no_participant():
    """The mail is logged on the Account; who wrote is still shown as an address."""
    _, decision = decided(
        "info@other.example",
        "office@other.example",
        aliases=[
            alias("info@other.example", ACME),
            alias("office@other.example", ACME),
        ],
        records=[ACME],
    )
    assert decision.match.who == ()
    assert [(one.id, one.person) for one in decision.match.what] == [(ACME.id, None)]


def test_a_remembered_record_that_is_gone_leaves_the_address_unknown():
    """It was deleted, or is hidden from the relay."""
    _, decision = decided(
        "x@other.example", aliases=[alias("x@other.example", MARA)], records=[]
    )
    assert decision.verdict.reason == "no_record"


def test_nobody_remembered_costs_nothing():
    """Without choices no record is asked for."""
    question, _ = decided("x@other.example")
    assert question.records == ()


def test_a_choice_that_is_remembered_too_is_told_as_a_choice():
    """Whether the relay has read the remembered address by then changes nothing."""
    _, decision = decided(
        "x@other.example",
        resolved=[chosen(MARA)],
        aliases=[alias("x@other.example", MARA)],
        records=[MARA],
    )
    assert names(decision.match) == [(MARA.id, "resolved by cli:root")]
    assert decision.match.unknown == ()


@pytest.mark.parametrize("by", ["choice", "memory"])
def test_a_person_goes_before_the_account_of_the_domain(by):
    """The fallback to an Account stands behind what somebody has said."""
    rules = replace(RULES, match=MatchSettings(accounts=("website",)))
    account = Related(ACME.id, "Account", ACME.name, "website")
    known = replace(Found({}, {}), related={"one.example": (account,)})
    _, alone = decided(ANNA.email_key, known=known, rules=rules)
    assert [record for record, _ in names(alone.match)] == [ACME.id]
    said = (
        {"resolved": [chosen(MARA)]}
        if by == "choice"
        else {"aliases": [alias(ANNA.email_key, MARA)]}
    )
    _, both = decided(ANNA.email_key, known=known, rules=rules, records=[MARA], **said)
    assert [record for record, _ in names(both.match)] == [MARA.id]
