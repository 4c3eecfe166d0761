"""The switch of the org and of each user, as an admin sets and sees them."""

from __future__ import annotations

from typing import Any


def test_everyone_is_told_that_logging_is_off(relay: Any, ada: Any) -> None:
    """`user list`, `user show` and `log` say so beside their tables; check fails."""
    off = relay("deactivate")
    assert off.stdout.startswith("Logging is switched off for everybody since ")
    for command in (
        ("user", "list"),
        ("user", "show", ada["email"]),
        ("log",),
        ("user", "add", "Ben", "--email", "ben@corp.example"),
    ):
        shown = relay(*command)
        assert "logging is switched off for everybody" in shown.stderr, command
        assert "relay activate" in shown.stderr
    rows = {row["check"]: row for row in relay_check(relay)}
    assert rows["logging"]["result"] == "fail"
    assert rows["logging"]["hint"] == "relay activate"
    assert relay("settings", "get", "active").stdout == "false\n"
    assert relay("activate").stdout == "Logging is on.\n"
    assert relay("user", "list").stderr == ""
    rows = {row["check"]: row for row in relay_check(relay)}
    assert rows["logging"]["result"] == "ok"


def relay_check(relay: Any) -> list[dict[str, Any]]:
    """Return the findings; nothing listens, so that the status is 1 in any case."""
    import json

    lines = relay("check", "--json", status=1).stdout.splitlines()
    return [json.loads(line) for line in lines]


def test_the_switch_is_idempotent_and_audited(relay: Any) -> None:
    """A second `deactivate` changes nothing, so that the first keeps its date."""
    first = relay.json("deactivate")
    assert first[0]["active"] is False
    assert first[0]["by"].startswith("cli")
    assert relay.json("deactivate") == first
    (on,) = relay.json("activate")
    assert on["active"] is True
    audit = relay.in_store(lambda store: store.directory.audit())
    assert [(row["subject"], row["new"]) for row in audit] == [
        ("active", True),
        ("active", False),
    ]


def test_activating_a_user_gives_address_and_instructions(relay: Any) -> None:
    """R7, R9: the address alone on the first line, then how to use it."""
    relay("user", "add", "Ada", "--email", "ada@corp.example", "--no-activate")
    (row,) = relay.json("user", "list")
    assert (row["active"], row["state"]) == (False, "not activated")
    assert "not activated" in relay("user", "show", "Ada").stdout
    shown = relay("user", "activate", "ada@corp.example")
    first, *lines = shown.stdout.splitlines()
    assert first == row["relay_address"]
    assert any("Thunderbird" in line for line in lines)
    (row,) = relay.json("user", "list")
    assert (row["active"], row["state"]) == (True, "active")
    assert row["activated_at"]


def test_a_missing_step_is_named(relay: Any) -> None:
    """R11, R12: no accepted address, logging off; exit status 1."""
    relay("user", "add", "Ada", "--email", "ada@corp.example", "--no-activate")
    relay("address", "remove", "Ada", "ada@corp.example")
    relay("deactivate")
    shown = relay("user", "activate", "Ada", status=1)
    assert "(R12): relay activate" in shown.stderr
    assert "(R11): relay address add ada@corp.example ADDRESS" in shown.stderr
    import json

    answer = relay("user", "activate", "Ada", "--json", status=1).stdout
    row = json.loads(answer)
    assert [step["rule"] for step in row["missing"]] == ["R12", "R11"]
    assert row["instructions"] == []


def test_a_disabled_user_is_not_enabled_by_activation(relay: Any, ada: Any) -> None:
    """Who was disabled was disabled by an admin."""
    relay("user", "disable", ada["email"])
    shown = relay("user", "activate", ada["email"], status=1)
    assert f"(R7): relay user enable {ada['email']}" in shown.stderr
    assert relay.json("user", "list")[0]["state"] == "disabled"
