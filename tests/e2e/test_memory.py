"""Memory is set by the number of sessions, not by the size of mail.

The bounds are those that the intake is held to: 128 MiB for 100 mails of 25 MB that
arrive at once, 16 MiB for 1,000 idle sessions; here for fewer, in proportion.
"""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.fakes.processes import RelayProcess, free_port, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1024 * 1024
MAILS = 40
MAIL_BYTES = 8 * MIB
POSTS = 12
POST_BLOCKS = 16
IDLE = 400
SLACK_KIB = 2048
"""What a process may need once, whatever the number of sessions."""

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(
        not os.access("/proc/self/smaps_rollup", os.R_OK), reason="no /proc/PID/smaps"
    ),
]


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[RelayProcess]:
    """Run a relay that only takes mail in."""
    relay = RelayProcess(tmp_path / "relay", "http://127.0.0.1:1")
    relay.rcpt = relay.add_user("Ada Rep", "ada@corp.example")
    relay.start(roles="smtp")
    yield relay
    relay.kill()


def memory_kib(relay: RelayProcess) -> int:
    """Return the memory that is the relay's own, all its processes together."""
    tree = {relay.process._child.pid}
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text("utf-8", "replace").rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(stat.parent.name)] = int(fields[1])
    while more := {pid for pid, parent in parents.items() if parent in tree} - tree:
        tree |= more
    total = 0
    for pid in tree:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text("utf-8")
        total += int(text.partition("Pss_Anon:")[2].split()[0])
    return total


def connect(stack: ExitStack, relay: RelayProcess) -> socket.socket:
    """Open a session and read its greeting and the reply to HELO."""
    client = stack.enter_context(
        socket.create_connection(("127.0.0.1", relay.port), timeout=30)
    )
    assert client.recv(1000).startswith(b"220 ")
    ask(client, b"HELO client.example\r\n", b"250 ")
    return client


def ask(client: socket.socket, command: bytes, code: bytes) -> None:
    """Send a command and read its reply."""
    client.sendall(command)
    assert client.recv(1000).startswith(code)


def test_idle_sessions_are_small(relay: RelayProcess) -> None:
    """A session that waits costs at most 16 KiB."""
    with ExitStack() as stack:
        connect(stack, relay)
        before = memory_kib(relay)
        for _ in range(IDLE):
            connect(stack, relay)
        assert memory_kib(relay) - before <= 16 * IDLE + SLACK_KIB


def test_mails_in_flight_stay_out_of_memory(relay: RelayProcess) -> None:
    """A large mail on its way in costs at most 1.28 MiB, and all of them arrive."""
    head = b"From: ada@corp.example\r\nSubject: large\r\n\r\n"
    block = (b"x" * 76 + b"\r\n") * (MIB // 78)
    with ExitStack() as stack:
        clients = [connect(stack, relay) for _ in range(MAILS)]
        before = memory_kib(relay)
        for client in clients:
            ask(client, b"MAIL FROM:<ada@corp.example>\r\n", b"250 ")
            ask(client, b"RCPT TO:<%b>\r\n" % relay.rcpt.encode(), b"250 ")
            ask(client, b"DATA\r\n", b"354 ")
            client.sendall(head)
        peak = 0
        for _ in range(MAIL_BYTES // MIB):
            for client in clients:
                client.sendall(block)
            peak = max(peak, memory_kib(relay))
        assert peak - before <= MAILS * 1.28 * 1024
        for client in clients:
            ask(client, b".\r\n", b"250 2.0.0 OK ")
    wait_for(lambda: len(relay.log()) == MAILS, message="all mails in the journal")


def test_posts_in_flight_stay_out_of_memory(tmp_path: Path) -> None:
    """Large mail over HTTP costs no more than by SMTP, and keeps small mail from
    nothing: that is answered while the large ones are on their way."""
    port = free_port()
    relay = RelayProcess(
        tmp_path / "relay", "http://127.0.0.1:1", web__listen=f"127.0.0.1:{port}"
    )
    relay.add_user("Ada Rep", "ada@corp.example")
    (row,) = relay.json("token", "add", "crm", "--user", "ada@corp.example")
    head = b"From: ada@corp.example\nSubject: large\n\n"
    block = (b"x" * 76 + b"\n") * (MIB // 77)

    def post(stack: ExitStack, size: int) -> HTTPConnection:
        client = HTTPConnection("127.0.0.1", port, timeout=30)
        stack.callback(client.close)
        client.putrequest("POST", "/messages")
        client.putheader("Authorization", f"Bearer {row['token']}")
        client.putheader("Content-Length", str(size))
        client.endheaders(head)
        return client

    relay.start(roles="smtp,web")
    try:
        wait_for(lambda: '"serving"' in relay.output(), message="serving")
        with ExitStack() as stack:
            clients = [
                post(stack, len(head) + POST_BLOCKS * len(block)) for _ in range(POSTS)
            ]
            before = peak = memory_kib(relay)
            for _ in range(POST_BLOCKS):
                for client in clients:
                    client.send(block)
                # None of the large ones can be answered before the loop ends.
                assert post(stack, len(head)).getresponse().status == 202
                peak = max(peak, memory_kib(relay))
            for client in clients:
                assert client.getresponse().status == 202
            peak = max(peak, memory_kib(relay))
            assert peak - before <= POSTS * 1.28 * 1024 + SLACK_KIB
        rows = relay.log("--limit", "100")
        assert len(rows) == POSTS + POST_BLOCKS
        large = max(path.stat().st_size for path in relay.folder.rglob("*.eml"))
        # Each line end has become CR LF.
        lines = head.count(b"\n") + POST_BLOCKS * block.count(b"\n")
        assert large == len(head) + POST_BLOCKS * len(block) + lines
    finally:
        relay.kill()
