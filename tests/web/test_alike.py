"""Each question has one answer, whether the command line asks or the API."""

from __future__ import annotations

import pytest

from tests.web.conftest import EVERY, make_served, path, with_people

pytestmark = pytest.mark.timeout(120)

FILTERS = [
    "",
    "state:held",
    "state:held,refused",
    "state:refused",
    "user:ada@corp.example",
    'user:"Ada Byron" state:queued',
    "domain:corp.example",
    "address:ada@corp.example offer",
    "offer",
    '"big offer"',
    "reason:hold",
    "reason:unknown_recipient state:refused",
    "cause:S501",
    "since:1h",
    "since:yesterday until:yesterday",
    "until:20m",
    "message-id:<none@test>",
]


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A relay in which something of each kind has happened."""
    served = with_people(make_served(tmp_path_factory.mktemp("relay")))
    served.put("Big offer", "Other", minutes_ago=30)
    (held,) = served.put("Small offer")
    served("hold", held)
    served.refuse()
    served("address", "add", "ada@corp.example", "ada@home.example")
    served("exclude", "add", "*@private.example")
    served("exclude", "add", "x@y.example", "--user", "ada@corp.example")
    served("settings", "set", "match.several", "all")
    yield served
    served.stop()


@pytest.fixture(scope="module")
def admin(filled):
    return filled.token("admin", *EVERY)


def every(relay, admin, where, **query):
    """Return the items of all pages."""
    found, more = [], {}
    while True:
        answer = relay.call("GET", path(*where), admin, limit=2, **query, **more)
        assert answer.status == 200
        found += answer.json["items"]
        if answer.json["next"] is None:
            return found
        more = {"cursor": answer.json["next"]}


@pytest.mark.parametrize("wanted", FILTERS)
def test_the_log_is_the_same(filled, admin, wanted):
    """A filter finds the same rows, with the same values under the same names."""
    rows = filled.json("log", wanted)
    assert every(filled, admin, ["messages"], q=wanted)[::-1] == rows


def test_single_parameters_mean_what_the_options_mean(filled, admin):
    """Each option has a parameter of its name."""
    for options, query in (
        (["--state", "held", "--state", "refused"], {"state": ["held", "refused"]}),
        (
            ["--user", "Ada Byron", "--text", "offer"],
            {"user": "Ada Byron", "q": "offer"},
        ),
        (["--until", "20m"], {"until": "20m"}),
        (["--since", "1h", "--reason", "hold"], {"since": "1h", "reason": "hold"}),
        (["--domain", "corp.example"], {"domain": "corp.example"}),
    ):
        rows = filled.json("log", *options)
        assert rows
        assert every(filled, admin, ["messages"], **query)[::-1] == rows


def test_what_is_one_thing_is_one_thing(filled, admin):
    """Each listing and each single thing says the same in both."""
    for row in filled.json("log"):
        (shown,) = filled.json("show", row["id"])
        answer = filled.call("GET", path("messages", row["id"]), admin).json
        answer.pop("hint")
        answer.pop("org_url")
        assert answer == shown
    users = {row["email"]: row for row in every(filled, admin, ["users"])}
    for row in filled.json("user", "list"):
        assert {key: users[row["email"]][key] for key in row} == row
        (shown,) = filled.json("user", "show", row["email"])
        where = path("users", row["email"], "relay-addresses")
        assert (
            filled.call("GET", where, admin).json["items"] == shown["relay_addresses"]
        )
    for command, where in (
        (["address", "list"], ["accepted-addresses"]),
        (["exclude", "list"], ["exclusions"]),
    ):
        ours = sorted(filled.json(*command), key=str)
        assert sorted(every(filled, admin, where), key=str) == ours
    rows = {row["key"]: row for row in filled.json("settings", "list")}
    for row in filled.call("GET", path("settings"), admin).json["items"]:
        assert rows[row["key"]] == row


def test_who_changed_what_is_the_same(filled, admin):
    """The history, whole and by its conditions."""
    for options, query in (
        ([], {}),
        (["ada@corp.example"], {"user": "ada@corp.example"}),
        (["--change", "address"], {"change": "address"}),
        (["--by", "CLI"], {"by": "CLI"}),
        (["--since", "1h", "--until", "1m"], {"since": "1h", "until": "1m"}),
    ):
        # Making the token was a change as well, which both have.
        rows = filled.json("history", *options)
        assert every(filled, admin, ["history"], **query)[::-1] == rows


def test_what_waits_and_who_is_silent_is_the_same(filled, admin):
    """Counts by state and reason; users for whom nothing was logged."""
    (ours,) = filled.json("status")
    theirs = filled.call("GET", path("status"), admin).json
    assert theirs | {"at": ""} == ours | {"at": ""}
    assert [row["count"] for row in ours["waiting"]] == [2, 1]
    for silent in ("0s", "14d"):
        rows = filled.json("user", "list", "--silent", silent)
        found = every(filled, admin, ["users"], silent=silent)
        assert [one["email"] for one in found] == sorted(one["email"] for one in rows)
        assert len(rows) == (3 if silent == "0s" else 0)


def test_what_is_done_is_the_same(filled, admin):
    """An action changes the same messages, and is counted alike."""
    counted = filled.call(
        "GET", path("messages", "count"), admin, action="hold", q="text:o"
    ).json["count"]
    text = filled.error("hold", "--text", "o", status=1)
    assert f"fits {counted} messages" in text
    body = {"action": "hold", "filter": "text:o", "expected": counted}
    assert filled.call("POST", path("messages", "actions"), admin, body).status == 200
    released = filled.json("release", "--text", "o", "--yes")
    assert len(released) == counted + 1  # One was held before.
