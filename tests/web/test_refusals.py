"""Each route refuses whom it must: no token, no right, another's things, bad input."""

from __future__ import annotations

import pytest

from tests.web.conftest import EVERY, make_served, path

pytestmark = pytest.mark.timeout(120)

NOBODY = "0" * 26


class World:
    """A served relay with what each route needs, and tokens of each kind."""

    def __init__(self, relay):
        self.relay = relay
        for name in ("ada", "bob"):
            email = f"{name}@corp.example"
            relay("user", "add", name.title(), "--email", email)
        relay("user", "add", "Mona", "--email", "m@corp.example", "--role", "monitor")
        relay("exclude", "add", "*@private.example")
        (self.message,) = relay.put("An offer")  # Ada's: she is the first by name
        (reminder,) = relay.json(
            "reminder", "add", "Call", "--user", "ada@corp.example"
        )
        self.reminder = reminder["id"]
        relay.start()
        self.admin = relay.token("admin", *EVERY)
        self.nothing = relay.token("nothing", "status:read")
        self.submit = relay.token("submit", "mail:submit")
        rep = "log:read raw:read queue:write users:read audit:read mail:submit".split()
        rep += ["reminders:read", "reminders:write"]
        self.bob = relay.token("bob", *rep, user="bob@corp.example")
        monitor = "log:read queue:write users:read settings:read audit:read status:read"
        self.mona = relay.token("mona", *monitor.split(), user="m@corp.example")

    def without(self, path):
        """Return a path with an id of nothing."""
        return path.replace(self.message, NOBODY).replace(self.reminder, NOBODY)

    @property
    def operations(self):
        """Yield (method, path with its parts filled in, body) of each route."""
        for template, item in self.relay.document.document["paths"].items():
            for method in item:
                yield method.upper(), template, self.filled(template, method)

    def filled(self, template, method):
        id_ = "1" if "/history/" in template else self.message
        if "/reminders/" in template:
            id_ = self.reminder
        values = {
            "{user}": "1",
            "{id}": id_,
            "{key}": "match.several",
            "{pattern}": "*%40private.example",
            "{address}": "ada%40corp.example",
        }
        for part, value in values.items():
            template = template.replace(part, value)
        if template.endswith("/count"):
            template += "?action=retry"
        return template

    def body(self, method, template):
        """Return a body that fits."""
        if method not in {"POST", "PUT", "PATCH"}:
            return None
        return {
            "/api/v1/users": {"name": "Cy", "email": "cy@corp.example"},
            "/api/v1/users/{user}": {"name": "Ada B"},
            "/api/v1/users/{user}/relay-addresses": {},
            "/api/v1/users/{user}/accepted-addresses": {"address": "a@b.example"},
            "/api/v1/exclusions": {"pattern": "x@y.example"},
            "/api/v1/settings/{key}": {"value": "all"},
            "/api/v1/messages/{id}/undo": {},
            "/api/v1/unmatched/{id}/ignore": {},
            "/api/v1/unmatched/{id}/resolve": {"records": ["003000000000001AAA"]},
            "/api/v1/logging": {"decides": "each_user"},
            "/api/v1/users/{user}/logging": {},
            "/api/v1/subject-preview": {"template": "x"},
            "/api/v1/reminders": {"name": "Call", "user": "ada@corp.example"},
            "/api/v1/reminders/{id}": {"name": "Call"},
            "/api/v1/reminders/{id}/snooze": {"until": "3d"},
            "/api/v1/reminders/{id}/undo": {},
            "/api/v1/messages/actions": {
                "action": "retry",
                "filter": "state:dead",
                "expected": 0,
            },
        }.get(template)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    relay = make_served(tmp_path_factory.mktemp("relay"))
    world = World(relay)
    yield world
    relay.stop()


