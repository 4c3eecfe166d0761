"""A BCC'd mail becomes a Salesforce activity: the main job, as its users see it."""

from __future__ import annotations

import smtplib
from typing import TYPE_CHECKING

import pytest

from tests.fakes.processes import RelayProcess, mail_to, wait_for

if TYPE_CHECKING:
    from tests.fakes.processes import SandboxProcess

pytestmark = pytest.mark.timeout(90)

IN_TIME_S = 3.0


def test_a_contact_on_an_open_opportunity(
    relay: RelayProcess, sandbox: SandboxProcess, ada: str
) -> None:
    """The mail is one EmailMessage on the Contact and its open Opportunity (R8)."""
    contact = sandbox.person("Contact", "kim@customer.example")
    deal = sandbox.deal(contact)
    sandbox.deal(contact, stage="Closed Won")
    mail = mail_to("Kim <KIM@customer.example>", Subject="Angebot für März")
    row = relay.settled(relay.send(mail, ada))
    assert row["state"] == "logged"
    (written,) = sandbox.rows("EmailMessage")
    assert written["Subject"] == "Angebot für März"
    assert written["RelatedToId"] == deal
    assert written["MessageIdentifier"] == mail["Message-ID"]
    assert written["Status"] == "3"
    assert [(r["object"], r["id"]) for r in row["records"]] == [
        ("EmailMessage", written["Id"])
    ]
    relations = sandbox.rows("EmailMessageRelation")
    assert contact in {relation["RelationId"] for relation in relations}
    (task,) = (t for t in sandbox.rows("Task") if t["Id"] == written["ActivityId"])
    assert task["WhoId"] == contact


def test_a_lead_and_a_contact_with_two_opportunities(
    relay: RelayProcess, sandbox: SandboxProcess, ada: str
) -> None:
    """Beside a Lead each Opportunity gets a Task; a Lead never meets a WhatId."""
    contact = sandbox.person("Contact", "kim@customer.example")
    lead = sandbox.person("Lead", "lee@prospect.example")
    deals = {sandbox.deal(contact), sandbox.deal(contact)}
    mail = mail_to("kim@customer.example", cc=["lee@prospect.example"])
    row = relay.settled(relay.send(mail, ada))
    assert row["state"] == "logged", row
    (written,) = sandbox.rows("EmailMessage")
    assert not written.get("RelatedToId")
    tasks = [t for t in sandbox.rows("Task") if t["Id"] != written["ActivityId"]]
    assert {task["WhatId"] for task in tasks} == deals
    relations = {r["RelationId"] for r in sandbox.rows("EmailMessageRelation")}
    assert {contact, lead} <= relations


def test_task_mode(idle: RelayProcess, sandbox: SandboxProcess) -> None:
    """With `write_as = "task"` the mail is completed Tasks, owned by the rep."""
    idle.set(salesforce__write_as="task")
    rcpt = idle.add_user("Ada Rep", "ada@corp.example")
    contact = sandbox.person("Contact", "kim@customer.example")
    lead = sandbox.person("Lead", "lee@prospect.example")
    deal = sandbox.deal(contact)
    idle.start()
    mail = mail_to("kim@customer.example", cc=["lee@prospect.example"])
    row = idle.settled(idle.send(mail, rcpt))
    assert row["state"] == "logged", row
    (rep,) = (u for u in sandbox.rows("User") if u["Email"] == "ada@corp.example")
    tasks = sandbox.rows("Task")
    assert {(t["WhoId"], t.get("WhatId")) for t in tasks} == {
        (contact, deal),
        (lead, None),
    }
    for task in tasks:
        assert task["OwnerId"] == rep["Id"]
        assert task["IsClosed"] is True
        assert task["TaskSubtype"] == "Email"
        assert "relay-key: " in task["Description"].splitlines()[-1]
    assert not sandbox.rows("EmailMessage")


@pytest.mark.parametrize("mode", ["case_only", "absent"])
def test_an_org_without_enhanced_email_gets_tasks(
    idle: RelayProcess, sandbox: SandboxProcess, mode: str
) -> None:
    """`auto` learns from the first write that EmailMessage makes no activity."""
    sandbox.post("/sandbox/config", {"email_mode": mode})
    contact = sandbox.person("Contact", "kim@customer.example")
    rcpt = idle.add_user("Ada Rep", "ada@corp.example")
    idle.start()
    for _ in range(2):
        row = idle.settled(idle.send(mail_to("kim@customer.example"), rcpt))
        assert row["state"] == "logged", row
    tasks = sandbox.rows("Task")
    assert [task["WhoId"] for task in tasks] == [contact, contact]
    if mode == "case_only":
        assert not sandbox.rows("EmailMessage")


