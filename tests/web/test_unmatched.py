"""Unmatched mail over the API, against a sandbox org."""

from __future__ import annotations

import time

import pytest

from relay.core.model import Person, Place
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


NOBODY = Person("nils@new.example", "nils@new.example", "Nils New", Place.TO)


def test_a_record_is_made_and_the_mail_is_matched_anew(relay):
    """Where an admin allows it; the same request again makes no second one."""
    admin = relay.token("admin", *EVERY)
    ident, other, third = (end(relay, one) for one in (NOBODY, NOBODY, MARA))
    where = path("unmatched", ident, "create")
    bob = relay.token("bob", "log:read", "queue:write", user="bob@corp.example")
    ada = relay.token("ada", "log:read", "queue:write", user="ada@corp.example")
    new = {"object": "Lead"}
    refused = relay.call("POST", where, ada, new)
    assert (refused.status, refused.json["error"]) == (403, "not_allowed")
    relay("settings", "set", "match.unmatched_create", "true")
    assert relay.call("POST", where, bob, new).status == 404
    odd = relay.call("POST", where, ada, {"object": "Account"})
    assert odd.status == 422
    key = ada | {"Idempotency-Key": "k"}
    done = relay.call("POST", where, key, new)
    assert done.status == 200
    (made,) = done.json["records"]
    assert (made["how"], made["object"]) == ("created", "Lead")
    assert relay.call("POST", where, key, new).json == done.json
    assert relay.json("show", ident)[0]["state"] == "queued"
    again = relay.call("POST", path("unmatched", other, "create"), admin, new)
    (known,) = again.json["records"]
    assert (known["how"], known["id"]) == ("known", made["id"])
    anew = path("unmatched", third, "rematch")
    assert relay.call("POST", anew, bob).status == 404
    assert relay.call("POST", anew, ada).json == {"ids": [third]}
    assert relay.json("show", third)[0]["state"] == "queued"


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


def test_many_are_decided_at_once(relay):
    """Counted, then decided with the count; a remembered address can be forgotten."""
    admin = relay.token("admin", *EVERY)
    ident = end(relay, MARA)
    assert relay.call("GET", path("unmatched", "count"), admin).json == {"count": 1}
    none = relay.call("GET", path("unmatched", "count"), admin, user="Bob")
    assert none.json == {"count": 0}
    shown = relay.call("GET", path("unmatched", ident), admin).json
    where = path("unmatched", "actions")
    body = {"action": "resolve", "filter": "", "expected": 2, "records": ["x"]}
    late = relay.call("POST", where, admin, body)
    assert (late.status, late.json["error"], late.json["count"]) == (
        *(409, "count_changed"),
        1,
    )
    nothing = relay.call("POST", where, admin, body | {"expected": 1, "records": []})
    assert nothing.status == 422
    body |= {"expected": 1, "records": [shown["best"]["id"]], "remember": True}
    done = relay.call("POST", where, admin, body)
    assert done.status == 200
    assert done.json["ids"] == [ident]
    address = shown["people"][0]["address"]
    (row,) = relay.call("GET", path("remembered-addresses"), admin).json["items"]
    assert (row["address"], row["id"]) == (address, shown["best"]["id"])
    one = path("remembered-addresses", address)
    found = relay.call("GET", one, admin)
    assert found.json == row
    assert relay.call("DELETE", one, admin | found.etag).status == 204
    assert relay.call("GET", one, admin).status == 404


def test_many_are_left_out_at_once(relay):
    """For the rep whose they are; nobody decides about another's."""
    ident = end(relay, MARA)
    bob = relay.token("bob", "log:read", "queue:write", user="bob@corp.example")
    ada = relay.token("ada", "log:read", "queue:write", user="ada@corp.example")
    where = path("unmatched", "actions")
    body = {"action": "ignore", "filter": "", "expected": 1}
    assert relay.call("POST", where, bob, body).status == 409
    done = relay.call("POST", where, ada, body)
    assert done.json["ids"] == [ident]
    assert done.json["patterns"] == ["lindqvist@acme.example"]


def test_a_replay_runs_in_the_background(relay):
    """Started, followed, its differences paged, and forgotten."""
    admin = relay.token("admin", *EVERY)
    end(relay, MARA)
    where = path("replays")
    body = {"settings": {"match.several": "all"}, "since": "30d"}
    started = relay.call("POST", where, admin, body)
    assert started.status == 202
    place = started.headers["Location"]
    deadline = time.monotonic() + 60
    while (job := relay.call("GET", place, admin).json)["progress"] == "running":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert (job["progress"], job["problem"]) == ("done", "")
    assert (
        job["summary"]["looked_at"] + job["summary"]["gone"] == job["summary"]["mails"]
    )
    assert job["change"]["settings"] == {"match.several": "all"}
    rows = relay.call("GET", f"{place}/differences", admin).json
    assert (len(rows["items"]), rows["next"]) == (job["summary"]["differ"], None)
    (listed,) = relay.call("GET", where, admin).json["items"]
    assert listed == job
    assert relay.call("DELETE", place, admin).status == 204
    assert relay.call("GET", place, admin).status == 404
