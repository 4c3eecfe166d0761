"""Who may send for a user."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relay.sender import Author, judge, judge_author, read_author
from tests.fakes.intake import ADA

LIST = frozenset({"ada@corp.example", "*@team.example", "x@xn--bcher-kva.example"})


@pytest.mark.parametrize(
    "value",
    [
        b"ada@corp.example",
        b"Ada <ada@corp.example>",
        b'"Rep, Ada" <ADA@Corp.Example>',
        b"=?utf-8?q?Ad=C3=A0?= <ada@corp.example>",
        b"ada@corp.example (Ada)",
        b"Who <anybody@TEAM.example>",
        "x@bücher.example".encode(),
    ],
)
def test_accepted(value):
    """Case, names, comments and the spelling of a domain make no difference."""
    verdict = judge([value], ADA, LIST)
    assert verdict.accepted
    assert verdict.reason == "accepted"


@pytest.mark.parametrize(
    "value",
    [
        b"eve@evil.example",
        b"ada@evil.example",
        b"eve@corp.example",
        b"ada@corp.example.evil.example",
        b"x@sub.team.example",
        b"*@team.example.evil",
        b'"ada@corp.example" <eve@evil.example>',
        b"=?utf-8?q?ada=40corp=2Eexample?= <eve@evil.example>",
        b"eve@evil.example (ada@corp.example)",
    ],
)
def test_not_accepted(value):
    """Nobody else is, whatever their name says; the text names them and the mend."""
    verdict = judge([value], ADA, LIST)
    assert not verdict.accepted
    assert verdict.reason == "sender_not_accepted"
    assert verdict.address in verdict.text
    assert "administrator" not in verdict.text
    assert "Ada" not in verdict.text


@pytest.mark.parametrize("values", [[], [b""], [b"Ada"], [b"undisclosed:;"], [b"<>"]])
def test_no_from(values):
    """Without an address that can be read nobody is the sender."""
    verdict = judge(values, ADA, LIST)
    assert not verdict.accepted
    assert verdict.reason == "no_from"


@pytest.mark.parametrize(
    "values",
    [
        [b"ada@corp.example, eve@evil.example"],
        [b"eve@evil.example, ada@corp.example"],
        [b"ada@corp.example", b"eve@evil.example"],
        [b"ada@corp.example", b"ada@corp.example"],
        [b"ada@corp.example", b""],
        [b"team: ada@corp.example, eve@evil.example;"],
    ],
)
def test_several_from(values):
    """Two senders are none, even if one is accepted or both are the same."""
    verdict = judge(values, ADA, LIST)
    assert not verdict.accepted
    assert verdict.reason == "several_from"


def test_inactive_user_accepts_nobody():
    """A user who is switched off has no accepted senders."""
    verdict = judge([b"ada@corp.example"], replace(ADA, active=False), LIST)
    assert not verdict.accepted


def test_author():
    """The author is the address as written, and the key under which it is compared."""
    assert read_author([b"Ada <Ada@Corp.Example>"]) == Author(
        "Ada@Corp.Example", "ada@corp.example"
    )


def test_long_address_leaves_room_for_the_mend():
    """A text with a very long address still fits a reply line."""
    verdict = judge([b"e" * 3000 + b"@evil.example"], ADA, LIST)
    assert not verdict.accepted
    assert len(verdict.text) < 460


@pytest.mark.parametrize("values", [[b"(" * 8193], [b"a@b.example," * 70] * 10])
def test_a_from_beyond_measure_is_not_read(values, monkeypatch):
    """Longer than any honest From is refused by its length alone, unread."""
    monkeypatch.setattr("relay.sender.accepted.mailboxes", None)
    author = read_author(values)
    assert (author.key, author.problem) == ("", "from_too_long")
    verdict = judge_author(author, ADA, frozenset({"a@b.example"}))
    assert (verdict.accepted, verdict.reason) == (False, "from_too_long")
    assert "too long" in verdict.text
