"""Bytes become clean text: charsets, RFC 2047 encoded words, control characters.

The order in which charsets are tried comes from what mail programs really send: text
that reads as strict UTF-8 is UTF-8 whatever its label says, then the label is
believed, then what the mail says elsewhere (the head of its HTML, its body for a raw
header), then windows-1252, and a guess comes last. Only labels of encodings that look
like ASCII or like UTF-8 by nature (ISO-2022-JP, UTF-16, short double-byte words) go
first. What a label means is said in `charsets`.
"""

from __future__ import annotations

import binascii
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from relay.mail import charsets
from relay.mail.decode import whole

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_VALUE: Final = 1 << 16
"""How many bytes of a value are read as text; what stands behind them is left out."""

_SHORT_BYTES: Final = 32
_WIDE: Final = frozenset({"utf_16", "utf_16_be", "utf_16_le"})
"""A label of these on text without any NUL is wrong, unless nothing else reads it."""

# The beginning of an encoded word, up to its text.
_BEGIN: Final = re.compile(
    rb"=\?([A-Za-z0-9_.:+()-]{1,40})(?:\*[A-Za-z0-9-]{0,40})?\?([bBqQ])\?"
)
_HEX: Final = re.compile(rb"[0-9A-F]{2}[^ \t]*\?=")

_CONTROL_BYTES: Final = bytes({*range(32), 127} - set(b"\t\n\r\v\f"))
_TO_LINES: Final = bytes.maketrans(b"\v\f", b"\n\n")
_CONTROLS: Final = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]"
)
_LINE_ENDS: Final = re.compile("\r\n?|[\v\f\x85\u2028\u2029]")
_BLANKS: Final = str.maketrans(dict.fromkeys("\t\n\r\v\f\x85\u2028\u2029", " "))


class Word(NamedTuple):
    """An encoded word: where it lies, its charset and its content."""

    start: int
    end: int
    charset: str
    content: bytes


def encoded_words(value: bytes) -> Iterator[Word]:
    """Yield the encoded words of a value, in order; linear in its length.

    A word ends at the first `?=`, whatever stands within it: programs leave `?`,
    blanks, commas and brackets as they are. Where a hexadecimal number follows, the
    `?` is text and the `=` begins a byte: `Caf=C3=A9?=C3=B6`.

    Source: RFC 2047 section 2; RFC 2231 section 5 (language tag).
    """
    position = 0
    while found := _BEGIN.search(value, position):
        start, text = found.start(), found.end()
        end = value.find(b"?=", text)
        while end >= 0 and found[2] in b"qQ" and _HEX.match(value, end + 2, end + 80):
            end = value.find(b"?=", end + 2)
        if end < 0:
            return
        inner = value.rfind(b"=?", text, end)
        if inner >= 0 and _BEGIN.match(value, inner, end):
            position = inner  # The first was never closed.
            continue
        content = value[text:end]
        content = from_base64(content) if found[2] in b"bB" else _from_q(content)
        position = end + 2
        yield Word(start, position, found[1].decode("ascii").lower(), content)


def decode_header(value: bytes, charset: str = "") -> str:
    """Return a raw header value as one line of clean text.

    Encoded words are decoded wherever they stand, quoted strings included, since mail
    programs put them there; neighbours of one charset are joined before they are
    decoded, since programs split inside a character. Raw 8-bit bytes are read as well.
    At most `MAX_VALUE` bytes are read.

    Args:
        value: The raw value.
        charset: Label of the body's charset; raw bytes that are no UTF-8 are in it.

    Source: RFC 2047 section 6.2.
    """
    value = value[:MAX_VALUE]
    if b"\n" in value or b"\r" in value:
        value = value.replace(b"\r\n", b"").replace(b"\n", b" ").replace(b"\r", b" ")
    if charset and charsets.codec_of(charset) == "utf_8":
        charset = ""  # It was tried already; a Latin-1 name is not half of UTF-8.
    if b"=?" not in value:
        if value.isascii() and b"\x1b" not in value:
            return line(value.decode("ascii"))
        return line(decode(value, charset)[0])
    pieces: list[str] = []
    pending = b""
    label = ""
    position = 0
    for word in encoded_words(value):
        gap = value[position : word.start]
        if word.charset != label or gap.strip():
            pieces.append(decode(pending, label)[0])
            pending = b""
        if gap.strip() or not position:
            pieces.append(decode(gap, charset)[0])
        label = word.charset
        pending += word.content
        position = word.end
    pieces += (decode(pending, label)[0], decode(value[position:], charset)[0])
    return line("".join(pieces))


