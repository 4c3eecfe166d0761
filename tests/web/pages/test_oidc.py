"""Signing in by OpenID Connect, against a provider on loopback that checks, too."""

from __future__ import annotations

import http.client
from urllib.parse import urlsplit

import pytest

from relay.config import load
from relay.core.errors import ConfigError
from relay.web.pages.guard import COOKIE
from tests.fakes.oidc import CLIENT, SECRET, Provider
from tests.web.conftest import make_served
from tests.web.pages.test_sign_in import Browser, actions

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def provider():
    made = Provider()
    yield made
    made.stop()


def served_with(folder, provider, more=""):
    relay = make_served(folder)
    text = relay.config.read_text("utf-8")
    section = (
        f'\n[oidc]\nissuer = "{provider.issuer}"\nname = "Example"\n'
        f'client_id = "{CLIENT}"\nclient_secret = "{SECRET}"\n{more}'
    )
    relay.config.write_text(
        text + 'public_url = "http://localhost:1"\n' + section, "utf-8"
    )
    provider.redirect = "http://localhost:1/sign-in/oidc/back"
    relay("user", "add", "Ada Byron", "--email", "ada@corp.example")
    relay.start()
    return relay


@pytest.fixture
def relay(tmp_path, provider):
    made = served_with(tmp_path, provider)
    yield made
    made.stop()


def to_provider(browser, query=""):
    """Go to the provider and sign in there; return the path that it sends back to."""
    assert browser.get(f"/sign-in/oidc{query}") == 303
    url = urlsplit(browser.location)
    connection = http.client.HTTPConnection(url.netloc, timeout=20)
    connection.request("GET", f"{url.path}?{url.query}")
    answer = connection.getresponse()
    back = urlsplit(answer.headers["Location"])
    connection.close()
    return f"{back.path}?{back.query}"


def test_a_verified_address_signs_in(relay, provider):
    """There and back again, and on to the page that was asked for."""
    browser = Browser(relay.port)
    browser.get("/sign-in")
    assert "Sign in with Example" in browser.page
    back = to_provider(browser, "?next=/account")
    state = browser.attributes["relay_oidc"]
    assert "HttpOnly" in state
    assert "Path=/sign-in/oidc/back" in state
    assert browser.get(back) == 303
    assert browser.location == "/account"
    assert list(browser.cookies) == [COOKIE]
    assert browser.get("/account") == 200
    assert "another site" in browser.page
    assert "sign_in" in actions(relay, "ada@corp.example")


@pytest.mark.parametrize(
    "faults",
    [
        {"claims": {"email_verified": False}},
        {"claims": {"email_verified": None}},
        {"claims": {"email": "nobody@corp.example"}},
        {"claims": {"email": None}},
        {"claims": {"nonce": "another"}},
        {"claims": {"nonce": None}},
        {"claims": {"aud": "another-client"}},
        {"claims": {"aud": [CLIENT, "another-client"]}},
        {"claims": {"azp": "another-client"}},
        {"claims": {"iss": "https://evil.example"}},
        {"claims": {"exp": 1_000_000}},
        {"claims": {"exp": None}},
        {"claims": {"sub": None}},
        {"foreign_key": True},
        {"symmetric": True},
        {"unsigned": True},
        {"answer": {"state": "another"}},
        {"answer": {"iss": "https://evil.example"}},
        {"answer": {"code": "guessed"}},
    ],
    ids=str,
)
def test_what_does_not_hold_signs_nobody_in(relay, provider, faults):
    """Each check of the ID token and of the answer, by itself."""
    browser = Browser(relay.port)
    provider.faults = faults
    assert browser.get(to_provider(browser)) == 403
    assert COOKIE not in browser.cookies
    assert "did not work" in browser.page
    provider.faults = {}
    assert browser.get(to_provider(browser)) == 303


def test_an_answer_works_once_in_its_browser_alone(relay, provider):
    """A link that somebody else began signs nobody in (login CSRF)."""
    browser, victim = Browser(relay.port), Browser(relay.port)
    back = to_provider(browser)
    assert victim.get(back) == 403
    cookie = browser.cookies["relay_oidc"]
    assert browser.get(back) == 303
    browser.cookies["relay_oidc"] = cookie
    assert browser.get(back) == 403
    late = to_provider(browser)
    with relay.clock_moved(601):
        assert browser.get(late) == 403
    forged = to_provider(browser)
    browser.cookies["relay_oidc"] = "x" + browser.cookies["relay_oidc"]
    assert browser.get(forged) == 403
    assert browser.get("/sign-in/oidc/back?error=access_denied") == 403
    back = to_provider(browser, "?next=//evil.example")
    assert browser.get(back) == 303
    assert browser.location == "/"


