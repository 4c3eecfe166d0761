"""Invitations, links that are shown once, and sessions, over real HTTP."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from relay.core.access import OF_ROLE
from relay.core.directory import Role
from tests.web.conftest import EVERY, make_served, path
from tests.web.pages.test_sign_in import PASSWORD, Browser

pytestmark = pytest.mark.timeout(90)
MAIL = (
    'public_url = "http://localhost:1"\n'
    '[notices]\nsmarthost = "127.0.0.1:1"\nfrom_address = "relay@corp.example"\n'
)


@pytest.fixture
def mailing(tmp_path):
    """A served relay that can mail links; nothing sends them."""
    relay = make_served(tmp_path)
    text = relay.config.read_text("utf-8")
    relay.config.write_text(text + MAIL, "utf-8")
    relay("user", "add", "Ada Byron", "--email", "ada@corp.example")
    relay("user", "add", "Root", "--email", "root@corp.example", "--role", "admin")
    relay.start()
    yield relay
    relay.stop()


def signed_in(relay, link):
    """Return a browser that used a one-time link."""
    browser = Browser(relay.port)
    where = urlsplit(link).path
    assert browser.get(where) == 200
    assert browser.post(where, password=PASSWORD, again=PASSWORD) == 303
    return browser


def test_a_user_is_invited_by_mail(mailing):
    """The state says how far it is; no answer, list or line of the log has the link."""
    admin = mailing.token("admin", *EVERY)
    where = path("users", "ada@corp.example", "invitation")
    before = mailing.call("GET", where, admin)
    assert before.json["state"] == "not_invited"
    key = admin | {"Idempotency-Key": "k"}
    made = mailing.call("POST", where, key)
    assert (made.status, made.json["state"], made.json["mail"]) == (
        202,
        "invited",
        "planned",
    )
    assert made.json["invited_by"] == "api:admin"
    again = mailing.call("POST", where, key)
    assert (again.json, again.headers["Idempotency-Replayed"]) == (made.json, "true")
    assert b"/sign-in/link/" not in made.data
    (notice,) = mailing.json("notices", "list")
    assert (notice["recipient"], notice["kind"]) == ("ada@corp.example", "sign_in_link")
    assert "sign-in/link" not in str(notice)
    (row,) = [
        one
        for one in mailing.json("history", "--change", "sign_in_link")
        if one["user"] == "ada@corp.example"
    ]
    assert row["after"] == {"mailed_to": "ada@corp.example"}
    user = mailing.call("GET", path("users", "ada@corp.example"), admin).json
    assert user["sign_in"] == "invited"
    found = mailing.call("GET", path("users"), admin, sign_in="invited", role="rep")
    assert [one["email"] for one in found.json["items"]] == ["ada@corp.example"]
    (shown,) = mailing.json("user", "show", "ada@corp.example")
    assert shown["invitation"]["state"] == "invited"


def test_nobody_is_given_many_links(mailing):
    """Three in a quarter of an hour, mailed or shown; then one has to wait."""
    admin = mailing.token("admin", *EVERY)
    where = path("users", "ada@corp.example", "invitation")
    for _ in range(2):
        assert mailing.call("POST", where, admin).status == 202
    link = path("users", "ada@corp.example", "sign-in-link")
    assert mailing.call("POST", link, admin).status == 201
    for one in (where, link):
        refused = mailing.call("POST", one, admin)
        assert (refused.status, refused.json["error"]) == (429, "too_many_requests")
        assert 0 < int(refused.headers["Retry-After"]) <= 15 * 60
    with mailing.clock_moved(15 * 60 + 1):
        assert mailing.call("POST", where, admin).status == 202


def test_a_link_is_shown_once_to_who_has_the_rights_of_its_user(mailing):
    """It works; no copy is kept; a token with fewer rights could take them by it."""
    admin = mailing.token("admin", *EVERY)
    where = path("users", "ada@corp.example", "sign-in-link")
    key = admin | {"Idempotency-Key": "k"}
    made = mailing.call("POST", where, key)
    assert made.status == 201
    url = made.json["sign_in_link"]
    other = mailing.call("POST", where, key)
    assert other.json["sign_in_link"] != url
    ada = signed_in(mailing, other.json["sign_in_link"])
    assert ada.get("/account") == 200
    state = mailing.call("GET", path("users", 1, "invitation"), admin).json
    assert state["state"] == "signed_in"
    assert state["signed_in_at"]
    few = mailing.token("few", "users:invite", "users:read", "users:write")
    for user in ("ada@corp.example", "root@corp.example"):
        refused = mailing.call("POST", path("users", user, "sign-in-link"), few)
        assert (refused.status, refused.json["error"]) == (403, "not_allowed")
        assert (
            mailing.call("POST", path("users", user, "invitation"), few).status == 202
        )
    rep = [str(scope) for scope in OF_ROLE[Role.REP]]
    enough = mailing.token("enough", "users:invite", *rep)
    refused = mailing.call(
        "POST", path("users", "root@corp.example", "sign-in-link"), enough
    )
    assert "tokens:write" in refused.json["detail"]
    log = mailing.folder / "relay.log"
    assert not log.exists() or url not in log.read_text("utf-8")


def test_who_is_disabled_or_gone_is_not_invited(mailing):
    """Nor is anybody where no mail can be sent."""
    admin = mailing.token("admin", *EVERY)
    where = path("users", "ada@corp.example", "invitation")
    mailing("user", "disable", "ada@corp.example")
    refused = mailing.call("POST", where, admin)
    assert (refused.status, refused.json["error"]) == (422, "invalid")
    mailing("user", "remove", "ada@corp.example")
    assert mailing.call("POST", where, admin).status == 404


def test_without_a_smarthost_the_setting_is_named(served, admin):
    """Before a user is added, too."""
    refused = served.call("POST", path("users", 1, "invitation"), admin)
    assert (refused.status, refused.json["error"]) == (409, "conflict")
    assert "notices.smarthost" in refused.json["detail"]
    new = {"name": "Cy", "email": "cy@corp.example", "invite": True}
    assert served.call("POST", path("users"), admin, new).status == 409
    assert served.call("GET", path("users", "cy@corp.example"), admin).status == 404


def test_a_new_user_is_invited_at_once(mailing):
    """By who may invite alone."""
    new = {"name": "Cy", "email": "cy@corp.example", "invite": True}
    writer = mailing.token("writer", "users:read", "users:write")
    refused = mailing.call("POST", path("users"), writer, new)
    assert (refused.status, refused.json["error"]) == (403, "not_allowed")
    inviter = mailing.token("inviter", "users:read", "users:write", "users:invite")
    made = mailing.call("POST", path("users"), inviter, new)
    assert (made.status, made.json["sign_in"]) == (201, "invited")
    (notice,) = mailing.json("notices", "list")
    assert notice["recipient"] == "cy@corp.example"


# ------------------------------------------------------------------ sessions


def test_sessions_are_listed_and_ended(served, admin):
    """One, and all; each end holds in the browser at once, and is in the history."""
    links = [
        served.json("user", "link", "ada@corp.example")[0]["sign_in_link"]
        for _ in range(1)
    ]
    ada = signed_in(served, links[0])
    more = [Browser(served.port) for _ in range(2)]
    for browser in more:
        browser.get("/sign-in")
        status = browser.post("/sign-in", address="ada@corp.example", password=PASSWORD)
        assert status == 303
    where = path("users", "ada@corp.example", "sessions")
    rows = served.call("GET", where, admin).json["items"]
    assert [row["method"] for row in rows] == ["link", "password", "password"]
    ids, cursor = [], None
    while True:
        asked = {"limit": 1} | ({"cursor": cursor} if cursor else {})
        answer = served.call("GET", where, admin, **asked).json
        ids += [row["id"] for row in answer["items"]]
        cursor = answer["next"]
        if cursor is None:
            break
    assert ids == [row["id"] for row in rows]
    assert all("hash" not in row and "secret" not in row for row in rows)
    assert {
        row["id"] for row in served.json("user", "sessions", "ada@corp.example")
    } == (set(ids))
    assert served.call("DELETE", f"{where}/{ids[0]}", admin).status == 204
    assert ada.get("/account") == 303
    assert served.call("DELETE", f"{where}/{ids[0]}", admin).status == 404
    assert all(browser.get("/account") == 200 for browser in more)
    served("user", "sign-out", "ada@corp.example", "--session", str(ids[1]))
    ended = served.call("DELETE", where, admin)
    assert (ended.status, ended.json) == (200, {"ended": 1})
    assert all(browser.get("/account") == 303 for browser in more)
    assert served.call("DELETE", where, admin).json == {"ended": 0}
    actions = [
        row["action"] for row in served.json("history", "--change", "session_end")
    ]
    assert actions == ["session_end", "session_end", "session_end_all"]


def test_sessions_are_ones_own(served, admin):
    """A rep and a monitor see and end their own; an admin's token anybody's."""
    scopes = ("users:read", "sessions:read", "sessions:write")
    ada = served.token("ada", *scopes, user="ada@corp.example")
    mona = served.token("mona", *scopes, user="mona@corp.example")
    link = served.json("user", "link", "bob@corp.example")[0]["sign_in_link"]
    bob = signed_in(served, link)
    theirs = path("users", "bob@corp.example", "sessions")
    (row,) = served.call("GET", theirs, admin).json["items"]
    for who in (ada, mona):
        for method, where in (
            ("GET", theirs),
            ("DELETE", theirs),
            ("DELETE", f"{theirs}/{row['id']}"),
        ):
            refused = served.call(method, where, who)
            assert (refused.status, refused.json["error"]) == (403, "not_yours")
    own = path("users", "ada@corp.example", "sessions")
    assert served.call("GET", own, ada).json == {"items": [], "next": None}
    # Another's number under one's own name opens nothing.
    assert served.call("DELETE", f"{own}/{row['id']}", ada).status == 404
    assert bob.get("/account") == 200
