"""The Date field, as tolerant as the mail that carries it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_tz
from typing import Final

_FIRST_YEAR: Final = 1970
_LAST_YEAR: Final = 2200
_MAX_LENGTH: Final = 200
_MAX_OFFSET_S: Final = 24 * 3600


def parse_date(text: str) -> datetime | None:
    """Return the moment that a Date value names, in UTC, or None.

    None is what cannot be read, and years before 1970 or after 2200: the clock of the
    sending machine was off, and the time of receipt says more. A zone of a day or
    more is taken for UTC.

    Source: RFC 5322 sections 3.3 and 4.3.
    """
    try:
        found = parsedate_tz(text[:_MAX_LENGTH])
        if found is None:
            return None
        # A leap second is a second that `datetime` does not have.
        moment = datetime(*found[:5], min(found[5], 59), tzinfo=UTC)
    except (ValueError, TypeError, IndexError, OverflowError, AttributeError):
        # The library's reading of odd texts fails in each of these ways.
        return None
    offset_s = found[9] or 0
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        return None
    if abs(offset_s) < _MAX_OFFSET_S:
        moment -= timedelta(seconds=offset_s)
    return moment
