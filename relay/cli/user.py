"""`relay user`: who may log, and under which relay address."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from relay.cli.app_password import app_password
from relay.cli.arguments import email_address, person_name, salesforce_user_id
from relay.cli.entry import RelayGroup
from relay.cli.opening import actor, open_store, relay_address, run, settings
from relay.cli.output import facts, json_option, print_json, state_style, table
from relay.core.directory import Role

if TYPE_CHECKING:
    from relay.config import Settings
    from relay.core.directory import User

who = click.argument("who", metavar="USER")


@click.group(cls=RelayGroup)
def user() -> None:
    """People who log, and their relay addresses.

    USER is an e-mail address, or a name where only one user has it.
    """


@user.command()
@click.argument("name")
@click.option("--email", required=True, help="Own address; accepted as sender at once.")
@click.option(
    "--salesforce-id", help="Id of the Salesforce user; else found by the address."
)
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    default=Role.REP.value,
    show_default=True,
)
@json_option
def add(
    name: str, email: str, salesforce_id: str | None, role: str, *, as_json: bool
) -> None:
    """Add a user and print the relay address for the BCC line."""
    name = person_name(name)
    email = email_address(email, hint="--email")
    record = salesforce_user_id(salesforce_id) if salesforce_id else None
    loaded = settings()
    # An address that nobody can be given is no use: say so before anything is kept.
    loaded.require_domains()

    async def job() -> User:
        async with open_store(loaded) as store:
            return await store.user_add(name, email, Role(role), record, actor())

    added = run(job())
    _print_address(loaded, added, f"{name} puts this into BCC", as_json=as_json)


@user.command("list")
@json_option
def list_(*, as_json: bool) -> None:
    """List all users."""
    loaded = settings()

    async def job() -> list[User]:
        async with open_store(loaded) as store:
            return await store.users()

    rows = [_row(loaded, one) for one in run(job())]
    if as_json:
        print_json(rows)
        return
    table(
        ["name", "email", "role", "state", "salesforce id", "relay address"],
        (
            (
                row["name"],
                row["email"],
                row["role"],
                "active" if row["active"] else "disabled",
                row["salesforce_id"] or "by e-mail",
                row["relay_address"] or "set smtp.domains",
            )
            for row in rows
        ),
        whole=["relay address"],
        drop=["salesforce id", "role", "name"],
        empty="No users yet: relay user add NAME --email ADDRESS",
        styles={"state": lambda cell: "" if cell == "active" else state_style("dead")},
    )


@user.command()
@who
@json_option
def show(who: str, *, as_json: bool) -> None:
    """Show one user with the addresses that may send for them."""
    loaded = settings()

    async def job() -> tuple[User, list[str]]:
        async with open_store(loaded) as store:
            found = await store.user_find(who)
            accepted = await store.addresses(found.id)
            return found, [one.address for one in accepted]

    found, accepted = run(job())
    row = _row(loaded, found)
    if as_json:
        print_json([row | {"accepted": accepted}])
        return
    facts(
        [
            ("name", row["name"]),
            ("email", row["email"]),
            ("role", row["role"]),
            ("state", "active" if row["active"] else "disabled"),
            ("salesforce id", row["salesforce_id"] or "looked up by the e-mail"),
            ("relay address", row["relay_address"] or "none: set smtp.domains"),
            ("may send from", ", ".join(accepted) or "nowhere: relay address add"),
        ]
    )


@user.command()
@who
@json_option
def disable(who: str, *, as_json: bool) -> None:
    """Stop taking mail for a user; what is queued goes on."""
    _set_active(who, active=False, as_json=as_json)


@user.command()
@who
@json_option
def enable(who: str, *, as_json: bool) -> None:
    """Take mail for a user again."""
    _set_active(who, active=True, as_json=as_json)


def _set_active(text: str, *, active: bool, as_json: bool) -> None:
    loaded = settings()

    async def job() -> User:
        async with open_store(loaded) as store:
            found = await store.user_find(text)
            return await store.user_set_active(found.id, active, actor())

    changed = run(job())
    if as_json:
        print_json([_row(loaded, changed)])
    else:
        state = "active" if changed.active else "disabled"
        click.echo(f"{changed.name} <{changed.email}> is {state}.")


@user.command()
@who
@json_option
def rotate(who: str, *, as_json: bool) -> None:
    """Give a user a new relay address; the old one works for a grace time."""
    loaded = settings()
    loaded.require_domains()
    days = loaded.user.rotation_grace_days

    async def job() -> User:
        async with open_store(loaded) as store:
            found = await store.user_find(who)
            return await store.user_rotate(found.id, timedelta(days=days), actor())

    _print_address(
        loaded, run(job()), f"the old address works for {days} days", as_json=as_json
    )


@user.command("set")
@who
@click.option(
    "--salesforce-id",
    required=True,
    help="Id of the Salesforce user that owns the logs; '' to look it up again.",
)
@json_option
def set_(who: str, salesforce_id: str, *, as_json: bool) -> None:
    """Say which Salesforce user a user is."""
    record = salesforce_user_id(salesforce_id) if salesforce_id else None
    loaded = settings()

    async def job() -> User:
        async with open_store(loaded) as store:
            found = await store.user_find(who)
            return await store.user_set_salesforce_id(found.id, record, actor())

    changed = run(job())
    if as_json:
        print_json([_row(loaded, changed)])
    else:
        owner = changed.salesforce_id or "looked up by the e-mail"
        click.echo(f"{changed.name} <{changed.email}>, Salesforce user {owner}.")


user.add_command(app_password)


def _row(loaded: Settings, one: User) -> dict[str, Any]:
    """Return the stable names of design section 7."""
    return {
        "name": one.name,
        "email": one.email,
        "role": one.role.value,
        "active": one.active,
        "salesforce_id": one.salesforce_id,
        "relay_address": relay_address(loaded, one),
    }


def _print_address(loaded: Settings, one: User, hint: str, *, as_json: bool) -> None:
    """Print the relay address alone, so that `$(relay user add …)` is the address."""
    if as_json:
        print_json([_row(loaded, one)])
        return
    click.echo(relay_address(loaded, one))
    if sys.stdout.isatty():
        click.secho(f"({hint})", dim=True)
