"""What relays share, in memory; it passes the contract of the store's parts."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

from relay.core.errors import StoreUnavailable
from relay.core.shared import APIUsage, PauseState

HOURS = 24


class MemoryShared:
    """Leases, pauses and usage of a store. `fails`: nothing of it can be used."""

    def __init__(self, clock):
        self.clock = clock
        self.fails = False
        self.leases = MemoryLeases(self)
        self.pauses = MemoryPauses(self)
        self.usage = MemoryUsage(self)

    def need(self):
        """Raise where the test says so."""
        if self.fails:
            raise StoreUnavailable("locked")


class MemoryLeases:
    """As `relay.store.shared.Leases`."""

    def __init__(self, shared):
        self._shared = shared
        self._held = {}

    async def take(self, name, owner, lease_s):
        self._shared.need()
        now = self._shared.clock.now()
        holder, until = self._held.get(name, (str(owner), now))
        if holder != str(owner) and until >= now:
            return False
        self._held[name] = (str(owner), now + timedelta(seconds=lease_s))
        return True

    async def prolong(self, name, owner, lease_s):
        self._shared.need()
        if self._held.get(name, ("",))[0] != str(owner):
            return False
        until = self._shared.clock.now() + timedelta(seconds=lease_s)
        self._held[name] = (str(owner), until)
        return True

    async def release(self, name, owner):
        self._shared.need()
        if self._held.get(name, ("",))[0] == str(owner):
            del self._held[name]

    @asynccontextmanager
    async def held(self, name, owner, lease_s):
        while not await self.take(name, owner, lease_s):  # noqa: ASYNC110 - as the store
            await asyncio.sleep(0.01)
        renewing = asyncio.create_task(self._keep(name, owner, lease_s))
        try:
            yield
        finally:
            renewing.cancel()
            await self.release(name, owner)

    async def _keep(self, name, owner, lease_s):
        while True:
            await asyncio.sleep(lease_s / 3)
            await self.take(name, owner, lease_s)

    async def release_dead(self, owner, is_alive):
        self._shared.need()
        for name, (holder, _) in list(self._held.items()):
            if holder.startswith(f"{owner.host}/") and not is_alive(holder):
                del self._held[name]


class MemoryPauses:
    """As `relay.store.shared.OrgPauses`."""

    def __init__(self, shared):
        self._shared = shared
        self._states = {}
        self._tripped_by = {}

    async def get(self, org):
        self._shared.need()
        return self._states.get(org, PauseState())

    async def trip(self, org, owner, pause, known):
        state = await self._change(org, known, pause)
        if state.version == known + 1 and state.pause == pause:
            self._tripped_by[org] = str(owner)
        return state

    async def end(self, org, known):
        return await self._change(org, known, None)

    async def _change(self, org, known, pause):
        self._shared.need()
        if self._states.get(org, PauseState()).version == known:
            self._states[org] = PauseState(known + 1, pause)
        return self._states[org]

    async def hurry(self, org, owner, is_alive, reasons):
        self._shared.need()
        state, now = self._states.get(org, PauseState()), self._shared.clock.now()
        if state.pause is None or state.pause.until <= now:
            return
        by = self._tripped_by[org]
        gone = by.startswith(f"{owner.host}/") and not is_alive(by)
        if gone or state.pause.reason in reasons:
            due = replace(state.pause, until=now)
            self._states[org] = PauseState(state.version + 1, due)


class MemoryUsage:
    """As `relay.store.shared.UsageCounts`."""

    def __init__(self, shared):
        self._shared = shared
        self._calls = {}
        self._readings = {}

    async def get(self):
        self._shared.need()
        now = self._shared.clock.now()
        hour = int(now.timestamp() // 3600)
        summed = {}
        for (_, at), count in self._calls.items():
            if hour - HOURS < at <= hour:
                summed[at] = summed.get(at, 0) + count
        newest = max(self._readings, default=0)
        old = (now - timedelta(hours=3)).timestamp() // 60
        return APIUsage(
            summed,
            tuple(
                one
                for minute, one in sorted(self._readings.items())
                if one.at <= now and (minute >= old or minute == newest)
            ),
        )

    async def add(self, relay, made, reading=None):
        self._shared.need()
        for hour, count in made.items():
            self._calls[relay, hour] = self._calls.get((relay, hour), 0) + count
        if reading is not None:
            minute = int(reading.at.timestamp() // 60)
            known = self._readings.get(minute)
            if known is None or known.at < reading.at:
                self._readings[minute] = reading
        return await self.get()
