from __future__ import annotations

from datetime import date, timedelta

import pytest

from relay.sandbox.soql.spans import COUNTED_SPANS, PLAIN_SPANS, days
from relay.sandbox.soql.tree import Span

TODAY = date(2026, 5, 13)  # a Wednesday


@pytest.mark.parametrize(
    ("name", "n", "first", "last"),
    [
        ("YESTERDAY", None, "2026-05-12", "2026-05-12"),
        ("TODAY", None, "2026-05-13", "2026-05-13"),
        ("TOMORROW", None, "2026-05-14", "2026-05-14"),
        ("LAST_WEEK", None, "2026-05-03", "2026-05-09"),
        ("THIS_WEEK", None, "2026-05-10", "2026-05-16"),
        ("NEXT_WEEK", None, "2026-05-17", "2026-05-23"),
        ("LAST_MONTH", None, "2026-04-01", "2026-04-30"),
        ("THIS_MONTH", None, "2026-05-01", "2026-05-31"),
        ("NEXT_MONTH", None, "2026-06-01", "2026-06-30"),
        ("LAST_90_DAYS", None, "2026-02-12", "2026-05-13"),
        ("NEXT_90_DAYS", None, "2026-05-14", "2026-08-11"),
        ("THIS_QUARTER", None, "2026-04-01", "2026-06-30"),
        ("LAST_QUARTER", None, "2026-01-01", "2026-03-31"),
        ("NEXT_QUARTER", None, "2026-07-01", "2026-09-30"),
        ("THIS_YEAR", None, "2026-01-01", "2026-12-31"),
        ("LAST_YEAR", None, "2025-01-01", "2025-12-31"),
        ("NEXT_YEAR", None, "2027-01-01", "2027-12-31"),
        ("LAST_N_DAYS", 3, "2026-05-10", "2026-05-13"),
        ("NEXT_N_DAYS", 3, "2026-05-14", "2026-05-16"),
        ("N_DAYS_AGO", 2, "2026-05-11", "2026-05-11"),
        ("LAST_N_WEEKS", 2, "2026-04-26", "2026-05-09"),
        ("NEXT_N_WEEKS", 1, "2026-05-17", "2026-05-23"),
        ("N_WEEKS_AGO", 1, "2026-05-03", "2026-05-09"),
        ("LAST_N_MONTHS", 6, "2025-11-01", "2026-04-30"),
        ("NEXT_N_MONTHS", 8, "2026-06-01", "2027-01-31"),
        ("N_MONTHS_AGO", 5, "2025-12-01", "2025-12-31"),
        ("LAST_N_QUARTERS", 2, "2025-10-01", "2026-03-31"),
        ("LAST_N_YEARS", 2, "2024-01-01", "2025-12-31"),
        ("N_YEARS_AGO", 1, "2025-01-01", "2025-12-31"),
    ],
)
def test_days(name, n, first, last):
    """A date literal covers the days that the guide gives it."""
    start, end = days(Span(name, n), TODAY)
    assert (str(start), str(end - timedelta(days=1))) == (first, last)


def test_every_name_is_known():
    """Each literal that the parser lets through has days."""
    for name in PLAIN_SPANS:
        start, end = days(Span(name), TODAY)
        assert start < end
    for name in COUNTED_SPANS:
        start, end = days(Span(name, 7), TODAY)
        assert start < end


def test_end_of_calendar():
    """A span beyond the calendar is an OverflowError, for every unit."""
    for name in COUNTED_SPANS:
        with pytest.raises(OverflowError):
            days(Span(name, 10_000_000), TODAY)
