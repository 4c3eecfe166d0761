"""The pages of reminders over a real store: what is due, acts, history, calendar."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import icalendar
import pytest
from sqlalchemy import insert

from relay.core.directory import Role
from relay.core.reminders import By, NewReminder, Source, Status
from relay.store import schema
from tests.web.pages.conftest import person, put

CONTACT, DEAL = "003000000000001AAA", "006000000000001AAA"
BY = By("test", Source.API)


@pytest.fixture
async def ada(console):
    user = await console.store.directory.add_user(
        "Ada", "ada@corp.example", Role.REP, None, "test"
    )
    return person("Ada", Role.REP, user.id)


@pytest.fixture
async def bob(console, ada):
    user = await console.store.directory.add_user(
        "Bob", "bob@corp.example", Role.REP, None, "test"
    )
    return person("Bob", Role.REP, user.id)


@pytest.fixture
def make(console, ada):
    async def make(name="Call", who=ada, **values):
        ids = {"owner_user_id": who.user.id, "assignee_user_id": who.user.id}
        new = NewReminder(**ids | values, name=name)
        return await console.store.reminders.add(new, BY)

    return make


def sections(text):
    """Return the names of reminders in each section of the Command Center."""
    parts = re.split(r'id="(today|tomorrow|overdue)"', text)[1:]
    found = {"today": [], "tomorrow": [], "overdue": []}
    for name, part in zip(parts[::2], parts[1::2], strict=True):
        found[name] = re.findall(r'class="strong" href="[^"]*"><bdi>([^<]*)', part)
    return found


# ------------------------------------------------------------------ R22

ZONES = {
    "Pacific/Kiritimati": date(2026, 12, 1),
    "Europe/Paris": date(2026, 11, 30),
    "Pacific/Pago_Pago": date(2026, 11, 29),
}
"""Three zones, and which day it is there at one moment."""


@pytest.mark.parametrize("zone", ZONES)
async def test_just_today_and_tomorrow_are_due_where_the_reader_is(
    console, make, monkeypatch, zone
):
    """R22 at one moment in three zones, and on both sides of midnight in each."""
    where = ZoneInfo(zone)
    day = ZONES[zone]
    for ahead in range(-2, 4):
        await make(f"day {ahead}", due=day + timedelta(days=ahead))
    await make("no day")
    (user,) = await console.store.directory.users()
    ada = person("Ada", Role.REP, user.id, time_zone=zone)
    midnight = datetime.combine(day + timedelta(days=1), datetime.min.time(), where)
    for at, shift in (
        (datetime(2026, 11, 30, 10, 30, tzinfo=UTC), 0),
        (midnight.astimezone(UTC) - timedelta(seconds=1), 0),
        (midnight.astimezone(UTC), 1),
    ):
        monkeypatch.setattr(console.clock, "now", lambda at=at: at, raising=False)
        shown = await console.get("/reminders", ada)
        assert shown.status_code == 200
        found = sections(shown.text)
        assert found["today"] == [f"day {shift}"]
        assert found["tomorrow"] == [f"day {shift + 1}"]
        assert found["overdue"] == [f"day {n}" for n in range(-2, shift)]
        assert "beyond what the Command Center shows" in shown.text
        assert "no day" not in shown.text
        assert zone in shown.text


@pytest.mark.parametrize(
    ("zone", "day"),
    [
        # 23 and 25 hours; and a midnight that there is not, or twice.
        ("Europe/Paris", date(2026, 3, 29)),
        ("Europe/Paris", date(2026, 10, 25)),
        ("Asia/Beirut", date(2026, 3, 29)),
        ("America/Havana", date(2026, 11, 1)),
    ],
)
async def test_days_change_once_where_clocks_change(
    console, make, monkeypatch, zone, day
):
    """On both sides of each change: today is one day, then the next, never back."""
    for ahead in range(-1, 3):
        await make(str(ahead), due=day + timedelta(days=ahead))
    (user,) = await console.store.directory.users()
    ada = person("Ada", Role.REP, user.id, time_zone=zone)
    seen = []
    start = datetime.combine(day, datetime.min.time(), UTC) - timedelta(hours=4)
    for hours in (0, 3.9, 4, 4.6, 5, 5.6, 8, 9, 26, 27.1, 29):
        at = start + timedelta(hours=hours)
        monkeypatch.setattr(console.clock, "now", lambda at=at: at, raising=False)
        (today,) = sections((await console.get("/reminders", ada)).text)["today"]
        assert day + timedelta(days=int(today)) == at.astimezone(ZoneInfo(zone)).date()
        seen.append(int(today))
    assert seen == sorted(seen)


# ------------------------------------------------------------------ acts


async def act(console, who, one, act, **fields):
    """Send a form about a reminder; return where it leads."""
    answer = await console.post(f"/reminders/{one.id}/{act}", who, data=fields)
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


async def test_a_reminder_is_made_and_each_act_can_be_taken_back(console, ada):
    """Plain forms; what was done is told, with its undo."""
    form = {"name": "Call Bob", "due": "tomorrow", "person": CONTACT, "record": DEAL}
    made = await console.post("/reminders/add", ada, data=form)
    assert made.headers["location"] == "/reminders"
    told = await console.get("/reminders", ada)
    assert "Made: Call Bob" in told.text
    (name,) = sections(told.text)["tomorrow"]
    assert name == "Call Bob"
    (one,) = [r async for r in _all(console)]
    await act(console, ada, one, "complete", version=1)
    assert sections((await console.get("/reminders", ada)).text)["tomorrow"] == []
    await act(console, ada, one, "undo/2")
    assert sections((await console.get("/reminders", ada)).text)["tomorrow"] == [name]
    await act(console, ada, one, "snooze", until="today")
    await act(console, ada, one, "edit", name="Call Carl", due="", priority="High")
    kept = await console.store.reminders.get(one.id)
    assert (kept.name, kept.due, kept.person) == ("Call Carl", None, CONTACT)
    await act(console, ada, one, "remove")
    shown = await console.get(f"/reminders/{one.id}", ada)
    assert "removed" in shown.text
    await act(console, ada, one, "undo/6", back=f"/reminders/{one.id}")
    shown = await console.get(f"/reminders/{one.id}", ada)
    assert "takes version 6 back" in shown.text
    assert "Undo version 5" in shown.text
    assert "Undo version 6" not in shown.text
    listed = await console.get("/reminders/all", ada)
    assert "Call Carl" in listed.text


async def _all(console):
    from relay.core.reminders import ReminderFilter

    for one in await console.store.reminders.find(ReminderFilter()):
        yield one


async def test_what_was_changed_since_is_not_overwritten(console, ada, make):
    """The form names the version that its reader saw."""
    one = await make(due=date(2026, 1, 1))
    await console.store.reminders.edit(one.id, {"due": date(2026, 2, 2)}, BY)
    where = await act(console, ada, one, "edit", version=1, due="2026-03-03")
    assert where == "/reminders"
    assert "somebody changed it" in (await console.get("/reminders", ada)).text.lower()
    assert (await console.store.reminders.get(one.id)).due == date(2026, 2, 2)


async def test_what_changes_nothing_has_no_undo(console, ada, make):
    """It would take back the edit before."""
    one = await make("Call", due=date(2026, 1, 1))
    await act(console, ada, one, "edit", version=1, name="Call", due="2026-01-01")
    told = await console.get("/reminders", ada)
    assert "Nothing changed: Call" in told.text
    assert f"/reminders/{one.id}/undo/" not in told.text


async def test_mistakes_are_told_on_the_page(console, ada, make):
    """With what fits; nothing is made."""
    answer = await console.post(
        "/reminders/add", ada, data={"name": "x", "due": "someday"}
    )
    assert answer.status_code == 303
    shown = (await console.get(answer.headers["location"], ada)).text
    assert "next week" in shown
    assert re.search(r'name="name"[^>]*value="x"', shown)  # What was typed is kept.
    assert re.search(r'name="due"[^>]*value="someday"', shown)
    one = await make()
    where = await act(console, ada, one, "snooze", until="", back="//evil.example")
    assert where == "/reminders"


async def test_a_rep_sees_the_reps_own(console, ada, bob, make):
    """Another's looks like none, whatever is asked."""
    one = await make("Secret", due=date(2026, 1, 1))
    for path in (f"/reminders/{one.id}",):
        assert (await console.get(path, bob)).status_code == 404
    for name in ("complete", "reopen", "snooze", "edit", "remove", "retry", "undo/1"):
        answer = await console.post(
            f"/reminders/{one.id}/{name}", bob, data={"until": "3d", "name": "x"}
        )
        assert answer.status_code == 404, name
    assert "Secret" not in (await console.get("/reminders/all", bob)).text
    assert (await console.store.reminders.get(one.id)).status is Status.OPEN
    root = person("Root", Role.ADMIN, 99)
    assert "Secret" in (await console.get("/reminders/all", root)).text