def test_nobody_gets_in_without_a_token(world):
    """Each route answers 401, and names what to send, before it reads anything."""
    seen = 0
    for method, template, filled in world.operations:
        body = world.body(method, template)
        answer = world.relay.call(method, filled, None, body)
        assert (answer.status, answer.json["error"]) == (401, "unauthorized"), filled
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        seen += 1
        if seen % 15 == 0:
            # Guesses are limited; this is no guess but the point of the test.
            world.relay.in_gate(lambda gate: gate._guesses._left.clear())
    assert seen >= 35
    world.relay.in_gate(lambda gate: gate._guesses._left.clear())


def test_each_route_needs_its_right(world):
    """A token without the scope is told which one it lacks; nothing is done."""
    for method, template, filled in world.operations:
        answer = world.relay.call(
            method, filled, world.nothing, world.body(method, template)
        )
        if template in {"/api/v1/me", "/api/v1/status"}:
            assert answer.status == 200
            continue
        assert (answer.status, answer.json["error"]) == (403, "not_allowed"), filled
        assert answer.json["scope"] in EVERY
        assert answer.json["scope"] in answer.json["hint"]
    assert world.relay.json("history", "--change", "user", "--by", "api:") == []


def test_a_rep_has_what_is_the_reps_own(world):
    """Bob sees nothing of Ada's, and cannot tell what there is from what is not."""
    relay, bob = world.relay, world.bob
    for method, template, filled in world.operations:
        if "{user}" in template and method == "GET":
            mine, theirs = (filled.replace("/1", f"/{n}", 1) for n in (2, 1))
            theirs = filled
            mine = mine.replace("ada%40", "bob%40")
            assert relay.call(method, mine, bob).status == 200, mine
            answer = relay.call(method, theirs, bob)
            assert (answer.status, answer.json["error"]) == (403, "not_yours"), theirs
        if "{id}" in template and "/history/" not in template:
            body = world.body(method, template)
            answer = relay.call(method, filled, bob, body)
            wanted = {403, 404} if filled.endswith("/release") else {404}
            assert answer.status in wanted, filled
            absent = world.without(filled)
            other = relay.call(method, absent, bob, body)
            assert other.json["error"] == answer.json["error"]
    for user in ("ada@corp.example", "nobody@corp.example", "99"):
        assert relay.call("GET", path("users", user), bob).status == 403
        assert relay.call("GET", path("messages"), bob, user=user).status == 403
        assert relay.call("GET", path("history"), bob, user=user).status == 403
    assert relay.call("GET", path("messages"), bob).json["items"] == []
    (own,) = relay.call("GET", path("users"), bob).json["items"]
    assert own["email"] == "bob@corp.example"
    assert own["relay_address"]
    assert relay.call("GET", path("history", 1), bob).status == 404
    rows = relay.call("GET", path("accepted-addresses"), bob).json["items"]
    assert {row["user"] for row in rows} == {"bob@corp.example"}


def test_a_monitor_learns_no_relay_address_and_no_body(world):
    """Who watches the flow sees each mail, but no secret and no text."""
    relay, mona = world.relay, world.mona
    (token,) = {
        row["relay_address"].partition("@")[0]
        for row in relay.json("user", "list")
        if row["email"] == "ada@corp.example"
    }
    for where in (
        path("users"),
        path("users", 1),
        path("messages"),
        path("messages", world.message),
        path("messages", world.message, "attempts"),
        path("history"),
    ):
        answer = relay.call("GET", where, mona)
        assert answer.status == 200
        assert token not in answer.data.decode()
    assert "log-…" in relay.call("GET", path("messages"), mona).json["items"][0]["rcpt"]
    assert relay.call("GET", path("users", 1, "relay-addresses"), mona).status == 403
    assert relay.call("GET", path("messages", world.message, "raw"), mona).status == 403
    assert relay.call("POST", path("messages", world.message, "release"), mona).json[
        "error"
    ] == ("not_allowed")
    # A secret is not found by its parts either.
    for part in (token[:8], token):
        found = relay.call("GET", path("messages"), mona, text=part)
        assert found.json["items"] == []


