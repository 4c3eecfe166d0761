"""Records that mails name by id, looked up in the sandbox over HTTP."""

from __future__ import annotations

import pytest

from relay.core.errors import SalesforceUnavailable
from relay.core.ids import record_id
from relay.core.model import NamedRecord

NOWHERE = record_id("zzz000000000001")


def rows(sandbox):
    """Make one record of each kind; return their ids by object."""
    (contact,) = sandbox.insert_raw("Contact", [{"LastName": "Kim"}])
    (case,) = sandbox.insert_raw("Case", [{"Subject": "Broken", "CaseNumber": "0007"}])
    (campaign,) = sandbox.insert_raw("Campaign", [{"Name": "Spring"}])
    (lead,) = sandbox.insert_raw("Lead", [{"LastName": "Lee", "Company": "X"}])
    (old,) = sandbox.insert_raw(
        "Lead",
        [
            {
                "LastName": "Old",
                "Company": "X",
                "IsConverted": True,
                "ConvertedContactId": contact,
            }
        ],
    )
    made = {"Contact": contact, "Case": case, "Campaign": campaign, "Lead": lead}
    return made | {"Converted": old}


def calls(sandbox, path):
    return [c for c in sandbox.calls.as_json() if path in c["path"]]


async def test_records_of_all_objects_in_one_call(org, sandbox):
    """Each with object and name; what takes no activity, or is not there, says so."""
    made = rows(sandbox)
    (user, *_) = sandbox.rows.all("User")
    (gone,) = sandbox.insert_raw("Campaign", [{"Name": "Gone"}])
    await org.records.delete("Campaign", gone)
    ids = [*made.values(), user["Id"], gone, NOWHERE]
    before = len(sandbox.calls.as_json())
    found = (await org.lookup.find([], records=ids)).found.records
    assert found == {
        made["Contact"]: NamedRecord(made["Contact"], "Contact", "Kim"),
        made["Case"]: NamedRecord(made["Case"], "Case", "0007"),
        made["Campaign"]: NamedRecord(made["Campaign"], "Campaign", "Spring"),
        made["Lead"]: NamedRecord(made["Lead"], "Lead", "Lee"),
        made["Converted"]: NamedRecord(made["Contact"], "Contact", "Old"),
        user["Id"]: NamedRecord(
            user["Id"], "User", "", "nothing can be logged on a record of User"
        ),
    }
    # The schema, the list of objects, and all queries together.
    assert len(sandbox.calls.as_json()) - before <= 3
    assert len(calls(sandbox, "/sobjects")) == 1
    await org.lookup.find([], records=ids)
    assert len(calls(sandbox, "/sobjects")) == 1, "the objects are remembered"


async def test_what_the_user_may_not_see_is_not_found(org, sandbox):
    """Sharing decides, as for every other look-up."""
    made = rows(sandbox)
    me = sandbox.integration_user_id
    sandbox.configure({"hidden_rows": {me: [made["Case"]]}})
    found = (await org.lookup.find([], records=[made["Case"]])).found
    assert found.records == {}


async def test_people_and_records_share_a_call(org, sandbox):
    """A mail with both costs no more than one without."""
    made = rows(sandbox)
    sandbox.insert_raw("Contact", [{"LastName": "Ann", "Email": "ann@x.example"}])
    await org.schema.get()
    before = len(sandbox.calls.as_json())
    result = await org.lookup.find(["ann@x.example"], records=[made["Contact"]])
    assert len(sandbox.calls.as_json()) - before == 1
    assert set(result.found.candidates) == {"ann@x.example"}
    assert set(result.found.records) == {made["Contact"]}


async def test_a_list_of_objects_that_cannot_be_read(org, sandbox):
    """The mail waits; a list that is remembered will do."""
    made = rows(sandbox)
    fault = {"kind": "status", "code": 503, "path": "/sobjects$"}
    await org.schema.get()
    sandbox.faults.load([fault])
    with pytest.raises(SalesforceUnavailable):
        await org.lookup.find([], records=[made["Case"]])
    sandbox.faults.load([])
    await org.lookup.find([], records=[made["Case"]])
    sandbox.faults.load([fault])
    org.schema._prefixes_at_s -= 10_000
    found = (await org.lookup.find([], records=[made["Case"]])).found.records
    assert set(found) == {made["Case"]}


@pytest.mark.parametrize(("count", "calls_at_most"), [(220, 1), (3000, 7)])
async def test_a_mail_to_many_is_looked_up_in_few_calls(
    org, sandbox, count, calls_at_most
):
    """Every address is asked for, in statements that fit; the last one is found."""
    last = f"person.number{count - 1}@customer.example"
    sandbox.insert_raw("Contact", [{"LastName": "Last", "Email": last}])
    await org.schema.get()
    before = len(sandbox.calls.as_json())
    result = await org.lookup.find(
        [f"person.number{n}@customer.example" for n in range(count)]
    )
    assert list(result.found.candidates) == [last]
    assert len(sandbox.calls.as_json()) - before <= calls_at_most
