"""Refusals on their way into the store, the metrics and the log.

Recording must never break the dialogue with a peer: what the store does not take in
time, or at all, is logged here and the reply goes out. Refused connections are told
apart by peer and reason and recorded at most once a minute with a count, so that a
flood of them costs no disk.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from relay.core.errors import RelayError
from relay.core.ids import new_message_id
from relay.core.model import Refusal
from relay.telemetry import get_logger
from relay.telemetry.metrics import REFUSALS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.core.clock import Clock
    from relay.smtp.policy import Rejection
    from relay.smtp.sink import Sink

log = get_logger(__name__)

_WAIT_S: Final = 5.0
"""How long a reply waits for its refusal to be recorded."""
_QUIET_S: Final = 60.0
"""Between two rows for refused connections of one peer."""
_MOST_PEERS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Occasion:
    """What a refusal is about; empty where it is not known yet."""

    peer: str
    mail_from: str = ""
    rcpt: str = ""
    header_from: str = ""
    subject: str = ""
    rfc_message_id: str = ""


class Journal:
    """Makes refusals, counts them, and hands them to the store."""

    def __init__(self, sink: Sink, clock: Clock) -> None:
        """Take the store and the clock."""
        self._sink = sink
        self._clock = clock
        self._late: set[asyncio.Task[None]] = set()
        self._noted: dict[tuple[str, str], tuple[float, Refusal]] = {}

    def refusal(
        self, occasion: Occasion, rejection: Rejection, *, ref: str = ""
    ) -> Refusal:
        """Return a fresh refusal, logged and counted, not yet stored.

        `ref` is the id that the reply shows, where one reply stands for several
        refusals; without it the refusal's own id is shown.
        """
        ident = new_message_id(self._clock)
        refusal = Refusal(
            id=ident,
            at=self._clock.now(),
            peer=occasion.peer,
            mail_from=occasion.mail_from,
            rcpt=occasion.rcpt,
            header_from=occasion.header_from,
            reply=rejection.line(ref or ident),
            reason=rejection.reason,
            user_id=rejection.user_id,
            detail=rejection.detail,
            subject=occasion.subject,
            rfc_message_id=occasion.rfc_message_id,
        )
        REFUSALS.labels(rejection.reason).inc()
        log.info(
            "smtp_refused",
            refusal_id=ident,
            reason=rejection.reason,
            reply=refusal.reply,
            peer=occasion.peer,
            mail_from=occasion.mail_from,
            rcpt=occasion.rcpt,
            header_from=occasion.header_from,
            detail=rejection.detail,
        )
        return refusal

    async def record(self, refusals: Sequence[Refusal]) -> None:
        """Store refusals; returns once they are, or cannot be; never raises."""
        task = asyncio.get_running_loop().create_task(self._store(refusals))
        self._late.add(task)
        task.add_done_callback(self._late.discard)
        await asyncio.wait([task], timeout=_WAIT_S)

    def note(self, peer: str, rejection: Rejection) -> None:
        """Take note of a refused connection; stored in the background, in sums."""
        now = self._clock.boottime_s()
        key = (peer, rejection.reason)
        since, pending = self._noted.get(key, (-_QUIET_S, None))
        if pending is not None and now - since < _QUIET_S:
            REFUSALS.labels(rejection.reason).inc()
            self._noted[key] = (since, replace(pending, count=pending.count + 1))
            return
        if len(self._noted) >= _MOST_PEERS:
            self.flush_notes()
        fresh = self.refusal(Occasion(peer), rejection)
        due = [fresh]
        if pending is not None and pending.count:
            due.append(replace(pending, id=new_message_id(self._clock)))
        self._noted[key] = (now, replace(fresh, count=0))
        self._in_background(due)

    def flush_notes(self) -> None:
        """Store the sums that are still open, in the background."""
        due = [
            replace(pending, id=new_message_id(self._clock))
            for _, pending in self._noted.values()
            if pending.count
        ]
        self._noted.clear()
        if due:
            self._in_background(due)

    async def close(self) -> None:
        """Store what is open, and wait a moment for what is on its way."""
        self.flush_notes()
        if self._late:
            await asyncio.wait(self._late, timeout=_WAIT_S)

    def _in_background(self, refusals: Sequence[Refusal]) -> None:
        task = asyncio.get_running_loop().create_task(self._store(refusals))
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def _store(self, refusals: Sequence[Refusal]) -> None:
        try:
            await self._sink.refuse(refusals)
        except RelayError as error:
            log.warning(
                "smtp_refusal_not_recorded",
                refusal_ids=[refusal.id for refusal in refusals],
                error=str(error),
            )
        except Exception:
            log.exception(
                "smtp_refusal_not_recorded",
                refusal_ids=[refusal.id for refusal in refusals],
            )
