"""Second factors over real HTTP: apps, recovery codes, roles that need one."""

from __future__ import annotations

import re
from datetime import timedelta

import pyotp
import pytest

from relay.accounts import Accounts, TooManyTries, WrongPassword
from relay.accounts.factors import Factors, Site
from relay.accounts.sealing import Sealer
from relay.accounts.service import OF_ACCOUNT, Peer
from relay.web.pages.guard import COOKIE
from tests.web.pages.people import add
from tests.web.pages.test_sign_in import (
    PASSWORD,
    Browser,
    actions,
    browser,
    link_of,
    relay,
)

__all__ = ["browser", "relay"]
pytestmark = pytest.mark.timeout(120)


def add_app(browser):
    """Add an app to the account of a browser; return it, and the recovery codes."""
    browser.get("/account")
    assert browser.post("/account/app") == 303
    assert browser.get(browser.location) == 200
    assert "<svg" in browser.page
    secret = re.search(r"<code>([A-Z2-7 ]{32,})</code>", browser.page)[1]
    app = pyotp.TOTP(secret.replace(" ", ""))
    assert browser.post("/account/app/confirm", code="000000") == 403
    before = browser.cookies[COOKIE]
    assert browser.post("/account/app/confirm", code=app.now()) == 200
    assert browser.cookies[COOKIE] != before
    codes = re.findall(r"<code>([a-z2-9-]{19})</code>", browser.page)
    assert len(codes) == 10
    return app, codes


def code_of(app, relay):
    """Return the code that an app shows by the relay's clock."""
    return app.at(relay.clock.now())


def test_a_password_alone_is_half_a_sign_in(relay, browser):
    """Until the code; nothing but the second step can be seen before."""
    other = Browser(relay.port)
    other.sign_in()
    browser.sign_in()
    app, _ = add_app(browser)
    assert browser.get("/account") == 200
    assert browser.get("/account/app") == 303  # The secret is never shown again.
    # Another browser of the user has to show a code now, too.
    assert other.get("/account") == 303
    assert other.location == "/sign-in/second?next=/account"
    phone = Browser(relay.port)
    assert phone.sign_in() == 303
    for path in ("/", "/account", "/log"):
        assert phone.get(path) == 303
        assert phone.location.startswith("/sign-in/second")
    assert phone.get("/sign-in/second?next=/account") == 200
    half = phone.cookies[COOKIE]
    used = code_of(app, relay)
    assert phone.post("/sign-in/second", code=used, next="/account") == 403
    with relay.clock_moved(60):
        code = code_of(app, relay)
        assert phone.post("/sign-in/second", code=f" {code[:3]} {code[3:]} ") == 303
        assert phone.location == "/"
        assert phone.get("/account") == 200
        assert "password and code" in phone.page
        thief = Browser(relay.port)
        thief.cookies[COOKIE] = half
        assert thief.get("/account") == 303
        assert thief.location.startswith("/sign-in?")
        # The same code a second time.
        again = Browser(relay.port)
        again.sign_in()
        again.get("/sign-in/second")
        assert again.post("/sign-in/second", code=code) == 403
        assert again.get("/account") == 303


def test_a_recovery_code_stands_for_the_app_once(relay, browser):
    """However it is typed."""
    browser.sign_in()
    _, codes = add_app(browser)
    for status in (303, 403):
        phone = Browser(relay.port)
        phone.sign_in()
        phone.get("/sign-in/second")
        typed = codes[3].upper().replace("-", " ")
        assert phone.post("/sign-in/second", code=typed) == status
    browser.get("/account")
    assert "9 recovery codes left" in browser.page
    assert browser.post("/account/codes") == 200
    assert codes[4] not in browser.page
    phone.get("/sign-in/second")
    assert phone.post("/sign-in/second", code=codes[4]) == 403
    history = actions(relay, "root@corp.example")
    assert "recovery_code_used" in history
    assert "recovery_codes_add" in history


def test_codes_cannot_be_guessed_through(relay, browser):
    """The eleventh wrong one waits, with the right one too."""
    browser.sign_in()
    app, _ = add_app(browser)
    phone = Browser(relay.port)
    phone.sign_in()
    phone.get("/sign-in/second")
    for _ in range(9):  # One was wrong when the app was added.
        assert phone.post("/sign-in/second", code="000000") == 403
    with relay.clock_moved(60):
        assert phone.post("/sign-in/second", code=code_of(app, relay)) == 429
        assert phone.answer["Retry-After"]
    assert "sign_in_failed" in actions(relay, "root@corp.example")


