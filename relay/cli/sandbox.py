"""`relay sandbox`: a local Salesforce org over HTTP, and the same one for the demo."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click

from relay.cli.output import json_option, print_json, table

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from relay.sandbox import SandboxOrg

DEFAULT_PORT: Final = 8066
_SHOWN: Final = 5
"""People of one kind in the list; the dump has all."""

KEYS: Final = """\
instance_url = "{url}"
client_id = "relay-sandbox"
client_secret = "relay-sandbox-secret"
"""
"""What goes into `relay.toml`; the credentials are those every sandbox starts with."""
SNIPPET: Final = f"[salesforce]\n{KEYS}"
"""The same as a section."""


@dataclass(frozen=True, slots=True)
class RunningSandbox:
    """A sandbox that answers under `url`."""

    url: str
    org: SandboxOrg
    integration_user: str
    """Username as whom the relay writes."""

    async def dump(self) -> dict[str, list[dict[str, Any]]]:
        """Return every record by object, as the org itself knows them."""

        def read() -> dict[str, list[dict[str, Any]]]:
            with self.org.lock:
                return self.org.dump()

        return await asyncio.to_thread(read)


@asynccontextmanager
async def running_sandbox(host: str, port: int) -> AsyncIterator[RunningSandbox]:
    """Run a sandbox with its seed in this loop; port 0 is any free one.

    Raises:
        ConfigError: The address cannot be listened on.
    """
    from relay.sandbox import (  # noqa: PLC0415 - Starlette, 0.2 s
        INTEGRATION_USERNAME,
        SandboxOrg,
        serve,
    )

    org = SandboxOrg()
    stop = asyncio.Event()
    url: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(
        serve(org, host, port, announce=url.set_result, stop=stop)
    )
    both: set[asyncio.Future[Any]] = {serving, url}
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    if not url.done():
        url.cancel()
        await serving  # raises what kept it from starting
    try:
        yield RunningSandbox(url.result(), org, INTEGRATION_USERNAME)
    finally:
        stop.set()
        await serving


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=DEFAULT_PORT,
    show_default=True,
    help="0: any free port.",
)
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="A loopback address."
)
@json_option
def sandbox(port: int, host: str, *, as_json: bool) -> None:
    """Run a local Salesforce org, until SIGTERM or Ctrl-C.

    The org is in memory: its records are lost when the command ends.
    """
    from relay.sandbox import SandboxOrg, run  # noqa: PLC0415 - Starlette, 0.2 s

    org = SandboxOrg()

    def announce(url: str) -> None:
        if as_json:
            print_json([{"url": url}])
            return
        click.echo(f"A Salesforce sandbox answers at {url}")
        click.echo(
            "\nIn the section [salesforce] of relay.toml, for its lines there:\n"
        )
        click.echo(KEYS.format(url=url))
        click.echo(f"What it holds: curl -s {url}/sandbox/dump\n")
        table(
            ["", "name", "e-mail"],
            people(org.dump()),
            title="People in it (users of the relay are Users here)",
        )

    run(host, port, org=org, announce=announce)


def people(
    rows: Mapping[str, Sequence[Mapping[str, Any]]],
) -> list[tuple[str, str, str]]:
    """Return who can write and be written to: kind, name and address."""
    found = []
    for kind in ("User", "Contact", "Lead"):
        named = [
            (kind, str(row.get("Name") or ""), str(row["Email"]))
            for row in rows.get(kind, ())
            if row.get("Email")
            and not row.get("IsDeleted")
            and not row.get("IsConverted")
            and row.get("IsActive", True)
        ]
        found += named[:_SHOWN]
    return found
