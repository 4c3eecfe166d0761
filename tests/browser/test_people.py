"""What people do with unmatched mail, users, changes and diagnostics, in a browser."""

from __future__ import annotations

import re
import smtplib

import pytest

from tests.browser.conftest import check_accessibility, check_width
from tests.fakes.processes import mail_to

HOSTILE = "<script>document.title='x'</script><img src=x onerror=alert(1)> " + "W" * 900


def mail(address, sender="ada@corp.example", subject="The offer", name=""):
    """Return a mail from a sender to somebody."""
    to = f'"{name}" <{address}>' if name else address
    return mail_to(to, Subject=subject, From=sender)


def look_over(page):
    """Check a page for who cannot see, and for narrow screens."""
    check_accessibility(page)
    check_width(page)


def tab_to(page, selector):
    """Go by the key Tab alone to an element."""
    for _ in range(200):
        page.keyboard.press("Tab")
        if page.evaluate(f"document.activeElement.matches({selector!r})"):
            return
    pytest.fail(f"no way by keyboard to {selector}")


def test_a_rep_resolves_an_unmatched_mail(desk, view):
    """The candidate with its reasons; then the record is in the org."""
    who = f"m.lindqvist.{view}@private.example"
    sent = mail(who, subject=f"Prices {view} {HOSTILE}", name="Mara Lindqvist")
    id_ = desk.do(desk.relay.send, sent, desk.addresses["ada"])
    assert desk.settled(id_)["state"] == "unmatched"
    with desk.visit("bob", view) as page:
        page.goto(f"/unmatched/{id_}")
        assert "Mara" not in page.content()
    with desk.visit("ada", view) as page:
        page.goto("/unmatched")
        look_over(page)
        page.get_by_role("link", name=f"Prices {view}").click()
        page.get_by_label("Mara Lindqvist").first.check()
        look_over(page)
        page.get_by_role("button", name="Log it there").click()
        page.get_by_text("queued, to be logged on Contact Mara Lindqvist").wait_for()
        assert page.title() != "x"
    assert desk.settled(id_)["state"] == "logged"
    mails = desk.org.rows("EmailMessage")
    assert any(row["Subject"].startswith(f"Prices {view}") for row in mails)


def test_an_admin_accepts_an_address_and_the_next_mail_passes(desk):
    """It is refused before, over real SMTP, and taken once the relay has read it."""
    sender = "ada@home.example"
    rcpt = desk.addresses["ada"]
    offer = mail("mara@acme.example", sender)
    with pytest.raises(smtplib.SMTPException):
        desk.do(desk.relay.send, offer, rcpt)
    with desk.visit("root") as page:
        page.goto("/people?q=ada")
        page.get_by_role("link", name="Ada Byron").click()
        form = page.locator("#addresses")
        form.get_by_label("Address or *@domain").fill(sender)
        form.get_by_role("button", name="Accept it").click()
        page.get_by_text(f"{sender} may send for Ada Byron.").wait_for()
        look_over(page)
    desk.do(desk.relay.heed)
    id_ = desk.do(desk.relay.send, offer, rcpt)
    assert desk.settled(id_)["state"] == "logged"


def test_what_speaks_against_an_address_is_asked(desk):
    """Another's address: the page says so, and nothing changes before it is meant."""
    with desk.visit("root", "phone") as page:
        page.goto("/people?q=ada")
        page.get_by_role("link", name="Ada Byron").click()
        form = page.locator("#addresses")
        form.get_by_label("Address or *@domain").fill("bob@corp.example")
        form.get_by_role("button", name="Accept it").click()
        page.get_by_text("is the address of Bob Stone").wait_for()
        look_over(page)
        page.get_by_role("link", name="Cancel").click()
        page.get_by_role("heading", name="Ada Byron").wait_for()
    rows = desk.json("address", "list", "ada@corp.example")
    assert "bob@corp.example" not in {row["address"] for row in rows}