async def test_a_message_makes_a_reminder(console, ada, bob):
    """From the page of the mail, and back to it."""
    (ident,) = await put(console.store, ada.user.id, "The offer")
    shown = await console.get(f"/log/{ident}", ada)
    assert "Remind me" in shown.text
    form = {"message": ident, "due": "3d", "back": f"/log/{ident}"}
    made = await console.post("/reminders/add", ada, data=form)
    assert made.headers["location"] == f"/log/{ident}"
    (one,) = [r async for r in _all(console)]
    assert (one.name, one.message_id) == ("The offer", ident)
    assert (await console.post("/reminders/add", bob, data=form)).status_code == 404


async def test_hostile_text_is_shown_as_text(console, ada, make):
    """Whatever a mail or a person wrote."""
    await make("<script>alert(1)</script>\u202e", due=date(2020, 1, 1), details="<b>")
    shown = await console.get("/reminders", ada)
    assert "<script>alert" not in shown.text
    (one,) = [r async for r in _all(console)]
    assert "<script>alert" not in (await console.get(f"/reminders/{one.id}", ada)).text


# ------------------------------------------------------------------ its Task

TASK = "00T000000000001AAA"


async def failing(console, one):
    """Let a reminder have a Task that Salesforce refused, and a conflict."""
    at = int(one.created_at.timestamp() * 1_000_000)
    twin = {
        "reminder_id": one.id,
        "user_id": one.assignee_user_id,
        "key": one.id,
        "turn": 1,
        "task_id": TASK,
        "state": "refused",
        "lookups": 0,
        "version": 1,
        "here": "{}",
        "there": "{}",
        "code": "FIELD_CUSTOM_VALIDATION_EXCEPTION",
        "error": "Say <why>",
        "failures": 1,
        "failing_since": at,
    }
    clash = {
        "reminder_id": one.id,
        "user_id": one.assignee_user_id,
        "task_id": TASK,
        "field": "details",
        "here": '"ours"',
        "there": '"theirs"',
        "kept": "salesforce",
        "at": at,
    }

    def work(connection):
        connection.execute(insert(schema.reminder_tasks).values(twin))
        connection.execute(insert(schema.reminder_clashes).values(clash))

    await console.store.context.write(work)


