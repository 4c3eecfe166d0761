"""Settings → Salesforce and → Rules: who sees what, and what is saved when."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from relay.admin.settings import EDITABLE
from relay.config import load
from relay.console import presets
from relay.console.replays import Replays
from relay.core.clock import SystemClock
from relay.core.directory import Role
from relay.core.errors import OrgPaused
from relay.store import Store
from relay.web.pages.render import Reader
from relay.web.pages.rule_names import rule_name
from relay.worker.replay import Difference, Kind, Outcome, Page, Summary
from tests.cli.conftest import CONFIG
from tests.cli.test_logging import BOTH, PLACE
from tests.web.pages.conftest import Console
from tests.web.pages.people import add

pytestmark = pytest.mark.timeout(60)

SALESFORCE = "/settings/salesforce"
RULES = "/settings/rules"


@pytest.fixture
async def console(tmp_path):
    """Pages of a relay with an org, a smarthost, and a re-play made by hand."""
    config = tmp_path / "relay.toml"
    config.write_text(CONFIG.format(folder=tmp_path) + BOTH, "utf-8")
    settings = load(config, {})
    store = await Store.open(settings.store, SystemClock())
    made = Console(store, settings)
    yield made
    await made.close()
    await store.close()


@pytest.fixture
async def bare(tmp_path):
    """Pages of a relay without org and smarthost."""
    config = tmp_path / "bare.toml"
    config.write_text(CONFIG.format(folder=tmp_path), "utf-8")
    settings = load(config, {})
    store = await Store.open(settings.store, SystemClock())
    made = Console(store, settings)
    yield made
    await made.close()
    await store.close()


async def people(console):
    """Return a rep and an admin who are users."""
    ada = await add(console.store, "Ada")
    root = await add(console.store, "Root", Role.ADMIN)
    return ada, root


async def after(console, answer, who):
    """Follow a redirect; return the page."""
    assert answer.status_code == 303, answer.text
    return await console.get(answer.headers["location"], who)


async def setting(console, key):
    return (await console.store.directory.settings()).get(key)


async def user(console, who):
    directory = await console.store.directory.load()
    return directory.users[who.user.id]


# ------------------------------------------------------------------ Salesforce


async def test_a_rep_sees_own_cards_alone(console):
    """R3, R4, R5: under My account; an admin's forms are not there."""
    ada, root = await people(console)
    shown = (await console.get(SALESFORCE, ada)).text
    for text in (
        "My account",
        "Log email activity to Salesforce",
        "Salesforce API",
        "Email to Salesforce (BCC)",
        "Sync tasks and reminders to Salesforce tasks",
        "Do not sync to Salesforce tasks",
    ):
        assert text in shown
    for text in ("Admin settings", "Who decides", "Activity detail", "For everybody"):
        assert text not in shown
    shown = (await console.get(SALESFORCE, root)).text
    for text in ("Admin settings", "Who decides", "Activity detail", "For everybody"):
        assert text in shown


async def test_nothing_changes_before_save(console):
    """R6, R7: a look at either tab is no choice; Activate is."""
    ada, _ = await people(console)
    await console.get(f"{SALESFORCE}?tab=bcc", ada)
    assert (await user(console, ada)).log_by is None
    form = {"tab": "bcc", "address": PLACE}
    answer = await console.post(f"{SALESFORCE}/activate", ada, data=form)
    assert "Activated." in (await after(console, answer, ada)).text
    found = await user(console, ada)
    assert (found.log_by, found.salesforce_address) == ("bcc", PLACE)
    form = {"tab": "bcc", "stop": "yes"}
    await console.post(f"{SALESFORCE}/activate", ada, data=form)
    assert (await user(console, ada)).log_by == "api"
    assert (await user(console, ada)).salesforce_address == PLACE
    await console.post(f"{SALESFORCE}/own", ada, data={"way": "bcc"})
    assert (await user(console, ada)).log_by == "bcc"


async def test_without_an_address_the_steps_are_shown(console):
    """R9 to R13; an empty field, or the relay's own address, is refused."""
    ada, _ = await people(console)
    shown = (await console.get(f"{SALESFORCE}?tab=bcc", ada)).text
    for text in ("My Email to Salesforce", "Acceptable Email Addresses", "tick Active"):
        assert text in shown
    for address in ("", "x@in.relay.example", "nonsense"):
        form = {"tab": "bcc", "address": address}
        answer = await console.post(f"{SALESFORCE}/activate", ada, data=form)
        assert answer.headers["location"].endswith("?tab=bcc")
        assert "flash failed" in (await after(console, answer, ada)).text
    assert (await user(console, ada)).log_by is None


