"""Listeners beside plain SMTP: TLS from the first byte, PROXY, LMTP, submission."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import threading
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from relay.core.errors import ConfigError
from relay.smtp import tls as tls_module
from tests.fakes.certificates import Authority
from tests.fakes.dialog import Talk
from tests.fakes.dialogue_fuzz import Wireless
from tests.fakes.intake import PEOPLE, running
from tests.fakes.waiting import until

MAIL = b"From: Ada <ada@corp.example>\r\nSubject: Hi\r\n\r\nHi\r\n"
V2 = b"\r\n\r\n\0\r\nQUIT\n"
LOGIN = "AUTH PLAIN AGFkYUBjb3JwLmV4YW1wbGUAYWFhYWJiYmI="
WRONG = "AUTH PLAIN AGFkYUBjb3JwLmV4YW1wbGUAd3Jvbmc="


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """An authority with a certificate for the server."""
    made = Authority(tmp_path_factory.mktemp("authority"))
    made.server = made.issue("mx.in.example")
    return made


@pytest.fixture
def listen(serve, authority):
    """Start an intake with one listener; give a function that connects to it."""

    async def start(**table):
        chain, key = authority.server
        settings = table.pop("smtp", {})
        table.setdefault("address", "127.0.0.1:0")
        return await serve(
            listen=(), listeners=[table], tls_certificate=chain, tls_key=key, **settings
        )

    return start


def client_context(authority, certificate=None):
    """Return what a careful client uses: strict as Python 3.13 is by itself."""
    context = ssl.create_default_context(cafile=authority.path)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    if certificate:
        context.load_cert_chain(*certificate)
    return context


async def secure(talk, context):
    """Speak TLS from here on."""
    async with asyncio.timeout(3):
        await talk.writer.start_tls(context, server_hostname="mx.in.example")


def v2(command=0x21, family=0x11, body=None):
    """Return a binary PROXY header; by default for 203.0.113.9."""
    if body is None:
        body = socket.inet_aton("203.0.113.9") + socket.inet_aton("192.0.2.1")
        body += struct.pack("!HH", 40000, 25)
    return V2 + struct.pack("!BBH", command, family, len(body)) + body


async def deliver(talk):
    """Hand a mail over; return the reply."""
    await talk.begin()
    await talk.send(MAIL + b".\r\n")
    return (await talk.reply())[0]


# ------------------------------------------------------------------ TLS


async def test_implicit_tls(listen, authority, sink):
    """On a listener with implicit TLS the first byte is TLS, and STARTTLS is gone."""
    talk = await (await listen(tls="implicit", require_tls=True))()
    await secure(talk, client_context(authority))
    assert (await talk.reply())[0].startswith("220 mx.in.example ESMTP")
    await talk.send(b"EHLO client.example\r\n")
    assert not any("STARTTLS" in line for line in await talk.reply())
    assert (await talk.ask("STARTTLS")).startswith("503 ")
    for command in ("MAIL FROM:<ada@corp.example>", "RCPT TO:<log-ada@in.example>"):
        assert (await talk.ask(command)).startswith("250 ")
    await talk.ask("DATA")
    await talk.send(MAIL + (b"x" * 998 + b"\r\n") * 2000 + b".\r\n")
    assert (await talk.reply())[0].startswith("250 ")
    assert sink.stored[0][0].tls
    assert await talk.ask("QUIT") == "221 2.0.0 Bye"


async def test_implicit_tls_is_not_spoken_to_in_the_clear(listen, sink):
    """Who talks in the clear where TLS is expected gets no SMTP, and harms nobody."""
    connect = await listen(tls="implicit")
    talk = await connect()
    await talk.send(b"EHLO client.example\r\n")
    assert not (await talk.reader.read(1000)).startswith(b"220")
    await connect.server.drain(1)
    assert sink.stored == []


async def test_implicit_tls_beyond_the_limit_is_closed(listen, authority):
    """A connection too many is closed where nobody could read a 421."""
    connect = await listen(tls="implicit", smtp={"max_connections": 1})
    first = await connect()
    await secure(first, client_context(authority))
    await first.reply()
    second = await connect()
    assert await second.line() == ""


async def test_tls_is_required_listener_by_listener(serve, authority):
    """One listener insists on TLS while another does not."""
    chain, key = authority.server
    connect = await serve(
        listeners=[{"address": "127.0.0.1:0", "require_tls": True}],
        tls_certificate=chain,
        tls_key=key,
    )
    replies = []
    for place in connect.server.listening:
        talk = await Talk.connect(*place)
        await talk.reply()
        await talk.ask("EHLO client.example")
        replies.append((await talk.ask("MAIL FROM:<ada@corp.example>"))[:3])
        if replies[-1] == "530":
            await talk.send(b"BDAT 6\r\nNOOP\r\n")
            assert (await talk.reply())[0].startswith("530 ")
            assert await talk.line() == ""
        await talk.close()
    assert replies == ["250", "530"]


async def test_no_tls_where_none_is_wanted(listen):
    """A listener with tls = "none" offers none, though there is a certificate."""
    talk = await (await listen(tls="none"))()
    await talk.reply()
    await talk.send(b"EHLO client.example\r\n")
    assert not any("STARTTLS" in line for line in await talk.reply())
    assert (await talk.ask("STARTTLS")).startswith("502 ")


# ------------------------------------------------------------------ client certificates


async def test_trusted_relay_shows_a_certificate(listen, authority, sink):
    """A verified client certificate is asked for where it must be, and is kept."""
    connect = await listen(
        tls="implicit", client_ca=authority.path, require_client_certificate=True
    )
    talk = await connect()
    await secure(talk, client_context(authority, authority.issue("relay.example")))
    assert (await deliver(talk)).startswith("250 ")
    detail = sink.stored[0][0].trace[0].detail
    assert detail.endswith("with the certificate of relay.example")


async def test_without_certificate_on_a_listener_that_asks(listen, authority, sink):
    """Who shows no certificate is told what is missing, and sends nothing."""
    context = client_context(authority)
    connect = await listen(
        tls="implicit", client_ca=authority.path, require_client_certificate=True
    )
    talk = await connect()
    await secure(talk, context)
    await talk.reply()
    await talk.ask("EHLO client.example")
    reply = await talk.ask("MAIL FROM:<ada@corp.example>")
    assert reply.startswith("530 5.7.0 A client certificate is required")
    assert sink.reasons == ["client_certificate_required"]


async def test_certificate_of_a_stranger(listen, authority, tmp_path, sink):
    """A client certificate of another authority ends the handshake."""
    stranger = Authority(tmp_path, "other").issue("relay.example")
    connect = await listen(
        tls="implicit", client_ca=authority.path, require_client_certificate=True
    )
    talk = await connect()
    try:
        await secure(talk, client_context(authority, stranger))
        # With TLS 1.3 the client learns of it when it next reads.
        said = await talk.reader.read(100)
    except (ssl.SSLError, ConnectionError):
        said = b""
    assert said == b""


async def test_certificate_where_none_is_asked_for(listen, authority, tmp_path, sink):
    """A mail server that shows its certificate to everybody gets through as anybody."""
    stranger = Authority(tmp_path, "other").issue("mail.elsewhere.example")
    for table in ({"tls": "implicit"}, {"tls": "starttls"}):
        talk = await (await listen(**table))()
        if table["tls"] == "starttls":
            await talk.reply()
            await talk.ask("EHLO client.example")
            assert (await talk.ask("STARTTLS")).startswith("220 ")
        await secure(talk, client_context(authority, stranger))
        if table["tls"] == "implicit":
            await talk.reply()
        await talk.ask("EHLO client.example")
        assert (await talk.ask("MAIL FROM:<ada@corp.example>")).startswith("250 ")
        assert (await talk.ask("RCPT TO:<log-ada@in.example>")).startswith("250 ")
        await talk.ask("DATA")
        await talk.send(MAIL + b".\r\n")
        assert (await talk.reply())[0].startswith("250 ")
    traces = [envelope.trace[0].detail for envelope, _, _ in sink.stored]
    assert len(traces) == 2
    assert not any("certificate" in detail for detail in traces)


# ------------------------------------------------------------------ reload


@asynccontextmanager
async def with_files(sink, authority, tmp_path, monkeypatch):
    """Run an intake on files that the test replaces."""
    monkeypatch.setattr("relay.smtp.server.LOOK_S", 0.05)
    local = Authority(tmp_path)
    chain, key = local.issue("mx.in.example", "server")
    async with running(sink, tls_certificate=chain, tls_key=key) as intake:
        yield intake, local


async def shown(intake):
    """Return the certificate that a new session gets."""
    talk = await Talk.connect(*intake.listening[0])
    await talk.reply()
    await talk.ask("EHLO client.example")
    await talk.ask("STARTTLS")
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    await secure(talk, context)
    found = talk.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    await talk.close()
    return found


async def test_renewed_certificate_is_taken_up(sink, authority, tmp_path, monkeypatch):
    """New files are used by the next session; sessions under way go on."""
    async with with_files(sink, authority, tmp_path, monkeypatch) as (intake, local):
        old = await shown(intake)
        session = await Talk.connect(*intake.listening[0])
        await session.reply()
        local.issue("mx.in.example", "server")

        async def renewed():
            return await shown(intake) != old

        await until(renewed)
        assert (await session.ask("NOOP")).startswith("250 ")
        await session.close()


async def test_broken_certificate_keeps_the_old_one(
    sink, authority, tmp_path, monkeypatch, capsys
):
    """A certificate that does not load is logged, and the old one stays in use."""
    async with with_files(sink, authority, tmp_path, monkeypatch) as (intake, local):
        old = await shown(intake)
        (tmp_path / "server.pem").write_text("no certificate")

        async def logged():
            return "smtp_certificate_not_loaded" in capsys.readouterr().err

        await until(logged)
        assert await shown(intake) == old
        (tmp_path / "server.pem").unlink()
        await until(logged)
        assert await shown(intake) == old
        local.issue("mx.in.example", "server")

        async def renewed():
            return await shown(intake) != old

        await until(renewed)


def test_half_written_files_are_not_loaded(tmp_path):
    """A certificate is loaded when its files stand still: the key may come later."""
    local = Authority(tmp_path)
    chain, key = local.issue("mx.in.example", "server")
    from relay.config import SMTPSettings

    watched = tls_module.ServerTLS(SMTPSettings(tls_certificate=chain, tls_key=key))
    first = watched.context
    assert not watched.look()
    new_chain, new_key = local.issue("mx.in.example", "next")
    chain.write_bytes(new_chain.read_bytes())
    assert not watched.look()
    key.write_bytes(new_key.read_bytes())
    assert not watched.look()
    assert watched.context is first
    assert watched.look()
    assert watched.context is not first
    assert not watched.look()


async def test_authorities_that_do_not_load(authority, sink, tmp_path):
    """A broken client_ca stops the start, and the text names the key."""
    broken = tmp_path / "broken.pem"
    broken.write_text("no authority")
    chain, key = authority.server
    table = {
        "address": "127.0.0.1:0",
        "client_ca": broken,
        "require_client_certificate": True,
    }
    with pytest.raises(ConfigError, match=r"smtp\.listeners\.client_ca = .*broken"):
        async with running(sink, listeners=[table], tls_certificate=chain, tls_key=key):
            pass


# ------------------------------------------------------------------ PROXY


@pytest.mark.parametrize(
    ("header", "peer"),
    [
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 40000 25\r\n", "2001:db8::7"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
        (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", "127.0.0.1"),
        (v2(), "203.0.113.9"),
        (v2(body=v2()[16:] + b"\x03\x00\x04abcd"), "203.0.113.9"),
        (v2(command=0x20, family=0, body=b""), "127.0.0.1"),
        (v2(family=0x31, body=b"x" * 216), "127.0.0.1"),
        (
            v2(
                family=0x21,
                body=socket.inet_pton(socket.AF_INET6, "::ffff:198.51.100.3") * 2
                + b"\0\1\0\2",
            ),
            "198.51.100.3",
        ),
    ],
)
@pytest.mark.parametrize("size", [1, 1000], ids=["byte-by-byte", "whole"])
async def test_proxy_header(header, peer, size, listen, sink):
    """Both versions, all families, and however they arrive: the peer is who it says."""
    talk = await (await listen(proxy_from=["127.0.0.1"]))()
    for at in range(0, len(header), size):
        await talk.send(header[at : at + size])
        await asyncio.sleep(0)
    assert (await deliver(talk)).startswith("250 ")
    envelope = sink.stored[0][0]
    assert envelope.peer == peer
    assert ("passed on by 127.0.0.1" in envelope.trace[0].detail) == (
        peer != "127.0.0.1"
    )


@pytest.mark.parametrize(
    "header",
    [
        b"PROXY TCP4 203.0.113.7 192.0.2.1 40000\r\n",
        b"PROXY TCP4 2001:db8::7 192.0.2.1 40000 25\r\n",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 40000 99999\r\n",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 40000 25\n",
        b"PROXY " + b"x" * 200,
        b"PROXY\r\n",
        v2(command=0x31),
        v2(command=0x22),
        v2(body=b"short"),
        V2 + b"\x21\x11\xff\xff",
        b"\x16\x03\x01\x00\x05hello",
    ],
)
async def test_bad_proxy_header(header, listen, sink):
    """What is no header closes the connection without a word, and is noted."""
    connect = await listen(proxy_from=["127.0.0.1"])
    talk = await connect()
    await talk.send(header)
    assert await talk.line() == ""
    await connect.server.intake.recorder.close()
    assert sink.reasons == ["no_proxy_header"]


async def test_proxy_header_that_came_with_the_connection(listen):
    """A header that is there before the session first looks is not waited for."""
    connect = await listen(proxy_from=["127.0.0.1"])
    loop = asyncio.get_running_loop()
    transport = Wireless(loop)
    wire = connect.server.connection(connect.server.listeners[0])
    transport.set_protocol(wire)
    wire.connection_made(transport)
    wire.data_received(v2())
    await until(lambda: transport.written.startswith(b"220 "))
    (session,) = connect.server.connections.sessions
    assert session.peer == "203.0.113.9"
    transport.close()
    await until(lambda: wire.transport is None)


async def test_proxy_header_that_does_not_come(listen, monkeypatch):
    """A load balancer that says nothing is not waited for long."""
    monkeypatch.setattr("relay.smtp.session._PROXY_HEADER_S", 0.1)
    talk = await (await listen(proxy_from=["127.0.0.1"]))()
    assert await talk.line() == ""


@pytest.mark.parametrize("together", [True, False])
async def test_proxy_header_before_tls(together, listen, authority, sink):
    """The PROXY header stands in front of the TLS handshake, in one piece or apart."""
    talk = await (await listen(proxy_from=["127.0.0.0/8"], tls="implicit"))()
    if together:
        # `start_tls` writes the first bytes of the handshake at once.
        talk.writer.write(v2())
    else:
        await talk.send(v2())
        await asyncio.sleep(0.05)
    await secure(talk, client_context(authority))
    assert (await deliver(talk)).startswith("250 ")
    assert sink.stored[0][0].peer == "203.0.113.9"
    assert sink.stored[0][0].tls


async def test_limits_count_the_peer_behind_the_proxy(listen):
    """Connections are counted for the clients, not for the load balancer."""
    connect = await listen(
        proxy_from=["127.0.0.1"], smtp={"max_connections_per_peer": 1}
    )
    replies = []
    for last in (1, 2, 2):
        talk = await connect()
        await talk.send(f"PROXY TCP4 203.0.113.{last} 192.0.2.1 1 25\r\n".encode())
        replies.append((await talk.reply())[0][:3])
    assert replies == ["220", "220", "421"]


async def test_drain_while_a_header_is_awaited(listen):
    """A connection without its header does not hold up the end."""
    connect = await listen(proxy_from=["127.0.0.1"])
    talk = await connect()
    await asyncio.sleep(0.05)  # the relay may have accepted it, or not: both must do
    async with asyncio.timeout(5):
        await connect.server.drain(1)
    await talk.send(v2())
    assert await talk.line() == ""


# ------------------------------------------------------------------ LMTP


@pytest.fixture
def socket_path(tmp_path_factory):
    """Return a path that is short enough for a Unix socket."""
    return tmp_path_factory.mktemp("s") / "lmtp"


async def test_lmtp_over_a_unix_socket(serve, sink, socket_path):
    """A mail server on this machine delivers through a file with rights of its own."""
    table = {
        "address": f"unix:{socket_path}",
        "protocol": "lmtp",
        "socket_mode": "600",
    }
    connect = await serve(listen=(), listeners=[table])
    assert connect.server.places == [f"unix:{socket_path}"]
    assert socket_path.stat().st_mode & 0o777 == 0o600
    talk = Talk(*await asyncio.open_unix_connection(socket_path))
    await talk.reply()
    assert (await talk.ask("LHLO mail.corp.example")).startswith("250 ")
    await talk.ask("MAIL FROM:<ada@corp.example>")
    await talk.ask("RCPT TO:<log-ada@in.example>")
    await talk.ask("DATA")
    await talk.send(MAIL + b".\r\n")
    assert (await talk.reply())[0].startswith("250 ")
    await talk.close()
    assert sink.stored[0][0].peer == "local"


async def test_unix_socket_of_a_dead_relay_is_replaced(serve, sink, socket_path):
    """A file that nobody listens on any more is no obstacle; a live one is."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(socket_path))
    table = {"address": f"unix:{socket_path}", "protocol": "lmtp"}
    async with running(sink, listen=(), listeners=[table]):
        with pytest.raises(ConfigError, match=r"smtp\.listeners = 'unix:"):
            async with running(sink, listen=(), listeners=[table]):
                pass


