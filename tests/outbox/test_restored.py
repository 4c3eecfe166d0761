"""A store that is a backup: what it had to write may be in Salesforce by now."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from relay.activity import KEY_LINE
from relay.core.model import Draft
from relay.store.backup import BACKUP_OF
from tests.outbox.desk import EMAIL, KEY_FIELD, key_fields

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.outbox.batch import BatchMail
    from tests.outbox.desk import Desk

KEY = "e" * 40
TASK = {"Subject": "Offer"}
PLACES = {
    "unique field": Draft(
        "s", KEY, "Task", TASK | {KEY_FIELD: KEY}, "r", key_field=KEY_FIELD
    ),
    "unique field of an EmailMessage": Draft(
        "s", KEY, "EmailMessage", EMAIL | {KEY_FIELD: KEY}, "r", key_field=KEY_FIELD
    ),
    "MessageIdentifier": Draft("s", KEY, "EmailMessage", EMAIL, "r"),
    "Description": Draft(
        "s", KEY, "Task", TASK | {"Description": f"Hello\n\n{KEY_LINE}{KEY}"}, "r"
    ),
}


@pytest.fixture(params=list(PLACES))
def draft(request: Any) -> Draft:
    """Return a record with its key in each place."""
    return PLACES[request.param]


@pytest.fixture
async def desk(desk_for: Callable[..., Desk], draft: Draft) -> Desk:
    """Return a desk of which the store was made an hour ago, as a backup."""
    made = desk_for(
        write_as="task" if draft.object == "Task" else "email_message", settle_s=1
    )
    if draft.key_field:
        made.sandbox.configure({"custom_fields": key_fields()})
    at = made.clock.now() - timedelta(hours=1)
    await made.store.shared.set(BACKUP_OF, at.isoformat())
    return made


async def received(desk: Desk, hours_ago: float) -> BatchMail:
    """Return a mail that came so long ago."""
    mail = await desk.mail()
    at = desk.clock.now() - timedelta(hours=hours_ago)
    for item in mail.items:
        item.claimed = replace(item.claimed, received_at=at)
    return mail


async def write(desk: Desk, mail: BatchMail, draft: Draft) -> dict[str, str]:
    """Write the record of a mail; return how its row ends in the store."""
    plans = {mail.mail.id: (draft,)}
    await desk.writer.write(desk.batch, [mail], plans)
    return await desk.ends(mail)


async def test_what_was_written_since_is_found(desk: Desk, draft: Draft) -> None:
    """By the relay that the backup was taken from; its id is known from then on."""
    there = await desk.make(draft.object, dict(draft.fields))
    mail = await received(desk, 2)
    assert await write(desk, mail, draft) == {KEY: "written"}
    assert mail.rows[KEY].salesforce_id == there
    assert len(desk.made(draft.object)) == 1


async def test_what_was_not_is_written_at_once(desk: Desk, draft: Draft) -> None:
    """It is looked for, and then sent, in the same attempt."""
    mail = await received(desk, 2)
    assert await write(desk, mail, draft) == {KEY: "written"}
    assert len(desk.made(draft.object)) == 1


async def test_what_a_person_has_deleted_since_stays_so(
    desk: Desk, draft: Draft
) -> None:
    """A record in the recycle bin was written, and is not wanted."""
    there = await desk.make(draft.object, dict(draft.fields))
    await desk.org.records.delete(draft.object, there)
    mail = await received(desk, 2)
    assert await write(desk, mail, draft) == {KEY: "gone"}
    assert desk.made(draft.object) == []


async def test_later_mail_costs_no_query(desk: Desk, draft: Draft) -> None:
    """What came after the backup nobody else has written."""
    await desk.org.schema.get()
    mail = await received(desk, 0.5)
    desk.asked()
    assert await write(desk, mail, draft) == {KEY: "written"}
    assert [query for query in desk.asked() if " WHERE " in query] == []


async def test_both_kinds_in_one_batch(desk: Desk, draft: Draft) -> None:
    """Each is written once, and each by its own rule."""
    old, new = await received(desk, 2), await received(desk, 0.5)
    other = replace(draft, key="f" * 40, fields=other_fields(draft))
    there = await desk.make(draft.object, dict(draft.fields))
    plans = {old.mail.id: (draft,), new.mail.id: (other,)}
    await desk.writer.write(desk.batch, [old, new], plans)
    assert await desk.ends(old, new) == {KEY: "written", other.key: "written"}
    assert old.rows[KEY].salesforce_id == there
    assert len(desk.made(draft.object)) == 2


def other_fields(draft: Draft) -> dict[str, Any]:
    """Return the fields of another mail's record."""
    return {
        name: str(value).replace(KEY, "f" * 40).replace("<1@", "<2@")
        if isinstance(value, str)
        else value
        for name, value in draft.fields.items()
    }


async def test_a_store_that_is_no_backup_asks_nothing(
    desk_for: Callable[..., Desk],
) -> None:
    """The first write of a mail needs no look-up, however old the mail is."""
    desk = desk_for(write_as="task")
    mail = await received(desk, 2)
    await desk.org.schema.get()
    desk.asked()
    assert await write(desk, mail, PLACES["Description"]) == {KEY: "written"}
    assert [query for query in desk.asked() if " WHERE " in query] == []
