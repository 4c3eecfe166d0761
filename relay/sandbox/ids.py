"""Record ids: minting new ones, and reading what a client sends.

An id is a key prefix, a pod, a reserved digit and a counter in base 62, 15 characters
that differ by case, and three checksum characters. The API takes both lengths and
answers 18.

Source: Salesforce Object Reference, "ID Field Type".
"""

from __future__ import annotations

from typing import Final

from relay.core.ids import checksum, record_id

_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CHECKSUM: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
LONG: Final = 18
"""Length of an id with its checksum."""
_POD: Final = "Hq0"
_FIRST: Final = 62**6
"""Counters start high, so that ids hold letters of both cases from the first on."""


class IdMint:
    """Makes ids that were never made before, in a fixed order for each object."""

    def __init__(self) -> None:
        """Start every counter anew."""
        self._last: dict[str, int] = {}

    def new(self, prefix: str) -> str:
        """Return the next 18-character id with a key prefix."""
        # A step that shares no factor with 62 lets neighbours differ in many places.
        number = self._last.get(prefix, _FIRST) + 4_241
        self._last[prefix] = number
        digits = []
        for _ in range(9):
            number, rest = divmod(number, 62)
            digits.append(_DIGITS[rest])
        id15 = prefix + _POD + "".join(reversed(digits))
        return id15 + checksum(id15)


def read_id(text: str) -> str | None:
    """Return the 18-character form of what a client sent, or None if it is no id.

    A 15-character id is taken as it stands. In an 18-character one the checksum must
    hold; one that a system without case has folded as a whole gets its case back.
    """
    proven = record_id(text)
    if (
        proven is not None
        or len(text) != LONG
        or not (text.isascii() and text.isalnum())
    ):
        return proven
    if text not in {text.lower(), text.upper()}:
        return None
    return _unfold(text)


def _unfold(text: str) -> str | None:
    letters = list(text[:15].lower())
    for block, mark in enumerate(text[15:].upper()):
        bits = _CHECKSUM.find(mark)
        if bits < 0:
            return None
        for bit in range(5):
            if bits >> bit & 1:
                letters[block * 5 + bit] = letters[block * 5 + bit].upper()
    return record_id("".join(letters) + text[15:].upper())
