"""Mails whose content is hard on Salesforce: logged all the same, or dead alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fakes.processes import RelayProcess, mail_to, wait_for
from tests.fakes.sandbox_files import content

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


@pytest.mark.parametrize(
    ("sender", "written"),
    [
        ("ada@m\u00fcller.example", "ada@xn--mller-kva.example"),
        ("ad\u00e1@corp.example", None),
    ],
    ids=["domain", "local part"],
)
def test_a_sender_beyond_ascii(
    emails: RelayProcess, sandbox: SandboxProcess, sender: str, written: str | None
) -> None:
    """A domain is written in its ASCII form; what has none is left out."""
    emails.run("address", "add", "ada@corp.example", sender)
    emails.stop()
    emails.set(salesforce__owner_after_s=0)
    emails.start()
    row = emails.settled(emails.send(raw(sender=sender), address(emails)))
    assert row["state"] == "logged", row
    (email,) = sandbox.rows("EmailMessage")
    assert email["FromAddress"] == written
    steps = [step["detail"] for step in row["trace"] if step["step"] == "redraft"]
    assert steps == ([] if written else ["without EmailMessage.FromAddress"])
    (contact,) = (r for r in sandbox.rows("Contact") if r["Email"] == KIM)
    wait_for(
        lambda: (
            {
                row["RelationType"]
                for row in sandbox.rows("EmailMessageRelation")
                if row["EmailMessageId"] == email["Id"]
            }
            == {"FromAddress", "ToAddress"}
        ),
        message="the sender's relation",
    )
    assert contact["Id"] in email["ToIds"]


@pytest.mark.parametrize("write_as", ["email_message", "task"])
def test_a_quoted_relay_address_stays_secret(
    emails: RelayProcess, sandbox: SandboxProcess, write_as: str
) -> None:
    """Whoever has it may log as its user: no field and no file of the org holds it."""
    emails.stop()
    emails.set(salesforce__write_as=write_as, salesforce__files_original_eml=True)
    emails.start()
    rcpt = address(emails)
    mail = mail_to(KIM, cc=[rcpt], Subject=f"Re: for {rcpt}")
    mail.set_content(f"Hi\n> Cc: {rcpt}\n")
    html = f'<p>Hi</p><blockquote><a href="mailto:{rcpt}">{rcpt}</a></blockquote>'
    mail.add_alternative(html.replace("@", "&#64;"), subtype="html")
    mail.add_attachment("x", filename=f"for {rcpt} now.txt")
    assert emails.settled(emails.send(mail, rcpt))["state"] == "logged"
    files = wait_for(
        lambda: len(rows := sandbox.rows("ContentVersion")) == 2 and rows,
        message="attachment and original",
    )
    (original,) = (
        content(sandbox, file["Id"]).decode()
        for file in files
        if file["PathOnClient"].endswith(".eml")
    )
    token, _, domain = rcpt.partition("@")
    told = [
        f"{sobject}.{name}: {value}"
        for sobject, rows in sandbox.get("/sandbox/dump").items()
        for row in rows
        for name, value in row.items()
        if domain in str(value)
    ]
    assert told
    assert [line for line in [*told, original] if token in line] == []
