r"""The PROXY protocol: how a load balancer says whose connection it passes on.

A header stands in front of everything else, TLS included, exactly once, and counts only
from the networks a listener names. Version 1 is a line, version 2 is binary behind a
signature of twelve bytes. `read` takes what has arrived so far and says what it is; it
waits for nothing and raises only `BadHeader`; `receive` waits for the rest.

From anybody else a header is an attempt to speak in another's name. `looks_like_header`
knows it among command lines: the signature of version 2 is a few line ends, a line that
holds NUL, and `QUIT` with a bare LF, so that an SMTP server cannot mistake it for
commands.

Source: "The PROXY protocol", versions 1 and 2, haproxy.org, section 2.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from relay.smtp.wire import Inbox

_V1: Final = b"PROXY "
_V1_MAX: Final = 107
"""Octets of a version 1 line with its CRLF."""
_V2: Final = b"\r\n\r\n\0\r\nQUIT\n"
_V2_HEAD: Final = struct.Struct("!12sBBH")
_V2_LINE: Final = b"\0\r\n"
"""The first line of the signature that is not empty."""
_V2_MAX: Final = 4096
"""Octets of addresses and extensions taken; the ones in use are some hundred."""
_LOCAL: Final = 0x20
_PROXY: Final = 0x21
_INET: Final = 1
_INET6: Final = 2
_MAX_PORT: Final = 65535
_V1_FIELDS: Final = 6
_FAMILIES: Final = {b"TCP4": 4, b"TCP6": 6}


class BadHeader(Exception):  # noqa: N818 - a verdict
    """The connection does not begin with a PROXY header."""


@dataclass(frozen=True, slots=True)
class Header:
    """A header that was read.

    `client` is empty where the proxy speaks for itself (a health check) or does not
    know: then the connection's own address counts. `length` is what it took.
    """

    client: str
    length: int


def read(data: bytes) -> Header | None:
    """Return the header that `data` begins with, or None if there must come more.

    Raises:
        BadHeader: There is none; the connection is to be closed without a word.
    """
    if data.startswith(_V1):
        return _line(data)
    if data.startswith(_V2):
        return _binary(data)
    if _V1.startswith(data) or _V2.startswith(data):
        return None
    text = "no PROXY header"
    raise BadHeader(text)


async def receive(inbox: Inbox) -> Header:
    """Return the header that a connection begins with; what follows stays unread.

    Raises:
        BadHeader: There is none.
        EOFError, TooSlow: It did not come.
    """
    data = b""
    while (header := read(data)) is None:
        # It may have come together with the connection.
        if not inbox:
            await inbox.wait()
        data += inbox.take()
    inbox.unread(data[header.length :])
    return header


def looks_like_header(line: bytes) -> bool:
    """Say whether a command line, with its line end, is (part of) a PROXY header."""
    return line.startswith(_V1) or line == _V2_LINE


def _line(data: bytes) -> Header | None:
    end = data.find(b"\r\n", 0, _V1_MAX)
    if end < 0:
        if len(data) >= _V1_MAX or b"\n" in data:
            text = "the version 1 header does not end"
            raise BadHeader(text)
        return None
    fields = data[:end].split(b" ")
    if fields[1] == b"UNKNOWN":
        return Header("", end + 2)
    version = _FAMILIES.get(fields[1])
    if version is None or len(fields) != _V1_FIELDS:
        text = "the version 1 header is malformed"
        raise BadHeader(text)
    client = _address(fields[2], version)
    _address(fields[3], version)
    for port in fields[4:]:
        if not port.isdigit() or int(port) > _MAX_PORT:
            text = "the version 1 header has no port"
            raise BadHeader(text)
    return Header(client, end + 2)


def _address(text: bytes, version: int) -> str:
    try:
        address = ipaddress.ip_address(text.decode("ascii"))
    except ValueError as error:  # UnicodeDecodeError is one
        problem = "the version 1 header has no address"
        raise BadHeader(problem) from error
    if address.version != version:
        problem = "the version 1 header has an address of another family"
        raise BadHeader(problem)
    return str(address)


def _binary(data: bytes) -> Header | None:
    if len(data) < _V2_HEAD.size:
        return None
    _, command, family, length = _V2_HEAD.unpack_from(data)
    if command not in {_LOCAL, _PROXY}:
        text = f"unknown version or command {command:#04x}"
        raise BadHeader(text)
    if length > _V2_MAX:
        text = f"{length} bytes of addresses"
        raise BadHeader(text)
    end = _V2_HEAD.size + length
    if len(data) < end:
        return None
    size = {_INET: 4, _INET6: 16}.get(family >> 4)
    if command == _LOCAL or size is None:
        return Header("", end)
    if length < 2 * size + 4:
        text = "the addresses of the version 2 header are cut short"
        raise BadHeader(text)
    start = _V2_HEAD.size
    return Header(str(ipaddress.ip_address(data[start : start + size])), end)
