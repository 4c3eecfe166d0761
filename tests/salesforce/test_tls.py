"""Over TLS, straight and through a proxy: the way that production takes."""

from __future__ import annotations

import contextlib
import datetime as dt
import socket
import ssl
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from relay.core.errors import OutcomeUnknown, SalesforceUnavailable
from relay.salesforce import transport
from tests.fakes.scripted_http import Reply, Reset, ScriptedHTTP

HOST = "acme.my.salesforce.test"
OK = Reply(200, {"fine": True})


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Return a server context, and the file that a client trusts it by."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), False)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    public, private = folder / "cert.pem", folder / "key.pem"
    public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    return context, str(public)


class Proxy:
    """A proxy that knows CONNECT, and leads every name to one port of this machine."""

    def __init__(self, port):
        self.port = port
        self.asked: list[bytes] = []
        self.heads: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://user:pass@127.0.0.1:{self._listener.getsockname()[1]}"
        self._sockets = [self._listener]
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def _start(self, target, *args):
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def close(self):
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(2)
        for each in self._sockets:
            each.close()

    def _accept(self):
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self._sockets.append(near)
            self._start(self._serve, near)

    def _serve(self, near):
        head = b""
        while b"\r\n\r\n" not in head:
            head += near.recv(4096)
        self.heads.append(head)
        self.asked.append(head.split(b" ")[1])
        far = socket.create_connection(("127.0.0.1", self.port))
        self._sockets.append(far)
        near.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
        self._start(self._copy, far, near)
        self._copy(near, far)

    @staticmethod
    def _copy(source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)


@pytest.fixture
def through_proxy(certificate, client_for, monkeypatch):
    """Return a function: a client that reaches a TLS server through a proxy."""
    context, trusted = certificate
    real = transport.session

    def session(*args, **kwargs):
        made = real(*args, **kwargs)
        made.verify = trusted
        return made

    monkeypatch.setattr(transport, "session", session)
    with contextlib.ExitStack() as stack:

        def make(*script, **changes):
            server = stack.enter_context(ScriptedHTTP(*script, tls=context))
            proxy = Proxy(server.port)
            stack.callback(proxy.close)
            login = server.token(instance_url=f"https://{HOST}")
            server.tokens = [login] * 5
            client = client_for(f"https://{HOST}", proxy=proxy.url, **changes)
            stack.callback(client.close)
            stack.callback(client.tokens.close)
            return client, server, proxy

        yield make


def write(client):
    return client.call("write", "composite", b"{}", writes=True)


def test_calls_go_through_the_configured_proxy_over_tls(through_proxy):
    """One tunnel for the login, one for all calls; the proxy sees no token."""
    client, server, proxy = through_proxy(OK, OK)
    assert write(client) == write(client) == {"fine": True}
    assert proxy.asked == [f"{HOST}:443".encode()] * 2
    assert server.seen[0].headers["host"] == HOST
    assert b"Proxy-Authorization: Basic" in proxy.heads[0]
    assert "proxy-authorization" not in server.seen[0].headers
    assert b"Bearer" not in b"".join(proxy.heads)


def test_a_reset_behind_tls_is_unknown(through_proxy):
    """The promise about writes holds over TLS too."""
    client, server, _ = through_proxy(OK, Reset(), OK)
    write(client)
    with pytest.raises(OutcomeUnknown):
        write(client)
    assert write(client) == {"fine": True}
    assert len(server.seen) == 3


def test_a_time_that_is_over_stops_a_write_behind_tls(through_proxy, clock):
    """The last look at the clock is after the handshake."""
    client, server, _ = through_proxy(OK)
    with pytest.raises(transport.TooLateError):
        client.call("w", "composite", b"{}", writes=True, not_after_s=clock.boot_s - 1)
    assert server.seen == []


def test_an_untrusted_certificate_is_certain(through_proxy, monkeypatch):
    """A stranger in the middle gets no byte of the request."""
    client, server, _ = through_proxy(OK)
    client.tokens.token()
    real = transport.session

    def untrusting(*args, **kwargs):
        made = real(*args, **kwargs)
        made.verify = True
        return made

    monkeypatch.setattr(transport, "session", untrusting)
    with pytest.raises(SalesforceUnavailable, match="not trusted") as caught:
        write(client)
    assert not isinstance(caught.value, OutcomeUnknown)
    assert server.seen == []


def test_a_proxy_that_is_down_is_certain(through_proxy):
    """No connection to the proxy, no byte of the request."""
    client, server, proxy = through_proxy(OK)
    write(client)
    client.close()
    proxy.close()
    client._session = None
    client._library = None
    with pytest.raises(SalesforceUnavailable, match="proxy") as caught:
        write(client)
    assert not isinstance(caught.value, OutcomeUnknown)
    assert len(server.seen) == 1
