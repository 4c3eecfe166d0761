"""Look-ups: which questions are asked, and what their rows mean."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from relay.config import MatchSettings, SalesforceSettings
from relay.core.model import Candidate, Found, OpportunityRole, Related
from relay.core.org import FieldInfo, LookupResult, OrgSchema, SalesforceUser
from relay.salesforce import people, soql
from relay.salesforce.lookup import LookupCache, joined
from relay.salesforce.lookup_rules import resolve
from relay.salesforce.people import Gathered, Kind, Question
from relay.salesforce.soql import Ask

EVERYTHING = OrgSchema(
    {
        name: {}
        for name in ("Contact", "Lead", "User", "Opportunity", "OpportunityContactRole")
    }
)
STAMP = "2026-01-02T03:04:0{}.000+0000"


def described(**objects):
    """Return an org with these fields, of type e-mail where their names say so."""

    def info(name):
        kind = "email" if "Email" in name else "string"
        flags = (True, True, True, True, False, False, False, False)
        return FieldInfo(name, name, kind, 80, *flags)

    fields = {o: {n: info(n) for n in names} for o, names in objects.items()}
    return OrgSchema(fields)


def contact(number, address, **more):
    return {
        "Id": f"0030000000000{number:02d}",
        "Name": f"C{number}",
        "Email": address,
        "CreatedDate": STAMP.format(number),
        "AccountId": None,
        **more,
    }


def rules(schema=EVERYTHING, **changes):
    return resolve(MatchSettings(**changes), schema)


DEFAULT = rules()


def plan(addresses=(), emails=(), ids=(), by=DEFAULT):
    return people.plan(Question(tuple(addresses), tuple(emails), tuple(ids)), by)


def read(*answers, by=DEFAULT):
    gathered = Gathered()
    people.read(gathered, answers, by)
    return gathered.result()


def contacts(*rows, asked=("a@x", "b@x", "a@x.example")):
    return Ask("", asked, about=Kind.CONTACTS), list(rows)


def kinds(asks):
    return [ask.about for ask in asks]


def test_contacts_with_roles_leads_and_users_are_asked_for():
    """One question each, as long as they fit."""
    asks = plan(["a@x"], ["u@x"], ["005000000000001"])
    assert kinds(asks) == [Kind.CONTACTS, Kind.LEADS, Kind.USERS, Kind.USERS_BY_ID]
    assert asks[-1].values == ("005000000000001AAA",)
    assert "FROM OpportunityContactRoles" in asks[0].query().soql
    assert asks[1].query().soql == (
        "SELECT Id, Name, CreatedDate, OwnerId, Email, IsConverted, ConvertedContactId "
        "FROM Lead WHERE Email IN ('a@x')"
    )


def test_objects_that_do_not_exist_are_not_asked_for():
    """An org without Leads or Opportunities is asked for Contacts alone."""
    only = OrgSchema({"Contact": {}})
    asks = plan(["a@x"], by=rules(only))
    assert kinds(asks) == [Kind.CONTACTS]
    assert "OpportunityContactRoles" not in asks[0].query().soql


@pytest.mark.parametrize(
    ("objects", "expected"),
    [
        (("contact", "lead"), [Kind.CONTACTS, Kind.LEADS]),
        (("contact",), [Kind.CONTACTS]),
        (("lead",), [Kind.LEADS]),
        (("person_account",), []),
    ],
)
def test_objects_are_switched_on_and_off(objects, expected):
    """What is off costs no question; without person accounts there are none."""
    assert kinds(plan(["a@x"], by=rules(objects=objects))) == expected


@pytest.mark.parametrize(
    ("objects", "where"),
    [
        (("contact",), " AND IsPersonAccount = false"),
        (("person_account",), " AND IsPersonAccount = true"),
        (("contact", "person_account"), ""),
    ],
)
def test_person_accounts_are_contacts_of_a_kind(objects, where):
    """They are told apart where one kind alone is looked for."""
    schema = described(Contact=("Email", "IsPersonAccount"))
    (ask,) = plan(["a@x"], by=rules(schema, objects=objects))
    assert ask.query().soql == (
        "SELECT Id, Name, CreatedDate, OwnerId, AccountId, Email, IsPersonAccount "
        f"FROM Contact WHERE Email IN ('a@x'){where}"
    )


def test_what_cannot_be_in_salesforce_is_not_asked_for():
    """Long addresses, control characters and false ids make no question."""
    addresses = ["x" * 79 + "@x", "a\x00@x", "\ud800@x", ""]
    assert plan(addresses, ["y" * 127 + "@x"], ["//evil"]) == []


def test_an_internationalised_address_is_asked_for_as_it_may_have_been_typed():
    """Both forms are one address, whichever the record holds; strasse is another."""
    asks = plan(
        ["a@xn--strae-oqa.x"],
        ["u@xn--strae-oqa.x"],
        by=rules(OrgSchema({"Contact": {}})),
    )
    assert [ask.values for ask in asks] == [
        ("a@xn--strae-oqa.x", "a@straße.x"),
        ("u@xn--strae-oqa.x", "u@straße.x"),
    ]
    rows = [
        contact(1, "A@Straße.x"),
        contact(2, "a@xn--strae-oqa.x"),
        contact(3, "a@strasse.x"),
    ]
    found = read((asks[0], rows)).found.candidates
    assert {key: [c.name for c in some] for key, some in found.items()} == {
        "a@xn--strae-oqa.x": ["C1", "C2"]
    }


def test_an_address_is_asked_for_once():
    """Duplicates cost nothing."""
    assert plan(["a@x", "b@x", "a@x"])[0].values == ("a@x", "b@x")


@pytest.mark.parametrize("count", [1, 2, 10])
def test_questions_stay_short(count):
    """Any number of addresses and fields is cut to questions that fit into a URL."""
    names = tuple(f"Field_{n}__c" for n in range(count))
    by = rules(
        described(Contact=names),
        contact_email_fields=names,
        contact_condition=f"Name != '{'{}' * 300}'",
    )
    addresses = [f"o'neil{n}@x.example" for n in range(3000)]
    asks = plan(addresses, by=by)
    for ask in asks:
        text = ask.query().soql
        assert len(soql.encoded(text)) <= soql.MAX_ENCODED
        assert "{}" * 300 in text
        assert text.count("o\\'neil") == len(ask.values) * count
    assert sum(len(ask.values) for ask in asks) == len(addresses)


def test_halves_cover_the_whole():
    """Halving ends at one value and loses none."""
    ask = Ask("{}", ("a", "b", "c"))
    assert [half.values for half in ask.halves()] == [("a",), ("b", "c")]
    assert Ask("{}", ("a",)).halves() == []


def test_rows_become_candidates_oldest_first():
    """The order of rows does not matter."""
    rows = [contact(n, "A@X.example", OwnerId="005000000000001") for n in range(1, 8)]
    random.Random(1).shuffle(rows)
    found = read(contacts(*rows)).found
    candidates = found.candidates["a@x.example"]
    assert [c.name for c in candidates] == [f"C{n}" for n in range(1, 8)]
    assert {c.owner_id for c in candidates} == {"005000000000001AAA"}


def test_the_first_field_in_order_is_told():
    """A record is found under each of its addresses, by the first field that has it."""
    fields = ("Work__c", "Email")
    by = rules(described(Contact=fields), contact_email_fields=fields)
    row = contact(1, "a@x", Work__c="A@x")
    other = contact(2, "b@x", Work__c="a@x")
    found = read(contacts(row, other), by=by).found.candidates
    told = {key: [(c.name, c.field) for c in some] for key, some in found.items()}
    assert told == {
        "a@x": [("C1", "Work__c"), ("C2", "Work__c")],
        "b@x": [("C2", "Email")],
    }


def test_an_address_that_was_not_asked_for_is_not_answered():
    """Else whoever else has it would be missing, and half an answer remembered."""
    fields = ("Work__c", "Email")
    by = rules(described(Contact=fields), contact_email_fields=fields)
    row = contact(1, "b@x", Work__c="a@x")
    assert set(read(contacts(row, asked=("a@x",)), by=by).found.candidates) == {"a@x"}


def test_roles_are_told_once_each():
    """Two roles on one Opportunity are one, primary if either is."""
    role = {"OpportunityId": "006000000000001", "Opportunity": {"Name": "Deal"}}
    first = {**role, "IsPrimary": True}
    for order in ([role, first], [first, role]):
        children = {"records": [*order, {"OpportunityId": "//evil"}, 7, {}]}
        row = contact(1, "a@x", OpportunityContactRoles=children)
        other = contact(2, "a@x", OpportunityContactRoles=None)
        ((sfid, roles),) = read(contacts(row, other)).found.roles.items()
        assert sfid == "003000000000001AAA"
        assert [(r.opportunity_id, r.opportunity_name) for r in roles] == [
            ("006000000000001AAA", "Deal")
        ]
        assert roles[0].is_primary


def test_rows_that_make_no_sense_are_left_out():
    """A row without valid id or address finds nobody."""
    rows = [contact(1, None), {**contact(2, "a@x"), "Id": "//evil"}, {}]
    assert read((Ask("", ("a@x",), about=Kind.LEADS), rows)).found.candidates == {}


# ------------------------------------------------------------ what leads on


def converted(number, contact_id):
    return {
        "Id": f"00Q0000000000{number:02d}",
        "Email": "a@x",
        "IsConverted": True,
        "ConvertedContactId": contact_id,
    }


LEADS = Ask("", ("a@x", "b@x"), about=Kind.LEADS)


def test_a_converted_lead_leads_to_its_contact():
    """Asked by id; it is found under the address of the Lead, and the Lead is told."""
    gathered = Gathered()
    rows = [converted(1, "003000000000001"), converted(2, None)]
    people.read(gathered, [(LEADS, rows)], DEFAULT)
    assert gathered.result().found.candidates == {}
    (ask,) = people.plan_followed(gathered, DEFAULT)
    assert "FROM Contact WHERE Id IN ('003000000000001AAA')" in ask.query().soql
    other = contact(9, "z@x")
    people.read(gathered, [(ask, [contact(1, "new@x"), other])], DEFAULT)
    (found,) = gathered.result().found.candidates["a@x"]
    assert (found.object, found.name) == ("Contact", "C1")
    assert found.lead_id == "00Q000000000001EAA"


def test_a_converted_lead_is_not_followed_where_a_contact_has_the_address():
    """The Contact carries on the address by itself."""
    gathered = Gathered()
    answers = [
        contacts(contact(2, "a@x")),
        (LEADS, [converted(1, "003000000000001")]),
    ]
    people.read(gathered, answers, DEFAULT)
    assert people.plan_followed(gathered, DEFAULT) == []


def test_converted_leads_are_not_asked_for_where_nobody_follows_them():
    """By the switch, and where Contacts are not wanted at all."""
    for changes in ({"follow_converted_leads": False}, {"objects": ("lead",)}):
        by = rules(**changes)
        (text,) = [
            a.query().soql for a in plan(["a@x"], by=by) if a.about is Kind.LEADS
        ]
        assert text.endswith("WHERE IsConverted = false AND Email IN ('a@x')")


def test_a_condition_of_leads_does_not_hide_converted_ones():
    """They are asked for without it: their Contact has a condition of its own."""
    asks = plan(["a@x"], by=rules(lead_condition="X = 1 OR Y = 2"))
    texts = [a.query().soql for a in asks if a.about is Kind.LEADS]
    assert [text.partition(" WHERE ")[2] for text in texts] == [
        "IsConverted = false AND Email IN ('a@x') AND (X = 1 OR Y = 2)",
        "IsConverted = true AND Email IN ('a@x')",
    ]


def further(*rows, asked=("a@x",), by):
    gathered = Gathered()
    people.read(gathered, [contacts(*rows)], by)
    return gathered, people.plan_further(gathered, asked, by)


def test_opportunities_of_accounts_are_asked_for():
    """Open ones, by the Accounts of the Contacts found; none for a private Contact."""
    by = rules(account_opportunities=True, opportunity_condition="Amount > 5")
    account = "001000000000001AAA"
    rows = [contact(1, "a@x", AccountId=account), contact(2, "a@x")]
    gathered, (ask,) = further(*rows, by=by)
    assert ask.query().soql.endswith(
        f"WHERE IsClosed = false AND AccountId IN ('{account}') AND (Amount > 5)"
    )
    deal = {"Id": "006000000000001", "Name": "Deal", "AccountId": account}
    people.read(gathered, [(ask, [deal, {"Id": "//"}])], by)
    (found,) = gathered.result().found.account_opportunities[account]
    assert (found.opportunity_id, found.contact_id) == ("006000000000001AAA", "")


def test_a_condition_of_opportunities_takes_roles_away():
    """Those that do not meet it are found by no role."""
    by = rules(opportunity_condition="Amount > 5")
    roles = [{"OpportunityId": f"00600000000000{n}", "Opportunity": {}} for n in (1, 2)]
    row = contact(1, "a@x", OpportunityContactRoles={"records": roles})
    gathered, (ask,) = further(row, by=by)
    assert ask.query().soql == (
        "SELECT Id FROM Opportunity WHERE Id IN "
        "('006000000000001AAA','006000000000002AAA') AND (Amount > 5)"
    )
    people.read(gathered, [(ask, [{"Id": "006000000000002"}])], by)
    ((role,),) = gathered.result().found.roles.values()
    assert role.opportunity_id == "006000000000002AAA"


@pytest.mark.parametrize(
    ("website", "host"),
    [
        ("https://www.acme.example/de/", "acme.example"),
        ("acme.example", "acme.example"),
        ("HTTP://ACME.example:8080", "acme.example"),
        ("https://shop.acme.example", "shop.acme.example"),
        ("https://acme.example.evil.example", "acme.example.evil.example"),
        ("https://evil.example/acme.example", "evil.example"),
        ("https://acme.example@evil.example/", "evil.example"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("http://[", ""),
        ("", ""),
    ],
)
def test_the_host_of_a_web_site(website, host):
    """Only the host counts, with or without www."""
    assert people.host_of(website) == host


def test_accounts_are_asked_for_by_the_domain_of_whoever_has_no_record():
    """No free mail, and nobody who was found."""
    schema = described(Account=("Website", "Domain__c"), Contact=("Email",))
    by = rules(schema, accounts=("website", "contacts", "Domain__c"))
    asked = ("a@x", "b@acme.example", "c@gmail.com")
    gathered, asks = further(contact(1, "a@x"), asked=asked, by=by)
    wheres = [ask.query().soql.partition(" WHERE ")[2] for ask in asks]
    assert wheres == [
        "(Website LIKE '%acme.example%')",
        "(Email LIKE '%@acme.example') AND AccountId != null",
        "Domain__c IN ('acme.example')",
    ]
    sfid = "001000000000001"
    rows = (
        [{"Id": sfid, "Website": "acme.example"}, {"Id": sfid, "Website": "not.acme"}],
        [{"AccountId": sfid, "Email": "z@acme.example", "Account": {"Name": "Acme"}}],
        [{"Id": sfid, "Domain__c": "ACME.example "}, {"Id": "//"}],
    )
    people.read(gathered, zip(asks, rows, strict=True), by)
    related = gathered.result().found.related
    assert {key: sorted(r.rule for r in some) for key, some in related.items()} == {
        "acme.example": ["Domain__c", "contacts", "website"]
    }


def test_only_records_that_share_an_address_are_counted():
    """Counting is asked for where the choice depends on it."""
    rows = [contact(1, "a@x"), contact(2, "a@x"), contact(3, "b@x")]
    found = read(contacts(*rows)).found
    asks = people.plan_counts(found, OrgSchema({"Event": {}}))
    assert [len(ask.values) for ask in asks] == [2, 2]
    assert len(people.plan_counts(found, OrgSchema({}))) == 1
    counted = people.read_counts(
        found,
        [
            (asks[0], [{"WhoId": "003000000000001AAA", "total": 2}]),
            (asks[1], [{"WhoId": "003000000000001", "total": 3}, {"WhoId": None}]),
        ],
    )
    assert [c.activity_count for c in counted.candidates["a@x"]] == [5, 0]
    assert counted.candidates["b@x"][0].activity_count is None


def test_users_keep_zone_and_activity():
    """A User without a zone or address is still a User."""
    row = {"Id": "005000000000001", "Name": "U", "Email": "U@X", "IsActive": True}
    (user,) = read((Ask("", (), about=Kind.USERS), [row])).users
    assert (user.email_key, user.is_active, user.time_zone) == ("u@x", True, None)


# ------------------------------------------------------------ remembering


NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
KIM = Candidate("003000000000001AAA", "Contact", "kim@x.example", "Kim", NOON)
ROLE = OpportunityRole("006000000000001AAA", "Deal", KIM.id)
ADA = SalesforceUser("005000000000001AAA", "Ada", "ada@corp.example", True, "UTC")
ANSWER = LookupResult(Found({KIM.email_key: (KIM,)}, {KIM.id: (ROLE,)}), (ADA,))
ASKED = Question((KIM.email_key, "lee@x.example"), (ADA.email_key,), (ADA.id,))
NOTHING = LookupResult(Found({}, {}))


class Clock:
    def __init__(self):
        self.boot_s = 1000.0

    def now(self):
        return NOON

    def boottime_s(self):
        return self.boot_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def cache(clock):
    cache = LookupCache(SalesforceSettings(cache_s=5, cache_negative_s=2), clock)
    _, _, mark = cache.split(ASKED, DEFAULT)
    cache.keep(ASKED, DEFAULT, ANSWER, clock.boot_s, mark)
    return cache


def test_what_was_found_is_not_asked_again(cache):
    """People, their roles, users by address and by id come from memory."""
    known, left, _ = cache.split(ASKED, DEFAULT)
    assert not left
    assert known == ANSWER


def test_each_kind_has_its_time(cache, clock):
    """Nobody is believed for two seconds, somebody for five."""
    clock.boot_s += 2
    known, left, _ = cache.split(ASKED, DEFAULT)
    assert left == Question(("lee@x.example",))
    assert known == ANSWER
    clock.boot_s += 3
    known, left, _ = cache.split(ASKED, DEFAULT)
    assert left == ASKED
    assert known == NOTHING


def test_what_is_asked_anew_is_asked(cache):
    """A person's retry is never answered from memory; its neighbours are."""
    _, left, _ = cache.split(ASKED, DEFAULT, fresh={"lee@x.example", ADA.email_key})
    assert left == Question(("lee@x.example",), (ADA.email_key,))


