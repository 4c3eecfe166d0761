"""The way out on real parts: a store in a file, and an org over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes import empty_store
from tests.fakes.served import served
from tests.outbox.desk import Desk, MovedClock, login

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from relay.sandbox import SandboxOrg
    from relay.store import Store


@pytest.fixture(scope="session")
def running() -> Iterator[SandboxOrg]:
    """Serve an org for all tests."""
    with served() as org:
        yield org


@pytest.fixture
def sandbox(running: SandboxOrg) -> SandboxOrg:
    """Return the org as on its first day."""
    with running.lock:
        running.reset()
    return running


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of an empty store."""
    return empty_store.make(tmp_path_factory.mktemp("empty"))


@pytest.fixture
def clock() -> MovedClock:
    """Return the clock of the store and of the relay."""
    return MovedClock()


@pytest.fixture
async def store(tmp_path: Path, empty: Path, clock: MovedClock) -> AsyncIterator[Store]:
    """Return an empty store."""
    opened = await empty_store.open_copy(empty, tmp_path, clock)
    yield opened
    await opened.close()


@pytest.fixture
async def desk_for(
    store: Store, sandbox: SandboxOrg, clock: MovedClock
) -> AsyncIterator[Callable[..., Desk]]:
    """Return a function that makes a desk, by settings of Salesforce."""
    orgs = []

    def make(**settings: Any) -> Desk:
        desk = Desk(store, sandbox, clock, login(sandbox, **settings))
        orgs.append(desk.org)
        return desk

    yield make
    for org in orgs:
        await org.close()
