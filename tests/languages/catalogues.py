"""Brings the catalogues of translations up to date: `make messages`.

Extracts every marked text of the product and the sentences of the rooms below the
pages (`tests/languages/sentences.py`), adds what is new to each catalogue, removes what
is gone, and lists what is still to be translated. Translate it in `relay/locales/*.po`;
the test beside this file fails until nothing is missing.
"""

from __future__ import annotations

import re
import sys
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_file
from babel.messages.pofile import read_po, write_po

from relay.core.translate import FOLDER, LANGUAGES, SOURCE, path_of
from tests.languages.sentences import files, helps, sentences

ROOT = Path(__file__).parents[2]
METHODS = {"**/*.py": "python", "**/templates/**/*.html": "jinja2"}
OPTIONS = {"jinja2": {"extensions": "jinja2.ext.i18n", "silent": "false"}}
FIELD = re.compile(r"\{[a-z_0-9]+\}")
MARK = re.compile(r"\b(?:_|N_|n?gettext)\(|\{%-?\s*trans\b")
KEYWORDS = {
    "_": None,
    "N_": None,
    "gettext": None,
    "ngettext": (1, 2),
}
OTHERS = [language for language in LANGUAGES if language != SOURCE]
PLURAL_FORMS = {"es": "n != 1", "pt": "n > 1", "fr": "n > 1", "sv": "n != 1"}
HEADER = "# Texts of the relay; `make messages` adds what is new."


def extracted() -> Catalog:
    """Return every marked text, with the files it stands in.

    Raises:
        ValueError: A mark has a context, which the relay does not read.
    """
    found = Catalog(charset="utf-8")
    for pattern, method in METHODS.items():
        for path in sorted((ROOT / "relay").glob(pattern)):
            # Most files have no mark; reading all of them by Babel takes long.
            if not MARK.search(path.read_text("utf-8")):
                continue
            name = path.relative_to(ROOT).as_posix()
            for _, text, comments, context in extract_from_file(
                method, path, KEYWORDS, ["TRANSLATORS:"], OPTIONS.get(method)
            ):
                if context:
                    msg = f"{name}: contexts are not read: {context}"
                    raise ValueError(msg)
                found.add(text, locations=[(name, None)], auto_comments=comments)
    for text in helps():
        found.add(text, locations=[("relay/config", None)])
    for path in files(ROOT):
        name = path.relative_to(ROOT).as_posix()
        for _, text in sentences(path):
            found.add(text, locations=[(name, None)])
    return found


def kept(language: str) -> Catalog:
    """Return a catalogue as it stands in the folder, empty where there is none."""
    path = path_of(language)
    text = path.read_bytes() if path.exists() else b""
    return read_po(BytesIO(text), locale=language)


def updated(language: str, template: Catalog) -> Catalog:
    """Return a catalogue with the texts of today, translated as far as it was.

    A text whose fields have other names by now keeps its translation.
    """
    old, new = kept(language), _empty(language)
    renamed = {FIELD.sub("{}", one.id): one for one in old if isinstance(one.id, str)}
    for one in template:
        if not one.id:
            continue
        known = old.get(one.id)
        said = known.string if known is not None and not known.fuzzy else None
        if known is None and isinstance(one.id, str):
            said = _renamed(renamed.get(FIELD.sub("{}", one.id)), one.id)
        new.add(
            one.id,
            said,
            locations=sorted(set(one.locations)),
            auto_comments=one.auto_comments,
        )
    return new


def _renamed(old: Message | None, text: str) -> str | None:
    """Return the translation of a text that differs in the names of its fields."""
    if old is None or not old.id:
        return None
    names = dict(zip(FIELD.findall(old.id), FIELD.findall(text), strict=True))
    return FIELD.sub(lambda found: names.get(found[0], found[0]), old.string)


def _empty(language: str) -> Catalog:
    """Return an empty catalogue: two forms for a count, as `PLURALS` has them."""
    made = Catalog(locale=language, charset="utf-8")
    made._num_plurals, made._plural_expr = 2, PLURAL_FORMS[language]
    return made


def text_of(catalogue: Catalog) -> str:
    """Return a catalogue as the file holds it."""
    out = BytesIO()
    write_po(out, catalogue, omit_header=True, sort_output=True, width=88)
    plural = PLURAL_FORMS[str(catalogue.locale)]
    rules = (
        f'{HEADER}\nmsgid ""\nmsgstr ""\n"Language: {catalogue.locale}\\n"\n'
        '"Content-Type: text/plain; charset=utf-8\\n"\n'
        f'"Plural-Forms: nplurals=2; plural=({plural});\\n"\n\n'
    )
    return rules + out.getvalue().decode().strip("\n") + "\n"


def missing(catalogue: Catalog) -> list[str]:
    """Return the texts that are not translated."""
    return [
        one.id if isinstance(one.id, str) else one.id[0]
        for one in catalogue
        if one.id and not all(_forms(one.string))
    ]


def _forms(string: str | tuple[str, ...] | list[str]) -> tuple[str, ...]:
    return (string,) if isinstance(string, str) else tuple(string or ("",))


def main() -> int:
    """Write the catalogues; say what is missing."""
    FOLDER.mkdir(exist_ok=True)
    template = extracted()
    lacks = 0
    for language in OTHERS:
        catalogue = updated(language, template)
        path_of(language).write_text(text_of(catalogue), "utf-8")
        absent = missing(catalogue)
        lacks += len(absent)
        for text in absent:
            sys.stdout.write(f"{path_of(language).name}: {text!r} is missing\n")
    sys.stdout.write(f"{len(template)} texts, {lacks} translations missing\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
