"""Accepted addresses, claims and the history, through the commands."""

from __future__ import annotations

from typing import Any

import pytest

from relay.cli import address as module
from relay.console import people_import
from relay.core.org import SalesforceUser

SFID = "005000000000001AAA"


def test_an_address_against_which_something_speaks_wants_yes(
    relay: Any, ada: Any
) -> None:
    """The reason is named, nothing is stored, and --yes goes on."""
    line = relay.error("address", "add", "Ada Byron", "*@gmail.com", status=1)
    assert "anybody may open a mailbox at gmail.com" in line
    assert "--yes" in line
    assert len(relay.json("address", "list")) == 1
    said = relay("address", "add", "Ada Byron", "*@gmail.com", "--yes")
    assert "Note: anybody may" in said.stderr
    assert said.stdout == "*@gmail.com may send for ada@corp.example.\n"


def test_an_address_of_another_user_wants_yes(relay: Any, ada: Any) -> None:
    """Also as the own address of a new user, or of a moved one."""
    relay("user", "add", "Ben", "--email", "ben@corp.example")
    for key in ("b@home.example", "b2@home.example"):
        relay("address", "add", "Ben", key)
    for arguments in (
        ("address", "add", "Ada Byron", "ben@corp.example"),
        ("address", "add", "Ada Byron", "b@home.example"),
        ("user", "add", "Cy", "--email", "b@home.example"),
        ("user", "set-email", "Ada Byron", "b2@home.example"),
    ):
        assert "Ben <ben@corp.example>" in relay.error(*arguments, status=1)
        assert relay(*arguments, "--yes").exit_code == 0


def test_a_second_time_wants_nothing(relay: Any, ada: Any) -> None:
    """What is on the list was confirmed, or was there before."""
    relay("address", "add", "Ada Byron", "*@gmail.com", "--yes")
    assert "already" in relay("address", "add", "Ada Byron", "*@gmail.com").stdout


def test_delegates_are_listed_with_their_names(relay: Any, ada: Any) -> None:
    """An assistant sends for the rep; both names stand in the list and the log."""
    said = relay(
        *("address", "add", "Ada Byron", "carol@corp.example"), "--delegate", "Carol X"
    ).stdout
    assert said == (
        "carol@corp.example may send for ada@corp.example (sent by Carol X).\n"
    )
    row = relay.json("address", "list", "Ada Byron")[1]
    assert (row["address"], row["delegate"], row["source"]) == (
        *("carol@corp.example", "Carol X"),
        "admin",
    )
    assert "Carol X" in relay("address", "list").stdout
    relay("user", "set-email", "Ada Byron", "carol@corp.example", "--keep-old")
    (message,) = relay.put("One")  # comes from the user's own address
    (row,) = relay.json("log")
    assert (row["id"], row["sent_by"]) == (message, None)


def test_the_log_names_the_delegate(relay: Any, ada: Any) -> None:
    """Who wrote, and for whom."""
    relay("address", "add", "Ada Byron", "carol@corp.example", "--delegate", "Carol")

    async def put(store: Any) -> None:
        from datetime import UTC, datetime

        from relay.core.clock import SystemClock
        from relay.core.ids import new_message_id
        from relay.core.model import Envelope, RawMail, Recipient

        (user,) = await store.directory.users()
        raw = b"Subject: x\r\n\r\nHi\r\n"
        await store.messages.put(
            Envelope(
                mail_from="carol@corp.example",
                peer="127.0.0.1",
                helo="t",
                tls=False,
                received_at=datetime.now(UTC),
                recipients=(
                    Recipient(
                        new_message_id(SystemClock()), "r@in.relay.example", user.id
                    ),
                ),
                header_from="Carol@corp.example",
            ),
            RawMail(len(raw), "0" * 64, data=raw),
        )

    relay.in_store(put)
    (row,) = relay.json("log")
    assert (row["from"], row["sent_by"], row["user"]) == (
        *("Carol@corp.example", "Carol"),
        "ada@corp.example",
    )
    shown = " ".join(relay("log").stdout.split())
    assert "(Carol)" in shown


# ---------------------------------------------------------------- claims


