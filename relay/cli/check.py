"""`relay check`, `relay setup` and `relay audit`: is everything as it must be?

`check` shows what `relay.diagnose` finds, `audit` what `relay.reconcile` finds; `setup`
makes the metadata that an admin deploys in Salesforce, and says whether it is there.
"""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from relay.cli.entry import (
    FAILED,
    USAGE,
    Failure,
    RelayCommand,
    RelayGroup,
    actor,
    config_path,
    open_store,
    run,
    settings,
    since_option,
)
from relay.cli.output import clean, json_option, print_json, state_style, table
from relay.core.errors import ConfigError
from relay.diagnose import Finding, Level
from relay.diagnose.finding import misconfigured

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from relay.config import SalesforceSettings, Settings
    from relay.reconcile.report import Report

OBJECTS: Final = ("Task", "EmailMessage")
_OPTIONAL: Final = (
    "Mail is logged without these fields, too. With them, the relay can repeat a write "
    "of unknown outcome at once. Exit status 1: the fields are not ready."
)


@click.command(cls=RelayCommand)
@click.option(
    "--dns", "only_dns", is_flag=True, help="Print only the DNS records to publish."
)
@click.option(
    "--sender",
    "address",
    metavar="ADDRESS",
    help="Check only the domain of this sender: SPF, DMARC, DKIM, and which policy "
    "would take its mail.",
)
@json_option
def check(*, only_dns: bool, address: str | None, as_json: bool) -> None:
    """Check settings, store, TLS, listeners, DNS and Salesforce; with hints.

    The check holds an SMTP session with each listener that answers, as an unknown peer
    would.

    Exit status 1 if anything fails, 2 if the settings themselves are wrong; a warning
    is no failure.
    """
    try:
        loaded = settings()
    except ConfigError as error:
        # The line comes first for those who read the list; the status says the rest.
        found = [misconfigured("config", line) for line in error.problems]
        _print_checked(found, as_json=as_json)
        sys.exit(USAGE)
    if only_dns:
        _print_dns(loaded, as_json=as_json)
        return
    if address is not None:
        _print_checked(run(_sender(loaded, address)), as_json=as_json)
        return
    from relay.console.checks import check_everything  # noqa: PLC0415 - heavy libraries

    findings = run(check_everything(loaded, config_path()))
    _print_checked(findings, as_json=as_json)
    if any(finding.level is Level.FAIL for finding in findings):
        sys.exit(FAILED)


async def _sender(loaded: Settings, address: str) -> list[Finding]:
    from relay.core.addresses import address_key  # noqa: PLC0415
    from relay.core.clock import SystemClock  # noqa: PLC0415
    from relay.diagnose.senders import sender  # noqa: PLC0415 - heavy libraries
    from relay.sender.resolver import resolver_of  # noqa: PLC0415

    if address_key(address) is None:
        problem = f"{address!r} is no address; write one like ada@acme.com"
        raise click.UsageError(problem)
    clock = SystemClock()
    resolver = resolver_of(loaded.dns, clock)
    try:
        async with open_store(loaded) as store:
            return await sender(loaded, store, clock, address, resolver)
    finally:
        await resolver.close()


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


def _print_findings(findings: list[Finding], *, as_json: bool) -> None:
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


def _print_checked(findings: list[Finding], *, as_json: bool) -> None:
    _print_findings(findings, as_json=as_json)
    if as_json:
        return
    counts = Counter(finding.level for finding in findings)
    click.echo(
        f"{counts[Level.OK]} ok, {counts[Level.WARN]} to look at, "
        f"{counts[Level.FAIL]} failed."
    )


# ------------------------------------------------------------------ setup


@click.group(cls=RelayGroup)
def setup() -> None:
    """Prepare Salesforce for the relay."""


@setup.command(cls=RelayCommand)
@click.option("--print", "show", is_flag=True, help="Print the metadata to deploy.")
@click.option(
    "--to",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write the metadata into a folder that sf can deploy.",
)
@json_option
def salesforce(folder: Path | None, *, show: bool, as_json: bool) -> None:
    """Check whether the org has the unique fields for keys, or make their metadata.

    The fields are optional. With such a field on Activity and EmailMessage, the relay
    creates a record of unknown outcome again at once. --print and --to make the
    metadata; without them the command asks the org, and exits with status 1 if
    something is missing.
    """
    section = settings().salesforce
    if not section.key_field:
        text = "salesforce.key_field is empty; name the field, such as Relay_Key__c"
        raise Failure(text)
    if show or folder:
        _metadata(section, folder)
        return
    findings = run(_verify(section))
    _print_findings(findings, as_json=as_json)
    if any(finding.level is not Level.OK for finding in findings):
        if not as_json:
            click.echo(_OPTIONAL)
        sys.exit(FAILED)


