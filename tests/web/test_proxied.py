"""The relay behind proxies, over real sockets: below a path, for many addresses."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest
from starlette.routing import Route

from relay.accounts.service import OF_PAIR
from relay.config.values import OWN_PATHS
from relay.web.api.gate import GUESSES
from tests.web.conftest import make_served, path
from tests.web.pages.test_sign_in import PASSWORD, Browser

pytestmark = pytest.mark.timeout(120)

HOST = {"X-Forwarded-Proto": "https", "Host": "crm.example.com"}


@pytest.fixture
def relay(tmp_path):
    """A relay behind two proxies, below a path, with an administrator Root."""
    made = make_served(tmp_path)
    text = made.config.read_text("utf-8")
    more = (
        'trusted_proxies = ["127.0.0.1", "10.0.0.0/8"]\nbase_path = "/relay"\n'
        'public_url = "https://crm.example.com"\n'
    )
    made.config.write_text(text + more, "utf-8")
    (row,) = made.json(
        "user", "add", "Root", "--email", "root@corp.example", "--role", "admin"
    )
    made.start()
    first = Browser(made.port, headers=HOST)
    link = urlsplit(row["sign_in_link"]).path
    assert first.get(link) == 200
    assert first.post(link, password=PASSWORD, again=PASSWORD) == 303
    yield made
    made.stop()


def from_(address):
    """Return the header of a client behind both proxies, which write ports."""
    return {"X-Forwarded-For": f"6.6.6.6, {address}, 10.0.0.9:4711"}


def test_no_page_begins_as_a_base_path_may(relay):
    """What the settings refuse as a base path is what the listener answers to."""
    first = {
        route.path.split("/")[1] if isinstance(route, Route) else "api"
        for route in relay.routes
    }
    assert first - {""} == set(OWN_PATHS)


def test_the_sign_in_goes_on_below_the_base_path(relay):
    """To the page that was asked for; to no other site, however it is written."""
    browser = Browser(relay.port, headers=HOST)
    assert browser.get("/relay/log?q=a") == 303
    assert browser.location == "/relay/sign-in?next=/log%3Fq%3Da"
    sent = {"address": "root@corp.example", "password": PASSWORD}
    for wanted, to in (
        ("/log?q=a", "/relay/log?q=a"),
        ("//evil.example", "/relay/"),
        ("/\\evil.example", "/relay/"),
        ("/relay//evil.example", "/relay/relay//evil.example"),
        ("https://evil.example/relay/", "/relay/"),
    ):
        browser.cookies.clear()
        assert browser.get("/relay/sign-in") == 200
        assert browser.post("/relay/sign-in", next=wanted, **sent) == 303
        assert browser.location == to
        assert urlsplit(browser.location).netloc == ""


def test_wrong_passwords_count_for_a_network(relay):
    """A customer has 2 to the 64 addresses of IPv6: they count as one."""
    sent = {"address": "root@corp.example", "password": "not this one, no"}

    def tried(address):
        browser = Browser(relay.port, headers=HOST | from_(address))
        browser.get("/relay/sign-in")
        return browser.post("/relay/sign-in", **sent)

    mine = [tried(f"[2001:db8:1:2::{n}]:{4000 + n}") for n in range(1, OF_PAIR + 1)]
    assert mine == [403] * OF_PAIR
    assert tried("2001:db8:1:2:ffff::9") == 429
    assert tried("2001:db8:1:3::1") == 403
    assert tried("203.0.113.7:5") == 403


def test_wrong_tokens_count_for_a_network(relay):
    """The same, of the API."""
    wrong = {"Authorization": "Bearer relay_wrong"}

    def tried(address):
        return relay.call("GET", path("users"), wrong | from_(address)).status

    statuses = [tried(f"2001:db8:1:2::{n:x}") for n in range(1, 500)]
    assert statuses[:GUESSES] == [401] * GUESSES
    # A slow machine lets some tries grow back meanwhile.
    assert 429 in statuses
    assert tried("2001:db8:1:3::1") == 401


def test_links_of_mails_and_calendars_lead_below_the_base_path(relay):
    """What is opened elsewhere has the whole address."""
    browser = Browser(relay.port, headers=HOST)
    browser.get("/relay/sign-in")
    sent = {"address": "root@corp.example", "password": PASSWORD}
    assert browser.post("/relay/sign-in", **sent) == 303
    browser.get("/relay/reminders")
    asked = {"name": "Call", "due": "today", "back": "/reminders"}
    assert browser.post("/relay/reminders/add", **asked) == 303
    browser.get("/relay/reminders/calendar")
    assert browser.post("/relay/reminders/calendar") == 200
    (feed,) = set(re.findall(r"https://crm[^\s<\"]*?\.ics", browser.page))
    assert feed.startswith("https://crm.example.com/relay/reminders/feed/")
    calendar = relay.call("GET", urlsplit(feed).path, HOST)
    assert calendar.status == 200
    lines = calendar.data.decode().replace("\r\n ", "")
    assert re.search(r"\r\nURL:https://crm\.example\.com/relay/reminders/\w", lines)
