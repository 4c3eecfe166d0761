"""The page of alerts: what is wrong, in the reader's language, and the test."""

from __future__ import annotations

from datetime import timedelta

from relay.core.alerts import AlertEvent, AlertRule, Finding, Look
from relay.core.directory import Role
from relay.core.queue import LeaseOwner
from relay.core.states import ActivityState
from relay.store.alerts import CallUpdate, Telling
from tests.web.pages.conftest import person

ADMIN = person("Ada", Role.ADMIN)
MONITOR = person("Mo", Role.MONITOR, 2)
REP = person("Rep", Role.REP, 3)
FACTS = {"since": "2026-03-01T05:00:00+00:00", "cause": "<script>alert(1)</script>"}
RULES = frozenset({AlertRule.CONNECTION})
HOLDS = Look(RULES, (Finding(AlertRule.CONNECTION, "https://corp.example", FACTS),))


def tell(alert, event):
    return Telling({f"msg_{event}": "{}"}, {})


async def test_what_is_wrong_and_what_was(console):
    """With what helps, escaped; nothing of it for reps."""
    assert "Nothing is wrong" in (await console.get("/alerts", ADMIN)).text
    alerts = console.store.alerts
    await alerts.take(HOLDS, tell, remind=None)
    shown = (await console.get("/alerts", MONITOR)).text
    assert "&lt;script&gt;alert(1)" in shown
    assert "see relay status and relay check" in shown
    owner = LeaseOwner("host", "boot", 10, "1")
    (call,) = await alerts.claim(owner, 1, 60)
    gone = CallUpdate(call.key, ActivityState.REFUSED, 410, "bye", "answered 410")
    await alerts.settle(owner, gone)
    await alerts.take(Look(RULES), tell, remind=timedelta(hours=1))
    shown = (await console.get("/alerts", ADMIN)).text
    assert "answered 410" in shown
    assert "Salesforce can be used again" in shown
    assert AlertEvent.CLEARED.value
    assert (await console.get("/alerts", REP)).status_code == 403


async def test_it_is_in_the_language_of_the_reader(console):
    """Of the user, before that of the browser."""
    await console.store.alerts.take(HOLDS, tell, remind=None)
    header = {"Accept-Language": "es"}
    assert "Reglas" in (await console.get("/alerts", ADMIN, headers=header)).text
    swede = person("Eva", Role.ADMIN, 4, language="sv")
    shown = (await console.get("/alerts", swede, headers=header)).text
    assert '<html lang="sv"' in shown
    assert "Regler" in shown


async def test_thresholds_are_words_with_a_link(console):
    """With their unit; each leads to the rule that changes it."""
    shown = (await console.get("/alerts", MONITOR)).text
    for words in ("5 minutes", "80%", "50 refusals", "5 times as many", "1 GiB"):
        assert words in shown
    assert 'href="/settings/rules/alerts.queue_age_s">Mail waits too long</a>' in shown


async def test_the_test_needs_a_way_and_the_right(console):
    """It says what is to be set; who may not change settings sends none."""
    sent = await console.post("/alerts/test", ADMIN)
    assert sent.status_code == 303
    said = await console.get("/alerts", ADMIN)
    assert "alerts are told to nobody; set notices.smarthost" in said.text
    assert (await console.post("/alerts/test", MONITOR)).status_code == 403
    console.settings.alerts.__dict__["webhook_url"] = "https://hook.example/"
    assert (await console.post("/alerts/test", ADMIN)).status_code == 303
    assert "The test is on its way." in (await console.get("/alerts", ADMIN)).text
    (call,) = await console.store.alerts.calls()
    assert call.event is AlertEvent.TEST