async def test_what_failed_is_shown_with_what_helps(console, ada, bob, make):
    """Code, meaning, remedy; tried again, and the other value taken, by one form."""
    one = await make("Call", details="theirs")
    await failing(console, one)
    shown = await console.get(f"/reminders/{one.id}", ada)
    for text in ("FIELD_CUSTOM_VALIDATION_EXCEPTION", "Say &lt;why&gt;", TASK):
        assert text in shown.text
    assert "validation rule" in shown.text
    conflict = re.search(r"/conflict/(\d+)", shown.text)[1]
    theirs = await console.post(f"/reminders/{one.id}/conflict/{conflict}", bob)
    assert theirs.status_code == 404
    await act(console, ada, one, f"conflict/{conflict}")
    assert (await console.store.reminders.get(one.id)).details == "ours"
    none = await console.post(f"/reminders/{one.id}/conflict/999", ada)
    assert none.status_code == 404
    await act(console, ada, one, "retry", back=f"/reminders/{one.id}")
    again = await console.get(f"/reminders/{one.id}", ada)
    assert "It is tried again" in again.text
    assert "FIELD_CUSTOM_VALIDATION_EXCEPTION" not in again.text
    await act(console, ada, one, "retry")
    assert "Nothing has failed" in (await console.get("/reminders", ada)).text


