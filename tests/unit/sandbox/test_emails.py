"""EmailMessage: modes, relations, the platform's Task, and what may change."""

from __future__ import annotations

import pytest


def mail(bench, **fields):
    return bench.create("EmailMessage", **{"Status": "3", **fields})


def refused(bench, code, **fields):
    return bench.refused(code, "EmailMessage", **{"Status": "3", **fields})


def test_the_platform_makes_the_task(bench):
    """Checklist 23: owned by the caller, with who and what, completed."""
    row = mail(
        bench,
        Subject="Offer",
        TextBody="Dear Mara",
        ToIds=[bench.contact],
        RelatedToId=bench.opportunity,
        MessageDate="2030-04-30T23:30:00Z",
    )
    task = bench.org.rows.get("Task", row["ActivityId"])
    assert (task["WhoId"], task["WhatId"]) == (bench.contact, bench.opportunity)
    assert task["OwnerId"] == bench.me
    assert (task["Status"], task["IsClosed"]) == ("Completed", True)
    assert (task["TaskSubtype"], task["ActivityDate"]) == ("Email", "2030-04-30")
    assert row["Name"] == "Offer"
    assert bench.update("Task", task, OwnerId=bench.user("ada"))["OwnerId"] == (
        bench.user("ada")
    )


def test_modes(bench):
    """Checklist 22, 23: without Enhanced Email no Task, or no object at all."""
    bench.org.configure({"email_mode": "case_only"})
    assert mail(bench)["ActivityId"] is None
    assert bench.all("Task") == []
    bench.org.configure({"email_mode": "absent"})
    refused(bench, "INVALID_TYPE")
    bench.org.configure({"email_mode": "enhanced"})
    assert mail(bench)["ActivityId"] is not None


@pytest.mark.parametrize("status", [None, "0", "1", "2", "4", "5"])
def test_a_mail_outside_a_case_is_sent(bench, status):
    """Checklist 23: only Status 3."""
    fields = {} if status is None else {"Status": status}
    bench.refused("FIELD_INTEGRITY_EXCEPTION", "EmailMessage", **fields)


