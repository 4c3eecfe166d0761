"""Checks of everything on this side: settings, store, TLS, listeners, DNS.

A check never raises: what goes wrong is its finding. Nothing is changed but a note of
the time in the store, which proves that it can be written.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import shlex
import shutil
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from relay.cli.finding import Finding, fail, misconfigured, ok, warn
from relay.cli.opening import open_store, unmade_store
from relay.cli.output import clean
from relay.core.errors import ConfigError, RelayError
from relay.core.states import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.config import HostPort, Settings
    from relay.store import Store

_NOTE: Final = "cli.check"
_CONNECT_S: Final = 2.0
_DNS_S: Final = 3.0
_EXPIRES_SOON: Final = timedelta(days=21)
_MIB: Final = 1024 * 1024
_HEALTH: Final = (
    b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
)
_ANSWER: Final = 4096
_SMTP_READY: Final = b"220"
"""First reply of a server that takes mail (RFC 5321 section 4.3.2)."""


# ------------------------------------------------------------------ settings


def config(loaded: Settings, path: Path | None) -> list[Finding]:
    """Say where the settings come from, and what is not set at all."""
    default = Path("relay.toml")
    if path is not None or default.exists():
        source = f"{path or default}, then RELAY_… in the environment"
    else:
        source = "RELAY_… in the environment alone; there is no relay.toml here"
    findings = [ok("config", source)]
    try:
        domains = loaded.require_domains()
    except ConfigError as error:
        findings.append(misconfigured("relay domains", error))
    else:
        findings.append(ok("relay domains", ", ".join(domains)))
    place = loaded.web.listen
    if place is not None and not _is_loopback(place.host):
        mend = "listen on 127.0.0.1, behind a proxy with TLS: tokens travel in clear"
        findings.append(warn("web", f"web.listen = {place} is plain HTTP", mend))
    return findings


# ------------------------------------------------------------------ store


async def store(loaded: Settings) -> list[Finding]:
    """Open the store, write a note, look at disk, queue and users.

    A store that is not there yet is not made: a check in the wrong folder would leave
    an empty one behind.
    """
    if unmade := unmade_store(loaded):
        return _not_there(unmade, loaded.store.min_free_bytes)
    try:
        async with open_store(loaded) as opened:
            await opened.note_set(_NOTE, {"at": datetime.now(UTC).isoformat()})
            return [
                ok("store", "opened and written; the schema is this version's"),
                _disk(opened.free_bytes(), loaded.store.min_free_bytes),
                *await _queue(opened),
                *await _users(opened),
            ]
    except ConfigError as error:
        return [misconfigured("store", error)]
    except RelayError as error:
        mend = "check store.url, that the database runs, and who may write there"
        return [fail("store", str(error), mend)]


def _not_there(path: Path, floor: int) -> list[Finding]:
    folder = path.parent
    if not folder.is_dir():
        mend = f"make it: mkdir -p {shlex.quote(str(folder))}"
        return [fail("store", f"there is no folder {folder} for {path.name}", mend)]
    if not os.access(folder, os.W_OK | os.X_OK):
        mend = "let the relay's user write there, or set store.url"
        return [fail("store", f"{folder} cannot be written", mend)]
    return [
        ok("store", f"{path} will be created at first start"),
        _disk(shutil.disk_usage(folder).free, floor),
        ok("queue", "empty"),
        _nobody(),
    ]


def _nobody() -> Finding:
    return warn("users", "nobody may log yet", "relay user add NAME --email ADDRESS")


def _disk(free: int, floor: int) -> Finding:
    detail = f"{free // _MIB} MiB free; mail is refused below {floor // _MIB} MiB"
    mend = "free disk space, or lower store.min_free_bytes"
    if free < floor:
        return fail("disk", detail, mend)
    return warn("disk", detail, mend) if free < 2 * floor else ok("disk", detail)


async def _queue(opened: Store) -> list[Finding]:
    counts = await opened.counts()
    total = ", ".join(f"{n} {state}" for state, n in counts.items() if n)
    if counts.get(State.DEAD):
        mend = "see relay log --state dead; then relay retry --state dead"
        return [warn("queue", total, mend)]
    return [ok("queue", total or "empty")]


async def _users(opened: Store) -> list[Finding]:
    users = [user for user in await opened.users() if user.active]
    if not users:
        return [_nobody()]
    return [ok("users", f"{len(users)} active")]


# ------------------------------------------------------------------ TLS


def tls(loaded: Settings) -> list[Finding]:
    """Look at the certificate's end and names; settings prove that it loads."""
    path = loaded.smtp.tls_certificate
    if path is None:
        if all(_is_loopback(place.host) for place in loaded.smtp.listen):
            return [ok("tls", "none; every listener is on this machine alone")]
        mend = "set smtp.tls_certificate and smtp.tls_key"
        return [warn("tls", "none: mail comes over the network unencrypted", mend)]
    from cryptography import x509  # noqa: PLC0415 - 60 ms, only where needed

    try:
        certificate = x509.load_pem_x509_certificates(path.read_bytes())[0]
    except (OSError, ValueError) as error:
        return [fail("tls", f"{path}: {error}", "give a PEM certificate chain")]
    return _certificate(loaded.smtp.hostname, certificate, datetime.now(UTC))


