"""Changes in words and as CSV."""

from __future__ import annotations

import csv
import io

import pytest

from relay.console import history
from relay.core.errors import InvalidInput

ROW = {
    "id": 7,
    "at": "2026-11-30T10:00:00Z",
    "actor": "cli:root",
    "action": "user_name",
    "user": "ada@corp.example",
    "before": "Ada",
    "after": "=HYPERLINK(1)",
    "undoes": 3,
    "undone_by": None,
    "undoable": True,
}


def test_a_change_says_what_it_took_back() -> None:
    """The action in words, and the number of the other change."""
    assert history.action_words(ROW) == "user name (takes 3 back)"
    undone = ROW | {"undoes": None, "undone_by": 9}
    assert history.action_words(undone) == "user name (taken back by 9)"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, ""),
        ("text", "text"),
        (True, "true"),
        (3, "3"),
        ({"a": 1, "b": None}, "a: 1"),
        (["x", {"a": "b"}, 2], "x, (a: b), 2"),
    ],
)
def test_values_are_said_in_words(value: object, words: str) -> None:
    """Whatever stands in the audit; nothing for nothing."""
    assert history.value_words(value) == words


def test_a_spreadsheet_runs_no_cell() -> None:
    """Names and values come from people; a formula gets an apostrophe."""
    head, row = csv.reader(io.StringIO(history.as_csv([ROW]), newline=""))
    assert tuple(head) == history.COLUMNS
    assert row[head.index("after")] == "'=HYPERLINK(1)"
    assert row[head.index("undoes")] == "3"
    assert history.safe_cell("plain") == "plain"
    for cell in (" =1", "\n@x", "\uff1d1", "\t=1"):
        assert history.safe_cell(cell) == f"'{cell}"


def test_only_a_number_names_a_change() -> None:
    """Digits of ASCII alone."""
    assert history.number_of("12") == 12
    for text in ("", "x", "-1", "\u0661"):
        with pytest.raises(InvalidInput):
            history.number_of(text)


def test_what_is_asked_is_said_without_what_is_not() -> None:
    """So that a link to the next page repeats the question."""
    asked = history.Asked(by="mona", since="2h")
    assert asked.as_json() == {"by": "mona", "since": "2h"}
    assert history.Asked().as_json() == {}
