"""Everything that `relay check` looks at, in the order in which it is shown."""

from __future__ import annotations

from collections.abc import Callable
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from relay.diagnose import dns, listeners, machine, org, people
from relay.diagnose.finding import Finding, Level

if TYPE_CHECKING:
    from pathlib import Path

    from relay.config import Settings


Progress = Callable[[str, int, int], None]
"""Is told which step begins, how many are done, and how many there are."""


async def check_all(
    settings: Settings, path: Path | None, progress: Progress | None = None
) -> list[Finding]:
    """Look at machine, store, listeners, DNS and Salesforce; return what was found.

    Args:
        settings: The settings as loaded.
        path: The settings file as named; None: `relay.toml`, if there is one.
        progress: Is told how far it is.
    """
    ports: list[Finding] = []

    async def sessions() -> list[Finding]:
        # No session is held where another program is known to answer.
        foreign = {
            finding.area.partition(" ")[2]
            for finding in ports
            if finding.level is Level.FAIL
        }
        return await listeners.sessions(settings, access.store, foreign)

    async def all_ports() -> list[Finding]:
        ports.extend(await listeners.ports(settings))
        return ports

    async with machine.store_access(settings) as access:
        steps: list[tuple[str, Callable[[], Any]]] = [
            ("settings", lambda: machine.config(settings, path)),
            ("secrets", lambda: machine.secrets(path)),
            ("store", lambda: machine.store(settings, access)),
            ("switch", lambda: people.switch(access)),
            ("users", lambda: people.active(access)),
            ("addresses", lambda: people.addresses(access)),
            ("patterns", lambda: people.patterns(access)),
            ("policy", lambda: people.policy(settings, access)),
            ("ways", lambda: people.ways(settings, access)),
            ("TLS", lambda: machine.tls(settings)),
            ("ports", all_ports),
            ("SMTP", sessions),
            ("DNS", lambda: dns.mx(settings)),
            ("Salesforce", lambda: org.salesforce(settings, access)),
        ]
        found: list[Finding] = []
        for number, (name, step) in enumerate(steps):
            if progress is not None:
                progress(name, number, len(steps))
            result = step()
            found += await result if isawaitable(result) else result
    return found
