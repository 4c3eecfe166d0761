"""Rows over REST: create, read, update, delete, upsert, describe, sync."""

from __future__ import annotations

import urllib.parse

import pytest

from relay.sandbox.config import INTEGRATION_USERNAME

UNIQUE = {
    "custom_fields": [
        {
            "object": "Activity",
            "name": "Relay_Key__c",
            "length": 64,
            "unique": True,
            "external_id": True,
        }
    ]
}


def error(reply):
    (first,) = reply.json()
    return reply.status_code, first["errorCode"]


def create(sandbox, name="Task", **fields):
    reply = sandbox.call("POST", f"sobjects/{name}/", json=fields)
    assert reply.status_code == 201, reply.text
    return reply.json()["id"]


def test_a_record_lives_from_create_to_delete(sandbox):
    """201 with the id, 200, 204, 204, then 404 for good."""
    record_id = create(sandbox, Subject="Hello", WhoId=sandbox.contact()[:15])
    row = sandbox.call("GET", f"sobjects/Task/{record_id}").json()
    assert row["WhoId"] == sandbox.contact()
    assert row["attributes"]["url"].endswith(f"/sobjects/Task/{record_id}")
    assert "Type" not in row
    path = f"sobjects/Task/{record_id[:15]}"
    assert sandbox.call("PATCH", path, json={"Subject": "Bye"}).status_code == 204
    row = sandbox.call("GET", path, params={"fields": "Subject"}).json()
    assert (row["Id"], row["Subject"]) == (record_id, "Bye")
    assert sandbox.call("DELETE", path).status_code == 204
    assert error(sandbox.call("GET", path)) == (404, "ENTITY_IS_DELETED")
    assert error(sandbox.call("DELETE", path)) == (404, "ENTITY_IS_DELETED")


def test_bad_ids_in_a_path(sandbox):
    """Checklist 7: malformed is 400, well-formed and unknown is 404."""
    assert error(sandbox.call("GET", "sobjects/Task/zzz")) == (400, "MALFORMED_ID")
    wrong = "001900K0001pPuOAAU"
    assert error(sandbox.call("GET", f"sobjects/Account/{wrong}")) == (
        400,
        "MALFORMED_ID",
    )
    reply = sandbox.call("GET", "sobjects/Account/001R0000006hfeZ")
    assert error(reply) == (404, "NOT_FOUND")


def test_a_hidden_row_does_not_exist_for_the_user(sandbox):
    """Checklist 8: sharing hides a row from reads, queries and references."""
    contact, me = sandbox.contact(), sandbox.org.integration_user_id
    sandbox.admin("config", {"hidden_rows": {me: [contact]}})
    path = f"sobjects/Contact/{contact}"
    assert error(sandbox.call("GET", path)) == (404, "NOT_FOUND")
    assert sandbox.query(f"SELECT Id FROM Contact WHERE Id = '{contact}'") == []
    reply = sandbox.call("POST", "sobjects/Task/", json={"WhoId": contact})
    assert error(reply) == (400, "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY")


def test_private_activities_are_their_owners(sandbox):
    """A user cannot see the Task it created for another; its unique key is taken."""
    field = {"object": "Activity", "name": "Key__c", "unique": True}
    sandbox.admin("config", {"private_activities": True, "custom_fields": [field]})
    (ada,) = sandbox.org.rows.lookup("User", "Username", ["ada@corp.example"])

    def made(**fields):
        return sandbox.call("POST", "sobjects/Task/", json=fields).json()["id"]

    mine, hers = made(Subject="mine"), made(OwnerId=ada["Id"], Key__c="k")
    path = f"sobjects/Task/{hers}"
    assert [row["Id"] for row in sandbox.query("SELECT Id FROM Task")] == [mine]
    assert error(sandbox.call("GET", path)) == (404, "NOT_FOUND")
    assert error(sandbox.call("PATCH", path, json={"Subject": "x"}))[0] == 404
    reply = sandbox.call("POST", "sobjects/Task/", json={"Key__c": "k"})
    assert error(reply) == (400, "DUPLICATE_VALUE")
    assert "record with id: <unknown>" in reply.json()[0]["message"]
    asked = "SELECT PermissionsViewAllData FROM UserPermissionAccess"
    (may,) = sandbox.query(asked)
    assert may["PermissionsViewAllData"] is False
    sandbox.admin("config", {"view_all_data": [INTEGRATION_USERNAME]})
    assert len(sandbox.query("SELECT Id FROM Task")) == 2
    (may,) = sandbox.query(asked)
    assert may["PermissionsViewAllData"] is True


