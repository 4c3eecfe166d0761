"""Whether two mails are one by their words."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from relay.core.content import Content, in_zone, is_same

AT = datetime(2026, 11, 25, 15, 58, 30, tzinfo=UTC)
CLOCK = datetime(2026, 11, 25, 16, 58)  # noqa: DTZ001 - a clock has no zone
DIRECT = Content("k", "o", AT, CLOCK)
INLINE = Content("k", "o", None, CLOCK, inline=True)


def test_two_mails_that_came_themselves_are_told_by_their_keys() -> None:
    """ "Thanks!" twice is two mails, whatever their dates are."""
    assert not is_same(DIRECT, DIRECT)
    assert is_same(DIRECT, INLINE)
    assert is_same(INLINE, DIRECT)
    assert is_same(INLINE, INLINE)


@pytest.mark.parametrize(
    ("clock", "sent_at", "same"),
    [
        (CLOCK, None, True),  # the clock of the author
        (CLOCK - timedelta(hours=6), AT, True),  # that of the rep, whose zone is known
        (CLOCK - timedelta(hours=6), None, True),  # in an unknown zone
        (CLOCK - timedelta(hours=6, minutes=7), None, False),  # no zone is so far
        (CLOCK + timedelta(hours=15), None, False),
        (CLOCK - timedelta(days=7), None, False),
        (CLOCK - timedelta(hours=6), AT - timedelta(hours=6), False),
        (datetime(2026, 11, 25), None, True),  # noqa: DTZ001 - a day alone
        (datetime(2026, 11, 24), None, False),  # noqa: DTZ001
    ],
)
def test_dates_must_agree(
    clock: datetime, sent_at: datetime | None, *, same: bool
) -> None:
    """The same words at another time are another mail."""
    inline = replace(INLINE, clock=clock, sent_at=sent_at)
    assert is_same(DIRECT, inline) is same
    assert is_same(inline, DIRECT) is same


def test_two_forwards_of_unknown_zones_show_the_same_clock() -> None:
    """Otherwise they are two mails of one day."""
    assert not is_same(INLINE, replace(INLINE, clock=CLOCK + timedelta(hours=1)))


def test_a_longer_text_counts_where_the_date_does_not_decide() -> None:
    """What was added below a text does not matter where the minute is the same."""
    assert is_same(DIRECT, replace(INLINE, key="with a footer"))
    assert not is_same(DIRECT, replace(INLINE, opening="other"))
    undated = replace(INLINE, clock=None)
    assert is_same(DIRECT, undated)
    assert not is_same(DIRECT, replace(undated, key="other"))
    later = replace(INLINE, clock=CLOCK - timedelta(hours=6), key="other")
    assert not is_same(DIRECT, later)


def test_the_same_words_to_others_are_another_mail() -> None:
    """A mail to many, one by one; a forward may name fewer than the mail."""
    one = replace(DIRECT, recipients=("a", "b"))
    assert not is_same(one, replace(INLINE, recipients=("c",)))
    assert is_same(one, replace(INLINE, recipients=("b", "c")))
    assert is_same(one, INLINE)


def test_a_clock_in_a_zone() -> None:
    """An unknown zone is UTC."""
    assert in_zone(CLOCK, "Europe/Berlin") == AT.replace(second=0)
    assert in_zone(CLOCK, None) == CLOCK.replace(tzinfo=UTC)
    assert in_zone(CLOCK, "No/Where") == CLOCK.replace(tzinfo=UTC)
