"""The gate between the queue and the org: when work may be tried, and how much.

Where no record can fare better than the last one (the login is refused, the calls are
used up, Salesforce is down), the org rests: messages are given back without counting
an attempt, nothing is claimed, mail is still accepted. When the rest is over, one mail
probes the org, or, where none is due, a small call: files and handovers wait as well.
Each failure makes the next rest longer, and after a success the batches grow from one
mail to full ones.

The pause is also a note in the store, so that `relay check` and processes without a
worker can tell it. Notes are for people: that one cannot be written stops nothing.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from relay.core.errors import (
    CredentialsRefused,
    OrgPaused,
    RelayError,
    SalesforceDown,
    SalesforceLimited,
    StoreUnavailable,
    TransientError,
)
from relay.core.states import ActivityState
from relay.salesforce.errors import rule
from relay.telemetry import get_logger, metrics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.config import SalesforceSettings
    from relay.core.clock import Clock
    from relay.core.model import Json
    from relay.outbox.batch import BatchMail
    from relay.salesforce import Org
    from relay.store import Store

PAUSE_NOTE: Final = "salesforce.pause"
"""Where the store keeps the pause: the fields of `Pause`, or null."""
USAGE_NOTE: Final = "salesforce.usage"
"""Where the store keeps the budget over a restart."""
USAGE_EVERY_S: Final = 15.0

DOWN_FIRST_S: Final = 1.0
"""First rest of an org that is down; doubles up to `DOWN_MAX_S`."""
DOWN_MAX_S: Final = 60.0
REFUSED_FIRST_S: Final = 10.0
"""First rest of an org that refuses; doubles up to what the error table knows, and to
`salesforce.pause_max_s`: a quota of which a little is left comes back in moments."""
GROWTH: Final = 10
"""By how much batches grow after a pause, from one mail on."""

PausingError = OrgPaused | SalesforceDown

logger = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Pause:
    """Why no work is done for the org, since when, and when it is tried again.

    Attributes:
        since: When the org began to rest.
        until: When a mail, or a small call, may probe it.
        reason: `credentials`, `quota`, `budget`, `down` or `access`.
        code: Salesforce's code, an HTTP status, or a word for the transport.
        text: The sentence for the admin.
        probes: How often it was tried in vain.
    """

    since: datetime
    until: datetime
    reason: str
    code: str
    text: str
    probes: int = 0

    @property
    def report(self) -> str:
        """Return the pause in one line for people."""
        return (
            f"paused since {_minute(self.since)} ({self.reason}), next try "
            f"{_minute(self.until)}: {self.text}"
        )

    def as_json(self) -> dict[str, Any]:
        """Return the form of the note."""
        kept = dataclasses.asdict(self)
        return kept | {
            "since": self.since.isoformat(),
            "until": self.until.isoformat(),
        }


def read_pause(note: Json) -> Pause | None:
    """Return the pause that a note tells; None where it tells none."""
    if not isinstance(note, dict):
        return None
    try:
        return Pause(
            datetime.fromisoformat(note["since"]),
            datetime.fromisoformat(note["until"]),
            str(note["reason"]),
            str(note["code"]),
            str(note["text"]),
            int(note["probes"]),
        )
    except (KeyError, TypeError, ValueError):
        return None


def pausing(
    works: Sequence[BatchMail], trouble: TransientError | None
) -> PausingError | None:
    """Return the error for which the org rests, or None.

    A call that failed as a whole says it for all. What single records were answered
    counts only where no other record of the batch got through: one bad record must not
    stop its neighbours.
    """
    if isinstance(trouble, OrgPaused | SalesforceDown):
        return trouble
    told = [w.error for w in works if isinstance(w.error, OrgPaused | SalesforceDown)]
    if not told or any(
        work.of(ActivityState.WRITTEN, ActivityState.REFUSED) for work in works
    ):
        return None
    return told[0]


class CircuitBreaker:
    """Knows whether the org rests; one for all lanes of a worker."""

    def __init__(
        self, settings: SalesforceSettings, store: Store, org: Org, clock: Clock
    ) -> None:
        """Start open; nothing is read yet."""
        self._settings = settings
        self._store = store
        self._org = org
        self._clock = clock
        self._answers = 0
        self._grown: int | None = None
        self._last_batch_s = float("-inf")
        self._noted_s = float("-inf")
        self._noted: Json = None
        self.pause: Pause | None = None

    async def start(self) -> None:
        """Take over what was used before a restart; a restart ends a pause."""
        try:
            self._org.budget.load(await self._store.shared.get(USAGE_NOTE))
            if await self._store.shared.get(PAUSE_NOTE) is not None:
                await self._store.shared.set(PAUSE_NOTE, None)
        except StoreUnavailable as error:
            logger.warning("note_not_read", error=str(error))

    async def stop(self) -> None:
        """Keep what must outlive the process; a pause does not."""
        await self._keep(USAGE_NOTE, self._org.budget.as_json())
        if self.pause:
            await self._keep(PAUSE_NOTE, None)

    def report(self) -> tuple[bool, str]:
        """Say whether the org works, and why not or how long its calls last."""
        if self.pause:
            return False, self.pause.report
        return True, self._org.budget.sentence()

    # ------------------------------------------------------------ before a batch

    async def wait_s(self) -> float:
        """Return seconds until work may be tried; 0 for now."""
        await self._watch_budget()
        if self.pause:
            return max(0.0, (self.pause.until - self._clock.now()).total_seconds())
        pace_s = self._org.budget.pace_s()
        return max(0.0, self._last_batch_s + pace_s - self._clock.boottime_s())

    def size(self, batch: int) -> int:
        """Return how many messages to claim: one probes, then they grow."""
        if self.pause:
            return 1
        if self._grown is None:
            return batch
        size = int(GROWTH**self._grown)
        if size >= batch:
            self._grown = None
        return min(size, batch)

    def begin(self) -> None:
        """Note that a batch sets off."""
        self._last_batch_s = self._clock.boottime_s()

    async def probe(self) -> None:
        """Ask the org something small, where its rest is over and no mail is due."""
        try:
            await self._org.ping()
        except (OrgPaused, SalesforceDown) as error:
            await self.trip(error)
        except RelayError as error:
            code = getattr(error, "code", "") or type(error).__name__
            await self.trip(SalesforceDown(str(error), code=code))
        else:
            await self.went_through()

    # ------------------------------------------------------------ after a batch

    async def trip(self, error: PausingError) -> None:
        """Let the org rest, longer after each probe in vain."""
        before = self.pause
        probes = before.probes + 1 if before else 0
        reason = _reason(error)
        await self._rest(reason, error.code, str(error), self._rest_s(error, probes))

    async def went_through(self) -> None:
        """Note that a batch met nothing that pauses; ends the pause it probed.

        Only a call that Salesforce answered proves anything: a mail that a rule
        settles makes none.
        """
        answered = self._org.stats.answers > self._answers
        self._answers = self._org.stats.answers
        if not answered:
            return
        if self.pause is None:
            if self._grown is not None:
                self._grown += 1
            return
        if text := self._org.budget.exhausted():
            await self._rest("budget", "budget", text, self._settings.pause_max_s)
            return
        logger.info("org_resumed", reason=self.pause.reason, code=self.pause.code)
        self.pause = None
        self._grown = 1
        metrics.ORG_PAUSED.set(0)
        metrics.ORG_PAUSED_SINCE.set(0)
        await self._keep(PAUSE_NOTE, None)

    # ------------------------------------------------------------ inside

    async def _rest(self, reason: str, code: str, text: str, wait_s: float) -> None:
        now, before = self._clock.now(), self.pause
        self.pause = Pause(
            before.since if before else now,
            now + timedelta(seconds=wait_s),
            reason,
            code,
            text,
            before.probes + 1 if before else 0,
        )
        self._answers = self._org.stats.answers
        self._grown = 0
        if before is None or before.reason != reason:
            logger.error(
                "org_paused", reason=reason, code=code, error=text, wait_s=wait_s
            )
            metrics.ORG_PAUSES.labels(reason).inc()
        metrics.ORG_PAUSED.set(1)
        metrics.ORG_PAUSED_SINCE.set(self.pause.since.timestamp())
        await self._keep(PAUSE_NOTE, self.pause.as_json())

    def _rest_s(self, error: PausingError, probes: int) -> float:
        asked = error.retry_after_s
        growth = 2.0 ** min(probes, 16)
        if isinstance(error, SalesforceDown):
            wait = max(min(DOWN_FIRST_S * growth, DOWN_MAX_S), asked or 0.0)
        elif asked is None:
            wait = REFUSED_FIRST_S * growth
        elif asked == rule(error.code).retry_after_s:
            wait = min(REFUSED_FIRST_S * growth, asked)
        else:
            wait = asked  # The answer itself asks for it, or the login's quiet time.
        return min(wait, self._settings.pause_max_s)

    async def _watch_budget(self) -> None:
        """Rest before the calls are used up; keep what is used, now and then."""
        budget = self._org.budget
        if self.pause is None and (text := budget.exhausted()):
            await self._rest("budget", "budget", text, self._settings.pause_max_s)
        now_s = self._clock.boottime_s()
        if now_s - self._noted_s >= USAGE_EVERY_S:
            self._noted_s = now_s
            budget.publish()
            kept = budget.as_json()
            if kept != self._noted:
                self._noted = kept
                await self._keep(USAGE_NOTE, kept)

    async def _keep(self, key: str, value: Json) -> None:
        try:
            await self._store.shared.set(key, value)
        except StoreUnavailable as error:
            logger.warning("note_not_kept", note=key, error=str(error))


def _reason(error: PausingError) -> str:
    if isinstance(error, SalesforceDown):
        return "down"
    if isinstance(error, CredentialsRefused):
        return "credentials"
    return "quota" if isinstance(error, SalesforceLimited) else "access"


def _minute(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%SZ")
