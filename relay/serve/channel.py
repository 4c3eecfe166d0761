"""A few lines of JSON between the supervisor and a child, over a socket pair.

The child says `ready`, `failed` or `bye`, and answers what it is asked. The end of the
stream means that the other process has gone.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import socket

_LONGEST_LINE: Final = 16 * 1024 * 1024
"""The text of all metrics is one line."""


class Channel:
    """One end."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Take the two halves of the stream."""
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, end: socket.socket) -> Channel:
        """Take over one end of a socket pair."""
        return cls(*await asyncio.open_connection(sock=end, limit=_LONGEST_LINE))

    def send(self, kind: str, **fields: Any) -> None:
        """Send a line; one that cannot arrive any more is dropped."""
        if not self._writer.is_closing():
            self._writer.write(line(kind, **fields))

    async def receive(self) -> dict[str, Any] | None:
        """Return the next line, or None when the other process has gone."""
        try:
            text = await self._reader.readline()
        except (OSError, ValueError):
            return None
        if not text.endswith(b"\n"):
            return None
        found: dict[str, Any] = json.loads(text)
        return found

    async def close(self) -> None:
        """Send what is left, then close."""
        try:
            await self._writer.drain()
        except OSError:
            pass
        finally:
            self._writer.close()


def line(kind: str, **fields: Any) -> bytes:
    """Return a message as it travels."""
    return json.dumps({"kind": kind, **fields}, default=str).encode() + b"\n"
