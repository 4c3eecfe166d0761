from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from tests.fakes.soql_source import make_id

EVE, MAX, NOBODY = (make_id("Contact", number) for number in (1, 2, 3))
ACME = make_id("Account", 1)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("Email = 'EVE@acme.EXAMPLE'", ["Eve"]),
        ("Email != 'eve@acme.example'", ["Max", "No"]),
        ("Email <> 'eve@acme.example'", ["Max", "No"]),
        ("Email = null", ["No"]),
        ("Email = ''", ["No"]),
        ("Email != NULL", ["Eve", "Max"]),
        ("Email IN ('eve@acme.example', 'x@y.example')", ["Eve"]),
        ("Email IN ('eve@acme.example', null)", ["Eve", "No"]),
        ("Email NOT IN ('eve@acme.example')", ["Max", "No"]),
        ("Email < 'F'", ["Eve"]),
        ("Email >= 'F'", ["Max"]),
        ("Email LIKE '%@ACME.example'", ["Eve", "Max"]),
        ("Email LIKE 'e_e@%'", ["Eve"]),
        ("Email LIKE '%'", ["Eve", "Max"]),
        ("Email LIKE 'eve'", []),
        ("(NOT Email LIKE 'eve%')", ["Max", "No"]),
        ("Title LIKE '100\\%\\_%'", ["No"]),
        ("Title LIKE '1_0%sure'", ["No"]),
        ("Title LIKE '%sure%sure'", []),
        ("Name = 'Eve O\\'Neil'", ["Eve"]),
        ("HasOptedOutOfEmail = true", ["Eve"]),
        ("HasOptedOutOfEmail = false", ["Max", "No"]),
        ("HasOptedOutOfEmail != true", ["Max", "No"]),
        ("Account.Name = 'ACME'", ["Eve"]),
        ("Account.Name = null", ["No"]),
        ("Account.Name != 'acme'", ["Max", "No"]),
        ("Account.Parent.Name = 'acme'", ["Max"]),
        ("Account.Owner.Manager.Name = 'Bo Boss'", ["Eve"]),
        ("Account.Owner.IsActive = false", ["No"]),
        ("Contact.Email = 'max@acme.example'", ["Max"]),
        ("Email = 'max@acme.example' OR Account.Name = null", ["Max", "No"]),
        (f"Id = '{EVE}'", ["Eve"]),
        (f"Id = '{EVE[:15]}'", ["Eve"]),
        (f"Id > '{EVE}'", ["Max", "No"]),
        (f"AccountId = '{ACME[:15]}'", ["Eve"]),
        ("AccountId = null", ["No"]),
        (f"AccountId NOT IN ('{ACME}')", ["Max", "No"]),
        ("CreatedDate = 2026-01-02T03:04:05Z", ["Eve", "Max", "No"]),
        ("CreatedDate = 2026-01-02T04:04:05+01:00", ["Eve", "Max", "No"]),
        ("CreatedDate > 2026-01-02T03:04:05Z", []),
        ("CreatedDate >= 2026-01-02T03:04:05.000Z", ["Eve", "Max", "No"]),
        ("CreatedDate IN (2026-01-02T03:04:05Z)", ["Eve", "Max", "No"]),
        ("CreatedDate NOT IN (2026-01-02T03:04:06Z)", ["Eve", "Max", "No"]),
        ("IsDeleted = true", []),
        ("Id IN (SELECT ContactId FROM OpportunityContactRole)", ["Eve", "Max"]),
        (
            (
                "Id IN (SELECT ContactId FROM OpportunityContactRole "
                "WHERE Opportunity.IsClosed = true)"
            ),
            ["Eve"],
        ),
        ("Id NOT IN (SELECT ContactId FROM OpportunityContactRole)", ["No"]),
        (
            (
                "AccountId IN (SELECT Id FROM Account WHERE Name = 'acme') "
                "AND Email LIKE '%'"
            ),
            ["Eve"],
        ),
        ("AccountId NOT IN (SELECT Id FROM Account WHERE Name = 'x')", None),
    ],
)
@pytest.mark.parametrize("indexed", [False, True])
def test_conditions(names, org, condition, expected, indexed):
    """Each condition picks the rows that Salesforce would, with an index or without."""
    org.indexed = indexed
    expected = ["Eve", "Max", "No"] if expected is None else expected
    found = names(f"SELECT Name FROM Contact WHERE {condition}")
    assert [name.split()[0] for name in found] == expected


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("CloseDate = 2026-05-13", ["Big deal"]),
        ("CloseDate != 2026-05-13", ["Old deal", "Open end"]),
        ("CloseDate < 2026-05-13", ["Old deal"]),
        ("CloseDate <= 2026-05-13", ["Big deal", "Old deal"]),
        ("CloseDate > 2026-05-13", ["Open end"]),
        ("CloseDate >= 2026-05-13", ["Big deal", "Open end"]),
        ("CloseDate IN (2026-05-13, 2026-04-30)", ["Big deal", "Old deal"]),
        ("CloseDate NOT IN (2026-05-13, 2026-04-30)", ["Open end"]),
        ("Amount > 100", ["Big deal"]),
        ("Amount >= 100.0", ["Big deal", "Old deal"]),
        ("Amount = 300", ["Big deal"]),
        ("Amount IN (100, 300.0)", ["Big deal", "Old deal"]),
        ("Amount = null", ["Open end"]),
        ("Amount != 300", ["Old deal", "Open end"]),
        ("StageName = 'prospecting' AND IsClosed = FALSE", ["Big deal", "Open end"]),
    ],
)
def test_dates_and_numbers(names, condition, expected):
    """Dates and numbers compare by value."""
    assert names(f"SELECT Name FROM Opportunity WHERE {condition}") == expected