def test_a_conflict_forgets_everything(cache, clock):
    """Also an answer that was on its way while the org changed is not kept."""
    _, left, mark = cache.split(Question(("max@x.example",)), DEFAULT)
    cache.forget()
    cache.keep(left, DEFAULT, NOTHING, clock.boot_s, mark)
    assert len(cache) == 0


def test_the_time_counts_from_the_question(cache, clock):
    """A slow answer is older than its arrival."""
    asked = Question(("max@x.example",))
    _, _, mark = cache.split(asked, DEFAULT)
    cache.keep(asked, DEFAULT, NOTHING, clock.boot_s - 2, mark)
    assert cache.split(asked, DEFAULT)[1] == asked


def test_zero_seconds_is_no_cache(clock):
    """Whoever wants each mail looked up gets it."""
    cache = LookupCache(SalesforceSettings(cache_s=0, cache_negative_s=0), clock)
    _, _, mark = cache.split(ASKED, DEFAULT)
    cache.keep(ASKED, DEFAULT, ANSWER, clock.boot_s, mark)
    assert cache.split(ASKED, DEFAULT)[1] == ASKED


def test_the_oldest_make_room(clock):
    """A flood of addresses cannot grow the memory."""
    cache = LookupCache(SalesforceSettings(), clock, max_entries=3)
    for number in range(10):
        asked = Question((f"{number}@x.example",))
        cache.keep(asked, DEFAULT, NOTHING, clock.boot_s, 0)
    assert len(cache) == 3
    assert not cache.split(Question(("9@x.example",)), DEFAULT)[1]
    assert cache.split(Question(("0@x.example",)), DEFAULT)[1]


