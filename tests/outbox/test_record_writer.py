"""Writing the records of mails: the first write, what is unknown, and lost leases."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from relay.activity import Mode
from relay.core.errors import LeaseLost, OutcomeUnknown
from relay.core.model import Draft
from relay.core.states import ActivityState
from relay.outbox.mode import NOTE, WriteMode
from relay.outbox.records import MAX_RECORDS
from relay.salesforce import OrgSchema
from tests.outbox.desk import EMAIL, KEY_FIELD, OWNER, RIVAL, key_fields, login

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.core.queue import LeaseOwner
    from tests.outbox.desk import Desk

    DeskFor = Callable[..., Desk]

TASK = {"Subject": "Offer"}
KEY = "e" * 40
WRITES = "composite"
"""Calls that write have this in their path."""


@pytest.fixture
def desk(desk_for: DeskFor) -> Desk:
    """Return a desk that is to find out how the org logs mail."""
    return desk_for()


def drafts(mode: Mode) -> tuple[Draft, ...]:
    """Return the plan of the mail in a mode."""
    if mode is Mode.TASK:
        return (Draft("task", "k-task", "Task", TASK, "rule"),)
    email = Draft("email", "k-email", "EmailMessage", EMAIL, "r")
    return (email, Draft("more", "k-more", "Task", TASK, "rule"))


EMAIL_DRAFT = Draft("email", KEY, "EmailMessage", EMAIL, "r")
KEYED = Draft("task", KEY, "Task", TASK | {KEY_FIELD: KEY}, "rule", key_field=KEY_FIELD)


# ------------------------------------------------------------ the first write


async def test_an_activity_proves_enhanced_email(desk: Desk) -> None:
    """The first EmailMessage goes alone; the rest follows once it is proven."""
    mail = await desk.mail()
    desk.sandbox.calls.clear()
    assert await desk.writer.probe(desk.batch, mail, drafts) is Mode.EMAIL_MESSAGE
    calls = desk.sandbox.calls.as_json()
    assert [call["records"] for call in calls if call["records"]] == [1, 1]
    assert await desk.ends(mail) == {"k-email": "written", "k-more": "written"}
    assert len(desk.made("EmailMessage")) == 1
    assert await desk.decided() == "email_message"


async def test_without_an_activity_it_is_deleted_and_tasks_are_written(
    desk: Desk,
) -> None:
    """Nobody could see it; the mail is planned anew."""
    desk.sandbox.configure({"email_mode": "case_only"})
    mail = await desk.mail()
    assert await desk.writer.probe(desk.batch, mail, drafts) is Mode.TASK
    assert await desk.ends(mail) == {"k-task": "written"}
    assert (len(desk.made("EmailMessage")), len(desk.made("Task"))) == (0, 1)
    assert await desk.decided() == "task"


@pytest.mark.parametrize(
    ("code", "mode", "ends"),
    [
        ("INVALID_TYPE", "task", {"k-task": "written"}),
        (
            "FIELD_CUSTOM_VALIDATION_EXCEPTION",
            None,
            {"k-email": "refused", "k-more": "planned"},
        ),
    ],
)
async def test_a_refusal_of_the_org_decides_for_tasks(
    desk: Desk, code: str, mode: str | None, ends: dict[str, str]
) -> None:
    """The object is not for us; a refusal of this record says nothing."""
    refusal = {"kind": "error_code", "object": "EmailMessage", "code": code}
    desk.sandbox.faults.load([refusal])
    mail = await desk.mail()
    assert await desk.writer.probe(desk.batch, mail, drafts) == mode
    assert await desk.ends(mail) == ends
    assert await desk.decided() == mode
    assert desk.made("EmailMessage") == []


async def test_what_cannot_be_read_back_is_not_written(desk: Desk) -> None:
    """It is looked up later; a crash before would find it unknown as well."""

    async def hide(ids: Any) -> None:
        me = desk.sandbox.integration_user_id
        desk.sandbox.configure({"hidden_rows": {me: list(ids)}})

    desk.after_write(hide)
    mail = await desk.mail()
    assert await desk.writer.probe(desk.batch, mail, drafts) is None
    assert isinstance(mail.error, OutcomeUnknown)
    assert await desk.ends(mail) == {"k-email": "sent", "k-more": "planned"}
    assert await desk.decided() is None


async def test_a_first_write_without_an_answer_decides_nothing(desk: Desk) -> None:
    """The row is unknown, and the mode too; later it is found, and decides."""
    mail = await desk.mail()
    desk.sandbox.faults.load([{"kind": "reset", "stage": "after", "path": WRITES}])
    assert await desk.writer.probe(desk.batch, mail, drafts) is None
    desk.sandbox.faults.load([])
    assert isinstance(mail.error, OutcomeUnknown)
    assert await desk.decided() is None
    assert await desk.ends(mail) == {"k-email": "sent", "k-more": "planned"}
    await desk.writer.recover(desk.batch, [mail])
    assert await desk.ends(mail) == {"k-email": "written", "k-more": "planned"}
    assert await desk.decided() == "email_message"


@pytest.mark.parametrize(
    ("email_mode", "deleted", "state", "mode"),
    [
        ("enhanced", False, "written", "email_message"),
        ("case_only", False, "planned", "task"),
        ("enhanced", True, "planned", None),
    ],
)
async def test_a_first_write_that_is_found_later_decides(
    desk: Desk, email_mode: str, mode: str | None, state: str, *, deleted: bool
) -> None:
    """As right after the write; one that was deleted meanwhile decides nothing."""
    desk.sandbox.configure({"email_mode": email_mode})
    sfid = await desk.make("EmailMessage", EMAIL)
    if deleted:
        assert await desk.org.records.delete("EmailMessage", sfid)
    mail = await desk.sent(EMAIL_DRAFT)
    await desk.writer.recover(desk.batch, [mail])
    assert await desk.ends(mail) == {KEY: state}
    assert await desk.decided() == mode


@pytest.mark.parametrize(
    ("email_mode", "left", "state"),
    [("enhanced", 1, "written"), ("case_only", 0, "planned")],
)
async def test_a_first_write_found_after_the_decision_changes_it_no_more(
    desk: Desk, email_mode: str, left: int, state: str
) -> None:
    """Another relay has found out that the org needs Tasks; the record is settled."""
    desk.sandbox.configure({"email_mode": email_mode})
    await desk.mode.remember(Mode.TASK, "decided by another relay")
    note = await desk.store.shared.get(NOTE)
    await desk.make("EmailMessage", EMAIL)
    mail = await desk.sent(EMAIL_DRAFT)
    await desk.writer.recover(desk.batch, [mail])
    assert await desk.ends(mail) == {KEY: state}
    assert len(desk.made("EmailMessage")) == left
    assert await desk.store.shared.get(NOTE) == note


async def test_a_first_write_that_a_person_deletes_at_once_decides_nothing(
    desk: Desk,
) -> None:
    """It is planned again, and the mode is found out by the next try."""

    async def delete(ids: Any) -> None:
        for sfid in ids:
            assert await desk.org.records.delete("EmailMessage", sfid)

    desk.after_write(delete)
    mail = await desk.mail()
    assert await desk.writer.probe(desk.batch, mail, drafts) is None
    assert await desk.ends(mail) == {"k-email": "planned", "k-more": "planned"}
    assert await desk.decided() is None


# ------------------------------------------------------------ the mode


async def test_what_one_relay_found_out_holds_for_all_on_the_same_org(
    desk: Desk,
) -> None:
    """The next process reads it; for another org, or nothing, it must find out."""
    schema = await desk.org.schema.get()
    assert await desk.mode.known(schema) is None
    assert await desk.mode.likely(schema) is Mode.EMAIL_MESSAGE
    other = {"mode": "task", "org": "https://other.example"}
    await desk.store.shared.set(NOTE, other)
    assert await desk.mode.known(schema) is None
    await desk.mode.remember(Mode.TASK, "no activity")
    settings = login(desk.sandbox).salesforce
    later = WriteMode(settings, desk.store, desk.clock)
    assert later.remembered is None
    assert await later.known(schema) is Mode.TASK
    assert await later.likely(schema) is Mode.TASK
    assert later.remembered is Mode.TASK


async def test_the_setting_and_the_schema_decide_before_any_write(
    desk: Desk, desk_for: DeskFor
) -> None:
    """A mode that is set is taken; an org without EmailMessage takes Tasks."""
    told = desk_for(write_as="email_message")
    assert await told.mode.known(OrgSchema({})) is Mode.EMAIL_MESSAGE
    desk.sandbox.configure({"email_mode": "absent"})
    assert await desk.mode.known(await desk.org.schema.get()) is Mode.TASK


async def test_one_lane_of_all_relays_makes_the_first_write(desk: Desk) -> None:
    """The lease is named after the org; the second lane waits for it."""
    order: list[str] = []

    async def lane(owner: LeaseOwner) -> None:
        async with desk.mode.probing(owner):
            order.append(f"in {owner.pid}")
            for _ in range(5):  # The other one could come in at each of these.
                await desk.store.shared.get(NOTE)
            order.append(f"out {owner.pid}")

    await asyncio.gather(lane(OWNER), lane(RIVAL))
    first, second = ("1", "2") if order[0] == "in 1" else ("2", "1")
    assert order == [f"in {first}", f"out {first}", f"in {second}", f"out {second}"]


# ------------------------------------------------------------ recover


async def test_a_unique_field_is_sent_again_at_once(desk_for: DeskFor) -> None:
    """A duplicate proves that it is written; one that is hidden asks for a right."""
    desk = desk_for(write_as="task")
    desk.sandbox.configure({"custom_fields": key_fields()})
    mail = await desk.sent(KEYED)
    await desk.writer.recover(desk.batch, [mail])
    assert await desk.ends(mail) == {KEY: "written"}
    (task,) = desk.made("Task")
    mail.change(mail.rows[KEY], state=ActivityState.SENT)
    await desk.writer.recover(desk.batch, [mail])
    assert await desk.ends(mail) == {KEY: "written"}
    assert desk.made("Task") == [task]


async def test_a_duplicate_that_is_hidden_asks_for_a_right(desk_for: DeskFor) -> None:
    """It is there, but nobody can tell its id: the row waits."""
    desk = desk_for(write_as="task")
    me = desk.sandbox.integration_user_id
    desk.sandbox.configure({"custom_fields": key_fields()})
    sfid = await desk.make("Task", {**KEYED.fields})
    desk.sandbox.configure({"hidden_rows": {me: [sfid]}})
    mail = await desk.sent(KEYED)
    await desk.writer.recover(desk.batch, [mail])
    assert "View All Data" in str(mail.error)
    assert mail.rows[KEY].lookups == 1
    assert await desk.ends(mail) == {KEY: "sent"}


async def test_shadow_mode_sends_nothing_again(desk_for: DeskFor) -> None:
    """What is unknown stays so, and the mail waits."""
    desk = desk_for(write_as="nothing")
    desk.sandbox.configure({"custom_fields": key_fields()})
    mail = await desk.sent(KEYED)
    await desk.writer.recover(desk.batch, [mail])
    assert desk.made("Task") == []
    assert "shadow" in str(mail.error)
    assert await desk.ends(mail) == {KEY: "sent"}
    desk.sandbox.calls.clear()
    await desk.writer.recover(desk.batch, [await desk.mail()])
    assert desk.sandbox.calls.as_json() == []


@pytest.mark.parametrize(
    ("fault", "late_s", "state", "text"),
    [
        (None, 10.0, "planned", "did not leave"),
        ({"kind": "lock_rows", "object": "Task"}, 0.0, "planned", "UNABLE_TO_LOCK_ROW"),
        (
            {"kind": "reset", "stage": "after", "path": WRITES},
            0.0,
            "sent",
            "no usable answer",
        ),
    ],
    ids=["late", "locked", "unanswered"],
)
async def test_what_is_not_written_says_why(
    desk_for: DeskFor,
    fault: dict[str, Any] | None,
    late_s: float,
    state: str,
    text: str,
) -> None:
    """The mail's error is the attempt's reason."""
    desk = desk_for(write_as="task")
    mail = await desk.mail()
    await desk.org.access.me()  # Logged in.
    desk.sandbox.faults.load([fault] if fault else [])
    desk.client_clock.slept_s = late_s
    plans = {mail.mail.id: drafts(Mode.TASK)}
    await desk.writer.write(desk.batch, [mail], plans)
    assert text in f"{mail.error} {getattr(mail.error, 'code', '')}"
    assert await desk.ends(mail) == {"k-task": state}
    assert len(desk.made("Task")) == (state == "sent")


async def test_what_does_not_fit_one_call_goes_in_several(
    desk_for: DeskFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mail's records stay together; a call takes at most so many."""
    assert MAX_RECORDS == 5 * 200
    monkeypatch.setattr("relay.outbox.records.MAX_RECORDS", 6)
    desk = desk_for(write_as="task")
    mails = await desk.mails(4)
    plans = {
        mail.mail.id: tuple(
            Draft(f"{slot}", f"k-{mail.mail.id}-{slot}", "Task", TASK, "rule")
            for slot in range(2)
        )
        for mail in mails
    }
    desk.sandbox.calls.clear()
    await desk.writer.write(desk.batch, mails, plans)
    calls = desk.sandbox.calls.as_json()
    assert [call["records"] for call in calls if call["records"]] == [6, 2]
    ends = await desk.ends(*mails)
    assert (len(ends), set(ends.values())) == (8, {"written"})


