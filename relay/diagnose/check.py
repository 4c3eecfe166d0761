"""Everything that `relay check` looks at, in the order in which it is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.diagnose import dns, listeners, machine, org, people
from relay.diagnose.finding import Finding, Level

if TYPE_CHECKING:
    from pathlib import Path

    from relay.config import Settings


async def check_all(settings: Settings, path: Path | None) -> list[Finding]:
    """Look at machine, store, listeners, DNS and Salesforce; return what was found.

    Args:
        settings: The settings as loaded.
        path: The settings file as named; None: `relay.toml`, if there is one.
    """
    ports = await listeners.ports(settings)
    # No session is held where another program is known to answer.
    foreign = {
        finding.area.partition(" ")[2]
        for finding in ports
        if finding.level is Level.FAIL
    }
    async with machine.store_access(settings) as access:
        return [
            *machine.config(settings, path),
            *machine.secrets(path),
            *await machine.store(settings, access),
            *await people.switch(access),
            *await people.active(access),
            *await people.addresses(access),
            *await people.patterns(access),
            *await people.policy(settings, access),
            *machine.tls(settings),
            *ports,
            *await listeners.sessions(settings, access.store, foreign),
            *await dns.mx(settings),
            *await org.salesforce(settings, access),
        ]
