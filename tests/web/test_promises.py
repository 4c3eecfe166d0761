"""What holds for every route of the API, by its document: ETag, key, pages.

A route that is new is judged here without a line of its own: an edit demands `If-Match`
or says why it does not, a POST takes `Idempotency-Key` or says why it does not, and a
list has pages or stands in a table with its reason.
"""

from __future__ import annotations

import re

import pytest

from tests.web.conftest import path

pytestmark = pytest.mark.timeout(180)

WHOLE = {
    "/address-import": "a plan: at most two lines for each user",
    "/check": "what one check has found",
    "/failures": "codes of Salesforce; the messages behind one are a filter",
    "/presets": "part of the relay",
    "/replays": "those of the last hour in one process",
    "/settings": "part of the relay",
    "/users/{user}/address-claims": "a user may have few open",
}
"""Lists that are given whole, and why they stay short."""


def operations(served):
    for template, item in served.document.document["paths"].items():
        for method, operation in item.items():
            yield method.upper(), template.removeprefix("/api/v1"), operation


def headers_of(operation):
    parameters = operation.get("parameters", ())
    return {one["name"] for one in parameters if one["in"] == "header"}


def success_of(served, operation):
    """Return the properties of the answer to a request that succeeded."""
    for status, described in operation["responses"].items():
        content = described.get("content", {}).get("application/json")
        if status.startswith("2") and content and "$ref" in content["schema"]:
            name = content["schema"]["$ref"].rpartition("/")[2]
            schemas = served.document.document["components"]["schemas"]
            return schemas[name].get("properties", {})
    return {}


def test_every_edit_demands_what_was_read(served, admin):
    """428 without `If-Match`, 412 with another's, for each that has the header.

    Those without it say so in the document.
    """
    served("exclude", "add", "*@private.example")
    (reminder,) = served.json("reminder", "add", "Call", "--user", "ada@corp.example")
    served.token("other", "log:read")
    filled = {
        "{user}": "1",
        "{id}": reminder["id"],
        "{key}": "match.several",
        "{pattern}": "*%40private.example",
        "{address}": "ada%40corp.example",
        "{name}": "other",
    }
    bodies = {
        "/settings/{key}": {"value": "all"},
        "/logging": {"decides": "each_user"},
        "/users/{user}": {"name": "Ada B"},
        "/users/{user}/logging": {},
        "/reminders/{id}": {"name": "Other"},
    }
    judged = 0
    for method, template, operation in operations(served):
        if method not in {"PATCH", "PUT", "DELETE"}:
            continue
        if "If-Match" not in headers_of(operation):
            said = operation.get("description", "")
            assert "Takes no If-Match: " in said, (method, template)
            continue
        if template.startswith("/remembered-addresses"):
            continue  # One is there after a person chose a record: test_unmatched.
        where = template
        for part, value in filled.items():
            where = where.replace(part, value)
        body = None if method == "DELETE" else bodies[template]
        bare = served.call(method, f"/api/v1{where}", admin, body)
        assert (bare.status, bare.json["error"]) == (428, "if_match_missing"), where
        stale = admin | {"If-Match": '"0"'}
        other = served.call(method, f"/api/v1{where}", stale, body)
        assert (other.status, other.json["error"]) == (412, "changed"), where
        judged += 1
    assert judged >= 9


def test_every_post_takes_a_key_or_says_why_not(served, admin):
    """Those whose answer has a secret do not, so that no copy of it is kept."""
    without = set()
    for method, template, operation in operations(served):
        if method == "POST" and "Idempotency-Key" not in headers_of(operation):
            said = operation.get("description", "")
            assert "Idempotency-Key has no effect here" in said, template
            without.add(template)
    assert without == {
        "/tokens",
        "/users/{user}/sign-in-link",
        "/users/{user}/reminder-feed",
    }
    for template in sorted(without):
        where = f"/api/v1{template}".replace("{user}", "1")
        body = {"name": "new"} if template == "/tokens" else None
        key = admin | {"Idempotency-Key": template}
        made = served.call("POST", where, key, body)
        assert made.status == 201
        again = served.call("POST", where, key, body)
        assert "Idempotency-Replayed" not in again.headers, template
        assert again.data != made.data


NEW = [
    ("/users", {"name": "Cy", "email": "cy@corp.example"}),
    ("/users/1/accepted-addresses", {"address": "ada@home.corp.example"}),
    ("/users/1/relay-addresses", {}),
    ("/exclusions", {"pattern": "*@private.example"}),
    ("/reminders", {"name": "Call", "user": "ada@corp.example"}),
    ("/messages?user=ada@corp.example", None),
]
"""What creates, and what it is sent."""
MAIL = (
    b"From: Ada <ada@corp.example>\r\nTo: kim@customer.example\r\n"
    b"Subject: An offer\r\nMessage-ID: <1@corp.example>\r\n"
    b"Date: Mon, 30 Nov 2026 09:00:00 +0000\r\n\r\nHi\r\n"
)


