"""The bytes of one mail on their way in: small in memory, large in a file.

Memory is bounded by a window, not by the size of the mail: once more than
`inline_bytes` have come, they go to a temporary file of the store, block by block, and
only the header is kept. Writing and hashing happen in a worker thread, so that a slow
disk delays its own session alone. The file is complete, not yet synced, when `finish`
returns; the sync belongs to the store's commit.

A mail that cannot be kept (too large, header too large, disk failure) is still read to
its end without keeping it, because SMTP has no other place for the reply
(RFC 5321 section 4.2.5).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import re
from typing import TYPE_CHECKING, Final

from relay.core.errors import StoreFull, StoreUnavailable
from relay.core.model import RawMail
from relay.intake.disk_space import DiskShare

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from pathlib import Path

    from relay.intake.disk_space import DiskSpace
    from relay.store import Store

_BLOCK_BYTES: Final = 128 * 1024
"""Bytes gathered before a trip to the worker thread, which costs about 60 µs."""
_MOST_PIECES: Final = 512
"""Pieces kept apart; a peer that sends single bytes would cost 40 times their size."""
_LINE_ENDS: Final = 4
"""Bytes past the header limit in which its empty line may end."""
_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


_BARE_LF: Final = re.compile(rb"(?<!\r)\n")


class TooLarge(Exception):  # noqa: N818 - a verdict
    """The mail passes `max_message_bytes`."""


class HeaderTooLarge(Exception):  # noqa: N818 - a verdict
    """The header block passes `max_header_bytes`."""


class MailBuffer:
    """Collects the pieces of one mail.

    Use: `add` each piece, `await flush()` whenever it returns True, then `finish`; and
    `abandon` wherever the store has not taken the mail.
    """

    def __init__(
        self,
        store: Store,
        executor: Executor,
        disk_space: DiskSpace,
        *,
        inline_bytes: int,
        max_message_bytes: int,
        max_header_bytes: int,
        expected_bytes: int = 0,
    ) -> None:
        """Begin an empty mail.

        Args:
            store: Names the file.
            executor: Runs the writes.
            disk_space: Is asked before each of them.
            inline_bytes: What stays in memory.
            max_message_bytes: The longest mail.
            max_header_bytes: The longest header block.
            expected_bytes: The size that the peer has announced; 0: none.
        """
        self._store = store
        self._share = DiskShare(disk_space)
        self._expected_bytes = min(expected_bytes, max_message_bytes)
        self._executor = executor
        self._inline_bytes = inline_bytes
        self._max_message_bytes = max_message_bytes
        self._max_header_bytes = max_header_bytes
        self._window = inline_bytes
        self._pieces: list[bytes] = []
        self._pending = 0
        self._size = 0
        self._sha256 = hashlib.sha256()
        self._head: bytes | None = None
        self._path: Path | None = None
        self._fd = -1
        self._writing: asyncio.Future[None] | None = None
        self._failure: Exception | None = None

    @property
    def size_bytes(self) -> int:
        """Return how many bytes have come, also those that were not kept."""
        return self._size

    def add(self, piece: bytes) -> bool:
        """Take a piece; return True if `flush` is due before the next."""
        self._size += len(piece)
        if self._failure is not None or not piece:
            return False
        if self._size > self._max_message_bytes:
            self._fail(TooLarge())
            return True
        self._pieces.append(piece)
        self._pending += len(piece)
        if len(self._pieces) >= _MOST_PIECES:
            self._pieces = [b"".join(self._pieces)]
        return self._pending > self._window

    async def flush(self) -> None:
        """Move what is in memory to the file, opened if need be; raises nothing.

        What goes wrong is kept for `finish`, and from then on nothing is kept.
        """
        await self._flush(whole=False)

    async def finish(self) -> tuple[RawMail, bytes]:
        """Return the mail, and its header block.

        Raises:
            TooLarge: The mail passes the limit.
            HeaderTooLarge: Its header does.
            StoreFull: The disk is full.
            StoreUnavailable: The file cannot be written.
        """
        if self._size > self._inline_bytes:
            await self._flush(whole=True)
            self._close()
        elif self._failure is None:
            pieces, self._pieces = self._pieces, []
            data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            if self._find_head(data, whole=True):
                digest = hashlib.sha256(data).hexdigest()
                return RawMail(self._size, digest, data=data), self._head or b""
        if self._failure is not None:
            raise self._failure
        raw = RawMail(self._size, self._sha256.hexdigest(), path=self._path)
        return raw, self._head or b""

    async def abandon(self) -> None:
        """Forget the mail, and remove its file if the store has not taken it."""
        self._pieces.clear()
        if self._writing is not None and not self._writing.done():
            # The thread still uses the descriptor: closing it now could let the write
            # land in whatever is opened next under its number.
            await asyncio.wait([self._writing])
        self._close()
        path, self._path = self._path, None
        if path is not None:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    async def _flush(self, *, whole: bool) -> None:
        if self._failure is None and self._pieces:
            await self._write(whole=whole)
        if self._failure is not None:
            await self.abandon()

    async def _write(self, *, whole: bool) -> None:
        pieces, self._pieces, self._pending = self._pieces, [], 0
        if self._head is None:
            pieces = [b"".join(pieces)]
            if not self._find_head(pieces[0], whole=whole):
                if self._failure is None:
                    # The header may still end within its limit: wait for it.
                    self._pieces, self._pending = pieces, len(pieces[0])
                    self._window = self._max_header_bytes + _LINE_ENDS
                return
        size = sum(map(len, pieces))
        try:
            self._share.begin(size, ahead_bytes=self._ahead_bytes())
            if self._fd < 0:
                self._path = self._store.messages.spool_temporary()
                flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
                self._fd = os.open(self._path, flags, 0o600)
                self._window = _BLOCK_BYTES
            self._writing = asyncio.get_running_loop().run_in_executor(
                self._executor, self._write_block, pieces
            )
            await asyncio.shield(self._writing)
            self._share.done()
        except OSError as error:
            kind = StoreFull if error.errno in _NO_SPACE else StoreUnavailable
            failure = kind(f"cannot write a spool file: {error.strerror}")
            failure.__cause__ = error
            self._fail(failure)
        except StoreUnavailable as error:
            self._fail(error)

    def _ahead_bytes(self) -> int:
        """Return what is kept for the rest of a mail: at most what has come of it."""
        return max(0, min(self._size, self._expected_bytes - self._size))

    def _write_block(self, pieces: list[bytes]) -> None:
        """Write and hash a block; runs in a worker thread, one block at a time."""
        for piece in pieces:
            self._sha256.update(piece)
            view = memoryview(piece)
            while view:
                view = view[os.write(self._fd, view) :]

    def _find_head(self, data: bytes, *, whole: bool) -> bool:
        """Keep the header block of the data that begins the mail, if it ends there."""
        end = header_end(data, self._max_header_bytes)
        if end < 0:
            if len(data) > self._max_header_bytes:
                self._fail(HeaderTooLarge())
                return False
            if not whole:
                return False
            end = len(data)
        self._head = data[:end]
        return True

    def _fail(self, failure: Exception) -> None:
        self._failure = failure
        self._pieces.clear()
        self._pending = 0

    def _close(self) -> None:
        self._share.close()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def header_end(data: bytes, limit: int) -> int:
    """Return where the header block ends, at its empty line, or -1.

    An empty line is one between any two of CR LF and bare LF, because readers of the
    mail take it so. Only the first `limit` bytes (and the line end there) count.
    """
    if data.startswith((b"\r\n", b"\n")):
        return 0
    strict = data.find(b"\n\r\n", 0, limit + 3)
    loose = data.find(b"\n\n", 0, strict if strict >= 0 else limit + 2)
    found = loose if loose >= 0 else strict
    return found + 1 if found >= 0 else -1


def with_crlf(raw: bytes) -> bytes:
    """Return a mail from a file as it travels: every line ends in CRLF."""
    return _BARE_LF.sub(b"\r\n", raw)


class CRLFPieces:
    """`with_crlf` for a mail in pieces, wherever it is cut."""

    def __init__(self) -> None:
        """Begin a mail."""
        self._before = b""

    def feed(self, piece: bytes) -> bytes:
        """Return a piece with every line end in it whole."""
        # A CR at the end of the last piece makes a first LF here no bare one.
        whole = with_crlf(self._before + piece)[len(self._before) :]
        if piece:
            self._before = b"\r" if piece.endswith(b"\r") else b""
        return whole
