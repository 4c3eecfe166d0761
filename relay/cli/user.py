"""`relay user`: who may log, and their relay addresses."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from relay.admin.inputs import (
    email_address,
    person_name,
    relay_address,
    salesforce_user_id,
    silence,
)
from relay.cli.activation import activate_user, tell_if_off
from relay.cli.concerns import confirmed, yes_option
from relay.cli.credentials import app_password
from relay.cli.entry import RelayGroup, actor, checked, open_store, run, settings
from relay.cli.logging import of_user
from relay.cli.notices import notify
from relay.cli.output import (
    clean,
    facts,
    json_option,
    moment,
    print_json,
    state_style,
    table,
    when,
)
from relay.cli.people_import import import_users
from relay.cli.sign_in import link, new_link, sessions, sign_out
from relay.console import sign_in
from relay.console.people import UserView, add_user, against, relay_row, users
from relay.console.people import rotate as rotate_address
from relay.core.directory import Role
from relay.core.translate import LANGUAGES

if TYPE_CHECKING:
    from datetime import timedelta

    from relay.config import Settings
    from relay.core.directory import RelayAddress, User
    from relay.core.model import LastMails

who = click.argument("who", metavar="USER")
_SHORT_ADDRESS: Final = 9
"""Characters of a relay address on a narrow terminal: five by chance."""
_OWNER: Final = checked(lambda text: salesforce_user_id(text) if text else "")
_ROLES: Final = click.Choice([role.value for role in Role])


@click.group(cls=RelayGroup)
def user() -> None:
    """Manage users and their relay addresses.

    USER is an e-mail address, or a name where only one user has it.
    """


@user.command()
@click.argument("name", callback=checked(person_name))
@click.option(
    "--email",
    required=True,
    callback=checked(email_address),
    help="The user's address; also an accepted sender address.",
)
@click.option(
    "--salesforce-id",
    callback=_OWNER,
    help="Id of the Salesforce user; else the relay finds it by the address.",
)
@click.option("--role", type=_ROLES, default=Role.REP.value, show_default=True)
@click.option(
    "--activate/--no-activate",
    default=True,
    show_default=True,
    help="Whether the relay address accepts mail at once, or only after "
    "relay user activate.",
)
@click.option(
    "--mail", is_flag=True, help="Mail the user a link to sign in to the console."
)
@yes_option
@json_option
def add(
    name: str,
    email: str,
    salesforce_id: str | None,
    role: str,
    *,
    activate: bool,
    mail: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Add a user and print the relay address for the BCC line."""
    owner = salesforce_id or None
    loaded = settings()
    # Without a domain there is no relay address: say so before the user is stored.
    loaded.require_domains()

    async def job() -> tuple[User, str | None]:
        async with open_store(loaded) as store:
            await tell_if_off(store)
            if mail:
                sign_in.need_mail(loaded)
            confirmed(await against(store, loaded, email, None), email, yes=yes)
            added = await add_user(
                *(store, loaded, actor()),
                name=name,
                email=email,
                role=role,
                salesforce_id=owner,
                activate=activate,
                confirmed=True,
            )
            url = None
            if mail:
                await sign_in.invite(store, loaded, added, actor())
            elif added.role is Role.ADMIN and loaded.web.listen is not None:
                url = (await new_link(loaded, store, added))[0]
        await _tell_if_unknown(loaded, added)
        return added, url

    added, url = run(job())
    if as_json:
        row = _row(loaded, added)
        print_json([row | ({"sign_in_link": url} if url else {})])
        return
    _print_address(loaded, added, f"{name} puts this into BCC", as_json=as_json)
    if url:
        click.echo(f"Works once, for a day, to sign in: {url}", err=True)
    if mail:
        text = f"The running relay mails {added.email} a link to sign in, for a day."
        click.echo(text, err=True)


async def _tell_if_unknown(loaded: Settings, one: User) -> None:
    """Say on stderr that Salesforce has no such user: their mail would wait."""
    if loaded.salesforce.instance_url is None:
        return
    from relay.console.salesforce_users import ask  # noqa: PLC0415 - HTTP is slow

    known = await ask(loaded, one)
    if known.text:
        click.echo(f"relay: {clean(known.text)}; {clean(known.hint)}", err=True)


