"""Whether a line of an mbox that begins with `From ` begins a mail.

Programs write a date as of asctime behind it, one of RFC 5322, or none; some leave out
the empty line in front. So it is judged also by what follows: a *header block* has two
or more fields that mails have, From, Received or Message-ID among them, and ends with
an empty line. What has some of these marks and lacks others is doubtful: to take it for
text could hide one mail in another, and to take it for a beginning could cut one.

Source: RFC 4155 appendix A; mbox(5) of qmail.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
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
_QUOTED: Final = b">From "
_ORIGIN: Final = frozenset({b"from", b"received", b"message-id"})
_OF_MAIL: Final = _ORIGIN | frozenset(
    b"date subject to cc bcc reply-to sender return-path delivered-to envelope-to "
    b"in-reply-to references mime-version content-type content-length "
    b"content-transfer-encoding user-agent status".split()
)
_ENOUGH: Final = 2
_MOST_LINES: Final = 200
"""Lines of a header that are looked at."""


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
        if found is None and (fields or not line.startswith(_QUOTED)):
            ended = False
            break
        fields += 1
        name = found[1].lower() if found else b""
        if name in _OF_MAIL or name.startswith(b"x-"):
            known.append(name)
    whole = ended and len(known) >= _ENOUGH and not _ORIGIN.isdisjoint(known)
    return _Block(fields > 0, bool(known), whole)
