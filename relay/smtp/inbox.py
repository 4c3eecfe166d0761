"""What has arrived on a connection and was not read yet, with a bounded window.

Commands take lines from it, DATA takes whatever is there. Reading from the socket is
paused beyond the window, so that a peer that sends faster than it is served waits in
its own kernel, not in our memory.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_WINDOW_BYTES: Final = 64 * 1024
"""Bytes that may wait unread; one read of the event loop may pass it once."""


class Inbox:
    """A buffer between the event loop, which feeds it, and one reading task."""

    __slots__ = (
        "_at",
        "_buffer",
        "_ended",
        "_overlong",
        "_pause",
        "_paused",
        "_resume",
        "_waiter",
    )

    def __init__(self, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        """Take what stops and restarts reading from the socket."""
        self._pause = pause
        self._resume = resume
        self._buffer: bytes | bytearray = b""
        self._at = 0
        self._paused = False
        self._ended = False
        self._overlong = False
        self._waiter: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        """Return the number of unread bytes."""
        return len(self._buffer) - self._at

    @property
    def waiting(self) -> bool:
        """Say whether the reader waits for bytes."""
        return self._waiter is not None

    def feed(self, data: bytes) -> None:
        """Take bytes from the socket."""
        if not self:
            self._buffer, self._at = data, 0
        else:
            if isinstance(self._buffer, bytes):
                # Appending to a bytearray is linear in the end; to bytes it is not,
                # and a peer can send a byte at a time.
                self._buffer = bytearray(self._buffer[self._at :])
                self._at = 0
            self._buffer += data
        if len(self) > _WINDOW_BYTES and not self._paused:
            self._paused = True
            self._pause()
        self._wake(None)

    def end(self) -> None:
        """Note that nothing more will come; what is there can still be read."""
        self._ended = True
        self._wake(None)

    def interrupt(self, reason: Exception) -> None:
        """Make the waiting reader raise `reason`; without one, do nothing."""
        self._wake(reason)

    async def wait(self) -> None:
        """Wait for more bytes.

        Raises:
            EOFError: None will come.
            Exception: What `interrupt` was given.
        """
        if self._ended:
            raise EOFError
        self._unpause()
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def line(self, limit: int) -> bytes | None:
        """Return the next line with its LF, or None if none is complete.

        Raises:
            ValueError: A line longer than `limit` bytes has come to its end; it is
                forgotten, its first part as soon as it passed the limit.
        """
        end = self._buffer.find(b"\n", self._at)
        if end < 0:
            if len(self) > limit:
                self._overlong = True
                self.take()
            return None
        start, self._at = self._at, end + 1
        if self._overlong or self._at - start > limit:
            self._overlong = False
            raise ValueError
        return bytes(self._buffer[start : self._at])

    def take(self) -> bytes:
        """Return everything that is there."""
        rest = bytes(self._buffer[self._at :] if self._at else self._buffer)
        self._buffer, self._at = b"", 0
        return rest

    def unread(self, rest: bytes) -> None:
        """Put bytes back in front."""
        if rest:
            self._buffer, self._at = rest + self.take(), 0

    def clear(self) -> int:
        """Forget everything unread, and read on; return how much it was."""
        forgotten = len(self.take())
        self._overlong = False
        self._unpause()
        return forgotten

    def _unpause(self) -> None:
        if self._paused:
            self._paused = False
            self._resume()

    def _wake(self, reason: Exception | None) -> None:
        if self._waiter is None or self._waiter.done():
            return
        if reason is None:
            self._waiter.set_result(None)
        else:
            self._waiter.set_exception(reason)