@user.command("list")
@click.option("--removed", is_flag=True, help="Also those who were removed.")
@click.option(
    "--silent",
    metavar="T",
    callback=checked(silence),
    help="Only active users for whom nothing was logged for so long: 14d, 2w.",
)
@json_option
def list_(*, removed: bool, silent: timedelta | None, as_json: bool) -> None:
    """List all users."""
    loaded = settings()

    async def job() -> list[UserView]:
        async with open_store(loaded) as store:
            await tell_if_off(store)
            return await users(
                store, loaded, removed=removed, silent=silent, now=datetime.now(UTC)
            )

    rows = [
        _row(loaded, one.user, one.last)
        | {"sign_in": sign_in.way_in_row(one.way_in)["state"]}
        for one in run(job())
    ]
    if as_json:
        print_json(rows)
        return
    table(
        [
            "name",
            "email",
            "role",
            "state",
            "last logged (UTC)",
            "console",
            "salesforce id",
            "relay address",
        ],
        (
            (
                row["name"],
                row["email"],
                row["role"],
                row["state"],
                when(row["last_logged_at"]) if row["last_logged_at"] else "never",
                row["sign_in"].replace("_", " "),
                row["salesforce_id"] or "by e-mail",
                _address_of(row),
            )
            for row in rows
        ),
        whole=["relay address"],
        drop=["salesforce id", "console", "last logged (UTC)", "role", "name"],
        empty="Nobody was silent for so long."
        if silent
        else "No users yet: relay user add NAME --email ADDRESS",
        styles={"state": lambda cell: "" if cell == "active" else state_style("dead")},
    )


@user.command()
@who
@json_option
def show(who: str, *, as_json: bool) -> None:
    """Show one user with the addresses that may send for them."""
    loaded = settings()

    async def job() -> tuple[User, list[str], list[RelayAddress], dict[str, Any]]:
        async with open_store(loaded) as store:
            found = await store.directory.find_user(who)
            await tell_if_off(store)
            accepted = await store.directory.addresses(found.id)
            return (
                found,
                [one.address for one in accepted if one.in_force],
                await store.directory.relay_addresses(found.id),
                sign_in.way_in_row(await sign_in.way_in(store, found.id)),
            )

    found, accepted, relays, way_in = run(job())
    row = _row(loaded, found)
    old = _old_addresses(loaded, found)
    uses = [relay_row(loaded.smtp.domains, one) for one in relays]
    if as_json:
        more = {"accepted": accepted, "old_addresses": old, "relay_addresses": uses}
        more |= {"sign_in": way_in["state"], "invitation": way_in}
        print_json([row | more])
        return
    facts(
        [
            ("name", row["name"]),
            ("email", row["email"]),
            ("role", row["role"]),
            ("state", row["state"]),
            ("activated", moment(row["activated_at"])),
            ("notices", row["notify"] or "as notices.level says"),
            ("language", row["language"] or "as user.language says"),
            ("salesforce id", row["salesforce_id"] or "looked up by the e-mail"),
            ("relay address", row["relay_address"] or "none: set smtp.domains"),
            ("… for a record", _record_address(loaded, found)),
            *(
                ("old address", f"{one['address']} works until {moment(one['until'])}")
                for one in old
            ),
            ("console", _console(way_in)),
            ("may send from", ", ".join(accepted) or "nowhere: relay address add"),
        ]
    )
    click.echo()
    table(
        ["address", "state", "accepted", "last (UTC)", "refused", "last (UTC)"],
        (
            (
                one["address"],
                one["state"],
                one["accepted"],
                when(one["last_accepted_at"]),
                one["refused"],
                when(one["last_refused_at"]),
            )
            for one in uses
        ),
        whole=["address", "state", "last (UTC)"],
        # The lines above have each address whole: here some letters tell which it is.
        short={"address": _SHORT_ADDRESS},
    )