def test_describe_is_the_contract(sandbox):
    """Fields hidden by security are absent; lengths are those of writes."""
    body = sandbox.call("GET", "sobjects/Task/describe").json()
    fields = {each["name"]: each for each in body["fields"]}
    assert not {"Type", "TaskWhoIds", "WhoCount", "CurrencyIsoCode"} & set(fields)
    assert fields["Description"]["length"] == 32_000
    assert fields["Description"]["filterable"] is False
    assert fields["TaskSubtype"]["updateable"] is False
    assert [each["value"] for each in fields["Status"]["picklistValues"]][2] == (
        "Completed"
    )
    assert body["keyPrefix"] == "00T"
    names = {
        each["name"] for each in sandbox.call("GET", "sobjects").json()["sobjects"]
    }
    assert {"Task", "EmailMessage", "Lead", "User"} <= names
    assert not {"TaskRelation", "TaskWhoRelation"} & names


def test_switches_change_the_shape(sandbox):
    """Checklist 18, 22: Shared Activities and EmailMessage come and go."""
    sandbox.admin("config", {"shared_activities": True, "email_mode": "absent"})
    body = sandbox.call("GET", "sobjects/Task/describe").json()
    assert {"TaskWhoIds", "WhoCount"} <= {each["name"] for each in body["fields"]}
    reply = sandbox.call("GET", "sobjects/EmailMessage/describe")
    assert error(reply) == (404, "NOT_FOUND")
    assert sandbox.call("GET", "sobjects/TaskWhoRelation/describe").status_code == 200


def test_describe_is_conditional(sandbox):
    """Checklist 43: 304 where the shape has not changed since."""
    first = sandbox.call("GET", "sobjects/Task/describe")
    since = {"If-Modified-Since": first.headers["Last-Modified"]}
    reply = sandbox.call("GET", "sobjects/Task/describe", headers=since)
    assert (reply.status_code, reply.content) == (304, b"")


def test_an_update_can_be_conditional(sandbox):
    """Checklist 43: 412 where another user was faster."""
    record_id = create(sandbox, Subject="x")
    headers = {"If-Unmodified-Since": "Wed, 01 Jan 2020 00:00:00 GMT"}
    reply = sandbox.call(
        "PATCH", f"sobjects/Task/{record_id}", json={"Subject": "y"}, headers=headers
    )
    assert error(reply) == (412, "PRECONDITION_FAILED")


def test_upsert_creates_once_and_then_updates(sandbox):
    """Checklist 36: 201 with created, then 200 without; the key compares folded."""
    sandbox.admin("config", UNIQUE)
    path = "sobjects/Task/Relay_Key__c/ab%2Fc"
    first = sandbox.call("PATCH", path, json={"Subject": "x"})
    assert (first.status_code, first.json()["created"]) == (201, True)
    again = sandbox.call("PATCH", path.replace("ab", "AB"), json={"Subject": "y"})
    assert (again.status_code, again.json()["created"]) == (200, False)
    assert again.json()["id"] == first.json()["id"]
    row = sandbox.call("GET", path).json()
    assert (row["Subject"], row["Relay_Key__c"]) == ("y", "ab/c")
    assert sandbox.call("DELETE", path).status_code == 204
    assert error(sandbox.call("GET", path)) == (404, "NOT_FOUND")


def test_upsert_refuses_keys_in_the_body_and_fields_that_are_no_keys(sandbox):
    """Checklist 36."""
    sandbox.admin("config", UNIQUE)
    path = "sobjects/Task/Relay_Key__c/abc"
    for body in ({"Relay_Key__c": "abc"}, {"Id": "00T"}):
        assert error(sandbox.call("PATCH", path, json=body)) == (400, "INVALID_FIELD")
    reply = sandbox.call("PATCH", "sobjects/Task/Subject/abc", json={})
    assert error(reply) == (404, "NOT_FOUND")
    reply = sandbox.call("PATCH", path, params={"updateOnly": "true"}, json={})
    assert error(reply) == (404, "NOT_FOUND")


