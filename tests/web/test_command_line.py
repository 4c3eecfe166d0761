"""`relay log`, `show` and `status` over the API: the same output as at the store."""

from __future__ import annotations

import json
import re
import signal
import sys

import pytest

from tests.fakes.children import piped
from tests.web.conftest import EVERY

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def there(served, monkeypatch, tmp_path):
    """Return the options of the served relay; its token is in a file."""
    secret = served.token("cli", *EVERY)["Authorization"].removeprefix("Bearer ")
    file = tmp_path / "token"
    file.write_text(f"{secret}\n", "utf-8")
    monkeypatch.delenv("RELAY_TOKEN", raising=False)
    url = f"http://127.0.0.1:{served.port}"
    return ["--url", url, "--token-file", str(file)]


def test_the_output_is_the_same(served, there):
    """For people and for programs; a shortened id is enough in both."""
    one, _ = served.put("One", "Two")
    served.refuse()
    served("hold", one)
    for command in (
        ["log"],
        ["log", "--limit", "1"],
        ["log", "--refused"],
        ["log", "state:held"],
        ["log", "--user", "ada@corp.example", "--since", "1h"],
        ["show", one],
        ["show", one[:25]],
    ):
        for form in ([], ["--json"]):
            ours = served(*command, *form).stdout
            assert served(*command, *form, *there).stdout == ours, command
    raw = served("show", one, "--raw").stdout_bytes
    assert served("show", one, "--raw", *there).stdout_bytes == raw
    ours = served("status").stdout
    assert served("status", *there).stdout == ours
    assert "Nothing to show" in served("log", "--text", "nowhere", *there).stdout


def test_what_changes_is_followed(served, there):
    """Each message when it comes, and again when its state changes."""
    (first,) = served.put("One")
    command = [sys.executable, "-m", "relay", "log", "--follow", "--json", *there]
    with piped(command) as (follower, printed):

        def line():
            row = json.loads(printed.readline())
            return row["id"], row["state"], "changed_at" in row

        assert line() == (first, "queued", False)
        (second,) = served.put("Two")
        assert line() == (second, "queued", False)
        served("hold", first)
        assert line() == (first, "held", True)
        follower.send_signal(signal.SIGINT)
        rest, errors = follower.communicate(timeout=20)
    assert (rest, errors, follower.returncode) == ("", "", 0)


def test_the_status_is_watched(served, there):
    """It is shown again and again, until Ctrl-C."""
    served.put("One")
    command = [sys.executable, "-m", "relay", "status", "--watch", "--json", *there]
    with piped(command) as (watcher, printed):
        for _ in range(2):
            (row,) = json.loads(printed.readline())["waiting"]
            assert (row["state"], row["count"]) == ("queued", 1)
        watcher.send_signal(signal.SIGINT)
        watcher.communicate(timeout=20)
    assert watcher.returncode == 0


def test_mistakes_are_told(served, there, monkeypatch):
    """Each with what helps; a token never leaves in the clear, nor stands in a text."""
    url, file = there[1], there[3]
    for options, words, status in (
        (["--url", url], "RELAY_TOKEN", 2),
        (["--token-file", file], "goes with --url", 2),
        (["--url", "ftp://x", "--token-file", file], "no address of an API", 2),
        (["--url", "http://relay.example", "--token-file", file], "https://", 2),
        (["--url", "http://127.0.0.1:9", "--token-file", file], "cannot be asked", 1),
        ([*there, "--probes"], "--probes", 2),
    ):
        assert words in served.error("log", *options, status=status)
    assert "no message" in served.error("show", "0" * 26, *there, status=1)
    monkeypatch.setenv("RELAY_TOKEN", "wrong-token")
    said = served.error("status", "--url", url, status=1)
    assert "token" in said
    assert "wrong-token" not in said
    less = served.token("less", "mail:submit")["Authorization"].partition(" ")[2]
    monkeypatch.setenv("RELAY_TOKEN", less)
    said = served.error("log", "--url", url, status=1)
    assert re.search(r"may not see messages.*--scope log:read", said)
