"""The search for records near an unmatched person: what it asks, and what it reads."""

from __future__ import annotations

from urllib.parse import unquote

import pytest

from relay.core.errors import InvalidInput, OrgPaused, SalesforceUnavailable
from relay.core.ids import record_id
from relay.core.model import Person, Place
from relay.core.org import OrgSchema
from relay.salesforce import search
from relay.salesforce.errors import failure
from relay.salesforce.soql import MAX_ENCODED
from relay.sandbox.org import SandboxOrg
from tests.fakes.unmatched_cases import schema


def person(address, name=""):
    return Person(address, address, name, Place.TO)


@pytest.fixture(scope="module")
def org():
    return SandboxOrg()


def found(org, *people, known=None):
    """Return the names of what the statements find in an org."""
    asked = search.plan(people, known or schema())
    assert len(asked) <= 5  # one call
    me = org.integration_user_id
    hits = search.read(
        (name, org.query(query.soql, user_id=me).records) for name, query in asked
    )
    return {hit.name: hit for hit in hits}


def test_a_domain_finds_its_people_and_its_company(org):
    """Contacts of the domain, with their Account, and the Account by its web site."""
    hits = found(org, person("nobody@acme.example"))
    assert {"Mara Lindqvist", "Acme Tools"} <= hits.keys()
    assert hits["Mara Lindqvist"].account_name == "Acme Tools"
    assert hits["Mara Lindqvist"].email == "mara@acme.example"
    assert hits["Acme Tools"].domain == "acme.example"


def test_a_name_finds_people_elsewhere(org):
    """By last name, whichever word it is, and by the local part."""
    assert "Mara Lindqvist" in found(org, person("x@gmail.com", "Mara Lindqvist"))
    assert "Mara Lindqvist" in found(org, person("x@gmail.com", "Lindqvist, Mara"))
    assert "Mara Lindqvist" in found(org, person("mara@gmail.com"))
    assert "Mara Lindqvist" in found(org, person("m.lindqvist77@gmail.com"))
    assert "Mara Lindqvist" in found(org, person("mlindqvist@gmail.com"))


def test_free_mail_is_not_searched_by_its_domain():
    """Half of the org might be there."""
    asked = search.plan([person("ab@gmail.com")], schema())
    assert asked == []


HOSTILE = [
    "' OR Name LIKE '%",
    "\\' OR Id != null --",
    "%%%%%",
    "_____",
    "x') LIMIT 1 --",
    "a\x00b\x1bc",
    "\udce9\ud800",
    "' FROM Lead WHERE Name != '",
    "{} {0} {name}",
    "O\\",
    "\u202elindqvist",
    "x" * 5000,
    " ".join("abcdefgh" for _ in range(2000)),
    "\n' \r\n OR '\t",
]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize(
    "address",
    [
        "x@other.example",
        "'or'1'='1@other.example",
        "\"a' or email like '%\"@other.example",
        "%@%.example",
        "_@_._",
        "\\'@x\\'.example",
        f"{'l' * 300}@{'d' * 300}.example",
        "mü%ller'@bü_cher.example",
    ],
)
def test_text_of_mail_stays_text(name, address, org):
    """Nothing of it is SOQL: each statement is read, and finds nobody by a wildcard."""
    hits = found(org, person(address, name))
    assert hits.keys() <= {"Mara Lindqvist"}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_statement_fits_into_a_url(name):
    """However long names and domains are, and for five people at once."""
    some = [person(f"a{i}.b{i}@{'sub.' * 30}d{i}.example", name) for i in range(9)]
    for _, query in search.plan(some, schema()):
        assert len(query.path) <= MAX_ENCODED + 20


def test_wildcards_in_a_name_are_escaped():
    """LIKE takes `%` and `_` for themselves behind a backslash."""
    (_, query), *_ = search.plan([person("a%b_c@gmail.com")], schema())
    assert r"Email LIKE 'a\%b\_c@%'" in unquote(query.path)


def test_what_the_user_may_not_see_is_not_asked():
    """An org without Leads, or with a hidden field, is searched all the same."""
    without = OrgSchema({"Contact": {"Email": schema().fields["Contact"]["Email"]}})
    asked = search.plan([person("x@acme.example", "Mara Lindqvist")], without)
    assert {name for name, _ in asked} == {"Contact"}
    assert all("SELECT Id, Email FROM Contact" in query.soql for _, query in asked)


@pytest.mark.parametrize(
    ("website", "domain"),
    [
        ("https://www.Acme.example/about", "acme.example"),
        ("acme.example", "acme.example"),
        ("http://[::1", ""),
        ("", ""),
        ("localhost", ""),
    ],
)
def test_a_web_site_as_people_type_it(website, domain):
    """Only its domain counts."""
    assert search.site_of(website) == domain


def test_spellings_of_a_last_name():
    """Umlauts written out, left out, and put back."""
    assert set(search.spellings_of("müller")) >= {"müller", "mueller", "muller"}
    assert "müller" in search.spellings_of("mueller")
    assert "müller" in search.spellings_of("muller")
    assert search.spellings_of("lee") == ("lee",)


