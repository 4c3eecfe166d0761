"""PROXY headers, as bytes: what is one, what is none, and what must still come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.smtp.proxy import BadHeader, Header, looks_like_header, read

V1 = b"PROXY TCP4 203.0.113.7 192.0.2.1 40000 25\r\n"
V2 = (
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"
    b"\xcb\x00\x71\x07\xc0\x00\x02\x01\x9c\x40\x00\x19"
)


@pytest.mark.parametrize("header", [V1, V2])
def test_every_beginning_asks_for_more(header):
    """Until its last byte a header is awaited; with it, it is read."""
    for end in range(len(header)):
        assert read(header[:end]) is None
    assert read(header) == Header("203.0.113.7", len(header))
    assert read(header + b"EHLO x\r\n") == Header("203.0.113.7", len(header))


@given(st.binary(max_size=300))
def test_any_bytes_are_a_header_or_none(data):
    """Whatever comes, the answer is a header, more, or BadHeader."""
    for prefix in (b"", b"PROXY TCP4 ", b"PROXY TCP6 ::1 ", V2[:12], V2[:14]):
        try:
            header = read(prefix + data)
        except BadHeader:
            continue
        assert header is None or 0 < header.length <= len(prefix + data)


def test_no_header_is_endless():
    """Neither version can make the relay gather bytes without end."""
    with pytest.raises(BadHeader):
        read(b"PROXY " + b"1" * 101)
    with pytest.raises(BadHeader):
        read(V2[:14] + b"\xff\xff")


@pytest.mark.parametrize(
    ("line", "is_one"),
    [
        (V1, True),
        (b"PROXY \r\n", True),
        (b"\0\r\n", True),
        (b"\r\n", False),
        (b"proxy tcp4\r\n", False),
        (b"EHLO PROXY \r\n", False),
    ],
)
def test_headers_among_commands_are_known(line, is_one):
    """A header in the middle of a session is recognised, in both versions."""
    assert looks_like_header(line) is is_one
