"""Whether a setting fits the org: the fields, objects and conditions that it names.

A check asks the org about the value of one setting and returns what is wrong, or an
empty text; it lets RelayError pass where the org cannot be asked. `relay settings set`
makes it before it saves, `relay check` for what holds now. To add one: write the
function, and name it in `CHECKS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from relay.core.model import Json
    from relay.salesforce.org import Org

    Check = Callable[[Org, Json], Awaitable[str]]


async def counts_activities(org: Org, value: Json) -> str:
    """Say why activities cannot be counted, where a rule counts them."""
    if value != "most_activity":
        return ""
    schema = await org.schema.get()
    hidden = [name for name in ("Task", "Event") if not schema.has(name)]
    if not hidden:
        return ""
    return f"the integration user may not read {' and '.join(hidden)}"


CHECKS: Final[dict[str, Check]] = {
    "match.several": counts_activities,
}
"""By the key of a setting: its check against the org."""


async def problem_of(org: Org, key: str, value: Json) -> str:
    """Return what speaks against a value in this org; empty where it fits.

    A value that asks for nothing (an empty text or list, false) always fits.

    Raises:
        RelayError: The org could not be asked.
    """
    check = CHECKS.get(key)
    return await check(org, value) if check and value else ""


async def problems_of(org: Org, values: Mapping[str, Json]) -> list[tuple[str, str]]:
    """Return (key, problem) of the settings that do not fit, in their order.

    Raises:
        RelayError: The org could not be asked.
    """
    found = [(key, await problem_of(org, key, value)) for key, value in values.items()]
    return [(key, problem) for key, problem in found if problem]
