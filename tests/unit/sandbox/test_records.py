"""Checks that hold for all objects, and rows that can be taken back."""

from __future__ import annotations

import pytest

from relay.sandbox.errors import SandboxError
from relay.sandbox.records import Caller
from relay.sandbox.soql.lexer import SOQLError


@pytest.mark.parametrize(
    ("kind", "fields", "missing"),
    [
        ("Lead", {"Company": "x"}, "LastName"),
        ("Lead", {"LastName": "x"}, "Company"),
        ("Contact", {"Email": "a@b.example"}, "LastName"),
        ("Account", {}, "Name"),
        ("Opportunity", {"Name": "x", "StageName": "y"}, "CloseDate"),
        ("Opportunity", {"Name": "x", "CloseDate": "2030-01-01"}, "StageName"),
        ("OpportunityContactRole", {}, "OpportunityId"),
        ("ContentDocumentLink", {}, "ShareType"),
        ("Contact", {"LastName": " "}, "LastName"),
        ("Task", {"Status": None}, "Status"),
    ],
)
def test_required_fields(bench, kind, fields, missing):
    """Checklist 13: REQUIRED_FIELD_MISSING names them."""
    error = bench.refused("REQUIRED_FIELD_MISSING", kind, **fields)
    assert missing in error.fields
    assert missing in error.message


def test_required_fields_cannot_be_emptied(bench):
    """Null in an update counts as missing."""
    row = bench.create("Contact", LastName="x")
    bench.update_refused("REQUIRED_FIELD_MISSING", "Contact", row, LastName=None)


def test_names_follow_their_parts(bench):
    """Contact.Name is derived, on create and update."""
    row = bench.create("Contact", FirstName="Zoe", LastName="New")
    assert row["Name"] == "Zoe New"
    assert bench.update("Contact", row, FirstName=None)["Name"] == "New"


def test_stages_close_opportunities(bench):
    """IsClosed and IsWon follow the stage; they cannot be written."""
    fields = {"Name": "x", "CloseDate": "2030-01-01", "StageName": "Prospecting"}
    row = bench.create("Opportunity", **fields)
    assert (row["IsClosed"], row["Probability"]) == (False, 10)
    row = bench.update("Opportunity", row, StageName="Closed Won")
    assert (row["IsClosed"], row["IsWon"]) == (True, True)
    bench.refused("INVALID_FIELD_FOR_INSERT_UPDATE", "Opportunity", IsClosed=True)


def test_converted_leads_stay_as_they_are(bench):
    """CANNOT_UPDATE_CONVERTED_LEAD."""
    lead = bench.org.rows.get("Lead", bench.converted)
    bench.update_refused("CANNOT_UPDATE_CONVERTED_LEAD", "Lead", lead, Title="x")


