"""How mail reaches Salesforce, in the API: who decides, who chooses, what it costs."""

from __future__ import annotations

import pytest

from tests.cli.test_logging import BOTH, PLACE
from tests.web.conftest import EVERY, make_served, path

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def relay(tmp_path_factory):
    relay = make_served(tmp_path_factory.mktemp("relay"))
    with relay.config.open("a") as config:
        config.write(BOTH)
    relay("user", "add", "Ada", "--email", "ada@corp.example")
    relay("user", "add", "Bob", "--email", "bob@corp.example")
    relay.start()
    relay.admin = relay.token("admin", *EVERY)
    relay.ada = relay.token("ada", "users:read", user="ada@corp.example")
    yield relay
    relay.stop()


def test_an_admin_decides_by_etag(relay):
    """Each choice with its cost; a stale change is refused."""
    shown = relay.call("GET", path("logging"), relay.admin)
    assert shown.json["decides"] == "each_user"
    words = [one["word"] for one in shown.json["choices"]]
    assert words == ["each_user", "api_only", "bcc_only"]
    assert shown.json["choices"][2]["estimate"]["calls_a_day"] == 0
    body = {"decides": "bcc_only"}
    assert relay.call("PUT", path("logging"), relay.admin, body).status == 428
    who = relay.admin | shown.etag
    done = relay.call("PUT", path("logging"), who, body)
    assert (done.json["decides"], done.json["set_by"]) == ("bcc_only", "api:admin")
    assert relay.call("PUT", path("logging"), who, body).status == 412
    shown = relay.call("GET", path("users", "ada@corp.example", "logging"), relay.admin)
    own = shown.json
    assert (own["way"], own["fixed"]) == ("bcc", True)
    back = relay.admin | done.etag
    assert relay.call("PUT", path("logging"), back, {"decides": "each_user"}).json
    assert relay.call("GET", path("logging"), relay.ada).status == 403


def test_a_choice_is_made_for_a_user(relay):
    """Both values hold as sent; a rep sees the own, and changes nothing here."""
    where = path("users", "ada@corp.example", "logging")
    shown = relay.call("GET", where, relay.ada)
    assert (shown.json["way"], shown.json["chosen"]) == ("api", None)
    assert shown.json["missing"][0]["rule"] == "R10"
    other = path("users", "bob@corp.example", "logging")
    assert relay.call("GET", other, relay.ada).status in {403, 404}
    body = {"way": "bcc", "salesforce_address": PLACE}
    assert relay.call("PUT", where, relay.ada | shown.etag, body).status == 403
    done = relay.call("PUT", where, relay.admin | shown.etag, body)
    assert (done.json["way"], done.json["salesforce_address"]) == ("bcc", PLACE)
    wrong = {"way": "bcc", "salesforce_address": "x@in.relay.example"}
    answer = relay.call("PUT", where, relay.admin | done.etag, wrong)
    assert (answer.status, answer.json["error"]) == (422, "invalid")
    none = relay.call("PUT", where, relay.admin | done.etag, {})
    assert (none.json["way"], none.json["has_address"]) == ("api", False)


def test_a_template_is_tried(relay):
    """Or refused with the fields that there are."""
    body = {"template": "[x] {{Activity_subject}}", "subject": "Tea"}
    shown = relay.call("POST", path("subject-preview"), relay.admin, body)
    assert shown.json == {
        "mail": "[x] Tea",
        "reply": "Reply: Tea",
        "reminder": "[x] Tea",
    }
    wrong = relay.call(
        "POST", path("subject-preview"), relay.admin, {"template": "{{nobody}}"}
    )
    assert (wrong.status, wrong.json["error"]) == (422, "invalid")
    assert "activity_subject" in wrong.json["hint"]
