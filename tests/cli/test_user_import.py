"""`relay user import`: a plan first, from a file or from Salesforce."""

from __future__ import annotations

from typing import Any

from tests.cli.test_unmatched import SALESFORCE
from tests.fakes.served import served

MAIL = """
[web]
listen = "127.0.0.1:0"
public_url = "https://relay.corp.example"
[notices]
smarthost = "127.0.0.1:1"
from_address = "relay@corp.example"
"""
CSV = "name,email,role\nKim,kim@corp.example,monitor\nAda,ada@corp.example,\n"


def test_a_file_is_planned_and_carried_out(relay: Any, ada: Any) -> None:
    """Nothing without --yes where nobody can be asked; who is known is skipped."""
    file = relay.folder / "users.csv"
    file.write_text(CSV, "utf-8")
    plan = relay.json("user", "import", str(file), "--dry-run")
    assert [(one["email"], one["change"]) for one in plan] == [
        ("kim@corp.example", "add"),
        ("ada@corp.example", "skip"),
    ]
    told = relay("user", "import", str(file), status=1)
    assert "1 user not added; --yes" in told.stderr
    assert len(relay.json("user", "list")) == 1
    told = relay("user", "import", "-", "--yes", "--no-activate", stdin=CSV.encode())
    assert "1 added." in told.stdout
    kim = next(u for u in relay.json("user", "list") if u["name"] == "Kim")
    assert (kim["role"], kim["active"]) == ("monitor", False)
    again = relay("user", "import", str(file), "--yes")
    assert "Nobody was added." in again.stdout


def test_who_is_there_is_changed_where_that_is_asked(relay: Any, ada: Any) -> None:
    """The plan says what changes from what; the history has each change."""
    file = relay.folder / "users.csv"
    file.write_text("name,email,role\nAda King,ada@corp.example,admin\n", "utf-8")
    (step,) = relay.json("user", "import", str(file), "--update", "--dry-run")
    assert (step["change"], step["error"]) == ("change", False)
    assert "role: rep → admin" in step["reason"]
    told = relay("user", "import", str(file), "--update", status=1)
    assert "1 user changed; --yes" in told.stderr
    told = relay("user", "import", str(file), "--update", "--yes")
    assert "1 changed." in told.stdout
    (user,) = relay.json("user", "list")
    assert (user["name"], user["role"]) == ("Ada King", "admin")
    actions = [row["action"] for row in relay.json("history")]
    assert actions[-2:] == ["user_name", "user_role"]


def test_new_users_are_mailed_a_link(relay: Any, ada: Any) -> None:
    """Where mail can be sent; else nobody is added."""
    file = relay.folder / "users.csv"
    file.write_text(CSV, "utf-8")
    told = relay("user", "import", str(file), "--yes", "--mail", status=1)
    assert "notices.smarthost" in told.stderr
    assert len(relay.json("user", "list")) == 1
    with relay.config.open("a") as config:
        config.write(MAIL)
    told = relay("user", "import", str(file), "--yes", "--mail")
    assert "mails each of them a link" in told.stdout
    (notice,) = relay.json("notices", "list")
    assert notice["recipient"] == "kim@corp.example"
    states = {u["email"]: u["sign_in"] for u in relay.json("user", "list")}
    assert states == {"kim@corp.example": "invited", "ada@corp.example": "not_invited"}


def test_what_is_no_list_is_named(relay: Any, ada: Any) -> None:
    """Neither a file nor Salesforce, another encoding, no columns."""
    assert "name a CSV file" in relay.error("user", "import", status=2)
    file = relay.folder / "users.csv"
    file.write_bytes("name,email\nJos\xe9,j@x.example\n".encode("latin-1"))
    assert "not UTF-8" in relay.error("user", "import", str(file), status=1)
    file.write_text("Kim\n", "utf-8")
    assert "name,email,role" in relay.error("user", "import", str(file), status=2)


def test_users_of_salesforce_are_added_with_their_ids(relay: Any, ada: Any) -> None:
    """Active ones alone; a second time nobody is left."""
    with served() as org:
        with relay.config.open("a") as config:
            config.write(SALESFORCE.format(url=org.url))
        relay("user", "import", "--salesforce", "--yes")
        there = [one for one in org.dump("User")["User"] if one["IsActive"]]
        found = {u["email"]: u["salesforce_id"] for u in relay.json("user", "list")}
        for one in there:
            if one["Email"] != "ada@corp.example":
                assert found[one["Email"]] == one["Id"]
        again = relay("user", "import", "--salesforce", "--yes")
        assert "Nobody was added." in again.stdout
