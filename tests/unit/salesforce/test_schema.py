"""The org's schema: what describe says, and what it leaves open."""

from __future__ import annotations

import pytest

from relay.core.errors import OrgPaused, SalesforceUnavailable
from relay.salesforce import schema as schemas
from relay.salesforce.client import Part


def field(name, **more):
    return {"name": name, "label": name, "type": "string", "length": 80, **more}


def described(*fields, **more):
    return Part(200, {"fields": list(fields), "createable": True, **more})


GONE = Part(404, [{"errorCode": "NOT_FOUND", "message": "m"}])
DOWN = Part(503, [{"errorCode": "SERVER_UNAVAILABLE", "message": "m"}])
BROKEN = Part(200, {"records": None})


def schema_of(*parts):
    return schemas.read(parts)


def more_objects(start):
    """Return descriptions of the objects from this one on."""
    return [described()] * (len(schemas.OBJECTS) - start)


def test_the_schema_holds_what_describe_says():
    """Lengths, rights, picklists and closed statuses come from the org."""
    status = {"ApiName": "Erledigt", "IsClosed": True}
    new = {"ApiName": "Neu", "IsClosed": False, "IsDefault": False}
    still = {"ApiName": "Offen", "IsClosed": False, "IsDefault": True}
    values = [{"value": "Email", "active": True}, {"value": "Old", "active": False}]
    kinds = [{"value": "Call", "defaultValue": True}, {"value": "Email"}]
    schema = schema_of(
        described(
            field("Subject", createable=True),
            field("TaskWhoIds", createable=True, length=0),
            field("TaskSubtype", picklistValues=values),
            field("Type", picklistValues=kinds),
            {"name": 7},
            keyPrefix="00T",
        ),
        GONE,
        described(field("IsPersonAccount")),
        *[GONE] * 3,
        described(createable=False),
        *more_objects(7),
        Part(200, {"records": [new, still, status, 7]}),
    )
    assert schema.length("Task", "Subject") == 80
    assert schema.length("Task", "TaskWhoIds") is None
    assert schema.length("Task", "Nothing") is None
    assert schema.createable("Task", "Subject")
    assert not schema.createable("Task", "TaskSubtype")
    assert not schema.createable("EmailMessage", "Subject")
    assert schema.field("Task", "TaskSubtype").values == ("Email",)
    assert schema.field("Task", "TaskSubtype").default == ""
    assert schema.field("Task", "Type").default == "Call"
    assert schema.shared_activities
    assert schema.person_accounts
    assert not schema.has_email_message
    assert not schema.has("Lead")
    assert schema.closed_statuses == ("Erledigt",)
    assert schema.open_statuses == ("Offen", "Neu")
    assert schema.key_prefixes == {"Task": "00T"}


@pytest.mark.parametrize("part", [DOWN, None, Part(200, []), Part(200, None)])
def test_an_object_that_cannot_be_described_now_is_not_absent(part):
    """Trouble is not taken for an org without Leads."""
    parts = [*[described()] * 3, part, *more_objects(4), BROKEN]
    with pytest.raises(SalesforceUnavailable):
        schema_of(*parts)


def test_statuses_that_cannot_be_read_are_not_needed():
    """An org that does not tell its statuses can still be used."""
    for part in (DOWN, None, BROKEN, GONE):
        assert schema_of(*more_objects(0), part).closed_statuses == ()


def test_a_refused_describe_pauses():
    """An unknown refusal is the admin's matter."""
    odd = Part(400, [{"errorCode": "INVALID_FIELD", "message": "m"}])
    with pytest.raises(OrgPaused):
        schema_of(odd, *more_objects(1), BROKEN)


def test_a_record_type_is_known_by_its_name():
    """The master is none, and what our user may not use is none either."""
    rows = [
        {
            "developerName": name,
            "recordTypeId": "012000000000001AAA",
            "available": available,
            "master": name == "Master",
        }
        for name, available in (("Master", True), ("Mail", True), ("Old", False))
    ]
    schema = schema_of(described(recordTypeInfos=rows), *more_objects(1), BROKEN)
    assert schema.record_types["Task"] == {"Mail": "012000000000001AAA"}
