"""`store.min_free_bytes` is a floor, whatever comes in at once and whatever is told."""

from __future__ import annotations

import asyncio

import pytest

from relay.core.errors import StoreFull
from relay.intake.disk_space import DiskShare, DiskSpace
from tests.fakes.intake import MemorySink
from tests.fakes.waiting import until

FLOOR = 1 << 20
"""That of the intake in these tests."""
ROOM = 4_000_000
MAIL = b"From: ada@corp.example\r\n\r\n" + (b"x" * 78 + b"\r\n") * 37_500
END = b".\r\n"


class SmallDisk(MemorySink):
    """A store whose spool is a disk of its own."""

    def __init__(self, folder):
        super().__init__(folder)
        self.most = 0

    @property
    def used(self):
        """The bytes of all files."""
        sizes = [path.stat().st_size for path in self.folder.iterdir()]
        self.most = max(self.most, sum(sizes))
        return sum(sizes)

    def free_bytes(self, *, fresh=False):
        return FLOOR + ROOM - self.used


@pytest.fixture
async def sink(tmp_path):
    """A store with little room."""
    return SmallDisk(tmp_path)


async def begin(connect, size=""):
    """Open a session, and tell of a mail."""
    talk = await connect()
    await talk.reply()
    await talk.ask("EHLO client.example")
    told = f" SIZE={size}" if size else ""
    return talk, await talk.ask(f"MAIL FROM:<ada@corp.example>{told}")


async def go_on(talk):
    await talk.ask("RCPT TO:<log-ada@in.example>")
    assert (await talk.ask("DATA")).startswith("354 ")


async def test_mails_of_unknown_size_never_pass_it(serve, sink):
    """Six mails that do not fit together: some are put off, and the floor holds."""
    connect = await serve(inline_bytes=1000, timeout_s=20, data_timeout_s=20)
    talks = [(await begin(connect))[0] for _ in range(6)]
    for talk in talks:
        await go_on(talk)

    async def send(talk):
        for start in range(0, len(MAIL), 50_000):
            await talk.send(MAIL[start : start + 50_000])
            assert sink.used <= ROOM
        await talk.send(END)
        return (await talk.reply())[0]

    replies = await asyncio.gather(*(send(talk) for talk in talks))
    codes = {reply[:9] for reply in replies}
    assert codes <= {"250 2.0.0", "452 4.3.1"}
    assert "452 4.3.1" in codes
    assert sink.most <= ROOM
    assert sink.used == 0
    assert set(sink.reasons) == {"disk_full"}
    # Nothing is counted that is not there any more.
    assert connect.server.intake.disk_space.taken == 0
    talk, reply = await begin(connect, len(MAIL))
    assert reply.startswith("250 ")
    await go_on(talk)
    await talk.send(MAIL + END)
    assert (await talk.reply())[0].startswith("250 ")


async def test_what_is_told_is_kept_for_who_sends(serve, sink):
    """A mail on its way has room ahead; another is turned away before it begins."""
    connect = await serve(inline_bytes=1000)
    first, _ = await begin(connect, len(MAIL))
    await go_on(first)
    # Told alone, and too little sent to leave memory: nobody is kept out.
    second, reply = await begin(connect, len(MAIL))
    assert reply.startswith("250 ")
    await first.send(MAIL[:1_600_000])
    await until(lambda: sink.used + connect.server.intake.disk_space.taken > 2_900_000)
    _, reply = await begin(connect, 2_000_000)
    assert reply.startswith("452 4.3.1 ")
    assert sink.used <= 1_600_000
    await go_on(second)
    await second.send(MAIL + END)
    assert (await second.reply())[0].startswith("452 4.3.1 ")
    await first.send(MAIL[1_600_000:] + END)
    assert (await first.reply())[0].startswith("250 ")
    assert connect.server.intake.disk_space.taken == 0


async def test_little_sent_keeps_little(serve, sink):
    """Who tells of much and sends little keeps as much again, and others have room."""
    connect = await serve(inline_bytes=1000)
    for count in range(1, 5):
        talk, reply = await begin(connect, len(MAIL))
        assert reply.startswith("250 ")
        await go_on(talk)
        await talk.send(MAIL[:100_000])
        await until(lambda files=count: len(list(sink.folder.iterdir())) == files)
    assert 0 < connect.server.intake.disk_space.taken <= 400_000
    _, reply = await begin(connect, len(MAIL))
    assert reply.startswith("250 ")


@pytest.mark.parametrize("by", ["DATA", "BDAT"])
async def test_more_than_postmaster_may_have_sets_nothing_aside(serve, sink, by):
    """What is told beyond the limit of these recipients is refused before it comes."""
    connect = await serve(inline_bytes=1000, postmaster_max_bytes=100_000)
    talk, reply = await begin(connect, 2_000_000)
    assert reply.startswith("250 ")
    await talk.ask("RCPT TO:<postmaster@in.example>")
    if by == "DATA":
        reply = await talk.ask("DATA")
    else:
        await talk.send(b"BDAT 90000\r\n" + MAIL[:90_000])
        reply = (await talk.reply())[0]
        assert (await talk.ask("BDAT 0 LAST")).startswith("552 5.3.4 ")
    assert reply.startswith("552 5.3.4 ")
    assert connect.server.intake.disk_space.taken == 0
    assert sink.used == 0
    assert sink.reasons == ["too_large"]
    # A user may have it, and postmaster as far as it goes.
    await talk.ask("MAIL FROM:<ada@corp.example> SIZE=2000000")
    await talk.ask("RCPT TO:<postmaster@in.example>")
    await go_on(talk)


async def test_who_leaves_gives_the_room_back(serve, sink):
    """A connection that ends in the middle of its mail keeps nothing."""
    connect = await serve(inline_bytes=1000)
    talk, _ = await begin(connect, len(MAIL))
    await go_on(talk)
    await talk.send(MAIL[:400_000])
    await until(lambda: connect.server.intake.disk_space.taken)
    await talk.close()
    await until(lambda: not connect.server.intake.disk_space.taken)
    await until(lambda: sink.used == 0)


def test_a_share_gives_back_what_it_took(tmp_path):
    """Whatever is taken and written, in the end nothing is counted."""
    sink = MemorySink(tmp_path)
    sink.free = FLOOR + 1000
    room = DiskSpace(sink, FLOOR)
    one, two = DiskShare(room), DiskShare(room)
    one.begin(100, ahead_bytes=600)
    one.done()
    with pytest.raises(StoreFull, match="600 of them"):
        two.begin(500)
    two.begin(400)
    one.begin(500, ahead_bytes=100)  # Of what was kept for it.
    one.done()
    assert room.taken == 100 + 400
    one.begin(100, ahead_bytes=100)
    one.done()
    assert room.taken == 100 + 400
    one.close()
    one.close()
    two.close()
    assert room.taken == 0
    two.begin(1000)
    two.close()
    assert room.taken == 0
