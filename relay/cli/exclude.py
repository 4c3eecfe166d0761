"""`relay exclude`: addresses and domains that are left out of the log."""

from __future__ import annotations

import click

from relay.admin.inputs import address_pattern, known_pattern
from relay.cli.entry import RelayGroup, checked
from relay.cli.opening import actor, open_store, run, settings
from relay.cli.output import json_option, print_json, table
from relay.core.directory import SkipKind

of_user = click.option("--user", "who", metavar="USER", help="Only for this user.")


@click.group(cls=RelayGroup)
def exclude() -> None:
    """Addresses that are left out.

    PATTERN is an e-mail address, or '*@domain' for everybody in that domain; its
    sub-domains are domains of their own. A pattern is left out in one way: adding it
    again with another --skip replaces that. Where several patterns fit a mail,
    --skip mail wins over --skip address.
    """


@exclude.command()
@click.argument("pattern", metavar="PATTERN", callback=checked(address_pattern))
@of_user
@click.option(
    "--skip",
    type=click.Choice([kind.value for kind in SkipKind]),
    default=SkipKind.MAIL.value,
    show_default=True,
    help="mail: nothing is logged; address: it alone is not looked up.",
)
def add(pattern: str, who: str | None, skip: str) -> None:
    """Leave PATTERN out, for everybody or for one user."""
    loaded = settings()

    async def job() -> str:
        async with open_store(loaded) as store:
            found = await store.directory.find_user(who) if who else None
            before = [
                one.skip.value
                for one in await store.directory.exclusions()
                if one.pattern == pattern
                and one.user_id == (found.id if found else None)
            ]
            new = await store.directory.add_exclusion(
                pattern, found.id if found else None, SkipKind(skip), actor()
            )
            what = "mail with" if skip == SkipKind.MAIL else "the address"
            whose = found.email if found else "everybody"
            when = "from now on" if new else "already"
            instead = f" (before: --skip {before[0]})" if new and before else ""
            return f"{what} {pattern} is left out for {whose} {when}{instead}."

    said = run(job())
    click.echo(said[:1].upper() + said[1:])


@exclude.command()
@click.argument("pattern", metavar="PATTERN", callback=checked(known_pattern))
@of_user
def remove(pattern: str, who: str | None) -> None:
    """Log PATTERN again."""
    loaded = settings()

    async def job() -> str:
        async with open_store(loaded) as store:
            found = await store.directory.find_user(who) if who else None
            await store.directory.remove_exclusion(
                pattern, found.id if found else None, actor()
            )
            return found.email if found else "everybody"

    click.echo(f"{pattern} is no longer left out for {run(job())}.")


@exclude.command("list")
@json_option
def list_(*, as_json: bool) -> None:
    """List what is left out."""
    loaded = settings()

    async def job() -> list[dict[str, object]]:
        async with open_store(loaded) as store:
            users = {one.id: one.email for one in await store.directory.users()}
            return [
                {
                    "pattern": one.pattern,
                    "user": users.get(one.user_id) if one.user_id else None,
                    "skip": one.skip.value,
                }
                for one in await store.directory.exclusions()
            ]

    rows = run(job())
    if as_json:
        print_json(rows)
        return
    table(
        ["pattern", "for", "skip"],
        ((row["pattern"], row["user"] or "everybody", row["skip"]) for row in rows),
        whole=["pattern"],
        empty="Nothing is left out: relay exclude add PATTERN",
    )
