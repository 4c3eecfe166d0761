"""Chunks of BDAT: bytes as they are, and what is said about their line ends."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.smtp.data import ChunkDecoder, bdat_command


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("0 LAST", (0, True)),
        ("12", (12, False)),
        ("007 last", (7, True)),
        ("", None),
        ("LAST", None),
        ("-1", None),
        ("1 LAST x", None),
        ("1LAST", None),
        ("٣", None),
        ("1" * 21, None),
    ],
)
def test_grammar(argument, expected):
    """A size in ASCII digits, and LAST in any case; nothing else."""
    assert bdat_command(argument) == expected


TEXT = st.lists(
    st.sampled_from([b"\r\n", b"\r", b"\n", b".", b"a", b"\0", b"\r\n.", b"\n."]),
    max_size=14,
).map(b"".join)


def what_is_bare(data):
    """Return bare CRs, bare LFs, and whether a dot is alone beside one of them."""
    words = [b"\r\n", *re.findall(rb"\r\n|\r|\n|[^\r\n]", data)]
    ends = {b"\r\n", b"\r", b"\n"}
    lone = any(
        dot == b"." and {before, after} <= ends and (before, after) != (b"\r\n",) * 2
        for before, dot, after in zip(words, words[1:], words[2:], strict=False)
    )
    return words.count(b"\r"), words.count(b"\n"), lone


@given(TEXT, st.lists(st.integers(0, 6), max_size=6), st.integers(1, 5))
def test_chunks_and_pieces_do_not_matter(data, sizes, piece):
    """However a mail is cut, its bytes come out, and the same is said of it."""
    decoder = ChunkDecoder()
    got = b""
    rest = data
    for number, size in enumerate([*sizes, None]):
        chunk, rest = (rest, b"") if size is None else (rest[:size], rest[size:])
        decoder.begin(len(chunk), last=number == len(sizes))
        for at in range(0, len(chunk), piece):
            assert not decoder.done
            got += decoder.feed(chunk[at : at + piece])
        assert decoder.done
    assert got == data
    assert decoder.size_bytes == len(data)
    assert (decoder.bare_cr, decoder.bare_lf, decoder.bare_dot) == what_is_bare(data)


def test_what_follows_is_the_next_command():
    """Bytes behind the chunk are kept for the next command."""
    decoder = ChunkDecoder()
    decoder.begin(3, last=False)
    assert decoder.feed(b"abcBDAT 1\r\n") == b"abc"
    assert decoder.done
    assert decoder.rest == b"BDAT 1\r\n"
