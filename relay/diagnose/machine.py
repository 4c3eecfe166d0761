"""This machine: settings, store, certificate, and files that hold a secret.

A check never raises: what goes wrong is its finding. Nothing is changed but the time of
the check in the store, which proves that the store can be written.
"""

from __future__ import annotations

import ipaddress
import os
import shlex
import shutil
import stat
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from relay.config import Settings
from relay.config.sources import (
    DEFAULT_FILE,
    FILE_SUFFIX,
    FileSource,
    is_secret,
    sections,
)
from relay.config.values import masked_url
from relay.core.clock import SystemClock
from relay.core.errors import ConfigError, RelayError
from relay.core.states import State
from relay.diagnose.finding import Finding, fail, misconfigured, ok, warn
from relay.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

_NOTE: Final = "cli.check"
_DNS_S: Final = 3.0
_EXPIRES_SOON: Final = timedelta(days=21)
_MIB: Final = 1024 * 1024
_KEYS: Final = ("smtp.tls_key", "salesforce.private_key_file")
"""Settings that name a private key."""


# ------------------------------------------------------------------ settings


def config(settings: Settings, path: Path | None) -> list[Finding]:
    """Say where the settings come from, and what is not set at all."""
    default = Path("relay.toml")
    if path is not None or default.exists():
        source = f"{path or default}, then RELAY_… in the environment"
    else:
        source = "RELAY_… in the environment alone; there is no relay.toml here"
    findings = [ok("config", source)]
    try:
        domains = settings.require_domains()
    except ConfigError as error:
        findings.append(misconfigured("relay domains", error))
    else:
        findings.append(ok("relay domains", ", ".join(domains)))
    findings += _web(settings)
    return findings


def _web(settings: Settings) -> list[Finding]:
    """Say how people reach the console: over TLS or not, and under which name."""
    web = settings.web
    if web.listen is None:
        return []
    findings: list[Finding] = []
    is_local = _is_loopback(web.listen.host)
    if not is_local and not web.trusted_proxies:
        hint = (
            "listen on 127.0.0.1, behind a proxy with TLS: tokens and passwords travel "
            "in clear; or name the proxy in web.trusted_proxies"
        )
        findings.append(warn("web", f"web.listen = {web.listen} is plain HTTP", hint))
    if web.public_url is None and (web.trusted_proxies or settings.oidc.issuer):
        hint = "write the address that people type, such as https://relay.example.com"
        text = "web.public_url is not set: links lead to web.listen"
        findings.append(warn("web", text, hint))
    if str(web.public_url or "").startswith("https") and not web.trusted_proxies:
        hint = 'name the proxy, for instance web.trusted_proxies = ["127.0.0.1"]'
        text = (
            "no proxy is trusted: the relay takes each request for plain HTTP of the "
            "proxy, so that cookies are not Secure and all browsers count as one"
        )
        findings.append(warn("web", text, hint))
    return findings


# ------------------------------------------------------------------ store


@dataclass(frozen=True, slots=True)
class StoreAccess:
    """The store as the checks find it.

    Attributes:
        store: The open store; None if it could not be opened, or its file does not
            exist yet. It is not made: a check in the wrong folder would leave an empty
            store behind.
        error: Why the store could not be opened.
    """

    store: Store | None
    error: RelayError | ConfigError | None = None

    def require(self) -> Store | None:
        """Return the open store, or None while its file does not exist.

        Raises:
            ConfigError: The store does not fit the settings or this version.
            RelayError: The store cannot be reached.
        """
        if self.error is not None:
            raise self.error
        return self.store


@asynccontextmanager
async def store_access(settings: Settings) -> AsyncIterator[StoreAccess]:
    """Open the store for the length of the checks; never raises for the store."""
    if unmade_store(settings.store.url):
        yield StoreAccess(None)
        return
    try:
        store = await Store.open(settings.store, SystemClock())
    except (ConfigError, RelayError) as error:
        yield StoreAccess(None, error)
        return
    try:
        yield StoreAccess(store)
    finally:
        await store.close()


def unmade_store(url: str) -> Path | None:
    """Return where the SQLite file will be, while it does not exist."""
    name = url.removeprefix("sqlite:///").partition("?")[0]
    if not url.startswith("sqlite:") or Path(name).exists():
        return None
    return Path(name)


async def store(settings: Settings, access: StoreAccess) -> list[Finding]:
    """Write the time of the check into the store; look at disk and queue."""
    floor = settings.store.min_free_bytes
    try:
        opened = access.require()
        if opened is None:
            return _not_there(unmade_store(settings.store.url) or Path(), floor)
        await opened.shared.set(_NOTE, {"at": datetime.now(UTC).isoformat()})
        return [
            ok("store", "opened and written; the schema is this version's"),
            _disk(opened.messages.free_bytes(), floor),
            *await _queue(opened),
        ]
    except ConfigError as error:
        return [misconfigured("store", error)]
    except RelayError as error:
        hint = "check store.url, that the database runs, and who may write there"
        return [fail("store", str(error), hint)]


