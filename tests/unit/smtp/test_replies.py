"""The reply table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from relay.smtp import replies
from relay.smtp.replies import Reply, encoded, printable

TABLE = {name: row for name, row in vars(replies).items() if isinstance(row, Reply)}


@pytest.mark.parametrize("name", TABLE)
def test_rows_are_whole(name):
    """Each row has a code, the enhanced code that goes with it, and its source."""
    row = TABLE[name]
    assert re.fullmatch(r"RFC \d{4}( section [\d.]+)?", row.source)
    if row.enhanced:
        assert re.fullmatch(r"[245]\.\d\.\d{1,2}", row.enhanced)
        assert row.enhanced[0] == str(row.code)[0]
    else:
        assert row.code in {220, 250, 334, 354}


def test_line_has_fields_and_reference():
    """Fields are filled in, and the id stands at the end."""
    line = replies.TOO_LARGE.line(limit=10, ref="abc")
    assert line == "552 5.3.4 Mail is larger than 10 bytes (ref abc)"
    assert replies.GO_AHEAD.line() == "354 End data with <CR><LF>.<CR><LF>"
    assert encoded(replies.BYE) == b"221 2.0.0 Bye\r\n"


def test_line_fits_and_keeps_its_reference():
    """However long a text, the line keeps to 512 octets, and the id stays whole."""
    line = replies.SENDER_NOT_ACCEPTED.line(text="x" * 5000, ref="abc")
    assert len(line) == 510
    assert line.endswith("xx (ref abc)")


@pytest.mark.parametrize("nasty", ["a\r\nb", "a\x00b", "a\x7fb", "aéb", "a\u2028b"])
def test_lines_cannot_be_split(nasty):
    """What is not printable ASCII becomes a question mark."""
    line = replies.SENDER_NOT_ACCEPTED.line(text=nasty)
    assert line.isascii()
    assert line.isprintable()
    assert printable("plain") == "plain"


def test_braces_in_values_are_text():
    """A value with braces is not taken for a field."""
    assert "{ref}" in replies.SENDER_NOT_ACCEPTED.line(text="{ref}")


def test_every_reply_is_said():
    """A row that no code says any more is taken out of the table."""
    folder = Path(replies.__file__).parent
    files = [path for path in folder.glob("*.py") if path.name != "replies.py"]
    source = "\n".join(path.read_text("utf-8") for path in files)
    own = Path(replies.__file__).read_text("utf-8")
    assert [
        name
        for name in TABLE
        if f"replies.{name}" not in source and len(re.findall(rf"\b{name}\b", own)) == 1
    ] == []


def test_every_reason_is_given():
    """A reason that no code gives any more is taken out of the translation."""
    folder = Path(replies.__file__).parents[1]
    source = "\n".join(
        path.read_text("utf-8")
        for room in ("intake", "smtp", "sender")
        for path in (folder / room).glob("*.py")
        if path.name != "replies.py"
    )
    assert [reason for reason in replies.BY_REASON if f'"{reason}"' not in source] == []
