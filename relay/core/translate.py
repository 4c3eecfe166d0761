"""Texts for people in their language: catalogues, plurals, and the choice of one.

A text stands in the code in English, marked so that `make messages` finds it: `_(…)`
where it is shown at once, `N_(…)` where it is kept in a table first. A catalogue of
gettext (`relay/locales/es.po`) has its translations; what it lacks is shown in English.
The catalogues are read as they are edited, so that none can be out of date.

An SMTP reply may hold ASCII alone (RFC 5321 section 4.2), whatever the language:
`ascii_text` writes a text without its accents.

Source: GNU gettext manual, "The Format of PO Files"; RFC 9110 section 12.5.4
(Accept-Language).
"""

from __future__ import annotations

import ast
import re
import unicodedata
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

SOURCE: Final = "en"
"""The language in which the texts are written."""
LANGUAGES: Final[Mapping[str, str]] = {
    SOURCE: "English",
    "es": "Español",
    "pt": "Português",
    "fr": "Français",
    "sv": "Svenska",
}
"""Each language by its code, named in itself."""
FOLDER: Final = Path(__file__).parents[1] / "locales"
_WANTED: Final = re.compile(r"\s*([A-Za-z]{1,8})(?:-[\w-]*)?\s*(?:;\s*q=([\d.]{1,5}))?")
_LONGEST: Final = 500
_LINE: Final = re.compile(
    r'(?P<name>msgid_plural|msgid|msgstr(?:\[[01]\])?)? *(?P<text>".*")'
)
_LETTERS: Final = str.maketrans(
    {
        "ß": "ss",
        "æ": "ae",
        "Æ": "AE",
        "œ": "oe",
        "Œ": "OE",
        "ø": "o",
        "Ø": "O",
        "ł": "l",
        "Ł": "L",
        "đ": "d",
        "¿": "",
        "¡": "",
        "«": '"',
        "»": '"',
        "“": '"',
        "”": '"',
        "„": '"',
        "\N{RIGHT SINGLE QUOTATION MARK}": "'",
        "\N{LEFT SINGLE QUOTATION MARK}": "'",
        "…": "...",
        "\N{EN DASH}": "-",
        "—": "-",
        "·": "-",
        "→": "->",
        "\N{NO-BREAK SPACE}": " ",
        "\N{NARROW NO-BREAK SPACE}": " ",
    }
)


def N_(text: str) -> str:  # noqa: N802 - the name that gettext gives a mark
    """Return a text as it is; the mark has it translated where it is shown."""
    return text


def one_alone(count: int) -> int:
    """Return the form for a count: English, Spanish and Swedish have "0 mails"."""
    return int(count != 1)


def one_and_none(count: int) -> int:
    """Return the form for a count: French and Brazilian Portuguese have "0 mail"."""
    return int(count > 1)


PLURALS: Final[Mapping[str, Callable[[int], int]]] = {
    SOURCE: one_alone,
    "es": one_alone,
    "pt": one_and_none,
    "fr": one_and_none,
    "sv": one_alone,
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One text of a catalogue: its English forms, and those of the language.

    `forms` are empty texts while it is not translated.
    """

    text: str
    plural: str
    forms: tuple[str, ...]
    fuzzy: bool = False


@dataclass(frozen=True, slots=True)
class Texts:
    """The texts of one language.

    Attributes:
        language: Its code, such as `es`.
        forms: By the English text, the translations: one, or one for each count.
    """

    language: str = SOURCE
    forms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def gettext(self, text: str) -> str:
        """Return a text in this language, or in English where there is none."""
        found = self.forms.get(text)
        return found[0] if found else text

    __call__ = gettext

    def ngettext(self, one: str, many: str, count: int) -> str:
        """Return the form of a text for a count."""
        found = self.forms.get(one)
        form = PLURALS[self.language](count)
        if found is not None and form < len(found):
            return found[form]
        return one if count == 1 else many


IN_ENGLISH: Final = Texts()


@cache
def texts(language: str | None) -> Texts:
    """Return the texts of a language; English for one that there is not."""
    if language is None or language not in LANGUAGES or language == SOURCE:
        return IN_ENGLISH
    forms = {
        entry.text: entry.forms
        for entry in read(path_of(language).read_text("utf-8"))
        if entry.text and all(entry.forms) and not entry.fuzzy
    }
    return Texts(language, forms)


def path_of(language: str) -> Path:
    """Return where the catalogue of a language is."""
    return FOLDER / f"{language}.po"


def read(catalogue: str) -> Iterator[Entry]:
    """Yield the entries of a catalogue, its header first under an empty text."""
    for block in re.split(r"\n[ \t]*\n", catalogue):
        parts: dict[str, str] = {}
        name = ""
        flags = ""
        for line in block.splitlines():
            if line.startswith("#,"):
                flags += line
            if found := _LINE.fullmatch(line.strip()):
                name = found["name"] or name
                parts[name] = parts.get(name, "") + ast.literal_eval(found["text"])
        if "msgid" in parts:
            forms = [value for key, value in parts.items() if key.startswith("msgstr")]
            yield Entry(
                parts["msgid"],
                parts.get("msgid_plural", ""),
                tuple(forms),
                "fuzzy" in flags,
            )


# ------------------------------------------------------------------ choosing


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


def ascii_text(text: str) -> str:
    """Return a text in ASCII: without accents, with plain quotes.

    Whatever has no plain form is left out.
    """
    if text.isascii():
        return text
    plain = unicodedata.normalize("NFKD", text.translate(_LETTERS))
    return plain.encode("ascii", "ignore").decode("ascii")
