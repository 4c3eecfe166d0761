"""`docs/smtp.md` says what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from relay.smtp.tables import with_tables

PAGE = Path(__file__).parents[2] / "docs" / "smtp.md"
RELAY = Path(__file__).parents[2] / "relay"


def test_tables_are_the_codes():
    """Replies and limits stand in the page as they stand in the code."""
    page = PAGE.read_text("utf-8")
    mend = "run: python -m relay.smtp.tables docs/smtp.md"
    assert page == with_tables(page), mend


def test_marks_are_needed():
    """A page that lost a mark is an error, not a page without its table."""
    with pytest.raises(ValueError, match="no place for"):
        with_tables("# Nothing\n")


def test_keys_and_events_exist():
    """Each setting and log event that the page names is one."""
    page = PAGE.read_text("utf-8")
    source = "\n".join(path.read_text("utf-8") for path in RELAY.rglob("*.py"))
    for event in re.findall(r"`(smtp_[a-z_]+)`", page):
        assert f'"{event}"' in source, event
    for key in re.findall(r"`(?:smtp|store)\.([a-z_]+)`", page):
        assert re.search(rf"^    {key}: ", source, re.MULTILINE), key
