"""`winmail.dat`: the letter and the files that Outlook packs into a format of its own.

One pass over the attributes, each of which says how long it is. Text and files are
taken out; what else stands there (votes, reminders, forms) is of no use here. Files are
not copied: each is found again by its place, so that they are read from the mail
when they are sent. What is broken off is read as far as it goes.

Own code, since it is a list of lengths: the libraries for it read all of it into
objects, without a bound on time or memory, so that they would need a process of their
own to be stopped.

Source: Microsoft Open Specifications, MS-OXTNEF (sections 2.1 and 2.2), MS-OXCDATA
(2.11, property values), MS-OXPROPS (the properties), MS-OXRTFCP (compressed RTF).
"""

from __future__ import annotations

import struct
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from relay.mail import rtf, words

if TYPE_CHECKING:
    from collections.abc import Iterator

OPENED: Final = "tnef_opened"
UNREADABLE: Final = "tnef_unreadable"

MAX_FILES: Final = 500
MAX_TEXT_BYTES: Final = 1 << 22
_MAX_DEPTH: Final = 3
_MAX_PROPERTIES: Final = 4_000
_MAX_ATTRIBUTES: Final = 20_000
_MAX_NAME_BYTES: Final = 1_024

_SIGNATURE: Final = 0x223E9F78
_HEAD: Final = struct.Struct("<BII")  # level, attribute, length
_CHECKSUM_BYTES: Final = 2

_BODY: Final = 0x0002800C
_CODE_PAGE: Final = 0x00069007
_PROPERTIES: Final = 0x00069003
_NEW_FILE: Final = 0x00069002
_FILE_TITLE: Final = 0x00018010
_FILE_DATA: Final = 0x0006800F
_FILE_PROPERTIES: Final = 0x00069005

_TEXT: Final = 0x1000
_RTF: Final = 0x1009
_HTML: Final = 0x1013
_DATA: Final = 0x3701
_SHORT_NAME: Final = 0x3704
_LONG_NAME: Final = 0x3707
_DISPLAY_NAME: Final = 0x3001
_MEDIA_TYPE: Final = 0x370E
_CONTENT_ID: Final = 0x3712

_OBJECT: Final = 0x000D
_STRING: Final = 0x001E
_UNICODE: Final = 0x001F
_BINARY: Final = 0x0102
_VARIABLE: Final = frozenset({_OBJECT, _STRING, _UNICODE, _BINARY})
_MANY: Final = 0x1000  # a list of values
_NAMED: Final = 0x8000  # properties from here on have a name
_WIDTHS: Final = {
    0x0002: 4, 0x0003: 4, 0x0004: 4, 0x0005: 8, 0x0006: 8, 0x0007: 8, 0x000A: 4,
    0x000B: 4, 0x0014: 8, 0x0040: 8, 0x0048: 16,
}  # fmt: skip
_UUID_BYTES: Final = 16
_MESSAGE: Final = bytes.fromhex("0703020000000000c000000000000046")


@dataclass(slots=True)
class File:
    """A file: its name, what is said of it, and where its content lies."""

    name: str = ""
    media_type: str = ""
    content_id: str = ""
    start: int = 0
    end: int = 0


@dataclass(slots=True)
class Content:
    """What was read."""

    text: str = ""
    html: str = ""
    files: list[File] = field(default_factory=list)


class _Property(NamedTuple):
    """A property, and where its value lies."""

    kind: int
    id: int
    start: int
    end: int


class _BrokenOffError(Exception):
    """The bytes end before the value does, or it has no known form."""


def read(data: bytes) -> Content | None:
    """Return what stands in a winmail.dat; None if it is none, or holds nothing."""
    content = Content()
    reader = _Reader(data, content)
    with suppress(_BrokenOffError):  # What came before it counts.
        reader.attributes(0, len(data), 0)
    reader.end_text()
    content.files = [one for one in content.files if one.end > one.start]
    return content if content.text or content.html or content.files else None


