"""`relay logging`, `relay user logging`: the way of mail to Salesforce."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from relay.cli.entry import RelayCommand, RelayGroup, actor, open_store, run, settings
from relay.cli.output import clean, facts, json_option, print_json, table
from relay.core.clock import SystemClock
from relay.core.log_by import LogBy, WhoDecides

if TYPE_CHECKING:
    from relay.console.log_by import Own, Team


@click.group(cls=RelayGroup)
def logging() -> None:
    """See and decide how mail reaches Salesforce: by its API, or by BCC."""


@logging.command()
@json_option
def show(*, as_json: bool) -> None:
    """Show who decides, the choices, and how many API calls a day each costs."""
    from relay.console.log_by import team  # noqa: PLC0415 - `--help` is fast

    loaded = settings()

    async def job() -> Team:
        async with open_store(loaded) as store:
            return await team(store, loaded, SystemClock().now())

    found = run(job())
    if as_json:
        print_json([found.as_json()])
        return
    by = f", set by {found.by}" if found.by else ", the default"
    on = ", ".join(
        f"{name}: {value}" if isinstance(value, str) else name
        for name, value in found.on.items()
        if value and value != "none"
    )
    facts(
        [
            ("who decides", f"{found.decides}{by}"),
            ("users", ", ".join(f"{n} by {way}" for way, n in found.users.items())),
            ("logged on", on or "nothing"),
            ("kinds", ", ".join(found.kinds) or "none"),
        ]
    )
    click.echo()
    table(
        ["choice", "API calls a day", "meaning"],
        (
            (
                str(one.word),
                str(one.estimate.calls),
                f"{one.text}; {one.missing[0].text}" if one.missing else one.text,
            )
            for one in found.choices
        ),
        wrap=True,
    )
    click.echo(f"Estimated by {found.choices[0].estimate.how}.")


@logging.command()
@click.argument(
    "who", metavar="WHO", type=click.Choice([one.value for one in WhoDecides])
)
@json_option
def decide(who: str, *, as_json: bool) -> None:
    """Decide for the whole team: each_user, api_only or bcc_only.

    bcc_only needs no access to Salesforce's API: a copy of each mail goes to the user's
    own address of Email to Salesforce, through the smarthost of the notices.
    """
    from relay.console.log_by import choose_for_team, team  # noqa: PLC0415

    loaded = settings()

    async def job() -> Team:
        async with open_store(loaded) as store:
            await choose_for_team(store, loaded, who, actor())
            return await team(store, loaded, SystemClock().now())

    found = run(job())
    if as_json:
        print_json([found.as_json()])
        return
    chosen = next(one for one in found.choices if one.word is found.decides)
    click.echo(f"From now on {chosen.text}.")


@click.command("logging", cls=RelayCommand)
@click.argument("who", metavar="USER")
@click.option(
    "--by",
    type=click.Choice([*(one.value for one in LogBy), "default"]),
    help="The way to go.",
)
@click.option(
    "--address", metavar="ADDRESS", help="Of Email to Salesforce; none: take it away."
)
@json_option
def of_user(who: str, by: str | None, address: str | None, *, as_json: bool) -> None:
    """Show, or choose, how a user's mail reaches Salesforce.

    Exit status 1 if it goes by BCC and a step is missing; the command names it.
    """
    from relay.console.log_by import choose, own  # noqa: PLC0415

    loaded = settings()

    async def job() -> Own:
        async with open_store(loaded) as store:
            found = await store.directory.find_user(who)
            if by is not None or address is not None:
                way = found.log_by if by is None else by.replace("default", "")
                place = found.salesforce_address if address is None else address
                found = await choose(
                    store,
                    loaded,
                    found,
                    way=way,
                    address="" if place == "none" else place,
                    actor=actor(),
                )
            return await own(store, loaded, found, SystemClock().now())

    found = run(job())
    missing = found.steps if found.way is LogBy.BCC else ()
    if as_json:
        print_json([found.as_json()])
    else:
        chosen = f"chosen: {found.chosen or 'nothing'}"
        why = f"fixed by {found.fixed_by or 'the settings'}" if found.fixed else chosen
        calls = {way: one.calls for way, one in found.estimates.items()}
        facts(
            [
                ("goes by", f"{found.way} ({why})"),
                ("address", found.address or "none"),
                ("API calls a day", f"{calls[LogBy.API]} by api, 0 by bcc"),
                ("estimated by", found.estimates[LogBy.API].how),
            ]
        )
        for step in missing:
            click.echo(clean(f"relay: {step.text} ({step.rule})"), err=True)
    if missing:
        raise SystemExit(1)
