"""`relay log`, `show` and `status` over the API: the same output as at the store."""

from __future__ import annotations

import json
import re
import signal
import sys

import pytest

from relay.cli.remote import Remote
from tests.fakes.children import Process, free_port, listening, piped
from tests.web.conftest import EVERY, make_served

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


def test_records_are_links_over_the_api_too(served, monkeypatch, there):
    """The relay there says where its org is; --json has the row alone."""
    (id_,) = served.put("One")
    (row,) = served.json("show", id_, *there)
    assert "org_url" not in row
    whole = Remote.get

    def with_records(self, *path, **query):
        found = whole(self, *path, **query)
        record = {"object": "Task", "id": "00T000000000001AAA", "key": "", "rule": ""}
        return found | {"records": [record], "org_url": "https://org.example/"}

    monkeypatch.setattr(Remote, "get", with_records)
    shown = served("show", id_, *there).stdout
    assert "https://org.example/00T000000000001AAA" in shown


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


# ------------------------------------------------------------ a server that comes back


class WebProcess:
    """`relay serve --roles web` on a port that it keeps, beside its commands."""

    def __init__(self, folder):
        self.relay = make_served(folder)
        self.port = free_port()
        text = self.relay.config.read_text("utf-8")
        listen = f'listen = "127.0.0.1:{self.port}"'
        self.relay.config.write_text(
            text.replace('[web]\nlisten = "127.0.0.1:0"', f"[web]\n{listen}"), "utf-8"
        )
        self.folder = folder
        self.relay("user", "add", "Ada Byron", "--email", "ada@corp.example")

    def start(self):
        self.process = Process(
            ["serve", "--roles", "web", "--config", str(self.relay.config)],
            self.folder / "web.log",
            self.folder,
        )
        self.process.wait_until(lambda: listening(self.port), "the web server")

    def token(self, monkeypatch):
        (row,) = self.relay.json("token", "add", "cli", *scopes(*EVERY))
        monkeypatch.setenv("RELAY_TOKEN", row["token"])
        return ["--url", f"http://127.0.0.1:{self.port}"]


def scopes(*names):
    return [part for name in names for part in ("--scope", name)]


@pytest.fixture
def coming_back(tmp_path, monkeypatch):
    """A web server in a process of its own, and the options that ask it."""
    server = WebProcess(tmp_path)
    server.start()
    yield server, server.token(monkeypatch)
    server.process.kill()


def test_following_misses_nothing_while_the_server_is_away(coming_back):
    """It is killed; mail comes and changes; it is back: each is shown once."""
    server, there = coming_back
    relay = server.relay
    (first,) = relay.put("One")
    command = [sys.executable, "-m", "relay", "log", "--follow", "--json", *there]
    with piped(command) as (follower, printed):

        def line():
            row = json.loads(printed.readline())
            return row["id"], row["state"]

        assert line() == (first, "queued")
        server.process.kill()
        relay("hold", first)
        (second,) = relay.put("Two")
        # What cannot be asked is said once, whatever the number of tries.
        said = follower.stderr.readline()
        assert "cannot be asked" in said
        assert "until it answers" in said
        server.start()
        assert {line(), line()} == {(first, "held"), (second, "queued")}
        server.process.stop()
        server.start()
        (third,) = relay.put("Three")
        assert line() == (third, "queued")
        follower.send_signal(signal.SIGINT)
        rest, _ = follower.communicate(timeout=20)
    assert (rest, follower.returncode) == ("", 0)


def test_watching_the_status_sees_a_restart_through(coming_back):
    """Then it shows what came meanwhile."""
    server, there = coming_back
    server.relay.put("One")
    command = [sys.executable, "-m", "relay", "status", "--watch", "--json", *there]
    with piped(command) as (watcher, printed):

        def count():
            (row,) = json.loads(printed.readline())["waiting"]
            return row["count"]

        assert count() == 1
        server.process.kill()
        server.relay.put("Two")
        assert "until it answers" in watcher.stderr.readline()
        server.start()
        while (found := count()) == 1:
            pass  # Lines that were printed before it was killed.
        assert found == 2
        watcher.send_signal(signal.SIGINT)
        watcher.communicate(timeout=20)
    assert watcher.returncode == 0


def test_who_asks_once_is_told_at_once(coming_back):
    """A relay that is away is a failure; so is one to begin a live view with."""
    server, there = coming_back
    server.process.kill()
    for command in (["status"], ["status", "--watch"], ["log", "--follow"]):
        assert "cannot be asked" in server.relay.error(*command, *there, status=1)
