"""Alerts: raised, told, ended; and the webhook calls that tell them.

Several relays look at the same things. An index allows one open alert for a rule and a
subject, so that one of them raises it; an alert ends, and is told again, by an update
that names what was read, so that one of them does that, too. What tells an alert (calls
and notices) is written in the transaction that changes it: a crash loses neither, and a
call is sent again under the same id, by which its receiver knows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, delete, func, insert, or_, select, update

from relay.core.alerts import Alert, AlertEvent, AlertRule
from relay.core.ids import first_id
from relay.core.states import ActivityState
from relay.store import schema
from relay.store.context import Part
from relay.store.notices import no_probe, plan_one
from relay.store.row_leases import release_dead, take_due
from relay.store.values import (
    SECOND,
    dump,
    load,
    maybe_moment,
    moment,
    stamp,
    text,
    upsert,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from relay.core.alerts import Look
    from relay.core.model import Json
    from relay.core.notices import NoticeDraft
    from relay.core.queue import LeaseOwner

_MOST: Final = 1000
"""Rows that are removed at a time."""
al, w, r = schema.alerts.c, schema.webhook_calls.c, schema.refusals.c


@dataclass(frozen=True, slots=True)
class Telling:
    """How an event of an alert is told.

    Attributes:
        calls: Body of each webhook call, by its key.
        mails: Notices, by their keys.
    """

    calls: Mapping[str, str]
    mails: Mapping[str, NoticeDraft]


@dataclass(frozen=True, slots=True)
class WebhookCall:
    """A call in the store, and how far it is; `state` is as that of a notice.

    `status` and `response` are what the receiver answered last.
    """

    id: int
    key: str
    alert_id: int | None
    event: AlertEvent
    body: str
    state: ActivityState
    created_at: datetime
    due_at: datetime | None = None
    written_at: datetime | None = None
    failures: int = 0
    failing_since: datetime | None = None
    status: int | None = None
    response: str = ""
    error: str = ""

    def as_json(self) -> dict[str, Json]:
        """Return the stable names of lists."""
        return {
            "id": self.key,
            "alert": self.alert_id,
            "event": self.event.value,
            "state": self.state.value,
            "created_at": self.created_at.isoformat(timespec="seconds"),
            "failures": self.failures,
            "status": self.status,
            "response": self.response,
            "error": self.error,
        }


@dataclass(frozen=True, slots=True)
class CallUpdate:
    """What became of an attempt to call."""

    key: str
    state: ActivityState
    status: int | None = None
    response: str = ""
    error: str = ""
    due_at: datetime | None = None
    """When to try again; for a call that is still planned."""


class Alerts(Part):
    """The alerts of all relays, and their webhook calls."""

    # ------------------------------------------------------------ what holds

    async def find(self, *, open_only: bool = False, limit: int = 100) -> list[Alert]:
        """Return the latest alerts: those that hold, then those that have ended."""
        query = (
            select(schema.alerts)
            .order_by(al.cleared_at.is_not(None), al.id.desc())
            .limit(limit)
        )
        if open_only:
            query = query.where(al.cleared_at.is_(None))
        return await self._context.read(
            lambda c: [_alert(row) for row in c.execute(query)]
        )

    async def counts(self) -> dict[AlertRule, int]:
        """Return how many alerts hold, by rule."""
        query = (
            select(al.rule, func.count())
            .where(al.cleared_at.is_(None))
            .group_by(al.rule)
        )
        rows = await self._context.read(lambda c: c.execute(query).all())
        found = {row[0]: int(row[1]) for row in rows}
        return {rule: found.get(rule.value, 0) for rule in AlertRule}

    async def take(
        self,
        look: Look,
        tell: Callable[[Alert | None, AlertEvent], Telling],
        *,
        remind: timedelta | None,
    ) -> list[tuple[Alert, AlertEvent]]:
        """Raise, remind of, and end alerts by a look; return what is told.

        Nothing is written where nothing changes.

        Args:
            look: What was looked at, and what holds.
            tell: Says how an event is told; called in the transaction, more than once
                perhaps.
            remind: After so long an alert that holds is told again; None: never.

        Raises:
            StoreUnavailable: Nothing was changed; the next look comes to the same.
        """
        now = self._context.now()
        open_ones = {
            one.key: one for one in await self.find(open_only=True, limit=9999)
        }
        new = [one for one in look.found if one.key not in open_ones]
        ended = [one for one in open_ones.values() if look.ends(one)]
        facts = {one.key: one.facts for one in look.found}
        due = [
            one
            for one in open_ones.values()
            if remind is not None
            and one.key in facts
            and now - stamp(one.told_at) >= remind // timedelta(microseconds=1)
        ]
        if not (new or ended or due):
            return []

        def work(connection: Connection) -> list[tuple[Alert, AlertEvent]]:
            told: list[tuple[Alert, AlertEvent]] = []
            make = upsert(connection, schema.alerts)
            for finding in new:
                row = connection.execute(
                    make.values(
                        rule=finding.rule.value,
                        subject=text(finding.subject),
                        facts=dump(dict(finding.facts)),
                        raised_at=now,
                        told_at=now,
                        told=1,
                    )
                    # Another relay may have raised it since we looked.
                    .on_conflict_do_nothing()
                    .returning(schema.alerts)
                ).first()
                if row is not None:
                    told.append((_alert(row), AlertEvent.RAISED))
            for one in ended:
                row = connection.execute(
                    update(schema.alerts)
                    .where(al.id == one.id, al.cleared_at.is_(None))
                    .values(cleared_at=now, told_at=now, told=al.told + 1)
                    .returning(schema.alerts)
                ).first()
                if row is not None:
                    told.append((_alert(row), AlertEvent.CLEARED))
            for one in due:
                row = connection.execute(
                    update(schema.alerts)
                    .where(
                        al.id == one.id,
                        al.told_at == stamp(one.told_at),
                        al.cleared_at.is_(None),
                    )
                    .values(
                        told_at=now,
                        told=al.told + 1,
                        facts=dump(dict(facts[one.key])),
                    )
                    .returning(schema.alerts)
                ).first()
                if row is not None:
                    told.append((_alert(row), AlertEvent.STILL))
            for alert, event in told:
                _plan(connection, alert.id, event, tell(alert, event), now)
            return told

        return await self._context.write(work)

    async def test(
        self, tell: Callable[[Alert | None, AlertEvent], Telling]
    ) -> Telling:
        """Plan a test by each way that alerts are told; return what was planned."""
        now = self._context.now()
        telling = tell(None, AlertEvent.TEST)

        def work(connection: Connection) -> None:
            _plan(connection, None, AlertEvent.TEST, telling, now)

        await self._context.write(work)
        return telling

    # ------------------------------------------------------------ what is counted

    async def refusals(self, since: datetime, until: datetime) -> int:
        """Return how many refusals began in a time, those of `relay check` left out."""
        query = select(func.coalesce(func.sum(r.times), 0)).where(
            r.id >= first_id(since), r.id < first_id(until), no_probe()
        )
        return int(await self._context.read(lambda c: c.scalar(query)) or 0)

    # ------------------------------------------------------------ webhook calls

    async def claim(
        self, owner: LeaseOwner, limit: int, lease_s: float
    ) -> list[WebhookCall]:
        """Take calls that are due, the longest due first."""
        now = self._context.now()
        until = now + int(lease_s * SECOND)

        def work(connection: Connection) -> list[WebhookCall]:
            table = schema.webhook_calls
            ids = take_due(connection, table, owner, now=now, until=until, limit=limit)
            return _calls(connection, w.id.in_(ids)) if ids else []

        # A look costs no commit while nothing is due.
        due = select(w.id).where(w.due_at <= now).limit(1)
        if await self._context.read(lambda c: c.scalar(due)) is None:
            return []
        return await self._context.write(work)

    async def settle(self, owner: LeaseOwner, change: CallUpdate) -> None:
        """Write down what became of a call; its lease ends.

        One that another process has leased meanwhile is left to it, unless it was
        taken: what the receiver has is not sent again.
        """
        now = self._context.now()
        written = change.state is ActivityState.WRITTEN
        values: dict[str, Any] = {
            "state": change.state.value,
            "status": change.status,
            "response": text(change.response),
            "error": text(change.error),
            "due_at": stamp(change.due_at) if change.due_at else None,
            "lease_owner": None,
            "lease_until": None,
        }
        if written:
            values |= {"written_at": now, "failing_since": None}
        else:
            since = func.coalesce(w.failing_since, now)
            values |= {"failures": w.failures + 1, "failing_since": since}
        which = w.key == change.key
        if not written:
            which = and_(which, w.lease_owner == str(owner))

        def work(connection: Connection) -> None:
            connection.execute(update(schema.webhook_calls).where(which).values(values))

        await self._context.write(work)

    async def release_dead(
        self, owner: LeaseOwner, is_alive: Callable[[str], bool]
    ) -> None:
        """End the leases of dead processes of this host."""
        await release_dead(self._context, schema.webhook_calls, owner, is_alive)

    async def calls(
        self, keys: Sequence[str] | None = None, limit: int = 50
    ) -> list[WebhookCall]:
        """Return the latest webhook calls, or those of some keys, oldest first."""
        newest = select(w.id).order_by(w.id.desc()).limit(limit).scalar_subquery()
        which = w.id.in_(newest) if keys is None else w.key.in_(keys)
        return await self._context.read(lambda c: _calls(c, which))

    async def purge(self, keep: timedelta) -> int:
        """Remove alerts that ended before `keep`, with their calls."""
        before = stamp(self._context.clock.now() - keep)

        def work(connection: Connection) -> int:
            ids = connection.scalars(
                select(al.id).where(al.cleared_at < before).limit(_MOST)
            ).all()
            old = and_(w.alert_id.is_(None), w.created_at < before)
            gone = or_(w.alert_id.in_(ids), old)
            connection.execute(delete(schema.webhook_calls).where(gone))
            connection.execute(delete(schema.alerts).where(al.id.in_(ids)))
            return len(ids)

        return await self._context.write(work)


# ------------------------------------------------------------------ rows


def _plan(
    connection: Connection,
    alert_id: int | None,
    event: AlertEvent,
    telling: Telling,
    now: int,
) -> None:
    for key, body in telling.calls.items():
        connection.execute(
            insert(schema.webhook_calls).values(
                key=key,
                alert_id=alert_id,
                event=event.value,
                body=body,
                state=ActivityState.PLANNED.value,
                created_at=now,
                due_at=now,
            )
        )
    for key, draft in telling.mails.items():
        plan_one(connection, key, draft, now)


def _alert(row: Any) -> Alert:
    return Alert(
        row.id,
        AlertRule(row.rule),
        row.subject,
        load(row.facts),
        moment(row.raised_at),
        moment(row.told_at),
        row.told,
        maybe_moment(row.cleared_at),
    )


def _calls(connection: Connection, which: Any) -> list[WebhookCall]:
    query = select(schema.webhook_calls).where(which).order_by(w.id)
    return [
        WebhookCall(
            row.id,
            row.key,
            row.alert_id,
            AlertEvent(row.event),
            row.body,
            ActivityState(row.state),
            moment(row.created_at),
            maybe_moment(row.due_at),
            maybe_moment(row.written_at),
            row.failures,
            maybe_moment(row.failing_since),
            row.status,
            row.response,
            row.error,
        )
        for row in connection.execute(query)
    ]
