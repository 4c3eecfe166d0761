"""`relay audit`: does Salesforce hold what the ledger says, once, and nothing else?"""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from relay.cli.entry import FAILED, RelayCommand, since_option
from relay.cli.opening import actor, open_store, run, settings
from relay.cli.output import clean, json_option, print_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from relay.config import Settings
    from relay.reconcile.report import Report


@click.command(cls=RelayCommand)
@since_option("Look at what was sent since: 2h, 3d, or a date.")
@click.option(
    "--fix", is_flag=True, help="Have missing and foreign records written again."
)
@json_option
def audit(*, since: datetime | None, fix: bool, as_json: bool) -> None:
    """Compare the ledger with Salesforce: missing, doubled and orphaned records.

    A record counts as there by its key: another record with its id is called foreign.
    Records that somebody has deleted are reported and left as they are. With --fix
    missing and foreign ones are queued to be written again; a record written more than
    15 days ago only if --since names a time, because one that was deleted looks the
    same by then.

    Exit status 0 if all agree (or will, once the queue is empty), 1 if not.
    """
    loaded = settings()
    report = run(_audit(loaded, since, fix=fix))
    if as_json:
        print_json(difference.as_json() for difference in report.differences)
    else:
        _print(report)
    if any(difference.left for difference in report.differences):
        sys.exit(FAILED)


async def _audit(loaded: Settings, since: datetime | None, *, fix: bool) -> Report:
    from relay.core.clock import SystemClock  # noqa: PLC0415
    from relay.reconcile.records import Audit  # noqa: PLC0415
    from relay.salesforce import Org  # noqa: PLC0415 - 0.5 s

    section, clock = loaded.require_salesforce(), SystemClock()
    org = Org(section, clock)
    try:
        async with open_store(loaded) as store:
            await org.start()
            with _bar() as progress:
                walk = Audit(section, store, org, clock, progress=progress)
                return await walk.run(since, fix=fix, actor=actor())
    finally:
        await org.close()


@contextmanager
def _bar() -> Iterator[Callable[[int, int], None]]:
    """Show the progress on a terminal; on anything else nothing."""
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich.console import Console  # noqa: PLC0415 - costs 60 ms
    from rich.progress import Progress  # noqa: PLC0415

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("Comparing", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _print(report: Report) -> None:
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
