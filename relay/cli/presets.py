"""`relay settings preset`: named sets of rules, shown and tried before they hold."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from relay.admin.settings import asks_org
from relay.cli import entry
from relay.cli.entry import Failure, RelayGroup, actor, open_store, run
from relay.cli.org_check import check_in_salesforce
from relay.cli.output import json_option, print_json, table
from relay.cli.replay import past_options, show
from relay.console import presets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.admin.presets import Preset, PresetRow
    from relay.config import Settings
    from relay.console.presets import PresetView
    from relay.core.model import Json


@click.group(cls=RelayGroup)
def preset() -> None:
    """Take a named set of rules that acts like another program."""


@preset.command("list")
@json_option
def list_(*, as_json: bool) -> None:
    """List the presets, and how many rules each would change."""
    loaded = entry.settings()

    async def job() -> list[PresetView]:
        async with open_store(loaded) as store:
            return await presets.presets(store, loaded)

    rows = [view.as_json(whole=False) for view in run(job())]
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
    view = _view(loaded, name)
    if as_json:
        print_json(row.as_json() for row in view.rows)
        return
    _table(view.rows)
    _say_limits(view.preset)


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
    view = _view(loaded, name)
    rows = view.changed
    if not (as_json or rows):
        click.echo(f"The rules are those of {name} already.")
        return
    if preview:
        if not as_json:
            _table(rows)
            click.echo()
        show(loaded, view.change, dry=dry, as_json=as_json, **past)
        return
    if dry or any(value is not None for value in past.values()):
        raise click.UsageError("--since, --until, --limit and --dry go with --preview")
    if not as_json:
        _table(rows)
        _say_limits(view.preset)
    if not unchecked:
        run(_check(loaded, view))
    _confirm(name, len(rows), yes=yes)
    number = _save(loaded, view)
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


async def _check(loaded: Settings, view: PresetView) -> None:
    for row in view.changed:
        if asks_org(row.key, row.then):
            await check_in_salesforce(loaded, row.key, row.then)


def _save(loaded: Settings, view: PresetView) -> int | None:
    """Save the rules that differ as one change; return its number in the history."""

    async def job() -> int | None:
        async with open_store(loaded) as store:
            return await presets.take(store, view, actor())

    return run(job())


def _view(loaded: Settings, name: str) -> PresetView:
    async def job() -> PresetView:
        async with open_store(loaded) as store:
            return await presets.preset(store, loaded, name)

    return run(job())


def _say_limits(chosen: Preset) -> None:
    for text in chosen.differs:
        click.echo(f"Other than there: {text}.")


def _table(rows: Sequence[PresetRow]) -> None:
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
