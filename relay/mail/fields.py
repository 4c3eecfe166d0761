"""The header block of a mail, or of a part: where it ends, and which fields it has.

The intake and the worker read the header with this one scanner, so that the From that
was judged during SMTP is the From that is logged. It works on bytes and decodes
nothing.

Where mail is broken, the reading finds more fields rather than fewer: a line that is
no field (a leftover mbox `From ` line, a name with a blank in it) is passed over, and
what stands behind it still counts. If nothing but such lines follows up to the first
empty line, the empty line was forgotten, and they belong to the body.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

MAX_HEADER_BYTES: Final = 1 << 21
"""How much of a header block is read; the rest is passed over, and noted."""

MAX_FIELDS: Final = 10_000
"""How many fields of a header block are kept."""

_MAX_PART_FIELDS: Final = 200

# A name, its value with the lines folded into it, or else a line that is no field.
# A blank before the colon is the obsolete syntax of RFC 5322 section 4.5.
# Notepad and some web mailers put a byte order mark before the first of their fields.
# The repeats give nothing back: otherwise each folded line would take memory.
_LINE: Final = re.compile(
    rb"^(?:(?:\xef\xbb\xbf)*+([!-9;-~]++)[ \t]*+:([^\n]*+(?:\n[ \t][^\n]*+)*+)"
    rb"|([^\n]+))",
    re.MULTILINE,
)
_FIELD: Final = re.compile(
    rb"(?:\xef\xbb\xbf)*+([!-9;-~]++)[ \t]*+:([^\n]*+(?:\n[ \t][^\n]*+)*+)\n?"
)
_IN_BRACKETS: Final = re.compile(rb"<[^<>]*>")
_FOLD: Final = re.compile(rb"\r?\n[ \t]+")
_MARKED: Final = re.compile(rb"^\xef\xbb\xbf", re.MULTILINE)

Fields = list[tuple[str, bytes]]
"""Lower-case names and raw unfolded values, in the order of the mail."""


@dataclass(frozen=True, slots=True)
class Header:
    """A header block: its fields, and where it ends and the body starts."""

    fields: Fields
    end: int
    body: int
    repairs: tuple[str, ...] = ()

    def values(self, name: str) -> list[bytes]:
        """Return the raw values of every field of that (lower-case) name."""
        return [value for key, value in self.fields if key == name]


def header_fields(raw: bytes, limit: int = MAX_HEADER_BYTES) -> Fields:
    """Return the header fields of a mail: lower-case name, raw unfolded value bytes.

    Repeated fields are all there, in order. Only the header block is looked at, up to
    the first empty line and at most `limit` bytes of it; a line that is no field is
    passed over.

    Source: RFC 5322 sections 2.2 and 4.5; line ends may be CR LF or LF.
    """
    return scan(raw, limit).fields


def scan(raw: bytes, limit: int = MAX_HEADER_BYTES) -> Header:
    """Read the header block at the start of a mail."""
    end, body = _end(raw)
    repairs: tuple[str, ...] = ()
    block = raw[: min(end, limit)]
    if end > limit:
        repairs = ("header_cut",)
    fields: Fields = []
    broken = False
    for name, value, other in _LINE.findall(block):
        if other:
            broken = broken or other != b"\r"
        else:
            fields.append((name.decode("ascii").lower(), _unfold(value)))
    if len(fields) > MAX_FIELDS:
        del fields[MAX_FIELDS:]
        repairs = (*repairs, "fields_cut")
    if b"\xef\xbb\xbf" in block and _MARKED.search(block):
        repairs = (*repairs, "byte_order_mark")
    if broken:
        start = _trailing(block)
        if start is not None and end <= limit:
            return Header(fields, start, start, (*repairs, "body_separator_missing"))
        repairs = (*repairs, "header_line_ignored")
    return Header(fields, end, body, repairs)


def joined(raw: bytes, header: Header, name: str) -> list[bytes]:
    """Return the values of a field, with addresses whole that folding has broken.

    Some programs fold at the 76th character, wherever it is: within angle brackets
    what was folded is joined without a blank. Elsewhere the values are as in `header`.
    """
    values: list[bytes] = []
    block = raw[: min(header.end, MAX_HEADER_BYTES)]
    for found, value, _ in _LINE.findall(block):
        if found.decode("ascii").lower() == name:
            values.append(_unfold(_IN_BRACKETS.sub(_join, value)))
    return values


def _join(found: re.Match[bytes]) -> bytes:
    return _FOLD.sub(b"", found[0]) if b"@" in found[0] else found[0]


def scan_part(raw: bytes, start: int) -> tuple[Fields, int]:
    """Read the header of a part that begins at `start`; return it and the body's start.

    Here the first line that is no field ends the header: it may be the boundary of the
    next part. What comes after the 200th field is read as body.
    """
    fields: Fields = []
    position = start
    while (found := _FIELD.match(raw, position)) and len(fields) < _MAX_PART_FIELDS:
        fields.append((found[1].decode("ascii").lower(), _unfold(found[2])))
        position = found.end()
    if raw.startswith(b"\r\n", position):
        position += 2
    elif raw.startswith(b"\n", position):
        position += 1
    return fields, position


def _unfold(value: bytes) -> bytes:
    """Take out the line ends; the blanks that folding stood before remain."""
    if b"\n" in value:
        value = value.replace(b"\r\n", b"").replace(b"\n", b"")
    return value.strip(b" \t\r")


def _end(raw: bytes) -> tuple[int, int]:
    """Return where the header block ends and where the body starts."""
    if raw.startswith((b"\n", b"\r\n")):
        return 0, raw.index(b"\n") + 1
    crlf = raw.find(b"\n\r\n")
    # Looked for only before the first CR LF one: a big mail has none behind it either.
    bare = raw.find(b"\n\n", 0, crlf if crlf >= 0 else len(raw))
    if bare >= 0:
        return bare + 1, bare + 2
    if crlf >= 0:
        return crlf + 1, crlf + 3
    return len(raw), len(raw)


def _trailing(block: bytes) -> int | None:
    """Return where lines start behind which no field follows, if there are any."""
    start = None
    for found in _LINE.finditer(block):
        if found[1] is not None:
            start = None
        elif start is None and found[3] != b"\r":
            start = found.start()
    return start
