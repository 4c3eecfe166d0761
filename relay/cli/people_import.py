"""`relay user import`: users from a CSV file or from Salesforce, by a plan."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

import click

from relay.cli.entry import Failure, RelayCommand, actor, open_store, run, settings
from relay.cli.output import json_option, print_json, table
from relay.console import people_import

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.console.people_import import Entered, UserStep
    from relay.store import Store


@click.command("import", cls=RelayCommand)
@click.argument("file", metavar="[FILE]", required=False, type=click.File("rb"))
@click.option(
    "--salesforce",
    "from_org",
    is_flag=True,
    help="Everybody of Salesforce with an active licence, in place of FILE.",
)
@click.option(
    "--activate/--no-activate",
    default=True,
    show_default=True,
    help="Whether the relay addresses accept mail at once.",
)
@click.option("--dry-run", is_flag=True, help="Show the plan, and stop.")
@click.option("--yes", is_flag=True, help="Add them without asking.")
@json_option
def import_users(
    file: TextIO | None,
    *,
    from_org: bool,
    activate: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Add users from a CSV file, or from Salesforce; shows first what would be done.

    The first line of FILE names the columns: name,email,role,salesforce_id. The last
    two may be left out; - reads from stdin. Who is a user already is skipped, and whose
    address something speaks against: add them alone with relay user add.
    """
    if (file is None) is not from_org:
        problem = "name a CSV file, or --salesforce"
        raise click.UsageError(problem)
    loaded = settings()
    loaded.require_domains()
    if from_org:
        loaded.require_salesforce()
    text = "" if file is None else _text(file.read())

    async def job() -> int:
        entered: Sequence[Entered]
        async with open_store(loaded) as store:
            if from_org:
                entered = await people_import.from_salesforce(loaded)
            else:
                entered = people_import.read_csv(text)
            directory = loaded.directory(await store.directory.load())
            steps = people_import.plan_users(directory, entered)
            _show(steps, as_json=as_json)
            return 0 if dry_run else await _carry_out(store, steps)

    async def _carry_out(store: Store, steps: Sequence[UserStep]) -> int:
        count = sum(step.change == "add" for step in steps)
        if count and not yes:
            _ask(count)
        added = await people_import.add_users(store, steps, actor(), activate=activate)
        return len(added)

    count = run(job())
    if not as_json:
        click.echo(f"{count} added." if count else "Nobody was added.")


def _text(data: bytes | str) -> str:
    if isinstance(data, str):
        return data
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        problem = "the file is not UTF-8; save it as CSV UTF-8"
        raise Failure(problem) from None


def _show(steps: Sequence[UserStep], *, as_json: bool) -> None:
    if as_json:
        print_json(step.as_json() for step in steps)
        return
    table(
        ["name", "email", "role", "change", "why"],
        ((s.name, s.email, s.role, s.change, s.reason) for s in steps),
        whole=["email", "change"],
        fold=["why"],
        empty="Nobody is named.",
    )


def _ask(count: int) -> None:
    what = "1 user" if count == 1 else f"{count} users"
    if sys.stdin.isatty() and click.confirm(f"Add {what}?", err=True):
        return
    problem = f"{what} not added; --yes adds them without asking"
    raise Failure(problem)
