"""The server's TLS: a context from certificate and key files, TLS 1.2 or newer."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from relay.core.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from relay.config import SMTPSettings


def server_context(settings: SMTPSettings) -> ssl.SSLContext | None:
    """Return the context for STARTTLS, None where no certificate is set.

    Raises:
        ConfigError: The certificate or key does not load.
    """
    if settings.tls_certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # The client chose us by MX and sends mail once: no state to keep between sessions,
    # and renegotiation is only good for attacks.
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    try:
        context.load_cert_chain(
            settings.tls_certificate, settings.tls_key, password=_no_password
        )
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise ConfigError(_complaint(settings.tls_certificate, error)) from error
    return context


def _no_password() -> str:
    """Stand in for the prompt on the terminal that OpenSSL would open."""
    text = "the key is encrypted"
    raise ValueError(text)


def _complaint(certificate: Path, error: Exception) -> str:
    what = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
    return (
        f"smtp.tls_certificate = {str(certificate)!r}: does not load ({what}); give a "
        "PEM file with the certificate chain, and its unencrypted key in smtp.tls_key"
    )
