"""What the API does: people, mail, rules and history, over real HTTP."""

from __future__ import annotations

import json
import threading

import pytest

from tests.web.conftest import EVERY, path

pytestmark = pytest.mark.timeout(60)

MAIL = {"Content-Type": "message/rfc822"}
RAW = (
    b"From: Ada <ada@corp.example>\r\nTo: kim@customer.example\r\n"
    b"Subject: An offer\r\nMessage-ID: <1@corp.example>\r\n"
    b"Date: Mon, 30 Nov 2026 09:00:00 +0000\r\n\r\nHello\r\n"
)


def items(answer):
    assert answer.status == 200
    return answer.json["items"]


# ------------------------------------------------------------------ people


def test_a_user_lives_in_the_api(served, admin):
    """Added, shown, changed, rotated, removed; each with its line in the history."""
    added = served.call(
        "POST", path("users"), admin, {"name": "Cy  Young", "email": "Cy@corp.example"}
    )
    assert added.status == 201
    user = added.json
    assert (user["name"], user["email"]) == ("Cy Young", "cy@corp.example")
    where = added.headers["Location"]
    shown = served.call("GET", where, admin)
    assert shown.json == user
    assert shown.headers["ETag"] == added.headers["ETag"]
    assert served.call("GET", path("users", "Cy Young"), admin).json == user

    change = {"name": "Cy B", "email": "cb@corp.example", "role": "monitor"}
    changed = served.call("PATCH", where, admin | shown.etag, change)
    assert changed.status == 200
    assert {key: changed.json[key] for key in change} == change
    assert changed.json["relay_address"] == user["relay_address"]
    off = served.call("PATCH", where, admin | changed.etag, {"active": False})
    assert off.json["state"] == "disabled"

    rotated = served.call("POST", f"{where}/relay-addresses", admin, {"at_once": True})
    assert rotated.status == 201
    assert rotated.json["relay_address"] != user["relay_address"]
    rows = items(served.call("GET", f"{where}/relay-addresses", admin))
    assert [row["state"] for row in rows] == ["current", "ended"]

    assert served.call("DELETE", where, admin | {"If-Match": "*"}).status == 204
    assert served.call("GET", where, admin).json["state"] == "removed"
    assert served.call("DELETE", where, admin | {"If-Match": "*"}).status == 404
    emails = [one["email"] for one in items(served.call("GET", path("users"), admin))]
    assert "cb@corp.example" not in emails
    rows = served.json("history", "cb@corp.example", "--by", "API:admin")
    assert [row["action"] for row in rows] == [
        "user_add",
        "user_name",
        "user_email",
        "user_role",
        "user_active",
        "user_rotate",
        "user_remove",
    ] or sorted(row["action"] for row in rows) == sorted(
        "user_add user_name user_email user_role user_active user_rotate "
        "user_remove".split()
    )
    assert {row["actor"] for row in rows} == {"api:admin"}


def test_a_change_is_made_whole_or_not_at_all(served, admin):
    """Where one part of a change cannot be made, no part of it is."""
    change = {"name": "Another", "email": "bob@corp.example", "confirm": True}
    headers = admin | {"If-Match": "*"}
    answer = served.call("PATCH", path("users", 1), headers, change)
    assert (answer.status, answer.json["error"]) == (409, "conflict")
    assert served.call("GET", path("users", 1), admin).json["name"] == "Ada Byron"


def test_a_change_names_what_it_changes(served, admin):
    """Without an ETag 428, with an old one 412; nothing is changed then."""
    where = path("users", 1)
    old = served.call("GET", where, admin)
    bare = served.call("PATCH", where, admin, {"name": "X"})
    assert (bare.status, bare.json["error"]) == (428, "if_match_missing")
    served("user", "rename", "ada@corp.example", "Ada L")
    late = served.call("PATCH", where, admin | old.etag, {"name": "X"})
    assert (late.status, late.json["error"]) == (412, "changed")
    assert served.call("DELETE", where, admin | old.etag).status == 412
    now = served.call("GET", where, admin)
    assert now.json["name"] == "Ada L"
    tags = {"If-Match": f"{old.headers['ETag']}, {now.headers['ETag']}"}
    assert served.call("PATCH", where, admin | tags, {"name": "X"}).status == 200


