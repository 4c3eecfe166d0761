"""The server's TLS: contexts from files, made anew when the files change.

TLS 1.2 or newer. A certificate that was renewed is taken up without a restart, by new
sessions; one that does not load is logged, and the old one stays in use.

A listener may be for trusted relays alone, which show a client certificate of its
authorities. A peer without a certificate is refused with a reply when it wants to send;
a peer with the certificate of another authority fails in the handshake. A listener for
all peers must not ask for certificates, because `ssl` cannot ask for one and accept
those of other authorities.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, Final

from relay.core.errors import ConfigError
from relay.telemetry import get_logger

if TYPE_CHECKING:
    from asyncio import BufferedProtocol
    from pathlib import Path

    from relay.config import SMTPSettings

log = get_logger(__name__)

LOOK_S: Final = 2.0
"""How often the files are looked at."""

_Signature = tuple[tuple[int, int, int] | None, ...]


class ServerTLS:
    """The TLS of a listener.

    Attributes:
        context: For the next session; replaced as a whole, never changed.
    """

    def __init__(self, settings: SMTPSettings, client_ca: Path | None = None) -> None:
        """Load the files.

        Raises:
            ConfigError: One of them does not load.
        """
        self._settings = settings
        self._client_ca = client_ca
        self._loaded = self._seen = self._signature()
        self.context = server_context(settings, client_ca)

    def look(self) -> bool:
        """Load the files again if they changed; say whether `context` is new.

        What changed is loaded when it has stood unchanged since the last look: until
        then, a new certificate may lie beside an old key. Blocks for the file system.
        """
        signature = self._signature()
        settled = signature == self._seen
        self._seen = signature
        if not settled or signature == self._loaded:
            return False
        self._loaded = signature
        certificate = str(self._settings.tls_certificate)
        try:
            self.context = server_context(self._settings, self._client_ca)
        except ConfigError as error:
            log.error(  # noqa: TRY400 - the text says it all
                "smtp_certificate_not_loaded",
                error=str(error),
                hint="the certificate of before stays in use",
            )
            return False
        log.info("smtp_certificate_loaded", certificate=certificate)
        return True

    def _signature(self) -> _Signature:
        """Return what changes when a file is written or replaced, also by a link."""
        paths = (
            self._settings.tls_certificate,
            self._settings.tls_key,
            self._client_ca,
        )
        return tuple(_stat(path) for path in paths if path is not None)


def _stat(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def server_context(
    settings: SMTPSettings, client_ca: Path | None = None
) -> ssl.SSLContext:
    """Return a context from the certificate and key that are set.

    Raises:
        ConfigError: The certificate, the key or the authorities do not load.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # The client chose us by MX and sends mail once: no state to keep between sessions,
    # and renegotiation is only good for attacks.
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    try:
        context.load_cert_chain(
            settings.tls_certificate or "", settings.tls_key, password=_no_password
        )
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise ConfigError(_complaint(settings.tls_certificate, error)) from error
    if client_ca is not None:
        # Optional, because who shows none can be told in words what is missing.
        context.verify_mode = ssl.CERT_OPTIONAL
        try:
            context.load_verify_locations(client_ca)
        except (OSError, ValueError) as error:
            text = (
                f"smtp.listeners.client_ca = {str(client_ca)!r}: does not load "
                f"({_reason(error)}); give a PEM file with the authorities"
            )
            raise ConfigError(text) from error
    return context


def client_name(tls: ssl.SSLObject | None) -> str:
    """Return whom a verified client certificate names, empty where there is none."""
    certificate: dict[str, Any] = (tls.getpeercert() if tls else None) or {}
    for kind, name in certificate.get("subjectAltName", ()):
        if kind == "DNS":
            return str(name)
    for group in certificate.get("subject", ()):
        for kind, name in group:
            if kind == "commonName":
                return str(name)
    return "unnamed" if certificate else ""


def give_handshake(tls: BufferedProtocol, data: bytes) -> None:
    """Give TLS the bytes of its handshake that had arrived before it."""
    while data:
        space = memoryview(tls.get_buffer(len(data)))
        size = min(len(space), len(data))
        space[:size] = data[:size]
        tls.buffer_updated(size)
        data = data[size:]


def _no_password() -> str:
    """Stand in for the prompt on the terminal that OpenSSL would open."""
    text = "the key is encrypted"
    raise ValueError(text)


def _reason(error: Exception) -> object:
    return getattr(error, "reason", None) or getattr(error, "strerror", None) or error


def _complaint(certificate: Path | None, error: Exception) -> str:
    return (
        f"smtp.tls_certificate = {str(certificate)!r}: does not load "
        f"({_reason(error)}); give a PEM file with the certificate chain, and its "
        "unencrypted key in smtp.tls_key"
    )
