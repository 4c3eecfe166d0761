"""What was done to many mails is taken back as one: retry, give up, and the history."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import check_accessibility
from tests.fakes.children import listening
from tests.fakes.processes import mail_to

CODE = "FIELD_CUSTOM_VALIDATION_EXCEPTION"


@pytest.fixture(scope="module")
def dead(desk):
    """Mails that Salesforce refused, in a relay whose worker rests from then on."""
    desk.org.person("Contact", "kim@acme.example")
    desk.org.faults({"kind": "error_code", "object": "EmailMessage", "code": CODE})
    ids = [
        desk.relay.send(
            mail_to("kim@acme.example", Subject=f"Refused {number}"),
            desk.addresses["ada"],
        )
        for number in range(3)
    ]
    assert {desk.settled(id_)["state"] for id_ in ids} == {"dead"}
    desk.org.faults()
    desk.relay.stop()
    desk.relay.start(roles="smtp,web")
    desk.relay.process.wait_until(lambda: listening(desk.port), "the console")
    return ids


def states(desk):
    return [row["state"] for row in desk.json("log")]


def all_that_match(page, act):
    page.goto("/log?q=state:dead")
    page.get_by_text("All that match").click()
    page.get_by_role("link", name=act).click()


def test_many_are_retried_and_given_up_and_all_come_back(desk, dead):
    with desk.visit("root") as page:
        all_that_match(page, "Try again")
        expect(page.get_by_text("3 messages will be tried again.")).to_be_visible()
        page.get_by_role("button", name="Try again: 3").click()
        expect(page.get_by_text("3 messages are tried again.")).to_be_visible()
        assert states(desk) == ["queued"] * 3
        page.get_by_role("button", name="Undo").click()
        expect(page.get_by_text("Taken back for 3 messages.")).to_be_visible()
        assert states(desk) == ["dead"] * 3

        all_that_match(page, "Give up")
        expect(page.get_by_text("It can be taken back for 7 days")).to_be_visible()
        check_accessibility(page)
        page.get_by_role("button", name="Give up: 3").click()
        expect(page.get_by_text("3 messages are given up.")).to_be_visible()
        assert states(desk) == ["discarded"] * 3
        page.get_by_role("button", name="Undo").click()
        expect(page.get_by_text("Taken back for 3 messages.")).to_be_visible()
        assert states(desk) == ["dead"] * 3


def test_one_is_given_up_and_comes_back_from_the_history(desk, dead):
    with desk.visit("root") as page:
        page.goto(f"/log/{dead[0]}")
        page.get_by_role("button", name="Give up").click()
        page.get_by_role("button", name="Go on").click()
        expect(page.get_by_text("1 message is given up.")).to_be_visible()
        page.goto("/history?change=message_discard")
        row = page.get_by_role("row", name=re.compile(dead[0]))
        row.get_by_role("button", name="Undo").click()
        page.get_by_role("button", name="Go on").click()
        expect(page.get_by_text("1 message is as before (1 dead)")).to_be_visible()
        expect(
            page.get_by_role("row", name=re.compile("taken back by"))
        ).not_to_have_count(0)
        check_accessibility(page)
    assert states(desk) == ["dead"] * 3
