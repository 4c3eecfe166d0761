"""Decodes the content of a part piece by piece, so that no file is held whole.

`decoded` takes the encoded bytes in pieces of any size and yields the content. What
is damaged is read as far as it can be: nothing is raised, whatever the bytes are. The
cost is linear in the size, memory is a piece or two.

An encoding is a word, or several: each is applied to what the one before it gives. So a
file that stands in a uuencoded block of a base64 text, or in a winmail.dat, is found
again in the bytes of the mail by two offsets and `base64 slice=120+4000 uuencode`:

    base64, quoted-printable    RFC 2045
    uuencode, percent           a block in plain text; a `data:` address
    slice=START+LENGTH          these bytes of it
    octets                      the content of an octet string of ASN.1, in chunks
    inflate                     zlib (RFC 3274)

A word that is not known changes nothing.

Source: RFC 2045 sections 6.7 (quoted-printable) and 6.8 (base64); POSIX uuencode.
"""

from __future__ import annotations

import binascii
import hashlib
import re
import zlib
from functools import partial
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

try:
    import pybase64

    _strict: Callable[[bytes], bytes] = partial(pybase64.b64decode, validate=True)
except ImportError:  # the extra `fast` is not installed
    _strict = partial(binascii.a2b_base64, strict_mode=True)

PIECE_BYTES: Final = 1 << 18
"""Bytes that are looked at together."""

MAX_CONTENT: Final = 1 << 26
"""Bytes of one content that are held at once; what is longer is cut."""

MAX_LINES: Final = 50_000
"""How many lines of damaged base64, and blocks in them, the decoder checks one by one.
From further lines it drops every character that is no base64 digit."""

_DIGITS: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_WHITE: Final = b" \t\r\n\v\f\0"
_NOT_BASE64: Final = bytes(set(range(256)) - set(_DIGITS + b"="))
_QUAD: Final = 4
_ESCAPE: Final = 3
_UU_LINE: Final = 45
_UU_DIGITS: Final = bytes(
    b if ord(" ") <= b < ord("`") else ord(" ") for b in range(256)
)
_TO_BASE64: Final = bytes.maketrans(bytes(range(0x20, 0x60)), _DIGITS)

_LIKE_A_WORD: Final = re.compile(rb"[A-Z]?[a-z]+|[A-Z]+")
_RUN: Final = re.compile(rb"([^=]*)(=*)")
_SOFT_BREAK: Final = re.compile(rb"=[ \t]+(?=\r?\n|\Z)")
_SLICE: Final = re.compile(r"slice=(\d{1,12})\+(\d{1,12})")

BLOCKS: Final = "base64_blocks"
DAMAGED: Final = "base64_damaged"
FOOTER: Final = "base64_with_text"
MISSING: Final = "base64_missing"


def decoded(
    pieces: Iterable[bytes], encoding: str, repairs: list[str] | None = None
) -> Iterator[bytes]:
    """Yield the content of a part; an encoding that is not known leaves it as it is.

    Args:
        pieces: The encoded bytes.
        encoding: A word, or several with a blank between them.
        repairs: What was repaired is added to it, by the time all is read.
    """
    content = iter(pieces)
    for word in encoding.split():
        if word == "base64":
            content = _Base64(repairs).read(content)
        elif word == "quoted-printable":
            content = _from_quoted(content)
        elif word == "uuencode":
            content = _from_uu(content)
        elif word == "octets":
            content = _from_octets(content)
        elif word == "inflate":
            content = _inflated(content)
        elif word == "percent":
            content = _from_percent(content)
        elif found := _SLICE.fullmatch(word):
            content = _sliced(content, int(found[1]), int(found[2]))
    return content


def whole(
    data: bytes, encoding: str, repairs: list[str] | None = None, *, limit: int = 0
) -> bytes:
    """Return the content of encoded bytes at once, at most `limit` bytes of it."""
    if encoding == "base64" and not limit:
        try:
            return _strict(data.translate(None, _WHITE))
        except binascii.Error:
            pass
    kept, size = [], 0
    limit = limit or MAX_CONTENT
    pieces = (data[at : at + PIECE_BYTES] for at in range(0, len(data), PIECE_BYTES))
    for piece in decoded(pieces, encoding, repairs):
        kept.append(piece)
        size += len(piece)
        if size >= limit:
            break
    return b"".join(kept)[:limit]