def test_a_user_is_added_rotated_and_taken_back(desk, view):
    """Salesforce is asked at once; the old relay address works on; Undo undoes."""
    name, email = f"Kim {view}", f"kim.{view}@corp.example"
    with desk.visit("root", view) as page:
        page.goto("/people")
        look_over(page)
        page.get_by_role("link", name="Add a user").click()
        look_over(page)
        page.get_by_label("Name", exact=True).fill(name)
        page.get_by_label("E-mail address").fill(email)
        page.get_by_role("button", name="Add", exact=True).click()
        page.get_by_text("Salesforce has no user with the address").wait_for()
        before = desk.json("user", "show", email)[0]["relay_address"]
        page.get_by_role("button", name="New relay address").click()
        page.get_by_role("dialog").get_by_role("button", name="Go on").click()
        page.get_by_text("has a new relay address; the old one works").wait_for()
        now = desk.json("user", "show", email)[0]
        assert now["relay_address"] != before
        assert [old["address"] for old in now["old_addresses"]] == [before]
        page.get_by_label("Name", exact=True).fill(f"{name} Lee")
        page.get_by_role("button", name="Save").click()
        page.get_by_role("heading", name=f"{name} Lee").wait_for()
        page.get_by_role("button", name="Undo").click()
        page.locator("#said").get_by_text("Taken back").wait_for()
        assert desk.json("user", "show", email)[0]["name"] == name


def test_people_by_keyboard_alone(desk):
    """An address is accepted, and taken back in the history, without a pointer."""
    with desk.visit("root") as page:
        page.goto("/people?q=bob")
        tab_to(page, "main tbody a")
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Bob Stone").wait_for()
        tab_to(page, "#addresses input[name=address]")
        page.keyboard.type("desk@corp.example")
        tab_to(page, "#addresses input[name=delegate]")
        page.keyboard.type("Sam Desk")
        page.keyboard.press("Enter")
        page.get_by_text("desk@corp.example may send for Bob Stone.").wait_for()
        page.goto("/history?by=root&change=address_add")
        look_over(page)
        tab_to(page, "main tbody form button")
        page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog")
        dialog.get_by_text(re.compile("Take change .* back")).wait_for()
        tab_to(page, "dialog button[value=yes]")
        page.keyboard.press("Enter")
        page.locator("#said").get_by_text("Taken back").wait_for()
    rows = desk.json("address", "list", "bob@corp.example")
    assert "desk@corp.example" not in {row["address"] for row in rows}


def test_diagnostics_name_a_failure_and_retry_it(desk, view):
    """A validation rule of the org: code, meaning, remedy, number, retry."""
    rule = "FIELD_CUSTOM_VALIDATION_EXCEPTION"
    fault = {"kind": "error_code", "code": rule, "body": "poison", "message": HOSTILE}
    desk.org.faults(fault)
    poisoned = mail("mara@acme.example", subject=f"poison {view}")
    id_ = desk.do(desk.relay.send, poisoned, desk.addresses["ada"])
    assert desk.settled(id_)["state"] == "dead"
    desk.org.faults()
    with desk.visit("mona", view) as page:
        page.goto("/diagnostics")
        row = page.locator("#failing tr", has_text=rule)
        row.get_by_text("A validation rule of the org refuses the record.").wait_for()
        row.get_by_text("Change the rule, then retry.").wait_for()
        look_over(page)
        row.get_by_role("link", name="Retry all").click()
        page.get_by_text(f"1 message that failed with {rule}").wait_for()
        look_over(page)
        page.get_by_role("button", name="Try again: 1").click()
        page.get_by_text("1 message is tried again.").wait_for()
    assert desk.settled(id_)["state"] == "logged"


def test_a_check_runs_while_its_page_is_open(desk):
    """The page follows it by itself, and then has the findings."""
    with desk.visit("mona") as page:
        page.goto("/diagnostics")
        page.get_by_role("button", name="Check now").click()
        page.get_by_text("relay domains").wait_for()
        look_over(page)


def test_people_fit_at_400_percent(desk):
    """320 pixels wide, nothing has to be moved sideways."""
    with desk.visit("root", viewport={"width": 320, "height": 256}) as page:
        for path in ("/people", "/people/new", "/people/import", "/people/exclusions"):
            page.goto(path)
            look_over(page)
        for path in ("/unmatched", "/history", "/diagnostics", "/unmatched/remembered"):
            page.goto(path)
            check_width(page)


def test_a_rep_finds_the_own_page_in_the_menu(desk, view):
    """The relay address can be copied; nobody else's page is there."""
    with desk.visit("ada", view) as page:
        page.goto("/")
        if view == "phone":
            page.get_by_role("button", name="Menu").click()
        page.get_by_role("link", name="My addresses").click()
        page.get_by_role("heading", name="Ada Byron").wait_for()
        page.get_by_text(desk.addresses["ada"]).first.wait_for()
        look_over(page)
        bob = desk.json("user", "list")[1]
        assert bob["email"] == "bob@corp.example"
        assert page.goto("/people/bob@corp.example").status == 403
