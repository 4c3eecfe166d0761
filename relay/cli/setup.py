"""`relay setup`: what an admin does once in Salesforce."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from relay.cli.entry import FAILED, Failure, RelayCommand, RelayGroup
from relay.cli.opening import run, settings
from relay.cli.output import json_option, print_json, state_style, table
from relay.diagnose.finding import Finding, Level

if TYPE_CHECKING:
    from relay.config import SalesforceSettings

OBJECTS: Final = ("Task", "EmailMessage")
_OPTIONAL: Final = (
    "Mail is logged without these fields, too; with them, a write whose answer was "
    "lost is settled at once. Exit status 1 tells a script that they are not ready."
)


@click.group(cls=RelayGroup)
def setup() -> None:
    """Prepare what the relay works with."""


@setup.command(cls=RelayCommand)
@click.option("--print", "show", is_flag=True, help="Print the metadata to deploy.")
@click.option(
    "--to",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write the metadata into a folder, as sf deploys it.",
)
@json_option
def salesforce(folder: Path | None, *, show: bool, as_json: bool) -> None:
    """Say whether the org has the unique fields for keys, or make their metadata.

    With such a field on Activity and EmailMessage, a record whose fate is unknown is
    just created again, at once; without it, mail is logged all the same. Without
    --print and --to the org is asked; exit status 1 if something is missing.
    """
    section = settings().salesforce
    if not section.key_field:
        text = "salesforce.key_field is empty; name the field, such as Relay_Key__c"
        raise Failure(text)
    if show or folder:
        _metadata(section, folder)
        return
    findings = run(_verify(section))
    if as_json:
        print_json(finding.as_json() for finding in findings)
    else:
        table(
            ["check", "", "found", "hint"],
            ((f.area, f.word, f.text, f.hint) for f in findings),
            whole=["check", ""],
            wrap=True,
            styles={"": state_style},
        )
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
        shape = await org.schema.get()
    finally:
        await org.close()
    return [key_field(shape, name, section.key_field) for name in OBJECTS]