def test_claims_may_stand_in_the_userinfo(relay, provider):
    """Of the same subject alone."""
    provider.claims = {"sub": "7"}
    told = {"email": "ada@corp.example", "email_verified": True}
    browser = Browser(relay.port)
    provider.userinfo = {"sub": "8"} | told
    assert browser.get(to_provider(browser)) == 403
    provider.userinfo = {"sub": "7"} | told
    assert browser.get(to_provider(browser)) == 303


def test_a_provider_may_be_down_or_change_its_key(relay, provider):
    """It is asked again, and the page says that it does not answer."""
    browser = Browser(relay.port)
    provider.faults = {"down": True}
    assert browser.get("/sign-in/oidc") == 502
    provider.faults = {"document": {"issuer": "https://evil.example"}}
    assert browser.get("/sign-in/oidc") == 502
    provider.faults = {}
    assert browser.get(to_provider(browser)) == 303
    provider.new_key()
    assert browser.get(to_provider(browser)) == 303


def test_who_is_disabled_stays_out(relay, provider):
    """Whatever the provider says."""
    relay("user", "disable", "ada@corp.example")
    browser = Browser(relay.port)
    assert browser.get(to_provider(browser)) == 403


def test_subjects_and_trusted_addresses(tmp_path, provider):
    """An administrator may name subjects, or trust a tenant's addresses."""
    more = (
        'subjects = ["42: ada@corp.example"]\nclaim = "upn"\ntrust_addresses = true\n'
    )
    relay = served_with(tmp_path, provider, more)
    try:
        browser = Browser(relay.port)
        provider.claims = {"sub": "42"}
        provider.userinfo = {"sub": "42"}
        assert browser.get(to_provider(browser)) == 303
        provider.claims = {"sub": "43", "upn": "ADA@corp.example"}
        provider.userinfo = {"sub": "43"}
        assert browser.get(to_provider(browser)) == 303
        provider.claims = {"sub": "43", "upn": "bob@corp.example"}
        assert browser.get(to_provider(browser)) == 403
    finally:
        relay.stop()


def test_another_claim_than_email_is_not_verified(tmp_path, provider):
    """What is said to be verified is the claim email, not a name that one chooses."""
    relay = served_with(tmp_path, provider, 'claim = "preferred_username"\n')
    try:
        browser = Browser(relay.port)
        provider.claims = {
            "sub": "43",
            "email": "mallory@corp.example",
            "email_verified": True,
            "preferred_username": "ada@corp.example",
        }
        assert browser.get(to_provider(browser)) == 403
        assert COOKIE not in browser.cookies
    finally:
        relay.stop()


def test_a_missing_library_is_named(tmp_path, monkeypatch):
    """With what to install."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("relay.config.oidc.find_spec", lambda _name: None)
    wanted = {"RELAY_OIDC__ISSUER": "https://a.example", "RELAY_OIDC__CLIENT_ID": "x"}
    with pytest.raises(ConfigError, match=r"install relay-to-salesforce\[oidc\]"):
        load(environ=wanted)


def test_without_a_provider_there_is_no_way_to_one(tmp_path):
    """The pages say that there is no such page."""
    relay = make_served(tmp_path)
    relay.start()
    try:
        browser = Browser(relay.port)
        assert browser.get("/sign-in/oidc") == 404
        assert browser.get("/sign-in/oidc/back") == 404
    finally:
        relay.stop()


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("ISSUER", "https://login.example.com", "oidc.client_id"),
        ("ISSUER", "http://login.example.com", "loopback"),
        ("ISSUER", "login.example.com", "https://"),
        ("SUBJECTS", "42", "pair"),
    ],
)
def test_mistakes_of_the_settings_are_named(tmp_path, monkeypatch, key, value, text):
    """Before anything is served."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=text):
        load(environ={f"RELAY_OIDC__{key}": value})