# ------------------------------------------------------------------ submission


async def test_password_travels_encrypted_or_not_at_all(listen, authority, sink):
    """A mail program elsewhere is offered a login after STARTTLS, not before."""
    connect = await listen(protocol="submission", proxy_from=["127.0.0.1"])
    talk = await connect()
    await talk.send(b"PROXY TCP4 127.0.0.1 192.0.2.1 1 25\r\n")
    await talk.reply()
    await talk.send(b"EHLO client.example\r\n")
    assert not any("AUTH" in line for line in await talk.reply())
    assert (await talk.ask(LOGIN)).startswith("538 5.7.11 ")
    await talk.ask("STARTTLS")
    await secure(talk, client_context(authority))
    await talk.send(b"EHLO client.example\r\n")
    assert "250 AUTH PLAIN LOGIN" in await talk.reply()
    assert (await talk.ask(LOGIN)).startswith("235 ")
    assert sink.reasons == ["login_in_the_clear"]


async def test_login_does_not_survive_starttls(listen, authority):
    """Who has logged in before TLS stood has to do it again."""
    talk = await (await listen(protocol="submission"))()
    await talk.reply()
    await talk.ask("EHLO client.example")
    assert (await talk.ask(LOGIN)).startswith("235 ")
    await talk.ask("STARTTLS")
    await secure(talk, client_context(authority))
    await talk.ask("EHLO client.example")
    assert (await talk.ask("MAIL FROM:<ada@corp.example>")).startswith("530 5.7.0 ")


