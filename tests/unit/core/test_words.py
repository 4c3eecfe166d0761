"""Each stable word that a page shows has words in each language."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from relay.core import words
from relay.core.automatic import AutomaticKind
from relay.core.states import ActivityState, Event, State
from relay.core.translate import LANGUAGES, SOURCE, texts

SURFACE = Path(__file__).parents[2] / "docs" / "surface.json"
OTHERS = [language for language in LANGUAGES if language != SOURCE]


def test_each_reason_is_marked():
    """The reason words that are a contract, and kinds of automatic mail."""
    reasons = {*json.loads(SURFACE.read_text("utf-8"))["reasons"], *AutomaticKind}
    assert not {one.replace("_", " ") for one in reasons} - set(words.REASONS)


@pytest.mark.parametrize("language", OTHERS)
def test_each_state_and_event_is_told(language):
    """A decision ends with an event; a record has a state."""
    known = texts(language).forms
    every = {*map(str, State), *map(str, Event), *map(str, ActivityState)} - {"claim"}
    assert not {one for one in every if one.replace("_", " ") not in known}


def test_no_word_is_marked_twice():
    """One list has it."""
    groups = [group for group in vars(words).values() if isinstance(group, tuple)]
    every = [word for group in groups for word in group]
    assert len(every) == len(set(every))
