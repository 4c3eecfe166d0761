from __future__ import annotations

import json

import pytest

from relay.sandbox.soql import Result
from tests.fakes.cpu import assert_cpu_below
from tests.fakes.soql_source import make_id

EVE, MAX, NOBODY = (make_id("Contact", number) for number in (1, 2, 3))
ACME, LABS = (make_id("Account", number) for number in (1, 2))
URL = "/services/data/v66.0/sobjects/"


def test_record(ask):
    """A record has type and URL, then its fields as describe spells them, in order."""
    result = ask(
        "select email, ID, hasOptedOutOfEmail from CONTACT where name like 'E%'"
    )
    assert result == Result(
        [
            {
                "attributes": {"type": "Contact", "url": f"{URL}Contact/{EVE}"},
                "Email": "Eve@Acme.example",
                "Id": EVE,
                "HasOptedOutOfEmail": True,
            }
        ],
        1,
    )
    assert list(result.records[0]) == [
        "attributes",
        "Email",
        "Id",
        "HasOptedOutOfEmail",
    ]


def test_missing_values(ask):
    """What a row lacks is null, a checkbox is never null."""
    record = ask("SELECT Phone, HasOptedOutOfEmail FROM Contact LIMIT 1").records
    assert record[0]["Phone"] is None
    assert record[0]["HasOptedOutOfEmail"] in (True, False)


def test_parents(ask):
    """Fields of a parent are nested; a parent that is not there is null."""
    result = ask(
        "SELECT Name, Account.Name, Account.Parent.Id, Account.Id FROM Contact "
        "ORDER BY Name"
    )
    eve, max_, nobody = result.records
    assert eve["Account"] == {
        "attributes": {"type": "Account", "url": f"{URL}Account/{ACME}"},
        "Name": "Acme",
        "Parent": None,
        "Id": ACME,
    }
    assert max_["Account"]["Parent"]["Id"] == ACME
    assert nobody["Account"] is None


def test_mixed_parents(ask):
    """A parent of several possible objects is shown as `Name` with its own URL."""
    result = ask(
        "SELECT Who.Name, Who.Type, Who.Title, What.Name, Owner.Name FROM Task "
        "ORDER BY Subject"
    )
    call, mail = result.records
    lead = make_id("Lead", 1)
    assert call["Who"] == {
        "attributes": {"type": "Name", "url": f"{URL}Lead/{lead}"},
        "Name": "Lea Der",
        "Type": "Lead",
        "Title": None,
    }
    assert call["What"] is None
    assert call["Owner"]["Name"] == "Inbox"
    assert mail["Who"]["Type"] == "Contact"
    assert mail["What"]["Name"] == "Big deal"


def test_name_object_is_small(refusal):
    """Behind a mixed parent there are only the shared fields, and no further parent."""
    error = refusal("SELECT Who.AccountId FROM Task")
    assert (error.code, "on entity 'Name'" in error.message) == ("INVALID_FIELD", True)
    assert refusal("SELECT Who.Account.Name FROM Task").code == "INVALID_FIELD"
    assert refusal("SELECT Gone.Name FROM Task").code == "INVALID_FIELD"


def test_special_values(ask, org):
    """Addresses are objects, blobs are URLs."""
    version = org.add("ContentVersion", 1, VersionData=b"bytes")
    result = ask("SELECT VersionData FROM ContentVersion")
    assert result.records[0]["VersionData"] == (
        f"{URL}ContentVersion/{version}/VersionData"
    )
    result = ask("SELECT BillingAddress FROM Account WHERE Name = 'acme'")
    assert result.records[0]["BillingAddress"] == {"city": "Berlin"}


def test_children(ask):
    """A child sub-query answers with records of its own, or null."""
    result = ask(
        "SELECT Name, (SELECT Opportunity.Name, IsPrimary FROM OpportunityContactRoles "
        "WHERE Opportunity.IsClosed = false ORDER BY Id) FROM Contact ORDER BY Name"
    )
    eve, max_, nobody = (row["OpportunityContactRoles"] for row in result.records)
    assert eve["totalSize"] == 1
    assert eve["done"] is True
    record = eve["records"][0]
    assert record["attributes"]["type"] == "OpportunityContactRole"
    assert record["Opportunity"]["Name"] == "Big deal"
    assert record["IsPrimary"] is True
    assert max_["records"][0]["IsPrimary"] is False
    assert nobody is None
    assert json.dumps(result.records)


