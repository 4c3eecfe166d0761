"""Where settings come from: a TOML file, and the environment.

Each source answers with a plain `section → key → value` table and remembers where each
value came from, for error lines. The later source wins key by key. What a source cannot
read at all is a `ConfigError` here; what a value may be is the business of `settings`.

A relative path in the file is taken from the file's folder, so that the relay finds the
same store and the same keys wherever it is started; one in the environment from the
working directory, as a shell would.

Two slips that pydantic-settings lets pass are caught here: a file that was named and is
not there, and an environment name whose section is misspelt.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args, get_origin

from pydantic import BaseModel
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from relay.config.values import Secret
from relay.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic.fields import FieldInfo

PREFIX: Final = "RELAY_"
DEFAULT_FILE: Final = Path("relay.toml")
SYSTEM_FILE: Final = Path("/etc/relay/relay.toml")
"""Read where neither `--config` nor RELAY_CONFIG nor the working directory has one."""
NAMED_BY: Final = "RELAY_CONFIG"
"""The variable that names the settings file, as `--config` does."""
NO_SETTINGS: Final = frozenset({NAMED_BY, "RELAY_TOKEN"})
"""Variables that are no settings: RELAY_TOKEN is for commands with `--url`."""
FILE_SUFFIX: Final = "_file"
_SQLITE: Final = "sqlite:///"
_DATABASE: Final = "url"
"""Key of [store] that names the database."""
_MAX_FILE_BYTES: Final = 1024 * 1024
_MAX_SECRET_BYTES: Final = 64 * 1024
_YES: Final = frozenset({"true", "1", "yes", "on"})
_NO: Final = frozenset({"false", "0", "no", "off"})

# Kubernetes and Docker links set these for a service that is called "relay"; they are
# no settings, and a relay must not refuse to start for its own service's name.
_SERVICE_LINK: Final = re.compile(
    r"RELAY_SERVICE_(?:HOST|PORT(?:_\w+)?)|RELAY_(?:ENV_\w+|NAME)"
    r"|RELAY_PORT(?:_\d+_(?:TCP|UDP)(?:_(?:ADDR|PORT|PROTO))?)?"
)

_TWICE: Final = re.compile(r"Cannot declare \((.+)\) twice \(at line (\d+)")
_OVERWRITTEN: Final = re.compile(r"Cannot overwrite a value \(at line (\d+)")
"""What `tomllib` says of a section, and of a key, that stands in a file twice."""

Table = dict[str, Any]


def settings_file(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    """Return the settings file: the first of the four places that names one.

    Args:
        path: What `--config` names; else RELAY_CONFIG, `relay.toml` in the working
            directory, and the file of the system are looked at, in this order.
        environ: The environment.

    Returns:
        A file that was named need not be there; one that was found is. None: there
        is none.
    """
    if path is not None:
        return path
    if environ.get(NAMED_BY):
        return Path(environ[NAMED_BY])
    for place in (DEFAULT_FILE, SYSTEM_FILE):
        if place.is_file() or place.is_symlink():
            return place
    return None


def sections(settings: type[BaseSettings]) -> dict[str, type[BaseModel]]:
    """Return the model of each section, in order."""
    found: dict[str, type[BaseModel]] = {}
    for name, field in settings.model_fields.items():
        model = field.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            found[name] = model
    return found


def is_secret(field: FieldInfo) -> bool:
    """Say whether a setting is masked, and may come from a file."""
    return any(isinstance(mark, Secret) for mark in field.metadata)


def is_path(field: FieldInfo) -> bool:
    """Say whether a setting names a file or a folder."""
    kinds = [field.annotation]
    while kinds:
        kind = kinds.pop()
        if kind is Path:
            return True
        if get_origin(kind) is not tuple:
            kinds += get_args(kind)
    return False


def table_model(field: FieldInfo) -> type[BaseModel] | None:
    """Return the model of the tables that a setting is a list of, or None."""
    if get_origin(field.annotation) is not tuple:
        return None
    inner = get_args(field.annotation)[0]
    is_model = isinstance(inner, type) and issubclass(inner, BaseModel)
    return inner if is_model else None


def suggestion(word: str, words: Iterable[str]) -> str | None:
    """Return the word that was probably meant."""
    close = difflib.get_close_matches(word.lower(), list(words), n=1)
    return close[0] if close else None


def read_text(path: Path, *, limit: int, what: str, hint: str) -> str:
    """Return the text of a small file.

    Raises:
        ConfigError: It cannot be read, is too large, or is no UTF-8; `what` leads.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a file name"
        text = f"{what}: cannot be read ({reason}); {hint}"
        raise ConfigError(text) from error
    if len(data) > limit:
        text = f"{what}: larger than {limit} bytes; {hint}"
        raise ConfigError(text)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        text = f"{what}: is not UTF-8 text; {hint}"
        raise ConfigError(text) from error


