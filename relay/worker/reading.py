"""Reading the mails of a batch: few bytes in memory at a time, in threads.

A batch may hold hundreds of megabytes of raw mail, while what is kept of each mail is
its text, which is bounded. So the raw bytes come in groups, each gone before the next
is loaded: the peak is about the largest mail.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import relay.mail
from relay.core.errors import RawUnreadable, UnparsableMessage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from concurrent.futures import Executor

    from relay.core.model import Email
    from relay.store import Store

    Read = Email | UnparsableMessage | RawUnreadable

GROUP_BYTES: Final = 4 * 1024 * 1024
"""Raw bytes loaded at a time; a larger mail is loaded by itself. A full batch of small
mails is one group, so that it costs one look into the store."""


async def read_emails(
    store: Store, executor: Executor, sizes: Mapping[str, int]
) -> dict[str, Read]:
    """Return what was read of each blob; what is gone from the store is left out.

    A mail that cannot be read is a value, so that the others are read.

    Args:
        store: Where the raw mails are.
        executor: Runs the parsing.
        sizes: Bytes of each blob, by its id.

    Raises:
        StoreUnavailable: The store as a whole cannot be read.
    """
    emails: dict[str, Read] = {}
    for group in _groups(sizes):
        emails |= await _read_group(store, executor, group)
    return emails


async def _read_group(
    store: Store, executor: Executor, blob_ids: Sequence[str]
) -> dict[str, Read]:
    """Load and parse one group. The bytes are let go of on return."""
    raws = await store.messages.raws(blob_ids)
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(executor, _parse_all, raws)


def _groups(sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """Yield the ids in order, as many at a time as fit `GROUP_BYTES`."""
    group: list[str] = []
    left = GROUP_BYTES
    for blob_id, size in sizes.items():
        if group and size > left:
            yield group
            group, left = [], GROUP_BYTES
        group.append(blob_id)
        left -= size
    if group:
        yield group


def _parse_all(raws: Mapping[str, bytes | RawUnreadable]) -> dict[str, Read]:
    """Parse blobs in a worker thread; a mail that cannot be read is a value."""
    emails: dict[str, Read] = {}
    for blob_id, raw in raws.items():
        if isinstance(raw, RawUnreadable):
            emails[blob_id] = raw
            continue
        try:
            emails[blob_id] = relay.mail.parse(raw)
        except UnparsableMessage as error:
            emails[blob_id] = error
    return emails