def decode(data: bytes, label: str | None = None, inside: str = "") -> tuple[str, bool]:
    """Return text, and whether its label was known and right (none given is right).

    The text is not cleaned: pass it through `clean` or `line`.

    Args:
        data: The bytes.
        label: The charset that the header names.
        inside: The charset that the content itself names, an HTML page in its head.
    """
    codec = charsets.codec_of(label) if label else None
    early = _early(data, codec, label)
    if early:
        return early
    right = codec is not None or not label
    try:
        return data.decode("utf-8"), right
    except UnicodeError:
        pass
    for named in dict.fromkeys((codec, charsets.codec_of(inside) if inside else None)):
        # Bytes beyond ASCII prove that a label of ASCII is wrong.
        if not named or (named == codec and _is_ascii(label)):
            continue
        text = _strictly(data, named)
        if text is not None:
            return text, right and named == codec
        # A bad byte or a text cut in the middle: the label fits all the rest.
        if named not in charsets.SEVEN_BIT or len(data) >= _SHORT_BYTES:
            text = charsets.mostly(data, named)
            if text is not None:
                return text, False
    return _unnamed(data), not label or _is_ascii(label)


def _early(
    data: bytes, codec: str | None, label: str | None
) -> tuple[str, bool] | None:
    """Read what would be read as UTF-8 and is not: its bytes look like it."""
    short = codec in charsets.MULTI_BYTE and codec != "utf_8"
    trusted = codec in charsets.SEVEN_BIT or (short and len(data) < _SHORT_BYTES)
    if codec and trusted and not (codec in _WIDE and b"\0" not in data):
        text = _strictly(data, codec)
        if text is not None:
            return text, True
        if codec == charsets.JIS and len(data) >= _SHORT_BYTES:
            text = charsets.mostly(data, codec)
            if text is not None:
                return text, False
    if charsets.has_escapes(data):
        text = _strictly(data, charsets.JIS)
        if text is not None:
            return text, not label
    return None


def _is_ascii(label: str | None) -> bool:
    return (label or "").strip(" \"'").lower() in {"us-ascii", "ascii", "7bit"}


def _strictly(data: bytes, codec: str) -> str | None:
    try:
        return charsets.read(data, codec)
    except UnicodeError:
        return None


def _unnamed(data: bytes) -> str:
    """Return text whose charset nobody names, or names rightly."""
    text = _strictly(data, "cp1252")
    if text is None:
        text = charsets.guess(data) or charsets.mostly(data, "utf_8")
    return data.decode("cp1252", "replace") if text is None else text


def clean_bytes(data: bytes) -> bytes:
    """Drop ASCII control characters: `clean` for ASCII, at a tenth of its cost.

    Not for charsets that use control characters, such as UTF-16 and ISO-2022-JP.
    """
    data = data.translate(_TO_LINES, _CONTROL_BYTES)
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return data


def clean(text: str) -> str:
    r"""Return text with `\n` as its line end, free of controls and lone surrogates."""
    if text.isascii():
        return clean_bytes(text.encode("ascii")).decode("ascii")
    return _CONTROLS.sub("", _LINE_ENDS.sub("\n", text)).removeprefix("\ufeff")


def line(text: str) -> str:
    """Return text as one clean line; line ends and tabs become blanks."""
    if text.isprintable():
        return text.strip()
    text = text.replace("\r\n", " ").translate(_BLANKS)
    return _CONTROLS.sub("", text).strip()


def from_base64(data: bytes) -> bytes:
    """Decode base64 as far as it can be; never fails."""
    return whole(data, "base64")


def _from_q(data: bytes) -> bytes:
    """Decode the Q encoding (RFC 2047 section 4.2)."""
    return binascii.a2b_qp(data, header=True)
