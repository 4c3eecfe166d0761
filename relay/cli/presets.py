"""`relay settings preset`: named sets of rules, shown and tried before they hold."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from relay.admin.presets import PRESETS, change_of, compare, preset_of, tried
from relay.admin.settings import asks_org
from relay.cli import entry
from relay.cli.entry import Failure, RelayGroup, actor, open_store, run
from relay.cli.org_check import check_in_salesforce
from relay.cli.output import json_option, print_json, table
from relay.cli.replay import past_options, show

if TYPE_CHECKING:
    from relay.admin.presets import Preset, PresetRow
    from relay.config import Settings
    from relay.core.model import Json


@click.group(cls=RelayGroup)
def preset() -> None:
    """Take a named set of rules that acts like another program."""


@preset.command("list")
@json_option
def list_(*, as_json: bool) -> None:
    """List the presets, and how many rules each would change."""
    loaded = entry.settings()
    kept = _kept(loaded)
    rows = [
        {
            "name": one.name,
            "help": one.help,
            "differs": sum(row.differs for row in compare(one, loaded, kept)),
        }
        for one in PRESETS.values()
    ]
    if as_json:
        print_json(rows)
        return
    table(
        ["name", "acts like", "rules to change"],
        ((row["name"], row["help"], row["differs"]) for row in rows),
        whole=["name"],
        wrap=True,
    )


@preset.command("show")
@click.argument("name")
@json_option
def show_(name: str, *, as_json: bool) -> None:
    """Show the rules of a preset beside those that hold now."""
    loaded = entry.settings()
    chosen = preset_of(name)
    rows = compare(chosen, loaded, _kept(loaded))
    if as_json:
        print_json(row.as_json() for row in rows)
        return
    _table(rows)
    _say_limits(chosen)


@preset.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask for a confirmation.")
@click.option(
    "--preview",
    is_flag=True,
    help="Save nothing; show what the preset would do to past mail.",
)
@click.option(
    "--unchecked",
    is_flag=True,
    help="Save it although Salesforce cannot be asked whether it fits.",
)
@past_options
@json_option
def apply(
    name: str,
    *,
    yes: bool,
    preview: bool,
    unchecked: bool,
    as_json: bool,
    dry: bool,
    **past: Any,
) -> None:
    """Take the rules of a preset: one change, which relay history undo takes back.

    It shows first which rules change. With --preview it tries them on past mail, as
    relay explain --rules does, and saves nothing.
    """
    loaded = entry.settings()
    chosen = preset_of(name)
    rows = [row for row in compare(chosen, loaded, _kept(loaded)) if row.differs]
    if not (as_json or rows):
        click.echo(f"The rules are those of {name} already.")
        return
    if preview:
        if not as_json:
            _table(rows)
            click.echo()
        show(loaded, tried(rows), dry=dry, as_json=as_json, **past)
        return
    if dry or any(value is not None for value in past.values()):
        raise click.UsageError("--since, --until, --limit and --dry go with --preview")
    if not as_json:
        _table(rows)
        _say_limits(chosen)
    for row in rows:
        if not unchecked and asks_org(row.key, row.then):
            run(check_in_salesforce(loaded, row.key, row.then))
    _confirm(name, len(rows), yes=yes)
    number = _save(loaded, name, rows)
    if as_json:
        print_json(row.as_json() for row in rows)
        return
    click.echo(
        f"The rules are those of {name} now. To take that back: relay history undo "
        f"{number}"
    )


def _confirm(name: str, count: int, *, yes: bool) -> None:
    if yes or not count:
        return
    if sys.stdin.isatty() and sys.stderr.isatty():
        if click.confirm(f"Change {count} rules to those of {name}?", err=True):
            return
        problem = "nothing was changed"
        raise Failure(problem)
    problem = (
        f"nothing was changed: {count} rules would be; see what that does to past mail "
        f"with --preview, and add --yes"
    )
    raise Failure(problem)


def _save(loaded: Settings, name: str, rows: list[PresetRow]) -> int | None:
    """Save the rules that differ as one change; return its number in the history."""

    async def job() -> int | None:
        async with open_store(loaded) as store:
            values = change_of(rows).settings
            await store.directory.set_settings(values, f"preset {name}", actor())
            latest = await store.history.find(limit=1)
            return int(latest[0]["id"]) if latest else None

    return run(job())


def _kept(loaded: Settings) -> dict[str, Json]:
    async def job() -> dict[str, Json]:
        async with open_store(loaded) as store:
            return dict(await store.directory.settings())

    return run(job())


def _say_limits(chosen: Preset) -> None:
    for text in chosen.differs:
        click.echo(f"Other than there: {text}.")


def _table(rows: list[PresetRow]) -> None:
    table(
        ["key", "now", "then", "because"],
        (
            (
                row.key,
                _text(row.now),
                _text(row.then) if row.differs else "",
                row.ground,
            )
            for row in rows
        ),
        whole=["key"],
        wrap=True,
        empty="The rules are so already.",
    )


def _text(value: Json) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value)) or "(none)"
    return value or "(empty)" if isinstance(value, str) else json.dumps(value)
