"""The budget: shares, pace, pause and forecast, as arithmetic."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from relay.config import SalesforceSettings
from relay.core.shared import APIUsage, CallReading
from relay.salesforce import budget as budgets
from relay.salesforce.budget import Budget, CallStats, usage_of
from relay.salesforce.transport import Flight


class Clock:
    def __init__(self):
        self.at = datetime(2026, 3, 4, 12, 30, tzinfo=UTC)

    def now(self):
        return self.at

    def boottime_s(self):
        return self.at.timestamp()

    def pass_s(self, seconds):
        self.at += timedelta(seconds=seconds)


@pytest.fixture
def clock():
    return Clock()


def made(clock, **keys):
    return Budget(SalesforceSettings(**keys), clock)


def test_nothing_known_holds_nothing_back(clock):
    """Before the first answer there is no share, no pace and no forecast."""
    budget = made(clock)
    budget.spent()
    assert budget.exhausted() is None
    assert budget.pace_s() == 0
    reading = budget.reading()
    assert (reading.used, reading.own, reading.lasts_until) == (None, 1, None)


@pytest.mark.parametrize(
    ("used", "pace_s"), [(100, 0), (799, 0), (875, 30), (949, 59.6), (1000, 60)]
)
def test_near_the_limit_batches_come_less_often(clock, used, pace_s):
    """From slow_at to pause_at the time between batches grows evenly."""
    budget = made(clock)
    budget.report(used, 1000)
    assert budget.pace_s() == pytest.approx(pace_s)


def test_at_pause_at_nothing_is_written(clock):
    """The org's figure pauses, and says which setting it is."""
    budget = made(clock)
    budget.report(949, 1000)
    assert budget.exhausted() is None
    budget.report(950, 1000)
    assert "salesforce.pause_at" in (budget.exhausted() or "")


def test_what_was_told_long_ago_pauses_nothing(clock):
    """Calls become free while nobody asks: after an hour it is tried again."""
    budget = made(clock)
    budget.report(990, 1000)
    clock.pass_s(3601)
    assert budget.exhausted() is None


def test_the_relay_keeps_to_its_own_share(clock):
    """Others' calls are not the relay's: its own count against daily_share."""
    budget = made(clock, daily_share=0.1)
    budget.report(100, 1000)
    for _ in range(94):
        budget.spent()
    assert budget.exhausted() is None
    budget.spent()
    assert "salesforce.daily_share" in (budget.exhausted() or "")
    clock.pass_s(24 * 3600)
    assert budget.exhausted() is None
    assert budget.reading().own == 0


def test_the_forecast_goes_by_the_rate_of_the_last_hours(clock):
    """100 calls an hour, 450 left until pause_at: four and a half hours."""
    budget = made(clock)
    budget.report(300, 1000)
    clock.pass_s(7200)
    budget.report(500, 1000)
    reading = budget.reading()
    assert reading.per_hour == pytest.approx(100)
    assert reading.lasts_until == clock.now() + timedelta(hours=4.5)
    said = budgets.when(reading.lasts_until, clock.now())
    assert said == "quota lasts until 2026-03-04 19:00 UTC"


def test_a_quota_that_outlives_the_day_is_said_so(clock):
    """Beyond 24 hours the window has moved on: nothing runs out."""
    budget = made(clock)
    budget.report(10, 100_000)
    clock.pass_s(3600)
    budget.report(20, 100_000)
    assert budget.reading().lasts_until is None
    assert budgets.when(None, clock.now()) == "quota lasts beyond 24 hours"
    assert budgets.when(clock.now(), clock.now()) == "quota is used up"


def test_it_outlives_a_restart(clock):
    """What was counted before a restart counts after it."""
    first = made(clock, daily_share=0.5)
    first.report(400, 1000)
    for _ in range(7):
        first.spent()
    clock.pass_s(600)
    second = made(clock, daily_share=0.5)
    said = first.last_reading()
    second.load(APIUsage(first.pending(), (said,)))
    assert second.reading().own == 7
    assert second.reading().used == 400
    third = made(clock)
    third.load(APIUsage())
    assert third.reading().used is None
    assert third.last_reading() is None


def test_calls_of_other_relays_count_too(clock):
    """The share is that of all relays; what is stored meanwhile counts once."""
    budget = made(clock, daily_share=0.5)
    budget.report(400, 1000)
    for _ in range(3):
        budget.spent()
    stored = budget.pending()
    budget.spent()
    (hour,) = stored
    newer = CallReading(clock.now() + timedelta(seconds=1), 420, 1000)
    budget.load(APIUsage({hour: 100 + 3}, (newer,)), stored)
    assert budget.pending() == {hour: 1}
    assert budget.reading().own == 104
    assert budget.reading().used == 420
    older = CallReading(clock.now() - timedelta(seconds=9), 1, 1000)
    budget.load(APIUsage({hour: 110}, (older,)))
    assert budget.reading().own == 111
    assert budget.reading().used == 420


def test_gauges_follow(clock):
    """Metrics tell share, own calls and the forecast."""
    from relay.telemetry import metrics

    budget = made(clock)
    budget.report(250, 1000)
    budget.spent()
    budget.publish()
    value = metrics.REGISTRY.get_sample_value
    assert value("relay_org_api_share") == 0.25
    assert value("relay_org_api_own") == 1
    assert value("relay_org_api_lasts_seconds") == float("inf")


# ------------------------------------------------------------ call stats


NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)


class Still:
    """A clock that stands still."""

    def now(self):
        return NOON

    def boottime_s(self):
        return 100.0


@pytest.mark.parametrize(
    ("header", "usage"),
    [
        ("api-usage=18/5000", (18, 5000)),
        ("api-usage=25/5000; per-app-api-usage=17/250(appName=x)", (25, 5000)),
        ("per-app-api-usage=17/250(appName=x)", None),
        ("api-usage=x/y", None),
        ("", None),
    ],
)
def test_usage_is_read_from_its_header(header, usage):
    """The org's own numbers count, not those of the app."""
    assert usage_of(header) == usage


def test_the_clock_of_salesforce_is_kept_as_a_difference():
    """The Date header sets Salesforce's time; nonsense leaves it."""
    stats = CallStats(Still())
    assert stats.server_now() == NOON
    for text, ahead in [
        ("Wed, 04 Mar 2026 12:05:00 GMT", 300),
        ("nonsense", 300),
        ("Wed, 04 Mar 1970 12:05:00 GMT", 300),
        ("Wed, 04 Mar 2026 11:59:00 -0000", -60),
    ]:
        stats.count("x", Flight(Still(), 1.0, headers={"Date": text}), "ok")
        assert stats.server_now() - NOON == timedelta(seconds=ahead)
        assert stats.server_ahead_s() == ahead


def test_only_calls_that_left_are_counted():
    """A call that never left costs nothing of the quota."""
    stats = CallStats(Still())
    stats.count("write", Flight(Still(), 1.0), "late")
    stats.count("write", Flight(Still(), 1.0, left=True), "ok")
    assert stats.calls == {"write": 1}
