"""Text that fits a field: Salesforce refuses what is too long, it cuts nothing.

Lengths are counted in UTF-16 units, as Salesforce does by what is known: a character
beyond the Basic Multilingual Plane counts twice.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

MARK: Final = "… [cut]"
LENGTHS: Final = {
    ("Task", "Subject"): 255,
    ("Task", "Description"): 32_000,
    ("EmailMessage", "Subject"): 3_000,
    ("EmailMessage", "TextBody"): 131_072,
    ("EmailMessage", "HtmlBody"): 131_072,
    ("EmailMessage", "FromName"): 1_000,
    ("EmailMessage", "FromAddress"): 1_000,
    ("EmailMessage", "ToAddress"): 4_000,
    ("EmailMessage", "CcAddress"): 4_000,
    ("EmailMessage", "ThreadIdentifier"): 765,
}
"""Lengths of fields where describe does not say (Salesforce Field Reference)."""

_UNFINISHED_HTML: Final = re.compile(r"<[^<>]*\Z|&[#A-Za-z0-9]{0,31}\Z")


def units(text: str) -> int:
    """Return the length of a text in UTF-16 units."""
    if text.isascii():
        return len(text)
    return len(text) + sum(1 for character in text if character > "\uffff")


def cut(text: str, limit: int, mark: str = MARK) -> str:
    """Return the text, cut to `limit` UTF-16 units at a character boundary.

    A cut text ends with the mark; a base character is not parted from its accents.
    A limit below the mark's length cuts without a mark.
    """
    if len(text) * 2 <= limit or units(text) <= limit:
        return text
    if units(mark) >= limit:
        mark = ""
    return _head(text, limit - units(mark)) + mark


def cut_html(html: str, limit: int) -> str:
    """Return HTML cut to `limit` UTF-16 units, never inside a tag or an entity."""
    if len(html) * 2 <= limit or units(html) <= limit:
        return html
    head = _head(html, limit - units(MARK))
    return _UNFINISHED_HTML.sub("", head) + MARK


def one_line(text: str) -> str:
    """Return the text without line breaks and doubled white space (rule D5)."""
    return " ".join(text.split())


def _head(text: str, limit: int) -> str:
    """Return the longest beginning of at most `limit` units, accents kept whole."""
    end = min(len(text), limit)
    if not text.isascii():
        while units(text[:end]) > limit:
            # Each step takes off at least half of what is too much.
            end -= max(1, (units(text[:end]) - limit) // 2)
    while 0 < end < len(text) and unicodedata.combining(text[end]):
        end -= 1
    return text[:end]