def test_answers_are_joined(cache):
    """What is known and what was asked make one answer."""
    lee = replace(KIM, id="003000000000002AAA", email_key="lee@x.example")
    other = LookupResult(Found({lee.email_key: (lee,)}, {}))
    both = joined((ANSWER, other))
    assert set(both.found.candidates) == {KIM.email_key, lee.email_key}
    assert both.users == (ADA,)


def test_another_rule_asks_anew(cache):
    """Who was found depends on it; users do not."""
    other = rules(objects=("lead",))
    known, left, _ = cache.split(ASKED, other)
    assert left == Question(ASKED.addresses)
    assert known.users == (ADA,)
    assert not cache.split(ASKED, rules())[1]


def test_what_leads_on_is_remembered_with_the_person(clock):
    """Opportunities of the Account, records beside the Contact, and of the domain."""
    cache = LookupCache(SalesforceSettings(), clock)
    account = "001000000000001AAA"
    kim = replace(KIM, account_id=account)
    record = Related("500000000000001AAA", "Case", "1", "Case.ContactId")
    keys = (kim.id, account, kim.email_key, "x.example", "y")
    found = Found(
        {kim.email_key: (kim,)},
        {},
        account_opportunities={account: (replace(ROLE, contact_id=""),)},
        related=dict.fromkeys(keys, (record,)),
    )
    asked = Question((kim.email_key,))
    cache.keep(asked, DEFAULT, LookupResult(found), clock.boot_s, 0)
    known = cache.split(asked, DEFAULT)[0].found
    assert set(known.related) == {*found.related} - {"y"}
    assert known.account_opportunities == found.account_opportunities