async def test_what_an_admin_fixed_is_shown_and_holds(console):
    """D25: by whom; the user's own form is off, and refused if it is sent."""
    ada, root = await people(console)
    form = {"decides": "api_only"}
    answer = await console.post(f"{SALESFORCE}/team", root, data=form)
    assert "Saved." in (await after(console, answer, root)).text
    shown = (await console.get(SALESFORCE, ada)).text
    assert "has decided this for everybody" in shown
    assert root.name in shown
    answer = await console.post(f"{SALESFORCE}/own", ada, data={"way": "bcc"})
    assert "decided for everybody" in (await after(console, answer, ada)).text.lower()
    assert (await user(console, ada)).log_by is None


async def test_each_choice_says_what_it_costs(console):
    """Before it is saved, and how that was reckoned."""
    _, root = await people(console)
    shown = (await console.get(SALESFORCE, root)).text
    assert len(re.findall(r"About \d+ API calls a day", shown)) >= 4
    assert "two calls a mail" in shown


async def test_without_org_and_smarthost_nothing_can_be_chosen(bare):
    """R1, R2: the page names what is missing, and the edition that is needed."""
    _, root = await people(bare)
    shown = (await bare.get(SALESFORCE, root)).text
    assert "There is no connection to Salesforce" in shown
    assert "Enterprise or Unlimited Edition" in shown
    form = {"decides": "bcc_only"}
    answer = await bare.post(f"{SALESFORCE}/team", root, data=form)
    assert "There is no smarthost" in (await after(bare, answer, root)).text
    found = (await bare.get(f"{SALESFORCE}/check", root)).text
    assert "salesforce.instance_url" in found


async def test_an_admin_says_what_mail_is_logged_on(console):
    """D14, D25, D26: as one change, which one form takes back."""
    _, root = await people(console)
    form = {
        "contact": "on",
        "opportunities": "newest",
        "accounts": "",
        "kind": ["mails", "reminders"],
    }
    answer = await console.post(f"{SALESFORCE}/on", root, data=form)
    shown = (await after(console, answer, root)).text
    assert await setting(console, "match.objects") == ["contact", "person_account"]
    assert await setting(console, "match.opportunities") == "newest"
    assert await setting(console, "match.kinds") == ["mails", "reminders"]
    (undo,) = re.findall(r'action="(/settings/salesforce/undo/\d+)"', shown)
    answer = await console.post(undo, root)
    await after(console, answer, root)
    assert await setting(console, "match.opportunities") is None
    answer = await console.post(f"{SALESFORCE}/on", root, data={"kind": "mails"})
    assert "choose contacts" in (await after(console, answer, root)).text.lower()


async def test_replies_are_offered_with_the_api_alone(console):
    """D10."""
    _, root = await people(console)
    assert 'value="replies"' in (await console.get(SALESFORCE, root)).text
    await console.post(f"{SALESFORCE}/team", root, data={"decides": "bcc_only"})
    shown = (await console.get(f"{SALESFORCE}?tab=api", root)).text
    assert 'id="f-kind-replies"' not in shown


async def test_a_template_is_shown_before_it_is_saved(console):
    """D1, D30: a part for htmx, a page without; wrong names are told with the known."""
    _, root = await people(console)
    query = {"template": "[x] {{Activity_subject}}", "example": "Tea"}
    preview = f"{SALESFORCE}/preview"
    headers = {"HX-Request": "true"}
    part = await console.post(preview, root, data=query, headers=headers)
    assert "[x] Tea" in part.text
    assert "Reply: Tea" in part.text
    assert "<html" not in part.text
    whole = await console.post(preview, root, data=query)
    assert "[x] Tea" in whole.text
    assert "<html" in whole.text
    wrong = await console.post(preview, root, data={"template": "{{nobody}}"})
    assert "activity_subject" in wrong.text
    assert await setting(console, "match.subject") is None
    form = {"template": "[x] {{activity_subject}}"}
    answer = await console.post(f"{SALESFORCE}/subject", root, data=form)
    await after(console, answer, root)
    assert await setting(console, "match.subject") == "[x] {{activity_subject}}"
    answer = await console.post(
        f"{SALESFORCE}/subject", root, data={"template": "{{nobody}}"}
    )
    assert "flash failed" in (await after(console, answer, root)).text