async def test_guessing_is_slowed_down(listen, sink):
    """After some wrong passwords nobody of that peer may log in for a while."""
    connect = await listen(
        protocol="submission", smtp={"max_failed_logins_per_minute_per_peer": 2}
    )
    for expected in ("535", "535", "421"):
        talk = await connect()
        await talk.reply()
        await talk.ask("EHLO client.example")
        assert (await talk.ask(WRONG)).startswith(expected)
    talk = await connect()
    await talk.reply()
    await talk.ask("EHLO client.example")
    assert (await talk.ask(LOGIN)).startswith("421 ")
    assert sink.reasons[-1] == "too_many_logins"


async def test_answers_that_are_too_long_leave_no_traceback(listen, capsys):
    """A login with an endless answer is refused like any other, and soon ends."""
    talk = await (await listen(protocol="submission", smtp={"max_errors": 5}))()
    await talk.reply()
    await talk.ask("EHLO client.example")
    for _ in range(5):
        assert (await talk.ask("AUTH LOGIN")).startswith("334 ")
        assert (await talk.ask("A" * 20_000)).startswith("500 5.5.6 ")
    assert (await talk.reply())[0].startswith("421 4.7.0 ")
    assert await talk.line() == ""
    assert "smtp_internal_error" not in capsys.readouterr().err


