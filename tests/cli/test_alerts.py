"""`relay alerts`: the list, and the test through a running worker's own parts."""

from __future__ import annotations

import asyncio
import json
import random
import threading
from datetime import timedelta

import pytest

from relay.config import load
from relay.core.alerts import AlertRule, Finding, Look
from relay.core.clock import SystemClock
from relay.core.queue import LeaseOwner
from relay.outbox.backoff import Backoff
from relay.store import Store
from relay.store.alerts import Telling
from relay.upkeep import Alerter
from tests.fakes.receiver import SECRET, receiving

LOOK = Look(
    frozenset({AlertRule.DISK}),
    (Finding(AlertRule.DISK, "mx:store", {"free": 1 << 29, "host": "mx"}),),
)


def raised(relay):
    """Raise an alert in the store of these commands."""
    settings = load(relay.config, {})

    async def job():
        store = await Store.open(settings.store, SystemClock())
        await store.alerts.take(
            LOOK, lambda _alert, _event: Telling({}, {}), remind=timedelta(1)
        )
        await store.close()

    asyncio.run(job())


def test_the_list(relay):
    """What is wrong, with what helps; who is told of it."""
    assert "Nothing is wrong." in relay("alerts", "list").stdout
    raised(relay)
    shown = relay("alerts", "list")
    assert "Only 0.5 GiB of disk space are free on mx" in shown.stdout
    assert "told to nobody" in shown.stderr
    (row,) = relay.json("alerts", "list", "--open")
    assert (row["rule"], row["state"], row["told"]) == ("disk", "raised", 1)


def test_a_test_needs_a_way(relay):
    """It names the settings."""
    failed = relay("alerts", "test", status=2)
    assert "set notices.smarthost, or alerts.webhook_url" in failed.stderr


@pytest.mark.parametrize(
    ("answer", "state", "status"), [(204, "sent", 0), (410, "refused", 1)]
)
def test_a_test_is_sent_and_waited_for(relay, answer, state, status):
    """The relay that runs sends it; its answer is shown, and decides the status."""
    with receiving() as receiver:
        receiver.answers = [answer, answer]
        table = (
            f'\n[alerts]\nwebhook_url = "{receiver.url}"\nwebhook_secret = "{SECRET}"\n'
            "webhook_allow_private = true\n"
        )
        relay.config.write_text(relay.config.read_text("utf-8") + table, "utf-8")
        silent = relay("alerts", "test", "--wait", "0", status=1)
        assert "is relay serve running?" in silent.stderr
        over = threading.Event()
        thread = threading.Thread(target=serve, args=(relay, over))
        thread.start()
        try:
            shown = relay("alerts", "test", "--json", status=status)
        finally:
            over.set()
            thread.join()
    assert receiver.types == ["alert.test", "alert.test"]
    (row,) = [json.loads(line) for line in shown.stdout.splitlines()]
    assert (row["way"], row["state"]) == ("webhook", state)
    assert str(answer) in row["answer"]


def serve(relay, over):
    """Run what a worker runs for alerts, until it is over."""
    settings = load(relay.config, {})

    async def job():
        store = await Store.open(settings.store, SystemClock())
        directory = settings.directory(await store.directory.load())
        alerter = Alerter(
            *(settings, store, SystemClock(), LeaseOwner("mx", "boot", 1, "1")),
            Backoff(settings.worker, random.Random(1)),
            directory=lambda: directory,
            poll_s=0.05,
        )
        alerter.start()
        await asyncio.to_thread(over.wait, 60)
        await alerter.drain(5)
        await store.close()

    asyncio.run(job())
