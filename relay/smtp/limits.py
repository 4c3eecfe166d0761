"""How much a peer may ask for: the limits in one table, and the rates of mail.

`LIMITS` names for each limit its key, and the reason that stands in the refusal and in
the metric `relay_refusals_total`. `docs/smtp.md` shows it, and a test compares the two.
A rate is a bucket of tokens that holds a minute's worth: a peer that was quiet may send
that many at once.

A peer is what `relay.core.peers` says it is.
"""

from __future__ import annotations

import asyncio
import math
import resource
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from relay.smtp import replies
from relay.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from relay.config import SMTPSettings
    from relay.smtp.replies import Reply

log = get_logger(__name__)

_WINDOW_S: Final = 60.0
"""What rates are given for, and how much of one may come at once."""
_MOST_KEYS: Final = 20_000
"""Senders remembered at a time; a bucket that is full again needs no memory."""
_FREE_GUESSES: Final = 3
"""Unknown recipients that are answered at once: a list with an old address has few."""
_FIRST_DELAY_S: Final = 0.5
"""Wait of the first one behind them; each further one waits twice as long."""
_LONGEST_DELAY_S: Final = 10.0
_MOST_DOUBLINGS: Final = 5
"""More would pass the longest delay."""
_OTHER_FILES: Final = 200
"""Descriptors for everything that is no session: database, spool, Salesforce."""


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit of the server.

    `key` belongs to the section `smtp`; `reason` stands in the refusal and in the
    metric.
    """

    key: str
    reason: str

    @property
    def reply(self) -> Reply:
        """Return the reply to a peer that passes the limit."""
        return replies.BY_REASON[self.reason]


LIMITS: Final = (
    Limit("max_connections", "too_many_connections"),
    Limit(
        "max_connections_per_peer",
        "too_many_connections_of_peer",
    ),
    Limit(
        "max_connections_per_network",
        "too_many_connections_of_network",
    ),
    Limit("greeting_wait_s", "early_talker"),
    Limit("timeout_s", "timeout"),
    Limit("transaction_timeout_s", "timeout"),
    Limit("max_commands", "too_many_commands"),
    Limit("max_errors", "too_many_errors"),
    Limit("max_mails_per_minute_per_peer", "peer_too_fast"),
    Limit("max_mails_per_minute_per_user", "user_too_fast"),
    Limit(
        "max_failed_logins_per_minute_per_peer",
        "too_many_logins",
    ),
    Limit("max_unknown_recipients", "too_many_unknown_recipients"),
    Limit("max_recipients", "too_many_recipients"),
    Limit("max_message_bytes", "too_large"),
    Limit("postmaster_max_bytes", "too_large"),
    Limit("data_timeout_s", "timeout"),
    Limit("min_data_rate", "too_slow"),
    Limit("max_header_bytes", "header_too_large"),
    Limit("max_header_fields", "too_many_header_fields"),
    Limit("max_received", "loop"),
    Limit("bare_newlines", "bare_newline"),
)


class Rate:
    """Token buckets, one for each key, in bounded memory.

    Kept as one number a key: the time at which the bucket is full again (the generic
    cell rate algorithm), so that nothing has to refill them.
    """

    def __init__(
        self, per_minute: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Let that many through in a minute, and at once."""
        self._step_s = _WINDOW_S / per_minute
        self._clock = clock
        self._full_at: dict[Hashable, float] = {}

    def allows(self, key: Hashable) -> bool:
        """Say whether one more may come now; takes nothing."""
        full_at = self._full_at.get(key)
        if full_at is None:
            return True
        # Half a step of tolerance keeps rounding from costing the last token.
        return full_at - self._clock() <= _WINDOW_S - self._step_s / 2

    def count(self, key: Hashable) -> None:
        """Take one, also where none is left: what was under way is not undone."""
        now = self._clock()
        full_at = self._full_at.get(key)
        if full_at is None and len(self._full_at) >= _MOST_KEYS:
            self._forget(now)
        self._full_at[key] = max(full_at or now, now) + self._step_s

    def _forget(self, now: float) -> None:
        """Forget full buckets; where all are in use, the fuller half."""
        left = sorted((at, key) for key, at in self._full_at.items() if at > now)
        kept = left[-(_MOST_KEYS // 2) :]
        self._full_at = {key: at for at, key in kept}


class Guesses:
    """Unknown recipients of each peer: who tries addresses is answered ever later.

    A mail program that has one wrong address notices nothing; a program that looks for
    relay addresses waits, and is sent away. Each minute one guess is forgotten.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Take the number of guesses that ends a session."""
        self._most = most
        self._clock = clock
        self._forgotten_at: dict[Hashable, float] = {}

    def count(self, key: Hashable) -> int:
        """Count one; return how many are remembered, at most the number that ends."""
        now = self._clock()
        at = max(self._forgotten_at.get(key, now), now) + _WINDOW_S
        at = min(at, now + self._most * _WINDOW_S)
        if key not in self._forgotten_at and len(self._forgotten_at) >= _MOST_KEYS:
            self._forget(now)
        self._forgotten_at[key] = at
        return math.ceil((at - now) / _WINDOW_S)

    def delay_s(self, count: int) -> float:
        """Return how long the answer to this guess waits, in seconds."""
        if count <= _FREE_GUESSES:
            return 0.0
        doublings = min(count - _FREE_GUESSES - 1, _MOST_DOUBLINGS)
        return min(_LONGEST_DELAY_S, _FIRST_DELAY_S * 2.0**doublings)

    def is_last(self, count: int) -> bool:
        """Say whether the session ends behind this guess."""
        return count >= self._most

    def _forget(self, now: float) -> None:
        """Forget who has waited long enough; else the half that guessed least."""
        left = sorted((at, key) for key, at in self._forgotten_at.items() if at > now)
        self._forgotten_at = {key: at for at, key in left[-(_MOST_KEYS // 2) :]}


class Rates:
    """The rates of one server: by peer (see `relay.core.peers`) and by user id.

    `sleep` is what makes a peer wait.
    """

    def __init__(self, settings: SMTPSettings) -> None:
        """Begin with full buckets."""
        self.peers = Rate(settings.max_mails_per_minute_per_peer)
        self.users = Rate(settings.max_mails_per_minute_per_user)
        self.logins = Rate(settings.max_failed_logins_per_minute_per_peer)
        self.guesses = Guesses(settings.max_unknown_recipients)
        self.sleep = asyncio.sleep


def allow_files(sessions: int) -> None:
    """Raise the process's limit of open files to what so many sessions may need.

    Each session is a socket, and a spool file while a large mail comes in. Without
    this, the usual soft limit of 1,024 would stop the server long before its own.
    """
    wanted = 2 * sessions + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, allowed), hard))
    if allowed < wanted:
        log.warning(
            "smtp_few_files",
            limit=allowed,
            wanted=wanted,
            hint="raise the hard limit of open files, or lower smtp.max_connections",
        )