async def test_a_flood_of_logins_waits_its_turn(listen, monkeypatch):
    """A peer that logs in on many connections at once cannot queue up hashes."""
    hashed = threading.Event()
    monkeypatch.setattr(
        "relay.smtp.auth.verify_password", lambda *_: not hashed.wait(9)
    )
    connect = await listen(protocol="submission")
    talks = [await connect() for _ in range(8)]
    for talk in talks:
        await talk.reply()
        await talk.ask("EHLO client.example")
    for talk in talks:
        await talk.send(f"{WRONG}\r\n".encode())
    replies = []

    async def answered(talk):
        replies.append((await talk.reply())[0][:3])

    answers = [asyncio.create_task(answered(talk)) for talk in talks]
    await until(lambda: len(replies) == 4)
    assert replies == ["454"] * 4
    hashed.set()
    await asyncio.gather(*answers)
    assert replies[4:] == ["535"] * 4
    assert not connect.server.logins._under_way


async def test_use_of_a_password_is_noted(listen, sink):
    """A login is noted, the remembered one as well as the first."""
    connect = await listen(protocol="submission")
    for _ in range(2):
        talk = await connect()
        await talk.reply()
        await talk.ask("EHLO client.example")
        assert (await talk.ask(LOGIN)).startswith("235 ")
    await until(lambda: sink.logins == [(1, "phone")] * 2)