class _Source(PydanticBaseSettingsSource):
    """A source that is read whole, once, with a note of where each value stood."""

    def __init__(self, settings_cls: type[BaseSettings]) -> None:
        """Prepare; nothing is read before the call."""
        super().__init__(settings_cls)
        self.origins: dict[tuple[str, str], str] = {}
        self.problems: list[str] = []
        """Lines for what could not be read; the rest is there all the same."""
        self.spoilt: set[str] = set()
        """Sections that lack something for one of these lines."""

    def get_field_value(
        self, field: FieldInfo, field_name: str
    ) -> tuple[Any, str, bool]:
        """Return nothing: the whole table is read in `__call__`."""
        del field
        return None, field_name, False

    @abstractmethod
    def read(self) -> Table:
        """Return the table of this source, with `origins` filled."""

    def __call__(self) -> Table:
        """Return the table, with each `<secret>_file` replaced by what it holds."""
        table = self.read()
        for section, model in sections(self.settings_cls).items():
            if isinstance(rows := table.get(section), dict):
                for key, field in model.model_fields.items():
                    if is_secret(field):
                        self._try(section, key, rows)
        return table

    def _try(self, section: str, key: str, rows: Table) -> None:
        """Read a secret from its file; what fails is one line among others."""
        try:
            self._resolve(section, key, rows)
        except ConfigError as error:
            self.problems.append(str(error))
            self.spoilt.add(section)

    def place(self, path: str) -> Path:
        """Return where a path of this source leads."""
        return Path(path)

    def _resolve(self, section: str, key: str, rows: Table) -> None:
        """Read a secret from its file; both in one source would be a guess."""
        file_key = key + FILE_SUFFIX
        path = rows.pop(file_key, None)
        origin = self.origins.pop((section, file_key), "")
        if path is None or path == "":
            return
        what = f"{section}.{file_key} = {json.dumps(path, default=str)} (from {origin})"
        if not isinstance(path, str):
            text = f"{what}: is not text; put the path in quotes"
            raise ConfigError(text)
        if rows.get(key) not in (None, ""):
            text = f"{what}: is set together with {section}.{key}; keep one of the two"
            raise ConfigError(text)
        secret = read_text(
            self.place(path),
            limit=_MAX_SECRET_BYTES,
            what=what,
            hint="check the path, and who may read the file",
        ).rstrip("\r\n")
        if not secret:
            text = f"{what}: the file is empty; put the secret on its first line"
            raise ConfigError(text)
        rows[key] = self.database(secret) if key == _DATABASE else secret
        self.origins[section, key] = f"{file_key} in {origin}"

    def database(self, url: str) -> str:
        """Return a database's URL, the file of SQLite as `place` has it."""
        name, mark, query = url.strip().removeprefix(_SQLITE).partition("?")
        if not url.strip().startswith(_SQLITE) or not name or name.startswith(":"):
            return url
        return f"{_SQLITE}{self.place(name)}{mark}{query}"


class FileSource(_Source):
    """`relay.toml`, or the file that was named."""

    def __init__(self, settings_cls: type[BaseSettings], path: Path | None) -> None:
        """Take the path of the file; None: there is none."""
        super().__init__(settings_cls)
        self._path = path
        self._folder = Path()

    def read(self) -> Table:
        """Return what the file holds.

        Raises:
            ConfigError: The file was named and is missing, cannot be read, or is no
                TOML; then the line is named.
        """
        path = self._path
        if path is None:
            return {}
        text = read_text(
            path,
            limit=_MAX_FILE_BYTES,
            what=str(path),
            hint="name a readable TOML file; config.example.toml shows every key",
        )
        try:
            table = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            problem = f"{path}: {_no_toml(text, str(error))}"
            raise ConfigError(problem) from error
        for section, rows in table.items():
            self.origins[section, ""] = str(path)
            if isinstance(rows, dict):
                self.origins.update({(section, key): str(path) for key in rows})
        self._folder = path.parent
        self._place_paths(table)
        return table

    def place(self, path: str) -> Path:
        """Return a path as seen from the folder of the file."""
        return self._folder / path

    def _place_paths(self, table: Table) -> None:
        """Take every relative path, and the SQLite file, from the file's folder."""
        for section, model in sections(self.settings_cls).items():
            rows = table.get(section)
            if not isinstance(rows, dict):
                continue
            for key, field in model.model_fields.items():
                if inner := table_model(field):
                    listed = rows.get(key)
                    for row in listed if isinstance(listed, list) else ():
                        self._place_keys(inner, row)
            self._place_keys(model, rows)
        store = table.setdefault("store", {})
        if isinstance(store, dict) and _DATABASE + FILE_SUFFIX not in store:
            default = sections(self.settings_cls)["store"].model_fields[_DATABASE]
            url = store.get(_DATABASE, default.default)
            if self._folder != Path() and isinstance(url, str):
                store[_DATABASE] = self.database(url)

    def _place_keys(self, model: type[BaseModel], rows: object) -> None:
        if not isinstance(rows, dict):
            return
        for key, field in model.model_fields.items():
            value = rows.get(key)
            if is_path(field) and isinstance(value, str) and value.strip():
                rows[key] = str(self.place(value))