# ------------------------------------------------------------ commits


async def test_answers_are_committed_before_a_new_plan(desk_for: DeskFor) -> None:
    """A plan replaces what the store has as planned: it must know the answers."""
    desk = desk_for(write_as="task")
    mail = await desk.sent(EMAIL_DRAFT)
    desk.batch.update(mail, mail.rows[KEY], ActivityState.PLANNED)
    plans = {mail.mail.id: drafts(Mode.TASK)}
    await desk.writer.write(desk.batch, [mail], plans)
    assert await desk.ends(mail) == {"k-task": "written"}


async def test_a_mail_of_another_worker_is_left_out(desk_for: DeskFor) -> None:
    """Its marks are not committed, nothing leaves, and answers are kept."""
    desk = desk_for(write_as="task")
    mail = await desk.sent(EMAIL_DRAFT)
    desk.batch.update(
        mail, mail.rows[KEY], ActivityState.WRITTEN, salesforce_id="02s000000000001AAA"
    )
    await desk.take_away(mail)
    plans = {mail.mail.id: drafts(Mode.TASK)}
    desk.sandbox.calls.clear()
    await desk.writer.write(desk.batch, [mail], plans)
    assert mail.lost
    assert isinstance(mail.error, LeaseLost)
    assert desk.sandbox.calls.as_json() == []
    rows = [one.activity for one in await desk.store.ledger.page(None, 0, 10)]
    assert [(row.key, str(row.state)) for row in rows] == [(KEY, "written")]
