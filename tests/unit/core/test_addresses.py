"""Address keys: equal for two spellings of one address, None for what is none."""

from __future__ import annotations

import pytest

from relay.core.addresses import (
    address_key,
    ascii_domain,
    covers,
    domain_key,
    domain_of,
    spellings,
    unicode_domain,
)

SAME = [
    ("Bob@X.Example", "bob@x.example"),
    (" bob@x.example ", "bob@x.example"),
    ("bob@x.example.", "bob@x.example"),
    ("bob@bücher.example", "bob@xn--bcher-kva.example"),
    ("bob@BÜCHER.example", "bob@xn--bcher-kva.example"),
    ("JüRGEN@x.example", "jürgen@x.example"),
    ("JÜRGEN@x.example", "jÜrgen@x.example"),
    ("Weiß@acme.example", "weiß@acme.example"),
    ("\u017fam@x.example", "\u017fam@x.example"),
    ("\u212aim@x.example", "\u212aim@x.example"),
    ("\ufb01n@x.example", "\ufb01n@x.example"),
    ("eva@straße.example", "eva@xn--strae-oqa.example"),
    ("eva@STRAẞE.example", "eva@xn--strae-oqa.example"),
    ("eva@XN--STRAE-OQA.example", "eva@xn--strae-oqa.example"),
    ("eva@strasse.example", "eva@strasse.example"),
    ("a@\u03b2\u03cc\u03bb\u03bf\u03c2.example", "a@xn--nxasmm1c.example"),
    ("a@\u03b2\u03cc\u03bb\u03bf\u03c3.example", "a@xn--nxasmq6b.example"),
    ("a@क्\u200dष.example", "a@xn--11b2ezcw70k.example"),
    ("a@क्ष.example", "a@xn--11b2ezc.example"),
    (
        "a@\u0646\u0627\u0645\u0647\u200c\u0627\u06cc.example",
        "a@xn--mgba3gch31f060k.example",
    ),
    ("a@ab\u200dc.example", "a@ab\u200dc.example"),
    ("a@I❤.Example", "a@i❤.example"),
    ("a@_dmarc.bücher.example", "a@_dmarc.xn--bcher-kva.example"),
    ("a@x_ü.example", "a@x_ü.example"),
    ("a@אa.example", "a@אa.example"),
    ("a@bücher.ex!ample", "a@bücher.ex!ample"),
    ("a@b❤。Example\uff0e", "a@b❤.example"),
    ("a@X。example", "a@x.example"),
    ("a@\uff45\uff58.example", "a@ex.example"),
    ("a@bücher\u2024example", "a@bücher\u2024example"),
    ("a@xn--a-ecp.example", "a@xn--a-ecp.example"),
    ("a@xn--bücher.example", "a@xn--bücher.example"),
    ("a@" + "ü." * 150 + "example", "a@" + "ü." * 150 + "example"),
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


OTHERS = [
    ("eva@straße.example", "eva@strasse.example"),
    ("weiß@acme.example", "weiss@acme.example"),
    ("\u017fam@x.example", "sam@x.example"),
    ("\u212aim@x.example", "kim@x.example"),
    ("\ufb01n@x.example", "fin@x.example"),
    ("a@\u03c2.example", "a@\u03c3.example"),
    ("a@क्\u200dष.example", "a@क्ष.example"),
    (
        "a@\u0646\u0627\u0645\u0647\u200c\u0627\u06cc.example",
        "a@\u0646\u0627\u0645\u0647\u0627\u06cc.example",
    ),
    ("a@ab\u200dc.example", "a@abc.example"),
    ("a@i❤.example", "a@xn--i-7iq.example"),
    ("a@x_ü.example", "a@xn--x_-xka.example"),
    ("a@bücher\u2024example", "a@bücher.example"),
    ("a@xn--strae-oqa.example", "a@xn--strasse-.example"),
]


@pytest.mark.parametrize(("one", "other"), OTHERS)
def test_two_addresses_that_are_not_one(one: str, other: str) -> None:
    """Addresses that may belong to two owners never have one key."""
    assert address_key(one) != address_key(other)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bob",
        "@",
        "bob@",
        "@x.example",
        "bob@.",
        "bob@\u3002",
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


def test_only_a_domain_that_has_an_ascii_form_is_written_in_it() -> None:
    """What Salesforce gets is deliverable, or as it was written."""
    assert ascii_domain("Eva@straße.example") == "Eva@xn--strae-oqa.example"
    assert ascii_domain("Eva@I❤.example") == "Eva@I❤.example"
    assert ascii_domain("straße") == "straße"


def test_a_key_has_the_spelling_that_people_read() -> None:
    """An org may hold either; a false A-label has one spelling."""
    assert spellings("eva@xn--strae-oqa.example") == (
        "eva@xn--strae-oqa.example",
        "eva@straße.example",
    )
    assert spellings("eva@strasse.example") == ("eva@strasse.example",)
    for label in ("xn--a-ecp", "xn--", "xn--bcher-", "xn--BCHER-kva", "xn--i-7iq"):
        assert unicode_domain(f"{label}.example") == f"{label}.example"


def test_patterns() -> None:
    """`*@domain` covers the domain alone, an address itself alone."""
    assert covers("*@x.example", "bob@x.example")
    assert not covers("*@x.example", "bob@sub.x.example")
    assert not covers("*@x.example", "bob@notx.example")
    assert covers("bob@x.example", "bob@x.example")
    assert not covers("bob@x.example", "al@x.example")
