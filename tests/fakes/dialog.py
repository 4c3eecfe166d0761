r"""Runs a conversation with an SMTP server from a file.

    # The promise, one line; more comment lines may follow.
    @ max_errors = 3          a setting of the intake, as JSON
    @ inline_bytes = 100      likewise
    @ free_bytes = 0          a property of the fake store
    C: EHLO client.example    sends the text and CR LF
    C> NOOP\n                 sends the text with its escapes and nothing else
    C* 1000 abc\r\n           sends the text that many times
    S: 250 2.0.0 *            the next whole reply ends with this line; * is any text
    S| 250-mx.in.example      the next single line is this
    S. closed                 the server closes the connection
    = stored 1                so many transactions are stored
    = content a\r\n           the content of the last one
    = rcpts log-ada@in.example …    its recipients
    = from ada@corp.example   its envelope sender; <> for none
    = reasons unknown_recipient …   the reasons of all refusals, in order
    = trace line_ends bare    the last one's trace has a step with this result
    = detail connection *text     the last one's trace has a step with this detail
    = peer 203.0.113.7        its peer

Each read has a deadline, so that a server that hangs fails the case.
"""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.intake import MemorySink

READ_S = 3.0
STORE_PROPERTIES = {"free_bytes"}


@dataclass
class Dialog:
    """A conversation: settings, and its lines with their numbers."""

    promise: str
    settings: dict[str, object] = field(default_factory=dict)
    lines: list[tuple[int, str, str]] = field(default_factory=list)


def read_dialog(path: Path) -> Dialog:
    """Read a conversation; the first line must be its promise."""
    texts = path.read_text(encoding="utf-8").splitlines()
    assert texts[0].startswith("# "), f"{path.name} does not begin with its promise"
    dialog = Dialog(texts[0][2:])
    for number, text in enumerate(texts, 1):
        mark, _, rest = text.partition(" ")
        if not text.strip() or mark == "#":
            continue
        assert mark in {"@", "C:", "C>", "C*", "S:", "S|", "S.", "="}, (path, number)
        if mark == "@":
            name, _, value = rest.partition("=")
            dialog.settings[name.strip()] = json.loads(value)
        else:
            dialog.lines.append((number, mark, rest))
    return dialog


def unescape(text: str) -> bytes:
    r"""Return the bytes of a text with \r \n \t \xNN \\ in it."""
    return re.sub(
        rb"\\(?:x([0-9a-fA-F]{2})|(.))",
        lambda hit: (
            bytes([int(hit[1], 16)])
            if hit[1]
            else {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"\\": b"\\"}[hit[2]]
        ),
        text.encode(),
    )


def like(pattern: str, text: str) -> bool:
    """Say whether a text matches a pattern in which * is any text."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text) is not None


class Talk:
    """The client side of one conversation."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, host: str, port: int) -> Talk:
        """Connect, without reading the greeting."""
        return cls(*await asyncio.open_connection(host, port))

    async def line(self) -> str:
        """Read one line; an empty text is the end."""
        async with asyncio.timeout(READ_S):
            try:
                return (await self.reader.readline()).decode().removesuffix("\r\n")
            except ConnectionResetError:
                return ""

    async def reply(self) -> list[str]:
        """Read one whole reply."""
        lines = [await self.line()]
        while lines[-1][3:4] == "-":
            lines.append(await self.line())
        return lines

    async def send(self, data: bytes) -> None:
        """Send bytes."""
        self.writer.write(data)
        await self.writer.drain()

    async def ask(self, text: str) -> str:
        """Send a command and return the last line of its reply."""
        await self.send(text.encode() + b"\r\n")
        return (await self.reply())[-1]

    async def begin(self, *rcpts: str, mail_from: str = "ada@corp.example") -> None:
        """Go as far as the 354."""
        assert (await self.reply())[-1].startswith("220 ")
        assert (await self.ask("EHLO client.example")).startswith("250 ")
        assert (await self.ask(f"MAIL FROM:<{mail_from}>")).startswith("250 ")
        for rcpt in rcpts or ("log-ada@in.example",):
            assert (await self.ask(f"RCPT TO:<{rcpt}>")).startswith("250 ")
        assert (await self.ask("DATA")).startswith("354 ")

    async def close(self) -> None:
        """Close the connection."""
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except OSError:
            return


async def run_dialog(dialog: Dialog, talk: Talk, sink: MemorySink) -> None:
    """Have the conversation; an unexpected reply fails with its line number."""
    for number, mark, text in dialog.lines:
        where = f"line {number}: {mark} {text}"
        if mark == "C:":
            await talk.send(text.encode() + b"\r\n")
        elif mark == "C>":
            await talk.send(unescape(text))
        elif mark == "C*":
            times, _, what = text.partition(" ")
            await talk.send(unescape(what) * int(times))
        elif mark == "S:":
            reply = await talk.reply()
            assert like(text, reply[-1]), f"{where}; got {reply}"
        elif mark == "S|":
            line = await talk.line()
            assert like(text, line), f"{where}; got {line!r}"
        elif mark == "S.":
            line = await talk.line()
            assert not line, f"{where}; got {line!r}"
        else:
            _expect(text, sink, where)


def _expect(text: str, sink: MemorySink, where: str) -> None:
    what, _, value = text.partition(" ")
    if what == "stored":
        assert len(sink.stored) == int(value), where
        return
    if what == "reasons":
        assert sink.reasons == value.split(), f"{where}; got {sink.reasons}"
        return
    envelope, _, content = sink.stored[-1]
    if what == "content":
        assert content == unescape(value), f"{where}; got {content!r}"
    elif what == "rcpts":
        assert [one.rcpt for one in envelope.recipients] == value.split(), where
    elif what == "peer":
        assert envelope.peer == value, where
    elif what == "detail":
        step, _, pattern = value.partition(" ")
        details = [one.detail for one in envelope.trace if one.step == step]
        assert any(like(pattern, detail) for detail in details), f"{where}; {details}"
    elif what == "from":
        assert envelope.mail_from == value.replace("<>", ""), where
    else:
        assert what == "trace", where
        step, _, result = value.partition(" ")
        assert result in [one.result for one in envelope.trace if one.step == step]
