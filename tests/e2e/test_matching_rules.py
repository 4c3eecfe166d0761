"""Rules of matching that an admin sets while the relay runs, from mail to record."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fakes.processes import mail_to

if TYPE_CHECKING:
    from tests.fakes.processes import RelayProcess, SandboxProcess

pytestmark = pytest.mark.timeout(120)

FIELD = {"object": "Contact", "name": "Work_Email__c", "type": "email"}


def test_a_field_of_its_own_is_searched_once_it_is_set(
    relay: RelayProcess, sandbox: SandboxProcess, ada: str
) -> None:
    """Salesforce is asked before the setting is saved; the trace names the field."""
    sandbox.post("/sandbox/config", {"custom_fields": [FIELD]})
    kim = sandbox.create("Contact", LastName="Kim", Work_Email__c="kim@work.example")
    key = "match.contact_email_fields"
    said = relay.run("settings", "set", key, "Email,Wrok__c", status=2).stderr.decode()
    assert "Contact.Wrok__c is not there" in said
    relay.run("settings", "set", key, "Email,Work_Email__c")
    relay.heed()
    row = relay.settled(relay.send(mail_to("Kim@Work.example"), ada))
    assert row["state"] == "logged"
    (matched,) = [s for s in row["trace"] if s["step"] == "match"]
    assert matched["result"].startswith(f"Contact {kim}")
    assert matched["detail"] == "Contact.Work_Email__c"


def test_a_reply_takes_over_the_records_of_its_thread(
    relay: RelayProcess, sandbox: SandboxProcess, ada: str
) -> None:
    """The Case that the first mail named; what was closed since is left, and told."""
    sandbox.person("Contact", "kim@customer.example")
    case = sandbox.create("Case", Subject="Broken")
    closed = sandbox.create("Case", Subject="Other")
    relay.run("settings", "set", "match.thread", "true")
    relay.heed()
    first = mail_to("kim@customer.example", Subject="Broken")
    first.set_content(f"(ref: {case}, {closed})\n")
    assert relay.settled(relay.send(first, ada))["state"] == "logged"
    sandbox.call("PATCH", f"/sobjects/Case/{closed}", {"Status": "Closed"})
    reply = mail_to(
        "kim@customer.example",
        Subject="Re: Broken",
        References=f"<unknown@x.example> {first['Message-ID']}",
    )
    row = relay.settled(relay.send(reply, ada))
    assert row["state"] == "logged"
    (written,) = [
        one
        for one in sandbox.rows("EmailMessage")
        if one["MessageIdentifier"] == reply["Message-ID"]
    ]
    assert written["RelatedToId"] == case
    told = {s["result"]: s["detail"] for s in row["trace"] if s["step"] == "match"}
    assert told["of the thread"] == f"{closed} is not taken over: it is closed"


def test_what_the_rep_cannot_read_is_not_logged_on(
    relay: RelayProcess, sandbox: SandboxProcess, ada: str
) -> None:
    """Of two people the one whom the rep sees; the other counts as unknown."""
    kim = sandbox.person("Contact", "kim@customer.example")
    lee = sandbox.person("Contact", "lee@customer.example")
    (rep,) = (u for u in sandbox.rows("User") if u["Email"] == "ada@corp.example")
    sandbox.post("/sandbox/config", {"hidden_rows": {rep["Id"]: [lee]}})
    relay.run("settings", "set", "match.visibility", "user")
    relay.heed()
    mail = mail_to("kim@customer.example", "lee@customer.example")
    row = relay.settled(relay.send(mail, ada))
    assert row["state"] == "logged"
    named = {r["RelationId"] for r in sandbox.rows("EmailMessageRelation")}
    assert kim in named
    assert lee not in named
    told = [s["detail"] for s in row["trace"] if s["result"] == "no record"]
    assert told == ["lee@customer.example"]


def test_a_condition_that_breaks_later_makes_mail_wait(
    relay: RelayProcess, sandbox: SandboxProcess, ada: str
) -> None:
    """Nothing is logged on wrong records; the pause names the key that mends it."""
    key = "match.contact_condition"
    kim = sandbox.person("Contact", "kim@customer.example")
    sandbox.post("/sandbox/config", {"custom_fields": [FIELD]})
    said = relay.run("settings", "set", key, "Name = 'x' AND", status=2).stderr.decode()
    assert "Salesforce refuses it" in said
    relay.run("settings", "set", key, "Work_Email__c = null")
    relay.heed()
    sandbox.post("/sandbox/config", {"custom_fields": []})
    message = relay.send(mail_to("kim@customer.example"), ada)
    row = relay.queued(message, "INVALID_FIELD")
    assert any(f"the query with {key}" in s["detail"] for s in row["trace"])
    assert sandbox.rows("EmailMessage") == []
    (found,) = [f for f in relay.json("check", status=1) if f["check"] == key]
    assert "Work_Email__c" in found["detail"]
    relay.run("settings", "unset", key)
    assert relay.settled(message)["state"] == "logged"
    relations = sandbox.rows("EmailMessageRelation")
    assert kim in {one["RelationId"] for one in relations}


def test_further_records_and_an_account_without_people(
    relay: RelayProcess, sandbox: SandboxProcess, ada: str
) -> None:
    """A Case by look-up beside the Contact; the Account where nobody is known."""
    account = sandbox.create("Account", Name="Customer", Website="www.customer.example")
    kim = sandbox.create(
        "Contact", LastName="Kim", Email="kim@customer.example", AccountId=account
    )
    case = sandbox.create("Case", Subject="Broken", ContactId=kim)
    relay.run("settings", "set", "match.lookups", "Case.ContactId: open")
    relay.run("settings", "set", "match.accounts", "website")
    relay.heed()
    row = relay.settled(relay.send(mail_to("kim@customer.example"), ada))
    assert row["state"] == "logged"
    (written,) = sandbox.rows("EmailMessage")
    assert written["RelatedToId"] == case
    row = relay.settled(relay.send(mail_to("new@customer.example"), ada))
    assert row["state"] == "logged", row
    (_, second) = sandbox.rows("EmailMessage")
    assert second["RelatedToId"] == account
