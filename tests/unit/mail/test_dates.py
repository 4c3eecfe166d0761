"""Dates: a moment in UTC, or None."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from relay.mail.dates import parse_date

NOON = datetime(2025, 6, 2, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "Mon, 02 Jun 2025 12:00:00 +0000",
        "Mon, 02 Jun 2025 14:00:00 +0200 (CEST)",
        "2 Jun 2025 12:00 GMT",
        "Mon, 2 Jun 25 08:00:00 EDT",
        "Mon, 02 Jun 2025 12:00:00 -0000",
        "Mon, 02 Jun 2025 12:00:00",
        "Mon, 02 Jun 2025 12:00:00 +9959",
        "mon, 02 jun 2025 12:00:00 +0000",
        "Monday, 02-Jun-25 12:00:00 GMT",
    ],
)
def test_one_moment_in_many_spellings(text: str) -> None:
    """The spellings that programs use name the same moment."""
    assert parse_date(text) == NOON


def test_a_leap_second_is_read() -> None:
    """The sixtieth second is the one before it."""
    assert parse_date("Sat, 31 Dec 2016 23:59:60 +0000") == datetime(
        2016, 12, 31, 23, 59, 59, tzinfo=UTC
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "yesterday",
        "Mon, 32 Jun 2025 12:00:00 +0000",
        "Thu, 1 Jan 1969 00:00:00 +0000",
        "Mon, 02 Jun 2201 12:00:00 +0000",
        "Mon, 02 Jun 99999 12:00:00 +0000",
        "Mon, 02 Jun 2025 25:00:00 +0000",
        "0",
        ",",
        "Mon,",
        "1 2 3 4 5",
        "(" * 300,
        "Mon, 02 Jun 2025 12:00:99 +0000x" * 50,
        "2 Jun 2025 1.2.3.4",
    ],
)
def test_what_is_no_date(text: str) -> None:
    """What cannot be read, and absurd years, are None; nothing is raised."""
    found = parse_date(text)
    assert found is None or found.year == 2025


def test_the_first_and_the_last_year() -> None:
    """1970 and 2200 are still dates."""
    assert parse_date("1 Jan 1970 00:00:00 +0000") == datetime(1970, 1, 1, tzinfo=UTC)
    last = parse_date("31 Dec 2200 23:59:59 -1200")
    assert last == datetime(2201, 1, 1, 11, 59, 59, tzinfo=UTC)
