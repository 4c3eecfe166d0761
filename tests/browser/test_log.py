"""The mail log in a browser: live, by keyboard, and with mail that means harm."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import check_accessibility, check_width
from tests.fakes.processes import mail_to

HARM = (
    '<script>document.title="ran"</script>'
    '<img src="http://evil.example/x.png" onerror="document.title=1">'
    '<a href="javascript:document.title=2">x</a> \u202egnp.exe\u2067 '
)


def hostile():
    """Return a mail that tries what a page may not let it do."""
    mail = mail_to(
        "nobody@nowhere.example",
        Subject=HARM + "W" * 60_000,
        From='"<b>\u202eAda" <ada@corp.example>',
    )
    mail.set_content("plain")
    mail.add_alternative(
        f'<style>*{{display:none}}</style>{HARM}<iframe src="http://evil.example/">'
        "</iframe>",
        subtype="html",
    )
    mail.add_attachment(
        b"x", maintype="text", subtype="html", filename='"><script>x.html'
    )
    return mail


@pytest.fixture(scope="module")
def harm(desk):
    """The id of a hostile mail."""
    id_ = desk.relay.send(hostile(), desk.addresses["ada"])
    desk.settled(id_)
    return id_


def test_hostile_mail_is_text_on_every_page(desk, harm, view):
    """Nothing runs, nothing is fetched (the desk watches), and the layout holds."""
    with desk.visit("root", view) as page:
        for path in ("/", "/log", f"/log/{harm}", f"/log/{harm}/source", "/unmatched"):
            page.goto(path)
            expect(page).to_have_title(re.compile("Relay$"))
            assert page.locator("main script, main img, main iframe").count() == 0
            assert page.locator('a[href^="javascript:"]').count() == 0
            expect(page.locator("main")).to_contain_text("<script>")
            check_width(page)


def test_hostile_mail_fits_at_400_percent(desk, harm):
    zoomed = {"viewport": {"width": 320, "height": 256}}
    with desk.visit("root", **zoomed) as page:
        for path in ("/", "/log", f"/log/{harm}", f"/log/{harm}/source"):
            page.goto(path)
            check_width(page)


def test_one_mail_is_accessible(desk, harm, view):
    for scheme in ("light", "dark"):
        with desk.visit("root", view, color_scheme=scheme) as page:
            for path in (f"/log/{harm}", "/log/many?act=hold"):
                page.goto(path)
                check_accessibility(page)


def test_monitor_watches_a_mail_arrive_filters_and_replays_a_dead_one(desk):
    desk.org.person("Contact", "live@acme.example")
    first = mail_to("live@acme.example", Subject="Before")
    desk.settled(desk.relay.send(first, desk.addresses["ada"]))
    with desk.visit("mona") as page:
        page.goto("/log")
        page.get_by_role("button", name="Live").click()
        expect(page.get_by_text("new mails appear by themselves")).to_be_visible()
        desk.org.faults(
            {
                "kind": "error_code",
                "object": "EmailMessage",
                "code": "FIELD_CUSTOM_VALIDATION_EXCEPTION",
            }
        )
        mail = mail_to("live@acme.example", Subject="Comes by itself")
        id_ = desk.relay.send(mail, desk.addresses["ada"])
        row = page.locator(f"#row-{id_}")
        expect(row).to_contain_text("Comes by itself", timeout=30_000)
        expect(row).to_contain_text("dead", timeout=30_000)

        # While a row is read, nothing moves under it.
        row.get_by_role("link").focus()
        expect(page.get_by_text("Rests while you read")).to_be_visible()
        other = mail_to("live@acme.example", Subject="Waits its turn")
        late = desk.relay.send(other, desk.addresses["ada"])
        expect(page.get_by_text("1 new")).to_be_visible(timeout=30_000)
        assert page.locator(f"#row-{late}").count() == 0
        page.get_by_role("button", name="Live").focus()
        expect(page.locator(f"#row-{late}")).to_be_visible(timeout=30_000)
        desk.settled(late)

        desk.org.faults()
        page.get_by_role("link", name=re.compile("^dead")).click()
        expect(page).to_have_url(re.compile("state%3Adead"))
        page.locator(f"#row-{id_}").get_by_role("link").click()
        page.get_by_role("button", name="Try again").click()
        expect(page.get_by_text("1 message is tried again.")).to_be_visible()
        assert desk.settled(id_)["state"] == "logged"


def test_filter_is_completed_and_many_are_held_by_keyboard_alone(desk):
    mail = mail_to(
        "someone@nowhere.example", Subject="To be tried", From="bob@corp.example"
    )
    id_ = desk.relay.send(mail, desk.addresses["bob"])
    desk.settled(id_)
    with desk.visit("root") as page:
        page.goto("/log")
        field = page.get_by_role("combobox")
        field.focus()
        page.keyboard.type("user:bo")
        option = page.get_by_role("option", name="user:bob@corp.example")
        expect(option).to_be_visible()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        expect(field).to_have_value("user:bob@corp.example ")
        page.keyboard.press("Enter")
        expect(page).to_have_url(re.compile("q=user%3Abob"))
        expect(page.locator("table.log tbody tr")).to_have_count(1)
        page.get_by_text("All that match").focus()
        page.keyboard.press("Enter")
        page.get_by_role("link", name="Give up").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_text("1 message will be given up.")).to_be_visible()
        page.get_by_role("button", name="Give up: 1").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_text("1 message is given up.")).to_be_visible()
    assert desk.settled(id_)["state"] == "discarded"


def test_rep_copies_the_relay_address(desk):
    with desk.visit("ada", permissions=["clipboard-read", "clipboard-write"]) as page:
        page.goto("/")
        page.get_by_role("button", name="Copy").click()
        expect(page.get_by_text("Copied")).to_be_visible()
        copied = page.evaluate("navigator.clipboard.readText()")
        assert copied == desk.addresses["ada"]


def test_export_is_a_file(desk, harm):
    with desk.visit("root") as page:
        page.goto("/log")
        with page.expect_download() as found:
            page.get_by_role("link", name="CSV").click()
        text = found.value.path().read_text("utf-8")
        assert harm in text
        assert found.value.suggested_filename.endswith(".csv")


def test_list_is_read_without_scripts(desk, harm):
    with desk.visit("root", java_script_enabled=False) as page:
        page.goto("/log")
        expect(page.locator(f"#row-{harm}")).to_be_visible()
        page.get_by_role("searchbox", name="Find mail").fill("state:dead")
        page.get_by_role("searchbox", name="Find mail").press("Enter")
        assert page.url.endswith("state%3Adead")
