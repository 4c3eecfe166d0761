r"""Where the mails of an mbox file begin and end.

There are four dialects and no mark that tells them apart. Programs write a date as of
asctime behind `From `, one of RFC 5322, or none; some leave out the empty line in
front. So a line that begins with `From ` is judged also by what follows: a *header
block* has two or more fields that mails have, From, Received or Message-ID among them,
and ends with an empty line. A line with some of these marks and without others is
doubtful: to take it for text could hide one mail in another, and to take it for a
beginning could cut one.

A mail whose Content-Length leads exactly to the next such line, or to the end of the
file, is that long (mboxcl, mboxcl2). Any other line that begins with `From ` is text.
`>From ` loses one `>` (mboxrd), unless such text stands in the mail unquoted.

Source: RFC 4155 appendix A; mbox(5) of qmail for the dialects.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

FROM: Final = b"From "
EMPTY: Final = frozenset({b"\n", b"\r\n"})
PIECE: Final = 65_536
"""Bytes of a line that are looked at together; a line may have any length."""
_DATED: Final = re.compile(
    rb"From .{0,400}?(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) +[A-Z][a-z]{2} +\d{1,2} "
    rb"+\d{1,2}:\d\d(?::\d\d)?(?: +[\w+-]+)? +\d{4}\b"
)
"""Some writers have spaces in the sender, or a time zone before the year."""
_DATED_OTHERWISE: Final = re.compile(
    rb"From .{0,400}?\d{1,2} +[A-Z][a-z]{2} +\d{4} +\d{1,2}:\d\d"
)
_FIELD: Final = re.compile(rb"([!-9;-~]+)[ \t]*:")
_QUOTED_FROM: Final = b">From "
_ORIGIN: Final = frozenset({b"from", b"received", b"message-id"})
_OF_MAIL: Final = _ORIGIN | frozenset(
    b"date subject to cc bcc reply-to sender return-path delivered-to envelope-to "
    b"in-reply-to references mime-version content-type content-length "
    b"content-transfer-encoding user-agent status".split()
)
_ENOUGH: Final = 2
_MOST_LINES: Final = 200
"""Lines of a header that are looked at."""
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
            if begins and (announced := _LENGTH.fullmatch(line)):
                length = int(announced[1])
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


# ------------------------------------------------------------------ separators


class Verdict(Enum):
    """What a line that begins with `From ` is."""

    TEXT = "text"
    DOUBTFUL = "doubtful"
    BEGINNING = "beginning"


@dataclass(frozen=True, slots=True)
class _Block:
    """What stands behind the line: a field at once, fields of a mail, all of them."""

    field: bool
    of_mail: bool
    whole: bool


def is_dated(line: bytes) -> bool:
    """Say whether a line that begins with `From ` has a date as of asctime."""
    return _DATED.match(line) is not None


def judge(
    line: bytes, file: BinaryIO, *, after_empty: bool, dates_expected: bool
) -> Verdict:
    """Judge a line that begins with `From `; the file stands behind it, and stays.

    Args:
        line: The line, or its beginning.
        file: What follows is read from here.
        after_empty: An empty line, or nothing, stands in front.
        dates_expected: The first line of the mbox has a date as of asctime.
    """
    block = _block(file)
    if block.whole and (after_empty or is_dated(line)):
        return Verdict.BEGINNING
    if is_dated(line):
        sure = after_empty and block.field
        return Verdict.BEGINNING if sure else Verdict.DOUBTFUL
    if not after_empty:
        return Verdict.DOUBTFUL if block.whole else Verdict.TEXT
    alike = not dates_expected or _DATED_OTHERWISE.match(line) is not None
    if block.of_mail or (alike and block.field):
        return Verdict.DOUBTFUL
    return Verdict.TEXT


def _block(file: BinaryIO) -> _Block:
    back = file.tell()
    try:
        return _read_block(file)
    finally:
        file.seek(back)


def _read_block(file: BinaryIO) -> _Block:
    known: list[bytes] = []
    fields = 0
    ended = begins = True
    for _ in range(_MOST_LINES):
        line = file.readline(PIECE)
        if begins and (not line or line in EMPTY):
            break
        goes_on = not begins or (fields and line.startswith((b" ", b"\t")))
        begins = line.endswith(b"\n") or not line
        if goes_on:
            continue
        found = _FIELD.match(line)
        if found is None and (fields or not line.startswith(_QUOTED_FROM)):
            ended = False
            break
        fields += 1
        name = found[1].lower() if found else b""
        if name in _OF_MAIL or name.startswith(b"x-"):
            known.append(name)
    whole = ended and len(known) >= _ENOUGH and not _ORIGIN.isdisjoint(known)
    return _Block(fields > 0, bool(known), whole)
