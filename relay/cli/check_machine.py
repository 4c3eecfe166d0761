"""Checks of everything on this side but listeners: settings, store, TLS, DNS.

A check never raises: what goes wrong is its finding. Nothing is changed but a note of
the time in the store, which proves that it can be written.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import shlex
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from relay.cli.dns_records import no_hostname
from relay.cli.finding import Finding, fail, misconfigured, ok, warn
from relay.cli.opening import open_store, unmade_store
from relay.core.errors import ConfigError, RelayError
from relay.core.states import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.config import Settings
    from relay.store import Store

_NOTE: Final = "cli.check"
_DNS_S: Final = 3.0
_EXPIRES_SOON: Final = timedelta(days=21)
_MIB: Final = 1024 * 1024


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
        listed = ", ".join(names) or "no name (a CN does not count: RFC 9525)"
        mend = (
            "senders that check names will not use it; put smtp.hostname into it as a "
            f"subjectAltName (openssl req: -addext subjectAltName=DNS:{hostname})"
        )
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
    unnamed = no_hostname(loaded.smtp)
    return list(
        await asyncio.gather(
            *(
                _mx(domain, loaded.smtp.hostname, unnamed)
                for domain in loaded.smtp.domains
            )
        )
    )


async def _mx(domain: str, hostname: str, unnamed: str) -> Finding:
    import dns.asyncresolver  # noqa: PLC0415 - 0.1 s, only where needed
    import dns.exception  # noqa: PLC0415

    check = f"dns {domain}"
    try:
        answer = await dns.asyncresolver.resolve(domain, "MX", lifetime=_DNS_S)
        hosts = [str(record.exchange).rstrip(".").lower() for record in answer]
    except (dns.exception.DNSException, OSError) as error:
        detail = f"no MX found ({_dns_reason(error)})"
        mend = unnamed or (
            f"publish: {domain}. MX 10 {hostname}. or route the domain here in your "
            "mail server; relay check --dns prints all records"
        )
        return warn(check, detail, mend)
    return _mx_finding(check, hosts, hostname, unnamed)


def _dns_reason(error: Exception) -> str:
    words = {
        "NXDOMAIN": "the domain does not exist",
        "NoAnswer": "the domain has none",
        "LifetimeTimeout": "no answer from the DNS",
        "NoNameservers": "the name servers fail",
        "NoResolverConfiguration": "this machine has no DNS",
    }
    return words.get(type(error).__name__, type(error).__name__)


def _mx_finding(
    check: str, hosts: Sequence[str], hostname: str, unnamed: str = ""
) -> Finding:
    listed = ", ".join(hosts)
    if hostname.lower() in hosts:
        return ok(check, f"MX is {listed}")
    mend = "fine if that server passes mail on; else " + (
        unnamed or f"point the MX to {hostname}"
    )
    return warn(check, f"MX is {listed}, not {hostname}", mend)
