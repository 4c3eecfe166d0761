"""`relay user import`: users from a CSV file or from Salesforce, by a plan."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

import click

from relay.cli.entry import Failure, RelayCommand, actor, open_store, run, settings
from relay.cli.output import json_option, print_json, table
from relay.console import people_import, sign_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.console.people_import import Imported, UserStep


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
@click.option(
    "--update",
    is_flag=True,
    help="Change users who are there already to what is named: name, role, id.",
)
@click.option(
    "--mail", is_flag=True, help="Mail each new user a link to sign in, once."
)
@click.option("--dry-run", is_flag=True, help="Show the plan, and stop.")
@click.option("--yes", is_flag=True, help="Add them without asking.")
@json_option
def import_users(
    file: TextIO | None,
    *,
    from_org: bool,
    activate: bool,
    update: bool,
    mail: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Add users from a CSV file, or from Salesforce; shows first what would be done.

    The first line of FILE names the columns: name,email,role,salesforce_id. The last
    two may be left out; - reads from stdin. Who is a user already is skipped, or with
    --update changed. Whose address something speaks against is skipped, too: add them
    alone with relay user add.
    """
    if (file is None) is not from_org:
        problem = "name a CSV file, or --salesforce"
        raise click.UsageError(problem)
    loaded = settings()
    loaded.require_domains()
    if from_org:
        loaded.require_salesforce()
    text = "" if file is None else _text(file.read())
    source = people_import.SALESFORCE if from_org else people_import.CSV

    async def job() -> Imported:
        async with open_store(loaded) as store:
            if mail:
                sign_in.need_mail(loaded)
            steps = await people_import.planned(
                store, loaded, source, text, update=update
            )
            _show(steps, as_json=as_json)
            if dry_run:
                return people_import.Imported()
            found = people_import.counts(steps)
            if (found["add"] or found["change"]) and not yes:
                _ask(found["add"], found["change"])
            done = await people_import.carry_out(
                store, steps, actor(), activate=activate
            )
            if mail:
                await sign_in.invite_all(store, loaded, done.added, actor())
            return done

    done = run(job())
    if not as_json:
        click.echo(_said(done, mail=mail))


def _said(done: Imported, *, mail: bool) -> str:
    """Say what came of it."""
    count = len(done.added)
    said = [f"{count} added." if count else "Nobody was added."]
    if done.changed:
        said.append(f"{done.changed} changed.")
    if done.overtaken:
        said.append(f"{done.overtaken} left: somebody was faster; run it again.")
    if count and mail:
        said.append("The running relay mails each of them a link to sign in.")
    return " ".join(said)


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


def _ask(new: int, changed: int) -> None:
    parts = [
        f"{number} user{'' if number == 1 else 's'} {what}"
        for number, what in ((new, "added"), (changed, "changed"))
        if number
    ]
    if sys.stdin.isatty() and click.confirm(
        f"To be done: {', '.join(parts)}. Go on?", err=True
    ):
        return
    problem = (
        f"{parts[0].replace(' added', ' not added')}; --yes does it without asking"
    )
    raise Failure(problem)