@pytest.mark.parametrize("indexed", [False, True])
def test_children_of_each_parent(ask, org, indexed):
    """ORDER BY and LIMIT of a child sub-query hold for each parent."""
    org.indexed = indexed
    result = ask(
        "SELECT Name, (SELECT CloseDate FROM Account.Opportunities "
        "ORDER BY CloseDate DESC LIMIT 1), (SELECT Id FROM Contacts) "
        "FROM Account ORDER BY Name"
    )
    dates = [
        [deal["CloseDate"] for deal in row["Opportunities"]["records"]]
        for row in result.records
    ]
    assert dates == [["2026-05-13"], ["2026-06-01"]]
    assert list(result.records[0]) == [
        "attributes",
        "Name",
        "Opportunities",
        "Contacts",
    ]


def test_children_with_required_filter(ask, org):
    """The relationship itself is the filter that an object insists on."""
    org.add("ContentDocumentLink", 1, LinkedEntityId=EVE)
    result = ask("SELECT Name, (SELECT Id FROM ContentDocumentLinks) FROM Contact")
    sizes = {
        row["Name"]: links and links["totalSize"]
        for row in result.records
        for links in [row["ContentDocumentLinks"]]
    }
    assert sizes == {"Eve O'Neil": 1, "Max Muster": None, "No Account": None}


@pytest.mark.parametrize(
    ("text", "code", "expected"),
    [
        ("SELECT Id FROM Nope", "INVALID_TYPE", "sObject type 'Nope' is not supported"),
        ("SELECT Id FROM Account.Contacts", "INVALID_TYPE", "is not supported"),
        ("SELECT Nope FROM Contact", "INVALID_FIELD", "No such column 'Nope'"),
        ("SELECT Account FROM Contact", "INVALID_FIELD", "No such column 'Account'"),
        ("SELECT Contact FROM Contact", "INVALID_FIELD", "No such column 'Contact'"),
        ("SELECT TaskWhoIds FROM Task", "INVALID_FIELD", "No such column 'TaskWhoIds'"),
        ("SELECT Id, id FROM Contact", "INVALID_FIELD", "duplicate field selected: id"),
        (
            "SELECT Id, Contact.Id FROM Contact",
            "INVALID_FIELD",
            "duplicate field selected: Contact.Id",
        ),
        (
            "SELECT Account.Name, Account.Name FROM Contact",
            "INVALID_FIELD",
            "duplicate field selected: Account.Name",
        ),
        (
            "SELECT (SELECT Id FROM Tasks), (SELECT Id FROM Tasks) FROM Contact",
            "INVALID_FIELD",
            "duplicate field selected: Tasks",
        ),
        (
            "SELECT (SELECT Id FROM Nopes) FROM Contact",
            "INVALID_TYPE",
            "Didn't understand relationship 'Nopes' in FROM part of query call",
        ),
        (
            "SELECT (SELECT Id FROM Contact) FROM Account",
            "INVALID_TYPE",
            "Didn't understand relationship 'Contact'",
        ),
        (
            "SELECT (SELECT Id FROM Hidden) FROM Opportunity",
            "INVALID_TYPE",
            "'Nowhere' is not supported",
        ),
        ("SELECT (SELECT Nope FROM Tasks) FROM Contact", "INVALID_FIELD", "'Nope'"),
        (
            "SELECT Id FROM Contact ORDER BY Description",
            "INVALID_FIELD",
            "field 'Description' can not be sorted in a query call",
        ),
        (
            "SELECT Id FROM Contact ORDER BY COUNT(Id)",
            "MALFORMED_QUERY",
            "must be grouped or aggregated",
        ),
        (
            "SELECT Description FROM Contact GROUP BY Description",
            "INVALID_FIELD",
            "field 'Description' can not be grouped in a query call",
        ),
        (
            "SELECT Name FROM Contact GROUP BY AccountId",
            "MALFORMED_QUERY",
            "Field must be grouped or aggregated: Name",
        ),
        (
            "SELECT Name, COUNT(Id) FROM Contact",
            "MALFORMED_QUERY",
            "Field must be grouped or aggregated: Name",
        ),
        (
            "SELECT AccountId, COUNT(Id) AccountId FROM Contact GROUP BY AccountId",
            "MALFORMED_QUERY",
            "duplicate alias: AccountId",
        ),
        (
            "SELECT COUNT(HasOptedOutOfEmail) FROM Contact GROUP BY Name",
            "MALFORMED_QUERY",
            "does not support aggregate operator COUNT",
        ),
    ],
)
def test_refusals(refusal, text, code, expected):
    """Names and fields that do not fit are refused in Salesforce's words."""
    error = refusal(text)
    assert error.code == code
    assert expected in error.message


