"""Each main task of the three roles is done in at most three clicks from the start."""

from __future__ import annotations

import re
import smtplib
from contextlib import suppress

import pytest
from playwright.sync_api import expect

from tests.fakes.processes import mail_to

MOST = 3


class Hand:
    """Clicks on a page, and counts."""

    def __init__(self, page):
        self.page = page
        self.clicks = 0
        page.goto("/")

    def __call__(self, role, name, within="body", **options):
        self.clicks += 1
        found = self.page.locator(within).get_by_role(role, name=name, **options)
        found.first.click()

    def sees(self, text):
        expect(self.page.get_by_text(text).first).to_be_visible()
        assert self.clicks <= MOST, self.clicks


@pytest.fixture(scope="module")
def mails(desk):
    """A refused, an unmatched and a dead mail of Ada's."""
    send, ada = desk.relay.send, desk.addresses["ada"]
    desk.org.create(
        "Contact", FirstName="Mara", LastName="Lindqvist", Email="mara@birch.example"
    )
    fault = {"kind": "error_code", "object": "EmailMessage"}
    known = mail_to("mara@birch.example", Subject="Known")
    desk.settled(send(known, ada))
    desk.org.faults(fault | {"code": "REQUIRED_FIELD_MISSING"})
    dead = send(mail_to("mara@birch.example", Subject="Not written"), ada)
    desk.settled(dead)
    desk.org.faults()
    unmatched = send(
        mail_to("Mara Lindqvist <mara@home.example>", Subject="Whose"), ada
    )
    desk.settled(unmatched)
    refused = mail_to("mara@birch.example", From="eve@evil.example", Subject="Not hers")
    with suppress(smtplib.SMTPException):
        send(refused, ada)
    return {"dead": dead, "unmatched": unmatched}


def test_tasks_of_a_rep(desk, mails):
    options = {"permissions": ["clipboard-read", "clipboard-write"]}
    with desk.visit("ada", **options) as page:
        hand = Hand(page)
        hand("button", "Copy")
        hand.sees("Copied")
        hand = Hand(page)
        hand("link", "Not hers")
        hand.sees("sender not accepted")
        hand = Hand(page)
        hand("link", "Say what Whose belongs to")
        hand("checkbox", re.compile("Mara Lindqvist"))
        hand("button", "Log it there")
        hand.sees(re.compile("to be logged on Contact Mara Lindqvist"))
        hand = Hand(page)
        hand("link", "Reminders")
        hand.sees("What is due today and tomorrow.")
    assert desk.settled(mails["unmatched"])["state"] == "logged"


def test_tasks_of_a_monitor(desk, mails):
    with desk.visit("mona") as page:
        hand = Hand(page)
        hand.sees("new mails appear by themselves")
        hand = Hand(page)
        hand("link", "Mail log")
        with page.expect_download():
            hand("link", "CSV")
        assert hand.clicks <= MOST
        hand = Hand(page)
        hand("link", re.compile("^1 ?dead"))
        hand("link", "Not written")
        hand.sees("REQUIRED FIELD MISSING")
        hand("button", "Try again")
        hand.sees("1 message is tried again.")
        hand = Hand(page)
        hand("link", "Diagnostics")
        hand.sees("Writes to Salesforce that fail")
    assert desk.settled(mails["dead"])["state"] == "logged"


def test_tasks_of_an_admin(desk, mails):
    with desk.visit("root") as page:
        hand = Hand(page)
        hand("link", "People")
        hand("link", "Ada Byron")
        page.get_by_label("Address or *@domain").first.fill("ada@second.example")
        hand("button", "Accept it")
        hand.sees("ada@second.example may send for Ada Byron.")
        hand = Hand(page)
        hand("link", "History")
        hand.sees("Who changed what, before and after.")
        expect(page.get_by_text("ada@second.example").first).to_be_visible()
        hand = Hand(page)
        hand("link", "Salesforce", "#menu")
        hand.sees("Nothing changes before you save.")
        hand = Hand(page)
        hand("link", "Rules")
        hand.sees("They hold for mail from then on")
