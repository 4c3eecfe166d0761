"""The notices at work: plan what happened, send what is due, until asked to stop.

Notices are rows of the outbox with a plain client: nothing is marked before a request,
since no smarthost can be asked whether it has a mail. A notice without an answer, or
whose process was killed, is sent again. It may then come twice, under one Message-ID:
rather than not at all.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from relay.core.addresses import address_key, covers
from relay.core.notices import NO_ANSWER, NoticeKind, NoticeUpdate
from relay.core.states import ActivityState
from relay.core.translate import texts
from relay.notices.letters import letter, mail
from relay.notices.planner import Planner, zone_of
from relay.notices.smarthost import Rest, Smarthost, SmarthostError
from relay.outbox.engine import Client, Outbox, Result
from relay.outbox.turns import Turns
from relay.salesforce import WriteOutcome
from relay.salesforce.model import WriteState
from relay.telemetry import get_logger, metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from relay.config import NoticesSettings
    from relay.core.clock import Clock
    from relay.core.directory import Directory
    from relay.core.notices import NoticeRow
    from relay.core.queue import LeaseOwner
    from relay.outbox.backoff import Backoff
    from relay.outbox.engine import Change
    from relay.store import Store

    ReleaseURL = Callable[[str, str], str]
    """Returns the link by which the owner of an address releases a held message."""

BATCH: Final = 10
"""Notices in one session; few, so that the last is sent well within the lease."""
LEASE_S: Final = 300.0
POLL_S: Final = 2.0
TIDY_S: Final = 3600.0

_EVENTS: Final = {
    ActivityState.WRITTEN: "notice_sent",
    ActivityState.REFUSED: "notice_refused",
    ActivityState.PLANNED: "notice_put_off",
}

logger = get_logger(__name__)


class NoticeService:
    """Plans and sends notices in one process; several relays share the work."""

    def __init__(
        self,
        settings: NoticesSettings,
        store: Store,
        clock: Clock,
        owner: LeaseOwner,
        backoff: Backoff,
        *,
        directory: Callable[[], Directory],
        release_url: ReleaseURL | None = None,
        poll_s: float = POLL_S,
    ) -> None:
        """Put the parts together; nothing is started.

        Args:
            settings: The section `notices`; with a smarthost.
            store: Holds the notices.
            clock: For due times.
            owner: This process.
            backoff: Says when a failed notice is tried again, and when no more.
            directory: Returns the present directory.
            release_url: Makes the link that releases a held message, if there are
                such links.
            poll_s: How often the journal and the notices are looked at.
        """
        self._settings = settings
        self._store = store
        self._clock = clock
        self._owner = replace(owner, worker="notices")
        self._planner = Planner(
            settings, store, clock, self._owner, directory=directory
        )
        smarthost = Smarthost(settings, clock)
        self._client = NoticeClient(
            settings,
            store,
            clock,
            self._owner,
            backoff,
            smarthost=smarthost,
            directory=directory,
            release_url=release_url,
        )
        self._outbox = Outbox(clock)
        self._turns = Turns(poll_s)
        self._tidied_s = float("-inf")
        self._rest = Rest(clock)

    def start(self) -> None:
        """Begin to plan and to send, apart: a slow smarthost delays no plan."""
        self._turns.begin(self.plan, "notices_not_planned")
        self._turns.begin(self.send, "notices_not_sent")

    async def drain(self, timeout_s: float) -> None:
        """Finish the session that is open, then stop; what is left is sent later."""
        await self._turns.drain(timeout_s)

    async def plan(self) -> bool:
        """Plan what is new. Says False: the journal is looked at by time, not at once.

        Raises:
            StoreUnavailable: The next turn begins where this one did.
        """
        new = await self._planner.turn()
        if new:
            logger.info("notices_planned", events=new)
        now_s = self._clock.boottime_s()
        if now_s - self._tidied_s >= TIDY_S:
            self._tidied_s = now_s
            await self._store.notices.purge(timedelta(days=self._settings.keep_days))
        return False

    async def send(self) -> bool:
        """Send the notices that are due; say whether there were any.

        Raises:
            StoreUnavailable: Notices may stay leased; they are sent after the lease.
        """
        if self._rest.holds:
            return False
        rows = await self._store.notices.claim(self._owner, BATCH, LEASE_S)
        if not rows:
            return False
        self._client.deadline_s = self._clock.boottime_s() + LEASE_S / 2
        try:
            await self._outbox.send(self._client, rows)
        except SmarthostError as error:
            self._rest.begin(error)
        else:
            self._rest.end()
        return True


class NoticeClient(Client["NoticeRow"]):
    """The notices as rows of the outbox.

    Attributes:
        deadline_s: Boot time after which nothing more is sent of this turn.
    """

    def __init__(
        self,
        settings: NoticesSettings,
        store: Store,
        clock: Clock,
        owner: LeaseOwner,
        backoff: Backoff,
        *,
        smarthost: Smarthost,
        directory: Callable[[], Directory],
        release_url: ReleaseURL | None,
    ) -> None:
        """Keep the parts."""
        self._settings = settings
        self._store = store
        self._clock = clock
        self._owner = owner
        self._backoff = backoff
        self._smarthost = smarthost
        self._directory = directory
        self._release_url = release_url
        self.deadline_s = float("inf")

    async def request(
        self, rows: Sequence[NoticeRow], *, not_after_boottime_s: float
    ) -> Sequence[WriteOutcome]:
        """Send notices in one session; return an outcome for each.

        The engine's limit is for rows that are marked; a notice has until its lease.

        Raises:
            SmarthostError: Nothing was sent.
        """
        del not_after_boottime_s
        outcomes: list[WriteOutcome] = []
        mails: list[tuple[str, str, bytes]] = []
        for row in rows:
            try:
                mails.append((row.key, row.recipient, self._mail(row)))
            except ValueError as error:
                text = f"the mail cannot be made: {error}"
                outcomes.append(WriteOutcome(row.key, WriteState.REFUSED, text=text))
        if mails:
            outcomes += await self._smarthost.send(
                mails, not_after_boottime_s=self.deadline_s
            )
        return outcomes

    def _mail(self, row: NoticeRow) -> bytes:
        directory = self._directory()
        user = None if row.user_id is None else directory.users.get(row.user_id)
        links: dict[str, str] = {}
        url = self._release_url
        if url and row.kind is NoticeKind.HELD and self._may_release(row, directory):
            for item in row.items:
                ident = str(item.facts.get("id") or "")
                links[ident] = url(ident, row.recipient)
        said = texts(directory.language_of(row.user_id))
        made = letter(row, zone_of(user, self._settings), links, said)
        return mail(row, made, self._settings)

    def _may_release(self, row: NoticeRow, directory: Directory) -> bool:
        """Say whether the recipient is an accepted address: no other may release."""
        key = address_key(row.recipient)
        accepted = directory.accepted.get(row.user_id or 0, frozenset())
        return key is not None and any(covers(one, key) for one in accepted)

    async def take(self, changes: Sequence[Change[NoticeRow]]) -> None:
        """Write down what became of notices.

        Raises:
            StoreUnavailable: They stay leased, and are sent again after the lease.
        """
        updates = [self._update(change) for change in changes]
        await self._store.notices.settle(self._owner, updates)
        for change, update in zip(changes, updates, strict=True):
            metrics.NOTICES_SENT.labels(str(change.row.kind), str(update.state)).inc()
            logger.info(
                _EVENTS[update.state],
                notice=change.row.id,
                kind=str(change.row.kind),
                recipient=change.row.recipient,
                error=update.error,
            )

    def _update(self, change: Change[NoticeRow]) -> NoticeUpdate:
        row, now = change.row, self._clock.now()
        if change.result in {Result.WRITTEN, Result.REFUSED}:
            return NoticeUpdate(row.key, change.state, change.error)
        error = change.error or "the smarthost did not answer in time"
        if row.error.startswith(NO_ANSWER) and not error.startswith(NO_ANSWER):
            # It stays true that the notice may be out already.
            error = f"{NO_ANSWER} before; {error}"
        if self._backoff.too_old(now, row.failing_since):
            return NoticeUpdate(
                row.key, ActivityState.REFUSED, f"given up after days: {error}"
            )
        due_at = self._backoff.retry_at(now, row.failures + 1, change.wait_s)
        return NoticeUpdate(row.key, ActivityState.PLANNED, error, due_at)