def test_wrong_names_fail_over_no_rows(refusal, org):
    """A wrong query fails even when there is nothing to read."""
    org.tables.clear()
    assert refusal("SELECT Nope FROM Contact").code == "INVALID_FIELD"
    assert refusal("SELECT Id FROM Contact ORDER BY Nope").code == "INVALID_FIELD"
    text = "SELECT (SELECT Nope FROM Tasks) FROM Contact"
    assert refusal(text).code == "INVALID_FIELD"


def test_aliases(names, refusal):
    """The FROM object's alias and its own name may stand before a field."""
    text = "SELECT c.Name FROM Contact c WHERE c.Account.Name = 'acme' ORDER BY c.Name"
    assert names(text) == ["Eve O'Neil"]
    assert names("SELECT Contact.Name FROM Contact LIMIT 1")
    assert refusal("SELECT d.Name FROM Contact c").code == "INVALID_FIELD"


def test_order(ask):
    """ORDER BY ignores case, and nulls come first unless asked for last."""

    def ordered(order):
        result = ask(f"SELECT Name, Email FROM Contact ORDER BY {order}")
        return [record["Name"].split()[0] for record in result.records]

    assert ordered("Email") == ["No", "Eve", "Max"]
    assert ordered("Email ASC NULLS LAST") == ["Eve", "Max", "No"]
    assert ordered("Email DESC") == ["No", "Max", "Eve"]
    assert ordered("Email DESC NULLS LAST") == ["Max", "Eve", "No"]
    assert ordered("Account.Name DESC NULLS LAST") == ["Max", "Eve", "No"]
    assert ordered("CreatedDate, Name DESC") == ["No", "Max", "Eve"]


def test_unordered_is_shuffled(ask, org):
    """Without ORDER BY, and among ties, the order changes from call to call (31)."""
    for number in range(10, 40):
        org.add("Contact", number, Name="Same")
    orders = {
        tuple(
            record["Id"]
            for record in ask(
                f"SELECT Id FROM Contact WHERE Name = 'same'{end}"
            ).records
        )
        for end in ["", " ORDER BY Name"]
        for _ in range(5)
    }
    assert len(orders) == 10


def test_limit(ask):
    """LIMIT cuts, and totalSize counts what is left."""
    result = ask("SELECT Name FROM Contact ORDER BY Name LIMIT 2")
    names = [record["Name"] for record in result.records]
    assert names == ["Eve O'Neil", "Max Muster"]
    assert result.total_size == 2
    assert ask("SELECT Id FROM Contact LIMIT 0") == Result([], 0)


def test_count(ask):
    """`COUNT()` answers with a size and no records."""
    assert ask("SELECT COUNT() FROM Contact") == Result([], 3)
    assert ask("SELECT COUNT() FROM Contact LIMIT 2") == Result([], 2)
    assert ask("SELECT COUNT() FROM Contact WHERE Email = null") == Result([], 1)


