"""Secrets for programs: `relay user app-password` and `relay token`.

A mail program logs in with an app password at a submission listener; another program
hands mail over by HTTP with an API token. Both are shown once and kept as digests.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from relay.admin.inputs import new_app_password, person_name, until
from relay.cli.entry import (
    RelayGroup,
    actor,
    checked,
    open_store,
    run,
    settings,
)
from relay.cli.output import json_option, print_json, table, when
from relay.console import tokens
from relay.core.access import Scope
from relay.core.errors import NotFound

if TYPE_CHECKING:
    from relay.config import Settings
    from relay.core.directory import AppPassword, User

_DEFAULT_NAME = "mail program"
who = click.argument("who", metavar="USER")


@click.group("app-password", cls=RelayGroup)
def app_password() -> None:
    """Manage passwords for mail programs that send to a submission listener.

    USER is an e-mail address, or a name where only one user has it. The user name in
    the mail program is the user's e-mail address.
    """


@app_password.command()
@who
@click.option(
    "--name",
    default=_DEFAULT_NAME,
    callback=checked(person_name),
    show_default=True,
    help="A name that says what it is for.",
)
@json_option
def add(who: str, name: str, *, as_json: bool) -> None:
    """Make a password and print it; it is not shown again."""
    loaded = settings()
    password = new_app_password()

    async def job() -> User:
        async with open_store(loaded) as store:
            found = await store.directory.find_user(who)
            await store.credentials.add_app_password(
                found.id, name, password.digest, actor()
            )
            return found

    found = run(job())
    if as_json:
        print_json([{"user": found.email, "name": name, "password": password.text}])
        return
    click.echo(password.text)
    if sys.stdout.isatty():
        click.secho(
            f"(the password of {found.email} for {name}; it is not shown again)",
            dim=True,
        )
    _warn_without_listener(loaded)


@app_password.command("list")
@click.argument("who", metavar="[USER]", required=False)
@json_option
def list_(who: str | None, *, as_json: bool) -> None:
    """List the passwords of a user, or of everybody, by name."""
    loaded = settings()

    async def job() -> tuple[dict[int, User], list[AppPassword]]:
        async with open_store(loaded) as store:
            only = None if who is None else (await store.directory.find_user(who)).id
            users = {one.id: one for one in await store.directory.users()}
            return users, await store.credentials.app_passwords(only)

    users, found = run(job())
    rows = [_password_row(users[one.user_id], one) for one in found]
    if as_json:
        print_json(rows)
        return
    table(
        ["user", "name", "added (UTC)", "by", "last used (UTC)"],
        (
            (
                row["user"],
                row["name"],
                when(row["added_at"]),
                row["added_by"],
                when(row["used_at"]) if row["used_at"] else "never",
            )
            for row in rows
        ),
        whole=["name"],
        drop=["by", "added"],
        empty="No app passwords: relay user app-password add USER",
    )


@app_password.command()
@who
@click.argument("name", required=False)
def remove(who: str, name: str | None) -> None:
    """Remove a password; NAME may be left out if the user has only one."""
    loaded = settings()

    async def job() -> tuple[User, str]:
        async with open_store(loaded) as store:
            found = await store.directory.find_user(who)
            chosen = name or _only(
                found, await store.credentials.app_passwords(found.id)
            )
            await store.credentials.remove_app_password(found.id, chosen, actor())
            return found, chosen

    found, chosen = run(job())
    click.echo(f"{found.email} cannot log in with {chosen!r} any more.")


def _only(user: User, passwords: list[AppPassword]) -> str:
    if len(passwords) == 1:
        return passwords[0].name
    if not passwords:
        text = f"{user.email} has no app password"
    else:
        names = ", ".join(repr(one.name) for one in passwords)
        text = f"{user.email} has several app passwords, name one: {names}"
    raise NotFound(text)


def _password_row(user: User, one: AppPassword) -> dict[str, Any]:
    return {
        "user": user.email,
        "name": one.name,
        "added_at": one.added_at,
        "added_by": one.added_by,
        "used_at": one.used_at,
    }


def _warn_without_listener(loaded: Settings) -> None:
    if not any(one.protocol == "submission" for one in loaded.smtp.listeners):
        text = (
            'No listener takes it yet: set [[smtp.listeners]] protocol = "submission".'
        )
        click.secho(text, err=True, dim=True)


# ------------------------------------------------------------------ API tokens


@click.group(cls=RelayGroup)
def token() -> None:
    """Manage tokens for programs that send mail by HTTP, or use the API."""


@token.command("add")
@click.argument("name", metavar="NAME", callback=checked(person_name))
@click.option(
    "--user",
    "who",
    metavar="USER",
    help="Only for this user, within the user's role; else a request names the user.",
)
@click.option(
    "--scope",
    "scopes",
    type=click.Choice([scope.value for scope in Scope]),
    multiple=True,
    help="What it may do, once for each right; default: mail:submit.",
)
@click.option(
    "--expires",
    "expires_at",
    metavar="T",
    callback=checked(lambda text: until(text, datetime.now(UTC))),
    help="From when it is refused: 30d, or a day such as 2027-01-31; default: never.",
)
@json_option
def add_token(
    name: str,
    who: str | None,
    scopes: tuple[str, ...],
    expires_at: datetime | None,
    *,
    as_json: bool,
) -> None:
    """Make a token and print it; it is not shown again."""
    scopes = tuple(dict.fromkeys(scopes)) or (Scope.MAIL_SUBMIT.value,)
    loaded = settings()

    async def job() -> tuple[str, str | None]:
        async with open_store(loaded) as store:
            user = None if who is None else await store.directory.find_user(who)
            secret = await tokens.make(
                *(store, name, user, scopes, expires_at, actor()),
                monitor_sees_bodies=loaded.web.monitor_sees_bodies,
            )
            return secret, None if user is None else user.email

    secret, email = run(job())
    if as_json:
        made = {"name": name, "user": email, "token": secret}
        print_json([made | {"scopes": list(scopes), "expires_at": expires_at}])
        return
    click.echo(secret)


@token.command("list")
@json_option
def list_tokens(*, as_json: bool) -> None:
    """List the names of the tokens; the relay does not store the tokens."""
    loaded = settings()

    async def job() -> list[dict[str, Any]]:
        async with open_store(loaded) as store:
            return await tokens.tokens(store)

    rows = run(job())
    if as_json:
        print_json(rows)
        return
    table(
        [
            *("name", "user", "may", "expires (UTC)", "added (UTC)", "by"),
            "last used (UTC)",
        ],
        (
            (
                row["name"],
                row["user"] or "any",
                " ".join(row["scopes"]),
                _expiry(row["expires_at"]),
                when(row["added_at"]),
                row["added_by"],
                when(row["used_at"]) if row["used_at"] else "never",
            )
            for row in rows
        ),
        whole=["name"],
        drop=["by", "added (UTC)", "last used (UTC)"],
        fold=["may"],
        empty="No tokens; make one with: relay token add NAME",
    )


@token.command("remove")
@click.argument("name", metavar="NAME")
def remove_token(name: str) -> None:
    """Remove a token; the relay refuses it from now on."""
    loaded = settings()

    async def job() -> None:
        async with open_store(loaded) as store:
            await store.credentials.remove_api_token(name, actor())

    run(job())
    click.echo(f"{name} is removed.")


def _expiry(at: datetime | None) -> str:
    if at is None:
        return "never"
    return f"{when(at)}{' (over)' if at <= datetime.now(UTC) else ''}"
