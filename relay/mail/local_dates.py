"""Dates as people write them, in the language of their mail program.

`Mittwoch, 25. November 2026 16:58`, `mié, 25 nov 2026 a las 17:58`: the words say in
which language a number is a day or a month. What could be two days is none:
`4/5/2026` in English is April or May.

"""

from __future__ import annotations

import re
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Final

from relay.mail.dates import parse_date, zone_of
from relay.mail.forward_labels import MONTHS

if TYPE_CHECKING:
    from collections.abc import Collection

_MAX_LENGTH: Final = 200
_NOON: Final = 12
_MONTHS_OF_YEAR: Final = 12
_BUDDHIST: Final = 543
_FIRST_BUDDHIST: Final = 2400
_PIVOT: Final = 2000
_MONTH_FIRST: Final = frozenset({"en", "tl"})

_TIME: Final = re.compile(
    r"(?<![\d.:/-])(\d{1,2})\s?(?:[:h時시点點]|\.(?=\d\d(?!\d|\.\d)))\s?(\d\d)"
    r"(?:\s?[:分m.]\s?(\d\d))?(?![\d/])",
    re.IGNORECASE,
)
_AFTERNOON: Final = re.compile(
    r"\bp\.?\s?m\b|오후|下午|午後|晚上|μ\.?\s?μ|\bchiều\b|\bCH\b|(?<!\w)م(?!\w)|مساء|بعدازظهر",
    re.IGNORECASE,
)
_MORNING: Final = re.compile(
    r"\ba\.?\s?m\b|오전|上午|午前|凌晨|早上|π\.?\s?μ|\bsáng\b|\bSA\b|(?<!\w)ص(?!\w)|صباح",
    re.IGNORECASE,
)
_YEAR_FIRST: Final = re.compile(
    r"(?<!\d)(\d{4})\s?[-/.年년]\s?(\d{1,2})\s?[-/.月월]\s?(\d{1,2})(?!\d)"
)
_NUMBERS: Final = re.compile(
    r"(?<!\d)(\d{1,2})\s?[./-]\s?(\d{1,2})\s?[./-]\s?(\d{4}|\d\d)(?!\d)"
)
_VIETNAMESE: Final = re.compile(r"\s+tháng\s+(\d{1,2}),?\s+(?:năm\s+)?")
_NUMBER: Final = re.compile(r"\d+")


def parse_local(text: str, languages: Collection[str]) -> datetime | None:
    """Return the date that a line in one of these languages names, or None.

    It is in UTC where an offset stands in it, and without a zone where none does: then
    it is the time on the clock of whoever wrote the line.
    """
    text = text[:_MAX_LENGTH].strip()
    exact = zone_of(text)
    if exact is not None and (moment := parse_date(text)):
        return moment
    text = _VIETNAMESE.sub(r"/\1/", text)
    time = _TIME.search(text)
    rest = text[: time.start()] + " " + text[time.end() :] if time else text
    clock = _clock(text, time)
    day = _day(rest, languages, american=_is_american(text))
    if day is None or clock is None:
        return None
    try:
        return datetime(*day, *clock)  # noqa: DTZ001 - nobody says in which zone
    except ValueError:
        return None


def _is_american(text: str) -> bool:
    return bool(re.search(r"\b[ap]\.?m\b", text, re.IGNORECASE))


def _clock(text: str, time: re.Match[str] | None) -> tuple[int, int, int] | None:
    """Return hour, minute and second; midnight where there is no time."""
    if not time:
        return 0, 0, 0
    hour, minute, second = int(time[1]), int(time[2]), int(time[3] or 0)
    if hour <= _NOON:
        around = text[max(0, time.start() - 8) : time.end() + 12]
        if _AFTERNOON.search(around):
            hour = hour % _NOON + _NOON
        elif _MORNING.search(around):
            hour %= _NOON
    return hour, minute, second


def _day(
    text: str, languages: Collection[str], *, american: bool
) -> tuple[int, int, int] | None:
    """Return year, month and day."""
    if found := _YEAR_FIRST.search(text):
        return _common(int(found[1])), int(found[2]), int(found[3])
    if found := _NUMBERS.search(text):
        first, second, year = int(found[1]), int(found[2]), int(found[3])
        year = year + _PIVOT if year < _PIVOT // 20 else _common(year)
        month_first = second > _MONTHS_OF_YEAR
        if first <= _MONTHS_OF_YEAR and not month_first and first != second:
            if _MONTH_FIRST.issuperset(languages) and not american:
                return None  # Two days are meant by it, on two sides of an ocean.
            month_first = _MONTH_FIRST.issuperset(languages)
        return (year, first, second) if month_first else (year, second, first)
    month = _month(text, languages)
    numbers = [int(n) for n in _NUMBER.findall(text) if len(n) in {1, 2, 4}]
    years = [n for n in numbers if n >= _PIVOT]
    days = [n for n in numbers if 0 < n <= 31]  # noqa: PLR2004 - days of a month
    if not (month and years and days):
        return None
    return _common(years[0]), month, days[0]


def _common(year: int) -> int:
    """Return the year of the common era; Thailand counts from Buddha's."""
    return year - _BUDDHIST if year > _FIRST_BUDDHIST else year


def _month(text: str, languages: Collection[str]) -> int | None:
    """Return the month that a word names; None where languages do not agree."""
    for spoken in (languages, MONTHS):
        found = {_in_language(text, one) for one in spoken if one in MONTHS} - {None}
        if len(found) == 1:
            return found.pop()
    return None


def _in_language(text: str, language: str) -> int | None:
    """Return the month, by the last word that is one: a weekday stands before it."""
    pattern, numbers = _words(language)
    words = pattern.findall(text.casefold())
    return numbers[words[-1]] if words else None


@cache
def _words(language: str) -> tuple[re.Pattern[str], dict[str, int]]:
    stems = MONTHS[language]
    joined = "|".join(re.escape(stem.casefold()) for stem, _ in stems)
    numbers = {stem.casefold(): number for stem, number in stems}
    return re.compile(rf"(?<!\w)(?:{joined})"), numbers