def test_groups(ask):
    """GROUP BY makes a record of each group; COUNT of a field skips nulls."""
    result = ask(
        "SELECT StageName stage, COUNT(Id) n, COUNT(Amount), COUNT(Name) "
        "FROM Opportunity GROUP BY StageName"
    )
    assert sorted(result.records, key=lambda record: record["stage"]) == [
        {
            "attributes": {"type": "AggregateResult"},
            "stage": stage,
            "n": n,
            "expr0": amounts,
            "expr1": n,
        }
        for stage, n, amounts in [("Closed Won", 1, 1), ("Prospecting", 2, 1)]
    ]
    assert result.total_size == 2
    result = ask(
        "SELECT Account.Name, StageName, COUNT(Id) n FROM Opportunity "
        "GROUP BY Account.Name, StageName"
    )
    assert sorted(
        (record["Name"], record["StageName"], record["n"]) for record in result.records
    ) == [
        ("Acme", "Closed Won", 1),
        ("Acme", "Prospecting", 1),
        ("acme Labs", "Prospecting", 1),
    ]


def test_groups_of_nothing(ask):
    """Over no rows there is no group."""
    where = "FROM Opportunity WHERE Name = 'none'"
    assert ask(f"SELECT COUNT(Id) {where} GROUP BY StageName") == Result([], 0)


def test_deleted_and_archived(names):
    """`query` hides deleted and archived rows, `queryAll` shows them (31)."""
    text = "SELECT Subject FROM Task"
    assert names(text) == ["Call", "Email: Hi"]
    assert names(text, all_rows=True) == ["Call", "Email: Hi", "Gone", "Old"]
    deleted = "SELECT Subject FROM Task WHERE IsDeleted = true"
    assert names(deleted) == []
    assert names(deleted, all_rows=True) == ["Gone"]


@pytest.mark.parametrize("indexed", [False, True])
def test_deleted_children_and_parents(ask, org, indexed):
    """Deleted rows are hidden as children, in joins, and as parents."""
    org.indexed = indexed
    text = "SELECT (SELECT Subject FROM Tasks) FROM Contact WHERE Name LIKE 'Eve%'"
    assert ask(text).records[0]["Tasks"]["totalSize"] == 1
    assert ask(text, all_rows=True).records[0]["Tasks"]["totalSize"] == 3
    org.tables["Account"][0]["IsDeleted"] = True
    parent = "SELECT Account.Name FROM Contact WHERE Name LIKE 'Eve%'"
    assert ask(parent).records[0]["Account"] is None
    assert ask(parent, all_rows=True).records[0]["Account"]["Name"] == "Acme"
    join = "SELECT Id FROM Contact WHERE AccountId IN (SELECT Id FROM Account)"
    assert ask(join).total_size == 1
    assert ask(join, all_rows=True).total_size == 2


def test_sharing(ask, names, org):
    """What sharing hides is hidden everywhere, and in queryAll too."""
    org.hidden = {ACME, EVE}
    assert names("SELECT Name FROM Contact", all_rows=True) == [
        "Max Muster",
        "No Account",
    ]
    assert ask("SELECT COUNT() FROM Account").total_size == 1
    record = ask(f"SELECT Account.Parent.Name FROM Contact WHERE Id = '{MAX}'").records[
        0
    ]
    assert record["Account"]["Parent"] is None
    assert names(f"SELECT Name FROM Contact WHERE Account.ParentId = '{ACME}'")
    assert names("SELECT Name FROM Contact WHERE Account.Parent.Name = 'acme'") == []


def test_rows_are_left_alone(ask, org):
    """A query changes nothing in the source."""
    before = json.dumps(org.tables)
    ask("SELECT Name, Account.Name, (SELECT Id FROM Tasks) FROM Contact ORDER BY Name")
    assert json.dumps(org.tables) == before


def test_fast_enough(ask, org):
    """An IN list of 300 over 10,000 rows takes a fraction of a second."""
    org.tables["Contact"] = [
        {"Id": make_id("Contact", n), "Email": f"p{n}@x.example", "AccountId": ACME}
        for n in range(10_000)
    ]
    wanted = ",".join(f"'P{n}@x.example'" for n in range(0, 9_000, 30))
    text = f"SELECT Id, Account.Name FROM Contact WHERE Email IN ({wanted})"
    assert ask(text).total_size == 300
    assert_cpu_below(1, lambda: ask(text))