def _not_there(path: Path, floor: int) -> list[Finding]:
    folder = path.parent
    if not folder.is_dir():
        hint = f"make it: mkdir -p {shlex.quote(str(folder))}"
        return [fail("store", f"there is no folder {folder} for {path.name}", hint)]
    if not os.access(folder, os.W_OK | os.X_OK):
        hint = "let the relay's user write there, or set store.url"
        return [fail("store", f"{folder} cannot be written", hint)]
    return [
        ok("store", f"{path} will be created at first start"),
        _disk(shutil.disk_usage(folder).free, floor),
        ok("queue", "empty"),
    ]


def _disk(free: int, floor: int) -> Finding:
    detail = f"{free // _MIB} MiB free; mail is refused below {floor // _MIB} MiB"
    hint = "free disk space, or lower store.min_free_bytes"
    if free < floor:
        return fail("disk", detail, hint)
    return warn("disk", detail, hint) if free < 2 * floor else ok("disk", detail)


async def _queue(opened: Store) -> list[Finding]:
    counts = await opened.queue.counts()
    total = ", ".join(f"{n} {state}" for state, n in counts.items() if n)
    if counts.get(State.DEAD):
        hint = "see relay log --state dead; then relay retry --state dead"
        return [warn("queue", total, hint)]
    return [ok("queue", total or "empty")]


# ------------------------------------------------------------------ TLS


def tls(settings: Settings) -> list[Finding]:
    """Look at the certificate's end and names; settings prove that it loads."""
    path = settings.smtp.tls_certificate
    if path is None:
        if all(_is_loopback(place.host) for place in settings.smtp.listen):
            return [ok("tls", "none; every listener is on this machine alone")]
        hint = "set smtp.tls_certificate and smtp.tls_key"
        return [warn("tls", "none: mail comes over the network unencrypted", hint)]
    from cryptography import x509  # noqa: PLC0415 - 60 ms, only where needed

    try:
        certificate = x509.load_pem_x509_certificates(path.read_bytes())[0]
    except (OSError, ValueError) as error:
        return [fail("tls", f"{path}: {error}", "give a PEM certificate chain")]
    return _certificate(settings.smtp.hostname, certificate, datetime.now(UTC))


def _certificate(hostname: str, certificate: object, now: datetime) -> list[Finding]:
    from cryptography import x509  # noqa: PLC0415

    if not isinstance(certificate, x509.Certificate):
        raise TypeError
    end = certificate.not_valid_after_utc
    until = f"valid until {end:%Y-%m-%d %H:%M} UTC"
    hint = "renew it; the relay loads the new one by itself"
    if end <= now:
        return [fail("tls", f"expired on {end:%Y-%m-%d}", hint)]
    if certificate.not_valid_before_utc > now:
        begin = certificate.not_valid_before_utc
        return [fail("tls", f"not valid before {begin:%Y-%m-%d}", "check the clock")]
    names = _names(certificate)
    if not any(_covers(name, hostname) for name in names):
        listed = ", ".join(names) or "no name (a CN does not count: RFC 9525)"
        hint = (
            "senders that check names will not use it; put smtp.hostname into it as a "
            f"subjectAltName (openssl req: -addext subjectAltName=DNS:{hostname})"
        )
        return [warn("tls", f"is for {listed}, not for {hostname}; {until}", hint)]
    return [warn("tls", until, hint) if end - now < _EXPIRES_SOON else ok("tls", until)]


def certificate_end(path: Path) -> datetime | None:
    """Return when the first certificate of a file ends; None: it holds none."""
    from cryptography import x509  # noqa: PLC0415

    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found[0].not_valid_after_utc


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


# ------------------------------------------------------------------ secrets


def secrets(path: Path | None) -> list[Finding]:
    """Return a warning for each file with a secret that everybody may read.

    A group may: a settings file is often root's, and the relay's group reads it.

    Args:
        path: The settings file as named; None: `relay.toml`, if there is one.
    """
    found = []
    for name, file in dict.fromkeys(_files(path)):
        with suppress(OSError):
            mode = stat.S_IMODE(file.stat().st_mode)
            if mode & stat.S_IROTH:
                detail = f"{file} holds {name}, and everybody may read it ({mode:o})"
                hint = f"chmod 600 {shlex.quote(str(file))}"
                if mode & stat.S_IRGRP:
                    hint += ", or 640 where the relay reads it by its group"
                found.append(warn("secrets", detail, hint))
    return found


def _files(path: Path | None) -> Iterator[tuple[str, Path]]:
    """Return what is secret, and the file that holds it; settings have been read."""
    source = FileSource(Settings, path)
    try:
        table = source.read()
    except ConfigError:
        return
    here = [
        f"{section}.{key}"
        for section, model in sections(Settings).items()
        for key, field in model.model_fields.items()
        if is_secret(field) and _tells(table.get(section, {}).get(key))
    ]
    if here:
        yield ", ".join(here), path or DEFAULT_FILE
    for section, model in sections(Settings).items():
        rows = table.get(section, {})
        for key, field in model.model_fields.items():
            name = key + FILE_SUFFIX if is_secret(field) else key
            if is_secret(field) or f"{section}.{key}" in _KEYS:
                file = rows.get(name)
                if isinstance(file, str) and file.strip():
                    yield f"{section}.{key}", source.place(file)


def _tells(value: object) -> bool:
    """Say whether a value is a secret; the address of a database need not be one."""
    if not isinstance(value, str) or not value.strip():
        return False
    return "://" not in value or masked_url(value) != value
