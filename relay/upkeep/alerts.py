"""Looks whether something is wrong, raises alerts, and calls the webhook.

The rules about the org, the queue, the refusals and the users are looked at by one
relay of several, by a lease; those about files and disks by each, for its own machine.
The store raises one alert for a rule and a subject, whoever finds it, and plans how it
is told in the same transaction. Calls of the webhook are rows: one whose process was
killed is made again, under the same id. Mails are notices (`relay.notices`).

An alert that was raised at a threshold ends a little beside it, so that a value which
goes up and down around it is told once.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Final

from relay.console.alerts import teller, thresholds
from relay.console.people import users
from relay.core.alerts import AlertEvent, AlertRule, Finding, Look, stamp
from relay.core.states import ActivityState, State
from relay.diagnose.machine import certificate_end
from relay.outbox.turns import Turns
from relay.store.alerts import CallUpdate
from relay.telemetry import get_logger, metrics
from relay.upkeep.webhook import call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from pathlib import Path

    from relay.config import AlertsSettings, Settings
    from relay.core.clock import Clock
    from relay.core.directory import Directory
    from relay.core.queue import LeaseOwner
    from relay.outbox.backoff import Backoff
    from relay.store import Store
    from relay.store.alerts import WebhookCall

LEASE: Final = "alerts"
BATCH: Final = 5
"""Webhook calls at a time; each may take `alerts.webhook_timeout_s`."""
POLL_S: Final = 2.0
SELDOM_S: Final = 3600.0
"""How often it is looked at what changes slowly: users, certificates, old rows."""
USUAL_HOURS: Final = 24 * 7
HOUR: Final = timedelta(hours=1)
STALE: Final = timedelta(hours=24)
"""An older report of Salesforce says nothing: its calls are free again."""
_QUOTA_PAUSES: Final = frozenset({"quota", "budget"})
_QUOTA_BELOW: Final = 0.05
_REFUSALS_PART: Final = 0.5
_DISK_TIMES: Final = 1.25

_OF_ALL: Final = frozenset(
    {AlertRule.CONNECTION, AlertRule.QUOTA, AlertRule.QUEUE, AlertRule.REFUSALS}
)

_EVENTS: Final = {
    AlertEvent.RAISED: "alert_raised",
    AlertEvent.STILL: "alert_holds_still",
    AlertEvent.CLEARED: "alert_cleared",
}

logger = get_logger(__name__)


class Alerter:
    """Looks at the rules and calls the webhook, in one process."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        clock: Clock,
        owner: LeaseOwner,
        backoff: Backoff,
        *,
        directory: Callable[[], Directory],
        poll_s: float = POLL_S,
    ) -> None:
        """Keep the parts; nothing is started.

        Args:
            settings: The whole configuration.
            store: Holds the alerts.
            clock: For ages and due times.
            owner: This process.
            backoff: Says when a failed call is made again, and when no more.
            directory: Returns the present directory.
            poll_s: How often it is looked whether something is due.
        """
        self._settings = settings
        self._store = store
        self._clock = clock
        self._owner = replace(owner, worker="alerts")
        self._backoff = backoff
        self._directory = directory
        self._turns = Turns(poll_s)
        self._due_s = self._seldom_s = self._files_s = float("-inf")
        self._usual = 0.0

    def start(self) -> None:
        """Begin to look and to call, apart: a slow receiver delays no look."""
        self._turns.begin(self.look, "alerts_not_looked")
        self._turns.begin(self.send, "webhook_not_called")

    async def drain(self, timeout_s: float) -> None:
        """Finish the call that is under way, then stop."""
        await self._turns.drain(timeout_s)

    # ------------------------------------------------------------ looking

    async def look(self) -> bool:
        """Look at the rules if it is time; says False: nothing more is to be done.

        Raises:
            StoreUnavailable: The store could not be used; it is looked again.
        """
        now_s = self._clock.boottime_s()
        every_s = self._settings.alerts.check_s
        if now_s < self._due_s:
            return False
        self._due_s = now_s + every_s
        rules = thresholds(self._settings.alerts, self._directory())
        await self._take(self._disk(rules), rules)
        if now_s - self._files_s >= SELDOM_S:
            certificates = await asyncio.to_thread(self._certificates, rules)
            await self._take(certificates, rules)
            self._files_s = now_s
        lease_s = max(60.0, 3 * every_s)
        if not await self._store.leases.take(LEASE, self._owner, lease_s):
            return False
        if now_s - self._seldom_s >= SELDOM_S:
            await self._count_usual()
            await self._take(await self._silent(rules), rules)
            keep = timedelta(days=self._settings.alerts.keep_days)
            await self._store.alerts.purge(keep)
            self._seldom_s = now_s
        await self._take(await self._of_all(rules), rules)
        return False

    async def _take(self, look: Look, rules: AlertsSettings) -> None:
        remind = timedelta(hours=rules.remind_hours) if rules.remind_hours else None
        tell = teller(self._settings, self._directory(), self._clock.now())
        for alert, event in await self._store.alerts.take(look, tell, remind=remind):
            logger.warning(
                _EVENTS[event],
                alert=alert.id,
                rule=alert.rule.value,
                subject=alert.subject,
            )

    async def _of_all(self, rules: AlertsSettings) -> Look:
        """Look at what is one for all relays."""
        looks = [
            await self._connection(rules),
            await self._quota(rules),
            await self._queue(rules),
            await self._refusals(rules),
        ]
        return Look(
            _OF_ALL,
            tuple(one for look in looks for one in look.found),
            frozenset(key for look in looks for key in look.kept),
        )

    async def _connection(self, rules: AlertsSettings) -> Look:
        rule, now = AlertRule.CONNECTION, self._clock.now()
        found, kept = [], set()
        after = timedelta(seconds=rules.connection_after_s)
        for org, pause in await self._store.pauses.all():
            if pause.reason in _QUOTA_PAUSES or not rules.connection_after_s:
                continue
            facts = {"since": stamp(pause.since), "cause": pause.cause}
            one = Finding(rule, org, facts | {"reason": pause.reason})
            if now - pause.since >= after:
                found.append(one)
            else:
                kept.add(one.key)
        return Look(frozenset({rule}), tuple(found), frozenset(kept))

    async def _quota(self, rules: AlertsSettings) -> Look:
        rule, org = AlertRule.QUOTA, str(self._settings.salesforce.instance_url)
        usage = await self._store.usage.get()
        newest = usage.readings[-1] if usage.readings else None
        stale = newest is not None and self._clock.now() - newest.at > STALE
        if newest is None or stale or not rules.quota_at:
            return Look(frozenset({rule}))
        own, share = sum(usage.calls.values()), self._settings.salesforce.daily_share
        part = max(
            newest.used / max(1, newest.limit), own / max(1.0, newest.limit * share)
        )
        facts = {
            "percent": round(100 * part),
            "used": newest.used,
            "limit": newest.limit,
            "own": own,
        }
        one = Finding(rule, org, facts)
        paused = any(
            pause.reason in _QUOTA_PAUSES for _, pause in await self._store.pauses.all()
        )
        if part >= rules.quota_at or paused:
            return Look(frozenset({rule}), (one,))
        near = part >= rules.quota_at - _QUOTA_BELOW
        return Look(frozenset({rule}), (), frozenset({one.key} if near else ()))

    async def _queue(self, rules: AlertsSettings) -> Look:
        rule = AlertRule.QUEUE
        oldest = await self._store.queue.oldest_queued()
        if oldest is None or not rules.queue_age_s:
            return Look(frozenset({rule}))
        if self._clock.now() - oldest < timedelta(seconds=rules.queue_age_s):
            return Look(frozenset({rule}))
        count = (await self._store.queue.counts()).get(State.QUEUED, 0)
        facts = {"since": stamp(oldest), "count": count}
        return Look(frozenset({rule}), (Finding(rule, "queue", facts),))

    async def _count_usual(self) -> None:
        """Count how many refusals an hour are usual, without the last hour."""
        until = self._clock.now() - HOUR
        since = until - timedelta(hours=USUAL_HOURS)
        self._usual = await self._store.alerts.refusals(since, until) / USUAL_HOURS

    async def _refusals(self, rules: AlertsSettings) -> Look:
        rule, now = AlertRule.REFUSALS, self._clock.now()
        if not rules.refusals_per_hour:
            return Look(frozenset({rule}))
        count = await self._store.alerts.refusals(now - HOUR, now)
        most = max(rules.refusals_per_hour, rules.refusals_times * self._usual)
        facts = {"count": count, "usual": round(self._usual, 1)}
        one = Finding(rule, "refusals", facts)
        if count >= most:
            return Look(frozenset({rule}), (one,))
        near = count >= most * _REFUSALS_PART
        return Look(frozenset({rule}), (), frozenset({one.key} if near else ()))

    async def _silent(self, rules: AlertsSettings) -> Look:
        rule = AlertRule.SILENT
        if not rules.silent_days:
            return Look(frozenset({rule}))
        silent = await users(
            self._store,
            self._settings,
            silent=timedelta(days=rules.silent_days),
            now=self._clock.now(),
        )
        found = []
        for one in silent:
            last = one.last.logged_at if one.last else None
            # Who has never logged is silent from the activation on.
            since = last or one.user.activated_at
            facts = {
                "user": f"{one.user.name} <{one.user.email}>",
                "since": stamp(since) if since else "?",
            }
            found.append(Finding(rule, str(one.user.id), facts))
        return Look(frozenset({rule}), tuple(found))

    # ------------------------------------------------------------ of this machine

    def _disk(self, rules: AlertsSettings) -> Look:
        rule, host = AlertRule.DISK, self._owner.host
        place = f"{host}:"
        least = rules.disk_free_bytes
        if not least:
            return Look(frozenset({rule}), place=place)
        free = self._store.messages.free_bytes()
        one = Finding(rule, f"{place}store", {"free": free, "host": host})
        if free < least:
            return Look(frozenset({rule}), (one,), place=place)
        kept = frozenset({one.key} if free < least * _DISK_TIMES else ())
        return Look(frozenset({rule}), (), kept, place)

    def _certificates(self, rules: AlertsSettings) -> Look:
        rule, place = AlertRule.CERTIFICATE, f"{self._owner.host}:"
        found, days = [], timedelta(days=rules.certificate_days)
        for file in self._files() if rules.certificate_days else ():
            end = certificate_end(file)
            if end is not None and end - self._clock.now() <= days:
                facts = {"file": str(file), "until": _utc(end)}
                found.append(Finding(rule, f"{place}{file}", facts))
        return Look(frozenset({rule}), tuple(found), place=place)

    def _files(self) -> Iterator[Path]:
        """Yield the files that may hold a certificate of the relay's own.

        The key for Salesforce is one of them: the certificate that the app has is
        often kept in the same file.
        """
        files = (
            self._settings.smtp.tls_certificate,
            self._settings.notices.client_certificate,
            self._settings.salesforce.private_key_file,
        )
        yield from dict.fromkeys(file for file in files if file is not None)

    # ------------------------------------------------------------ calling

    async def send(self) -> bool:
        """Make the webhook calls that are due; say whether there were any.

        Raises:
            StoreUnavailable: Calls may stay leased; they are made after the lease.
        """
        settings = self._settings.alerts
        lease_s = 60.0 + BATCH * settings.webhook_timeout_s
        rows = await self._store.alerts.claim(self._owner, BATCH, lease_s)
        for row in rows:
            if self._turns.stopping:
                break  # The others are made after their lease, by whoever comes.
            at_s = int(self._clock.now().timestamp())
            answer = await asyncio.to_thread(call, settings, row.key, row.body, at_s)
            change = CallUpdate(
                row.key,
                ActivityState.WRITTEN if answer.taken else ActivityState.REFUSED,
                answer.status,
                answer.response,
                answer.error,
            )
            if not answer.taken and not answer.final:
                change = self._again(row, change, answer.wait_s)
            await self._store.alerts.settle(self._owner, change)
            metrics.WEBHOOK_CALLS.labels(change.state.value).inc()
            logger.info(
                "webhook_called",
                call=row.key,
                state=change.state.value,
                status=answer.status,
                error=change.error,
            )
        return bool(rows)

    def _again(
        self, row: WebhookCall, change: CallUpdate, wait_s: float | None
    ) -> CallUpdate:
        """Say when a failed call is made again, or give it up after days."""
        now = self._clock.now()
        if self._backoff.too_old(now, row.failing_since):
            return replace(change, error=f"given up after days: {change.error}")
        due_at = self._backoff.retry_at(now, row.failures + 1, wait_s)
        return replace(change, state=ActivityState.PLANNED, due_at=due_at)


def _utc(at: datetime) -> str:
    return stamp(at.astimezone(UTC))
