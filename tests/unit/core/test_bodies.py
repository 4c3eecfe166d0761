"""Body modes: the rules as they are set, and whose mail they hold for."""

from __future__ import annotations

import pytest

from relay.core.bodies import BodyMode, BodyRules, least, read_body_rule
from relay.core.mailboxes import AddressRules


@pytest.mark.parametrize(
    ("line", "key", "mode"),
    [
        ("Bank.Example: headers", "bank.example", BodyMode.HEADERS),
        ("*@bank.example:text", "bank.example", BodyMode.TEXT),
        ("Kim@Acme.example : subject ", "kim@acme.example", BodyMode.SUBJECT),
        ("bücher.example: full", "xn--bcher-kva.example", BodyMode.FULL),
    ],
)
def test_a_rule_names_an_address_or_a_domain(line: str, key: str, mode: str) -> None:
    """Domains come in their ASCII form, small."""
    assert read_body_rule(line) == (key, mode)


@pytest.mark.parametrize(
    "line",
    ["", "bank.example", ": headers", "bank.example: most", "bank: text", "a b.c: text",
     "*.bank.example: text", "@bank.example: text"],
)  # fmt: skip
def test_anything_else_is_none(line: str) -> None:
    """The text names it."""
    with pytest.raises(ValueError, match="is no rule for bodies"):
        read_body_rule(line)


def test_an_address_stands_before_its_domain() -> None:
    """In every spelling of the mailbox."""
    spellings = AddressRules.of(["acme.example: plus"])
    rules = BodyRules.of(
        ["acme.example: headers", "kim+x@acme.example: full"], spellings
    )
    assert rules
    assert not BodyRules.of([])
    assert rules.mode("kim@acme.example") is BodyMode.FULL
    assert rules.mode("lee@acme.example") is BodyMode.HEADERS
    assert rules.mode("kim@other.example") is None


def test_the_least_of_several() -> None:
    """The subject alone is less than all of the header."""
    assert least(BodyMode) is BodyMode.SUBJECT
    assert least([BodyMode.WITHOUT_QUOTES, BodyMode.TEXT]) is BodyMode.WITHOUT_QUOTES
    assert [mode.value for mode in BodyMode if mode.has_text] == [
        "full",
        "text",
        "without_quotes",
    ]
