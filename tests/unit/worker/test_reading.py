"""Reading the mails of a batch: bounded memory, and each mail's trouble its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from relay.core.errors import RawUnreadable, UnparsableMessage
from relay.worker import reading

MAIL = b"From: ada@corp.example\r\nSubject: Hello\r\n\r\nHi.\r\n"


class Blobs:
    """A store of raw mails that notes what is loaded together."""

    def __init__(self, **found):
        self.found = found
        self.groups = []
        self.messages = self

    async def raws(self, blob_ids):
        self.groups.append(list(blob_ids))
        return {i: self.found[i] for i in blob_ids if i in self.found}


@pytest.fixture
def executor():
    with ThreadPoolExecutor(1) as pool:
        yield pool


async def test_only_a_little_is_loaded_at_a_time(executor, monkeypatch):
    """Bytes are loaded in groups of a bounded size; a larger mail comes by itself."""
    monkeypatch.setattr(reading, "GROUP_BYTES", 100)
    sizes = {"a": 40, "b": 60, "c": 1, "d": 900, "e": 99, "f": 1}
    store = Blobs(**dict.fromkeys(sizes, MAIL))
    emails = await reading.read_emails(store, executor, sizes)
    assert store.groups == [["a", "b"], ["c"], ["d"], ["e", "f"]]
    assert list(emails) == list(sizes)


async def test_what_is_wrong_with_one_mail_is_a_value(executor):
    """A mail that is gone, cannot be read, or is no mail leaves its neighbours be."""
    unreadable = RawUnreadable("the spool file x.eml cannot be read (EIO)")
    store = Blobs(good=MAIL, bad=b"", locked=unreadable)
    sizes = dict.fromkeys(("good", "bad", "locked", "gone"), 50)
    emails = await reading.read_emails(store, executor, sizes)
    assert emails["good"].subject == "Hello"
    assert isinstance(emails["bad"], UnparsableMessage)
    assert emails["locked"] is unreadable
    assert "gone" not in emails


async def test_nothing_to_read_asks_for_nothing(executor):
    """A batch of mail for postmaster alone loads no bytes."""
    store = Blobs()
    assert await reading.read_emails(store, executor, {}) == {}
    assert store.groups == []