def measure(
    raw: bytes, start: int, end: int, encoding: str, repairs: list[str] | None = None
) -> tuple[int, str]:
    """Return the size and the SHA-256 of the content between two offsets."""
    pieces = (
        raw[at : min(at + PIECE_BYTES, end)] for at in range(start, end, PIECE_BYTES)
    )
    size, digest = 0, hashlib.sha256()
    for piece in decoded(pieces, encoding, repairs):
        size += len(piece)
        digest.update(piece)
    return size, digest.hexdigest()


def _note(repairs: list[str] | None, repair: str) -> None:
    if repairs is not None and repair not in repairs:
        repairs.append(repair)


# ---------------------------------------------------------------- base64


class _Base64:
    """Base64 as it comes: in padded blocks, with damage, with plain text around it.

    A line that cannot be base64 ends it, once a short line, a padding or an empty line
    shows that it may have ended. Before that, such a line is damage, and what is no
    digit is left out of it.

    Lines of digits alone are decoded together. What is decoded does not depend on how
    the bytes were cut, unless a line is longer than a piece.
    """

    def __init__(self, repairs: list[str] | None) -> None:
        self.repairs = repairs
        self.left = b""  # digits that make no group of four yet
        self.width = 0  # of the first line
        self.begun = False
        self.ended = False  # it may have ended here
        self.padded = False
        self.careful = False  # a padding or damage was met
        self.over = False
        self.lines = 0
        self.skipped: list[bytes] = []

    def read(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """Yield the content."""
        rest = b""
        for piece in pieces:
            data = rest + piece
            cut = data.rfind(b"\n") + 1
            if not cut and len(data) > PIECE_BYTES:
                cut = len(data)
            rest = data[cut:]
            yield self._chunk(data[:cut])
            if self.over:
                yield self._rest()
                return
        yield self._chunk(rest) + self._rest()
        if not self.begun and any(b" " in text for text in self.skipped):
            _note(self.repairs, MISSING)
            yield b"\n".join(self.skipped)

    def _chunk(self, chunk: bytes) -> bytes:
        """Decode whole lines."""
        if not self.careful:
            digits = chunk.translate(None, _WHITE)
            pure = digits.rstrip(b"=")
            content = self._whole(pure)
            if content is not None:
                return content + self._after(chunk, padding=len(pure) < len(digits))
        if self.lines > MAX_LINES:
            return self._whole(chunk.translate(None, _NOT_BASE64 + b"=")) or b""
        lines = chunk.split(b"\n")
        self.lines += len(lines)
        return b"".join([self._line(line) for line in lines])

    def _after(self, chunk: bytes, *, padding: bool) -> bytes:
        """Note how lines of digits alone ended; return what their padding ends."""
        lines = chunk.rstrip(_WHITE)
        if lines:
            self.begun = True
            if not self.width:
                self.width = len(lines.lstrip(_WHITE).split(b"\n", 1)[0].rstrip())
            last = lines[lines.rfind(b"\n") + 1 :].lstrip()
            self.ended = len(last) < self.width or chunk.count(b"\n", len(lines)) > 1
        elif b"\n" in chunk:
            self.ended = self.begun
        return self._pad() if padding else b""

    def _line(self, line: bytes) -> bytes:
        text = line.strip(_WHITE)
        kept = b"" if self.over else self._kept(text)
        if not kept:
            return b""
        pieces = []
        for run in _RUN.finditer(kept):
            self.lines += 1
            if self.lines > MAX_LINES:
                rest = kept[run.start() :].translate(None, b"=")
                pieces.append(self._whole(rest) or b"")
                break
            digits, padding = run.groups()
            if digits:
                if self.padded:
                    _note(self.repairs, BLOCKS)
                    self.padded = False
                self.begun = True
                pieces.append(self._whole(digits) or b"")
            if padding:
                pieces.append(self._pad())
        self.width = self.width or len(text)
        self.ended = self.padded or len(text) < self.width
        return b"".join(pieces)

    def _kept(self, text: bytes) -> bytes:
        """Return what of a line is base64; nothing before it begins, or behind it."""
        if not text:
            self.ended = self.ended or self.begun
            return b""
        digits = text.translate(None, _NOT_BASE64)
        tokens = text.split()
        words = len(tokens) > 1 and any(
            len(token) % _QUAD or _LIKE_A_WORD.fullmatch(token) for token in tokens
        )
        damaged = len(digits) + len(tokens) - 1 < len(text)
        if not self.begun:
            # A banner above it: words, or few digits.
            if words or len(digits) * 5 < len(text) * 4:
                self.skipped.append(text)
                return b""
            if self.skipped:
                _note(self.repairs, FOOTER)
        elif (
            words
            or len(digits) * 2 < len(text)
            or (damaged and self.ended)
            or (self.careful and self.ended and _LIKE_A_WORD.fullmatch(text))
        ):
            _note(self.repairs, FOOTER)
            self.over = True
            return b""
        if damaged:
            self.careful = True
            _note(self.repairs, DAMAGED)
        return digits

    def _whole(self, digits: bytes) -> bytes | None:
        """Decode groups of four, and keep what is over; None: there is more in it."""
        joined = self.left + digits if self.left else digits
        end = len(joined) - len(joined) % _QUAD
        over = joined[end:]
        if over.translate(None, _DIGITS):
            return None
        try:
            content = _strict(joined[:end] if over else joined)
        except binascii.Error:
            return None
        self.left = over
        return content

    def _pad(self) -> bytes:
        """End a block where a group of four can end; elsewhere a `=` is damage."""
        if len(self.left) < _QUAD // 2:
            return b""
        self.padded = self.ended = self.careful = True
        return self._rest()

    def _rest(self) -> bytes:
        """Decode a last group that is not whole; a single digit says nothing."""
        left, self.left = self.left, b""
        if len(left) < _QUAD // 2:
            return b""
        return binascii.a2b_base64(left + b"=" * (_QUAD - len(left)))


# ---------------------------------------------------------------- others


def quoted(data: bytes) -> bytes:
    """Decode quoted-printable; blanks behind a soft line break are no text."""
    if b"= " in data or b"=\t" in data:
        data = _SOFT_BREAK.sub(b"=", data)
    return binascii.a2b_qp(data)


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
            yield quoted(data[:cut])
        left = data[cut:]
    if left:
        yield quoted(left)


def _from_percent(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Decode `%41` as `=41`, which is done much faster."""
    return _from_quoted(
        piece.replace(b"=", b"=3D").replace(b"%", b"=") for piece in pieces
    )


def uu_line(text: bytes) -> bytes:
    """Decode a line of a uuencoded block; blanks that were cut off its end count."""
    length = (text[0] - 0x20) % 64
    digits = text[1 : 1 + (length + 2) // 3 * _QUAD].translate(_UU_DIGITS)
    digits = digits.ljust((length + 2) // 3 * _QUAD, b" ").translate(_TO_BASE64)
    return binascii.a2b_base64(digits)[:length]


def _from_uu(pieces: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        lines = (rest + piece).split(b"\n")
        rest = lines.pop()
        yield b"".join([uu_line(text) for text in lines if text.strip(b"\r")])
    if rest.strip(b"\r"):
        yield uu_line(rest)


def _sliced(pieces: Iterable[bytes], start: int, length: int) -> Iterator[bytes]:
    position, end = 0, start + length
    for piece in pieces:
        first, position = position, position + len(piece)
        if position > start:
            yield piece[max(0, start - first) : end - first]
        if position >= end:
            return


def _inflated(pieces: Iterable[bytes]) -> Iterator[bytes]:
    inflater = zlib.decompressobj()
    for piece in pieces:
        data = piece
        while data:
            try:
                yield inflater.decompress(data, PIECE_BYTES)
            except zlib.error:
                return
            data = inflater.unconsumed_tail


def _from_octets(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the content of primitive octet strings within constructed ones.

    Source: ITU-T X.690, section 8.7 and 8.1.3 (lengths).
    """
    data = b""
    left = 0  # bytes of the present chunk that are still to come
    for piece in pieces:
        data += piece
        position = 0
        while position < len(data):
            if left:
                part = data[position : position + left]
                position += len(part)
                left -= len(part)
                yield part
                continue
            head = octets_head(data, position)
            if head is None:
                break
            position, left = head
        data = data[position:]


def octets_head(data: bytes, position: int) -> tuple[int, int] | None:
    """Return where a chunk's content begins and how long it is.

    The head of a constructed string, and the end of one, are chunks without content.
    None: there is less than a whole head.
    """
    if position + 2 > len(data):
        return None
    length = data[position + 1]
    begin = position + 2
    if length > 0x80:  # noqa: PLR2004 - the length of the length
        begin += length & 0x7F
        if begin > len(data):
            return None
        length = int.from_bytes(data[position + 2 : begin], "big")
    elif length == 0x80:  # noqa: PLR2004 - up to an end mark
        length = 0
    return begin, length if data[position] == 0x04 else 0  # noqa: PLR2004
