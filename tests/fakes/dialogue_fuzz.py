"""One SMTP session without a socket, and a judge of what it answered.

`converse` feeds bytes to a session in the pieces it is told to, and waits until each
is dealt with. `judge` then walks through the same bytes beside the replies, by rules
of its own: which verb may get which reply, where a mail ends, what its content is. It
knows nothing of policy or of the grammar of addresses; it believes the replies about
those, and holds the session to everything that follows from them.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from relay.smtp import SMTPServer
    from relay.smtp.wire import Wire
    from tests.fakes.intake import MemorySink

REPLIES = {
    "EHLO": "250 501 503",
    "HELO": "250 501",
    "MAIL": "250 451 452 501 503 552 553 555",
    "RCPT": "250 450 451 452 501 503 550 553 555",
    "DATA": "354 501 503 554",
    "BDAT": "250 451 452 501 503 550 552 554",
    "RSET": "250 501",
    "NOOP": "250",
    "QUIT": "221 501",
    "VRFY": "252 501",
    "HELP": "214",
    "STARTTLS": "501 502",
}
"""What each verb may be answered without TLS (RFC 5321 section 4.3.2)."""
MAY_END = {"421", "503", "500", "502"}
CHUNK = re.compile(rb"BDAT +(\d{1,20})( +LAST)? *\r\n", re.IGNORECASE)
REPLY = re.compile(r"[2-5]\d\d[ -][ -~]*")
LONGEST_LINE = 2048
_PATIENCE = 400


class Wireless(asyncio.Transport):
    """A transport that keeps what is written and has no socket."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__({"peername": ("127.0.0.1", 12345)})
        self.written = bytearray()
        self.closed = False
        self._loop = loop
        self._protocol: Any = None

    def set_protocol(self, protocol: Any) -> None:
        """Take the session."""
        self._protocol = protocol

    def get_protocol(self) -> Any:
        """Return the session."""
        return self._protocol

    def write(self, data: bytes) -> None:
        """Keep what the session says."""
        assert not self.closed, "written behind the close"
        self.written += data

    def is_closing(self) -> bool:
        """Say whether the session has ended the connection."""
        return self.closed

    def close(self) -> None:
        """End the connection."""
        if not self.closed:
            self.closed = True
            self._loop.call_soon(self._protocol.connection_lost, None)

    abort = close

    def pause_reading(self) -> None:
        """Nothing is read by itself."""

    resume_reading = pause_reading

    def can_write_eof(self) -> bool:
        """Say no."""
        return False


@dataclass
class Said:
    """What came of one conversation."""

    replies: list[str]
    closed: bool
    stored: list[bytes] = field(default_factory=list)


async def converse(
    server: SMTPServer,
    sink: MemorySink,
    pieces: Iterable[bytes],
) -> Said:
    """Have one conversation, each piece sent when the one before is dealt with."""
    loop = asyncio.get_running_loop()
    transport = Wireless(loop)
    wire = server.connection(server.listeners[0])
    transport.set_protocol(wire)
    before = len(sink.stored)
    wire.connection_made(transport)
    await _settled(wire, transport)
    for piece in pieces:
        if transport.closed:
            break
        wire.data_received(piece)
        await _settled(wire, transport)
    closed = transport.closed
    if not closed:
        wire.eof_received()
        transport.close()
    task = wire._handler_coroutine
    async with asyncio.timeout(5):
        await task
        while wire.transport is not None:  # noqa: ASYNC110 - set by asyncio
            await asyncio.sleep(0)
    text = transport.written.decode("ascii")
    assert not text or text.endswith("\r\n"), text
    stored = [content for _, _, content in sink.stored[before:]]
    return Said(text.split("\r\n")[:-1], closed, stored)


async def _settled(wire: Wire, transport: Wireless) -> None:
    """Wait until the session waits for bytes, or has ended."""
    for _ in range(_PATIENCE):
        await asyncio.sleep(0)
        if transport.closed or wire.inbox.waiting:
            return
    for _ in range(_PATIENCE):  # something waits for a thread
        await asyncio.sleep(0.005)
        if transport.closed or wire.inbox.waiting:
            return
    raise AssertionError("the session neither waits nor ends")


def judge(sent: bytes, said: Said) -> int:
    """Hold the replies against what was sent; return the number of mails taken."""
    replies = iter(whole_replies(said.replies))
    greeting = next(replies)
    assert greeting.startswith("220 "), greeting
    at, mails, chunks = 0, [], b""
    last, verb = greeting, ""
    while (end := sent.find(b"\n", at)) >= 0:
        line, at = sent[at : end + 1], end + 1
        reply = next(replies, "")
        chunk = CHUNK.fullmatch(line)
        if not reply and chunk and at + int(chunk[1]) > len(sent):
            break
        if not reply or reply.startswith("421 "):
            # Nothing behind the end of a session is answered.
            assert said.closed, line
            last = reply or last
            break
        last = reply
        verb = _verb(line)
        assert reply[:3] in _allowed(line, verb), (line, reply)
        if reply[:3] == "354":
            content, at = _content(sent, at)
            if content is None:
                break
            reply = next(replies)
            last = reply
            assert reply[:3] in {"250", "451", "452", "550", "552", "554"}, reply
            if reply[:3] == "250":
                mails.append(content)
        if chunk and reply[:3] not in {"500", "501"}:
            content, at = sent[at : at + int(chunk[1])], at + int(chunk[1])
            chunks = chunks + content if reply[:3] == "250" else b""
            if chunk[2] and reply[:3] == "250":
                mails.append(chunks)
                chunks = b""
        if verb in {"EHLO", "HELO", "RSET"} and reply[:3] == "250":
            chunks = b""
        if verb == "QUIT" and reply[:3] == "221":
            break
    rest = list(replies)
    # A session that is ended for its errors says so behind the last reply.
    assert [one[:4] for one in rest] in ([], ["421 "]), rest
    if said.closed:
        may_end = {"221", "421", *MAY_END, *(["501"] if verb == "BDAT" else [])}
        assert rest or last[:3] in may_end, last
    else:
        assert not rest, rest
    assert said.stored == mails
    return len(mails)


def _verb(line: bytes) -> str:
    return line[:-2].partition(b" ")[0].decode("latin-1").upper()


def _allowed(line: bytes, verb: str) -> set[str]:
    """Return the codes that a command line may get."""
    if len(line) > LONGEST_LINE or line[-2:] != b"\r\n" or line.count(b"\r") > 1:
        return {"500"}
    always = {"503"}  # improper pipelining
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return always | {"500"}
    if verb in REPLIES:
        return always | set(REPLIES[verb].split())
    return always | {"500", "502"}


def _content(sent: bytes, at: int) -> tuple[bytes | None, int]:
    """Return the mail that begins there and where commands go on; None: no end."""
    lines = []
    while True:
        end = sent.find(b"\r\n", at)
        if end < 0:
            return None, len(sent)
        line, at = sent[at:end], end + 2
        if line == b".":
            return b"".join(lines), at
        lines.append(line.removeprefix(b".") + b"\r\n")


def whole_replies(lines: list[str]) -> list[str]:
    """Return the last lines of all replies; each line must be one of a reply."""
    result = []
    for line in lines:
        assert REPLY.fullmatch(line), line
        assert len(line) <= 510, line
        if line[3] == " ":
            result.append(line)
    return result