def test_of_two_changes_at_once_one_is_made(served, admin):
    """Two who read the same and change it together do not overwrite each other."""
    where = path("users", 1)
    etag = served.call("GET", where, admin).etag
    statuses = []

    def change(name):
        answer = served.call("PATCH", where, admin | etag, {"name": name})
        statuses.append(answer.status)

    threads = [threading.Thread(target=change, args=(f"Ada {n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] + [412] * 5


def test_accepted_addresses_are_edited(served, admin):
    """Added with what speaks against it confirmed, shown, refused again."""
    every = path("users", 1, "accepted-addresses")
    new = {"address": "ada@home.example", "delegate": "Pat"}
    added = served.call("POST", every, admin, new)
    assert added.status == 201
    assert added.json["delegate"] == "Pat"
    assert added.json["added_by"] == "api:admin"
    where = path("users", 1, "accepted-addresses", "ada@home.example")
    assert served.call("GET", where, admin).json == added.json
    assert served.call("POST", every, admin, new).status == 409
    risky = {"address": "*@gmail.com"}
    asked = served.call("POST", every, admin, risky)
    assert (asked.status, asked.json["error"]) == (409, "needs_confirmation")
    assert asked.json["concerns"] == ["free_mail_domain"]
    sure = served.call("POST", every, admin, risky | {"confirm": True})
    assert sure.status == 201
    rows = items(served.call("GET", every, admin))
    assert [row["address"] for row in rows] == [
        "*@gmail.com",
        "ada@corp.example",
        "ada@home.example",
    ]
    everybody = items(served.call("GET", path("accepted-addresses"), admin))
    assert {row["user"] for row in everybody} == {
        "ada@corp.example",
        "bob@corp.example",
        "mona@corp.example",
    }
    assert served.call("DELETE", where, admin).status == 428
    assert served.call("DELETE", where, admin | added.etag).status == 204
    assert served.call("GET", where, admin).status == 404


def test_exclusions_are_edited(served, admin):
    """For everybody, and for one user apart."""
    pattern = {"pattern": "*@private.example"}
    added = served.call("POST", path("exclusions"), admin, pattern)
    assert (added.status, added.json["user"]) == (201, None)
    assert served.call("POST", path("exclusions"), admin, pattern).status == 409
    own = pattern | {"user": "ada@corp.example", "skip": "address"}
    his = served.call("POST", path("exclusions"), admin, own)
    assert his.json["skip"] == "address"
    assert served.call("GET", his.headers["Location"], admin).json == his.json
    assert len(items(served.call("GET", path("exclusions"), admin))) == 2
    where = path("exclusions", "*@private.example")
    assert served.call("DELETE", where, admin | added.etag).status == 204
    assert served.call("GET", where, admin).status == 404
    assert len(items(served.call("GET", path("exclusions"), admin))) == 1


def test_lists_come_in_pages_that_stay_whole(served, admin):
    """Who pages through sees each item once, though others come in between."""
    seen, cursor, asked = [], {}, 0
    while True:
        answer = served.call("GET", path("users"), admin, limit=1, **cursor).json
        seen += [one["email"] for one in answer["items"]]
        if answer["next"] is None:
            break
        cursor = {"cursor": answer["next"]}
        if asked == 0:
            served("user", "add", "Aaron", "--email", "aaron@corp.example")
        asked += 1
    assert seen == [
        "ada@corp.example",
        "bob@corp.example",
        "mona@corp.example",
        "aaron@corp.example",
    ]


# ------------------------------------------------------------------ mail


def test_a_mail_is_handed_over(served):
    """As at the old door: 202 with the id; its refusals are problems of the API."""
    ada = served.token("crm", "mail:submit", user="ada@corp.example")
    sent = served.call("POST", path("messages"), ada | MAIL, RAW)
    assert sent.status == 202
    assert sent.json["state"] == "queued"
    row = served.json("show", sent.json["id"])[0]
    assert "token crm" in row["trace"][0]["detail"]
    eve = RAW.replace(b"ada@corp.example>", b"eve@evil.example>", 1)
    refused = served.call("POST", path("messages"), ada | MAIL, eve)
    assert (refused.status, refused.json["error"]) == (403, "sender_not_accepted")
    assert refused.json["id"] == served.json("log", "--refused")[0]["id"]
    wrong = ada | {"Content-Type": "text/html"}
    assert served.call("POST", path("messages"), wrong, RAW).status == 415
    every = served.token("all", "mail:submit")
    bare = served.call("POST", path("messages"), every | MAIL, RAW)
    assert (bare.status, bare.json["error"]) == (400, "no_user")
    named = served.call(
        "POST", path("messages"), every | MAIL, RAW, user="bob@corp.example"
    )
    assert named.status == 403
    empty = served.call("POST", path("messages"), ada | MAIL, b"\r\n")
    assert (empty.status, empty.json["error"]) == (400, "empty")


def test_mail_is_found_shown_and_read(served, admin):
    """In the timeline, whole with its trace and hint, its bytes with an audit line."""
    first, second = served.put("One", "Two")
    refused = served.refuse()
    rows = items(served.call("GET", path("messages"), admin))
    assert [row["id"] for row in rows] == [refused, second, first]
    page = served.call("GET", path("messages"), admin, limit=2).json
    served.put("Three")
    rest = served.call("GET", path("messages"), admin, cursor=page["next"], limit=2)
    assert [row["id"] for row in items(rest)] == [first]
    found = served.call("GET", path("messages"), admin, q="state:refused,queued one")
    assert [row["id"] for row in items(found)] == [first]
    both = served.call(
        "GET", path("messages"), admin, state=["queued", "refused"], until="yesterday"
    )
    assert items(both) == []
    shown = served.call("GET", path("messages", first), admin)
    assert shown.json["trace"][0]["step"] == "rcpt"
    assert "hint" in shown.json
    assert served.call("GET", path("messages", refused), admin).json["count"] == 1
    raw = served.call("GET", path("messages", first, "raw"), admin)
    assert raw.data == b"Subject: One\r\n\r\nHello\r\n"
    assert raw.headers["Content-Disposition"].startswith("attachment")
    (read,) = served.json("history", "--change", "mail_read")
    assert (read["actor"], read["user"]) == ("api:admin", "ada@corp.example")
    assert served.call("GET", path("messages", refused, "raw"), admin).status == 404


def test_a_shortened_id_is_enough(served, admin):
    """As the command line prints it; another's is none, and several are named."""
    ids = served.put("One", "Two")
    one = ids[0]
    short = one[: max(i for i in range(26) if ids[1][:i] == one[:i]) + 1]
    assert served.call("GET", path("messages", short), admin).json["id"] == one
    held = served.call("POST", path("messages", short.upper(), "hold"), admin)
    assert held.json["id"] == one
    several = served.call("GET", path("messages", one[:6]), admin)
    assert several.status == 404
    assert one in several.json["detail"]
    bob = served.token("bob", "log:read", user="bob@corp.example")
    hidden = served.call("GET", path("messages", one[:6]), bob)
    assert hidden.status == 404
    assert ids[1] not in hidden.json["detail"]
    rows = items(served.call("GET", path("messages"), admin, id=short))
    assert [row["id"] for row in rows] == [one]


def test_a_hand_on_the_queue(served, admin):
    """Held, released, given up; what is not possible is told; attempts are kept."""
    (one,) = served.put("One")

    def act(name):
        return served.call("POST", path("messages", one, name), admin)

    held = act("hold").json
    assert held.pop("change")
    assert held == {"id": one, "event": "hold", "was": "queued", "state": "held"}
    again = act("hold")
    assert (again.status, again.json["error"]) == (409, "not_possible")
    assert again.json["state"] == "held"
    assert act("release").json["state"] == "queued"
    assert act("discard").json["state"] == "discarded"
    assert act("retry").status == 409
    rows = items(served.call("GET", path("messages", one, "attempts"), admin))
    assert [row["event"] for row in rows] == ["hold", "release", "discard"]
    assert {row["actor"] for row in rows} == {"api:admin"}


def test_many_are_counted_first(served, admin):
    """All that a filter fits, if they are as many as was said."""
    ids = served.put("Offer 1", "Offer 2", "Other")
    asked = {"action": "hold", "q": "offer"}
    counted = served.call("GET", path("messages", "count"), admin, **asked)
    assert counted.json == {"action": "hold", "count": 2}
    body = {"action": "hold", "filter": "offer", "expected": 3}
    wrong = served.call("POST", path("messages", "actions"), admin, body)
    assert (wrong.status, wrong.json["error"]) == (409, "count_changed")
    assert wrong.json["count"] == 2
    done = served.call(
        "POST", path("messages", "actions"), admin, body | {"expected": 2}
    )
    number = done.json["change"]
    assert done.json == {"action": "hold", "changed": 2, "change": number}
    (row,) = served.json("history", "--change", "message")
    assert (row["id"], row["user"]) == (number, "2 messages")
    held = served.json("log", "--state", "held")
    assert [row["id"] for row in held] == ids[:2]
    bob = served.token("bob", "queue:write", "log:read", user="bob@corp.example")
    counted = served.call("GET", path("messages", "count"), bob, **asked)
    assert counted.json["count"] == 0


def test_what_was_done_to_many_is_taken_back_as_one(served, admin):
    """By who did it, whatever the token; by who may undo anything; not by others."""
    ids = served.put("One", "Two", "Three")
    with_scopes = ("queue:write", "log:read", "audit:read")
    ada = served.token("ada", *with_scopes, user="ada@corp.example")
    again = served.token("ada two", *with_scopes, user="ada@corp.example")
    bob = served.token("bob", *with_scopes, user="bob@corp.example")
    program = served.token("program", *with_scopes)

    def act(who, name):
        body = {"action": name, "filter": "state:queued"}
        expected = len(served.json("log", "--state", "queued"))
        answer = served.call(
            "POST", path("messages", "actions"), who, body | {"expected": expected}
        )
        assert (answer.status, answer.json["changed"]) == (200, expected)
        return answer.json["change"]

    def undo(who, number):
        return served.call(
            "POST", path("messages", "actions", str(number), "undo"), who
        )

    number = act(ada, "discard")
    mine = items(served.call("GET", path("history"), ada, change="message"))
    assert [(row["id"], row["undoable"]) for row in mine] == [(number, True)]
    for who in (bob, program):
        absent = undo(who, 999_999)
        refused = undo(who, number)
        assert (refused.status, refused.json["error"]) == (404, "unknown")
        assert refused.json["detail"] == absent.json["detail"].replace(
            "999999", str(number)
        )
    done = undo(again, number)
    assert done.status == 200
    assert (done.json["back"], done.json["left"]) == ({"queued": 3}, {})
    assert done.json["text"] == "3 messages are as before (3 queued)"
    late = undo(ada, number)
    assert (late.status, late.json["error"]) == (409, "conflict")
    assert f"by change {done.json['undone_by']}" in late.json["detail"]

    number = act(program, "hold")
    assert undo(ada, number).status == 404
    served("release", ids[0])
    done = undo(program, number)
    assert (done.json["back"], done.json["left"]) == ({"queued": 2}, {"queued": 1})
    assert "1 of 3 has moved on since (1 queued)" in done.json["text"]

    number = act(ada, "discard")
    undone = served.call("POST", path("history", str(number), "undo"), admin)
    assert undone.json["text"] == "3 messages are as before (3 queued)"
    assert undone.json["change"]["undoes"] == number
    assert not undone.json["change"]["undoable"]
    states = {row["state"] for row in served.json("log")}
    assert states == {"queued"}


# ------------------------------------------------------------------ sent again


def test_a_request_that_is_sent_again_does_nothing(served, admin):
    """The same key and request: the same answer. Another request: 422."""
    key = admin | {"Idempotency-Key": "a-1"}
    new = {"name": "Cy", "email": "cy@corp.example"}
    first = served.call("POST", path("users"), key, new)
    again = served.call("POST", path("users"), key, new)
    assert (first.status, again.status) == (201, 201)
    assert again.json == first.json
    assert again.headers["ETag"] == first.headers["ETag"]
    assert again.headers["Location"] == first.headers["Location"]
    assert again.headers["Idempotency-Replayed"] == "true"
    other = served.call("POST", path("users"), key, new | {"name": "Di"})
    assert (other.status, other.json["error"]) == (422, "key_reused")
    elsewhere = served.call("POST", path("exclusions"), key, {"pattern": "a@b.example"})
    assert elsewhere.status == 422
    assert len(served.json("user", "list")) == 4
    # A key is its token's own; and a failure is an answer as well.
    second = served.token("second", *EVERY) | {"Idempotency-Key": "a-1"}
    refused = served.call("POST", path("users"), second, new)
    assert refused.status == 409
    assert served.call("POST", path("users"), second, new).json == refused.json
    with served.clock_moved(86_401):
        late = served.call("POST", path("users"), key, new)
        assert (late.status, late.json["error"]) == (409, "conflict")
    for bad in ("", "x" * 256):
        answer = served.call(
            "POST", path("users"), admin | {"Idempotency-Key": bad}, new
        )
        assert (answer.status, answer.json["error"]) == (400, "bad_key")


def test_a_mail_that_is_sent_again_is_one_message(served):
    """With the same key a second copy is not even stored."""
    ada = served.token("crm", "mail:submit", user="ada@corp.example")
    key = ada | MAIL | {"Idempotency-Key": "m-1"}
    first = served.call("POST", path("messages"), key, RAW)
    again = served.call("POST", path("messages"), key, RAW)
    assert again.json == first.json
    assert len(served.json("log")) == 1
    other = served.call("POST", path("messages"), key, RAW + b"more\r\n")
    assert (other.status, other.json["error"]) == (422, "key_reused")


def test_two_at_once_with_one_key_are_one(served, admin):
    """Of requests that come together one is done; the others are told to wait."""
    key = admin | {"Idempotency-Key": "t-1"}
    new = {"name": "Cy", "email": "cy@corp.example"}
    answers = []

    def send():
        answers.append(served.call("POST", path("users"), key, new))

    threads = [threading.Thread(target=send) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = {(one.status, one.json.get("error")) for one in answers}
    assert found <= {(201, None), (409, "in_progress")}
    assert (201, None) in found
    assert len(served.json("user", "list")) == 4


# ------------------------------------------------------------------ rules, history


def test_settings_are_edited(served, admin):
    """Listed, shown, set with an ETag, and given back to the file."""
    where = path("settings", "match.several")
    shown = served.call("GET", where, admin)
    rows = items(served.call("GET", path("settings"), admin))
    assert shown.json in rows
    assert {row["key"] for row in rows} >= {"sender.policy", "active"}
    assert served.call("PUT", where, admin, {"value": "all"}).status == 428
    put = served.call("PUT", where, admin | shown.etag, {"value": "all"})
    assert (put.json["value"], put.json["source"]) == ("all", "store")
    assert served.call("PUT", where, admin | shown.etag, {"value": "all"}).status == 412
    gone = served.call("DELETE", where, admin | put.etag)
    assert gone.json == shown.json
    any_ = admin | {"If-Match": "*"}
    domains = path("settings", "match.internal_domains")
    listed = served.call("PUT", domains, any_, {"value": ["a.example", "b.example"]})
    assert listed.json["value"] == ["a.example", "b.example"]
    switch = served.call("PUT", path("settings", "active"), any_, {"value": False})
    assert switch.json["value"] is False
    of_domain = path("settings", "sender.policy.acme.com")
    set_ = served.call("PUT", of_domain, any_, {"value": "signed"})
    assert set_.json["key"] == "sender.policy.acme.com"


def test_the_history_is_read_and_undone(served, admin):
    """Who changed whose accepted addresses; a change is taken back once."""
    served("address", "add", "ada@corp.example", "ada@home.example")
    served("user", "rename", "bob@corp.example", "Rob")
    asked = {"change": "address", "user": "ada@corp.example"}
    (row,) = items(served.call("GET", path("history"), admin, **asked))
    assert row["after"] == "ada@home.example"
    assert served.call("GET", path("history", row["id"]), admin).json == row
    assert items(served.call("GET", path("history"), admin, by="nobody")) == []
    assert items(served.call("GET", path("history"), admin, until="yesterday")) == []
    first = served.call("GET", path("history"), admin, limit=2).json
    served("user", "rename", "bob@corp.example", "Bobby")
    rest = served.call("GET", path("history"), admin, cursor=first["next"]).json
    ids = [one["id"] for one in (*first["items"], *rest["items"])]
    assert ids == sorted(ids, reverse=True)
    assert len(ids) == len(set(ids))
    undone = served.call("POST", path("history", row["id"], "undo"), admin)
    assert undone.json["change"]["undoes"] == row["id"]
    again = served.call("POST", path("history", row["id"], "undo"), admin)
    assert (again.status, again.json["error"]) == (409, "conflict")
    assert again.json["hint"].endswith(f"undo change {undone.json['change']['id']}")


def test_the_status_says_what_waits(served, admin):
    """Counts by state and reason, with the oldest and the next try."""
    ids = served.put("One", "Two", "Three")
    served("hold", ids[0])
    found = served.call("GET", path("status"), admin).json
    rows = [(one["state"], one["reason"], one["count"]) for one in found["waiting"]]
    assert rows == [("queued", "", 2), ("held", "hold", 1)]
    assert found["waiting"][0]["next_at"]
    assert found["pause"] is None
    assert found["logging"]["active"] is True
    me = served.call("GET", path("me"), admin).json
    assert me["name"] == "api:admin"
    assert set(me["scopes"]) == set(EVERY)


def test_a_store_that_does_not_answer_is_503(served, admin, monkeypatch):
    """An outage has its own answer and says when to come back; no fault is shown."""
    from relay.core.errors import StoreUnavailable
    from relay.store.directory import DirectoryStore

    async def fails(*_args, **_options):
        raise StoreUnavailable("secret detail")

    async def breaks(*_args, **_options):
        raise RuntimeError("secret detail")

    for fault, status, word in (
        (fails, 503, "store_unavailable"),
        (breaks, 500, "internal_error"),
    ):
        monkeypatch.setattr(DirectoryStore, "users", fault)
        answer = served.call("GET", path("users"), admin)
        assert (answer.status, answer.json["error"]) == (status, word)
        assert b"secret detail" not in answer.data
    monkeypatch.undo()
    assert served.call("GET", path("users"), admin).status == 200


def test_no_secret_stands_in_the_log(served, admin, capfd):
    """A token is in no line that the relay writes, and in no answer."""
    secret = admin["Authorization"].partition(" ")[2]
    for where in ("users", "me", "history", "nothing"):
        answer = served.call("GET", path(where), admin)
        assert secret not in answer.data.decode()
        assert secret not in json.dumps(dict(answer.headers))
    captured = capfd.readouterr()
    assert secret not in captured.out + captured.err


def test_the_token_of_who_is_disabled_opens_nothing(served):
    """As their browser does; it does so again once they are enabled."""
    mine = served.token("mine", "log:read", user="ada@corp.example")
    assert served.call("GET", path("messages"), mine).status == 200
    served("user", "disable", "ada@corp.example")
    refused = served.call("GET", path("messages"), mine)
    assert (refused.status, refused.json["error"]) == (401, "user_disabled")
    assert "relay user enable" in refused.json["hint"]
    served("user", "enable", "ada@corp.example")
    assert served.call("GET", path("messages"), mine).status == 200


def test_a_monitor_reads_mails_where_that_is_allowed(served):
    """Asked for each request: the setting holds at once, for tokens, too."""
    (id_,) = served.put("One")
    refused = served.error(
        *("token", "add", "eye", "--user", "mona@corp.example"),
        *("--scope", "raw:read"),
        status=1,
    )
    assert "raw:read" in refused
    served("settings", "set", "web.monitor_sees_bodies", "true")
    token = served.token("eye", "log:read", "raw:read", user="mona@corp.example")
    raw = path("messages", id_, "raw")
    assert served.call("GET", raw, token).status == 200
    served("settings", "set", "web.monitor_sees_bodies", "false")
    assert served.call("GET", raw, token).status == 403
