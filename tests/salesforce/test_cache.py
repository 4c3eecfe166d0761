"""The cache between the relay and the sandbox: fewer calls, no stale answers."""

from __future__ import annotations

import pytest

from relay.core.clock import SystemClock
from relay.salesforce.org import Org

KIM = "kim@customer.example"


def add(sandbox):
    """Make a Contact and return its id."""
    (sfid,) = sandbox.insert_raw("Contact", [{"LastName": "Kim", "Email": KIM}])
    return sfid


@pytest.fixture
async def cached(sandbox, settings_for):
    """Return an org that remembers for a minute."""
    settings = settings_for(sandbox, timeout_s=5.0, cache_s=60.0, cache_negative_s=60.0)
    org = Org(settings, SystemClock())
    yield org
    await org.close()


async def names(org, **more):
    found = (await org.lookup.find([KIM], **more)).found
    return [candidate.name for candidate in found.candidates.get(KIM, ())]


async def test_the_same_address_is_asked_once(cached, sandbox):
    """A second mail to the same person costs no look-up."""
    add(sandbox)
    assert await names(cached) == ["Kim"]
    calls = cached.stats.calls["lookup"]
    assert await names(cached) == ["Kim"]
    assert cached.stats.calls["lookup"] == calls


async def test_a_retry_sees_what_was_made_a_moment_ago(cached, sandbox):
    """Nobody is remembered, and yet found by whoever asks anew; then by all."""
    assert await names(cached) == []
    add(sandbox)
    assert await names(cached) == []
    assert await names(cached, fresh={KIM}) == ["Kim"]
    assert await names(cached) == ["Kim"]


async def test_a_write_conflict_empties_the_cache(cached, org, sandbox):
    """A record that is gone is not chosen again from memory."""
    kim = add(sandbox)
    assert await names(cached) == ["Kim"]
    assert await org.records.delete("Contact", kim)
    fields = {"Subject": "x", "WhoId": kim, "Status": "Completed"}
    (outcome,) = await cached.records.create(
        [("a" * 40, "Task", fields)], not_after_boottime_s=None
    )
    assert str(outcome.state) == "refused", outcome
    assert await names(cached) == []
