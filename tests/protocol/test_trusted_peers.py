"""Limits hold strangers, not the mail servers that pass mail on to the relay."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.certificates import Authority
from tests.fakes.dialog import Talk
from tests.fakes.intake import MemorySink, running

ONE_EACH = {
    "max_connections_per_peer": 1,
    "max_connections_per_network": 1,
    "max_mails_per_minute_per_peer": 1,
    "max_mails_per_minute_per_user": 1,
}
MAIL = b"From: Ada <ada@corp.example>\r\nSubject: Hi\r\n\r\nHi\r\n.\r\n"


async def two_mails(talk):
    """Hand two mails over for one user; return what RCPT and their ends were told."""
    said = []
    assert (await talk.reply())[0].startswith("220 ")
    await talk.ask("EHLO client.example")
    for _ in range(2):
        reply = await talk.ask("MAIL FROM:<ada@corp.example>")
        if reply.startswith("250 "):
            reply = await talk.ask("RCPT TO:<log-ada@in.example>")
        if reply.startswith("250 "):
            await talk.ask("DATA")
            await talk.send(MAIL)
            reply = (await talk.reply())[0]
        said.append(reply[:3])
    return said


async def test_this_machine(serve):
    """Postfix beside the relay, or a test of speed, meets no limit of strangers."""
    connect = await serve(**ONE_EACH)
    for _ in range(3):
        assert await two_mails(await connect()) == ["250", "250"]


OWN, PRIVATE = "93.184.215.14", "10.0.2.100"


async def from_own_addresses(folder):
    """Return what mails are told that come from addresses of this host."""
    told = []
    for address in (OWN, PRIVATE):
        settings = {"listen": ("0.0.0.0:0",), **ONE_EACH}
        async with running(MemorySink(folder), **settings) as intake:
            port = intake.listening[0][1]
            talk = Talk(
                *await asyncio.open_connection(address, port, local_addr=(address, 0))
            )
            told.append(await two_mails(talk))
            await talk.close()
    return told


def test_this_machine_by_its_own_address(tmp_path):
    """A Postfix that comes from the host's public address is on this machine.

    A private one may be the container's, which stands for everybody outside.
    """
    alone = ["unshare", "--user", "--map-root-user", "--net"]
    if subprocess.run([*alone, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no network of its own can be made here")
    code = (
        "import asyncio, sys; from pathlib import Path\n"
        "from tests.protocol import test_trusted_peers as this\n"
        "told = asyncio.run(this.from_own_addresses(Path(sys.argv[1])))\n"
        "sys.exit(told != [['250', '250'], ['250', '421']] and repr(told))\n"
    )
    addresses = f"ip addr add {OWN}/32 dev lo && ip addr add {PRIVATE}/32 dev lo"
    done = subprocess.run(
        [
            *alone,
            *("sh", "-c", f'ip link set lo up && {addresses} && exec "$@"', "sh"),
            *(sys.executable, "-c", code, str(tmp_path)),
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr


async def test_who_has_logged_in_has_a_rate_of_their_own(serve, tmp_path):
    """An office behind one address is no single peer, and each user has a limit."""
    authority = Authority(tmp_path)
    chain, key = authority.issue("mx.in.example")
    context = ssl.create_default_context(cafile=authority.path)
    table = {
        "address": "127.0.0.1:0",
        "proxy_from": ["127.0.0.1"],
        "tls": "implicit",
        "protocol": "submission",
    }
    files = {"tls_certificate": chain, "tls_key": key}
    limits = {**ONE_EACH, "max_mails_per_minute_per_user": 2}
    connect = await serve(listen=(), listeners=[table], **files, **limits)
    told = []
    for _ in range(3):
        talk = await connect()
        talk.writer.write(b"PROXY TCP4 203.0.113.7 192.0.2.1 40000 25\r\n")
        async with asyncio.timeout(3):
            await talk.writer.start_tls(context, server_hostname="mx.in.example")
        assert (await talk.reply())[0].startswith("220 ")
        await talk.ask("EHLO client.example")
        login = "AUTH PLAIN AGFkYUBjb3JwLmV4YW1wbGUAYWFhYWJiYmI="
        assert (await talk.ask(login)).startswith("235 ")
        assert connect.server.connections.limits.strangers == {}
        await talk.ask("MAIL FROM:<ada@corp.example>")
        reply = await talk.ask("RCPT TO:<log-ada@in.example>")
        if reply.startswith("250 "):
            await talk.ask("DATA")
            await talk.send(MAIL)
            reply = (await talk.reply())[0]
        told.append(reply[:3])
    assert told == ["250", "250", "450"]


async def test_unix_socket(serve, tmp_path_factory):
    """Nor does who is let in by the rights of a file."""
    path = tmp_path_factory.mktemp("s") / "relay"
    await serve(listen=(), listeners=[{"address": f"unix:{path}"}], **ONE_EACH)
    for _ in range(2):
        talk = Talk(*await asyncio.open_unix_connection(path))
        assert await two_mails(talk) == ["250", "250"]
        await talk.close()


async def test_listed_network_and_strangers(serve_strangers, sink):
    """Of peers elsewhere, those of `trusted_peers` go free and the others do not."""
    listed = {"trusted_peers": ["198.51.100.0/24", "2001:db8:1::/48"]}
    connect = await serve_strangers(**ONE_EACH, **listed)
    for peer in ("198.51.100.8", "198.51.100.8", "2001:db8:1::8"):
        assert await two_mails(await connect(peer)) == ["250", "250"]
    # What trusted peers passed on does not use up the rate that strangers have.
    assert await two_mails(await connect("203.0.113.1")) == ["250", "421"]
    assert sink.reasons == ["peer_too_fast"]
    assert (await two_mails(await connect("192.0.2.1")))[0] == "450"
    assert sink.reasons == ["peer_too_fast", "user_too_fast"]


async def test_neighbours_of_a_stranger(serve_strangers, sink):
    """Another address of the same network is told to come again later."""
    connect = await serve_strangers(max_connections_per_network=1)
    peers = ("203.0.113.1", "203.0.113.2", "203.0.114.1")
    said = [(await (await connect(peer)).reply())[0][:3] for peer in peers]
    assert said == ["220", "421", "220"]
    await connect.server.intake.recorder.close()
    assert sink.reasons == ["too_many_connections_of_network"]


async def test_loopback_of_a_load_balancer_is_not_this_machine(serve_strangers):
    """Behind a PROXY header the client's address counts, and is nobody's of ours."""
    connect = await serve_strangers(**ONE_EACH)
    assert await two_mails(await connect("127.0.0.1")) == ["250", "421"]


async def test_fifty_of_one_stranger_and_a_thousand_of_ours(serve_strangers, serve):
    """With the defaults a stranger has its share, and this machine holds many."""
    connect = await serve_strangers()
    said = [(await (await connect()).reply())[0][:3] for _ in range(51)]
    assert said == ["220"] * 50 + ["421"]
    connect = await serve()
    said = [(await (await connect()).reply())[0][:3] for _ in range(120)]
    assert said == ["220"] * 120


async def test_verified_certificate(serve, tmp_path):
    """Who shows one makes room for the next, and has no rate."""
    authority = Authority(tmp_path)
    chain, key = authority.issue("mx.in.example")
    context = ssl.create_default_context(cafile=authority.path)
    context.load_cert_chain(*authority.issue("relay.example"))
    table = {
        "address": "127.0.0.1:0",
        "proxy_from": ["127.0.0.1"],
        "tls": "implicit",
        "client_ca": authority.path,
        "require_client_certificate": True,
    }
    files = {"tls_certificate": chain, "tls_key": key}
    connect = await serve(listen=(), listeners=[table], **files, **ONE_EACH)
    crowd = connect.server.connections.limits
    for _ in range(3):
        talk = await connect()
        # `start_tls` writes the first bytes of the handshake at once.
        talk.writer.write(b"PROXY TCP4 203.0.113.7 192.0.2.1 40000 25\r\n")
        async with asyncio.timeout(3):
            await talk.writer.start_tls(context, server_hostname="mx.in.example")
        assert await two_mails(talk) == ["250", "250"]
        assert crowd.strangers == {}
    assert len(connect.server.connections.sessions) == 3
