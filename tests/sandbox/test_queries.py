"""Queries over HTTP: pages, cursors, and who may read on."""

from __future__ import annotations

import urllib.parse

import pytest


@pytest.fixture
def many(sandbox):
    rows = [{"LastName": f"N{number:04}"} for number in range(1_000)]
    sandbox.admin("rows", {"Contact": rows})
    return {f"N{number:04}" for number in range(1_000)}


def error(reply):
    (first,) = reply.json()
    return reply.status_code, first["errorCode"]


def pages(sandbox, soql, **headers):
    reply = sandbox.call("GET", "query", params={"q": soql}, headers=headers).json()
    yield reply
    while not reply["done"]:
        path = reply["nextRecordsUrl"].removeprefix("/services/data/v66.0/")
        reply = sandbox.call("GET", path).json()
        yield reply


SOQL = "SELECT LastName FROM Contact WHERE LastName LIKE 'N0%'"


def test_pages_hold_everything_once(sandbox, many):
    """Checklist 31: the size is a hint, the sum is exact."""
    found = list(pages(sandbox, SOQL, **{"Sforce-Query-Options": "batchSize=200"}))
    assert len(found) >= 5
    assert {len(each["records"]) for each in found[:-1]} != {200}
    names = [row["LastName"] for page in found for row in page["records"]]
    assert len(names) == 1_000
    assert set(names) == many
    assert {each["totalSize"] for each in found} == {1_000}


def test_a_small_hint_is_not_followed(sandbox, many):
    """The smallest page is 200."""
    first = next(pages(sandbox, SOQL, **{"Sforce-Query-Options": "batchSize=5"}))
    assert len(first["records"]) > 100


def test_unordered_answers_are_shuffled(sandbox, many):
    """Checklist 31: no client may rely on an order that it did not ask for."""
    one = [row["LastName"] for row in sandbox.query(SOQL)]
    two = [row["LastName"] for row in sandbox.query(SOQL)]
    assert one != two


def test_a_cursor_is_one_users_and_ends(sandbox, many):
    """Checklist 31: another user, nonsense and two days later are refused."""
    sandbox.admin("config", {"page_size": 300})
    reply = sandbox.call("GET", "query", params={"q": SOQL}).json()
    path = reply["nextRecordsUrl"].removeprefix("/services/data/v66.0/")
    assert sandbox.call("GET", path).status_code == 200
    sandbox.admin("config", {"run_as": "ada@corp.example"})
    sandbox.login()
    assert error(sandbox.call("GET", path)) == (400, "INVALID_QUERY_LOCATOR")
    sandbox.admin("config", {"run_as": "relay@corp.example"})
    sandbox.admin("clock", {"shift_s": 2 * 86_400 + 60})
    sandbox.login()
    assert error(sandbox.call("GET", path)) == (400, "INVALID_QUERY_LOCATOR")
    assert error(sandbox.call("GET", "query/x-1")) == (400, "INVALID_QUERY_LOCATOR")


@pytest.mark.parametrize(
    ("soql", "code"),
    [
        ("", "MALFORMED_QUERY"),
        ("SELECT Id FROM Contact WHERE Email IN ()", "MALFORMED_QUERY"),
        ("SELECT Id FROM Contact WHERE Email = 'a", "MALFORMED_QUERY"),
        ("SELECT Type FROM Task", "INVALID_FIELD"),
        ("SELECT TaskWhoIds FROM Task", "INVALID_FIELD"),
        ("SELECT PersonEmail FROM Account", "INVALID_FIELD"),
        ("SELECT Id FROM TaskRelation", "INVALID_TYPE"),
        ("SELECT Id FROM Task WHERE Description = 'x'", "INVALID_FIELD"),
        ("SELECT Id FROM EmailMessage WHERE TextBody = 'x'", "INVALID_FIELD"),
    ],
)
def test_queries_that_the_org_refuses(sandbox, soql, code):
    """Checklist 9, 27, 30: hidden fields do not exist, text areas cannot filter."""
    reply = sandbox.call("GET", "query", params={"q": soql})
    assert error(reply) == (400, code)


def test_the_lookup_of_the_relay(sandbox):
    """Contacts with their open roles, leads and users, in any spelling of case."""
    soql = (
        "SELECT Id, Email, AccountId, CreatedDate, (SELECT OpportunityId, "
        "Opportunity.Name FROM OpportunityContactRoles WHERE Opportunity.IsClosed = "
        "false) FROM Contact WHERE Email IN ('MARA@acme.example', "
        "'sam.o\\'neill@dune.example', 'nobody@x.example') ORDER BY Email"
    )
    mara, sam = sandbox.query(soql)
    roles = mara["OpportunityContactRoles"]["records"]
    assert [each["Opportunity"]["Name"] for each in roles] == [
        "Acme: 40 torque wrenches"
    ]
    assert sam["OpportunityContactRoles"]["totalSize"] == 1
    soql = (
        "SELECT Id FROM Lead WHERE IsConverted = false AND Email = 'grace@elm.example'"
    )
    assert sandbox.query(soql) == []


def test_an_index_makes_long_lists_quick(sandbox):
    """400 addresses are looked up with the same work, however many contacts exist."""
    listed = ",".join(f"'p{number}@many.example'" for number in range(400))
    soql = f"SELECT Id FROM Contact WHERE Email IN ({listed})"
    query = urllib.parse.quote(soql)
    assert len(query) < 16_000

    def add(first, last):
        rows = [
            {"LastName": "x", "Email": f"p{n}@many.example"} for n in range(first, last)
        ]
        sandbox.admin("rows", {"Contact": rows})

    def steps():
        called, answer = sandbox.steps("GET", "query", query=f"q={query}")
        assert answer["totalSize"] == 400
        return called

    add(0, 400)
    among_few = steps()
    add(400, 5_000)
    assert steps() < 1.1 * among_few
