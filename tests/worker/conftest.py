"""Mails in the worker: a store in a file, an org in memory or served."""

from __future__ import annotations

import pytest

from relay.core.directory import Role
from tests.fakes import empty_store
from tests.fakes.people_org import PeopleOrg
from tests.fakes.served import served
from tests.worker.queued import Clock, Queued


@pytest.fixture(scope="session")
def running():
    """Serve an org for all tests."""
    with served() as org:
        yield org


@pytest.fixture
def sandbox(running):
    """Return the org as on its first day."""
    with running.lock:
        running.reset()
    return running


@pytest.fixture(scope="session")
def empty(tmp_path_factory):
    """Return the file of an empty store."""
    return empty_store.make(tmp_path_factory.mktemp("empty"))


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def store(request, tmp_path, empty, clock):
    """Return a store with Ada, Ben and Carl, whose ids are 1 to 3.

    A test may ask for other settings by an indirect parameter.
    """
    changes = getattr(request, "param", {})
    opened = await empty_store.open_copy(empty, tmp_path, clock, **changes)
    for name in ("Ada", "Ben", "Carl"):
        address = f"{name.lower()}@corp.example"
        await opened.directory.add_user(name, address, Role.REP, None, "test")
    yield opened
    await opened.close()


@pytest.fixture
def queued(store, clock):
    return Queued(store, clock)


@pytest.fixture
def org():
    return PeopleOrg()