def test_several_copies_are_one_activity(
    relay: RelayProcess, sandbox: SandboxProcess, ada: str
) -> None:
    """Sent again, or for another user: one mail is one activity for the whole org."""
    sandbox.person("Contact", "kim@customer.example")
    ben = relay.add_user("Ben", "ben@corp.example")
    relay.run("address", "add", "ben@corp.example", "ada@corp.example", "--yes")
    relay.heed()
    mail = mail_to("kim@customer.example")
    first = relay.send(mail, ada, ben)
    relay.settled(first)
    again = relay.settled(relay.send(mail, ada))
    rows = wait_for(
        lambda: (rows := relay.log("--state", "logged")) and len(rows) == 3 and rows,
        message="three logged copies",
    )
    assert len(sandbox.rows("EmailMessage")) == 1
    assert {tuple(r["id"] for r in row["records"]) for row in rows} == {
        tuple(r["id"] for r in again["records"])
    }
    (came_first,) = (row for row in rows if row["copy_of"] is None)
    assert {row["copy_of"] for row in rows} == {None, came_first["id"]}
    assert came_first["id"] != again["id"]
    shown = relay.run("log").stdout
    assert shown.count(f"EmailMessage (copy of {came_first['id']})".encode()) == 2


def test_nobody_known_waits_as_unmatched_and_can_be_retried(
    relay: RelayProcess, sandbox: SandboxProcess, ada: str
) -> None:
    """Unmatched mail is kept; once the person exists, a retry logs it."""
    message = relay.send(mail_to("new@nobody.example"), ada)
    row = relay.settled(message)
    assert (row["state"], row["reason"]) == ("unmatched", "no_record")
    sandbox.person("Lead", "new@nobody.example")
    relay.run("retry", message)
    wait_for(
        lambda: relay.settled(message)["state"] == "logged", message="logged at last"
    )


def test_two_addresses_that_are_not_one(
    idle: RelayProcess, sandbox: SandboxProcess
) -> None:
    """straße is not strasse, and weiß not weiss: for the rep and for a Contact."""
    rep = sandbox.rows("User")[0]["Id"]
    eva = "eva@xn--strae-oqa.example"
    # The Contact of the other spelling is at the domain of the rep.
    idle.set(match__internal_domains=[])
    rcpt = idle.add_user("Eva Rep", eva, "--salesforce-id", rep)
    idle.run("address", "add", eva, "rep@straße.example", "--yes")
    people = {
        address: sandbox.person("Contact", address)
        for address in (
            "mara@strasse.example",
            "mara@xn--strae-oqa.example",
            "weiss@acme.example",
        )
    }
    idle.start()

    def raw(sender: str, to: str) -> bytes:
        mail = mail_to("kim@customer.example", From="eva@corp.example").as_string()
        mail = mail.replace("eva@corp.example", sender)
        return mail.replace("kim@customer.example", to).encode()

    mail = raw(eva, "Mara <mara@straße.example>")
    row = idle.settled(idle.send(mail, rcpt))
    assert row["state"] == "logged", row
    (task,) = sandbox.rows("Task")
    assert task["WhoId"] == people["mara@xn--strae-oqa.example"]
    mail = raw("Eva <rep@straße.example>", "Weiß <weiß@acme.example>")
    assert idle.settled(idle.send(mail, rcpt))["state"] == "unmatched"
    with pytest.raises(smtplib.SMTPDataError, match="is not accepted"):
        idle.send(raw("eva@strasse.example", "mara@straße.example"), rcpt)


def test_a_stranger_is_refused_and_recorded(relay: RelayProcess, ada: str) -> None:
    """Nobody else writes into the CRM, and every refusal is shown (R11)."""
    with pytest.raises(smtplib.SMTPDataError) as caught:
        relay.send(mail_to("kim@customer.example", From="mallory@evil.example"), ada)
    assert caught.value.smtp_code == 550
    assert b"5.7.1" in caught.value.smtp_error
    assert b"mallory@evil.example" in caught.value.smtp_error
    (row,) = relay.log("--refused")
    assert row["kind"] == "refusal"
    assert row["from"] == "mallory@evil.example"
    assert row["user"] == "ada@corp.example"
    with relay.smtp() as client:
        client.ehlo()
        client.mail("ada@corp.example")
        code, reply = client.rcpt("log-unknown@in.relay.example")
    assert (code, b"5.1.1" in reply) == (550, True)


def test_postmaster_mail_is_kept_and_never_logged(
    relay: RelayProcess, sandbox: SandboxProcess
) -> None:
    """postmaster@ is accepted from anybody, shown, and stays out of Salesforce."""
    mail = mail_to("postmaster@in.relay.example", From="x@elsewhere.example")
    message = relay.send(mail, "postmaster@in.relay.example", sender="x@else.example")
    assert relay.settled(message)["state"] == "skipped"
    relay.run("retry", message)
    row = relay.settled(message)
    assert (row["state"], row["reason"]) == ("skipped", "postmaster")
    assert row["attempts"] == 1
    assert not sandbox.rows("EmailMessage")


