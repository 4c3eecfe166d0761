"""Files that are no mail are told from one, with what helps."""

from __future__ import annotations

import pytest

from relay.core.errors import UnparsableMessage
from relay.mail import parse
from tests.fakes.real_life import text


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (bytes.fromhex("d0cf11e0a1b11ae1") + bytes(600), r"Outlook message \(.msg\)"),
        (bytes.fromhex("d0cf11e0a1b11ae1") + b"\nTo: x\n\n", "Outlook message"),
        (text("Hello").decode().encode("utf-16"), "text in UTF-16"),
        (text("Hello").decode().encode("utf-16-le"), "text in UTF-16"),
        (text("Hello").decode().encode("utf-16-be"), "text in UTF-16"),
        (b"!BDN" + bytes(20), "Outlook data file"),
        (b"\x78\x9f\x3e\x22\x01\x00", "winmail.dat"),
        (b"PK\x03\x04\x14", "ZIP archive"),
        (b"%PDF-1.4\n%x", "a PDF"),
        (b"<!DOCTYPE html><p>Hello", "a web page"),
        (b"<HTML><p>Hello", "a web page"),
        (b"{\\rtf1 x}", "an RTF document"),
    ],
)
def test_it_is_said_what_a_file_is(raw: bytes, said: str) -> None:
    """The sentence names the kind, and how a mail is saved."""
    with pytest.raises(UnparsableMessage, match=said) as raised:
        parse(raw)
    assert "save" in str(raised.value)


@pytest.mark.parametrize(
    ("raw", "said"), [(b" \r\n", "is empty"), (b"x\r\ny", "has no header field")]
)
def test_what_is_only_text_is_no_mail(raw: bytes, said: str) -> None:
    """Without a header field there is nobody who wrote it."""
    with pytest.raises(UnparsableMessage, match=said):
        parse(raw)


def test_a_mail_is_a_mail() -> None:
    """A line in front that is no field, as Apple Mail writes it, hides no mail."""
    assert parse(b"1234\n" + text("Hello")).text == "Hello"
