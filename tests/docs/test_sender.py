"""`docs/sender.md` says what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from relay.config import SenderSettings
from relay.sender import CAUSES
from relay.sender.causes import with_table

PAGE = Path(__file__).parents[2] / "docs" / "sender.md"
MEND = (
    "python -c 'from pathlib import Path; from relay.sender.causes import with_table; "
    'p = Path("docs/sender.md"); p.write_text(with_table(p.read_text()))\''
)


def test_the_table_is_the_catalogue():
    """Each cause stands in the page as it stands in the code."""
    page = PAGE.read_text("utf-8")
    assert page == with_table(page), f"run: {MEND}"


def test_a_mark_is_needed():
    """A page that lost its mark is an error, not a page without its table."""
    with pytest.raises(ValueError, match="no place"):
        with_table("# Nothing\n")


def test_keys_exist():
    """Each setting of senders that the page names is one."""
    named = set(re.findall(r"`sender\.([a-z_]+)", PAGE.read_text("utf-8")))
    assert named
    assert named <= set(SenderSettings.model_fields)


def test_no_text_advises_to_accept_an_address():
    """The author of a refused mail may be a stranger; no text asks to let them in."""
    for one in CAUSES.values():
        assert "{address}" not in one.mend, one
        assert not re.search(r"\b(?:add|accept|register)\b", one.mend), one
