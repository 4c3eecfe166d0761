"""A fake store and an intake on a real socket."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.fakes.dialog import Talk
from tests.fakes.intake import MemorySink, running


@pytest.fixture
async def sink(tmp_path):
    """A store in memory."""
    return MemorySink(tmp_path)


@pytest.fixture
async def serve(sink):
    """Start an intake with these settings; give a function that connects to it."""
    async with AsyncExitStack() as stack:

        async def start(**settings):
            intake = await stack.enter_async_context(running(sink, **settings))

            async def connect():
                talk = await Talk.connect(*intake.listening[0])
                stack.push_async_callback(talk.close)
                return talk

            connect.server = intake
            return connect

        yield start


@pytest.fixture
async def serve_strangers(serve):
    """As `serve`, for peers elsewhere; the function that connects takes their address.

    A PROXY header says where they are: this machine is held to few limits.
    """

    async def start(**settings):
        table = {"address": "127.0.0.1:0", "proxy_from": ["127.0.0.1"]}
        inner = await serve(listen=(), listeners=[table], **settings)

        async def connect(peer="203.0.113.7"):
            talk = await inner()
            ours = "TCP6 {} 2001:db8::1" if ":" in peer else "TCP4 {} 192.0.2.1"
            await talk.send(f"PROXY {ours.format(peer)} 40000 25\r\n".encode())
            return talk

        connect.server = inner.server
        return connect

    return start


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """Paths of a self-signed certificate and its key."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mx.in.example")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("mx.in.example")]), False
        )
        .sign(key, hashes.SHA256())
    )
    chain, secret = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return chain, secret
