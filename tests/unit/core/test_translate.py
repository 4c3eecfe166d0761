"""Which language a reader gets."""

from __future__ import annotations

import pytest

from relay.core.translate import LANGUAGES, best, texts


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
