"""The free space of the disk, shared out among the large mails that are coming in.

The intake asks before it writes each block, so that `store.min_free_bytes` is a floor
also while many mails of unknown size arrive together. For a mail that announced its
SIZE, and sends more than fits in memory, as much of the rest is reserved as has come:
late mails are refused before they begin rather than all of them in the middle. No more
is reserved on a peer's word: a few peers that send little could reserve the whole disk.

Counts belong to one process; what others take shows in the free space itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.core.errors import StoreFull

if TYPE_CHECKING:
    from relay.store import Store


class DiskSpace:
    """What may still be written above the floor."""

    def __init__(self, store: Store, floor_bytes: int) -> None:
        """Take the store, and its `min_free_bytes`."""
        self._store = store
        self._floor_bytes = floor_bytes
        self.taken = 0

    def need(self, size_bytes: int, *, fresh: bool = False) -> None:
        """Make sure that there is space for so much more.

        Args:
            size_bytes: How much.
            fresh: Ask the disk itself, whatever it said a moment ago.

        Raises:
            StoreFull: There is not.
            StoreUnavailable: The disk does not answer.
        """
        free = self._store.messages.free_bytes(fresh=fresh)
        if free - self.taken - size_bytes < self._floor_bytes:
            text = f"{free} bytes free"
            if self.taken:
                text += f", {self.taken} of them for mail that is coming in"
            raise StoreFull(text)


class DiskShare:
    """The part of one mail: what is set aside for it, and what is being written."""

    def __init__(self, disk_space: DiskSpace) -> None:
        """Begin with nothing."""
        self._disk_space = disk_space
        self._left = 0
        self._in_hand = 0

    def begin(self, size_bytes: int, *, ahead_bytes: int = 0) -> None:
        """Ask for a block that is about to be written, and for what follows it.

        Args:
            size_bytes: The block; of what was kept ahead, as far as that goes.
            ahead_bytes: What is kept from now on behind it.

        Raises:
            StoreFull, StoreUnavailable: As `DiskSpace.need`.
        """
        more = size_bytes + ahead_bytes - self._left
        self._disk_space.need(max(more, 0), fresh=True)
        self._left = ahead_bytes
        self._in_hand += size_bytes
        self._disk_space.taken += more

    def done(self) -> None:
        """Say that the block is written: the disk itself knows of it."""
        self._disk_space.taken -= self._in_hand
        self._in_hand = 0

    def close(self) -> None:
        """Give back what was not needed; harmless when repeated."""
        self._disk_space.taken -= self._left + self._in_hand
        self._left = self._in_hand = 0
