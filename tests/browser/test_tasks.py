"""Twelve main tasks of the three roles, each from the first page to its effect.

Each is done with a pointer in at most three clicks, by keyboard alone, and at 400 %
zoom (see `hands`). What it was for is then looked up in the store or the org: that a
page says so is not enough.
"""

from __future__ import annotations

import csv
import re
import smtplib
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.browser.hands import WAYS
from tests.fakes.processes import mail_to

CODES = {
    "pointer": "REQUIRED_FIELD_MISSING",
    "keyboard": "STRING_TOO_LONG",
    "zoomed": "INSUFFICIENT_ACCESS_OR_READONLY",
}
"""With which each way's mail fails that is tried again by its code."""
LISTED = ("reminder", "list", "--status", "all", "--text")
HARMLESS = {"permissions": ["clipboard-read", "clipboard-write"]}


@dataclass
class Case:
    """What one way of doing the tasks works with.

    Attributes:
        desk: The relay and its org.
        way: Its name.
        ids: Messages by what became of them.
    """

    desk: Any
    way: str
    ids: dict[str, str] = field(default_factory=dict)

    def subject(self, what):
        return f"{what} {self.way}"

    @property
    def other_address(self):
        return f"ada@{self.way}.example"


@pytest.fixture(scope="module")
def org(desk):
    """A Contact in the org, and one mail: then its way with activities is known."""
    desk.org.create(
        "Contact", FirstName="Mara", LastName="Lindqvist", Email="mara@birch.example"
    )
    first = mail_to("mara@birch.example", Subject="Known")
    desk.settled(desk.relay.send(first, desk.addresses["ada"]))
    return desk.org


@pytest.fixture(scope="module", params=WAYS)
def case(request, desk, org):
    """Two dead mails of Ada's, an unmatched and a refused one; a reminder."""
    way, send, ada = request.param, desk.relay.send, desk.addresses["ada"]
    made = Case(desk, way)
    fault = {"kind": "error_code", "object": "EmailMessage"}
    codes = {"single": "FIELD_CUSTOM_VALIDATION_EXCEPTION", "all": CODES[way]}
    for kind, code in codes.items():
        org.faults(fault | {"code": code})
        mail = mail_to("mara@birch.example", Subject=made.subject(kind))
        made.ids[kind] = send(mail, ada)
        assert desk.settled(made.ids[kind])["state"] == "dead"
    org.faults()
    mail = mail_to(
        f"Mara Lindqvist <{way}@home.example>", Subject=made.subject("Whose")
    )
    made.ids["unmatched"] = send(mail, ada)
    assert desk.settled(made.ids["unmatched"])["state"] == "unmatched"
    mail = mail_to(
        "mara@birch.example", From="eve@evil.example", Subject=made.subject("Not hers")
    )
    with suppress(smtplib.SMTPException):
        send(mail, ada)
    call, user = made.subject("Call"), "ada@corp.example"
    desk.run("reminder", "add", call, "--due", "today", "--user", user)
    desk.run("address", "add", "bob@corp.example", f"bob@{way}.example")
    return made


def logged_on(case, id_):
    """Return the record of a mail in the org, once the mail rests."""
    row = case.desk.settled(id_)
    assert row["state"] == "logged", row
    (found,) = (
        one
        for one in case.desk.org.rows("EmailMessage")
        if one["Id"] in {record["id"] for record in row["records"]}
    )
    return found


# ------------------------------------------------------------------ a rep


def copies_the_relay_address(hand, case):
    hand.press("button", "Copy")
    hand.sees("Copied")
    text = hand.page.evaluate("navigator.clipboard.readText()")
    assert text == case.desk.addresses["ada"]


def finds_why_a_mail_was_refused(hand, case):
    hand.press("link", case.subject("Not hers"))
    hand.sees("sender not accepted")
    (row,) = case.desk.json("log", "--refused", f'"{case.subject("Not hers")}"')
    assert row["reason"] == "sender_not_accepted"
    assert row["id"] in hand.page.url


def resolves_an_unmatched_mail(hand, case):
    hand.press("link", f"Say what {case.subject('Whose')} belongs to")
    hand.press("checkbox", re.compile("Mara Lindqvist"))
    hand.press("button", "Log it there")
    hand.sees(re.compile("to be logged on Contact Mara Lindqvist"))
    found = logged_on(case, case.ids["unmatched"])
    assert found["Subject"] == case.subject("Whose")


def notes_a_reminder(hand, case):
    hand.go("Reminders")
    hand.write("What is to be done", case.subject("Write to"))
    hand.write_next("today")
    hand.send()
    hand.sees(case.subject("Write to"))
    (row,) = case.desk.json(*LISTED, case.subject("Write to"))
    assert row["status"] == "Open"


