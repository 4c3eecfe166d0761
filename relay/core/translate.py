"""Texts for people in their language: catalogues, plurals, and the choice of one.

A text stands in the code in English, marked so that `make messages` finds it: `_(…)`
where it is shown at once, `N_(…)` where it is kept in a table first. A catalogue of
gettext (`relay/locales/es.po`) has its translations; what it lacks is shown in English.
The catalogues are read as they are edited, so that none can be out of date.

The rooms below the pages write plain English, with the values filled in, as the command
line and the API show it: `N_(f"there is no change {number}")`. Nothing is translated
while mail is accepted or logged, and what the store keeps needs no second form. Where a
person reads it, `Texts.told` finds the text by its fixed words, takes the values out,
and fills them into the translation.

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
from functools import cache, lru_cache
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
_LONGEST_TOLD: Final = 2000
"""Longest text that is translated, in characters; the relay writes none so long."""
_FIELD: Final = re.compile(r"\{[a-z_0-9]+\}")
_FIELD_NAME: Final = re.compile(r"\{([a-z_0-9]+)\}")
_FEWEST_LETTERS: Final = 4
"""Fixed letters of a text with fields: one with fewer would fit anything."""
_EDGE: Final = 4
"""Letters at the beginning or end of a text with fields by which it is found."""
_DEEPEST: Final = 2
_JOINTS: Final = ("; ", ". ", ": ", ", ")
"""What stands between texts that are told together."""
_MOST_PARTS: Final = 8
_NUMBERS: Final = frozenset({"count", "number"})
"""Fields that hold digits alone."""
_WORDS: Final = frozenset(
    {
        *("action", "basis", "by", "cause", "column", "error", "event", "fate"),
        *("field", "from_", "grant", "help", "hidden", "hint", "how", "kind", "made"),
        *("of", "otherwise", "outcome", "paused", "problem", "reason", "report"),
        *("result", "said", "sentence", "since", "skip", "slow", "state", "testing"),
        *("text", "until", "waits", "what", "why", "words"),
    }
)
"""Fields whose value is a word or a text of the relay, and no name or key."""
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

    def told(self, text: str) -> str:
        """Return what a lower room wrote in English, in this language.

        What is no marked text with its values is returned as it is: what a person, a
        mail or Salesforce wrote. A text that joins several by a semicolon or a colon is
        told piece by piece.
        """
        if not self.forms or not 0 < len(text) <= _LONGEST_TOLD:
            return text
        return _told(self.language, text)[1]

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


# ------------------------------------------------------------------ telling again


@dataclass(frozen=True, slots=True)
class _Shape:
    """A text with fields: what stands between them, and their names."""

    fixed: tuple[str, ...]
    names: tuple[str, ...]
    form: str
    longest: str
    size: int

    def values(self, text: str) -> dict[str, str] | None:
        """Return the values in a text of this shape; None: it is another.

        Each value ends where the words behind it stand first: no text, however made,
        takes more than one look.
        """
        end = len(text) - len(self.fixed[-1])
        at = len(self.fixed[0])
        if (
            end < at
            or self.longest not in text
            or not text.startswith(self.fixed[0])
            or not text.endswith(self.fixed[-1])
        ):
            return None
        found: dict[str, str] = {}
        for name, words in zip(self.names, self.fixed[1:-1], strict=False):
            next_at = text.find(words, at, end)
            if next_at < 0:
                return None
            found[name] = text[at:next_at]
            at = next_at + len(words)
        found[self.names[-1]] = text[at:end]
        if any(not found[name].isdigit() for name in _NUMBERS & found.keys()):
            return None
        return found


@cache
def _shapes(language: str) -> Mapping[str, list[_Shape]]:
    """Return the texts with fields by how they begin, or else by how they end."""
    found: dict[str, list[_Shape]] = {}
    for text, forms in texts(language).forms.items():
        fixed = tuple(_FIELD.split(text))
        letters = sum(map(str.isalpha, "".join(fixed)))
        if len(fixed) == 1 or letters < _FEWEST_LETTERS:
            continue
        names = tuple(_FIELD_NAME.findall(text))
        size = sum(map(len, fixed))
        shape = _Shape(fixed, names, forms[0], max(fixed, key=len), size)
        found.setdefault(_place(fixed[0], fixed[-1]), []).append(shape)
    return found


def _place(beginning: str, end: str) -> str:
    """Return under what a text with fields is kept."""
    if len(beginning) >= _EDGE:
        return f"<{beginning[:_EDGE]}"
    return f">{end[-_EDGE:]}" if len(end) >= _EDGE else ""


@lru_cache(maxsize=4096)
def _told(language: str, text: str, depth: int = 0) -> tuple[int, str]:
    """Return a text in a language, and how many letters of it were recognised.

    Of several ways to read a text that joins others, the one counts that recognises
    the most.
    """
    best = _whole(language, text, depth) or (0, text)
    for sign in _JOINTS[: len(_JOINTS) - depth]:
        parts = text.split(sign)
        if 1 < len(parts) <= _MOST_PARTS:
            joined = _joined(language, parts, sign, depth)
            best = joined if joined[0] > best[0] else best
    # What is wrong with a value stands behind it: "x is no domain".
    first, _, rest = text.partition(" ")
    behind = _whole(language, rest, depth) if " " in rest else None
    if behind and behind[0] > best[0]:
        best = (behind[0], f"{first} {behind[1]}")
    return best


def _whole(language: str, text: str, depth: int) -> tuple[int, str] | None:
    """Return the translation of a text that is marked as a whole; None: it is not.

    Also of one that a page has made a sentence, and of a stable word such as
    `no_recipient`.
    """
    known = texts(language).forms
    bare = text.removesuffix(".")
    ways = dict.fromkeys((text, bare, _lower(text), _lower(bare)))
    for one in ways:
        found = known.get(one) or (known.get(one.replace("_", " ")) if one else None)
        if found:
            return len(text), _like(text, one, found[0])
    if depth > _DEEPEST:
        return None
    filled = [
        (score, _like(text, one, told))
        for one in ways
        for score, told in _filled(language, one, depth)
    ]
    return max(filled, default=None, key=lambda found: found[0])


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _like(text: str, one: str, told: str) -> str:
    """Return a translation as a sentence, where the text was one."""
    if one[:1] != text[:1]:
        told = told[:1].upper() + told[1:]
    return f"{told}." if text.endswith(".") and not one.endswith(".") else told


def _filled(language: str, text: str, depth: int) -> list[tuple[int, str]]:
    """Return the translation of a text with fields, with its values; none: no text."""
    shapes = _shapes(language)
    best: tuple[int, _Shape, dict[str, str]] | None = None
    for place in (f"<{text[:_EDGE]}", f">{text[-_EDGE:]}", ""):
        for shape in shapes.get(place, ()):
            if best is not None and shape.size <= best[0]:
                continue
            if (values := shape.values(text)) is not None:
                best = (shape.size, shape, values)
    if best is None:
        return []
    size, shape, values = best
    told = {name: _value(language, name, one, depth) for name, one in values.items()}
    recognised = size + sum(score for score, _ in told.values())
    form = shape.form.format_map({name: one for name, (_, one) in told.items()})
    return [(recognised, form)]


def _value(language: str, name: str, text: str, depth: int) -> tuple[int, str]:
    """Tell a value: a text of its own, or a word where the field holds one.

    Other words are names, keys, or choices that a person is to type as they are.
    """
    if " " in text or name in _WORDS:
        return _told(language, text, depth + 1)
    return 0, text


def _joined(language: str, parts: list[str], sign: str, depth: int) -> tuple[int, str]:
    """Tell a text that joins several, each of as many parts as is recognised best."""
    best: list[tuple[int, str]] = [(0, "")] * (len(parts) + 1)
    for at in reversed(range(len(parts))):
        found = (-1, "")
        for end in range(len(parts), at, -1):
            if end - at == len(parts):
                continue  # The whole was looked for before.
            piece = sign.join(parts[at:end])
            score, told = _whole(language, piece, depth) or (0, piece)
            if end == at + 1 and not score and depth < _DEEPEST:
                score, told = _told(language, piece, depth + 1)
            rest = best[end]
            if score + rest[0] > found[0]:
                joint = sign if end < len(parts) else ""
                found = (score + rest[0], f"{told}{joint}{rest[1]}")
        best[at] = found
    return best[0]


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
