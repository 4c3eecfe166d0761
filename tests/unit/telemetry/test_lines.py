"""Our lines are structlog's lines, only cheaper."""

from __future__ import annotations

import json
import re
import sys

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from relay.core import ascii_json
from relay.telemetry.events import JSONLines, PlainLines
from relay.telemetry.redaction import clean

NAMES = st.sampled_from("peer rcpt mail_from size_bytes listen a Z part".split())
TEXTS = st.text(max_size=20) | st.sampled_from(["a=b", "a b", "", 'q"', "x'y", "ü"])
VALUES = TEXTS | st.integers(-(2**70), 2**70) | st.booleans() | st.none()
FIELDS = st.dictionaries(NAMES, VALUES | st.lists(VALUES, max_size=3), max_size=6)
LEVELS = st.sampled_from("debug info warning error critical".split())


def event(fields, level="info"):
    """Return an event as the processors before the renderer leave it."""
    made = {"timestamp": "2026-01-01T00:00:00Z", "level": level, "event": "mail_taken"}
    return {**fields, **made}


@given(FIELDS, LEVELS)
def test_plain_lines_are_structlogs(fields, level):
    """For people without colours, a line is what structlog would write."""
    full = structlog.dev.ConsoleRenderer(colors=False)
    ours = PlainLines()(None, level, event(fields, level))
    assert ours.rstrip() == full(None, level, event(fields, level)).rstrip()


@given(FIELDS)
def test_json_lines_are_the_same_object(fields):
    """For machines, a line is one object in ASCII, with every field as it was."""
    line = JSONLines()(None, "info", event(fields))
    assert line.isascii()
    assert "\n" not in line
    assert json.loads(line) == event(fields)


def test_json_without_orjson(monkeypatch):
    """Without the extra `fast` the object is the same."""
    monkeypatch.setattr(ascii_json, "_dump", None)
    line = JSONLines()(None, "info", event({"peer": "192.0.2.1"}))
    assert json.loads(line) == event({"peer": "192.0.2.1"})


@pytest.mark.parametrize("renderer", [PlainLines(), JSONLines()])
@pytest.mark.parametrize(
    "fields", [{"exception": "Traceback\n  x"}, {"logger": "lib"}, {1: "a"}]
)
def test_rare_events_are_written_too(renderer, fields):
    """A traceback, a library's name, a strange key: the line has it."""
    made = event(fields)
    if 1 in fields and isinstance(renderer, PlainLines):
        made = {str(key): value for key, value in made.items()}
    text = renderer(None, "info", made)
    assert all(str(value).split("\n")[0] in text for value in fields.values())


def test_what_is_printable_needs_no_cleaning():
    """The short way round the search for control characters misses none of them."""
    wanted = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\ud800-\udfff]")
    for code in range(sys.maxunicode + 1):
        char = chr(code)
        if wanted.match(char):
            assert not char.isprintable()
            assert clean(char) != char
