"""Rules of matching, asked in the sandbox over HTTP: what each finds, at what cost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relay.config import MatchSettings, SalesforceSettings
from relay.core.errors import OrgPaused
from relay.salesforce.fits import problem_of
from relay.salesforce.lookup import Lookup

PROJECT = {"name": "Project__c", "prefix": "a01"}
MUTE = {"name": "Mute__c", "prefix": "a02", "activities": False}
FIELDS = [
    {"object": "Contact", "name": "Work_Email__c", "type": "email"},
    {"object": "Contact", "name": "Note__c", "type": "textarea", "length": 1000},
    {"object": "Lead", "name": "Other__c", "length": 80},
    {"object": "Account", "name": "Domain__c", "length": 80},
    {"object": "Project__c", "name": "Email__c", "type": "email"},
    {"object": "Mute__c", "name": "Email__c", "type": "email"},
    {"object": "Project__c", "name": "Contact__c", "type": "reference"}
    | {"refs": ["Contact"]},
    {"object": "Project__c", "name": "Account__c", "type": "reference"}
    | {"refs": ["Account"]},
]
MARA, GRACE = "mara@acme.example", "grace@elm.example"


@pytest.fixture
def world(sandbox):
    """Return the sandbox with custom fields, a custom object and person accounts."""
    sandbox.configure(
        {
            "custom_objects": [PROJECT, MUTE],
            "custom_fields": FIELDS,
            "person_accounts": True,
        }
    )
    return sandbox


@pytest.fixture
def find(org, world):
    """Return a function that looks addresses up by some rules."""

    async def ask(*addresses, **rules):
        result = await org.lookup.find(addresses, match=MatchSettings(**rules))
        return result.found

    return ask


def row(world, name, field, value):
    (found,) = [r for r in world.rows.all(name) if r.get(field) == value]
    return found


def change(world, name, row, **fields):
    world.rows.put(name, {**row, **fields})
    world.rows.commit()


def calls(world):
    """Return the calls that asked for anything but the schema."""
    every = list(world.calls._calls)
    return [c for c in every if c.queries and "describe" not in " ".join(c.urls)]


async def test_custom_fields_are_searched_in_order(find, world):
    """A record is found by any of them; the first that has the address is told."""
    mara = row(world, "Contact", "Email", MARA)
    change(world, "Contact", mara, Work_Email__c="Mara@Work.example")
    fields = ("work_email__c", "Email", "Gone__c", "Note__c")
    found = await find("mara@work.example", MARA, contact_email_fields=fields)
    told = {key: [c.field for c in some] for key, some in found.candidates.items()}
    assert told == {"mara@work.example": ["Work_Email__c"], MARA: ["Email"]}
    assert (await find("mara@work.example")).candidates == {}


async def test_auto_searches_every_field_of_type_email(find, world):
    """Those that describe names; a text field is none."""
    mara, peter = row(world, "Contact", "Email", MARA), "peter@gale.example"
    change(world, "Contact", mara, Work_Email__c="mara@work.example")
    change(world, "Lead", row(world, "Lead", "Email", peter), Other__c="p@x.example")
    auto = {"contact_email_fields": ("auto",), "lead_email_fields": ("auto",)}
    found = await find("mara@work.example", "p@x.example", **auto)
    assert list(found.candidates) == ["mara@work.example"]
    text = calls(world)[-1].queries[0]
    assert "(Email IN ('mara@work.example','p@x.example') OR Work_Email__c IN " in text


async def test_a_field_that_is_gone_since_it_was_described_is_left_out(find, world):
    """The org is described anew, and mail goes on."""
    fields = {"contact_email_fields": ("Work_Email__c", "Email")}
    await find(MARA, **fields)
    world.configure({"custom_fields": FIELDS[1:]})
    assert MARA in (await find(MARA, **fields)).candidates


async def test_person_accounts_are_found_through_their_contact(find, world, org):
    """By the address, as a Contact that a Task can name; switched on and off."""
    (account,) = world.insert_raw(
        "Account",
        [{"Name": "Kim Lee", "IsPersonAccount": True, "PersonEmail": "kim@x.example"}],
    )
    person = {"LastName": "Lee", "Email": "kim@x.example", "AccountId": account}
    (kim,) = world.insert_raw("Contact", [{**person, "IsPersonAccount": True}])
    found = await find("kim@x.example", MARA)
    (one,) = found.candidates["kim@x.example"]
    assert (one.id, one.object, one.person_account) == (kim, "Contact", True)
    without = await find("kim@x.example", MARA, objects=("contact", "lead"))
    assert list(without.candidates) == [MARA]
    alone = await find("kim@x.example", MARA, objects=("person_account",))
    assert list(alone.candidates) == ["kim@x.example"]


async def test_a_converted_lead_is_followed_to_its_contact(find, world):
    """Where the Contact has another address by now; with its Opportunities."""
    lead = row(world, "Lead", "Email", GRACE)
    grace = row(world, "Contact", "Email", GRACE)
    assert lead["ConvertedContactId"] == grace["Id"]
    found = await find(GRACE)
    assert [c.lead_id for c in found.candidates[GRACE]] == [""]
    change(world, "Contact", grace, Email="grace@new.example")
    world.calls.clear()
    found = await find(GRACE)
    (one,) = found.candidates[GRACE]
    assert (one.id, one.lead_id) == (grace["Id"], lead["Id"])
    assert [r.opportunity_name for r in found.roles[one.id]] == [
        "Elm: records migration"
    ]
    assert len(calls(world)) == 2
    assert (await find(GRACE, follow_converted_leads=False)).candidates == {}
    assert (await find(GRACE, contact_condition="Name = 'x'")).candidates == {}
    assert (await find(GRACE, lead_condition="Name = 'x'")).candidates


async def test_opportunities_of_the_account(find, world):
    """Open ones of whoever has a role; the condition holds for both ways."""
    jonas, noah = "jonas.weber@acme.example", "noah@elm.example"
    found = await find(jonas, noah, GRACE, account_opportunities=True)
    (contact,) = found.candidates[GRACE]
    deals = found.account_opportunities[contact.account_id]
    names = {"Elm: records migration", "Elm: training"}
    assert {d.opportunity_name for d in deals} == names
    rules = {"opportunity_condition": "Amount > 10000 AND Name LIKE 'Elm%'"}
    found = await find(jonas, noah, account_opportunities=True, **rules)
    roles = {r.opportunity_name for some in found.roles.values() for r in some}
    assert roles == {"Elm: records migration"}
    (deals,) = found.account_opportunities.values()
    assert [d.opportunity_name for d in deals] == ["Elm: records migration"]


async def test_records_by_look_up_fields(find, world):
    """Cases and custom objects, by Contact or Account, without closed ones."""
    mara = row(world, "Contact", "Email", MARA)
    ids = {"ContactId": mara["Id"]}
    opened, _ = world.insert_raw(
        "Case",
        [
            {**ids, "CaseNumber": "7", "IsClosed": False},
            {**ids, "CaseNumber": "8", "IsClosed": True},
        ],
    )
    (project,) = world.insert_raw(
        "Project__c", [{"Name": "Move", "Account__c": mara["AccountId"]}]
    )
    rules = ("Case.contactid: open", "Project__c.Account__c", "Project__c.Email__c")
    found = await find(MARA, lookups=rules)
    told = {
        key: [(r.id, r.object, r.name, r.rule) for r in some]
        for key, some in found.related.items()
    }
    assert told == {
        mara["Id"]: [(opened, "Case", "7", "Case.contactid: open")],
        mara["AccountId"]: [(project, "Project__c", "Move", "Project__c.Account__c")],
    }


async def test_records_by_an_e_mail_field_of_their_own(find, world):
    """Whether or not anybody has a record under that address."""
    who = "new@nobody.example"
    world.insert_raw("Case", [{"CaseNumber": "7", "SuppliedEmail": who.upper()}])
    world.insert_raw("Project__c", [{"Name": "Move", "Email__c": who}])
    rules = ("Case.SuppliedEmail: open", "Project__c.Email__c")
    world.calls.clear()
    found = await find(who, MARA, more_objects=rules)
    assert [r.object for r in found.related[who]] == ["Case", "Project__c"]
    assert len(calls(world)) == 1


@pytest.mark.parametrize(
    ("ways", "address", "names"),
    [
        (("website",), "x@acme.example", ["Acme Tools"]),
        (("website",), "x@mail.acme.example", []),
        (("website",), "x@cme.example", []),
        (("contacts",), "x@birch.example", ["Birch Bakery"]),
        (("Domain__c",), "x@dune-energy.example", ["Dune Energy"]),
        (("website", "contacts"), "x@cobalt.example", ["Cobalt Shipping"] * 2),
    ],
)
async def test_accounts_by_domain(find, world, ways, address, names):
    """By web site, known Contacts or a field; part of a name is no domain."""
    dune = row(world, "Account", "Name", "Dune Energy")
    change(world, "Account", dune, Domain__c="Dune-Energy.example")
    found = await find(address, accounts=ways)
    assert [r.name for some in found.related.values() for r in some] == names


async def test_a_condition_of_accounts(find):
    """It holds for every way; person accounts are never found so."""
    rules = {"accounts": ("website", "contacts")}
    wanted = "Industry = 'Shipping'"
    found = await find("x@cobalt.example", account_condition=wanted, **rules)
    assert len(found.related["cobalt.example"]) == 2
    found = await find("x@acme.example", account_condition=wanted, **rules)
    assert found.related == {}


async def test_free_mail_finds_no_account(find, world):
    """Anybody may have an address there."""
    world.insert_raw("Account", [{"Name": "G", "Website": "gmail.com"}])
    assert (await find("x@gmail.com", accounts=("website",))).related == {}


async def test_conditions_leave_records_out(find):
    """Of each object by its own; quotes and braces mean what they mean in SOQL."""
    olga = "olga@fjord.example"
    found = await find(
        MARA,
        "tom@birch.example",
        olga,
        contact_condition="Name != 'O\\'Neill {}' AND Title = 'Owner'",
        lead_condition="FirstName = 'O.' OR Company = 'x'",
    )
    assert {key: len(some) for key, some in found.candidates.items()} == {
        "tom@birch.example": 1,
        olga: 1,
    }


# ------------------------------------------------------------ what is refused


CONDITIONS = ("contact", "lead", "opportunity", "account")


@pytest.mark.parametrize("name", CONDITIONS)
async def test_a_condition_is_tried_before_it_is_saved(org, world, name):
    """In the same place of the same query; Salesforce's words are shown."""
    key = f"match.{name}_condition"
    assert await problem_of(org, key, "Name != 'x'") == ""
    assert await problem_of(org, key, "(Name = 'a' OR Name = 'b')") == ""
    said = await problem_of(org, key, "Gone__c = 'x'")
    assert "INVALID_FIELD" in said
    assert "Gone__c" in said
    assert "MALFORMED_QUERY" in await problem_of(org, key, "Name = 'a' AND")