# ------------------------------------------------------------------ the calendar


async def address(console, ada):
    """Make the address of a calendar; return its path."""
    shown = await console.post("/reminders/calendar", ada)
    return re.search(r"http://relay\.test(/reminders/feed/[^<\"]+\.ics)", shown.text)[1]


async def test_a_calendar_needs_its_secret_alone(console, ada, make):
    """To-dos with days and no alarm; what a program has is not sent again."""
    await make("Call; Bob", due=date(2026, 12, 1), details="a\r\nb")
    done = await make("Done")
    await console.store.reminders.edit(done.id, {"status": Status.COMPLETE}, BY)
    path = await address(console, ada)
    got = await console.get(path)
    assert got.status_code == 200
    assert got.headers["content-type"] == "text/calendar; charset=utf-8"
    todos = icalendar.Calendar.from_ical(got.content).walk("VTODO")
    by_name = {str(one["summary"]): one for one in todos}
    one = by_name["Call; Bob"]
    assert one["due"].dt == date(2026, 12, 1)
    assert (one["status"], one["priority"]) == ("NEEDS-ACTION", 5)
    assert not one.walk("VALARM")
    assert by_name["Done"]["status"] == "COMPLETED"
    again = await console.get(path, headers={"If-None-Match": got.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    head = await console._ask("HEAD", path, None)
    assert head.headers["etag"] == got.headers["etag"]
    events = await console.get(f"{path}?as=events")
    (event,) = icalendar.Calendar.from_ical(events.content).walk("VEVENT")
    assert event["dtstart"].dt == date(2026, 12, 1)


async def test_a_calendar_ends(console, ada, make):
    """By another address, by its end, and with its user."""
    first = await address(console, ada)
    second = await address(console, ada)
    assert (await console.get(first)).status_code == 404
    assert (await console.get(second)).status_code == 200
    await console.store.directory.set_active(ada.user.id, False, "test")
    assert (await console.get(second)).status_code == 404
    await console.store.directory.set_active(ada.user.id, True, "test")
    assert (await console.get(second)).status_code == 200
    await console.post("/reminders/calendar/end", ada)
    assert (await console.get(second)).status_code == 404
    assert "There is no address" in (await console.get("/reminders/calendar", ada)).text


async def test_a_calendar_is_not_asked_for_too_often(console, ada, monkeypatch):
    """By one address, or with wrong ones."""
    monkeypatch.setattr(console.clock, "boottime_s", lambda: 1000.0, raising=False)
    path = await address(console, ada)
    answers = [(await console.get(path)).status_code for _ in range(31)]
    assert set(answers[:30]) == {200}
    assert answers[30] == 429
    wrong = []
    for n in range(31):  # Each time under another name.
        agent = {"User-Agent": f"program {n}"}
        answer = await console.get(f"/reminders/feed/x{n}.ics", headers=agent)
        wrong.append(answer.status_code)
    assert set(wrong[:30]) == {404}
    assert wrong[30] == 429
