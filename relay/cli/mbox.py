r"""Where the mails of an mbox file begin and end.

There are four dialects and no mark that tells them apart. What begins a mail is judged
in `separators`; a mail whose Content-Length leads exactly to such a line, or to the end
of the file, is that long (mboxcl, mboxcl2). Any other line that begins with `From ` is
text. `>From ` loses one `>` (mboxrd), unless such text stands in the mail unquoted.

Source: RFC 4155 appendix A; mbox(5) of qmail for the dialects.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from relay.cli.separators import EMPTY, FROM, PIECE, Verdict, is_dated, judge

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

_LENGTH: Final = re.compile(rb"(?i)content-length[ \t]*:[ \t]*(\d{1,15})[ \t]*\r?\n")
_QUOTED: Final = re.compile(rb">+From ")
BEGINNING: Final = 256 * 1024
"""Bytes that are kept of a mail which is too large: enough for a header."""


@dataclass(frozen=True, slots=True)
class Span:
    """One mail of the file.

    Attributes:
        start: Where its header begins.
        end: Where it ends.
        stop: Where the next separator begins.
        noted: Lines of it that begin like a separator and were taken as text.
        doubtful: How many of them may begin a further mail.
        quoted: Whether `>From ` stands for `From `.
    """

    start: int
    end: int
    stop: int
    noted: int
    doubtful: int
    quoted: bool


def is_mbox(file: BinaryIO) -> bool:
    """Say whether the first line that is not empty begins with `From `."""
    _skip_empty(file)
    return file.readline(PIECE).startswith(FROM)


def spans(file: BinaryIO) -> Iterator[Span]:
    """Return the mails of an mbox, in their order.

    Raises:
        OSError: It cannot be read any further.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    _skip_empty(file)
    dated = is_dated(file.readline())
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
    while piece := file.readline(min(span.end - file.tell(), PIECE)):
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
        length, empty = self._header()
        body = file.tell()
        sure = body + length if length is not None else self._size + 1
        if not self._ends_at(sure):
            sure = -1
        file.seek(body)
        noted, doubtful, bare = 0, 0, False
        at = before = body
        begins = True
        while at != sure and (line := self._line(sure)):
            if begins and line.startswith(FROM):
                verdict = Verdict.TEXT
                if sure < 0:
                    verdict = self._judge(line, after_empty=empty)
                if verdict is Verdict.BEGINNING:
                    end = before if empty else at
                    return Span(start, end, at, noted, doubtful, not bare)
                bare = bare or empty
                doubtful += verdict is Verdict.DOUBTFUL
                # In the middle of a paragraph it is a sentence, unless it has a date.
                noted += (
                    is_dated(line)
                    or verdict is Verdict.DOUBTFUL
                    or (empty and sure < 0)
                )
            empty = begins and line in EMPTY
            begins = line.endswith(b"\n")
            before, at = at, file.tell()
        if at == sure:
            _skip_empty(file)
            return Span(start, at, file.tell(), noted, 0, not bare)
        return Span(start, before if empty else at, at, noted, doubtful, not bare)

    def _line(self, sure: int) -> bytes:
        """Return the next line, or a piece of it, up to the known end."""
        left = sure - self._file.tell() if sure >= 0 else PIECE
        return self._file.readline(min(left, PIECE))

    def _header(self) -> tuple[int | None, bool]:
        """Read behind the header; return its Content-Length, and how it ends.

        That is True behind an empty line, False before what may begin another mail.
        """
        length = None
        begins = True
        start = at = self._file.tell()
        while line := self._file.readline(PIECE):
            if begins and line in EMPTY:
                break
            if begins and line.startswith(FROM) and at > start:
                self._file.seek(at)
                return length, False
            if begins and (told := _LENGTH.fullmatch(line)):
                length = int(told[1])
            begins = line.endswith(b"\n")
            at = self._file.tell()
        return length, True

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
        line = file.readline(PIECE)
        if not line.startswith(FROM):
            return False
        return self._judge(line, after_empty=True) is not Verdict.TEXT

    def _judge(self, line: bytes, *, after_empty: bool) -> Verdict:
        """Judge a line that begins with `From `, just read."""
        return judge(
            line, self._file, after_empty=after_empty, dates_expected=self._dated
        )


def _skip_empty(file: BinaryIO) -> int:
    """Go behind the empty lines here; return how many they were."""
    count = 0
    while True:
        at = file.tell()
        if file.readline(PIECE) not in EMPTY:
            file.seek(at)
            return count
        count += 1
