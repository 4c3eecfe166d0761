"""Whether the relay can read the Tasks that it has written for the reps.

A Task that the integration user may not see looks like one that is not there: without
this right nothing can be proven absent, and a lost answer waits for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from relay.cli.opening import open_store
from relay.core.errors import ConfigError, RelayError
from relay.diagnose.finding import Finding, fail, ok, warn
from relay.diagnose.machine import unmade_store

if TYPE_CHECKING:
    from relay.config import SalesforceSettings, Settings
    from relay.salesforce import Org, OrgShape

_CHECK: Final = "sight of Tasks"


async def sight(loaded: Settings, org: Org, shape: OrgShape) -> list[Finding]:
    """Try to read Tasks of every rep for whom some were written lately."""
    from relay.outbox.visibility import LATEST, Visibility, owner_of  # noqa: PLC0415

    if not shape.has("Task") or unmade_store(loaded):
        return []
    try:
        if await org.views_all():
            return [ok(_CHECK, "the user has View All Data")]
        async with open_store(loaded) as store:
            rows = await store.ledger_latest("Task", LATEST)
            owners = {owner_of(row) for row in rows} - {"", await org.me()}
            blind = await Visibility(store, org).blind(owners)
    except (RelayError, ConfigError) as error:
        mend = "see the lines above; then relay check again"
        return [warn(_CHECK, f"cannot be told: {error}", mend)]
    return [judged(loaded.salesforce, shape, len(owners), len(blind))]


def judged(
    section: SalesforceSettings, shape: OrgShape, owners: int, blind: int
) -> Finding:
    """Say of how many owners no Task can be read, and what comes of it."""
    from relay.outbox.visibility import RIGHT  # noqa: PLC0415 - brings the worker

    if not owners:
        return ok(_CHECK, "not proven yet: no Task was written for a rep")
    if not blind:
        return ok(_CHECK, f"Tasks of all {owners} reps with mail can be read")
    text = f"of {blind} of {owners} reps no Task that was written can be read"
    name = section.key_field
    if name and shape.holds_key("Task", name):
        text += ": what was sent without an answer stays unknown"
        return warn(_CHECK, text, RIGHT)
    text += ": what was sent without an answer is never written again"
    return fail(_CHECK, text, RIGHT)
