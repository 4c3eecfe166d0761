"""A client that never saw its `250` sends the mail again: one mail, logged once.

SMTP cannot avoid it (RFC 1047): the commit comes before the reply, and the connection
may break in between. The copies are told by their content keys when they are read.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

import pytest

from tests.fakes.processes import mail_to, wait_for

if TYPE_CHECKING:
    from tests.fakes.processes import RelayProcess, SandboxProcess

pytestmark = pytest.mark.timeout(120)


def send_and_cut(relay: RelayProcess, raw: bytes, rcpt: str, count: int) -> None:
    """Send a mail, wait for its commit, and reset the connection, its reply unread.

    `count` is how many messages there are then.
    """
    with (
        socket.create_connection(("127.0.0.1", relay.port), timeout=10) as client,
        client.makefile("rb") as reader,
    ):
        # A reset instead of an orderly end, as from a machine that lost its power.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert reader.readline().startswith(b"220 ")
        client.sendall(b"HELO client.example\r\n")
        assert reader.readline().startswith(b"250 ")
        for line in (b"MAIL FROM:<ada@corp.example>", b"RCPT TO:<%b>" % rcpt.encode()):
            client.sendall(line + b"\r\n")
            assert reader.readline().startswith(b"250 ")
        client.sendall(b"DATA\r\n")
        assert reader.readline().startswith(b"354 ")
        client.sendall(raw + b"\r\n.\r\n")
        wait_for(lambda: len(relay.log()) == count, message="the commit")


@pytest.mark.parametrize(
    ("mode", "together"),
    [("email_message", False), ("task", True)],
    ids=["read before the copy comes", "read together"],
)
def test_a_mail_sent_again_is_logged_once(
    idle: RelayProcess, sandbox: SandboxProcess, mode: str, together: bool
) -> None:
    """However often the reply is lost, Salesforce holds the mail once."""
    idle.set(salesforce__write_as=mode)
    rcpt = idle.add_user("Ada Rep", "ada@corp.example")
    sandbox.person("Contact", "kim@customer.example")
    idle.start(roles="smtp" if together else "")
    raw = mail_to("kim@customer.example").as_bytes().replace(b"\n", b"\r\n")
    send_and_cut(idle, raw, rcpt, 1)
    if not together:
        (row,) = idle.log()
        assert idle.settled(row["id"])["state"] == "logged"
    # A client adds a line of its own to each try; the mail is the same.
    again = b"Received: from queue by client; try 2\r\n" + raw
    send_and_cut(idle, again, rcpt, 2)
    last = idle.send(b"Received: from queue by client; try 3\r\n" + raw, rcpt)
    if together:
        idle.stop()
        idle.start()
    assert idle.settled(last)["state"] == "logged"
    rows = wait_for(
        lambda: len(rows := idle.log("--state", "logged")) == 3 and rows,
        message="three messages logged",
    )
    records = {record["id"] for row in rows for record in row["records"]}
    sobject = "EmailMessage" if mode == "email_message" else "Task"
    held = sandbox.rows(sobject)
    assert len(held) == 1
    assert held[0]["Id"] in records
    assert all(row["records"] == rows[0]["records"] for row in rows)