async def test_the_sync_of_reminders_is_off_until_it_is_saved(console):
    """R15, R16: the default is off; it needs a Salesforce user."""
    ada, _ = await people(console)
    shown = (await console.get(SALESFORCE, ada)).text
    assert re.search(r'id="w-sync-off"[^>]* checked', shown)
    assert "last 24 hours" in shown
    answer = await console.post(f"{SALESFORCE}/reminders", ada, data={"sync": "on"})
    assert "flash failed" in (await after(console, answer, ada)).text
    await console.store.directory.set_salesforce_id(
        ada.user.id, "005000000000001AAA", "test"
    )
    known = await console.get(SALESFORCE, ada)
    assert known.status_code == 200
    ada = replace(ada, user=await user(console, ada))
    answer = await console.post(f"{SALESFORCE}/reminders", ada, data={"sync": "on"})
    assert "first run" in (await after(console, answer, ada)).text
    where = f"{SALESFORCE}/sync"
    part = (await console.get(where, ada, headers={"HX-Request": "true"})).text
    assert "0 Tasks imported so far" in part
    assert f'hx-get="{where}"' in part
    assert "<html" not in part
    assert "<html" in (await console.get(where, ada)).text
    switch = await console.store.reminder_sync.user(ada.user.id)
    assert switch.is_on
    await console.post(f"{SALESFORCE}/reminders", ada, data={"sync": "off"})
    switch = await console.store.reminder_sync.user(ada.user.id)
    assert not switch.is_on
    shown = (await console.get(SALESFORCE, ada)).text
    assert re.search(r'id="w-sync-off"[^>]* checked', shown)


# ------------------------------------------------------------------ rules


async def test_every_rule_is_shown_with_who_set_it(console):
    """Meaning, value, default; of a change who made it, and taking it back."""
    _, root = await people(console)
    shown = (await console.get(RULES, root)).text
    for key in ("match.several", "automatic.campaign", "sender.policy", "log_by"):
        assert f"/settings/rules/{key}" in shown
    for key in EDITABLE:
        assert rule_name(Reader(), key) != key
    assert rule_name(Reader(), "sender.otherwise.acme.com").endswith(": acme.com")
    assert rule_name(Reader(), "sender.nothing") == "sender.nothing"
    one = (await console.get(f"{RULES}/match.several", root)).text
    assert "most_activity" in one
    form = {"key": "match.several", "value": "oldest"}
    answer = await console.post(f"{RULES}/save", root, data=form)
    shown = (await after(console, answer, root)).text
    assert await setting(console, "match.several") == "oldest"
    assert root.name in shown
    (undo,) = re.findall(r'action="(/settings/rules/take-back/\d+)"', shown)
    await after(console, await console.post(undo, root), root)
    assert await setting(console, "match.several") is None


async def test_values_are_ticked_typed_or_taken_back(console):
    """A list of words; text; the default again. What does not fit is told."""
    _, root = await people(console)
    form = {"key": "match.kinds", "many": "yes", "value": ["mails"]}
    await console.post(f"{RULES}/save", root, data=form)
    assert await setting(console, "match.kinds") == ["mails"]
    form = {"key": "match.kinds", "many": "yes", "default": "yes"}
    await console.post(f"{RULES}/save", root, data=form)
    assert await setting(console, "match.kinds") is None
    form = {"key": "match.body_rules", "value": "nonsense"}
    answer = await console.post(f"{RULES}/save", root, data=form)
    assert answer.headers["location"].endswith(f"{RULES}/match.body_rules")
    assert "flash failed" in (await after(console, answer, root)).text
    form = {"key": "match.body", "value": "full"}
    answer = await console.post(f"{RULES}/save", root, data=form)
    assert "It is so already" in (await after(console, answer, root)).text
    assert (await console.get(f"{RULES}/nothing", root)).status_code == 404


async def test_exclusions_come_and_go(console):
    """For everybody; each can be taken back."""
    _, root = await people(console)
    form = {"pattern": "*@bank.example", "skip": "mail"}
    answer = await console.post(f"{RULES}/exclude", root, data=form)
    shown = (await after(console, answer, root)).text
    assert "*@bank.example" in shown
    assert "/settings/rules/take-back/" in shown
    form = {"pattern": "*@bank.example"}
    answer = await console.post(f"{RULES}/include", root, data=form)
    await after(console, answer, root)
    assert await console.store.directory.exclusions() == []
    form = {"pattern": "not an address", "skip": "mail"}
    answer = await console.post(f"{RULES}/exclude", root, data=form)
    assert "flash failed" in (await after(console, answer, root)).text


async def test_a_preset_shows_what_it_changes(console, monkeypatch):
    """Then it is one change."""

    async def fits(*_):
        """Stand for an org in which all of it fits."""

    monkeypatch.setattr(presets, "check", fits)
    _, root = await people(console)
    shown = (await console.get(f"{RULES}/preset/email-to-salesforce", root)).text
    assert "match.unmatched_task" in shown
    form = {"preset": "email-to-salesforce"}
    answer = await console.post(f"{RULES}/save", root, data=form)
    await after(console, answer, root)
    assert await setting(console, "match.unmatched_task") is True
    shown = (await console.get(f"{RULES}/preset/email-to-salesforce", root)).text
    assert "All rules are so already" in shown
    assert (await console.get(f"{RULES}/preset/x", root)).status_code in {404, 409}


