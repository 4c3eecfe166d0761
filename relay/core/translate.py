"""Texts for people in their language: which languages there are, and who gets which.

A text stands in the code in English, inside `_("…")` or `ngettext("…", "…", n)`. The
catalogues of the other languages are in `relay/locales`; a text that one of them lacks
is shown in English.
"""

from __future__ import annotations

import gettext
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

DOMAIN: Final = "relay"
FOLDER: Final = Path(__file__).parent.parent / "locales"
SOURCE: Final = "en"
"""The language in which the texts are written."""
LANGUAGES: Final[Mapping[str, str]] = {
    "en": "English",
    "es": "Español",
    "pt": "Português",
    "fr": "Français",
    "sv": "Svenska",
}
"""Each language, and what its speakers call it."""
_WANTED: Final = re.compile(r"\s*([A-Za-z]{1,8})(?:-[\w-]*)?\s*(?:;\s*q=([\d.]{1,5}))?")
_LONGEST: Final = 500


@cache
def texts(language: str) -> gettext.NullTranslations:
    """Return the catalogue of a language; of one that there is not, the English."""
    known = [language] if language in LANGUAGES else [SOURCE]
    return gettext.translation(DOMAIN, FOLDER, known, fallback=True)


def best(accept_language: str) -> str:
    """Return the language of ours that a browser asks for before the others.

    Args:
        accept_language: The header Accept-Language (RFC 9110 section 12.5.4).
    """
    found: dict[str, float] = {}
    for part in accept_language[:_LONGEST].split(","):
        wanted = _WANTED.fullmatch(part)
        if wanted is None:
            continue
        try:
            weight = float(wanted[2] or 1)
        except ValueError:
            continue
        language = wanted[1].lower()
        if language in LANGUAGES and weight > found.get(language, 0):
            found[language] = weight
    return max(found, key=found.__getitem__, default=SOURCE)
