"""Records of the org: what is asked for, what rows mean, and calls that fail."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from relay.config import SalesforceSettings
from relay.core.errors import (
    ActivityRefused,
    OrgPaused,
    OutcomeUnknown,
    SalesforceUnavailable,
)
from relay.salesforce import Filed, FoundRecord, OrgSchema, WriteState
from relay.salesforce.client import Part
from relay.salesforce.model import OwnRecord
from relay.salesforce.records import Records

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from relay.salesforce.soql import Ask, Query

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
WINDOW = (NOON, NOON + timedelta(hours=1))
KEY = "ab12" * 10
ME = "005000000000001AAA"
EMAIL, TASK = "02s000000000001AAA", "00T000000000001EAA"


class Org:
    """Answers calls and queries as a test says; stands for the connection."""

    def __init__(self) -> None:
        """Hold nothing."""
        self.threads = self.queries = self.access = self.schema = self
        self.settings = SalesforceSettings()
        self.createables: set[str] = set()
        self.rows: list[dict[str, Any]] = []
        self.asked: list[Query] = []
        self.kinds: list[str] = []
        self.calls: list[tuple[str, list[Any]]] = []
        self.answer: Callable[[list[Any]], list[Part | None]] = written
        self.conflicts = 0
        self.records = Records(self, self, self, self.conflict)  # type: ignore[arg-type]

    def conflict(self) -> None:
        """Count."""
        self.conflicts += 1

    async def get(self) -> OrgSchema:
        """Return the schema."""
        return OrgSchema({}, frozenset(self.createables))

    async def me(self) -> str:
        """Return the integration user."""
        return ME

    async def run(self, job: Callable[[Any], Any]) -> Any:
        """Run a job at once."""
        return job(self)

    def composite(
        self, kind: str, parts: Sequence[tuple[str, str, bytes | None]], **_: object
    ) -> list[Part | None]:
        """Take one call."""
        self.kinds.append(kind)
        bodies = [(m, path, body and json.loads(body)) for m, path, body in parts]
        self.calls.append((kind, bodies))
        return self.answer(bodies)

    async def ask(
        self, kind: str, asks: Sequence[Ask], *, whole: bool
    ) -> list[tuple[Ask, list[dict[str, Any]]]]:
        """Answer queries for values."""
        assert whole, "half an answer would read as not there"
        self.kinds.append(kind)
        self.asked += [ask.query() for ask in asks]
        return [(ask, self.rows) for ask in asks]

    async def within(
        self, kind: str, query: Callable[[Any], Query], window: Any
    ) -> list[dict[str, Any]]:
        """Answer a query for a window."""
        self.kinds.append(kind)
        self.asked.append(query(window))
        return self.rows


def written(parts: list[Any]) -> list[Part | None]:
    """Answer that all is written."""
    return [
        Part(200, [{"success": True, "id": TASK} for _ in body["records"]])
        for _, _, body in parts
    ]


def row(sfid: str, **more: Any) -> dict[str, Any]:
    """Return a row of an answer."""
    return {
        "Id": sfid,
        "IsDeleted": False,
        "CreatedDate": "2026-03-04T12:00:00Z",
    } | more


@pytest.fixture
def org() -> Org:
    """Return an org."""
    return Org()


# ------------------------------------------------------------ finding


@pytest.mark.parametrize(
    ("answer", "has_sender"),
    [
        ({"EmailMessageRelations": {"records": [{"Id": "x"}]}}, True),
        ({"EmailMessageRelations": None}, False),
        ({}, True),
    ],
)
async def test_what_the_platform_made_of_an_email_message(
    org: Org, answer: dict[str, Any], *, has_sender: bool
) -> None:
    """Its Task, and whether the sender has a relation; unknown counts as there."""
    org.createables = {"EmailMessageRelation"}
    org.rows = [row(EMAIL, ActivityId=TASK, **answer), row("nonsense")]
    assert await org.records.filed([EMAIL, "nonsense"]) == {
        EMAIL: Filed(EMAIL, is_deleted=False, activity_id=TASK, has_sender=has_sender)
    }
    (query,) = org.asked
    assert query.deleted
    assert "RelationType = 'FromAddress'" in query.soql
    assert "nonsense" not in query.soql


async def test_relations_are_asked_for_only_where_they_can_be_made(org: Org) -> None:
    """An org without EmailMessageRelation would refuse the whole query."""
    await org.records.filed([EMAIL])
    assert "EmailMessageRelations" not in org.asked[0].soql


async def test_email_messages_are_found_by_their_message_id(org: Org) -> None:
    """Of any author, deleted ones too; those without an id are not asked for."""
    org.rows = [row(EMAIL, MessageIdentifier="<a@b>", CreatedById=ME, IsDeleted=True)]
    found = await org.records.find_email_messages(["<a@b>", "<c@d>", ""])
    assert list(found) == ["<a@b>"]
    ((one,),) = found.values()
    assert (one.id, one.is_deleted, one.created_by_id) == (EMAIL, True, ME)
    assert org.asked[0].deleted
    assert "('<a@b>','<c@d>')" in org.asked[0].soql.replace(", ", ",")


async def test_email_messages_are_read_back_with_their_activity(org: Org) -> None:
    """The activity is what proves that people can see the record."""
    org.rows = [row(EMAIL, ActivityId=TASK)]
    found = await org.records.read_email_messages([EMAIL, "nonsense"])
    assert found[EMAIL].activity_id == TASK
    assert "nonsense" not in org.asked[0].soql


async def test_our_own_tasks_of_a_window(org: Org) -> None:
    """By their keys; of another author no Task is asked for."""
    org.rows = [row(TASK, Description=f"text\n\nrelay-key: {KEY}")]
    found = await org.records.find_own_tasks(*WINDOW)
    assert found == {KEY: FoundRecord(TASK, is_deleted=False, created_at=NOON)}
    assert f"CreatedById = '{ME}'" in org.asked[0].soql


async def test_records_exist_are_deleted_or_unknown(org: Org) -> None:
    """What is no id is not asked for, and what is not there is left out."""
    other = "00T000000000002EAA"
    org.rows = [row(TASK), row(other, IsDeleted=True), row("nonsense")]
    ids = [TASK, other, "nonsense"]
    assert await org.records.existing("Task", ids) == {TASK: False, other: True}
    (query,) = org.asked
    assert query.deleted
    assert query.soql.startswith("SELECT Id, IsDeleted FROM Task WHERE Id IN (")
    assert "nonsense" not in query.soql
    with pytest.raises(KeyError):
        await org.records.existing("User", ids)


@pytest.mark.parametrize("field", ["Key__c", None])
async def test_records_are_read_with_their_keys(org: Org, field: str | None) -> None:
    """Of the unique field, where the org has one, and of the place without it."""
    org.rows = [row(EMAIL, MessageIdentifier="<a@b>", Subject="hi", Key__c=KEY)]
    found = await org.records.read_keyed("EmailMessage", field, [EMAIL])
    keys = {"<a@b>", KEY} if field else {"<a@b>"}
    assert (found[EMAIL].keys, found[EMAIL].title) == (keys, "hi")
    assert ("Key__c" in org.asked[0].soql) == bool(field)


@pytest.mark.parametrize(
    ("sobject", "fields", "own"),
    [
        (
            "Task",
            {"Key__c": KEY, "Description": "x"},
            OwnRecord(TASK, KEY, False, False),
        ),
        (
            "Task",
            {"Key__c": None, "Description": f"x\nrelay-key: {KEY}"},
            OwnRecord(TASK, KEY, False, False),
        ),
        ("Task", {"Description": "somebody's own"}, None),
        (
            "EmailMessage",
            {"Key__c": "", "MessageIdentifier": " <a@b> "},
            OwnRecord(TASK, "<a@b>", False, True),
        ),
        ("EmailMessage", {"MessageIdentifier": None}, None),
        ("Task", {"Key__c": KEY, "Id": "nonsense"}, None),
    ],
)
async def test_our_own_records_are_those_with_a_key(
    org: Org, sobject: str, fields: dict[str, Any], own: OwnRecord | None
) -> None:
    """A unique field first, then the place without it; each record once."""
    org.rows = [row(TASK) | fields] * 2
    expected = [own] if own else []
    assert await org.records.list_own(sobject, "Key__c", *WINDOW) == expected
    (query,) = org.asked
    assert query.deleted
    assert f", Key__c FROM {sobject} WHERE CreatedById = '{ME}'" in query.soql


async def test_without_a_unique_field_the_place_alone_tells(org: Org) -> None:
    """The query names no field that the org does not have."""
    org.rows = [row(TASK, Description=f"relay-key: {KEY}")]
    (own,) = await org.records.list_own("Task", None, *WINDOW)
    assert own.key == KEY
    assert "IsDeleted, Description FROM Task" in org.asked[0].soql


@pytest.mark.parametrize("sobject", ["Task", "EmailMessage"])
async def test_keys_of_a_unique_field_are_found(org: Org, sobject: str) -> None:
    """An EmailMessage with its ActivityId: without one it is shown to nobody."""
    org.rows = [row(TASK, Key__c=KEY)]
    found = await org.records.find_by_key(sobject, "Key__c", [KEY])
    assert found[KEY].id == TASK
    assert ("ActivityId" in org.asked[0].soql) == (sobject == "EmailMessage")


# ------------------------------------------------------------ writing


async def create(org: Org, *keys: str) -> dict[str, tuple[str, str]]:
    """Create Tasks; return state and code by key."""
    outcomes = await org.records.create(
        [(key, "Task", {"Subject": key}) for key in keys], not_after_boottime_s=None
    )
    return {one.key: (str(one.state), one.code) for one in outcomes}


def failing(error: Exception, *, first: int = 1) -> Callable[[list[Any]], Any]:
    """Return an answer that fails for the first calls."""
    calls = []

    def answer(parts: list[Any]) -> list[Part | None]:
        calls.append(parts)
        if len(calls) <= first:
            raise error
        return written(parts)

    return answer


async def test_one_call_that_fails_leaves_what_the_others_have_written(
    org: Org,
) -> None:
    """Its records may be written later; a thousand go in one call."""
    org.answer = failing(SalesforceUnavailable("broken", code="no_connection"))
    outcomes = await create(org, *map(str, range(1001)))
    assert len(org.calls) == 2
    states = [state for state, _ in outcomes.values()]
    assert (states.count("retry"), states.count("written")) == (1000, 1)
    assert outcomes["0"] == ("retry", "no_connection")


async def test_where_no_call_got_through_the_gravest_error_is_raised(org: Org) -> None:
    """A pause of the org says more than a broken connection."""
    errors = iter([SalesforceUnavailable("broken"), OrgPaused("no API", code="X")])

    def answer(_: list[Any]) -> list[Part | None]:
        raise next(errors)

    org.answer = answer
    with pytest.raises(OrgPaused):
        await create(org, *map(str, range(1001)))
    org.answer = failing(SalesforceUnavailable("broken"))
    with pytest.raises(SalesforceUnavailable):
        await create(org, "a")


@pytest.mark.parametrize(
    ("part", "code"),
    [
        (None, "no_answer"),
        (Part(200, []), "unreadable"),
        (Part(200, "?"), "unreadable"),
    ],
)
async def test_a_collection_without_a_usable_answer_is_unknown(
    org: Org, part: Part | None, code: str
) -> None:
    """Only as many results as records say what became of each of them."""
    org.answer = lambda _: [part]
    assert await create(org, "a", "b") == dict.fromkeys("ab", ("unknown", code))


async def test_a_defect_is_not_taken_for_an_answer(org: Org) -> None:
    """What no table knows ends the write, whatever the other calls did."""
    org.answer = failing(ValueError("defect"))
    with pytest.raises(ValueError, match="defect"):
        await create(org, *map(str, range(1001)))


@pytest.mark.parametrize(
    ("code", "conflicts"), [("STRING_TOO_LONG", 1), ("INACTIVE_OWNER_OR_USER", 0)]
)
async def test_a_refusal_because_the_org_has_changed_empties_what_is_remembered(
    org: Org, code: str, conflicts: int
) -> None:
    """The lengths of its fields, here: the mail is drafted anew with new ones."""
    error = {"statusCode": code, "message": "no", "fields": []}
    org.answer = lambda _: [Part(200, [{"success": False, "errors": [error]}])]
    assert await create(org, "a") == {"a": ("refused", code)}
    assert org.conflicts == conflicts


async def test_a_record_is_updated_twice_in_two_calls(org: Org) -> None:
    """One collection may name a record once; what is no id is refused here."""
    outcomes = await org.records.update(
        [
            ("a", "Task", TASK, {"OwnerId": "1"}),
            ("b", "Task", TASK[:15], {"OwnerId": "2"}),
            ("c", "Task", "nonsense", {}),
        ]
    )
    assert {one.key: one.state for one in outcomes} == {
        "a": WriteState.WRITTEN,
        "b": WriteState.WRITTEN,
        "c": WriteState.REFUSED,
    }
    owners = [
        (method, body["records"][0]["id"], body["records"][0]["OwnerId"])
        for _, ((method, _, body),) in org.calls
    ]
    assert owners == [("PATCH", TASK, "1"), ("PATCH", TASK, "2")]
    assert org.kinds == ["update", "update"]


@pytest.mark.parametrize(
    ("answer", "done"),
    [(Part(204, None), True), (Part(404, None), False), (None, False)],
)
async def test_a_record_is_deleted_or_was_gone(
    org: Org, answer: Part | None, *, done: bool
) -> None:
    """What Salesforce will not delete is no error: it may be gone already."""
    org.answer = lambda _: [answer]
    assert await org.records.delete("Task", TASK) is done
    assert org.calls == [("delete", [("DELETE", f"sobjects/Task/{TASK}", None)])]
    assert not await org.records.delete("Task", "../User/x")
    assert len(org.calls) == 1


async def test_a_delete_without_an_answer_may_be_tried_again(org: Org) -> None:
    """A refusal of the call is no failure, silence is."""
    org.answer = failing(ActivityRefused("X", "no"))
    assert not await org.records.delete("Task", TASK)
    org.answer = failing(OutcomeUnknown("silence"))
    with pytest.raises(SalesforceUnavailable, match="silence"):
        await org.records.delete("Task", TASK)
