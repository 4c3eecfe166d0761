"""Users and their addresses, in a running relay with an org."""

from __future__ import annotations

import smtplib
from typing import TYPE_CHECKING

import pytest

from tests.fakes.processes import mail_to, wait_for

if TYPE_CHECKING:
    from tests.fakes.processes import RelayProcess, SandboxProcess

pytestmark = pytest.mark.timeout(120)


def test_addresses_from_salesforce_follow_the_org(
    relay: RelayProcess, sandbox: SandboxProcess, ada: str
) -> None:
    """`User.Email` may send once it is imported, and no longer once it has changed."""
    (rep,) = (u for u in sandbox.rows("User") if u["Email"] == "ada@corp.example")
    relay.run("user", "set", "Ada Rep", "--salesforce-id", rep["Id"])
    assert relay.json("address", "import", "--dry-run") == []
    sandbox.call("PATCH", f"/sobjects/User/{rep['Id']}", {"Email": "ada@sf.example"})
    (step,) = relay.json("address", "import", "--yes")
    assert (step["address"], step["change"]) == ("ada@sf.example", "add")
    relay.heed()
    sandbox.person("Contact", "kim@customer.example")
    mail = mail_to("kim@customer.example", From="ada@sf.example")
    assert relay.settled(relay.send(mail, ada))["state"] == "logged"
    sandbox.call("PATCH", f"/sobjects/User/{rep['Id']}", {"Email": "ada2@sf.example"})
    steps = relay.json("address", "import", "--yes")
    assert [(one["address"], one["change"]) for one in steps] == [
        ("ada@sf.example", "remove"),
        ("ada2@sf.example", "add"),
    ]
    relay.heed()
    with pytest.raises(smtplib.SMTPDataError, match="not accepted"):
        relay.send(mail_to("kim@customer.example", From="ada@sf.example"), ada)


def test_a_delegate_sends_for_the_rep(
    relay: RelayProcess, sandbox: SandboxProcess, ada: str
) -> None:
    """The record is the rep's; log and trace name both, and a rule reads the tag."""
    relay.run(
        *("address", "add", "Ada Rep", "office@corp.example"), "--delegate", "Carol"
    )
    relay.run("settings", "set", "user.address_rules", "corp.example: plus")
    relay.heed()
    contact = sandbox.person("Contact", "kim@customer.example")
    mail = mail_to("kim@customer.example", From="office+crm@corp.example")
    row = relay.settled(relay.send(mail, ada))
    assert row["state"] == "logged"
    (sender,) = (step for step in row["trace"] if step["step"] == "sender")
    assert sender["detail"] == "office+crm@corp.example for Ada Rep (sent by Carol)"
    relay.run("address", "add", "Ada Rep", "office@corp.example", "--delegate", "Dan")
    relay.run("settings", "unset", "user.address_rules")
    mail = mail_to("kim@customer.example", From="office@corp.example")
    relay.heed()
    assert relay.settled(relay.send(mail, ada))["sent_by"] == "Dan"
    relations = sandbox.rows("EmailMessageRelation")
    assert contact in {relation["RelationId"] for relation in relations}


def test_a_removed_user_takes_no_mail_and_comes_back(
    relay: RelayProcess, sandbox: SandboxProcess, ada: str
) -> None:
    """The refusal stands under the user; an undo opens the same relay address."""
    sandbox.person("Contact", "kim@customer.example")
    relay.run("user", "remove", "Ada Rep")
    relay.heed()
    with relay.smtp() as client:
        client.helo()
        client.mail("ada@corp.example")
        assert client.rcpt(ada)[0] == 550
    (refusal,) = relay.log("--user", "Ada Rep", "--refused")
    assert refusal["reason"] == "unknown_recipient"
    changes = relay.json("history", "Ada Rep")
    relay.run("history", "undo", str(changes[-1]["id"]))
    relay.heed()
    message = relay.send(mail_to("kim@customer.example"), ada)
    assert relay.settled(message)["state"] == "logged"

    def counted() -> bool:
        (used,) = relay.json("user", "show", "Ada Rep")[0]["relay_addresses"]
        return (used["accepted"], used["refused"]) == (1, 1)

    wait_for(counted, message="the uses of the relay address are not written")


def test_free_mail_on_a_list_hides_no_customer(
    relay: RelayProcess, sandbox: SandboxProcess, ada: str
) -> None:
    """Ada may send from any Gmail mailbox; a Contact at Gmail is still found."""
    relay.run("address", "add", "Ada Rep", "*@gmail.com", "--yes")
    relay.heed()
    contact = sandbox.person("Contact", "kim@gmail.com")
    mail = mail_to("kim@gmail.com", cc=["colleague@corp.example"])
    row = relay.settled(relay.send(mail, ada))
    assert row["state"] == "logged"
    assert contact in {r["RelationId"] for r in sandbox.rows("EmailMessageRelation")}
    alone = relay.send(mail_to("colleague@corp.example"), ada)
    row = relay.settled(alone)
    assert (row["state"], row["reason"]) == ("skipped", "internal_only")
