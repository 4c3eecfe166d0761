r"""Where the content of a mail ends: behind DATA, and in the chunks of BDAT.

`DataDecoder` is for DATA.

The end is CR LF . CR LF and nothing else. Where a server takes another sequence for the
end, a sender can hide a second mail in the first ("SMTP smuggling"); so a dot that is
alone between line ends of which one is bare (LF . LF, LF . CR LF, CR . CR, CR LF . LF
and so on), stuffed or not, marks the mail for refusal, and never ends it. Other bare CR
and LF are kept as they are and counted. NUL, eight-bit bytes and lines of any length
pass unchanged.

Theory: the stream is read as if the CR LF of the DATA command stood before it, so that
a first line needs no case of its own. Of each chunk, the longest tail that may be the
beginning of an end (at most four bytes) is held back; everything before it is final, so
no pattern that matters to the end or to a stuffed dot can lie across two pieces.

`ChunkDecoder` is for BDAT: counted bytes instead of an end mark. Nothing is stuffed
there, and `CR LF . CR LF` is a line with a dot. A dot that is alone between line ends
of which one is bare is a mark for refusal there as well: no mail program writes it, and
a server that passes such a mail on by DATA would smuggle for the mail's sender.

Source: RFC 5321 sections 2.3.8, 4.1.1.4 and 4.5.2; RFC 3030 section 2.
"""

from __future__ import annotations

import io
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from relay.intake import LineEnds
from relay.smtp.wire import TooSlow

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from relay.intake import MailBuffer
    from relay.smtp.wire import Wire

_END: Final = b"\r\n.\r\n"
_LINE_END: Final = b"\r\n"
_DOT_LINE: Final = b"\r\n."
_MAY_GO_ON: Final = (b"\n", b"\r", b"\n.", b"\r.")
"""Ends of a piece behind which a lone dot may show in the next."""
_STRICT: Final = (None, "\r\n")
_LONE_DOT: Final = re.compile(rb"[\r\n]\.[\r\n]|\r\n\.\.(?:\n|\r(?!\n))")
"""As it stands on the wire, or stuffed, so that it would stand in the stored mail."""
_SEEN: Final = 4
"""Bytes kept for a lone dot across pieces: all of the longest but its last."""
_COMMAND: Final = re.compile(r"(?P<size>[0-9]{1,20})(?P<last> +LAST)?", re.IGNORECASE)
_UNSTUFFED_DOT: Final = re.compile(
    rb"(?<!\r)\n\.[\r\n]|\r\.[\r\n]|\r\n\.(?:\n|\r(?!\n))"
)
_SEEN_OF_CHUNK: Final = 6
"""Bytes kept for a lone dot across pieces: the longest such, and one in front."""


class DataDecoder:
    """Takes the wire's bytes in any chunks; gives the content of the mail.

    Attributes:
        done: The end was seen; `rest` is what came behind it.
        rest: Bytes that belong to the next commands.
        size_bytes: Content so far, dots unstuffed, without the end (RFC 1870).
        bare_cr: CRs without their LF so far.
        bare_lf: LFs without their CR so far.
        bare_dot: A lone dot between line ends of which one is bare was seen.
    """

    __slots__ = (
        "_first",
        "_held",
        "_seen",
        "bare_cr",
        "bare_dot",
        "bare_lf",
        "done",
        "rest",
        "size_bytes",
    )

    def __init__(self) -> None:
        """Begin behind the line end of the DATA command."""
        self._held = _LINE_END
        self._first = True
        self._seen = b""
        self.done = False
        self.rest = b""
        self.size_bytes = 0
        self.bare_cr = 0
        self.bare_lf = 0
        self.bare_dot = False

    @property
    def line_ends(self) -> LineEnds:
        """Return what the mail has beside CR LF."""
        return LineEnds(self.bare_cr, self.bare_lf, self.bare_dot)

    def feed(self, chunk: bytes) -> bytes:
        """Take a chunk; return the content that is final now, which may be nothing."""
        work = self._held + chunk
        # Few mails have a dot at the start of a line: one search finds the end, and
        # says that there is nothing to unstuff before it.
        end = dot = _dot_line(work)
        if dot >= 0 and not work.startswith(_END, dot):
            end = work.find(_END, dot)
        if end >= 0:
            self.done = True
            self.rest = work[end + len(_END) :]
            self._held = b""
            wire = work[: end + len(_LINE_END)]
        else:
            keep = _possible_end(work)
            wire = work[: len(work) - keep]
            self._held = work[len(work) - keep :]
        if not wire:
            return b""
        self._inspect(wire)
        stuffed = 0 <= dot <= len(wire) - len(_DOT_LINE)
        content = wire.replace(_DOT_LINE, _LINE_END) if stuffed else wire
        if self._first:
            self._first = False
            content = content[len(_LINE_END) :]
        self.size_bytes += len(content)
        return content

    def _inspect(self, wire: bytes) -> None:
        """Count bare line ends, and look for a lone dot between them.

        A piece never ends inside a CR LF (its CR would be held back), so the counts of
        pieces add up; the last bytes are kept for a dot across pieces.
        """
        bare_cr, bare_lf = bare_line_ends(wire)
        if bare_lf or bare_cr or self._seen.endswith(_MAY_GO_ON):
            self.bare_lf += bare_lf
            self.bare_cr += bare_cr
            if _LONE_DOT.search(self._seen + wire):
                self.bare_dot = True
        short = len(wire) < _SEEN
        self._seen = (self._seen + wire)[-_SEEN:] if short else wire[-_SEEN:]


