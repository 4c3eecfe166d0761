r"""The content behind DATA, chunk by chunk: where it ends, and dots unstuffed.

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

Source: RFC 5321 sections 2.3.8, 4.1.1.4 and 4.5.2.
"""

from __future__ import annotations

import io
import re
from typing import Final

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