def test_what_was_created_is_not_created_again(served, admin):
    """The second answer is the first one, to the byte; nothing is in the history."""
    for where, sent in NEW:
        key, body = admin | {"Idempotency-Key": where}, sent
        if body is None:
            key |= {"Content-Type": "message/rfc822"}
            body = MAIL
        first = served.call("POST", f"/api/v1{where}", key, body)
        assert first.status in {201, 202}, first.data
        changes = served.call("GET", path("history"), admin).json
        second = served.call("POST", f"/api/v1{where}", key, body)
        assert (second.status, second.data) == (first.status, first.data)
        assert second.headers["Idempotency-Replayed"] == "true"
        for name in ("ETag", "Location"):
            assert second.headers[name] == first.headers[name], where
        assert served.call("GET", path("history"), admin).json == changes


def test_every_list_has_pages_or_a_reason(served):
    """A list that may grow without end has a cursor."""
    whole = set()
    for method, template, operation in operations(served):
        found = success_of(served, operation)
        if method != "GET" or "items" not in found:
            continue
        asked = {one["name"] for one in operation.get("parameters", ())}
        if "next" not in found:
            whole.add(template)
            continue
        assert {"cursor", "limit"} <= asked, template
    assert whole == set(WHOLE)


def read_to_the_end(served, admin, where, between):
    """Return what a list has, page by page of two; something happens in between."""
    rows, cursor = [], None
    for _ in range(60):
        asked = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        answer = served.call("GET", where, admin, **asked)
        assert answer.status == 200, answer.data
        assert len(answer.json["items"]) <= 2
        rows += answer.json["items"]
        cursor = answer.json["next"]
        if cursor is None:
            return rows
        between()
    pytest.fail(f"{where} does not end")


def test_pages_neither_lose_nor_double_while_rows_come(served, admin):
    """Each list, read one by one while somebody adds to it."""
    ada = "ada@corp.example"
    store = served
    message, *_ = store.put("One", "Two", "Three")
    (reminder,) = store.json("reminder", "add", "Call", "--user", ada)
    for number in range(3):
        store("address", "add", ada, f"old{number}@home.corp.example", "--yes")
        store("exclude", "add", f"*@old{number}.example")
        store("user", "rotate", ada)
        store.token(f"old{number}", "log:read")
        store("hold", message)
        store("release", message)
        store("reminder", "edit", reminder["id"], "--name", f"Call {number}")
    for name in ("Cy", "Di", "Ed"):
        store("user", "add", name, "--email", f"{name.lower()}@corp.example")
    count = 0

    def add():
        """Add one of each, at either end of each list."""
        nonlocal count
        count += 1
        if count % 4:
            return
        mark = "a" if count % 8 else "z"
        name = f"{mark}{count}"
        store("user", "add", name, "--email", f"{name}@corp.example")
        store("address", "add", ada, f"{name}@home.corp.example", "--yes")
        store("exclude", "add", f"*@{name}.example")
        store.token(name, "log:read")
        store("user", "rotate", ada)
        store.put(f"More {count}")

    lists = {
        path("users"): "id",
        path("accepted-addresses"): "address",
        path("users", ada, "accepted-addresses"): "address",
        path("users", ada, "relay-addresses"): "address",
        path("users", ada, "sessions"): "id",
        path("exclusions"): "pattern",
        path("tokens"): "name",
        path("messages"): "id",
        path("messages", message, "attempts"): "number",
        path("reminders"): "id",
        path("reminders", reminder["id"], "history"): "version",
        path("reminder-sync"): "user",
        path("history"): "id",
        path("unmatched"): "id",
        path("remembered-addresses"): "address",
    }
    for where, key in lists.items():
        before = served.call("GET", where, admin, limit="200").json["items"]
        rows = read_to_the_end(served, admin, where, add)
        seen = [str(row) for row in rows]
        assert len(set(seen)) == len(seen), where
        ids = [row[key] for row in rows]
        lost = [row[key] for row in before if row[key] not in ids]
        assert not lost, (where, lost)
    named = {re.sub(r"^/api/v1", "", one) for one in lists}
    known = {
        template
        for method, template, operation in operations(served)
        if method == "GET" and "next" in success_of(served, operation)
    }
    shapes = {
        one.replace("ada%40corp.example", "{user}")
        .replace(message, "{id}")
        .replace(reminder["id"], "{id}")
        for one in named
    }
    elsewhere = {
        "/replays/{id}/differences",
        "/users/{user}/reminder-sync/conflicts",
        "/users/{user}/reminder-sync/failures",
    }
    assert shapes | elsewhere == known


def test_a_cursor_is_of_its_question(served, admin):
    """Of another list, or with other conditions, it is refused."""
    first = served.call("GET", path("users"), admin, limit="1").json["next"]
    for where, more in (
        (path("users"), {"role": "rep"}),
        (path("exclusions"), {}),
        (path("reminder-sync"), {}),
    ):
        answer = served.call("GET", where, admin, cursor=first, **more)
        assert (answer.status, answer.json["error"]) == (400, "bad_cursor"), where
