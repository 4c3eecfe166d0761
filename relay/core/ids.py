"""Ids: of our own messages, and of Salesforce records.

A record id comes from outside (a mail, a flag, an answer), so it is proven here by
pattern and checksum before it may stand in a URL or a query.

Source: Salesforce Object Reference, "ID Field Type".
"""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from relay.core.clock import Clock

_BASE32 = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's, without i l o u
_PAIRS: Final = tuple(high + low for high in _BASE32 for low in _BASE32)
_CHECKSUM = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_RECORD_ID: Final = re.compile(r"[A-Za-z0-9]{15}(?:[A-Za-z0-9]{3})?")
MESSAGE_ID: Final = re.compile(r"[0-9a-hjkmnp-tv-z]{26}")
"""The form of a message id: 26 characters, sorted by time of receipt."""

_TIME_LETTERS: Final = 10

_SHORT: Final = 15
_LONG: Final = 18
_RANDOM_BITS = 80
_LAST_MS: Final = (1 << 48) - 1
_SHIFTS: Final = range(120, -1, -10)


def new_message_id(clock: Clock) -> str:
    """Return a fresh message id: 48 bits of milliseconds, then 80 random bits.

    Ids made later sort later, so that the queue's index grows at its end.
    """
    milliseconds = int(clock.now().timestamp() * 1000)
    return _written(milliseconds << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS))


def first_id(at: datetime, away: timedelta = timedelta()) -> str:
    """Return the smallest message id of a time, moved `away` from it."""
    milliseconds = int((at.timestamp() + away.total_seconds()) * 1000)
    return _written(min(max(milliseconds, 0), _LAST_MS) << _RANDOM_BITS)


def time_of(id_: str) -> datetime:
    """Return when a message id was made; of the beginning of one, the first moment.

    Ten characters are exact to the millisecond, seven to 33 seconds.
    """
    number = 0
    for letter in id_[:_TIME_LETTERS].ljust(_TIME_LETTERS, "0"):
        number = number << 5 | _BASE32.index(letter)
    # Of its 130 bits an id uses 128; the time is the first 48 of those.
    return datetime.fromtimestamp(number / 1000, UTC)


def _written(number: int) -> str:
    return "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])


def checksum(id15: str) -> str:
    """Return the three characters that make a 15-character record id safe to fold."""
    return "".join(
        _CHECKSUM[sum(1 << bit for bit in range(5) if "A" <= id15[block + bit] <= "Z")]
        for block in (0, 5, 10)
    )


def record_id(text: str) -> str | None:
    """Return the 18-character form of a Salesforce record id, or None if it is none.

    A 15-character id is case-sensitive and gets its checksum; in an 18-character one
    the checksum must hold.
    """
    if not isinstance(text, str) or not _RECORD_ID.fullmatch(text):
        return None
    whole = text[:15] + checksum(text[:15])
    if len(text) == len(whole) and whole != text:
        return None
    return whole


def unfolded_id(text: str) -> str | None:
    """Return the record id of 18 characters, also if its case was lost; None: none.

    Mail systems may write an address in small letters or in capitals alone. Then the
    checksum says which letters were capital; in any other text it must hold.
    """
    if not text.isascii() or len(text) != _LONG or not _RECORD_ID.fullmatch(text):
        return None
    if text not in {text.lower(), text.upper()}:
        return record_id(text)
    bits = [_CHECKSUM.find(each) for each in text[_SHORT:].upper()]
    if min(bits) < 0:
        return None
    id15 = "".join(
        each.upper() if bits[at // 5] >> at % 5 & 1 else each.lower()
        for at, each in enumerate(text[:_SHORT])
    )
    # A bit that is set for a digit is no checksum of these characters.
    return record_id(id15 + text[_SHORT:].upper())
