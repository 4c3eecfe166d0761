"""The circuit breaker before the org: when work may be tried, and how much.

Where no record can fare better than the last one (the login is refused, calls are
used up, Salesforce is down), the org is paused: messages are given back without
counting an attempt, nothing is claimed, mail is still accepted. When the pause is over,
one mail probes the org, or, where none is due, a small call: files and owner changes
wait as well. Each failure makes the next pause longer, and after a success the batches
grow from one mail to full ones.

The pause and the calls that are used are the database's, so that they hold for all
relays on it: one relay trips and all pause, one of them probes under a lease, and all
see how that ended. A relay reads the pause once a second, and adds its calls every few
seconds, or once a second where few are left. While the database does not
answer, a relay goes by what it knows itself.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from relay.core.errors import (
    CredentialsRefused,
    OrgPaused,
    RelayError,
    SalesforceDown,
    SalesforceLimited,
    StoreUnavailable,
    TransientError,
)
from relay.core.shared import Pause, PauseState
from relay.core.states import ActivityState
from relay.salesforce.errors import rule
from relay.telemetry import get_logger, metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from relay.config import SalesforceSettings
    from relay.core.clock import Clock
    from relay.core.queue import LeaseOwner
    from relay.core.shared import CallReading
    from relay.outbox.batch import BatchMail
    from relay.salesforce import Org
    from relay.store import Store

USAGE_EVERY_S: Final = 5.0
"""How often a relay adds its calls to those of all relays while many are left."""
PAUSE_EVERY_S: Final = 1.0
"""How often a relay looks whether another one has paused the org, or ended that."""
PROBE_LEASE_S: Final = 60.0
"""How long a probe is another relay's affair, at least. A probe takes longer only where
calls time out one after another; then a second relay probes as well."""
PROBE_WAIT_S: Final = 0.5
"""How often a relay looks whether another one's probe has ended."""

DOWN_FIRST_S: Final = 1.0
"""First pause of an org that is down; doubles up to `DOWN_MAX_S`."""
DOWN_MAX_S: Final = 60.0
REFUSED_FIRST_S: Final = 10.0
"""First pause of an org that refuses; doubles up to what the error table knows, and to
`salesforce.pause_max_s`: a quota of which a little is left comes back in moments."""
GROWTH: Final = 10
"""By how much batches grow after a pause, from one mail on."""

PausingError = OrgPaused | SalesforceDown

logger = get_logger(__name__)


def pausing(
    mails: Sequence[BatchMail], error: TransientError | None
) -> PausingError | None:
    """Return the error for which the org is paused, or None.

    `error` is the failure of a call as a whole, which holds for all. An answer about a
    single record counts only where no other record of the batch got through: one bad
    record must not stop its neighbours.
    """
    if isinstance(error, OrgPaused | SalesforceDown):
        return error
    errors = [m.error for m in mails if isinstance(m.error, OrgPaused | SalesforceDown)]
    through = (ActivityState.WRITTEN, ActivityState.REFUSED)
    if not errors or any(mail.of(*through) for mail in mails):
        return None
    return errors[0]


