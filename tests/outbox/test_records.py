"""What became of records that were sent and never answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from relay.activity import KEY_LINE
from relay.core.model import Draft
from relay.core.states import ActivityState
from relay.outbox.engine import Outbox
from relay.outbox.records import Records
from tests.outbox.desk import ADA, BEN, EMAIL, KEY_FIELD, key_fields

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.outbox.batch import BatchMail
    from tests.outbox.desk import Desk

KEY, OTHER = "e" * 40, "f" * 40
TASK = {"Subject": "Offer"}
KEYED = TASK | {KEY_FIELD: KEY}
LINE = TASK | {"Description": f"Hello\n\n{KEY_LINE}{KEY}"}
"""A Task whose key is the last line of its Description."""
WAITING, AGAIN = (ActivityState.SENT, 0), (ActivityState.SENT, 1)
WRITTEN, PLANNED = (ActivityState.WRITTEN, 0), (ActivityState.PLANNED, 0)


@pytest.fixture
def desk(desk_for: Callable[..., Desk]) -> Desk:
    """Return a desk whose calls end after 5 s, and are settled after 600 s."""
    return desk_for(write_as="task")


def sobject(fields: dict[str, Any]) -> str:
    """Return the object that fields are of."""
    return "EmailMessage" if "MessageIdentifier" in fields else "Task"


def sent(desk: Desk, seconds: float, fields: dict[str, Any], lookups: int = 0) -> Any:
    """Return (to be awaited) a mail with one row that was sent so long ago."""
    named = KEY_FIELD if KEY_FIELD in fields else None
    draft = Draft("slot", KEY, sobject(fields), fields, "rule", key_field=named)
    return desk.sent(draft, seconds, lookups=lookups)


async def resolve(desk: Desk, mail: BatchMail) -> tuple[ActivityState, int]:
    """Resolve; return the row's state, and how many are to be sent again.

    What is asked about the org itself is forgotten.
    """
    schema = await desk.org.schema.get()
    await desk.org.access.me()
    desk.sandbox.calls.clear()
    records = Records(desk.parts, desk.mode, desk.batch, [mail], schema=schema)
    rows = mail.of(ActivityState.SENT)
    again = await Outbox(desk.clock).recover(records, rows)
    await desk.ends(mail)
    return mail.rows[KEY].state, len(again)


async def test_with_a_unique_field_nothing_is_asked(desk: Desk) -> None:
    """It is created again at once: a duplicate is refused."""
    desk.sandbox.configure({"custom_fields": key_fields()})
    mail = await sent(desk, 10, KEYED)
    assert await resolve(desk, mail) == AGAIN
    assert desk.sandbox.calls.as_json() == []


@pytest.mark.parametrize(("seconds", "lookups"), [(10, 1), (61, 0)])
@pytest.mark.parametrize(
    ("record", "end"),
    [("there", WRITTEN), ("deleted", (ActivityState.GONE, 0)), ("absent", AGAIN)],
)
async def test_later_somebody_may_have_deleted_it(
    desk: Desk,
    seconds: float,
    lookups: int,
    record: str,
    end: tuple[ActivityState, int],
) -> None:
    """After a minute, or a second try in vain, the record is looked for first."""
    desk.sandbox.configure({"custom_fields": key_fields()})
    if record != "absent":
        sfid = await desk.make("Task", KEYED)
        if record == "deleted":
            assert await desk.org.records.delete("Task", sfid)
    mail = await sent(desk, seconds, KEYED, lookups)
    assert await resolve(desk, mail) == end
    (query,) = desk.asked()
    assert f"FROM Task WHERE {KEY_FIELD} IN" in query


@pytest.mark.parametrize("fields", [EMAIL, LINE], ids=["identifier", "line"])
async def test_what_is_found_without_a_unique_field_is_written(
    desk: Desk, fields: dict[str, Any]
) -> None:
    """By the MessageIdentifier, or by the last line of the Description."""
    await desk.make(sobject(fields), fields)
    assert await resolve(desk, await sent(desk, 10, fields)) == WRITTEN


@pytest.mark.parametrize("fields", [EMAIL, LINE], ids=["identifier", "line"])
async def test_without_one_absence_must_be_proven(
    desk: Desk, fields: dict[str, Any]
) -> None:
    """It waits until no call can run any more: 5 s, and 600 s to settle."""
    mail = await sent(desk, 560, fields)
    assert await resolve(desk, mail) == WAITING
    assert mail.rows[KEY].lookups == 1
    assert mail.error is not None


@pytest.mark.parametrize("fields", [EMAIL, LINE], ids=["identifier", "line"])
async def test_what_is_absent_for_long_is_planned_again(
    desk: Desk, fields: dict[str, Any]
) -> None:
    """No call can write it any more."""
    assert await resolve(desk, await sent(desk, 606, fields)) == PLANNED


async def test_a_copy_of_the_key_is_no_unique_field(desk: Desk) -> None:
    """Another field that happens to hold the key makes nothing harmless."""
    desk.sandbox.configure({"custom_fields": key_fields()})
    mail = await sent(desk, 10, TASK | {"Copy__c": KEY})
    assert await resolve(desk, mail) == WAITING
    (query,) = desk.asked()
    assert "Description" in query


async def test_what_others_wrote_is_not_ours(desk: Desk) -> None:
    """The same Message-ID by another user says nothing about our call."""
    desk.sandbox.insert_raw("EmailMessage", [EMAIL | {"CreatedById": desk.user(BEN)}])
    assert await resolve(desk, await sent(desk, 10, EMAIL)) == WAITING


async def test_what_answers_another_row_is_not_taken_twice(desk: Desk) -> None:
    """Two mails of one Message-ID: the record that one of them made is its own."""
    sfid = await desk.make("EmailMessage", EMAIL)
    await desk.written(Draft("slot", OTHER, "EmailMessage", EMAIL, "r"), sfid)
    assert await resolve(desk, await sent(desk, 10, EMAIL)) == WAITING


# ------------------------------------------------------------ what may be hidden


@pytest.mark.parametrize("known", [None, ADA, BEN])
async def test_what_cannot_be_seen_is_not_absent(desk: Desk, known: str | None) -> None:
    """No Task of the owner can be read: the row waits, and says what it waits for."""
    desk.sandbox.configure({"private_activities": True})
    if known:
        fields = TASK | {"OwnerId": desk.user(known)}
        sfid = await desk.make("Task", fields)
        await desk.written(Draft("slot", OTHER, "Task", fields, "r"), sfid)
    mail = await sent(desk, 100_000, LINE | {"OwnerId": desk.user()})
    assert await resolve(desk, mail) == WAITING
    assert "View All Data" in str(mail.error)


@pytest.mark.parametrize("by", ["ledger", "anybody", "ourselves", "view all"])
async def test_what_proves_sight(desk: Desk, by: str) -> None:
    """A Task of the owner: one of ours, or anybody's; our user's own always."""
    owner = desk.sandbox.integration_user_id if by == "ourselves" else desk.user()
    if by == "view all":
        users = desk.sandbox.dump("User")["User"]
        me = desk.sandbox.integration_user_id
        name = next(row["Username"] for row in users if row["Id"] == me)
        desk.sandbox.configure({"private_activities": True, "view_all_data": [name]})
    elif by == "ourselves":
        desk.sandbox.configure({"private_activities": True})
    else:
        fields = TASK | {"OwnerId": owner}
        sfid = await desk.make("Task", fields)
        if by == "ledger":
            await desk.written(Draft("slot", OTHER, "Task", fields, "r"), sfid)
    mail = await sent(desk, 606, LINE | {"OwnerId": owner})
    assert await resolve(desk, mail) == PLANNED


async def test_where_ours_are_not_seen_anybodys_say_nothing(desk: Desk) -> None:
    """Of those that we wrote none is there: another Task of the owner is no proof."""
    fields = TASK | {"OwnerId": desk.user()}
    await desk.make("Task", fields)
    hidden = await desk.make("Task", fields)
    await desk.written(Draft("slot", OTHER, "Task", fields, "r"), hidden)
    me = desk.sandbox.integration_user_id
    desk.sandbox.configure({"hidden_rows": {me: [hidden]}})
    mail = await sent(desk, 606, LINE | {"OwnerId": desk.user()})
    assert await resolve(desk, mail) == WAITING
    assert "View All Data" in str(mail.error)


async def test_sight_is_not_asked_for_too_early(desk: Desk) -> None:
    """While a call may still run, nothing is asked about rights."""
    desk.sandbox.configure({"private_activities": True})
    mail = await sent(desk, 10, LINE | {"OwnerId": desk.user()})
    assert await resolve(desk, mail) == WAITING
    assert "not found yet" in str(mail.error)
    assert not any("Permission" in query for query in desk.asked())


# ------------------------------------------------------------ an org that changes


@pytest.mark.parametrize(("seconds", "end"), [(10, WAITING), (606, PLANNED)])
async def test_a_field_that_is_unique_no_longer_is_asked(
    desk: Desk, seconds: float, end: tuple[ActivityState, int]
) -> None:
    """A second record would not be refused any more: it is looked for, and waited."""
    desk.sandbox.configure({"custom_fields": key_fields(unique=False)})
    await desk.make("Task", TASK | {"OwnerId": desk.user()})
    mail = await sent(desk, seconds, KEYED | {"OwnerId": desk.user()})
    assert await resolve(desk, mail) == end
    assert f"FROM Task WHERE {KEY_FIELD} IN" in desk.asked()[0]


async def test_a_field_that_is_gone_keeps_the_row_waiting(desk: Desk) -> None:
    """Nothing can be asked, so nothing is sent, however old it is."""
    mail = await sent(desk, 100_000, KEYED)
    assert await resolve(desk, mail) == WAITING
    assert desk.sandbox.calls.as_json() == []
    assert KEY_FIELD in str(mail.error)


async def test_a_first_email_message_is_looked_for(
    desk_for: Callable[..., Desk],
) -> None:
    """That it is there is not enough: it must be read back, so nothing is repeated."""
    desk = desk_for(write_as="auto")
    desk.sandbox.configure({"custom_fields": key_fields()})
    mail = await sent(desk, 10, EMAIL | {KEY_FIELD: KEY})
    assert await resolve(desk, mail) == WAITING
    (query,) = desk.asked()
    assert f"FROM EmailMessage WHERE {KEY_FIELD} IN" in query
