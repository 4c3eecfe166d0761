r"""Where the mails of an mbox file begin and end.

There are four dialects and no mark that tells them apart. A separator is a line
`From <sender> <date as of asctime>` behind an empty line and before a header field; a
mail whose Content-Length leads exactly to the next separator, or to the end of the
file, is that long (mboxcl, mboxcl2). Any other line that begins with `From ` is text.
`>From ` loses one `>` (mboxrd), unless such text stands in the mail unquoted.

Where the first line of the file has no date, its writer gives none, and each `From `
line with a header field behind it counts.

Source: RFC 4155 appendix A; mbox(5) of qmail for the dialects.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

FROM: Final = b"From "
_DATED: Final = re.compile(
    rb"From .{0,400}?(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) +[A-Z][a-z]{2} +\d{1,2} "
    rb"+\d{1,2}:\d\d(?::\d\d)?(?: +[\w+-]+)? +\d{4}\b"
)
"""Some writers have spaces in the sender, or a time zone before the year."""
_FIELD: Final = re.compile(rb"[!-9;-~]+[ \t]*:|>?From ")
_LENGTH: Final = re.compile(rb"(?i)content-length[ \t]*:[ \t]*(\d{1,15})[ \t]*\r?\n")
_QUOTED: Final = re.compile(rb">+From ")
_EMPTY: Final = frozenset({b"\n", b"\r\n"})
BEGINNING: Final = 256 * 1024
"""Bytes that are kept of a mail which is too large: enough for a header."""
_PIECE: Final = 65_536
"""Bytes of a line that are looked at together; a line may have any length."""


@dataclass(frozen=True, slots=True)
class Span:
    """One mail of the file.

    Attributes:
        start: Where its header begins.
        end: Where it ends.
        stop: Where the next separator begins.
        doubtful: Lines of it that begin like a separator and were taken as text.
        quoted: Whether `>From ` stands for `From `.
    """

    start: int
    end: int
    stop: int
    doubtful: int
    quoted: bool


def is_mbox(file: BinaryIO) -> bool:
    """Say whether the first line that is not empty begins with `From `."""
    _skip_empty(file)
    return file.readline(_PIECE).startswith(FROM)


def spans(file: BinaryIO) -> Iterator[Span]:
    """Return the mails of an mbox, in their order.

    Raises:
        OSError: It cannot be read any further.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    _skip_empty(file)
    dated = _DATED.match(file.readline()) is not None
    reader = _Reader(file, size, dated=dated)
    while file.tell() < size:
        span = reader.next()
        yield span
        file.seek(span.stop)
        file.readline()


def read(file: BinaryIO, span: Span, limit: int) -> tuple[bytes, int]:
    """Return a mail and its size; of one beyond `limit` bytes, its beginning."""
    file.seek(span.start)
    kept: list[bytes] = []
    few = size = 0
    begins = True
    while piece := file.readline(min(span.end - file.tell(), _PIECE)):
        if span.quoted and begins and _QUOTED.match(piece):
            piece = piece[1:]
        begins = piece.endswith(b"\n")
        size += len(piece)
        if size > limit:
            del kept[few:]
            continue
        kept.append(piece)
        if size <= BEGINNING:
            few = len(kept)
    return b"".join(kept), size


class _Reader:
    """Finds the end of one mail after the other; the file stands where one begins."""

    def __init__(self, file: BinaryIO, size: int, *, dated: bool) -> None:
        self._file = file
        self._size = size
        self._dated = dated

    def next(self) -> Span:
        """Return the mail that begins here."""
        file = self._file
        start = file.tell()
        length = self._header()
        body = file.tell()
        sure = body + length if length is not None else self._size + 1
        if not self._ends_at(sure):
            sure = -1
        file.seek(body)
        doubtful, bare = 0, False
        at = before = body
        empty = begins = True
        while at != sure and (line := self._line(sure)):
            if begins and line.startswith(FROM):
                dated = _DATED.match(line) is not None
                if sure < 0 and empty and self._separates(line):
                    return Span(start, before, at, doubtful, not bare)
                bare = bare or empty
                # In the middle of a paragraph it is a sentence, unless it has a date.
                doubtful += dated or (empty and sure < 0)
            empty = begins and line in _EMPTY
            begins = line.endswith(b"\n")
            before, at = at, file.tell()
        if at == sure:
            _skip_empty(file)
            return Span(start, at, file.tell(), doubtful, not bare)
        return Span(start, before if empty else at, at, doubtful, not bare)

    def _line(self, sure: int) -> bytes:
        """Return the next line, or a piece of it, up to the known end."""
        left = sure - self._file.tell() if sure >= 0 else _PIECE
        return self._file.readline(min(left, _PIECE))

    def _header(self) -> int | None:
        """Read behind the header; return its Content-Length."""
        length = None
        begins = True
        while line := self._file.readline(_PIECE):
            if begins and line in _EMPTY:
                break
            if begins and (told := _LENGTH.fullmatch(line)):
                length = int(told[1])
            begins = line.endswith(b"\n")
        return length

    def _ends_at(self, offset: int) -> bool:
        """Say whether a mail can end there: before a separator, or with the file."""
        if offset > self._size:
            return False
        file = self._file
        file.seek(offset - 1)
        line_ended = file.read(1) == b"\n"
        if not _skip_empty(file) and not line_ended:
            return file.tell() == self._size
        if file.tell() == self._size:
            return True
        line = file.readline(_PIECE)
        return line.startswith(FROM) and self._separates(line)

    def _separates(self, line: bytes) -> bool:
        """Say whether a line that begins with `From `, just read, begins a mail."""
        if self._dated and not _DATED.match(line):
            return False
        back = self._file.tell()
        field = _FIELD.match(self._file.readline(_PIECE))
        self._file.seek(back)
        return field is not None


def _skip_empty(file: BinaryIO) -> int:
    """Go behind the empty lines here; return how many they were."""
    count = 0
    while True:
        at = file.tell()
        if file.readline(_PIECE) not in _EMPTY:
            file.seek(at)
            return count
        count += 1
