"""How much waits, for what, since when; and whether the org can be used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from relay.diagnose.activation import org_switch
from relay.diagnose.hints import PAUSE_HINTS

if TYPE_CHECKING:
    from datetime import datetime

    from relay.config import Settings
    from relay.core.model import Waiting
    from relay.core.shared import Pause
    from relay.diagnose.activation import OrgSwitch
    from relay.store import Store


@dataclass(frozen=True, slots=True)
class Status:
    """The relay at a glance.

    Attributes:
        at: When it was asked.
        switch: Whether relay addresses accept mail at all.
        pause: Why no work is done for the org; None: it is used.
        waiting: Messages that wait, by state and reason.
    """

    at: datetime
    switch: OrgSwitch
    pause: Pause | None
    waiting: tuple[Waiting, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the stable names."""
        pause = self.pause
        return {
            "at": self.at,
            "logging": {
                "active": self.switch.is_on,
                "since": self.switch.at,
                "by": self.switch.by,
            },
            "pause": None
            if pause is None
            else {
                "reason": pause.reason,
                "code": pause.code,
                "text": pause.text,
                "since": pause.since,
                "until": pause.until,
                "hint": PAUSE_HINTS.get(pause.reason, ""),
            },
            "waiting": [waiting_row(one) for one in self.waiting],
        }


def waiting_row(one: Waiting) -> dict[str, Any]:
    """Return the stable names of a count."""
    return {
        "state": one.state.value,
        "reason": one.reason,
        "count": one.count,
        "oldest_at": one.oldest_at,
        "next_at": one.next_at,
    }


async def status(store: Store, settings: Settings, now: datetime) -> Status:
    """Return how the relay is, from the store alone; Salesforce is not asked."""
    pause = (await store.pauses.get(str(settings.salesforce.instance_url))).pause
    return Status(
        now,
        await org_switch(store),
        pause,
        tuple(await store.log.waiting()),
    )
