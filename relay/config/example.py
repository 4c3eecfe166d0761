"""`config.example.toml`, made from the table of settings."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING, Final

from relay.config.settings import Settings
from relay.config.sources import FILE_SUFFIX, is_secret, sections

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

_HEAD: Final = """\
# Settings of the relay: every key with its default. Copy to relay.toml and keep what
# you change. An empty string means: not set.
#
# The environment wins over this file: RELAY_SECTION__KEY, such as
#   RELAY_SMTP__LISTEN="0.0.0.0:25,[::]:25"
# (lists with commas or as JSON). A secret may come from a file: its key with "_file"
# behind it. A relative path is taken from the working directory.
#
# This file is generated: python -m relay.config > config.example.toml
"""
_WIDTH: Final = 88


def example() -> str:
    """Return the whole example file; loaded, it gives the defaults."""
    parts = [_HEAD]
    for name, model in sections(Settings).items():
        parts += [f"\n# {(model.__doc__ or '').strip()}\n[{name}]\n"]
        for key, field in model.model_fields.items():
            parts.append(_entry(field.description or "", key, _default(model, key)))
            if is_secret(field):
                parts.append(_file_entry(name, key))
    return "".join(parts)


def _default(model: type[BaseModel], key: str) -> str:
    """Return a default as TOML; one that depends on the machine is left empty."""
    field: FieldInfo = model.model_fields[key]
    value = None if field.default_factory is not None else field.default
    if value is None:
        return '""'
    if isinstance(value, tuple):
        return json.dumps([str(item) for item in value])
    if isinstance(value, float):
        return f"{value:g}"
    return json.dumps(value)


def _entry(description: str, key: str, value: str) -> str:
    comment = textwrap.fill(
        description, _WIDTH, initial_indent="# ", subsequent_indent="# "
    )
    return f"{comment}\n{key} = {value}\n"


def _file_entry(section: str, key: str) -> str:
    return _entry(
        f"File that holds {section}.{key}, instead of the key itself; empty: none.",
        key + FILE_SUFFIX,
        '""',
    )
