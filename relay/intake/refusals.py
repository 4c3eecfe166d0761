"""Refusals on their way into the store, the metrics and the log.

A `Rejection` says why something is refused; a `RefusalRecorder` makes a refusal of it,
which has an id and the text that the peer reads, and records it. Recording must never
break the dialogue with a peer: a refusal that the store does not take in time, or at
all, is logged here and the reply goes out. Refused connections are counted by peer and
reason and recorded at most once a minute, so that a flood of them costs no disk.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Protocol

from relay.core.errors import RelayError
from relay.core.ids import new_message_id
from relay.core.model import Refusal
from relay.telemetry import get_logger
from relay.telemetry.metrics import REFUSALS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from relay.core.clock import Clock
    from relay.core.model import Json
    from relay.store import Store

log = get_logger(__name__)

_WAIT_S: Final = 5.0
"""How long a reply waits for its refusal to be recorded."""
_QUIET_S: Final = 60.0
"""Between two rows for refused connections of one peer."""
_MOST_PEERS: Final = 10_000
_PROBE_SENDER: Final = "relay-check+"
_PROBE: Final = re.compile(r"relay-check\+(?P<token>[0-9a-f]{32})@(?P<host>.+)")


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a connection, a recipient or a mail is refused.

    `reason` is a stable word of the journal and the metrics; each door has a table that
    translates it into a reply. `detail` is for the journal, and never shown to the
    peer. `values` are the fields of the reply's text, such as a limit. `verdict` is
    what was found about the author, where that was looked for (`Verdict.as_json`).
    """

    reason: str
    detail: str = ""
    user_id: int | None = None
    values: Mapping[str, object] = field(default_factory=dict)
    verdict: Json | None = None


class ReplyLine(Protocol):
    """Translates a rejection into the text that a peer reads."""

    def __call__(self, rejection: Rejection, ref: str) -> str:
        """Return one line; it ends with `ref`, the id of the refusal."""


@dataclass(frozen=True, slots=True)
class Occasion:
    """What a refusal is about; empty where it is not known yet."""

    peer: str
    mail_from: str = ""
    rcpt: str = ""
    header_from: str = ""
    subject: str = ""
    rfc_message_id: str = ""


class RefusalRecorder:
    """Makes refusals, counts them, and hands them to the store."""

    def __init__(self, store: Store, clock: Clock, reply_line: ReplyLine) -> None:
        """Take the store, the clock, and the texts of replies."""
        self._store = store
        self._clock = clock
        self._reply_line = reply_line
        self._late: set[asyncio.Task[None]] = set()
        self._counted: dict[tuple[str, str], tuple[float, Refusal]] = {}

    def make(self, occasion: Occasion, rejection: Rejection) -> Refusal:
        """Return a fresh refusal, logged and counted, not yet stored.

        One that may be a probe is logged and counted when it is stored.
        """
        ident = new_message_id(self._clock)
        refusal = Refusal(
            id=ident,
            at=self._clock.now(),
            peer=occasion.peer,
            mail_from=occasion.mail_from,
            rcpt=occasion.rcpt,
            header_from=occasion.header_from,
            reply=self._reply_line(rejection, ident),
            reason=rejection.reason,
            user_id=rejection.user_id,
            detail=rejection.detail,
            subject=occasion.subject,
            rfc_message_id=occasion.rfc_message_id,
            verdict=rejection.verdict,
        )
        if not refusal.mail_from.startswith(_PROBE_SENDER):
            _publish(refusal)
        return refusal

    async def record(self, refusals: Sequence[Refusal]) -> None:
        """Store refusals; returns once they are, or cannot be; never raises."""
        await asyncio.wait([self._in_background(refusals)], timeout=_WAIT_S)

    def count(self, peer: str, rejection: Rejection) -> None:
        """Count a refused connection; it is stored in the background, in sums."""
        now = self._clock.boottime_s()
        key = (peer, rejection.reason)
        since, pending = self._counted.get(key, (-_QUIET_S, None))
        if pending is not None and now - since < _QUIET_S:
            REFUSALS.labels(rejection.reason).inc()
            self._counted[key] = (since, replace(pending, count=pending.count + 1))
            return
        if len(self._counted) >= _MOST_PEERS:
            self.flush_counts()
        fresh = self.make(Occasion(peer), rejection)
        due = [fresh]
        if pending is not None and pending.count:
            due.append(replace(pending, id=new_message_id(self._clock)))
        self._counted[key] = (now, replace(fresh, count=0))
        self._in_background(due)

    def flush_counts(self) -> None:
        """Store the sums that are still open, in the background."""
        due = [
            replace(pending, id=new_message_id(self._clock))
            for _, pending in self._counted.values()
            if pending.count
        ]
        self._counted.clear()
        if due:
            self._in_background(due)

    async def close(self) -> None:
        """Store what is open, and wait a moment for what is on its way."""
        self.flush_counts()
        if self._late:
            await asyncio.wait(self._late, timeout=_WAIT_S)

    def _in_background(self, refusals: Sequence[Refusal]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(self._put(refusals))
        self._late.add(task)
        task.add_done_callback(self._late.discard)
        return task

    async def _put(self, refusals: Sequence[Refusal]) -> None:
        try:
            known = [await self._without_token(refusal) for refusal in refusals]
            await self._store.refusals.record(known)
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

    async def _without_token(self, refusal: Refusal) -> Refusal:
        """Return a refusal as it is kept: a probe is marked, and its token taken off.

        A token that the store does not know is a stranger's, and changes nothing.
        """
        match = _PROBE.fullmatch(refusal.mail_from)
        if match is not None and await self._is_announced(match["token"]):
            log.info("smtp_probe", peer=refusal.peer, reply=refusal.reply)
            return replace(
                refusal, probe=True, mail_from=f"relay-check@{match['host']}"
            )
        if refusal.mail_from.startswith(_PROBE_SENDER):
            _publish(refusal)
        return refusal

    async def _is_announced(self, token: str) -> bool:
        try:
            return await self._store.refusals.take_probe(token)
        except RelayError:
            return False


def _publish(refusal: Refusal) -> None:
    """Count a refusal in the metrics, and write it into the log."""
    REFUSALS.labels(refusal.reason).inc()
    log.info(
        "smtp_refused",
        refusal_id=refusal.id,
        reason=refusal.reason,
        reply=refusal.reply,
        peer=refusal.peer,
        mail_from=refusal.mail_from,
        rcpt=refusal.rcpt,
        header_from=refusal.header_from,
        detail=refusal.detail,
    )


def probe_sender(token: str, hostname: str) -> str:
    """Return the envelope sender by which the relay knows a probe of `relay check`.

    The token must have been announced in the relay's store.
    """
    return f"{_PROBE_SENDER}{token}@{hostname}" if token else f"relay-check@{hostname}"