async def test_removed_password_and_disabled_user(listen):
    """What an admin takes away holds for the next login, and for the next mail."""
    now = [PEOPLE]
    connect = await listen(protocol="submission", smtp={"directory": lambda: now[0]})
    first, second = await connect(), await connect()
    for talk in (first, second):
        await talk.reply()
        await talk.ask("EHLO client.example")
    assert (await first.ask(LOGIN)).startswith("235 ")
    now[0] = type(PEOPLE)(2, {}, PEOPLE.by_token, PEOPLE.accepted, ())
    assert (await second.ask(LOGIN)).startswith("535 ")
    assert (await first.ask("MAIL FROM:<ada@corp.example>")).startswith("530 ")


async def test_password_removed_in_the_middle_of_a_login(listen):
    """A login that was begun before a password was removed fails as well."""
    now = [PEOPLE]
    connect = await listen(protocol="submission", smtp={"directory": lambda: now[0]})
    talk = await connect()
    await talk.reply()
    await talk.ask("EHLO client.example")
    assert (await talk.ask("AUTH PLAIN")).startswith("334 ")
    now[0] = replace(PEOPLE, app_passwords={})
    assert (await talk.ask(LOGIN.rsplit(maxsplit=1)[-1])).startswith("535 ")


async def test_who_waits_too_long_in_a_login(listen):
    """A login that is not finished in time ends the session."""
    talk = await (await listen(protocol="submission", smtp={"timeout_s": 1}))()
    await talk.reply()
    await talk.ask("EHLO client.example")
    assert (await talk.ask("AUTH LOGIN")).startswith("334 ")
    assert (await talk.reply())[0].startswith("421 4.4.2 ")
    assert await talk.line() == ""