async def test_a_condition_that_is_refused_later_pauses_and_is_named(find, world, org):
    """Nothing is logged on wrong records: mail waits until an admin corrects it."""
    for text in ("Gone__c = 'x'", "Name = 'a' AND"):
        with pytest.raises(OrgPaused, match=r"match\.contact_condition") as caught:
            await find(MARA, "x@y.example", contact_condition=text)
        assert "relay settings unset match.contact_condition" in str(caught.value)
    with pytest.raises(OrgPaused, match=r"match\.opportunity_condition"):
        await find(MARA, opportunity_condition="Gone__c = 'x'")
    assert (await find(MARA)).candidates


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("contact_email_fields", ["Email", "work_email__c", "auto"], ""),
        ("contact_email_fields", ["Nope__c"], "Contact.Nope__c is not there, or"),
        ("contact_email_fields", ["Note__c"], "Contact.Note__c is a textarea, not"),
        ("lead_email_fields", ["Other__c"], ""),
        ("lead_email_fields", ["IsConverted"], "is a boolean, not an e-mail"),
        ("accounts", ["website", "contacts", "domain__c"], ""),
        ("accounts", ["Gone__c"], "Account.Gone__c is not there"),
        ("accounts", ["IsDeleted"], "is a boolean, which holds no domain"),
        ("lookups", ["Case.ContactId: open", "Project__c.Account__c"], ""),
        ("lookups", ["Nope__c.X__c"], "there is no Nope__c"),
        ("lookups", ["Case.OwnerId"], "is no look-up field to Contact or Account"),
        ("lookups", ["Case.Gone__c"], "Case.Gone__c is not there"),
        ("lookups", ["Project__c.Contact__c: open"], "has no IsClosed: leave out"),
        ("more_objects", ["Case.SuppliedEmail", "Project__c.Email__c: newest"], ""),
        ("more_objects", ["Case.Description"], "is a textarea, not an e-mail"),
        ("more_objects", ["Mute__c.Email__c"], "Mute__c takes no activities"),
        ("more_objects", ["Project__c.Email__c: open"], "Project__c has no IsClosed"),
        ("lookups", ["Case.Description"], "is no look-up field to Contact or"),
        ("visibility", "user", ""),
        ("several", "most_activity", ""),
    ],
)
async def test_names_are_checked_by_describe(org, world, key, value, expected):
    """What the org does not have is named, before it is saved and by relay check."""
    said = await problem_of(org, f"match.{key}", value)
    assert (expected in said) if expected else said == ""


