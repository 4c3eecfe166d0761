"""Limits that need a clock or a socket; the others are conversations in `dialogs/`."""

from __future__ import annotations

import asyncio
import socket

from relay.telemetry.metrics import REGISTRY
from tests.fakes.waiting import until

MAIL = b"From: ada@corp.example\r\n\r\nHi\r\n.\r\n"


def counted(reason):
    return REGISTRY.get_sample_value("relay_refusals_total", {"reason": reason}) or 0


async def trickle(talk, data, pause_s):
    """Send the same bytes again and again."""
    while True:
        await talk.send(data)
        await asyncio.sleep(pause_s)


async def test_minimum_data_rate(serve, sink):
    """A mail slower than `min_data_rate` is ended, long before its total time."""
    before = counted("too_slow")
    talk = await (await serve(timeout_s=1, data_timeout_s=60, min_data_rate=1000))()
    await talk.begin()
    task = asyncio.create_task(trickle(talk, b"x" * 5, 0.05))
    assert (await talk.reply())[0].startswith("421 4.4.2 ")
    assert await talk.line() == ""
    task.cancel()
    await asyncio.wait([task])
    assert sink.reasons == ["too_slow"]
    assert counted("too_slow") == before + 1
    assert sink.stored == []


async def test_fast_enough(serve, sink):
    """A mail that takes longer than `timeout_s`, but keeps the pace, arrives."""
    talk = await (await serve(timeout_s=1, data_timeout_s=60, min_data_rate=200))()
    await talk.begin()
    await talk.send(b"From: ada@corp.example\r\n\r\n")
    for _ in range(12):
        await talk.send(b"y" * 200)
        await asyncio.sleep(0.1)
    await talk.send(b"\r\n.\r\n")
    assert (await talk.reply())[0].startswith("250 2.0.0 OK ")


async def test_total_time_of_a_transaction(serve, sink):
    """Commands that trickle in do not move the end of a transaction's time."""
    connect = await serve(timeout_s=5, transaction_timeout_s=1)
    talk = await connect()
    await talk.reply()
    await talk.ask("EHLO client.example")
    await talk.ask("MAIL FROM:<ada@corp.example>")
    loop = asyncio.get_running_loop()
    end = loop.time() + 5
    reply = "250 "
    while reply.startswith("250 "):
        assert loop.time() < end
        await asyncio.sleep(0.05)
        reply = await talk.ask("NOOP")
    assert reply.startswith("421 4.4.2 ")
    assert await talk.line() == ""
    await connect.server.intake.recorder.close()
    assert sink.reasons == ["timeout"]


async def test_mails_renew_the_time(serve, sink):
    """A session that brings mail may last; one that rests then is ended in silence."""
    connect = await serve(timeout_s=2, transaction_timeout_s=2)
    talk = await connect()
    await talk.reply()
    await talk.ask("EHLO client.example")
    for _ in range(5):
        await talk.ask("MAIL FROM:<ada@corp.example>")
        await talk.ask("RCPT TO:<log-ada@in.example>")
        await talk.ask("DATA")
        await talk.send(MAIL)
        assert (await talk.reply())[0].startswith("250 ")
        await asyncio.sleep(0.5)
    assert (await talk.reply())[0].startswith("421 4.4.2 ")
    await connect.server.intake.recorder.close()
    assert sink.reasons == []


async def test_time_of_a_transaction_holds_in_data(serve, sink):
    """The total time ends a mail that would still have time for itself."""
    settings = {"transaction_timeout_s": 1, "data_timeout_s": 9, "min_data_rate": 0}
    talk = await (await serve(**settings))()
    await talk.begin()
    task = asyncio.create_task(trickle(talk, b"x" * 5, 0.05))
    assert (await talk.reply())[0].startswith("421 4.4.2 ")
    task.cancel()
    await asyncio.wait([task])
    assert sink.reasons == ["timeout"]


async def test_early_talker(serve, sink):
    """Who talks before the greeting is turned away; who waits is greeted."""
    connect = await serve(greeting_wait_s=1)
    early, patient = await connect(), await connect()
    await early.send(b"EHLO client.example\r\n")
    assert (await early.reply())[0] == "421 4.5.0 Wait for the greeting"
    assert await early.line() == ""
    assert (await patient.reply())[0].startswith("220 ")
    assert (await patient.ask("EHLO client.example")).startswith("250 ")
    await connect.server.intake.recorder.close()
    assert sink.reasons == ["early_talker"]


async def test_gone_before_the_greeting(serve, sink):
    """A peer that leaves while it should wait leaves nothing behind."""
    connect = await serve(greeting_wait_s=5)
    talk = await connect()
    await until(lambda: len(connect.server.connections.sessions) == 1)
    talk.writer.transport.abort()
    await until(lambda: not connect.server.connections.sessions)


async def test_drain_during_the_wait(serve, sink):
    """The drain does not wait for the greeting's pause."""
    connect = await serve(greeting_wait_s=5)
    talk = await connect()
    await until(lambda: len(connect.server.connections.sessions) == 1)
    async with asyncio.timeout(4):
        await connect.server.drain(1)
    assert (await talk.reply())[0].startswith("220 ")
    assert (await talk.reply())[0].startswith("421 4.3.2 ")


async def test_rate_of_a_peer_is_shared_by_its_sessions(serve_strangers, sink):
    """A second session does not double what a peer may send."""
    connect = await serve_strangers(max_mails_per_minute_per_peer=1)
    first, second = await connect(), await connect()
    for talk, code in ((first, "250 "), (second, "421 ")):
        await talk.reply()
        await talk.ask("EHLO client.example")
        assert (await talk.ask("MAIL FROM:<ada@corp.example>")).startswith(code)
    assert sink.reasons == ["peer_too_fast"]


async def test_refused_mail_costs_a_user_nothing(serve_strangers, sink):
    """A stranger who knows a relay address cannot use up its user's rate."""
    talk = await (await serve_strangers(max_mails_per_minute_per_user=1))()
    await talk.begin()
    await talk.send(b"From: eve@evil.example\r\n\r\n.\r\n")
    assert (await talk.reply())[0].startswith("550 5.7.1 ")
    await talk.ask("MAIL FROM:<ada@corp.example>")
    reply = await talk.ask("RCPT TO:<log-ada@in.example>")
    assert reply.startswith("250 ")


async def test_ipv6_peers_share_their_network(serve_strangers):
    """Sessions from one /64 count as one peer's, whatever their address."""
    connect = await serve_strangers(max_connections_per_peer=1)
    peers = ("2001:db8:1:2::1", "2001:db8:1:2:ffff::2", "2001:db8:1:3::1")
    said = [(await (await connect(peer)).reply())[0][:3] for peer in peers]
    assert said == ["220", "421", "220"]
    assert set(connect.server.connections.limits.strangers) == {
        "2001:db8:1:2::/64",
        "2001:db8:1:3::/64",
    }


async def test_fully_qualified_name_is_never_looked_up(monkeypatch, serve, sink):
    """No connection asks DNS for the machine's name, which can block for seconds."""

    def fail(*_):
        raise AssertionError("getfqdn was called")

    monkeypatch.setattr(socket, "getfqdn", fail)
    monkeypatch.setattr(socket, "gethostbyaddr", fail)
    talk = await (await serve())()
    await talk.begin()
    await talk.send(MAIL)
    assert (await talk.reply())[0].startswith("250 2.0.0 OK ")
