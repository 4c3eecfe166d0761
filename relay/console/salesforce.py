"""The org, for a question that a person asks: opened for it, and closed after it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from relay.core.clock import SystemClock
from relay.core.errors import NoSalesforce

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.config import Settings
    from relay.core.clock import Clock
    from relay.salesforce import Org


@asynccontextmanager
async def open_org(
    settings: Settings, clock: Clock | None = None
) -> AsyncIterator[Org | None]:
    """Start the org and close it; None where no Salesforce is set."""
    from relay.salesforce import Org  # noqa: PLC0415 - the HTTP library is slow

    if settings.salesforce.instance_url is None:
        yield None
        return
    org = Org(settings.require_salesforce(), clock or SystemClock())
    try:
        await org.start()
        yield org
    finally:
        await org.close()


@asynccontextmanager
async def need_org(
    settings: Settings, clock: Clock | None = None
) -> AsyncIterator[Org]:
    """Start the org and close it.

    Raises:
        NoSalesforce: No Salesforce is set.
    """
    async with open_org(settings, clock) as org:
        if org is None:
            raise NoSalesforce
        yield org
