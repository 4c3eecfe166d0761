"""Decodes the content of a part piece by piece, so that no file is held whole.

`decoded` takes the encoded bytes in pieces of any size and yields the content. What
is damaged is read as far as it can be: nothing is raised, whatever the bytes are. The
cost is linear in the size, memory is a piece or two.

Source: RFC 2045 sections 6.7 (quoted-printable) and 6.8 (base64).
"""

from __future__ import annotations

import binascii
import hashlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PIECE_BYTES: Final = 1 << 18
"""Bytes that are looked at together."""

_DIGITS: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_NOT_BASE64: Final = bytes(set(range(256)) - set(_DIGITS + b"="))
_QUAD: Final = 4
_ESCAPE: Final = 3


def decoded(pieces: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """Yield the content of a part; an encoding that is not known leaves it as it is."""
    if encoding == "base64":
        return _from_base64(pieces)
    if encoding == "quoted-printable":
        return _from_quoted(pieces)
    return iter(pieces)


def measure(raw: bytes, start: int, end: int, encoding: str) -> tuple[int, str]:
    """Return the size and the SHA-256 of the content between two offsets."""
    pieces = (
        raw[at : min(at + PIECE_BYTES, end)] for at in range(start, end, PIECE_BYTES)
    )
    size, digest = 0, hashlib.sha256()
    for piece in decoded(pieces, encoding):
        size += len(piece)
        digest.update(piece)
    return size, digest.hexdigest()


def _from_base64(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Decode up to the padding; what is no digit is left out."""
    left = b""
    for piece in pieces:
        digits = left + piece.translate(None, _NOT_BASE64)
        if b"=" in digits:
            digits, ended = _to_padding(digits)
            if ended:
                left = digits
                break
        whole = len(digits) - len(digits) % _QUAD
        if whole:
            yield binascii.a2b_base64(digits[:whole])
        left = digits[whole:]
    if len(left) % _QUAD == 1:
        left = left[:-1]
    if left:
        yield binascii.a2b_base64(left + b"=" * (-len(left) % _QUAD))


def _to_padding(digits: bytes) -> tuple[bytes, bool]:
    """Return the digits before the padding, and whether there is any.

    A `=` where a group of four cannot end is damage, and is left out.
    """
    first, *others = digits.split(b"=")
    kept = [first]
    count = len(first)
    for other in others:
        if count % _QUAD >= _QUAD // 2:
            return b"".join(kept), True
        kept.append(other)
        count += len(other)
    return b"".join(kept), False


def _from_quoted(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Decode line by line, or at least never inside an escape."""
    left = b""
    for piece in pieces:
        data = left + piece
        cut = data.rfind(b"\n") + 1
        if not cut and len(data) > PIECE_BYTES:
            # A line without an end: cut it where no escape can be open.
            mark = data.rfind(b"=", len(data) - _ESCAPE)
            cut = mark if mark >= 0 else len(data)
        if cut:
            yield binascii.a2b_qp(data[:cut])
        left = data[cut:]
    if left:
        yield binascii.a2b_qp(left)