def test_what_there_is_not_is_404(world):
    """Each route names what it does not find; the framework's own answers fit too."""
    relay, admin = world.relay, world.admin
    for method, template, filled in world.operations:
        if "{" not in template:
            continue
        absent = (
            world.without(filled)
            .replace("/users/1", "/users/999")
            .replace("match.several", "no.such")
            .replace("private", "nowhere")
            .replace("/history/1", "/history/999999")
        )
        body = world.body(method, template)
        headers = admin | {"If-Match": "*"}
        answer = relay.call(method, absent, headers, body)
        expected = 422 if "/settings/" in template else 404
        assert answer.status == expected, (method, absent)
    for wrong in ("/api/v1/nothing", "/api/", "/api/v2/users", path("users") + "/"):
        answer = relay.call("GET", wrong, admin)
        assert (answer.status, answer.json["error"]) == (404, "not_found")
    answer = relay.call("DELETE", path("users"), admin)
    assert (answer.status, answer.json["error"]) == (405, "method_not_allowed")
    assert set(answer.headers["Allow"].split(", ")) <= {"GET", "POST"}


@pytest.mark.parametrize(
    ("method", "where", "body", "problem"),
    [
        ("POST", "users", {"name": "x"}, "body.email"),
        ("POST", "users", {"name": "x", "email": "y", "pasword": 1}, "body.pasword"),
        ("POST", "users", {"name": "x", "email": "no address"}, "is no e-mail"),
        ("POST", "users", {"name": "", "email": "x@y.example"}, "characters"),
        ("POST", "users", b"{", "JSON"),
        ("POST", "users", ["a"], "body"),
        ("PATCH", "users/1", {}, "nothing is to change"),
        ("PATCH", "users/1", {"name": None}, "name is null"),
        ("PATCH", "users/1", {"active": "yes"}, "body.active"),
        ("PATCH", "users/1", {"salesforce_id": "003"}, "no record id"),
        ("POST", "users/1/accepted-addresses", {"address": "@x"}, "is no address"),
        ("POST", "exclusions", {"pattern": "a@b.example", "skip": "all"}, "body.skip"),
        ("PUT", "settings/match.several", {"value": "odd"}, "does not fit"),
        ("PUT", "settings/store.url", {"value": "x"}, "needs a restart"),
        ("PUT", "settings/match.several", {"value": {"a": 1}}, "body.value"),
        ("GET", "messages?q=state:ded", None, "is no state"),
        ("GET", "messages?since=soon", None, "is no time"),
        ("GET", "messages?limit=0", None, "query.limit"),
        ("GET", "messages?limit=1000", None, "query.limit"),
        ("GET", "messages?stat=dead", None, "stat: no such parameter here"),
        ("GET", "status?x=1", None, "leave it out"),
        ("GET", "messages/count?action=burn", None, "is no action"),
        ("GET", "users?silent=soon", None, "length of time"),
        ("GET", "history/x", None, "path.id"),
        (
            "POST",
            "messages/actions",
            {"action": "retry", "filter": "a:b", "expected": 0},
            "is no key",
        ),
    ],
)
def test_bad_input_is_told(world, method, where, body, problem):
    """Each value that does not fit is named with what fits; nothing is repeated."""
    headers = world.admin | {"If-Match": "*"}
    if isinstance(body, bytes):
        headers["Content-Type"] = "application/json"
    answer = world.relay.call(method, f"/api/v1/{where}", headers, body)
    assert answer.status == 422
    assert problem in answer.data.decode(), answer.data


def test_a_cursor_is_of_its_question(world):
    """A cursor that was made up, or of another question, is refused."""
    relay, admin = world.relay, world.admin
    first = relay.call("GET", path("users"), admin, limit=1).json
    assert first["next"]
    for cursor in ("x", "é", "W10", first["next"][:-3] + "AAA"):
        answer = relay.call("GET", path("users"), admin, cursor=cursor)
        assert (answer.status, answer.json["error"]) == (400, "bad_cursor")
    wrong = relay.call("GET", path("users"), admin, cursor=first["next"], removed=True)
    assert wrong.status == 400
    for where in ("messages", "history", "exclusions"):
        answer = relay.call("GET", path(where), admin, cursor=first["next"])
        assert answer.status == 400


