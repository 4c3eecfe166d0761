"""The hash of a body in DKIM's canonical form, in pieces that hold up nobody.

dkimpy makes the form with regular expressions over the whole body. They hold Python's
lock for as long as they run, 0.1 s for each MB, and so stop the event loop although
they run in a thread. `BodyHash` comes to the same bytes, in pieces that each cost well
under a millisecond before the lock can change hands.

Source: RFC 6376 section 3.4.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from relay.core.model import RawMail

SIMPLE: Final = "simple"
RELAXED: Final = "relaxed"

PIECE_BYTES: Final = 64 * 1024
"""How much of a body is made canonical at a time."""
_LINES: Final = b"\r\n" * 4096


class BodyHash:
    """SHA-256 of a body in canonical form, from pieces that may be cut anywhere.

    Bare LF counts as a line end, as in dkimpy; bare CR is a character like others.

    Inside, a line ends in LF. What may still change when more comes is held back: blank
    lines, which vanish at the end, and a blank or CR at the end of a piece.
    """

    def __init__(self, form: str) -> None:
        """Begin an empty body, `simple` or `relaxed`."""
        self._relaxed = form == RELAXED
        self._hash = hashlib.sha256()
        self._held = b""
        self._lines = 0
        self._empty = True

    def feed(self, piece: bytes) -> None:
        """Take the next bytes; split them at `PIECE_BYTES` to stay quick."""
        data = self._held + piece
        self._held = b""
        if data.endswith(b"\r"):
            data, self._held = data[:-1], b"\r"
        data = data.replace(b"\r\n", b"\n")
        if self._relaxed:
            data = _single_blanks(data).replace(b" \n", b"\n")
            if data.endswith(b" "):
                data, self._held = data[:-1], b" " + self._held
        self._add(data)

    def digest(self) -> bytes:
        """Return the hash of the whole body; nothing can be fed afterwards."""
        if self._held:
            # A last line without an end keeps its blank, as dkimpy reads it.
            held, self._held = self._held, b""
            self._add(_single_blanks(held) if self._relaxed else held)
        if not (self._relaxed and self._empty):
            self._hash.update(b"\r\n")
        return self._hash.digest()

    def _add(self, data: bytes) -> None:
        """Hash what cannot change any more; count the line ends behind it."""
        kept = data.rstrip(b"\n")
        if kept:
            while self._lines > 0:
                now = min(self._lines, len(_LINES) // 2)
                self._hash.update(_LINES[: 2 * now])
                self._lines -= now
            self._hash.update(kept.replace(b"\n", b"\r\n"))
            self._empty = False
        self._lines += len(data) - len(kept)


def _single_blanks(data: bytes) -> bytes:
    """Make each run of blanks and tabs one blank."""
    data = data.replace(b"\t", b" ")
    while b"  " in data:
        data = data.replace(b"  ", b" ")
    return data


def body_hashes(
    raw: RawMail, head_bytes: int, forms: Iterable[str]
) -> dict[str, bytes]:
    """Return the SHA-256 of a mail's body in each of these forms, reading it once.

    The body begins behind the header block and its empty line. Blocks on the disk: call
    it in a thread.

    Raises:
        OSError: The file of a large mail cannot be read.
    """
    hashes = {form: BodyHash(form) for form in forms}
    if hashes:
        for piece in _body(raw, head_bytes):
            for one in hashes.values():
                one.feed(piece)
    return {form: one.digest() for form, one in hashes.items()}


def _body(raw: RawMail, head_bytes: int) -> Iterator[bytes]:
    pieces = _pieces(raw, head_bytes)
    first = next(pieces, b"")
    yield first[2:] if first.startswith(b"\r\n") else first.removeprefix(b"\n")
    yield from pieces


def _pieces(raw: RawMail, start: int) -> Iterator[bytes]:
    if raw.path is None:
        data = raw.data or b""
        for begin in range(start, len(data), PIECE_BYTES):
            yield data[begin : begin + PIECE_BYTES]
        return
    with raw.path.open("rb") as file:
        file.seek(start)
        while piece := file.read(PIECE_BYTES):
            yield piece