def completes_a_reminder_and_takes_it_back(hand, case):
    hand.go("Reminders")
    hand.press("button", f"Done: {case.subject('Call')}")
    hand.sees(f"Done: {case.subject('Call')}.")
    (row,) = case.desk.json(*LISTED, case.subject("Call"))
    assert row["status"] == "Complete"
    hand.press("button", "Undo", "#said")
    hand.sees(f"Taken back: {case.subject('Call')}.")
    (row,) = case.desk.json(*LISTED, case.subject("Call"))
    assert row["status"] == "Open"


# ------------------------------------------------------------------ a monitor


def watches_a_mail_arrive(hand, case):
    hand.sees("new mails appear by themselves")
    mail = mail_to("mara@birch.example", Subject=case.subject("Comes by itself"))
    id_ = case.desk.relay.send(mail, case.desk.addresses["ada"])
    hand.press("link", case.subject("Comes by itself"))
    hand.sees("How it was decided")
    assert id_ in hand.page.url
    assert logged_on(case, id_)["Subject"] == case.subject("Comes by itself")


def takes_the_log_as_a_file(hand, case):
    hand.go("Mail log")
    file = hand.takes("link", "CSV")
    rows = list(csv.DictReader(file.path().read_text("utf-8-sig").splitlines()))
    assert case.ids["unmatched"] in {row["id"] for row in rows}
    noted = case.desk.json("history", "--change", "log_exported")
    assert noted[0]["actor"] == "web:mona@corp.example"


def retries_a_dead_mail(hand, case):
    hand.press("link", re.compile(r"dead"), "main .figures")
    hand.press("link", case.subject("single"))
    hand.press("button", "Try again")
    hand.sees("1 message is tried again.")
    assert logged_on(case, case.ids["single"])["Subject"] == case.subject("single")


def retries_all_of_one_cause(hand, case):
    code = CODES[case.way]
    hand.go("Diagnostics")
    hand.press("link", "Retry all", f'#failing tr:has-text("{code}")')
    hand.press("button", "Try again: 1")
    hand.sees("1 message is tried again.")
    assert logged_on(case, case.ids["all"])["Subject"] == case.subject("all")


# ------------------------------------------------------------------ an admin


def accepts_an_address(hand, case):
    hand.go("People")
    hand.press("link", "Ada Byron")
    hand.write("Address or *@domain", case.other_address, "#addresses")
    hand.send()
    hand.sees(f"{case.other_address} may send for Ada Byron.")
    case.desk.do(case.desk.relay.heed)
    mail = mail_to("mara@birch.example", From=case.other_address)
    id_ = case.desk.relay.send(mail, case.desk.addresses["ada"])
    assert logged_on(case, id_)["FromAddress"] == case.other_address


def takes_a_change_back(hand, case):
    address = f"bob@{case.way}.example"
    hand.go("History")
    hand.press("button", "Undo", f'main tr:has-text("{address}")')
    hand.press("button", "Go on", "dialog")
    hand.sees("Taken back")
    rows = case.desk.json("address", "list", "bob@corp.example")
    assert address not in {row["address"] for row in rows}


def decides_for_the_team(hand, case):
    card = 'details:has-text("Who decides")'
    hand.go("Salesforce")
    hand.press("radio", "Salesforce API for everybody", card)
    hand.press("button", "Save", card)
    hand.sees("Saved.")
    (row,) = case.desk.json("logging", "show")
    assert row["decides"] == "api_only"
    case.desk.run("logging", "decide", "each_user")


def changes_a_rule(hand, case):
    hand.go("Rules")
    hand.press("link", "Words that mark mail as confidential")
    hand.write("New value", f"secret {case.way}")
    hand.send()
    hand.sees("Saved.")
    (row,) = case.desk.json("settings", "get", "match.confidential_marks")
    assert f"secret {case.way}" in row["value"]
    mail = mail_to("mara@birch.example", Subject=f"Our secret {case.way}")
    id_ = case.desk.relay.send(mail, case.desk.addresses["ada"])
    row = case.desk.settled(id_)
    assert (row["state"], row["reason"]) == ("skipped", "confidential")


TASKS = {
    copies_the_relay_address: "ada",
    finds_why_a_mail_was_refused: "ada",
    resolves_an_unmatched_mail: "ada",
    notes_a_reminder: "ada",
    completes_a_reminder_and_takes_it_back: "ada",
    watches_a_mail_arrive: "mona",
    takes_the_log_as_a_file: "mona",
    retries_a_dead_mail: "mona",
    retries_all_of_one_cause: "mona",
    accepts_an_address: "root",
    takes_a_change_back: "root",
    decides_for_the_team: "root",
    changes_a_rule: "root",
}
"""Each with who does it."""


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.__name__)
def test_task(desk, case, task):
    kind = WAYS[case.way]
    with desk.visit(TASKS[task], **HARMLESS, **kind.view) as page:
        hand = kind(page)
        task(hand, case)
        hand.ends()


def test_there_are_twelve():
    assert len(TASKS) >= 12
