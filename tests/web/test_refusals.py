"""Each route refuses whom it must: no token, no right, another's things, bad input."""

from __future__ import annotations

import pytest

from relay.core.access import OF_ROLE
from relay.core.directory import Role
from tests.web.conftest import EVERY, make_served, path

pytestmark = pytest.mark.timeout(120)

NOBODY = "0" * 26


ROUTES = """
GET    /events                                        log:read
GET    /messages                                      log:read
POST   /messages                                      mail:submit
GET    /messages/count                                log:read
POST   /messages/actions                              queue:write
POST   /messages/actions/{number}/undo                queue:write      theirs=404
GET    /messages/{id}                                 log:read         theirs=404
GET    /messages/{id}/attempts                        log:read         theirs=404
GET    /messages/{id}/raw                             raw:read         theirs=404
POST   /messages/{id}/retry                           queue:write      theirs=404
POST   /messages/{id}/hold                            queue:write      theirs=404
POST   /messages/{id}/release                         queue:write      not=rep,monitor
POST   /messages/{id}/discard                         queue:write      theirs=404
POST   /messages/{id}/undo                            queue:write      not=rep,monitor
GET    /unmatched                                     log:read
GET    /unmatched/count                               log:read
POST   /unmatched/actions                             queue:write
GET    /unmatched/{id}                                log:read         theirs=404
POST   /unmatched/{id}/resolve                        queue:write      theirs=404
POST   /unmatched/{id}/create                         queue:write      theirs=404
POST   /unmatched/{id}/rematch                        queue:write      theirs=404
POST   /unmatched/{id}/ignore                         queue:write      theirs=404
GET    /remembered-addresses                          users:read
GET    /remembered-addresses/{address}                users:read
DELETE /remembered-addresses/{address}                users:write
GET    /users                                         users:read
POST   /users                                         users:write
GET    /users/{user}                                  users:read       theirs=403
PATCH  /users/{user}                                  users:write
DELETE /users/{user}                                  users:write
POST   /user-import/plan                              users:write
POST   /user-import                                   users:write
GET    /users/{user}/invitation                       users:read       theirs=403
POST   /users/{user}/invitation                       users:invite
POST   /users/{user}/sign-in-link                     users:invite
GET    /users/{user}/sessions                         sessions:read    theirs=403
DELETE /users/{user}/sessions                         sessions:write   theirs=403
DELETE /users/{user}/sessions/{session}               sessions:write   theirs=403
GET    /users/{user}/relay-addresses                  users:read       theirs=403
POST   /users/{user}/relay-addresses                  users:write
GET    /users/{user}/accepted-addresses               users:read       theirs=403
POST   /users/{user}/accepted-addresses               users:write
GET    /users/{user}/accepted-addresses/{address}     users:read       theirs=403
DELETE /users/{user}/accepted-addresses/{address}     users:write
GET    /users/{user}/address-claims                   users:read       theirs=403
POST   /users/{user}/address-claims                   addresses:claim  theirs=403
POST   /users/{user}/address-claims/proof             addresses:claim  theirs=403
GET    /accepted-addresses                            users:read
GET    /address-import                                users:write
POST   /address-import                                users:write
GET    /exclusions                                    users:read
POST   /exclusions                                    users:write
GET    /exclusions/{pattern}                          users:read
DELETE /exclusions/{pattern}                          users:write
GET    /settings                                      settings:read
GET    /settings/{key}                                settings:read    absent=422
PUT    /settings/{key}                                settings:write   absent=422
DELETE /settings/{key}                                settings:write   absent=422
GET    /logging                                       settings:read
PUT    /logging                                       settings:write
GET    /users/{user}/logging                          users:read       theirs=403
PUT    /users/{user}/logging                          users:write
POST   /subject-preview                               settings:read
GET    /presets                                       settings:read
GET    /presets/{name}                                settings:read
POST   /presets/{name}/take                           settings:write
GET    /replays                                       settings:read
POST   /replays                                       settings:write
GET    /replays/{id}                                  settings:read
GET    /replays/{id}/differences                      settings:write
DELETE /replays/{id}                                  settings:write
GET    /history                                       audit:read
GET    /history/{id}                                  audit:read       theirs=404
POST   /history/{id}/undo                             audit:write
GET    /tokens                                        tokens:read
POST   /tokens                                        tokens:write
GET    /tokens/{name}                                 tokens:read
DELETE /tokens/{name}                                 tokens:write
GET    /failures                                      log:read
GET    /check                                         status:read
POST   /check                                         status:read
GET    /status                                        status:read
GET    /alerts                                        status:read
POST   /alerts/test                                   settings:write
GET    /reminders                                     reminders:read
POST   /reminders                                     reminders:write
GET    /reminders/{id}                                reminders:read   theirs=404
PATCH  /reminders/{id}                                reminders:write  theirs=404
DELETE /reminders/{id}                                reminders:write  theirs=404
POST   /reminders/{id}/complete                       reminders:write  theirs=404
POST   /reminders/{id}/reopen                         reminders:write  theirs=404
POST   /reminders/{id}/snooze                         reminders:write  theirs=404
POST   /reminders/{id}/undo                           reminders:write  theirs=404
GET    /reminders/{id}/history                        reminders:read   theirs=404
GET    /reminders/{id}/task                           reminders:read   theirs=404
POST   /reminders/{id}/retry                          reminders:write  theirs=404
GET    /users/{user}/command-center                   reminders:read   theirs=403
POST   /users/{user}/reminder-feed                    reminders:write
DELETE /users/{user}/reminder-feed                    reminders:write
GET    /reminder-sync                                 reminders:read
GET    /users/{user}/reminder-sync                    reminders:read   theirs=403
PUT    /users/{user}/reminder-sync                    reminders:write  theirs=403
POST   /users/{user}/reminder-sync/resume             reminders:write  theirs=403
GET    /users/{user}/reminder-sync/conflicts          reminders:read   theirs=403
GET    /users/{user}/reminder-sync/failures           reminders:read   theirs=403
POST   /users/{user}/reminder-sync/retry              reminders:write  theirs=403
POST   /reminder-conflicts/{number}/undo              reminders:write  theirs=404
GET    /me                                            -
"""
"""Each route: the scope it needs; what a rep is answered about another's (`theirs`);
the roles that may not although they have the scope (`not`); the answer of an admin
about what there is not (`absent`)."""


