"""Empty SQLite stores for tests that need one: made once, then copied."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

from relay.config import StoreSettings
from relay.core.clock import SystemClock
from relay.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from relay.core.clock import Clock

FILE = "relay.db"


def settings_in(folder: Path) -> StoreSettings:
    """Return the settings of a store in this folder."""
    return StoreSettings(
        url=f"sqlite:///{folder}/{FILE}",
        spool=folder / "spool",
        min_free_bytes=0,
        inline_bytes=4096,
    )


def make(folder: Path) -> Path:
    """Make the file of an empty store; to make its tables takes long."""

    async def opened() -> None:
        store = await Store.open(settings_in(folder), SystemClock())
        await store.close()

    asyncio.run(opened())
    return folder / FILE


async def open_copy(empty: Path, folder: Path, clock: Clock) -> Store:
    """Open a store of its own in this folder."""
    shutil.copy(empty, folder)
    return await Store.open(settings_in(folder), clock)
