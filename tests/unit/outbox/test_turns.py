"""Work in the background: turn by turn, each kind apart, until it is drained."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from relay.core.errors import StoreUnavailable
from relay.outbox import turns
from relay.outbox.turns import Turns, keep_working

if TYPE_CHECKING:
    import pytest


async def test_turns_follow_each_other_until_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A busy table is worked off, errors are survived, and stopping ends it."""
    monkeypatch.setattr(turns, "RETRY_TURN_S", 0.001)
    stopping, wake = asyncio.Event(), asyncio.Event()
    wake.set()
    ends = iter([True, StoreUnavailable("down"), RuntimeError("odd"), False, "stop"])

    async def turn() -> bool:
        end = next(ends)
        if isinstance(end, Exception):
            raise end
        if end == "stop":
            stopping.set()
        return bool(end)

    await asyncio.wait_for(
        keep_working(
            turn,
            stopping=stopping,
            paused=lambda: False,
            idle_s=60,
            failed_event="turn_failed",
            wake=wake,
        ),
        10,
    )
    assert next(ends, None) is None


async def test_a_paused_org_makes_no_turn() -> None:
    """The table waits; the pause is asked for again and again."""
    stopping = asyncio.Event()
    asked: list[bool] = []

    def paused() -> bool:
        asked.append(True)
        if len(asked) > 2:
            stopping.set()
        return True

    async def turn() -> bool:
        raise AssertionError

    await asyncio.wait_for(
        keep_working(
            turn,
            stopping=stopping,
            paused=paused,
            idle_s=0.001,
            failed_event="turn_failed",
        ),
        10,
    )
    assert len(asked) == 3


async def test_a_slow_kind_of_work_delays_no_other() -> None:
    """One waits for an answer that does not come; the other makes its turns."""
    begun, made = asyncio.Event(), asyncio.Event()
    never = asyncio.Event()

    async def slow() -> bool:
        begun.set()
        return await never.wait()

    async def quick() -> bool:
        made.set()
        return False

    work = Turns(60)
    work.begin(slow, "slow_failed")
    await asyncio.wait_for(begun.wait(), 10)
    work.begin(quick, "quick_failed")
    await asyncio.wait_for(made.wait(), 10)
    assert not work.stopping
    await asyncio.wait_for(work.drain(0.01), 10)
    assert work.stopping
    await work.drain()


async def test_a_turn_under_way_is_finished_before_the_end() -> None:
    """To drain waits for it, and no other one begins."""
    begun, finish = asyncio.Event(), asyncio.Event()
    finished: list[bool] = []

    async def turn() -> bool:
        begun.set()
        await finish.wait()
        finished.append(True)
        return True

    work = Turns(60)
    work.begin(turn, "turn_failed")
    await asyncio.wait_for(begun.wait(), 10)
    drained = asyncio.ensure_future(work.drain())
    done, _ = await asyncio.wait([drained], timeout=0)
    assert not done
    finish.set()
    await asyncio.wait_for(drained, 10)
    assert finished == [True]


async def test_a_drain_without_work_returns_at_once() -> None:
    await asyncio.wait_for(Turns(60).drain(), 10)
