"""Address keys: equal for two spellings of one address, None for what is none."""

from __future__ import annotations

import pytest

from relay.core.addresses import address_key, covers, domain_key, domain_of

SAME = [
    ("Bob@X.Example", "bob@x.example"),
    (" bob@x.example ", "bob@x.example"),
    ("bob@x.example.", "bob@x.example"),
    ("bob@bücher.example", "bob@xn--bcher-kva.example"),
    ("bob@BÜCHER.example", "bob@xn--bcher-kva.example"),
    ("JÜRGEN@x.example", "jürgen@x.example"),
    ('"bob"@x.example', "bob@x.example"),
    ('"Bob.Smith"@x.example', "bob.smith@x.example"),
    ('"b\\ob"@x.example', "bob@x.example"),
    ('""@x.example', '""@x.example'),
    ('"a@b"@x.example', '"a@b"@x.example'),
    ("a@b@x.example", "a@b@x.example"),
    ("a..b@x.example", "a..b@x.example"),
    ("a@c_d.example", "a@c_d.example"),
    ("bob@[192.0.2.1]", "bob@[192.0.2.1]"),
    ("a@x.example\uff20evil.example", "a@x.example\uff20evil.example"),
    ("a@\xa8", "a@\xa8"),
    ("a@bücher\u3002example\u3002", "a@xn--bcher-kva.example"),
    ("bob@" + "ü" * 80 + ".example", "bob@" + "ü" * 80 + ".example"),
]


@pytest.mark.parametrize(("written", "key"), SAME)
def test_keys(written: str, key: str) -> None:
    """The key of a spelling is the one expected, and is its own key."""
    assert address_key(written) == key
    assert address_key(key) == key


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bob",
        "@",
        "bob@",
        "@x.example",
        "bob@.",
        "a b@x.example",
        "a@x example",
        "<a@x.example>",
        "a\0@x.example",
        "a\x7f@x.example",
        '"a b"@x.example',
        "a\n@x.y",
    ],
)
def test_what_is_no_address(text: str) -> None:
    """No `@`, an empty side, blanks, controls or brackets make no address."""
    assert address_key(text) is None


def test_domains() -> None:
    """A domain is folded and made ASCII; a strange one comes back folded."""
    assert domain_key("Example.COM.") == "example.com"
    assert domain_key("Bücher.Example") == "xn--bcher-kva.example"
    assert domain_key("ü..example") == "ü..example"
    assert domain_of("a@b@x.example") == "x.example"


def test_patterns() -> None:
    """`*@domain` covers the domain alone, an address itself alone."""
    assert covers("*@x.example", "bob@x.example")
    assert not covers("*@x.example", "bob@sub.x.example")
    assert not covers("*@x.example", "bob@notx.example")
    assert covers("bob@x.example", "bob@x.example")
    assert not covers("bob@x.example", "al@x.example")
