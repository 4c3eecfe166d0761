"""The text of an RTF letter, which is all that Outlook puts into some winmail.dat.

Control words are left out, paragraphs become lines, groups that are not shown (fonts,
colours, pictures, fields' instructions, and the HTML that Outlook hides in it) are
skipped. Linear in the length.

Source: Rich Text Format Specification 1.9.1; Microsoft MS-OXRTFCP (compression),
MS-OXRTFEX (HTML in RTF).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from relay.mail.words import decode

MAX_BYTES: Final = 1 << 19

_PACKED: Final = b"LZFu"
_PLAIN: Final = b"MELA"
_HEAD_BYTES: Final = 16
_WINDOW: Final = 4096
_START: Final = (
    b"{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss "
    b"\\fmodern \\fscript \\fdecor MS Sans SerifSymbolArialTimes New RomanCourier"
    b"{\\colortbl\\red0\\green0\\blue0\r\n\\par \\pard\\plain\\f0\\fs20\\b\\i\\u\\tab"
    b"\\tx"
)
_TOKEN: Final = re.compile(
    rb"\\([a-z]{1,32})(-?\d{1,10})? ?|\\'([0-9a-fA-F]{2})|\\([^a-z])|([{}])"
    rb"|[\r\n]+|([^\\{}\r\n]+)"
)
_BREAKS: Final = frozenset({b"par", b"line", b"row", b"sect", b"page"})
_HIDDEN: Final = frozenset({
    b"fonttbl", b"colortbl", b"stylesheet", b"info", b"pict", b"object", b"fldinst",
    b"header", b"footer", b"htmltag", b"themedata", b"datastore", b"listtable",
})  # fmt: skip
_SYMBOLS: Final = {b"\\": "\\", b"{": "{", b"}": "}", b"~": "\u00a0", b"_": "\u2011"}
_SIGNS: Final = {
    b"tab": "\t", b"cell": "\t", b"emdash": "\u2014", b"endash": "\u2013",
    b"lquote": "\u2018", b"rquote": "\u2019", b"ldblquote": "\u201c",
    b"rdblquote": "\u201d", b"bullet": "\u2022",
}  # fmt: skip


def unpacked(data: bytes) -> bytes:
    """Return RTF that MAPI has compressed; of what is damaged, the beginning."""
    kind = data[8:12]
    size = min(int.from_bytes(data[4:8], "little"), MAX_BYTES)
    if kind == _PLAIN:
        return data[_HEAD_BYTES : _HEAD_BYTES + size]
    if kind != _PACKED:
        return b""
    out = bytearray(_START)
    end = len(_START) + size
    position = _HEAD_BYTES
    while position < len(data) and len(out) < end:
        flags = data[position]
        position += 1
        for bit in range(8):
            if not flags >> bit & 1:
                out += data[position : position + 1]
                position += 1
                continue
            pair = data[position : position + 2]
            position += 2
            if len(pair) < len("ab"):
                break
            offset, length = pair[0] << 4 | pair[1] >> 4, (pair[1] & 15) + 2
            # The window is a ring: an offset names the last byte written there.
            back = (len(out) - offset) % _WINDOW
            if not back:
                return bytes(out[len(_START) : end])
            for _ in range(length):
                out.append(out[-back] if back <= len(out) else 0x20)
    return bytes(out[len(_START) : end])


def to_text(rtf: bytes) -> str:
    """Return the text of an RTF document."""
    return _Reader().read(rtf[:MAX_BYTES])


class _Reader:
    """The text while it is gathered, and what holds in the present group."""

    def __init__(self) -> None:
        self.page = "cp1252"
        self.out: list[str] = []
        self.groups: list[tuple[bool, int]] = []
        self.hidden = False
        self.skip = 1  # characters that follow a `\u`, for readers that know none
        self.skipping = 0
        self.pending = bytearray()  # bytes in the code page

    def read(self, rtf: bytes) -> str:
        """Return the text."""
        for found in _TOKEN.finditer(rtf):
            word, number, code, symbol, brace, text = found.groups()
            if self.pending and not code:
                self._end_bytes()
            if brace:
                self._brace(brace)
            elif word and not self._set(word, int(number or 1)):
                self._say(word, number)
            elif symbol == b"*":
                self.hidden = True
            elif self.hidden:
                continue
            elif code:
                self._byte(int(code, 16))
            elif text:
                self.out.append(text[self.skipping :].decode("cp1252", "replace"))
                self.skipping = max(0, self.skipping - len(text))
            elif symbol and symbol in _SYMBOLS:
                self.out.append(_SYMBOLS[symbol])
        self._end_bytes()
        joined = "".join(self.out).encode("utf-16-le", "surrogatepass")
        return joined.decode("utf-16-le", "replace").strip("\n")

    def _brace(self, brace: bytes) -> None:
        if brace == b"{":
            self.groups.append((self.hidden, self.skip))
        elif self.groups:
            self.hidden, self.skip = self.groups.pop()

    def _set(self, word: bytes, number: int) -> bool:
        """Take a word that sets something; say whether it is one."""
        if word in _HIDDEN:
            self.hidden = True
        elif word == b"htmlrtf":
            self.hidden = number != 0
        elif word == b"ansicpg":
            self.page = f"cp{number}"
        elif word == b"uc":
            self.skip = max(0, min(number, 8))
        else:
            return False
        return True

    def _say(self, word: bytes, number: bytes | None) -> None:
        """Take a word that stands for text."""
        if self.hidden:
            return
        if word == b"u" and number:
            self.out.append(chr(int(number) % 0x10000))
            self.skipping = self.skip
        elif word in _BREAKS:
            self.out.append("\n")
        else:
            self.out.append(_SIGNS.get(word, ""))

    def _byte(self, value: int) -> None:
        if self.skipping:
            self.skipping -= 1
        else:
            self.pending.append(value)

    def _end_bytes(self) -> None:
        if self.pending:
            self.out.append(_decoded(bytes(self.pending), self.page))
            self.pending.clear()


@lru_cache(maxsize=1_024)
def _decoded(data: bytes, page: str) -> str:
    """Return text; a letter beyond ASCII often stands alone, so each is kept."""
    return decode(data, page)[0]
