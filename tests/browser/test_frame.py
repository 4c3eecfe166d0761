"""The frame of every page: reached by keyboard, read aloud, on any screen."""

from __future__ import annotations

import re

from tests.browser.conftest import check_accessibility, check_width

ZOOMED = {"viewport": {"width": 320, "height": 256}}
ZOOMED = {"viewport": {"width": 320, "height": 256}}


def test_frame_is_accessible_on_each_screen_in_light_and_dark(desk, view):
    for scheme in ("light", "dark"):
        with desk.visit("root", view, color_scheme=scheme) as page:
            for path in ("/", "/log"):
                page.goto(path)
                check_accessibility(page)
                check_width(page)


def test_page_fits_at_400_percent(desk):
    with desk.visit("root", **ZOOMED) as page:
        for path in ("/", "/log"):
            page.goto(path)
            check_width(page)


def test_keyboard_alone_reaches_content_search_and_menu(desk):
    with desk.visit("root") as page:
        page.goto("/")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"
        page.keyboard.press("/")
        assert page.evaluate("document.activeElement.id") == "find"
        page.keyboard.type("state:dead")
        page.keyboard.press("Enter")
        page.wait_for_url("**/log?q=state%3Adead")


def test_menu_opens_on_a_phone(desk):
    with desk.visit("root", "phone") as page:
        page.goto("/")
        link = page.get_by_role("link", name="Mail log")
        assert not link.is_visible()
        page.get_by_role("button", name="Menu").click()
        link.click()
        page.wait_for_url("**/log")


def test_stranger_is_led_to_the_sign_in(desk, view):
    with desk.visit(None, view) as page:
        page.goto("/log")
        page.wait_for_url(re.compile(r"/sign-in\?next="))
        check_accessibility(page)
        check_width(page)
