"""`POST /messages`: programs hand mail over by HTTP, with a token."""

from __future__ import annotations

import json
import os
import signal
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.test_processes import serving  # the port is open before it is served
from tests.fakes.processes import RelayProcess, free_port, mail_to, wait_for

if TYPE_CHECKING:
    from tests.fakes.processes import SandboxProcess

pytestmark = pytest.mark.timeout(90)
MAIL = {"Content-Type": "message/rfc822"}


class Client:
    """Posts to one relay."""

    def __init__(self, relay: RelayProcess, port: int) -> None:
        self.relay = relay
        self.url = f"http://127.0.0.1:{port}"

    def token(self, name: str, *arguments: str) -> dict[str, str]:
        """Make a token; return the header that shows it."""
        (row,) = self.relay.json("token", "add", name, *arguments)
        return {"Authorization": f"Bearer {row['token']}"}

    def post(
        self, body: bytes, *headers: dict[str, str], path: str = "/messages"
    ) -> tuple[int, dict[str, Any]]:
        """Return status and answer."""
        sent = {name: value for one in headers for name, value in one.items()}
        request = urllib.request.Request(self.url + path, body, sent, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)


@pytest.fixture
def client(idle: RelayProcess) -> Client:
    """Run a relay that takes mail over HTTP as well."""
    port = free_port()
    idle.set(web__listen=f"127.0.0.1:{port}", smtp__max_message_bytes=65_536)
    idle.add_user("Ada Rep", "ada@corp.example")
    idle.start()
    serving(idle)
    return Client(idle, port)


def test_a_mail_is_logged(client: Client, sandbox: SandboxProcess) -> None:
    """202 with the id that `relay show` takes; then it goes its way like any other."""
    sandbox.person("Contact", "kim@customer.example")
    raw = mail_to("kim@customer.example").as_bytes()
    ada = client.token("crm", "--user", "ada@corp.example")
    status, answer = client.post(raw, ada, MAIL)
    assert (status, answer["state"]) == (202, "queued")
    row = client.relay.settled(answer["id"])
    assert (row["state"], row["peer"]) == ("logged", "http")
    assert "token crm" in row["trace"][0]["detail"]
    assert len(sandbox.rows("EmailMessage")) == 1
    # The same mail again is a copy, and not logged twice.
    _, again = client.post(raw, ada, MAIL)
    assert client.relay.settled(again["id"])["state"] == "logged"
    assert len(sandbox.rows("EmailMessage")) == 1


def test_each_mistake_has_its_status_and_mend(client: Client) -> None:
    """What is wrong with the request is told before its body is read."""
    raw = mail_to("kim@customer.example").as_bytes()
    eve = mail_to("kim@customer.example", From="eve@evil.example").as_bytes()
    ada = client.token("crm", "--user", "ada@corp.example")
    anybody = client.token("gateway")
    client.relay.add_user("Bob", "bob@corp.example")
    user = "/messages?user=ada@corp.example"
    cases = [
        (401, "unauthorized", client.post(raw, MAIL)),
        (401, "unauthorized", client.post(raw, {"Authorization": "Bearer x"}, MAIL)),
        (400, "no_user", client.post(raw, anybody, MAIL)),
        (404, "unknown_user", client.post(raw, anybody, path="/messages?user=nobody")),
        (403, "not_your_user", client.post(raw, ada, path="/messages?user=Bob")),
        (415, "not_a_mail", client.post(raw, ada, {"Content-Type": "text/html"})),
        (413, "too_large", client.post(b"x" * 70_000, ada, MAIL)),
        (400, "empty", client.post(b"\r\n", ada, MAIL)),
        (403, "sender_not_accepted", client.post(eve, ada, MAIL)),
        (422, "loop", client.post(b"Received: by x\n" * 60 + raw, ada, MAIL)),
        (404, "not_found", client.post(raw, ada, MAIL, path="/elsewhere")),
    ]
    for status, error, (got, answer) in cases:
        assert (got, answer["error"]) == (status, error)
        assert answer["mend"]
    refused = client.relay.log("--refused")
    assert [row["reason"] for row in refused] == ["sender_not_accepted", "loop"]
    assert {row["peer"] for row in refused} == {"http"}
    assert client.post(raw, anybody, MAIL, path=user)[0] == 202
    client.relay.run("token", "remove", "crm")
    assert client.post(raw, ada, MAIL)[0] == 401
    (row,) = client.relay.json("token", "list")
    assert (row["name"], row["user"]) == ("gateway", None)
    assert row["used_at"]
    assert "Bearer" not in client.relay.output()


def test_the_reason_arrives_before_the_mail_has_ended(client: Client) -> None:
    """A program that sends its whole mail first reads why the mail was refused.

    An answer in the middle would end as a broken connection.
    """
    client.relay.stop()
    client.relay.set(smtp__max_message_bytes=8_000_000)
    client.relay.start()
    serving(client.relay)
    ada = client.token("crm", "--user", "ada@corp.example")
    raw = b"X: y\r\n" * 100_000 + b"\r\n" + b"x" * 7_000_000
    status, answer = client.post(raw, ada, MAIL)
    assert (status, answer["error"]) == (413, "header_too_large")


def test_a_clean_restart_keeps_the_port(client: Client) -> None:
    """SIGHUP replaces this process too; the old one stops when the new one serves."""
    ada = client.token("crm", "--user", "ada@corp.example")
    assert client.relay.process
    os.kill(client.relay.process._child.pid, signal.SIGHUP)
    wait_for(lambda: '"restarted"' in client.relay.output())
    raw = mail_to("kim@customer.example").as_bytes()
    assert client.post(raw, ada, MAIL)[0] == 202
    assert client.relay.stop() == 0


def test_the_role_needs_an_address(idle: RelayProcess) -> None:
    """Without web.listen there is nothing that it could do."""
    done = idle.run("serve", "--roles", "web", status=2)
    assert b"web.listen (not set)" in done.stderr
