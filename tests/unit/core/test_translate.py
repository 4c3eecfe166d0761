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


# ------------------------------------------------------------------ telling again


@pytest.fixture(scope="module")
def swedish():
    return texts("sv")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("there is no change 7", "det finns ingen ändring 7"),
        ("There is no change 7.", "Det finns ingen ändring 7."),
        ("Copy one from a listing.", "Kopiera ett ur en lista."),
        ("The session ended.", "Sessionen tog slut."),
        ("no_recipient", "ingen mottagare"),
        ("x is no API name of a field", "x är inte API-namnet på ett fält"),
        (
            "'x' is no day; name one, such as tomorrow or 3d",
            "'x' är ingen dag; ange en, som tomorrow eller 3d",
        ),
        (
            "attempt 1: no_record: every outside address is excluded",
            "försök 1: ingen post: alla externa adresser är utelämnade",
        ),
        (
            "550 No such address (ref a); no user has this relay address",
            "550 No such address (ref a); ingen användare har den reläadressen",
        ),
    ],
)
def test_a_text_of_a_lower_room_is_told_again(swedish, said, told):
    """Its fixed words are found, also within a sentence or a chain of texts."""
    assert swedish.told(said) == told


@pytest.mark.parametrize(
    "said",
    [
        "",
        "Ada Byron",
        "ada@acme.com, bob@acme.com; a.b: c",
        "Salesforce said: FIELD_X was bad",
        "no user has this " + "x" * 2001,
    ],
)
def test_what_is_no_text_of_the_relay_stays(swedish, said):
    """What a person, a mail or Salesforce wrote is no text to translate."""
    assert swedish.told(said) == said


def test_english_is_told_as_it_was_said():
    """The source needs no catalogue."""
    assert texts("en").told("there is no change 7") == "there is no change 7"


def test_a_value_that_is_to_be_typed_stays_as_it_is(swedish):
    """Choices, keys and names are no words; a field for a state is one."""
    said = swedish.told("match.several = 'x' does not fit; write one of all, oldest")
    assert said == "match.several = 'x' passar inte; skriv något av dessa: all, oldest"
    assert swedish.told("0a1b2c is logged, not unmatched") == (
        "0a1b2c är loggat, inte utan träff"
    )


def test_a_number_is_digits(swedish):
    """Where a text has a count, no words stand in its place."""
    assert swedish.told("3 addresses") == "3 adresser"
    assert swedish.told("Nice addresses") == "Nice addresses"


def test_of_two_shapes_the_more_telling_one_counts(swedish):
    """A text with more fixed words stands before one with fewer."""
    said = "the first EmailMessage was refused: x is no day"
    assert swedish.told(said) == "det första EmailMessage avvisades: x är ingen dag"


def test_a_text_made_to_hurt_takes_no_time(swedish):
    """Joints within joints are read to a bound."""
    parts = "; ".join(": ".join(["a is b, c"] * 8) for _ in range(8))
    assert swedish.told(parts)
    assert swedish.told("there is no change " * 100)
