"""Reminders in the API: from making to undoing, with ETags, pages and rights."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert

from relay.store import schema
from tests.web.conftest import EVERY, make_served, path

pytestmark = pytest.mark.timeout(120)

CONTACT, DEAL = "003000000000001AAA", "006000000000001AAA"
REP = ("reminders:read", "reminders:write", "users:read")


@pytest.fixture(scope="module")
def relay(tmp_path_factory):
    relay = make_served(tmp_path_factory.mktemp("relay"))
    for name in ("ada", "bob"):
        relay("user", "add", name.title(), "--email", f"{name}@corp.example")
    (relay.message,) = relay.put("The offer")
    relay.start()
    relay.admin = relay.token("admin", *EVERY)
    relay.ada = relay.token("ada", *REP, user="ada@corp.example")
    relay.bob = relay.token("bob", *REP, user="bob@corp.example")
    yield relay
    relay.stop()


def make(relay, who=None, **body):
    """Make a reminder of Ada's; return it."""
    answer = relay.call("POST", path("reminders"), who or relay.ada, body)
    assert answer.status == 201, answer.data
    return answer.json


def test_a_reminder_lives_in_the_api(relay):
    """Made, shown, changed, done, put off, removed, brought back; each in history."""
    made = relay.call(
        *("POST", path("reminders"), relay.ada),
        {"name": "Call Bob", "due": "tomorrow", "person": CONTACT, "priority": "High"},
    )
    where, one = made.headers["Location"], made.json
    assert (one["owner"], one["type"]) == ("ada@corp.example", "Custom")
    shown = relay.call("GET", where, relay.ada)
    assert (shown.json, shown.headers["ETag"]) == (one, made.headers["ETag"])
    changed = relay.call(
        "PATCH", where, relay.ada | shown.etag, {"due": None, "name": "Call Carl"}
    )
    assert (changed.json["due"], changed.json["name"]) == (None, "Call Carl")
    assert changed.json["priority"] == "High"
    stale = relay.call("PATCH", where, relay.ada | shown.etag, {"name": "x"})
    assert (stale.status, stale.json["error"]) == (412, "changed")
    assert relay.call("PATCH", where, relay.ada, {"name": "x"}).status == 428
    put_off = relay.call("POST", f"{where}/snooze", relay.ada, {"until": "2030-01-31"})
    assert put_off.json["due"] == "2030-01-31"
    done = relay.call("POST", f"{where}/complete", relay.ada)
    assert done.json["status"] == "Complete"
    wrong = relay.call("POST", f"{where}/snooze", relay.ada, {"until": "3d"})
    assert (wrong.status, wrong.json["error"]) == (422, "invalid")
    assert relay.call("POST", f"{where}/reopen", relay.ada).json["status"] == "Open"
    assert relay.call("DELETE", where, relay.ada).status == 428
    gone = relay.call("DELETE", where, relay.ada | {"If-Match": "*"})
    assert gone.status == 204
    assert relay.call("GET", where, relay.ada).json["removed_at"]
    assert relay.call("POST", f"{where}/complete", relay.ada).status == 404
    back = relay.call("POST", f"{where}/undo", relay.ada, {})
    assert back.json["removed_at"] is None
    rows = relay.call("GET", f"{where}/history", relay.ada).json["items"]
    assert [row["version"] for row in rows] == [1, 2, 2, 3, 4, 5, 6, 7]
    assert {(row["source"], row["actor"]) for row in rows} == {("api", "api:ada")}
    clash = relay.call("POST", f"{where}/undo", relay.ada, {"version": 2})
    assert (clash.status, clash.json["error"]) == (409, "conflict")


def test_a_reminder_of_a_message(relay):
    """The field `message` gives user, subject, and what the mail is about."""
    one = make(relay, message=relay.message)
    assert (one["name"], one["message"]) == ("The offer", relay.message)
    one = make(relay, relay.admin, message=relay.message, name="follow up in 3 days")
    assert (one["name"], one["owner"]) == ("follow up", "ada@corp.example")
    answer = relay.call(
        "POST", path("reminders"), relay.bob, {"message": relay.message}
    )
    assert answer.status == 404


def test_a_request_that_is_sent_again_makes_no_second(relay):
    """By its Idempotency-Key."""
    key = {"Idempotency-Key": "11111111-2222-4333-8444-555555555555"}
    body = {"name": "Once"}
    first, second = (
        relay.call("POST", path("reminders"), relay.ada | key, body) for _ in range(2)
    )
    assert first.json == second.json
    assert second.headers["Idempotency-Replayed"] == "true"


def test_lists_are_filtered_and_paged(relay):
    """Each reminder once, the latest made first, with the conditions of its cursor."""
    made = [
        make(relay, relay.bob, name=f"Page {n}", record=DEAL, due=f"2031-01-0{n}")["id"]
        for n in range(1, 6)
    ]
    found, more = [], {}
    while True:
        answer = relay.call(
            "GET", path("reminders"), relay.admin, record=DEAL, limit=2, **more
        )
        found += [one["id"] for one in answer.json["items"]]
        if answer.json["next"] is None:
            break
        more = {"cursor": answer.json["next"]}
        made.append(make(relay, relay.bob, name="Later", record=DEAL)["id"])
    assert found == made[:5][::-1]
    wrong = relay.call("GET", path("reminders"), relay.admin, limit=2, **more)
    assert wrong.json["error"] == "bad_cursor"

    def names(**query):
        answer = relay.call("GET", path("reminders"), relay.bob, **query)
        return [one["name"] for one in answer.json["items"]]

    assert names(due_from="2031-01-02", due_until="2031-01-04") == ["Page 3", "Page 2"]
    assert names(text="PAGE 5") == ["Page 5"]
    assert names(type="Call") == []
    assert names(status="Complete") == []
    assert relay.call("GET", path("reminders"), relay.bob, due="3d").status == 422
    assert relay.call("GET", path("reminders"), relay.bob, record="1").status == 422