@user.command()
@who
@json_option
def disable(who: str, *, as_json: bool) -> None:
    """Stop taking mail for a user; queued mail is still logged."""
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
            found = await store.directory.find_user(text)
            return await store.directory.set_active(found.id, active, actor())

    changed = run(job())
    if as_json:
        print_json([_row(loaded, changed)])
    else:
        click.echo(f"{changed.name} <{changed.email}> is {changed.state}.")


@user.command()
@who
@click.option(
    "--now",
    "at_once",
    is_flag=True,
    help="End every old address at once, for example after a leak.",
)
@json_option
def rotate(who: str, *, at_once: bool, as_json: bool) -> None:
    """Give a user a new relay address; the old one works for a grace time.

    The grace time is user.rotation_grace_days; stderr shows when it ends.
    """
    loaded = settings()
    loaded.require_domains()

    async def job() -> User:
        async with open_store(loaded) as store:
            found = await store.directory.find_user(who)
            return await rotate_address(
                *(store, loaded, found.id, actor()), at_once=at_once
            )

    rotated = run(job())
    _print_address(loaded, rotated, "the new address for BCC", as_json=as_json)
    click.echo(_what_ends(loaded, rotated), err=True)


def _what_ends(loaded: Settings, rotated: User) -> str:
    """Say until when old addresses let mail in: a leaked one is a door left open."""
    old = _old_addresses(loaded, rotated)
    if not old:
        return "No old address works any more."
    last = moment(max(one["until"] for one in old))
    which = "The old address works" if len(old) == 1 else f"{len(old)} old ones work"
    return (
        f"{which} until {last} (user.rotation_grace_days); "
        "to end what has leaked: relay user rotate USER --now"
    )


@user.command("set")
@who
@click.option(
    "--salesforce-id",
    callback=_OWNER,
    help="Id of the Salesforce user that owns the records; '' to look it up again.",
)
@click.option("--role", type=_ROLES, help="As for `relay user add`.")
@click.option(
    "--language",
    type=click.Choice([*LANGUAGES, "default"]),
    help="In which the relay writes to the user; default: as user.language says.",
)
@json_option
def set_(
    who: str,
    salesforce_id: str | None,
    role: str | None,
    language: str | None,
    *,
    as_json: bool,
) -> None:
    """Set the Salesforce user, the role or the language of a user."""
    if salesforce_id is None and role is None and language is None:
        problem = "nothing to set: name --salesforce-id, --role or --language"
        raise click.UsageError(problem)
    owner = salesforce_id or None
    loaded = settings()

    async def job() -> User:
        async with open_store(loaded) as store:
            found = await store.directory.find_user(who)
            if role is not None:
                found = await store.directory.set_role(found.id, Role(role), actor())
            if salesforce_id is not None:
                found = await store.directory.set_salesforce_id(
                    found.id, owner, actor()
                )
            if language is not None:
                chosen = None if language == "default" else language
                found = await store.directory.set_language(found.id, chosen, actor())
            return found

    changed = run(job())
    if as_json:
        print_json([_row(loaded, changed)])
    else:
        owner = changed.salesforce_id or "looked up by the e-mail"
        person = f"{changed.name} <{changed.email}>, {changed.role}"
        said = f", language {changed.language or 'default'}" if language else ""
        click.echo(f"{person}, Salesforce user {owner}{said}.")


@user.command()
@who
@click.argument("name", callback=checked(person_name))
@json_option
def rename(who: str, name: str, *, as_json: bool) -> None:
    """Give a user another name; their messages show it too."""
    loaded = settings()

    async def job() -> User:
        async with open_store(loaded) as store:
            found = await store.directory.find_user(who)
            return await store.directory.rename(found.id, name, actor())

    _print_changed(loaded, run(job()), "is the name now", as_json=as_json)


