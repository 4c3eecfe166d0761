"""Checks that nobody else on this machine can read a file that holds a secret."""

from __future__ import annotations

import shlex
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from relay.cli.finding import Finding, warn
from relay.config import Settings
from relay.config.sources import (
    DEFAULT_FILE,
    FILE_SUFFIX,
    FileSource,
    is_secret,
    sections,
)
from relay.config.values import masked_url
from relay.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_KEYS: Final = ("smtp.tls_key", "salesforce.private_key_file")
"""Settings that name a private key."""


def secrets(path: Path | None) -> list[Finding]:
    """Return a warning for each file with a secret that everybody may read.

    A group may: a settings file is often root's, and the relay's group reads it.

    Args:
        path: The settings file as named; None: `relay.toml`, if there is one.
    """
    found = []
    for name, file in dict.fromkeys(_files(path)):
        with suppress(OSError):
            mode = stat.S_IMODE(file.stat().st_mode)
            if mode & stat.S_IROTH:
                detail = f"{file} holds {name}, and everybody may read it ({mode:o})"
                mend = f"chmod 600 {shlex.quote(str(file))}"
                if mode & stat.S_IRGRP:
                    mend += ", or 640 where the relay reads it by its group"
                found.append(warn("secrets", detail, mend))
    return found


def _files(path: Path | None) -> Iterator[tuple[str, Path]]:
    """Return what is secret, and the file that holds it; settings have been read."""
    source = FileSource(Settings, path)
    try:
        table = source.read()
    except ConfigError:
        return
    here = [
        f"{section}.{key}"
        for section, model in sections(Settings).items()
        for key, field in model.model_fields.items()
        if is_secret(field) and _tells(table.get(section, {}).get(key))
    ]
    if here:
        yield ", ".join(here), path or DEFAULT_FILE
    for section, model in sections(Settings).items():
        rows = table.get(section, {})
        for key, field in model.model_fields.items():
            name = key + FILE_SUFFIX if is_secret(field) else key
            if is_secret(field) or f"{section}.{key}" in _KEYS:
                file = rows.get(name)
                if isinstance(file, str) and file.strip():
                    yield f"{section}.{key}", source.place(file)


def _tells(value: object) -> bool:
    """Say whether a value is a secret; the address of a database need not be one."""
    if not isinstance(value, str) or not value.strip():
        return False
    return "://" not in value or masked_url(value) != value
