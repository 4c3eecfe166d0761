"""Peers that ask and never read: they hold no connection beside the limits."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import AsyncExitStack

import pytest

from relay.smtp.wire import Wire
from tests.fakes.dialog import Talk

HELPS = 800
"""Their replies fit under the mark from which the intake waits for its peer."""


@pytest.fixture
def place(tmp_path_factory):
    """Return a path that is short enough for a Unix socket."""
    return tmp_path_factory.mktemp("s") / "relay"


@pytest.fixture
def start(serve, place):
    """Start an intake on a Unix socket; give it."""

    async def start(**settings):
        table = {"address": f"unix:{place}"}
        connect = await serve(listen=(), listeners=[table], **settings)
        return connect.server

    return start


@pytest.fixture
async def visit(place):
    """Give a function that connects, and waits for the greeting."""
    async with AsyncExitStack() as stack:

        async def connect():
            talk = Talk(*await asyncio.open_unix_connection(place, limit=1024))
            stack.push_async_callback(talk.close)
            return talk, (await talk.reply())[0]

        yield connect


async def until(condition, limit_s=5):
    """Wait until a condition holds."""
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110 - the server runs in this loop
            await asyncio.sleep(0.01)


async def ask_and_never_read(intake, visit, last=b"QUIT\r\n"):
    """Ask for more than the kernel takes, and leave; return client and session."""
    talk, _ = await visit()
    (session,) = intake.connections.sessions
    server = session.wire.transport.get_extra_info("socket")
    server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    talk.reader._transport.pause_reading()
    await talk.send(b"EHLO me\r\n")
    await until(lambda: session._pipelines)
    await talk.send(b"HELP\r\n" * HELPS + last)
    await until(lambda: session._talk.over)
    return talk, session


async def test_who_never_reads_counts_until_it_is_cut(start, visit):
    """Behind its QUIT such a peer has its place and its timer, and then no socket."""
    intake = await start(max_connections=1, timeout_s=1)
    talk, session = await ask_and_never_read(intake, visit)
    transport = session.wire.transport
    assert transport.get_write_buffer_size() > 0
    _, other = await visit()
    assert other.startswith("421 4.7.0 ")
    await until(lambda: not intake.connections.sessions)
    assert transport.get_extra_info("socket").fileno() == -1
    talk.reader._transport.resume_reading()
    said = b""
    async with asyncio.timeout(3):
        while piece := await talk.reader.read(65536):
            said += piece
    assert b"221 " not in said
    _, other = await visit()
    assert other.startswith("220 ")


@pytest.fixture
def alarms(monkeypatch):
    """List how often the time of a session was up when its timer went off."""
    alarms, alarm = [], Wire._alarm

    def watched(wire):
        if wire.loop.time() >= wire._deadline:
            alarms.append(wire)
        alarm(wire)

    monkeypatch.setattr(Wire, "_alarm", watched)
    return alarms


async def test_time_is_up_while_a_refusal_is_recorded(start, visit, sink, alarms):
    """A timer that goes off between the last command and the close is armed anew."""
    intake = await start(max_connections=1, timeout_s=0.5)
    recorded = asyncio.Event()
    record = sink.refusals.record

    async def slow(refusals):
        await recorded.wait()
        await record(refusals)

    sink.refusals.record = slow
    last = b"MAIL FROM:<a@b>\r\nRCPT TO:<nobody@in.example>\r\nQUIT\r\n"
    _, session = await ask_and_never_read(intake, visit, last)
    await until(lambda: alarms)
    recorded.set()
    await until(lambda: session.wire._closing)
    assert session.wire.transport.get_write_buffer_size() > 0
    await until(lambda: not intake.connections.sessions)
    assert sink.reasons == ["unknown_recipient"]
    _, other = await visit()
    assert other.startswith("220 ")


async def test_who_reads_late_gets_every_reply(start, visit):
    """What was said before the close still arrives at a peer that is only slow."""
    intake = await start(timeout_s=5)
    talk, _ = await ask_and_never_read(intake, visit)
    talk.reader._transport.resume_reading()
    replies = []
    while line := await talk.line():
        replies.append(line[:4])
    assert replies[-1] == "221 "
    assert replies.count("214 ") == HELPS
    await until(lambda: not intake.connections.sessions)


async def test_drain_does_not_wait_for_who_never_reads(start, visit):
    """The end of the relay cuts such a peer long before the time it is given."""
    intake = await start(timeout_s=60)
    await ask_and_never_read(intake, visit)
    assert intake.connections.sessions
    async with asyncio.timeout(8):
        await intake.drain(3600)
    assert not intake.connections.sessions


@pytest.mark.parametrize("how", ["aborts", "talks in the clear", "is drained"])
@pytest.mark.parametrize("tls", ["implicit", "starttls"])
async def test_a_handshake_that_fails_frees_its_place(how, tls, serve, certificate):
    """A session that ends in the middle of a handshake is forgotten at once."""
    chain, key = certificate
    table = {"address": "127.0.0.1:0", "tls": tls}
    files = {"tls_certificate": chain, "tls_key": key}
    connect = await serve(listen=(), listeners=[table], timeout_s=60, **files)
    intake = connect.server
    talk = await connect()
    if tls == "starttls":
        await talk.reply()
        await talk.ask("EHLO me")
        assert (await talk.ask("STARTTLS")).startswith("220 ")
    sessions = intake.connections.sessions
    await until(lambda: any(one.wire._tls_protocol for one in sessions))
    if how == "aborts":
        talk.writer.transport.abort()
    elif how == "talks in the clear":
        await talk.send(b"NOOP\r\n")
    else:
        await intake.drain(0.1)
    await until(lambda: not intake.connections.sessions)
    assert not intake.connections.limits.strangers


async def test_who_never_answers_the_end_of_tls(serve, certificate):
    """A peer that does not take part in the end of TLS is cut as well."""
    chain, key = certificate
    files = {"tls_certificate": chain, "tls_key": key}
    connect = await serve(timeout_s=0.5, **files)
    client = socket.create_connection(connect.server.listening[0])
    client.settimeout(5)

    def ask(connection, command):
        connection.sendall(command)
        return connection.recv(4096)

    def begin():
        client.recv(4096)
        ask(client, b"EHLO me\r\n")
        ask(client, b"STARTTLS\r\n")
        context = ssl.create_default_context(cafile=chain)
        secured = context.wrap_socket(client, server_hostname="mx.in.example")
        assert ask(secured, b"QUIT\r\n").startswith(b"221 ")
        return secured

    secured = await asyncio.to_thread(begin)
    await until(lambda: not connect.server.connections.sessions)
    secured.close()
