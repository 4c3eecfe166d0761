"""Content is decoded in pieces, and comes out as if it had been decoded whole."""

from __future__ import annotations

import base64
import binascii
import hashlib
import quopri

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.mail import parse
from relay.mail.decode import PIECE_BYTES, decoded, measure
from relay.mail.words import from_base64


def cut(data: bytes, size: int) -> list[bytes]:
    """Return the data in pieces."""
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize("lines", [b"\r\n", b"\n"])
@pytest.mark.parametrize("size", [0, 1, 2, 3, 56, 57, 58, 1000, 3_000_000])
def test_base64_is_measured_to_the_byte(size: int, lines: bytes) -> None:
    """Size and digest are those of the content."""
    raw = base64.encodebytes(bytes(size)).replace(b"\n", lines)
    assert measure(raw, 0, len(raw), "base64") == (
        size,
        hashlib.sha256(bytes(size)).hexdigest(),
    )


@pytest.mark.parametrize(
    "text", [b"", b"a", b"=C3=A4=\r\nb\r\n", b"x=20\n" * 500_000, b"=41" * 600_000]
)
def test_quoted_printable_is_measured_to_the_byte(text: bytes) -> None:
    """The same, though it is read in pieces."""
    whole = binascii.a2b_qp(text)
    assert measure(text, 0, len(text), "quoted-printable") == (
        len(whole),
        hashlib.sha256(whole).hexdigest(),
    )


def test_other_encodings_are_left_alone() -> None:
    """What is not encoded is what it is, and only between its offsets."""
    assert b"".join(decoded([b"1", b"2"], "8bit")) == b"12"
    assert measure(b"12345", 1, 3, "x-unheard-of")[0] == 2


@given(data=st.binary(max_size=300), size=st.integers(1, 90))
def test_the_cut_does_not_show(data: bytes, size: int) -> None:
    """Wherever the pieces end, the content is the same."""
    raw = base64.encodebytes(data)
    assert b"".join(decoded(cut(raw, size), "base64")) == data
    quoted = quopri.encodestring(data)
    pieces = decoded(cut(quoted, size), "quoted-printable")
    assert b"".join(pieces) == binascii.a2b_qp(quoted)


@given(data=st.binary(max_size=200), size=st.integers(1, 50))
def test_damage_raises_nothing(data: bytes, size: int) -> None:
    """Any bytes give some content, the same however they are cut."""
    for encoding in ("base64", "quoted-printable", ""):
        b"".join(decoded(cut(data, size), encoding))
    assert b"".join(decoded(cut(data, size), "base64")) == b"".join(
        decoded([data], "base64")
    )


@pytest.mark.parametrize("text", [
        b"YW Jj", b"YWJj!ZGVm", b"YWJ", b"YW==\r\n\r\nZZ",
        b"YWJj=ZGVm", b"Y=WJj", b"=YWJj==", b"YWJjZ=GVm=", b"YWJj=",
    ],
)  # fmt: skip
def test_damaged_base64_reads_as_elsewhere(text: bytes) -> None:
    """A file is read as tolerantly as a body is."""
    assert b"".join(decoded([text], "base64")) == from_base64(text)


def test_no_piece_grows_with_the_file() -> None:
    """Memory is a piece or two, also for a line without an end."""
    for encoding in ("base64", "quoted-printable"):
        pieces = decoded((b"A" * PIECE_BYTES for _ in range(20)), encoding)
        assert max(map(len, pieces)) <= 2 * PIECE_BYTES + 3


def test_an_attachment_knows_its_place_and_digest() -> None:
    """What `parse` says about a file leads to its content."""
    content = bytes(range(256)) * 40
    raw = (
        b"From: a@x.example\r\nMIME-Version: 1.0\r\n"
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
        b"--b\r\nContent-Type: application/pdf; name=a.pdf\r\n"
        b"Content-Disposition: attachment\r\n"
        b"Content-Transfer-Encoding: base64\r\n\r\n"
        + base64.encodebytes(content).replace(b"\n", b"\r\n")
        + b"\r\n--b--\r\n"
    )
    (file,) = parse(raw).attachments
    assert b"".join(decoded([raw[file.start : file.end]], file.encoding)) == content
    assert (file.size_bytes, file.sha256) == (
        len(content),
        hashlib.sha256(content).hexdigest(),
    )