def bare_line_ends(wire: bytes) -> tuple[int, int]:
    """Return how many CR and LF (in that order) belong to no CR LF.

    Most mails have none: that takes one pass in C, where counts would take three.
    """
    look = io.IncrementalNewlineDecoder(None, translate=False)
    look.decode(wire.decode("latin-1"), final=True)
    if look.newlines in _STRICT:
        return 0, 0
    pairs = wire.count(_LINE_END)
    return wire.count(b"\r") - pairs, wire.count(b"\n") - pairs


def _dot_line(work: bytes) -> int:
    """Return where the first CR LF stands that has a dot behind it, or -1."""
    dot = work.find(b".")  # Files in base64 have none, and one byte is found fast.
    return work.find(_DOT_LINE, max(dot - len(_LINE_END), 0)) if dot >= 0 else -1


def _possible_end(work: bytes) -> int:
    """Return how many bytes at the end of `work` may be the beginning of an end."""
    for length in range(min(len(work), len(_END) - 1), 0, -1):
        if _END.startswith(work[-length:]):
            return length
    return 0


def bdat_command(argument: str) -> tuple[int, bool] | None:
    """Return size and whether it is the last chunk; None if the syntax is wrong."""
    match = _COMMAND.fullmatch(argument)
    return None if match is None else (int(match["size"]), bool(match["last"]))


class ChunkDecoder:
    """Takes the wire's bytes, chunk after chunk; gives the content of the mail.

    `begin` each chunk, then `feed` until `done`. The attributes are those of
    `DataDecoder`; `done` and `rest` are of the chunk, the others of the whole mail.
    """

    __slots__ = (
        "_held",
        "_last",
        "_left",
        "_seen",
        "bare_cr",
        "bare_dot",
        "bare_lf",
        "done",
        "rest",
        "size_bytes",
    )

    def __init__(self) -> None:
        """Begin a mail."""
        self._left = 0
        self._last = False
        self._held = b""
        self._seen = _LINE_END
        self.done = True
        self.rest = b""
        self.size_bytes = 0
        self.bare_cr = 0
        self.bare_lf = 0
        self.bare_dot = False

    @property
    def line_ends(self) -> LineEnds:
        """Return what the mail has beside CR LF."""
        return LineEnds(self.bare_cr, self.bare_lf, self.bare_dot)

    def begin(self, size_bytes: int, *, last: bool) -> None:
        """Begin a chunk of that many bytes, which may be none."""
        self._left = size_bytes
        self._last = last
        self.rest = b""
        self.done = False
        if not size_bytes:
            self._end()

    def feed(self, chunk: bytes) -> bytes:
        """Take what has arrived; return the content in it, which may be nothing."""
        content = chunk[: self._left]
        self._left -= len(content)
        self.size_bytes += len(content)
        self._inspect(content)
        if not self._left:
            self.rest = chunk[len(content) :]
            self._end()
        return content

    def _end(self) -> None:
        self.done = True
        if self._last:
            self._inspect(b"")

    def _inspect(self, content: bytes) -> None:
        """Count bare line ends, and look for a lone dot between them.

        A CR at the end of a piece waits for the next, which may bring its LF.
        """
        work = self._held + content
        ends = self._last and not self._left
        self._held = b"" if ends or not work.endswith(b"\r") else b"\r"
        work = work[: len(work) - len(self._held)]
        bare_cr, bare_lf = bare_line_ends(work)
        self.bare_cr += bare_cr
        self.bare_lf += bare_lf
        if (self.bare_lf or self.bare_cr) and not self.bare_dot:
            known = len(self._seen)
            text = self._seen + work
            self.bare_dot = (
                _UNSTUFFED_DOT.search(text, max(0, known - _SEEN_OF_CHUNK + 2))
                is not None
            )
        self._seen = (self._seen + work)[-_SEEN_OF_CHUNK:]


Decoder = DataDecoder | ChunkDecoder


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a mail may take to come; times are those of the loop.

    A peer that sends has `timeout_s` to think, and then must send `min_data_rate` bytes
    a second (0: any); after `until` no mail may take longer.
    """

    started: float
    until: float
    timeout_s: float
    min_data_rate: float

    def slowest_end(self, size_bytes: int) -> float:
        """Return when `min_data_rate` ends a mail of which so much has come."""
        if not self.min_data_rate:
            return math.inf
        return self.started + self.timeout_s + size_bytes / self.min_data_rate


async def receive(
    wire: Wire,
    decoder: Decoder,
    content: MailBuffer | None,
    pace: Pace,
    flush: Callable[[], Awaitable[None]],
) -> None:
    """Read up to the end of a mail or chunk; without `content` the bytes are dropped.

    `flush` writes replies to earlier commands, before the peer is waited for.

    Raises:
        EOFError: The connection ended first; nothing is to be answered.
        TooSlow: Nothing came for `timeout_s`, or the mail fell behind its pace.
    """
    inbox = wire.inbox
    while not decoder.done:
        chunk = inbox.take()
        if chunk:
            piece = decoder.feed(chunk)
            if content is not None and content.add(piece):
                await content.flush()
            continue
        if wire.out:
            await flush()
        end = min(pace.until, pace.slowest_end(decoder.size_bytes))
        left = end - wire.loop.time()
        if left <= 0:
            raise TooSlow
        await wire.wait(left)
