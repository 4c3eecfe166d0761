"""`relay logging` and `relay user logging`: who decides, and what it costs."""

from __future__ import annotations

from typing import Any

import pytest

BOTH = """\
[salesforce]
instance_url = "http://127.0.0.1:9"
client_id = "id"
client_secret = "secret"

[notices]
smarthost = "127.0.0.1:9"
tls = "none"
from_address = "relay@corp.example"
"""
PLACE = "e2s@abc.in.salesforce.com"
ADA = "ada@corp.example"


@pytest.fixture
def team(relay: Any) -> Any:
    """Return the relay with Ada, an org and a smarthost."""
    with relay.config.open("a") as config:
        config.write(BOTH)
    relay("user", "add", "Ada", "--email", ADA)
    return relay


def test_who_decides_is_shown_with_its_cost(team: Any) -> None:
    """D25: each choice says beforehand how many calls a day it costs, and why."""
    team.put(*["Offer"] * 14)
    (found,) = team.json("logging", "show")
    assert (found["decides"], found["set_by"]) == ("each_user", None)
    costs = {one["word"]: one["estimate"] for one in found["choices"]}
    assert costs["api_only"]["mails_a_day"] == 2
    assert costs["api_only"]["calls_a_day"] == 4
    assert costs["bcc_only"]["calls_a_day"] == 0
    assert "as if each came alone" in costs["api_only"]["how"]
    assert found["users"] == {"api": 1, "bcc": 0}
    assert found["logged_on"] == {
        "contact": True,
        "lead": True,
        "account": False,
        "opportunities": "all",
    }
    said = team("logging", "show").stdout
    assert "each_user" in said
    assert "2 mails a day in the last 7 days" in said


def test_an_admin_decides_for_everybody(team: Any) -> None:
    """The user sees what is fixed, and by whom; another way is refused."""
    team("user", "logging", ADA, "--by", "bcc", "--address", PLACE)
    team("logging", "decide", "api_only")
    (own,) = team.json("user", "logging", ADA)
    assert (own["way"], own["fixed"], own["chosen"]) == ("api", True, "bcc")
    assert own["fixed_by"]
    said = team.error("user", "logging", ADA, "--by", "api", status=1)
    assert "decided for everybody by" in said
    (found,) = team.json("logging", "decide", "each_user")
    assert found["users"] == {"api": 0, "bcc": 1}
    assert team.json("history", "--change", "user_log_by")[0]["after"] == "bcc"
    (row,) = team.json("history", "--change", "user_salesforce_address")
    assert row["after"] == "…@abc.in.salesforce.com", "the address is a secret"
    assert "not hold" in team.error("history", "undo", str(row["id"]), status=1)


def test_a_choice_that_cannot_work_is_refused(relay: Any) -> None:
    """R1, R2: without an org no API, without a smarthost no copies."""
    relay("user", "add", "Ada", "--email", ADA)
    said = relay.error("logging", "decide", "api_only", status=1)
    assert "no connection to Salesforce" in said
    assert "Enterprise or Unlimited" in said
    said = relay.error("logging", "decide", "bcc_only", status=1)
    assert "notices.smarthost" in said
    said = relay.error("settings", "set", "log_by", "bcc_only", status=2)
    assert "notices.smarthost" in said
    said = relay.error("user", "logging", ADA, "--by", "bcc", status=1)
    assert "notices.smarthost" in said
    (found,) = relay.json("logging", "show")
    assert [bool(one["missing"]) for one in found["choices"]] == [True, True, True]


def test_without_an_address_the_user_is_led_to_it(team: Any) -> None:
    """R9 to R13, in their order; status 1 as long as a step is missing."""
    result = team("user", "logging", ADA, "--by", "bcc", status=1)
    rules = ["R10", "R11", "R12", "R13"]
    lines = result.stderr.splitlines()
    assert [line[-4:-1] for line in lines] == rules
    assert "My Email to Salesforce" in lines[0]
    assert "My Acceptable Email Addresses" in lines[1]
    assert "Salesforce administrator" in lines[2]
    assert "tick Active" in lines[3]
    team("user", "logging", ADA, "--address", PLACE)
    (own,) = team.json("user", "logging", ADA)
    assert (own["way"], own["salesforce_address"], own["missing"]) == ("bcc", PLACE, [])
    (own,) = team.json("user", "logging", ADA, "--by", "default", "--address", "none")
    assert (own["way"], own["has_address"]) == ("api", False)


def test_a_copy_never_comes_back_to_the_relay(team: Any) -> None:
    """An address of the relay, or none, is refused."""
    wrong = ("user", "logging", ADA, "--address")
    assert "come back" in team.error(*wrong, "log-x@in.relay.example", status=2)
    assert "x y" in team.error(*wrong, "x y", status=2)
