"""`relay reminder sync`: the switch, what is shown, and what is refused with a hint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from relay.core.queue import LeaseOwner
from relay.core.reminders import By, NewReminder, Source
from relay.core.states import ActivityState
from relay.core.syncing import Stopped
from relay.core.tasks import Clash, Side
from relay.store.reminder_sync import LEASE

if TYPE_CHECKING:
    from relay.store import Store

OWNER = LeaseOwner("host", "boot", 1, "1")
ADA = "ada@corp.example"
CONNECTION = """
[salesforce]
instance_url = "https://corp.my.salesforce.com"
client_id = "id"
client_secret = "secret"
"""


@pytest.fixture(autouse=True)
def ada(relay: Any) -> None:
    """Add a user whom Salesforce knows."""
    relay.config.write_text(relay.config.read_text("utf-8") + CONNECTION, "utf-8")
    relay("user", "add", "Ada", "--email", ADA, "--salesforce-id", "0055g00000AbCdEAAV")


def status(relay: Any) -> dict[str, Any]:
    (row,) = relay.json("reminder", "sync", "status", ADA)
    return dict(row)


def test_it_is_off_until_it_is_switched_on(relay: Any) -> None:
    """R15, R16: each switch is shown and in the history."""
    assert status(relay)["state"] == "off"
    (row,) = relay.json("reminder", "sync", "on", ADA)
    assert (row["state"], row["on"], row["tasks"]) == ("importing", True, 0)
    assert "importing" in relay("reminder", "sync", "status").stdout
    (row,) = relay.json("reminder", "sync", "off", ADA)
    assert (row["state"], row["since"]) == ("off", None)
    actions = [row["action"] for row in relay.json("history", "--change", "reminder")]
    assert actions[-2:] == ["reminder_sync_on", "reminder_sync_off"]


def test_it_needs_a_salesforce_user(relay: Any) -> None:
    """The hint names the command that gives one."""
    relay("user", "add", "Ben", "--email", "ben@corp.example")
    text = relay.error("reminder", "sync", "on", "ben@corp.example", status=2)
    assert "--salesforce-id" in text
    text = relay.error("reminder", "sync", "resume", ADA, status=1)
    assert "is off" in text
    text = relay.error("reminder", "sync", "on", "nobody@corp.example", status=1)
    assert "nobody@corp.example" in text


def test_a_stop_is_shown_with_what_helps_and_ends_with_resume(relay: Any) -> None:
    """The counts of the brake stand in the status."""
    relay("reminder", "sync", "on", ADA)

    async def stop(store: Store) -> None:
        await store.leases.take(LEASE, OWNER, 600)
        (user,) = await store.reminder_sync.users()
        from dataclasses import replace

        brake = replace(
            user, stopped=Stopped.BRAKE, stopped_text="of 30 tasks, 21 …", permit=21
        )
        await store.reminder_sync.mark(OWNER, [brake])

    relay.in_store(stop)
    row = status(relay)
    assert (row["state"], row["stopped"]) == ("stopped", "brake")
    assert "relay reminder sync resume" in row["hint"]
    assert "of 30 tasks" in relay("reminder", "sync", "status", ADA).stdout
    relay("reminder", "sync", "resume", ADA)
    assert status(relay)["stopped"] is None


def test_conflicts_and_failures_are_listed_and_undone(relay: Any) -> None:
    """Both values, and what Salesforce said; a retry counts what it lets go on."""
    relay("reminder", "sync", "on", ADA)

    async def make(store: Store) -> str:
        await store.leases.take(LEASE, OWNER, 600)
        (user,) = await store.reminder_sync.users()
        new = NewReminder(user.user_id, user.user_id, "Call")
        made = await store.reminders.add(new, By("ada", Source.PERSON))
        ((pair),) = await store.reminder_sync.plan(OWNER, [made])
        from dataclasses import replace

        assert pair.twin
        refused = replace(
            pair.twin,
            state=ActivityState.REFUSED,
            code="REQUIRED_FIELD_MISSING",
            error="Required fields are missing: [Region__c]",
        )
        clash = Clash("details", "Here", "There", Side.SALESFORCE)
        found = {made.id: (clash,)}
        await store.reminder_sync.keep(OWNER, [refused], clashes=found)
        return made.id

    ident = relay.in_store(make)
    (row,) = relay.json("reminder", "sync", "conflicts")
    assert (row["here"], row["salesforce"], row["kept"]) == (
        *("Here", "There"),
        "salesforce",
    )
    assert "There" in relay("reminder", "sync", "conflicts", ADA).stdout
    (row,) = relay.json("reminder", "sync", "failures")
    assert (row["reminder"], row["code"]) == (ident, "REQUIRED_FIELD_MISSING")
    assert row["meaning"]
    assert "Region__c" in relay("reminder", "sync", "failures").stdout
    relay("reminder", "sync", "undo", "1")
    assert relay.json("reminder", "show", ident)[0]["details"] == "Here"
    assert "was undone" in relay.error("reminder", "sync", "undo", "1", status=1)
    assert "lists all" in relay.error("reminder", "sync", "undo", "9", status=1)
    assert relay.json("reminder", "sync", "retry")[0]["retried"] == 1
    assert relay.json("reminder", "sync", "failures") == []