@pytest.fixture
def mailed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the codes that were mailed."""
    codes: list[Any] = []

    async def send(code: Any) -> None:
        codes.append(code)

    monkeypatch.setattr(module, "code_sender", lambda *_: send)
    return codes


def test_an_address_is_claimed_and_verified(
    relay: Any, ada: Any, mailed: list[Any]
) -> None:
    """The code stands in the mail alone, and lets the address send."""
    said = relay("address", "claim", "Ada Byron", "Ada@Home.example").stdout
    (code,) = mailed
    assert code.address == "ada@home.example"
    assert code.code not in said
    wrong = relay.error("address", "verify", "Ada Byron", "aaaa-aaaa", status=1)
    assert "4 tries are left" in wrong
    said = relay("address", "verify", "Ada Byron", code.code).stdout
    assert said == "ada@home.example may send for ada@corp.example.\n"
    row = relay.json("address", "list")[1]
    assert (row["address"], row["source"]) == ("ada@home.example", "claim")
    line = relay.error("address", "verify", "Ada Byron", code.code, status=1)
    assert "relay address claim" in line


def test_a_code_is_a_notice(relay: Any, ada: Any) -> None:
    """With a smarthost it waits in the store for the running relay to send it."""
    text = relay.config.read_text("utf-8")
    notices = 'smarthost = "127.0.0.1:25"\ntls = "none"\nfrom_address = "r@x.example"\n'
    relay.config.write_text(f"{text}\n[notices]\n{notices}", "utf-8")
    relay("address", "claim", "Ada Byron", "a@home.example")
    (code,) = relay.in_store(lambda store: store.notices.find())
    assert (str(code.kind), code.recipient) == ("claim_code", "a@home.example")
    assert code.facts["user"] == "Ada Byron <ada@corp.example>"
    relay("address", "verify", "Ada Byron", code.facts["code"])
    _, done = relay.in_store(lambda store: store.notices.find())
    assert (str(done.kind), done.recipient) == ("claim_done", "ada@corp.example")
    assert done.facts["address"] == "a@home.example"


def test_a_relay_that_sends_no_mail_says_so(relay: Any, ada: Any) -> None:
    """Nobody waits for a code that never comes."""
    line = relay.error("address", "claim", "Ada Byron", "a@home.example", status=2)
    assert "relay address add" in line
    (row,) = relay.json("history")[1:] or [None]
    assert row is None, "no claim was begun"


@pytest.mark.parametrize("what", ["*@home.example", "nobody"])
def test_what_cannot_be_claimed(
    relay: Any, ada: Any, mailed: list[Any], what: str
) -> None:
    """A whole domain is for admins."""
    relay.error("address", "claim", "Ada Byron", what, status=2)
    assert mailed == []


# ---------------------------------------------------------------- Salesforce


@pytest.fixture
def org(relay: Any, ada: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the Salesforce users by id; Ada is one."""
    with relay.config.open("a") as config:
        config.write(
            '[salesforce]\ninstance_url = "http://127.0.0.1:9"\n'
            'client_id = "x"\nclient_secret = "y"\n'
        )
    relay("user", "set", "Ada Byron", "--salesforce-id", SFID)
    people: dict[str, Any] = {}

    async def users(_: Any, ids: list[str], __: Any) -> list[SalesforceUser]:
        return [people[one] for one in ids if one in people]

    monkeypatch.setattr(people_import, "salesforce_users", users)
    return people


def test_addresses_come_from_salesforce_and_go(relay: Any, org: dict[str, Any]) -> None:
    """Shown first; changed with --yes; in step after the address changed there."""
    org[SFID] = SalesforceUser(SFID, "Ada", "ada@sf.example", is_active=True)
    (step,) = relay.json("address", "import", "--dry-run")
    assert (step["address"], step["change"]) == ("ada@sf.example", "add")
    assert len(relay.json("address", "list")) == 1, "a dry run changes nothing"
    assert "--yes" in relay("address", "import", status=1).stderr
    assert "1 changed." in relay("address", "import", "--yes").stdout
    assert "Nothing was changed." in relay("address", "import").stdout
    org[SFID] = SalesforceUser(SFID, "Ada", "new@sf.example", is_active=True)
    relay("address", "import", "--yes")
    rows = {row["address"]: row["source"] for row in relay.json("address", "list")}
    assert rows == {"ada@corp.example": "own", "new@sf.example": "salesforce"}


