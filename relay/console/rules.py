"""The settings that hold without a restart: seeing, reading and saving them.

A rule that decides about mail can be tried on past mail before it is saved:
`relay.console.replays`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, get_args, get_origin

from relay.admin.rule_change import RuleChange, replayable
from relay.admin.settings import (
    OF_STORE,
    asks_org,
    base,
    check_in_org,
    in_force,
    read_value,
)
from relay.core.clock import SystemClock
from relay.core.errors import InvalidInput, NotFound
from relay.salesforce import Org
from relay.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.config import Settings
    from relay.core.model import Json
    from relay.store import Store

_HISTORY: Final = 2000
"""Changes of settings that are looked through for who set what."""

logger = get_logger(__name__)


async def check_in_salesforce(loaded: Settings, key: str, value: Json) -> None:
    """Ask Salesforce whether a value fits, where the relay has an org.

    Raises:
        InvalidInput: It does not.
        RelayError: Salesforce could not be asked.
    """
    if loaded.salesforce.instance_url is None:
        return
    org = Org(loaded.require_salesforce(), SystemClock())
    try:
        await check_in_org(org, key, value)
    finally:
        await org.close()


# ---------------------------------------------------------------- seeing


@dataclass(frozen=True, slots=True)
class Rule:
    """A setting as a person edits it.

    Attributes:
        key: Its name.
        value: In force.
        text: The same as it is typed.
        source: `store`, `file` or `default`.
        default: What holds without the store.
        help: What it is for.
        choices: Words of which one is chosen; empty: any text.
        many: Words of which several are ticked; empty: it is no such list.
        by: Who set it last; empty: nobody.
        at: When.
    """

    key: str
    value: Json
    text: str
    source: str
    default: str
    help: str
    choices: tuple[str, ...] = ()
    many: tuple[str, ...] = ()
    by: str = ""
    at: str = ""

    @property
    def section(self) -> str:
        """The section of the settings file, or `store`."""
        section, dot, _ = self.key.partition(".")
        return section if dot else "store"

    @property
    def can_be_tried(self) -> bool:
        """Say whether a change of it can be tried on past mail."""
        return replayable(base(self.key))


async def rules(store: Store, settings: Settings) -> list[Rule]:
    """Return the settings that hold without a restart, with who set each."""
    kept = await store.directory.settings()
    without = {row.key: row.value for row in in_force(settings, {})}
    setters = await _setters(store)
    found: list[Rule] = []
    for row in in_force(settings, kept):
        by, at = setters.get(row.key, ("", "")) if row.source == "store" else ("", "")
        choices, many = _choices(settings, row.key)
        default = without.get(row.key, without.get(base(row.key)))
        found.append(
            Rule(
                row.key,
                row.value,
                as_typed(row.value),
                row.source,
                as_typed(default),
                row.help,
                choices,
                many,
                by,
                at,
            )
        )
    return found


async def rule(store: Store, settings: Settings, key: str) -> Rule:
    """Return one of them.

    Raises:
        NotFound: There is no such setting.
    """
    for one in await rules(store, settings):
        if one.key == key:
            return one
    text = f"there is no setting {key} that holds without a restart"
    raise NotFound(text)


def as_typed(value: Json) -> str:
    """Return a value as a person types it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return ", ".join(str(one) for one in value)
    return "" if value is None else str(value)


def _choices(settings: Settings, key: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if own := OF_STORE.get(key):
        return tuple(own.values), ()
    section, name = base(key).split(".")
    model = type(getattr(settings, section))
    annotation = model.model_fields[name].annotation
    if annotation is bool:
        return ("true", "false"), ()
    if get_origin(annotation) is Literal:
        return tuple(str(one) for one in get_args(annotation)), ()
    if get_origin(annotation) is tuple:
        inner = get_args(annotation)[0]
        if get_origin(inner) is Literal:
            return (), tuple(str(one) for one in get_args(inner))
    return (), ()


async def _setters(store: Store) -> dict[str, tuple[str, str]]:
    """Return who set each setting last, and when."""
    found: dict[str, tuple[str, str]] = {}
    for row in await store.history.find(change="setting", limit=_HISTORY):
        found[str(row["user"])] = (str(row["actor"]), str(row["at"]))
    for row in await store.history.find(change="settings", limit=_HISTORY):
        for key in row["after"] or {}:
            if str(row["at"]) > found.get(key, ("", ""))[1]:
                found[key] = (str(row["actor"]), str(row["at"]))
    return found


# ---------------------------------------------------------------- saving


async def save(
    store: Store,
    settings: Settings,
    values: Mapping[str, str | None],
    actor: str,
    *,
    about: str = "",
) -> int | None:
    """Save values as they were typed, all or none; a running relay uses them soon.

    Args:
        store: The open store.
        settings: The file and the environment.
        values: By key, as typed; None: the file, or the default, is to hold again.
        actor: Who saves.
        about: What the change is, for the history; empty: the keys.

    Returns:
        The number of the change in the history; None: nothing was other than before.

    Raises:
        InvalidInput: A value does not fit; nothing was saved.
        RelayError: Salesforce, which has to say whether one fits, could not be asked.
    """
    held = {
        row.key: row for row in in_force(settings, await store.directory.settings())
    }
    changed: dict[str, Json] = {}
    for key, text in values.items():
        known = held.get(key)
        if text is None:
            if known is not None and known.source == "store":
                changed[key] = None
            continue
        value = read_value(settings, key, text)
        if known is not None and known.value == value:
            continue
        if asks_org(key, value):
            await check_in_salesforce(settings, key, value)
        changed[key] = value
    if not changed:
        return None
    if len(changed) == 1:
        ((key, value),) = changed.items()
        await store.directory.set_setting(key, value, actor)
    else:
        await store.directory.set_settings(changed, about or ", ".join(changed), actor)
    (row,) = await store.history.find(limit=1)
    return int(row["id"])


def read_change(settings: Settings, values: Mapping[str, str | None]) -> RuleChange:
    """Return what was typed as a change that can be tried.

    Raises:
        InvalidInput: A value does not fit, or cannot be tried on past mail.
    """
    read: dict[str, Json] = {}
    for key, text in values.items():
        if not replayable(base(key)):
            raise InvalidInput(f"{key} cannot be tried on past mail", "save it")
        read[key] = None if text is None else read_value(settings, key, text)
    return RuleChange(read)