async def test_drain_in_a_login(listen):
    """A session in the middle of a login is told to come again."""
    connect = await listen(protocol="submission")
    talk = await connect()
    await talk.reply()
    await talk.ask("EHLO client.example")
    await talk.ask("AUTH LOGIN")
    drained = asyncio.create_task(connect.server.drain(3))
    assert (await talk.reply())[0].startswith("421 4.3.2 ")
    await drained


# ------------------------------------------------------------------ BDAT


async def begun(connect):
    """Go as far as the first chunk of a mail."""
    talk = await connect()
    await talk.reply()
    await talk.ask("EHLO client.example")
    await talk.ask("MAIL FROM:<ada@corp.example>")
    await talk.ask("RCPT TO:<log-ada@in.example>")
    assert (await talk.ask(f"BDAT {len(MAIL)}\r\n{MAIL.decode()}"[:-2]))[:3] == "250"
    return talk


@pytest.mark.parametrize(
    "how", ["reset", "half-close", "RSET", "EHLO client.example", "QUIT", "slow"]
)
async def test_chunks_without_their_last(how, serve, sink, tmp_path):
    """A mail by BDAT whose last chunk does not come leaves nothing behind."""
    connect = await serve(inline_bytes=10, timeout_s=1)
    talk = await begun(connect)
    assert len(list(tmp_path.iterdir())) == 1
    if how == "reset":
        talk.writer.transport.abort()
    elif how == "half-close":
        talk.writer.write_eof()
    elif how == "slow":
        assert (await talk.reply())[0].startswith("421 4.4.2 ")
    else:
        assert (await talk.ask(how))[0] == "2"
    await until(lambda: not list(tmp_path.iterdir()))
    assert sink.stored == []


