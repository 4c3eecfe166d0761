"""Users brought in by the API: a plan, then just that plan, over real HTTP."""

from __future__ import annotations

import pytest

from tests.cli.test_unmatched import SALESFORCE
from tests.fakes.served import served as running_org
from tests.web.conftest import EVERY, make_served, path

pytestmark = pytest.mark.timeout(90)
CSV = (
    "name,email,role\n"
    "Kim,kim@corp.example,monitor\n"
    "Ada Lovelace,ada@corp.example,\n"
    "Nobody,no address,\n"
)
PLAN, DO = path("user-import", "plan"), path("user-import")


def plan_of(served, admin, **more):
    answer = served.call("POST", PLAN, admin, {"source": "csv", "csv": CSV} | more)
    assert answer.status == 200
    return answer.json


def emails(served):
    return {row["email"] for row in served.json("user", "list")}


def test_a_plan_says_what_would_be_done_and_why_not(served, admin):
    """Nothing is changed by it; each line has its reason."""
    before = emails(served)
    plan = plan_of(served, admin)
    assert {key: plan[key] for key in ("add", "change", "left", "errors")} == {
        "add": 1,
        "change": 0,
        "left": 2,
        "errors": 1,
    }
    kim, ada, nobody = plan["items"]
    assert (kim["change"], kim["line"], kim["error"]) == ("add", 2, False)
    assert (ada["change"], ada["error"]) == ("skip", False)
    assert (nobody["change"], nobody["error"]) == ("skip", True)
    assert "line 4" in nobody["reason"]
    assert emails(served) == before
    assert plan_of(served, admin)["plan"] == plan["plan"]


def test_a_plan_is_carried_out_once(served, admin):
    """With its identity; sent again with its key, it is answered and does nothing."""
    plan = plan_of(served, admin, update=True)
    assert (plan["add"], plan["change"]) == (1, 1)
    body = {"source": "csv", "csv": CSV, "update": True, "plan": plan["plan"]}
    body |= {"activate": False}
    key = admin | {"Idempotency-Key": "k"}
    done = served.call("POST", DO, key, body)
    assert (done.status, done.json) == (
        200,
        {"added": 1, "changed": 1, "left": 0, "invited": 0},
    )
    again = served.call("POST", DO, key, body)
    assert (again.json, again.headers["Idempotency-Replayed"]) == (done.json, "true")
    late = served.call("POST", DO, admin, body)
    assert (late.status, late.json["error"]) == (409, "plan_changed")
    people = {row["email"]: row for row in served.json("user", "list")}
    assert people["ada@corp.example"]["name"] == "Ada Lovelace"
    assert people["kim@corp.example"]["role"] == "monitor"
    assert people["kim@corp.example"]["state"] == "not activated"
    rows = served.json("history", "--by", "api:admin")
    assert [row["action"] for row in rows] == ["user_add", "user_name"]


def test_a_plan_of_another_day_is_refused(served, admin):
    """Whatever makes it another: a user added, one renamed, another file."""
    plan = plan_of(served, admin, update=True)["plan"]
    body = {"source": "csv", "csv": CSV, "update": True, "plan": plan}
    other = body | {"csv": CSV.replace("Kim", "Tim")}
    assert served.call("POST", DO, admin, other).json["error"] == "plan_changed"
    assert served.call("POST", DO, admin, body | {"update": False}).status == 409
    served("user", "rename", "ada@corp.example", "Ada B")
    assert served.call("POST", DO, admin, body).json["error"] == "plan_changed"
    served("user", "add", "Kim", "--email", "kim@corp.example")
    plan = plan_of(served, admin)["plan"]
    none = served.call("POST", DO, admin, {"source": "csv", "csv": CSV, "plan": plan})
    assert none.json == {"added": 0, "changed": 0, "left": 0, "invited": 0}


def test_what_is_no_file_is_named(served, admin):
    """And a large one is taken: its limit is not that of other bodies."""
    bad = served.call("POST", PLAN, admin, {"source": "csv", "csv": "x"})
    assert (bad.status, bad.json["error"]) == (422, "invalid")
    none = served.call("POST", PLAN, admin, {"source": "salesforce"})
    assert (none.status, none.json["error"]) == (409, "no_salesforce")
    many = "name,email\n" + "".join(
        f"Somebody with a long name {n},somebody{n}@corp.example\n" for n in range(1500)
    )
    assert len(many) > 64 * 1024
    answer = served.call("POST", PLAN, admin, {"source": "csv", "csv": many})
    assert (answer.status, answer.json["add"]) == (200, 1500)
    huge = {"source": "csv", "csv": "x" * (5 * 1024 * 1024)}
    assert served.call("POST", PLAN, admin, huge).status == 413


def test_users_of_salesforce_are_planned_and_added(tmp_path):
    """Active ones alone, with their ids; the next plan has nobody left."""
    relay = make_served(tmp_path)
    with running_org() as org:
        with relay.config.open("a") as config:
            config.write(SALESFORCE.format(url=org.url))
        relay("user", "add", "Ada", "--email", "ada@corp.example")
        relay.start()
        try:
            admin = relay.token("admin", *EVERY)
            plan = relay.call("POST", PLAN, admin, {"source": "salesforce"}).json
            there = [one for one in org.dump("User")["User"] if one["IsActive"]]
            assert len(plan["items"]) == len(there)
            body = {"source": "salesforce", "plan": plan["plan"]}
            done = relay.call("POST", DO, admin, body)
            assert done.json["added"] == plan["add"] > 0
            again = relay.call("POST", PLAN, admin, {"source": "salesforce"}).json
            assert again["add"] == 0
        finally:
            relay.stop()