def test_edits_hold_in_a_running_relay_within_a_second(
    relay: RelayProcess, sandbox: SandboxProcess, ada: str
) -> None:
    """What the commands change needs no restart.

    The second has room for a machine that is busy; the relay itself looks four times in
    each.
    """
    sandbox.person("Contact", "kim@customer.example")
    relay.heed()
    relay.run("address", "add", "Ada Rep", "ada@private.example")
    assert relay.heed() < IN_TIME_S
    mail = mail_to("kim@customer.example", From="ada@private.example")
    assert relay.settled(relay.send(mail, ada))["state"] == "logged"
    relay.run("address", "remove", "Ada Rep", "ada@private.example")
    relay.run("exclude", "add", "kim@customer.example", "--skip", "mail")
    assert relay.heed() < IN_TIME_S
    with pytest.raises(smtplib.SMTPDataError):
        relay.send(mail_to("kim@customer.example", From="ada@private.example"), ada)
    row = relay.settled(relay.send(mail_to("kim@customer.example"), ada))
    assert (row["state"], row["reason"]) == ("skipped", "excluded")
    old = ada
    relay.run("user", "rotate", "ada@corp.example")
    (user,) = relay.json("user", "list")
    relay.run("user", "disable", "ada@corp.example")
    assert relay.heed() < IN_TIME_S
    with relay.smtp() as client:
        client.ehlo()
        client.mail("ada@corp.example")
        assert client.rcpt(user["relay_address"])[0] == 550
        assert client.rcpt(old)[0] == 550
    relay.run("user", "enable", "ada@corp.example")
    assert relay.heed() < IN_TIME_S
    with relay.smtp() as client:
        client.ehlo()
        client.mail("ada@corp.example")
        assert client.rcpt(user["relay_address"])[0] == 250
        assert client.rcpt(old)[0] == 250  # the grace time of a rotated address
    relay.run("user", "rotate", "ada@corp.example", "--now")
    (newest,) = relay.json("user", "list")
    assert relay.heed() < IN_TIME_S
    with relay.smtp() as client:
        client.ehlo()
        client.mail("ada@corp.example")
        assert client.rcpt(newest["relay_address"])[0] == 250
        for ended in (user["relay_address"], old):
            assert client.rcpt(ended)[0] == 550


def test_a_user_without_a_salesforce_user_waits_visibly(
    idle: RelayProcess, sandbox: SandboxProcess
) -> None:
    """Mail of somebody whom Salesforce does not know waits, and says for what."""
    sandbox.person("Contact", "kim@customer.example")
    rcpt = idle.add_user("Zoe", "zoe@corp.example")
    idle.start()
    message = idle.send(mail_to("kim@customer.example", From="zoe@corp.example"), rcpt)
    idle.queued(message, "no_salesforce_user")
    rep = next(
        u["Id"] for u in sandbox.rows("User") if u["Email"] == "ada@corp.example"
    )
    idle.run("user", "set", "Zoe", "--salesforce-id", rep)
    idle.heed()
    idle.run("hold", message)
    idle.run("release", message)
    assert idle.settled(message)["state"] == "logged"


def test_shadow_mode_plans_and_writes_nothing(
    idle: RelayProcess, sandbox: SandboxProcess
) -> None:
    """`write_as = "nothing"` shows what would be written."""
    idle.set(salesforce__write_as="nothing")
    sandbox.person("Contact", "kim@customer.example")
    rcpt = idle.add_user("Ada Rep", "ada@corp.example")
    idle.start()
    row = idle.settled(idle.send(mail_to("kim@customer.example"), rcpt))
    assert (row["state"], row["reason"]) == ("skipped", "shadow_mode")
    assert any(step["step"] == "plan" for step in row["trace"])
    assert not sandbox.rows("EmailMessage")
    assert not sandbox.rows("Task")
    # What a first write would show is not known yet, and the plan says so.
    (said,) = (step for step in row["trace"] if step["step"] == "mode")
    assert said["result"] == "untried"
    assert "Tasks" in said["detail"]


def test_explain_says_what_would_be_logged(
    relay: RelayProcess, sandbox: SandboxProcess
) -> None:
    """The dry run names people, records, rule and fields, and writes nothing."""
    contact = sandbox.person("Contact", "kim@customer.example")
    file = relay.folder / "mail.eml"
    file.write_bytes(mail_to("kim@customer.example", "who@x.example").as_bytes())
    (told,) = relay.json("explain", str(file), "--user", "ada@corp.example")
    assert told["state"] == "logged"
    assert [r["id"] for r in told["records"]] == [contact]
    assert told["unknown"] == ["who@x.example"]
    assert told["activities"][0]["fields"]["ToIds"] == [contact]
    assert not sandbox.rows("EmailMessage")
