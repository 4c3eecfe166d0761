"""`relay activate`, `relay deactivate`, `relay user activate`: who may log at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from relay.cli.entry import RelayCommand, actor, open_store, run, settings
from relay.cli.output import clean, facts, json_option, print_json
from relay.core.directory import ORG_SWITCH

if TYPE_CHECKING:
    from relay.diagnose.activation import OrgSwitch
    from relay.store import Store


@click.command(cls=RelayCommand)
@json_option
def activate(*, as_json: bool) -> None:
    """Switch logging on for everybody: relay addresses accept mail."""
    _switch(on=True, as_json=as_json)


@click.command(cls=RelayCommand)
@json_option
def deactivate(*, as_json: bool) -> None:
    """Switch logging off for everybody: no relay address accepts mail.

    Senders read why (550 5.2.1). Mail that was accepted before is still logged, and
    mail for postmaster is accepted.
    """
    _switch(on=False, as_json=as_json)


def _switch(*, on: bool, as_json: bool) -> None:
    from relay.diagnose.activation import org_switch  # noqa: PLC0415 - `--help` is fast

    loaded = settings()

    async def job() -> OrgSwitch:
        async with open_store(loaded) as store:
            if (await org_switch(store)).is_on is not on:
                await store.directory.set_setting(ORG_SWITCH, on, actor())
            return await org_switch(store)

    found = run(job())
    if as_json:
        print_json([{"active": found.is_on, "since": found.at, "by": found.by}])
        return
    click.echo(f"{found.text[:1].upper()}{clean(found.text[1:])}.")


async def tell_if_off(store: Store) -> None:
    """Say on stderr that logging is switched off, wherever users or mail are listed."""
    from relay.diagnose.activation import org_switch  # noqa: PLC0415 - `--help` is fast

    found = await org_switch(store)
    if not found.is_on:
        click.echo(f"relay: {clean(found.text)}; {found.hint}", err=True)


@click.command("activate", cls=RelayCommand)
@click.argument("who", metavar="USER")
@json_option
def activate_user(who: str, *, as_json: bool) -> None:
    """Activate a user, and show how to put the relay address to use.

    Exit status 1 if a step is missing before mail of this user is logged; the command
    names it.
    """
    from relay.admin.inputs import relay_address  # noqa: PLC0415
    from relay.diagnose.activation import (  # noqa: PLC0415
        guidance,
        instructions,
        org_switch,
    )

    loaded = settings()

    async def job() -> int:
        async with open_store(loaded) as store:
            found = await store.directory.find_user(who)
            if found.activated_at is None:
                found = await store.directory.set_active(
                    found.id, active=True, actor=actor()
                )
            known = await store.directory.addresses(found.id)
            accepted = [one.address for one in known if one.in_force]
            address = relay_address(loaded.smtp.domains, found)
            steps = guidance(
                found,
                switch=await org_switch(store),
                address=address,
                accepted=accepted,
            )
            told = instructions(address, accepted) if address and accepted else []
            if as_json:
                row = {
                    "email": found.email,
                    "state": found.state,
                    "activated_at": found.activated_at,
                    "relay_address": address,
                    "accepted": accepted,
                    "missing": [step.as_json() for step in steps],
                    "instructions": [{"title": t, "text": text} for t, text in told],
                }
                print_json([row])
                return int(bool(steps))
            click.echo(address or "")
            facts(told)
            for step in steps:
                line = f"relay: {step.text} ({step.rule}): {step.command}"
                click.echo(clean(line), err=True)
            return int(bool(steps))

    if run(job()):
        raise SystemExit(1)