def _certificate(hostname: str, certificate: object, now: datetime) -> list[Finding]:
    from cryptography import x509  # noqa: PLC0415

    if not isinstance(certificate, x509.Certificate):
        raise TypeError
    end = certificate.not_valid_after_utc
    until = f"valid until {end:%Y-%m-%d %H:%M} UTC"
    mend = "renew it; the relay takes it up by itself"
    if end <= now:
        return [fail("tls", f"expired on {end:%Y-%m-%d}", mend)]
    if certificate.not_valid_before_utc > now:
        begin = certificate.not_valid_before_utc
        return [fail("tls", f"not valid before {begin:%Y-%m-%d}", "check the clock")]
    names = _names(certificate)
    if not any(_covers(name, hostname) for name in names):
        listed = ", ".join(names) or "no name"
        mend = "senders that check names will not use it; add smtp.hostname to it"
        return [warn("tls", f"is for {listed}, not for {hostname}; {until}", mend)]
    return [warn("tls", until, mend) if end - now < _EXPIRES_SOON else ok("tls", until)]


def _names(certificate: object) -> list[str]:
    from cryptography import x509  # noqa: PLC0415

    if not isinstance(certificate, x509.Certificate):
        raise TypeError
    try:
        extension = certificate.extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
    except x509.ExtensionNotFound:
        return []
    return extension.value.get_values_for_type(x509.DNSName)


def _covers(name: str, hostname: str) -> bool:
    """Compare as RFC 6125 section 6.4.3 says: a star is one whole first label."""
    name, hostname = name.lower(), hostname.lower()
    if name.startswith("*."):
        return hostname.partition(".")[2] == name[2:]
    return name == hostname


# ------------------------------------------------------------------ listeners


async def listeners(loaded: Settings) -> list[Finding]:
    """See whether each address answers as this relay, or could be listened on."""
    found = [await _smtp(place, loaded.smtp.hostname) for place in loaded.smtp.listen]
    for name, place in (
        ("telemetry", loaded.telemetry.listen),
        ("web", loaded.web.listen),
    ):
        if place is not None:
            found.append(await _other(name, place))
    return found


async def _smtp(place: HostPort, hostname: str) -> Finding:
    """Tell this relay from another mail server by the name in its greeting."""
    check = f"smtp {place}"
    greeting = await _ask(place, b"") if place.port else b""
    words = greeting.decode("ascii", "replace").split()
    if not greeting.startswith(_SMTP_READY) or not words[1:]:
        return await _free(check, place, "smtp.listen")
    if words[1].lower() == hostname.lower():
        return ok(check, f"this relay answers: it greets as {hostname}")
    mend = f"stop it or take another port; a relay of yours would greet as {hostname}"
    return fail(check, f"another mail server answers: {clean(words[1])}", mend)


