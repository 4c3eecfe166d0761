"""`relay settings`: what holds without a restart, kept in the store.

A value here stands before the one in the file. Everything else (ports, the database,
keys) belongs to the file and the environment, and needs a restart.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, get_args

import click

from relay.cli import opening
from relay.cli.entry import RelayGroup
from relay.cli.opening import actor, open_store, run
from relay.cli.output import json_option, print_json, table
from relay.core.errors import ConfigError

if TYPE_CHECKING:
    from relay.config import Settings
    from relay.core.model import Json

EDITABLE: Final = ("match.several",)
"""Keys of the file that the store may override while the relay runs."""


@click.group(cls=RelayGroup)
def settings() -> None:
    """Settings that hold without a restart; they stand before the file."""


@settings.command("list")
@json_option
def list_(*, as_json: bool) -> None:
    """List the settings with their values."""
    rows = _rows()
    if as_json:
        print_json(rows)
        return
    table(
        ["key", "value", "from", "meaning"],
        ((r["key"], _text(r["value"]), r["source"], r["help"]) for r in rows),
        whole=["key"],
        wrap=True,
    )


@settings.command()
@click.argument("key")
@json_option
def get(key: str, *, as_json: bool) -> None:
    """Print the value that holds now, of a key of the settings file, too."""
    if key not in EDITABLE and (field := _file_key(key)) is not None:
        row = {
            "key": key,
            "value": _shown(key, field),
            "source": "file",
            "help": field.description or "",
        }
    else:
        _known(key)
        row = next(row for row in _rows() if row["key"] == key)
    if as_json:
        print_json([row])
        return
    click.echo(_text(row["value"]))
    if key not in EDITABLE:
        note = f"{key} is of the settings file; a change there needs a restart."
        click.secho(note, err=True, dim=True)


@settings.command("set")
@click.argument("key")
@click.argument("value")
def set_(key: str, value: str) -> None:
    """Change a setting; a running relay follows within a second."""
    _known(key)
    loaded = opening.settings()
    checked = check_value(loaded, key, value)

    async def job() -> None:
        async with open_store(loaded) as store:
            await store.directory.set_setting(key, checked, actor())

    run(job())
    click.echo(f"{key} is {_text(checked)} now.")


@settings.command()
@click.argument("key")
def unset(key: str) -> None:
    """Let the settings file, or the default, hold again."""
    _known(key)
    loaded = opening.settings()

    async def job() -> None:
        async with open_store(loaded) as store:
            await store.directory.set_setting(key, None, actor())

    run(job())
    row = next(row for row in _rows() if row["key"] == key)
    click.echo(f"{key} is {_text(row['value'])} now, from the file or by default.")


def _file_key(key: str) -> Any:
    """Return the field of a key of the settings file, None if it is none."""
    section, _, name = key.partition(".")
    model = type(getattr(opening.settings(), section, None))
    fields: dict[str, Any] = getattr(model, "model_fields", {})
    return fields.get(name)


def _shown(key: str, field: Any) -> Json:
    """Return the value of a file key as JSON holds it; a secret is masked."""
    from relay.config.sources import is_secret  # noqa: PLC0415 - pydantic, 0.2 s
    from relay.config.values import masked_url  # noqa: PLC0415

    section, _, name = key.partition(".")
    part = getattr(opening.settings(), section)
    value: Any = getattr(part, name)
    if is_secret(field) and value is not None:
        return masked_url(value) if isinstance(value, str) else "***"
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return _plain(value)


def _plain(value: Any) -> Json:
    if value is None or isinstance(value, str | int | float | dict):
        return value
    if hasattr(value, "model_dump"):  # one table of a list
        return {name: _plain(getattr(value, name)) for name in type(value).model_fields}
    return str(value)


def check_value(loaded: Settings, key: str, text: str) -> Json:
    """Return a typed value in the form that JSON holds.

    It is checked as the same key in the file is.

    Raises:
        ConfigError: The value does not fit; names what does.
    """
    section, name = key.split(".")
    model = type(getattr(loaded, section))
    try:
        made = model.model_validate_strings({name: text})
    except ValueError:  # pydantic's own error is one
        field = model.model_fields[name]
        choices = ", ".join(str(one) for one in get_args(field.annotation))
        mend = f"write one of {choices}" if choices else str(field.description)
        raise ConfigError(f"{key} = {text!r} does not fit; {mend}") from None
    return made.model_dump(mode="json")[name]


def _known(key: str) -> None:
    if key in EDITABLE:
        return
    known = ", ".join(EDITABLE)
    problem = f"{key} is no setting of the store; known: {known}"
    if _file_key(key) is not None:
        problem = (
            f"{key} needs a restart: write it into the settings file; "
            f"without one: {known}"
        )
    raise ConfigError(problem)


def _rows() -> list[dict[str, Any]]:
    loaded = opening.settings()

    async def job() -> dict[str, Json]:
        async with open_store(loaded) as store:
            return dict(await store.directory.settings())

    kept = run(job())
    rows = []
    for key in EDITABLE:
        section, name = key.split(".")
        part = getattr(loaded, section)
        rows.append(
            {
                "key": key,
                "value": kept.get(key, getattr(part, name)),
                "source": "store" if key in kept else "file",
                "help": type(part).model_fields[name].description or "",
            }
        )
    return rows


def _text(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value)
