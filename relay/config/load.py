"""Fill the settings, and say in one line what is wrong with them.

A line reads `section.key = value (from where): problem; hint`. Secrets are masked, and
further mistakes are counted behind the first.
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ValidationError

from relay.config.settings import Settings
from relay.config.sources import (
    DEFAULT_FILE,
    EnvironmentSource,
    FileSource,
    all_keys,
    is_secret,
    sections,
    settings_file,
    suggestion,
    table_model,
)
from relay.config.values import masked_url
from relay.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pydantic_core import ErrorDetails
    from pydantic_settings import PydanticBaseSettingsSource

_NOT_SET: Final = " (not set)"
_LONGEST_VALUE: Final = 80
_SEE_EXAMPLE: Final = "config.example.toml shows every key"
_NO_INTEGER: Final = ("is not a whole number", "write digits, without quotes")
_NO_NUMBER: Final = ("is not a number", "write digits, without quotes")
_NO_FLAG: Final = ("is neither true nor false", "write true or false, without quotes")
_NO_TEXT: Final = ("is not text", "put it in quotes")
_NO_TABLE: Final = ("is not a table", "write [{section}] above its keys")
_PROBLEMS: Final = {
    "int_type": _NO_INTEGER,
    "int_from_float": _NO_INTEGER,
    "float_type": _NO_NUMBER,
    "finite_number": _NO_NUMBER,
    "bool_type": _NO_FLAG,
    "bool_parsing": _NO_FLAG,
    "int_parsing": _NO_INTEGER,
    "float_parsing": _NO_NUMBER,
    "string_type": _NO_TEXT,
    "path_type": _NO_TEXT,
    "string_pattern_mismatch": ("is not a version", 'write it like "66.0"'),
    "tuple_type": ("is not a list", "put the values in [ ], with commas between"),
    "too_short": ("is an empty list", "name one at least"),
    "too_long": ("is too long a list", "write {max_length} entries at most"),
    "greater_than_equal": ("is too small", "write {ge} or more"),
    "greater_than": ("is too small", "write more than {gt}"),
    "less_than_equal": ("is too large", "write {le} or less"),
    "missing": ("is needed", _SEE_EXAMPLE),
    "model_type": _NO_TABLE,
    "model_attributes_type": _NO_TABLE,
}
"""By pydantic's type of error: problem and hint."""
_SECRETIVE: Final = re.compile("sec|pass|pw|token|key|url|proxy|auth")


