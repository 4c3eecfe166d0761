"""How often Salesforce is asked, over days: never more calls than a day has."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from relay.core.pace import PARTS, Pace, Spent, is_awake, part_of
from tests.fakes.days import Traffic, simulate

pytestmark = pytest.mark.timeout(180)  # Days pass, a few seconds at a time.

PACE = Pace(55, 900, 10, 900)
LONDON = ZoneInfo("Europe/London")
BERLIN = ZoneInfo("Europe/Berlin")
NEW_YORK = ZoneInfo("America/New_York")
AUCKLAND = ZoneInfo("Pacific/Auckland")
MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
NOON, NIGHT = MONDAY.replace(hour=12), MONDAY.replace(hour=3)
SATURDAY = MONDAY + timedelta(days=5, hours=12)


def spent(now, reads=0, writes=0, free=0):
    made = Spent()
    made.add(now, reads=reads, writes=writes, free=free)
    return made


# ------------------------------------------------------------------ one moment


def test_who_is_awake():
    """On a workday between 7 and 19, where the user is."""
    monday = datetime(2026, 3, 2, 12)  # noqa: DTZ001 - local on purpose
    assert is_awake([monday])
    assert not is_awake([monday.replace(hour=3), monday - timedelta(days=1)])
    assert not is_awake([])


def test_working_hours_come_first():
    """They get what they need; other hours share the rest."""
    work = PACE.wait_s(NOON, Spent(), {LONDON})
    night = PACE.wait_s(NIGHT, Spent(), {LONDON})
    assert 55 <= work <= 57
    assert 300 <= night <= 900


def test_a_day_without_work_is_shared_evenly():
    """At the weekend nobody needs the calls of a weekday."""
    sunday = MONDAY - timedelta(days=1, hours=12)
    assert 100 <= PACE.wait_s(sunday - timedelta(hours=6), Spent(), {LONDON}) <= 300
    assert 97 <= PACE.wait_s(SATURDAY, Spent(), {LONDON}) <= 110
    assert 97 <= PACE.wait_s(NOON, Spent(), ()) <= 110


def test_too_many_working_hours_are_slowed_down_evenly():
    """Three zones around the world are always awake."""
    zones = {LONDON, NEW_YORK, AUCKLAND}
    waits = [
        PACE.wait_s(MONDAY + timedelta(days=1, hours=hour), Spent(), zones)
        for hour in range(24)
    ]
    assert min(waits) > 80
    assert sorted(waits)[-2] < 120


def test_what_cost_nothing_leaves_more():
    """Half of what went along with mail yesterday is trusted to do so today."""
    before = PACE.plan(NIGHT, spent(NIGHT, reads=40), {LONDON})
    after = PACE.plan(NIGHT, spent(NIGHT, reads=40, free=400), {LONDON})
    assert after.idle_s < before.idle_s / 3
    assert after.awake_s == 55


def test_calls_become_free_again():
    """What was used counts for 24 hours, by the quarter of an hour."""
    used = spent(NOON, reads=900)
    assert PACE.wait_s(NOON, used, {LONDON}) is None
    assert PACE.wait_s(NOON + timedelta(hours=24, minutes=14), used, {LONDON}) is None
    later = NOON + timedelta(hours=24, minutes=15)
    assert used.used(later) == 0
    assert PACE.wait_s(later, used, {LONDON}) is not None


def test_edits_wait_not_even_where_reading_must():
    """Some of the calls are kept for them."""
    used = spent(NOON, reads=829)
    assert PACE.wait_s(NOON, used, {LONDON}) is None
    later = NOON + timedelta(hours=1, minutes=15)
    assert PACE.wait_s(later, used, {LONDON}, waiting=True) == 10
    # They come without end: once a minute is enough.
    assert PACE.wait_s(NOON, used, {LONDON}, waiting=True) == 55
    used.add(NOON, writes=66)
    assert PACE.wait_s(NOON, used, {LONDON}, waiting=True) is None


def test_what_was_sent_beyond_its_share_slows_reading():
    """All calls together are what counts."""
    much = spent(NIGHT, writes=600)
    slow = PACE.wait_s(NOON, much, {LONDON})
    assert slow > 80
    assert PACE.wait_s(NOON, much, {LONDON}, waiting=True) == 10
    assert PACE.plan(NIGHT, spent(NIGHT, reads=700), {LONDON}).spare == 0


def test_after_a_change_another_is_likely():
    """For ten minutes, where working hours can spare the calls."""
    changed = NIGHT - timedelta(minutes=9)
    roomy = Pace(55, 900, 10, 1200)
    assert roomy.wait_s(NIGHT, Spent(), {LONDON}, changed_at=changed) == 55
    long_ago = NIGHT - timedelta(minutes=11)
    assert roomy.wait_s(NIGHT, Spent(), {LONDON}, changed_at=long_ago) > 100
    # The working hours of the day need them.
    assert PACE.wait_s(NIGHT, Spent(), {LONDON}, changed_at=changed) > 100


def test_what_is_set_holds_where_there_is_plenty():
    """As often as wanted, at all hours, and no oftener."""
    plenty = Pace(55, 55, 10, 100_000)
    assert plenty.wait_s(NIGHT, Spent(), {LONDON}) == 55
    assert plenty.wait_s(NOON, Spent(), {LONDON}, waiting=True) == 10
    few = Pace(55, 900, 10, 5)
    assert few.wait_s(NIGHT, Spent(), {LONDON}) > 10_000


def test_spent_is_kept_as_json():
    """And forgets what does not count any more."""
    made = spent(NOON, reads=3, writes=2, free=4)
    kept = Spent.from_json(made.as_json())
    assert kept == made
    assert (kept.used(NOON), kept.share_free(NOON)) == (5, 4 / 7)
    made.add(NOON + timedelta(days=2), reads=1)
    assert list(made.reads) == [part_of(NOON) + 2 * PARTS]
    assert Spent.from_json(None) == Spent()
    assert Spent().share_free(NOON) == 0


# ------------------------------------------------------------------ days

USUAL = Traffic(edits=(3, 0.2), changes=(4, 0.3))
MAIL = Traffic(mails=(120, 4), edits=(6, 0.5), changes=(8, 0.5))
STORM = Traffic(edits=(3600, 3600), changes=(600, 600))


@pytest.mark.parametrize(
    ("zones", "traffic"),
    [
        ({LONDON}, USUAL),
        ({LONDON, BERLIN}, MAIL),
        ({LONDON, NEW_YORK, AUCKLAND}, USUAL),
        ({LONDON}, STORM),
    ],
)
def test_no_24_hours_have_more_calls_than_allowed(zones, traffic):
    """From Thursday over a week-end, wherever the 24 hours begin."""
    start = MONDAY + timedelta(days=3)
    done = simulate(PACE, zones, start, 4, traffic=traffic, step_s=15)
    assert done.most_in_24_hours() <= 900


@pytest.mark.parametrize(
    ("zones", "traffic"),
    [({LONDON}, Traffic()), ({LONDON, BERLIN, NEW_YORK}, MAIL)],
)
def test_a_change_is_seen_within_a_minute_in_working_hours(zones, traffic):
    """Of one zone without any mail; of three, where mail takes the question along."""
    done = simulate(PACE, zones, MONDAY, 3, traffic=traffic, step_s=5)
    assert max(done.within(zones, awake=True)) <= 60


@pytest.mark.parametrize("zones", [{LONDON}, {LONDON, NEW_YORK, AUCKLAND}])
def test_an_edit_is_sent_within_a_minute_at_all_times(zones):
    """At night, and when reading has used what it may."""
    traffic = Traffic(edits=(4, 1), changes=(6, 1))
    done = simulate(PACE, zones, MONDAY, 3, traffic=traffic, step_s=5)
    assert len(done.pushes) > 100
    assert max(wait for _, wait in done.pushes) <= 60
