"""The mail log: what is listed for whom, acts on many with their count, export."""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, datetime

import pytest

from relay.core.directory import Role
from relay.core.ids import new_message_id
from relay.core.model import Refusal
from relay.core.states import Event
from relay.web.pages.hints import page_hint
from relay.web.pages.log import csv_line, stages
from relay.web.pages.render import Reader
from tests.web.pages.conftest import Console, person, put


@pytest.fixture
async def people(console):
    """Ada and Bob, reps; Mona, a monitor; Root, an admin; as the store has them."""
    found = {}
    for name, role in (
        ("Ada", Role.REP),
        ("Bob", Role.REP),
        ("Mona", Role.MONITOR),
        ("Root", Role.ADMIN),
    ):
        email = f"{name.lower()}@corp.example"
        user = await console.store.directory.add_user(name, email, role, None, "test")
        found[name] = person(name, role, user.id)
    return found


async def refuse(store, **more):
    id_ = new_message_id(more.pop("clock"))
    values = {
        "id": id_,
        "at": datetime.now(UTC),
        "peer": "192.0.2.1",
        "mail_from": "sam@elsewhere.example",
        "rcpt": "guess@in.relay.example",
        "header_from": "sam@elsewhere.example",
        "reply": "550 5.1.1 unknown",
        "reason": "unknown_recipient",
    }
    await store.refusals.record([Refusal(**(values | more))])
    return id_


def shown_ids(answer):
    return re.findall(r'<tr id="row-(\w+)"', answer.text)


async def test_messages_and_refusals_stand_in_one_list_the_latest_first(
    console, people
):
    one, two = await put(console.store, people["Ada"].user.id, "Offer", "Order")
    three = await refuse(console.store, clock=console.clock)
    answer = await console.get("/log", people["Root"])
    assert set(shown_ids(answer)) == {one, two, three}
    assert shown_ids(answer).index(two) < shown_ids(answer).index(one)
    assert "refused" in answer.text


async def test_a_rep_sees_the_own_mail_alone(console, people):
    (hers,) = await put(console.store, people["Ada"].user.id, "Hers")
    (his,) = await put(console.store, people["Bob"].user.id, "Secret of Bob")
    assert shown_ids(await console.get("/log", people["Ada"])) == [hers]
    assert (await console.get(f"/log/{hers}", people["Ada"])).status_code == 200
    for path in ("", "/source", "/raw"):
        answer = await console.get(f"/log/{his}{path}", people["Ada"])
        assert answer.status_code == 404
        assert "Secret of Bob" not in answer.text
    asked = {"q": "user:bob@corp.example"}
    answer = await console.get("/log", people["Ada"], params=asked)
    assert answer.status_code == 422
    assert shown_ids(answer) == []
    for act in ("hold", "discard", "retry"):
        await console.post(f"/log/{his}/{act}", people["Ada"])
    assert (await console.store.log.show(his))["state"] == "queued"


async def test_a_filter_that_has_no_meaning_is_named_with_what_fits(console, people):
    answer = await console.get("/log", people["Root"], params={"q": "colour:red"})
    assert answer.status_code == 422
    assert "is no key of a filter" in answer.text
    assert 'value="colour:red"' in answer.text
    answer = await console.get("/log", people["Root"], params={"q": "user:ad"})
    assert "write the e-mail address in full" in answer.text
    assert "relay user list" not in answer.text


async def test_a_page_goes_on_where_the_one_before_ended(console, people):
    subjects = [f"Mail {number}" for number in range(53)]
    ids = await put(console.store, people["Ada"].user.id, *subjects)
    first = await console.get("/log", people["Root"], params={"q": "mail"})
    assert shown_ids(first) == ids[:2:-1]
    (older,) = re.findall(r'href="([^"]+)" rel="next"', first.text)
    second = await console.get(older.replace("&amp;", "&"), people["Root"])
    assert shown_ids(second) == ids[2::-1]


async def test_chips_add_and_take_away_conditions(console, people):
    answer = await console.get(
        "/log", people["Root"], params={"q": 'state:dead since:1h "an offer"'}
    )
    chips = {
        text.strip(): href.replace("&#34;", '"')
        for href, text in re.findall(
            r'<a class="chip" href="([^"]*)"[^>]*>(?:<bdi>)?([^<]*)', answer.text
        )
    }
    assert chips["dead"] == "/log?q=since%3A1h+%22an+offer%22"
    assert chips["held"].endswith("state%3Aheld")
    assert chips["7 days"] == "/log?q=state%3Adead+%22an+offer%22+since%3A7d"
    assert chips["&#34;an offer&#34;"] == "/log?q=state%3Adead+since%3A1h"