def load(
    path: Path | None = None, environ: Mapping[str, str] | None = None
) -> Settings:
    """Return the settings: defaults, then the file, then the environment.

    Args:
        path: The file named with `--config`; it must exist. None: that of RELAY_CONFIG,
            `relay.toml` in the working directory, or /etc/relay/relay.toml.
        environ: The environment; None: that of the process.

    Raises:
        ConfigError: Something is wrong; one line names key, value and hint of the
            first mistake, and `problems` has a line for each.
    """
    environ = os.environ if environ is None else environ
    path = settings_file(path, environ)
    file = FileSource(Settings, path)
    environment = EnvironmentSource(Settings, environ)

    class Loaded(Settings):
        """The settings as these two sources give them."""

        @classmethod
        def settings_customise_sources(
            cls, *_: object, **__: object
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            """Return the sources, the strongest first."""
            return environment, file

    lines = []
    loaded = None
    try:
        loaded = Loaded()
    except ValidationError as error:
        origins = file.origins | environment.origins
        default = str(path or DEFAULT_FILE)
        lines = [
            _line(one, origins, default)
            for one in error.errors()
            # A wrong item makes a list look empty as well; the item says it better.
            if (one["type"] != "too_short" or not one["input"])
            and not _follows(one, file.spoilt | environment.spoilt)
        ]
    lines = [
        _one_line(line) for line in (*file.problems, *environment.problems, *lines)
    ]
    if loaded is None or lines:
        more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
        raise ConfigError(lines[0] + more, lines)
    return loaded


def _follows(error: ErrorDetails, spoilt: set[str]) -> bool:
    """Say whether a mistake only follows from what a source could not read.

    What a section needs as a whole cannot be judged where one of its keys is lost.
    """
    whole_section = len(error["loc"]) < 2  # noqa: PLR2004 - section, key
    return (
        whole_section
        and bool(spoilt)
        and (not error["loc"] or str(error["loc"][0]) in spoilt)
    )


def _line(
    error: ErrorDetails, origins: Mapping[tuple[str, str], str], default: str
) -> str:
    """Return the line for one mistake."""
    context = error.get("ctx", {})
    section, key, value = _place(error, context)
    origin = origins.get((section, key)) or origins.get((section, "")) or default
    row = _row_of_tables(section, key, error, context)
    if row is not None:
        number, key, value = row
        origin = f"{origin}, table {number}"
    if error["type"] == "extra_forbidden":
        problem, hint, value = _unknown(section, key, value)
    else:
        problem, hint = problem_and_hint(error, context)
    if row is not None and error["type"].startswith("model_"):
        hint = f"write [[{section}.{key}]] above its keys"
    name = f"{section}.{key}" if key else f"[{section}]"
    shown = _shown(section, key, value)
    source = "" if shown == _NOT_SET and row is None else f" (from {origin})"
    return f"{name}{shown}{source}: {problem}; {hint}"


def _place(error: ErrorDetails, context: Mapping[str, Any]) -> tuple[str, str, Any]:
    """Return section, key and value that an error is about."""
    place = [str(part) for part in error["loc"]]
    value = error["input"]
    if "key" in context:  # a check of a whole section, or of all sections
        place += str(context["key"]).split(".")
        for part in str(context["key"]).split("."):
            value = value.get(part) if isinstance(value, dict) else None
    section = place[0] if place else ""
    return section, place[1] if len(place) > 1 else "", value


def _row_of_tables(
    section: str, key: str, error: ErrorDetails, context: Mapping[str, Any]
) -> tuple[int, str, Any] | None:
    """Return table number, `listeners.tls` and value, for a key in a list of tables."""
    place = error["loc"]
    inner = [str(part) for part in place[3:4]] or [str(context.get("key", ""))]
    model = sections(Settings).get(section)
    field = model.model_fields.get(key) if model else None
    number = place[2] if len(place) > 2 else None  # noqa: PLR2004 - section, key
    if field is None or table_model(field) is None or not isinstance(number, int):
        return None
    value = error["input"]
    if len(place) == 3 and isinstance(value, dict):  # noqa: PLR2004 - a whole table
        value = value.get(inner[0])
    if error["type"] == "missing":
        value = None
    return number + 1, f"{key}.{inner[0]}".rstrip("."), value


def problem_and_hint(
    error: ErrorDetails, context: Mapping[str, Any]
) -> tuple[str, str]:
    """Return what is wrong with a value, and a hint how to correct it.

    Args:
        error: One of pydantic's errors.
        context: Its context; empty where it has none.
    """
    if error["type"] == "relay_mistake":
        return str(context["problem"]), str(context["hint"])
    if error["type"] == "literal_error":
        words = str(context["expected"]).replace("'", '"')
        return "is not one of the choices", f"write {words}"
    problem, hint = _PROBLEMS.get(error["type"], (error["msg"].lower(), _SEE_EXAMPLE))
    # A bound is shown whole, as a file would have it: 2147483647, not 2.1e+09.
    shown = {
        name: int(value) if isinstance(value, float) and value.is_integer() else value
        for name, value in context.items()
    }
    return problem, hint.format_map({**shown, "section": error["loc"][0]})


def _unknown(section: str, key: str, value: object) -> tuple[str, str, object]:
    """Return problem, hint and what may be shown of a key that does not exist.

    A misspelt secret is a secret still.
    """
    models = sections(Settings)
    if section not in models:
        meant = suggestion(section, models)
        hint = f"write [{meant}]" if meant else "the sections are " + ", ".join(models)
        return "there is no such section", hint, None
    table, dot, inner = key.partition(".")
    rows = table_model(models[section].model_fields[table]) if dot else None
    if rows is not None:
        meant = suggestion(inner, rows.model_fields)
        hint = (
            f"write {meant}"
            if meant
            else "the keys are " + ", ".join(rows.model_fields)
        )
        return "there is no such key", hint, value
    meant = suggestion(key, all_keys(models[section]))
    hint = (
        f"write {section}.{meant}"
        if meant
        else f"take it out; the keys of [{section}] are in config.example.toml"
    )
    field = models[section].model_fields.get(meant or "")
    hide = _SECRETIVE.search(key) or (field is not None and is_secret(field))
    return "there is no such key", hint, _Masked() if hide else value


class _Masked:
    """Stands for a value that must not appear in a log."""


def _shown(section: str, key: str, value: object) -> str:
    """Return ` = value` as a file would have it, masked and shortened."""
    if value is None:
        return _NOT_SET if key and section in sections(Settings) else ""
    model = sections(Settings).get(section)
    field = model.model_fields.get(key) if model else None
    if isinstance(value, (dict, BaseModel)):
        return ""
    if isinstance(value, _Masked):
        return " = ***"
    if field is not None and is_secret(field):
        if isinstance(value, str) and not value.strip():
            return _NOT_SET
        url = isinstance(value, str) and "://" in value
        value = masked_url(str(value)) if url else "***"
        if value == "***":
            return " = ***"
    text = json.dumps(value, ensure_ascii=False, default=str)
    if len(text) > _LONGEST_VALUE:
        text = text[: _LONGEST_VALUE - 1] + "…"
    return f" = {text}"


def _one_line(text: str) -> str:
    """Keep keys and values of a stranger's making from breaking the line."""
    return "".join(char if char.isprintable() else "�" for char in text)
