"""Empty SQLite stores for tests that need one: made once, then copied."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING, Any

from relay.config import StoreSettings
from relay.core.clock import SystemClock
from relay.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from relay.core.clock import Clock

FILE = "relay.db"


def settings_in(folder: Path, **changes: Any) -> StoreSettings:
    """Return the settings of a store in this folder."""
    values = {
        "url": f"sqlite:///{folder}/{FILE}",
        "spool": folder / "spool",
        "min_free_bytes": 0,
        "inline_bytes": 4096,
    }
    return StoreSettings(**values | changes)


def make(folder: Path) -> Path:
    """Make the file of an empty store; to make its tables takes long."""

    async def opened() -> None:
        store = await Store.open(settings_in(folder), SystemClock())
        await store.close()

    asyncio.run(opened())
    return folder / FILE


async def open_copy(empty: Path, folder: Path, clock: Clock, **changes: Any) -> Store:
    """Open a store of its own in this folder, with these settings changed."""
    shutil.copy(empty, folder)
    return await Store.open(settings_in(folder, **changes), clock)
