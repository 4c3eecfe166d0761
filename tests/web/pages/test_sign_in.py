"""Signing in over real HTTP: cookies, links, foreign forms, roles that change."""

from __future__ import annotations

import http.client
import re
import time
from http.cookies import SimpleCookie
from urllib.parse import urlencode, urlsplit

import pytest

from relay.web.pages.guard import COOKIE, SECURE_COOKIE
from relay.web.pages.render import HEADERS
from tests.web.conftest import make_served

pytestmark = pytest.mark.timeout(120)

PASSWORD = "four words are enough"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
OURS = {"Sec-Fetch-Site": "same-origin"}


class Browser:
    """A browser as far as cookies, forms and redirects go; it reads no script."""

    def __init__(self, port, *, agent="Firefox", headers=None):
        self.port = port
        self.cookies = {}
        self.headers = {"User-Agent": agent, **(headers or {})}
        self.page = ""
        self.attributes = {}

    def ask(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        sent = self.headers | (headers or {})
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{k}={v}" for k, v in self.cookies.items())
        try:
            connection.request(method, path, body, sent)
            found = connection.getresponse()
            self.page = found.read().decode()
        finally:
            connection.close()
        self.status, self.answer = found.status, found.headers
        for line in found.headers.get_all("Set-Cookie") or []:
            for name, morsel in SimpleCookie(line).items():
                self.attributes[name] = line
                if morsel["max-age"] == "0":
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = morsel.value
        for name, value in HEADERS.items():
            assert found.headers[name] == value, (path, name)
        return self.status

    def get(self, path, **headers):
        return self.ask("GET", path, headers=headers)

    def post(self, path, headers=OURS, **fields):
        """Send a form of ours with the token of the page that was read last."""
        token = re.search(r'name="csrf" value="([^"]*)"', self.page)
        fields = {"csrf": token[1] if token else ""} | fields
        return self.ask("POST", path, urlencode(fields), FORM | headers)

    def sign_in(self, address="root@corp.example", password=PASSWORD, **fields):
        self.get("/sign-in")
        return self.post("/sign-in", address=address, password=password, **fields)

    @property
    def location(self):
        return self.answer["Location"]


@pytest.fixture
def relay(tmp_path):
    """A relay with an administrator Root, who has a password, and Ada."""
    made = make_served(tmp_path)
    (row,) = made.json(
        "user", "add", "Root", "--email", "root@corp.example", "--role", "admin"
    )
    made("user", "add", "Ada Byron", "--email", "ada@corp.example")
    made.start()
    link = urlsplit(row["sign_in_link"]).path
    first = Browser(made.port)
    assert first.get(link) == 200
    assert first.post(link, password=PASSWORD, again=PASSWORD) == 303
    made.first = first
    yield made
    made.stop()


@pytest.fixture
def browser(relay):
    return Browser(relay.port)


def link_of(relay, who):
    (row,) = relay.json("user", "link", who)
    return urlsplit(row["sign_in_link"]).path


def actions(relay, who, change=""):
    rows = relay.json("history", who, *(["--change", change] if change else []))
    return [row["action"] for row in rows]


def test_from_the_link_to_the_password_and_out_again(relay, browser):
    """The whole way of a new user, and its lines in the history."""
    assert browser.get("/") == 303
    assert browser.location == "/sign-in"
    link = link_of(relay, "ada@corp.example")
    # Whatever opens the link, it is not used up.
    assert [browser.get(link) for _ in range(3)] == [200] * 3
    assert "ada@corp.example" in browser.page
    assert browser.post(link, password="too short", again="too short") == 422
    assert browser.post(link, password=PASSWORD, again="another one here") == 422
    assert browser.post(link, password="adabyron1234", again="adabyron1234") == 422
    assert browser.post(link, password=PASSWORD, again=PASSWORD) == 303
    assert browser.get("/") == 200
    assert "ada@corp.example" in browser.page
    assert browser.post("/sign-out") == 303
    assert browser.cookies == {}
    assert browser.get("/") == 303
    assert browser.sign_in("ada@corp.example") == 303
    assert browser.get("/") == 200
    assert actions(relay, "ada@corp.example") == [
        "user_add",
        "sign_in_link",
        "password_set",
        "sign_in",
        "sign_out",
        "sign_in",
    ]


def test_a_link_that_was_used_is_refused(relay, browser):
    """By GET and by POST, and so is one that nobody made."""
    link = link_of(relay, "ada@corp.example")
    browser.get(link)
    assert browser.post(link, password=PASSWORD, again=PASSWORD) == 303
    other = Browser(relay.port)
    assert other.get(link) == 410
    assert (
        other.post(link, password="another good one", again="another good one") == 410
    )
    assert other.sign_in("ada@corp.example", "another good one") == 403
    assert other.get("/sign-in/link/nobody-made-this") == 410
    stale = link_of(relay, "ada@corp.example")
    fresh = link_of(relay, "ada@corp.example")
    assert other.get(stale) == 410
    assert other.get(fresh) == 200
    with relay.clock_moved(86_400):
        assert other.get(fresh) == 410


def test_the_cookie_cannot_be_read_or_sent_by_others(relay, browser):
    """Its attributes, over HTTP on loopback and behind a proxy with TLS."""
    browser.sign_in()
    line = browser.attributes[COOKIE]
    assert "HttpOnly" in line
    assert "samesite=lax" in line.lower()
    assert "Path=/" in line
    assert "Domain" not in line
    assert "Max-Age" not in line
    assert len(browser.cookies[COOKIE]) == 43
    kept = relay.in_store(lambda store: store.accounts.sessions(1))
    assert browser.cookies[COOKIE] not in repr(kept)


def test_a_cookie_from_before_the_sign_in_is_worth_nothing(relay, browser):
    """Session fixation: who planted a cookie is not signed in with it."""
    browser.cookies[COOKIE] = planted = "a" * 43
    browser.sign_in()
    assert browser.cookies[COOKIE] != planted
    attacker = Browser(relay.port)
    attacker.cookies[COOKIE] = planted
    assert attacker.get("/account") == 303
    first = browser.cookies[COOKIE]
    # From a page that was open before; who is signed in goes on from the form.
    assert browser.get("/sign-in") == 303
    sent = {"address": "root@corp.example", "password": PASSWORD}
    assert browser.post("/sign-in", **sent) == 303
    assert browser.cookies[COOKIE] != first
    attacker.cookies[COOKIE] = first
    assert attacker.get("/account") == 303


def test_forms_of_other_sites_change_nothing(relay, browser):
    """By origin, by what the browser says of the site, and by the token."""
    browser.sign_in()
    browser.get("/account")
    end = "/account/sessions/end"
    here = f"http://127.0.0.1:{relay.port}"
    foreign = [
        {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "same-site", "Origin": f"http://127.0.0.1:{relay.port + 1}"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"HX-Request": "true"},
        {"Referer": f"{here}/account"},
        {},
    ]
    page = browser.page
    for headers in foreign:
        browser.page = page
        assert browser.post(end, headers=headers) == 403, headers
    browser.page = page
    assert browser.post(end, csrf="") == 403
    assert browser.post(end, csrf="0" * 64) == 403
    assert browser.ask("POST", end, "", FORM | OURS) == 403
    assert (
        browser.ask("POST", end, "{}", {"Content-Type": "application/json"} | OURS)
        == 403
    )
    other = Browser(relay.port)
    other.sign_in()
    other.get("/account")
    browser.page = other.page
    assert browser.post(end) == 403
    assert "session_end_all" not in actions(relay, "root@corp.example")
    for headers in (OURS, {"Origin": here}, OURS | {"Origin": "null"}):
        browser.page = page
        assert browser.post(end, headers=headers) == 303, headers
    # A sign-in in somebody else's name is a change, too.
    stranger = Browser(relay.port)
    stranger.get("/sign-in")
    sent = {"address": "root@corp.example", "password": PASSWORD}
    assert stranger.post("/sign-in", headers=foreign[0], **sent) == 403
    assert stranger.cookies == {}


def test_forms_are_bounded(relay, browser):
    """A stranger may send little, and nobody a body without a length."""
    browser.get("/sign-in")
    assert browser.post("/sign-in", address="a", password="x" * 70_000) == 403
    assert "too large" in browser.page
    chunks = (b"address=" + b"a" * 1000 for _ in range(3))
    assert browser.ask("POST", "/sign-in", chunks, FORM | OURS) == 403
    big = {"Content-Length": "999999999", **FORM, **OURS}
    assert browser.ask("POST", "/sign-in", b"", big) == 403
    odd = {"Content-Type": "multipart/form-data; boundary=x"} | OURS
    assert browser.ask("POST", "/sign-in", b"--x\r\nnonsense", odd) in {400, 403}
    browser.sign_in()
    browser.get("/account")
    assert browser.post("/account/you", language="", time_zone="x" * 70_000) == 422


def test_the_answer_does_not_tell_who_is_a_user(relay, browser):
    """A wrong password, an unknown address, one without a password, one disabled."""
    relay("user", "add", "Off", "--email", "off@corp.example")
    relay("user", "disable", "off@corp.example")
    pages = set()
    for address in ("root", "nobody", "ada", "off"):
        status = browser.sign_in(f"{address}@corp.example", "not this one, no")
        shown = browser.page.replace(f"{address}@corp.example", "ADDRESS")
        pages.add((status, shown))
    assert len(pages) == 1
    assert browser.cookies == {}
    assert browser.sign_in("not an address at all", "x") == 403


def test_guessing_is_slowed_for_all_processes(relay, browser):
    """The eleventh wrong try waits, with the right password too; not for others."""
    for _ in range(10):
        assert browser.sign_in(password="not this one, no") == 403
    assert browser.sign_in() == 429
    assert int(browser.answer["Retry-After"]) > 600
    assert "15" in browser.page
    relay.stop()
    relay.start()  # Another process: the count is in the store.
    again = Browser(relay.port)
    assert again.sign_in() == 429
    assert again.sign_in("ada@corp.example", "not this one, no") == 403
    with relay.clock_moved(901):
        assert again.sign_in() == 303


def test_a_role_that_changes_holds_with_the_next_request(relay, browser):
    """And the cookie changes with it; who is disabled is out."""
    link = link_of(relay, "ada@corp.example")
    browser.get(link)
    browser.post(link, password=PASSWORD, again=PASSWORD)
    browser.get("/account")
    before = browser.cookies[COOKIE]
    relay("user", "set", "ada@corp.example", "--role", "monitor")
    assert browser.get("/account") == 200
    after = browser.cookies[COOKIE]
    assert after != before
    assert browser.get("/account") == 200
    assert browser.cookies[COOKIE] == after
    thief = Browser(relay.port)
    thief.cookies[COOKIE] = before
    with relay.clock_moved(60):
        assert thief.get("/account") == 303
        assert browser.get("/account") == 200
    relay("user", "disable", "ada@corp.example")
    assert browser.get("/account") == 303
    relay("user", "enable", "ada@corp.example")
    assert browser.get("/account") == 303


def test_sessions_are_shown_and_ended(relay, browser):
    """One by one, all others, and by the administrator; not those of others."""
    browser.sign_in()
    phone = Browser(relay.port, agent="Phone <b>7</b>")
    phone.sign_in()
    ada = Browser(relay.port)
    link = link_of(relay, "ada@corp.example")
    ada.get(link)
    ada.post(link, password=PASSWORD, again=PASSWORD)
    ada.get("/account")
    browser.get("/account")
    assert "Phone &lt;b&gt;7&lt;/b&gt;" in browser.page
    ends = re.findall(r'action="(/account/sessions/\d+/end)"', browser.page)
    assert len(ends) == 2  # The phone, and the browser of the fixture.
    assert ada.post(ends[0]) == 404
    page = browser.page
    for path in ends:
        browser.page = page
        assert browser.post(path) == 303
    assert phone.get("/account") == 303
    assert browser.get("/account") == 200
    relay("user", "sign-out", "root@corp.example")
    assert browser.get("/account") == 303
    assert ada.get("/account") == 200


def test_a_session_ends_by_itself(relay, browser):
    """After eight hours without use."""
    browser.sign_in()
    with relay.clock_moved(8 * 3600 + 1):
        assert browser.get("/account") == 303
    assert browser.get("/account") == 303


def test_a_new_password_needs_the_old_one(relay, browser):
    """And signs other browsers out."""
    browser.sign_in()
    new = "another four good words"
    browser.get("/account")
    path = "/account/password"
    assert browser.post(path, old="no", password=new, again=new) == 403
    assert browser.post(path, old=PASSWORD, password=new, again="other") == 422
    assert browser.post(path, old=PASSWORD, password="short", again="short") == 422
    assert relay.first.get("/account") == 200
    browser.get("/account")
    assert browser.post(path, old=PASSWORD, password=new, again=new) == 303
    assert browser.get("/account") == 200
    assert relay.first.get("/account") == 303
    assert Browser(relay.port).sign_in() == 403
    assert Browser(relay.port).sign_in(password=new) == 303


@pytest.mark.parametrize(
    "wanted",
    [
        "//evil.example",
        "https://evil.example/",
        "/\\evil.example",
        "javascript:alert(1)",
        "/sign-in?next=/",
        "\t//evil.example",
        "//[",
        "evil",
    ],
)
def test_the_sign_in_leads_to_no_other_site(relay, browser, wanted):
    """Whatever stands in the link that somebody was given."""
    assert browser.sign_in(next=wanted) == 303
    assert browser.location == "/"


def test_after_the_sign_in_it_goes_on(relay, browser):
    """To the page that was asked for, with its query."""
    assert browser.get("/account?x=1&y=%26") == 303
    assert browser.get(browser.location) == 200
    assert (
        browser.post(
            "/sign-in",
            address="root@corp.example",
            password=PASSWORD,
            next=re.search(r'name="next" value="([^"]*)"', browser.page)[1].replace(
                "&amp;", "&"
            ),
        )
        == 303
    )
    assert browser.location == "/account?x=1&y=%26"


def test_htmx_is_told_to_change_the_whole_page(relay, browser):
    """A part of a page must not become a sign-in form."""
    assert browser.get("/account", **{"HX-Request": "true"}) == 200
    assert browser.answer["HX-Redirect"] == "/sign-in"
    assert browser.page == ""


class TestBehindAProxy:
    """`web.trusted_proxies`, `web.base_path` and TLS in front."""

    @pytest.fixture
    def relay(self, tmp_path):
        made = make_served(tmp_path)
        text = made.config.read_text("utf-8")
        more = (
            'trusted_proxies = ["127.0.0.1"]\nbase_path = "/relay"\n'
            'public_url = "https://crm.example.com"\n'
        )
        made.config.write_text(text + more, "utf-8")
        (row,) = made.json(
            "user", "add", "Root", "--email", "root@corp.example", "--role", "admin"
        )
        self.link = row["sign_in_link"]
        made.start()
        yield made
        made.stop()

    def test_all_of_it(self, relay):
        """Links have the base path, the cookie is Secure, the client is known."""
        assert self.link.startswith("https://crm.example.com/relay/sign-in/link/")
        path = urlsplit(self.link).path
        proxy = {
            "X-Forwarded-Proto": "https",
            "X-Forwarded-For": "10.9.9.9, 203.0.113.7",
            "Host": "crm.example.com",
        }
        browser = Browser(relay.port, headers=proxy)
        assert browser.get(path) == 200
        assert browser.post(path, password=PASSWORD, again=PASSWORD) == 303
        assert browser.location == "/relay/"
        line = browser.attributes[SECURE_COOKIE]
        assert "Secure" in line
        assert "Path=/;" in line.replace("path=/;", "Path=/;")
        assert browser.get("/relay/account") == 200
        assert browser.get("/account") == 200  # A proxy may take the path off.
        for link in re.findall(r'(?:href|src|action)="(/[^"]*)"', browser.page):
            assert link.startswith("/relay/"), link
        assert "203.0.113.7" in browser.page
        assert "10.9.9.9" not in browser.page
        assert (
            browser.post(
                "/relay/sign-out", headers=OURS | {"Origin": "https://crm.example.com"}
            )
            == 303
        )
        assert browser.location == "/relay/sign-in"
        (row,) = relay.json("history", "--change", "sign_in_link")
        assert row["after"] is None

    def test_an_untrusted_peer_is_not_believed(self, tmp_path):
        """Who is no proxy cannot say where they come from, or that there is TLS."""
        made = make_served(tmp_path)
        (row,) = made.json(
            "user", "add", "Root", "--email", "root@corp.example", "--role", "admin"
        )
        made.start()
        try:
            path = urlsplit(row["sign_in_link"]).path
            lie = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.7"}
            browser = Browser(made.port, headers=lie)
            browser.get(path)
            assert browser.post(path, password=PASSWORD, again=PASSWORD) == 303
            assert list(browser.cookies) == [COOKIE]
            browser.get("/account")
            assert "127.0.0.1" in browser.page
            assert "203.0.113.7" not in browser.page
        finally:
            made.stop()


class TestForgotten:
    """A link by mail, for who has no password or forgot it."""

    @pytest.fixture
    def relay(self, tmp_path):
        made = make_served(tmp_path)
        text = made.config.read_text("utf-8")
        more = (
            'public_url = "http://localhost:1"\n'
            '[notices]\nsmarthost = "127.0.0.1:1"\n'
            'from_address = "relay@corp.example"\n'
        )
        made.config.write_text(text + more, "utf-8")
        made("user", "add", "Ada Byron", "--email", "ada@corp.example")
        made.start()
        yield made
        made.stop()

    def notices(self, relay):
        rows = relay.json("notices", "list")
        return [row for row in rows if row["kind"] == "sign_in_link"]

    def test_it_is_mailed_once_and_says_the_same_to_all(self, relay):
        """Whether there is such a user; a second mail has to wait."""
        browser = Browser(relay.port)
        browser.get("/sign-in")
        assert "/sign-in/forgot" in browser.page
        pages = set()
        for address in ("ada@corp.example", "nobody@corp.example", "no address"):
            assert browser.get("/sign-in/forgot") == 200
            assert browser.post("/sign-in/forgot", address=address) == 200
            pages.add(browser.page)
        assert len(pages) == 1
        deadline = time.monotonic() + 60  # It is planned beside the answer.
        while not self.notices(relay) and time.monotonic() < deadline:
            time.sleep(0.05)
        (row,) = self.notices(relay)
        assert (row["recipient"], row["state"]) == ("ada@corp.example", "planned")
        browser.get("/sign-in/forgot")
        assert browser.post("/sign-in/forgot", address="ada@corp.example") == 200
        for _ in range(10):
            browser.get("/sign-in/forgot")
            browser.post("/sign-in/forgot", address="ada@corp.example")
        assert browser.status == 429
        assert len(self.notices(relay)) == 1


def test_without_mail_nobody_can_ask_for_a_link(relay, browser):
    """The page says whom to ask instead."""
    browser.get("/sign-in")
    assert "Ask your administrator" in browser.page
    assert browser.get("/sign-in/forgot") == 404
    assert browser.post("/sign-in/forgot", address="ada@corp.example") == 404
