"""Queries: halved where they are too large, and whose matter a refusal is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from relay.core.errors import OrgPaused, SalesforceUnavailable
from relay.core.retry import Retry
from relay.salesforce import errors
from relay.salesforce.connection import MAX_EXTRA_QUERIES, Queries
from relay.salesforce.soql import Ask, Query

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
HOUR = (NOON, NOON + timedelta(hours=1))
TEMPLATE = "SELECT Id FROM Task WHERE Id IN {}"


def failure(code):
    return errors.Failure(code, "", errors.rule(code))


class Client:
    """Answers each query as a test says; keeps what was asked."""

    def __init__(self, answer):
        self.answer = answer
        self.asked = []

    def queries(self, kind, queries):
        self.asked += [query.soql for query in queries]
        return [self.answer(query.soql) for query in queries]


class Threads:
    """Runs jobs at once."""

    def __init__(self, client):
        self.client = client

    async def run(self, job):
        return job(self.client)


@pytest.fixture
def asking():
    """Return a function that makes queries that are answered so, and their client."""

    def make(answer):
        client = Client(answer)
        return Queries(Threads(client)), client

    return make


def window(one):
    return Query(" ".join(str(moment.timestamp()) for moment in one))


def seconds(soql):
    since, until = (float(text) for text in soql.split())
    return until - since


async def test_a_dense_window_is_asked_in_halves(asking):
    """Until each part holds what Salesforce can answer; no row is left out."""
    queries, client = asking(
        lambda soql: (
            failure("OPERATION_TOO_LARGE") if seconds(soql) > 900 else [{"Id": soql}]
        )
    )
    rows = await queries.within("readback", window, HOUR)
    assert len(rows) == 4
    assert sum(seconds(row["Id"]) for row in rows) == 3600
    assert len(client.asked) == 7


@pytest.mark.parametrize("pauses", [True, False])
async def test_a_window_that_cannot_be_cut_any_more_fails(asking, pauses):
    """Half an answer would read as "not there"; the failure passes, and pauses none."""
    queries, _ = asking(lambda _: failure("QUERY_TIMEOUT"))
    with pytest.raises(SalesforceUnavailable) as caught:
        await queries.within("readback", window, HOUR, pauses=pauses)
    assert caught.value.retry is Retry.SHRINK


REFUSALS = [
    ("INVALID_FIELD", True, OrgPaused),
    ("INVALID_FIELD", False, SalesforceUnavailable),
    ("REQUEST_LIMIT_EXCEEDED", True, OrgPaused),
    ("REQUEST_LIMIT_EXCEEDED", False, OrgPaused),
]


@pytest.mark.parametrize(
    ("code", "pauses", "expected"), [*REFUSALS, ("MALFORMED_QUERY", True, OrgPaused)]
)
async def test_a_refused_window_pauses_where_mail_needs_the_answer(
    asking, code, pauses, expected
):
    """Files wait alone for theirs; a limit of the org pauses all work."""
    queries, client = asking(lambda _: failure(code))
    with pytest.raises(expected):
        await queries.within("readback", window, HOUR, pauses=pauses)
    assert len(client.asked) == 1, "a shorter window is refused as well"


@pytest.mark.parametrize(("code", "pauses", "expected"), REFUSALS)
async def test_a_refused_list_pauses_likewise(asking, code, pauses, expected):
    """The same for a question about single values."""
    queries, client = asking(lambda _: failure(code))
    asks = [Ask(TEMPLATE, ("a", "b"))]
    with pytest.raises(expected):
        await queries.ask("readback", asks, whole=True, pauses=pauses)
    assert len(client.asked) == 1


async def test_one_value_that_cannot_be_read_stands_alone(asking):
    """It is left out, or fails the whole where half an answer is none."""
    queries, _ = asking(
        lambda soql: failure("MALFORMED_QUERY") if "bad" in soql else [{"Id": soql}]
    )
    asks = [Ask(TEMPLATE, ("a", "b", "bad", "c"))]
    answered = await queries.ask("lookup", asks)
    assert sorted(v for ask, _ in answered for v in ask.values) == ["a", "b", "c"]
    with pytest.raises(SalesforceUnavailable) as caught:
        await queries.ask("readback", asks, whole=True)
    assert not isinstance(caught.value, OrgPaused)


async def test_halving_ends(asking):
    """A question that no part of can be answered is wrong for the org."""
    queries, client = asking(lambda _: failure("MALFORMED_QUERY"))
    values = tuple(f"v{n}" for n in range(500))
    with pytest.raises(OrgPaused):
        await queries.ask("lookup", [Ask(TEMPLATE, values)])
    assert len(client.asked) <= 2 * MAX_EXTRA_QUERIES


async def test_queries_travel_five_to_a_call(asking):
    """As many as a composite takes, and their answers stay in order."""
    queries, client = asking(lambda soql: [{"Id": soql}])
    calls = []
    ask = client.queries
    client.queries = lambda kind, part: calls.append(len(part)) or ask(kind, part)
    found = await queries.run("lookup", [Query(str(n)) for n in range(12)])
    assert calls == [5, 5, 2]
    assert [rows[0]["Id"] for rows in found] == [str(n) for n in range(12)]