async def test_an_act_on_many_says_the_count_and_holds_to_it(console, people):
    ids = await put(console.store, people["Ada"].user.id, "One", "Two")
    asked = {"q": "user:ada@corp.example", "act": "hold"}
    answer = await console.get("/log/many", people["Mona"], params=asked)
    assert "2 messages will be held." in answer.text
    (third,) = await put(console.store, people["Ada"].user.id, "Three")
    form = asked | {"expected": "2"}
    answer = await console.post("/log/many", people["Mona"], data=form)
    assert answer.status_code == 409
    assert "3 messages will be held." in answer.text
    answer = await console.post(
        "/log/many", people["Mona"], data=form | {"expected": "3"}
    )
    assert answer.status_code == 303
    every = [*ids, third]
    assert {(await console.store.log.show(i))["state"] for i in every} == {"held"}

    cookie = answer.headers["set-cookie"].partition(";")[0]
    told = await console.get("/log", people["Mona"], headers={"Cookie": cookie})
    assert "3 messages are held." in told.text
    (undo,) = re.findall(r'action="(/log/undo/[^"]+)"', told.text)
    await console.store.queue.apply(Event.RELEASE, [third], None, "root")
    back = await console.post(undo, people["Mona"])
    said = await console.get(
        "/log",
        people["Mona"],
        headers={"Cookie": back.headers["set-cookie"].partition(";")[0]},
    )
    assert "Taken back for 2 messages." in said.text
    assert "1 of 3 has moved on since and stays: 1 queued." in said.text
    assert {(await console.store.log.show(i))["state"] for i in every} == {"queued"}
    again = await console.post(undo, people["Mona"])
    shown = await console.get(
        "/log",
        people["Mona"],
        headers={"Cookie": again.headers["set-cookie"].partition(";")[0]},
    )
    assert "was taken back already, by change" in shown.text


async def test_a_mail_that_was_given_up_comes_back(console, people):
    """From the page that says it, or from the history; by who did it, and admins."""
    (id_,) = await put(console.store, people["Ada"].user.id, "Offer")
    page = await console.get(f"/log/{id_}", people["Ada"])
    assert "It can be taken back for 7 days." in page.text

    async def discard():
        answer = await console.post(f"/log/{id_}/discard", people["Ada"])
        cookie = answer.headers["set-cookie"].partition(";")[0]
        told = await console.get(
            f"/log/{id_}", people["Ada"], headers={"Cookie": cookie}
        )
        (undo,) = re.findall(r'action="(/log/undo/[0-9]+)"', told.text)
        return undo

    undo = await discard()
    for who in ("Bob", "Mona"):
        await console.post(undo, people[who])
        assert (await console.store.log.show(id_))["state"] == "discarded"
        listed = await console.get("/history", people[who])
        assert undo not in listed.text
    answer = await console.post(undo, people["Ada"])
    assert answer.headers["location"] == f"/log/{id_}"
    assert (await console.store.log.show(id_))["state"] == "queued"

    undo = await discard()
    number = undo.rpartition("/")[2]
    listed = await console.get("/history?change=message", people["Ada"])
    assert f'action="{undo}"' in listed.text
    assert "message discard" in listed.text
    one = await console.get(f"/history/{number}", people["Ada"])
    assert f'action="{undo}"' in one.text
    assert "the state and reason from before" in one.text
    listed = await console.get("/history?change=message", people["Root"])
    assert f'action="/history/{number}/undo"' in listed.text
    await console.post(f"/history/{number}/undo", people["Root"])
    assert (await console.store.log.show(id_))["state"] == "queued"
    listed = await console.get("/history?change=message", people["Ada"])
    assert "/undo" not in listed.text
    await console.post("/log/undo/999999", people["Root"])
    assert (await console.store.log.show(id_))["state"] == "queued"


async def test_the_count_leaves_out_what_is_never_tried(console, people):
    """Mail for postmaster is not logged, however often it is asked for."""
    await put(console.store, None, "For postmaster")
    await put(console.store, people["Ada"].user.id, "One")
    asked = {"q": "state:queued", "act": "retry"}
    answer = await console.get("/log/many", people["Root"], params=asked)
    assert "1 message will be tried again." in answer.text
    form = asked | {"expected": "1"}
    answer = await console.post("/log/many", people["Root"], data=form)
    cookie = answer.headers["set-cookie"].partition(";")[0]
    told = await console.get("/log", people["Root"], headers={"Cookie": cookie})
    assert "1 message is tried again." in told.text