async def test_rules_that_find_nothing_are_left_out(find):
    """A field that is missing at run time stops no mail."""
    found = await find(
        MARA,
        "x@y.example",
        contact_email_fields=("Gone__c", "Email"),
        lookups=("Gone__c.A__c", "Case.Gone__c"),
        more_objects=("Case.Description",),
        accounts=("Gone__c",),
    )
    assert MARA in found.candidates


async def test_a_list_without_a_single_field_is_told(find):
    """Rather than find nobody in silence, the question is refused by its field."""
    with pytest.raises(OrgPaused, match="Gone__c"):
        await find(MARA, contact_email_fields=("Gone__c",))


# ------------------------------------------------------------ visibility


async def test_what_a_user_can_read(org, world):
    """Asked for each user, 200 records a query; what is not told is not readable."""
    ada = row(world, "User", "Username", "ada@corp.example")["Id"]
    ben = row(world, "User", "Username", "ben@corp.example")["Id"]
    mara = row(world, "Contact", "Email", MARA)["Id"]
    rows = [{"LastName": f"L{n}"} for n in range(450)]
    many = world.insert_raw("Contact", rows)
    world.configure({"hidden_rows": {ben: [mara]}})
    world.calls.clear()
    gone = "003000000000001AAA"
    found = await org.lookup.readable({ada: [mara, gone], ben: [mara, *many]})
    assert found == {ada: frozenset({mara}), ben: frozenset(many)}
    queries = [text for call in calls(world) for text in call.queries]
    assert len(queries) == 4
    assert len(calls(world)) == 1