class _Reader:
    """One walk through the attributes."""

    def __init__(self, data: bytes, content: Content) -> None:
        self.data = data
        self.content = content
        self.left = _MAX_ATTRIBUTES
        self.code_page = "cp1252"
        self.text = b""
        self.rtf = b""

    def attributes(self, start: int, end: int, depth: int) -> None:
        """Read the attributes between two offsets, of a mail within `depth` others."""
        data = self.data
        position = start + 6  # the signature and a key
        if self._number(start, 4) != _SIGNATURE:
            raise _BrokenOffError
        file: File | None = None
        while position + _HEAD.size <= end:
            level, attribute, length = _HEAD.unpack_from(data, position)
            self.left -= 1
            if level not in {1, 2} or self.left < 0:
                raise _BrokenOffError
            begin = position + _HEAD.size
            stop = min(begin + length, end)
            position = begin + length + _CHECKSUM_BYTES
            if attribute == _NEW_FILE:
                file = self._new_file()
            elif file and attribute == _FILE_TITLE:
                file.name = file.name or self._string(begin, stop)
            elif file and attribute == _FILE_DATA:
                file.start, file.end = begin, stop
            elif file and attribute == _FILE_PROPERTIES:
                self._describe(file, begin, stop, depth)
            elif depth:
                continue  # Of a mail within the mail, only its files are read.
            elif attribute == _CODE_PAGE:
                self.code_page = f"cp{self._number(begin, 4)}"
            elif attribute == _BODY:
                self.text = data[begin : min(stop, begin + MAX_TEXT_BYTES)]
            elif attribute == _PROPERTIES:
                self._body(begin, stop)

    def _new_file(self) -> File:
        """Return a new file; one too many is read, and left out."""
        file = File()
        if len(self.content.files) < MAX_FILES:
            self.content.files.append(file)
        return file

    def _body(self, start: int, end: int) -> None:
        """Take the letter out of the properties of the mail."""
        for one in self._properties(start, end):
            limit = min(one.end, one.start + MAX_TEXT_BYTES)
            if one.id == _TEXT:
                self.content.text = self._text(one, limit)
            elif one.id == _HTML:
                self.content.html = self._text(one, limit)
            elif one.id == _RTF and one.kind == _BINARY:
                self.rtf = self.data[one.start : limit]

    def end_text(self) -> None:
        """Take the letter from where else it stands, if need be."""
        content = self.content
        if not content.text and self.text:
            content.text = self._decoded(self.text)
        if not content.text and not content.html and self.rtf:
            content.text = words.clean(rtf.to_text(rtf.unpacked(self.rtf)))

    def _describe(self, file: File, start: int, end: int, depth: int) -> None:
        """Read what the properties of a file say of it."""
        for one in self._properties(start, end):
            if one.id == _DATA and one.kind == _OBJECT:
                begin = one.start + _UUID_BYTES
                if self.data[one.start : begin] == _MESSAGE and depth < _MAX_DEPTH:
                    self._inner(begin, one.end, depth + 1)
            elif one.id == _DATA:
                file.start, file.end = one.start, one.end
            elif one.id == _LONG_NAME:
                file.name = self._string(one.start, one.end, one.kind) or file.name
            elif one.id in {_SHORT_NAME, _DISPLAY_NAME}:
                file.name = file.name or self._string(one.start, one.end, one.kind)
            elif one.id == _MEDIA_TYPE:
                file.media_type = self._string(one.start, one.end, one.kind)
            elif one.id == _CONTENT_ID:
                file.content_id = self._string(one.start, one.end, one.kind)

    def _inner(self, start: int, end: int, depth: int) -> None:
        """Take the files out of a mail within the mail."""
        with suppress(_BrokenOffError):
            self.attributes(start, end, depth)

    def _properties(self, start: int, end: int) -> Iterator[_Property]:
        """Yield the properties between two offsets, up to the first broken one."""
        try:
            count = min(self._number(start, 4), _MAX_PROPERTIES)
            position = start + 4
            for _ in range(count):
                position, values = self._property(position, end)
                yield from values
        except _BrokenOffError:
            return

    def _property(self, position: int, end: int) -> tuple[int, list[_Property]]:
        """Read one property; return where the next begins, and the values of this."""
        kind, number = self._number(position, 2), self._number(position + 2, 2)
        position += 4
        if number >= _NAMED:
            position += _UUID_BYTES
            by_name, length = self._number(position, 4), self._number(position + 4, 4)
            position += 4 + 4
            if by_name:
                position += _padded(length)
        many, kind = kind & _MANY, kind & ~_MANY
        count = 1
        if many or kind in _VARIABLE:
            count = self._number(position, 4)
            position += 4
        values = []
        width = _WIDTHS.get(kind)
        if width is None and kind not in _VARIABLE:
            raise _BrokenOffError
        for _ in range(min(count, _MAX_PROPERTIES)):
            if width is None:
                length = self._number(position, 4)
                position += 4
            else:
                length = width
            if position > end:
                raise _BrokenOffError
            values.append(
                _Property(kind, number, position, min(position + length, end))
            )
            position += _padded(length)
        return position, values[:1]

    def _text(self, one: _Property, limit: int) -> str:
        """Return the text of a property."""
        data = self.data[one.start : limit]
        if one.kind == _UNICODE:
            return words.clean(data.decode("utf-16-le", "replace")).rstrip("\0")
        return self._decoded(data)

    def _string(self, start: int, end: int, kind: int = _STRING) -> str:
        """Return a short text on one line."""
        end = min(end, start + _MAX_NAME_BYTES)
        return words.line(self._text(_Property(kind, 0, start, end), end))

    def _decoded(self, data: bytes) -> str:
        return words.clean(words.decode(data.rstrip(b"\0"), self.code_page)[0])

    def _number(self, position: int, size: int) -> int:
        if position + size > len(self.data):
            raise _BrokenOffError
        return int.from_bytes(self.data[position : position + size], "little")


def _padded(length: int) -> int:
    """Return a length up to the next four bytes."""
    return (length + 3) & ~3