class CircuitBreaker:
    """Knows whether the org is paused; one for all lanes of a worker."""

    def __init__(
        self,
        settings: SalesforceSettings,
        store: Store,
        org: Org,
        clock: Clock,
        owner: LeaseOwner,
    ) -> None:
        """Start closed, as if the org were in use; nothing is read yet."""
        self._settings = settings
        self._store = store
        self._org = org
        self._clock = clock
        self._owner = owner
        self._address = str(settings.instance_url)
        self._answers = 0
        self._grown: int | None = None
        self._last_batch_s = float("-inf")
        self._counted_s = float("-inf")
        self._read_s = float("-inf")
        self._version = 0
        self._kept = True
        """Whether the database has what this relay knows of the pause."""
        self._probing = False
        self._reading: CallReading | None = None
        """What Salesforce said last, as the database has it."""
        self.pause: Pause | None = None

    async def start(self, is_alive: Callable[[str], bool] | None = None) -> None:
        """Take over what all relays used, and the pause.

        A restart that may have removed the cause of the pause lets one mail probe the
        org at once.

        Args:
            is_alive: Says whether the process of a lease's owner may still run; None:
                every one may.
        """
        budget = self._org.budget
        try:
            budget.load(await self._store.usage.get())
            # The settings that a restart takes over may have caused these.
            reasons = {"credentials", "access"}
            if budget.exhausted() is None:
                reasons.add("budget")
            await self._store.pauses.hurry(
                self._address, self._owner, is_alive or (lambda _: True), reasons
            )
        except StoreUnavailable as error:
            logger.warning("note_not_read", error=str(error))
        await self.follow()

    async def stop(self) -> None:
        """Add the last calls; a pause stays for the other relays, and for a restart."""
        await self._add_calls()
        await self._end_probe()

    async def report(self) -> tuple[bool, str]:
        """Say whether the org works, and why not or how long its calls last."""
        await self.follow()
        if self.pause:
            return False, self.pause.report
        return True, self._org.budget.sentence()

    # ------------------------------------------------------------ with other relays

    async def follow(self, *, now: bool = False) -> None:
        """Go by the pause in the database, at most a second old, or as of `now`."""
        now_s = self._clock.boottime_s()
        if now_s - self._read_s < PAUSE_EVERY_S and not now:
            return
        self._read_s = now_s
        try:
            if not self._kept:
                await self._keep()
            self._adopt(await self._store.pauses.get(self._address))
        except StoreUnavailable as error:
            logger.warning("note_not_read", error=str(error))

    def _adopt(self, state: PauseState) -> None:
        """Go by what the database has, where a relay has changed it.

        An answer that was read before this relay's own last change is out of date.
        """
        if state.version <= self._version:
            return
        self._version = state.version
        self._kept = True
        before, self.pause = self.pause, state.pause
        if state.pause is not None:
            self._answers = self._org.stats.answers
            self._grown = 0
            if before is None or before.reason != state.pause.reason:
                logger.warning(
                    "org_pause_followed",
                    reason=state.pause.reason,
                    code=state.pause.code,
                    error=state.pause.text,
                )
        elif before is not None:
            self._grown = 1
            logger.info("org_resumed", reason=before.reason, code=before.code)
        self._publish()

    async def _keep(self) -> None:
        """Write the pause, or its end, where no other relay has changed it."""
        if self.pause is None:
            state = await self._store.pauses.end(self._address, self._version)
        else:
            state = await self._store.pauses.trip(
                self._address, self._owner, self.pause, self._version
            )
        if state.pause == self.pause:
            self._version = state.version
            self._kept = True
        else:
            self._adopt(state)

    async def _share(self) -> None:
        """Tell the other relays what has become of the pause, now or a moment later."""
        self._kept = False
        try:
            await self._keep()
        except StoreUnavailable as error:
            logger.warning("note_not_kept", note="pause", error=str(error))
        await self._end_probe()
        self._publish()

    async def _begin_probe(self) -> bool:
        """Say whether this relay may probe the org: one at a time does.

        Raises:
            StoreUnavailable: It may not.
        """
        lease_s = max(PROBE_LEASE_S, 3 * self._settings.timeout_s)
        taken = await self._store.leases.take(self._lease, self._owner, lease_s)
        if not taken:
            await self.follow(now=True)
            return False
        self._probing = True
        # Another relay may have probed since this one looked.
        await self.follow(now=True)
        if self.pause is not None and self.pause.until > self._clock.now():
            await self._end_probe()
            return False
        return True

    async def _end_probe(self) -> None:
        if not self._probing:
            return
        self._probing = False
        try:
            await self._store.leases.release(self._lease, self._owner)
        except StoreUnavailable as error:
            # It ends by itself.
            logger.warning("probe_lease_not_released", error=str(error))

    @property
    def _lease(self) -> str:
        return f"probe {self._address}"

    # ------------------------------------------------------------ before a batch

    async def wait_s(self) -> float:
        """Return seconds until work may be tried; 0 for now.

        Raises:
            StoreUnavailable: The pause is over, and the database does not say whether
                another relay probes the org.
        """
        await self.follow()
        await self._watch_budget()
        if self.pause:
            left_s = (self.pause.until - self._clock.now()).total_seconds()
            if left_s > 0:
                return left_s
            if not await self._begin_probe():
                return PROBE_WAIT_S
            return 0.0
        # Another relay may have ended the pause that this one was about to probe.
        await self._end_probe()
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
        """Remember when a batch begins."""
        self._last_batch_s = self._clock.boottime_s()

    async def probe(self) -> None:
        """Ask the org something small, where the pause is over and no mail is due."""
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
        """Pause the org, longer after each probe that failed."""
        before = self.pause
        probes = before.probes + 1 if before else 0
        reason = _reason(error)
        await self._pause(reason, error.code, str(error), self._pause_s(error, probes))

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
            await self._pause("budget", "budget", text, self._settings.pause_max_s)
            return
        logger.info("org_resumed", reason=self.pause.reason, code=self.pause.code)
        self.pause = None
        self._grown = 1
        await self._share()

    # ------------------------------------------------------------ inside

    async def _pause(self, reason: str, code: str, text: str, wait_s: float) -> None:
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
        await self._share()

    def _pause_s(self, error: PausingError, probes: int) -> float:
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
        """Pause before the calls are used up; add what this relay used, now and then.

        Where few are left the sum of all relays is read once a second.
        """
        budget = self._org.budget
        now_s = self._clock.boottime_s()
        few_left = budget.near and self.pause is None
        every_s = PAUSE_EVERY_S if few_left else USAGE_EVERY_S
        if now_s - self._counted_s >= every_s:
            self._counted_s = now_s
            await self._add_calls()
        if self.pause is None and budget.exhausted():
            # The calls that pause the org must outlive this process.
            await self._add_calls()
            if text := budget.exhausted():
                await self._pause("budget", "budget", text, self._settings.pause_max_s)

    async def _add_calls(self) -> None:
        """Add this relay's calls to those of all relays, and take over the sum."""
        budget, usages = self._org.budget, self._store.usage
        made, reading = budget.pending(), budget.last_reading()
        try:
            if made or reading != self._reading:
                usage = await usages.add(self._owner.host, made, reading)
            else:
                usage = await usages.get()
        except StoreUnavailable as error:
            logger.warning("note_not_kept", note="usage", error=str(error))
        else:
            budget.load(usage, made)
            self._reading = budget.last_reading()
        budget.publish()

    def _publish(self) -> None:
        """Bring the metrics of the pause up to date."""
        since = 0.0 if self.pause is None else self.pause.since.timestamp()
        metrics.ORG_PAUSED.set(0 if self.pause is None else 1)
        metrics.ORG_PAUSED_SINCE.set(since)


def _reason(error: PausingError) -> str:
    if isinstance(error, SalesforceDown):
        return "down"
    if isinstance(error, CredentialsRefused):
        return "credentials"
    return "quota" if isinstance(error, SalesforceLimited) else "access"
