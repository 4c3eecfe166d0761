"""Signing in with a real browser: password, code app, passkey, on a phone, too."""

from __future__ import annotations

import re
from urllib.parse import urlsplit
from urllib.request import urlopen

import pyotp
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import (
    PASSWORD,
    PEOPLE,
    Desk,
    check_accessibility,
    check_width,
)


@pytest.fixture(scope="module")
def desk(tmp_path_factory, chromium):
    """A relay that is reached under a name: browsers make no passkeys for addresses."""
    made = Desk(tmp_path_factory.mktemp("desk"), chromium)
    made.url = f"http://localhost:{made.port}"
    # The port is bound before the process behind it answers.
    with urlopen(f"http://127.0.0.1:{made.port}/sign-in", timeout=120) as answer:
        assert answer.status == 200
    yield made
    made.stop()


def link_of(desk, who, *options):
    (row,) = desk.json("user", "link", PEOPLE[who][1], *options)
    return urlsplit(row["sign_in_link"]).path


def set_password(page, link):
    page.goto(link)
    page.get_by_label("New password").fill(PASSWORD)
    page.get_by_label("The same password again").fill(PASSWORD)
    page.keyboard.press("Enter")


def sign_in(page, who):
    page.goto("/sign-in")
    page.get_by_label("E-mail address").fill(PEOPLE[who][1])
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")


def sign_out(page):
    page.goto("/account")
    page.locator("details.me summary").click()
    page.locator("details.me").get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_a_new_user_comes_in_by_link_and_then_by_password(desk, view):
    """The pages can be read by everybody and fit a phone."""
    with desk.visit(None, view) as page:
        page.goto("/")
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        check_accessibility(page)
        check_width(page)
        link = link_of(desk, "bob")
        page.goto(link)
        check_accessibility(page)
        check_width(page)
        set_password(page, link)
        page.wait_for_url(f"{desk.url}/")
        page.goto("/account")
        expect(page.get_by_role("heading", name="My account")).to_be_visible()
        check_accessibility(page)
        check_width(page)
        sign_out(page)
        page.get_by_label("E-mail address").fill(PEOPLE["bob"][1])
        page.get_by_label("Password").fill("not this one, no")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert").first).to_contain_text("do not fit")
        page.get_by_label("Password").fill(PASSWORD)
        page.keyboard.press("Enter")
        page.wait_for_url(f"{desk.url}/")
        page.goto(link)
        expect(page.get_by_role("heading", name="does not work")).to_be_visible()


def test_a_code_app_is_added_and_asked_for(desk):
    """With the QR code, the recovery codes, and the second step."""
    with desk.visit(None) as page:
        set_password(page, link_of(desk, "ada", "--without-factors"))
        page.wait_for_url(f"{desk.url}/")
        page.goto("/account")
        page.get_by_role("button", name="Add a code app").click()
        expect(page.locator(".qr svg")).to_be_visible()
        check_accessibility(page)
        secret = page.locator("code").inner_text().replace(" ", "")
        page.get_by_label("Code of your app").fill(pyotp.TOTP(secret).now())
        page.keyboard.press("Enter")
        expect(page.locator(".codes code")).to_have_count(10)
        check_accessibility(page)
        code = page.locator(".codes code").first.inner_text()
        sign_out(page)
        sign_in(page, "ada")
        page.wait_for_url(re.compile("/sign-in/second"))
        check_accessibility(page)
        page.get_by_label("Code of your app").fill(code)
        page.keyboard.press("Enter")
        page.wait_for_url(f"{desk.url}/")
        page.goto("/account")
        expect(page.get_by_text("9 recovery codes left")).to_be_visible()


def test_a_passkey_signs_in_alone_and_as_second_factor(desk):
    """With a device of the browser's own that checks who holds it."""
    with desk.visit(None) as page:
        device = page.context.new_cdp_session(page)
        device.send("WebAuthn.enable")
        added = device.send(
            "WebAuthn.addVirtualAuthenticator",
            {
                "options": {
                    "protocol": "ctap2",
                    "transport": "internal",
                    "hasResidentKey": True,
                    "hasUserVerification": True,
                    "isUserVerified": True,
                    "automaticPresenceSimulation": True,
                }
            },
        )
        set_password(page, link_of(desk, "root", "--without-factors"))
        page.wait_for_url(f"{desk.url}/")
        page.goto("/account")
        page.get_by_label("Name of the passkey").fill("my <laptop>")
        page.get_by_role("button", name="Add a passkey").click()
        expect(page.get_by_text("The passkey is added.")).to_be_visible()
        expect(page.get_by_text("my <laptop>")).to_be_visible()
        check_accessibility(page)
        # The same device is not added twice.
        page.get_by_role("button", name="Add a passkey").click()
        expect(page.get_by_text("The browser gave no passkey.")).to_be_visible()
        sign_out(page)
        page.get_by_role("button", name="Sign in with a passkey").click()
        page.wait_for_url(f"{desk.url}/")
        sign_out(page)
        sign_in(page, "root")
        page.wait_for_url(re.compile("/sign-in/second"))
        page.get_by_role("button", name="Use a passkey").click()
        page.wait_for_url(f"{desk.url}/")
        sign_out(page)
        # A device that does not check who holds it is not enough by itself.
        device.send(
            "WebAuthn.setUserVerified",
            {"authenticatorId": added["authenticatorId"], "isUserVerified": False},
        )
        page.get_by_role("button", name="Sign in with a passkey").click()
        expect(page.get_by_text("The browser gave no passkey.")).to_be_visible()
        history = [
            row["after"]["by"]
            for row in desk.json("history", "--change", "sign_in")
            if row["user"] == PEOPLE["root"][1] and row["after"]
        ]
        assert history[-2:] == ["passkey", "password, passkey"]


def test_without_scripts_a_password_is_enough(desk):
    """Nothing of the sign-in needs a script but passkeys, which are not shown."""
    with desk.visit(None, java_script_enabled=False) as page:
        set_password(page, link_of(desk, "mona"))
        page.wait_for_url(f"{desk.url}/")
        page.goto("/account")
        expect(page.get_by_role("heading", name="My account")).to_be_visible()
        expect(page.get_by_role("button", name="Add a passkey")).to_be_hidden()
