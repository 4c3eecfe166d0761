"""When a message is tried again, and when it is given up."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from relay.config import Settings
from relay.core.directory import Directory
from relay.core.errors import (
    OutcomeUnknown,
    RecordLocked,
    SalesforceUnavailable,
    TransientError,
)
from relay.core.model import Activity, MailState
from relay.core.queue import Claimed, LeaseOwner
from relay.core.retry import EFFECTS, SOON_S, SOON_TRIES, Retry, Then
from relay.core.states import ActivityState, Event
from relay.outbox.backoff import LOOK_UP_AFTER_S, Backoff, look_up_wait_s
from relay.outbox.batch import Batch, BatchMail, ClaimedMessage
from relay.outbox.engine import Parts
from relay.worker.pipeline import Pipeline
from tests.fakes.values import NOON

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from relay.core.queue import Settlement

FIRST_S, MAX_S, DAYS = 30.0, 3600.0, 5
SETTINGS = Settings(
    worker={"retry_first_s": FIRST_S, "retry_max_s": MAX_S, "retry_days": DAYS}
)
BROKEN = SalesforceUnavailable("a fault inside", code="UNKNOWN_EXCEPTION")
LOCKED = RecordLocked("somebody else has it", code="UNABLE_TO_LOCK_ROW")
SECOND = timedelta(seconds=1)


class Clock:
    """Stands still at noon."""

    def now(self) -> datetime:
        """Return noon."""
        return NOON

    def boottime_s(self) -> float:
        """Return noon in seconds."""
        return NOON.timestamp()


@pytest.fixture(params=range(5))
def backoff(request: Any) -> Backoff:
    """Return waits with jitter of several seeds."""
    return Backoff(SETTINGS.worker, random.Random(request.param))


def wait_s(backoff: Backoff, failures: int, asked_s: float | None = None) -> float:
    """Return the wait after a failure."""
    return (backoff.retry_at(NOON, failures, asked_s) - NOON).total_seconds()


@pytest.mark.parametrize(
    ("failures", "longest_s"),
    [(0, 30), (1, 30), (2, 60), (3, 120), (7, 1920), (8, 3600), (99, 3600)],
)
def test_waits_double_up_to_the_longest(
    backoff: Backoff, failures: int, longest_s: float
) -> None:
    """From retry_first_s to retry_max_s; jitter takes off at most half."""
    assert longest_s / 2 <= wait_s(backoff, failures) <= longest_s


@pytest.mark.parametrize("asked_s", [0.0, 2.0, 900.0, 9000.0])
def test_a_wait_that_was_asked_for_is_never_shortened(
    backoff: Backoff, asked_s: float
) -> None:
    """A tenth of it on top at most, whatever retry_max_s says."""
    assert asked_s <= wait_s(backoff, 1, asked_s) <= asked_s * 1.1


def test_a_wait_into_the_past_is_none(backoff: Backoff) -> None:
    """An answer that asks for less than nothing gets a try at once."""
    assert wait_s(backoff, 1, -5.0) == 0


def test_age_is_counted_from_the_first_failure(backoff: Backoff) -> None:
    """What has not failed yet is never too old."""
    limit = timedelta(days=DAYS)
    assert not backoff.too_old(NOON, None)
    assert not backoff.too_old(NOON, NOON - limit)
    assert backoff.too_old(NOON, NOON - limit - SECOND)


# ------------------------------------------------------------ what follows a failure

TOO_LONG = timedelta(days=DAYS) + SECOND


def after(backoff: Backoff, retry: Retry, failures: int = 1, **more: Any) -> Any:
    """Return what happens after a failure, and the seconds until then."""
    more = {"failing_since": None, **more}
    found = backoff.after(retry, NOON, failures, **more)
    return found.then, (found.due_at - NOON).total_seconds(), found.too_old


@pytest.mark.parametrize("retry", list(Retry))
def test_each_rule_does_what_its_row_says(backoff: Backoff, retry: Retry) -> None:
    """Dead, given back to a paused org, or tried again; and the sentence says so."""
    effect = EFFECTS[retry]
    then, wait, too_old = after(backoff, retry, paused=True)
    assert (then, too_old) == (effect.then, False)
    assert ("does not count" in effect.sentence) == (then is Then.GIVE_BACK)
    assert ("dead after retry_days" in effect.sentence) == effect.gives_up
    assert ("seconds" in effect.sentence) == effect.soon
    if then is Then.WAIT:
        low, high = SOON_S if effect.soon else (FIRST_S / 2, FIRST_S)
        assert low <= wait <= high
    else:
        assert wait == 0


@pytest.mark.parametrize("retry", list(Retry))
def test_only_what_may_pass_ends_by_age(backoff: Backoff, retry: Retry) -> None:
    """Never what is looked for, never what waits for a paused org."""
    old = {"failing_since": NOON - TOO_LONG}
    then, _, too_old = after(backoff, retry, paused=True, **old)
    assert too_old == EFFECTS[retry].gives_up
    assert (then is Then.DEAD) == (too_old or retry in {Retry.NEVER, Retry.REPLAN})
    then, _, too_old = after(backoff, retry, open_outcome=True, **old)
    assert not too_old, "an outcome that is open is never given up"


@pytest.mark.parametrize("retry", [Retry.PAUSE, Retry.RENEW])
def test_without_a_pause_nothing_is_due_at_once(backoff: Backoff, retry: Retry) -> None:
    """One record met it and its neighbours did not: it waits like any failure."""
    assert after(backoff, retry)[0] is Then.WAIT
    assert FIRST_S / 2 <= after(backoff, retry)[1] <= FIRST_S
    assert after(backoff, retry, failing_since=NOON - TOO_LONG)[2]


def test_soon_grows_into_backoff(backoff: Backoff) -> None:
    """A few tries after seconds each, then the waits of any failure from the start."""
    waits = [after(backoff, Retry.SOON, n)[1] for n in range(1, SOON_TRIES + 4)]
    assert all(SOON_S[0] <= wait <= SOON_S[1] for wait in waits[:SOON_TRIES])
    for number, wait in enumerate(waits[SOON_TRIES:]):
        assert FIRST_S * 2**number / 2 <= wait <= FIRST_S * 2**number


def test_a_wait_that_was_asked_for_counts_for_a_lock_too(backoff: Backoff) -> None:
    """Salesforce knows better than the relay."""
    assert 30 <= after(backoff, Retry.SOON, retry_after_s=30)[1] <= 33


def test_looks_for_a_record_come_less_and_less_often() -> None:
    """The last wait stays."""
    waits = [look_up_wait_s(n) for n in range(len(LOOK_UP_AFTER_S) + 3)]
    assert waits == sorted(waits)
    assert waits[-1] == waits[-4] == LOOK_UP_AFTER_S[-1]


# ------------------------------------------------------------ the end of an attempt


@pytest.fixture
def pipeline() -> Iterator[Pipeline]:
    """Return a pipeline of which nothing but the end of an attempt is used."""
    unused = SimpleNamespace(remembered=None, mails=SimpleNamespace(threads=None))
    with ThreadPoolExecutor(1) as executor:
        backoff = Backoff(SETTINGS.worker, random.Random(1))
        owner = LeaseOwner("host", "boot", 1, "1")
        yield Pipeline(
            Parts(SETTINGS, unused, unused, Clock(), owner, backoff),  # type: ignore[arg-type]
            unused,  # type: ignore[arg-type]
            unused,  # type: ignore[arg-type]
            directory=lambda: Directory(0, {}, {}, {}, ()),
            files=unused,  # type: ignore[arg-type]
            executor=executor,
        )


def work(failing: timedelta | None, state: ActivityState) -> BatchMail:
    """Return a mail with one row, which has failed for so long; received long ago."""
    claimed = Claimed(
        id="m",
        attempt=4,
        user_id=1,
        rcpt="log-a@in.example",
        received_at=NOON - timedelta(days=99),
        waiting_since=NOON - timedelta(days=99),
        mail_from="ada@corp.example",
        mail_id=1,
        blob_id="b",
        size_bytes=10,
        failures=3,
        failing_since=None if failing is None else NOON - failing,
    )
    row = Activity("k", 1, "email", "Task", {}, "", state)
    item = ClaimedMessage(claimed, None, Clock(), NOON)
    return BatchMail(MailState(1, "m", (), leased=True), [item], {"k": row})


def end(pipeline: Pipeline, mail: BatchMail, error: TransientError) -> Settlement:
    """End an attempt with this trouble."""
    mail.error = error
    pipeline._conclude(Batch(SimpleNamespace()), [mail], None, None)  # type: ignore[arg-type]
    settlement = mail.items[0].settlement
    assert settlement is not None
    return settlement


@pytest.mark.parametrize("failing", [None, timedelta(days=DAYS) - SECOND])
def test_what_fails_for_less_than_retry_days_is_tried_again(
    pipeline: Pipeline, failing: timedelta | None
) -> None:
    """However long ago it was received: the fourth failure waits up to 8 x 30 s."""
    settled = end(pipeline, work(failing, ActivityState.PLANNED), BROKEN)
    assert (settled.event, settled.reason) == (Event.TRANSIENT, "UNKNOWN_EXCEPTION")
    assert settled.retry_at is not None
    assert 120 <= (settled.retry_at - NOON).total_seconds() <= 240


def test_a_locked_row_is_tried_again_soon(pipeline: Pipeline) -> None:
    """In a few seconds, whatever retry_first_s says; its attempt counts."""
    settled = end(pipeline, work(SECOND, ActivityState.PLANNED), LOCKED)
    assert (settled.event, settled.reason) == (Event.TRANSIENT, "UNABLE_TO_LOCK_ROW")
    assert settled.retry_at is not None
    assert SOON_S[0] <= (settled.retry_at - NOON).total_seconds() <= SOON_S[1]


def test_what_fails_for_longer_is_dead(pipeline: Pipeline) -> None:
    """With the reason of its last failure."""
    failing = timedelta(days=DAYS) + SECOND
    settled = end(pipeline, work(failing, ActivityState.PLANNED), LOCKED)
    assert (settled.event, settled.reason) == (Event.EXHAUSTED, "UNABLE_TO_LOCK_ROW")
    assert settled.detail == "somebody else has it"


def test_an_unknown_outcome_is_never_given_up(pipeline: Pipeline) -> None:
    """Dead mail is discarded or sent again by people: first it must be found."""
    mail = work(timedelta(days=99), ActivityState.SENT)
    settled = end(pipeline, mail, OutcomeUnknown("?", retry_after_s=300.0))
    assert settled.event is Event.TRANSIENT
    assert settled.retry_at is not None
    assert settled.retry_at >= NOON + timedelta(seconds=300)
