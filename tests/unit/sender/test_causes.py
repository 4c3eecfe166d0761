"""The catalogue of causes: numbers and words that stay, texts that help."""

from __future__ import annotations

import re

import pytest

from relay.core.authentication import Outcome
from relay.sender import CAUSES, cause
from relay.sender.policy import against
from relay.smtp import replies

ROWS = sorted(CAUSES.values(), key=lambda row: row.number)


def test_numbers_are_in_order_and_words_are_their_own():
    """A number and a word name one cause."""
    assert [row.number for row in ROWS] == list(CAUSES)
    assert len({row.reason for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.number)
def test_a_row_is_whole(row):
    """Each has a section of an RFC, a status, a sentence, and what helps."""
    assert cause(row.reason) is row
    assert re.match(r"RFC \d{4} section [\d.]+", row.source)
    assert re.fullmatch(r"[45]\.\d\.\d{1,2}", row.enhanced)
    assert row.mend
    assert row.as_json()["cause"] == row.number


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.number)
def test_a_reply_has_the_whole_text(row):
    """The longest values leave room for sentence, mend and id in one reply line."""
    text = row.text(address="a@" + "x" * 60 + ".example", detail="y" * 60)
    reply = replies.BY_REASON[row.reason]
    line = reply.line(text=text, ref="0" * 26)
    assert text in line
    assert line.endswith(f"(ref {'0' * 26})")
    assert len(line) <= replies.MAX_REPLY_LINE - 2
    assert line.startswith("451 4." if row.temporary else "550 5.")


def test_a_verdict_keeps_its_names():
    """Programs read these."""
    made = against("no_from", Outcome.REFUSE, policy="listed")
    assert list(made.as_json()) == [
        "outcome", "policy", "kind", "address", "domain", "proof", "cause", "reason",
        "text", "detail", "monitor", "authentication",
    ]  # fmt: skip
