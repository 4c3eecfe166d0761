"""`relay user link`, `sessions` and `sign-out`: the way into the console, and out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from relay.cli.entry import RelayCommand, actor, open_store, run, settings
from relay.cli.output import json_option, print_json, table, when
from relay.console import sign_in

if TYPE_CHECKING:
    from datetime import datetime

    from relay.config import Settings
    from relay.core.directory import User
    from relay.store import Store

who = click.argument("who", metavar="USER")


async def new_link(loaded: Settings, store: Store, found: User) -> tuple[str, datetime]:
    """Make a one-time link for a user; return it, and when it ends."""
    from relay.accounts import Accounts  # noqa: PLC0415 - argon2, for this alone

    return await Accounts(store, loaded).make_link(found, actor())


@click.command(cls=RelayCommand)
@who
@click.option(
    "--mail",
    is_flag=True,
    help="Mail the link to the user, and do not print it; a running relay sends it.",
)
@click.option(
    "--without-factors",
    is_flag=True,
    help="Forget the user's code app, recovery codes and passkeys, for who lost them.",
)
@json_option
def link(who: str, *, mail: bool, without_factors: bool, as_json: bool) -> None:
    """Print a link by which a user sets a password and signs in, once; or mail it.

    It works for 24 hours. A link that was made for the user before ends. The password
    holds until the link is used; then every browser of the user is signed out.
    """
    loaded = settings()

    async def job() -> tuple[User, str, datetime]:
        async with open_store(loaded) as store:
            sign_in.need_console(loaded)
            if mail:
                sign_in.need_mail(loaded)
            found = await store.directory.find_user(who)
            if without_factors:
                await store.factors.remove_all(found.id, actor())
            if mail:
                return found, "", await sign_in.invite(store, loaded, found, actor())
            return (found, *await new_link(loaded, store, found))

    found, url, ends = run(job())
    if as_json:
        row: dict[str, Any] = {"user": found.email, "expires_at": ends}
        print_json([row | ({"mailed": True} if mail else {"sign_in_link": url})])
        return
    if mail:
        click.echo(
            f"The running relay mails {found.email} a link; it works once, until "
            f"{when(ends)} UTC."
        )
        return
    click.echo(url)
    if sys.stdout.isatty():
        click.secho(f"(for {found.email}, once, until {when(ends)} UTC)", dim=True)


@click.command(cls=RelayCommand)
@who
@json_option
def sessions(who: str, *, as_json: bool) -> None:
    """List where a user is signed in to the console."""
    loaded = settings()

    async def job() -> list[dict[str, Any]]:
        async with open_store(loaded) as store:
            found = await store.directory.find_user(who)
            return await sign_in.sessions(store, found)

    rows = run(job())
    if as_json:
        print_json(rows)
        return
    table(
        ["id", "by", "from", "since (UTC)", "last used (UTC)", "browser"],
        (
            (
                one["id"],
                one["method"],
                one["address"],
                when(one["created_at"]),
                when(one["used_at"]),
                one["agent"],
            )
            for one in rows
        ),
        whole=["id", "by"],
        drop=["browser", "since (UTC)"],
        empty="Signed in nowhere.",
    )


@click.command("sign-out", cls=RelayCommand)
@who
@click.option(
    "--session",
    "number",
    type=click.IntRange(1, 2**53),
    metavar="ID",
    help="End this one alone: relay user sessions USER lists them.",
)
@json_option
def sign_out(who: str, *, number: int | None, as_json: bool) -> None:
    """End every session of a user in the console, in all browsers."""
    loaded = settings()

    async def job() -> tuple[User, int]:
        async with open_store(loaded) as store:
            found = await store.directory.find_user(who)
            if number is None:
                return found, await store.accounts.end_sessions(found.id, actor())
            await store.accounts.end_session(found.id, number, actor())
            return found, 1

    found, count = run(job())
    if as_json:
        print_json([{"user": found.email, "sessions_ended": count}])
    elif number is not None:
        click.echo(f"{found.email} is signed out there.")
    else:
        click.echo(f"{found.email} is signed out; sessions ended: {count}.")
