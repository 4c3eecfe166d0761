"""A client and an org that talk to a scripted server on loopback."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from relay.config import SalesforceSettings
from relay.core.clock import SystemClock
from relay.salesforce.auth import TokenProvider
from relay.salesforce.budget import CallStats
from relay.salesforce.client import Client
from relay.salesforce.org import Org
from tests.fakes.served import served


class Clock:
    """A clock that a test sets; boot time goes with it."""

    def __init__(self) -> None:
        self.at = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
        self.boot_s = 1000.0

    def now(self):
        return self.at

    def boottime_s(self):
        return self.boot_s

    def pass_s(self, seconds):
        self.at += timedelta(seconds=seconds)
        self.boot_s += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def settings_for():
    """Return a function that makes settings for a server."""

    def make(server, **changes):
        values = {
            "instance_url": server.url if hasattr(server, "url") else server,
            "client_id": "relay-sandbox",
            "client_secret": SecretStr("relay-sandbox-secret"),
            "timeout_s": 1.0,
            "cache_s": 0.0,
            "cache_negative_s": 0.0,
            **changes,
        }
        return SalesforceSettings(**values)

    return make


@pytest.fixture
def client_for(clock, settings_for):
    """Return a function that makes a client for a server, closed at the end."""
    made = []

    def make(server, **changes):
        settings = settings_for(server, **changes)
        stats = CallStats(clock)
        tokens = TokenProvider(settings, clock, observe=stats.count)
        client = Client(settings, clock, tokens, stats)
        client.tokens, client.stats = tokens, stats
        made.append(client)
        return client

    yield make
    for client in made:
        client.close()
        client.tokens.close()


@pytest.fixture
async def org_for(clock, settings_for):
    """Return a function that makes an org for a server, closed at the end."""
    made = []

    def make(server, **changes):
        org = Org(settings_for(server, **changes), clock)
        made.append(org)
        return org

    yield make
    for org in made:
        await org.close()


@pytest.fixture
def sandbox():
    """Return a sandbox org that is served on loopback in a thread of its own."""
    with served() as org:
        yield org


@pytest.fixture
async def org(sandbox, settings_for):
    """Return an org that talks to the sandbox, by the machine's clock."""
    made = Org(settings_for(sandbox, timeout_s=5.0), SystemClock())
    yield made
    await made.close()
