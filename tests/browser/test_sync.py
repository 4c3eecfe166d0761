"""Reminders in step with Tasks, as a rep sees it: switched on, watched, used."""

from __future__ import annotations

import re

import pytest

from tests.browser.conftest import WAIT_MS
from tests.fakes.processes import wait_for

expect = pytest.importorskip("playwright.sync_api").expect
expect.set_options(timeout=WAIT_MS)

EMAIL = "ada@corp.example"


@pytest.fixture(scope="module")
def keys():
    """Rounds follow one another; a first run may be watched."""
    return {
        "reminders__poll_s": 1.0,
        "reminders__idle_poll_s": 1.0,
        "reminders__push_s": 0.5,
        "reminders__calls_per_day": 100_000,
    }


class Tasks:
    """Ada's Tasks in the org."""

    def __init__(self, desk):
        self.org = desk.org
        users = self.org.get("/sandbox/dump?object=User")["User"]
        (self.owner,) = [one["Id"] for one in users if one["Username"] == EMAIL]
        desk.run("user", "set", EMAIL, "--salesforce-id", self.owner)

    def make(self, subject, due):
        fields = {"Subject": subject, "OwnerId": self.owner, "ActivityDate": due}
        return self.org.create("Task", **fields)

    def all(self):
        return {row["Subject"]: row for row in self.org.rows("Task")}

    def until(self, fits, message):
        wait_for(lambda: fits(self.all()), timeout_s=60, message=message)


def shown(page, place, text):
    """Wait until a part of the page shows a text; it is no page that reloads itself."""
    line = page.locator(f"{place} li.todo").filter(has_text=text)
    for _ in range(40):
        if line.count():
            return line
        page.wait_for_timeout(500)
        page.reload()
    expect(line).to_have_count(1)
    return line


def gone(page, text):
    """Wait until the page shows a text no more."""
    line = page.locator("li.todo").filter(has_text=text)
    for _ in range(40):
        if not line.count():
            return
        page.wait_for_timeout(500)
        page.reload()
    expect(line).to_have_count(0)


def test_a_rep_switches_the_sync_on_and_works_on_both_sides(desk):
    """Import with its count; then make, complete and delete, here and there."""
    tasks = Tasks(desk)
    today, tomorrow, later = (
        desk.json("reminder", "add", name, "--due", due, "--user", EMAIL)[0]["due"]
        for name, due in (("A", "today"), ("B", "tomorrow"), ("C", "9d"))
    )
    for subject, due in (
        ("Task of today", today),
        ("Task of tomorrow", tomorrow),
        ("Task of next week", later),
    ):
        tasks.make(subject, due)
    with desk.visit("ada") as page:
        page.goto("/settings/salesforce")
        page.get_by_label("Sync both ways").check()
        card = page.locator("details", has_text="Sync tasks and reminders")
        card.get_by_role("button", name="Save").click()
        expect(page.locator("#said")).to_contain_text("The sync begins now")
        badge = page.get_by_text("in step", exact=True)
        # Before that, it tells how many were imported; nobody reloads the page.
        counted = page.get_by_text(re.compile("imported so far"))
        expect(badge.or_(counted)).to_be_visible()
        expect(badge).to_be_visible(timeout=30_000)

        # Nothing but today and tomorrow (R22).
        page.goto("/reminders")
        expect(page.locator("#today")).to_contain_text("Task of today")
        expect(page.locator("#tomorrow")).to_contain_text("Task of tomorrow")
        expect(page.get_by_text("Task of next week")).to_have_count(0)
        assert set(tasks.all()) >= {"Task of today", "Task of next week"}
        assert not {"A", "B", "C"} & set(tasks.all())

        # Made, completed and removed here.
        page.get_by_label("What is to be done").fill("Made here")
        page.get_by_label("By when").fill("tomorrow")
        page.get_by_role("button", name="Add").click()
        expect(page.locator("#tomorrow")).to_contain_text("Made here")
        tasks.until(
            lambda rows: rows.get("Made here", {}).get("ActivityDate") == tomorrow,
            "the new task",
        )
        page.get_by_role("button", name="Done: Task of today").click()
        tasks.until(lambda rows: rows["Task of today"]["IsClosed"], "its completion")
        line = page.locator("li.todo").filter(has_text="Task of tomorrow")
        line.get_by_text("Change").first.click()
        page.get_by_role("button", name="Remove: Task of tomorrow").click()
        tasks.until(lambda rows: "Task of tomorrow" not in rows, "its deletion")

        # Made, completed and deleted there.
        made = tasks.make("Made there", today)
        shown(page, "#today", "Made there")
        desk.org.call("PATCH", f"/sobjects/Task/{made}", {"Status": "Completed"})
        gone(page, "Made there")
        ours = tasks.all()["Made here"]["Id"]
        desk.org.call("DELETE", f"/sobjects/Task/{ours}")
        gone(page, "Made here")
    (row,) = desk.json("reminder", "sync", "status", EMAIL)
    assert (row["failing"], row["conflicts"]) == (0, 0)
