"""`relay user import`: a plan first, from a file or from Salesforce."""

from __future__ import annotations

from typing import Any

from tests.cli.test_unmatched import SALESFORCE
from tests.fakes.served import served

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