@user.command("set-email")
@who
@click.argument("email", metavar="ADDRESS", callback=checked(email_address))
@click.option(
    "--keep-old", is_flag=True, help="Mail from the former address is accepted on."
)
@yes_option
@json_option
def set_email(
    who: str, email: str, *, keep_old: bool, yes: bool, as_json: bool
) -> None:
    """Give a user another address of their own, which may send at once.

    The relay address stays. The former address may send no longer, unless --keep-old.
    """
    loaded = settings()

    async def job() -> User:
        async with open_store(loaded) as store:
            found = await store.directory.find_user(who)
            confirmed(await against(store, loaded, email, found.id), email, yes=yes)
            return await store.directory.set_email(
                found.id, email, actor(), keep_old=keep_old
            )

    _print_changed(loaded, run(job()), "is the address now", as_json=as_json)


@user.command()
@who
@json_option
def remove(who: str, *, as_json: bool) -> None:
    """Remove a user; their messages stay, and show whose they are.

    Relay addresses, accepted addresses, app passwords and tokens end at once. Mail that
    was accepted is still logged.
    """
    loaded = settings()

    async def job() -> User:
        async with open_store(loaded) as store:
            found = await store.directory.find_user(who)
            await store.directory.remove_user(found.id, actor())
            (gone,) = (
                one
                for one in await store.directory.users(removed=True)
                if one.id == found.id
            )
            return gone

    _print_changed(loaded, run(job()), "is removed", as_json=as_json)


def _print_changed(loaded: Settings, one: User, what: str, *, as_json: bool) -> None:
    if as_json:
        print_json([_row(loaded, one)])
    else:
        click.echo(f"{one.name} <{one.email}> {what}.")


user.add_command(app_password)
user.add_command(activate_user)
user.add_command(import_users)
user.add_command(notify)
user.add_command(link)
user.add_command(sessions)
user.add_command(sign_out)
user.add_command(of_user)


def _console(one: dict[str, Any]) -> str:
    """Say how far a user is on the way into the console."""
    match one["state"]:
        case "signed_in":
            return f"signed in last {when(one['signed_in_at'])}"
        case "invited":
            mail = f", mail {one['mail']}" if one["mail"] else ""
            why = f" ({one['mail_error']})" if one["mail_error"] else ""
            return f"invited; the link works until {when(one['link_ends_at'])}" + (
                clean(mail + why)
            )
        case "link_expired":
            return "the link has expired: relay user link USER makes another"
    return "not invited: relay user link USER"


def _record_address(loaded: Settings, found: User) -> str:
    """Return how a relay address names a record, for people."""
    address = relay_address(loaded.smtp.domains, found) or ""
    local, _, domain = address.partition("@")
    return f"{local}+ID@{domain}, ID of 18 characters" if address else "none"


def _row(loaded: Settings, one: User, last: LastMails | None = None) -> dict[str, Any]:
    """Return the stable names of design section 7."""
    return {
        "name": one.name,
        "email": one.email,
        "role": one.role.value,
        "active": one.active,
        "salesforce_id": one.salesforce_id,
        "relay_address": relay_address(loaded.smtp.domains, one),
        "state": one.state,
        "activated_at": one.activated_at,
        "notify": one.notify,
        "language": one.language,
        "last_received_at": last.received_at if last else None,
        "last_logged_at": last.logged_at if last else None,
    } | ({"removed_at": one.removed_at} if one.removed_at else {})


def _address_of(row: dict[str, Any]) -> str:
    none = "none" if "removed_at" in row else "set smtp.domains"
    return str(row["relay_address"] or none)


def _old_addresses(loaded: Settings, one: User) -> list[dict[str, Any]]:
    """Return the addresses from before a rotation that still take mail."""
    domain = loaded.smtp.domains[0] if loaded.smtp.domains else ""
    return [
        {"address": f"{old.token}@{domain}".rstrip("@"), "until": old.until}
        for old in one.old_tokens
    ]


def _print_address(loaded: Settings, one: User, hint: str, *, as_json: bool) -> None:
    """Print the relay address alone, so that `$(relay user add …)` is the address."""
    if as_json:
        print_json([_row(loaded, one)])
        return
    click.echo(relay_address(loaded.smtp.domains, one))
    if sys.stdout.isatty():
        click.secho(f"({hint})", dim=True)
