"""The DNS of a test, and mails that are checked against it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fakes.authentication import Checker
from tests.fakes.dns import dns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["checker", "dns"]


@pytest.fixture
async def checker(dns) -> AsyncIterator[Checker]:
    """Check mails against the test's DNS, in the loop of the test."""
    one = Checker(dns)
    yield one
    await one.close()
