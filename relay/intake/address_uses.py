"""How often each relay address is used: counted in memory, written now and then.

A count in the transaction of each mail would make every mail for one user wait for the
one before. So a process gathers, and writes after a few seconds and at its end; one
that is killed loses what it had gathered. Only relay addresses of the directory are
counted: what a stranger types cannot grow the table.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from relay.core.directory import AddressUse, token_of
from relay.core.errors import RelayError
from relay.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.core.clock import Clock
    from relay.core.directory import Directory
    from relay.store import Store

log = get_logger(__name__)

_WRITE_AFTER_S: Final = 5.0


class AddressUses:
    """Counts the uses of relay addresses for one process."""

    def __init__(
        self, store: Store, clock: Clock, directory: Callable[[], Directory]
    ) -> None:
        """Take where counts are written, and what is counted."""
        self._store = store
        self._clock = clock
        self._directory = directory
        self._uses: dict[str, AddressUse] = {}
        self._task: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    def accepted(self, rcpt: str) -> None:
        """Count a mail that was accepted for a recipient."""
        self._add(rcpt, AddressUse(accepted=1, accepted_at=self._clock.now()))

    def refused(self, rcpt: str) -> None:
        """Count a recipient, or a mail for it, that was refused."""
        self._add(rcpt, AddressUse(refused=1, refused_at=self._clock.now()))

    async def close(self) -> None:
        """Write what is left."""
        self._closing.set()
        if self._task is not None:
            await asyncio.wait([self._task])
        await self._write()

    def _add(self, rcpt: str, use: AddressUse) -> None:
        token = token_of(rcpt.rpartition("@")[0])
        directory = self._directory()
        if directory.owner_of(token) is None and not directory.former_owner_of(token):
            return
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._write_later())
        self._uses[token] = self._uses.get(token, AddressUse()).plus(use)

    async def _write_later(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_WRITE_AFTER_S):
                await self._closing.wait()
        self._task = None
        await self._write()

    async def _write(self) -> None:
        uses, self._uses = self._uses, {}
        if not uses:
            return
        try:
            await self._store.directory.count_uses(uses)
        except RelayError as error:
            log.warning("address_uses_not_counted", error=str(error))
            for token, later in self._uses.items():
                uses[token] = uses.get(token, AddressUse()).plus(later)
            self._uses = uses