def test_values_of_a_mail(bench):
    """Checklist 10, 11, 12, 25: types, lengths and codes."""
    refused(bench, "JSON_PARSER_ERROR", Status=3)
    refused(bench, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", Status="Sent")
    refused(bench, "INVALID_EMAIL_ADDRESS", FromAddress="Ada <ada@corp.example>")
    refused(bench, "STRING_TOO_LONG", Subject="x" * 3_001)
    refused(bench, "STRING_TOO_LONG", Headers="x" * 32_001)
    refused(bench, "FIELD_INTEGRITY_EXCEPTION", Headers="Subject: x")
    refused(bench, "STRING_TOO_LONG", TextBody="x" * 131_073)
    refused(bench, "STRING_TOO_LONG", ToAddress="x" * 4_001)
    refused(bench, "STRING_TOO_LONG", MessageIdentifier="x" * 766)
    refused(bench, "JSON_PARSER_ERROR", ToIds=bench.contact)
    refused(bench, "INVALID_CROSS_REFERENCE_KEY", ToIds=["003RM0000068xV6YAI"])
    refused(bench, "MALFORMED_ID", CcIds=[bench.opportunity])
    refused(bench, "FIELD_INTEGRITY_EXCEPTION", RelatedToId=bench.contact)


def test_the_task_cannot_be_given(bench):
    """Checklist 23: INSUFFICIENT_ACCESS_OR_READONLY for ActivityId."""
    task = bench.create()
    refused(bench, "INSUFFICIENT_ACCESS_OR_READONLY", ActivityId=task["Id"])
    other = mail(bench)
    refused(bench, "FIELD_INTEGRITY_EXCEPTION", ReplyToEmailMessageId=other["Id"])


def test_a_lead_among_the_recipients_stands_alone(bench):
    """Section 2.4: a Lead with RelatedToId is refused unless switched on."""
    both = {"ToIds": [bench.lead], "RelatedToId": bench.opportunity}
    refused(bench, "FIELD_INTEGRITY_EXCEPTION", **both)
    row = mail(bench, ToIds=[bench.lead], IsClientManaged=True)
    bench.update_refused(
        "FIELD_INTEGRITY_EXCEPTION", "EmailMessage", row, RelatedToId=bench.opportunity
    )
    sender = {"FromId": bench.lead, "RelatedToId": bench.opportunity, "Incoming": True}
    refused(bench, "FIELD_INTEGRITY_EXCEPTION", **sender)
    bench.org.configure({"refuse_lead_with_related": False})
    assert mail(bench, **both)


def test_the_task_of_an_incoming_mail_is_its_senders(bench):
    """Who wrote a mail that was received stands before its recipients."""
    row = mail(bench, Incoming=True, FromId=bench.contact, ToIds=[bench.user("ada")])
    task = bench.org.rows.get("Task", row["ActivityId"])
    assert task["WhoId"] == bench.contact
    sent = mail(bench, FromId=bench.contact)
    assert bench.org.rows.get("Task", sent["ActivityId"])["WhoId"] is None


def test_relations_come_with_the_mail(bench):
    """Checklist 23: from FromId, the id lists, and the addresses of strangers."""
    row = mail(
        bench,
        FromId=bench.user("ada"),
        FromAddress="ada@corp.example",
        ToIds=[bench.contact],
        CcIds=[bench.lead],
        ToAddress="who@x.example; else@y.example",
    )
    found = {
        (each["RelationType"], each["RelationObjectType"], each["RelationAddress"])
        for each in bench.all("EmailMessageRelation")
        if each["EmailMessageId"] == row["Id"]
    }
    assert found == {
        ("FromAddress", "User", "ada@corp.example"),
        ("ToAddress", "Contact", "mara@acme.example"),
        ("CcAddress", "Lead", "peter@gale.example"),
        ("ToAddress", None, "who@x.example"),
        ("ToAddress", None, "else@y.example"),
    }


def test_a_relation_of_the_sender_can_be_added(bench):
    """The documented way: the mail first, then its FromAddress relation."""
    row = mail(bench)
    kind = "EmailMessageRelation"
    relation = bench.create(
        kind,
        EmailMessageId=row["Id"],
        RelationType="FromAddress",
        RelationId=bench.user("ada"),
    )
    assert relation["RelationAddress"] == "ada@corp.example"
    missing = {"EmailMessageId": row["Id"]}
    bench.refused("REQUIRED_FIELD_MISSING", kind, **missing)
    bench.refused("REQUIRED_FIELD_MISSING", kind, RelationType="FromAddress")
    bench.refused("REQUIRED_FIELD_MISSING", kind, **missing, RelationType="FromAddress")
    strange = {"RelationType": "FromAddress", "RelationAddress": "not an address"}
    bench.refused("INVALID_EMAIL_ADDRESS", kind, **missing, **strange)
    bench.refused(
        "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", kind, **missing, RelationType="From"
    )
    changed = bench.update(kind, relation, RelationId=bench.contact)
    assert changed["RelationObjectType"] == "Contact"


def test_message_identifiers_are_not_unique(bench):
    """Checklist 26: two inserts make two mails."""
    one = mail(bench, MessageIdentifier="<a@b>")
    two = mail(bench, MessageIdentifier="<a@b>")
    assert one["Id"] != two["Id"]


def test_a_sent_mail_hardly_changes(bench):
    """Checklist 24: visibility, custom fields, and RelatedToId if client managed."""
    field = {"object": "EmailMessage", "name": "Mine__c"}
    bench.org.configure({"custom_fields": [field]})
    row = mail(bench, Subject="x")
    bench.update("EmailMessage", row, IsExternallyVisible=True, Mine__c="y")
    for change in ({"Subject": "y"}, {"RelatedToId": bench.opportunity}):
        bench.update_refused(
            "INSUFFICIENT_ACCESS_OR_READONLY", "EmailMessage", row, **change
        )
    managed = mail(bench, IsClientManaged=True)
    bench.update("EmailMessage", managed, RelatedToId=bench.opportunity)


def test_mail_of_a_case(bench):
    """Case mail: any status, no automatic task, New to Read, one parent."""
    case = bench.create("Case", Subject="Broken")["Id"]
    row = bench.create("EmailMessage", ParentId=case, Incoming=True)
    assert (row["Status"], row["ActivityId"]) == ("0", None)
    assert bench.update("EmailMessage", row, Status="1")["Status"] == "1"
    bench.update_refused(
        "INSUFFICIENT_ACCESS_OR_READONLY", "EmailMessage", row, Status="0"
    )
    bench.refused(
        "FIELD_INTEGRITY_EXCEPTION",
        "EmailMessage",
        ParentId=case,
        RelatedToId=bench.opportunity,
    )
    draft = bench.create("EmailMessage", ParentId=case, Status="5")
    bench.update("EmailMessage", draft, Subject="free")


def test_text_comes_from_html(bench):
    """TextBody is derived where it is left out; Name from the subject."""
    row = mail(bench, HtmlBody="<p>Hi</p>")
    assert (row["TextBody"], row["Name"]) == ("Hi", "[No Subject]")


def test_mail_and_task_go_together(bench):
    """Deleting one of them deletes the other, and the relations."""
    row = mail(bench, ToIds=[bench.contact])
    bench.delete("EmailMessage", row)
    assert bench.all("Task") == bench.all("EmailMessageRelation") == []
    row = mail(bench)
    bench.delete("Task", bench.org.rows.get("Task", row["ActivityId"]))
    assert bench.all("EmailMessage") == []


def test_files_of_a_mail(bench):
    """Checklist 24: links only where the client manages the mail."""
    version = bench.create("ContentVersion", PathOnClient="a.txt", VersionData="aGk=")
    document = version["ContentDocumentId"]
    refused(bench, "INSUFFICIENT_ACCESS_OR_READONLY", ContentDocumentIds=[document])
    row = mail(bench, ContentDocumentIds=[document], IsClientManaged=True)
    (link,) = bench.all("ContentDocumentLink")
    assert link["LinkedEntityId"] == row["Id"]


def test_with_shared_activities_all_contacts_are_on_the_task(bench):
    """The Task of a mail to two contacts relates to both."""
    bench.org.configure({"shared_activities": True})
    other = bench.find("Contact", "Email", "priya@acme.example")
    row = mail(bench, ToIds=[bench.contact], CcIds=[other])
    task = bench.org.rows.get("Task", row["ActivityId"])
    assert task["TaskWhoIds"] == [bench.contact, other]
