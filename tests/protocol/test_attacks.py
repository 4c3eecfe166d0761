"""Attacks on SMTP servers, by name: none gets in, and none breaks the dialogue."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from tests.fakes.intake import PEOPLE

HEAD = b"From: ada@corp.example\r\n\r\nfirst"
SECOND = (
    b"MAIL FROM:<ada@corp.example>\r\nRCPT TO:<log-ada@in.example>\r\n"
    b"DATA\r\nX\r\n.\r\n"
)

LONE_DOTS = {
    "LF.LF": b"\n.\n",
    "LF.CRLF": b"\n.\r\n",
    "LF.CR": b"\n.\r",
    "CR.CR": b"\r.\r",
    "CR.LF": b"\r.\n",
    "CR.CRLF": b"\r.\r\n",
    "CRLF.LF": b"\r\n.\n",
    "CRLF.CR": b"\r\n.\r",
    "LF.CRCRLF": b"\n.\r\r\n",
    "CRLF.CRCRLF": b"\r\n.\r\r\n",
    "CRLF..LF": b"\r\n..\n",
    "CRLF..CR": b"\r\n..\r",
}


@pytest.mark.parametrize("dot", LONE_DOTS.values(), ids=LONE_DOTS.keys())
@pytest.mark.parametrize("size", [1, 1000], ids=["byte-by-byte", "whole"])
async def test_smuggling(dot, size, serve, sink):
    """A lone dot between bare line ends ends nothing, and its mail is refused."""
    talk = await (await serve())()
    await talk.begin()
    data = HEAD + dot + SECOND
    for at in range(0, len(data), size):
        await talk.send(data[at : at + size])
        await asyncio.sleep(0)
    assert (await talk.reply())[0].startswith("554 5.5.2 ")
    assert await talk.ask("NOOP") == "250 2.0.0 OK"
    assert sink.stored == []
    assert sink.reasons == ["bare_dot"]
    assert "smuggling" in sink.refused[0].detail


@pytest.mark.parametrize(
    "content",
    [
        b"a\0.\0\r\n",
        b"\r\n\0.\r\n",
        b"\r\n.\0\r\n",
        b"\x85.\x85",
        b"\r\n..\r\n\r\n",
        b"\r\r\n",
        b"\n\n..\n\n",
    ],
)
async def test_near_misses_end_nothing(content, serve, sink):
    """NUL, NEL and stuffed dots near a line end are content, not its end."""
    talk = await (await serve())()
    await talk.begin()
    await talk.send(HEAD + content + b"end\r\n.\r\n")
    assert (await talk.reply())[0].startswith("250 2.0.0 OK ")
    expected = HEAD + content.replace(b"\r\n.", b"\r\n") + b"end\r\n"
    assert sink.stored[0][2] == expected


async def test_starttls_injection(certificate, serve, sink):
    """What came before TLS stood is thrown away (GHSA-wgjv-9j3q-jhg8)."""
    chain, key = certificate
    talk = await (await serve(tls_certificate=chain, tls_key=key))()
    await talk.reply()
    assert (await talk.ask("EHLO client.example")).startswith("250 ")
    await talk.send(b"STARTTLS\r\nEHLO evil\r\nMAIL FROM:<ada@corp.example>\r\n")
    assert await talk.reply() == ["220 2.0.0 Ready to start TLS"]
    context = ssl.create_default_context(cafile=chain)
    async with asyncio.timeout(3):
        await talk.writer.start_tls(context, server_hostname="mx.in.example")
    # The greeting and MAIL of before do not count.
    assert (await talk.ask("MAIL FROM:<ada@corp.example>")).startswith("503 ")
    assert (await talk.ask("EHLO client.example")).startswith("250 ")
    assert (await talk.ask("MAIL FROM:<ada@corp.example>")).startswith("250 ")


async def test_starttls_without_waiting(certificate, serve, sink):
    """A handshake sent before the 220 is thrown away too, and the server lives on."""
    chain, key = certificate
    connect = await serve(tls_certificate=chain, tls_key=key)
    talk = await connect()
    await talk.reply()
    await talk.ask("EHLO client.example")
    await talk.send(b"STARTTLS\r\n\x16\x03\x01\x00\x05hello")
    assert (await talk.reply())[0].startswith("220 ")
    await talk.send(b"QUIT\r\nthis is no TLS either\r\n")
    assert await talk.line() == ""
    other = await connect()
    assert (await other.reply())[0].startswith("220 ")


async def test_slow_loris_in_data(serve, sink):
    """Bytes that trickle in do not move the deadline of a mail."""
    talk = await (await serve(data_timeout_s=1, timeout_s=1, min_data_rate=0))()
    await talk.begin()

    async def trickle():
        while True:
            await talk.send(b"x")
            await asyncio.sleep(0.05)

    task = asyncio.create_task(trickle())
    assert (await talk.reply())[0].startswith("421 4.4.2 ")
    assert await talk.line() == ""
    task.cancel()
    await asyncio.wait([task])
    assert sink.reasons == ["timeout"]
    assert sink.stored == []


async def test_idle_session_is_ended(serve, sink):
    """A session that says nothing is told so and closed."""
    talk = await (await serve(timeout_s=1))()
    await talk.reply()
    assert (await talk.reply())[0].startswith("421 4.4.2 ")
    assert await talk.line() == ""


async def test_connections_of_one_peer(serve_strangers, sink):
    """Beyond its share a peer gets 421, until one of its sessions ends."""
    connect = await serve_strangers(max_connections_per_peer=2)
    first, second = await connect(), await connect()
    await first.reply()
    await second.reply()
    for _ in range(3):
        third = await connect()
        assert (await third.reply())[0].startswith("421 4.7.0 ")
        assert await third.line() == ""
    assert await first.ask("QUIT") == "221 2.0.0 Bye"
    assert await first.line() == ""
    fourth = await connect()
    assert (await fourth.reply())[0].startswith("220 ")
    await connect.server.intake.recorder.close()
    assert set(sink.reasons) == {"too_many_connections_of_peer"}
    assert sum(refusal.count for refusal in sink.refused) == 3
    assert len(sink.refused) == 2


async def test_connections_in_all(serve, sink):
    """Beyond the limit of sessions everybody gets 421."""
    connect = await serve(max_connections=1)
    first = await connect()
    await first.reply()
    second = await connect()
    assert (await second.reply())[0].startswith("421 4.7.0 ")
    await connect.server.intake.recorder.close()
    assert sink.reasons == ["too_many_connections"]


async def test_address_harvest(serve, sink):
    """A session that guesses addresses is closed after `max_errors` guesses."""
    talk = await (await serve(max_errors=5))()
    await talk.reply()
    await talk.ask("EHLO client.example")
    await talk.ask("MAIL FROM:<ada@corp.example>")
    for guess in range(5):
        reply = await talk.ask(f"RCPT TO:<guess{guess}@in.example>")
        assert reply.startswith("550 5.1.1 ")
    assert (await talk.reply())[0].startswith("421 4.7.0 ")
    assert await talk.line() == ""
    assert sorted(sink.reasons) == ["too_many_errors", *["unknown_recipient"] * 5]


async def test_internal_errors_end_a_session(serve, sink, capsys):
    """Who finds a bug of ours cannot fill the log with it: each counts as an error."""

    def broken():
        raise ZeroDivisionError

    talk = await (await serve(max_errors=3, directory=broken))()
    await talk.reply()
    await talk.ask("EHLO client.example")
    await talk.ask("MAIL FROM:<ada@corp.example>")
    for _ in range(3):
        reply = await talk.ask("RCPT TO:<log-ada@in.example>")
        assert reply.startswith("451 4.3.0 ")
    assert (await talk.reply())[0].startswith("421 4.7.0 ")
    assert await talk.line() == ""
    assert capsys.readouterr().err.count("smtp_internal_error") == 3


async def test_reply_splitting(serve, sink):
    """What a stranger writes into From cannot add a line to a reply."""
    talk = await (await serve())()
    await talk.begin()
    await talk.send(
        b'From: "x\r\n 250 OK" <eve\xc2\x85\xe2\x80\xa8@evil.example>\r\n\r\n.\r\n'
    )
    reply = await talk.reply()
    assert reply[0].startswith("550 5.7.1 ")
    assert len(reply) == 1
    assert reply[0].isascii()
    assert await talk.ask("NOOP") == "250 2.0.0 OK"


async def test_user_disabled_during_session(serve, sink):
    """Who is disabled between RCPT and the end of DATA gets nothing any more."""
    now = [PEOPLE]
    talk = await (await serve(directory=lambda: now[0]))()
    await talk.begin()
    nobody = type(PEOPLE)(2, {}, {}, {}, ())
    now[0] = nobody
    await talk.send(b"From: ada@corp.example\r\n\r\n.\r\n")
    assert (await talk.reply())[0].startswith("550 5.1.1 ")
    assert sink.reasons == ["unknown_recipient"]
