"""A private PostgreSQL for crash tests, where its programs are installed."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.fakes.postgres import Postgres

_numbers = itertools.count(1)


@pytest.fixture
def postgres_url(postgres: Postgres) -> str:
    """Return the URL of an empty database."""
    return postgres.create(f"crash{next(_numbers)}")
