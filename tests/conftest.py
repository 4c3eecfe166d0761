"""What every suite shares: Hypothesis profiles, and an environment free of settings."""

from __future__ import annotations

import logging
import os
import warnings
from typing import TYPE_CHECKING

import pytest
import structlog
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.errors import HypothesisSideeffectWarning

from tests.fakes.postgres import Postgres, find_binaries

if TYPE_CHECKING:
    from collections.abc import Iterator

# `make test` takes quick; `make test-all` asks for long with --hypothesis-profile.
settings.register_profile(
    "quick",
    max_examples=60,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "long",
    max_examples=3000,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("quick")

# A fresh clone has no table of characters yet. To make it takes seconds, more than the
# first test that asks for text has left on a busy machine.
with warnings.catch_warnings():
    warnings.simplefilter("ignore", HypothesisSideeffectWarning)
    st.text().validate()

# Settings of the person who runs the tests must not reach relays under test.
for _name in [name for name in os.environ if name.startswith("RELAY_")]:
    del os.environ[_name]


POSTGRES_S = 60
"""Time-out of a test on PostgreSQL: the first of a process starts a server."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests on PostgreSQL their time-out, where they have none of their own."""
    for item in items:
        call = getattr(item, "callspec", None)
        kinds = call.params.values() if call else ()
        on_postgres = "postgres" in getattr(item, "fixturenames", ())
        on_postgres |= any(kind == "postgresql" for kind in kinds)
        if on_postgres and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(POSTGRES_S))


@pytest.fixture(autouse=True)
def log_as_it_was() -> Iterator[None]:
    """Undo what a test, or a command in its process, has set the log to."""
    config = structlog.get_config()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.configure(**config)
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Run a private PostgreSQL for the tests of one process."""
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("tests on PostgreSQL: initdb and postgres were not found")
    server = Postgres(binaries)
    try:
        server.start()
        yield server
    finally:
        server.stop()
