"""A mail on its way in: what stays in memory, what goes to a file, what is lost."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from relay.core.errors import StoreUnavailable
from relay.intake.buffer import HeaderTooLarge, MailBuffer, TooLarge, header_end
from relay.intake.disk_space import DiskSpace
from tests.fakes.intake import MemorySink

HEAD = b"From: ada@corp.example\r\n\r\n"


@pytest.fixture
def executor():
    """Threads that write."""
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture
def begin(tmp_path, executor):
    """Begin a mail with small limits."""

    def make(**changes):
        limits = {
            "inline_bytes": 1000,
            "max_message_bytes": 10**6,
            "max_header_bytes": 2000,
        }
        sink = MemorySink(tmp_path)
        room = DiskSpace(sink, floor_bytes=1 << 20)
        return MailBuffer(sink, executor, room, **{**limits, **changes})

    return make


async def fill(body, *pieces):
    for piece in pieces:
        if body.add(piece):
            await body.flush()


async def test_small_stays_in_memory(begin, tmp_path):
    """Up to the limit a mail is bytes, and no file is made."""
    body = begin()
    await fill(body, HEAD, b"", b"x" * (1000 - len(HEAD)))
    raw, head = await body.finish()
    assert raw.size_bytes == len(raw.data) == 1000
    assert head == HEAD[:-2]
    assert list(tmp_path.iterdir()) == []


async def test_large_goes_to_a_file(begin, tmp_path):
    """Above it a mail is a file, complete when `finish` returns."""
    body = begin()
    await fill(body, HEAD, b"x" * 1000, b"y" * 300_000, b"z")
    raw, head = await body.finish()
    assert raw.data is None
    assert raw.path.read_bytes() == HEAD + b"x" * 1000 + b"y" * 300_000 + b"z"
    assert head == HEAD[:-2]
    await body.abandon()
    assert list(tmp_path.iterdir()) == []


async def test_late_end_of_the_header(begin):
    """A header that ends behind the inline limit, but within its own, is read whole."""
    body = begin()
    header = b"X: " + b"x" * 1500 + b"\r\n"
    await fill(body, *(bytes([byte]) for byte in header + HEAD), b"x" * 5000)
    raw, head = await body.finish()
    assert head == header + HEAD[:-2]
    assert raw.size_bytes == len(header + HEAD) + 5000


async def test_header_only(begin):
    """A mail without an empty line is all header."""
    body = begin(inline_bytes=100)
    await fill(body, b"X: " + b"x" * 300 + b"\r\n")
    raw, head = await body.finish()
    assert len(head) == raw.size_bytes == 305
    assert raw.path is not None


async def test_nothing(begin):
    """An empty mail is a mail of no bytes."""
    raw, head = await begin().finish()
    assert (raw.data, head) == (b"", b"")


@pytest.mark.parametrize("size", [2003, 50_000])
@pytest.mark.parametrize("inline_bytes", [100, 100_000])
async def test_header_too_large(begin, size, inline_bytes, tmp_path):
    """A header that does not end within its limit is not kept."""
    body = begin(inline_bytes=inline_bytes)
    await fill(body, *[b"x" * 1001] * (size // 1001), b"x" * (size % 1001))
    with pytest.raises(HeaderTooLarge):
        await body.finish()
    assert list(tmp_path.iterdir()) == []


async def test_too_large(begin, tmp_path):
    """Beyond the limit nothing is kept, however much more comes."""
    body = begin(max_message_bytes=200_000)
    await fill(body, HEAD, *[b"x" * 10_000] * 50)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(TooLarge):
        await body.finish()


async def test_store_without_a_folder(begin, tmp_path):
    """A store that has no place for a file now is trouble of the store."""
    body = begin()

    def fail():
        raise StoreUnavailable("no folder")

    body._store.messages.spool_temporary = fail
    await fill(body, HEAD, b"x" * 5000, b"y" * 5000)
    with pytest.raises(StoreUnavailable):
        await body.finish()


async def test_single_bytes_do_not_pile_up(begin):
    """A mail that comes a byte at a time does not cost many times its size."""
    body = begin(inline_bytes=100_000)
    await fill(body, HEAD, *[b"x"] * 50_000)
    assert len(body._pieces) <= 512
    raw, _ = await body.finish()
    assert raw.size_bytes == len(HEAD) + 50_000


async def test_cancelled_write_keeps_its_file_open(begin, monkeypatch, tmp_path):
    """The descriptor is not closed under a thread that still writes to it."""
    gate, begun, was_open = threading.Event(), threading.Event(), []
    body = begin()
    write = body._write_block

    def slow(pieces):
        begun.set()
        gate.wait(5)
        was_open.append(body._fd >= 0)
        write(pieces)

    monkeypatch.setattr(body, "_write_block", slow)
    task = asyncio.create_task(fill(body, HEAD, b"x" * 5000))
    await asyncio.to_thread(begun.wait, 5)
    task.cancel()
    await asyncio.wait([task])
    leaving = asyncio.create_task(body.abandon())
    await asyncio.sleep(0)  # It begins, and would end at once if it did not wait.
    assert not leaving.done()
    gate.set()
    await leaving
    assert was_open == [True]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("data", "end"),
    [
        (b"", -1),
        (b"\r\nbody", 0),
        (b"\nbody", 0),
        (b"A: b\r\n\r\nbody", 6),
        (b"A: b\n\nbody\r\n\r\n", 5),
        (b"A: b\n\r\nbody\n\n", 5),
        (b"A: b\r\n\nbody", 6),
        (b"A: b\r\nC: d\r\n", -1),
        (b"A: " + b"x" * 100 + b"\r\n\r\n", -1),
    ],
)
def test_header_end(data, end):
    """The header ends at its first empty line, if that comes in time."""
    assert header_end(data, 50) == end
