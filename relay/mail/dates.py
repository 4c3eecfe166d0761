"""The Date field, as tolerant as the mail that carries it.

Programs write the date of RFC 5322, that of C (`Fri Nov 27 01:30:00 2026`), ISO 8601,
and mixtures, with the offset as `-0500`, `-05:00`, `-5`, `GMT-0500` or `(GMT-05:00)`.
An offset that stands there is never dropped: it would move the mail by hours.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

_FIRST_YEAR: Final = 1970
_LAST_YEAR: Final = 2200
_MAX_LENGTH: Final = 200
_MAX_OFFSET_H: Final = 24
_PIVOT: Final = 50  # RFC 5322 section 4.3: years of two digits
_CENTURY: Final = 100
_LONG_YEAR: Final = 1000
_NOON: Final = 12
_LEAP: Final = 60

_MONTHS: Final = {
    name: number
    for number, name in enumerate(
        [
            "jan",
            "feb",
            "mar",
            "apr",
            "may",
            "jun",
            "jul",
            "aug",
            "sep",
            "oct",
            "nov",
            "dec",
        ],
        1,
    )
}
# Hours east of Greenwich, of names that mean one zone (RFC 5322 section 4.3 and use).
_ZONES: Final = {
    "gmt": 0, "utc": 0, "ut": 0, "z": 0, "wet": 0, "west": 1, "bst": 1, "cet": 1,
    "met": 1, "mez": 1, "cest": 2, "mest": 2, "mesz": 2, "eet": 2, "sast": 2,
    "eest": 3, "msk": 3, "hkt": 8, "sgt": 8, "awst": 8, "jst": 9, "kst": 9,
    "aest": 10, "aedt": 11, "nzst": 12, "nzdt": 13, "ast": -4, "adt": -3, "est": -5,
    "edt": -4, "cst": -6, "cdt": -5, "mst": -7, "mdt": -6, "pst": -8, "pdt": -7,
    "akst": -9, "akdt": -8, "hst": -10,
}  # fmt: skip

_ISO: Final = re.compile(
    r"\W*(\d{4})[-/]?(\d\d)[-/]?(\d\d)(?:[Tt ,]+(\d\d?)[:.]?(\d\d)(?:[:.]?(\d\d))?"
    r"(?:[.,]\d+)?)?(?![\d.])"
)
_TIME: Final = re.compile(
    r"(?<![\d.:])(\d{1,2})[:.](\d\d)(?:[:.](\d\d))?(?:[.,]\d+)?(?![\d:.])"
    r"(?:\s?([AaPp])\.?[Mm]\b\.?)?"
)
_OFFSET: Final = re.compile(
    r"(?:^|[\s(,]|(?:GMT|UTC|UT|Z)\s?)([+\u2212\u2013-])\s?(\d\d?)(?::?(\d\d))?(?!\d)",
    re.IGNORECASE,
)
_NAME: Final = re.compile(r"[A-Za-z]+")
_NUMBER: Final = re.compile(r"\d+")


def parse_date(text: str) -> datetime | None:
    """Return the moment that a Date value names, in UTC, or None.

    None is what cannot be read, and years before 1970 or after 2200: the clock of the
    sending machine was off, and the time of receipt says more. A zone of a day or
    more is taken for UTC, as is none at all.

    Source: RFC 5322 sections 3.3 and 4.3; ISO 8601; RFC 3339.
    """
    found = parse_clock(text)
    return found[0] if found else None


def parse_clock(text: str) -> tuple[datetime, datetime] | None:
    """Return the moment as `parse_date` does, and the clock that the value shows."""
    text = text[:_MAX_LENGTH]
    found = _iso(text) or _words(text)
    if found is None:
        return None
    numbers, rest = found
    year, month, day, hour, minute, second = numbers
    try:
        # A leap second is a second that `datetime` does not have.
        moment = datetime(
            year, month, day, hour, minute, second - (second == _LEAP), tzinfo=UTC
        )  # fmt: skip
    except (ValueError, OverflowError):
        return None
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        return None
    return moment - _offset(rest), moment.replace(tzinfo=None)


def _iso(text: str) -> tuple[tuple[int, ...], str] | None:
    """Read a date that begins with its year, and return what stands behind it."""
    found = _ISO.match(text)
    if not found:
        return None
    return tuple(int(group or 0) for group in found.groups()), text[found.end() :]


def _words(text: str) -> tuple[tuple[int, ...], str] | None:
    """Read a date with the month as a word, in any order."""
    time = _TIME.search(text)
    if not time:
        return None
    hour = int(time[1])
    if time[4]:
        hour = hour % _NOON + (_NOON if time[4] in "pP" else 0)
    before, after = text[: time.start()], text[time.end() :]
    words = [word[:3].lower() for word in _NAME.findall(f"{before} {after}")]
    month = next((_MONTHS[word] for word in words if word in _MONTHS), None)
    numbers = _NUMBER.findall(before)
    if len(numbers) < len(("day", "year")):  # The year stands behind the time.
        behind = _NUMBER.findall(_OFFSET.sub(" ", after))
        numbers += behind[: 2 - len(numbers)]
    if month is None or len(numbers) < len(("day", "year")):
        return None
    day, year = int(numbers[0]), int(numbers[1])
    if len(numbers[0]) == len("2026"):
        day, year = year, day
    if year < _CENTURY:
        year += 2000 if year < _PIVOT else 1900
    elif year < _LONG_YEAR:
        year += 1900
    return (year, month, day, hour, int(time[2]), int(time[3] or 0)), after


def zone_of(text: str) -> timedelta | None:
    """Return the offset that stands behind the time in a text; None: there is none."""
    time = _TIME.search(text) or _ISO.match(text)
    return _zone(text[time.end() :]) if time else None


def _offset(rest: str) -> timedelta:
    return _zone(rest) or timedelta()


def _zone(rest: str) -> timedelta | None:
    """Return how far the zone that stands behind a time is east of Greenwich."""
    found = _OFFSET.search(rest)
    if found:
        hours, minutes = int(found[2]), int(found[3] or 0)
        if hours >= _MAX_OFFSET_H:
            return timedelta()
        offset = timedelta(hours=hours, minutes=minutes)
        return offset if found[1] == "+" else -offset
    names = [name.lower() for name in _NAME.findall(rest)]
    hours_east = next((_ZONES[name] for name in names if name in _ZONES), None)
    return None if hours_east is None else timedelta(hours=hours_east)