async def test_a_monitor_reads_and_changes_nothing(console):
    """No form to save is on the pages, and none is taken."""
    mona = await add(console.store, "Mona", Role.MONITOR)
    for path in (SALESFORCE, RULES, f"{RULES}/match.several"):
        answer = await console.get(path, mona)
        assert answer.status_code == 200
    assert "/settings/rules/save" not in answer.text
    form = {"key": "match.several", "value": "oldest"}
    assert (await console.post(f"{RULES}/save", mona, data=form)).status_code == 403
    ada = await add(console.store, "Ada")
    assert (await console.get(RULES, ada)).status_code == 403


# ------------------------------------------------------------------ trials


def outcome(state, reason=""):
    return Outcome(state, reason, "", (("Contact", "003A", "Mara", "r"),), {}, ())


def replaying(*pages, error=None):
    """Return what stands for a re-play: these pages, or an error."""
    asked = []

    class Replay:
        summary = Summary(mails=3)

        async def pages(self):
            for page in pages:
                type(self).summary = page.summary
                yield page
            if error:
                raise error

    @asynccontextmanager
    async def made(change, wanted, **_):
        asked.append((dict(change.settings), wanted))
        yield Replay()

    made.asked = asked
    return made


DIFFERENCE = Difference(
    "01hzzzzzzzzzzzzzzzzzzzzzzz",
    datetime(2026, 3, 1, tzinfo=UTC),
    ("ada@corp.example",),
    "ada@corp.example",
    "The <offer>",
    Kind.NEWLY_LOGGED,
    ("skipped", "x"),
    (),
    outcome("skipped", "confidential"),
    outcome("logged"),
)
PAGE = Page((DIFFERENCE,), Summary(3, 3, {Kind.NEWLY_LOGGED: 1}, calls=2))


async def test_a_change_is_tried_before_it_is_saved(console):
    """In the background; the page shows how far it is, and saves with one click."""
    made = replaying(PAGE)
    replays = Replays(made, console.clock)
    console = Console(console.store, console.settings, replays=replays)
    _, root = await people(console)
    form = {"key": "match.confidential", "value": "log"}
    answer = await console.post(f"{RULES}/try", root, data=form)
    assert await setting(console, "match.confidential") is None
    place = answer.headers["location"]
    for _ in range(200):
        await asyncio.sleep(0)  # The trial's turn.
        shown = (await console.get(place, root)).text
        if "1 would change" in shown:
            break
    assert "The &lt;offer&gt;" in shown
    assert "newly logged" in shown
    ((change, wanted),) = made.asked
    assert change == {"match.confidential": "log"}
    assert wanted.since is not None
    part = await console.get(place, root, headers={"HX-Request": "true"})
    assert "<html" not in part.text
    assert "hx-trigger" not in part.text, "it has ended"
    saving = {"key": "match.confidential", "value": "log"}
    await console.post(f"{RULES}/save", root, data=saving)
    assert await setting(console, "match.confidential") == "log"
    form = {"key": "sender.policy", "value": "listed"}
    answer = await console.post(f"{RULES}/try", root, data=form)
    assert "cannot be tried" in (await after(console, answer, root)).text
    answer = await console.post(
        f"{RULES}/try", root, data={"preset": "email-to-salesforce"}
    )
    assert "match.visibility" in (await after(console, answer, root)).text
    gone = await console.get(f"{RULES}/trial/none", root)
    assert gone.status_code == 404
    assert "not over a restart of the relay" in gone.text
    assert "Start the re-play again." in gone.text
    # What a page that waits asks for again is answered by a part, and asked no more.
    waits = {"HX-Request": "true"}
    gone = await console.get(f"{RULES}/trial/none", root, headers=waits)
    assert (gone.status_code, "<html" in gone.text) == (404, False)
    assert "Try the change again." in gone.text
    assert "hx-trigger" not in gone.text


async def test_a_trial_that_fails_says_why(console):
    """A paused org is told; without an org there is nothing to try."""
    _, root = await people(console)
    form = {"key": "match.confidential", "value": "log"}
    answer = await console.post(f"{RULES}/try", root, data=form)
    assert "without a Salesforce org" in (await after(console, answer, root)).text
    paused = replaying(error=OrgPaused("the org is paused", code="quota"))
    console = Console(
        console.store, console.settings, replays=Replays(paused, console.clock)
    )
    answer = await console.post(f"{RULES}/try", root, data=form)
    place = answer.headers["location"]
    for _ in range(200):
        await asyncio.sleep(0)  # The trial's turn.
        shown = (await console.get(place, root)).text
        if "the org is paused" in shown:
            break
    assert "the org is paused" in shown
    id_ = place.rpartition("/")[2]
    answer = await console.post(f"{RULES}/stop/{id_}", root)
    assert "Stopped." in (await after(console, answer, root)).text
    assert (await console.get(place, root)).status_code == 404