def test_stored_datetime_objects(names, org):
    """Rows may hold datetimes and dates of Python as well as text."""
    org.tables["Task"].clear()
    zone = timezone(timedelta(hours=2))
    org.add(
        "Task",
        1,
        Subject="a",
        CreatedDate=datetime(2026, 3, 1, 1, 30, tzinfo=zone),
        ActivityDate=datetime(2026, 3, 1).date(),  # noqa: DTZ001 - the day is meant
    )
    text = "SELECT {} FROM Task WHERE CreatedDate = 2026-02-28T23:30:00Z"
    assert names(text.format("CreatedDate")) == ["2026-02-28T23:30:00.000+0000"]
    assert names("SELECT ActivityDate FROM Task WHERE ActivityDate > 2026-02-28") == [
        "2026-03-01"
    ]


def test_mixed_parents(names):
    """Behind Who, What and a queue's Owner stands the `Name` object."""
    text = "SELECT Subject FROM Task WHERE {}"
    assert names(text.format("Who.Type = 'Lead'")) == ["Call"]
    assert names(text.format("Who.Type = 'contact'")) == ["Email: Hi"]
    assert names(text.format("What.Type IN ('Opportunity')")) == ["Email: Hi"]
    assert names(text.format("What.Type = null")) == ["Call"]
    assert names(text.format("Who.Email = 'eve@acme.example'")) == ["Email: Hi"]
    assert names(text.format("Owner.Name = 'inbox'")) == ["Call"]


def test_case_of_15_characters(names):
    """A 15-character id counts its case: in another case it is another record."""
    assert names("SELECT Name FROM Contact WHERE AccountId = '00100000000000a'") == []


