"""Facts that relays share: leases, the org's pause, and API calls.

One contract for both databases, and for what stands for them in the unit tests.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from relay.core.shared import CallReading, Pause, PauseState
from relay.store import Store, migrate
from tests.fakes.shared import MemoryShared
from tests.fakes.waiting import until
from tests.store.conftest import PATIENT

ORG = "https://org.example"
LEASE_S = 60


@pytest.fixture(params=["sqlite", "postgresql", "memory"])
def kind(request):
    return request.param


@pytest.fixture
def url(request, kind, tmp_path):
    """Return the URL of an empty store."""
    if kind == "postgresql":
        return request.getfixturevalue("postgres").create("t" + secrets.token_hex(8))
    return f"sqlite:///{tmp_path}/relay.db"


@pytest.fixture
async def store(kind, settings, clock):
    if kind == "memory":
        yield MemoryShared(clock)
        return
    opened = await Store.open(settings.model_copy(update=PATIENT), clock)
    yield opened
    await opened.close()


@pytest.fixture
async def other(kind, store, settings, clock):
    """Return a second store on the same database."""
    if kind == "memory":
        yield store
        return
    opened = await Store.open(settings.model_copy(update=PATIENT), clock)
    yield opened
    await opened.close()


@pytest.fixture
def pause(clock):
    return Pause(
        clock.now(),
        clock.now() + timedelta(seconds=30),
        "down",
        "HTTP_503",
        "no answer",
    )


def alive(*owners):
    return lambda name: name in {str(owner) for owner in owners}


# ------------------------------------------------------------------ leases


async def test_a_lease_has_one_owner(store, other, clock, owner, rival):
    """Another process gets it once it has ended, by release or by time."""
    assert await store.leases.take("probe", owner, LEASE_S)
    assert not await other.leases.take("probe", rival, LEASE_S)
    assert await other.leases.take("another", rival, LEASE_S)
    await store.leases.release("probe", rival)
    assert not await other.leases.take("probe", rival, LEASE_S)
    await store.leases.release("probe", owner)
    assert await other.leases.take("probe", rival, LEASE_S)
    clock.move(LEASE_S + 1)
    assert await store.leases.take("probe", owner, LEASE_S)
    assert not await other.leases.take("probe", rival, LEASE_S)


async def test_its_owner_prolongs_a_lease(store, other, clock, owner, rival):
    """To take it again is to keep it."""
    for _ in range(3):
        assert await store.leases.take("probe", owner, LEASE_S)
        clock.move(LEASE_S - 1)
    assert not await other.leases.take("probe", rival, LEASE_S)


async def test_who_lost_a_lease_cannot_prolong_it(store, other, clock, owner, rival):
    """Not even once it is free again: what was done under it may be out of date."""
    assert not await store.leases.prolong("probe", owner, LEASE_S)
    assert await store.leases.take("probe", owner, LEASE_S)
    clock.move(LEASE_S - 1)
    assert await store.leases.prolong("probe", owner, LEASE_S)
    clock.move(LEASE_S - 1)
    assert not await other.leases.take("probe", rival, LEASE_S)
    clock.move(LEASE_S)
    # Its time is over, and nobody has had it since.
    assert await store.leases.prolong("probe", owner, LEASE_S)
    clock.move(LEASE_S + 1)
    assert await other.leases.take("probe", rival, LEASE_S)
    assert not await store.leases.prolong("probe", owner, LEASE_S)
    await other.leases.release("probe", rival)
    assert not await store.leases.prolong("probe", owner, LEASE_S)
    assert await store.leases.take("probe", owner, LEASE_S)


async def test_of_many_who_ask_at_once_one_gets_a_lease(store, other, owner):
    """Only one of several relays gets the lease."""
    owners = [replace(owner, pid=number) for number in range(20)]
    came = await asyncio.gather(
        *(
            (store, other)[number % 2].leases.take("probe", one, LEASE_S)
            for number, one in enumerate(owners)
        )
    )
    assert sum(came) == 1


async def test_a_dead_owner_loses_its_lease_at_once(store, owner, rival):
    """Those of live processes, and of other hosts, stay."""
    elsewhere = replace(owner, host="elsewhere")
    await store.leases.take("a", owner, LEASE_S)
    await store.leases.take("b", rival, LEASE_S)
    await store.leases.take("c", elsewhere, LEASE_S)
    await store.leases.release_dead(rival, alive(rival))
    me = replace(owner, pid=99)
    assert await store.leases.take("a", me, LEASE_S)
    assert not await store.leases.take("b", me, LEASE_S)
    assert not await store.leases.take("c", me, LEASE_S)


async def test_one_block_runs_at_a_time(store, other, clock, owner, rival, monkeypatch):
    """`held` waits for the other, renews while it runs, and lets go at its end."""
    running, most, taken = 0, 0, Counter()
    lease_s = 0.3

    def count(leases):
        take = leases.take

        async def counted(name, owner, lease_s):
            came = await take(name, owner, lease_s)
            taken[owner] += came
            return came

        monkeypatch.setattr(leases, "take", counted)

    async def block(one, who):
        nonlocal running, most
        async with one.leases.held("mode", who, lease_s):
            running += 1
            most = max(most, running)
            for _ in range(3):
                clock.move(lease_s * 0.6)
                # The first to come may have read the clock before.
                enough = taken[who] + 2
                await until(lambda enough=enough: taken[who] >= enough)
            running -= 1

    for leases in {store.leases, other.leases}:
        count(leases)

    await asyncio.gather(block(store, owner), block(other, rival))
    assert most == 1
    assert await store.leases.take("mode", replace(owner, pid=99), LEASE_S)


async def test_a_block_that_fails_lets_go(store, owner, rival):
    """The error comes through, and the lease is free."""
    with pytest.raises(ZeroDivisionError):
        async with store.leases.held("mode", owner, LEASE_S):
            raise ZeroDivisionError
    assert await store.leases.take("mode", rival, LEASE_S)


# ------------------------------------------------------------------ the org's pause


async def test_all_relays_see_a_pause_and_its_end(store, other, owner, rival, pause):
    """Who knows the version may change it; the other sees what was written."""
    assert await other.pauses.get(ORG) == PauseState()
    tripped = await store.pauses.trip(ORG, owner, pause, 0)
    assert tripped.pause == pause
    assert await other.pauses.get(ORG) == tripped
    assert await other.pauses.get("https://another.example") == PauseState()
    ended = await other.pauses.end(ORG, tripped.version)
    assert ended.pause is None
    assert await store.pauses.get(ORG) == ended
    assert ended.version > tripped.version


async def test_one_failure_counts_once(store, other, owner, rival, pause):
    """Of relays that meet it together one writes it, and all go by that."""
    second = replace(pause, probes=7, text="later")
    came = await asyncio.gather(
        store.pauses.trip(ORG, owner, pause, 0),
        other.pauses.trip(ORG, rival, second, 0),
    )
    assert came[0] == came[1]
    assert came[0].version == 1
    again = await other.pauses.trip(ORG, rival, second, came[0].version)
    assert again.pause == second
    assert await store.pauses.trip(ORG, owner, pause, came[0].version) == again


async def test_who_is_late_ends_no_newer_pause(store, other, owner, rival, pause):
    """A pause that began after the one that was seen stays."""
    first = await store.pauses.trip(ORG, owner, pause, 0)
    ended = await store.pauses.end(ORG, first.version)
    newer = await other.pauses.trip(ORG, rival, pause, ended.version)
    assert await store.pauses.end(ORG, first.version) == newer
    assert await other.pauses.get(ORG) == newer


@pytest.mark.parametrize(
    ("reason", "gone", "due"),
    [
        ("quota", False, False),
        ("down", False, False),
        ("credentials", False, True),
        ("access", False, True),
        ("quota", True, True),
    ],
)
async def test_a_restart_hurries_what_it_may_have_mended(
    store, clock, owner, rival, pause, reason, gone, due
):
    """It never ends a pause, and leaves what another live relay has learned."""
    before = await store.pauses.trip(ORG, owner, replace(pause, reason=reason), 0)
    live = alive(rival, *([] if gone else [owner]))
    await store.pauses.hurry(ORG, rival, live, {"credentials", "access"})
    after = await store.pauses.get(ORG)
    assert after.pause is not None
    assert after.pause.since == pause.since
    assert (after.pause.until == clock.now()) is due
    assert (after == before) is not due


# ------------------------------------------------------------------ API calls


def hour_of(clock):
    return int(clock.now().timestamp() // 3600)


async def test_calls_of_all_relays_are_summed(store, other, clock):
    """Each adds to its own row, also after a restart; none overwrites another."""
    hour = hour_of(clock)
    await asyncio.gather(
        *(
            (store, other)[number % 2].usage.add(f"relay-{number % 3}", {hour: 2})
            for number in range(30)
        )
    )
    assert (await store.usage.get()).calls == {hour: 60}
    assert (await other.usage.add("relay-0", {hour: 1, hour - 1: 5})).calls == {
        hour: 61,
        hour - 1: 5,
    }


async def test_calls_of_yesterday_are_forgotten(store, clock, kind):
    """They count for 24 hours, whoever made them and whether it still runs."""
    hour = hour_of(clock)
    await store.usage.add("gone", {hour: 10})
    clock.move(23 * 3600)
    assert (await store.usage.add("here", {hour + 23: 1})).calls == {
        hour: 10,
        hour + 23: 1,
    }
    clock.move(3600)
    assert (await store.usage.get()).calls == {hour + 23: 1}
    clock.move(2 * 86400)
    await store.usage.add("here", {})
    if kind != "memory":
        rows = "SELECT count(*) FROM api_calls"
        assert await store.context.read(lambda c: c.scalar(text(rows))) == 0


async def test_the_newest_reading_counts(store, other, clock):
    """One a minute is kept, for three hours, and the last one in any case."""
    early, late = clock.now(), clock.now() + timedelta(seconds=9)
    clock.move(10)
    await store.usage.add("a", {}, CallReading(late, 20, 1000))
    usage = await other.usage.add("b", {}, CallReading(early, 10, 1000))
    assert usage.readings == (CallReading(late, 20, 1000),)
    clock.move(60)
    newer = CallReading(clock.now(), 30, 1000)
    usage = await other.usage.add("b", {}, newer)
    assert [one.used for one in usage.readings] == [20, 30]
    clock.move(4 * 3600)
    assert (await store.usage.add("a", {})).readings == (newer,)


# ------------------------------------------------------------------ from before


@pytest.mark.parametrize(
    ("note", "calls", "readings"),
    [
        (None, 0, 0),
        ("null", 0, 0),
        ('{"own": 3}', 0, 0),
        (json.dumps({"own": {"5": 7}, "told": None, "samples": []}), 1, 0),
        (json.dumps({"own": {"5": 7}, "told": [61.5, 2, 9], "samples": []}), 1, 1),
    ],
)
def test_the_count_outlives_the_upgrade(note, calls, readings):
    """What one relay noted becomes rows; nonsense makes none."""
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory.from_config(migrate._config())
    made, said = scripts.get_revision("0003").module.counted(note)
    assert (len(made), len(said)) == (calls, readings)
    if said:
        assert said == [{"minute": 1, "at": 61_500_000, "used": 2, "total": 9}]
