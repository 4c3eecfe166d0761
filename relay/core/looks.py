"""What an address looks like: letters that are drawn alike, and mixed scripts.

A domain in Cyrillic letters can look like one in Latin letters, and `corp.examp1e` like
`corp.example`. Nothing here decides who may send: it finds the words for an admin who
is about to accept such an address, and for a person who was refused.

Source: Unicode Technical Standard 39, sections 4 and 5.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Final

from relay.core.addresses import unicode_domain

if TYPE_CHECKING:
    from collections.abc import Iterable

_LOOKS: Final = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u0501\u04bb\u051b"
    "\u051d\u043a\u043c\u0442\u043d\u0432\u0261\u03bf\u03b1\u03bd\u03c1\u03b9\u03ba"
    "\u03c5\u03c7\u0131\u0251\u0578\u057d",
    "aeopcyxijsdhqwkmthbgoavpikuxianu",
)
"""Letters of other scripts that look like Latin ones."""
_ASCII_LOOKS: Final = (("rn", "m"), ("vv", "w"), ("0", "o"), ("1", "l"), ("i", "l"))
"""What a person takes for another within ASCII; for warnings alone, since each of these
is an honest letter of many names."""
_COMMON: Final = frozenset({"COMMON", "DIGIT", "FULL", "HYPHEN-MINUS", "LOW"})


def drawn(key: str) -> str:
    """Return an address key in the Latin letters that it looks like."""
    local, _, domain = key.rpartition("@")
    text = f"{local}@{unicode_domain(domain)}".casefold()
    plain = unicodedata.normalize("NFKD", text.translate(_LOOKS))
    return "".join(one for one in plain if not unicodedata.combining(one))


def glanced(key: str) -> str:
    """Return what a person who reads fast may take an address for."""
    text = drawn(key)
    for written, read in _ASCII_LOOKS:
        text = text.replace(written, read)
    return text


def scripts(text: str) -> set[str]:
    """Return the scripts of the letters in a text, such as LATIN and CYRILLIC.

    Japanese and Chinese names mix kanji and kana, which count as one.
    """
    found = set()
    for letter in text:
        if letter.isalpha():
            word = unicodedata.name(letter, "COMMON").split()[0]
            found.add("CJK" if word in {"HIRAGANA", "KATAKANA"} else word)
    return found - _COMMON


def mixed_scripts(key: str) -> set[str]:
    """Return the scripts of an address of which one part mixes several; else nothing.

    Each label of the domain, and the local part, is looked at by itself: a Latin `com`
    behind a Cyrillic name is usual.
    """
    local, _, domain = key.rpartition("@")
    for part in (local, *unicode_domain(domain).split(".")):
        found = scripts(part)
        if len(found) > 1:
            return found
    return set()


def looks_like(key: str, known: Iterable[str]) -> str:
    """Return the known address or `*@domain` for which this one may be taken."""
    seen = glanced(key)
    domain = seen.rpartition("@")[2]
    for one in known:
        if one == key or one.rpartition("@")[2] == key.rpartition("@")[2]:
            continue
        other = glanced(one)
        if seen == other or domain == other.rpartition("@")[2]:
            return one
    return ""
