"""Tasks of many users in one call, and deletions: what the answers mean."""

from __future__ import annotations

from datetime import timedelta

import pytest

from relay.core.errors import SalesforceUnavailable
from relay.salesforce import write
from relay.salesforce.client import Part
from relay.salesforce.model import WriteState
from relay.salesforce.tasks import Asked, Mark, owners_in

NOBODY = "00T000000000001EAA"


def made(sandbox, count=1, **fields):
    """Make Tasks; return their ids."""
    ids = [
        sandbox.records.create(
            "Task", {"Subject": f"Task {n}", **fields}, sandbox.caller()
        )
        for n in range(count)
    ]
    sandbox.rows.commit()
    return ids


async def test_many_are_deleted_in_one_call(sandbox, org):
    """Two collections; what is gone already counts as done, what is no id does not."""
    ids = made(sandbox, 202)
    gone = ids[0]
    sandbox.records.delete("Task", gone, sandbox.caller())
    sandbox.rows.commit()
    before = sandbox.usage.used()
    asked = {f"k{n}": one for n, one in enumerate(ids)}
    found = await org.records.remove({**asked, "odd": "no id"})
    assert sandbox.usage.used() - before == 1
    states = {one.key: one.state for one in found}
    assert states.pop("odd") is WriteState.REFUSED
    assert set(states.values()) == {WriteState.WRITTEN}
    assert len(states) == 202
    living = [r for r in sandbox.rows.all("Task") if not r["IsDeleted"]]
    assert not [r for r in living if r["Id"] in ids]


async def test_a_deletion_without_an_answer_may_be_made_again(sandbox, org):
    """It is told as such, and the second time finds the record gone."""
    (one,) = made(sandbox)
    lost = {"kind": "reset", "stage": "after", "count": 1, "path": "composite"}
    sandbox.faults.load([lost])
    with pytest.raises(SalesforceUnavailable):
        await org.records.remove({"k": one})
    (found,) = await org.records.remove({"k": one})
    assert (found.state, found.code) == (WriteState.WRITTEN, "ENTITY_IS_DELETED")


def test_a_collection_of_deletions_that_is_refused_as_a_whole():
    """Each of its records is refused."""
    body = [{"errorCode": "INSUFFICIENT_ACCESS_OR_READONLY", "message": "no"}]
    answers = [Part(403, body), None]
    ids = {f"k{n}": NOBODY for n in range(201)}
    found = write.read_deletions(ids, answers)
    states = {one.key: one.state for one in found}
    assert states.pop("k200") is WriteState.UNKNOWN
    assert set(states.values()) == {WriteState.REFUSED}


async def test_a_round_asks_everything_in_one_call(sandbox, org):
    """Changes by mark, users, samples, the org, and what was deleted."""
    users = {r["Username"]: r["Id"] for r in sandbox.rows.all("User")}
    ada, ben = users["ada@corp.example"], users["ben@corp.example"]
    first, second = made(sandbox, 2, OwnerId=ada)
    made(sandbox, 1, OwnerId=ben, TaskSubtype="Call")
    sandbox.records.delete("Task", second, sandbox.caller())
    sandbox.rows.commit()
    now = org.access.server_now()
    mark = Mark(now - timedelta(hours=1))
    await org.schema.get()
    before = sandbox.usage.used()
    found = await org.tasks.round(
        Asked(
            owners_in([(mark, ada), (mark, ben)]),
            users=[ada, ben, "005000000000001AAA"],
            samples=[first, NOBODY],
            deleted_since=now - timedelta(days=20),
        )
    )
    assert sandbox.usage.used() - before == 1
    page = found.pages[mark]
    assert {task.id: task.is_deleted for task in page.tasks} == {
        first: False,
        second: True,
    }
    assert not page.more
    assert found.active == {ada, ben}
    assert found.seen == {first}
    assert found.org == next(iter(sandbox.rows.all("Organization")))["Id"]
    assert found.complete_since > now - timedelta(days=15, minutes=2)
    assert set(await org.tasks.read([first, second, NOBODY])) == {first, second}


async def test_pages_follow_each_other_by_stamp_and_id(sandbox, org, monkeypatch):
    """However many Tasks have one stamp, none is skipped and none comes twice."""
    monkeypatch.setattr("relay.salesforce.tasks.PAGE", 3)
    sandbox.clock.set(org.access.server_now(), stopped=True)
    ids = made(sandbox, 10)
    me = await org.access.me()
    mark = Mark(sandbox.clock.now() - timedelta(hours=1))
    seen = []
    for _ in range(10):
        found = await org.tasks.round(Asked({mark: [me]}))
        page = found.pages[mark]
        seen += [task.id for task in page.tasks]
        mark = page.mark
        if not page.more:
            break
    assert sorted(seen) == sorted(ids)
