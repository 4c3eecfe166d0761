"""`relay check`: what is missing before mail flows, and how to mend it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from relay.cli.entry import FAILED, USAGE, RelayCommand, config_path
from relay.cli.finding import Finding, Result, misconfigured
from relay.cli.opening import run, settings
from relay.cli.output import json_option, print_json, state_style, table
from relay.core.errors import ConfigError

if TYPE_CHECKING:
    from relay.config import Settings


@click.command(cls=RelayCommand)
@json_option
def check(*, as_json: bool) -> None:
    """Check settings, store, TLS, listeners, DNS and Salesforce; mends included.

    Exit status 1 if anything fails, 2 if the settings themselves are wrong; a warning
    is no failure.
    """
    try:
        loaded = settings()
    except ConfigError as error:
        # The line comes first for those who read the list; the status says the rest.
        found = [misconfigured("config", line) for line in error.problems]
        _print(found, as_json=as_json)
        sys.exit(USAGE)
    findings = run(_all(loaded))
    _print(findings, as_json=as_json)
    if any(finding.result is Result.FAIL for finding in findings):
        sys.exit(FAILED)


async def _all(loaded: Settings) -> list[Finding]:
    from relay.cli import check_machine, check_org  # noqa: PLC0415 - heavy libraries

    return [
        *check_machine.config(loaded, config_path()),
        *await check_machine.store(loaded),
        *check_machine.tls(loaded),
        *await check_machine.listeners(loaded),
        *await check_machine.dns(loaded),
        *await check_org.salesforce(loaded),
    ]


def _print(findings: list[Finding], *, as_json: bool) -> None:
    if as_json:
        print_json(finding.as_json() for finding in findings)
        return
    table(
        ["check", "", "found", "mend"],
        ((f.check, f.shown, f.detail, f.mend) for f in findings),
        whole=["check", ""],
        wrap=True,
        styles={"": state_style},
    )
    counts = {
        result: sum(finding.result is result for finding in findings)
        for result in Result
    }
    click.echo(
        f"{counts[Result.OK]} ok, {counts[Result.WARN]} to look at, "
        f"{counts[Result.FAIL]} failed."
    )
