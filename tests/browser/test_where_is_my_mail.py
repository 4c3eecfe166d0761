"""From "where is my mail?" to the named cause in two actions, whatever went wrong.

The first action is a search on any page, the second a click on the mail. Then the page
names the state, the cause and, where something helps, what helps.
"""

from __future__ import annotations

import smtplib
from contextlib import suppress

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import check_width
from tests.fakes.processes import mail_to

LARGEST = 2_000_000


@pytest.fixture(scope="module")
def keys():
    """Settings of this relay."""
    return {"smtp__max_message_bytes": LARGEST, "smtp__max_header_bytes": 20_000}


def plain(number, **headers):
    return mail_to("mara@acme.example", Subject=f"Case {number} here", **headers)


def without_from(number):
    mail = plain(number)
    del mail["From"]
    return mail


def two_authors(number):
    return plain(number, From="ada@corp.example, bob@corp.example")


def long_header(number):
    mail = plain(number)
    mail["X-Long"] = "x " * 15_000
    return mail


def large(number):
    mail = plain(number)
    mail.set_content("0123456789abcdef\n" * (LARGEST // 16))
    return mail


def to(address, number):
    return mail_to(address, Subject=f"Case {number} here")


def answer_to_invitation(number):
    mail = plain(number)
    mail.add_alternative(
        "BEGIN:VCALENDAR\r\nMETHOD:REPLY\r\nEND:VCALENDAR\r\n",
        subtype="calendar",
        params={"method": "REPLY"},
    )
    return mail


# What goes wrong: the mail, how its page names it, and for whom, from whom it is sent.
CASES = {
    1: (lambda n: plain(n, From="eve@evil.example"), "sender not accepted"),
    2: (without_from, "no from"),
    3: (two_authors, "several from"),
    4: (long_header, "header too large"),
    5: (large, "too large"),
    6: (lambda n: to("nobody@nowhere.example", n), "no record"),
    7: (lambda n: to("bob@corp.example", n), "internal"),
    8: (lambda n: to("undisclosed-recipients:;", n), "no recipient"),
    9: (lambda n: to("press@paper.example", n), "excluded"),
    10: (lambda n: plain(n, Auto_Submitted="auto-replied"), "auto reply"),
    11: (lambda n: plain(n, Auto_Submitted="auto-generated"), "auto generated"),
    12: (lambda n: plain(n, List_Id="<news.acme.example>"), "list mail"),
    13: (lambda n: plain(n, Precedence="bulk"), "bulk mail"),
    14: (answer_to_invitation, "calendar reply"),
    15: (plain, "null sender"),
    16: (plain, "FIELD CUSTOM VALIDATION EXCEPTION"),
    17: (plain, "REQUIRED FIELD MISSING"),
    18: (plain, "UNABLE TO LOCK ROW"),
    19: (plain, "STRING TOO LONG"),
    20: (plain, "discarded"),
    21: (plain, "no salesforce user"),
    22: (lambda n: plain(n, From="dora@corp.example"), "unknown recipient"),
}


FAULTS = {
    16: "FIELD_CUSTOM_VALIDATION_EXCEPTION",
    17: "REQUIRED_FIELD_MISSING",
    18: "UNABLE_TO_LOCK_ROW",
    19: "STRING_TOO_LONG",
    20: "INSUFFICIENT_ACCESS_OR_READONLY",
}


@pytest.fixture(scope="module")
def seeded(desk):
    """Everything that went wrong, each once."""
    desk.run("exclude", "add", "*@paper.example")
    desk.addresses["carl"] = desk.do(
        desk.relay.add_user, "Carl New", "carl@corp.example"
    )
    desk.addresses["dora"] = desk.do(
        desk.relay.add_user, "Dora Off", "dora@corp.example"
    )
    desk.run("user", "disable", "dora@corp.example")
    desk.do(desk.relay.heed)
    desk.org.person("Contact", "mara@acme.example")
    # The org's way with activities is known after the first mail.
    desk.settled(desk.relay.send(plain(0), desk.addresses["ada"]))
    ids = {}
    for number in sorted(CASES, key=lambda one: one == 18):
        make, _ = CASES[number]
        if number in FAULTS:
            fault = {"kind": "error_code", "object": "EmailMessage"}
            desk.org.faults(fault | {"code": FAULTS[number]})
        raw = make(number).as_bytes()
        who = {21: "carl", 22: "dora"}.get(number, "ada")
        sender = "" if number == 15 else f"case{number}@corp.example"
        if number == 21:
            raw = raw.replace(b"ada@corp.example", b"carl@corp.example")
        # A recipient that is refused fails an assertion of the client.
        with suppress(smtplib.SMTPException, AssertionError):
            ids[number] = desk.relay.send(raw, desk.addresses[who], sender=sender)
        if number in (16, 17, 19, 20):
            desk.settled(ids[number])
        if number in (18, 21):
            desk.do(desk.relay.queued, ids[number])
        if number != 18:  # Its lock stays, so that it waits.
            desk.org.faults()
    desk.run("discard", ids[20])
    return ids


def cause_of(page):
    """Return what the head of a mail's page says, and what helps."""
    shown = page.locator("main .heading .lead, main .hint-box, main .stage")
    return " ".join(shown.all_inner_texts()).replace("_", " ")


BY_ADDRESS = {4, 5, 22}
"""Refused before the relay had read a subject."""


def test_cause_is_two_actions_away(desk, seeded, view):
    found = {}
    with desk.visit("root", view) as page:
        for number in sorted(CASES)[view == "phone" :: 2]:
            page.goto("/")
            search = page.get_by_role("searchbox", name="Find mail")
            by_address = f"address:case{number}@corp.example"
            by_subject = f'"Case {number} here"'
            search.fill(by_address if number in BY_ADDRESS else by_subject)
            search.press("Enter")  # The first action.
            rows = page.locator("table.log tbody tr")
            expect(rows).to_have_count(1)
            rows.get_by_role("link").click()  # The second.
            decided = page.get_by_role("heading", name="How it was decided")
            expect(decided).to_be_visible()
            found[number] = CASES[number][1].lower() in cause_of(page).lower()
            check_width(page)
    assert all(found.values()), found
    assert len(CASES) >= 20


def test_rep_finds_the_own_mail_alone(desk, seeded):
    with desk.visit("bob") as page:
        page.goto("/log?q=case")
        expect(page.get_by_text("Nothing fits")).to_be_visible()
    with desk.visit("ada") as page:
        page.goto("/log?q=state:unmatched")
        expect(page.get_by_role("link", name="Case 6 here")).to_be_visible()
