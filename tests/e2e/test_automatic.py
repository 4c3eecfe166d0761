"""Automatic mail is skipped with its reason, is never answered, and can be logged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fakes.processes import mail_to

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.processes import RelayProcess, SandboxProcess

pytestmark = pytest.mark.timeout(90)


def test_an_out_of_office_reply_of_the_rep(
    relay: RelayProcess, sandbox: SandboxProcess, ada: str
) -> None:
    """Skipped; the trace names the header, the hint the switch; a retry logs it."""
    sandbox.person("Contact", "kim@customer.example")
    mail = mail_to("kim@customer.example", Subject="Automatic reply: Question")
    mail["Auto-Submitted"] = "auto-replied"
    mail["X-Auto-Response-Suppress"] = "All"
    mail["Precedence"] = "bulk"
    ident = relay.send(mail, ada)
    row = relay.settled(ident)
    assert (row["state"], row["reason"]) == ("skipped", "auto_reply")
    shown = " ".join(relay.run("show", ident).stdout.decode().split())
    assert "Auto-Submitted: auto-replied" in shown
    assert "relay settings set automatic.auto_reply log" in shown
    assert not sandbox.rows("EmailMessage")
    relay.run("settings", "set", "automatic.auto_reply", "log")
    relay.heed()
    relay.run("retry", ident)
    assert relay.settled(ident)["state"] == "logged"


def test_the_null_sender_of_the_envelope(
    relay: RelayProcess, sandbox: SandboxProcess, ada: str
) -> None:
    """A mail that says nothing of itself is told by MAIL FROM:<>."""
    sandbox.person("Contact", "kim@customer.example")
    row = relay.settled(relay.send(mail_to("kim@customer.example"), ada, sender=""))
    assert (row["state"], row["reason"]) == ("skipped", "null_sender")


def test_an_imported_mail_has_no_envelope(
    relay: RelayProcess, sandbox: SandboxProcess, ada: str, tmp_path: Path
) -> None:
    """That no envelope is known does not make it automatic."""
    assert ada
    sandbox.person("Contact", "kim@customer.example")
    file = tmp_path / "mail.eml"
    file.write_bytes(bytes(mail_to("kim@customer.example")))
    relay.run("import", "--user", "ada@corp.example", str(file))
    (row,) = relay.json("log")
    assert relay.settled(row["id"])["state"] == "logged"
