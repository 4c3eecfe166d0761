"""Packing and reading of writes."""

from __future__ import annotations

import json
from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from relay.salesforce import client, write
from relay.salesforce.client import Part
from relay.salesforce.model import WriteState
from relay.salesforce.write import Encoded

TASK_ID = "00T000000000001EAA"


def encoded(*sizes, kinds=("Task",)):
    return [
        Encoded(f"k{n}", kinds[n % len(kinds)], b"x" * size)
        for n, size in enumerate(sizes)
    ]


def test_a_record_is_its_type_and_its_fields():
    """The JSON of a record is what a collection wants."""
    (record,), refused = write.encode([("k", "Task", {"Subject": "s"})])
    assert json.loads(record.data) == {"attributes": {"type": "Task"}, "Subject": "s"}
    assert refused == []


def test_a_record_without_json_is_refused_alone():
    """NaN in one record leaves the others alone."""
    good, refused = write.encode(
        [("a", "Task", {"x": float("nan")}), ("b", "Task", {"x": 1})]
    )
    assert [r.key for r in good] == ["b"]
    assert [(o.key, o.state) for o in refused] == [("a", WriteState.REFUSED)]


@given(
    st.lists(st.integers(10, 3_000_000) | st.integers(10, 400), max_size=1500),
    st.integers(1, 30),
)
def test_packing_keeps_every_limit(sizes, kinds):
    """200 records, ten runs, five collections, eight megabytes; nothing lost."""
    records = [Encoded(f"k{n}", f"T{n % kinds}", b"") for n in range(len(sizes))]

    class Sized(bytes):
        size = 0

        def __len__(self):
            return self.size

    for record, size in zip(records, sizes, strict=True):
        data = Sized()
        data.size = size
        object.__setattr__(record, "data", data)
    calls = write.pack(records)
    packed = [r.key for call in calls for part in call for r in part]
    assert sorted(packed) == sorted(r.key for r in records)
    for call in calls:
        assert 0 < len(call) <= write.MAX_COLLECTIONS
        for part in call:
            assert 0 < len(part) <= write.MAX_RECORDS
            assert len(list(groupby(part, key=lambda r: r.object))) <= write.MAX_RUNS
        count = sum(len(part) for part in call)
        size = sum(len(r.data) + 1 for part in call for r in part)
        assert size + 200 * len(call) <= write.MAX_BYTES or count == 1


def test_packing_wastes_no_call():
    """A thousand small records are one call."""
    calls = write.pack(encoded(*[4000] * 1000, kinds=("Task", "EmailMessage")))
    assert [len(call) for call in calls] == [5]


def test_parts_are_worked_off_in_order_where_it_matters():
    """Salesforce may do them in any order unless it is told."""
    parts = [("GET", "query?q=SELECT%20Id", None)]
    told = json.loads(client.request_body("/v/", parts, ordered=True))
    assert told["collateSubrequests"] is False
    assert "collateSubrequests" not in json.loads(client.request_body("/v/", parts))


def test_what_was_read_before_is_found_by_id():
    """What was not answered, or is no record, is left out."""
    row = {"Id": TASK_ID, "Status": "Completed"}
    parts = [
        None,
        Part(400, [{"errorCode": "X"}]),
        Part(200, ["?"]),
        Part(200, {"records": "?"}),
        Part(200, {"records": ["?", {"Status": "Open"}, row]}),
    ]
    assert write.read_before(parts) == {TASK_ID: row}


def test_a_call_that_reads_before_takes_fewer_collections():
    """Queries count as collections do: five of them in a composite."""
    calls = write.pack(encoded(*[10] * 1000, kinds=("Task",)), write.MAX_READ)
    assert [len(call) for call in calls] == [2, 2, 1]


def test_bodies_nest_as_json():
    """Bodies made of bytes are the JSON that they look like."""
    (record,), _ = write.encode([("k", "Task", {"Subject": 'é"'})])
    data = client.request_body(
        "/services/data/v66.0/",
        [
            ("POST", "composite/sobjects", write.collection_body([record, record])),
            ("GET", "query?q=SELECT%20Id", None),
        ],
    )
    read = json.loads(data)
    assert read["allOrNone"] is False
    first, second = read["compositeRequest"]
    assert first["url"] == "/services/data/v66.0/composite/sobjects"
    assert first["referenceId"] != second["referenceId"]
    assert len(first["body"]["records"]) == 2
    assert "body" not in second


def outcome(result, unique=None):
    return write.read_result(Encoded("k", "Task", b""), result, unique or {})


def duplicate(text, fields=()):
    error = {"statusCode": "DUPLICATE_VALUE", "message": text, "fields": list(fields)}
    return {"success": False, "errors": [error]}


def test_written_needs_a_valid_id():
    """Success is believed with an id that is one."""
    assert outcome({"success": True, "id": TASK_ID[:15]}).id == TASK_ID
    assert outcome({"success": True, "id": "x"}).state is WriteState.UNKNOWN
    assert outcome({"success": 1, "id": TASK_ID}).state is WriteState.UNKNOWN


def test_a_failure_without_reason_is_tried_again():
    """`success: false` alone says that nothing was written."""
    for errors in (None, [], {}, "x"):
        assert outcome({"success": False, "errors": errors}).state is WriteState.RETRY


def test_our_own_unique_key_means_written():
    """DUPLICATE_VALUE on the key field gives the id of the earlier write."""
    unique = {"k": "Key__c"}
    text = "duplicate value found: Key__c duplicates value on record with id: "
    text += TASK_ID[:15]
    found = outcome(duplicate(text), unique)
    assert (found.state, found.id) == (WriteState.WRITTEN, TASK_ID)
    found = outcome(duplicate(text, ["Key__c"]), unique)
    assert found.state is WriteState.WRITTEN


def test_a_unique_key_without_its_record_is_looked_up():
    """Where Salesforce does not name the record, the key is asked for."""
    unique = {"k": "Key__c"}
    text = (
        "duplicate value found: <unknown> duplicates value on record with id: <unknown>"
    )
    assert outcome(duplicate(text), unique).state is WriteState.UNKNOWN


def test_another_unique_field_is_a_refusal():
    """A duplicate in somebody else's field does not mean that we wrote."""
    text = (
        f"duplicate value found: Other__c duplicates value on record with id: {TASK_ID}"
    )
    assert outcome(duplicate(text), {"Task": "Key__c"}).state is WriteState.REFUSED
    assert outcome(duplicate(text, ["Other__c"]), {"Task": "Key__c"}).state is (
        WriteState.REFUSED
    )
    assert outcome(duplicate(text)).state is WriteState.REFUSED