async def test_access_that_is_not_told_pauses_and_is_named(org, world, monkeypatch):
    """Nobody's records are guessed at."""
    monkeypatch.setattr(
        "relay.salesforce.people.ACCESS",
        "SELECT RecordId, Gone FROM UserRecordAccess "
        "WHERE UserId = '{}' AND RecordId IN {{}}",
    )
    me = org.access
    with pytest.raises(OrgPaused, match=r"match\.visibility"):
        await org.lookup.readable({await me.me(): [await me.me()]})
    assert "INVALID_FIELD" in await problem_of(org, "match.visibility", "user")


# ------------------------------------------------------------ what it costs


async def test_a_look_up_by_default_is_one_call(find, world):
    """However many people; rules that ask further cost a call each, for all."""
    people = [f"p{n}@x.example" for n in range(40)]
    await find("first@x.example")
    world.calls.clear()
    await find(MARA, GRACE, *people)
    assert len(calls(world)) == 1
    world.calls.clear()
    await find(
        MARA,
        GRACE,
        *people,
        account_opportunities=True,
        opportunity_condition="Amount > 1",
        lookups=("Case.ContactId: open",),
        accounts=("website",),
    )
    assert len(calls(world)) == 2


async def test_an_answer_says_where_it_was_looked_for(org, world):
    """The trace names the fields, and which address was remembered."""
    remembers = SalesforceSettings(cache_s=60.0, cache_negative_s=60.0)
    connection = replace(org.lookup._connection, settings=remembers)
    lookup = Lookup(connection, org.schema)
    rules = MatchSettings(
        contact_email_fields=("Email", "Work_Email__c"),
        more_objects=("Project__c.Email__c",),
    )
    first = await lookup.find((MARA,), match=rules)
    assert first.asked_in == (
        *("Contact.Email", "Contact.Work_Email__c", "Lead.Email"),
        "Project__c.Email__c",
    )
    assert first.cached == frozenset()
    again = await lookup.find((MARA, GRACE), match=rules)
    assert (again.asked_in, again.cached) == (first.asked_in, frozenset({MARA}))
    assert (await lookup.find((MARA,), match=rules)).cached == frozenset({MARA})
