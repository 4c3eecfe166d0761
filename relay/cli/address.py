"""`relay address`: from which addresses mail is accepted for a user, and why."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from relay.admin.claims import claim as claim_address
from relay.admin.inputs import (
    address_pattern,
    email_address,
    known_pattern,
    person_name,
)
from relay.cli.concerns import confirmed, yes_option
from relay.cli.entry import (
    Failure,
    RelayGroup,
    actor,
    checked,
    open_store,
    run,
    settings,
)
from relay.cli.output import json_option, print_json, table, when
from relay.console import claims
from relay.console.people import accept, accepted, against
from relay.console.people_import import changing, follow, plan_addresses
from relay.core.directory import Source
from relay.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.admin.claims import SendCode
    from relay.admin.salesforce_addresses import ImportStep
    from relay.config import Settings
    from relay.store import Store

of_user = click.argument("who", metavar="USER")
_SOURCES = {
    Source.OWN: "own address",
    Source.ADMIN: "admin",
    Source.SALESFORCE: "Salesforce",
    Source.CLAIM: "claim",
}


@click.group(cls=RelayGroup)
def address() -> None:
    """Manage the addresses that users may send from.

    ADDRESS is an e-mail address, or '*@domain' for everybody in that domain.
    """


@address.command("add")
@of_user
@click.argument("pattern", metavar="ADDRESS", callback=checked(address_pattern))
@click.option(
    "--delegate",
    metavar="NAME",
    callback=checked(person_name),
    help="Somebody else sends from it for USER: an assistant, a shared mailbox.",
)
@yes_option
def add_address(who: str, pattern: str, delegate: str | None, *, yes: bool) -> None:
    """Accept mail from ADDRESS for USER."""
    loaded = settings()

    async def job() -> str:
        async with open_store(loaded) as store:
            found = await store.directory.find_user(who)
            concerns = await against(store, loaded, pattern, found.id)
            confirmed(concerns, pattern, yes=yes)
            new = await accept(
                *(store, loaded, found.id, pattern, actor()),
                delegate=delegate or "",
                confirmed=True,
            )
            by = f" (sent by {delegate})" if delegate else ""
            already = "" if new else " already"
            return f"{pattern} may send for {found.email}{by}{already}."

    click.echo(run(job()))


@address.command("remove")
@of_user
@click.argument("pattern", metavar="ADDRESS", callback=checked(known_pattern))
def remove_address(who: str, pattern: str) -> None:
    """Refuse mail from ADDRESS for USER from now on."""
    loaded = settings()

    async def job() -> str:
        async with open_store(loaded) as store:
            found = await store.directory.find_user(who)
            await store.directory.remove_address(found.id, pattern, actor())
            return found.email

    email = run(job())
    click.echo(f"{pattern} may no longer send for {email}.")
    if pattern == email:
        click.echo(
            "Note: this is the user's own address; to accept its mail again: "
            f"relay address add {email} {email}",
            err=True,
        )


@address.command("list")
@click.argument("who", metavar="[USER]", required=False)
@json_option
def list_addresses(who: str | None, *, as_json: bool) -> None:
    """List accepted addresses, of one user or of all."""
    loaded = settings()

    async def job() -> list[dict[str, Any]]:
        async with open_store(loaded) as store:
            found = await store.directory.find_user(who) if who else None
            return await accepted(store, found.id if found else None)

    rows = run(job())
    if as_json:
        print_json(rows)
        return
    table(
        ["user", "address", "sent by", "known by", "added (UTC)", "added by"],
        (
            (
                row["user"],
                f"{row['address']}{'' if row['confirmed'] else ' (see relay check)'}",
                row["delegate"] or "",
                _SOURCES[Source(row["source"])],
                when(row["added_at"]),
                row["added_by"],
            )
            for row in rows
        ),
        whole=["address", "added (UTC)"],
        drop=["added by", "known by", "sent by", "added (UTC)"],
        empty="No accepted addresses: relay address add USER ADDRESS",
    )


# ------------------------------------------------------------------ claims


@address.command()
@of_user
@click.argument("key", metavar="ADDRESS", callback=checked(email_address))
def claim(who: str, key: str) -> None:
    """Mail a code to ADDRESS; whoever reads it there may let it send for USER.

    The code counts for 30 minutes and 5 tries.
    """
    loaded = settings()

    async def job() -> datetime:
        async with open_store(loaded) as store:
            found = await store.directory.find_user(who)
            return await claim_address(
                store,
                found,
                key,
                code_sender(loaded, store),
                now=datetime.now(UTC),
                actor=actor(),
            )

    until = when(run(job()))
    click.echo(
        f"A code was mailed to {key}. Until {until} UTC: relay address verify USER CODE"
    )


def code_sender(loaded: Settings, store: Store) -> SendCode:
    """Return what mails codes.

    Raises:
        ConfigError: No mail can be sent.
    """
    send = claims.code_sender(loaded, store)
    if send is None:
        raise ConfigError(claims.NO_MAIL)
    return send


@address.command()
@of_user
@click.argument("code", metavar="CODE")
def verify(who: str, code: str) -> None:
    """Let the claimed address of USER send to which CODE was mailed."""
    loaded = settings()

    async def job() -> str:
        async with open_store(loaded) as store:
            found = await store.directory.find_user(who)
            key = await claims.prove(loaded, store, found, code, actor=actor())
            return f"{key} may send for {found.email}."

    click.echo(run(job()))


# ------------------------------------------------------------------ Salesforce


@address.command("import")
@click.option("--dry-run", is_flag=True, help="Show what would change, and stop.")
@click.option("--yes", is_flag=True, help="Change it without asking, as in a timer.")
@json_option
def import_addresses(*, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Accept for each user the e-mail of their Salesforce user, and keep it in step.

    What came from Salesforce goes when User.Email changes or the User is no longer
    active. Users of whom no Salesforce id is known are left out. Shows first what
    would change.
    """
    loaded = settings()
    loaded.require_salesforce()

    async def job() -> int:
        async with open_store(loaded) as store:
            steps = await plan_addresses(loaded, store)
            _show_steps(steps, as_json=as_json)
            changes = changing(steps)
            if dry_run or not changes:
                return 0
            if not yes:
                _ask(len(changes))
            return await follow(store, steps, actor())

    count = run(job())
    if not as_json:
        click.echo(f"{count} changed." if count else "Nothing was changed.")


def _show_steps(steps: Sequence[ImportStep], *, as_json: bool) -> None:
    if as_json:
        print_json(step.row for step in steps)
        return
    table(
        ["user", "address", "change", "why"],
        ((step.user.email, step.address, step.change, step.reason) for step in steps),
        whole=["address", "change"],
        fold=["why"],
        empty="Every user has the e-mail of their Salesforce user.",
    )


def _ask(count: int) -> None:
    if sys.stdin.isatty() and click.confirm(f"Make the changes ({count})?", err=True):
        return
    what = "1 change was" if count == 1 else f"{count} changes were"
    problem = f"{what} not made; --yes makes changes without asking"
    raise Failure(problem)