def test_sharp_s_is_not_ss(names, org):
    """Case is ignored, spelling is not."""
    org.add("Contact", 9, Name="Straße", Email="a@straße.example")
    assert names("SELECT Name FROM Contact WHERE Name = 'STRASSE'") == []
    assert names("SELECT Name FROM Contact WHERE Name = 'STRAßE'") == ["Straße"]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("Email = 1", "must be of type email and should be enclosed in quotes"),
        ("Email = TRUE", "must be of type email and should be enclosed in quotes"),
        ("Email IN ('a', 1)", "must be of type email and should be enclosed in"),
        ("Email = 2026-01-01", "must be of type email and should be enclosed in"),
        ("Id = 3", "must be of type ID and should be enclosed in quotes"),
        ("AccountId = 3", "must be of type reference and should be enclosed"),
        ("CreatedDate > '2026-01-01T00:00:00Z'", "must be of type dateTime and should"),
        ("CreatedDate > 2026-01-01", "must be of type dateTime and should not be"),
        ("HasOptedOutOfEmail = 'true'", "must be of type boolean and should not be"),
        ("HasOptedOutOfEmail = 1", "must be of type boolean and should not be"),
        ("HasOptedOutOfEmail = null", "must be of type boolean and should not be"),
        ("Description = 'a'", "field 'Description' can not be filtered in a query"),
        ("Description LIKE '%a%'", "field 'Description' can not be filtered"),
        ("Description != null", "field 'Description' can not be filtered"),
        ("Description IN ('a')", "field 'Description' can not be filtered"),
        ("Account.Description = 'a'", "field 'Description' can not be filtered"),
        ("Nope = 'a'", "No such column 'Nope' on entity 'Contact'"),
        ("Account.Nope = 'a'", "No such column 'Nope' on entity 'Account'"),
        ("Account = 'a'", "No such column 'Account' on entity 'Contact'"),
        ("Nope.Name = 'a'", "Didn't understand relationship 'Nope' in field path"),
        ("Account.Nope.Name = 'a'", "Didn't understand relationship 'Nope'"),
        ("x.Email = 'a'", "Didn't understand relationship 'x' in field path"),
    ],
)
def test_invalid_field(refusal, condition, expected):
    """A name or a type that does not fit is INVALID_FIELD, in Salesforce's words."""
    error = refusal(f"SELECT Id FROM Contact WHERE {condition}")
    assert error.code == "INVALID_FIELD"
    assert expected in error.message


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("Amount > '100'", "must be of type currency and should not be enclosed"),
        ("Probability = '1'", "must be of type percent and should not be enclosed"),
        ("CloseDate > '2026-01-01'", "must be of type date and should not be"),
        ("CloseDate > 2026-01-01T00:00:00Z", "must be of type date and should not"),
        ("Account.NumberOfEmployees > 1.5", "must be of type int and should not be"),
    ],
)
def test_types_of_numbers_and_dates(refusal, condition, expected):
    """Numbers and dates stand unquoted and in their own form."""
    error = refusal(f"SELECT Id FROM Opportunity WHERE {condition}")
    assert error.code == "INVALID_FIELD"
    assert expected in error.message


@pytest.mark.parametrize(
    "condition",
    [
        "Id = 'abc'",
        "Id = ''",
        f"Id = '{EVE[:17]}'",
        f"Id = '{EVE[:15]}XXX'",
        f"Id = '{EVE.lower()}'",
        f"AccountId IN ('{ACME}', 'nope')",
        "Account.OwnerId = '005'",
        "Id LIKE '003%'",
        "AccountId LIKE '001%'",
        "CreatedDate LIKE '2026%'",
        "HasOptedOutOfEmail > false",
        "HasOptedOutOfEmail LIKE 'true'",
        "Email > null",
    ],
)
def test_filter_operators(refusal, condition):
    """Malformed ids and operators that a type lacks have their own code."""
    error = refusal(f"SELECT Id FROM Contact WHERE {condition}")
    assert error.code == "INVALID_QUERY_FILTER_OPERATOR"


def test_invalid_id_text(refusal):
    """The message for a malformed id names it."""
    error = refusal("SELECT Id FROM Contact WHERE Id = 'xyz'")
    assert "invalid ID field: xyz" in error.message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            (
                "SELECT Id FROM Account WHERE Name = 'a' OR "
                "Id IN (SELECT AccountId FROM Contact)"
            ),
            "not allowed with the 'OR' operator",
        ),
        (
            "SELECT Id FROM Account WHERE NOT Id IN (SELECT AccountId FROM Contact)",
            "not allowed with the 'NOT' operator",
        ),
        (
            (
                "SELECT Id FROM Account WHERE Name = 'a' AND (Name = 'b' OR "
                "Id IN (SELECT AccountId FROM Contact))"
            ),
            "only allowed at the top level",
        ),
        (
            "SELECT Id FROM Contact WHERE Account.OwnerId IN (SELECT Id FROM User)",
            "through a relationship",
        ),
        (
            "SELECT Id FROM Account WHERE Id IN (SELECT Account.Id FROM Contact)",
            "through a relationship",
        ),
        (
            "SELECT Id FROM Account WHERE Name IN (SELECT Id FROM Contact)",
            "left operand 'Name'",
        ),
        (
            "SELECT Id FROM Account WHERE Id IN (SELECT Name FROM Contact)",
            "The selected field 'Name'",
        ),
        (
            "SELECT Id FROM Account WHERE Id IN (SELECT OwnerId FROM Contact)",
            "should point to the same object type",
        ),
        (
            "SELECT Id FROM Account WHERE Id IN (SELECT ParentId FROM Account)",
            "should not be on the same object type",
        ),
        (
            "SELECT Id FROM Contact WHERE Id IN (SELECT WhoId FROM Task)",
            "Entity 'Task' is not supported for semi join inner selects",
        ),
        ("SELECT Id FROM Contact WHERE COUNT(Id) > 1", "not allowed in WHERE"),
    ],
)
def test_semi_join_limits(refusal, text, expected):
    """Joins that Salesforce cannot make are malformed."""
    error = refusal(text)
    assert error.code == "MALFORMED_QUERY"
    assert expected in error.message


