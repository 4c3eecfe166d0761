"""Content-Type and Content-Disposition: the value, and its parameters.

Source: RFC 2045 section 5.1; RFC 2183; RFC 2231 sections 3 and 4 (long and encoded
values). Encoded words in a quoted parameter are against RFC 2047 section 5, and common.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from relay.mail.words import decode, decode_header, line

MAX_VALUE_BYTES: Final = 16_384
"""How much of such a field is read."""

MAX_NAME_LENGTH: Final = 255
"""Longest file name that is kept."""

_MAX_ENDING: Final = 16
_CHARSET_QUOTES: Final = 2  # charset'language'text

_VALUE: Final = re.compile(rb"[ \t]*([^;]*)")
_PARAMETER: Final = re.compile(
    rb';[ \t]*([^\s=;"]{1,80})[ \t]*=[ \t]*("[^"\\]*(?:\\.[^"\\]*)*"|[^;]*)', re.DOTALL
)
_SEGMENT: Final = re.compile(r"([^*]+)(?:\*(\d{1,3}))?(\*?)")
_TYPE: Final = re.compile(r"[a-z0-9!#$&^_.+-]{1,63}/[a-z0-9!#$&^_.+-]{1,63}")
_ESCAPED: Final = re.compile(rb'\\(["\\])')
_COMMENT: Final = re.compile(rb"\([^()]*\)")


def read(value: bytes) -> tuple[str, dict[str, bytes]]:
    """Return the lower-case value before the first semicolon, and the raw parameters.

    Parameter names are lower-case; the first of several of one name counts.
    """
    value = value[:MAX_VALUE_BYTES]
    found = _VALUE.match(value)
    token = found[1] if found else b""
    if b"=" in token:  # The value itself is missing: `name="offer.pdf"`.
        value, token = b";" + value, b""
    if b"(" in token:
        token = _COMMENT.sub(b"", token)
    parameters: dict[str, bytes] = {}
    if b";" in value:
        for name, raw in _PARAMETER.findall(value):
            key = name.decode("ascii", "replace").lower()
            if raw[:1] == b'"' and raw[-1:] == b'"' and len(raw) > 1:
                raw = _ESCAPED.sub(rb"\1", raw[1:-1])  # noqa: PLW2901
            parameters.setdefault(key, raw.strip())
    return token.strip().lower().decode("ascii", "replace"), parameters


def media_type(token: str, default: str) -> str:
    """Return a media type that has the form of one (RFC 2045 section 5.2)."""
    return token if _TYPE.fullmatch(token) else default


def text(parameters: dict[str, bytes], name: str, charset: str = "") -> str:
    """Return a parameter as clean text on one line, or an empty string.

    `charset` is the label of what is raw in it and no UTF-8.
    The encoded form `name*` and the segments `name*0`, `name*1*` … come before the
    plain one, as RFC 2231 asks. Segments are joined before they are decoded.
    """
    plain = parameters.get(name)
    if len(parameters) > 1 or plain is None:
        pieces = []
        for key, raw in parameters.items():
            part = _SEGMENT.fullmatch(key)
            if part and part[1] == name and (part[2] or part[3]):
                pieces.append((int(part[2] or 0), bool(part[3]), raw))
        if pieces:
            return _join(sorted(pieces))
    return decode_header(plain, charset) if plain else ""


def file_name(
    disposition: dict[str, bytes], content: dict[str, bytes], charset: str = ""
) -> str:
    """Return the name of a part, without folders, or an empty string."""
    name = text(disposition, "filename", charset) or text(content, "name", charset)
    if "/" in name or "\\" in name:
        name = re.split(r"[/\\]", name.rstrip("/\\"))[-1]
    return "" if name in {".", ".."} else shorten(name)


def shorten(name: str) -> str:
    """Cut a file name to its longest length, and keep its ending."""
    if len(name) <= MAX_NAME_LENGTH:
        return name
    stem, dot, ending = name.rpartition(".")
    if not dot or len(ending) > _MAX_ENDING:
        return name[:MAX_NAME_LENGTH]
    return stem[: MAX_NAME_LENGTH - 1 - len(ending)] + dot + ending


def _join(pieces: list[tuple[int, bool, bytes]]) -> str:
    """Join the segments of one value; the first names the charset."""
    charset = ""
    joined = b""
    for index, (_, encoded, raw) in enumerate(pieces):
        piece = raw
        if encoded:
            if not index and raw.count(b"'") >= _CHARSET_QUOTES:
                label, _, piece = raw.split(b"'", _CHARSET_QUOTES)
                charset = label.decode("ascii", "replace")
            piece = unquote_to_bytes(piece)
        joined += piece
    if not charset and b"=?" in joined:
        return decode_header(joined)
    return line(decode(joined, charset)[0])
