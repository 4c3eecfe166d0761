"""Message ids and Salesforce record ids."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from relay.core.ids import (
    MESSAGE_ID,
    checksum,
    first_id,
    new_message_id,
    record_id,
    time_of,
    unfolded_id,
)

if TYPE_CHECKING:
    from collections.abc import Callable

VECTORS = [
    ("001R0000006hfeZ", "IAQ"),
    ("003RM0000068xV6", "YAI"),
    ("006B0000003weZG", "IAY"),
    ("005B0000003qHvO", "IAU"),
    ("006RM000002XCd1", "YAG"),
]


class FixedClock:
    """A clock that stands still until it is set."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def now(self) -> datetime:
        return self.moment

    def boottime_s(self) -> float:
        return 0.0


@pytest.mark.parametrize(("id15", "tail"), VECTORS)
def test_checksum_of_documented_ids(id15: str, tail: str) -> None:
    """The checksum is the one of ids in Salesforce's own documentation."""
    assert checksum(id15) == tail
    assert record_id(id15) == id15 + tail
    assert record_id(id15 + tail) == id15 + tail


@pytest.mark.parametrize(
    "text",
    [
        "001900K0001pPuOAAU",  # a documented id with a wrong checksum
        "001R0000006hfeZiaq",  # folded: the checksum is that of other letters
        "",
        "001",
        "001R0000006hfeZI",
        "001R0000006hfeZIAQX",
        "001R0000006hfe/",
        "//evil.example/x",
        "001R0000006hfeZ\n",
        "001R0000006hfe\u0130",
        " 001R0000006hfeZ",
    ],
)
def test_what_is_no_record_id(text: str) -> None:
    """A wrong checksum, length or character is no id, and reaches no URL."""
    assert record_id(text) is None


def test_a_value_that_is_no_text_is_no_record_id() -> None:
    """JSON may hold anything where an id is expected."""
    assert record_id(None) is None  # type: ignore[arg-type]
    assert record_id(12) is None  # type: ignore[arg-type]


def test_message_ids_have_their_form_and_differ() -> None:
    """An id has 26 characters of its alphabet; two of one moment differ."""
    clock = FixedClock(datetime(2026, 3, 4, tzinfo=UTC))
    made = {new_message_id(clock) for _ in range(1000)}
    assert len(made) == 1000
    assert all(MESSAGE_ID.fullmatch(text) for text in made)


def test_message_ids_sort_by_time() -> None:
    """An id made a millisecond later sorts behind."""
    clock = FixedClock(datetime(2026, 3, 4, tzinfo=UTC))
    made = []
    for _ in range(100):
        made.append(new_message_id(clock))
        clock.moment += timedelta(milliseconds=1)
    assert made == sorted(made)
    assert new_message_id(FixedClock(datetime(2199, 1, 1, tzinfo=UTC))) > made[-1]


@pytest.mark.parametrize("fold", [str, str.lower, str.upper])
@pytest.mark.parametrize(
    "id15", ["001R0000006hfeZ", "a0DHs00000AbCdE", "006000000000001"]
)
def test_an_id_in_any_case(id15: str, fold: Callable[[str], str]) -> None:
    """The checksum says which letters are capital."""
    whole = id15 + checksum(id15)
    assert unfolded_id(fold(whole)) == whole


@pytest.mark.parametrize(
    "text",
    [
        "",
        "001R0000006hfeZ",
        "006000000000001BAA",  # a bit for a digit
        "001R0000006hfeZ9AQ",
        "001R0000006hfeZIAQ1",
        "001R0000006hfeZIAB",
        "001R0000006hfe/IAQ",
        "001R0000006hfe\u00df0AA",
    ],
)
def test_what_is_no_id_in_any_case(text: str) -> None:
    """15 characters have no checksum, and a wrong one is a slip."""
    assert unfolded_id(text) is None


def test_the_time_of_an_id_is_the_time_it_was_made():
    at = datetime(2026, 11, 29, 12, 30, 15, 123_000, UTC)
    id_ = first_id(at)
    assert time_of(id_) == at
    assert timedelta() <= at - time_of(id_[:7]) < timedelta(seconds=33)
