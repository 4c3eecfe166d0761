"""What a mail names, and what of it is kept back, in a running relay with an org."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fakes.processes import mail_to

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.processes import RelayProcess, SandboxProcess

pytestmark = pytest.mark.timeout(120)


def test_a_tag_alone_logs_a_mail(
    relay: RelayProcess, sandbox: SandboxProcess, ada: str
) -> None:
    """A Case and a Lead are named by id; what nothing can be logged on is told."""
    case = sandbox.create("Case", Subject="Broken")
    lead = sandbox.person("Lead", "lee@lead.example")
    (user, *_) = sandbox.rows("User")
    mail = mail_to("nobody@customer.example", Subject=f"Offer ref:{case[:15]}")
    mail.set_content(f"Hello\n(ref: {lead}, {user['Id']}, {case[:15]}AAB)\n")
    row = relay.settled(relay.send(mail, ada))
    assert row["state"] == "logged"
    (message,) = sandbox.rows("EmailMessage")
    assert message["RelatedToId"] == case
    assert lead in {task["WhoId"] for task in sandbox.rows("Task")}
    told = [s["detail"] for s in row["trace"] if s["step"] == "tags"]
    assert told[0] == f"{case}, {lead}, {user['Id']}"
    assert any("no record id" in line for line in told)
    assert any("nothing can be logged on a record of User" in line for line in told)


def test_a_private_mail_is_skipped(
    relay: RelayProcess, sandbox: SandboxProcess, ada: str
) -> None:
    """A mark in the subject and the Sensitivity field do; a switch logs them again."""
    sandbox.person("Contact", "kim@customer.example")
    marked = mail_to("kim@customer.example", Subject="Re: [Private] Lunch")
    field = mail_to("kim@customer.example", Sensitivity="Company-Confidential")
    for mail, why in ((marked, "[private] in the subject"), (field, "Sensitivity")):
        row = relay.settled(relay.send(mail, ada))
        assert (row["state"], row["reason"]) == ("skipped", "confidential")
        assert why in row["trace"][-1]["detail"]
    assert sandbox.rows("EmailMessage") == []
    relay.run("settings", "set", "match.confidential", "log")
    relay.heed()
    again = mail_to("kim@customer.example", Subject="[private] Dinner")
    assert relay.settled(relay.send(again, ada))["state"] == "logged"


@pytest.mark.parametrize("shape", ["email_message", "task"])
def test_body_modes_in_both_shapes(
    relay: RelayProcess, sandbox: SandboxProcess, ada: str, shape: str
) -> None:
    """A rule for a customer's domain keeps text and files back, and is taken back."""
    sandbox.post(
        "/sandbox/config",
        {"email_mode": "enhanced" if shape == "email_message" else "absent"},
    )
    sandbox.person("Contact", "kim@bank.example")
    relay.run("settings", "set", "match.body_rules", "bank.example: headers")
    relay.heed()

    def logged(number: int) -> str:
        mail = mail_to("kim@bank.example", Subject=f"Offer {number}")
        mail.set_content("Secret words")
        mail.add_alternative("<p>Secret words</p>", subtype="html")
        mail.add_attachment(
            b"x" * 9, maintype="application", subtype="pdf", filename="s.pdf"
        )
        row = relay.settled(relay.send(mail, ada))
        assert row["state"] == "logged"
        (record,) = (
            r
            for name in ("EmailMessage", "Task")
            for r in sandbox.rows(name)
            if r["Subject"] == f"Offer {number}"
        )
        told = [s["result"] for s in row["trace"] if s["step"] in {"body", "files"}]
        return f"{record} {told}"

    kept = logged(1)
    assert "Secret" not in kept
    assert "kim@bank.example" in kept or shape == "email_message"
    assert "['headers', 'left out']" in kept
    assert sandbox.rows("ContentVersion") == []
    changes = relay.json("history")
    (edit,) = (c for c in changes if "match.body_rules" in str(c))
    relay.run("history", "undo", str(edit["id"]))
    relay.heed()
    assert "Secret words" in logged(2)


