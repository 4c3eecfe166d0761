"""`relay check` finds what is missing and says what helps."""

from __future__ import annotations

import json
import socket
import threading
from typing import TYPE_CHECKING, Any, Self

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
    assert all(
        set(row) == {"check", "result", "detail", "hint", "mend"} for row in rows
    )
    assert all(row["mend"] == row["hint"] for row in rows)
    assert all(row["hint"] for row in rows if row["result"] != "ok")
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
        "notices": "ok",
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


def test_each_wrong_setting_is_a_line(relay: Any) -> None:
    """Whoever corrects a file wants all of its mistakes, not one at a time."""
    with relay.config.open("a") as config:
        config.write("[worker]\nbatch = 0\nthreads = 0\n[salesforce]\nclient = 1\n")
    lines = relay("check", "--json", status=2).stdout.splitlines()
    details = [json.loads(line)["detail"] for line in lines]
    assert [detail.split()[0] for detail in details] == [
        "salesforce.client",
        "worker.batch",
        "worker.threads",
    ]


def test_a_check_leaves_no_store_behind(relay: Any, tmp_path: Path) -> None:
    """In the wrong folder an empty store would hide the mistake."""
    found = _findings(relay)
    assert "relay.db will be created at first start" in found["store"]["detail"]
    assert not list(tmp_path.glob("relay.db*"))


def test_a_folder_that_is_missing_is_named(relay: Any, tmp_path: Path) -> None:
    """The hint is a command that makes it."""
    text = relay.config.read_text("utf-8")
    relay.config.write_text(text.replace("/relay.db", "/data/relay.db"))
    found = _findings(relay)["store"]
    assert (found["result"], found["hint"]) == (
        "fail",
        f"make it: mkdir -p {tmp_path}/data",
    )


class Greeter(threading.Thread):
    """Says one line to whoever connects, or answers one HTTP request."""

    def __init__(self, line: bytes, *, first_read: bool = False) -> None:
        super().__init__(daemon=True)
        self._line = line
        self._first_read = first_read
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]

    def run(self) -> None:
        """Serve one connection."""
        peer, _ = self._server.accept()
        with peer:
            if self._first_read:
                peer.recv(4096)
            peer.sendall(self._line)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.join(5)
        self._server.close()


@pytest.mark.parametrize(
    ("greeting", "result", "said"),
    [
        (b"220 relay.test ESMTP\r\n", "ok", "this relay answers"),
        (b"220 mx.other.test ESMTP Postfix\r\n", "fail", "mx.other.test"),
    ],
)
def test_this_relay_is_told_from_another_server(
    relay: Any, greeting: bytes, result: str, said: str
) -> None:
    """The name in the greeting says whose port it is."""
    with Greeter(greeting) as server:
        text = relay.config.read_text("utf-8")
        relay.config.write_text(text.replace("127.0.0.1:0", f"127.0.0.1:{server.port}"))
        found = _findings(relay)[f"smtp 127.0.0.1:{server.port}"]
    assert found["result"] == result
    assert said in found["detail"]


def test_a_taken_port_for_health_fails(relay: Any) -> None:
    """The relay would not start: its metrics have no port."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with relay.config.open("a") as config:
            config.write(f'[telemetry]\nlisten = "127.0.0.1:{port}"\n')
        found = _findings(relay)[f"telemetry 127.0.0.1:{port}"]
    assert found["result"] == "fail"
    assert "another program" in found["hint"]


def test_a_taken_port_for_http_fails(relay: Any) -> None:
    """Another program's answer is no relay's."""
    answer = b"HTTP/1.1 200 OK\r\n\r\nwelcome"
    with Greeter(answer, first_read=True) as server:
        with relay.config.open("a") as config:
            config.write(f'[web]\nlisten = "127.0.0.1:{server.port}"\n')
        found = _findings(relay)[f"web 127.0.0.1:{server.port}"]
    assert found["result"] == "fail"
    assert "another program" in found["hint"]


def _add_listener(relay: Any, address: str, more: str = "") -> None:
    with relay.config.open("a") as config:
        config.write(f'[[smtp.listeners]]\naddress = "{address}"\n{more}\n')


@pytest.mark.parametrize(
    ("made", "result", "said"),
    [
        ("nothing", "fail", "there is no folder"),
        ("folder", "ok", "is free to listen on"),
        ("file", "fail", "no socket"),
        ("dead socket", "ok", "is free to listen on"),
        ("silent program", "fail", "another program listens there"),
    ],
)
def test_a_unix_socket_that_serve_could_not_make_fails(
    relay: Any, tmp_path: Path, made: str, result: str, said: str
) -> None:
    """`relay serve` would end with it; a check that passes would be of no use."""
    path = tmp_path / "run" / "lmtp"
    _add_listener(relay, f"unix:{path}", 'protocol = "lmtp"')
    if made != "nothing":
        path.parent.mkdir()
    if made == "file":
        path.touch()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        if made in {"dead socket", "silent program"}:
            other.bind(str(path))
        if made == "silent program":
            other.listen(9)
        else:
            other.close()
        found = _findings(relay)
    row = found[f"lmtp unix:{path}"]
    assert (row["result"], said in row["detail"]) == (result, True)
    # What is known not to be this relay is held no session with.
    assert f"session unix:{path}" not in found


def test_a_missing_folder_of_a_socket_has_its_hint(relay: Any, tmp_path: Path) -> None:
    """The hint is a command."""
    _add_listener(relay, f"unix:{tmp_path}/run/lmtp", 'protocol = "lmtp"')
    found = _findings(relay)[f"lmtp unix:{tmp_path}/run/lmtp"]
    assert found["hint"] == f"make it: mkdir -p {tmp_path}/run"


@pytest.mark.parametrize("more", ["", 'proxy_from = ["192.0.2.0/24"]'])
def test_a_taken_port_of_a_further_listener_is_seen(relay: Any, more: str) -> None:
    """A port that only load balancers may ask is not said to be free, either."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        _add_listener(relay, f"127.0.0.1:{port}", more)
        found = _findings(relay)
    row = found[f"smtp 127.0.0.1:{port}"]
    assert row["result"] == ("warn" if more else "fail")
    assert "another program" in row["hint"]