def test_required_filters(refusal, names, org):
    """Some objects answer only to a filter on one of their ids (item 29)."""
    document, linked = "0690000000000010AA", make_id("Task", 1)
    org.add("ContentDocumentLink", 1, LinkedEntityId=linked)
    start = "SELECT LinkedEntityId FROM ContentDocumentLink"
    for where in (
        "",
        " WHERE IsDeleted = false",
        f" WHERE LinkedEntityId != '{linked}'",
        f" WHERE LinkedEntityId NOT IN ('{linked}')",
        f" WHERE LinkedEntityId = '{linked}' OR IsDeleted = false",
        " WHERE LinkedEntityId = null",
        " WHERE LinkedEntityId LIKE 'a%'",
    ):
        assert refusal(start + where).code in {
            "MALFORMED_QUERY",
            "INVALID_QUERY_FILTER_OPERATOR",
        }
    error = refusal(start)
    assert "ContentDocumentId or LinkedEntityId" in error.message
    assert names(f"{start} WHERE LinkedEntityId = '{linked}'") == [linked]
    assert names(f"{start} WHERE IsDeleted = false AND LinkedEntityId IN ('{linked}')")
    assert document  # ids of unknown objects are well-formed as well


def test_five_levels(refusal, ask):
    """A path goes up five levels and no more."""
    up = "Manager." * 5
    ask(f"SELECT Id FROM User WHERE {up}Name = 'a'")
    error = refusal(f"SELECT Id FROM User WHERE Manager.{up}Name = 'a'")
    assert error.code == "MALFORMED_QUERY"


def test_index_is_used(names, org):
    """A top-level `=` or IN is answered by the index, an id's before a text's."""
    org.indexed = True
    assert names(
        f"SELECT Name FROM Contact WHERE Email IN ('EVE@acme.example') AND Id = '{EVE}'"
    ) == ["Eve O'Neil"]
    assert org.looked_up == [("Contact", "Id", frozenset({EVE}))]
    org.looked_up.clear()
    names("SELECT Name FROM Contact WHERE Email IN ('EVE@acme.example', 'b@x')")
    assert org.looked_up == [
        ("Contact", "Email", frozenset({"eve@acme.example", "b@x"}))
    ]
    assert not org.scanned


@pytest.mark.parametrize(
    "condition",
    [
        "Email = 'a' OR Email = 'b'",
        "(NOT Email = 'a')",
        "Email != 'a'",
        "Email IN ('a', null)",
        "Account.Name = 'a'",
        "Email LIKE 'a'",
    ],
)
def test_index_is_not_used(names, org, condition):
    """Where an index could lose rows, all of them are read."""
    org.indexed = True
    names(f"SELECT Name FROM Contact WHERE {condition}")
    assert org.scanned == ["Contact"]
    assert not org.looked_up


@pytest.mark.timeout(5)
def test_wild_patterns_stay_fast(names, org):
    """No LIKE pattern makes a query slow."""
    org.add("Contact", 9, Name="a" * 3000)
    assert names(f"SELECT Id FROM Contact WHERE Name LIKE '{'%a' * 1500}%b'") == []