class Row:
    """A route of the table."""

    def __init__(self, line):
        self.method, path, scope, *rest = line.split()
        self.template = f"/api/v1{path}"
        self.scope = None if scope == "-" else scope
        more = dict(one.split("=") for one in rest)
        self.theirs = int(more.get("theirs", 0))
        self.refused_roles = set(filter(None, more.get("not", "").split(",")))
        self.absent = int(more.get("absent", 404))


class World:
    """A served relay with what each route needs, and tokens of each kind."""

    def __init__(self, relay):
        self.relay = relay
        for name in ("ada", "bob"):
            email = f"{name}@corp.example"
            relay("user", "add", name.title(), "--email", email)
        relay("user", "add", "Mona", "--email", "m@corp.example", "--role", "monitor")
        relay("user", "add", "Root", "--email", "r@corp.example", "--role", "admin")
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
        self.of = {
            role: relay.token(
                f"of {role}",
                *map(str, OF_ROLE[Role(role)]),
                user=f"{name}@corp.example",
            )
            for role, name in (("rep", "bob"), ("monitor", "m"), ("admin", "r"))
        }
        self.bob, self.mona = self.of["rep"], self.of["monitor"]

    @property
    def rows(self):
        return [Row(line) for line in ROUTES.strip().splitlines()]

    def filled(self, row):
        """Return the path of a route with its parts filled in: Ada's, where it can."""
        template = row.template
        id_ = "1" if "/history/" in template else self.message
        if "/reminders/" in template:
            id_ = self.reminder
        values = {
            "{user}": "1",
            "{id}": id_,
            "{number}": "1",
            "{session}": "1",
            "{key}": "match.several",
            "{pattern}": "*%40private.example",
            "{address}": "ada%40corp.example",
            "{name}": "nothing" if "/tokens/" in template else "inbox",
        }
        for part, value in values.items():
            template = template.replace(part, value)
        if template.endswith("/messages/count"):
            template += "?action=retry"
        return template

    def absent(self, row):
        """Return the path of a route for what there is not."""
        return (
            self.filled(row)
            .replace("/users/1", "/users/999")
            .replace(self.message, NOBODY)
            .replace(self.reminder, NOBODY)
            .replace("match.several", "no.such")
            .replace("private", "nowhere")
            .replace("/tokens/nothing", "/tokens/nowhere")
            .replace("/presets/inbox", "/presets/nowhere")
            .replace("/history/1", "/history/999999")
        )

    def body(self, row):
        """Return a body that fits."""
        if row.method not in {"POST", "PUT", "PATCH"}:
            return None
        many = {"filter": "state:dead", "expected": 0}
        return {
            "/users": {"name": "Cy", "email": "cy@corp.example"},
            "/users/{user}": {"name": "Ada B"},
            "/users/{user}/relay-addresses": {},
            "/user-import/plan": {"source": "csv", "csv": "name,email\n"},
            "/user-import": {"source": "csv", "csv": "name,email\n", "plan": "x"},
            "/users/{user}/accepted-addresses": {"address": "a@b.example"},
            "/users/{user}/address-claims": {"address": "a@b.example"},
            "/users/{user}/address-claims/proof": {"code": "aaaa-bbbb"},
            "/address-import": {"expected": 99},
            "/exclusions": {"pattern": "x@y.example"},
            "/settings/{key}": {"value": "all"},
            "/logging": {"decides": "each_user"},
            "/users/{user}/reminder-sync": {"on": False},
            "/users/{user}/reminder-sync/resume": {},
            "/users/{user}/logging": {},
            "/subject-preview": {"template": "x"},
            "/presets/{name}/take": {},
            "/replays": {"settings": {"match.several": "all"}, "dry": True},
            "/tokens": {"name": "made"},
            "/messages/{id}/undo": {},
            "/reminders": {"name": "Call", "user": "ada@corp.example"},
            "/reminders/{id}": {"name": "Call"},
            "/reminders/{id}/snooze": {"until": "3d"},
            "/reminders/{id}/undo": {},
            "/unmatched/{id}/ignore": {},
            "/unmatched/{id}/create": {"object": "Lead"},
            "/unmatched/{id}/resolve": {"records": ["003000000000001AAA"]},
            "/messages/actions": {"action": "retry", **many},
            "/unmatched/actions": {"action": "ignore", **many, "expected": 99},
        }.get(row.template.removeprefix("/api/v1"))


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def world(request, tmp_path_factory):
    url = None
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres").create("refusals")
    relay = make_served(tmp_path_factory.mktemp("relay"), url)
    try:
        yield World(relay)
    finally:
        relay.stop()