# ---------------------------------------------------------------- history


def test_the_history_is_listed_and_undone(relay: Any, ada: Any) -> None:
    """Who, what, before, after, when; and back again."""
    relay("user", "rename", "Ada Byron", "Ada Lovelace")
    relay("settings", "set", "match.several", "oldest")
    rows = relay.json("history")
    assert [row["action"] for row in rows] == ["user_add", "user_name", "setting_set"]
    of_ada = relay.json("history", "Ada Lovelace")
    assert [row["action"] for row in of_ada] == ["user_add", "user_name"]
    change = of_ada[1]
    assert (change["before"], change["after"]) == ("Ada Byron", "Ada Lovelace")
    assert change["actor"].startswith("cli:")
    text = " ".join(relay("history").stdout.split())
    assert "Ada Lovelace" in text
    said = relay("history", "undo", str(change["id"])).stdout
    number = change["id"]
    assert said == (
        f"Change {number} is taken back: the name of ada@corp.example is Ada Byron "
        "again.\n"
    )
    assert relay.json("user", "list") == [ada]
    line = relay.error("history", "undo", str(change["id"]), status=1)
    assert "taken back already" in line
    assert "taken back by" in " ".join(relay("history").stdout.split())
    assert len(relay.json("history", "--limit", "1")) == 1
    assert relay.json("history", "--since", "1h") == relay.json("history")
    (undo,) = relay.json("history", "undo", str(relay.json("history")[-1]["id"]))
    assert undo["after"] == "Ada Lovelace"


def test_the_own_address_is_removed_with_a_note(relay: Any, ada: Any) -> None:
    """It is a slip more often than not; another address goes without a word."""
    relay("address", "add", "Ada Byron", "ada@other.example")
    assert not relay("address", "remove", "Ada Byron", "ada@other.example").stderr
    note = relay("address", "remove", "Ada Byron", "ada@corp.example").stderr
    assert "relay address add ada@corp.example ada@corp.example" in note


def test_an_undone_setting_is_written_as_it_is_set(relay: Any) -> None:
    """A list with commas, and no None; the same words where it cannot be undone."""
    key = "match.internal_domains"
    relay("settings", "set", key, "auto,a.example")
    relay("settings", "unset", key)
    first, second = (str(row["id"]) for row in relay.json("history"))
    line = relay.error("history", "undo", first, status=1)
    assert f"{key} is not set now, and not auto,a.example as change {first}" in line
    said = relay("history", "undo", second).stdout
    assert said == f"Change {second} is taken back: {key} is auto,a.example again.\n"
    relay("settings", "set", "active", "false")
    relay("settings", "set", "active", "true")
    off = str(relay.json("history")[-2]["id"])
    assert "active is true now, and not false" in relay.error(
        *("history", "undo", off), status=1
    )


def test_long_changes_stay_on_a_page(relay: Any, ada: Any) -> None:
    """A removed user's row goes on below, and keeps the addresses apart."""
    for number in range(9):
        relay("address", "add", "Ada Byron", f"ada{number}@other.example")
    relay("user", "remove", "Ada Byron")
    lines = relay("history").stdout.splitlines()
    assert max(len(line) for line in lines) <= 200
    assert "(address: ada@corp.example" in " ".join(" ".join(lines).split())


def test_a_removed_user_is_brought_back(relay: Any, ada: Any) -> None:
    """With the relay address that the rep's mail program knows."""
    relay("user", "remove", "Ada Byron")
    (removal,) = (r for r in relay.json("history", "Ada Byron") if r["before"])
    assert "is back" in relay("history", "undo", str(removal["id"])).stdout
    assert relay.json("user", "list") == [ada]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [(("undo",), "undo and the number"), (("undo", "x"), "undo and the number"),
     (("undo", "1", "2"), "undo and the number"), (("a", "b"), "name one user")],
)  # fmt: skip
def test_slips_in_the_history(
    relay: Any, arguments: tuple[str, ...], part: str
) -> None:
    """Wrong usage is named."""
    assert part in relay.error("history", *arguments, status=2)


def test_an_empty_history(relay: Any) -> None:
    """A new relay has none."""
    assert "Nothing was changed yet" in relay("history").stdout
    assert "No change fits." in relay("history", "--by", "nobody").stdout