async def test_only_an_admin_releases(console, people):
    (id_,) = await put(console.store, people["Ada"].user.id, "Held")
    await console.post(f"/log/{id_}/hold", people["Ada"])
    page = await console.get(f"/log/{id_}", people["Ada"])
    assert f'action="/log/{id_}/release"' not in page.text
    for who in ("Ada", "Mona"):
        await console.post(f"/log/{id_}/release", people[who])
        assert (await console.store.log.show(id_))["state"] == "held"
    page = await console.get(f"/log/{id_}", people["Root"])
    assert f'action="/log/{id_}/release"' in page.text
    await console.post(f"/log/{id_}/release", people["Root"])
    assert (await console.store.log.show(id_))["state"] == "queued"


async def test_one_mail_is_shown_with_decision_attempts_and_copies(console, people):
    (id_,) = await put(console.store, people["Ada"].user.id, "Offer")
    message_id = (await console.store.log.show(id_))["message_id"]
    (copy,) = await put(
        console.store, people["Bob"].user.id, "Offer", rfc_message_id=message_id
    )
    await console.store.queue.apply(Event.HOLD, [id_], None, "mona")
    answer = await console.get(f"/log/{id_}", people["Root"])
    for text in ("Received", "cc@acme.example", "“Release”", "mona", "127.0.0.1"):
        assert text in answer.text, text
    assert f'href="/log/{copy}"' in answer.text
    hers = await console.get(f"/log/{id_}", people["Ada"])
    assert f'href="/log/{copy}"' not in hers.text


@pytest.mark.parametrize(
    ("state", "reason", "hint", "words"),
    [
        ("unmatched", "no_record", "… relay unmatched show ID", "choose “Decide”"),
        ("unmatched", "no_recipient", "… relay unmatched resolve", "in To or Cc"),
        ("skipped", "auto_reply", "… relay settings set", "“Out-of-office replies”"),
        ("queued", "no_salesforce_user", "… relay user set", "on the page of the user"),
        ("dead", "x", "the last step below says why …", "choose “Try again”"),
        ("held", "x", "… relay release ID", "An administrator can let it"),
        ("refused", "sender_not_accepted", "nothing, if …", "rightly kept out"),
        ("refused", "sender_not_accepted", "it is an address of Bob", "of Bob"),
        ("dead", "copy_unknown", "look into Salesforce", "look into Salesforce"),
        ("logged", "", "", ""),
    ],
)
async def test_what_helps_is_said_for_a_page(people, state, reason, hint, words):
    """By its buttons and pages; no command, where the page has the same."""
    kind = "refusal" if state == "refused" else "message"
    row = {"kind": kind, "state": state, "reason": reason, "user": "ada@corp.example"}
    found = page_hint(Reader(), people["Ada"], row, hint)
    assert words in found
    assert not re.search("relay (unmatched|settings|user|release|retry)", found)
    if state == "held":
        found = page_hint(Reader(), people["Root"], row, hint)
        assert "Release" in found


async def test_a_monitor_sees_no_body_and_no_relay_address(console, people):
    (id_,) = await put(console.store, people["Ada"].user.id, "Offer")
    page = await console.get(f"/log/{id_}", people["Mona"])
    assert "log-aaaa" not in page.text
    for path in ("source", "raw"):
        answer = await console.get(f"/log/{id_}/{path}", people["Mona"])
        assert answer.status_code in {403, 404}
        assert "Hello" not in answer.text
    listed = await console.get("/log/export.csv", people["Mona"])
    assert "log-aaaa" not in listed.text


async def test_a_look_at_a_body_stands_in_the_history(console, people):
    (id_,) = await put(console.store, people["Ada"].user.id, "Offer")
    shown = await console.get(f"/log/{id_}/source", people["Root"])
    assert "Hello" in shown.text
    raw = await console.get(f"/log/{id_}/raw", people["Root"])
    assert raw.content.endswith(b"Hello\r\n")
    assert raw.headers["Content-Disposition"].startswith("attachment")
    reads = await console.store.history.find(change="mail_read")
    told = [(one["actor"], one["user"]) for one in reads]
    assert told == [("web:root@corp.example", "ada@corp.example")] * 2


