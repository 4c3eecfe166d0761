"""`relay user link` and `sign-out`: how people come into the console, and out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from relay.cli.entry import (
    Failure,
    RelayCommand,
    actor,
    open_store,
    run,
    settings,
)
from relay.cli.output import json_option, print_json, when

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
    "--without-factors",
    is_flag=True,
    help="Forget the user's code app, recovery codes and passkeys, for who lost them.",
)
@json_option
def link(who: str, *, without_factors: bool, as_json: bool) -> None:
    """Print a link by which a user sets a password and signs in, once.

    It works for 24 hours. A link that was made for the user before ends. The password
    holds until the link is used; then every browser of the user is signed out.
    """
    loaded = settings()
    if loaded.web.listen is None and loaded.web.public_url is None:
        problem = "web.listen (not set): there is no console to sign in to"
        raise Failure(problem + '; write for instance "127.0.0.1:8080"')

    async def job() -> tuple[User, str, datetime]:
        async with open_store(loaded) as store:
            found = await store.directory.find_user(who)
            if without_factors:
                await store.factors.remove_all(found.id, actor())
            return (found, *await new_link(loaded, store, found))

    found, url, ends = run(job())
    if as_json:
        print_json([{"user": found.email, "sign_in_link": url, "expires_at": ends}])
        return
    click.echo(url)
    if sys.stdout.isatty():
        click.secho(f"(for {found.email}, once, until {when(ends)} UTC)", dim=True)


@click.command("sign-out", cls=RelayCommand)
@who
@json_option
def sign_out(who: str, *, as_json: bool) -> None:
    """End every session of a user in the console, in all browsers."""
    loaded = settings()

    async def job() -> tuple[User, int]:
        async with open_store(loaded) as store:
            found = await store.directory.find_user(who)
            return found, await store.accounts.end_sessions(found.id, actor())

    found, count = run(job())
    if as_json:
        print_json([{"user": found.email, "sessions_ended": count}])
    else:
        click.echo(f"{found.email} is signed out; sessions ended: {count}.")
