"""The settings that hold without a restart: seeing, trying and saving them.

A rule that decides about mail can be tried on past mail before it is saved: `Trials`
runs `relay.worker.replay` in the background, and keeps what it found for a while.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, get_args, get_origin

from relay.admin.presets import change_of, compare, preset_of
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
from relay.core.errors import Conflict, InvalidInput, NotFound, RelayError
from relay.core.past import PastFilter
from relay.salesforce import Org
from relay.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime

    from relay.config import Settings
    from relay.core.clock import Clock
    from relay.core.model import Json
    from relay.store import Store

    Replaying = Callable[..., AbstractAsyncContextManager[Any]]
    """`relay.app.replaying` of the settings of this process."""

TRIAL_DAYS: Final = 7
"""Days of past mail on which a change is tried."""
SHOWN: Final = 100
"""Mails that differ which a trial keeps; the others are counted."""
_KEPT: Final = 20
"""Trials that are kept, of all people together."""
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


async def save_preset(
    store: Store, settings: Settings, name: str, actor: str
) -> int | None:
    """Save every rule of a preset that differs, as one change.

    Returns:
        The number of the change in the history; None: all is so already.

    Raises:
        InvalidInput: There is no such preset.
    """
    rows = compare(preset_of(name), settings, await store.directory.settings())
    values = change_of(rows).settings
    if not values:
        return None
    await store.directory.set_settings(values, f"preset {name}", actor)
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


# ---------------------------------------------------------------- trying


@dataclass(frozen=True, slots=True)
class Trial:
    """A change of rules that is tried on past mail, and how far that is.

    Attributes:
        id: Unguessable, for the address of its page.
        values: By key, as typed.
        by: Who tries it.
        since: Mail from then on.
        preset: The preset that it is; empty: none.
        running: It goes on.
        summary: `Summary` of the re-play so far; None: nothing yet.
        differences: Mails that would be treated in another way, the first `SHOWN`.
        problem: Why it failed; empty: it did not.
    """

    id: str
    values: Mapping[str, str]
    by: str
    since: datetime
    preset: str = ""
    running: bool = True
    summary: Any = None
    differences: tuple[Any, ...] = field(default=())
    problem: str = ""

    def as_json(self) -> dict[str, Json]:
        """Return the stable names."""
        return {
            "id": self.id,
            "values": dict(self.values),
            "since": self.since.isoformat(),
            "running": self.running,
            "summary": self.summary.as_json() if self.summary else None,
            "differences": [one.as_json() for one in self.differences],
            "problem": self.problem or None,
        }


class Trials:
    """Tries changes in the background, one after the other; keeps the latest."""

    def __init__(
        self, settings: Settings, clock: Clock, replaying: Replaying | None
    ) -> None:
        """Take what makes a re-play ready; None: nothing can be tried here."""
        self._settings = settings
        self._clock = clock
        self._replaying = replaying
        self._trials: dict[str, Trial] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._turn = asyncio.Lock()

    @property
    def possible(self) -> bool:
        """Say whether there is an org that can be asked."""
        has_org = self._settings.salesforce.instance_url is not None
        return self._replaying is not None and has_org

    def start(self, change: RuleChange, by: str, preset: str = "") -> Trial:
        """Begin to try a change; nothing is saved.

        Raises:
            Conflict: Nothing can be tried here.
        """
        if self._replaying is None or not self.possible:
            raise Conflict("a change cannot be tried without a Salesforce org")
        values = {key: as_typed(value) for key, value in change.settings.items()}
        since = self._clock.now() - timedelta(days=TRIAL_DAYS)
        trial = Trial(secrets.token_urlsafe(9), values, by, since, preset)
        for old in list(self._trials)[: max(0, len(self._trials) - _KEPT + 1)]:
            self._forget(old)
        self._trials[trial.id] = trial
        work = self._run(trial, change, self._replaying)
        self._tasks[trial.id] = asyncio.create_task(work)
        return trial

    def find(self, id_: str) -> Trial:
        """Return a trial.

        Raises:
            NotFound: There is none any more.
        """
        found = self._trials.get(id_)
        if found is None:
            raise NotFound("this trial is not kept any more: begin it again")
        return found

    async def stop(self, id_: str) -> Trial:
        """End a trial; what it has found is kept.

        Raises:
            NotFound: There is none any more.
        """
        self.find(id_)
        task = self._tasks.get(id_)
        if task is not None and not task.done():
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        self._now(id_, running=False)
        return self.find(id_)

    def _forget(self, id_: str) -> None:
        self._trials.pop(id_, None)
        task = self._tasks.pop(id_, None)
        if task is not None:
            task.cancel()

    def _now(self, id_: str, **changes: Any) -> None:
        if id_ in self._trials:
            self._trials[id_] = replace(self._trials[id_], **changes)

    async def _run(
        self, trial: Trial, change: RuleChange, replaying: Replaying
    ) -> None:
        problem = ""
        try:
            async with (
                self._turn,
                replaying(change, PastFilter(since=trial.since)) as replay,
            ):
                self._now(trial.id, summary=replay.summary)
                kept: list[Any] = []
                async for one in replay.pages():
                    kept += one.differences[: SHOWN - len(kept)]
                    self._now(trial.id, summary=one.summary, differences=tuple(kept))
                self._now(trial.id, summary=replay.summary)
        except RelayError as error:
            problem = str(error)
        except Exception:
            logger.exception("trial_failed")
            problem = "the trial failed; the log has the reason"
        finally:
            self._now(trial.id, running=False, problem=problem)
