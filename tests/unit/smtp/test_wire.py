"""What waits between the event loop and the session."""

from __future__ import annotations

import asyncio

import pytest

from relay.smtp.wire import Inbox


class Socket:
    """Counts pauses and resumptions."""

    def __init__(self):
        self.calls = []

    def pause(self):
        self.calls.append("pause")

    def resume(self):
        self.calls.append("resume")


@pytest.fixture
def socket():
    """A socket that can be paused."""
    return Socket()


@pytest.fixture
def inbox(socket):
    """An empty inbox."""
    return Inbox(socket.pause, socket.resume)


def test_lines(inbox):
    """Lines come out whole, in order, however they went in."""
    assert inbox.line(100) is None
    inbox.feed(b"on")
    assert inbox.line(100) is None
    inbox.feed(b"e\r\ntwo\r\nth")
    assert inbox.line(100) == b"one\r\n"
    assert inbox.line(100) == b"two\r\n"
    assert inbox.line(100) is None
    assert inbox.take() == b"th"
    assert not inbox


def test_unread_goes_in_front(inbox):
    """What is put back comes before what has arrived."""
    inbox.feed(b"later")
    inbox.unread(b"first ")
    inbox.unread(b"")
    assert inbox.take() == b"first later"


def test_long_line_is_reported_once(inbox):
    """A line beyond the limit is forgotten as it comes, and told of at its end."""
    for _ in range(10):
        inbox.feed(b"x" * 60)
        assert inbox.line(100) is None
    assert len(inbox) <= 160
    inbox.feed(b"\r\nnext\r\n")
    with pytest.raises(ValueError, match=r"^$"):
        inbox.line(100)
    assert inbox.line(100) == b"next\r\n"
    inbox.feed(b"y" * 100 + b"\n")
    with pytest.raises(ValueError, match=r"^$"):
        inbox.line(100)
    assert inbox.line(100) is None


async def test_window(inbox, socket):
    """Beyond the window reading is paused, and goes on when more is waited for."""
    inbox.feed(b"x" * 65_536)
    assert socket.calls == []
    inbox.feed(b"x")
    inbox.feed(b"x")
    assert socket.calls == ["pause"]
    inbox.take()
    task = asyncio.create_task(inbox.wait())
    await asyncio.sleep(0)
    assert socket.calls == ["pause", "resume"]
    inbox.feed(b"y")
    await task
    assert inbox.take() == b"y"


async def test_clear_resumes(inbox, socket):
    """What is cleared does not leave the socket paused."""
    inbox.feed(b"x" * 100_000)
    assert inbox.clear() == 100_000
    assert socket.calls == ["pause", "resume"]
    assert inbox.clear() == 0


async def test_end(inbox):
    """The end wakes the reader; what came before can be read, then there is no more."""
    task = asyncio.create_task(inbox.wait())
    await asyncio.sleep(0)
    assert inbox.waiting
    inbox.feed(b"last\r\n")
    inbox.end()
    await task
    assert not inbox.waiting
    assert inbox.line(100) == b"last\r\n"
    with pytest.raises(EOFError):
        await inbox.wait()


async def test_interrupt(inbox):
    """Only a waiting reader is interrupted."""
    inbox.interrupt(KeyError())
    task = asyncio.create_task(inbox.wait())
    await asyncio.sleep(0)
    inbox.interrupt(KeyError())
    inbox.interrupt(ValueError())
    with pytest.raises(KeyError):
        await task


def test_byte_by_byte_is_linear(inbox):
    """Many small pieces do not copy what is there each time."""
    for _ in range(60_000):
        inbox.feed(b"x")
    assert inbox.take() == b"x" * 60_000
