"""`relay token`: who may hand mail over by HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from relay.admin.inputs import new_api_token, person_name
from relay.cli.entry import RelayGroup, checked
from relay.cli.opening import actor, open_store, run, settings
from relay.cli.output import json_option, print_json, table, when

if TYPE_CHECKING:
    from relay.core.directory import APIToken


@click.group(cls=RelayGroup)
def token() -> None:
    """Tokens for programs that send mail to POST /messages."""


@token.command()
@click.argument("name", metavar="NAME", callback=checked(person_name))
@click.option(
    "--user",
    "who",
    metavar="USER",
    help="For this user alone; else the request says whom.",
)
@json_option
def add(name: str, who: str | None, *, as_json: bool) -> None:
    """Make a token and print it; it is not shown again."""
    secret = new_api_token()
    loaded = settings()

    async def job() -> str | None:
        async with open_store(loaded) as store:
            user = None if who is None else await store.directory.find_user(who)
            user_id = None if user is None else user.id
            await store.credentials.add_api_token(name, secret.digest, user_id, actor())
            return None if user is None else user.email

    email = run(job())
    if as_json:
        print_json([{"name": name, "user": email, "token": secret.text}])
        return
    click.echo(secret.text)


@token.command("list")
@json_option
def list_(*, as_json: bool) -> None:
    """List the tokens by name; what they are is not kept."""
    loaded = settings()

    async def job() -> list[dict[str, Any]]:
        async with open_store(loaded) as store:
            emails = {user.id: user.email for user in await store.directory.users()}
            return [_row(one, emails) for one in await store.credentials.api_tokens()]

    rows = run(job())
    if as_json:
        print_json(rows)
        return
    table(
        ["name", "user", "added", "by", "last used"],
        (
            (
                row["name"],
                row["user"] or "any",
                when(row["added_at"]),
                row["added_by"],
                when(row["used_at"]) if row["used_at"] else "never",
            )
            for row in rows
        ),
        empty="No tokens; make one with: relay token add NAME",
    )


@token.command()
@click.argument("name", metavar="NAME")
def remove(name: str) -> None:
    """Take a token back; it is refused from now on."""
    loaded = settings()

    async def job() -> None:
        async with open_store(loaded) as store:
            await store.credentials.remove_api_token(name, actor())

    run(job())
    click.echo(f"{name} is removed.")


def _row(one: APIToken, emails: dict[int, str]) -> dict[str, Any]:
    return {
        "name": one.name,
        "user": None if one.user_id is None else emails[one.user_id],
        "added_at": one.added_at,
        "added_by": one.added_by,
        "used_at": one.used_at,
    }
