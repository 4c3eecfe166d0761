"""Date literals: `TODAY`, `LAST_N_DAYS:30` and their like as spans of days.

A span is half-open: from its first day up to, and without, the day after its last.
Weeks begin on Sunday, as they do for a user with the locale en_US.

Source: SOQL and SOSL Reference, "Date Formats and Date Literals in WHERE".
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from relay.sandbox.soql.tree import Span

Days: TypeAlias = tuple[date, date]

FISCAL: Final = "FISCAL"
"""Word in the names of literals that need the org's fiscal year."""

_UNITS: Final = ("DAY", "WEEK", "MONTH", "QUARTER", "YEAR")
PLAIN_SPANS: Final = frozenset(
    {"YESTERDAY", "TODAY", "TOMORROW", "LAST_90_DAYS", "NEXT_90_DAYS"}
    | {f"{way}_{unit}" for way in ("LAST", "THIS", "NEXT") for unit in _UNITS[1:]}
)
COUNTED_SPANS: Final = frozenset(
    {f"{way}_N_{unit}S" for way in ("LAST", "NEXT") for unit in _UNITS}
    | {f"N_{unit}S_AGO" for unit in _UNITS}
)


def days(span: Span, today: date) -> Days:
    """Return the days of a date literal, seen from `today`.

    `LAST_N_DAYS` reaches through the end of today, `NEXT_N_DAYS` begins tomorrow; the
    longer units leave out the current one.

    Raises:
        OverflowError: The calendar ends before the span does.
    """
    name, n = span.name, span.n or 0
    if name in ("YESTERDAY", "TODAY", "TOMORROW"):
        shift = {"YESTERDAY": -1, "TODAY": 0, "TOMORROW": 1}[name]
        return _units("DAY", today, shift, shift + 1)
    if name.endswith("_90_DAYS"):
        name, n = name.replace("90", "N"), 90
    if name == "LAST_N_DAYS":
        return _units("DAY", today, -n, 1)
    if name.endswith("_AGO"):
        unit = name.removeprefix("N_").removesuffix("S_AGO")
        return _units(unit, today, -n, 1 - n)
    way, _, rest = name.partition("_")
    if rest.startswith("N_"):
        unit = rest.removeprefix("N_").removesuffix("S")
        return _units(unit, today, *((-n, 0) if way == "LAST" else (1, n + 1)))
    shift = {"LAST": -1, "THIS": 0, "NEXT": 1}[way]
    return _units(rest, today, shift, shift + 1)


def _units(unit: str, today: date, start: int, end: int) -> Days:
    """Return the days from unit `start` to before unit `end`; 0 is the current one."""
    return _begin(unit, today, start), _begin(unit, today, end)


def _begin(unit: str, today: date, shift: int) -> date:
    """Return the first day of the unit that lies `shift` units after today's."""
    if unit == "DAY":
        return today + timedelta(days=shift)
    if unit == "WEEK":
        sunday = today - timedelta(days=today.isoweekday() % 7)
        return sunday + timedelta(weeks=shift)
    months = {"MONTH": 1, "QUARTER": 3, "YEAR": 12}[unit]
    month = (today.year * 12 + today.month - 1) // months * months + shift * months
    year = month // 12
    if not date.min.year <= year <= date.max.year:
        raise OverflowError(unit)
    return date(year, month % 12 + 1, 1)
