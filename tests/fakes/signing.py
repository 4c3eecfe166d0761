"""Signs mails as their domains would, for tests: DKIM with RSA or Ed25519, and ARC.

Keys are made once for all tests of a process. `Signer.publish` puts the public key into
a test's DNS.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import dkim
import nacl.signing
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.fakes.dns import DNS

USUAL_FIELDS = (
    "from to cc subject date message-id content-type content-transfer-encoding "
    "mime-version reply-to in-reply-to references resent-from resent-to"
).split()
"""What a careful signer signs, present or not."""

# The header fields that the big providers sign, as seen in their mails.
GMAIL = "to subject message-id date from mime-version from to cc subject date message-id reply-to".split()  # noqa: E501
MICROSOFT = (
    "from date subject message-id content-type mime-version x-ms-exchange-senderadcheck"
).split()
YAHOO = "date from reply-to to subject references from subject reply-to".split()
APPLE = "from content-type mime-version subject message-id date to".split()
SES = "from to subject mime-version content-type message-id date".split()


def rsa_key(bits: int = 2048, number: int = 0) -> rsa.RSAPrivateKey:
    """Return a key of that size; another for each number."""
    return _rsa_key(bits, number)


@cache
def _rsa_key(bits: int, number: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@cache
def ed25519_key(number: int = 0) -> nacl.signing.SigningKey:
    """Return a key, the same for each number."""
    return nacl.signing.SigningKey(bytes([number + 1]) * 32)


@dataclass(frozen=True)
class Signer:
    """A domain that signs."""

    domain: str
    selector: str = "test"
    kind: str = "rsa"
    bits: int = 2048
    number: int = 0
    """Another number is another key."""

    def record(self, tags: str = "") -> str:
        """Return the key record, with more tags if need be."""
        return f"v=DKIM1; k={self.kind}; {tags}p={self.public}"

    @property
    def public(self) -> str:
        """Return the public key as p= has it."""
        if self.kind == "ed25519":
            data = bytes(ed25519_key(self.number).verify_key)
        else:
            data = (
                rsa_key(self.bits, self.number)
                .public_key()
                .public_bytes(
                    serialization.Encoding.DER,
                    serialization.PublicFormat.SubjectPublicKeyInfo,
                )
            )
        return base64.b64encode(data).decode()

    @property
    def private(self) -> bytes:
        """Return the private key as dkimpy wants it."""
        if self.kind == "ed25519":
            return base64.b64encode(bytes(ed25519_key(self.number)))
        return rsa_key(self.bits, self.number).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )

    def publish(self, dns: DNS, tags: str = "") -> Signer:
        """Put the key into the DNS; return the signer."""
        dns.txt(f"{self.selector}._domainkey.{self.domain}", self.record(tags))
        return self

    def sign(
        self,
        mail: bytes,
        *,
        fields: Sequence[str] | None = None,
        canonicalize: str = "relaxed/relaxed",
        identity: str | None = None,
        length: bool = False,
        algorithm: str = "",
    ) -> bytes:
        """Return the mail with a signature on top."""
        return (
            self.field(
                mail,
                fields=fields,
                canonicalize=canonicalize,
                identity=identity,
                length=length,
                algorithm=algorithm,
            )
            + mail
        )

    def field(
        self,
        mail: bytes,
        *,
        fields: Sequence[str] | None = None,
        canonicalize: str = "relaxed/relaxed",
        identity: str | None = None,
        length: bool = False,
        algorithm: str = "",
    ) -> bytes:
        """Return the DKIM-Signature field for a mail, with its line end."""
        algorithm = algorithm or f"{self.kind}-sha256"
        return dkim.sign(
            mail,
            self.selector.encode(),
            self.domain.encode(),
            self.private,
            identity=identity.encode() if identity else None,
            canonicalize=tuple(canonicalize.encode().split(b"/")),
            signature_algorithm=algorithm.encode(),
            include_headers=[name.encode() for name in fields or USUAL_FIELDS],
            length=length,
        )

    def seal(self, mail: bytes, authserv_id: str) -> bytes:
        """Return the mail with one more ARC set on top (RFC 8617).

        The mail has an Authentication-Results field of that authserv-id.
        """
        found = dkim.arc_sign(
            mail,
            self.selector.encode(),
            self.domain.encode(),
            self.private,
            authserv_id.encode(),
            include_headers=[b"from", b"to", b"subject", b"date", b"message-id"],
        )
        return b"".join(found) + mail
