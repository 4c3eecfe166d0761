"""Tokens, claims, presets, failures, the check and re-plays, over real HTTP."""

from __future__ import annotations

import time

import pytest

from relay.admin.salesforce_addresses import ImportStep
from relay.console import claims
from relay.core.queue import LeaseOwner, Settlement
from relay.core.states import Event
from relay.web.api import claims as module
from tests.web.conftest import path

pytestmark = pytest.mark.timeout(90)
SFID = "005000000000001AAA"


def items(answer):
    assert answer.status == 200
    return answer.json["items"]


def test_a_token_is_made_used_and_removed(served, admin):
    """Its secret stands in one answer; it can give no right that its maker lacks."""
    new = {"name": "crm", "scopes": ["log:read", "status:read"], "expires": "30d"}
    key = admin | {"Idempotency-Key": "k1"}
    made = served.call("POST", path("tokens"), key, new)
    assert made.status == 201
    secret = made.json["token"]
    crm = {"Authorization": f"Bearer {secret}"}
    assert served.call("GET", path("me"), crm).json["name"] == "api:crm"
    again = served.call("POST", path("tokens"), key, new)
    assert (again.status, again.json["error"]) == (409, "conflict")
    assert "Idempotency-Replayed" not in again.headers
    shown = served.call("GET", path("tokens", "crm"), admin)
    ours = {row["name"]: row for row in served.json("token", "list")}
    assert ours["crm"] | {"used_at": ""} == shown.json | {"used_at": ""}
    assert [
        row["name"] for row in items(served.call("GET", path("tokens"), admin))
    ] == [
        "admin",
        "crm",
    ]
    for where in (path("tokens"), path("tokens", "crm"), path("history")):
        assert secret.encode() not in served.call("GET", where, admin).data

    maker = served.token("maker", "tokens:write", "log:read")
    more = {"name": "x", "scopes": ["settings:write"]}
    refused = served.call("POST", path("tokens"), maker, more)
    assert (refused.status, refused.json["error"]) == (403, "not_allowed")
    for_bob = {"name": "b", "scopes": ["log:read"], "user": "bob@corp.example"}
    assert served.call("POST", path("tokens"), admin, for_bob).status == 201
    beyond = for_bob | {"name": "c", "scopes": ["status:read"]}
    assert served.call("POST", path("tokens"), admin, beyond).status == 403
    odd = served.call("POST", path("tokens"), admin, {"name": "d", "scopes": ["all"]})
    assert odd.status == 422

    own = served.call("DELETE", path("tokens", "maker"), maker | {"If-Match": "*"})
    assert own.status == 403
    bare = served.call("DELETE", path("tokens", "crm"), admin)
    assert bare.status == 428
    gone = served.call("DELETE", path("tokens", "crm"), admin | {"If-Match": "*"})
    assert gone.status == 204
    assert served.call("GET", path("me"), crm).status == 401


def test_an_address_is_claimed_by_its_user(served, admin, monkeypatch):
    """The code is mailed to the address; the user proves it; nobody else does."""
    ada = served.token("ada", "users:read", "addresses:claim", user="ada@corp.example")
    where = path("users", 1, "address-claims")
    new = {"address": "Ada@home.example"}
    off = served.call("POST", where, ada, new)
    assert (off.status, off.json["error"]) == (409, "conflict")
    assert "notices.smarthost" in off.json["detail"]
    mailed = []

    async def send(code):
        mailed.append(code)

    monkeypatch.setattr(claims, "code_sender", lambda *_: send)
    claimed = served.call("POST", where, ada, new)
    assert claimed.status == 202
    assert claimed.json["address"] == "ada@home.example"
    assert items(served.call("GET", where, ada)) == [claimed.json]
    (code,) = mailed
    assert code.code.encode() not in claimed.data
    wrong = served.call("POST", f"{where}/proof", ada, {"code": "aaaa-aaaa"})
    assert (wrong.status, wrong.json["error"]) == (404, "unknown")
    (left,) = items(served.call("GET", where, ada))
    assert left["tries_left"] == claimed.json["tries_left"] - 1
    proven = served.call("POST", f"{where}/proof", ada, {"code": code.code})
    assert proven.status == 201
    assert (proven.json["address"], proven.json["source"]) == (
        "ada@home.example",
        "claim",
    )
    assert items(served.call("GET", where, ada)) == []


