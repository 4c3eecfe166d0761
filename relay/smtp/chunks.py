r"""The content of BDAT: counted bytes instead of an end mark, in one or more chunks.

Bytes are kept as they come: nothing is stuffed, and `CR LF . CR LF` is a line with a
dot. A dot that is alone between line ends of which one is bare is a mark for refusal
here as well: no mail program writes it, and whoever passes such a mail on by DATA would
smuggle for its sender.

Source: RFC 3030 section 2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from relay.smtp.data import DataDecoder, bare_line_ends

if TYPE_CHECKING:
    from relay.intake.buffer import MailBuffer

_COMMAND: Final = re.compile(r"(?P<size>[0-9]{1,20})(?P<last> +LAST)?", re.IGNORECASE)
_LINE_END: Final = b"\r\n"
_LONE_DOT: Final = re.compile(rb"(?<!\r)\n\.[\r\n]|\r\.[\r\n]|\r\n\.(?:\n|\r(?!\n))")
_SEEN: Final = 6
"""Bytes kept for a lone dot across pieces: the longest such, and one in front."""


def bdat_command(argument: str) -> tuple[int, bool] | None:
    """Return size and whether it is the last chunk, or None for what is no BDAT."""
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
                _LONE_DOT.search(text, max(0, known - _SEEN + 2)) is not None
            )
        self._seen = (self._seen + work)[-_SEEN:]


Decoder = DataDecoder | ChunkDecoder


@dataclass(slots=True)
class Chunks:
    """A mail that is arriving by BDAT; `started` is the time of its first chunk."""

    decoder: ChunkDecoder
    body: MailBuffer
    started: float
