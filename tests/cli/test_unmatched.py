"""`relay unmatched`: what fits no record, against a sandbox over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from relay.core.model import Person, Place
from relay.core.queue import LeaseOwner, Settlement
from relay.core.states import Event
from tests.fakes.served import served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relay.store import Store

OWNER = LeaseOwner("host", "boot", 10, "1")
MARA = Person("lindqvist@acme.example", "lindqvist@acme.example", "Mara L.", Place.TO)
SALESFORCE = """
[salesforce]
instance_url = "{url}"
client_id = "relay-sandbox"
client_secret = "relay-sandbox-secret"
"""


@pytest.fixture(scope="module")
def served_org() -> Iterator[Any]:
    """Serve one org for all tests."""
    with served() as org:
        yield org


@pytest.fixture
def org(served_org: Any, relay: Any, ada: Any) -> Any:
    """Let the relay know the org."""
    served_org.reset()
    with relay.config.open("a") as config:
        config.write(SALESFORCE.format(url=served_org.url))
    return served_org


def end(relay: Any, *people: Person, subject: str = "The offer") -> str:
    """Store a message and settle it as unmatched; return its id."""
    (ident,) = relay.put(subject)

    async def job(store: Store) -> None:
        (claimed,) = await store.queue.claim(OWNER, 1, 60)
        detail = "no Contact or open Lead has one of these addresses"
        await store.ledger.advance(
            OWNER,
            settlements=[
                Settlement(
                    claimed.id,
                    claimed.attempt,
                    Event.NO_MATCH,
                    "no_record",
                    detail,
                    unknown=people,
                )
            ],
        )

    relay.in_store(job)
    return ident


def test_the_list_names_the_likeliest_record(relay: Any, org: Any) -> None:
    """One search for all that is listed, and none while it is fresh."""
    ident = end(relay, MARA)
    before = org.usage.used()
    (row,) = relay.json("unmatched", "list")
    calls = org.usage.used() - before
    assert row["id"] == ident
    assert row["people"] == ["lindqvist@acme.example"]
    assert row["reason"] == "no_record"
    assert (row["best"]["name"], row["best"]["object"]) == ("Mara Lindqvist", "Contact")
    assert "same domain as Acme Tools" in row["best"]["reasons"]
    assert calls == 2  # the description of the org, and one search
    assert relay.json("unmatched", "list") == [row]
    assert org.usage.used() - before == calls
    assert "Mara Lindqvist" in relay("unmatched", "list").stdout
    assert relay.json("unmatched", "list", "--reason", "no_recipient") == []
    assert relay.json("unmatched", "list", "--user", "Ada Byron", "--since", "1h") == [
        row
    ]


def test_show_has_candidates_with_scores_and_reasons(relay: Any, org: Any) -> None:
    """By the first characters of the id; the likeliest first."""
    ident = end(relay, MARA)
    (row,) = relay.json("unmatched", "show", ident[:25])
    (person,) = row["people"]
    scores = [one["score"] for one in person["candidates"]]
    assert person["address"] == "lindqvist@acme.example"
    assert person["candidates"][0]["name"] == "Mara Lindqvist"
    assert scores == sorted(scores, reverse=True)
    text = relay("unmatched", "show", ident).stdout
    assert "Mara L. <lindqvist@acme.example>" in text
    assert "address is the last name" in " ".join(person["candidates"][0]["reasons"])
    assert "same domain as" in " ".join(text.split())


def test_nobody_near_is_said(relay: Any, org: Any) -> None:
    """An empty table says so."""
    ident = end(relay, Person("z@zz.example", "z@zz.example", "\x1b[31m", Place.TO))
    text = relay("unmatched", "show", ident).stdout
    assert "no record is near" in text
    assert "\x1b" not in text


def test_without_salesforce_the_list_is_there(relay: Any, ada: Any) -> None:
    """Candidates need an org; what did not match does not."""
    ident = end(relay, MARA)
    (row,) = relay.json("unmatched", "list")
    assert (row["id"], row["best"]) == (ident, None)
    assert "not searched" in relay("unmatched", "show", ident).stdout


def test_an_org_that_is_down_leaves_the_list(relay: Any, ada: Any) -> None:
    """Only `show` needs an answer."""
    ident = end(relay, MARA)
    with relay.config.open("a") as config:
        config.write(SALESFORCE.format(url="http://127.0.0.1:9"))
    (row,) = relay.json("unmatched", "list")
    assert row["best"] is None
    relay.error("unmatched", "show", ident, status=1)


def test_a_message_that_is_not_unmatched_is_named(relay: Any, ada: Any) -> None:
    """The line says what it is, and where to look."""
    (ident,) = relay.put("Waiting")
    line = relay.error("unmatched", "show", ident, status=1)
    assert f"{ident} is queued, not unmatched" in line
    assert "Nothing is unmatched" in relay("unmatched", "list").stdout
