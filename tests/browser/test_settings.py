"""Settings in a browser: cards that change nothing before Save, rules on trial."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.conftest import check_accessibility, check_width
from tests.fakes.processes import mail_to

PLACE = "emailtosalesforce@abc.in.salesforce.com"


def way_of(desk, email):
    """Return the way of a user's mail, as the command line tells it."""
    (row,) = desk.json("user", "logging", email)
    return row["way"], row["has_address"]


def test_a_rep_activates_bcc_by_saving_it(desk, view):
    who = {"desktop": "ada", "phone": "bob"}[view]
    email = f"{who}@corp.example"
    with desk.visit(who, view) as page:
        page.goto("/settings/salesforce")
        check_accessibility(page)
        check_width(page)
        page.get_by_role("link", name="Email to Salesforce (BCC)").click()
        expect(page.get_by_text("Acceptable Email Addresses")).to_be_visible()
        page.get_by_label("Email to Salesforce address").fill(PLACE)
        page.reload()
        assert desk.json("user", "logging", email)[0]["has_address"] is False
        page.get_by_label("Email to Salesforce address").fill(PLACE)
        page.get_by_role("button", name="Activate").click()
        expect(page.locator("#said")).to_contain_text("There is no smarthost")
        page.get_by_role("link", name="Salesforce API").click()
        expect(page.get_by_label("Do not sync to Salesforce tasks")).to_be_checked()
        check_accessibility(page)


def test_an_admin_decides_and_shapes_the_subject(desk, view):
    with desk.visit("root", view) as page:
        page.goto("/settings/salesforce")
        check_accessibility(page)
        check_width(page)
        page.get_by_label("Salesforce API for everybody").check()
        card = page.locator("details", has_text="Who decides")
        card.get_by_role("button", name="Save").click()
        expect(page.locator("#said")).to_contain_text("Saved.")
        expect(page.get_by_text("has decided this for everybody")).to_be_visible()
        field = page.get_by_label("Subject of what is logged")
        field.fill("[Sales] {{Activity_subject}}")
        expect(page.locator("#subject-preview")).to_contain_text("[Sales] Offer")
        expect(page.locator("#subject-preview")).to_contain_text("Reply: Offer")
        field.fill("{{nobody}}")
        expect(page.locator("#subject-preview")).to_contain_text("there are activity")
        page.get_by_label("Each user chooses").check()
        card.get_by_role("button", name="Save").click()
        expect(page.locator("#said")).to_contain_text("Saved.")
        page.reload()
        expect(field).to_have_value("")


def test_a_rule_is_tried_on_past_mail_saved_and_taken_back(desk):
    desk.org.person("Contact", "anna@customer.example")
    mail = mail_to("anna@customer.example", Subject="[private] The offer")
    id_ = desk.do(desk.relay.send, mail, desk.addresses["ada"])
    assert desk.settled(id_)["reason"] == "confidential"
    with desk.visit("root") as page:
        page.goto("/settings/rules")
        check_accessibility(page)
        check_width(page)
        page.locator('a[href$="/settings/rules/match.confidential"]').click()
        check_accessibility(page)
        page.get_by_label("New value").select_option("log")
        page.get_by_role("button", name=re.compile("Try it")).click()
        expect(page.locator("#found")).to_contain_text("1 would change")
        expect(page.locator("#found")).to_contain_text("newly logged")
        check_accessibility(page)
        page.get_by_role("button", name="Save the change").click()
        said = page.locator("#said")
        expect(said).to_contain_text("Saved.")
        assert desk.json("settings", "get", "match.confidential")[0]["value"] == "log"
        said.get_by_role("button", name="Undo").click()
        expect(said).to_contain_text("by default again")
        assert desk.json("settings", "get", "match.confidential")[0]["value"] == "skip"


def test_rules_fit_a_phone(desk):
    with desk.visit("root", "phone", color_scheme="dark") as page:
        for path in ("/settings/rules", "/settings/rules/match.kinds"):
            page.goto(path)
            check_accessibility(page)
            check_width(page)


def test_without_scripts_settings_are_read_and_saved(desk):
    with desk.visit("root", java_script_enabled=False) as page:
        page.goto("/settings/salesforce")
        page.get_by_label("Subject of what is logged").fill("[x] {{activity_subject}}")
        page.get_by_role("button", name="Preview").click()
        expect(page.get_by_text("[x] Offer for 2027").first).to_be_visible()
        page.goto("/settings/rules/match.several")
        page.get_by_label("New value").select_option("oldest")
        page.get_by_role("button", name="Save").click()
        expect(page.locator("#said")).to_contain_text("Saved.")
        assert desk.json("settings", "get", "match.several")[0]["value"] == "oldest"
