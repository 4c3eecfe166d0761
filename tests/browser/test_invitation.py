"""An invitation from the page of people to the first sign-in, with a real mail."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import (
    PASSWORD,
    VIEWS,
    Desk,
    check_accessibility,
    check_width,
)
from tests.fakes.smarthost import running_smarthost

LINK = re.compile(r"http://\S+/sign-in/link/[\w-]+")


@pytest.fixture(scope="module")
def smarthost():
    """A mail server that takes what the relay sends."""
    with running_smarthost() as host:
        yield host


@pytest.fixture(scope="module")
def desk(tmp_path_factory, chromium, smarthost):
    """A relay that sends its notices there."""
    made = Desk(
        tmp_path_factory.mktemp("desk"),
        chromium,
        web__public_url="http://localhost",
        notices__smarthost=f"127.0.0.1:{smarthost.port}",
        notices__tls="none",
        notices__from_address="relay@corp.example",
    )
    yield made
    made.stop()


def test_an_invited_user_signs_in(desk, smarthost):
    """In their language; the link opens in another browser, once; the state follows."""
    email = "kim@corp.example"
    with desk.visit("root") as page:
        page.goto("/people/new")
        page.get_by_label("Name", exact=True).fill("Kim Lee")
        page.get_by_label("E-mail address").fill(email)
        page.get_by_label("Mail the user a link to sign in").uncheck()
        check_accessibility(page)
        page.get_by_role("button", name="Add", exact=True).click()
        page.get_by_role("heading", name="Kim Lee").wait_for()
        page.locator("#edit").get_by_label("Language").select_option("sv")
        page.locator("#edit").get_by_role("button", name="Save").click()
        page.get_by_text("Saved: language.").wait_for()
        desk.do(desk.relay.heed)
        card = page.locator("#console")
        expect(card.get_by_text("not invited")).to_be_visible()
        card.get_by_role("button", name="Mail a link to sign in").click()
        page.get_by_text(f"A link to sign in is mailed to {email}.").wait_for()
        expect(
            page.locator("#console").get_by_text("invited", exact=True)
        ).to_be_visible()
        check_accessibility(page)
        check_width(page)
        assert smarthost.taken.wait(60)
        (mail,) = smarthost.messages
        assert mail["To"] == email
        assert mail["Subject"] == "Din inbjudan till reläets konsol"
        text = mail.get_body(("plain",)).get_content()
        link = urlsplit(LINK.search(text)[0]).path
        with desk.visit(None, "phone") as guest:
            guest.goto(link)
            guest.get_by_label("New password").fill(PASSWORD)
            guest.get_by_label("The same password again").fill(PASSWORD)
            guest.get_by_role("button", name="Set password and sign in").click()
            guest.wait_for_url(f"{desk.url}/")
            page.reload()
            card = page.locator("#console")
            expect(card.get_by_text("signed in", exact=True)).to_be_visible()
            card.get_by_role("button", name="Sign out", exact=True).click()
            page.get_by_text("That browser is signed out.").wait_for()
            guest.goto("/account")
            guest.wait_for_url(re.compile("/sign-in"))
            guest.goto(link)
            expect(guest.get_by_role("heading", name="does not work")).to_be_visible()
    assert link.rpartition("/")[2] not in desk.relay.output()


def test_a_link_is_handed_over(desk):
    """It is shown on a page of its own, and not again."""
    with desk.visit("root", viewport=VIEWS["phone"]["viewport"]) as page:
        page.goto("/people?q=bob")
        page.get_by_role("link", name="Bob Stone").click()
        page.locator("#console").get_by_role("button", name="Show a link once").click()
        page.get_by_role("dialog").get_by_role("button", name="Go on").click()
        page.get_by_role("heading", name="Link to sign in").wait_for()
        check_accessibility(page)
        check_width(page)
        link = LINK.search(page.inner_text("main"))[0]
        page.get_by_role("link", name="Done").click()
        page.get_by_role("heading", name="Bob Stone").wait_for()
        assert link not in page.content()
