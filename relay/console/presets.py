"""Presets: named sets of rules, shown beside those that hold, taken as one change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from relay.admin.presets import PRESETS, change_of, compare, preset_of, tried
from relay.admin.settings import asks_org

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.admin.presets import Preset, PresetRow
    from relay.admin.rule_change import RuleChange
    from relay.config import Settings
    from relay.store import Store


@dataclass(frozen=True, slots=True)
class PresetView:
    """A preset beside the rules that hold now."""

    preset: Preset
    rows: Sequence[PresetRow]

    @property
    def changed(self) -> list[PresetRow]:
        """Return the rules that it would change."""
        return [row for row in self.rows if row.differs]

    @property
    def change(self) -> RuleChange:
        """Return what of it can be tried on past mail."""
        return tried(self.changed)

    def as_json(self, *, whole: bool) -> dict[str, Any]:
        """Return the stable names; `whole`: with each rule."""
        row: dict[str, Any] = {
            "name": self.preset.name,
            "help": self.preset.help,
            "differs": len(self.changed),
        }
        if whole:
            row["rules"] = [one.as_json() for one in self.rows]
            row["limits"] = list(self.preset.differs)
        return row


async def presets(store: Store, loaded: Settings) -> list[PresetView]:
    """Return all presets."""
    kept = dict(await store.directory.settings())
    return [PresetView(one, compare(one, loaded, kept)) for one in PRESETS.values()]


async def preset(store: Store, loaded: Settings, name: str) -> PresetView:
    """Return a preset by its name.

    Raises:
        InvalidInput: There is none of that name.
    """
    chosen = preset_of(name)
    kept = dict(await store.directory.settings())
    return PresetView(chosen, compare(chosen, loaded, kept))


async def check(loaded: Settings, view: PresetView) -> None:
    """Ask Salesforce whether the rules fit that only an org can say.

    Raises:
        InvalidInput: One does not.
        RelayError: Salesforce could not be asked.
    """
    from relay.console.rules import check_in_salesforce  # noqa: PLC0415 - slow

    for row in view.changed:
        if asks_org(row.key, row.then):
            await check_in_salesforce(loaded, row.key, row.then)


async def take(store: Store, view: PresetView, actor: str) -> int | None:
    """Take the rules of a preset as one change; return its number in the history.

    None: the rules are so already.
    """
    rows = view.changed
    if not rows:
        return None
    values = change_of(rows).settings
    await store.directory.set_settings(values, f"preset {view.preset.name}", actor)
    latest = await store.history.find(limit=1)
    return int(latest[0]["id"]) if latest else None