async def _other(name: str, place: HostPort) -> Finding:
    """Tell whether a port is free, or health is told there already."""
    check = f"{name} {place}"
    if place.port and name == "telemetry" and b'"alive"' in await _ask(place, _HEALTH):
        return ok(check, "is answering: a relay runs there")
    return await _free(check, place, f"{name}.listen")


async def _free(check: str, place: HostPort, key: str) -> Finding:
    try:
        await asyncio.to_thread(_bind, place)
    except OSError as error:
        reasons = {
            errno.EADDRINUSE: "another program has the port: stop it or take another",
            errno.EACCES: "ports below 1024 need rights: CAP_NET_BIND_SERVICE",
            errno.EADDRNOTAVAIL: "this machine has no such address: correct it",
        }
        reason = error.strerror or str(error)
        mend = reasons.get(error.errno or 0, f"correct {key}")
        return fail(check, f"cannot be listened on: {reason}", mend)
    return ok(check, "is free to listen on")


async def _ask(place: HostPort, question: bytes) -> bytes:
    """Return what a server says, nothing where none answers.

    Without a question, it is the line with which the server itself begins.
    """
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(place.host, place.host)  # noqa: S104
    try:
        async with asyncio.timeout(_CONNECT_S):
            reader, writer = await asyncio.open_connection(host, place.port)
            try:
                if not question:
                    return await reader.readline()
                writer.write(question)
                answer = b""
                while len(answer) < _ANSWER and (part := await reader.read(_ANSWER)):
                    answer += part
                return answer
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError):
        return b""


def _bind(place: HostPort) -> None:
    found = socket.getaddrinfo(
        place.host, place.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    family, kind, protocol, _, address = found[0]
    with socket.socket(family, kind, protocol) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.listen(1)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


# ------------------------------------------------------------------ DNS


async def dns(loaded: Settings) -> list[Finding]:
    """Ask for the MX of each relay domain; nothing here is a failure.

    A relay behind a company's mail server needs no MX, and a machine without DNS can
    still take mail.
    """
    return list(
        await asyncio.gather(
            *(_mx(domain, loaded.smtp.hostname) for domain in loaded.smtp.domains)
        )
    )


async def _mx(domain: str, hostname: str) -> Finding:
    import dns.asyncresolver  # noqa: PLC0415 - 0.1 s, only where needed
    import dns.exception  # noqa: PLC0415

    check = f"dns {domain}"
    try:
        answer = await dns.asyncresolver.resolve(domain, "MX", lifetime=_DNS_S)
        hosts = [str(record.exchange).rstrip(".").lower() for record in answer]
    except (dns.exception.DNSException, OSError) as error:
        detail = f"no MX found ({_dns_reason(error)})"
        mend = (
            f"publish: {domain}. MX 10 {hostname}. or route the domain here in your "
            "mail server; relay check --dns prints all records"
        )
        return warn(check, detail, mend)
    return _mx_finding(check, hosts, hostname)


def _dns_reason(error: Exception) -> str:
    words = {
        "NXDOMAIN": "the domain does not exist",
        "NoAnswer": "the domain has none",
        "LifetimeTimeout": "no answer from the DNS",
        "NoNameservers": "the name servers fail",
        "NoResolverConfiguration": "this machine has no DNS",
    }
    return words.get(type(error).__name__, type(error).__name__)


def _mx_finding(check: str, hosts: Sequence[str], hostname: str) -> Finding:
    listed = ", ".join(hosts)
    if hostname.lower() in hosts:
        return ok(check, f"MX is {listed}")
    mend = f"fine if that server passes mail on; else point the MX to {hostname}"
    return warn(check, f"MX is {listed}, not {hostname}", mend)
