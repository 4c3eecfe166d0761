"""Line ends of mail that comes in pieces."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relay.intake import CRLFPieces, with_crlf


@given(st.lists(st.text("a\r\n", max_size=4).map(str.encode), max_size=8))
def test_pieces_make_the_same_mail(pieces):
    """Wherever a mail is cut, its line ends are those of the whole."""
    line_ends = CRLFPieces()
    assert b"".join(map(line_ends.feed, pieces)) == with_crlf(b"".join(pieces))


def test_every_line_ends_in_crlf():
    """A bare LF gets its CR; a CR without its LF stays as it is."""
    assert with_crlf(b"a\nb\r\nc\rd\n\n") == b"a\r\nb\r\nc\rd\r\n\r\n"
