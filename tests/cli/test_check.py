"""`relay check` finds what is missing and says how to mend it."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import dns.asyncresolver
import dns.resolver
import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def no_dns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answer every MX question as a machine without DNS does."""

    async def resolve(*_: object, **__: object) -> None:
        raise dns.resolver.NoNameservers

    monkeypatch.setattr(dns.asyncresolver, "resolve", resolve)


def _findings(relay: Any, *, status: int = 1) -> dict[str, dict[str, str]]:
    lines = relay("check", "--json", status=status).stdout.splitlines()
    rows = [json.loads(line) for line in lines]
    assert all(set(row) == {"check", "result", "detail", "mend"} for row in rows)
    assert all(row["mend"] for row in rows if row["result"] != "ok")
    return {row["check"]: row for row in rows}


def test_without_salesforce_the_rest_is_checked(relay: Any) -> None:
    """One failure does not hide the other lines; the status is 1."""
    found = _findings(relay)
    results = {name: row["result"] for name, row in found.items()}
    assert results == {
        "config": "ok",
        "relay domains": "ok",
        "store": "ok",
        "disk": "ok",
        "queue": "ok",
        "users": "warn",
        "tls": "ok",
        "smtp 127.0.0.1:0": "ok",
        "dns in.relay.example": "warn",
        "salesforce": "fail",
    }
    assert "salesforce.instance_url" in found["salesforce"]["detail"]


def test_people_see_ok_warn_and_fail(relay: Any) -> None:
    """The table has a word for each line, and a count below."""
    text = relay("check", status=1).stdout
    for word in (" ok ", " warn ", " FAIL ", "1 failed"):
        assert word in text


def test_wrong_settings_are_exit_2_and_a_line(relay: Any) -> None:
    """What keeps the relay from starting is the one line there is."""
    with relay.config.open("a") as config:
        config.write("[worker]\nbatch = 0\n")
    found = _findings(relay, status=2)
    assert list(found) == ["config"]
    assert "worker.batch" in found["config"]["detail"]


def test_a_taken_port_is_told_from_a_running_relay(relay: Any) -> None:
    """A listener that greets with 220 is a relay; a silent one is in the way."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        text = relay.config.read_text("utf-8")
        relay.config.write_text(text.replace("127.0.0.1:0", f"127.0.0.1:{port}"))
        found = _findings(relay)[f"smtp 127.0.0.1:{port}"]
    assert found["result"] == "fail"
    assert "another program" in found["mend"]


def test_an_address_of_another_machine_cannot_be_listened_on(relay: Any) -> None:
    """The mend says what is wrong with the address."""
    text = relay.config.read_text("utf-8")
    relay.config.write_text(text.replace("127.0.0.1:0", "192.0.2.1:2525"))
    found = _findings(relay)["smtp 192.0.2.1:2525"]
    assert found["result"] == "fail"
    assert "no such address" in found["mend"]


def test_a_store_that_does_not_open_fails(relay: Any, tmp_path: Path) -> None:
    """The line names the setting."""
    (tmp_path / "relay.db").write_bytes(b"no database at all" * 100)
    found = _findings(relay)["store"]
    assert found["result"] == "fail"
    assert "store.url" in found["detail"]


def test_dead_letters_are_something_to_look_at(relay: Any, ada: Any) -> None:
    """Users and queue are told as they are."""
    relay.put("One", "Two")
    found = _findings(relay)
    assert found["users"]["detail"] == "1 active"
    assert found["queue"]["detail"] == "2 queued"