def test_a_body_has_a_limit(world):
    """What is larger is refused before it is read, whether it says so or not."""
    relay, admin = world.relay, world.admin
    big = b'{"name": "' + b"x" * 70_000 + b'"}'
    answer = relay.call("POST", path("users"), admin, big)
    assert (answer.status, answer.json["error"]) == (413, "too_large")
    pieces = (part for part in [big[:40_000], big[40_000:]])
    headers = admin | {"Transfer-Encoding": "chunked"}
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", relay.port, timeout=20)
    connection.request("POST", path("users"), pieces, headers, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()


def test_an_expired_token_is_over(world):
    """From its last moment on a token is refused, and told why."""
    relay = world.relay
    held = relay.token("short", "users:read", expires="10m")
    assert relay.call("GET", path("users"), held).status == 200
    with relay.clock_moved(601):
        answer = relay.call("GET", path("users"), held)
        assert (answer.status, answer.json["error"]) == (401, "token_expired")
        old = relay.call("POST", "/messages", held, b"x")
        assert (old.status, old.json["error"]) == (401, "token_expired")
    relay.in_gate(lambda gate: gate._guesses._left.clear())


def test_guesses_and_floods_are_slowed(world):
    """Who tries tokens, and a token that asks too often, wait; others do not."""
    relay = world.relay
    wrong = {"Authorization": "Bearer relay_wrong"}
    answers = [relay.call("GET", path("users"), wrong) for _ in range(20)]
    assert [one.status for one in answers] == [401] * 20
    # A slow machine lets some tries grow back meanwhile.
    more = (relay.call("GET", path("users"), wrong) for _ in range(500))
    blocked = next(one for one in more if one.status != 401)
    assert (blocked.status, blocked.json["error"]) == (429, "too_many_requests")
    assert int(blocked.headers["Retry-After"]) > 0
    relay.in_gate(lambda gate: gate._guesses._left.clear())

    other = relay.token("flood", "users:read")
    relay.in_gate(
        lambda gate: gate._requests._left.update({"api:flood": (2.0, _now(gate))})
    )
    statuses = [relay.call("GET", path("me"), other).status for _ in range(3)]
    assert statuses[:2] == [200, 200]
    assert statuses[2] in {200, 429}
    relay.in_gate(
        lambda gate: gate._requests._left.update({"api:flood": (-1000.0, _now(gate))})
    )
    assert relay.call("GET", path("me"), other).status == 429
    assert relay.call("GET", path("me"), world.admin).status == 200


def _now(gate):
    return gate._clock.boottime_s()


def test_the_old_door_keeps_to_its_right(world):
    """A token that may read may not hand mail over, at neither door."""
    answer = world.relay.call("POST", "/messages", world.nothing, b"Subject: x\r\n")
    assert (answer.status, answer.json["error"]) == (403, "not_allowed")
    (row,) = [r for r in world.relay.json("token", "list") if r["name"] == "submit"]
    assert row["scopes"] == ["mail:submit"]
    assert row["expires_at"] is None


def test_a_token_has_no_more_than_the_role_of_its_user(world):
    """Rights beyond the role are refused when made, and gone when the role changes."""
    relay = world.relay
    text = relay.error(
        "token",
        "add",
        "x",
        "--user",
        "bob@corp.example",
        "--scope",
        "users:write",
        status=1,
    )
    assert "users:write" in text
    relay("user", "add", "Root", "--email", "r@corp.example", "--role", "admin")
    root = relay.token("root", *EVERY, user="r@corp.example")
    assert len(relay.call("GET", path("users"), root).json["items"]) >= 4
    relay("user", "set", "r@corp.example", "--role", "rep")
    assert len(relay.call("GET", path("users"), root).json["items"]) == 1
    assert relay.call("GET", path("settings"), root).status == 403
    relay("user", "remove", "r@corp.example")
    assert relay.call("GET", path("users"), root).status == 401
