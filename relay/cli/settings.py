"""`relay settings` and `relay exclude`: rules that hold without a restart.

They are kept in the store. A setting here stands before the one in the file; everything
else (ports, the database, keys) belongs to the file and the environment.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import click

from relay.admin.inputs import address_pattern, known_pattern
from relay.admin.rule_change import RuleChange, replayable
from relay.admin.settings import (
    asks_org,
    base,
    in_force,
    of_file,
    read_value,
    require_editable,
)
from relay.cli import entry
from relay.cli.entry import RelayGroup, actor, checked, open_store, run
from relay.cli.org_check import check_in_salesforce
from relay.cli.output import json_option, print_json, table
from relay.cli.presets import preset
from relay.cli.replay import past_options, show
from relay.console.people import exclusions
from relay.core.directory import SkipKind

if TYPE_CHECKING:
    from relay.admin.settings import Setting
    from relay.config import Settings
    from relay.core.model import Json


_POLICY: Final = "sender.policy."
_SHORT: Final = 100
"""Characters of a meaning where all settings are listed."""


@click.group(cls=RelayGroup)
def settings() -> None:
    """Change settings without a restart; they win over the settings file."""


settings.add_command(preset)


@settings.command("list")
@click.argument("section", required=False)
@click.option("--changed", is_flag=True, help="Only those that the store holds.")
@json_option
def list_(section: str | None, *, changed: bool, as_json: bool) -> None:
    """List the settings with their values; of a SECTION with their whole meaning."""
    rows = _in_force(entry.settings())
    known = list(dict.fromkeys(_section(row) for row in rows))
    if section is not None and section not in known:
        problem = f"there is no section {section}; write one of {', '.join(known)}"
        raise click.UsageError(problem)
    rows = [
        row
        for row in rows
        if section in {None, _section(row)} and (not changed or row.source == "store")
    ]
    if as_json:
        print_json(row.as_json() for row in rows)
        return
    if not rows:
        click.echo("The store holds none: the settings file and defaults are in force.")
    for name in known:
        group = [row for row in rows if _section(row) == name]
        if group:
            table(
                ["key", "value", "from", "meaning"],
                (
                    (
                        row.key,
                        _text(row.value),
                        _source(row),
                        row.help if section else _short(row.help),
                    )
                    for row in group
                ),
                title=f"[{name}]",
                whole=["key"],
                wrap=True,
            )
            click.echo()


def _section(row: Setting) -> str:
    """Return the section of a setting; what the store alone has is in `store`."""
    section, dot, _ = row.key.partition(".")
    return section if dot else "store"


def _short(text: str) -> str:
    """Return the beginning of a meaning, no word broken."""
    if len(text) <= _SHORT:
        return text
    return text[:_SHORT].rpartition(" ")[0].rstrip(",;:") + " …"


@settings.command()
@click.argument("key")
@json_option
def get(key: str, *, as_json: bool) -> None:
    """Print the value in force, also of a key of the settings file."""
    loaded = entry.settings()
    in_file = of_file(loaded, key)
    row = in_file or _editable(loaded, key)
    if as_json:
        print_json([row.as_json()])
        return
    # For programs: JSON, as ever. People are shown what `set` takes.
    click.echo(row.value if isinstance(row.value, str) else json.dumps(row.value))
    if in_file:
        text = f"{key} is of the settings file; a change there needs a restart."
        click.secho(text, err=True, dim=True)


@settings.command("set")
@click.argument("key")
@click.argument("value")
@click.option(
    "--monitor-only",
    is_flag=True,
    help="For sender.policy: only watch what that policy would stop.",
)
@click.option(
    "--unchecked",
    is_flag=True,
    help="Save it although Salesforce cannot be asked whether it fits.",
)
@click.option(
    "--preview",
    is_flag=True,
    help="Save nothing; show what the value would do to past mail.",
)
@past_options
@json_option
def set_(
    key: str,
    value: str,
    *,
    monitor_only: bool,
    unchecked: bool,
    preview: bool,
    as_json: bool,
    dry: bool,
    **past: Any,
) -> None:
    """Change a setting; a running relay uses it within a second.

    With --preview a rule of [match] or [automatic] is tried on past mail instead, as
    relay explain --rules does.

    What names fields or records of Salesforce is checked there before it is saved.

    A setting of senders may end in a domain, and then holds for that domain alone, as
    sender.policy.acme.com. With --monitor-only a stricter sender.policy stops nothing:
    relay sender report shows what it would have stopped.
    """
    loaded = entry.settings()
    if monitor_only:
        if not f"{key}.".startswith(_POLICY):
            raise click.UsageError("--monitor-only is for sender.policy alone")
        key = f"sender.monitor.{key[len(_POLICY) :]}".rstrip(".")
    checked = read_value(loaded, key, value)
    if preview:
        if not replayable(key):
            problem = f"--preview is for [match] and [automatic]; {key} cannot be tried"
            raise click.UsageError(problem)
        show(loaded, RuleChange({key: checked}), dry=dry, as_json=as_json, **past)
        return
    if as_json or dry or any(one is not None for one in past.values()):
        text = "--since, --until, --limit, --dry and --json go with --preview"
        raise click.UsageError(text)
    if not unchecked and asks_org(key, checked):
        run(check_in_salesforce(loaded, key, checked))
    _keep(loaded, key, checked)
    click.echo(f"{key} is {_text(checked)} now.")
    if monitor_only:
        click.echo("Nothing is stopped by it: relay sender report --since 7d")


@settings.command()
@click.argument("key")
def unset(key: str) -> None:
    """Remove a setting; the settings file or the default is in force again."""
    loaded = entry.settings()
    require_editable(loaded, key)
    _keep(loaded, key, None)
    row = _editable(loaded, key)
    if row.key == key:
        click.echo(f"{key} is {_text(row.value)} now, from the file or by default.")
    else:
        click.echo(f"{key} is not set: {row.key} holds, {_text(row.value)}.")


def _keep(loaded: Settings, key: str, value: Json) -> None:
    async def job() -> None:
        async with open_store(loaded) as store:
            await store.directory.set_setting(key, value, actor())

    run(job())


def _editable(loaded: Settings, key: str) -> Setting:
    """Return the setting that holds: for a domain without one, that for all."""
    require_editable(loaded, key)
    rows = {row.key: row for row in _in_force(loaded)}
    return rows.get(key) or rows[base(key)]


def _in_force(loaded: Settings) -> list[Setting]:
    async def job() -> dict[str, Json]:
        async with open_store(loaded) as store:
            return dict(await store.directory.settings())

    return in_force(loaded, run(job()))


def _source(row: Setting) -> str:
    return "file or default" if row.source == "file" else row.source


def _text(value: Json) -> str:
    """Write a value as `relay settings set` takes it."""
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return ",".join(map(str, value))
    return value if isinstance(value, str) else json.dumps(value)


# ------------------------------------------------------------------ exclusions


of_user = click.option("--user", "who", metavar="USER", help="Only for this user.")


@click.group(cls=RelayGroup)
def exclude() -> None:
    """Manage addresses that are not logged.

    PATTERN is an e-mail address, or '*@domain' for everybody in that domain; its
    sub-domains are domains of their own. Adding a pattern again with another --skip
    replaces the first. Where several patterns match a mail, --skip mail wins over
    --skip address.
    """


@exclude.command("add")
@click.argument("pattern", metavar="PATTERN", callback=checked(address_pattern))
@of_user
@click.option(
    "--skip",
    type=click.Choice([kind.value for kind in SkipKind]),
    default=SkipKind.MAIL.value,
    show_default=True,
    help="mail: do not log the mail; address: only do not look up this address.",
)
def add_exclusion(pattern: str, who: str | None, skip: str) -> None:
    """Exclude PATTERN, for everybody or for one user."""
    loaded = entry.settings()

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


@exclude.command("remove")
@click.argument("pattern", metavar="PATTERN", callback=checked(known_pattern))
@of_user
def remove_exclusion(pattern: str, who: str | None) -> None:
    """Remove the exclusion of PATTERN."""
    loaded = entry.settings()

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
def list_exclusions(*, as_json: bool) -> None:
    """List the exclusions."""
    loaded = entry.settings()

    async def job() -> list[dict[str, Any]]:
        async with open_store(loaded) as store:
            return await exclusions(store)

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
