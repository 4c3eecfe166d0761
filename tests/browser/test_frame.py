"""The frame of every page: reached by keyboard, read aloud, on any screen."""

from __future__ import annotations

import re

from tests.browser.conftest import check_accessibility, check_width

ZOOMED = {"viewport": {"width": 320, "height": 256}}
BUSY = ("/", "/log", "/people/1", "/settings/salesforce")
SPACED = """() => {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync("* { line-height: 1.5 !important; letter-spacing: .12em !important;"
    + " word-spacing: .16em !important } p { margin-bottom: 2em !important }");
  document.adoptedStyleSheets = [sheet];
}"""
CUT = """() => [...document.querySelectorAll("body *")].filter((e) => {
  const how = getComputedStyle(e);
  if (!e.checkVisibility() || how.overflowX === "visible" || e.closest("svg, .unseen")
    || how.overflowX === "auto" || how.textOverflow === "ellipsis") return false;
  return e.scrollWidth > e.clientWidth + 1 || e.scrollHeight > e.clientHeight + 1;
}).map((e) => e.outerHTML.slice(0, 160))"""
"""Boxes that hide a part of their text; where dots are shown, the title has it all."""


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


def test_text_may_be_spaced_out(desk, view):
    """WCAG 2.2, 1.4.12: a reader's own spacing hides nothing."""
    with desk.visit("root", view) as page:
        for path in BUSY:
            page.goto(path)
            before = page.evaluate(CUT)
            page.evaluate(SPACED)
            check_width(page)
            assert page.evaluate(CUT) == before, path


def test_nothing_moves_for_who_wants_it_still(desk):
    """A row that has just come is lit up, but for who asked for less motion."""
    moving = """() => {
      document.querySelector("table").tBodies[0].insertRow().className = "fresh";
      document.querySelector("tr.fresh").insertCell();
      return document.getAnimations().length;
    }"""
    for wanted, count in (("no-preference", 1), ("reduce", 0)):
        with desk.visit("root", reduced_motion=wanted) as page:
            page.goto("/people")
            assert page.evaluate(moving) == count


def test_what_is_chosen_is_seen_in_colours_of_the_reader(desk):
    """Forced colours take grounds away: a line must tell what is chosen."""
    line = "(e) => getComputedStyle(e).outlineStyle"
    with desk.visit("root", forced_colors="active") as page:
        page.goto("/log?q=state:dead")
        for chosen in (".side a[aria-current]", ".chip[aria-current]"):
            assert page.locator(chosen).first.evaluate(line) == "solid"
        other = page.locator(".chip:not([aria-current])").first
        assert other.evaluate(line) == "none"
        page.get_by_role("combobox").fill("state:")
        page.get_by_role("option").first.wait_for()
        page.keyboard.press("ArrowDown")
        option = page.locator(".options li[aria-selected=true]")
        assert option.evaluate(line) == "solid"
        check_accessibility(page)


def test_keyboard_alone_reaches_content_search_and_menu(desk):
    with desk.visit("root") as page:
        page.goto("/")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"
        page.keyboard.press("Control+k")
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
