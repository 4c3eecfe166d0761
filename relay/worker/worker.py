"""The life of a worker: its lanes, how batches fill, and their leases.

Batches fill by themselves: while one is on its way, what arrives becomes the next
one, and where mail keeps arriving a batch waits for it up to `worker.gather_ms`. So a
lone mail waits for nothing and a flood travels in full batches. Only behind a full
batch does a second lane start. Whether the org can be used at all, the circuit
breaker says; what is done with a batch, `pipeline`.
"""

from __future__ import annotations

import asyncio
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from relay.attachments.stage import Attachments
from relay.core.errors import RelayError, StoreUnavailable
from relay.core.queue import Settlement
from relay.core.states import Event
from relay.outbox.backoff import Backoff
from relay.outbox.circuit_breaker import CircuitBreaker
from relay.outbox.engine import Parts
from relay.outbox.mode import WriteMode
from relay.outbox.owner_changes import OwnerChanges
from relay.telemetry import get_logger
from relay.worker.pipeline import STORE_RETRY_S, Pipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from relay.config import Settings
    from relay.core.clock import Clock
    from relay.core.directory import Directory
    from relay.core.queue import Claimed, LeaseOwner
    from relay.core.shared import Pause
    from relay.salesforce import Org
    from relay.store import Store

LANES: Final = 2
GATHER_STEPS: Final = 4
"""How often a batch that is filling looks for more."""
DRAIN_CHECK_S: Final = 0.05

logger = get_logger(__name__)


