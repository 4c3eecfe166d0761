"""`relay check`: what is missing before mail flows, and what helps."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from relay.cli.entry import FAILED, USAGE, RelayCommand, config_path
from relay.cli.opening import run, settings
from relay.cli.output import clean, json_option, print_json, state_style, table
from relay.core.errors import ConfigError
from relay.diagnose.finding import Finding, Level, misconfigured

if TYPE_CHECKING:
    from relay.config import Settings


@click.command(cls=RelayCommand)
@click.option(
    "--dns", "only_dns", is_flag=True, help="Print the DNS records to publish, alone."
)
@json_option
def check(*, only_dns: bool, as_json: bool) -> None:
    """Check settings, store, TLS, listeners, DNS and Salesforce; with hints.

    With each listener that answers a session is held, as a stranger would.

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
    if only_dns:
        _print_dns(loaded, as_json=as_json)
        return
    from relay.diagnose.check import check_all  # noqa: PLC0415 - heavy libraries

    findings = run(check_all(loaded, config_path()))
    _print(findings, as_json=as_json)
    if any(finding.level is Level.FAIL for finding in findings):
        sys.exit(FAILED)


def _print_dns(loaded: Settings, *, as_json: bool) -> None:
    from relay.diagnose.dns import (  # noqa: PLC0415
        no_hostname,
        published,
        sts_policy,
    )

    loaded.require_domains()
    found = run(published(loaded.smtp))
    if unnamed := no_hostname(loaded.smtp):
        click.echo(f"relay: {unnamed}", err=True)
    if as_json:
        print_json(one.as_json() for one in found)
        return
    for one in found:
        click.echo(f"; {one.record.why}\n; published: {one.state}")
        for value in one.found if one.state != "yes" else ():
            click.echo(f"; found: {clean(value)}")
        click.echo(one.record.line)
    if loaded.smtp.tls_certificate is None:
        click.echo("; no MTA-STS and no DANE: smtp.tls_certificate is not set")
        return
    click.echo("; the policy at https://mta-sts.DOMAIN/.well-known/mta-sts.txt:")
    for line in sts_policy(loaded.smtp).splitlines():
        click.echo(f";   {line}")


def _print(findings: list[Finding], *, as_json: bool) -> None:
    if as_json:
        print_json(finding.as_json() for finding in findings)
        return
    table(
        ["check", "", "found", "hint"],
        ((f.area, f.word, f.text, f.hint) for f in findings),
        whole=["check", ""],
        wrap=True,
        styles={"": state_style},
    )
    counts = {
        result: sum(finding.level is result for finding in findings) for result in Level
    }
    click.echo(
        f"{counts[Level.OK]} ok, {counts[Level.WARN]} to look at, "
        f"{counts[Level.FAIL]} failed."
    )