def test_health_of_a_running_relay_is_no_failure(relay: Any) -> None:
    """What answers as our health does is a relay."""
    answer = b'HTTP/1.1 200 OK\r\n\r\n{"alive":true}'
    with Greeter(answer, first_read=True) as server:
        with relay.config.open("a") as config:
            config.write(f'[telemetry]\nlisten = "127.0.0.1:{server.port}"\n')
        found = _findings(relay)[f"telemetry 127.0.0.1:{server.port}"]
    assert found["result"] == "ok"


def test_a_taken_port_is_told_from_a_running_relay(relay: Any) -> None:
    """A listener that greets with 220 is a relay; a silent one is in the way."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        text = relay.config.read_text("utf-8")
        relay.config.write_text(text.replace("127.0.0.1:0", f"127.0.0.1:{port}"))
        found = _findings(relay)[f"smtp 127.0.0.1:{port}"]
    assert found["result"] == "fail"
    assert "another program" in found["hint"]


def test_an_address_of_another_machine_cannot_be_listened_on(relay: Any) -> None:
    """The hint says what is wrong with the address."""
    text = relay.config.read_text("utf-8")
    relay.config.write_text(text.replace("127.0.0.1:0", "192.0.2.1:2525"))
    found = _findings(relay)["smtp 192.0.2.1:2525"]
    assert found["result"] == "fail"
    assert "no such address" in found["hint"]


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


SECRET = """\
[salesforce]
instance_url = "http://127.0.0.1:1"
client_id = "key"
client_secret = "hush"
"""


@pytest.mark.parametrize(
    ("keys", "mode", "named"),
    [
        (SECRET, 0o644, "salesforce.client_secret"),
        (SECRET, 0o640, ""),
        (SECRET, 0o600, ""),
        ('[salesforce]\nclient_secret = ""\n', 0o644, ""),
        ("", 0o644, ""),
    ],
)
def test_a_settings_file_with_a_secret_is_not_for_everybody(
    relay: Any, keys: str, mode: int, named: str
) -> None:
    """What `cp config.example.toml relay.toml` makes is readable for all."""
    with relay.config.open("a") as config:
        config.write(keys)
    relay.config.chmod(mode)
    row = _findings(relay).get("secrets")
    assert bool(row) is bool(named)
    if row:
        assert row["result"] == "warn"
        assert named in row["detail"]
        assert "hush" not in row["detail"]
        assert f"chmod 600 {relay.config}" in row["hint"]


def test_the_files_of_secrets_are_looked_at_too(relay: Any, tmp_path: Path) -> None:
    """A path is taken from the folder of the settings file."""
    (tmp_path / "secret").write_text("hush\n")
    (tmp_path / "secret").chmod(0o644)
    with relay.config.open("a") as config:
        config.write(
            '[salesforce]\ninstance_url = "http://127.0.0.1:1"\nclient_id = "key"\n'
            'client_secret_file = "secret"\n'
        )
    row = _findings(relay)["secrets"]
    assert row["detail"].startswith(f"{tmp_path}/secret holds salesforce.client_secret")
