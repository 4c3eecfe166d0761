"""Text that fits a field."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.activity.text import MARK, cut, cut_html, one_line, units


@pytest.mark.parametrize(("text", "count"), [("abc", 3), ("é", 1), ("😀", 2), ("", 0)])
def test_units_are_utf16(text: str, count: int) -> None:
    """A character beyond the basic plane counts twice, as in Salesforce."""
    assert units(text) == count


def test_short_text_is_left_alone() -> None:
    """What fits is not touched."""
    assert cut("x" * 255, 255) == "x" * 255


def test_long_text_is_cut_with_a_mark() -> None:
    """What was cut says so, and fills the field."""
    result = cut("x" * 300, 255)
    assert len(result) == 255
    assert result.endswith(MARK)


def test_accents_stay_with_their_letter() -> None:
    """A base character is not parted from its combining accent."""
    assert cut("aaae\u0301zzzz", 4, mark="") == "aaa"


def test_limit_below_the_mark_cuts_without_it() -> None:
    """A tiny field still gets text."""
    assert cut("abcdefghij", 3) == "abc"


@given(st.text(max_size=80), st.integers(1, 60))
def test_cut_never_exceeds_the_limit(text: str, limit: int) -> None:
    """However odd the text, Salesforce will not answer STRING_TOO_LONG."""
    assert units(cut(text, limit)) <= limit


@given(st.text(alphabet="<>a&; b😀", max_size=80), st.integers(10, 60))
def test_cut_html_never_exceeds_the_limit(html: str, limit: int) -> None:
    """The same for HTML."""
    assert units(cut_html(html, limit)) <= limit


@pytest.mark.parametrize("tail", ["<img src='x", "&nbs", "<"])
def test_html_is_not_cut_inside_a_tag_or_entity(tail: str) -> None:
    """A half tag at the end would swallow the mark."""
    head = "<p>" + "x" * 40
    html = head + tail + "y" * 100
    assert cut_html(html, units(head + tail + MARK)) == head + MARK


def test_one_line() -> None:
    """Line breaks never reach a subject (D5)."""
    assert one_line(" a\r\n\tb  c ") == "a b c"