async def test_the_export_has_all_that_fits_and_no_formula(console, people):
    subjects = ["=cmd|' /C calc'!A0", " +1", "plain", '"quoted", with comma', "\uff1d1"]
    await put(console.store, people["Ada"].user.id, *subjects)
    answer = await console.get(
        "/log/export.csv", people["Ada"], params={"q": "state:queued"}
    )
    assert answer.headers["Content-Type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text.removeprefix("\ufeff"))))
    assert [row["subject"] for row in rows][::-1] == [
        "'=cmd|' /C calc'!A0",
        "' +1",
        "plain",
        '"quoted", with comma',
        "'\uff1d1",
    ]
    (noted,) = await console.store.history.find(change="log_exported")
    assert noted["actor"] == "web:ada@corp.example"


@pytest.mark.parametrize("cell", ["=1", "+1", "-1", "@A1", "\t=1", "  =1", "\r=1"])
def test_a_cell_is_never_a_formula(cell):
    assert next(csv.reader([csv_line([cell])]))[0].startswith("'")


@pytest.mark.parametrize("mark", [";", "\t", "\n", "|", '; "'])
def test_no_cell_becomes_a_formula_where_another_mark_parts_cells(mark):
    """Spreadsheets of half of Europe part cells by semicolons."""
    (cell,) = next(csv.reader(io.StringIO(csv_line([f"An offer{mark}=HYPERLINK()"]))))
    assert cell == f"An offer{mark}'=HYPERLINK()"
    assert next(csv.reader([csv_line(["Re; 5 - 3; a=b"])])) == ["Re; 5 - 3; a=b"]


async def test_the_filter_completes_keys_states_users_and_reasons(console, people):
    async def of(text, who="Root"):
        found = await console.get("/log/suggest", people[who], params={"q": text})
        return found.json()

    assert await of("sta") == ["state:"]
    assert await of("offer state:d") == ["state:dead", "state:discarded"]
    assert await of("state:dead,disc") == ["state:dead,discarded"]
    assert await of("user:b") == ["user:bob@corp.example"]
    assert await of("user:b", "Ada") == []
    assert "reason:sender_not_accepted" in await of("reason:not_acc")
    assert await of("since:y") == ["since:yesterday"]
    assert await of("subject:x") == []
    assert "state:" in await of("")


def test_the_trace_is_told_in_parts_and_in_its_order():
    steps = [
        {"step": "127.0.0.1", "result": "accepted"},
        {"step": "sender", "result": "accepted"},
        {"step": "policy aligned", "result": "accept"},
        {"step": "left out", "result": "1"},
        {"step": "look-up", "result": "1 record"},
        {"step": "match", "result": "Contact"},
        {"step": "plan", "result": "Task"},
        {"step": "write", "result": "done"},
        {"step": "attempt", "result": "logged"},
        {"step": "requeue", "result": "queued"},
    ]
    found = stages(steps)
    assert [stage for stage, _ in found] == [
        "received",
        "sender",
        "left out",
        "looked for",
        "match",
        "written",
        "outcome",
        "outcome",
    ]
    assert [step for _, group in found for step in group] == steps
    late = [{"step": "size", "result": "accepted"}]
    assert stages([*steps[:2], *late])[0][1] == [steps[0], *late]


HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "javascript:alert(1)",
    "\u202egnp.exe",
    "</pre></textarea><style>*{display:none}</style>",
    "x" * 1_000_000,
)


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:12])
async def test_what_a_mail_says_is_shown_as_text(console, people, text):
    (id_,) = await put(console.store, people["Ada"].user.id, text, header_to=text)
    for path in ("/log", f"/log/{id_}", f"/log/{id_}/source"):
        answer = await console.get(path, people["Root"])
        assert answer.status_code == 200
        assert "<script>alert" not in answer.text
        assert "<img" not in answer.text
        assert "<style" not in answer.text
        if not path.endswith("source"):
            assert len(answer.content) < 60_000


async def test_the_live_view_goes_on_where_the_list_was_read(console, people):
    open_ = Console(console.store, console.settings, live=True)
    shown = await open_.get("/log", people["Root"], params={"q": "state:queued"})
    (path,) = re.findall(r'data-live="([^"]+)"', shown.text)
    (id_,) = await put(console.store, people["Ada"].user.id, "<b>Late</b>")
    status, text = await open_.until(path.replace("&amp;", "&"), people["Root"], "Late")
    assert status == 200
    assert "event: new" in text
    assert f'<tr id="row-{id_}">' in text
    assert "&lt;b&gt;Late" in text
    cursor = re.findall(r"id: (\S+)", text)[-1]
    await console.store.queue.apply(Event.HOLD, [id_], None, "test")
    (other,) = await put(console.store, people["Bob"].user.id, "Other")
    _, text = await open_.until(f"/log/live?after={cursor}", people["Root"], other)
    assert "event: changed" in text
    _, text = await open_.until(f"/log/live?after={cursor}", people["Ada"], id_)
    assert other not in text
    await open_.close()


@pytest.mark.parametrize("query", ["q=colour:red", "after=nonsense", "q=user:nobody"])
async def test_a_live_view_of_nothing_is_not_asked_for_again(console, people, query):
    open_ = Console(console.store, console.settings, live=True)
    answer = await open_.get(f"/log/live?{query}", people["Root"])
    assert answer.status_code == 204
    await open_.close()


async def test_a_live_view_that_has_ended_says_when_to_come_again(console, people):
    answer = await console.get("/log/live", people["Root"])
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
