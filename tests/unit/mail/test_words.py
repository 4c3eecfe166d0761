"""Charsets, encoded words, and what is dropped from text."""

from __future__ import annotations

import encodings

import pytest

from relay.mail import decode_header
from relay.mail.words import clean, clean_bytes, decode, from_base64, line


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"", ""),
        (b"  plain  ", "plain"),
        (b"a\r\n b", "a b"),
        (b"a\nb\rc", "a b c"),
        (b"tab\there", "tab here"),
        (b"a =?utf-8?q?b?= c", "a b c"),
        (b"=?utf-8?q?a?=\t=?utf-8?q?b?=", "ab"),
        (b"=?utf-8?q?a?= x =?utf-8?q?b?=", "a x b"),
        (b"=?utf-8?q?a?= =?latin1?q?=FC?=", "a\xfc"),
        (b'"=?utf-8?q?a_b?="', '"a b"'),
        (b"=?utf-8?b??=", ""),
        (b"=?utf-8?x?a?=", "=?utf-8?x?a?="),
        (b"x=?utf-8?q?=C3=BC?=y", "x\xfcy"),
    ],
)
def test_header_values(value: bytes, text: str) -> None:
    """Encoded words are decoded wherever they stand, and blanks between them go."""
    assert decode_header(value) == text


@pytest.mark.parametrize(
    ("data", "label", "text", "right"),
    [
        (b"abc", None, "abc", True),
        (b"abc", "nix", "abc", False),
        (b"\xfc", None, "\xfc", True),
        (b"\xfc", "nix", "\xfc", False),
        (b"\x80", "iso-8859-1", "\u20ac", True),
        (b"\x80", "us-ascii", "\u20ac", True),
        (b"\xe4", "koi8-r", "\u0414", True),
        (b"\xe4", " KOI8-R ", "\u0414", True),
        (b"\xe4", "iso-8859-5", "\u0444", True),
        (b"\xcf\xf0", "Windows-1251", "\u041f\u0440", True),
        ("中文".encode("gbk"), "gb2312", "中文", True),
        ("日本".encode("shift_jis"), "x-sjis", "日本", True),
        (("中文和" * 9).encode(), "gb2312", "中文和" * 9, True),
        ("é".encode(), "iso-8859-1", "é", True),
        (b"\x81", "cp1252", "\ufffd", False),
        ("日本語".encode("iso-2022-jp"), "iso-2022-jp", "日本語", True),
        (b"\x1b$B\xff", "iso-2022-jp", "\x1b$B\xff", False),
        ("ü".encode("utf-16"), "utf-16", "ü", True),
        (b"\xff\xfex", "utf-16", "\xff\xfex", False),
        ("Grüße, viele Grüße und noch mehr".encode()[:-1] + b"\xff", "utf-8",
         "Grüße, viele Grüße und noch meh\ufffd", False),
        (b"\xff\xfe\xfd\xfc" * 20, "utf-8", "\xff\xfe\xfd\xfc" * 20, False),
    ],
)  # fmt: skip
def test_charsets(data: bytes, label: str | None, text: str, right: bool) -> None:
    """Strict UTF-8, then the label, then windows-1252; a wrong label is told."""
    assert decode(data, label) == (text, right)


def test_labels_out_of_mails_are_not_remembered() -> None:
    """Python's codec registry keeps every name it was asked for: it is not asked."""
    before = len(encodings._cache)  # type: ignore[attr-defined]
    for number in range(500):
        decode(b"\xfc", f"x-made-up-{number}")
    assert len(encodings._cache) == before  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "label", ["idna", "punycode", "rot13", "hex", "unicode_escape", "undefined"]
)
def test_codecs_that_are_no_charsets(label: str) -> None:
    """A codec that is no charset is an unknown label."""
    assert decode(b"xn--bcher-kva", label) == ("xn--bcher-kva", False)


def test_clean_text() -> None:
    """Line ends become LF; controls, surrogates and a byte order mark go."""
    assert clean("a\r\nb\rc\x0bd\x0ce\x00\x07\x7f") == "a\nb\nc\nd\ne"
    assert clean("ä\r\nb\x85c\u2028d\ud800\x9f\uffff\x00") == "ä\nb\nc\nd"
    assert clean("\ufeffä\ufeff") == "ä\ufeff"
    assert clean_bytes(b"a\r\n\rb\x1b\tc") == b"a\n\nb\tc"


def test_one_line() -> None:
    """A header value is one line; printable text is left as it is."""
    assert line(" ä b ") == "ä b"
    assert line("ä\r\nb\tc\x00\udc80\u2028d") == "ä b c d"


@pytest.mark.parametrize(
    ("data", "out"),
    [
        (b"aGVsbG8=", b"hello"),
        (b"aGVsbG8", b"hello"),
        (b"aGVs\r\nbG8=\r\n", b"hello"),
        (b"aGVsbG8gd", b"hello "),
        (b"a", b""),
        (b"***", b""),
        (b"", b""),
    ],
)
def test_base64_gives_what_it_can(data: bytes, out: bytes) -> None:
    """Damaged base64 never fails."""
    assert from_base64(data) == out


def test_a_label_of_iso_2022_jp_on_other_bytes() -> None:
    """Where nearly nothing is of that charset, the label is wrong."""
    data = b"\x1b$B" + b"\x21" * 31 + b"\xe4\xf6\xfc" * 30
    text, right = decode(data, "iso-2022-jp")
    assert not right
    assert "\xe4\xf6\xfc" in text
