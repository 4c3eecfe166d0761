"""`config.example.toml`, made from the table of settings."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING, Final

from pydantic_core import PydanticUndefined

from relay.config.settings import Settings
from relay.config.sources import FILE_SUFFIX, is_secret, sections, table_model

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

_HEAD: Final = """\
# Settings of the relay: every key with its default. Copy to relay.toml and keep what
# you change. An empty string means: not set.
#
# The environment wins over this file: RELAY_SECTION__KEY, such as
#   RELAY_SMTP__LISTEN="0.0.0.0:25,[::]:25"
# (lists with commas or as JSON). A secret may come from a file: append "_file" to its
# key. A relative path starts at the folder of this file; one in the environment starts
# at the working directory.
#
# This file is generated: python -m relay.config > config.example.toml
"""
_WIDTH: Final = 88
_NEEDED: Final = {
    "address": "0.0.0.0:465",
    "id": "mx.example.com",
    "networks": ["192.0.2.25"],
}
"""An example for each key that has no default."""


def example() -> str:
    """Return the whole example file; loaded, it gives the defaults."""
    parts = [_HEAD]
    for name, model in sections(Settings).items():
        parts += [f"\n# {(model.__doc__ or '').strip()}\n[{name}]\n"]
        tables: list[str] = []
        for key, field in model.model_fields.items():
            if rows := table_model(field):
                tables.append(_tables(name, key, field.description or "", rows))
                continue
            if isinstance(field.default, dict):
                # In force, it would stand in the way of a table of that name.
                tables.append(_entry(field.description or "", f"# {key}", "{}"))
                continue
            parts.append(_entry(field.description or "", key, _default(model, key)))
            if is_secret(field):
                parts.append(_file_entry(name, key))
        # TOML takes every key behind such a table as one of the table's own.
        parts += tables
    return "".join(parts)


def _tables(section: str, key: str, description: str, model: type[BaseModel]) -> str:
    """Return an example of a list of tables, as a comment: the default is none."""
    entries = [
        _entry(field.description or "", name, _default(model, name))
        for name, field in model.model_fields.items()
    ]
    lines = "".join(entries).splitlines()
    table = "".join(f"# {line}\n" for line in [f"[[{section}.{key}]]", *lines])
    return f"{_comment(description)}\n{table}"


def _default(model: type[BaseModel], key: str) -> str:
    """Return a default as TOML; one that depends on the machine is left empty."""
    field: FieldInfo = model.model_fields[key]
    value = None if field.default_factory is not None else field.default
    if value is PydanticUndefined:
        return json.dumps(_NEEDED[key])
    if value is None:
        return '""'
    if isinstance(value, tuple):
        return json.dumps([str(item) for item in value])
    if isinstance(value, float):
        return f"{value:g}"
    return json.dumps(value)


def _entry(description: str, key: str, value: str) -> str:
    return f"{_comment(description)}\n{key} = {value}\n"


def _comment(text: str) -> str:
    return textwrap.fill(text, _WIDTH, initial_indent="# ", subsequent_indent="# ")


def _file_entry(section: str, key: str) -> str:
    return _entry(
        f"File that contains {section}.{key}, instead of the key itself; empty: none.",
        key + FILE_SUFFIX,
        '""',
    )