def test_addresses_are_imported_by_a_plan(served, admin, monkeypatch):
    """The plan changes nothing; it is carried out with its count alone."""
    served("user", "set", "ada@corp.example", "--salesforce-id", SFID)
    where = path("address-import")
    none = served.call("GET", where, admin)
    assert (none.status, none.json["error"]) == (409, "no_salesforce")

    steps = []

    async def plan_addresses(*_):
        return steps

    monkeypatch.setattr(module, "plan_addresses", plan_addresses)
    ada = served.in_store(lambda store: store.directory.find_user("ada@corp.example"))
    steps.append(ImportStep(ada, "ada@sf.example", "add", "User.Email"))
    plan = served.call("GET", where, admin).json
    assert plan["count"] == 1
    assert (plan["items"][0]["address"], plan["items"][0]["change"]) == (
        "ada@sf.example",
        "add",
    )
    other = served.call("POST", where, admin, {"expected": 2})
    assert (other.status, other.json["error"]) == (409, "count_changed")
    assert (
        len(items(served.call("GET", path("users", 1, "accepted-addresses"), admin)))
        == 1
    )
    done = served.call("POST", where, admin, {"expected": 1})
    assert done.json == {"changed": 1}
    accepted = served.json("address", "list", "ada@corp.example")
    assert {row["address"] for row in accepted} == {
        "ada@corp.example",
        "ada@sf.example",
    }


def test_a_preset_is_taken_as_one_change(served, admin):
    """Shown first; taken by its ETag; one undo takes it back."""
    rows = items(served.call("GET", path("presets"), admin))
    assert rows == served.json("settings", "preset", "list")
    name = next(row["name"] for row in rows if row["differs"])
    shown = served.call("GET", path("presets", name), admin)
    assert shown.json["rules"] == served.json("settings", "preset", "show", name)
    where = path("presets", name, "take")
    assert served.call("POST", where, admin, {}).status == 428
    done = served.call("POST", where, admin | shown.etag, {})
    assert done.json["changed"] == shown.json["differs"] > 0
    late = served.call("POST", where, admin | shown.etag, {})
    assert late.status == 412
    assert served.call("GET", path("presets", name), admin).json["differs"] == 0
    undo = served.call("POST", path("history", done.json["change"], "undo"), admin)
    assert undo.status == 200
    again = served.call("GET", path("presets", name), admin)
    assert again.headers["ETag"] == shown.headers["ETag"]


def test_what_fails_is_told_by_its_code(served, admin):
    """Code, category, meaning, remedy; a rep sees the rep's own."""
    assert items(served.call("GET", path("failures"), admin)) == []
    (one,) = served.put("One")
    owner = LeaseOwner("host", "boot", 10, "1")

    async def fail(store):
        (claimed,) = await store.queue.claim(owner, 1, 60)
        ended = Settlement(
            one,
            claimed.attempt,
            Event.PERMANENT,
            reason="REQUIRED_FIELD_MISSING",
            detail="Required fields are missing: [Region__c]",
        )
        await store.ledger.advance(owner, settlements=[ended])

    served.in_store(fail)
    (row,) = items(served.call("GET", path("failures"), admin))
    assert (row["code"], row["category"]) == (
        "REQUIRED_FIELD_MISSING",
        "access_validation",
    )
    assert row["meaning"]
    assert "retry" in row["remedy"]
    assert "Region__c" in row["message"]
    assert (row["dead"], row["queued"], row["examples"]) == (1, 0, [one])
    bob = served.token("bob", "log:read", user="bob@corp.example")
    assert items(served.call("GET", path("failures"), bob)) == []


def test_a_check_runs_in_the_background(served, admin):
    """Started, then asked for; its findings are those of the command."""
    first = served.call("GET", path("check"), admin).json
    assert (first["started_at"], first["items"]) == (None, [])
    started = served.call("POST", path("check"), admin)
    assert started.status == 202
    deadline = time.monotonic() + 60
    while (found := served.call("GET", path("check"), admin).json)["ended_at"] is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert found["error"] == ""
    areas = {row["check"]: row["result"] for row in found["items"]}
    assert areas["store"] == "ok"
    assert found["done"] == found["total"] > 0


def test_a_replay_without_an_org_is_told(served, admin):
    """Each mistake is named; a re-play that is not there is none."""
    where = path("replays")
    assert items(served.call("GET", where, admin)) == []
    for body, status, word in (
        ({}, 422, "invalid"),
        ({"rules": "x", "preset": "inbox"}, 422, "invalid"),
        ({"rules": "[match]\nno_such = 1"}, 422, "invalid"),
        ({"settings": {"active": False}}, 422, "invalid"),
        ({"settings": {}}, 422, "invalid"),
        ({"preset": "nowhere"}, 422, "invalid"),
        ({"settings": {"match.several": "all"}, "since": "soon"}, 422, "invalid"),
        ({"settings": {"match.several": "all"}, "until": "9d"}, 422, "invalid"),
        ({"settings": {"match.several": "all"}, "user": "nobody"}, 404, "unknown"),
        ({"settings": {"match.several": "all"}}, 409, "no_salesforce"),
    ):
        answer = served.call("POST", where, admin, body)
        assert (answer.status, answer.json["error"]) == (status, word), body
    for method, more in (("GET", ""), ("GET", "/differences"), ("DELETE", "")):
        gone = served.call(method, f"{where}/none{more}", admin)
        assert (gone.status, gone.json["error"]) == (404, "unknown")
        assert "not over a restart" in gone.json["detail"]
        assert gone.json["hint"] == "start the re-play again"