def test_each_route_has_a_row(world):
    """A route without a row, or a row without a route, is a mistake."""
    found = {
        (method.upper(), template)
        for template, item in world.relay.document.document["paths"].items()
        for method in item
    }
    assert {(row.method, row.template) for row in world.rows} == found


def test_nobody_gets_in_without_a_token(world):
    """Each route answers 401, and names what to send, before it reads anything."""
    for number, row in enumerate(world.rows, 1):
        filled = world.filled(row)
        answer = world.relay.call(row.method, filled, None, world.body(row))
        assert (answer.status, answer.json["error"]) == (401, "unauthorized"), filled
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        if number % 15 == 0:
            # Guesses are limited; this is no guess but the point of the test.
            world.relay.in_gate(lambda gate: gate._guesses._left.clear())
    world.relay.in_gate(lambda gate: gate._guesses._left.clear())


def test_each_route_needs_its_right(world):
    """A token without the scope is told which one it lacks; nothing is done."""
    for row in world.rows:
        if row.scope in {None, "status:read"}:
            continue
        filled = world.filled(row)
        answer = world.relay.call(row.method, filled, world.nothing, world.body(row))
        assert (answer.status, answer.json["error"]) == (403, "not_allowed"), filled
        assert answer.json["scope"] == row.scope, filled
        assert row.scope in answer.json["hint"]
    assert world.relay.json("history", "--change", "user", "--by", "api:") == []


