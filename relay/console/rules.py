"""The settings that hold without a restart: what is asked before one is saved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.admin.settings import check_in_org
from relay.core.clock import SystemClock
from relay.salesforce import Org

if TYPE_CHECKING:
    from relay.config import Settings
    from relay.core.model import Json


async def check_in_salesforce(loaded: Settings, key: str, value: Json) -> None:
    """Ask Salesforce whether a value fits, where the relay has an org.

    Raises:
        InvalidInput: It does not.
        RelayError: Salesforce could not be asked.
    """
    if loaded.salesforce.instance_url is None:
        return
    org = Org(loaded.require_salesforce(), SystemClock())
    try:
        await check_in_org(org, key, value)
    finally:
        await org.close()
