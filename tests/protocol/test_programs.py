"""Programs that people send with, at each kind of listener."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from functools import cache

import pytest

from tests.fakes.certificates import Authority

pytestmark = pytest.mark.timeout(40)

MAIL = b"From: ada@corp.example\r\nSubject: From a program\r\n\r\nHi\r\n"
TO = "log-ada@in.example"
FROM = "ada@corp.example"
PASSWORD = "aaaa-bbbb"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """An authority with a certificate for the server."""
    made = Authority(tmp_path_factory.mktemp("authority"))
    made.server = made.issue("localhost")
    return made


async def run(*command, stdin=b""):
    """Run a program; return its exit status and what it said."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed: its way in is not tested here")
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate(stdin)
    return process.returncode, said.decode(errors="replace")


@cache
def perl_has_tls():
    """Say whether swaks can speak TLS: it needs a Perl module that is not its own."""
    found = shutil.which("perl") is not None
    command = ["perl", "-MNet::SSLeay", "-e", "1"]
    if not found:
        return False
    return not subprocess.run(command, capture_output=True, check=False).returncode


def swaks(kind, port, ca):
    """Return swaks's command for a kind of listener."""
    if shutil.which("swaks") and not perl_has_tls():
        pytest.skip("swaks lacks Net::SSLeay: its way in by TLS is not tested here")
    ways = {
        "starttls": ["--tls"],
        "implicit": ["--tlsc"],
        "submission": ["--tls", "--auth", "PLAIN", "-au", FROM, "-ap", PASSWORD],
        "submissions": ["--tlsc", "--auth", "LOGIN", "-au", FROM, "-ap", PASSWORD],
    }
    return [
        *("swaks", "--server", f"127.0.0.1:{port}", *ways[kind]),
        *("--from", FROM, "--to", TO, "--data", "-"),
    ]


def curl(kind, port, ca):
    """Return curl's command for a kind of listener."""
    scheme = "smtps" if kind in {"implicit", "submissions"} else "smtp"
    login = ["--user", f"{FROM}:{PASSWORD}"] if "submission" in kind else []
    return [
        *("curl", "-sS", "--ssl-reqd", "--cacert", str(ca), *login),
        *("--url", f"{scheme}://localhost:{port}", "--mail-from", FROM),
        *("--mail-rcpt", TO, "--upload-file", "-"),
    ]


def msmtp(kind, port, ca):
    """Return msmtp's command for a kind of listener."""
    login = ["--auth=on", f"--user={FROM}", f"--passwordeval=echo {PASSWORD}"]
    return [
        *("msmtp", "--host=localhost", f"--port={port}", "--tls=on"),
        f"--tls-starttls={'off' if kind in {'implicit', 'submissions'} else 'on'}",
        *(f"--tls-trust-file={ca}", *(login if "submission" in kind else [])),
        *(f"--from={FROM}", TO),
    ]


KINDS = {
    "starttls": {"require_tls": True},
    "implicit": {"tls": "implicit"},
    "submission": {"protocol": "submission", "require_tls": True},
    "submissions": {"protocol": "submission", "tls": "implicit"},
}


@pytest.mark.parametrize("program", [swaks, curl, msmtp])
@pytest.mark.parametrize("kind", KINDS)
async def test_program_delivers(program, kind, serve, authority, sink):
    """Each program gets its mail in over STARTTLS, implicit TLS, and with a login."""
    chain, key = authority.server
    connect = await serve(
        listen=(),
        listeners=[{"address": "127.0.0.1:0", **KINDS[kind]}],
        tls_certificate=chain,
        tls_key=key,
        timeout_s=30,
    )
    port = connect.server.listening[0][1]
    status, said = await run(*program(kind, port, authority.path), stdin=MAIL)
    assert status == 0, said
    envelope, _, content = sink.stored[0]
    assert envelope.tls
    assert b"Subject: From a program\r\n" in content
    assert ("logged in as ada@corp.example" in envelope.trace[0].detail) == (
        "submission" in kind
    )


async def test_swaks_delivers_by_lmtp(serve, sink, tmp_path_factory):
    """swaks speaks LMTP over a Unix socket, and reads a reply for each recipient."""
    path = tmp_path_factory.mktemp("s") / "lmtp"
    table = {"address": f"unix:{path}", "protocol": "lmtp"}
    await serve(listen=(), listeners=[table], timeout_s=30)
    _, said = await run(
        *("swaks", "--socket", str(path), "--protocol", "LMTP", "--data", "-"),
        *("--from", FROM, "--to", f"{TO},log-ben@in.example"),
        stdin=MAIL,
    )
    assert "250 2.0.0 OK" in said
    assert "550 5.7.1 Mail from ada@corp.example" in said
    assert len(sink.stored) == 1


async def test_swaks_speaks_for_a_proxy(serve, sink):
    """swaks sends both versions of the PROXY header."""
    table = {"address": "127.0.0.1:0", "proxy_from": ["127.0.0.1"]}
    connect = await serve(listen=(), listeners=[table], timeout_s=30)
    port = connect.server.listening[0][1]
    for version, family in (("1", "TCP4"), ("2", "AF_INET")):
        status, said = await run(
            *("swaks", "--server", f"127.0.0.1:{port}", "--data", "-"),
            *("--from", FROM, "--to", TO, "--proxy-version", version),
            *("--proxy-family", family, "--proxy-source", "203.0.113.5"),
            *("--proxy-source-port", "4000", "--proxy-dest", "192.0.2.1"),
            *("--proxy-dest-port", "25", "--proxy-protocol", "STREAM"),
            *("--proxy-command", "PROXY"),
            stdin=MAIL,
        )
        assert status == 0, said
    assert [envelope.peer for envelope, _, _ in sink.stored] == ["203.0.113.5"] * 2


async def test_openssl_sees_no_old_tls(serve, authority):
    """openssl's client speaks TLS 1.2 and 1.3, and nothing older."""
    chain, key = authority.server
    connect = await serve(
        listen=(),
        listeners=[{"address": "127.0.0.1:0", "tls": "implicit"}],
        tls_certificate=chain,
        tls_key=key,
    )
    place = f"127.0.0.1:{connect.server.listening[0][1]}"
    found = {}
    for version in ("tls1", "tls1_1", "tls1_2", "tls1_3"):
        command = ("openssl", "s_client", "-connect", place, f"-{version}")
        ca = ("-CAfile", str(authority.path), "-cipher", "ALL:@SECLEVEL=0")
        _, said = await run(*command, *ca, stdin=b"QUIT\r\n")
        found[version] = "New, TLSv1." in said and "return code: 0 (ok)" in said
    assert found == {"tls1": False, "tls1_1": False, "tls1_2": True, "tls1_3": True}
