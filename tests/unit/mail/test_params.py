"""Parameters of Content-Type and Content-Disposition."""

from __future__ import annotations

import pytest

from relay.mail.params import file_name, media_type, read, shorten, text


def test_value_and_parameters() -> None:
    """Names are in lower case, values raw; the first of a name counts."""
    token, parameters = read(
        b' Text/PLAIN ; Charset = "utf-8" ;format=flowed; charset=x'
    )
    assert token == "text/plain"
    assert parameters == {"charset": b"utf-8", "format": b"flowed"}


@pytest.mark.parametrize(
    ("value", "token"),
    [
        (b"", ""),
        (b";x=y", ""),
        (b"text/html", "text/html"),
        (b"text/(a comment)html", "text/html"),
        (b"attachment (", "attachment ("),
        (b"a\xffb", "a\ufffdb"),
    ],
)
def test_tokens(value: bytes, token: str) -> None:
    """The token is what stands before the semicolon, without comments."""
    assert read(value)[0] == token


def test_only_the_beginning_of_a_field_is_read() -> None:
    """A field of a megabyte costs no more than one of 16 KB."""
    assert read(b"text/plain" + b" " * 20_000 + b"; charset=x")[1] == {}


def test_media_types_have_the_form_of_one() -> None:
    """What has no form of a type becomes the default."""
    assert media_type("text/html", "x/y") == "text/html"
    for odd in ("", "text", "text/", "/html", "a b/c", "text/html;", "t\u00e9xt/html"):
        assert media_type(odd, "x/y") == "x/y"


@pytest.mark.parametrize(
    ("parameters", "found"),
    [
        ({}, ""),
        ({"n": b""}, ""),
        ({"n": b"a"}, "a"),
        ({"n": b"a", "x": b"b"}, "a"),
        ({"n*": b"utf-8''%C3%A4"}, "ä"),
        ({"n*": b"no quotes%20here"}, "no quotes here"),
        ({"n*0": b"a", "n*1": b"b", "m*2": b"c"}, "ab"),
        ({"n*0*": b"utf-8''%C3", "n*1*": b"%A4"}, "ä"),
        ({"n*0": b"=?utf-8?q?=C3?=", "n*1": b"=?utf-8?q?=A4?="}, "ä"),
        ({"n*x": b"a"}, ""),
        ({"n*": b"utf-8''"}, ""),
        ({"n*": b"utf-8''%zz%"}, "%zz%"),
    ],
)
def test_values_as_text(parameters: dict[str, bytes], found: str) -> None:
    """RFC 2231 comes before the plain form; both are decoded."""
    assert text(parameters, "n") == found


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b"a/b/c.pdf", "c.pdf"),
        (b"dir\\c.pdf", "c.pdf"),
        (b"dir/", "dir"),
        (b"/", ""),
        (b".", ""),
        (b"", ""),
    ],
)
def test_file_names_have_no_folders(raw: bytes, name: str) -> None:
    """A name is a name: no path can be climbed with it."""
    assert file_name({"filename": raw}, {}) == name
    assert file_name({}, {"name": raw}) == name


def test_long_names_keep_their_ending() -> None:
    """A cut name still says what kind of file it is."""
    assert shorten("a.pdf") == "a.pdf"
    assert shorten("x" * 300 + ".pdf") == "x" * 251 + ".pdf"
    assert shorten("x" * 300) == "x" * 255
    assert shorten("x." + "y" * 300) == "x." + "y" * 253
