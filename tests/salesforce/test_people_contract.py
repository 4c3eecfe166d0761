"""People and their Tasks: one contract for the real client, and what stands for it."""

from __future__ import annotations

import pytest

from relay.core.clock import SystemClock
from relay.core.errors import CredentialsRefused, SalesforceDown
from relay.core.retry import Retry
from relay.salesforce import WriteState
from relay.salesforce.errors import error_of
from relay.salesforce.org import Org
from tests.fakes.people_org import CONTACTS, PeopleOrg

CLOCK = SystemClock()
ANNA, BERT, *_ = (one.email_key for one in CONTACTS)
RULE = "FIELD_CUSTOM_VALIDATION_EXCEPTION"
DOWN = "INSERT_UPDATE_DELETE_NOT_ALLOWED_DURING_MAINTENANCE"


FAULTS = {
    WriteState.REFUSED: {"kind": "error_code", "object": "Task", "code": RULE},
    WriteState.RETRY: {"kind": "lock_rows", "object": "Task"},
    WriteState.UNKNOWN: {"kind": "reset", "stage": "after", "body": "WhoId"},
}


class InMemory:
    """How the org in memory is told what happens."""

    def __init__(self):
        self.org = PeopleOrg()

    def says(self, state, code):
        for one in self.org.people:
            self.org.verdicts[one.id] = (state, code)

    def fails(self, error):
        self.org.fails = {"lookup": error, "create": error}

    def delete(self, person):
        self.org.people.remove(person)
        self.org.verdicts[person.id] = (WriteState.REFUSED, "ENTITY_IS_DELETED")


class OverHTTP:
    """How the sandbox is told the same."""

    def __init__(self, sandbox, org):
        self.org = org
        self._sandbox = sandbox
        named = [{"LastName": one.name, "Email": one.email_key} for one in CONTACTS]
        sandbox.insert_raw("Contact", named)

    def says(self, state, _code):
        self._sandbox.faults.load([FAULTS[state]])

    def fails(self, error):
        if isinstance(error, CredentialsRefused):
            self._sandbox.configure({"client_secret": "another"})
            self._sandbox.sessions.revoke_all()
        else:
            self._sandbox.faults.load([{"kind": "error_code", "code": DOWN}])

    def delete(self, person):
        row = self._sandbox.rows.get("Contact", person.id)
        self._sandbox.rows.put("Contact", {**row, "IsDeleted": True})
        self._sandbox.rows.commit()


@pytest.fixture(params=["sandbox", "memory"])
async def world(request, settings_for):
    if request.param == "memory":
        yield InMemory()
        return
    sandbox = request.getfixturevalue("sandbox")
    org = Org(settings_for(sandbox, timeout_s=5.0), CLOCK)
    yield OverHTTP(sandbox, org)
    await org.close()


@pytest.fixture
def org(world):
    return world.org


async def person(org, address=ANNA):
    ((one,),) = (await org.lookup.find([address])).found.candidates.values()
    return one


async def create(org, *people):
    outcomes = await org.records.create(
        [
            (f"k{number}", "Task", {"Subject": "Offer", "WhoId": one.id})
            for number, one in enumerate(people)
        ],
        not_after_boottime_s=CLOCK.boottime_s() + 30,
        unique_fields={},
    )
    return {one.key: one for one in outcomes}


async def test_people_are_found_by_address(org):
    """Each under the address that was asked for; nobody under another."""
    result = await org.lookup.find([ANNA, BERT, "nobody@else.example"])
    found = result.found.candidates
    assert set(found) == {ANNA, BERT}
    (anna,) = found[ANNA]
    assert (anna.object, anna.email_key) == ("Contact", ANNA)
    assert anna.id.startswith("003")


async def test_who_is_gone_is_found_no_more(world, org):
    """A fresh look-up shows the org as it is."""
    world.delete(await person(org))
    assert (await org.lookup.find([ANNA], fresh={ANNA})).found.candidates == {}


async def test_tasks_can_be_written(org):
    """The schema says so."""
    schema = await org.schema.get(fresh=True)
    assert schema.createable("Task", "WhoId")
    assert schema.createable("Task", "OwnerId")
    assert schema.closed_statuses


async def test_each_record_of_a_call_has_its_outcome(org):
    """By its key, with an id of its own."""
    outcomes = await create(org, await person(org), await person(org, BERT))
    assert {one.state for one in outcomes.values()} == {WriteState.WRITTEN}
    assert set(outcomes) == {"k0", "k1"}
    assert len({one.id for one in outcomes.values()}) == 2
    assert all(one.id.startswith("00T") for one in outcomes.values())


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (WriteState.REFUSED, RULE),
        (WriteState.RETRY, "UNABLE_TO_LOCK_ROW"),
        (WriteState.UNKNOWN, "no_answer"),
    ],
)
async def test_what_is_not_written_has_no_id(world, org, state, code):
    """A state, a code, and no error is raised."""
    anna = await person(org)
    world.says(state, code)
    (outcome,) = (await create(org, anna)).values()
    assert (outcome.state, outcome.code, outcome.id) == (state, code, None)
    if state is WriteState.RETRY:
        assert error_of(outcome).retry is Retry.SOON


async def test_a_record_for_who_is_gone_is_refused(world, org):
    """With the code for which the mail is matched again."""
    anna = await person(org)
    world.delete(anna)
    (outcome,) = (await create(org, anna)).values()
    assert (outcome.state, outcome.code) == (WriteState.REFUSED, "ENTITY_IS_DELETED")


@pytest.mark.parametrize(
    "error",
    [
        SalesforceDown("down", code=DOWN),
        CredentialsRefused("no", code="invalid_client"),
    ],
    ids=["down", "login"],
)
async def test_an_org_that_cannot_be_used_raises(world, org, error):
    """For look-ups and writes alike: nothing was written."""
    anna = await person(org)
    world.fails(error)
    with pytest.raises(type(error)):
        await org.lookup.find([BERT])
    with pytest.raises(type(error)):
        await create(org, anna)
