"""What lower rooms say is found again in each language, whatever its values."""

from __future__ import annotations

import pytest

from relay.core.translate import texts
from tests.languages.catalogues import FIELD, OTHERS, ROOT
from tests.languages.sentences import files, helps, is_sentence, sentences

pytestmark = pytest.mark.timeout(60)
NUMBERS = {"{count}", "{number}"}


@pytest.fixture(scope="module")
def said():
    """Return every sentence of the rooms."""
    return sorted({text for path in files(ROOT) for _, text in sentences(path)})


def filled(text, values):
    """Return a text with its values in it."""
    return FIELD.sub(lambda found: values[found[0]], text)


@pytest.mark.parametrize("language", OTHERS)
def test_each_sentence_is_told_with_its_values(language, said):
    """Also where another text has nearly the same words."""
    known = texts(language)
    wrong = []
    for text in said:
        fields = FIELD.findall(text)
        values = {
            name: "7" if name in NUMBERS else f"Zx{number}q"
            for number, name in enumerate(fields)
        }
        told = filled(known.forms[text][0], values)
        if known.told(filled(text, values)) != told:
            wrong.append((text, told, known.told(filled(text, values))))
    assert not wrong


@pytest.mark.parametrize("language", OTHERS)
def test_each_rule_is_told(language):
    """What a setting is for, which no file of the rooms has as one text."""
    for text in helps():
        assert texts(language).told(text) != text


def test_a_sentence_is_found_wherever_it_stands(tmp_path):
    """With a field for each value; docstrings, marks, commands and SQL are none."""
    path = tmp_path / "one.py"
    path.write_text(
        '"""This is a docstring."""\n'
        "def work(user, ids):\n"
        "    log.info('an event of the log', n=f'{ids} of the log')\n"
        "    N_('it is marked already')\n"
        "    run('SELECT id FROM users WHERE x')\n"
        "    yield f'relay user show {user}'\n"
        "    yield f'there is no user {user.email} and no {ids[0]}; {len(ids)} left'\n"
        "    yield 'word'\n"
        "    yield ', and more of {} there'\n",
        "utf-8",
    )
    assert [text for _, text in sentences(path)] == [
        "there is no user {email} and no {ids}; {ids2} left",
        "and more of {value} there",
    ]


@pytest.mark.parametrize("text", ["word", "a_b c_d.e", "{one} {two}", "AND OR"])
def test_what_is_no_sentence(text):
    """Keys, fields alone, and words alone."""
    assert not is_sentence(text)