def test_a_role_may_need_a_second_factor(relay, browser):
    """Who has none may add one, and do nothing else, at once and in open browsers."""
    browser.sign_in()
    assert browser.get("/") == 200
    relay("settings", "set", "web.require_second_factor", "admin,monitor")
    assert browser.get("/") == 303
    assert browser.location == "/account"
    assert browser.get("/account") == 200
    assert "needs a second factor" in browser.page
    assert "/account/password" not in browser.page
    assert browser.post("/account/password", old="x", password="y", again="y") == 303
    add_app(browser)
    assert browser.get("/") == 200
    # A rep needs none.
    rep = Browser(relay.port)
    link = link_of(relay, "ada@corp.example")
    rep.get(link)
    rep.post(link, password=PASSWORD, again=PASSWORD)
    assert rep.get("/") == 200


def test_factors_are_changed_soon_after_a_sign_in_alone(relay, browser):
    """A browser that was left open is not enough."""
    browser.sign_in()
    add_app(browser)
    browser.get("/account")
    page = browser.page
    with relay.clock_moved(1801):
        for path in ("app", "app/confirm", "app/remove", "codes", "passkeys"):
            browser.page = page
            assert browser.post(f"/account/{path}") == 403
            assert "sign out and in again" in browser.page
        assert browser.get("/account") == 200
        assert "/account/app/remove" not in browser.page
    browser.page = page
    assert browser.post("/account/app/remove") == 303
    phone = Browser(relay.port)
    phone.sign_in()
    assert phone.get("/account") == 200


def test_an_administrator_helps_who_lost_the_phone(relay, browser):
    """A link that forgets the factors, too; one without leaves them."""
    browser.sign_in()
    add_app(browser)
    link = link_of(relay, "root@corp.example")
    phone = Browser(relay.port)
    phone.get(link)
    assert phone.post(link, password=PASSWORD, again=PASSWORD) == 303
    assert phone.get("/") == 303
    assert phone.location == "/sign-in/second"
    (row,) = relay.json("user", "link", "root@corp.example", "--without-factors")
    path = "/sign-in" + row["sign_in_link"].partition("/sign-in")[2]
    phone.get(path)
    assert phone.post(path, password=PASSWORD, again=PASSWORD) == 303
    assert (phone.get("/"), phone.location) == (200, None)


def test_a_passkey_of_nobody_signs_nobody_in(relay, browser):
    """Whatever is sent in its place."""
    browser.get("/sign-in")
    for sent in ("", "{}", "[]", "x", "null", '{"id": 1, "response": {}}', "[" * 5000):
        assert browser.post("/sign-in/passkey", credential=sent) == 403
    assert browser.cookies == {}


async def test_a_stranger_cannot_lock_all_passkeys(console):
    """Wrong tries count for the key that they name, from wherever they come."""
    factors = Factors(Accounts(console.store, console.settings), console.store)
    site = Site("relay.test", "https://relay.test")
    for number in range(OF_ACCOUNT):
        with pytest.raises(WrongPassword):
            await factors.by_passkey('{"id": "x"}', site, Peer(f"192.0.2.{number}"))
    with pytest.raises(TooManyTries):
        await factors.by_passkey('{"id": "x"}', site, Peer("198.51.100.1"))
    with pytest.raises(WrongPassword):
        await factors.by_passkey('{"id": "y"}', site, Peer("198.51.100.1"))


def test_language_and_time_zone_are_chosen(relay, browser):
    """They hold at once, and one that does not exist is refused."""
    browser.sign_in()
    browser.get("/account")
    assert browser.post("/account/you", language="sv", time_zone="Mars/Base") == 422
    browser.get("/account")
    sent = {"language": "sv", "time_zone": "Asia/Tokyo"}
    assert browser.post("/account/you", **sent) == 303
    browser.get("/account")
    assert '<html lang="sv"' in browser.page
    assert "Asia/Tokyo" in browser.page
    assert "in.relay.example" in browser.page


async def test_a_secret_is_sealed_at_rest(console):
    """One of before there was a key at its next use; with another key no code fits."""
    store, peer = console.store, Peer("192.0.2.1")
    ada = (await add(store, "Ada")).user
    accounts = Accounts(store, console.settings)
    plain = Factors(accounts, store)
    sealed = Factors(accounts, store, Sealer("a" * 32))
    await plain.begin_app(ada)
    shown, _ = await sealed.new_app(ada)
    app = pyotp.TOTP(shown.replace(" ", ""))
    kept = await store.factors.app_secret(ada.id, confirmed=False)
    assert app.secret not in kept
    codes = await sealed.confirm_app(ada, app.at(store.context.clock.now()), peer)
    later = app.at(store.context.clock.now() + timedelta(seconds=30))
    other = Factors(accounts, store, Sealer("b" * 32))
    for one in (other, plain):
        with pytest.raises(WrongPassword):
            await one.check_code(ada, later, peer)
    assert await other.check_code(ada, codes[0], peer) == "recovery code"
    assert await sealed.check_code(ada, later, peer) == "code"