def test_a_rep_has_what_is_the_reps_own(relay):
    """What Ada made is nothing to Bob, until it is his to do (D21)."""
    one = make(relay, name="Ada's")
    where = path("reminders", one["id"])
    for method, place, body in (
        ("GET", where, None),
        ("GET", f"{where}/history", None),
        ("PATCH", where, {"name": "x"}),
        ("DELETE", where, None),
        ("POST", f"{where}/complete", None),
        ("POST", f"{where}/undo", {}),
    ):
        answer = relay.call(method, place, relay.bob | {"If-Match": "*"}, body)
        assert answer.status == 404, (method, place)
    give = {"assignee": "bob@corp.example"}
    star = relay.ada | {"If-Match": "*"}
    refused = relay.call("PATCH", where, star, give)
    assert (refused.status, refused.json["error"]) == (422, "invalid")
    alone = relay.call("PATCH", where, star, give | {"person": "kim@x.example"})
    assert alone.status == 422
    given = relay.call("PATCH", where, star, give | {"person": CONTACT})
    assert given.json["assignee"] == "bob@corp.example"
    assert relay.call("POST", f"{where}/complete", relay.bob).status == 200
    assert relay.call("GET", where, relay.ada).json["status"] == "Complete"
    theirs = relay.call(
        "POST", path("reminders"), relay.ada, {"name": "x", "user": "bob@corp.example"}
    )
    assert (theirs.status, theirs.json["error"]) == (403, "not_yours")


def test_who_may_only_read_changes_nothing(relay):
    """A scope for each."""
    reader = relay.token("reader", "reminders:read", user="ada@corp.example")
    one = make(relay, name="Look")
    where = path("reminders", one["id"])
    assert relay.call("GET", where, reader).status == 200
    answer = relay.call("POST", f"{where}/complete", reader)
    assert (answer.status, answer.json["scope"]) == (403, "reminders:write")
    monitor = relay.token("m", "reminders:read", "log:read", user="bob@corp.example")
    relay("user", "set", "bob@corp.example", "--role", "monitor")
    assert relay.call("GET", path("reminders"), monitor).status == 403
    relay("user", "set", "bob@corp.example", "--role", "rep")


def test_the_command_center_shows_today_and_tomorrow(relay):
    """R22, in the user's zone, with the clock moved past midnight."""
    relay("user", "add", "Cy", "--email", "cy@corp.example")
    cy = relay.token("cy", *REP, user="cy@corp.example")
    day = datetime.now(UTC).date()
    for ahead in range(-1, 4):
        due = (day + timedelta(days=ahead)).isoformat()
        make(relay, cy, name=str(ahead), due=due)

    def seen():
        answer = relay.call("GET", path("users", "Cy", "command-center"), cy).json
        return [
            [one["name"] for one in answer[part]]
            for part in ("overdue", "today", "tomorrow")
        ]

    assert seen() == [["-1"], ["0"], ["1"]]
    with relay.clock_moved(86_400):
        assert seen() == [["-1", "0"], ["1"], ["2"]]
    other = relay.call("GET", path("users", "Cy", "command-center"), relay.ada)
    assert (other.status, other.json["error"]) == (403, "not_yours")


def test_its_task(relay):
    """There is none before anything was kept in step."""
    where = path("reminders", make(relay, name="Alone")["id"])
    assert relay.call("GET", f"{where}/task", relay.ada).status == 404
    assert relay.call("POST", f"{where}/retry", relay.ada).json == {"tried": False}


def test_a_calendar_has_one_secret(relay):
    """Made anew it ends the one before; a rep makes the rep's own."""
    where = path("users", "ada@corp.example", "reminder-feed")
    first, second = (relay.call("POST", where, relay.ada).json for _ in range(2))
    assert first["path"] != second["path"]
    assert relay.call("POST", where, relay.bob).status == 403
    assert relay.call("DELETE", where, relay.ada).status == 204
    assert relay.call("DELETE", where, relay.ada).status == 404


def test_a_conflict_is_undone_by_whose_reminder_it_is(relay):
    """The value that lost comes back, once; of another user's there is none."""
    one = make(relay, name="Call", details="theirs")

    async def clash(store):
        kept = await store.reminders.get(one["id"])
        values = {
            "reminder_id": kept.id,
            "user_id": kept.assignee_user_id,
            "task_id": "00T000000000001AAA",
            "field": "details",
            "here": '"ours"',
            "there": '"theirs"',
            "kept": "salesforce",
            "at": 1,
        }
        new = insert(schema.reminder_clashes).values(values)
        await store.context.write(lambda connection: connection.execute(new))

    relay.in_store(clash)
    where = path("users", "ada@corp.example", "reminder-sync", "conflicts")
    (row,) = relay.call("GET", where, relay.ada).json["items"]
    assert (row["field"], row["here"], row["kept"]) == ("details", "ours", "salesforce")
    undo = path("reminder-conflicts", str(row["id"]), "undo")
    theirs = relay.call("POST", undo, relay.bob)
    assert (theirs.status, theirs.json["error"]) == (404, "unknown")
    done = relay.call("POST", undo, relay.ada)
    assert (done.status, done.json["reminder"]) == (200, one["id"])
    shown = relay.call("GET", path("reminders", one["id"]), relay.ada).json
    assert (shown["details"], shown["version"]) == ("ours", done.json["version"])
    again = relay.call("POST", undo, relay.ada)
    assert (again.status, again.json["error"]) == (409, "conflict")
    (row,) = relay.call("GET", where, relay.ada).json["items"]
    assert row["undone_by"] == "api:ada"
