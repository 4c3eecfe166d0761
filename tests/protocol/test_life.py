"""The life of sessions: trouble of the store, ends of connections, TLS, the drain."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import socket
import ssl

import pytest

from relay.core.errors import ConfigError, StoreFull, StoreUnavailable
from relay.core.ids import MESSAGE_ID
from tests.fakes.intake import running
from tests.fakes.waiting import until

MAIL = b"From: Ada <ada@corp.example>\r\nSubject: Hi\r\n\r\nHi\r\n.\r\n"


async def test_reply_ends_with_the_message_id(serve, sink):
    """The 250 ends with the id of the message, and comes after the commit."""
    sink.gate.clear()
    talk = await (await serve())()
    await talk.begin()
    await talk.send(MAIL)
    await asyncio.wait_for(sink.begun.wait(), 3)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(talk.reader.read(1), 0.1)
    sink.gate.set()
    word = (await talk.reply())[0].rpartition(" ")[2]
    assert MESSAGE_ID.fullmatch(word)
    envelope = sink.stored[0][0]
    assert [one.message_id for one in envelope.recipients] == [word]


async def test_envelope_says_who_and_what(serve, sink):
    """The envelope has peer, name, headers for listings, and the trace."""
    talk = await (await serve())()
    await talk.begin(mail_from="bounce@corp.example")
    await talk.send(
        b"From: Ada <Ada@corp.example>\r\nTo: Zoe <zoe@customer.example>\r\n"
        b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n"
        b"Message-ID: <1@corp.example>\r\n\r\n.\r\n"
    )
    await talk.reply()
    envelope, raw, _ = sink.stored[0]
    assert envelope.peer == "127.0.0.1"
    assert envelope.helo == "client.example"
    assert not envelope.tls
    assert envelope.mail_from == "bounce@corp.example"
    assert envelope.header_from == "Ada@corp.example"
    assert "zoe@customer.example" in envelope.header_to
    assert envelope.rfc_message_id == "<1@corp.example>"
    assert envelope.recipients[0].user_id == 1
    steps = [(step.step, step.result) for step in envelope.trace]
    assert steps == [
        ("connection", "in the clear"),
        ("rcpt", "accepted"),
        ("sender", "accepted"),
        ("size", "accepted"),
        ("line_ends", "crlf"),
    ]
    assert raw.data is not None


TROUBLES = {
    "full": (StoreFull("below the floor"), "452 4.3.1 ", "disk_full"),
    "down": (StoreUnavailable("locked"), "451 4.3.0 ", "store_unavailable"),
    "bug": (ZeroDivisionError("secret detail"), "451 4.3.0 ", "internal_error"),
}


@pytest.mark.parametrize("name", TROUBLES)
async def test_store_trouble_is_temporary(name, serve, sink):
    """Whatever the store does, the peer keeps the mail and learns no internals."""
    error, reply, reason = TROUBLES[name]
    talk = await (await serve())()
    await talk.begin()
    sink.put_error = error
    await talk.send(MAIL)
    line = (await talk.reply())[0]
    assert line.startswith(reply)
    assert str(error) not in line
    assert sink.reasons == [reason]
    assert f"(ref {sink.refused[0].id})" in line
    sink.put_error = None
    assert (await talk.ask("MAIL FROM:<ada@corp.example>")).startswith("250 ")


async def test_disk_that_does_not_answer(serve, sink):
    """A store that cannot tell its free space begins no mail."""

    def fail(**_):
        raise StoreUnavailable("no answer")

    sink.messages.free_bytes = fail
    talk = await (await serve())()
    await talk.reply()
    await talk.ask("EHLO client.example")
    reply = await talk.ask("MAIL FROM:<ada@corp.example>")
    assert reply.startswith("451 4.3.0 ")
    assert sink.reasons == ["store_unavailable"]


async def test_unrecorded_refusal_breaks_nothing(serve, sink):
    """A refusal that the store does not take is answered all the same."""
    talk = await (await serve())()
    await talk.reply()
    await talk.ask("EHLO client.example")
    await talk.ask("MAIL FROM:<ada@corp.example>")
    for error in (StoreUnavailable("locked"), ZeroDivisionError("bug")):
        sink.refuse_error = error
        reply = await talk.ask("RCPT TO:<nobody@in.example>")
        assert reply.startswith("550 5.1.1 ")


async def test_bug_in_a_verb_is_temporary(serve, sink):
    """An unexpected exception is 451 with an id, never 500 with its text."""

    def directory():
        raise ZeroDivisionError("secret detail")

    talk = await (await serve(directory=directory))()
    await talk.reply()
    await talk.ask("EHLO client.example")
    await talk.ask("MAIL FROM:<ada@corp.example>")
    reply = await talk.ask("RCPT TO:<log-ada@in.example>")
    assert re.fullmatch(r"451 4\.3\.0 Internal error.* \(ref [0-9a-z]{26}\)", reply)


@pytest.mark.parametrize("commit", ["at once", "slow"])
async def test_half_close_is_answered(commit, serve, sink):
    """A client that closes its side behind the dot still gets its 250."""
    if commit == "slow":
        sink.gate.clear()
    connect = await serve()
    talk = await connect()
    await talk.begin()
    (session,) = connect.server.connections.sessions
    await talk.send(MAIL)
    talk.writer.write_eof()
    await asyncio.wait_for(sink.begun.wait(), 3)
    await until(lambda: session.wire.inbox._ended)
    sink.gate.set()
    assert (await talk.reply())[0].startswith("250 2.0.0 OK ")
    assert await talk.line() == ""
    assert len(sink.stored) == 1


async def test_lost_connection_does_not_stop_the_commit(serve, sink):
    """A connection reset during the commit leaves the mail stored."""
    sink.gate.clear()
    connect = await serve()
    talk = await connect()
    await talk.begin()
    await talk.send(MAIL)
    await asyncio.wait_for(sink.begun.wait(), 3)
    (session,) = connect.server.connections.sessions
    talk.writer.transport.abort()
    await until(lambda: session.wire.inbox._ended)
    sink.gate.set()
    await until(lambda: len(sink.stored) == 1)
    await until(lambda: not connect.server.connections.sessions)
    assert len(sink.stored) == 1


@pytest.mark.parametrize("how", ["half-close", "reset"])
async def test_cut_off_mail_is_not_stored(how, serve, sink, tmp_path):
    """A mail without its end is no mail, and leaves no file behind."""
    connect = await serve(inline_bytes=10, max_header_bytes=100)
    talk = await connect()
    await talk.begin()
    await talk.send(MAIL[:-3] + b"x" * 300_000)
    await until(lambda: any(tmp_path.iterdir()))
    if how == "reset":
        talk.writer.transport.abort()
    else:
        talk.writer.write_eof()
        assert await talk.line() == ""
    await connect.server.drain(1)
    assert sink.stored == []
    assert list(tmp_path.iterdir()) == []


async def test_bytes_one_by_one(serve, sink):
    """A conversation that arrives a byte at a time is the same conversation."""
    talk = await (await serve())()
    await talk.reply()
    talk.writer.get_extra_info("socket").setsockopt(
        socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
    )
    for line in (
        b"EHLO client.example\r\n",
        b"MAIL FROM:<ada@corp.example>\r\n",
        b"RCPT TO:<log-ada@in.example>\r\n",
        b"DATA\r\n",
        b"From: ada@corp.example\r\n\r\n..\r\nHi\r\n.\r\n",
    ):
        for byte in line:
            await talk.send(bytes([byte]))
            await asyncio.sleep(0)
        assert (await talk.reply())[-1][0] in "23"
    assert sink.stored[0][2] == b"From: ada@corp.example\r\n\r\n.\r\nHi\r\n"


async def test_large_mail_byte_for_byte(serve, sink, tmp_path):
    """A mail of some megabytes in many chunks is stored as sent, and hashed right."""
    content = (
        b"From: ada@corp.example\r\n\r\n"
        + os.urandom(3_000_000).replace(b"\n", b" ").replace(b"\r", b".")
        + b"\r\n"
    )
    talk = await (await serve())()
    await talk.begin()
    await talk.send(content.replace(b"\r\n.", b"\r\n..") + b".\r\n")
    assert (await talk.reply())[0].startswith("250 ")
    _, raw, stored = sink.stored[0]
    assert raw.path is not None
    assert raw.data is None
    assert stored == content


@pytest.mark.parametrize(
    ("number", "reply"),
    [
        (errno.ENOSPC, "452 4.3.1 "),
        (errno.EDQUOT, "452 4.3.1 "),
        (errno.EIO, "451 4.3.0 "),
    ],
)
async def test_disk_trouble_while_a_mail_arrives(
    number, reply, serve, sink, tmp_path, monkeypatch
):
    """A disk that fills up or fails under a large mail is a temporary refusal."""
    talk = await (await serve())()
    await talk.begin()

    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("relay.intake.buffer.os.write", fail)
    await talk.send(MAIL[:-3] + (b"x" * 998 + b"\r\n") * 2000 + b".\r\n")
    assert (await talk.reply())[0].startswith(reply)
    assert list(tmp_path.iterdir()) == []
    assert sink.stored == []


async def test_no_folder_for_large_mail(serve, sink, tmp_path):
    """A spool folder that is gone is a temporary refusal."""
    talk = await (await serve(inline_bytes=100))()
    await talk.begin()
    sink.folder = tmp_path / "gone"
    await talk.send(MAIL[:-3] + b"x" * 300_000 + b"\r\n.\r\n")
    assert (await talk.reply())[0].startswith("451 4.3.0 ")


# ------------------------------------------------------------------ TLS


async def test_starttls(certificate, serve, sink):
    """After STARTTLS the dialogue begins anew, encrypted, and the trace says so."""
    chain, key = certificate
    talk = await (await serve(tls_certificate=chain, tls_key=key, require_tls=True))()
    await talk.reply()
    await talk.send(b"EHLO client.example\r\n")
    assert "250 STARTTLS" in await talk.reply()
    reply = await talk.ask("MAIL FROM:<ada@corp.example>")
    assert reply.startswith("530 5.7.0 ")
    assert sink.reasons == ["tls_required"]
    assert (await talk.ask("STARTTLS x")).startswith("501 ")
    assert (await talk.ask("STARTTLS")).startswith("220 ")
    context = ssl.create_default_context(cafile=chain)
    await talk.writer.start_tls(context, server_hostname="mx.in.example")
    await talk.send(b"EHLO client.example\r\n")
    assert not any("STARTTLS" in line for line in await talk.reply())
    assert (await talk.ask("STARTTLS")).startswith("503 ")
    assert (await talk.ask("MAIL FROM:<ada@corp.example>")).startswith("250 ")
    assert (await talk.ask("RCPT TO:<log-ada@in.example>")).startswith("250 ")
    assert (await talk.ask("DATA")).startswith("354 ")
    await talk.send(MAIL[:-3] + (b"x" * 998 + b"\r\n") * 3000 + b".\r\n")
    assert (await talk.reply())[0].startswith("250 ")
    envelope = sink.stored[0][0]
    assert envelope.tls
    assert envelope.trace[0].result == "TLSv1.3"
    assert await talk.ask("QUIT") == "221 2.0.0 Bye"


async def test_old_tls_is_refused(certificate, serve, sink):
    """TLS below 1.2 is not spoken."""
    chain, key = certificate
    talk = await (await serve(tls_certificate=chain, tls_key=key))()
    await talk.reply()
    await talk.ask("EHLO client.example")
    await talk.ask("STARTTLS")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSVersion"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSVersion"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await talk.writer.start_tls(context, server_hostname="mx.in.example")


async def test_certificate_that_does_not_load(certificate, sink, tmp_path):
    """A broken certificate stops the start, and the text names the key to mend."""
    chain, key = certificate
    broken = tmp_path / "broken.pem"
    async with running(sink, tls_certificate=chain, tls_key=key) as intake:
        settings = intake.settings
    broken.write_text("no certificate")
    from relay.smtp.tls import server_context

    with pytest.raises(ConfigError, match=r"smtp\.tls_certificate = .*broken\.pem"):
        server_context(settings.model_copy(update={"tls_certificate": broken}))
    with pytest.raises(ConfigError, match=r"smtp\.tls_certificate = .*gone\.pem"):
        server_context(
            settings.model_copy(update={"tls_certificate": tmp_path / "gone.pem"})
        )


# ------------------------------------------------------------------ start and drain


async def test_port_in_use(sink):
    """A port that is taken stops the start, names the key, and opens nothing."""
    async with running(sink) as first:
        from relay.config import HostPort

        places = (HostPort("127.0.0.1", 0), HostPort(*first.listening[0]))
        with pytest.raises(ConfigError, match=r"smtp\.listen = .*cannot listen"):
            async with running(sink, listen=places):
                pass


async def test_ipv6(sink):
    """A peer on IPv6 is served, and known by its plain address."""
    from relay.config import HostPort
    from tests.fakes.dialog import Talk

    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        async with running(sink, listen=(HostPort("::1", 0),)) as intake:
            talk = await Talk.connect(*intake.listening[0])
            await talk.begin()
            await talk.send(MAIL)
            await talk.reply()
            await talk.close()
    except ConfigError:
        pytest.skip("no IPv6 loopback here")
    assert sink.stored[0][0].peer == "::1"


async def test_drain(serve, sink):
    """The drain closes listeners, sends idle sessions away, and lets mails finish."""
    sink.gate.clear()
    connect = await serve()
    idle, between, in_data, in_commit = [await connect() for _ in range(4)]
    await idle.reply()
    await between.reply()
    await between.ask("EHLO client.example")
    await between.ask("MAIL FROM:<ada@corp.example>")
    await in_data.begin()
    await in_data.send(MAIL[:10])
    await in_commit.begin()
    await in_commit.send(MAIL)
    await asyncio.wait_for(sink.begun.wait(), 3)
    address = connect.server.listening[0]
    drained = asyncio.create_task(connect.server.drain(3))
    assert (await idle.reply())[0].startswith("421 4.3.2 ")
    assert (await between.reply())[0].startswith("421 4.3.2 ")
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*address)
    assert not drained.done()
    await in_data.send(MAIL[10:])
    sink.gate.set()
    for talk in (in_data, in_commit):
        assert (await talk.reply())[0].startswith("250 2.0.0 OK ")
        assert (await talk.reply())[0].startswith("421 4.3.2 ")
        assert await talk.line() == ""
    await drained
    assert len(sink.stored) == 2


async def test_drain_does_not_wait_for_ever(serve, sink):
    """A mail that does not come to its end is cut at the drain's deadline."""
    connect = await serve()
    talk = await connect()
    await talk.begin()
    await talk.send(MAIL[:10])
    async with asyncio.timeout(3):
        await connect.server.drain(0.2)
    assert await talk.line() == ""
    assert sink.stored == []


async def test_reader_that_does_not_read(serve, sink):
    """A peer that takes no replies is cut, and holds no memory meanwhile."""
    connect = await serve(timeout_s=1, max_errors=10**6, max_commands=10**6)
    talk = await connect()
    await talk.reply()
    assert (await talk.ask("EHLO client.example")).startswith("250 ")
    talk.reader._transport.pause_reading()

    async def ask_on():
        while True:
            await talk.send(b"HELP\r\n" * 1000)

    with pytest.raises(ConnectionError):
        await asyncio.wait_for(ask_on(), 8)
