"""Reading the mails of a batch: bounded memory, and each mail's failure its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from relay.core.errors import RawUnreadable, UnparsableMessage
from relay.worker import reading
from tests.fakes.values import contact
from tests.worker.queued import LARGE

ANNA = contact(1, "anna@one.example")


@pytest.fixture
def executor():
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture
def groups(store, monkeypatch):
    """Return what is loaded together, as it is loaded."""
    loaded, raws = [], store.messages.raws

    async def load(blob_ids):
        loaded.append(list(blob_ids))
        return await raws(blob_ids)

    monkeypatch.setattr(store.messages, "raws", load)
    return loaded


async def test_only_a_little_is_loaded_at_a_time(
    executor, monkeypatch, store, queued, groups
):
    """Bytes are loaded in groups of a bounded size; a larger mail comes by itself."""
    monkeypatch.setattr(reading, "GROUP_BYTES", 1000)
    bytes_of = {"a": 400, "b": 600, "c": 300, "d": 9000, "e": 700, "f": 300}
    head = len(queued.raw("a", ANNA))
    taken = [
        await queued.take(name, ANNA, size=size - head)
        for name, size in bytes_of.items()
    ]
    sizes = {one.blob_id: one.size_bytes for one in taken}
    assert [*sizes.values()] == [*bytes_of.values()]
    emails = await reading.read_emails(store, executor, sizes)
    a, b, c, d, e, f = sizes
    assert groups == [[a, b], [c], [d], [e, f]]
    assert [email.subject for email in emails.values()] == [*bytes_of]


async def test_what_is_wrong_with_one_mail_is_a_value(executor, store, queued):
    """A mail that is gone, cannot be read, or is no mail leaves its neighbours be."""
    good = await queued.take("good", ANNA)
    bad = await queued.take("bad", raw=b"")
    locked = await queued.take("locked", ANNA, size=LARGE)
    gone = await queued.take("gone", ANNA, size=LARGE)
    queued.spool_file(gone).unlink()
    queued.spool_file(locked).unlink()
    queued.spool_file(locked).mkdir()
    sizes = {one.blob_id: 50 for one in (good, bad, locked, gone)} | {"never": 50}
    emails = await reading.read_emails(store, executor, sizes)
    assert emails[good.blob_id].subject == "good"
    assert isinstance(emails[bad.blob_id], UnparsableMessage)
    assert isinstance(emails[locked.blob_id], RawUnreadable)
    assert locked.blob_id in str(emails[locked.blob_id])
    assert emails.keys() == {good.blob_id, bad.blob_id, locked.blob_id}


async def test_nothing_to_read_asks_for_nothing(executor, store, groups):
    """A batch of mail for postmaster alone loads no bytes."""
    assert await reading.read_emails(store, executor, {}) == {}
    assert groups == []
