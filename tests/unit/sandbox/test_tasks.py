"""Tasks: links, status, recurrence, Shared Activities."""

from __future__ import annotations

import pytest


def test_a_lead_never_stands_beside_a_what(bench):
    """Checklist 14: FIELD_INTEGRITY_EXCEPTION, on create and on update."""
    bench.refused(
        "FIELD_INTEGRITY_EXCEPTION", WhoId=bench.lead, WhatId=bench.opportunity
    )
    task = bench.create(WhoId=bench.lead)
    bench.update_refused(
        "FIELD_INTEGRITY_EXCEPTION", "Task", task, WhatId=bench.opportunity
    )
    assert bench.create(WhoId=bench.contact, WhatId=bench.opportunity)
    assert bench.create(WhatId=bench.opportunity)
    assert bench.create()


def test_links_point_to_fitting_objects(bench):
    """Checklist 8, 14: who is a person, what is not."""
    error = bench.refused("FIELD_INTEGRITY_EXCEPTION", WhatId=bench.lead)
    assert error.message == f"Related To ID: id value of incorrect type: {bench.lead}"
    bench.refused("FIELD_INTEGRITY_EXCEPTION", WhatId=bench.contact)
    bench.refused("FIELD_INTEGRITY_EXCEPTION", WhatId=bench.me)
    bench.refused("FIELD_INTEGRITY_EXCEPTION", WhoId=bench.opportunity)
    bench.refused("FIELD_INTEGRITY_EXCEPTION", WhoId=bench.me)
    bench.refused("MALFORMED_ID", WhoId="x")
    bench.refused("MALFORMED_ID", OwnerId=bench.contact)
    bench.refused("INVALID_CROSS_REFERENCE_KEY", WhoId="003RM0000068xV6YAI")


def test_a_deleted_target_is_told(bench):
    """Checklist 8: ENTITY_IS_DELETED."""
    contact = bench.contact
    bench.org.records.delete("Contact", contact, bench.org.caller())
    bench.refused("ENTITY_IS_DELETED", WhoId=contact)


def test_a_converted_lead_can_be_refused(bench):
    """Checklist 20: by a switch."""
    bench.refused("CANNOT_UPDATE_CONVERTED_LEAD", WhoId=bench.converted)
    bench.org.configure({"refuse_converted_leads": False})
    assert bench.create(WhoId=bench.converted)


def test_defaults_and_derived_fields(bench):
    """Checklist 16, 17: owner is the caller; status, account, ids of 18."""
    task = bench.create(WhoId=bench.contact[:15])
    assert task["WhoId"] == bench.contact
    assert task["OwnerId"] == task["CreatedById"] == bench.me
    assert (task["Status"], task["Priority"]) == ("Not Started", "Normal")
    assert (task["TaskSubtype"], task["IsClosed"]) == ("Task", False)
    contact = bench.org.rows.get("Contact", bench.contact)
    assert task["AccountId"] == contact["AccountId"]
    opportunity = bench.org.rows.get("Opportunity", bench.opportunity)
    private = bench.find("Contact", "Email", "ines.vogel@home.example")
    task = bench.create(WhoId=private, WhatId=bench.opportunity)
    assert task["AccountId"] == opportunity["AccountId"]
    assert bench.create(WhoId=private)["AccountId"] is None
    assert (
        bench.create(WhatId=opportunity["AccountId"])["AccountId"]
        == (opportunity["AccountId"])
    )


@pytest.mark.parametrize(
    "field",
    [
        "IsClosed",
        "CompletedDateTime",
        "AccountId",
        "IsArchived",
        "IsDeleted",
        "SystemModstamp",
        "CreatedDate",
        "CreatedById",
        "Id",
    ],
)
def test_read_only_fields_cannot_be_written(bench, field):
    """Checklist 15: named in the answer, on create and update."""
    error = bench.refused("INVALID_FIELD_FOR_INSERT_UPDATE", **{field: None})
    assert error.fields == (field,)
    task = bench.create()
    bench.update_refused("INVALID_FIELD_FOR_INSERT_UPDATE", "Task", task, **{field: 1})