class _Queries:
    def __init__(self, answers):
        self.answers = answers
        self.calls = 0

    async def run(self, kind, queries):
        assert kind == "search"
        self.calls += 1
        return self.answers[: len(queries)]


class _Connection:
    def __init__(self, *answers):
        self.queries = _Queries(list(answers))


class _Schema:
    async def get(self, also=()):
        del also
        return schema()


OLGA = record_id("00Q000000000001")
ROW = {
    "Id": record_id("003000000000001"),
    "Name": "Mara Lindqvist",
    "Email": "Mara@Acme.example",
}
SLOW = failure(400, [{"errorCode": "QUERY_TIMEOUT", "message": "too slow"}])
WRONG = failure(400, [{"errorCode": "INVALID_FIELD", "message": "no such column"}])


async def test_a_query_that_is_given_up_costs_its_own_part_alone():
    """An org with very many people may refuse the wildcard of the domain."""
    connection = _Connection(SLOW, [ROW], SLOW, [], [])
    found = await search.Search(connection, _Schema()).near([person("m@acme.example")])
    assert [hit.name for hit in found] == ["Mara Lindqvist"]
    assert found[0].email == "mara@acme.example"
    assert connection.queries.calls == 1


@pytest.mark.parametrize("failed", [SLOW, WRONG])
async def test_where_nothing_is_answered_the_caller_is_told(failed):
    """A search never pauses the org: no mail waits for it."""
    connection = _Connection(*[failed] * 5)
    with pytest.raises(SalesforceUnavailable) as raised:
        await search.Search(connection, _Schema()).near([person("m@acme.example")])
    assert not isinstance(raised.value, OrgPaused)


async def test_nobody_to_look_for_costs_nothing():
    """No people, or none of whom anything can be asked."""
    connection = _Connection()
    assert await search.Search(connection, _Schema()).near([]) == ()
    assert connection.queries.calls == 0


def test_rows_that_make_no_sense_are_left_out():
    """A row needs a valid id; what else is missing is empty."""
    assert search.read([("Contact", [{"Id": "nonsense"}, {}])]) == ()
    (hit,) = search.read([("Lead", [{"Id": OLGA, "Name": 3}])])
    assert (hit.name, hit.email, hit.account_name) == ("", "", "")


# ------------------------------------------------------------------ by a text


def by_text(org, text, known=None):
    """Return the names of what the statements for a text find in an org."""
    me = org.integration_user_id
    return {
        hit.name: hit
        for name, query in search.plan_text(text, known or schema())
        for hit in search.read_text(name, org.query(query.soql, user_id=me).records)
    }


def test_a_text_finds_people_and_companies(org):
    """By any part of a name or an e-mail address."""
    hits = by_text(org, "  lindq ")
    assert hits["Mara Lindqvist"].object == "Contact"
    assert hits["Mara Lindqvist"].email == "mara@acme.example"
    assert "Acme Tools" in by_text(org, "acme tools")
    assert "Mara Lindqvist" in by_text(org, "mara@acme")


@pytest.mark.parametrize(
    "text", ["' OR Name != '", "a%_b", "a\\b", "x" * 500, "{0}", "\u202eabc\x00d"]
)
def test_a_text_stays_a_text(org, text):
    """Whatever is typed: one statement for each object, and nothing else found."""
    assert by_text(org, text) == {}
    for _, query in search.plan_text(text, schema()):
        assert query.soql.count(" LIMIT ") == 1
        assert len(query.path) < MAX_ENCODED


@pytest.mark.parametrize("text", ["", " a ", "\x00\x01"])
def test_a_text_that_fits_everything_is_refused(text):
    """Two characters, at least."""
    with pytest.raises(InvalidInput):
        search.plan_text(text, schema())


def test_an_object_without_a_field_to_search_is_not_asked():
    """What describe does not show is left out."""
    hidden = OrgSchema({"Contact": {}, "Account": schema().fields["Account"]})
    assert [name for name, _ in search.plan_text("acme", hidden)] == ["Account"]


def test_records_by_a_text_without_an_id_are_left_out():
    """A Case without a subject is named by its number."""
    row = {"Id": record_id("500000000000001"), "CaseNumber": "00001026"}
    (hit,) = search.read_text("Case", [{"Id": "nonsense"}, row])
    assert (hit.object, hit.name) == ("Case", "00001026")
    lead = {"Id": OLGA, "Name": "Olga", "Company": "Nordic"}
    (hit,) = search.read_text("Lead", [lead])
    assert hit.account_name == "Nordic"


async def test_a_text_is_looked_for_in_one_call():
    """What Salesforce gives up is left out; all of it: the caller is told."""
    connection = _Connection(SLOW, [], [])
    found = await search.Search(connection, _Schema()).by_text("acme")
    assert found == ()
    assert connection.queries.calls == 1
    with pytest.raises(SalesforceUnavailable):
        await search.Search(_Connection(*[SLOW] * 3), _Schema()).by_text("acme")
