"""A store with Ada and a clock that is moved by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from relay.config import StoreSettings
from relay.core.directory import Role
from relay.core.queue import LeaseOwner
from relay.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from relay.core.directory import User


class SetClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.at = datetime(2026, 3, 1, 6, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def boottime_s(self) -> float:
        return self.at.timestamp()

    def move(self, **time: float) -> None:
        self.at += timedelta(**time)


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def store(tmp_path: Path, clock: SetClock) -> AsyncIterator[Store]:
    settings = StoreSettings(url=f"sqlite:///{tmp_path}/relay.db", min_free_bytes=0)
    opened = await Store.open(settings, clock)
    yield opened
    await opened.close()


@pytest.fixture
async def ada(store: Store) -> User:
    return await store.directory.add_user(
        "Ada", "ada@corp.example", Role.REP, None, "test"
    )


@pytest.fixture
def owner() -> LeaseOwner:
    return LeaseOwner("host", "boot", 10, "1")