def _no_toml(text: str, reason: str) -> str:
    """Return problem and hint for a text that `tomllib` does not take.

    What stands there twice is what comes of pasting; the reader's words for it are
    those of a parser.
    """
    if twice := _TWICE.search(reason):
        parts = re.findall(r"'([^']*)'", twice[1])
        name, line = ".".join(parts), twice[2]
        if (first := _line_of(text, name)) < int(line):
            return (
                f"line {line}: [{name}] is in the file already, at line {first}; "
                "put the keys there, or delete one of the two"
            )
        key = parts[1] if len(parts) > 1 else name
        return (
            f"line {line}: [{name}] and a line `{key} = …` are both there; "
            "delete one of the two"
        )
    if overwritten := _OVERWRITTEN.search(reason):
        return (
            f"line {overwritten[1]}: the key is in its section already; "
            "keep one of the two"
        )
    last = text.count("\n", 0, len(text.rstrip())) + 1
    reason = reason.replace("end of document", f"the end, line {last}")
    return f"is not TOML: {reason}; correct that line"


def _line_of(text: str, section: str) -> int:
    """Return the number of the first line that is this section's head."""
    heads = (
        number
        for number, line in enumerate(text.splitlines(), 1)
        if line.partition("#")[0].replace(" ", "").strip() == f"[{section}]"
    )
    return next(heads, text.count("\n") + 2)


class EnvironmentSource(_Source):
    """Every `RELAY_SECTION__KEY` of an environment; all else with that prefix is wrong.

    Lists are JSON or separated by commas.
    """

    def __init__(
        self, settings_cls: type[BaseSettings], environ: Mapping[str, str]
    ) -> None:
        """Take the environment; it is not changed."""
        super().__init__(settings_cls)
        self._environ = environ

    def read(self) -> Table:
        """Return what the environment sets; a name that is no setting is a problem."""
        known = sections(self.settings_cls)
        table: Table = {}
        for name in sorted(self._environ):
            if not name.startswith(PREFIX) or name in NO_SETTINGS:
                continue
            if _SERVICE_LINK.fullmatch(name):
                continue
            section, _, key = name.removeprefix(PREFIX).lower().partition("__")
            model = known.get(section)
            fields = _keys(model) if model else {}
            if key not in fields:
                self.problems.append(_unknown(name, known))
                self.spoilt.add(section)
                continue
            table.setdefault(section, {})[key] = _value(
                fields[key], self._environ[name]
            )
            self.origins[section, key] = name
        return table


def _keys(model: type[BaseModel]) -> dict[str, FieldInfo | None]:
    """Return the keys of a section, `<secret>_file` among them (without a field)."""
    keys: dict[str, FieldInfo | None] = dict(model.model_fields)
    keys |= {
        key + FILE_SUFFIX: None
        for key, field in model.model_fields.items()
        if is_secret(field)
    }
    return keys


def all_keys(model: type[BaseModel]) -> list[str]:
    """Return the names of every key of a section, `<secret>_file` included."""
    return list(_keys(model))


def _unknown(name: str, known: Mapping[str, type[BaseModel]]) -> str:
    section, _, key = name.removeprefix(PREFIX).lower().partition("__")
    # The section is part of every name: a likeness of that alone suggests nothing.
    near = suggestion(section, known)
    meant = suggestion(key, _keys(known[near])) if near and key else None
    if near is None or meant is None:
        names = {
            f"{one}__{key}".replace("__", "_"): f"{one}__{key}"
            for one, model in known.items()
            for key in _keys(model)
        }
        meant = names.get(name.removeprefix(PREFIX).lower().replace("__", "_"))
    else:
        meant = f"{near}__{meant}"
    hint = (
        f"write {PREFIX}{meant.upper()}"
        if meant
        else f"names are {PREFIX}SECTION__KEY as in config.example.toml, or unset it"
    )
    return f"{name}: there is no such setting; {hint}"


def _value(field: FieldInfo | None, text: str) -> object:
    """Return text as the kind of value a file would hold; wrong text stays text."""
    if field is None:
        return text
    kind = field.annotation
    if get_origin(kind) is tuple:
        return _list(text)
    if get_origin(kind) is dict:
        return _json(text)
    word = text.strip().lower()
    if kind is bool and word in _YES | _NO:
        return word in _YES
    if kind in {int, float} and re.fullmatch(r"[+-]?[0-9]{1,18}", word):
        return int(word)
    if kind is float and re.fullmatch(r"[+-]?[0-9]{1,18}\.[0-9]{1,18}", word):
        return float(word)
    return text


def _json(text: str) -> object:
    """Read a table as JSON; text that is none is named as the mistake it is."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _list(text: str) -> object:
    # `[::1]:25` begins like JSON and is none; it falls through to the commas.
    if text.strip().startswith("["):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            pass
    return [part.strip() for part in text.split(",") if part.strip()]
