"""The end of a mail and its dots, in every cut into chunks."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.smtp.data import ChunkDecoder, DataDecoder

PIECES = st.lists(
    st.sampled_from([b"\r", b"\n", b".", b"\r\n", b"\r\n.\r\n", b"a", b"\0", b"\r\n."]),
    max_size=24,
).map(b"".join)


def decode(wire, cuts=()):
    """Feed the wire cut at these places; return the decoder and the content."""
    decoder = DataDecoder()
    content = b""
    at = 0
    for cut in [*sorted(cuts), len(wire)]:
        if decoder.done:
            break
        content += decoder.feed(wire[at:cut])
        at = max(at, cut)
    if decoder.done:
        decoder.rest += wire[at:]
    return decoder, content


def read_plainly(wire):
    """Return content and rest by the letter of RFC 5321, slowly; None: no end yet."""
    stream = b"\r\n" + wire
    end = stream.find(b"\r\n.\r\n")
    if end < 0:
        return None
    content = re.sub(rb"\r\n\.", b"\r\n", stream[: end + 2])[2:]
    return content, stream[end + 5 :]


@pytest.mark.parametrize(
    ("wire", "content", "rest"),
    [
        (b".\r\n", b"", b""),
        (b"a\r\n.\r\n", b"a\r\n", b""),
        (b"..\r\n.\r\n", b".\r\n", b""),
        (b".a\r\n.\r\nQUIT\r\n", b"a\r\n", b"QUIT\r\n"),
        (b"\r\n.\r\n", b"\r\n", b""),
        (b"a\0\xff\r\n.\r\n", b"a\0\xff\r\n", b""),
        (b"a\r\r\n.\r\n", b"a\r\r\n", b""),
        (b"a\nb\rc\r\n.\r\n", b"a\nb\rc\r\n", b""),
        (b"a\n.b\r\n.\r\n", b"a\n.b\r\n", b""),
        (b"a\r\n..\r\nb\n\r\n.\r\n", b"a\r\n.\r\nb\n\r\n", b""),
        (b"a\n..\n..\r\n...\n\r\n.\r\n", b"a\n..\n..\r\n..\n\r\n", b""),
    ],
)
def test_content(wire, content, rest):
    """Content is what stands before the end, dots unstuffed behind CR LF only."""
    decoder, got = decode(wire)
    assert decoder.done
    assert (got, decoder.rest) == (content, rest)
    assert decoder.size_bytes == len(content)
    assert not decoder.bare_dot


@pytest.mark.parametrize(
    "dot",
    [
        b"\n.\n",
        b"\n.\r\n",
        b"\n.\r",
        b"\r.\r",
        b"\r.\n",
        b"\r.\r\n",
        b"\r\n.\n",
        b"\r\n.\ra",
        b"\r\n..\n",
        b"\r\n..\ra",
        b"\r\n..\r\r\n",
    ],
)
def test_lone_dots_between_bare_line_ends(dot):
    """Each is seen, wherever the chunks are cut, and ends nothing."""
    wire = b"a" + dot + b"b\r\n.\r\nc"
    for cut in range(len(wire)):
        decoder, _ = decode(wire, [cut])
        assert decoder.done
        assert decoder.bare_dot, cut
        assert decoder.rest == b"c"


@pytest.mark.parametrize("wire", [b".\n", b".\ra", b"..\n", b"..\ra"])
def test_lone_dot_on_the_first_line(wire):
    """The line end of DATA itself counts as the one before the first line."""
    assert decode(wire + b"\r\n.\r\n")[0].bare_dot


def test_lone_dot_before_the_end():
    """A bare line end, a dot, and then the true end is a lone dot too."""
    decoder, _ = decode(b"a\n.\r\n.\r\n")
    assert decoder.done
    assert decoder.bare_dot


@given(PIECES, st.lists(st.integers(0, 60), max_size=8))
def test_same_as_the_plain_reading(wire, cuts):
    """In any chunks, content and rest are those of the letter of the RFC."""
    cuts = [cut for cut in cuts if cut <= len(wire)]
    decoder, content = decode(wire, cuts)
    expected = read_plainly(wire)
    assert decoder.done == (expected is not None)
    if expected is not None:
        assert (content, decoder.rest) == expected


@given(PIECES, st.lists(st.integers(0, 60), max_size=8))
def test_verdict_does_not_depend_on_chunks(wire, cuts):
    """Counts of bare line ends and lone dots are the same in any chunks."""
    wire += b"x\r\n.\r\n"
    cuts = [cut for cut in cuts if cut <= len(wire)]
    whole, pieces = decode(wire)[0], decode(wire, cuts)[0]
    assert (whole.bare_cr, whole.bare_lf, whole.bare_dot) == (
        pieces.bare_cr,
        pieces.bare_lf,
        pieces.bare_dot,
    )


@given(PIECES)
def test_bare_line_ends_are_counted(wire):
    """The counts are those of the content before the end."""
    wire += b"x\r\n.\r\n"
    decoder, _ = decode(wire)
    used = (b"\r\n" + wire)[: len(wire) + 2 - len(decoder.rest) - 3]
    assert decoder.bare_lf == len(re.findall(rb"(?<!\r)\n", used))
    assert decoder.bare_cr == len(re.findall(rb"\r(?!\n)", used))
    lone = re.search(rb"(?:(?<!\r)\n|\r(?!\n)|\r\n)\.(?:\r\n|\r|\n)", used)
    lone = lone or re.search(rb"\r\n\.\.(?:\n|\r(?!\n))", used)
    assert decoder.bare_dot == (lone is not None)


@given(PIECES, st.integers(1, 7))
def test_data_and_bdat_judge_the_same_content_alike(content, size):
    """What may be stored does not depend on the verb that brings it."""
    content += b"x\r\n"
    wire = (b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n"
    decoder, got = decode(wire, range(0, len(wire), size))
    assert got == content
    chunks = ChunkDecoder()
    chunks.begin(len(content), last=True)
    assert chunks.feed(content) == content
    assert (decoder.bare_cr, decoder.bare_lf) == (chunks.bare_cr, chunks.bare_lf)
    assert decoder.bare_dot == chunks.bare_dot


@given(st.binary(max_size=200), st.integers(1, 7))
def test_stuffed_content_comes_back(content, size):
    """What a client stuffs comes back byte for byte."""
    content = content.replace(b"\r", b"").replace(b"\n", b"\r\n") + b"\r\n"
    wire = (b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n"
    decoder, got = decode(wire, range(0, len(wire), size))
    assert decoder.done
    assert got == content
    assert not decoder.bare_dot
    assert decoder.bare_cr == decoder.bare_lf == 0
