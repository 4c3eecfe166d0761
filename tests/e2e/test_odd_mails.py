"""Mails whose content is hard on Salesforce: logged all the same, or dead alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fakes.processes import RelayProcess, mail_to

if TYPE_CHECKING:
    from tests.fakes.processes import SandboxProcess

pytestmark = pytest.mark.timeout(120)

KIM = "kim@customer.example"


@pytest.fixture
def emails(idle: RelayProcess, sandbox: SandboxProcess) -> RelayProcess:
    """Run a relay with Ada that writes EmailMessages and looks before it writes."""
    sandbox.person("Contact", KIM)
    idle.set(salesforce__write_as="email_message", salesforce__look_before_write=True)
    idle.add_user("Ada Rep", "ada@corp.example")
    idle.start()
    return idle


def address(relay: RelayProcess) -> str:
    """Return Ada's relay address."""
    return str(relay.json("user", "list")[0]["relay_address"])


def raw(*, sender: str = "ada@corp.example", message_id: str = "1@x") -> bytes:
    """Return a mail to Kim, with header lines just as they are given."""
    return (
        f"From: {sender}\r\nTo: {KIM}\r\nSubject: Offer\r\n"
        f"Message-ID: <{message_id}>\r\n"
        "Date: Mon, 23 Nov 2026 10:00:00 +0000\r\n\r\nHi\r\n"
    ).encode()


@pytest.mark.parametrize(
    "message_id",
    ["\r\n ".join(["a" * 900] * 6), "\U0001f600" * 500],
    ids=["beyond a literal", "beyond the field"],
)
def test_a_message_id_that_no_field_holds(
    emails: RelayProcess, sandbox: SandboxProcess, message_id: str
) -> None:
    """It is asked for, and stored, as the digest; nobody waits for it."""
    rcpt = address(emails)
    bad = emails.send(raw(message_id=message_id), rcpt)
    good = emails.send(mail_to(KIM), rcpt)
    for sent in (bad, good):
        row = emails.settled(sent)
        assert row["state"] == "logged", row
    assert '"org_paused"' not in emails.output()
    identifiers = [row["MessageIdentifier"] for row in sandbox.rows("EmailMessage")]
    assert sum(i.endswith("@relay.invalid>") for i in identifiers) == 1