@pytest.mark.parametrize("role", ["rep", "monitor", "admin"])
def test_each_route_refuses_each_role_that_may_not(world, role):
    """What a role may not do is refused; what it may do is not.

    Asked about what there is not, with a body that fits nothing: nothing is changed.
    """
    scopes = OF_ROLE[Role(role)]
    for row in world.rows:
        if row.template.endswith("/events"):
            continue  # It does not end; tests/web/test_events.py asks it.
        may = row.scope in {None, *scopes} and role not in row.refused_roles
        body = b"{" if row.method in {"POST", "PUT", "PATCH"} else None
        if not may:
            body = world.body(row)
        headers = world.of[role] | {"Content-Type": "application/json"}
        answer = world.relay.call(row.method, world.absent(row), headers, body)
        assert answer.status < 500, (row.template, answer.data)
        refused = answer.status == 403 and answer.json["error"] == "not_allowed"
        if may:
            assert not refused, (row.method, row.template, answer.data)
        elif role in row.refused_roles and row.scope in scopes:
            assert answer.status in {403, 404}, (row.template, answer.data)
        else:
            assert refused, (row.method, row.template, answer.status)


def test_a_rep_has_what_is_the_reps_own(world):
    """Bob sees nothing of Ada's, and cannot tell what there is from what is not."""
    relay, bob = world.relay, world.bob
    for row in world.rows:
        if not row.theirs:
            continue
        body = world.body(row)
        theirs = relay.call(row.method, world.filled(row), bob, body)
        absent = relay.call(row.method, world.absent(row), bob, body)
        assert theirs.status == row.theirs, (row.method, row.template)
        assert theirs.json["error"] == absent.json["error"], row.template
        if row.method == "GET" and "{user}" in row.template:
            mine = world.filled(row).replace("/1", "/2", 1).replace("ada%40", "bob%40")
            assert relay.call("GET", mine, bob).status == 200, mine
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


def test_a_user_claims_for_nobody_else(world):
    """A monitor sees everybody, and claims addresses for nobody but the monitor."""
    where = path("users", 1, "address-claims")
    body = {"address": "a@b.example"}
    answer = world.relay.call("POST", where, world.mona, body)
    assert (answer.status, answer.json["error"]) == (403, "not_yours")
    proof = world.relay.call("POST", f"{where}/proof", world.mona, {"code": "x"})
    assert (proof.status, proof.json["error"]) == (403, "not_yours")


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
    for row in world.rows:
        if "{" not in row.template:
            continue
        headers = admin | {"If-Match": "*"}
        answer = relay.call(row.method, world.absent(row), headers, world.body(row))
        assert answer.status == row.absent, (row.method, row.template, answer.data)
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
        ("GET", "messages?q=a%00b", None, "NUL"),
        ("GET", "users/a%00b", None, "NUL"),
        ("POST", "users", b'{"name": "a\\u0000b", "email": "a@b.example"}', "NUL"),
        ("POST", "exclusions", b'{"pattern": "\\ud800@b.example"}', "half of a"),
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
    root = relay.token("root", *EVERY, user="r@corp.example")
    assert len(relay.call("GET", path("users"), root).json["items"]) >= 4
    relay("user", "set", "r@corp.example", "--role", "rep")
    assert len(relay.call("GET", path("users"), root).json["items"]) == 1
    assert relay.call("GET", path("settings"), root).status == 403
    relay("user", "remove", "r@corp.example")
    assert relay.call("GET", path("users"), root).status == 401