def test_fields_that_do_not_exist_for_the_caller(bench):
    """Checklist 9: unknown, hidden, of a feature that is off, of another spelling."""
    for field in ("Nonsense", "Type", "TaskWhoIds", "CurrencyIsoCode", "subject"):
        error = bench.refused("INVALID_FIELD", **{field: None})
        assert error.message == f"No such column '{field}' on sobject of type Task"
    bench.org.configure({"hidden_fields": {"Task": ["Description"]}})
    assert bench.create(Type="Email")["Type"] == "Email"
    bench.refused("INVALID_FIELD", Description="x")


def test_the_subtype_is_for_life(bench):
    """Checklist 15: never on update, and never Cadence."""
    task = bench.create(TaskSubtype="Email")
    bench.update_refused(
        "INVALID_FIELD_FOR_INSERT_UPDATE", "Task", task, TaskSubtype="Call"
    )
    bench.refused("FIELD_INTEGRITY_EXCEPTION", TaskSubtype="Cadence")


def test_owners(bench):
    """Checklist 16: active users and queues."""
    assert bench.create(OwnerId=bench.user("ada"))["OwnerId"] == bench.user("ada")
    error = bench.refused("INACTIVE_OWNER_OR_USER", OwnerId=bench.user("dora"))
    assert error.fields == ("OwnerId",)
    task = bench.create()
    bench.update_refused(
        "INACTIVE_OWNER_OR_USER", "Task", task, OwnerId=bench.user("dora")
    )
    queue = next(bench.org.rows.all("Group"))
    assert bench.create(OwnerId=queue["Id"])
    public = bench.org.insert_raw("Group", [{"Name": "All", "Type": "Regular"}])
    bench.refused("INVALID_CROSS_REFERENCE_KEY", OwnerId=public[0])
    bench.refused("REQUIRED_FIELD_MISSING", OwnerId=None)


def test_the_completion_time_is_set_kept_and_cleared(bench):
    """Checklist 17; and any status text is taken."""
    task = bench.create(Status="Completed")
    first = task["CompletedDateTime"]
    assert (task["IsClosed"], first) == (True, "2030-05-01T10:00:00.000+0000")
    bench.org.clock.shift(60)
    task = bench.update("Task", task, Status="Completed", Subject="x")
    assert task["CompletedDateTime"] == first
    assert task["SystemModstamp"] == "2030-05-01T10:01:00.000+0000"
    task = bench.update("Task", task, Status="Waiting for Godot")
    assert (task["IsClosed"], task["CompletedDateTime"]) == (False, None)
    task = bench.update("Task", task, Status="Completed")
    assert task["CompletedDateTime"] == "2030-05-01T10:01:00.000+0000"
    assert bench.create(Priority="High")["IsHighPriority"] is True


def test_closed_statuses_are_the_orgs(bench):
    """Section 5.3: other statuses may be closed as well."""
    bench.org.insert_raw("TaskStatus", [{"ApiName": "Erledigt", "IsClosed": True}])
    assert bench.create(Status="Erledigt")["IsClosed"] is True