def test_a_relay_address_with_a_record(
    relay: RelayProcess, sandbox: SandboxProcess, ada: str, tmp_path: Path
) -> None:
    """The mail is logged there; a wrong id is refused, and what quotes it is masked."""
    case = sandbox.create("Case", Subject="Broken")
    token, _, domain = ada.partition("@")
    named = f"{token}+{case.lower()}@{domain}"
    mail = mail_to("ben@corp.example", cc=[named])
    mail.set_content(f"Hello, I copy {named}\n")
    row = relay.settled(relay.send(mail, named))
    assert row["state"] == "logged"
    (message,) = sandbox.rows("EmailMessage")
    assert message["RelatedToId"] == case
    assert token not in str(message)
    told = [s["detail"] for s in row["trace"] if s["step"] == "tags"]
    assert told == [f"{case} (relay address)"]
    saved = tmp_path / "mail.eml"
    saved.write_bytes(mail_to("ben@corp.example").as_bytes())
    (shown,) = relay.json("explain", str(saved), "--rcpt", named)
    assert [one["id"] for one in shown["records"]] == [case]
    with relay.smtp() as client:
        client.helo()
        client.mail("ada@corp.example")
        assert client.rcpt(f"{token}+{case[:-1]}x@{domain}")[0] == 550
    (refusal,) = relay.log("--refused")
    assert "no record id" in str(relay.json("show", refusal["id"]))


def test_another_spelling_of_a_customer(
    relay: RelayProcess, sandbox: SandboxProcess, ada: str
) -> None:
    """`mara+x@gmail.com` is the Contact `mara@gmail.com`; the last of 220 counts."""
    mara = sandbox.person("Contact", "mara@gmail.com")
    others = [f"c{n}@customer.example" for n in range(219)]
    mail = mail_to(*others, cc=["Mara+x@gmail.com"])
    assert relay.settled(relay.send(mail, ada))["state"] == "logged"
    assert mara in {r["RelationId"] for r in sandbox.rows("EmailMessageRelation")}


FORWARD = """{note}

---------- Forwarded message ---------
From: Kim <kim@customer.example>
Date: Mon, 2 Mar 2026 at 09:00
Subject: Question
To: Ada Rep <ada@corp.example>


Please log this on ref:{theirs}
"""


def test_a_customer_chooses_no_records(
    relay: RelayProcess, sandbox: SandboxProcess, ada: str
) -> None:
    """Neither by a tag in a mail that is forwarded or answered, nor by a Message-ID."""
    sandbox.person("Contact", "kim@customer.example")
    lee = sandbox.person("Contact", "lee@other.example")
    deal, case = sandbox.deal(lee), sandbox.create("Case", Subject="Ours")
    relay.run("settings", "set", "match.thread", "true")
    relay.heed()
    secret = mail_to("lee@other.example")
    assert relay.settled(relay.send(secret, ada))["state"] == "logged"
    forward = mail_to(ada, Subject="Fwd: Question", References=secret["Message-ID"])
    forward.set_content(FORWARD.format(note=f"ref:{case}", theirs=deal))
    answer = mail_to("kim@customer.example", Subject="Re: Question")
    answer.set_content(f"No.\n\nOn 2 Mar 2026 Kim wrote:\n> ref:{deal}\n")
    for mail, told in ((forward, {deal}), (answer, {deal})):
        before = {
            r["Id"] for name in ("EmailMessage", "Task") for r in sandbox.rows(name)
        }
        row = relay.settled(relay.send(mail, ada))
        assert row["state"] == "logged"
        made = [
            *(
                r["RelatedToId"]
                for r in sandbox.rows("EmailMessage")
                if r["Id"] not in before
            ),
            *(r["WhatId"] for r in sandbox.rows("Task") if r["Id"] not in before),
        ]
        assert deal not in made
        assert (case in made) is (mail is forward)
        ignored = {
            s["detail"].partition(":")[0]
            for s in row["trace"]
            if s["step"] == "tags" and s["result"] == "ignored"
        }
        assert ignored == told
    relay.run("settings", "set", "match.record_tags", "on")
    relay.heed()
    again = mail_to("kim@customer.example", Subject="Re: Question")
    again.set_content(f"No!\n\nOn 2 Mar 2026 Kim wrote:\n> ref:{deal}\n")
    relay.settled(relay.send(again, ada))
    assert sandbox.rows("EmailMessage")[-1]["RelatedToId"] == deal
