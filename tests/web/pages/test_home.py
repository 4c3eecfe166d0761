"""The first page: each role sees what matters to it, and numbers that are right."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from relay.console import reminders
from relay.console.figures import figures
from relay.console.reminders import Desk
from relay.core.directory import Role
from relay.core.ids import new_message_id
from relay.core.model import Refusal
from relay.core.reminders import Source
from relay.core.states import Event
from relay.web.pages.charts import of_figures, upper
from relay.web.pages.home import vcard
from relay.web.pages.render import Reader
from tests.web.pages.conftest import person, put


async def someone(console, name, role):
    email = f"{name.lower()}@corp.example"
    user = await console.store.directory.add_user(name, email, role, None, "test")
    return person(name, role, user.id, relay_token=user.relay_token)


async def test_a_rep_has_the_own_address_as_text_and_as_a_contact(console):
    ada = await someone(console, "Ada", Role.REP)
    address = f"{ada.user.relay_token}@in.relay.example"
    shown = await console.get("/", ada)
    assert f"<code>{address}</code>" in shown.text
    assert "Thunderbird" in shown.text
    assert "Connection" not in shown.text
    card = await console.get("/relay.vcf", ada)
    assert card.headers["Content-Type"].startswith("text/vcard")
    assert f"EMAIL;TYPE=INTERNET:{address}\r\n" in card.text


async def test_who_has_no_address_that_takes_mail_is_told_so(console):
    off = person("Ada", Role.REP, active=False)
    assert "An administrator switches it on" in (await console.get("/", off)).text
    assert (await console.get("/relay.vcf", off)).status_code == 404


async def test_monitor_and_admin_see_how_the_relay_is(console):
    ada = await someone(console, "Ada", Role.REP)
    (id_,) = await put(console.store, ada.user.id, "Offer <b>")
    await console.store.queue.apply(Event.HOLD, [id_], None, "test")
    for role in (Role.MONITOR, Role.ADMIN):
        shown = await console.get("/", person("Zoe", role, 99))
        for text in ("Connection", "in use", "Offer &lt;b&gt;", "silent for 7 days"):
            assert text in shown.text, text
        assert 'href="/log?q=state:held"' in shown.text
        assert ("data-auto" in shown.text) is (role is Role.MONITOR)
        assert ada.user.relay_token not in shown.text


async def test_a_rep_sees_what_is_due_and_what_is_overdue(console):
    """Of the rep's own reminders alone; a link leads to the Command Center."""
    ada = await someone(console, "Ada", Role.REP)
    bob = await someone(console, "Bob", Role.REP)
    now = console.clock.now()
    for who, days in ((ada, "today"), (ada, "2020-01-02"), (ada, "2020-01-03")):
        desk = Desk(console.store, console.settings, who, Source.PERSON, now)
        await reminders.add(desk, reminders.Draft(name="Call", due=days))
    mine = (await console.get("/", ada)).text
    card = mine.partition('aria-label="My reminders"')[2].partition("</section>")[0]
    assert 'href="/reminders"' in card
    assert re.findall(r"<b>(\d+)</b>", card) == ["1", "2"]
    theirs = (await console.get("/", bob)).text
    card = theirs.partition('aria-label="My reminders"')[2].partition("</section>")[0]
    assert re.findall(r"<b>(\d+)</b>", card) == ["0", "0"]


async def test_an_admin_sees_who_is_silent_and_what_is_wrong(console):
    """By name, with a link; a monitor has no reminders."""
    ada = await someone(console, "Ada", Role.REP)
    root = await someone(console, "Root", Role.ADMIN)
    mona = await someone(console, "Mona", Role.MONITOR)
    before = (await console.get("/", root)).text
    assert "nothing is wrong" in before
    assert "Nothing logged for 7 days" not in before
    console.clock.now = lambda: datetime.now(UTC) + timedelta(days=9)
    shown = (await console.get("/", root)).text
    card = shown.partition('aria-label="Nothing logged for 7 days"')[2]
    assert f'href="/people/{ada.user.id}"' in card.partition("</section>")[0]
    assert "9 silent days" in card
    assert "My reminders" not in (await console.get("/", mona)).text


async def test_numbers_are_those_of_the_hour_the_outcome_and_the_user(console):
    store = console.store
    ada = await someone(console, "Ada", Role.REP)
    bob = await someone(console, "Bob", Role.REP)
    ids = await put(store, ada.user.id, "One", "Two", "Three")
    await put(store, bob.user.id, "Four")
    await store.queue.apply(Event.DISCARD, ids[:1], None, "test")
    now = datetime.now(UTC)
    for user_id, times in ((ada.user.id, 2), (None, 1)):
        for _ in range(times):
            await store.refusals.record(
                [
                    Refusal(
                        id=new_message_id(console.clock),
                        at=now,
                        peer="192.0.2.1",
                        mail_from="x@y.example",
                        rcpt="z@in.relay.example",
                        header_from="",
                        reply="550 5.1.1 unknown",
                        reason="unknown_recipient" if user_id is None else "no_from",
                        user_id=user_id,
                    )
                ]
            )
    found = await figures(store, console.settings, now + timedelta(seconds=5))
    total = {
        name: sum(hour.outcomes[name] for hour in found.hours)
        for name in found.hours[0].outcomes
    }
    assert total == {
        "logged": 0,
        "waiting": 3,
        "left_out": 1,
        "failed": 0,
        "refused": 3,
    }
    assert found.refusals == {"no_from": 2, "unknown_recipient": 1}
    assert len(found.hours) == 24
    own = await figures(
        store, console.settings, now + timedelta(seconds=5), ada.user.id
    )
    assert sum(sum(hour.outcomes.values()) for hour in own.hours) == 5
    assert own.refusals == {"no_from": 2}
    drawn = of_figures(found, Reader())
    assert drawn["outcomes"].top >= 4
    assert len(drawn["outcomes"].labels) == 24


@pytest.mark.parametrize(
    ("value", "top"),
    [(0, 1), (1, 1), (1.5, 2), (3, 5), (7, 10), (10, 10), (11, 20), (999, 1000)],
)
def test_a_chart_ends_at_a_round_number(value, top):
    assert upper(value) == top


def test_a_contact_keeps_its_lines_whole():
    assert "FN:a\\, b\\; c\\\\\r\n" in vcard("a, b; c\\", "x@y.example")
