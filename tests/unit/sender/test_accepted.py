"""Who may send for a user."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relay.sender import Author, cause, judge, judge_author, read_author
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


@pytest.mark.parametrize(
    ("value", "problem", "detail"),
    [
        (b"ada@corp.example\0", "from_unclear", "control characters"),
        (b"Ada\x07 <ada@corp.example>", "from_unclear", "control characters"),
        (b"\0 <ada@corp.example>", "from_unclear", "control characters"),
        (
            b"<=?utf-8?q?ada=40corp.example=00?=@evil.example>",
            "from_unclear",
            "an encoded word in the address",
        ),
        (b"<ada@ corp.example>", "from_unclear", "blanks or comments in the address"),
        (b"ada @corp.example", "from_unclear", "blanks or comments in the address"),
        (
            b"ada@(evil.example)corp.example",
            "from_unclear",
            "blanks or comments in the address",
        ),
        (b"team: ada@corp.example;", "from_group", ""),
        (b"Automated: <ada@corp.example>;", "from_group", ""),
    ],
)
def test_what_can_be_read_in_two_ways(value, problem, detail):
    """Each is refused with its cause, although an address of the list is in it."""
    author = read_author([value])
    assert (author.problem, author.detail, author.key) == (problem, detail, "")
    verdict = judge([value], ADA, LIST | {"*@evil.example"})
    assert (verdict.accepted, verdict.reason) == (False, problem)
    assert cause(problem).number in verdict.text


@pytest.mark.parametrize(
    "value",
    [
        b"boss@corp.example <ada@corp.example>",
        b"ada@corp.example <eve@team.example>",
    ],
)
def test_another_address_in_the_name(value):
    """Some programs show the one, some the other: neither is the author."""
    author = read_author([value])
    assert author.problem in {"from_unclear", "several_from"}


@pytest.mark.parametrize(
    "value",
    [
        b"ada@corp.example <ada@corp.example>",
        b'"ada@corp.example" <ada@corp.example>',
        b'"Sales: Ada" <ada@corp.example>',
        b'"boss@corp.example (Boss)" <ada@corp.example>',
        b"Ada (sales: EMEA) <ada@corp.example>",
        b"Ada\t<ada@corp.example>",
        b"=?utf-8?q?Ada=3A_Sales?= <ada@corp.example>",
        b'"Ada \\"the\\" Rep" <ada@corp.example>',
    ],
)
def test_honest_names_are_read(value):
    """Quoted, commented and encoded names hold what they like."""
    assert read_author([value]).key == "ada@corp.example"


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("\u0430da@corp.example", "sender_looks_alike"),
        ("ada@c\u043erp.example", "sender_looks_alike"),
        ("ada@xn--crp-jdd.example", "sender_not_accepted"),
        ("any@t\u0435am.example", "sender_looks_alike"),
        ("ädä@corp.example", "sender_looks_alike"),
        ("ada@köln.example", "sender_not_accepted"),
    ],
)
def test_an_address_that_only_looks_like_one(address, reason):
    """It is refused as any stranger's; the words say why it seems to be known."""
    verdict = judge([address.encode()], ADA, LIST)
    assert (verdict.accepted, verdict.reason) == (False, reason)


def test_a_user_who_is_disabled_accepts_nobody():
    """Not their own address either."""
    verdict = judge([b"ada@corp.example"], replace(ADA, active=False), LIST)
    assert verdict.reason == "sender_not_accepted"
