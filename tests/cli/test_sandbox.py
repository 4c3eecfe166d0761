"""`relay sandbox`, and the commands that ask Salesforce, against a real one."""

from __future__ import annotations

import json
import re
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.children import piped

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"
MAIL = b"""\
From: Ada Berger <ada@corp.example>\r
To: Mara <mara@acme.example>\r
Cc: nora@nobody.example\r
Subject: The offer\r
Date: Wed, 4 Mar 2026 12:00:00 +0000\r
Message-ID: <offer@corp.example>\r
\r
Hello Mara\r
"""


@pytest.fixture(scope="module")
def snippet() -> Iterator[str]:
    """Run a sandbox and return the settings that it prints."""
    command = [sys.executable, "-m", "relay", "sandbox", "--port", "0"]
    with piped(command) as (process, printed):
        lines = []
        while "dump" not in (line := printed.readline()):
            assert line, process.stderr and process.stderr.read()
            lines.append(line)
        head, _, keys = "".join(lines).partition("lines there:\n")
        assert "the section [salesforce] of relay.toml" in head
        yield keys
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)
        assert (process.returncode, errors) == (0, "")


@pytest.fixture
def connected(relay: Any, snippet: str) -> Any:
    """Return a relay with the settings that the sandbox printed."""
    with relay.config.open("a") as config:
        config.write(f"[salesforce]\n{snippet}")
    return relay


def test_the_keys_take_the_place_of_those_of_the_example(
    relay: Any, snippet: str
) -> None:
    """Who has copied `config.example.toml` puts each key where it stands there."""
    before, head, section = EXAMPLE.read_text("utf-8").partition("\n[salesforce]\n")
    section, end, after = section.partition("\n[")
    for line in snippet.split("\n"):
        if key := line.partition(" = ")[0]:
            section, count = re.subn(f"(?m)^{key} = .*$", line, section)
            assert count == 1
    text = before + head + section + end + after
    relay.config.write_text(text, "utf-8")
    (row,) = relay.json("settings", "get", "salesforce.client_id")
    assert row["value"] == "relay-sandbox"
    relay.config.write_text(f"{text}[salesforce]\n{snippet}", "utf-8")
    assert "is in the file already" in relay.error("user", "list", status=2)


def test_the_printed_settings_are_ready_to_use(connected: Any) -> None:
    """`relay check` against the sandbox finds nothing that fails."""
    found = {row["check"]: row for row in connected.json("check")}
    failed = [row for row in found.values() if row["result"] == "fail"]
    assert failed == []
    assert found["salesforce login"]["result"] == "ok"
    assert found["api calls"]["result"] == "ok"
    for name in ("Contact", "Lead", "Opportunity", "Task", "EmailMessage"):
        assert found[name]["result"] == "ok", found[name]


def test_refused_credentials_fail_with_their_hint(connected: Any) -> None:
    """A wrong secret is told apart from a network that is down."""
    text = connected.config.read_text("utf-8")
    secret = 'client_secret = "hunter2"'
    connected.config.write_text(re.sub("client_secret = .*", secret, text))
    lines = connected("check", "--json", status=1).stdout.splitlines()
    found = {row["check"]: row for row in map(json.loads, lines)}
    assert found["salesforce login"]["result"] == "fail"
    assert "client_id" in found["salesforce login"]["hint"]
    assert "hunter2" not in "".join(lines)


def test_explain_says_what_would_be_written(connected: Any) -> None:
    """People, records and fields, and nothing is written anywhere."""
    connected("user", "add", "Ada Berger", "--email", "ada@corp.example")
    result = connected(
        "explain", "-", "--user", "Ada Berger", "--json", stdin=MAIL
    ).stdout
    (answer,) = [json.loads(line) for line in result.splitlines()]
    assert answer["state"] == "logged"
    assert {record["object"] for record in answer["records"]} == {
        "Contact",
        "Opportunity",
    }
    assert answer["unknown"] == ["nora@nobody.example"]
    assert answer["activities"][0]["fields"]["Subject"] == "The offer"
    assert connected.json("log") == []
    text = connected("explain", "-", "--user", "Ada Berger", stdin=MAIL).stdout
    assert "Contact.Email" in text


def test_explain_names_a_user_who_is_not_there(connected: Any) -> None:
    """Exit 1 with the name that was asked for."""
    result = connected("explain", "-", "--user", "Bob", status=1, stdin=MAIL)
    assert "Bob" in result.stderr


def test_other_machines_cannot_reach_a_sandbox(relay: Any) -> None:
    """There is no lock on it, so that loopback is all there is."""
    assert "loopback" in relay.error("sandbox", "--host", "0.0.0.0", status=2)


def test_the_fields_for_keys_are_an_offer_with_its_next_step(
    connected: Any, tmp_path: Path
) -> None:
    """What `check` calls ok is no failure here; each step names the one after it."""
    result = connected("setup", "salesforce", status=1)
    assert "FAIL" not in result.stdout
    assert "optional" in result.stdout
    assert "Mail is logged without these fields" in result.stdout
    made = connected("setup", "salesforce", "--to", str(tmp_path / "a b"))
    assert {str(tmp_path / "a b/package.xml")} <= set(made.stdout.splitlines())
    assert f"sf project deploy start --metadata-dir '{tmp_path}/a b'" in made.stderr
    assert "Relay_Keys" in made.stderr
