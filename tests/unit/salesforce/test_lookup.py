"""Look-ups: which questions are asked, and what their rows mean."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from relay.config import SalesforceSettings
from relay.core.model import Candidate, Found, OpportunityRole
from relay.core.org import LookupResult, OrgSchema, SalesforceUser
from relay.salesforce import lookup, soql
from relay.salesforce.lookup import Kind, LookupCache, Question, joined
from relay.salesforce.soql import Ask

EVERYTHING = OrgSchema(
    {
        name: {}
        for name in ("Contact", "Lead", "User", "Opportunity", "OpportunityContactRole")
    }
)
STAMP = "2026-01-02T03:04:0{}.000+0000"


def contact(number, address, **more):
    return {
        "Id": f"0030000000000{number:02d}",
        "Name": f"C{number}",
        "Email": address,
        "CreatedDate": STAMP.format(number),
        "AccountId": None,
        **more,
    }


def kinds(asks):
    return [Kind(ask.template) for ask in asks]


def test_contacts_with_roles_leads_and_users_are_asked_for():
    """One question each, as long as they fit."""
    asks = lookup.plan(["a@x"], ["u@x"], ["005000000000001"], EVERYTHING)
    assert kinds(asks) == [
        Kind.CONTACTS_WITH_ROLES,
        Kind.LEADS,
        Kind.USERS,
        Kind.USERS_BY_ID,
    ]
    assert asks[-1].values == ("005000000000001AAA",)
    assert "IsConverted = false" in asks[1].query().soql


def test_objects_that_do_not_exist_are_not_asked_for():
    """An org without Leads or Opportunities is asked for Contacts alone."""
    asks = lookup.plan(["a@x"], [], [], OrgSchema({"Contact": {}}))
    assert kinds(asks) == [Kind.CONTACTS]


def test_what_cannot_be_in_salesforce_is_not_asked_for():
    """Long addresses, control characters and false ids make no question."""
    addresses = ["x" * 79 + "@x", "a\x00@x", "\ud800@x", ""]
    assert lookup.plan(addresses, ["y" * 127 + "@x"], ["//evil"], EVERYTHING) == []


def test_an_internationalised_address_is_asked_for_as_it_may_have_been_typed():
    """Both forms are one address, whichever the record holds; strasse is another."""
    asks = lookup.plan(
        ["a@xn--strae-oqa.x"], ["u@xn--strae-oqa.x"], [], OrgSchema({"Contact": {}})
    )
    assert [ask.values for ask in asks] == [
        ("a@xn--strae-oqa.x", "a@straße.x"),
        ("u@xn--strae-oqa.x", "u@straße.x"),
    ]
    rows = [
        contact(1, "A@Straße.x"),
        contact(2, "a@xn--strae-oqa.x"),
        contact(3, "a@strasse.x"),
        contact(4, "weiß@x"),
        contact(5, "weiss@x"),
    ]
    found = lookup.read([(asks[0], rows)]).found.candidates
    assert {key: [c.name for c in some] for key, some in found.items()} == {
        "a@xn--strae-oqa.x": ["C1", "C2"],
        "a@strasse.x": ["C3"],
        "weiß@x": ["C4"],
        "weiss@x": ["C5"],
    }


def test_an_address_is_asked_for_once():
    """Duplicates cost nothing."""
    asks = lookup.plan(["a@x", "b@x", "a@x"], [], [], EVERYTHING)
    assert asks[0].values == ("a@x", "b@x")


def test_questions_stay_short():
    """Any number of addresses is cut to questions that fit into a URL."""
    asks = lookup.plan(
        [f"o'neil{n}@x.example" for n in range(3000)], [], [], EVERYTHING
    )
    for ask in asks:
        assert len(soql.encoded(ask.query().soql)) <= soql.MAX_ENCODED


def test_halves_cover_the_whole():
    """Halving ends at one value and loses none."""
    ask = Ask(Kind.LEADS.value, ("a", "b", "c"))
    assert [half.values for half in ask.halves()] == [("a",), ("b", "c")]
    assert Ask(Kind.LEADS.value, ("a",)).halves() == []


def test_rows_become_candidates_oldest_first():
    """The order of rows does not matter."""
    rows = [contact(n, "A@X.example") for n in range(1, 8)]
    random.Random(1).shuffle(rows)
    found = lookup.read([(Ask(Kind.CONTACTS.value, ()), rows)]).found
    names = [c.name for c in found.candidates["a@x.example"]]
    assert names == [f"C{n}" for n in range(1, 8)]


def test_roles_are_told_once_each():
    """Two roles on one Opportunity are one way to it; strange children are left out."""
    role = {"OpportunityId": "006000000000001", "Opportunity": {"Name": "Deal"}}
    children = {"records": [role, role, {"OpportunityId": "//evil"}, 7, {}]}
    row = contact(1, "a@x", OpportunityContactRoles=children)
    other = contact(2, "a@x", OpportunityContactRoles=None)
    result = lookup.read([(Ask(Kind.CONTACTS_WITH_ROLES.value, ()), [row, other])])
    ((sfid, roles),) = result.found.roles.items()
    assert sfid == "003000000000001AAA"
    assert [(r.opportunity_id, r.opportunity_name) for r in roles] == [
        ("006000000000001AAA", "Deal")
    ]


def test_rows_that_make_no_sense_are_left_out():
    """A row without valid id or address finds nobody."""
    rows = [contact(1, None), {**contact(2, "a@x"), "Id": "//evil"}, {}]
    assert lookup.read([(Ask(Kind.LEADS.value, ()), rows)]).found.candidates == {}


def test_only_records_that_share_an_address_are_counted():
    """Counting is asked for where the choice depends on it."""
    rows = [contact(1, "a@x"), contact(2, "a@x"), contact(3, "b@x")]
    found = lookup.read([(Ask(Kind.CONTACTS.value, ()), rows)]).found
    asks = lookup.plan_counts(found)
    assert [len(ask.values) for ask in asks] == [2, 2]
    counted = lookup.read_counts(
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
    (user,) = lookup.read([(Ask(Kind.USERS.value, ()), [row])]).users
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
    _, _, mark = cache.split(ASKED)
    cache.keep(ASKED, ANSWER, clock.boot_s, mark)
    return cache


def test_what_was_found_is_not_asked_again(cache):
    """People, their roles, users by address and by id come from memory."""
    known, left, _ = cache.split(ASKED)
    assert not left
    assert known == ANSWER


def test_each_kind_has_its_time(cache, clock):
    """Nobody is believed for two seconds, somebody for five."""
    clock.boot_s += 2
    known, left, _ = cache.split(ASKED)
    assert left == Question(("lee@x.example",))
    assert known == ANSWER
    clock.boot_s += 3
    known, left, _ = cache.split(ASKED)
    assert left == ASKED
    assert known == NOTHING


def test_what_is_asked_anew_is_asked(cache):
    """A person's retry is never answered from memory; its neighbours are."""
    _, left, _ = cache.split(ASKED, fresh={"lee@x.example", ADA.email_key})
    assert left == Question(("lee@x.example",), (ADA.email_key,))