def test_upsert_on_several_matches_writes_nothing(sandbox):
    """Checklist 36: 300 with the list of rivals."""
    message = {"Status": "3", "MessageIdentifier": "<a@b>"}
    first = create(sandbox, "EmailMessage", **message)
    second = create(sandbox, "EmailMessage", **message)
    path = "sobjects/EmailMessage/MessageIdentifier/" + urllib.parse.quote("<a@b>")
    reply = sandbox.call("PATCH", path, json={"IsExternallyVisible": True})
    assert reply.status_code == 300
    assert {each.rpartition("/")[2] for each in reply.json()} == {first, second}


def test_a_unique_field_names_the_rival(sandbox):
    """Checklist 36, 4.A: the message holds the id, and case makes no difference."""
    sandbox.admin("config", UNIQUE)
    first = create(sandbox, Subject="x", Relay_Key__c="abc")
    reply = sandbox.call("POST", "sobjects/Task/", json={"Relay_Key__c": "ABC"})
    assert error(reply) == (400, "DUPLICATE_VALUE")
    assert reply.json()[0]["message"] == (
        "duplicate value found: Relay_Key__c duplicates value on record with id: "
        + first[:15]
    )
    sandbox.call("DELETE", f"sobjects/Task/{first}")
    create(sandbox, Subject="again", Relay_Key__c="abc")


def test_updated_and_deleted_go_by_the_minute(sandbox):
    """Checklist 38: seconds are ignored, and the answer never covers now."""
    sandbox.admin("clock", {"now": "2030-05-01T10:00:00+00:00", "stopped": True})
    sandbox.login()
    kept, gone = create(sandbox, Subject="kept"), create(sandbox, Subject="gone")
    sandbox.call("DELETE", f"sobjects/Task/{gone}")
    window = {"start": "2030-05-01T10:00:59Z", "end": "2030-05-01T10:01:59+00:00"}
    sandbox.admin("clock", {"now": "2030-05-01T10:01:30+00:00", "stopped": True})
    body = sandbox.call("GET", "sobjects/Task/updated/", params=window).json()
    assert body == {
        "ids": [kept],
        "latestDateCovered": "2030-05-01T10:00:00.000+0000",
    }
    body = sandbox.call("GET", "sobjects/Task/deleted/", params=window).json()
    assert [each["id"] for each in body["deletedRecords"]] == [gone]


@pytest.mark.parametrize(
    ("what", "start", "end"),
    [
        ("updated", "2030-05-01T10:00:00Z", "2030-05-01T10:00:59Z"),
        ("updated", "2030-03-25T10:00:00Z", "2030-05-01T10:00:00Z"),
        ("deleted", "2030-04-10T10:00:00Z", "2030-05-01T10:00:00Z"),
        ("updated", "2030-05-01T10:00:00", "2030-05-01T10:05:00Z"),
        ("updated", "2030-05-01T00:00:00:", "2030-05-01T10:05:00Z"),
    ],
)
def test_a_window_that_is_none_is_refused(sandbox, what, start, end):
    """Checklist 38: empty, too far back, without a zone, malformed."""
    sandbox.admin("clock", {"now": "2030-05-01T10:10:00+00:00", "stopped": True})
    sandbox.login()
    window = {"start": start, "end": end}
    reply = sandbox.call("GET", f"sobjects/Task/{what}/", params=window)
    assert error(reply) == (400, "INVALID_REPLICATION_DATE")


def test_the_recycle_bin(sandbox):
    """Checklist 39: deleted rows are seen by queryAll, come back, and are purged."""
    record_id = create(sandbox, Subject="x")
    sandbox.call("DELETE", f"sobjects/Task/{record_id}")
    soql = {"q": "SELECT Id, IsDeleted FROM Task"}
    assert sandbox.call("GET", "query", params=soql).json()["totalSize"] == 0
    found = sandbox.call("GET", "queryAll", params=soql).json()["records"]
    assert [(each["Id"], each["IsDeleted"]) for each in found] == [(record_id, True)]
    sandbox.admin("undelete", {"ids": [record_id]})
    assert len(sandbox.query(soql["q"])) == 1
    sandbox.call("DELETE", f"sobjects/Task/{record_id}")
    assert sandbox.admin("purge", {}) == {"purged": 1}
    assert sandbox.call("GET", "queryAll", params=soql).json()["totalSize"] == 0