def test_recurring_tasks(bench):
    """Checklist 19: a pattern, no status, no switching."""
    pattern = {
        "IsRecurrence": True,
        "RecurrenceType": "RecursDaily",
        "RecurrenceStartDateOnly": "2030-05-01",
        "RecurrenceEndDateOnly": "2030-06-01",
        "RecurrenceInterval": 1,
    }
    bench.refused("FIELD_INTEGRITY_EXCEPTION", **pattern, Status="Completed")
    bench.refused("FIELD_INTEGRITY_EXCEPTION", **pattern, ActivityDate="2030-05-01")
    bench.refused("REQUIRED_FIELD_MISSING", IsRecurrence=True)
    backwards = pattern | {"RecurrenceEndDateOnly": "2030-04-01"}
    bench.refused("FIELD_INTEGRITY_EXCEPTION", **backwards)
    bench.refused("FIELD_INTEGRITY_EXCEPTION", RecurrenceInterval=1)
    series = bench.create(**pattern)
    bench.update_refused(
        "FIELD_INTEGRITY_EXCEPTION", "Task", series, Status="Completed"
    )
    bench.update_refused(
        "INVALID_FIELD_FOR_INSERT_UPDATE", "Task", series, IsRecurrence=False
    )
    plain = bench.create()
    bench.update_refused(
        "FIELD_INTEGRITY_EXCEPTION", "Task", plain, RecurrenceInterval=1
    )
    (occurrence,) = bench.org.insert_raw(
        "Task", [{"RecurrenceActivityId": series["Id"]}]
    )
    bench.delete("Task", series)
    assert bench.org.rows.get("Task", occurrence)["IsDeleted"] is True


def test_shared_activities(bench):
    """Checklist 18: up to 50 contacts or one lead, with relations."""
    bench.org.configure({"shared_activities": True})
    other = bench.find("Contact", "Email", "priya@acme.example")
    task = bench.create(TaskWhoIds=[bench.contact, other])
    assert (task["WhoId"], task["WhoCount"]) == (bench.contact, 2)
    people = {row["RelationId"] for row in bench.all("TaskWhoRelation")}
    assert people == {bench.contact, other}
    task = bench.create(
        WhoId=other, TaskWhoIds=[bench.contact], WhatId=bench.opportunity
    )
    assert task["TaskWhoIds"] == [other, bench.contact]
    assert (task["WhoId"], task["WhatCount"]) == (other, 1)
    bench.refused("FIELD_INTEGRITY_EXCEPTION", TaskWhoIds=[bench.lead, bench.contact])
    rows = [{"LastName": f"n{number}"} for number in range(51)]
    contacts = bench.org.insert_raw("Contact", rows)
    bench.refused("FIELD_INTEGRITY_EXCEPTION", TaskWhoIds=contacts)
    assert bench.create(TaskWhoIds=contacts[:50])["WhoCount"] == 50
    task = bench.update("Task", task, TaskWhoIds=None)
    assert task["TaskWhoIds"] == [other]
    bench.refused("MALFORMED_ID", TaskWhoIds=[bench.opportunity])
    before = len(bench.all("TaskRelation"))
    bench.delete("Task", task)
    assert len(bench.all("TaskRelation")) == before - 2


def test_relations_are_made_and_deleted_only(bench):
    """Section 2.3: no update, and the read-only twin takes nothing."""
    bench.org.configure({"shared_activities": True})
    task = bench.create()
    row = bench.create("TaskRelation", TaskId=task["Id"], RelationId=bench.contact)
    assert row["IsWhat"] is False
    bench.update_refused(
        "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "TaskRelation", row, RelationId=None
    )
    bench.refused(
        "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "TaskWhoRelation", TaskId=task["Id"]
    )


def test_events_have_a_time_and_the_links_of_an_activity(bench):
    """Events count as activities and follow the same link rules."""
    bench.refused("REQUIRED_FIELD_MISSING", "Event", Subject="x")
    when = {"ActivityDateTime": "2030-05-01T10:00:00Z", "DurationInMinutes": 30}
    event = bench.create("Event", WhoId=bench.contact, **when)
    assert event["AccountId"] is not None
    bench.refused(
        "FIELD_INTEGRITY_EXCEPTION",
        "Event",
        WhoId=bench.lead,
        WhatId=bench.opportunity,
        **when,
    )
    bench.update_refused("FIELD_INTEGRITY_EXCEPTION", "Event", event, WhoId=bench.me)
