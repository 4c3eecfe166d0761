"""Reminders in a real browser: made, done, removed; today and tomorrow; by keyboard."""

from __future__ import annotations

import re

import pytest

from tests.browser.conftest import WAIT_MS, check_accessibility, check_width

expect = pytest.importorskip("playwright.sync_api").expect
expect.set_options(timeout=WAIT_MS)


@pytest.fixture(scope="module")
def ada(desk):
    """Return a maker of Ada's reminders at the command line."""

    def make(name, due):
        desk.run("reminder", "add", name, "--due", due, "--user", "ada@corp.example")

    for name, due in (
        ("Long over", "2020-01-01"),
        ("Due now", "today"),
        ("Due soon", "tomorrow"),
        ("Much later", "9d"),
        ("No day", "none"),
    ):
        make(name, due)
    return make


def test_the_command_center_shows_today_and_tomorrow(desk, ada, view):
    """R22; what is overdue stands apart; readable by everybody on each screen."""
    with desk.visit("ada", view) as page:
        page.goto("/reminders")
        expect(page.locator("#today")).to_contain_text("Due now")
        expect(page.locator("#tomorrow")).to_contain_text("Due soon")
        for text in ("Much later", "No day"):
            expect(page.get_by_text(text)).to_have_count(0)
        overdue = page.locator("#overdue")
        long_over = overdue.get_by_role("link", name="Long over")
        expect(long_over).to_have_count(0)
        overdue.locator("summary").first.click()
        expect(long_over).to_be_visible()
        check_accessibility(page)
        check_width(page)
        page.goto("/reminders/all")
        expect(page.get_by_text("Much later")).to_be_visible()
        check_accessibility(page)
        check_width(page)
        page.get_by_role("link", name="Much later").click()
        expect(page.locator("#history")).to_contain_text("made")
        check_accessibility(page)
        check_width(page)


def test_a_reminder_is_made_done_and_removed(desk, ada, view):
    """Without leaving the page; the last act is taken back with one click."""
    name = f"Call Bob on a {view}"
    with desk.visit("ada", view) as page:
        page.goto("/reminders")
        page.get_by_label("What is to be done").fill(name)
        page.get_by_label("By when").fill("tomorrow")
        page.get_by_role("button", name="Add").click()
        tomorrow = page.locator("#tomorrow")
        expect(tomorrow).to_contain_text(name)
        page.get_by_role("button", name=f"Done: {name}").click()
        expect(tomorrow).not_to_contain_text(name)
        page.locator("#said").get_by_role("button", name="Undo").click()
        expect(tomorrow).to_contain_text(name)
        line = page.locator("li.todo").filter(has_text=name)
        line.get_by_text("Change").first.click()
        line.get_by_label("What").fill(f"{name}!")
        line.get_by_role("button", name="Save").click()
        expect(tomorrow).to_contain_text(f"{name}!")
        line = page.locator("li.todo").filter(has_text=name)
        line.get_by_text("Change").first.click()
        page.get_by_role("button", name=f"Remove: {name}!").click()
        expect(tomorrow).not_to_contain_text(name)
        assert page.url.endswith("/reminders")
    assert not desk.json("reminder", "list", "--text", name)


def test_by_keyboard_alone(desk, ada):
    """Typed, sent with Enter, done with Space."""
    with desk.visit("ada") as page:
        page.goto("/reminders")
        page.get_by_label("What is to be done").focus()
        page.keyboard.type("Typed")
        page.keyboard.press("Tab")
        page.keyboard.type("today")
        page.keyboard.press("Enter")
        expect(page.locator("#today")).to_contain_text("Typed")
        page.get_by_role("button", name="Done: Typed").focus()
        page.keyboard.press("Space")
        expect(page.locator("#today")).not_to_contain_text("Typed")


def test_without_scripts_every_act_works(desk, ada):
    """Plain forms, and a calendar address that opens without a cookie."""
    with desk.visit("ada", java_script_enabled=False) as page:
        page.goto("/reminders")
        page.get_by_label("What is to be done").fill("Plain")
        page.get_by_label("By when").fill("today")
        page.get_by_role("button", name="Add").click()
        expect(page.locator("#today")).to_contain_text("Plain")
        page.get_by_role("button", name="Done: Plain").click()
        expect(page.locator("#today")).not_to_contain_text("Plain")
        page.goto("/reminders/calendar")
        page.get_by_role("button", name="Make an address").click()
        found = re.search(r"/reminders/feed/\S+?\.ics", page.content())
        assert found
    with desk.visit(None) as page:
        answer = page.request.get(f"{desk.url}{found[0]}")
        assert answer.status == 200
        assert "BEGIN:VTODO" in answer.text()