def test_objects_that_nobody_makes(bench):
    """Users and picklists are not made through the API; unknown types are none."""
    bench.refused("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "User", LastName="x")
    bench.refused("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "TaskStatus")
    bench.refused("INVALID_TYPE", "Nonsense")
    bench.refused("INVALID_TYPE", "Task", attributes={"type": "Lead"})


def test_unique_fields(bench):
    """4.A: unique over live rows, without case unless the field has it."""
    fields = [
        {"object": "Activity", "name": "Key__c", "unique": True},
        {"object": "Task", "name": "Exact__c", "unique": True, "case_sensitive": True},
    ]
    bench.org.configure({"custom_fields": fields})
    first = bench.create(Key__c="abc", Exact__c="abc")
    error = bench.refused("DUPLICATE_VALUE", Key__c="ABC")
    assert error.message.endswith(first["Id"][:15])
    bench.refused("DUPLICATE_VALUE", Exact__c="abc")
    second = bench.create(Exact__c="ABC")
    bench.update_refused("DUPLICATE_VALUE", "Task", second, Key__c="abc")
    bench.update("Task", first, Key__c="abc")
    bench.create("Event", ActivityDateTime="2030-01-01T00:00:00Z", Key__c="abc")
    bench.delete("Task", first)
    bench.create(Key__c="abc")
    with pytest.raises(SandboxError, match="DUPLICATE_VALUE"):
        bench.org.records.undelete("Task", first["Id"], bench.org.caller())


def test_undelete_needs_a_deleted_row(bench):
    """UNDELETE_FAILED otherwise."""
    row = bench.create()
    with pytest.raises(SandboxError, match="UNDELETE_FAILED"):
        bench.org.records.undelete("Task", row["Id"], bench.org.caller())


def test_another_user_is_the_author(bench):
    """Audit fields and the default owner are the caller's, for every caller."""
    ada = bench.user("ada")
    made = bench.org.records.create("Task", {}, Caller(ada))
    row = bench.org.rows.get("Task", made)
    assert {row["CreatedById"], row["LastModifiedById"], row["OwnerId"]} == {ada}


def test_a_rollback_restores_rows_and_indexes(bench):
    """What a savepoint covers is as if it had never been."""
    rows, contact = bench.org.rows, bench.contact
    before = bench.org.dump()
    mark = rows.savepoint()
    me = bench.org.caller()
    made = bench.org.records.create(
        "Contact", {"LastName": "x", "Email": "x@y.example"}, me
    )
    bench.org.records.update("Contact", contact, {"Email": "new@acme.example"}, me)
    bench.org.records.delete("Lead", bench.lead, me)
    assert rows.lookup("Contact", "Email", ["new@acme.example"])
    rows.rollback(mark)
    assert bench.org.dump() == before
    assert not rows.lookup("Contact", "Email", ["x@y.example", "new@acme.example"])
    assert bench.contact == contact
    assert rows.get("Contact", made) is None


def test_custom_fields_come_and_go_with_their_data(bench):
    """A field added later is null on old rows, and can be looked up."""
    old = bench.create()
    field = {"object": "Task", "name": "Key__c", "external_id": True}
    bench.org.configure({"custom_fields": [field]})
    new = bench.create(Key__c="abc")
    assert bench.org.rows.lookup("Task", "Key__c", ["ABC"]) == [new]
    assert bench.update("Task", old, Subject="x")["Key__c"] is None


@pytest.mark.parametrize(
    "settings",
    [
        {"nonsense": 1},
        {"email_mode": "x"},
        {"shared_activities": 1},
        {"daily_limit": True},
        {"custom_fields": [{"object": "Task", "name": "x"}]},
        {"custom_fields": [{"object": "Task", "name": "x__c", "length": 256}]},
    ],
)
def test_wrong_switches_change_nothing(bench, settings):
    """ValueError, and the org is as before."""
    before = bench.org.config
    with pytest.raises(ValueError, match=r"switch|takes|one of|ends in|characters"):
        bench.org.configure(settings)
    assert bench.org.config == before


PROJECT = {"name": "Project__c", "prefix": "a01"}
LINK = {"object": "Project__c", "name": "Buyer__c", "type": "reference"}


def test_a_custom_object_takes_activities_unless_it_is_told_not_to(bench):
    """Its records can be named where the platform allows it, and its fields point."""
    bench.org.configure(
        {
            "custom_objects": [
                PROJECT,
                {"name": "Mute__c", "prefix": "a03", "activities": False},
            ],
            "custom_fields": [{**LINK, "refs": ["Contact"]}],
        }
    )
    made = bench.create("Project__c", Name="Move", Buyer__c=bench.contact)
    assert made["Id"].startswith("a01")
    assert bench.create(Subject="x", WhatId=made["Id"])["WhatId"] == made["Id"]
    email = bench.create("EmailMessage", Status="3", RelatedToId=made["Id"])
    assert email["RelatedToId"] == made["Id"]
    mute = bench.create("Mute__c", Name="Silent")
    bench.refused("FIELD_INTEGRITY_EXCEPTION", Subject="x", WhatId=mute["Id"])
    bench.refused("MALFORMED_ID", "Project__c", Name="y", Buyer__c=bench.opportunity)
    (row,) = bench.org.query("SELECT Name, Buyer__r.Email FROM Project__c").records
    assert row["Buyer__r"]["Email"] == "mara@acme.example"


@pytest.mark.parametrize(
    "settings",
    [
        {"custom_objects": [{"name": "Project", "prefix": "a01"}]},
        {"custom_objects": [{"name": "Project__c", "prefix": "x01"}]},
        {"custom_objects": [{"name": "Project__c", "prefix": "a0"}]},
        {"custom_objects": [{**PROJECT, "colour": "red"}]},
        {"custom_fields": [{"object": "Contact", "name": "A__c", "type": "reference"}]},
        {"custom_fields": [{"object": "Contact", "name": "A__c", "refs": ["Lead"]}]},
        {"custom_fields": [{**LINK, "object": "Contact", "refs": ["Nope__c"]}]},
    ],
)
def test_what_is_no_custom_object_or_reference(bench, settings):
    """A slip fails the test that makes it, and changes nothing."""
    before = bench.org.schema
    with pytest.raises(ValueError, match=r"__c|prefix|refs|object"):
        bench.org.configure(settings)
    assert bench.org.schema is before


def test_an_e_mail_field_of_its_own_takes_addresses_alone(bench):
    """Of 80 characters, as the platform has them."""
    field = {"object": "Contact", "name": "Work__c", "type": "email"}
    bench.org.configure({"custom_fields": [field]})
    bench.refused("INVALID_EMAIL_ADDRESS", "Contact", LastName="K", Work__c="nobody")
    long = "x" * 60 + "@" + "y" * 20 + ".example"
    bench.refused("STRING_TOO_LONG", "Contact", LastName="K", Work__c=long)
    made = bench.create("Contact", LastName="K", Work__c="K@x.example")
    query = "SELECT Id FROM Contact WHERE Work__c IN ('k@X.example')"
    assert [r["Id"] for r in bench.org.query(query).records] == [made["Id"]]


def test_access_is_told_for_one_user_and_few_records(bench):
    """Both filters are needed; what is deleted or unknown is not told."""
    ada, ben = bench.user("ada"), bench.user("ben")
    bench.org.configure({"hidden_rows": {ben: [bench.contact]}})
    gone = bench.create("Contact", LastName="Gone")
    bench.delete("Contact", gone)
    ids = f"'{bench.contact}', '{gone['Id']}', '003000000000001AAA'"
    start = "SELECT RecordId, HasReadAccess, MaxAccessLevel FROM UserRecordAccess"
    for user, may in ((ada, True), (ben, False)):
        where = f" WHERE UserId = '{user}' AND RecordId IN ({ids})"
        (row,) = bench.org.query(start + where).records
        assert (row["RecordId"], row["HasReadAccess"]) == (bench.contact, may)
    many = ", ".join(f"'003000000000{n:03d}'" for n in range(201))
    for where in (
        "",
        f" WHERE UserId = '{ada}'",
        f" WHERE RecordId = '{bench.contact}'",
        f" WHERE UserId IN ('{ada}', '{ben}') AND RecordId = '{bench.contact}'",
        f" WHERE UserId = '{ada}' OR RecordId = '{bench.contact}'",
        f" WHERE UserId = '{ada}' AND RecordId IN ({many})",
    ):
        with pytest.raises(SOQLError) as raised:
            bench.org.query(start + where)
        assert raised.value.code == "MALFORMED_QUERY"
