"""Asking Salesforce, before a setting is saved, whether it fits the org."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.cli.entry import Failure
from relay.core.errors import InvalidInput, RelayError

if TYPE_CHECKING:
    from relay.config import Settings
    from relay.core.model import Json


async def check_in_salesforce(loaded: Settings, key: str, value: Json) -> None:
    """Ask whether a value fits, where the relay has an org.

    Raises:
        InvalidInput: It does not.
        Failure: Salesforce could not be asked.
    """
    if loaded.salesforce.instance_url is None:
        return
    from relay.console import rules  # noqa: PLC0415 - the HTTP library

    try:
        await rules.check_in_salesforce(loaded, key, value)
    except InvalidInput:
        raise
    except RelayError as error:
        problem = (
            f"{key} was not changed: Salesforce cannot be asked whether it fits "
            f"({error}); try again, or add --unchecked"
        )
        raise Failure(problem) from None