class Worker:
    """Drains the queue into Salesforce until it is asked to stop."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        org: Org,
        clock: Clock,
        *,
        owner: LeaseOwner,
        directory: Callable[[], Directory],
        chance: random.Random | None = None,
    ) -> None:
        """Put the parts together; nothing is started.

        Args:
            settings: The whole configuration.
            store: The open store.
            org: The started org.
            clock: For what is stored and for leases.
            owner: This process; each lane adds its number.
            directory: Returns the present directory.
            chance: For jitter; tests pass a seeded one.
        """
        self._settings = settings
        self._store = store
        self._org = org
        self._clock = clock
        self._owner = owner
        self._backoff = Backoff(settings.worker, chance or random.Random())  # noqa: S311 - jitter
        self.mode = WriteMode(settings.salesforce, store, clock)
        parts = Parts(settings, store, org, clock, owner, self._backoff)
        self._executor = ThreadPoolExecutor(
            settings.worker.threads, thread_name_prefix="parse"
        )
        self._files = Attachments(parts, paused=self._paused)
        self.breaker = CircuitBreaker(settings.salesforce, store, org, clock, owner)
        self._pipeline = Pipeline(
            parts,
            self.mode,
            self.breaker,
            directory=directory,
            files=self._files,
            executor=self._executor,
        )
        self._owner_changes = OwnerChanges(parts, paused=self._paused)
        self._leased: dict[str, LeaseOwner] = {}
        self._claiming = asyncio.Lock()
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._warming: asyncio.Task[None] | None = None
        self._gathered_s = float("-inf")

    @property
    def pause(self) -> Pause | None:
        """Why no work is done for the org, or None while it is."""
        return self.breaker.pause

    def _paused(self) -> bool:
        return self.pause is not None

    # ------------------------------------------------------------ life

    async def start(self, is_alive: Callable[[str], bool] | None = None) -> None:
        """Start the lanes and the keeper of the leases.

        `is_alive` says whether the process of a lease's owner may still run.
        """
        await self.breaker.start(is_alive)
        for number in range(LANES):
            owner = replace(self._owner, worker=str(number))
            self._tasks.append(asyncio.create_task(self._lane(owner)))
        self._warming = asyncio.create_task(self._warm_up())
        self._tasks.append(asyncio.create_task(self._keep_leases()))
        for kind in (self._owner_changes, self._files):
            self._tasks.append(asyncio.create_task(kind.run(self._stopping)))

    async def drain(self, timeout_s: float) -> None:
        """Claim nothing more, finish the batches that are leased, then stop.

        What is not finished in time is given back: no crash is counted, and what was
        sent is looked for by whoever takes it next.
        """
        self._stopping.set()
        if self._warming:
            self._warming.cancel()
            await asyncio.gather(self._warming, return_exceptions=True)
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=timeout_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self.breaker.stop()
        self._tasks.clear()
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def _warm_up(self) -> None:
        """Log in and read the org's schema, so that the first mail need not wait.

        What fails here fails again with a mail, and is reported then.
        """
        try:
            await self._org.schema.get()
        except RelayError as error:
            logger.info("warm_up_failed", error=str(error))

    # ------------------------------------------------------------ lanes

    async def _lane(self, owner: LeaseOwner) -> None:
        while not self._stopping.is_set():
            try:
                await self._turn(owner)
            except StoreUnavailable as error:
                logger.warning("store_unavailable", error=str(error))
                await self._sleep(STORE_RETRY_S)
            except Exception:
                logger.exception("worker_turn_failed")
                await self._sleep(STORE_RETRY_S)

    async def _turn(self, owner: LeaseOwner) -> None:
        """Claim and process one batch, or wait for work."""
        async with self._claiming:
            if self._stopping.is_set():
                return
            if wait_s := await self.breaker.wait_s():
                await self._sleep(min(wait_s, 1.0, self._settings.worker.poll_s))
                return
            limit = self.breaker.size(self._settings.worker.batch)
            batch = await self._pipeline.claim(owner, limit)
            if not batch and self.pause and not self._leased:
                await self.breaker.probe()
                return
            if not batch:
                await self._wait_for_work(self._settings.worker.poll_s)
                return
            await self._gather(owner, batch, limit)
            self.breaker.begin()
            full = not self._pipeline.space(batch, self._settings.worker.batch)[0]
            full = full and not self.pause
            if not full:
                # What arrives meanwhile becomes one batch, not many small ones.
                await self._process(owner, batch)
                self._gathered_s = self._clock.boottime_s()
                return
        await self._process(owner, batch)

    async def _gather(
        self, owner: LeaseOwner, batch: list[Claimed], limit: int
    ) -> None:
        """Wait a moment for a batch to fill, while more keeps arriving.

        A mail that comes alone after a quiet moment never waits.
        """
        longest_s = self._settings.worker.gather_ms / 1000
        started_s = self._clock.boottime_s()
        quiet = started_s - self._gathered_s > longest_s
        if (len(batch) == 1 and quiet) or batch[0].alone:
            return
        while self._pipeline.space(batch, limit)[0] and not self._stopping.is_set():
            left_s = started_s + longest_s - self._clock.boottime_s()
            if left_s <= 0:
                return
            await self._sleep(min(left_s, longest_s / GATHER_STEPS))
            try:
                more = await self._pipeline.claim(owner, limit, batch)
            except StoreUnavailable as error:
                # What is claimed already is leased to this lane: it is worked on.
                logger.warning("store_unavailable", error=str(error))
                return
            if not more:
                return
            batch += more

    async def _wait_for_work(self, timeout_s: float) -> None:
        waits = [
            asyncio.ensure_future(self._store.queue.wait_for_work(timeout_s)),
            asyncio.ensure_future(self._stopping.wait()),
        ]
        _, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await asyncio.gather(*waits, return_exceptions=True)

    async def _sleep(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return

    # ------------------------------------------------------------ a batch

    async def _process(self, owner: LeaseOwner, batch: Sequence[Claimed]) -> None:
        """Work on a batch while its leases are renewed."""
        for claimed in batch:
            self._leased[claimed.id] = owner
        try:
            await self._pipeline.work(owner, batch)
        except asyncio.CancelledError:
            await self._give_back(owner, batch)
            raise
        finally:
            for claimed in batch:
                self._leased.pop(claimed.id, None)

    async def _give_back(self, owner: LeaseOwner, claimed: Sequence[Claimed]) -> None:
        """Give back what a drain had no time for; what is settled stays so."""
        now = self._clock.now()
        detail = "the relay stopped before this attempt was finished"
        settlements = [
            Settlement(
                one.id,
                one.attempt,
                Event.GIVE_BACK,
                reason="stopped",
                detail=detail,
                retry_at=now,
                started_at=now,
            )
            for one in claimed
        ]
        try:
            await self._store.ledger.advance(owner, settlements=settlements)
        except StoreUnavailable as error:
            logger.warning("not_handed_back", error=str(error))

    # ------------------------------------------------------------ leases

    async def _keep_leases(self) -> None:
        """Renew the leases at a third of their length."""
        lease_s = self._settings.worker.lease_s
        while not (self._stopping.is_set() and not self._leased):
            if self._stopping.is_set():
                await asyncio.sleep(DRAIN_CHECK_S)
            else:
                await self._sleep(lease_s / 3)
            leased: dict[LeaseOwner, list[str]] = {}
            for message_id, owner in self._leased.items():
                leased.setdefault(owner, []).append(message_id)
            for owner, ids in leased.items():
                try:
                    await self._store.queue.renew(owner, ids, lease_s)
                except StoreUnavailable as error:
                    logger.warning("lease_not_renewed", error=str(error))
