"""A private PostgreSQL for crash tests, where its programs are installed."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from tests.fakes.postgres import Postgres, find_binaries

if TYPE_CHECKING:
    from collections.abc import Iterator

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Start a server for the session."""
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("crash tests on PostgreSQL: initdb and postgres were not found")
    server = Postgres(binaries)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def postgres_url(postgres: Postgres) -> str:
    """Return the URL of an empty database."""
    return postgres.create(f"crash{next(_numbers)}")
