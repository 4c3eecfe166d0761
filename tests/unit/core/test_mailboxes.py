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
        ("Gmail.com: plus dots", ("gmail.com", {"plus", "dots"}, "")),
        ("bücher.example:dots", ("xn--bcher-kva.example", {"dots"}, "")),
        ("corp.com: alias Corp.de", ("corp.com", set(), "corp.de")),
        ("corp.com:plus alias corp.de", ("corp.com", {"plus"}, "corp.de")),
        ("corp.com: plus alias corp.com", ("corp.com", {"plus"}, "")),
    ],
)
def test_rules_are_read(line: str, rule: tuple[str, set[str], str]) -> None:
    """The domains in their compared form."""
    assert read_rule(line) == rule


def test_a_rule_is_written_as_it_is_read() -> None:
    """Words in a fixed order."""
    line = "corp.com: plus dots alias corp.de"
    assert str(read_rule("Corp.com: dots plus  alias corp.de")) == line
    assert str(read_rule("corp.com: alias corp.de")) == "corp.com: alias corp.de"


ALIASES = AddressRules.of(
    ("corp.com: alias corp.de", "corp.de: plus", "corp.fr: dots alias corp.com",
     "b.example: alias a.example", "a.example: alias b.example",
     "googlemail.com: plus dots alias gmail.com", "gmail.com: plus dots")
)  # fmt: skip


@pytest.mark.parametrize(
    ("key", "mailbox"),
    [
        ("kim+x@corp.com", "kim@corp.de"),
        ("k.im+x@corp.fr", "kim@corp.de"),
        ("k.im@corp.de", "k.im@corp.de"),
        ("*@corp.com", "*@corp.de"),
        ('"k.i"@corp.fr', '"k.i"@corp.de'),
        ("x@b.example", "x@a.example"),
        ("x@a.example", "x@a.example"),
        ("k.im@googlemail.com", "kim@gmail.com"),
    ],
)
def test_domains_of_one_owner(key: str, mailbox: str) -> None:
    """An alias follows an alias; a circle has one end."""
    assert ALIASES.mailbox(key) == mailbox
    assert ALIASES.mailbox(mailbox) == mailbox


def test_spellings_under_which_a_record_may_have_an_address() -> None:
    """The shortest first; none where no rule speaks of the domain."""
    assert ALIASES.spellings("k.im+x@corp.fr") == (
        "kim@corp.de",
        "k.im+x@corp.de",
        "kim@corp.com",
        "k.im+x@corp.com",
        "kim@corp.fr",
    )
    assert RULES.spellings("mara+x@corp.example") == ("mara@corp.example",)
    assert RULES.spellings("mara@corp.example") == ()
    assert ALIASES.spellings("x@elsewhere.example") == ()
    assert NO_RULES.spellings("x@elsewhere.example") == ()
    assert ALIASES.domain("corp.fr") == "corp.de"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "gmail.com",
        "gmail.com:",
        ": plus",
        "gmail.com: minus",
        "plus",
        "a.example: alias",
        "a.example: alias b c",
        ": alias b.example",
    ],
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
