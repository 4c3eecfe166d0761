"""The page of what fails, and of checks."""

from __future__ import annotations

import asyncio

import pytest

from relay.console.checks import Checks
from relay.core.directory import Role
from relay.core.states import Event
from tests.web.pages.people import HOSTILE, add, end

pytestmark = pytest.mark.timeout(60)
RULE = "FIELD_CUSTOM_VALIDATION_EXCEPTION"


async def failed(console, who, code=RULE, detail="Close date is missing", **more):
    """Store a mail whose write Salesforce refused."""
    return await end(
        *(console.store, who.user, Event.PERMANENT, code), detail=detail, **more
    )


async def state(console, id_):
    return (await console.store.log.show(id_))["state"]


async def test_failures_have_code_category_meaning_and_remedy(console):
    """From the one table; what Salesforce has not to do with is not there (D15)."""
    store = console.store
    mona, ada = await add(store, "Mona", Role.MONITOR), await add(store, "Ada")
    ids = [await failed(console, ada, subject=f"Deal {n}") for n in range(4)]
    await failed(console, ada, "HTTP_503", "down")
    await failed(console, ada, "loop", "a loop")
    shown = await console.get("/diagnostics", mona)
    assert RULE in shown.text
    assert "Access and validation" in shown.text
    assert "A validation rule of the org refuses the record." in shown.text
    assert "Change the rule, then retry." in shown.text
    assert "Close date is missing" in shown.text
    assert "4 mails" in shown.text
    assert "HTTP_503" in shown.text
    assert "Intermittent" in shown.text
    assert "<code>loop</code>" not in shown.text
    assert f"/log/{ids[-1]}" in shown.text


async def test_one_or_all_are_tried_again_with_their_number(console):
    """Where there are others by then, nothing is done."""
    store = console.store
    root, ada = await add(store, "Root", Role.ADMIN), await add(store, "Ada")
    ids = [await failed(console, ada) for _ in range(3)]
    other = await failed(console, ada, "ENTITY_IS_LOCKED")
    asked = await console.get("/diagnostics/retry", root, params={"code": RULE})
    assert "3 messages" in asked.text
    form = {"code": RULE, "count": "2"}
    wrong = await console.post("/diagnostics/retry", root, data=form)
    told = await console.get(wrong.headers["location"], root)
    assert "3 messages fail so by now" in told.text
    assert {await state(console, id_) for id_ in ids} == {"dead"}
    await console.post(f"/diagnostics/retry/{ids[0]}", root, data={})
    assert await state(console, ids[0]) == "queued"
    await console.post("/diagnostics/retry", root, data={"code": RULE, "count": "2"})
    assert {await state(console, id_) for id_ in ids} == {"queued"}
    assert await state(console, other) == "dead"
    unknown = await console.get("/diagnostics/retry", root, params={"code": "loop"})
    assert unknown.status_code == 409
    assert (
        await console.post("/diagnostics/retry/01x", root, data={})
    ).status_code == 404


async def test_a_check_runs_in_the_background(console):
    """Its findings are shown with hints; a second one waits for the first."""
    root = await add(console.store, "Root", Role.ADMIN)
    begun = await console.post("/diagnostics/check", root, data={})
    assert begun.headers["location"] == "/diagnostics/check"
    part = {"hx-request": "true"}
    for _ in range(500):
        found = await console.get("/diagnostics/check", root, headers=part)
        assert "<html" not in found.text
        if "every 1s" not in found.text:
            break
        await asyncio.sleep(0.05)
    assert "relay domains" in found.text
    assert "notices.smarthost is not set" in found.text
    assert "Checked" in (await console.get("/diagnostics", root)).text


async def test_a_check_that_a_restart_ended_is_gone(console):
    """The page that waits for it is told to start it again, and asks no more."""
    root = await add(console.store, "Root", Role.ADMIN)
    waits = {"hx-request": "true"}
    gone = await console.get("/diagnostics/check", root, headers=waits)
    assert gone.status_code == 404
    assert "Start it again." in gone.text
    assert "hx-trigger" not in gone.text
    whole = await console.get("/diagnostics/check", root)
    assert whole.status_code == 200
    assert "No check was made yet" in whole.text


async def test_a_check_that_fails_ends(console, monkeypatch):
    """Its page says so, and does not wait for ever."""

    async def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr("relay.console.checks.check_all", broken)
    checks = Checks(console.settings, console.clock)
    run = checks.start("web:root")
    assert checks.start("web:mona") is run
    await checks.wait()
    assert not checks.latest.is_running
    assert "ZeroDivisionError" in checks.latest.error


async def test_hostile_text_is_text(console):
    """What Salesforce says, and subjects."""
    store = console.store
    mona, ada = await add(store, "Mona", Role.MONITOR), await add(store, "Ada")
    await failed(console, ada, detail=HOSTILE, subject=HOSTILE)
    shown = await console.get("/diagnostics", mona)
    assert "<script>alert" not in shown.text
    assert "<img src=x" not in shown.text