def _metadata(section: SalesforceSettings, folder: Path | None) -> None:
    from relay.salesforce.schema import key_field_files  # noqa: PLC0415

    for name, content in key_field_files(
        section.key_field, section.api_version
    ).items():
        if folder is None:
            click.echo(f"<!-- {name} -->\n{content}")
            continue
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content, "utf-8")
        click.echo(str(place))
    if folder is not None:
        click.echo(
            f"Next: sf project deploy start --metadata-dir {shlex.quote(str(folder))}, "
            "then assign the permission set Relay_Keys to the integration user; "
            "relay setup salesforce says whether it is done.",
            err=True,
        )


async def _verify(section: SalesforceSettings) -> list[Finding]:
    loaded = settings()
    loaded.require_salesforce()
    from relay.core.clock import SystemClock  # noqa: PLC0415
    from relay.diagnose.org import key_field  # noqa: PLC0415
    from relay.salesforce import Org  # noqa: PLC0415 - 0.5 s

    org = Org(section, SystemClock())
    await org.start()
    try:
        schema = await org.schema.get()
    finally:
        await org.close()
    return [key_field(schema, name, section.key_field) for name in OBJECTS]


# ------------------------------------------------------------------ audit


@click.command(cls=RelayCommand)
@since_option("Compare only records sent since: 2h, 3d, or a date.")
@click.option(
    "--fix", is_flag=True, help="Queue missing and foreign records to be written again."
)
@json_option
def audit(*, since: datetime | None, fix: bool, as_json: bool) -> None:
    """Compare the ledger with Salesforce: missing, doubled and orphaned records.

    The key identifies a record: a record with the right id and another key is
    foreign. The audit reports records that a person has deleted, and leaves them.
    --fix queues missing and foreign records to be written again. Records written more
    than 15 days ago need --since, too: by then a deleted record looks like a missing
    one.

    Exit status 0 if all agree (or will, once the queue is empty), 1 if not.
    """
    loaded = settings()
    report = run(_audit(loaded, since, fix=fix))
    if as_json:
        print_json(difference.as_json() for difference in report.differences)
    else:
        _print_report(report)
    if any(difference.left for difference in report.differences):
        sys.exit(FAILED)


async def _audit(loaded: Settings, since: datetime | None, *, fix: bool) -> Report:
    from relay.core.clock import SystemClock  # noqa: PLC0415
    from relay.reconcile.records import Reconciliation  # noqa: PLC0415
    from relay.salesforce import Org  # noqa: PLC0415 - 0.5 s

    section, clock = loaded.require_salesforce(), SystemClock()
    org = Org(section, clock)
    try:
        async with open_store(loaded) as store:
            await org.start()
            with _progress() as progress:
                walk = Reconciliation(section, store, org, clock, progress=progress)
                return await walk.run(since, fix=fix, actor=actor())
    finally:
        await org.close()


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """Show the progress on a terminal; on anything else nothing."""
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich.console import Console  # noqa: PLC0415 - costs 60 ms
    from rich.progress import Progress  # noqa: PLC0415

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("Comparing", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _print_report(report: Report) -> None:
    # Ids are there to be copied: a table would cut them on a narrow terminal.
    for d in report.differences:
        about = f" (message {' '.join(d.messages)})" if d.messages else ""
        click.echo(f"{d.kind.value:9} {d.object} {' '.join(d.ids)}{clean(about)}")
        click.echo(f"{'':9} {clean(d.detail)}")
    counts = Counter(d.kind.value for d in report.differences)
    kinds = ["missing", "doubled", "orphaned", "deleted"]
    if counts["foreign"]:
        kinds.insert(1, "foreign")
    said = ", ".join(f"{counts[kind]} {kind}" for kind in kinds)
    queued = Counter(d.kind.value for d in report.differences if d.repaired)
    click.echo(f"{report.checked} records compared: {said}.")
    for kind in ("missing", "foreign"):
        if queued[kind]:
            click.echo(f"{queued[kind]} {kind}: queued to be written again.")
    if report.on_the_way:
        click.echo(f"{report.on_the_way} more have no known outcome yet.")
