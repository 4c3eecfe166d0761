"""One mailbox in several spellings, by the rule of its domain and by no other."""

from __future__ import annotations

import pytest

from relay.core.mailboxes import (
    DEFAULT_ADDRESS_RULES,
    NO_RULES,
    AddressRules,
    entry_for,
    may_send,
    read_rule,
    senders,
)

RULES = AddressRules.of(
    (*DEFAULT_ADDRESS_RULES, "corp.example: plus", "dots.example: dots")
)


@pytest.mark.parametrize(
    ("key", "mailbox"),
    [
        ("a.d.a+crm@gmail.com", "ada@gmail.com"),
        ("ada+a+b@corp.example", "ada@corp.example"),
        ("a.da@corp.example", "a.da@corp.example"),
        ("a.da+x@dots.example", "ada+x@dots.example"),
        ("a.da+x@elsewhere.example", "a.da+x@elsewhere.example"),
        ("ada+x@sub.corp.example", "ada+x@sub.corp.example"),
        ("+x@gmail.com", "+x@gmail.com"),
        ("...@gmail.com", "...@gmail.com"),
        ('"a.b+c"@gmail.com', '"a.b+c"@gmail.com'),
        ("*@gmail.com", "*@gmail.com"),
        ("nobody", "nobody"),
    ],
)
def test_mailboxes(key: str, mailbox: str) -> None:
    """Only the domain's own rule counts, and it leaves no empty name."""
    assert RULES.mailbox(key) == mailbox
    assert RULES.mailbox(mailbox) == mailbox
    assert NO_RULES.mailbox(key) == key


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("Gmail.com: plus dots", ("gmail.com", {"plus", "dots"})),
        ("bücher.example:dots", ("xn--bcher-kva.example", {"dots"})),
    ],
)
def test_rules_are_read(line: str, rule: tuple[str, set[str]]) -> None:
    """The domain in its compared form."""
    assert read_rule(line) == rule


@pytest.mark.parametrize(
    "line", ["", "gmail.com", "gmail.com:", ": plus", "gmail.com: minus", "plus"]
)
def test_what_is_no_rule_is_named(line: str) -> None:
    """A slip must not become a rule that does nothing."""
    with pytest.raises(ValueError, match="is no rule"):
        read_rule(line)


LIST = senders({"a.da@gmail.com", "ada@corp.example", "*@team.example"}, RULES)


@pytest.mark.parametrize(
    ("key", "entry"),
    [
        ("ada@gmail.com", "a.da@gmail.com"),
        ("a.da@gmail.com", "a.da@gmail.com"),
        ("ada+news@gmail.com", "a.da@gmail.com"),
        ("adam@gmail.com", ""),
        ("ada+x@corp.example", "ada@corp.example"),
        ("a.da@corp.example", ""),
        ("any.body+x@team.example", "*@team.example"),
        ("x@sub.team.example", ""),
    ],
)
def test_who_may_send(key: str, entry: str) -> None:
    """The list is read by the rules; the entry by which it was is named."""
    assert entry_for(LIST, key) == entry
    assert may_send(LIST, key) is bool(entry)


def test_a_plain_set_is_read_without_rules() -> None:
    """A list equals the plain set of its entries, which knows no rules."""
    plain = frozenset(LIST)
    assert plain == LIST
    assert not may_send(plain, "ada@gmail.com")
    assert may_send(plain, "a.da@gmail.com")
    assert may_send(plain, "x@team.example")