def test_a_conflict_forgets_everything(cache, clock):
    """Also an answer that was on its way while the org changed is not kept."""
    _, left, mark = cache.split(Question(("max@x.example",)))
    cache.forget()
    cache.keep(left, NOTHING, clock.boot_s, mark)
    assert len(cache) == 0


def test_the_time_counts_from_the_question(cache, clock):
    """A slow answer is older than its arrival."""
    asked = Question(("max@x.example",))
    _, _, mark = cache.split(asked)
    cache.keep(asked, NOTHING, clock.boot_s - 2, mark)
    assert cache.split(asked)[1] == asked


def test_zero_seconds_is_no_cache(clock):
    """Whoever wants each mail looked up gets it."""
    cache = LookupCache(SalesforceSettings(cache_s=0, cache_negative_s=0), clock)
    _, _, mark = cache.split(ASKED)
    cache.keep(ASKED, ANSWER, clock.boot_s, mark)
    assert cache.split(ASKED)[1] == ASKED


def test_the_oldest_make_room(clock):
    """A flood of addresses cannot grow the memory."""
    cache = LookupCache(SalesforceSettings(), clock, max_entries=3)
    for number in range(10):
        asked = Question((f"{number}@x.example",))
        cache.keep(asked, NOTHING, clock.boot_s, 0)
    assert len(cache) == 3
    assert not cache.split(Question(("9@x.example",)))[1]
    assert cache.split(Question(("0@x.example",)))[1]


def test_answers_are_joined(cache):
    """What is known and what was asked make one answer."""
    lee = replace(KIM, id="003000000000002AAA", email_key="lee@x.example")
    other = LookupResult(Found({lee.email_key: (lee,)}, {}))
    both = joined(ANSWER, other)
    assert set(both.found.candidates) == {KIM.email_key, lee.email_key}
    assert both.users == (ADA,)
