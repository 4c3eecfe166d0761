"""What follows a failure: the retry rules, and the effect of each, in one table.

An error carries its rule (`RelayError.retry`); for what Salesforce answers, the row of
the error table says which (`relay.salesforce.error_table`). `EFFECTS` alone decides
what the rule does to a mail or a file: `relay.outbox.backoff` turns it into a time, the
worker and the attachments commit it, and `docs/salesforce.md` shows its sentence.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

SOON_S: Final = (1.0, 5.0)
"""Shortest and longest wait of a try that comes soon.

Salesforce itself waits up to ten seconds for a row before it reports the lock, so that
the other transaction is over, or nearly, when the relay reads the answer.
"""
SOON_TRIES: Final = 5
"""Failures that are tried again soon; the next ones wait longer and longer."""


class Retry(StrEnum):
    """What to do after a failure."""

    NEVER = "never"
    """The same record would be refused again; a person may retry it later."""
    REPLAN = "replan"
    """As it is drafted it cannot be written: read the org again and draft anew."""
    BACKOFF = "backoff"
    """The same thing later, with growing waits."""
    SOON = "soon"
    """The same thing in a few seconds, with jitter."""
    SHRINK = "shrink"
    """Ask for less at once."""
    RENEW = "renew"
    """A fresh token, once."""
    PAUSE = "pause"
    """Nothing for this org can succeed now: all work waits."""
    LOOK_UP = "look_up"
    """It may have been done: look for it before doing it again."""


class Then(StrEnum):
    """What happens to the mail or the file."""

    DEAD = "dead"
    """It is not tried again by itself."""
    WAIT = "wait"
    """It is tried again at a time; the attempt counts."""
    GIVE_BACK = "give_back"
    """It is due at once, and waits for the paused org; the attempt does not count."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What one rule does.

    Attributes:
        then: What happens where the failure reaches the mail or the file.
        sentence: The same for the admin.
        soon: The first tries come after a few seconds.
        gives_up: What fails for longer than `worker.retry_days` is dead.
    """

    then: Then
    sentence: str
    soon: bool = False
    gives_up: bool = False


_WAITS: Final = "tried again with growing waits, dead after retry_days"
_PAUSED: Final = "the org is paused, the attempt does not count"

EFFECTS: Final[Mapping[Retry, Effect]] = {
    Retry.NEVER: Effect(
        Then.DEAD, "dead, with the reason; `relay retry` once the cause is gone"
    ),
    Retry.REPLAN: Effect(
        Then.DEAD, "matched and drafted again at once; refused again: dead"
    ),
    Retry.BACKOFF: Effect(Then.WAIT, f"queued; {_WAITS}", gives_up=True),
    Retry.SOON: Effect(
        Then.WAIT,
        f"queued; tried again after {SOON_S[0]:.0f} to {SOON_S[1]:.0f} seconds, "
        f"{SOON_TRIES} times, then with growing waits, dead after retry_days",
        soon=True,
        gives_up=True,
    ),
    Retry.SHRINK: Effect(
        Then.WAIT,
        f"asked again at once in smaller parts; one alone: queued, {_WAITS}",
        gives_up=True,
    ),
    Retry.RENEW: Effect(
        Then.GIVE_BACK, f"continues with a new token; refused again: {_PAUSED}"
    ),
    Retry.PAUSE: Effect(Then.GIVE_BACK, f"queued; {_PAUSED}"),
    Retry.LOOK_UP: Effect(
        Then.WAIT, "queued; looked for by its key before it is written again"
    ),
}
"""The effect of each rule.

A pause is a matter of the org: where only one record was answered so and others got
through, the org is not paused, and the mail is tried again with growing waits.
"""
