"""`relay settings`: what holds without a restart, kept in the store.

A value here stands before the one in the file. Everything else (ports, the database,
keys) belongs to the file and the environment, and needs a restart.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from relay.admin.settings import in_force, of_file, read_value, require_editable
from relay.cli import opening
from relay.cli.entry import RelayGroup
from relay.cli.opening import actor, open_store, run
from relay.cli.output import json_option, print_json, table

if TYPE_CHECKING:
    from relay.admin.settings import Setting
    from relay.config import Settings
    from relay.core.model import Json


@click.group(cls=RelayGroup)
def settings() -> None:
    """Settings that hold without a restart; they stand before the file."""


@settings.command("list")
@json_option
def list_(*, as_json: bool) -> None:
    """List the settings with their values."""
    rows = _in_force(opening.settings())
    if as_json:
        print_json(row.as_json() for row in rows)
        return
    table(
        ["key", "value", "from", "meaning"],
        ((row.key, _text(row.value), row.source, row.help) for row in rows),
        whole=["key"],
        wrap=True,
    )


@settings.command()
@click.argument("key")
@json_option
def get(key: str, *, as_json: bool) -> None:
    """Print the value that holds now, of a key of the settings file, too."""
    loaded = opening.settings()
    in_file = of_file(loaded, key)
    row = in_file or _editable(loaded, key)
    if as_json:
        print_json([row.as_json()])
        return
    click.echo(_text(row.value))
    if in_file:
        text = f"{key} is of the settings file; a change there needs a restart."
        click.secho(text, err=True, dim=True)


@settings.command("set")
@click.argument("key")
@click.argument("value")
def set_(key: str, value: str) -> None:
    """Change a setting; a running relay follows within a second."""
    loaded = opening.settings()
    checked = read_value(loaded, key, value)
    _keep(loaded, key, checked)
    click.echo(f"{key} is {_text(checked)} now.")


@settings.command()
@click.argument("key")
def unset(key: str) -> None:
    """Let the settings file, or the default, hold again."""
    loaded = opening.settings()
    require_editable(loaded, key)
    _keep(loaded, key, None)
    value = _editable(loaded, key).value
    click.echo(f"{key} is {_text(value)} now, from the file or by default.")


def _keep(loaded: Settings, key: str, value: Json) -> None:
    async def job() -> None:
        async with open_store(loaded) as store:
            await store.directory.set_setting(key, value, actor())

    run(job())


def _editable(loaded: Settings, key: str) -> Setting:
    require_editable(loaded, key)
    return next(row for row in _in_force(loaded) if row.key == key)


def _in_force(loaded: Settings) -> list[Setting]:
    async def job() -> dict[str, Json]:
        async with open_store(loaded) as store:
            return dict(await store.directory.settings())

    return in_force(loaded, run(job()))


def _text(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value)
