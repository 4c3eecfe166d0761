"""Settings and the store, opened for the length of one command."""

from __future__ import annotations

import asyncio
import getpass
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from relay.admin.inputs import message_id
from relay.cli.entry import config_path
from relay.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from relay.config import Settings
    from relay.store import Store

T = TypeVar("T")


def settings(*, quiet: bool = True) -> Settings:
    """Return the settings that `--config` or its defaults name.

    Args:
        quiet: Log errors alone: the command's own output is what people want.

    Raises:
        ConfigError: One of them is wrong, or there are none at all.
    """
    from relay.config import load  # noqa: PLC0415 - pydantic costs 0.2 s
    from relay.config.sources import DEFAULT_FILE, PREFIX  # noqa: PLC0415
    from relay.telemetry import configure_logging  # noqa: PLC0415

    path = config_path()
    loaded = load(path)
    said = (
        path or DEFAULT_FILE.exists() or any(n.startswith(PREFIX) for n in os.environ)
    )
    if quiet and not said:
        # In the wrong folder a command would make an empty store and look into it.
        text = (
            f"there is no {DEFAULT_FILE} in this folder; name one with --config, or "
            f"begin one: cp config.example.toml {DEFAULT_FILE}"
        )
        raise ConfigError(text)
    log = loaded.telemetry
    configure_logging(log.model_copy(update={"log_level": "error"}) if quiet else log)
    return loaded


@asynccontextmanager
async def open_store(loaded: Settings) -> AsyncIterator[Store]:
    """Open the store, and close it whatever happens.

    Raises:
        ConfigError: Its schema is not this version's.
        StoreUnavailable: It cannot be reached.
    """
    from relay.core.clock import SystemClock  # noqa: PLC0415
    from relay.store import Store  # noqa: PLC0415 - SQLAlchemy costs 0.4 s

    store = await Store.open(loaded.store, SystemClock())
    try:
        yield store
    finally:
        await store.close()


async def whole_id(store: Store, text: str) -> tuple[str, str]:
    """Return id and kind of a message or refusal; its first characters are enough.

    Raises:
        NotFound: No id begins so, or several do: they are named.
    """
    return await store.log.find_id(message_id(text))


def run(job: Coroutine[Any, Any, T]) -> T:
    """Run one command's job in an event loop of its own."""
    return asyncio.run(job)


def actor() -> str:
    """Return who is at the keyboard, for the audit."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        # A container may run under a number that no password file knows.
        return "cli"
