"""Unmatched mail over the API, against a sandbox org."""

from __future__ import annotations

import pytest

from tests.cli.test_unmatched import MARA, SALESFORCE, end
from tests.fakes.served import served as served_sandbox
from tests.web.conftest import EVERY, make_served, path, with_people

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def relay(tmp_path):
    """A relay that knows an org, and has one unmatched mail."""
    with served_sandbox() as org:
        relay = make_served(tmp_path)
        with relay.config.open("a") as config:
            config.write(SALESFORCE.format(url=org.url))
        with_people(relay)
        yield relay
        relay.stop()


def test_candidates_are_shown_and_one_is_chosen(relay):
    """The list knows what was searched; a choice queues the mail again, once."""
    admin = relay.token("admin", *EVERY)
    ident = end(relay, MARA)
    (row,) = relay.call("GET", path("unmatched"), admin).json["items"]
    assert (row["id"], row["best"]) == (ident, None)
    shown = relay.call("GET", path("unmatched", ident), admin).json
    (ours,) = relay.json("unmatched", "show", ident)
    assert shown == ours
    assert shown["best"]["name"] == "Mara Lindqvist"
    (row,) = relay.call("GET", path("unmatched"), admin).json["items"]
    assert row == shown
    assert relay.call("GET", path("unmatched"), admin, user="Bob").json["items"] == []

    bob = relay.token("bob", "log:read", "queue:write", user="bob@corp.example")
    where = path("unmatched", ident, "resolve")
    choice = {"records": [shown["best"]["id"]]}
    assert relay.call("POST", where, bob, choice).status == 404
    ada = relay.token("ada", "log:read", "queue:write", user="ada@corp.example")
    asked = relay.call("POST", where, ada, choice | {"remember": True})
    assert (asked.status, asked.json["error"]) == (403, "not_allowed")
    wrong = relay.call("POST", where, ada, {"records": ["x"]})
    assert (wrong.status, wrong.json["error"]) == (422, "invalid")
    done = relay.call("POST", where, ada, choice)
    assert done.status == 200
    assert done.json["ids"] == [ident]
    assert done.json["records"][0]["name"] == "Mara Lindqvist"
    assert relay.json("show", ident)[0]["state"] == "queued"
    again = relay.call("POST", where, ada, choice)
    assert (again.status, again.json["error"]) == (409, "conflict")
    gone = relay.call("GET", path("unmatched", ident), admin)
    assert (gone.status, gone.json["error"]) == (404, "unknown")


def test_people_are_left_out(relay):
    """For the rep, or for all where the token may; undo is for what is logged."""
    ident = end(relay, MARA)
    ada = relay.token("ada", "log:read", "queue:write", user="ada@corp.example")
    where = path("unmatched", ident, "ignore")
    asked = relay.call("POST", where, ada, {"everybody": True})
    assert (asked.status, asked.json["error"]) == (403, "not_allowed")
    done = relay.call("POST", where, ada, {})
    assert done.json == {"ids": [ident], "patterns": ["lindqvist@acme.example"]}
    (rule,) = relay.json("exclude", "list")
    assert (rule["user"], rule["skip"]) == ("ada@corp.example", "address")
    take = path("messages", ident, "undo")
    assert relay.call("POST", take, ada, {}).status == 403
    admin = relay.token("admin", *EVERY)
    refused = relay.call("POST", take, admin, {"dry_run": True})
    assert (refused.status, refused.json["error"]) == (409, "conflict")


def test_without_an_org_it_is_told(tmp_path):
    """The list is there; what needs Salesforce names the setting."""
    relay = make_served(tmp_path)
    with_people(relay)
    try:
        admin = relay.token("admin", *EVERY)
        ident = end(relay, MARA)
        (row,) = relay.call("GET", path("unmatched"), admin).json["items"]
        assert row["people"][0]["candidates"] is None
        body = {"records": ["003000000000001AAA"]}
        answer = relay.call("POST", path("unmatched", ident, "resolve"), admin, body)
        assert (answer.status, answer.json["error"]) == (409, "no_salesforce")
    finally:
        relay.stop()
