"""What Salesforce refuses or leaves unanswered, by code (rules D15 to D18).

Messages that failed are counted by the reason of their last attempt. What a code means
and what helps stands in one table (`relay.salesforce.error_table`), which also decides
what the relay does by itself. So does what has paused the org as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from relay.console import mails
from relay.core.errors import Conflict, InvalidInput
from relay.core.model import LogFilter
from relay.core.states import Event, State
from relay.diagnose.hints import PAUSE_HINTS
from relay.salesforce.errors import Category, rule_of_reason

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from relay.console.mails import Change
    from relay.core.access import Caller
    from relay.core.model import Waiting
    from relay.core.shared import Pause
    from relay.salesforce.errors import Rule
    from relay.store import Store

FAILING: Final = (State.DEAD, State.QUEUED)
"""States in which a message may stand because a write failed."""
EXAMPLES: Final = 3
_ORDER: Final = tuple(Category)


@dataclass(frozen=True, slots=True)
class Failing:
    """Messages that failed with one code.

    Attributes:
        code: Salesforce's `errorCode`, an OAuth `error`, or `HTTP_503`.
        category: A group of rule D15.
        meaning: What happened.
        remedy: What helps.
        fate: What the relay does with such a message by itself.
        dead: Messages that are not tried again by themselves.
        queued: Messages that are.
        oldest_at: When the first of them came.
        next_at: When the first of them is tried next.
        message: What Salesforce said to the latest of them.
        examples: Some of them, the latest first, as `relay log --json` has them.
    """

    code: str
    category: Category
    meaning: str
    remedy: str
    fate: str
    dead: int
    queued: int
    oldest_at: datetime
    next_at: datetime | None
    message: str = ""
    examples: tuple[dict[str, Any], ...] = ()

    @property
    def count(self) -> int:
        """Return how many messages there are."""
        return self.dead + self.queued

    def as_json(self) -> dict[str, Any]:
        """Return the stable names."""
        return {
            "code": self.code,
            "category": self.category.value,
            "message": self.message,
            "meaning": self.meaning,
            "remedy": self.remedy,
            "fate": self.fate,
            "dead": self.dead,
            "queued": self.queued,
            "oldest_at": self.oldest_at,
            "next_at": self.next_at,
            "examples": [one["id"] for one in self.examples],
        }


@dataclass(frozen=True, slots=True)
class PausedOrg:
    """An org for which nothing is done now, and why."""

    org: str
    pause: Pause
    category: Category | None
    meaning: str
    remedy: str


async def failing(store: Store, who: Caller) -> list[Failing]:
    """Return what fails by code: by category, then the most messages first."""
    counted: dict[str, list[Waiting]] = {}
    for one in await store.log.waiting(who.own_only):
        if one.state in FAILING and one.reason:
            counted.setdefault(one.reason, []).append(one)
    found = []
    for code, rows in counted.items():
        if rule_of_reason(code) is None:
            continue
        examples = await store.log.find(
            _filter(who, code, newest_first=True, limit=EXAMPLES)
        )
        said = await _said(store, str(examples[0]["id"])) if examples else ""
        row = rule_of_reason(code, said)
        if row is not None:
            # The text of an attempt repeats the sentence of the row before it.
            own = said.partition(row.sentence)[2].strip().removeprefix("(")
            words = own.removesuffix(")") if row.sentence in said else said
            found.append(_failing(code, row, rows, words, examples))
    return sorted(
        found, key=lambda one: (_ORDER.index(one.category), -one.count, one.code)
    )


async def _said(store: Store, id_: str) -> str:
    """Return what the last attempt of a message came to, in words."""
    attempts = await store.log.attempts(id_)
    return str(attempts[-1]["detail"]) if attempts else ""


def _failing(
    code: str,
    row: Rule,
    rows: Iterable[Waiting],
    said: str,
    examples: Iterable[dict[str, Any]],
) -> Failing:
    rows = list(rows)
    next_at = [one.next_at for one in rows if one.next_at is not None]
    return Failing(
        code,
        row.category,
        row.meaning,
        row.remedy,
        row.fate,
        sum(one.count for one in rows if one.state is State.DEAD),
        sum(one.count for one in rows if one.state is State.QUEUED),
        min(one.oldest_at for one in rows),
        min(next_at, default=None),
        said,
        tuple(examples),
    )


async def paused(store: Store) -> list[PausedOrg]:
    """Return the orgs for which nothing is done now."""
    found = []
    for org, pause in await store.pauses.all():
        row = rule_of_reason(pause.code, pause.text)
        found.append(
            PausedOrg(
                org,
                pause,
                row.category if row else None,
                row.meaning if row else pause.text,
                row.remedy if row else PAUSE_HINTS.get(pause.reason, ""),
            )
        )
    return found


# ------------------------------------------------------------------ trying again


async def count(store: Store, who: Caller, code: str) -> int:
    """Return how many messages `retry` would try again.

    Raises:
        InvalidInput: It is no code of Salesforce.
    """
    _need_code(code)
    return await mails.count(store, Event.REQUEUE, _filter(who, code))


async def retry(
    store: Store, who: Caller, code: str, expected: int
) -> tuple[list[Change], int | None]:
    """Try all messages again that failed with a code, if they are as many as shown.

    Returns:
        The changes, and the number by which they can be taken back.

    Raises:
        InvalidInput: It is no code of Salesforce.
        Conflict: There are others by now; nothing was changed.
    """
    number = await count(store, who, code)
    if number != expected:
        text = f"{number} messages fail so by now, and not {expected}; look again"
        raise Conflict(text)
    act = mails.act_of(who)
    changes = await mails.apply(store, Event.REQUEUE, _filter(who, code), act)
    return changes, act.number


def _need_code(code: str) -> None:
    if rule_of_reason(code) is None:
        raise InvalidInput(f"{code!r} is no code of Salesforce", "see Diagnostics")


def _filter(who: Caller, code: str, **more: Any) -> LogFilter:
    own = () if who.own_only is None else (who.own_only,)
    states = tuple(state.value for state in FAILING)
    return LogFilter(
        states=states, reasons=(code,), user_ids=own, refused=False, **more
    )
