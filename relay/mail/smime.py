"""What S/MIME has wrapped up: where the letter lies in it, if it is not encrypted.

An opaque signature (`smime.p7m`) holds the letter in plain, between tags of ASN.1.
Only the way there is walked, tag by tag: no signature is checked, since nothing rests
on it here. Encrypted content stays a file, and is told.

Source: RFC 5652 sections 3, 5.1 and 5.2 (CMS); RFC 3274 (compressed); RFC 8551 section
3.2 (media types); ITU-T X.690 section 8.1 (tags and lengths).
"""

from __future__ import annotations

from typing import Final, NamedTuple

OPENED: Final = "smime_opened"
ENCRYPTED: Final = "smime_encrypted"
UNREADABLE: Final = "smime_unreadable"

_TYPES: Final = frozenset({"application/pkcs7-mime", "application/x-pkcs7-mime"})
_PKCS7: Final = bytes.fromhex("2a864886f70d0107")
_SMIME: Final = bytes.fromhex("2a864886f70d01091001")
_SIGNED: Final = _PKCS7 + b"\x02"
_COMPRESSED: Final = _SMIME + b"\x09"
_ENCRYPTED: Final = frozenset({_PKCS7 + b"\x03", _PKCS7 + b"\x06", _SMIME + b"\x17"})

_SEQUENCE: Final = 0x30
_SET: Final = 0x31
_INTEGER: Final = 0x02
_OCTETS: Final = 0x04
_CHUNKS: Final = 0x24  # an octet string in chunks
_OID: Final = 0x06
_CONTENT: Final = 0xA0
_LONG: Final = 0x80
_MAX_LENGTH_BYTES: Final = 5
_CONSTRUCTED: Final = 0x20
_MAX_CHUNKS: Final = 100_000


class Found(NamedTuple):
    """What was found, and by which steps of `decode` the content is reached."""

    note: str
    steps: str = ""


class _Value(NamedTuple):
    """A tag, and where its content lies; `open` says that an end mark ends it."""

    tag: int
    begin: int
    end: int
    open: bool


class _BadASN1Error(Exception):
    """There is no such value."""


def is_envelope(media_type: str, name: str) -> bool:
    """Say whether a part may be one that S/MIME has wrapped up."""
    if media_type in _TYPES:
        return not name.lower().endswith((".p7s", ".p7c"))
    return media_type == "application/octet-stream" and name.lower() == "smime.p7m"


def read(data: bytes) -> Found:
    """Find the letter in what S/MIME has wrapped up; never fails."""
    try:
        outer = _value(data, 0, len(data), _SEQUENCE)
        kind = _value(data, outer.begin, outer.end, _OID)
        oid = data[kind.begin : kind.end]
        if oid in _ENCRYPTED:
            return Found(ENCRYPTED)
        if oid not in {_SIGNED, _COMPRESSED}:
            return Found(UNREADABLE)
        content = _value(data, kind.end, outer.end, _CONTENT)
        body = _value(data, content.begin, content.end, _SEQUENCE)
        version = _value(data, body.begin, body.end, _INTEGER)
        algorithm = _SET if oid == _SIGNED else _SEQUENCE
        after = _after(data, _value(data, version.end, body.end, algorithm))
        wrapped = _value(data, after, body.end, _SEQUENCE)
        inner = _value(data, wrapped.begin, wrapped.end, _OID)
        explicit = _value(data, inner.end, wrapped.end, _CONTENT)
        octets = _value(data, explicit.begin, explicit.end, _OCTETS, _CHUNKS)
        end = _after(data, octets)
    except _BadASN1Error:
        return Found(UNREADABLE)
    steps = [f"slice={octets.begin}+{end - octets.begin}"]
    if octets.tag == _CHUNKS:
        steps.append("octets")
    if oid == _COMPRESSED:
        steps.append("inflate")
    return Found(OPENED, " ".join(steps))


def _value(data: bytes, position: int, end: int, *tags: int) -> _Value:
    """Read the value at a position, which must have one of the tags; any if none."""
    if position + 2 > end or (tags and data[position] not in tags):
        raise _BadASN1Error
    tag, length = data[position], data[position + 1]
    begin = position + 2
    if length == _LONG:
        return _Value(tag, begin, end, open=True)
    if length > _LONG:
        count = length - _LONG
        if count > _MAX_LENGTH_BYTES:
            raise _BadASN1Error
        length = int.from_bytes(data[begin : begin + count], "big")
        begin += count
    # What was cut off is read as far as it goes.
    return _Value(tag, begin, min(begin + length, end), open=False)


def _after(data: bytes, value: _Value) -> int:
    """Return where a value ends; one with an end mark is walked through."""
    if not value.open:
        return value.end
    position, depth, chunks = value.begin, 1, 0
    while depth:
        chunks += 1
        if chunks > _MAX_CHUNKS:
            raise _BadASN1Error
        inner = _value(data, position, value.end)
        if inner.tag == 0:
            depth -= 1
            position = inner.begin
        elif inner.open and inner.tag & _CONSTRUCTED:
            depth += 1
            position = inner.begin
        else:
            position = inner.end
    return position
