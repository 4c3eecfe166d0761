"""Texts in five languages: catalogues, plurals, the browser's choice, plain ASCII."""

from __future__ import annotations

import pytest

from relay.core.translate import (
    LANGUAGES,
    N_,
    SOURCE,
    Texts,
    ascii_text,
    best,
    read,
    texts,
)

CATALOGUE = """\
# A comment
msgid ""
msgstr ""
"Language: es\\n"

#: relay/one.py
#, python-brace-format
msgid "A mail"
msgid_plural "{count} mails"
msgstr[0] "Un correo"
msgstr[1] "{count} correos"

msgid ""
"Two "
"\\"lines\\""
msgstr "Dos \\"líneas\\"\\n"

#, fuzzy
msgid "Old"
msgstr "Viejo"

#~ msgid "Gone"
#~ msgstr "Ido"
"""


def test_a_catalogue_is_read():
    """Forms, several lines, escapes and flags; what is obsolete is passed over."""
    header, mail, lines, old = read(CATALOGUE)
    assert header.text == ""
    assert mail.plural == "{count} mails"
    assert mail.forms == ("Un correo", "{count} correos")
    assert (lines.text, lines.forms) == ('Two "lines"', ('Dos "líneas"\n',))
    assert (old.fuzzy, lines.fuzzy) == (True, False)


def test_texts_come_in_the_language_or_in_english():
    """A text that a catalogue lacks, and a language that there is not, are English."""
    spanish = Texts("es", {"Yes": ("Sí",), "A mail": ("Un correo", "{count} correos")})
    assert spanish("Yes") == spanish.gettext("Yes") == "Sí"
    assert spanish("No") == "No"
    assert spanish.ngettext("A mail", "{count} mails", 1) == "Un correo"
    assert spanish.ngettext("A mail", "{count} mails", 0) == "{count} correos"
    assert spanish.ngettext("Yes", "{count} yes", 7) == "{count} yes"
    assert spanish.ngettext("One", "{count}", 1) == "One"
    assert texts("tlh") is texts(None) is texts(SOURCE)
    assert texts("../es") is texts(None)
    assert N_("kept") == "kept"


def test_each_language_counts_by_its_own_rule():
    """French and Brazilian Portuguese say "0 mail"."""
    forms = {"a": ("one", "many")}
    said = {code: Texts(code, forms).ngettext("a", "b", 0) for code in LANGUAGES}
    assert said == {"en": "many", "es": "many", "pt": "one", "fr": "one", "sv": "many"}
    assert texts("fr") is texts("fr")


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"),
        ("sv", "sv"),
        ("pt-BR,pt;q=0.9,en;q=0.8", "pt"),
        ("de,fr;q=0.3,es;q=0.7", "es"),
        ("de-DE", "en"),
        ("fr;q=0", "en"),
        ("fr;q=1.1.1, sv;q=0.1", "sv"),
        ("*", "en"),
        (";;;,,, ;q=", "en"),
        ("ES-419", "es"),
        ("fr;q=0.5,fr;q=0.9,sv;q=0.7", "fr"),
    ],
)
def test_the_language_asked_for_first_is_taken(header, language):
    assert best(header) == language


@pytest.mark.parametrize("language", [*LANGUAGES, "xx", "../etc"])
def test_a_text_without_translation_stays_as_it_is(language):
    assert texts(language).gettext("no such text 4711") == "no such text 4711"


def test_ascii_has_no_accents():
    """Letters lose their accents, quotes are plain, what is left is dropped."""
    assert ascii_text("plain") == "plain"
    assert ascii_text("¿Señor? « été » “œuvre” Åse…") == (
        'Senor? " ete " "oeuvre" Ase...'
    )
    assert ascii_text("l\N{RIGHT SINGLE QUOTATION MARK}été — 漢字") == "l'ete - "