def test_old_closed_tasks_are_archived(sandbox):
    """Checklist 39: closed and due a year ago vanish from query, not from queryAll."""
    create(sandbox, Status="Completed", ActivityDate="2001-01-01")
    create(sandbox, Status="Completed")
    create(sandbox, Status="Not Started", ActivityDate="2001-01-01")
    assert sandbox.admin("archive", {}) == {"archived": 1}
    soql = {"q": "SELECT Id FROM Task"}
    assert sandbox.call("GET", "query", params=soql).json()["totalSize"] == 2
    assert sandbox.call("GET", "queryAll", params=soql).json()["totalSize"] == 3


def test_duplicate_and_assignment_rules(sandbox):
    """Checklist 41: alert passes with allowSave; assignment can be switched off."""
    ben = sandbox.org.state.user_by_name("ben@corp.example")["Id"]
    sandbox.admin("config", {"duplicate_rules": "alert", "lead_assignment_owner": ben})
    lead = {"LastName": "X", "Company": "Y", "Email": "mara@acme.example"}
    reply = sandbox.call("POST", "sobjects/Lead/", json=lead)
    assert error(reply) == (400, "DUPLICATES_DETECTED")
    headers = {"Sforce-Duplicate-Rule-Header": "allowSave=true"}
    reply = sandbox.call("POST", "sobjects/Lead/", json=lead, headers=headers)
    assert sandbox.org.rows.get("Lead", reply.json()["id"])["OwnerId"] == ben
    headers["Sforce-Auto-Assign"] = "FALSE"
    reply = sandbox.call("POST", "sobjects/Lead/", json=lead, headers=headers)
    me = sandbox.org.integration_user_id
    assert sandbox.org.rows.get("Lead", reply.json()["id"])["OwnerId"] == me


def test_a_purge_cuts_the_log_of_deletions(sandbox):
    """Checklist 38: what was deleted before the last purge, nobody can tell."""
    sandbox.admin("clock", {"now": "2030-05-01T10:00:00+00:00", "stopped": True})
    sandbox.login()
    record_id = create(sandbox, Subject="x")
    sandbox.call("DELETE", f"sobjects/Task/{record_id}")
    sandbox.admin("clock", {"now": "2030-05-03T10:00:00+00:00", "stopped": True})
    sandbox.login()
    window = {"start": "2030-04-30T10:00:00Z", "end": "2030-05-03T10:00:00Z"}
    body = sandbox.call("GET", "sobjects/Task/deleted/", params=window).json()
    assert body["earliestDateAvailable"] == "2030-04-18T10:00:00.000+0000"
    assert len(body["deletedRecords"]) == 1
    sandbox.admin("purge", {})
    body = sandbox.call("GET", "sobjects/Task/deleted/", params=window).json()
    assert body["earliestDateAvailable"] == "2030-05-01T10:00:00.000+0000"
    assert body["deletedRecords"] == []
    soql = {"q": f"SELECT Id FROM Task WHERE Id = '{record_id}'"}
    assert sandbox.call("GET", "queryAll", params=soql).json()["totalSize"] == 0


def test_an_org_may_name_its_statuses_otherwise(sandbox):
    """Checklist 11: IsClosed follows TaskStatus, whatever the names."""
    names = {"Offen": False, "Wartet": False, "Erledigt": True, "Hinfällig": True}
    sandbox.admin("config", {"task_statuses": names})
    record_id = create(sandbox, Subject="x")
    (row,) = sandbox.query("SELECT Status, IsClosed FROM Task")
    assert (row["Status"], row["IsClosed"]) == ("Offen", False)
    sandbox.call("PATCH", f"sobjects/Task/{record_id}", json={"Status": "Hinfällig"})
    (row,) = sandbox.query("SELECT Status, IsClosed FROM Task")
    assert (row["Status"], row["IsClosed"]) == ("Hinfällig", True)
    body = sandbox.call("GET", "sobjects/Task/describe").json()
    (field,) = [each for each in body["fields"] if each["name"] == "Status"]
    assert [each["value"] for each in field["picklistValues"]] == list(names)