async def test_cut_off_in_a_chunk(serve, sink, tmp_path):
    """A connection that ends in the middle of a chunk is no mail."""
    connect = await serve(inline_bytes=10)
    talk = await begun(connect)
    await talk.send(b"BDAT 1000 LAST\r\nabc")
    talk.writer.write_eof()
    assert await talk.line() == ""
    assert sink.stored == []
    assert list(tmp_path.iterdir()) == []


async def test_drain_waits_for_the_last_chunk(serve, sink):
    """A mail whose chunks are under way may finish, like one behind DATA."""
    connect = await serve()
    talk = await begun(connect)
    drained = asyncio.create_task(connect.server.drain(3))
    await until(lambda: connect.server.connections.draining)
    assert not drained.done()
    assert (await talk.ask("BDAT 0 LAST")).startswith("250 2.0.0 OK ")
    assert (await talk.reply())[0].startswith("421 4.3.2 ")
    await drained
    assert len(sink.stored) == 1


async def test_megabytes_in_pipelined_chunks(serve, sink):
    """Many large chunks in one go are one mail, byte for byte."""
    noise = bytes(range(256)).replace(b"\r", b"").replace(b"\n", b"\r\n")
    content = MAIL + noise * 12000
    connect = await serve()
    talk = await connect()
    await talk.reply()
    await talk.ask("EHLO client.example")
    size = 300_001
    pieces = [content[at : at + size] for at in range(0, len(content), size)]
    commands = [b"MAIL FROM:<ada@corp.example>\r\nRCPT TO:<log-ada@in.example>\r\n"]
    for number, piece in enumerate(pieces, 1):
        last = b" LAST" if number == len(pieces) else b""
        commands += [b"BDAT %d%s\r\n" % (len(piece), last), piece]
    await talk.send(b"".join(commands))
    for _ in range(1 + len(pieces)):
        assert (await talk.reply())[0].startswith("250 ")
    assert (await talk.reply())[0].startswith("250 2.0.0 OK ")
    assert sink.stored[0][2] == content
